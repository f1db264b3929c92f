"""Attention-weighted statistics (sections 3.2 and 3.4, eqs. 5-7 and 12): the only place where attention is computed.

It takes two steps, so that a style is prepared once for many contents:

    state = style_state(key, value, kind)        once for each style
    mean, std = state.statistics(query)          for each content, frame or region

Points are feature maps with flat positions, [B, C, N]. B is the batch, D the channels of query and key, C those of the
value; N_c and N_s are the numbers of points of content and style.
"""

from typing import Dict, Optional, Sequence, Tuple

from ppadaattn.model.architecture import KINDS
from ppadaattn.model.features import sample_points, unit_points

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle.autograd import PyLayer

# Numbers in the largest temporary of one tile of queries (or of style points): 16 MiB in float32, which stays near
# the processor's caches; larger tiles were not faster.
TILE_NUMBERS = 2**22


def attention_statistics(
    query: paddle.Tensor,
    key: paddle.Tensor,
    value: paddle.Tensor,
    kind: str = "softmax",
    *,
    eps: float = 0.0,
    content_regions: Optional[Sequence[int]] = None,
    style_regions: Optional[Sequence[int]] = None,
) -> Tuple[paddle.Tensor, paddle.Tensor]:
    """Attention-weighted mean M and standard deviation S (eqs. 5-7; eq. 12 for cosine). Differentiable.

    Args:
        query: Q, float [B, D, N_c].
        key: K, float [B, D, N_s].
        value: V, float [B, C, N_s].
        kind: 'softmax' (eq. 5) or 'cosine' (eq. 12).
        eps: cosine only: added to each norm (1e-5 in the authors' release, 0 in the paper). The release adds it to each
            row sum as well, which is about N_s: that changes M by 1e-5 / N_s of itself, and is left out.
        content_regions, style_regions: int arrays [N_c] and [N_s], for regions (appendix B.1): a content point in
            region k > 0 attends to the style points of region k alone, one in region 0 to all of them.

    Returns:
        mean, std: M and S, each [B, C, N_c]. The N_c x N_s attention matrix is never whole in memory.

    Raises:
        ValueError: shapes that do not fit, an unknown kind, or a content region without style points.
    """
    whole = style_state(key, value, kind, eps=eps)
    if content_regions is None:
        return whole.statistics(query)
    content_regions, style_regions = np.asarray(content_regions), np.asarray(style_regions)
    numbers = sorted(set(content_regions.tolist()) - {0})
    states = [whole]
    for number in numbers:
        points = np.flatnonzero(style_regions == number)
        if not len(points):
            raise ValueError(f"region {number} of the content has no style points")
        chosen = paddle.to_tensor(points)
        states.append(style_state(key.index_select(chosen, -1), value.index_select(chosen, -1), kind, eps=eps))
    return RegionState(states, np.searchsorted([0, *numbers], content_regions)).statistics(query)


def style_state(
    key: paddle.Tensor,
    value: paddle.Tensor,
    kind: str = "softmax",
    *,
    eps: float = 0.0,
    num_style_points: Optional[int] = None,
    seed: Optional[int] = 0,
) -> "StyleState":
    """Prepare one style for any number of queries.

    Arguments as for `attention_statistics`; `num_style_points` and `seed` as for `sample_points`. A state of batch 1
    serves queries of any batch.
    """
    if kind not in KINDS:
        raise ValueError(f"attention must be one of {', '.join(KINDS)}; got {kind!r}")
    if key.ndim != 3 or value.ndim != 3 or key.shape[0] != value.shape[0] or key.shape[2] != value.shape[2]:
        raise ValueError(
            f"key [B, D, N] and value [B, C, N] must agree in B and N; got {list(key.shape)} and {list(value.shape)}"
        )
    chosen = sample_points(key.shape[-1], num_style_points, seed)
    if chosen is not None:
        key, value = key.index_select(chosen, -1), value.index_select(chosen, -1)
    if kind == "softmax":
        return SoftmaxState.from_points(key, value)
    return CosineState.from_points(key, value, eps)


_SAVED_AS = {}  # name in files of styles -> class of state


