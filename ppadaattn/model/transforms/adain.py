"""Adaptive instance normalization (Huang & Belongie, ICCV 2017, https://arxiv.org/abs/1703.06868), on relu4_1.

    AdaIN(x, y) = sigma(y) (x - mu(x)) / sigma(x) + mu(y)        (their eq. 8)

with mean and standard deviation of each channel over the whole picture. It is AdaAttN with equal attention to all
points of the style. It has no parameters; training adapts the decoder, that of Table 3 from relu4_1 on.

The paper leaves open the eps in the root of sigma and the divisor of the variance: here 1e-5 and n - 1 (unbiased), as
in all of this package.
"""

from ppadaattn.model.features import modulate
from ppadaattn.model.transforms.base import FeatureTransform, Statistics

import paddle


class AdaIN(FeatureTransform):
    """Arguments and use as in FeatureTransform. Styles can also be concatenated, as if they were one picture."""

    normalizes_content = True

    def prepare_style(self, style, style_key=None, seed=0, points=None):
        return Statistics.of(style, points)

    def transfer(self, content, state, content_statistics=None):
        return adain(content, state, content_statistics)


def adain(content, state, content_statistics=None):
    """AdaIN of a content feature [B, C, H, W] with the Statistics of a style; `content_statistics` as in `modulate`."""
    mean, std = state["mean"], (state["variance"] + 1e-5).sqrt()
    mean, std = (paddle.expand(statistic, content.shape) for statistic in (mean, std))
    return modulate(content, mean, std, content_statistics)
