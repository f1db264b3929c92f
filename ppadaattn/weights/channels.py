"""Encoders that are the same but for the scales of their channels.

A normalised VGG-19 is VGG-19 with every channel multiplied by a positive number, chosen so that its mean activation
over some pictures is 1: there is one for every set of pictures. Norm (eqs. 4 and 8) makes queries, keys and content of
all of them the same; only h reads features as they are. Heads that were trained with one of them serve another one when
the columns of h are divided by the factors between the two.
"""

import numpy as np

# Two files of one VGG-19 differ by float32's rounding; weights of two trainings by about their own size.
SAME_WEIGHTS = 1e-3
# Factors nearer to 1 than this are rounding.
SAME_SCALE = 1e-5


def unscaled(arrays, convolutions):
    """Yield (name, scales, rows) of each convolution of an encoder.

    Args:
        arrays: {name: array} of an Encoder.
        convolutions: (block, index) of each, in order.

    Yields:
        'conv1_1' and so on; float64 [C]: its channels' scales; float64 [C, D + 1]: weights and bias of each channel, of
        norm 1, as they are where no channel before is scaled. Encoders that differ by scales alone have the same rows.
    """
    before = np.ones(3)
    for place in convolutions:
        name = "conv{}_{}".format(*place)
        weight, bias = (np.asarray(arrays[f"{name}.{part}"], "float64") for part in ("weight", "bias"))
        rows = np.concatenate([(weight * before[:, None, None]).reshape(len(bias), -1), bias[:, None]], 1)
        sizes = np.linalg.norm(rows, axis=1)
        before = np.where(sizes > 0, sizes, 1)  # a channel that is 0 everywhere has no scale
        yield name, before, rows / before[:, None]


def describe_channels(arrays, convolutions):
    """{name of a convolution: float32 [3, C]}: of each channel its scale, and bias and sum of weights of its row.

    The last two tell whether another encoder is the same but for scales. Arguments as for `unscaled`.
    """
    return {
        name: np.stack([scales, rows[:, -1], rows[:, :-1].sum(1)]).astype("float32")
        for name, scales, rows in unscaled(arrays, convolutions)
    }


def channel_factors(own, other, tolerance=SAME_WEIGHTS):
    """By what the channels of one encoder are multiplied in another one.

    Args:
        own, other: as `describe_channels` gives them, for the same convolutions.
        tolerance: how far bias and sum of the rows of a convolution may be apart, as root mean square. Those of two
            trainings are about 1 apart.

    Returns:
        ({name of a convolution: float64 [C]}, None), or (None, the first convolution that differs by more than scales).
    """
    factors = {}
    for name, found in other.items():
        scales = own[name][0].astype("float64")
        apart = np.sqrt(np.square(own[name][1:] - found[1:]).mean())
        if not (apart <= tolerance and np.all(scales > 0) and np.isfinite(scales).all()):
            return None, name
        factors[name] = found[0] / scales
    return factors, None


def is_scaled(factors):
    """Whether any factor is another one than 1."""
    return any(np.abs(factor - 1).max(initial=0) > SAME_SCALE for factor in factors.values())


def with_scaled_values(weights, factors):
    """Weights of a network of AdaAttN, {name: float32 array}, for its encoder with channels multiplied by factors."""
    changed = dict(weights)
    for name, factor in factors.items():
        key = f"adaattn{name[len('conv') : -len('_1')]}.h.weight"
        if name.endswith("_1") and key in weights:
            changed[key] = (weights[key] / factor[:, None, None]).astype("float32")
    return changed
