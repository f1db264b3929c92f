"""Weights of a network before training."""

from ppadaattn.device import without_gradients

import paddle
from paddle import nn

INITS = ("kaiming", "release")


@without_gradients
def initialize(network: nn.Layer, init: str = "kaiming", identity_attention: bool = False) -> None:
    """Draw the weights of a network anew, from Paddle's seed. Biases are 0.

    Args:
        init: 'kaiming' (normal, He et al. 2015), or 'release' (normal with std 0.02, the authors' default).
        identity_attention: begin with f, g and h near the identity, where AdaAttN is a softer AdaAttN* (eq. 11); the
            other transforms begin likewise, near the content or their plain formula (see their `init_near_identity`).
    """
    release, transforms = nn.initializer.Normal(std=0.02), []
    for layer in network.sublayers():
        if isinstance(layer, nn.Conv2D):
            fan_in = layer.weight.shape[1] * layer.weight.shape[2] * layer.weight.shape[3]
            (nn.initializer.Normal(std=(2 / fan_in) ** 0.5) if init == "kaiming" else release)(layer.weight)
            nn.initializer.Constant(0.0)(layer.bias)
        elif identity_attention and hasattr(layer, "init_near_identity"):
            transforms.append(layer)
    for layer in transforms:
        layer.init_near_identity()


def init_attention_near_identity(f, g, h):
    """Set the convolutions f, g and h of an attention near the identity, f and g over the fourth root of channels.

    The softmax has then the temperature of scaled dot-product attention (Vaswani et al. 2017). Eq. 5 has none: there
    nearly every point attends to a single other point from the start, its weighted variance is 0, and f and g get no
    gradient. Cosine attention does not depend on the scale.
    """
    for convolution in (f, g):
        init_near_identity(convolution, convolution.weight.shape[0] ** -0.25)
    init_near_identity(h)


@without_gradients
def init_near_identity(convolution, scale=1.0):
    """Set a 1x1 convolution to the identity plus a little noise, times `scale`."""
    nn.initializer.Normal(std=0.01)(convolution.weight)
    identity = paddle.eye(*convolution.weight.shape[:2]).reshape(convolution.weight.shape)
    convolution.weight.set_value(scale * (convolution.weight + identity))


def init_near_zero(convolution):
    """Set a convolution to a little noise, so that what it is added to comes through unchanged."""
    nn.initializer.Normal(std=0.01)(convolution.weight)
