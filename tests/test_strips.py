"""Large pictures in tiles, against the same pictures painted whole."""

import ppadaattn
from ppadaattn import runtime
from ppadaattn.errors import InputError
from ppadaattn.infer import strips, strips_eager
from ppadaattn.infer.engine import make_engine
from ppadaattn.infer.stylizer import Stylizer
from ppadaattn.model.attention import MixedState, RegionState
from ppadaattn.model.features import stacked_features
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.model.style import Style
from ppadaattn.side_by_side import in_order

import numpy as np
import paddle
import pytest

SIDE = 64  # of tiles
CLOSE = 0.1 / 255


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _cache(home, monkeypatch):
    monkeypatch.setenv("PPADAATTN_HOME", str(home))  # one for all: programs are made once
    monkeypatch.setenv("MKL_NUM_THREADS", "2")  # tiles are painted side by side


@pytest.fixture(params=["eager", "onnxruntime"])
def engine(request):
    if request.param == "onnxruntime":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    return request.param


@pytest.fixture
def in_tiles(monkeypatch):
    """in_tiles(): from now on every picture is painted in tiles of about SIDE."""

    def change():
        for name, value in {"WHOLE_BYTES": 0, "TILE_BYTES": 0, "LEAST_SIDE": SIDE, "LEAST_AT_ONCE": 2**12}.items():
            monkeypatch.setattr(strips, name, value)

    return change


def picture(height, width, seed=0):
    """A smooth picture with some noise, uint8 H x W x 3, whose parts have means of their own."""
    rng = np.random.RandomState(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / 17 + shift) + np.cos(columns / 23 - shift) + columns / width for shift in range(3)]
    return (np.stack(waves, 2) * 40 + 110 + rng.randint(-20, 20, (height, width, 3))).clip(0, 255).astype("uint8")


def made(engine, **architecture):
    paddle.seed(1)
    network = AdaAttNNetwork(**{"width": 1 / 16, **architecture})
    network.eval()
    return Stylizer(network, make_engine(engine, network))


def assert_tiles_are_the_whole(stylizer, in_tiles, content, style, **options):
    whole = stylizer.paint_array(content[None], style, **options)
    in_tiles()
    assert strips.tile_pixels(stylizer.network.architecture, *content.shape[:2]) > 0
    np.testing.assert_allclose(stylizer.paint_array(content[None], style, **options), whole, rtol=0, atol=CLOSE)
    pictures = stylizer.paint(content[None], style, **options)
    assert pictures[0].dtype == np.uint8
    assert np.abs(pictures[0].transpose(2, 0, 1) / 255 - whole[0]).max() <= 0.6 / 255


@pytest.mark.parametrize("model", ["adaattn_lite_image", "adaattn_lite_video"])
@pytest.mark.parametrize("size", [(48, 192), (199, 51)])  # tiles along either side that read less than the whole
def test_bundled_models_paint_tiles_as_the_whole(engine, in_tiles, model, size):
    stylizer = ppadaattn.load(model, device="cpu", engine=engine)
    style = stylizer.prepare_style(picture(48, 64, seed=1))
    assert_tiles_are_the_whole(stylizer, in_tiles, picture(*size), style)


@pytest.mark.parametrize(
    "architecture",
    [
        {"conventions": "release"},
        {"conventions": "release", "levels": [3], "attention": "cosine"},
        {"levels": [3], "attention": "cosine"},
        {"levels": [3, 4]},
        {"levels": [4, 5], "shallow_features": False},
    ],
)
def test_other_networks_paint_tiles_as_the_whole(engine, in_tiles, architecture):
    stylizer = made(engine, **architecture)
    style = stylizer.prepare_style(picture(40, 60, seed=1))
    assert_tiles_are_the_whole(stylizer, in_tiles, picture(205, 71), style)


@pytest.mark.parametrize("attention", ["softmax", "cosine"])
def test_every_kind_of_style_in_tiles(engine, in_tiles, attention):
    stylizer, content = made(engine, attention=attention), picture(72, 150)
    first, second = (stylizer.prepare_style(picture(40, 60, seed)) for seed in (1, 2))
    mask = np.zeros((72, 150, 3), np.uint8)
    mask[:, 40:] = (255, 0, 0)
    mask[60:, 90:] = (0, 0, 255)
    regions = first.as_region((255, 0, 0))
    regions = Style(regions.states, regions.fingerprint, {**regions.regions, (0, 0, 255): second})
    styles = [first + second, Style.mix([first, second], [0.3, 0.7]), regions.in_regions(mask)]
    cases = [(style, strength) for style in styles for strength in (1.0, 0.4)]
    whole = [stylizer.paint_array(content[None], style, strength=strength) for style, strength in cases]
    in_tiles()
    for (style, strength), expected in zip(cases, whole):
        found = stylizer.paint_array(content[None], style, strength=strength)
        np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("conventions", ["release", "lite"])
def test_a_content_as_its_own_style_takes_the_points_of_the_whole(in_tiles, monkeypatch, conventions):
    stylizer, content = made("eager", conventions=conventions), picture(120, 136)
    stylizer.network.adaattn3.num_style_points = 100
    style = stylizer.prepare_style(picture(40, 60, seed=1))
    monkeypatch.setattr(strips_eager, "BAND_POINTS", 40)
    assert_tiles_are_the_whole(stylizer, in_tiles, content, style, strength=0.3)


