"""Learned linear style transfer (Li et al., CVPR 2019, https://arxiv.org/abs/1808.04537), on relu4_1 (or relu3_1).

    F_cs = uncompress(T compress(F_c - mu(F_c))) + mu(F_s),    T = T_s T_c        (their section 3)

A small network each gives T_s and T_c: three 3x3 convolutions of the centred feature, the covariance of their output,
and a fully connected layer. The state of a style is T_s and mu(F_s).

The paper leaves open, and here is as in the authors' code: zero padding of these convolutions, the covariance divided
by the number of points and not centred again, no ReLU after the last convolution, and 32 compressed channels at each
level.
"""

from ppadaattn.model.features import points_of
from ppadaattn.model.transforms.base import FeatureTransform, TensorState

import paddle
import paddle.nn.functional as F
from paddle import nn

COMPRESSED = 32


class Linear(FeatureTransform):
    """Arguments and use as in FeatureTransform."""

    def __init__(self, channels, key_channels=None, **options):
        super().__init__(channels)
        self.size = min(COMPRESSED, channels)
        self.compress = nn.Conv2D(channels, self.size, 1)
        self.uncompress = nn.Conv2D(self.size, channels, 1)
        self.content_matrix = Matrix(channels, self.size)
        self.style_matrix = Matrix(channels, self.size)

    def init_near_identity(self):
        """Set T near the identity, and `uncompress` to the inverse of `compress` on the compressed channels."""
        for network in (self.content_matrix, self.style_matrix):
            network.init_near_identity()
        orthogonal, _ = paddle.linalg.qr(paddle.randn([self.channels, self.size]))
        self.compress.weight.set_value(orthogonal.t().reshape(self.compress.weight.shape))
        self.uncompress.weight.set_value(orthogonal.reshape(self.uncompress.weight.shape))

    def prepare_style(self, style, style_key=None, seed=0, points=None):
        mean = points_of(style, points).mean(-1, keepdim=True).unsqueeze(-1)
        return TensorState(mean=mean, matrix=self.style_matrix(style - mean, points))  # mu(F_s), T_s

    def transfer(self, content, state):
        centred = content - content.mean([2, 3], keepdim=True)
        matrix = paddle.matmul(state["matrix"], self.content_matrix(centred))
        compressed = self.compress(centred)
        transformed = paddle.matmul(matrix, compressed.flatten(2)).reshape(compressed.shape)
        return self.uncompress(transformed) + state["mean"]


class Matrix(nn.Layer):
    """T_s or T_c, [B, size, size], of a centred feature [B, C, H, W], from the covariance of its convolutions."""

    def __init__(self, channels, size):
        super().__init__()
        halves = [channels, max(channels // 2, 1), max(channels // 4, 1), size]
        pairs = zip(halves, halves[1:])
        self.convolutions = nn.LayerList([nn.Conv2D(before, after, 3, padding=1) for before, after in pairs])
        self.size = size
        self.dense = nn.Conv2D(size * size, size * size, 1)  # on a single point: fully connected

    def init_near_identity(self):
        nn.initializer.Normal(std=1e-3)(self.dense.weight)
        self.dense.bias.set_value(paddle.eye(self.size).flatten())

    def forward(self, feature, points=None):
        """The matrix of a centred feature; `points`, flat positions, restricts the covariance to a region."""
        first, second, last = self.convolutions
        feature = points_of(last(F.relu(second(F.relu(first(feature))))), points)
        covariance = paddle.matmul(feature, feature, transpose_y=True) / feature.shape[-1]
        return self.dense(covariance.reshape([-1, self.size**2, 1, 1])).reshape([-1, self.size, self.size])