class StyleState:
    """One style, prepared for queries.

    `a + b` concatenates the points of two styles, as if they were in one picture (section 4.5); `mix` interpolates
    (section 4.5, averaged M and S); `state_dict` and `state_from_dict` save and restore.

    A subclass that can be saved gives its name in files: `class SoftmaxState(StyleState, saved_as="softmax")`.

    Attributes:
        batch, key_channels, value_channels: B, D and C.
        centre: mean of the values over the style's points, [B, C, 1].
        numbers_per_query: numbers of the largest temporary of one query, for the size of tiles.
        kind: 'softmax', 'cosine', ...; None for a mixture and for regions.
        eps: of cosine attention; None for other kinds.
    """

    kind = None
    eps = None

    def __init_subclass__(cls, saved_as=None):
        cls.saved_as = saved_as
        if saved_as:
            _SAVED_AS[saved_as] = cls

    def statistics(self, query: paddle.Tensor) -> Tuple[paddle.Tensor, paddle.Tensor]:
        """M and S (eqs. 6 and 7), each [B, C, N_c], of a query [B, D, N_c]."""
        if query.ndim != 3 or query.shape[1] != self.key_channels or self.batch not in (1, query.shape[0]):
            raise ValueError(
                f"query must be [B, {self.key_channels}, N], with B = {self.batch} unless the style's batch is 1; "
                f"got {list(query.shape)}"
            )
        batch, key_channels, count = query.shape
        if self.batch < batch:  # one style, many contents: all their points are points of one query
            query = query.transpose([1, 0, 2]).reshape([1, key_channels, batch * count])
            mean, std = self.statistics(query)
            return tuple(x.reshape([-1, batch, count]).transpose([1, 0, 2]) for x in (mean, std))
        rows = max(1, TILE_NUMBERS // (self.numbers_per_query * batch))
        tiles = [self.statistics_of_tile(query[:, :, start : start + rows]) for start in range(0, count, rows)]
        mean, std = zip(*tiles)
        return paddle.concat(mean, -1), paddle.concat(std, -1)

    def statistics_of_tile(self, query):
        """As `statistics`, for all points of the query at once, without checks."""
        # E[V^2] - M^2 (eq. 7) cancels badly where the spread is small beside the mean. States keep centred values,
        # V' = V - centre, which have the same S, and the mean M - centre.
        first, second = self._moments(query)
        return first + self.centre, _std(first, second)

    def _moments(self, query):
        """E[V'] and E[V'^2] under the attention of each query, each [B, C, N_c]."""
        raise NotImplementedError

    def at(self, points: np.ndarray) -> "StyleState":
        """The state for some points of the content alone, an int array [N] of their flat positions."""
        return self

    @staticmethod
    def mixture(states, weights):
        """The mixture of states of this class; see `mix`."""
        return MixedState(states, weights)

    @staticmethod
    def in_regions(states, labels):
        """The state for a content in regions, of one state of this class for each region; see `RegionState`."""
        return RegionState(states, labels)

    def __add__(self, other):
        if type(other) is not type(self) or self.kind is None:
            raise TypeError(
                "only two unmixed states of one kind can be concatenated: add styles first, then mix the sums"
            )
        check_compatible([self, other])
        if self.batch != other.batch:
            raise ValueError(f"styles of batch {self.batch} and {other.batch} cannot be concatenated")
        return self._concat(other)

    def _concat(self, other):
        """The state of the points of both styles together."""
        raise NotImplementedError


class SoftmaxState(StyleState, saved_as="softmax"):
    """Softmax attention (eq. 5): it needs all keys and values of the style.

    Attributes:
        key: [B, D, N_s].
        value: V' = V - centre, [B, C, N_s].
        count: N_s.
    """

    kind = "softmax"

    def __init__(self, key, value, centre):
        self.key, self.value, self.centre = key, value, centre
        self.batch, self.key_channels, self.count = key.shape
        self.value_channels = value.shape[1]
        self.numbers_per_query = self.count
        self._value_and_square = paddle.concat([value, value.square()], 1)  # [B, 2C, N_s]: both in one product

    @classmethod
    def from_points(cls, key, value):
        centre = value.mean(-1, keepdim=True)
        return cls(key, value - centre, centre)

    def _moments(self, query):
        differentiate = paddle.in_dynamic_mode() and paddle.is_grad_enabled()
        average = _SoftmaxAverage.apply if differentiate else _softmax_average
        return average(query, self.key, self._value_and_square).chunk(2, 1)

    def _concat(self, other):
        centre = _common_centre(self, other)
        value = [state.value + (state.centre - centre) for state in (self, other)]
        return SoftmaxState(paddle.concat([self.key, other.key], -1), paddle.concat(value, -1), centre)

    def state_dict(self):
        """{'kind': 'softmax', 'key', 'value', 'centre'} with numpy arrays."""
        return {"kind": self.kind, **{name: getattr(self, name).numpy() for name in ("key", "value", "centre")}}

    @classmethod
    def from_dict(cls, saved):
        return cls(*(paddle.to_tensor(saved[name]) for name in ("key", "value", "centre")))


class CosineState(StyleState, saved_as="cosine"):
    """Cosine attention (eq. 12): it needs only a few small sums over the style's points.

    With unit vectors q and k_j the scores S_j = q . k_j + 1 are linear in q, so that for any z_j

        sum_j S_j z_j = (sum_j z_j k_j^T) q + sum_j z_j .

    Take z_j = [v'_j; v'_j^2; 1]: the last row gives sum_j S_j, the others divided by it are E[V'] and E[V'^2].
    This is eq. 12 itself, not an approximation, in O((N_c + N_s) C D) time and without an N_c x N_s matrix.

    Attributes:
        products: sum_j z_j k_j^T, [B, 2C + 1, D].
        sums: sum_j z_j, [B, 2C + 1, 1].
        count: N_s.
    """

    kind = "cosine"

    def __init__(self, products, sums, centre, count, eps=0.0):
        self.products, self.sums, self.centre, self.count, self.eps = products, sums, centre, count, eps
        self.batch, rows, self.key_channels = products.shape
        self.value_channels = centre.shape[1]
        self.numbers_per_query = rows

    @classmethod
    def from_points(cls, key, value, eps=0.0):
        batch, value_channels, count = value.shape
        centre = value.mean(-1, keepdim=True)
        products = sums = 0.0
        points = max(1, TILE_NUMBERS // (batch * (2 * value_channels + 1)))
        for start in range(0, count, points):
            tile = slice(start, start + points)
            tile_products, tile_sums = cls.sums_of(key[:, :, tile], value[:, :, tile] - centre, eps)
            products, sums = products + tile_products, sums + tile_sums
        return cls(products, sums, centre, count, eps)

    @staticmethod
    def sums_of(key, value, eps=0.0):
        """`products` and `sums` of keys [B, D, N] and centred values [B, C, N]."""
        rows = paddle.concat([value, value.square(), paddle.ones_like(value[:, :1])], 1)
        return paddle.matmul(rows, unit_points(key, eps), transpose_y=True), rows.sum(-1, keepdim=True)

    def _moments(self, query):
        weighted = paddle.matmul(self.products, unit_points(query, self.eps)) + self.sums
        value_rows, score_sum = weighted.split([2 * self.value_channels, 1], 1)
        # Scores are at least 0. Their sum is 0 only for a query opposite to every key: then nothing is left of it but
        # the rounding of N_s scores, which this bounds.
        smallest = 8 * paddle.finfo(query.dtype).eps * self.count
        return (value_rows / score_sum.clip(min=smallest)).chunk(2, 1)

    def _concat(self, other):
        centre = _common_centre(self, other)
        products, sums = (
            sum(_recentre(getattr(state, name), state.centre - centre) for state in (self, other))
            for name in ("products", "sums")
        )
        return CosineState(products, sums, centre, self.count + other.count, self.eps)

    def state_dict(self):
        """{'kind': 'cosine', 'products', 'sums', 'centre', 'count', 'eps'} with numpy arrays."""
        arrays = {name: getattr(self, name).numpy() for name in ("products", "sums", "centre")}
        return {"kind": self.kind, **arrays, "count": self.count, "eps": self.eps}

    @classmethod
    def from_dict(cls, saved):
        tensors = [paddle.to_tensor(saved[name]) for name in ("products", "sums", "centre")]
        return cls(*tensors, saved["count"], saved["eps"])


class MixedState(StyleState, saved_as="mixed"):
    """Interpolation between styles: M and S are the weighted averages of theirs (section 4.5, figure 8)."""

    def __init__(self, states, weights):
        self.states, self.weights = list(states), list(weights)
        self.batch, self.key_channels, self.value_channels, self.eps = check_compatible(self.states)

    def statistics(self, query):
        mean, std = zip(*(state.statistics(query) for state in self.states))
        return _weighted_sum(mean, self.weights), _weighted_sum(std, self.weights)

    def at(self, points):
        return MixedState([state.at(points) for state in self.states], self.weights)

    def state_dict(self):
        """{'kind': 'mixed', 'weights': [...], 'states': [...]}."""
        states = [state.state_dict() for state in self.states]
        return {"kind": self.saved_as, "weights": self.weights, "states": states}

    @classmethod
    def from_dict(cls, saved):
        return cls([state_from_dict(state) for state in saved["states"]], saved["weights"])


def mix(states: Sequence[StyleState], weights: Optional[Sequence[float]] = None) -> StyleState:
    """Interpolate between states of one level of one network, by `weights` (default: equal).

    The weights are divided by their sum. States of weight 0 are left out; a single state that remains is returned as it
    is. Batches are equal, or 1.

    Raises:
        ValueError: not one weight for each state, a weight that is negative or not finite, a sum of 0, states of
            different levels or networks.
    """
    weights = np.ones(len(states)) if weights is None else np.asarray(weights, "float64")
    if weights.shape != (len(states),) or not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise ValueError(
            f"{len(states)} styles need {len(states)} weights that are finite, not negative and not all 0; "
            f"got {weights.tolist()}"
        )
    check_compatible(states)
    kept = [(state, weight) for state, weight in zip(states, (weights / weights.sum()).tolist()) if weight > 0]
    return kept[0][0] if len(kept) == 1 else states[0].mixture(*zip(*kept))


class RegionState(StyleState):
    """Regions (appendix B.1): each point of the content attends to the state of its region.

    For softmax attention this is eq. 5 with scores of minus infinity between a region of the content and the style
    points outside its own region. It serves contents of one size, and is not saved.

    Args:
        states: one StyleState for each region.
        labels: int array [N_c]: the index in `states` of the region of each content point.
    """

    def __init__(self, states, labels):
        self.batch, self.key_channels, self.value_channels, self.eps = check_compatible(states)
        self.states, self.labels, self.count = states, np.asarray(labels), len(labels)
        regions = [(state, np.flatnonzero(labels == index)) for index, state in enumerate(states)]
        self.regions = [(state, paddle.to_tensor(points)) for state, points in regions if len(points)]
        order = np.concatenate([points.numpy() for _, points in self.regions])  # of points, region after region
        self.inverse_order = paddle.to_tensor(np.argsort(order))

    def statistics(self, query):
        if query.shape[-1] != self.count:
            raise ValueError(f"the regions are for {self.count} content points; the query has {query.shape[-1]}")
        parts = zip(*(state.statistics(query.index_select(points, -1)) for state, points in self.regions))
        return tuple(paddle.concat(part, -1).index_select(self.inverse_order, -1) for part in parts)

    def at(self, points):
        return RegionState(self.states, self.labels[points])


def state_from_dict(saved: Dict) -> StyleState:
    """Restore the state whose `state_dict` is `saved`."""
    return _SAVED_AS[saved["kind"]].from_dict(saved)


class _SoftmaxAverage(PyLayer):
    """V softmax(Q^T K)^T for a tile of queries; the backward pass computes the weights again instead of keeping them.

    query [B, D, N_c], key [B, D, N_s], value [B, C, N_s] -> [B, C, N_c].
    """

    @staticmethod
    def forward(ctx, query, key, value):
        average = _softmax_average(query, key, value)
        ctx.save_for_backward(query, key, value, average)
        ctx.needed = [not tensor.stop_gradient for tensor in (query, key, value)]
        return average

    @staticmethod
    def backward(ctx, grad):
        query, key, value, average = ctx.saved_tensor()
        weights = _softmax_weights(query, key)  # [B, N_c, N_s]
        needs_query, needs_key, needs_value = ctx.needed
        grad_query = grad_key = grad_value = None
        if needs_query or needs_key:
            grad_weights = paddle.matmul(grad, value, transpose_x=True)
            # Derivative of a softmax: weights times (grad_weights less their weighted mean along each row).
            weighted_mean = (grad * average).sum(1).unsqueeze(-1)
            grad_scores = weights * (grad_weights - weighted_mean)
            if needs_query:
                grad_query = paddle.matmul(key, grad_scores, transpose_y=True)
            if needs_key:
                grad_key = paddle.matmul(query, grad_scores)
        if needs_value:
            grad_value = paddle.matmul(grad, weights)
        return grad_query, grad_key, grad_value


def _softmax_average(query, key, value):
    return paddle.matmul(value, _softmax_weights(query, key), transpose_y=True)


def _softmax_weights(query, key):
    return F.softmax(paddle.matmul(query, key, transpose_x=True), -1)


def _std(first, second):
    """sqrt(E[V'^2] - E[V']^2); below rounding noise 0 with gradient 0, because the root's gradient is infinite at 0."""
    variance = second - first.square()
    certain = variance > paddle.finfo(second.dtype).eps * second
    return paddle.where(certain, variance, paddle.ones_like(variance)).sqrt() * certain.astype(variance.dtype)


def check_compatible(states):
    """(batch, key channels, value channels, eps) common to the states; ValueError where they do not fit together."""
    kinds = {(s.key_channels, s.value_channels, s.eps) for s in states}
    batches = {s.batch for s in states}
    if len(kinds) != 1 or len(batches - {1}) > 1:
        raise ValueError(
            "the style states are from different levels or networks: "
            f"(key channels, value channels, eps) are {sorted(kinds, key=str)}, batches {sorted(batches)}"
        )
    return (max(batches), *next(iter(kinds)))


def _common_centre(a, b):
    return (a.centre * a.count + b.centre * b.count) / (a.count + b.count)


def _recentre(rows, shift):
    """Sums over [v'; v'^2; 1], rows [B, 2C + 1, ...], as they are when every v' grows by `shift`, [B, C, 1]."""
    first, second, one = rows.split([shift.shape[1], shift.shape[1], 1], 1)
    return paddle.concat([first + shift * one, second + 2 * shift * first + shift.square() * one, one], 1)


def _weighted_sum(tensors, weights):
    return sum(tensor * weight for tensor, weight in zip(tensors, weights))
