"""The losses against float64 formulas written from the equations, and their gradients against the naive form's."""

import json

from ppadaattn.model.vgg import Encoder
from ppadaattn.train import losses
from ppadaattn.train.losses import content_loss, global_style_loss, image_similarity_loss, local_feature_loss

import numpy as np
import paddle
import pytest
import reference

SIZES = {1: (17, 20), 2: (9, 10), 3: (5, 5), 4: (3, 3), 5: (2, 2)}


def features(rng, batch=2, sizes=SIZES, gradient=False, least=0.0):
    """{'relu1_1': float64 [batch, x + 1, H, W], ...}; like features after ReLU, with zeros among them."""
    return {
        f"relu{x}_1": paddle.to_tensor(
            np.maximum(rng.randn(batch, x + 1, *size) + 1, least), stop_gradient=not gradient
        )
        for x, size in sizes.items()
    }


def arrays(named):
    return {name: feature.numpy() for name, feature in named.items()}


def distance(actual, target, kind):
    difference = (actual - target) ** 2
    return difference.mean() if kind == "mse" else np.sqrt(difference.reshape(len(difference), -1).sum(1)).mean()


@pytest.mark.parametrize("kind", losses.DISTANCES)
def test_global_style_loss(rng, kind):
    stylized, style = features(rng), features(rng)
    a, b, expected = arrays(stylized), arrays(style), 0
    for name in ("relu2_1", "relu3_1", "relu4_1", "relu5_1"):
        expected += distance(a[name].mean((2, 3)), b[name].mean((2, 3)), kind)
        spread = [np.sqrt(x[name].var((2, 3), ddof=1) + 1e-5) for x in (a, b)]
        expected += distance(*spread, kind)
    np.testing.assert_allclose(float(global_style_loss(stylized, style, distance=kind)), expected, rtol=1e-12)


def stack(features, level, resized):
    """Norm(F^{1:x}) of {name: float64 array}."""
    size = features[f"relu{level}_1"].shape[2:]
    return np.concatenate([reference.normalize(resized(features[f"relu{x}_1"], size)) for x in range(1, level + 1)], 1)


@pytest.mark.parametrize("distance_kind", losses.DISTANCES)
@pytest.mark.parametrize("kind", ["softmax", "cosine"])
@pytest.mark.parametrize("resize", ["bilinear", "nearest"])
def test_local_feature_loss(rng, kind, resize, distance_kind):
    stylized, content = features(rng), features(rng)
    style = features(rng, sizes={x: (h + 1, w + 2) for x, (h, w) in SIZES.items()})
    c, s, expected = arrays(content), arrays(style), 0
    resized = reference.bilinear if resize == "bilinear" else reference.nearest
    for level in (3, 4, 5):
        name = f"relu{level}_1"
        query, key = (stack(x, level, resized) for x in (c, s))
        flat = [x.reshape(*x.shape[:2], -1) for x in (query, key, s[name])]
        mean, std = (x.reshape(c[name].shape) for x in reference.attention_statistics(*flat, kind))
        expected += distance(stylized[name].numpy(), std * reference.normalize(c[name]) + mean, distance_kind)
    loss = local_feature_loss(stylized, content, style, attention=kind, resize=resize, distance=distance_kind)
    np.testing.assert_allclose(float(loss), expected, rtol=1e-5)  # Paddle's bilinear shares are float32


def test_local_feature_loss_with_few_style_points(rng):
    stylized, content, style = (features(rng) for _ in range(3))
    every = local_feature_loss(stylized, content, style, num_style_points=1000)
    assert float(every) == float(local_feature_loss(stylized, content, style))
    few = [float(local_feature_loss(stylized, content, style, num_style_points=3, seed=seed)) for seed in (1, 1, 2)]
    assert few[0] == few[1] != few[2] and few[0] != float(every)


def test_content_loss(rng):
    stylized, content = features(rng), features(rng)
    expected = sum(distance(stylized[n].numpy(), content[n].numpy(), "mse") for n in ("relu3_1", "relu4_1", "relu5_1"))
    np.testing.assert_allclose(float(content_loss(stylized, content)), expected, rtol=1e-12)


def naive_similarity(contents, stylized, levels=(2, 3, 4), printed=True):
    """Eq. 13 as printed, in Paddle, with whole matrices, for its automatic gradients."""
    total = 0
    for name in (f"relu{x}_1" for x in levels):
        shares = []
        for first, second in (contents, stylized):
            u, v = (x[name].flatten(2) for x in (first, second))
            norms = paddle.matmul(u.norm(axis=1, keepdim=True), v.norm(axis=1, keepdim=True), transpose_x=True)
            distances = 1 - paddle.matmul(u, v, transpose_x=True) / norms
            shares.append(distances / distances.sum(1, keepdim=True))
        term = (shares[0] - shares[1]).abs().mean()
        total = total + (term if printed else term * shares[0].shape[1])
    return total


@pytest.mark.parametrize("tile_numbers", [2**22, 200])
@pytest.mark.parametrize("normalization", losses.SIMILARITY_NORMALIZATIONS)
def test_image_similarity_loss_and_its_gradient(monkeypatch, tile_numbers, normalization):
    monkeypatch.setattr(losses, "TILE_NUMBERS", tile_numbers)
    smaller = {x: (h, w - 1) for x, (h, w) in SIZES.items()}  # the frames may differ in size

    def frames(seed, gradient):
        rng = np.random.RandomState(seed)  # no point is all 0, whose cosine distance the equation leaves open
        return [features(rng, sizes=sizes, gradient=gradient, least=0.1) for sizes in (SIZES, smaller)]

    contents, results = frames(0, gradient=False), []
    for function in (
        lambda stylized: image_similarity_loss(contents, stylized, normalization=normalization),
        lambda stylized: naive_similarity(contents, stylized, printed=normalization == "printed"),
    ):
        stylized = frames(1, gradient=True)
        loss = function(stylized)
        (3 * loss).backward()
        results.append((float(loss), [frame[f"relu{x}_1"].grad.numpy() for frame in stylized for x in (2, 3, 4)]))
    (ours, our_gradients), (naive, naive_gradients) = results
    assert abs(ours - naive) <= 1e-12
    for a, b in zip(our_gradients, naive_gradients):
        assert np.abs(b).max() > 1e-7
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)


