"""Losses of the paper (sections 3.3, 3.4 and 4.3) and of the methods that it compares with: features in, scalars out.

Features are those of the loss network (VGG-19), as `Encoder` returns them: {'relu1_1': float [B, C1, H1, W1], ...}.
Each loss is a scalar tensor; the caller multiplies it by its weight (eq. 9: 10 L_gs + 3 L_lf, + 100 L_is for video).

Options that several losses have:
    levels: the x of the layers relu{x}_1 that are summed over.
    distance: 'mse', the mean of squared differences (the authors' release; the weights 10 and 3 were tuned with it), or
        'l2', the norm of the difference as the paper writes it, averaged over the batch.
    level_weights: {level: factor}, 1 for a level that it lacks; None: 1 for all, as in the paper.
"""

from ppadaattn.device import without_gradients
from ppadaattn.model.attention import TILE_NUMBERS, style_state
from ppadaattn.model.features import channel_statistics, modulate, normalize, stacked_key, unit_points
from ppadaattn.model.transforms.adain import adain
from ppadaattn.model.transforms.base import Statistics

import paddle
import paddle.nn.functional as F
from paddle.autograd import PyLayer

DISTANCES = ("mse", "l2")
SIMILARITY_NORMALIZATIONS = ("printed", "size_independent")


def global_style_loss(stylized, style, *, levels=(2, 3, 4, 5), distance="mse", level_weights=None):
    """L_gs (eq. 10): distances of each channel's mean and standard deviation over the whole picture."""

    def term(name):
        pairs = zip(*(channel_statistics(_points(features[name])) for features in (stylized, style)))
        return sum(_distance(actual, target, distance) for actual, target in pairs)

    return _sum_over_levels(term, levels, level_weights)


def local_feature_loss(
    stylized, content, style, keys=None, *, levels=(3, 4, 5), distance="mse", level_weights=None, **star
):
    """L_lf (eq. 11): distance to AdaAttN*, AdaAttN without its convolutions f, g and h.

    No gradient flows into the target. `keys` are two dicts by level, of contents and of styles, of the `keys` of
    `adaattn_star`; `star` are its other options.
    """

    def term(name):
        level = int(name[4])
        own = keys and [side[level] for side in keys]
        return _distance(stylized[name], adaattn_star(content, style, level, keys=own, **star), distance)

    return _sum_over_levels(term, levels, level_weights)


@without_gradients
def adaattn_star(
    content,
    style,
    level,
    *,
    attention="softmax",
    resize="bilinear",
    shallow_features=True,
    num_style_points=None,
    seed=0,
    keys=None,
):
    """AdaAttN*(F_c^x, F_s^x, F_c^{1:x}, F_s^{1:x}) of eq. 11, without gradient: [B, C, H_x, W_x] at level x.

    Args:
        attention, resize, shallow_features: as in the network that is trained.
        num_style_points, seed: as in `attention.sample_points` (the release: 4096; the paper: None).
        keys: the stacked keys of content and style, as `stacked_key` gives them; None: they are computed here.
    """
    query, key = keys or (stacked_key(x, level, resize, shallow_features) for x in (content, style))
    query, key, value = map(_points, (query, key, style[f"relu{level}_1"]))
    state = style_state(key, value, attention, num_style_points=num_style_points, seed=seed)
    return modulate(content[f"relu{level}_1"], *state.statistics(query))


def content_loss(stylized, content, *, levels=(3, 4, 5), distance="mse", level_weights=None, normalized=False):
    """L_c of the ablation (section 4.3): distance to the content's own features.

    The paper does not say at which layers; these are those of L_lf, which it replaces.

    Args:
        normalized: compare Norm(F) instead of F, as SANet, MAST and MCCNet do.
    """
    norm = normalize if normalized else lambda feature: feature

    def term(name):
        return _distance(norm(_points(stylized[name])), norm(_points(content[name])).detach(), distance)

    return _sum_over_levels(term, levels, level_weights)


def image_similarity_loss(contents, stylized, *, levels=(2, 3, 4), normalization="printed", level_weights=None):
    """L_is (eq. 13): two stylized frames should be as similar to each other, point by point, as the two frames are.

    Args:
        contents: (features of frame 1, features of frame 2).
        stylized: (features of the stylized frame 1, of the stylized frame 2).
        normalization: 'printed', eq. 13 as it stands: with columns that sum to 1 and a mean over all pairs it is of the
            order 1/N, so that it shrinks as pictures grow; 'size_independent' multiplies each level by N of frame 1.
    """
    if normalization not in SIMILARITY_NORMALIZATIONS:
        raise ValueError(f"normalization must be one of {', '.join(SIMILARITY_NORMALIZATIONS)}; got {normalization!r}")

    def term(name):
        fixed = [features[name].detach() for features in contents]
        points = [unit_points(feature.flatten(2)) for feature in (*fixed, *(features[name] for features in stylized))]
        loss = _SimilarityDistance.apply(*points)
        return loss * points[0].shape[-1] if normalization == "size_independent" else loss

    return _sum_over_levels(term, levels, level_weights)


