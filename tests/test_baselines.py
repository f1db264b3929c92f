"""The compared methods: each against its paper's formula in float64, then what all of them share, then their use."""

import itertools

import ppadaattn
from ppadaattn.cli.paint import main as infer
from ppadaattn.errors import InputError
from ppadaattn.infer.engine import make_engine
from ppadaattn.infer.frames import FramePainter
from ppadaattn.infer.stylizer import Stylizer
from ppadaattn.media.drawing import paint_mask
from ppadaattn.media.images import read_image
from ppadaattn.model.attention import attention_statistics, mix, state_from_dict
from ppadaattn.model.features import modulate
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.model.style import Style
from ppadaattn.model.transforms import TRANSFORMS, avatarnet
from ppadaattn.model.transforms.base import Statistics
from ppadaattn.train import losses
from ppadaattn.weights.checkpoint import save_weights

import numpy as np
import paddle
import pytest
import reference

CHANNELS = 8
BASELINES = {name: layer for name, layer in TRANSFORMS.items() if name != "adaattn"}
NAMES = sorted(BASELINES)


def fill(layer, scale=0.7):
    """Random parameters, large enough for every path to matter; {name: float64 array} of them."""
    rng = np.random.RandomState(1)
    for parameter in layer.parameters():
        fan_in = np.prod(parameter.shape[1:]) if parameter.ndim > 1 else 4
        parameter.set_value((scale * rng.randn(*parameter.shape) / np.sqrt(fan_in)).astype("float32"))
    return {name: tensor.numpy().astype("float64") for name, tensor in layer.state_dict().items()}


def made(name):
    layer = BASELINES[name](CHANNELS, CHANNELS)
    return layer, fill(layer)


def features(rng, content=(6, 7), style=(5, 9), batch=1):
    """A content and a style feature, not negative, as encoders give them."""
    return [np.abs(rng.randn(batch, CHANNELS, *size)).astype("float32") for size in (content, style)]


def key_of(layer, feature):
    """What the layer takes as the key of a feature: SANet that of its own level alone, others none."""
    normalized = reference.normalize(feature.numpy().astype("float64")).astype("float32")
    return paddle.to_tensor(normalized) if layer.stacks_key else None


def embed(layer, content, style, points=None):
    """F_cs of numpy arrays."""
    content, style = map(paddle.to_tensor, (content, style))
    keys = [key_of(layer, x) for x in (content, style)]
    state = layer.prepare_style(style, keys[1], 0, None if points is None else paddle.to_tensor(points))
    return layer(content, keys[0], state)


def flat(feature):
    return feature.reshape(*feature.shape[:2], -1)


