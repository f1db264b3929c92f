"""Multi-adaptation network (MAST; Deng et al., ACM MM 2020, https://arxiv.org/abs/2005.13219), on relu4_1.

Two self-adaptations disentangle content and style, and a co-adaptation joins them:

    F_cc = F_c + out(h(F_c) softmax(f(Norm(F_c))^T g(Norm(F_c)))^T)      content: attention of points to points
    F_ss = F_s + out(softmax(f(F_s) g(F_s)^T)^T h(Norm(F_s)))            style: attention of channels to channels
    F_cs = F_cc + out(h(F_ss) softmax(f(Norm(F_cc))^T g(Norm(F_ss)))^T)  co-adaptation        (their section 3)

each with its own convolutions f, g, h and out. The paper leaves open what is normalized, the 1x1 convolution after each
attention and the temperature of the softmax: here as in the authors' code (no temperature).
"""

from ppadaattn.model.attention import style_state
from ppadaattn.model.features import normalize, points_of
from ppadaattn.model.init import init_attention_near_identity, init_near_zero
from ppadaattn.model.transforms.base import check_content_statistics

import paddle
import paddle.nn.functional as F
from paddle import nn


class MAST(nn.Layer):
    """Arguments, attributes and use as in AdaAttN; the attention is softmax."""

    levels = (4,)
    attentions = ("softmax",)
    stacks_key = False
    normalizes_content = False
    skips = ()

    def __init__(self, channels, key_channels=None, *, num_style_points=None, **options):
        super().__init__()
        self.content = Attention(channels)
        self.style = Attention(channels)
        self.joint = Attention(channels)
        self.num_style_points = num_style_points

    def init_near_identity(self):
        """Set f, g and h near the identity and `out` near 0: F_cs begins as F_c."""
        for attention in (self.content, self.style, self.joint):
            attention.init_near_identity()

    def prepare_style(self, style, style_key=None, seed=0, points=None):
        """The StyleState of a style feature [B, C, H, W]; `points`, flat positions, restricts it to a region."""
        return self.joint.state(self.adapt_style(style), points, num_style_points=self.num_style_points, seed=seed)

    def forward(self, content, content_key, state, content_statistics=None):
        """F_cs [B, C, H, W] of a content feature and a style's state. Raises ValueError for `content_statistics`."""
        check_content_statistics(self, content_statistics)
        return self.joint(self.adapt_content(content), state)

    def adapt_content(self, content):
        """F_cc [B, C, H, W]: attention of the content's points to each other."""
        return self.content(content, self.content.state(content))

    def adapt_style(self, style):
        """F_ss [B, C, H, W]: attention of the style's channels to each other."""
        layer = self.style
        query, key, value = (x.flatten(2) for x in (layer.f(style), layer.g(style), layer.h(normalize(style))))
        attention = F.softmax(paddle.matmul(query, key, transpose_y=True), -1)  # [B, C, C]
        adapted = paddle.matmul(attention, value, transpose_x=True).reshape(style.shape)
        return style + layer.out(adapted)


class Attention(nn.Layer):
    """Softmax attention of points to points, with a residual connection: x + out(M)."""

    def __init__(self, channels):
        super().__init__()
        self.f, self.g, self.h, self.out = (nn.Conv2D(channels, channels, 1) for _ in range(4))

    def init_near_identity(self):
        init_attention_near_identity(self.f, self.g, self.h)
        init_near_zero(self.out)

    def state(self, feature, points=None, **options):
        """The StyleState of a feature [B, C, H, W], for attention to its points."""
        key, value = points_of(self.g(normalize(feature)), points), points_of(self.h(feature), points)
        return style_state(key, value, **options)

    def forward(self, feature, state):
        """x + out(M) [B, C, H, W] of a feature x and the state of what it attends to."""
        mean, _ = state.statistics(self.f(normalize(feature)).flatten(2))
        return feature + self.out(mean.reshape(feature.shape))
