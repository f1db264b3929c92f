"""What a convolution reads at each point, over the pictures of a batch: the rows of a linear problem."""

import contextlib

from ppadaattn.model.vgg import ReflectionConv2D, reflect

import numpy as np
import paddle.nn.functional as F


class _ReachedError(Exception):
    """Ends a pass through the network at the layer that is looked at."""


def input_of(layer, run):
    """The input [B, C, H, W] of a layer when `run` is called, which goes no further than to this layer."""
    seen = []

    def stop(_, inputs):
        seen.append(inputs[0])
        raise _ReachedError

    with hooks_before({layer: stop}), contextlib.suppress(_ReachedError):
        run()
    return seen[0]


def hooks_before(hooks):
    """A context in which {layer: hook} see the inputs of each layer."""
    return _removed([layer.register_forward_pre_hook(hook) for layer, hook in hooks.items()])


def hooks_after(hooks):
    """A context in which {layer: hook} see the output of each layer."""
    return _removed([layer.register_forward_post_hook(hook) for layer, hook in hooks.items()])


@contextlib.contextmanager
def _removed(hooks):
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def patches(convolution, x, chosen):
    """The patches of some points of a convolution's input.

    Args:
        convolution: of stride 1, 1x1 or with reflection padding.
        x: float [B, C, H, W].
        chosen: int array [n], flat positions over B * H * W.

    Returns:
        float32 array [n, C * k * k], in the order of `convolution.weight.flatten(1)`: the output before the bias is
        their product with it.
    """
    size = convolution.weight.shape[2]
    if isinstance(convolution, ReflectionConv2D):
        x = reflect(reflect(x, axis=2), axis=3)
    rows = F.unfold(x, size).transpose([0, 2, 1]).flatten(0, 1)
    return rows.numpy()[chosen]


def draw_points(x, most, rng):
    """At most `most` different flat positions of a map [B, C, H, W], drawn with a numpy RandomState; int array."""
    batch, _, height, width = x.shape
    return rng.permutation(batch * height * width)[:most]


def moments(rows):
    """Mean float32 [D] and covariance float32 [D, D] of a list of arrays [n, D]."""
    count = sum(map(len, rows))
    mean = sum(part.sum(0, dtype="float64") for part in rows) / count
    mean = mean.astype("float32")
    covariance = np.zeros([len(mean)] * 2, "float32")
    for part in rows:
        centred = part - mean
        covariance += centred.T @ centred / np.float32(count)
    return mean, covariance
