"""Avatar-Net (Sheng et al., CVPR 2018, https://arxiv.org/abs/1805.03857), on relu4_1 with an hourglass decoder.

The style decorator, which has no parameters:

    1. Z_c, Z_s: content and style whitened by ZCA, so that their channels are uncorrelated and have variance 1;
    2. Z_cs: each patch of Z_c replaced by the patch of Z_s of greatest normalized cross-correlation, with the average
       where patches overlap;
    3. F_cs: Z_cs coloured with the covariance and the mean of the style.

In the decoder AdaIN gives the features of levels 3, 2 and 1 the style's mean and std of that level (`skips`), before
the last convolution of the level. Only the decoder is trained, to reconstruct pictures.

The paper leaves open, and here is as in the authors' code: level 4, patches of 5 x 5, eigenvalues up to 1e-5 left out,
the places of the AdaINs. Chosen here: beyond the border the nearest point is repeated, for content and style alike,
which works for maps of any size (the code reflects the content and pads the style with 0); and the decoder is that of
Table 3, which has one convolution less than the code's, and 3x3 instead of 7x7 in the last one.
"""

from ppadaattn.device import without_gradients
from ppadaattn.model.attention import TILE_NUMBERS
from ppadaattn.model.transforms.base import FeatureTransform, TensorState

import numpy as np
import paddle

PATCH = 5
SMALLEST_VARIANCE = 1e-5


class AvatarNet(FeatureTransform):
    """Arguments and use as in FeatureTransform. No gradient flows through it."""

    skips = (1, 2, 3)

    @without_gradients
    def prepare_style(self, style, style_key=None, seed=0, points=None):
        flat = style.flatten(2)
        centres = paddle.arange(flat.shape[-1]) if points is None else points
        mean, whiten, colour = whitening(flat.index_select(centres, -1))
        whitened = paddle.matmul(whiten, flat - mean).reshape(style.shape)
        return TensorState(mean=mean.unsqueeze(-1), colour=colour, whitened=whitened, centres=centres.unsqueeze(0))

    @without_gradients
    def transfer(self, content, state):
        mean, whiten, _ = whitening(content.flatten(2))
        whitened = paddle.matmul(whiten, content.flatten(2) - mean).reshape(content.shape)
        styles, centres = list(state["whitened"]) * (len(whitened) // state.batch), state["centres"][0]
        decorated = paddle.stack([swap_patches(own, style, centres) for own, style in zip(whitened, styles)])
        coloured = paddle.matmul(state["colour"], decorated.flatten(2)).reshape(content.shape)
        return coloured + state["mean"]


def whitening(points):
    """Mean [B, C, 1], whitening matrix and colouring matrix, each [B, C, C], of points [B, C, N], by ZCA.

    Computed in float64: in float32 directions of no variance would look as if they had a little.
    """
    exact = points.astype("float64")
    mean = exact.mean(-1, keepdim=True)
    centred = exact - mean
    covariance = paddle.matmul(centred, centred, transpose_y=True) / points.shape[-1]
    values, vectors = paddle.linalg.eigh(covariance)
    kept = (values > SMALLEST_VARIANCE).astype("float64")
    roots = values.clip(min=SMALLEST_VARIANCE).sqrt()

    def matrix(scales):
        return paddle.matmul(vectors * (scales * kept).unsqueeze(1), vectors, transpose_y=True).astype(points.dtype)

    return mean.astype(points.dtype), matrix(1 / roots), matrix(roots)


def swap_patches(content, style, centres, patch=PATCH):
    """Replace each patch of a content [C, H, W] by the most similar patch of a style [C, H', W'].

    `centres`, flat positions in the style, are the centres of the patches to choose from.
    """
    radius = patch // 2
    (_, height, width), style_width = content.shape, style.shape[2]
    padded = _pad(style, radius)
    matches = paddle.concat(list(_best_matches(_pad(content, radius), padded, centres, patch)))
    corners = matches // style_width * (style_width + 2 * radius) + matches % style_width
    total = paddle.zeros([content.shape[0], height + 2 * radius, width + 2 * radius])
    count = paddle.zeros([1, *total.shape[1:]])
    flat = padded.flatten(1)
    for down, right in np.ndindex(patch, patch):
        points = corners + down * (style_width + 2 * radius) + right
        values = flat.index_select(points, -1).reshape([-1, height, width])
        total[:, down : down + height, right : right + width] += values
        count[:, down : down + height, right : right + width] += 1
    inside = slice(radius, radius + height), slice(radius, radius + width)
    return (total / count.clip(min=1))[(slice(None), *inside)]


def _best_matches(content, style, centres, patch):
    """Yield, for one band of rows of a padded content after the other, flat positions of the best patches of the style.

    The product of two patches is the sum of the products of their points. The products of all points are computed once,
    and added up along the diagonals.
    """
    channels, height, width = content.shape[0], content.shape[1] - patch + 1, content.shape[2] - patch + 1
    style_height, style_width = style.shape[1] - patch + 1, style.shape[2] - patch + 1
    flat = style.flatten(1)
    squares = flat.square().sum(0).reshape(style.shape[1:])
    energy = sum(
        squares[down : down + style_height, right : right + style_width] for down, right in np.ndindex(patch, patch)
    )
    # Where a style does not vary its whitened patches are 0: they never win, and nothing is divided by 0.
    scale = 1 / energy.flatten().index_select(centres).clip(min=1e-14).sqrt()
    rows = max(1, TILE_NUMBERS // (content.shape[2] * flat.shape[1]) - patch + 1)
    for top in range(0, height, rows):
        count = min(rows, height - top)
        band = content[:, top : top + count + patch - 1].reshape([channels, -1])
        products = paddle.matmul(band, flat, transpose_x=True)
        products = products.reshape([count + patch - 1, content.shape[2], *style.shape[1:]])
        down = sum(products[d : d + count, :, d : d + style_height] for d in range(patch))
        scores = sum(down[:, d : d + width, :, d : d + style_width] for d in range(patch))
        scores = scores.reshape([count * width, -1]).index_select(centres, -1) * scale
        yield centres.index_select(scores.argmax(-1))


def _pad(feature, radius):
    """Pad [C, H, W] on all sides by the nearest point."""
    for axis in (1, 2):
        places = np.clip(np.arange(-radius, feature.shape[axis] + radius), 0, feature.shape[axis] - 1)
        feature = feature.index_select(paddle.to_tensor(places), axis)
    return feature