def convolve(weights, name, x):
    return reference.pointwise(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


# ---------------------------------------------------------------------------------------------------------------------
# Formulas
# ---------------------------------------------------------------------------------------------------------------------


def expected_adain(weights, content, style):
    result = np.empty_like(content)
    for b, c in np.ndindex(*content.shape[:2]):
        mean, variance = content[b, c].mean(), content[b, c].var(ddof=1) + 1e-5
        normalized = (content[b, c] - mean) / np.sqrt(variance)
        result[b, c] = np.sqrt(style[b, c].var(ddof=1) + 1e-5) * normalized + style[b, c].mean()
    return result


def zero_padded(x, weight, bias):
    height, width = x.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    result = np.zeros((len(x), len(weight), height, width)) + bias[:, None, None]
    for down, right in np.ndindex(3, 3):
        result += np.einsum(
            "oi,bihw->bohw", weight[:, :, down, right], x[:, :, down : down + height, right : right + width]
        )
    return result


def expected_linear(weights, content, style):
    content_mean, style_mean = (x.mean((2, 3), keepdims=True) for x in (content, style))

    def matrix(name, x):
        for index in range(3):
            layer = f"{name}.convolutions.{index}"
            x = zero_padded(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"])
            x = reference.relu(x) if index < 2 else x
        points = flat(x)
        covariance = np.einsum("bin,bjn->bij", points, points) / points.shape[-1]
        rows = covariance.reshape(len(x), -1) @ weights[f"{name}.dense.weight"][:, :, 0, 0].T
        return (rows + weights[f"{name}.dense.bias"]).reshape(covariance.shape)

    transform = matrix("style_matrix", style - style_mean) @ matrix("content_matrix", content - content_mean)
    compressed = convolve(weights, "compress", content - content_mean)
    return convolve(weights, "uncompress", np.einsum("bij,bjhw->bihw", transform, compressed)) + style_mean


def expected_mccnet(weights, content, style):
    key = convolve(weights, "g", reference.normalize(style))
    energy = (key**2).mean((2, 3), keepdims=True)
    scaled = convolve(weights, "f", reference.normalize(content)) * convolve(weights, "fc", energy)
    return content + convolve(weights, "out", scaled)


def attended(weights, name, asking, asked):
    """x + out(M): position-wise attention of `asking` to `asked`."""
    query = convolve(weights, f"{name}f", reference.normalize(asking))
    key = convolve(weights, f"{name}g", reference.normalize(asked))
    attention = reference.softmax_attention(flat(query), flat(key))
    mean = np.einsum("bij,bcj->bci", attention, flat(convolve(weights, f"{name}h", asked)))
    return asking + convolve(weights, f"{name}out", mean.reshape(asking.shape))


def expected_sanet(weights, content, style):
    return attended(weights, "", content, style)


def expected_mast(weights, content, style):
    first, second = (flat(convolve(weights, f"style.{name}", style)) for name in "fg")
    scores = np.einsum("bin,bjn->bij", first, second)
    attention = np.exp(scores - scores.max(-1, keepdims=True))
    attention /= attention.sum(-1, keepdims=True)
    value = flat(convolve(weights, "style.h", reference.normalize(style)))
    adapted = np.einsum("bij,bin->bjn", attention, value).reshape(style.shape)
    adapted_style = style + convolve(weights, "style.out", adapted)
    return attended(weights, "joint.", attended(weights, "content.", content, content), adapted_style)


def expected_avatarnet(weights, content, style, centres=None):
    """Patch by patch, with explicit patches."""
    radius = avatarnet.PATCH // 2
    result = np.empty_like(content)

    def whiten(feature, points):
        mean = points.mean(1)
        covariance = (points - mean[:, None]) @ (points - mean[:, None]).T / points.shape[1]
        values, vectors = np.linalg.eigh(covariance)
        kept = values > 1e-5
        white = (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
        colour = (vectors[:, kept] * np.sqrt(values[kept])) @ vectors[:, kept].T
        return np.einsum("ij,jhw->ihw", white, feature - mean[:, None, None]), colour, mean

    def patches(feature):
        padded = np.pad(feature, ((0, 0), (radius, radius), (radius, radius)), mode="edge")
        side = 2 * radius + 1
        return {(y, x): padded[:, y : y + side, x : x + side] for y, x in np.ndindex(*feature.shape[1:])}

    for b in range(len(content)):
        points = style[b].reshape(CHANNELS, -1)
        places = list(np.ndindex(*style.shape[2:]))
        allowed = range(len(places)) if centres is None else centres
        white_content, _, _ = whiten(content[b], content[b].reshape(CHANNELS, -1))
        white_style, colour, mean = whiten(style[b], points[:, list(allowed)])
        style_patches = patches(white_style)
        total, count = np.zeros_like(content[b]), np.zeros(content.shape[2:])
        for (y, x), patch in patches(white_content).items():
            best = max(
                (style_patches[places[k]] for k in allowed),
                key=lambda other: (patch * other).sum() / np.sqrt((other**2).sum()),
            )
            for down, right in itertools.product(range(-radius, radius + 1), repeat=2):
                if 0 <= y + down < content.shape[2] and 0 <= x + right < content.shape[3]:
                    total[:, y + down, x + right] += best[:, down + radius, right + radius]
                    count[y + down, x + right] += 1
        result[b] = np.einsum("ij,jhw->ihw", colour, total / count) + mean[:, None, None]
    return result


@pytest.mark.parametrize("name", NAMES)
def test_each_method_is_its_papers_formula(rng, name):
    layer, weights = made(name)
    content, style = features(rng, batch=2)
    with paddle.no_grad():
        actual = embed(layer, content, style).numpy()
    expected = globals()[f"expected_{name}"](weights, content.astype("float64"), style.astype("float64"))
    assert np.abs(expected - content).max() > 0.1
    np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("tile_numbers", [1, 9 * 12 * 9 * 13, 2**22])
def test_patches_are_swapped_band_by_band(rng, monkeypatch, tile_numbers):
    monkeypatch.setattr(avatarnet, "TILE_NUMBERS", tile_numbers)
    layer, weights = made("avatarnet")
    content, style = features(rng, content=(9, 8))
    expected = expected_avatarnet(weights, content.astype("float64"), style.astype("float64"))
    np.testing.assert_allclose(embed(layer, content, style).numpy(), expected, atol=1e-4)


def test_whitening_leaves_out_what_does_not_vary(rng):
    """With fewer points than channels the covariance is singular."""
    points = paddle.to_tensor(rng.randn(1, CHANNELS, 4).astype("float32"))
    mean, whiten, colour = avatarnet.whitening(points)
    white = paddle.matmul(whiten, points - mean).numpy()[0]
    values = np.linalg.eigvalsh(white.astype("float64") @ white.T / 4)
    np.testing.assert_allclose(values, [0] * 5 + [1] * 3, atol=1e-4)
    back = paddle.matmul(colour, paddle.to_tensor(white)) + mean
    np.testing.assert_allclose(back[0].numpy(), points[0].numpy(), atol=1e-4)


def test_avatarnet_of_one_picture_is_that_picture(rng):
    """Each patch finds itself."""
    layer, _ = made("avatarnet")
    content, _ = features(rng)
    np.testing.assert_allclose(embed(layer, content, content).numpy(), content, atol=1e-4)


def test_adain_is_adaattn_that_attends_to_all_points_alike(rng):
    """Queries of 0 score all keys alike. AdaAttN's variance is divided by n, AdaIN's by n - 1, and eps is added."""
    layer, _ = made("adain")
    content, style = map(paddle.to_tensor, features(rng))
    value = style.flatten(2)
    query = paddle.zeros([1, 3, 42])
    mean, std = attention_statistics(query, paddle.to_tensor(rng.randn(1, 3, 45).astype("float32")), value)
    unbiased = (std.square() * 45 / 44 + 1e-5).sqrt()
    expected = modulate(content, mean, unbiased).numpy()
    np.testing.assert_allclose(embed(layer, content.numpy(), style.numpy()).numpy(), expected, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Mixtures, regions, styles side by side
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_mixture_is_the_average_of_what_its_styles_give(rng, name):
    layer, _ = made(name)
    content, first = features(rng)
    second = features(rng, style=(4, 8))[1]
    with paddle.no_grad():
        whole = embed(layer, content, first).numpy(), embed(layer, content, second).numpy()
        content_key = key_of(layer, paddle.to_tensor(content))
        styles = [paddle.to_tensor(x) for x in (first, second)]
        states = [layer.prepare_style(x, key_of(layer, x)) for x in styles]
        mixed = mix(states, [3, 1])
        again = state_from_dict(mixed.state_dict())
        for state in (mixed, again):
            actual = layer(paddle.to_tensor(content), content_key, state).numpy()
            np.testing.assert_allclose(actual, 0.75 * whole[0] + 0.25 * whole[1], atol=1e-4)
        assert mix(states, [0, 1]) is states[1]


@pytest.mark.parametrize("name", ["adain", "linear", "mccnet", "avatarnet"])
def test_a_region_takes_the_points_of_its_own(rng, name):
    layer, weights = made(name)
    content, style = (x.astype("float64") for x in features(rng))
    points = np.array([1, 2, 3, 10, 11, 12, 13, 20, 22, 30, 31, 40])
    actual = embed(layer, content.astype("float32"), style.astype("float32"), points).numpy()
    if name == "avatarnet":
        expected = expected_avatarnet(weights, content, style, points)
    elif name == "adain":
        expected = expected_adain(weights, content, flat(style)[:, :, points][:, :, None])
    elif name == "mccnet":
        key = flat(convolve(weights, "g", reference.normalize(style)))[:, :, points]
        weight = convolve(weights, "fc", (key**2).mean(2)[:, :, None, None])
        expected = content + convolve(weights, "out", convolve(weights, "f", reference.normalize(content)) * weight)
    else:  # all points as a region are no region
        everything = embed(layer, content.astype("float32"), style.astype("float32"), np.arange(45)).numpy()
        np.testing.assert_allclose(everything, expected_linear(weights, content, style), atol=1e-4)
        assert np.abs(actual - everything).max() > 1e-2
        return
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_contents_in_regions_read_their_own_state(rng):
    layer, _ = made("adain")
    content, first = features(rng)
    second = features(rng, style=(3, 4))[1]
    states = [layer.prepare_style(paddle.to_tensor(x)) for x in (first, second)]
    labels = np.arange(42) % 3 == 0
    together = states[0].in_regions(states, labels.astype(int))
    actual = flat(layer(paddle.to_tensor(content), None, together).numpy())
    for label, style in enumerate((first, second)):
        alone = flat(embed(layer, content, style).numpy())
        np.testing.assert_allclose(actual[:, :, labels == label], alone[:, :, labels == label], atol=1e-6)
    with pytest.raises(ValueError, match="regions are those of 42 content points; the content has 5 x 9"):
        layer(paddle.to_tensor(first), None, together)


def test_statistics_side_by_side_are_those_of_all_points(rng):
    first, second = features(rng)
    state = Statistics.of(paddle.to_tensor(first)) + Statistics.of(paddle.to_tensor(second))
    everything = np.concatenate([flat(first), flat(second)], -1).astype("float64")
    np.testing.assert_allclose(state["mean"].numpy()[:, :, 0, 0], everything.mean(-1), rtol=1e-5)
    np.testing.assert_allclose(state["variance"].numpy()[:, :, 0, 0], everything.var(-1, ddof=1), rtol=1e-4)
    assert state["count"].item() == 42 + 45


@pytest.mark.parametrize("name", ["linear", "mccnet", "avatarnet"])
def test_styles_that_cannot_stand_side_by_side_are_refused(rng, name):
    layer, _ = made(name)
    state = layer.prepare_style(paddle.to_tensor(features(rng)[1]))
    with pytest.raises(InputError, match="cannot be put side by side as if they were one picture; mix them"):
        state + state


@pytest.mark.parametrize("name", ["linear", "mast", "mccnet", "sanet"])
def test_gradients_reach_every_parameter(rng, name):
    layer, _ = made(name)
    embed(layer, *features(rng)).square().mean().backward()
    # A softmax over points does not see what is added to all keys alike.
    unseen = {"mast": {"content.g.bias", "joint.g.bias"}, "sanet": {"g.bias"}}.get(name, set())
    for parameter_name, parameter in layer.named_parameters():
        assert parameter.grad is not None and np.isfinite(parameter.grad.numpy()).all(), parameter_name
        if parameter_name not in unseen:
            assert np.abs(parameter.grad.numpy()).max() > 1e-7, parameter_name


@pytest.mark.parametrize("name", ["linear", "mast", "mccnet", "sanet"])
def test_near_identity_each_begins_near_its_content(rng, name):
    """Linear with as many compressed channels as it has: the content, moved to the mean of the style."""
    layer, _ = made(name)
    for parameter in layer.parameters():
        parameter.set_value(paddle.zeros_like(parameter))
    layer.init_near_identity()
    content, style = features(rng)
    actual = embed(layer, content, style).numpy()
    means = [x.mean((2, 3), keepdims=True) for x in (content, style)] if name == "linear" else [0, 0]
    np.testing.assert_allclose(actual, content - means[0] + means[1], atol=0.3)


def test_states_and_contents_that_do_not_fit_are_refused(rng):
    layer, _ = made("mccnet")
    content, style = map(paddle.to_tensor, features(rng))
    state = layer.prepare_style(style)
    with pytest.raises(ValueError, match="MCCNet does not normalize contents"):
        layer(content, None, state, (0.0, 1.0))
    with pytest.raises(ValueError, match="of 8 channels and batch 1; expected 4 channels, and batch 1 or 1"):
        BASELINES["mccnet"](4)(content[:, :4], None, state)
    for name in ("mast", "sanet"):
        layer, _ = made(name)
        with pytest.raises(ValueError, match="no use for content statistics"):
            layer(content, content, None, (0.0, 1.0))


# ---------------------------------------------------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------------------------------------------------


def network_of(name, **options):
    """A network whose pictures are neither black nor white."""
    network = AdaAttNNetwork(width=0.125, transform=name, **options)
    fill(network, 1.2)
    network.eval()
    last = network.decoder.stage1[-1]
    with paddle.no_grad():
        picture = network(paddle.rand([1, 3, 32, 32]), paddle.rand([1, 3, 32, 32])).transpose([1, 0, 2, 3]).flatten(1)
        scale = 0.2 / picture.std(1)
        last.weight.set_value(last.weight * scale.reshape([3, 1, 1, 1]))
        last.bias.set_value((last.bias - picture.mean(1)) * scale + 0.5)
    return network


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("content", "style"), [((17, 33), (40, 16)), ((16, 16), (16, 16)), ((35, 18), (19, 57))])
def test_pictures_of_any_size(rng, name, content, style):
    network = network_of(name)
    assert network.levels == BASELINES[name].levels
    contents, styles = (paddle.to_tensor(rng.rand(2, 3, *size).astype("float32")) for size in (content, style))
    with paddle.no_grad():
        prepared = network.prepare_style(styles[:1])
        together = network.stylize(contents, prepared).numpy()
        alone = network.stylize(contents[1:], prepared).numpy()
        weaker = network.stylize(contents, prepared, strength=0.3).numpy()
    assert together.shape == (2, 3, *content) and np.isfinite(together).all() and np.isfinite(weaker).all()
    np.testing.assert_allclose(together[1:], alone, atol=1e-3 * np.abs(together).max())


def test_the_hourglass_gives_features_the_styles_statistics(rng):
    """What the last convolution of levels 3, 2 and 1 of the decoder takes has the mean and std of the style there."""
    network = network_of("avatarnet")
    content, style = (paddle.to_tensor(rng.rand(1, 3, *size).astype("float32")) for size in ((40, 32), (48, 24)))
    seen = {}
    for level, stage in ((3, network.decoder.stage3), (2, network.decoder.stage2), (1, network.decoder.stage1)):
        stage[-1].register_forward_pre_hook(lambda layer, inputs, level=level: seen.update({level: inputs[0].numpy()}))
    with paddle.no_grad():
        wanted = network.encoder(style)
        network(content, style)
    for level, actual in seen.items():
        expected = wanted[f"relu{level}_1"].numpy()
        np.testing.assert_allclose(actual.mean((2, 3)), expected.mean((2, 3)), rtol=1e-3, atol=1e-4)
        lively = actual.std((2, 3)) > 0.02  # a channel that the decoder leaves dead has no spread to scale
        assert lively.sum() > 2
        np.testing.assert_allclose(actual.std((2, 3))[lively], expected.std((2, 3))[lively], rtol=3e-2, atol=3e-2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"transform": "adain", "attention": "cosine"},
            "adain has no cosine attention; leave attention at softmax",
        ),
        ({"transform": "mast", "attention": "cosine"}, "the transform mast has no cosine attention"),
        (
            {"transform": "linear", "shallow_features": False},
            "linear stacks no shallow features; leave",
        ),
        ({"transform": "adain", "levels": [5]}, "5 only with 4"),
        (
            {"transform": "avatarnet", "levels": [3]},
            r"leaves levels \[1, 2, 3\] to the decoder; .* as \[4\]",
        ),
    ],
)
def test_options_without_meaning_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        AdaAttNNetwork(width=0.125, **options)


