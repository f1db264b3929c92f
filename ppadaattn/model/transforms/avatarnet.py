"""Avatar-Net (Sheng et al., CVPR 2018, https://arxiv.org/abs/1805.03857), on relu4_1 with an hourglass decoder.

The style decorator, without anything to train:

    1. Z_c, Z_s: content and style whitened by ZCA, so that their channels are uncorrelated with variance 1;
    2. each patch of Z_c is replaced by the patch of Z_s with which its normalized cross-correlation is greatest, and
       where patches overlap they are averaged: Z_cs;
    3. F_cs: Z_cs coloured with the covariance and the mean of the style.

In the decoder, which mirrors the encoder, the features of levels 3, 2 and 1 are given the style's mean and std there by
AdaIN (`skips`), before the last convolution of their level. The decoder alone is trained, to reconstruct pictures.

Left open there, and taken from the authors' code: level 4, patches of 5 x 5, eigenvalues up to 1e-5 left out, where the
AdaINs stand. Chosen here: beyond the border the nearest point is repeated, for content and style alike, which works for
maps of any size (the code reflects the content and pads the style with 0); and the decoder is that of Table 3, with one
convolution less than the code's, and 3x3 instead of 7x7 for the last one.
"""

from ppadaattn.model.attention import TILE_NUMBERS
from ppadaattn.model.transforms.base import FeatureTransform, Tensors

import numpy as np
import paddle

PATCH = 5
SMALLEST_VARIANCE = 1e-5


class AvatarNet(FeatureTransform):
    """Arguments and use as in FeatureTransform. No gradient flows through it."""

    skips = (1, 2, 3)

    @paddle.no_grad()
    def prepare_style(self, style, style_key=None, seed=0, points=None):
        flat = style.flatten(2)
        centres = paddle.arange(flat.shape[-1]) if points is None else points
        mean, whiten, colour = whitening(flat.index_select(centres, -1))
        whitened = paddle.matmul(whiten, flat - mean).reshape(style.shape)
        return Tensors(mean=mean.unsqueeze(-1), colour=colour, whitened=whitened, centres=centres.unsqueeze(0))

    @paddle.no_grad()
    def transfer(self, content, state):
        mean, whiten, _ = whitening(content.flatten(2))
        whitened = paddle.matmul(whiten, content.flatten(2) - mean).reshape(content.shape)
        styles, centres = list(state["whitened"]) * (len(whitened) // state.batch), state["centres"][0]
        decorated = paddle.stack([swap_patches(own, style, centres) for own, style in zip(whitened, styles)])
        coloured = paddle.matmul(state["colour"], decorated.flatten(2)).reshape(content.shape)
        return coloured + state["mean"]


def whitening(points):
    """Mean [B, C, 1], whitening and colouring matrix [B, C, C] of points [B, C, N], by ZCA.

    In float64: directions in which the points do not vary at all must not look as if they varied a little.
    """
    exact = points.astype("float64")
    mean = exact.mean(-1, keepdim=True)
    centred = exact - mean
    covariance = paddle.matmul(centred, centred, transpose_y=True) / points.shape[-1]
    values, vectors = paddle.linalg.eigh(covariance)
    kept = (values > SMALLEST_VARIANCE).astype("float64")
    roots = values.clip(min=SMALLEST_VARIANCE).sqrt()

    def of(scales):
        return paddle.matmul(vectors * (scales * kept).unsqueeze(1), vectors, transpose_y=True).astype(points.dtype)

    return mean.astype(points.dtype), of(1 / roots), of(roots)


def swap_patches(content, style, centres, patch=PATCH):
    """A content [C, H, W] made of the patches of a style [C, H', W'] around `centres` that are most like its own."""
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
    """For bands of rows of a padded content: the flat positions in the style of the best patches.

    The product of two patches is the sum, over the points of a patch, of the products of points: these are computed
    once, and added up along the diagonals.
    """
    channels, height, width = content.shape[0], content.shape[1] - patch + 1, content.shape[2] - patch + 1
    style_height, style_width = style.shape[1] - patch + 1, style.shape[2] - patch + 1
    flat = style.flatten(1)
    squares = flat.square().sum(0).reshape(style.shape[1:])
    energy = sum(
        squares[down : down + style_height, right : right + style_width] for down, right in np.ndindex(patch, patch)
    )
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
    """The nearest point repeated beyond the border of [C, H, W]."""
    for axis in (1, 2):
        places = np.clip(np.arange(-radius, feature.shape[axis] + radius), 0, feature.shape[axis] - 1)
        feature = feature.index_select(paddle.to_tensor(places), axis)
    return feature
