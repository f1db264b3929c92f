"""Encoder, decoder and the whole network against float64 numpy, then sizes and conventions."""

from ppadaattn.model import vgg
from ppadaattn.model.architecture import CONVENTIONS
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.model.style import Style
from ppadaattn.model.vgg import Encoder, ReflectionConv2D

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
import reference

TINY = 1 / 32  # 2, 4, 8, 16, 16 channels


def tiny_network(**options):
    """A network with weights large enough for every path to matter, and those weights."""
    network = AdaAttNNetwork(width=TINY, **options)
    rng = np.random.RandomState(1)
    for name, parameter in network.named_parameters():
        fan_in = np.prod(parameter.shape[1:]) if parameter.ndim > 1 else 1
        scale = 0.1 if name.endswith("bias") else 1.5 / np.sqrt(fan_in)
        parameter.set_value((rng.randn(*parameter.shape) * scale).astype("float32"))
    network.eval()
    return network, {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def images(rng, content=(37, 50), style=(29, 42), batch=1):
    return [rng.rand(batch, 3, *size).astype("float32") for size in (content, style)]


@pytest.mark.parametrize(
    ("kind", "levels", "conventions"),
    [
        ("softmax", (3, 4, 5), "paper"),
        ("cosine", (3, 4, 5), "paper"),
        ("softmax", (3, 4, 5), "release"),
        ("cosine", (3,), "release"),
        ("cosine", (3,), "paper"),
    ],
)
def test_network_equals_the_reference(rng, kind, levels, conventions):
    network, weights = tiny_network(attention=kind, levels=levels, conventions=conventions)
    expected_network = reference.Network(weights, kind, levels, release=conventions == "release")
    content, style = images(rng, batch=2)
    with paddle.no_grad():
        actual = network(paddle.to_tensor(content), paddle.to_tensor(style)).numpy()
    expected = expected_network(content.astype("float64"), style.astype("float64"))
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(actual, expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("transform", ["adaattn", "sanet"])
@pytest.mark.parametrize("shallow", [True, False])
def test_ablations_equal_the_reference(rng, transform, shallow):
    network, weights = tiny_network(transform=transform, levels=(3, 4, 5), shallow_features=shallow)
    expected_network = reference.Network(weights, "softmax", sanet=transform == "sanet", shallow=shallow)
    content, style = images(rng)
    with paddle.no_grad():
        actual = network(paddle.to_tensor(content), paddle.to_tensor(style)).numpy()
    expected = expected_network(content.astype("float64"), style.astype("float64"))
    np.testing.assert_allclose(actual, expected, atol=2e-4 * np.abs(expected).max())
    assert network.adaattn5.f.weight.shape[0] == (2 + 4 + 8 + 16 + 16 if shallow else 16)


@pytest.mark.parametrize("size", [(16, 16), (16, 31), (17, 33), (48, 49), (63, 16), (18, 130)])
@pytest.mark.parametrize("levels", [(3, 4, 5), (3,), (4, 5), (4,)])
def test_output_has_the_size_of_the_content(rng, size, levels):
    network, _ = tiny_network(levels=levels)
    content, style = images(rng, content=size, style=size[::-1])
    with paddle.no_grad():
        output = network(paddle.to_tensor(content), paddle.to_tensor(style)).numpy()
    assert output.shape == content.shape and np.isfinite(output).all()


def test_one_style_for_a_batch_of_contents(rng):
    network, _ = tiny_network()
    contents, style = images(rng, batch=2)
    with paddle.no_grad():
        prepared = network.prepare_style(paddle.to_tensor(style[:1]))
        together = network.stylize(paddle.to_tensor(contents), prepared).numpy()
        alone = network.stylize(paddle.to_tensor(contents[1:]), prepared).numpy()
    np.testing.assert_allclose(together[1:], alone, atol=1e-4)


def test_gradients_reach_every_trained_layer(rng):
    network, _ = tiny_network()
    network(*map(paddle.to_tensor, images(rng))).square().mean().backward()
    for name, parameter in network.named_parameters():
        # relu5_1's pooled mean of a constant channel can vanish, a whole layer's gradient cannot
        assert parameter.grad is not None and np.isfinite(parameter.grad.numpy()).all(), name
        if name.startswith(("adaattn", "decoder")) and name.endswith("weight"):
            assert np.abs(parameter.grad.numpy()).sum() > 0, name


def test_concatenated_and_mixed_styles(rng):
    network, _ = tiny_network(attention="cosine")
    content, style = (paddle.to_tensor(x) for x in images(rng))
    with paddle.no_grad():
        first, second = network.prepare_style(style), network.prepare_style(1 - style)
        same = network.stylize(content, first).numpy()
        np.testing.assert_allclose(network.stylize(content, first + first).numpy(), same, atol=1e-3)
        np.testing.assert_allclose(
            network.stylize(content, Style.mix([first, second], [1, 0])).numpy(), same, atol=1e-5
        )
        assert np.abs(network.stylize(content, Style.mix([first, second])).numpy() - same).max() > 1e-3
    level_3, _ = tiny_network(levels=(3,), attention="cosine")
    other = level_3.prepare_style(style)
    with pytest.raises(ValueError, match="one network has prepared"):
        first + other
    with pytest.raises(ValueError, match="one network has prepared"):
        Style.mix([first, other])
    with pytest.raises(TypeError, match="one or more Style"):
        Style.mix([])
    with pytest.raises(TypeError):
        first + "style"
    with pytest.raises(ValueError, match=r"for levels \[3\], this network has \[3, 4, 5\]"):
        network.stylize(content, other)


def test_release_samples_style_points_by_the_seed(rng):
    """At 260 x 260 level 3 has 65 x 65 = 4225 points, a little more than the 4096 that the release uses."""
    network, _ = tiny_network(conventions="release")
    content, style = (paddle.to_tensor(x) for x in images(rng, style=(260, 260)))
    with paddle.no_grad():
        prepared = network.prepare_style(style, seed=1)
        assert [prepared.states[level].count for level in (3, 4, 5)] == [4096, 33 * 33, 17 * 17]
        first, again, other = (network(content, style, seed=seed).numpy() for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, network.stylize(content, prepared).numpy())
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_lite_uses_evenly_spaced_style_points_on_each_level(rng, monkeypatch):
    few = {3: 20, 4: 12, 5: 50}
    for level, count in few.items():
        monkeypatch.setitem(CONVENTIONS["lite"].num_style_points, level, count)
    (lite, _), (paper, _) = tiny_network(conventions="lite"), tiny_network()
    content, style = (paddle.to_tensor(x) for x in images(rng, style=(40, 48)))
    with paddle.no_grad():
        prepared, whole = lite.prepare_style(style, seed=1), paper.prepare_style(style)
        for level, count in {3: 120, 4: 30, 5: 9}.items():
            most = min(few[level], count)
            chosen = np.floor((np.arange(most) + 0.5) * count / most).astype(int)
            expected = whole.states[level].key.numpy()[..., chosen]
            np.testing.assert_array_equal(prepared.states[level].key.numpy(), expected)
        painted = lite.stylize(content, prepared).numpy()
        np.testing.assert_array_equal(painted, lite(content, style, seed=2).numpy())
    assert (painted != paper.stylize(content, whole).numpy()).any()


def test_full_width_has_the_sizes_of_table_3_and_of_the_release():
    shapes = {name: tuple(x.shape) for name, x in AdaAttNNetwork().state_dict().items() if name.endswith("weight")}
    assert [shapes[f"encoder.conv{x}_1.weight"][0] for x in range(1, 6)] == [64, 128, 256, 512, 512]
    assert [shapes[f"adaattn{x}.f.weight"][0] for x in (3, 4, 5)] == [448, 960, 1472]
    assert [shapes[f"adaattn{x}.h.weight"][0] for x in (3, 4, 5)] == [256, 512, 512]
    decoder = [shape[:2] for name, shape in shapes.items() if name.startswith("decoder")]
    assert decoder == [
        (512, 512), (256, 512),  # F5, F4
        (256, 512), (256, 256), (256, 256), (128, 256),  # F3, after the concatenation
        (128, 128), (64, 128), (64, 64), (3, 64),  # F2, F1
    ]  # fmt: skip
    video = AdaAttNNetwork(levels=[3], attention="cosine", conventions="release").state_dict()
    assert tuple(video["adaattn3.f.weight"].shape) == (448, 448, 1, 1)
    assert tuple(video["decoder.stage3.0.weight"].shape) == (256, 256, 3, 3)
    assert not any("conv4" in name or "stage4" in name or "merge" in name for name in video)


def test_release_draws_style_points_on_level_3_only_and_only_for_softmax():
    network = AdaAttNNetwork(width=TINY, conventions="release")
    assert [getattr(network, f"adaattn{x}").num_style_points for x in (3, 4, 5)] == [4096, None, None]
    network = AdaAttNNetwork(width=TINY, conventions="release", attention="cosine")
    assert network.adaattn3.num_style_points is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"width": 0}, "multiple of 1/64"),
        ({"width": 0.3}, "multiple of 1/64"),
        ({"levels": []}, "levels must be some of 3, 4, 5"),
        ({"levels": [2, 3]}, "levels must be some of 3, 4, 5"),
        ({"levels": [3, 5]}, "5 only with 4"),
        ({"attention": "dot"}, "softmax, cosine; got 'dot'"),
        ({"conventions": "mine"}, "paper, release, lite; got 'mine'"),
        ({"transform": "adaatn"}, "adaattn, .*sanet; got 'adaatn'"),
    ],
)
def test_unknown_architectures_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        AdaAttNNetwork(**options)