@pytest.fixture(params=NAMES)
def model(request, tmp_path):
    """The weights file of each method."""
    path = tmp_path / f"{request.param}.pdparams"
    save_weights(path, network_of(request.param))
    return path


def halves(height, width):
    """A mask whose left half is red and whose right half is blue."""
    left = np.broadcast_to(np.arange(width) < width // 2, (height, width))
    return paint_mask({(255, 0, 0): left, (0, 0, 255): ~left})


def test_files_of_weights_and_of_styles(model, tmp_path, rng):
    stylizer = ppadaattn.load(model, device="cpu")
    assert stylizer.engine is None
    pictures = [rng.randint(0, 256, (*size, 3)).astype("uint8") for size in ((24, 33), (40, 26), (20, 20))]
    style = stylizer.prepare_style(pictures[1], mask=halves(40, 26))
    mixed = Style.mix([style, stylizer.prepare_style(pictures[2])], [2, 1])
    for number, kept in enumerate((style, mixed)):
        stylizer.save_style(tmp_path / f"{number}.style", kept)
        again = ppadaattn.load(model, device="cpu").prepare_style(tmp_path / f"{number}.style")
        for options in ({}, {"mask": halves(24, 33), "strength": 0.6}):
            expected = stylizer(pictures[0], kept, **options)
            assert expected.shape == pictures[0].shape and expected.std() > 10
            np.testing.assert_array_equal(stylizer(pictures[0], again, **options), expected)


def test_a_style_in_the_regions_of_one_content_is_not_saved(model, tmp_path, rng):
    stylizer = ppadaattn.load(model, device="cpu")
    style = stylizer.prepare_style(rng.randint(0, 256, (20, 20, 3)).astype("uint8"), mask=halves(20, 20))
    with pytest.raises(InputError, match="in_regions of a content serves that content only"):
        stylizer.save_style(tmp_path / "a.style", style.in_regions(halves(24, 33)))


def test_painting_from_the_command_line(model, picture, tmp_path):
    picture("clip/0.png")
    picture("clip/1.png")
    files = ["--model", model, "--style", picture("style.png", 32, 24)]
    words = [str(word) for word in (*files, "--content", picture("content.png"), "--output", tmp_path / "out.png")]
    assert infer(words) == 0 and read_image(tmp_path / "out.png").shape == (24, 32, 3)
    clip = ["--content", tmp_path / "clip", "--frames", "--output", tmp_path / "frames"]
    words = [str(word) for word in (*files, *clip)]
    assert infer(words) == 0 and len(list((tmp_path / "frames").glob("*.png"))) == 2


def test_what_a_method_cannot_do_is_said_in_one_sentence(picture, tmp_path, capsys):
    path = tmp_path / "linear.pdparams"
    save_weights(path, network_of("linear"))
    files = ["--model", str(path), "--content", str(picture("content.png")), "--output", str(tmp_path / "out.png")]
    styles = ["--style", str(picture("a.png")), str(picture("b.png"))]
    assert infer([*files, *styles, "--style-mode", "concat"]) == 2
    assert "styles of this method cannot be put side by side" in capsys.readouterr().err
    assert infer([*files, *styles[:2], "--engine", "onnxruntime"]) == 2
    assert "the engine onnxruntime runs AdaAttN; this model is linear" in capsys.readouterr().err
    stylizer = Stylizer(network_of("mccnet"))
    with pytest.raises(InputError, match="`smooth_statistics` needs a model that normalizes contents; mccnet does not"):
        FramePainter(stylizer, None, smooth_statistics=0.5)
    assert make_engine("auto", stylizer.network) is None


def test_statistics_of_contents_are_smoothed_for_adain(rng):
    stylizer = Stylizer(network_of("adain"))
    frames = [rng.randint(0, 256, (24, 24, 3)).astype("uint8")] * 2
    frames[1] = np.clip(frames[0].astype(int) + 9, 0, 255).astype("uint8")
    style = stylizer.prepare_style(rng.randint(0, 256, (24, 24, 3)).astype("uint8"))
    smoothed, _ = FramePainter(stylizer, style, smooth_statistics=0.9)(frames)
    plain, _ = FramePainter(stylizer, style)(frames)
    np.testing.assert_array_equal(smoothed[0], plain[0])
    assert (smoothed[1] != plain[1]).any()


# ---------------------------------------------------------------------------------------------------------------------
# Losses
# ---------------------------------------------------------------------------------------------------------------------


def pyramid(rng, batch=2):
    shapes = {f"relu{x}_1": (batch, 2 + x, 12 - 2 * x, 11 - x) for x in range(1, 6)}
    return {name: np.abs(rng.randn(*shape)).astype("float32") for name, shape in shapes.items()}


def tensors(features):
    return {name: paddle.to_tensor(feature) for name, feature in features.items()}


def exact(features, level):
    return features[f"relu{level}_1"].astype("float64")


def test_losses_of_features_against_their_formulas(rng):
    a, b, c = (pyramid(rng) for _ in range(3))
    normalized = sum(
        ((reference.normalize(exact(a, x)) - reference.normalize(exact(b, x))) ** 2).mean() for x in (4, 5)
    )
    found = losses.content_loss(tensors(a), tensors(b), levels=(4, 5), normalized=True)
    np.testing.assert_allclose(float(found), normalized, rtol=1e-5)

    target = expected_adain(None, exact(b, 4), exact(c, 4))
    found = losses.adain_content_loss(tensors(a), tensors(b), tensors(c))
    np.testing.assert_allclose(float(found), ((exact(a, 4) - target) ** 2).mean(), rtol=1e-5)

    gram = 0.0
    for level in (1, 2, 3, 4):
        for x, y in zip(exact(a, level), exact(b, level)):
            x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
            gram += (((x @ x.T - y @ y.T) / x.size) ** 2).sum() / 2 + ((x.mean(1) - y.mean(1)) ** 2).sum() / 2
    np.testing.assert_allclose(float(losses.gram_style_loss(tensors(a), tensors(b))), gram, rtol=1e-5)

    identity = sum(
        ((exact(x, level) - exact(y, level)) ** 2).mean() for level in range(1, 6) for x, y in ((a, b), (c, a))
    )
    found = losses.identity_features_loss([tensors(a), tensors(c)], [tensors(b), tensors(a)])
    np.testing.assert_allclose(float(found), identity, rtol=1e-5)


def test_disentanglement_compares_neighbours_in_the_batch(rng):
    a = pyramid(rng, batch=3)
    content = style = 0.0
    for level in range(1, 6):
        feature = exact(a, level)
        following = feature[[1, 2, 0]]
        if level > 3:
            content += ((reference.normalize(feature) - reference.normalize(following)) ** 2).mean()
        for statistic in (lambda x: x.mean((2, 3)), lambda x: np.sqrt(x.var((2, 3), ddof=1) + 1e-5)):
            style += ((statistic(feature) - statistic(following)) ** 2).mean()
    np.testing.assert_allclose(float(losses.disentangled_content_loss(tensors(a))), content, rtol=1e-5)
    np.testing.assert_allclose(float(losses.disentangled_style_loss(tensors(a))), style, rtol=1e-5)
    alone = tensors({name: feature[:1] for name, feature in a.items()})
    assert float(losses.disentangled_content_loss(alone)) == float(losses.disentangled_style_loss(alone)) == 0


def test_losses_of_pictures_against_their_formulas(rng):
    a, b, c, d = rng.rand(4, 2, 3, 5, 7)
    pictures = [paddle.to_tensor(x.astype("float32")) for x in (a, b, c, d)]
    expected = ((a - b) ** 2).mean() + ((c - d) ** 2).mean()
    actual = losses.identity_pixels_loss([pictures[0], pictures[2]], [pictures[1], pictures[3]])
    np.testing.assert_allclose(float(actual), expected, rtol=1e-5)
    np.testing.assert_allclose(float(losses.illumination_loss(*pictures[:2])), ((a - b) ** 2).mean(), rtol=1e-5)
    expected = np.abs(np.diff(a, axis=2)).mean() + np.abs(np.diff(a, axis=3)).mean()
    np.testing.assert_allclose(float(losses.total_variation_loss(pictures[0])), expected, rtol=1e-5)
