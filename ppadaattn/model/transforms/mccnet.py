"""Multi-channel correlation (MCCNet; Deng et al., AAAI 2021, https://arxiv.org/abs/2009.08003), on relu4_1.

    F_cs = F_c + out(f(Norm(F_c)) * w),    w = fc(||g(Norm(F_s))||^2 / N_s)        (their section 3.2)

Content and style are correlated channel by channel: the energy of each channel of the style, over all of its points,
mixed over channels by a fully connected layer, scales the channels of the content. All points of a content are treated
alike, from which its steadiness in video comes.

Left open there: how ||.||^2 is freed from the size of the picture. The authors' code divides it by the sum of the same
values, which, as Norm has mean 0, is N_s times the bias of g: a division by a learned number that can be 0. Here it is
divided by N_s alone, which differs from the code's by that factor.
"""

from ppadaattn.model.features import normalize, points_of
from ppadaattn.model.init import near_identity
from ppadaattn.model.transforms.base import FeatureTransform, Tensors

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
        """f, g and fc near the identity, and `out` near 0: F_cs begins as F_c."""
        for layer in (self.f, self.g, self.fc):
            near_identity(layer)
        nn.initializer.Normal(std=0.01)(self.out.weight)

    def prepare_style(self, style, style_key=None, seed=0, points=None):
        energy = points_of(self.g(normalize(style)), points).square().mean(-1, keepdim=True)
        return Tensors(weight=self.fc(energy.unsqueeze(-1)))

    def transfer(self, content, state):
        return content + self.out(self.f(normalize(content)) * state["weight"])
