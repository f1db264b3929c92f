"""Adaptive Attention Normalization, AdaAttN: the layer of the paper (sections 3.2 and 3.4, appendix A.2)."""

from ppadaattn.model.attention import KINDS, style_state
from ppadaattn.model.features import modulate, points_of
from ppadaattn.model.init import near_identity_attention

from paddle import nn


class AdaAttN(nn.Layer):
    """Adaptive Attention Normalization: 1x1 convolutions f, g, h around the statistics (eqs. 4-8, appendix A.2).

    Args:
        value_channels: channels of F_c and F_s.
        key_channels: channels of F^{1:x}, the stacked key.
        attention: 'softmax' or 'cosine'.
        num_style_points: at most so many style points, drawn at random, are used; None for all (the paper).
        eps: as in `attention_statistics`.

    What the network asks of a transform, here and in `ppadaattn.model.transforms`:

    Attributes:
        levels: those of its paper.
        attentions: which kinds of attention it can be built with; empty where it has none.
        stacks_key: whether it takes the stacked key (eqs. 1 and 4), which is not computed for it otherwise.
        normalizes_content: whether it takes `content_statistics`.
        skips: levels at which the decoder's features take the style's mean and std by AdaIN (Avatar-Net).
    """

    levels = (3, 4, 5)
    attentions = KINDS
    stacks_key = True
    normalizes_content = True
    skips = ()

    def __init__(self, value_channels, key_channels, *, attention="softmax", num_style_points=None, eps=0.0):
        super().__init__()
        self.f = nn.Conv2D(key_channels, key_channels, 1)
        self.g = nn.Conv2D(key_channels, key_channels, 1)
        self.h = nn.Conv2D(value_channels, value_channels, 1)
        self.attention = attention
        self.num_style_points = num_style_points
        self.eps = eps

    def prepare_style(self, style, style_key, seed=0, points=None):
        """The StyleState of a style feature [B, C, H, W] and its stacked key [B, D, H, W].

        `points`, an int tensor of flat positions, restricts it to a region.
        """
        key, value = points_of(self.g(style_key), points), points_of(self.h(style), points)
        return style_state(key, value, self.attention, eps=self.eps, num_style_points=self.num_style_points, seed=seed)

    def init_near_identity(self):
        """f, g and h near the identity, where AdaAttN is nearly the parameter-free AdaAttN* of eq. 11, but softer."""
        near_identity_attention(self.f, self.g, self.h)

    def forward(self, content, content_key, state, content_statistics=None):
        """F_cs [B, C, H, W] (eq. 8) of a content feature, its stacked key [B, D, H, W] and a style's state.

        `content_statistics` as in `modulate`.
        """
        mean, std = state.statistics(self.f(content_key).flatten(2))
        return modulate(content, mean, std, content_statistics)
