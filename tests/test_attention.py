"""Attention statistics against the naive formulas, then their invariants."""

from ppadaattn.model import attention
from ppadaattn.model.attention import attention_statistics, mix, state_from_dict, style_state
from ppadaattn.model.features import modulate, normalize, sample_points, stacked_key
from ppadaattn.model.transforms.adaattn import AdaAttN

import numpy as np
import paddle
import pytest
import reference

SHAPES = [  # batch, D, C, N_c, N_s
    (1, 1, 1, 1, 1),
    (1, 7, 5, 40, 23),
    (2, 6, 3, 17, 64),
    (3, 16, 8, 1, 9),
]
KINDS = ("softmax", "cosine")


def points(rng, batch, key_channels, value_channels, queries, keys, dtype="float64"):
    query = rng.randn(batch, key_channels, queries)
    key = rng.randn(batch, key_channels, keys)
    value = rng.randn(batch, value_channels, keys) + 2
    return [array.astype(dtype) for array in (query, key, value)]


def statistics(arrays, kind, **options):
    return [x.numpy() for x in attention_statistics(*map(paddle.to_tensor, arrays), kind, **options)]


def assert_close(actual, expected, tolerance=1e-10):
    for a, e in zip(actual, expected):
        np.testing.assert_allclose(a, e, rtol=0, atol=tolerance)


@pytest.fixture(params=[2**22, 200], ids=["one tile", "many tiles"])
def tiles(request, monkeypatch):
    monkeypatch.setattr(attention, "TILE_NUMBERS", request.param)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_statistics_equal_the_equations(rng, tiles, kind, shape):
    arrays = points(rng, *shape)
    assert_close(statistics(arrays, kind), reference.attention_statistics(*arrays, kind))


def test_cosine_with_the_eps_of_the_release(rng):
    query, key, value = points(rng, 2, 6, 3, 17, 64)
    arrays = query * 1e-5, key * 1e-5, value  # so short that the epsilon matters
    without = reference.attention_statistics(*arrays, "cosine")
    expected = reference.attention_statistics(*arrays, "cosine", eps=1e-5)
    assert np.abs(expected[0] - without[0]).max() > 1e-2
    assert_close(statistics(arrays, "cosine", eps=1e-5), expected, tolerance=1e-5)  # the row sum's is left out


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_stay_within_their_limit(rng, kind, monkeypatch):
    monkeypatch.setattr(attention, "TILE_NUMBERS", 640)
    query, key, value = (paddle.to_tensor(x) for x in points(rng, 1, 6, 4, 100, 64))
    state, tiles = style_state(key, value, kind), []
    moments = state._moments
    monkeypatch.setattr(state, "_moments", lambda query: tiles.append(query.shape[-1]) or moments(query))
    state.statistics(query)
    assert sum(tiles) == 100 and len(tiles) > 1
    assert max(tiles) * (64 if kind == "softmax" else 2 * 4 + 1) <= 640


def naive_statistics(query, key, value, kind):
    """Eqs. 5-7 and 12 as printed, in Paddle, for its automatic gradients."""
    if kind == "softmax":
        weights = paddle.nn.functional.softmax(paddle.matmul(query, key, transpose_x=True), -1)
    else:
        unit_query, unit_key = (x / x.square().sum(1, keepdim=True).sqrt() for x in (query, key))
        scores = paddle.matmul(unit_query, unit_key, transpose_x=True) + 1
        weights = scores / scores.sum(-1, keepdim=True)
    mean = paddle.matmul(value, weights, transpose_y=True)
    second = paddle.matmul(value.square(), weights, transpose_y=True)
    return mean, (second - mean.square()).sqrt()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES[1:])
def test_gradients_equal_those_of_the_naive_form(rng, tiles, kind, shape):
    arrays = points(rng, *shape)
    probes = [paddle.to_tensor(rng.randn(shape[0], shape[2], shape[3])) for _ in range(2)]
    gradients = []
    for function in (attention_statistics, naive_statistics):
        tensors = [paddle.to_tensor(array, stop_gradient=False) for array in arrays]
        mean, std = function(*tensors, kind)
        (mean * probes[0] + std * probes[1]).sum().backward()
        gradients.append([tensor.grad.numpy() for tensor in tensors])
    assert_close(*gradients)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("free", range(3))
