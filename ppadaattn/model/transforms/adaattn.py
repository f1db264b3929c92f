"""Adaptive Attention Normalization (AdaAttN), the layer of the paper (sections 3.2 and 3.4, appendix A.2).

    Q = f(Norm(F_c^{1:x})),  K = g(Norm(F_s^{1:x})),  V = h(F_s^x)    (eq. 4)
    M, S = mean and std of V, weighted by the attention of Q to K     (eqs. 5-7 and 12)
    F_cs = S * Norm(F_c) + M                                          (eq. 8)

Attention is in `ppadaattn.model.attention`, eq. 8 and the stacked key F^{1:x} in `ppadaattn.model.features`.
"""

from ppadaattn.model.architecture import KINDS
from ppadaattn.model.attention import style_state
from ppadaattn.model.features import modulate, points_of
from ppadaattn.model.init import init_attention_near_identity

from paddle import nn


class AdaAttN(nn.Layer):
    """AdaAttN at one level: 1x1 convolutions f, g and h, attention, modulation.

    Args:
        value_channels: C, channels of F_c and F_s.
        key_channels: D, channels of the stacked key F^{1:x}.
        attention: 'softmax' or 'cosine'.
        num_style_points: how many style points to use at most; None for all (the paper).
        eps: as in `attention_statistics`.

    Class attributes, which every transform of `ppadaattn.model.transforms` has:
        levels: those of its paper.
        attentions: the kinds of attention that it can have; empty where it has none.
        stacks_key: whether it takes the stacked key (eqs. 1 and 4); otherwise the network passes None.
        normalizes_content: whether it takes `content_statistics`.
        skips: levels at which AdaIN gives the decoder's features the style's mean and std (Avatar-Net).
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
        """The StyleState of a style feature F_s [B, C, H, W] and its stacked key [B, D, H, W].

        `seed` as in `sample_points`; `points`, an int tensor of flat positions, restricts it to a region.
        """
        key, value = points_of(self.g(style_key), points), points_of(self.h(style), points)  # [B, D, N], [B, C, N]
        return style_state(key, value, self.attention, eps=self.eps, num_style_points=self.num_style_points, seed=seed)

    def init_near_identity(self):
        """Set f, g and h near the identity: AdaAttN is then nearly AdaAttN* of eq. 11, but with softer attention."""
        init_attention_near_identity(self.f, self.g, self.h)

    def forward(self, content, content_key, state, content_statistics=None):
        """F_cs [B, C, H, W] of a content feature F_c [B, C, H, W], its stacked key [B, D, H, W] and a style's state.

        `content_statistics` as in `modulate`.
        """
        mean, std = state.statistics(self.f(content_key).flatten(2))  # M and S, each [B, C, N]
        return modulate(content, mean, std, content_statistics)
