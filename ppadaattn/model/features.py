"""Operations on feature maps: statistics of channels, Norm, the stacked key (eqs. 1, 4 and 8).

Feature maps are [B, C, H, W]; points are feature maps with flat positions, [B, C, N].
"""

from ppadaattn.model.vgg import shape_of

import numpy as np
import paddle
import paddle.nn.functional as F


def points_of(feature, chosen=None):
    """The points [B, C, N] of a feature [B, C, H, W]: all, or those at the flat positions `chosen`, an int tensor."""
    points = feature.flatten(2)
    return points if chosen is None else points.index_select(chosen, -1)


def channel_statistics(feature, eps=1e-5):
    """Mean and standard deviation of each channel over its positions.

    Args:
        feature: [B, C, H, W] or [B, C, N].
        eps: added to the variance. The paper has none; 1e-5 is the authors' release.

    Returns:
        mean, std: each [B, C, 1, 1] or [B, C, 1].
    """
    mean, variance = channel_moments(feature)
    return mean, (variance + eps).sqrt()


def channel_moments(feature):
    """As `channel_statistics`, the variance instead of its root.

    It is unbiased (divided by n - 1), as in the authors' release; a single position has variance 0.
    """
    positions = list(range(2, feature.ndim))
    mean = feature.mean(positions, keepdim=True)
    return mean, (feature - mean).square().sum(positions, keepdim=True) / _others(feature)


def _others(feature):
    """n - 1 for a map of n positions, and 1 for a single one."""
    if paddle.in_dynamic_mode():
        return max(int(np.prod(feature.shape[2:])) - 1, 1)
    return (shape_of(feature)[2:].prod() - 1).clip(min=1).astype(feature.dtype)


def normalize(feature, eps=1e-5):
    """Norm of eqs. 4 and 8: each channel shifted and scaled to mean 0 and standard deviation 1. Keeps the shape."""
    mean, std = channel_statistics(feature, eps)
    return (feature - mean) / std


def modulate(content, mean, std, content_statistics=None):
    """Eq. 8: the content feature, normalized, takes the statistics of the style point by point.

    Args:
        content: F_c, [B, C, H, W].
        mean, std: M and S, [B, C, H * W].
        content_statistics: what Norm(F_c) subtracts and divides by, each [B, C, 1, 1]; default: F_c's own.

    Returns:
        F_cs, [B, C, H, W].
    """
    shift, scale = content_statistics or channel_statistics(content)
    shape = shape_of(content)
    return std.reshape(shape) * ((content - shift) / scale) + mean.reshape(shape)


def stacked_key(features, level, resize="bilinear", shallow_features=True):
    """Norm(F^{1:x}) of eqs. 1 and 4: the features of levels 1 to x at the size of level x, normalized.

    Norm is per channel, so normalizing the stack is normalizing each part.

    Args:
        features: {'relu1_1': [B, C1, H1, W1], ...}, levels 1 to x at least.
        level: x.
        resize: 'bilinear' (eq. 1; half-pixel centres, no antialiasing) or 'nearest' (the authors' release).
        shallow_features: False for Norm(F^x) alone, the ablation of figures 5 and 11.

    Returns:
        [B, C1 + ... + Cx, Hx, Wx]; without shallow features [B, Cx, Hx, Wx].
    """
    size = shape_of(features[f"relu{level}_1"])[2:]
    levels = range(1, level) if shallow_features else ()
    shallow = [F.interpolate(features[f"relu{x}_1"], size, mode=resize) for x in levels]
    return normalize(paddle.concat([*shallow, features[f"relu{level}_1"]], 1))


def unit_points(points, eps=0.0):
    """Points [B, D, N] or [B, D, H, W] divided by their Euclidean norm plus `eps`; a zero vector stays one."""
    return points / (points.square().sum(1, keepdim=True).clip(min=1e-30).sqrt() + eps)


def sample_points(count, num_style_points=None, seed=0):
    """Indices of the style points that attention uses, as the authors' release draws them, or None for all.

    Args:
        count: how many points there are.
        num_style_points: how many to use at most; None for all.
        seed: equal seeds draw equal points.

    Returns:
        int64 [num_style_points] without repetition, or None.
    """
    if num_style_points is None or count <= num_style_points:
        return None
    return paddle.to_tensor(np.random.RandomState(seed).permutation(count)[:num_style_points])