def test_encoder_names_its_features():
    features = Encoder(TINY)(paddle.rand([1, 3, 33, 50]))
    shapes = {name: tuple(feature.shape[1:]) for name, feature in features.items()}
    assert shapes == {
        "relu1_1": (2, 33, 50),
        "relu2_1": (4, 17, 25),
        "relu3_1": (8, 9, 13),
        "relu4_1": (16, 5, 7),
        "relu5_1": (16, 3, 4),
    }
    assert all(float(feature.min()) >= 0 for feature in features.values())
    assert list(Encoder(TINY, depth=2)(paddle.rand([1, 3, 16, 16]))) == ["relu1_1", "relu2_1"]


@pytest.mark.parametrize("size", [(9, 13), (1, 6), (6, 1), (1, 1), (2, 2)])
def test_convolution_has_reflection_padding(rng, size):
    layer = ReflectionConv2D(3, 4)
    x = rng.randn(2, 3, *size).astype("float32")
    expected = reference.convolution(*(np.asarray(a, "float64") for a in (x, layer.weight, layer.bias)))
    np.testing.assert_allclose(layer(paddle.to_tensor(x)).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(9, 13), (4, 5), (5, 4), (8, 6), (3, 9)])
def test_gradient_of_reflection_padding_equals_automatic_differentiation(rng, size):
    layer = ReflectionConv2D(3, 4)
    x, weights = (rng.randn(2, channels, *size).astype("float32") for channels in (3, 4))

    def plain(x):
        return F.conv2d(F.pad(x, [1, 1, 1, 1], mode="reflect"), layer.weight, layer.bias)

    found = []
    for convolve in (layer, plain):
        leaf = paddle.to_tensor(x, stop_gradient=False)
        inner = leaf * 2  # used three times: twice by the convolution, once beside it
        loss = (convolve(inner) * convolve(inner.flip(3)) * paddle.to_tensor(weights)).sum() + inner.square().sum()
        found.append([gradient.numpy() for gradient in paddle.grad(loss, [leaf, layer.weight, layer.bias])])
    for actual, expected in zip(*found):
        assert actual.dtype == "float32"
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-4)


def test_convolution_in_bands_equals_the_whole(rng, monkeypatch):
    layer = ReflectionConv2D(3, 4)
    x = paddle.to_tensor(rng.randn(1, 3, 23, 11).astype("float32"))
    whole = layer(x).numpy()  # with gradients the map is never cut
    for rows in (1, 2, 7, 22, 23):
        monkeypatch.setattr(vgg, "UNFOLDED_NUMBERS", 9 * 3 * 11 * rows)
        with paddle.no_grad():
            np.testing.assert_allclose(layer(x).numpy(), whole, atol=1e-6)
