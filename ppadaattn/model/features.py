"""Operations on feature maps: statistics of channels, Norm, the stacked key (eqs. 1, 4 and 8)."""

from typing import Optional, Tuple

from ppadaattn.model.architecture import chosen_positions
from ppadaattn.model.vgg import Features, shape_of

import numpy as np
import paddle
import paddle.nn.functional as F


def stacked_key(
    features: Features,
    level: int,
    resize: str = "bilinear",
    shallow_features: bool = True,
    statistics: Optional[Tuple[paddle.Tensor, paddle.Tensor]] = None,
) -> paddle.Tensor:
    """Norm(F^{1:x}) of eqs. 1 and 4: the features of levels 1 to x at the size of level x, normalized.

    Norm is per channel, so normalizing the stack is normalizing each part.

    Args:
        features, level, resize, shallow_features: as for `stacked_features`.
        statistics: the mean and std of Norm, each [B, C1 + ... + Cx, 1, 1]; default: those of the stack itself.

    Returns:
        shaped as `stacked_features`.
    """
    stack = stacked_features(features, level, resize, shallow_features)
    mean, std = statistics or channel_statistics(stack)
    return (stack - mean) / std


def stacked_features(
    features: Features, level: int, resize: str = "bilinear", shallow_features: bool = True
) -> paddle.Tensor:
    """F^{1:x} of eq. 1: the features of levels 1 to x at the size of level x.

    Args:
        features: {'relu1_1': [B, C1, H1, W1], ...}, levels 1 to x at least.
        level: x.
        resize: 'bilinear' (eq. 1; half-pixel centres, no antialiasing) or 'nearest' (the authors' release).
        shallow_features: False for F^x alone, the ablation of figures 5 and 11.

    Returns:
        [B, C1 + ... + Cx, Hx, Wx]; without shallow features [B, Cx, Hx, Wx].
    """
    deepest = features[f"relu{level}_1"]
    size = shape_of(deepest)[2:]
    levels = range(1, level) if shallow_features else ()
    shallow = [F.interpolate(features[f"relu{x}_1"], size, mode=resize) for x in levels]
    return paddle.concat([*shallow, deepest], 1)


def normalize(feature: paddle.Tensor, eps: float = 1e-5) -> paddle.Tensor:
    """Norm of eqs. 4 and 8: each channel shifted and scaled to mean 0 and standard deviation 1. Keeps the shape."""
    mean, std = channel_statistics(feature, eps)
    return (feature - mean) / std


def modulate(
    content: paddle.Tensor,
    mean: paddle.Tensor,
    std: paddle.Tensor,
    content_statistics: Optional[Tuple[paddle.Tensor, paddle.Tensor]] = None,
) -> paddle.Tensor:
    """F_cs = S * Norm(F_c) + M (eq. 8): the normalized content takes the statistics of the style, point by point.

    Args:
        content: F_c, [B, C, H, W].
        mean, std: M and S, [B, C, H * W].
        content_statistics: the mean and std of Norm(F_c), each [B, C, 1, 1]; default: those of F_c.

    Returns:
        F_cs, [B, C, H, W].
    """
    content_mean, content_std = content_statistics or channel_statistics(content)
    shape = shape_of(content)
    return std.reshape(shape) * ((content - content_mean) / content_std) + mean.reshape(shape)


def channel_statistics(feature: paddle.Tensor, eps: float = 1e-5) -> Tuple[paddle.Tensor, paddle.Tensor]:
    """Mean and standard deviation of each channel over its positions.

    Args:
        feature: [B, C, H, W] or [B, C, N].
        eps: added to the variance. The paper has none; 1e-5 is the authors' release.

    Returns:
        mean, std: each [B, C, 1, 1] or [B, C, 1].
    """
    mean, variance = channel_moments(feature)
    return mean, (variance + eps).sqrt()


def channel_moments(feature: paddle.Tensor) -> Tuple[paddle.Tensor, paddle.Tensor]:
    """Mean and variance of each channel, shaped as in `channel_statistics`.

    The variance is unbiased (divided by n - 1), as in the authors' release; a single position has variance 0.
    """
    positions = list(range(2, feature.ndim))
    mean = feature.mean(positions, keepdim=True)
    return mean, (feature - mean).square().sum(positions, keepdim=True) / _degrees_of_freedom(feature)


def _degrees_of_freedom(feature):
    """n - 1 for a map of n positions, and 1 for a single one."""
    if paddle.in_dynamic_mode():
        return max(int(np.prod(feature.shape[2:])) - 1, 1)
    return (shape_of(feature)[2:].prod() - 1).clip(min=1).astype(feature.dtype)


def points_of(feature: paddle.Tensor, positions: Optional[paddle.Tensor] = None) -> paddle.Tensor:
    """The points [B, C, N] of a feature map [B, C, H, W]: all, or those at the flat `positions`, an int tensor [N]."""
    points = feature.flatten(2)
    return points if positions is None else points.index_select(positions, -1)


def unit_points(points: paddle.Tensor, eps: float = 0.0) -> paddle.Tensor:
    """Points [B, D, N] or [B, D, H, W] divided by their Euclidean norm plus `eps`; a zero vector stays zero."""
    # Far below the squared norm of any point that is not zero, and far above the smallest float32: without it the
    # gradient of the root at a zero vector would be infinite.
    norm = points.square().sum(1, keepdim=True).clip(min=1e-30).sqrt()
    return points / (norm + eps)


def sample_points(
    count: int, num_style_points: Optional[int] = None, seed: Optional[int] = 0
) -> Optional[paddle.Tensor]:
    """Choose the style points that attention uses.

    Args:
        count: how many points there are.
        num_style_points: how many to use at most; None for all.
        seed: equal seeds draw equal points, as the authors' release does; None: evenly spaced ones.

    Returns:
        int64 [num_style_points] flat positions without repetition, or None for all points.
    """
    if num_style_points is None or count <= num_style_points:
        return None
    return paddle.to_tensor(chosen_positions(count, num_style_points, seed))
