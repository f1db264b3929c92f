"""How near methods come to pictures that another network has painted, on the same contents and styles."""

from pathlib import Path

from ppadaattn.device import select_device, without_gradients
from ppadaattn.errors import InputError
from ppadaattn.evaluation.methods import load_method
from ppadaattn.evaluation.quality import loss_network
from ppadaattn.media.images import to_floats
from ppadaattn.train import losses
from ppadaattn.train.config import TargetData
from ppadaattn.train.data import Targets

import paddle
import paddle.nn.functional as F

LEVELS = (1, 2, 3, 4)
LAYERS = tuple(f"relu{level}_1" for level in LEVELS)
TONE_SIZE = 32  # pixels: what is left are colours and their places
DISTANCES = {
    "pixels": "mean absolute difference of RGB in [0, 1]",
    "tone": f"the same at {TONE_SIZE} x {TONE_SIZE} pixels: colours and their places",
    "features": f"mean absolute difference of features over the mean of the painted picture's, mean over "
    f"{', '.join(LAYERS)}",
}


@without_gradients
def distances(encoder, picture, painted):
    """{distance: float} for each of DISTANCES, of uint8 pictures [H, W, 3]; `encoder` as of `quality.loss_network`."""
    first, second = (paddle.to_tensor(to_floats(array[None])) for array in (picture, painted))
    features, wanted = (encoder(image, LAYERS) for image in (first, second))
    tones = (F.adaptive_avg_pool2d(image, TONE_SIZE) for image in (first, second))
    return {
        "pixels": float(losses.target_pixels_loss(first, second)),
        "tone": float(losses.target_pixels_loss(*tones)),
        "features": float(losses.target_features_loss(features, wanted, levels=LEVELS)),
    }


def measure_painted(methods, folder, *, encoder=None, device=None):
    """Measure the distances of methods to the painted pictures of a folder.

    Args:
        methods: list of Method, with weights.
        folder: with content/, style/ and painted/, whose pictures are named as `train.data.Targets` says.
        encoder: path of VGG-19's weights, or None, as in `quality.loss_network`.

    Returns:
        ({name of a method: list of what `distances` gives, one for each painted picture}, name of the loss network,
        {painted picture that was left out: why}).

    Raises InputError where no painted picture can be used, or a method cannot be loaded.
    """
    select_device(device)
    roots = {f"{kind}_root": str(Path(folder) / kind) for kind in ("content", "style", "painted")}
    skipped = {}
    source, usable = Targets(TargetData(**roots), skipped), []
    for target in sorted(source.painted, key=lambda target: target.style):
        try:
            source.read(target)
            usable.append(target)
        except InputError as error:
            skipped[str(target.path)] = str(error)
    if not usable:
        name, reason = next(iter(skipped.items()))
        raise InputError(f"{folder}: no painted picture can be used, for instance {name}: {reason}")
    network, features = loss_network(encoder)
    found = {}
    for method in methods:
        stylizer, style = load_method(method, device), (None, None)
        found[method.name] = values = []
        for target in usable:
            if style[0] != target.style:
                style = target.style, stylizer.prepare_style(source.styles[target.style])
            picture = stylizer(source.contents[target.content], style[1])
            values.append(distances(network, picture, source.read(target)))
    return found, features, skipped