def adain_content_loss(stylized, content, style, *, levels=(4,), distance="mse", level_weights=None):
    """The content loss of AdaIN (Huang & Belongie 2017, eq. 12): distance to AdaIN's output t, without gradient to it.

    t is computed from the given features, those of the loss network. A decoder of a network whose encoder is VGG-19
    receives this same t.
    """

    def term(name):
        target = adain(content[name], Statistics.of(style[name]))
        return _distance(stylized[name], target.detach(), distance)

    return _sum_over_levels(term, levels, level_weights)


def gram_style_loss(stylized, style, *, levels=(1, 2, 3, 4), level_weights=None):
    """The style loss of Linear (Li et al. 2019): squared distances, summed, of Gram matrices and of channel means.

    The paper names Gram matrices; the division by C * H * W and the channel means are from the authors' code. Averaged
    over the batch.
    """

    def summed(first, second):
        return (first - second.detach()).square().sum() / first.shape[0]

    def term(name):
        actual, target = stylized[name].flatten(2), style[name].flatten(2)
        return summed(gram(actual), gram(target)) + summed(actual.mean(-1), target.mean(-1))

    return _sum_over_levels(term, levels, level_weights)


def gram(points):
    """Gram matrix [B, C, C] of points [B, C, N], divided by C * N."""
    return paddle.matmul(points, points, transpose_y=True) / (points.shape[1] * points.shape[2])


def identity_pixels_loss(painted, images):
    """The first identity loss of SANet (Park & Lee 2019): pictures painted in their own style should not change.

    Args:
        painted, images: lists of float [B, 3, H, W]: contents and styles.
    """
    return sum((actual - image).square().mean() for actual, image in zip(painted, images))


def identity_features_loss(painted, images, *, levels=(1, 2, 3, 4, 5), level_weights=None):
    """The second identity loss of SANet: the same on features; lists of the features of `identity_pixels_loss`."""

    def term(name):
        return sum(_distance(actual[name], image[name].detach(), "mse") for actual, image in zip(painted, images))

    return _sum_over_levels(term, levels, level_weights)


def illumination_loss(image, image_of_noisy_content):
    """The illumination loss of MCCNet (Deng et al. 2021): noise on the content should not change the picture.

    The mean squared difference of two float [B, 3, H, W], as in the authors' code; the paper writes a norm.
    """
    return (image - image_of_noisy_content).square().mean()


def disentangled_content_loss(stylized, *, levels=(4, 5), level_weights=None):
    """A disentanglement loss of MAST (Deng et al. 2020): one content in different styles keeps the same content.

    Args:
        stylized: features of a batch of pictures of one content, each in another style.

    The paper compares "different stylized results" and does not say how they are paired: here each picture is compared
    with the next one of the batch, and the last with the first. For a batch of one the loss is 0.
    """
    return content_loss(stylized, _next_in_batch(stylized), levels=levels, level_weights=level_weights, normalized=True)


def disentangled_style_loss(stylized, *, levels=(1, 2, 3, 4, 5), level_weights=None):
    """MAST's other one: different contents in one style have the same style. As `disentangled_content_loss`."""
    return global_style_loss(stylized, _next_in_batch(stylized), levels=levels, level_weights=level_weights)


def _next_in_batch(features):
    return {name: paddle.roll(feature, -1, 0) for name, feature in features.items()}


def total_variation_loss(image):
    """Mean absolute difference of neighbouring pixels, the sum of both directions (Avatar-Net, MCCNet's code)."""
    down = (image[:, :, 1:] - image[:, :, :-1]).abs().mean()
    return down + (image[:, :, :, 1:] - image[:, :, :, :-1]).abs().mean()


def range_loss(image):
    """How far the values of an image lie outside [0, 1], on average. Not in the paper: it avoids clipped colours."""
    return (image - image.clip(0, 1)).abs().mean()


def target_pixels_loss(image, target):
    """Mean absolute difference between pictures of this network and those of another one, float [B, 3, H, W]."""
    return (image - target).abs().mean()


def target_features_loss(stylized, target, *, levels=(1, 2, 3, 4)):
    """The same on features: at each level relative to the target's mean, so that all count alike; averaged over levels.

    `target_pixels_loss` and this are not in the paper: they teach the network to paint as another one does.
    """

    def term(name):
        wanted = target[name].detach()
        return (stylized[name] - wanted).abs().mean() / wanted.abs().mean()

    return sum(term(f"relu{level}_1") for level in levels) / len(levels)


