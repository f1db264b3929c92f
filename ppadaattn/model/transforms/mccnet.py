"""Multi-channel correlation (MCCNet; Deng et al., AAAI 2021, https://arxiv.org/abs/2009.08003), on relu4_1.

    F_cs = F_c + out(f(Norm(F_c)) * w),    w = fc(||g(Norm(F_s))||^2 / N_s)        (their section 3.2)

The energy of each channel of the style, its mean square over all points, goes through a fully connected layer and
scales the channels of the content. All points of a content are scaled alike, which makes video steady.

The paper leaves open how ||.||^2 becomes independent of the size of the picture. The authors' code divides by the sum
of the same values, which is N_s times the bias of g, because Norm has mean 0: a learned number that can be 0. Here the
divisor is N_s alone.
"""

from ppadaattn.model.features import normalize, points_of
from ppadaattn.model.init import init_near_identity, init_near_zero
from ppadaattn.model.transforms.base import FeatureTransform, TensorState

from paddle import nn


class MCCNet(FeatureTransform):
    """Arguments and use as in FeatureTransform."""

    def __init__(self, channels, key_channels=None, **options):
        super().__init__(channels)
        self.f = nn.Conv2D(channels, channels, 1)
        self.g = nn.Conv2D(channels, channels, 1)
        self.fc = nn.Conv2D(channels, channels, 1)  # on a single point: fully connected
        self.out = nn.Conv2D(channels, channels, 1)

    def init_near_identity(self):
        """Set f, g and fc near the identity and `out` near 0: F_cs begins as F_c."""
        for convolution in (self.f, self.g, self.fc):
            init_near_identity(convolution)
        init_near_zero(self.out)

    def prepare_style(self, style, style_key=None, seed=0, points=None):
        energy = points_of(self.g(normalize(style)), points).square().mean(-1, keepdim=True)
        return TensorState(weight=self.fc(energy.unsqueeze(-1)))  # w, [B, C, 1, 1]

    def transfer(self, content, state):
        return content + self.out(self.f(normalize(content)) * state["weight"])
