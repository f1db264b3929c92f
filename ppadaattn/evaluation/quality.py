"""Quality of single pictures in figures: losses and distances on features of one loss network for all methods."""

from ppadaattn.device import without_gradients
from ppadaattn.errors import InputError, note
from ppadaattn.model.features import points_of, unit_points
from ppadaattn.train import losses
from ppadaattn.weights.checkpoint import load_network
from ppadaattn.weights.convert import vgg19
from ppadaattn.weights.zoo import DEFAULT_MODEL, vgg19_file, weights_file

import numpy as np
import paddle

# Layers that no loss of this project is trained on, one in each block; for the content distance the deepest layer too.
STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
CONTENT_LAYERS = (*STYLE_LAYERS, "relu5_1")
LOSS_LAYERS = tuple(f"relu{level}_1" for level in range(1, 6))

# Directions of the sliced Wasserstein distance, and quantiles on each direction.
PROJECTIONS, QUANTILES = 64, 256

MEASURES = {
    "L_gs": "global style loss (eq. 10), mean squared errors at relu2_1 to relu5_1",
    "L_lf": "local feature loss (eq. 11) with softmax attention, mean squared errors at relu3_1 to relu5_1",
    "content": "mean squared errors to the content's features at relu3_1 to relu5_1",
    "perceptual": "distance to the content in the manner of LPIPS, uncalibrated: features of unit length at each "
    f"point, sum of squared differences over channels, mean over points and over {', '.join(CONTENT_LAYERS)}",
    "gram": "style distance that no method was trained on: squared distance of Gram matrices over the square of that "
    f"of the style, mean over {', '.join(STYLE_LAYERS)}",
    "wasserstein": "another such style distance: squared sliced Wasserstein distance of feature vectors "
    f"({PROJECTIONS} directions, {QUANTILES} quantiles) over the mean square of the style's, mean over the same layers",
}


def loss_network(path=None):
    """Load the network on whose features pictures are compared.

    Args:
        path: of VGG-19's weights; None: those of the zoo, or the encoder of the small model where they are not
        available.

    Returns:
        (Encoder, its name).

    Raises:
        InputError: there is no file `path`, or it holds something else.
    """
    if path:
        return vgg19(vgg19_file(path)), "VGG-19"
    try:
        return vgg19(vgg19_file()), "VGG-19"
    except InputError as error:
        note(f"no VGG-19: features are those of {DEFAULT_MODEL}'s encoder ({error})")
        network = load_network(weights_file(DEFAULT_MODEL))
        return network.encoder, f"the encoder of {DEFAULT_MODEL}, because VGG-19 is not available"


class Metrics:
    """The losses and distances of stylized pictures.

    Args:
        encoder: the Encoder of `loss_network`.
    """

    def __init__(self, encoder):
        self.encoder = encoder

    @without_gradients
    def encode(self, picture):
        """Features of a picture, float32 [1, 3, H, W] in [0, 1], as `measure` takes them."""
        return self.encoder(paddle.to_tensor(picture), {*LOSS_LAYERS, *CONTENT_LAYERS})

    @without_gradients
    def measure(self, stylized, content, style):
        """{measure: float} for each of MEASURES, from the features of the three pictures."""
        found = {
            "L_gs": losses.global_style_loss(stylized, style),
            "L_lf": losses.local_feature_loss(stylized, content, style),
            "content": losses.content_loss(stylized, content),
            "perceptual": _mean(perceptual_distance, stylized, content, CONTENT_LAYERS),
            "gram": _mean(gram_distance, stylized, style, STYLE_LAYERS),
            "wasserstein": _mean(sliced_wasserstein, stylized, style, STYLE_LAYERS),
        }
        return {name: float(value) for name, value in found.items()}


def _mean(distance, first, second, layers):
    return sum(distance(first[layer], second[layer]) for layer in layers) / len(layers)


def perceptual_distance(first, second):
    """Squared distance of feature vectors of unit length, mean over points; features [1, C, H, W] of one size."""
    first, second = unit_points(first, 1e-10), unit_points(second, 1e-10)  # eps as in LPIPS
    return (first - second).square().sum(1).mean()


def gram_distance(first, second):
    """||G_1 - G_2||^2 / ||G_2||^2 (Frobenius) of Gram matrices of features [1, C, H, W]."""
    first, second = (losses.gram(points_of(feature)) for feature in (first, second))
    return (first - second).square().sum() / second.square().sum()


def sliced_wasserstein(first, second):
    """Squared sliced 2-Wasserstein distance of the points of features [1, C, H, W], over the second's mean square.

    On each direction, drawn with a fixed seed, it compares quantiles (linear between the sorted points), so that the
    two may differ in size. Mean over directions and quantiles, divided by the mean square of the second's quantiles.
    """
    directions = np.random.RandomState(0).randn(PROJECTIONS, first.shape[1]).astype("float32")
    directions = paddle.to_tensor(directions / np.linalg.norm(directions, axis=1, keepdims=True))
    first, second = (
        _quantiles(np.sort(paddle.matmul(directions, feature[0].flatten(1)).numpy(), axis=1))
        for feature in (first, second)
    )
    return np.square(first - second).mean() / np.square(second).mean()


def _quantiles(ordered):
    """QUANTILES quantiles of each row of sorted numbers, as np.quantile, which would sort again for each."""
    place = (np.arange(QUANTILES) + 0.5) / QUANTILES * (ordered.shape[1] - 1)
    below = place.astype(int)
    above = np.minimum(below + 1, ordered.shape[1] - 1)
    return ordered[:, below] + (place - below) * (ordered[:, above] - ordered[:, below])