def test_colours_are_preserved_and_pictures_of_a_batch_are_painted_in_turn(in_tiles):
    stylizer = made("eager", attention="cosine")
    contents = np.stack([picture(100, 90), picture(100, 90, seed=5)])
    style = stylizer.prepare_style(picture(40, 60, seed=1))
    whole = stylizer.paint(contents, style, preserve_color=True)
    in_tiles()
    for found, expected in zip(stylizer.paint(contents, style, preserve_color=True), whole):
        assert np.abs(found.astype(int) - expected).max() <= 1


@paddle.no_grad()
def test_statistics_are_those_of_the_whole_in_float64(engine, in_tiles):
    in_tiles()
    stylizer = made(engine)
    network, content = stylizer.network, picture(149, 170)
    content = (content // 8 + 200).astype("uint8")  # a mean that is large beside the spread
    stacks = strips.Stacks(network.architecture, content.shape[:2])
    encode = strips_eager.EagerEncoder(network) if engine == "eager" else strips.ProgramEncoder(stylizer.engine, 1)
    for tile in strips.tiles(content.shape[:2], 0, 16, strips.encoder_border(network.architecture)):
        rows, columns = tile.part("read", 1)
        pixels = content[rows, columns].transpose(2, 0, 1)[None].astype("float32") / 255
        stacks.add(tile, encode(pixels, tile))
    stacks.normalize()
    features = stylizer.encode(content[None])
    for level in network.levels:
        stack = stacked_features(features, level).numpy()[0].astype(np.float64)
        mean, variance = stack.mean((1, 2), keepdims=True), stack.var((1, 2), ddof=1, keepdims=True)
        np.testing.assert_allclose(stacks.mean[level], mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(stacks.std[level], np.sqrt(variance + 1e-5), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(stacks.maps[level], (stack - mean) / np.sqrt(variance + 1e-5), rtol=0, atol=2e-3)


@pytest.mark.parametrize("size", [(16, 16), (600, 650), (300, 1333), (2129, 1048)])
def test_tiles_cover_a_picture_once(size):
    count, pixels = np.zeros(size, int), 500_000
    for tile in strips.tiles(size, pixels, 16, 80):
        assert np.prod([span.outer.stop - span.outer.start for span in tile]) < 1.1 * pixels
        rows, columns = tile.part("painted", 1)
        count[rows, columns] += 1
        for span, length in zip(tile, size):
            assert span.outer.start % 16 == span.inner.start % 16 == 0
            assert span.outer.start == max(0, span.inner.start - 80)
            assert span.outer.stop == min(length, span.inner.stop + 80)
    assert (count == 1).all()


def test_large_pictures_are_painted_in_tiles_and_too_large_ones_refused(monkeypatch):
    architecture = AdaAttNNetwork(width=1 / 4, attention="cosine").architecture
    monkeypatch.setattr(strips, "free_memory", lambda: float("inf"))
    assert strips.tile_pixels(architecture, 1024, 1024) == 0
    most = strips.tile_pixels(architecture, 2160, 3840)
    assert 2**20 <= most < 2**21
    assert strips.tile_pixels({**architecture, "transform": "adain"}, 4000, 4000) == 0  # always whole
    monkeypatch.setattr(strips, "free_memory", lambda: 600 * 2**20)
    least = (strips.LEAST_SIDE + 2 * 80) ** 2
    assert least <= strips.tile_pixels(architecture, 2160, 3840) < most
    assert least <= strips.tile_pixels(architecture, 1700, 1700) <= most  # whole where there is more memory
    monkeypatch.setattr(strips, "free_memory", lambda: 300 * 2**20)
    with pytest.raises(InputError, match=r"a picture of 3840 x 2160 pixels needs \d+ MiB of memory, and 300 MiB are"):
        strips.tile_pixels(architecture, 2160, 3840)


def test_free_memory_minds_the_limit_of_a_container(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "CGROUPS", {})
    assert runtime.free_memory() > 0
    monkeypatch.setattr(runtime, "CGROUPS", {str(tmp_path): ("max", "now", "cached")})
    (tmp_path / "memory.stat").write_text("anon 1\ncached 30000\n")
    (tmp_path / "now").write_text("90000\n")
    (tmp_path / "max").write_text("100000\n")
    assert runtime.free_memory() == 40000
    (tmp_path / "max").write_text("max\n")
    assert runtime.free_memory() > 100000


def test_states_for_some_points():
    paddle.seed(2)
    stylizer = made("eager", attention="cosine")
    states = [stylizer.prepare_style(picture(40, 60, seed)).states[3] for seed in (1, 2)]
    query, chosen = paddle.randn([1, states[0].key_channels, 12]), np.array([2, 3, 7])
    regions = RegionState(states, np.arange(12) % 2)
    for state in (states[0], regions, MixedState([regions, states[0]], [0.2, 0.8])):
        picked = query.index_select(paddle.to_tensor(chosen), -1)
        for found, expected in zip(state.at(chosen).statistics(picked), state.statistics(query)):
            np.testing.assert_allclose(found.numpy(), expected.numpy()[:, :, chosen], rtol=1e-5, atol=1e-6)


def test_threads_paint_large_pictures_in_turn(in_tiles, monkeypatch):
    stylizer, running, most = made("eager", attention="cosine"), [], []
    style, free = stylizer.prepare_style(picture(40, 60, seed=1)), strips._painted_tiles

    def painted_tiles(*arguments):
        running.append(1)
        most.append(len(running))
        yield from free(*arguments)
        running.pop()

    in_tiles()
    monkeypatch.setattr(strips, "_painted_tiles", painted_tiles)
    content = picture(24, 100)[None]
    list(in_order(lambda _: stylizer.paint(content, style), range(4), 3))
    assert most == [1] * 4