def test_gradients_flow_to_a_single_input(rng, kind, free):
    tensors = [paddle.to_tensor(array, stop_gradient=i != free) for i, array in enumerate(points(rng, 1, 4, 3, 6, 8))]
    mean, std = attention_statistics(*tensors, kind)
    (mean.sum() + std.sum()).backward()
    assert np.abs(tensors[free].grad.numpy()).sum() > 0
    assert all(tensor.grad is None for i, tensor in enumerate(tensors) if i != free)


def test_gradient_of_std_zero_is_finite():
    tensors = [paddle.ones([1, 2, n]) for n in (3, 4, 4)]
    for tensor in tensors:
        tensor.stop_gradient = False
    _, std = attention_statistics(*tensors)
    std.sum().backward()
    assert float(std.abs().max()) == 0
    assert all(bool(paddle.isfinite(tensor.grad).all()) for tensor in tensors if tensor.grad is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_a_std_below_rounding_is_bounded(rng, kind):
    """The std of a query that attends to one point (softmax) or to equal points (cosine) is float32 noise, not 0."""
    query, key, value = points(rng, 1, 4, 3, 200, 64, "float32")
    value = value * 100
    if kind == "softmax":
        query, key = query * 30, key * 30
    else:
        value = np.repeat(value[:, :, :1], 64, 2) + rng.randn(1, 3, 64).astype("float32") * 1e-5
    tensors = [paddle.to_tensor(array, stop_gradient=False) for array in (query, key, value)]
    _, std = attention_statistics(*tensors, kind)
    std.sum().backward()
    gradient = np.abs(tensors[2].grad.numpy())  # of std with respect to the values: a standard deviation has slope <= 1
    assert np.isfinite(gradient).all() and gradient.max() <= 200


def test_linear_cosine_in_float32_is_as_close_to_float64_as_the_quadratic_form(rng):
    arrays = points(rng, 1, 32, 8, 300, 2000, "float32")
    exact = reference.attention_statistics(*[array.astype("float64") for array in arrays], "cosine")
    linear = statistics(arrays, "cosine")
    quadratic = [x.numpy() for x in naive_statistics(*map(paddle.to_tensor, arrays), "cosine")]
    for ours, naive, truth in zip(linear, quadratic, exact):
        assert np.abs(ours - truth).max() <= np.abs(naive - truth).max()


@pytest.mark.parametrize("kind", KINDS)
def test_small_std_beside_a_large_mean_is_exact_in_float32(rng, kind):
    query, key, value = points(rng, 1, 8, 4, 30, 50)
    value = value * 1e-3 + 100
    exact = reference.attention_statistics(query, key, value.astype("float32").astype("float64"), kind)
    _, std = statistics([array.astype("float32") for array in (query, key, value)], kind)
    np.testing.assert_allclose(std, exact[1], rtol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_uniform_attention_is_adain(rng, kind):
    """Section 3.2: with A = 1/N_s everywhere AdaAttN is AdaIN: the style's own mean and standard deviation."""
    _, key, value = points(rng, 2, 6, 3, 1, 40)
    query = np.zeros((2, 6, 5))  # has no preference among keys
    mean, std = statistics((query, key, value), kind)
    assert_close((mean, std), [np.repeat(x[:, :, None], 5, 2) for x in (value.mean(-1), value.std(-1))])
    content = rng.randn(2, 3, 1, 5)
    adain = reference.normalize(content) * value.std(-1)[:, :, None, None] + value.mean(-1)[:, :, None, None]
    modulated = modulate(*map(paddle.to_tensor, (content, mean, std)))
    assert_close([modulated.numpy()], [adain])


@pytest.mark.parametrize("kind", KINDS)
def test_a_style_of_a_single_point(rng, kind):
    query, key, value = points(rng, 1, 4, 3, 6, 1)
    mean, std = statistics((query, key, value), kind)
    assert_close((mean, std), (np.repeat(value, 6, 2), np.zeros((1, 3, 6))))


def test_zero_queries_and_keys_have_finite_cosine_statistics(rng):
    query, key, value = points(rng, 1, 4, 3, 6, 8, "float32")
    query[:, :, 2] = 0
    key[:, :, 3] = 0
    assert all(np.isfinite(x).all() for x in statistics((query, key, value), "cosine"))


def test_query_opposite_to_every_key_has_finite_statistics():
    query = paddle.ones([1, 4, 3])
    mean, std = attention_statistics(query, -paddle.ones([1, 4, 5]), paddle.rand([1, 2, 5]), "cosine")
    assert bool(paddle.isfinite(mean).all()) and bool(paddle.isfinite(std).all())


# States ---------------------------------------------------------------------------------------------------------------


def states(rng, kind):
    """Two styles with 23 and 11 points, and a query."""
    query, key, value = points(rng, 1, 6, 4, 15, 34)
    value[:, :, 23:] += 5  # the two styles have different means
    parts = [
        style_state(paddle.to_tensor(key[:, :, part]), paddle.to_tensor(value[:, :, part]), kind, eps=1e-5)
        for part in (slice(23), slice(23, None))
    ]
    return parts, query, key, value


@pytest.mark.parametrize("kind", KINDS)
def test_sum_of_states_attends_to_the_points_of_both(rng, tiles, kind):
    (first, second), query, key, value = states(rng, kind)
    both = (first + second).statistics(paddle.to_tensor(query))
    assert_close([x.numpy() for x in both], statistics((query, key, value), kind, eps=1e-5))
    other_order = (second + first).statistics(paddle.to_tensor(query))
    assert_close([x.numpy() for x in other_order], [x.numpy() for x in both])


@pytest.mark.parametrize("kind", KINDS)
def test_mixing_averages_means_and_stds(rng, kind):
    parts, query, *_ = states(rng, kind)
    query = paddle.to_tensor(query)
    separate = [part.statistics(query) for part in parts]
    mixed = mix(parts, [1, 3]).statistics(query)  # weights are divided by their sum
    expected = [0.25 * a.numpy() + 0.75 * b.numpy() for a, b in zip(*separate)]
    assert_close([x.numpy() for x in mixed], expected)
    assert_close([x.numpy() for x in mix(parts, [1, 0]).statistics(query)], [x.numpy() for x in separate[0]])
    equal = [0.5 * a.numpy() + 0.5 * b.numpy() for a, b in zip(*separate)]
    assert_close([x.numpy() for x in mix(parts).statistics(query)], equal)


@pytest.mark.parametrize("kind", KINDS)
def test_state_dicts_restore_states(rng, kind):
    (first, second), query, *_ = states(rng, kind)
    query = paddle.to_tensor(query)
    for state in (first, first + second, mix([first, second], [0.2, 0.8])):
        restored = state_from_dict(state.state_dict())
        assert_close(
            [x.numpy() for x in restored.statistics(query)], [x.numpy() for x in state.statistics(query)], tolerance=0
        )


@pytest.mark.parametrize("kind", KINDS)
def test_one_style_for_a_batch_of_contents(rng, tiles, kind):
    query, key, value = (paddle.to_tensor(x) for x in points(rng, 3, 6, 4, 15, 20))
    state = style_state(key[:1], value[:1], kind)
    together = state.statistics(query)
    for i in range(3):
        alone = state.statistics(query[i : i + 1])
        assert_close([x[i : i + 1].numpy() for x in together], [x.numpy() for x in alone])


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_that_do_not_fit_are_refused(rng, kind):
    query, key, value = (paddle.to_tensor(x) for x in points(rng, 2, 6, 4, 15, 20))
    with pytest.raises(ValueError, match=r"must agree in B and N; got \[2, 6, 20\] and \[2, 4, 19\]"):
        attention_statistics(query, key, value[:, :, 1:], kind)
    with pytest.raises(ValueError, match=r"query must be \[B, 6, N\].*got \[2, 5, 15\]"):
        attention_statistics(query[:, 1:], key, value, kind)
    with pytest.raises(ValueError, match="with B = 2 unless"):
        attention_statistics(query[:1], key, value, kind)


def test_wrong_combinations_are_refused(rng):
    (softmax, _), *_ = states(rng, "softmax")
    (cosine, _), *_ = states(rng, "cosine")
    with pytest.raises(ValueError, match="one of softmax, cosine; got 'dot'"):
        style_state(paddle.ones([1, 2, 3]), paddle.ones([1, 2, 3]), "dot")
    with pytest.raises(TypeError, match="one kind"):
        softmax + cosine
    with pytest.raises(TypeError, match="add styles first, then mix"):
        mix([softmax, softmax]) + mix([softmax, softmax])
    with pytest.raises(ValueError, match="different levels"):
        cosine + style_state(paddle.ones([1, 2, 3]), paddle.ones([1, 2, 3]), "cosine")
    with pytest.raises(ValueError, match="different levels"):
        mix([cosine, style_state(paddle.ones([1, 2, 3]), paddle.ones([1, 2, 3]), "cosine")])
    with pytest.raises(ValueError, match="eps"):
        cosine + style_state(paddle.ones([1, 6, 3]), paddle.ones([1, 4, 3]), "cosine", eps=0.5)
    for weights in ([1], [1, -1], [0, 0], [1, float("nan")]):
        with pytest.raises(ValueError, match="2 styles need 2 weights"):
            mix([softmax, softmax], weights)


# Features and layer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 2, 1, 2), (1, 2, 1, 1)])
def test_normalize(rng, shape):
    feature = rng.randn(*shape) * 3 + 5
    assert_close([normalize(paddle.to_tensor(feature)).numpy()], [reference.normalize(feature)])


@pytest.mark.parametrize(("resize", "resized"), [("bilinear", reference.bilinear), ("nearest", reference.nearest)])
def test_stacked_key(rng, resize, resized):
    features = [rng.randn(1, 2 * x, *size) for x, size in zip((1, 2, 3), ((21, 34), (11, 17), (6, 9)))]
    named = {f"relu{x + 1}_1": paddle.to_tensor(feature) for x, feature in enumerate(features)}
    expected = np.concatenate([reference.normalize(resized(feature, (6, 9))) for feature in features], 1)
    # Paddle computes the shares of bilinear resizing in float32, for float64 maps too.
    assert_close([stacked_key(named, 3, resize).numpy()], [expected], tolerance=1e-5)


def test_sampled_points_are_distinct_and_repeatable():
    chosen = sample_points(100, 30, seed=3).numpy()
    assert len(set(chosen)) == 30 and chosen.min() >= 0 and chosen.max() < 100
    np.testing.assert_array_equal(chosen, sample_points(100, 30, seed=3).numpy())
    assert set(chosen) != set(sample_points(100, 30, seed=4).numpy())
    assert sample_points(30, 30) is None and sample_points(100) is None


@pytest.mark.parametrize(("count", "most"), [(100, 30), (31, 30), (97, 1), (16384, 2048)])
def test_evenly_spaced_points_are_the_middles_of_equal_parts(count, most):
    chosen = sample_points(count, most, seed=None).numpy()
    parts = np.arange(most + 1) * count / most
    np.testing.assert_array_equal(chosen, np.floor((parts[1:] + parts[:-1]) / 2))
    assert len(set(chosen)) == most and chosen.max() < count


def test_layer_with_sampled_points_equals_the_layer_on_these_points(rng):
    layer = AdaAttN(3, 5, num_style_points=7)
    content, style = (paddle.to_tensor(rng.randn(1, 3, 4, n).astype("float32")) for n in (4, 6))
    content_key, style_key = (paddle.to_tensor(rng.randn(1, 5, 4, n).astype("float32")) for n in (4, 6))
    chosen = sample_points(24, 7, seed=1)
    sampled = layer(content, content_key, layer.prepare_style(style, style_key, seed=1))
    layer.num_style_points = None
    style, style_key = (x.flatten(2).index_select(chosen, -1).unsqueeze(2) for x in (style, style_key))
    assert_close([sampled.numpy()], [layer(content, content_key, layer.prepare_style(style, style_key)).numpy()], 1e-5)
