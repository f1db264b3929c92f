"""The style-attentional network (Park & Lee, CVPR 2019, https://arxiv.org/abs/1812.02342), on relu4_1 and relu5_1.

    F_cs = F_c + out(M),    M = softmax(f(Norm(F_c))^T g(Norm(F_s))) h(F_s)        (their section 3.2)

A 1x1 convolution of the attention-weighted mean is added to the content (figure 3b of the AdaAttN paper); nothing is
modulated. The merge of both levels and the decoder are AdaAttN's without level 3. The paper's merge convolution has no
ReLU after it, as with this project's `conventions: release`.

With `shallow_features` query and key are AdaAttN's stacked keys: the ablation of figure 11.
"""

from ppadaattn.model.init import init_near_zero
from ppadaattn.model.transforms.adaattn import AdaAttN
from ppadaattn.model.transforms.base import check_content_statistics

from paddle import nn


class SANet(AdaAttN):
    """Arguments and use as in AdaAttN; `cosine` attention works too, which is not in the paper."""

    levels = (4, 5)
    normalizes_content = False

    def __init__(self, value_channels, key_channels, **options):
        super().__init__(value_channels, key_channels, **options)
        self.out = nn.Conv2D(value_channels, value_channels, 1)

    def init_near_identity(self):
        """Set f, g and h near the identity and `out` near 0: F_cs begins as F_c."""
        super().init_near_identity()
        init_near_zero(self.out)

    def forward(self, content, content_key, state, content_statistics=None):
        """F_cs [B, C, H, W]; as in AdaAttN. Raises ValueError for `content_statistics`."""
        check_content_statistics(self, content_statistics)
        mean, _ = state.statistics(self.f(content_key).flatten(2))
        return content + self.out(mean.reshape(content.shape))
