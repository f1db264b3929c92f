"""A decoder to begin with, in closed form: one layer after the other is the solution of a linear problem.

A decoder of full width that begins with random weights takes hours until its pictures are worth looking at, and many of
its channels die on the way. Here each layer is fitted to what stands at its place in the encoder, for painted pictures
of another network: where the decoder comes from relu4_1 down to the picture, the encoder comes from the picture up to
relu4_1. So all channels are active from the first step on, and each layer's output is of the size of features.
"""

from ppadaattn.device import without_gradients
from ppadaattn.train.layer_inputs import draw_points, input_of, patches

import numpy as np
import paddle.nn.functional as F

# What the output of each layer should be: a feature of the painted picture, and by how much it is reduced. The last
# layer should give the picture itself.
FEATURES = {
    "merge": ("relu4_1", 1),
    "stage4": ("relu3_3", 2),
    "stage3.0": ("relu3_3", 1),
    "stage3.1": ("relu3_2", 1),
    "stage3.2": ("relu3_1", 1),
    "stage3.3": ("relu2_2", 2),
    "stage2.0": ("relu2_2", 1),
    "stage2.1": ("relu1_2", 2),
    "stage1.0": ("relu1_1", 1),
}
PICTURE = "stage1.1"

CROPS = 180
# Points of all crops together, in each layer: a dozen for each of the 4608 numbers that the widest layer reads.
POINTS = 60000
# Crops that are not fitted: on them the ridge is chosen.
HELD_OUT = 20
# Ridges relative to the mean variance of an input, a factor of three apart. At full width merge, the deepest layer,
# takes the largest, and the layers from stage3.1 on take the smallest.
RIDGES = (0.03, 0.1, 0.3, 1.0)


@without_gradients
def fit_decoder(network, crops, rng, say, points=POINTS, held_out=HELD_OUT):
    """Set the weights of the decoder so that it comes near to painted pictures, layer by layer.

    Each layer is the ridge regression from what it reads, behind the layers that are fitted already, to its feature of
    `FEATURES`, computed by the network's own encoder from the painted picture.

    Args:
        network: AdaAttNNetwork with levels up to relu4_1 at least.
        crops: list of ({level: F_cs}, painted float [1, 3, H, W], RGB in [0, 1]), H and W multiples of 16; the last
            `held_out` of them choose the ridge.
        rng: numpy RandomState, which draws the points.
        say: is called as soon as a layer is fitted, with its name in the decoder and with the share of the variance of
            its feature that stays unexplained on held-out crops.
        points: how many are drawn in each layer, from all crops together.
    """
    decoder = network.decoder
    before_relu = decoder.relu_convolutions()
    layers = {name: layer for name, layer in decoder.named_sublayers() if name in (*FEATURES, PICTURE)}
    for name, layer in layers.items():
        x, y = _rows(network, name, layer, crops, points // len(crops), rng)
        weight, bias, unexplained = _regression(x, y, held_out, name in before_relu)
        layer.weight.set_value(weight.T.reshape(layer.weight.shape))
        layer.bias.set_value(bias)
        say(name, unexplained)


def _rows(network, name, layer, crops, most, rng):
    """(what a layer reads [crops, n, D], what it should give [crops, n, C]) at n <= `most` points of each crop."""
    x = y = None
    for number, (embedded, painted) in enumerate(crops):
        seen = input_of(layer, lambda embedded=embedded: network.decoder(embedded))
        wanted = painted
        if name != PICTURE:
            feature, reduced = FEATURES[name]
            # Anew for each layer: the features of all crops at once would have 6 GB at full width.
            wanted = network.encoder(painted, [feature])[feature]
            wanted = F.avg_pool2d(wanted, reduced) if reduced > 1 else wanted
        wanted = wanted.transpose([0, 2, 3, 1]).flatten(0, 2)
        chosen = draw_points(seen, most, rng)
        if x is None:  # all at once: small arrays between large ones that come and go would scatter over the memory
            size = int(np.prod(layer.weight.shape[1:]))
            x, y = (np.empty([len(crops), len(chosen), n], "float32") for n in (size, wanted.shape[1]))
        x[number] = patches(layer, seen, chosen)
        y[number] = wanted.numpy()[chosen]
    return x, y


def _regression(x, y, held_out, relu):
    """Weights [D, C] and bias [C] of the best ridge, and the share of the held-out variance that they leave."""
    fitted = slice(None, -held_out)
    mean_x, mean_y = (z[fitted].mean((0, 1), dtype="float64").astype("float32") for z in (x, y))
    x -= mean_x
    y -= mean_y
    products, targets = 0.0, 0.0
    for crop_x, crop_y in zip(x[fitted], y[fitted]):
        products = products + crop_x.T @ crop_x
        targets = targets + crop_x.T @ crop_y
    variance = float(np.square(y[-held_out:]).sum())
    mean_variance = float(np.trace(products)) / len(products)
    best = None
    for ridge in RIDGES:
        # Where the input is 0 everywhere, any ridge above 0 gives the only sensible weights, which are 0.
        added = (ridge * mean_variance or 1.0) * np.eye(len(products), dtype="float32")
        weight = np.linalg.solve(products + added, targets)
        error = 0.0
        for crop_x, crop_y in zip(x[-held_out:], y[-held_out:]):
            found = crop_x @ weight
            error += float(np.square((np.maximum(found, -mean_y) if relu else found) - crop_y).sum())
        if best is None or error < best[-1]:
            best = weight, error
    weight, error = best
    return weight, mean_y - mean_x @ weight, error / variance