def test_points_that_are_all_zero_have_a_finite_similarity(rng):
    frames = [features(rng, gradient=True) for _ in range(4)]
    for frame in frames:
        frame["relu2_1"] = paddle.zeros_like(frame["relu2_1"])
    loss = image_similarity_loss(frames[:2], frames[2:])
    loss.backward()
    assert np.isfinite(float(loss)) and bool(paddle.isfinite(frames[2]["relu3_1"].grad).all())


def test_a_flat_picture_has_a_bounded_similarity(rng):
    """Equal points but for rounding noise: shares of the noise must not blow up."""
    contents = [{name: f.astype("float32") for name, f in features(rng).items()} for _ in range(2)]
    flat = [
        {name: paddle.ones_like(f) + 1e-7 * paddle.randn(f.shape, f.dtype) for name, f in frame.items()}
        for frame in contents
    ]
    for frame in flat:
        for feature in frame.values():
            feature.stop_gradient = False
    loss = image_similarity_loss(contents, flat)
    loss.backward()
    assert float(loss) < 1 and bool(paddle.isfinite(flat[0]["relu3_1"].grad).all())


def test_a_similarity_that_is_kept_costs_nothing(rng):
    contents = features(rng), features(rng)
    assert float(image_similarity_loss(contents, contents)) < 1e-15
    # Cosine distance does not see the length of features.
    longer = [{name: 3 * feature for name, feature in frame.items()} for frame in contents]
    assert float(image_similarity_loss(contents, longer)) < 1e-15


@pytest.mark.parametrize("needed", [0, 1])
def test_similarity_gradient_to_one_frame_alone(rng, needed):
    contents = features(rng), features(rng)
    stylized = [features(rng, gradient=i == needed) for i in (0, 1)]
    image_similarity_loss(contents, stylized).backward()
    assert stylized[needed]["relu3_1"].grad is not None and stylized[1 - needed]["relu3_1"].grad is None


@pytest.mark.parametrize("function", [global_style_loss, content_loss])
def test_levels_and_shares(rng, function):
    first, second = features(rng), features(rng)
    single = [float(function(first, second, levels=[x])) for x in (3, 4)]
    np.testing.assert_allclose(float(function(first, second, levels=[3, 4])), sum(single), rtol=1e-12)
    weighted = float(function(first, second, levels=[3, 4], level_weights={4: 0.25}))
    np.testing.assert_allclose(weighted, single[0] + 0.25 * single[1], rtol=1e-12)


def test_no_gradient_reaches_targets(rng):
    stylized, content, style = (features(rng, gradient=True) for _ in range(3))
    (local_feature_loss(stylized, content, style) + content_loss(stylized, content)).backward()
    assert all(feature.grad is None for named in (content, style) for feature in named.values())
    assert stylized["relu3_1"].grad is not None


@pytest.mark.parametrize("kind", losses.DISTANCES)
def test_the_gradient_of_no_difference_is_finite(rng, kind):
    stylized = features(rng, gradient=True)
    style = {name: feature.detach() for name, feature in stylized.items()}
    global_style_loss(stylized, style, distance=kind).backward()
    assert all(bool(paddle.isfinite(stylized[f"relu{x}_1"].grad).all()) for x in (2, 3, 4, 5))


def test_unknown_options_are_refused(rng):
    first = features(rng)
    with pytest.raises(ValueError, match="mse, l2; got 'l1'"):
        content_loss(first, first, distance="l1")
    with pytest.raises(ValueError, match="printed, size_independent; got 'x'"):
        image_similarity_loss((first, first), (first, first), normalization="x")


@pytest.mark.parametrize("kind", ["image", "video"])
def test_reference_values_on_vgg19(shared, kind):
    expected = json.loads((shared / "weights" / "reference_losses.json").read_text())[kind]
    pictures = np.load(shared / "weights" / f"reference_{kind}.npz")
    encoder = Encoder()
    with np.load(shared / "weights" / "vgg19_normalised.npz") as weights:
        encoder.set_state_dict({name: weights[name].astype("float32") for name in encoder.state_dict()})

    @paddle.no_grad()
    def encode(image):
        return encoder(paddle.to_tensor(image.astype("float32").transpose(2, 0, 1)[None]))

    content, style = (pictures[role].astype("float32") / 255 for role in ("content", "style"))
    stylized = pictures["output"]
    c, s, cs, mirrored_c, mirrored_cs = map(encode, (content, style, stylized, content[:, ::-1], stylized[:, ::-1]))
    actual = {
        "L_gs": global_style_loss(cs, s),
        "L_lf": local_feature_loss(cs, c, s, attention={"image": "softmax", "video": "cosine"}[kind]),
        "L_is_printed": image_similarity_loss((c, mirrored_c), (cs, mirrored_cs)),
        "L_is_size_independent": image_similarity_loss(
            (c, mirrored_c), (cs, mirrored_cs), normalization="size_independent"
        ),
    }
    for name, loss in actual.items():
        np.testing.assert_allclose(float(loss), expected[name], rtol=1e-3, err_msg=name)