def alive_loss(output, *, floor=0.1):
    """How far channels stay below being active: a hinge, summed over channels. Not in the paper.

    For each channel the mean of its most active tenth of positions, before the ReLU, should be at least `floor`.
    Without it deep channels of the decoder die within hundreds of iterations: their inputs are large and positive, and
    the other losses first push their part to nothing.

    Args:
        output: of a convolution that a ReLU follows, float [B, C, H, W]. Every second row and column is looked at.
    """
    looked_at = output.detach()[:, :, ::2, ::2]
    batch, _, height, width = looked_at.shape
    most_active = max(1, batch * height * width // 10)
    # A channel that reaches `floor` at so many positions loses nothing. Mostly all do, and gradients of the rest alone
    # are computed: those of the whole map took a tenth of a training step.
    low = (looked_at >= floor).astype("float32").sum([0, 2, 3]) < most_active
    low = paddle.nonzero(low).flatten()
    if not len(low):
        return paddle.zeros([])
    points = output.index_select(low, 1)[:, :, ::2, ::2].transpose([1, 0, 2, 3]).flatten(1)
    return F.relu(floor - points.topk(most_active, 1)[0].mean(1)).sum()


def _points(feature):
    """A map [B, C, H, W] as points [B, C, N]: on a CPU Paddle differentiates means over one axis five times faster."""
    return feature.flatten(2)


def _sum_over_levels(term, levels, level_weights):
    return sum((level_weights or {}).get(level, 1.0) * term(f"relu{level}_1") for level in levels)


def _distance(actual, target, kind):
    difference = (actual - target).square()
    if kind == "mse":
        return difference.mean()
    if kind == "l2":
        # The root's gradient is unbounded at 0.
        return difference.flatten(1).sum(1).clip(min=1e-24).sqrt().mean()
    raise ValueError(f"distance must be one of {', '.join(DISTANCES)}; got {kind!r}")


class _SimilarityDistance(PyLayer):
    """One level of eq. 13 on unit points c_1, c_2, cs_1, cs_2, each [B, C, N_1 or N_2] -> scalar, mean over the batch.

    D_ij = 1 - u_i . v_j is normalized column by column, so that columns can be computed in tiles. The backward pass
    computes each tile again; no N_1 x N_2 matrix is held whole. No gradient flows to the contents.
    """

    @staticmethod
    def forward(ctx, content_1, content_2, stylized_1, stylized_2):
        ctx.save_for_backward(content_1, content_2, stylized_1, stylized_2)
        ctx.needed = [not points.stop_gradient for points in (stylized_1, stylized_2)]
        total = paddle.zeros([], stylized_1.dtype)
        for tile in _column_tiles(content_1, content_2):
            content, stylized = (_column_shares(u, v[:, :, tile]) for u, v in _pairs(ctx))
            total = total + (content[0] - stylized[0]).abs().sum()
        return total / _count(content_1, content_2)

    @staticmethod
    def backward(ctx, grad):
        content_1, content_2, stylized_1, stylized_2 = ctx.saved_tensor()
        scale = grad / _count(content_1, content_2)
        grad_1, grad_2 = paddle.zeros_like(stylized_1), []
        for tile in _column_tiles(content_1, content_2):
            (content_share, _), (share, sums) = (_column_shares(u, v[:, :, tile]) for u, v in _pairs(ctx))
            # share = D / s: d share_ij = (d D_ij - share_ij d s_j) / s_j, and both D and s contain -u_i . v_j.
            sign = (share - content_share).sign() * scale
            grad_distance = (sign - (sign * share).sum(1, keepdim=True)) / sums
            grad_1 = grad_1 - paddle.matmul(stylized_2[:, :, tile], grad_distance, transpose_y=True)
            grad_2.append(-paddle.matmul(stylized_1, grad_distance))
        gradients = (grad_1, paddle.concat(grad_2, -1))
        return (None, None, *(gradient if needed else None for gradient, needed in zip(gradients, ctx.needed)))


def _pairs(ctx):
    content_1, content_2, stylized_1, stylized_2 = ctx.saved_tensor()
    return (content_1, content_2), (stylized_1, stylized_2)


def _column_tiles(first, second):
    batch, _, rows = first.shape
    columns = max(1, TILE_NUMBERS // (batch * rows))
    return [slice(start, start + columns) for start in range(0, second.shape[-1], columns)]


def _column_shares(first, second):
    """D_ij / sum_i D_ij, [B, N_1, n], and the sums, [B, 1, n], for all of `first` and n points of `second`."""
    distances = 1 - paddle.matmul(first, second, transpose_x=True)
    # Where all points are nearly equal, as in the flat picture of an untrained decoder, the distances are rounding
    # noise, and their shares could be arbitrarily large.
    sums = distances.sum(1, keepdim=True).clip(min=8 * paddle.finfo(distances.dtype).eps * first.shape[-1])
    return distances / sums, sums


def _count(first, second):
    return first.shape[0] * first.shape[-1] * second.shape[-1]
