"""First weights of a network that is not loaded."""

import paddle
from paddle import nn

INITS = ("kaiming", "release")


@paddle.no_grad()
def initialize(network, init="kaiming", identity_attention=False):
    """First weights of a network, from Paddle's seed.

    Args:
        init: 'kaiming' (normal, He et al. 2015), or 'release' (normal with std 0.02, the authors' default).
        identity_attention: f, g and h near the identity, where AdaAttN begins as a softer AdaAttN* (eq. 11); other
            transforms likewise as nearly nothing but their formula (`init_near_identity`).
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


def near_identity_attention(f, g, h):
    """f, g and h of an attention begin near the identity, f and g over the fourth root of their channels.

    A softmax has then the temperature of scaled dot-product attention (Vaswani et al. 2017). At that of eq. 5, which
    has none, nearly every point attends to a single other one from the start: its weighted variance is 0, and f and g
    have no gradient. Cosine attention sees no difference.
    """
    for layer in (f, g):
        near_identity(layer, layer.weight.shape[0] ** -0.25)
    near_identity(h)


@paddle.no_grad()
def near_identity(layer, scale=1.0):
    """A 1x1 convolution begins as the identity and a little noise, times `scale`."""
    nn.initializer.Normal(std=0.01)(layer.weight)
    identity = paddle.eye(*layer.weight.shape[:2]).reshape(layer.weight.shape)
    layer.weight.set_value(scale * (layer.weight + identity))
