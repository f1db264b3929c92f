"""Evaluation: measures against plain float64 formulas, the report, messages for bad input."""

import itertools
import json
import struct
import sys
from pathlib import Path

import ppadaattn
from ppadaattn.cli.evaluate import main
from ppadaattn.config import read_config, to_yaml
from ppadaattn.errors import InputError, InputNote
from ppadaattn.evaluation import charts, measuring, quality, speed, tables, temporal
from ppadaattn.evaluation.config import FlowError, Report, Speed
from ppadaattn.evaluation.grid import Grid
from ppadaattn.evaluation.methods import Method, clips_by_name, name_methods, parse_method, pictures_by_name
from ppadaattn.media import flow
from ppadaattn.media.images import read_image
from ppadaattn.model.init import initialize
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.model.vgg import Encoder
from ppadaattn.weights.checkpoint import save_weights

import cv2
import numpy as np
import paddle
import pytest
import reference
from conftest import ROOT, decoder_shares, run_python, write_targets
from PIL import Image

CONFIGURATIONS = sorted((ROOT / "configs" / "evaluate").glob("*.yaml"))


# Flow -----------------------------------------------------------------------------------------------------------------


def flo_bytes(field):
    height, width, _ = field.shape
    return struct.pack("<fii", 202021.25, width, height) + field.astype("<f4").tobytes()


def slow_error(first, second, field, counted):
    """The definition, pixel by pixel in float64: bilinear, over pixels that are `counted` and end inside the frame."""
    height, width, _ = first.shape
    squares = []
    for y in range(height):
        for x in range(width):
            u, v = map(float, field[y, x])
            to_x, to_y = x + u, y + v
            if not counted[y, x] or not (0 <= to_x <= width - 1 and 0 <= to_y <= height - 1):
                continue
            left, top = min(int(to_x), width - 2), min(int(to_y), height - 2)
            a, b = to_x - left, to_y - top
            above = (1 - a) * second[top, left] + a * second[top, left + 1]
            below = (1 - a) * second[top + 1, left] + a * second[top + 1, left + 1]
            squares.append(((1 - b) * above + b * below - first[y, x]) ** 2)
    return np.sqrt(np.mean(squares))


@pytest.fixture
def sintel(tmp_path):
    """sintel(name, frames, [(flow, occlusion)]) -> the clip's folder in MPI Sintel's layout."""

    def make(name, frames, truth):
        for kind in ("clean", "flow", "occlusions"):
            (tmp_path / kind / name).mkdir(parents=True, exist_ok=True)
        for number, frame in enumerate(frames, 1):
            Image.fromarray(frame).save(tmp_path / "clean" / name / f"frame_{number:04d}.png")
        for number, (field, occlusion) in enumerate(truth, 1):
            (tmp_path / "flow" / name / f"frame_{number:04d}.flo").write_bytes(flo_bytes(field))
            Image.fromarray(occlusion).save(tmp_path / "occlusions" / name / f"frame_{number:04d}.png")
        return tmp_path / "clean" / name

    return make


@pytest.fixture
def walk(sintel, rng):
    """(folder, frames, truth): three random frames; flow in 1/32 pixel, partly unknown, partly out of the frame."""
    frames = rng.randint(0, 256, (3, 24, 30, 3)).astype("uint8")
    truth = []
    for _ in range(2):
        field = (rng.randint(-128, 128, (24, 30, 2)) / 32).astype("float32")
        field[3:5, 7:9] = 1.5e9
        truth.append((field, np.where(rng.rand(24, 30) < 0.2, 255, 0).astype("uint8")))
    return sintel("walk", frames, truth), frames, truth


def test_flo_files_are_read(tmp_path, rng):
    by_hand = b"PIEH" + b"\x02\x00\x00\x00" + b"\x01\x00\x00\x00" + struct.pack("<4f", 1.5, -2, 0.25, 1e10)
    (tmp_path / "a.flo").write_bytes(by_hand)
    np.testing.assert_array_equal(flow.read_flo(tmp_path / "a.flo"), np.float32([[[1.5, -2], [0.25, 1e10]]]))
    field = rng.randn(17, 23, 2).astype("float32")
    (tmp_path / "b.flo").write_bytes(flo_bytes(field))
    np.testing.assert_array_equal(flow.read_flo(tmp_path / "b.flo"), cv2.readOpticalFlow(str(tmp_path / "b.flo")))
    np.testing.assert_array_equal(flow.read_flo(tmp_path / "b.flo"), field)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "there is no file"),
        (b"", "is no .flo file"),
        (b"HEIP" + bytes(16), "is no .flo file: it does not begin with PIEH"),
        (b"PIEH" + bytes(4), "is cut short or damaged: 8 bytes"),
        (flo_bytes(np.zeros((4, 5, 2)))[:-1], "171 bytes, and a flow of 5 x 4 pixels has 172"),
        (b"PIEH" + struct.pack("<ii", -1, -1), "is cut short or damaged"),
    ],
)
def test_damaged_flo_files_are_refused(tmp_path, data, message):
    if data is not None:
        (tmp_path / "a.flo").write_bytes(data)
    with pytest.raises(InputError, match=message):
        flow.read_flo(tmp_path / "a.flo")


def test_flow_consistency_equals_a_slow_loop(rng):
    forward, backward = (rng.randint(-64, 65, (12, 14, 2)).astype("float32") / 32 for _ in range(2))
    expected = np.zeros((12, 14), bool)
    for y in range(12):
        for x in range(14):
            u, v = map(float, forward[y, x])
            if 0 <= x + u <= 13 and 0 <= y + v <= 11:
                left, top = min(int(x + u), 12), min(int(y + v), 10)
                a, b = x + u - left, y + v - top
                corner = backward[top : top + 2, left : left + 2].astype(float)
                weights = np.outer([1 - b, b], [1 - a, a])[..., None]
                back = (corner * weights).sum((0, 1))
                home = np.square([u, v] + back).sum() < 0.01 * (u * u + v * v + np.square(back).sum()) + 0.5
                expected[y, x] = home
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(flow.is_flow_consistent(forward, backward), expected)


def test_error_with_ground_truth_equals_a_slow_loop(walk):
    folder, frames, truth = walk
    clip = temporal.read_clip(folder, flow="truth")
    assert clip.name == "walk" and len(clip.frames) == 3
    expected = []
    for first, second, (field, occlusion) in zip(frames, frames[1:], truth):
        counted = (occlusion == 0) & (np.abs(field) < 1e9).all(-1)
        expected.append(slow_error(first / 255, second / 255, field, counted))
    pictures = (frame.astype("float32") / 255 for frame in clip.frames)
    np.testing.assert_allclose(temporal.flow_error(pictures, clip.flows), np.mean(expected), rtol=1e-5)


@pytest.mark.parametrize("name", ["sintel_alley_1", "sintel_cave_2"])
def test_error_on_sintel_equals_a_slow_loop(shared, sintel, name):
    """A part of the published pairs. Versions of OpenCV before 5 round to 1/32 pixel, hence the tolerance."""
    source, part = shared / "data" / "video" / "flow" / name, np.s_[100:196, 200:328]
    frames = [np.asarray(Image.open(source / f"frame_000{n}.png").convert("RGB"))[part] for n in (1, 2)]
    field = cv2.readOpticalFlow(str(source / "flow_0001_to_0002.flo"))[part]
    occlusion = np.asarray(Image.open(source / "occlusion_0001.png").convert("L"))[part]
    clip = temporal.read_clip(sintel(name, frames, [(field, occlusion)]), flow="truth")
    error = temporal.flow_error([frame.astype("float32") / 255 for frame in frames], clip.flows)
    expected = slow_error(frames[0] / 255, frames[1] / 255, field, occlusion == 0)
    np.testing.assert_allclose(error, expected, rtol=0.02)
    still = slow_error(frames[0] / 255, frames[1] / 255, 0 * field, occlusion == 0)
    assert error < still  # the flow explains what moved


def test_error_of_a_translation_is_known():
    """A ramp moves 3 pixels: the error is 0 along its flow, and 3 steps of the ramp where the flow is 0."""
    ramp = np.tile(np.arange(64, dtype="float32")[:, None] / 100, (20, 1, 3))
    moved, everywhere = ramp - np.float32(0.03), np.ones((20, 64), bool)
    field = np.zeros((20, 64, 2), "float32")
    assert temporal.flow_error([ramp, moved], [(field, everywhere)]) == pytest.approx(0.03, rel=1e-5)
    field[..., 0] = 3
    inside = flow.warp(ramp, field)[1]
    assert inside.sum() == 20 * 61
    assert temporal.flow_error([ramp, moved], [(field, inside)]) == pytest.approx(0, abs=1e-6)
    field[..., 0] = 1.5
    inside = flow.warp(ramp, field)[1]
    assert temporal.flow_error([ramp, moved], [(field, inside)]) == pytest.approx(0.015, rel=1e-4)


def test_static_clips_have_no_error_and_pairs_without_pixels_are_left_out(picture, tmp_path, rng):
    for number in range(3):
        Image.open(picture("still.png")).save(picture(f"clip/{number}.png"))
    clip = temporal.read_clip(tmp_path / "clip")
    frames = [frame.astype("float32") / 255 for frame in clip.frames]
    assert temporal.flow_error(frames, clip.flows) == 0
    pictures, field = rng.rand(3, 24, 32, 3).astype("float32"), np.zeros((24, 32, 2), "float32")
    nowhere, everywhere = np.zeros((24, 32), bool), np.ones((24, 32), bool)
    expected = np.sqrt(np.square(pictures[2].astype(float) - pictures[1]).mean())
    error = temporal.flow_error(pictures, [(field, nowhere), (field, everywhere)])
    assert error == pytest.approx(expected, rel=1e-6)


def test_clips_are_cut_and_reduced(picture, tmp_path):
    for number in range(4):
        picture(f"clip/{number}.png", 48, 64)
    clip = temporal.read_clip(tmp_path / "clip", size=32, count=3)
    assert [frame.shape for frame in clip.frames] == [(24, 32, 3)] * 3 and len(clip.flows) == 2


def test_stylized_frames_equal_pictures_before_rounding(stylizer, rng):
    frames = rng.randint(0, 256, (2, 24, 32, 3)).astype("uint8")
    style = stylizer.prepare_style(rng.randint(0, 256, (24, 24, 3)).astype("uint8"))
    for frame, painted in zip(frames, temporal.stylize_frames(stylizer, style, frames)):
        assert painted.dtype == np.float32 and painted.min() >= 0 and painted.max() <= 1
        np.testing.assert_array_equal((painted * 255).round().astype("uint8"), stylizer(frame, style))


# Quality --------------------------------------------------------------------------------------------------------------


def test_encoder_returns_any_layer(rng):
    paddle.seed(3)
    encoder = Encoder(width=0.0625)
    weights = {name: tensor.numpy().astype("float64") for name, tensor in encoder.state_dict().items()}
    image, expected = rng.rand(1, 3, 21, 18), {}
    x = image
    for block, index in encoder.convolutions():
        x = reference.max_pool(x) if block > 1 and index == 1 else x
        name = f"conv{block}_{index}"
        x = reference.relu(reference.convolution(x, weights[f"{name}.weight"], weights[f"{name}.bias"]))
        expected[f"relu{block}_{index}"] = x
    with paddle.no_grad():
        found = encoder(paddle.to_tensor(image.astype("float32")), quality.CONTENT_LAYERS)
    assert tuple(found) == quality.CONTENT_LAYERS
    for name, feature in found.items():
        np.testing.assert_allclose(feature.numpy(), expected[name], atol=1e-5)


def features(rng, *shapes):
    """Features as after ReLU: many zeros, and points where all are zero."""
    arrays = [np.maximum(rng.randn(1, *shape), 0) for shape in shapes]
    for array in arrays:
        array[:, :, 0, 0] = 0
    return arrays, [paddle.to_tensor(array.astype("float32")) for array in arrays]


def test_perceptual_distance(rng):
    (first, second), tensors = features(rng, (8, 5, 6), (8, 5, 6))
    units = [x / (np.sqrt((x**2).sum(1, keepdims=True)) + 1e-10) for x in (first, second)]
    expected = ((units[0] - units[1]) ** 2).sum(1).mean()
    np.testing.assert_allclose(float(quality.perceptual_distance(*tensors)), expected, rtol=1e-5)
    assert float(quality.perceptual_distance(tensors[0], tensors[0] * 3)) < 1e-10  # lengths do not matter


def test_gram_distance(rng):
    (first, second), tensors = features(rng, (8, 5, 6), (8, 9, 4))
    grams = [np.einsum("bchw,bdhw->cd", x, x) / x[0, 0].size for x in (first, second)]
    expected = np.sum((grams[0] - grams[1]) ** 2) / np.sum(grams[1] ** 2)
    np.testing.assert_allclose(float(quality.gram_distance(*tensors)), expected, rtol=1e-5)
    turned = paddle.flip(tensors[0], [2, 3])  # where things are does not matter
    assert float(quality.gram_distance(turned, tensors[0])) < 1e-10


def test_sliced_wasserstein_distance(rng):
    (first, second), tensors = features(rng, (8, 15, 16), (8, 9, 14))
    directions = np.random.RandomState(0).randn(quality.PROJECTIONS, 8)
    directions /= np.sqrt((directions**2).sum(1, keepdims=True))
    shares = (np.arange(quality.QUANTILES) + 0.5) / quality.QUANTILES
    above, below = 0.0, 0.0
    for direction in directions:
        a, b = (np.quantile(np.tensordot(direction, x[0], 1).ravel(), shares) for x in (first, second))
        above, below = above + ((a - b) ** 2).sum(), below + (b**2).sum()
    np.testing.assert_allclose(quality.sliced_wasserstein(*tensors), above / below, rtol=1e-4)
    assert quality.sliced_wasserstein(paddle.flip(tensors[0], [2]), tensors[0]) < 1e-12
    one = paddle.full([1, 8, 1, 1], 2.0)  # a single point, and the same moved by 1 in each channel
    expected = (directions.sum(1) ** 2).mean() / (4 * directions.sum(1) ** 2).mean()
    np.testing.assert_allclose(quality.sliced_wasserstein(one + 1, one), expected, rtol=1e-5)


def test_metrics(rng):
    paddle.seed(1)
    metrics = quality.Metrics(Encoder(width=0.0625))
    content, style, other = (rng.rand(1, 3, *size).astype("float32") for size in ((32, 40), (36, 24), (32, 40)))
    content, style, other = map(metrics.encode, (content, style, other))
    found = metrics.measure(other, content, style)
    assert found.keys() == quality.MEASURES.keys() and all(0 < value < np.inf for value in found.values())
    grams = [float(quality.gram_distance(other[layer], style[layer])) for layer in quality.STYLE_LAYERS]
    assert found["gram"] == pytest.approx(np.mean(grams))
    same = metrics.measure(content, content, content)
    assert max(same[name] for name in ("L_gs", "content", "perceptual", "gram", "wasserstein")) < 1e-8


def test_without_vgg19_features_are_those_of_the_small_encoder(offline):
    with pytest.warns(InputNote, match="no VGG-19: features are those of adaattn_lite_image"):
        encoder, what = quality.loss_network()
    assert encoder.channels[1] == 16 and "because VGG-19 is not available" in what
    with pytest.raises(InputError, match="there is no file vgg.npz"):
        quality.loss_network("vgg.npz")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("PPADAATTN_OFFLINE", "1")
    monkeypatch.setenv("PPADAATTN_HOME", str(tmp_path / "home"))


# Speed ----------------------------------------------------------------------------------------------------------------


def test_speed_in_a_new_process():
    method = Method("S", architecture={"transform": "sanet", "width": 0.0625})
    found = speed.measure(method, "whole", "32x16", runs=1, device="cpu")
    assert found.keys() == {"seconds", "peak_bytes"} and found["seconds"] > 0 and found["peak_bytes"] > 2**20
    assert speed.measure(method, "kept", "32x16", limit=1e-9, device="cpu") == {"failed": "more than 1e-09 s"}
    method.architecture = {"transform": "sonnet"}
    with pytest.raises(InputError, match="the method S describes a network that cannot be built"):
        speed.measure(method, "new", "32x16", device="cpu")


def test_slow_methods_are_not_run_at_larger_sizes(monkeypatch):
    asked = []

    def measure(method, mode, size, **options):
        asked.append((mode, size))
        return (
            {"failed": "more than 5 s"} if (mode, size) == ("new", "32x16") else {"seconds": 2.0, "peak_bytes": 2**20}
        )

    monkeypatch.setattr(speed, "measure", measure)
    options = Speed(["64x64", "32x16", "16x16"])
    grids = measuring.measure_speed([Method("a", architecture={"width": 0.0625})], options, device="cpu")
    # "whole" is more work than "new": at that size and above it is not run either
    assert asked == [*((mode, "16x16") for mode in speed.MODES), ("new", "32x16"), ("kept", "32x16"), ("kept", "64x64")]
    text = tables.speed_text(grids, options, "cpu")
    assert "| a | 2.000 (1.00) | more than 5 s | not run |" in text and "| a | 1 MiB (1.00) |" in text


# Kept values ----------------------------------------------------------------------------------------------------------


def test_values_are_kept_until_something_changes(tmp_path):
    path, asked = tmp_path / "values" / "a.json", []

    class Progress:
        def update(self):
            pass

    def fill(axes, settings, **options):
        asked.clear()
        grid = Grid(axes, path, settings, **options)
        grid.fill(lambda *key: asked.append(key) or len(asked), Progress())
        return grid

    axes = [{"a": 1, "b": 2}, {"x": (1, 2)}]
    assert fill(axes, {"size": 3}).values == {("a", "x"): 1, ("b", "x"): 2}
    assert fill(axes, {"size": 3}).values == {("a", "x"): 1, ("b", "x"): 2} and not asked
    fill([{"a": 1, "b": 9, "c": 3}, {"x": (1, 2)}], {"size": 3})
    assert asked == [("b", "x"), ("c", "x")]  # what is new, and what has changed
    fill(axes, {"size": 4})
    assert asked == [("a", "x"), ("b", "x")]
    fill(axes, {"size": 4}, anew=True)
    assert len(asked) == 2
    path.write_text('{"settings"')
    with pytest.warns(InputNote, match=r"a.json is damaged: its values are measured again"):
        fill(axes, {"size": 4})
    assert len(asked) == 2 and [file.name for file in path.parent.iterdir()] == ["a.json"]


# The report -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path):
    """{name: weights file} of two tiny networks, random but for their order of magnitude."""
    files = {}
    for name, attention in (("one", "softmax"), ("two", "cosine")):
        paddle.seed(len(files))
        network = AdaAttNNetwork(width=0.0625, attention=attention)
        initialize(network)
        files[name] = str(tmp_path / f"{name}.pdparams")
        save_weights(files[name], network)
    return files


@pytest.fixture
def material(picture, tmp_path):
    """Contents, styles and clips: {list: [paths]}."""
    for number in range(3):
        picture(f"clips/walk/{number}.png", 32, 40)
    contents = [str(picture(f"contents/{name}.png", 24, 30)) for name in ("bird", "boat")]
    styles = [str(picture(f"styles/{name}.png", 28, 24)) for name in ("wave", "scream")]
    return {"contents": contents, "styles": styles, "clips": [str(tmp_path / "clips" / "walk")]}


@pytest.fixture
def calls(monkeypatch):
    """Counts of computed values. Speed is not measured here: it would start processes."""
    counts = {"flow": 0, "quality": 0, "speed": 0, "painted": 0}

    def count(name, function):
        def counted(*arguments, **options):
            counts[name] += 1
            return function(*arguments, **options)

        return counted

    monkeypatch.setattr(measuring, "flow_error", count("flow", temporal.flow_error))
    monkeypatch.setattr(quality.Metrics, "measure", count("quality", quality.Metrics.measure))
    monkeypatch.setattr(speed, "measure", count("speed", lambda *_, **__: {"seconds": 0.5, "peak_bytes": 2**24}))
    monkeypatch.setattr(ppadaattn.Stylizer, "paint_array", count("painted", ppadaattn.Stylizer.paint_array))
    return counts


def test_a_report_continues(tiny, material, calls, offline, tmp_path, capsys):
    ppadaattn.load(tiny["one"], device="cpu").save_style(
        tmp_path / "own.style", ppadaattn.load(tiny["one"], device="cpu").prepare_style(material["styles"][0])
    )
    write_targets(tmp_path / "targets")
    config = tmp_path / "report.yaml"
    methods = [{"name": name, "weights": path} for name, path in tiny.items()]
    methods += [{"name": "three", "weights": "three.pdparams"}, {"name": "four", "architecture": {"width": 0.0625}}]
    values = {
        "methods": methods,
        "contents": material["contents"],
        "styles": [*material["styles"], "gone.png", str(tmp_path / "own.style")],
        "clips": [*material["clips"], "gone.mp4"],
        "device": "cpu",
        "sheets": {"size": 24, "cell": 32, "combinations": 2},
        "targets": str(tmp_path / "targets"),
        "flow": {"size": 32},
        "quality": {"size": 24},
        "speed": {"sizes": ["32x16", "32x32"]},
    }
    config.write_text(json.dumps(values))  # which is YAML too
    command = ["report", str(config), "--output", str(tmp_path / "out")]
    assert main(command) == 1
    # two methods in three styles, but for the style file of the first; and the input
    assert calls["flow"] == 6 and calls["quality"] == 8 and calls["speed"] == 18
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {
        "report.md", "values", "pictures.jpg", "combinations.jpg", "clips.jpg", "flow.png", "quality.png", "speed.png",
    }  # fmt: skip
    text, errors = (tmp_path / "out" / "report.md").read_text(), capsys.readouterr().err
    missing = (
        "the method three: there is no model or weights file",
        "the method four has no weights: only its speed is measured",
        "styles: there is no file or folder gone.png",
        "clips: there is no file gone.mp4",
        "flow, two: the method two cannot use the style",
    )
    for sentence in missing:
        assert f"- {sentence}" in text.split("## How it was made")[0] and f"warning: {sentence}" in errors
    assert f"ppadaattn evaluate {' '.join(command)}" in text and f"Paddle {paddle.__version__}" in text
    assert "Means are over the 2 of 3 combinations that every method has." in text
    assert "Means over 4 painted pictures" in text and "over 4 pairs, long side 24" in text
    sheet = np.asarray(Image.open(tmp_path / "out" / "combinations.jpg"))
    assert sheet[:8, :8].min() > 250 and sheet[16:24, 50:58].mean() < 250  # no picture in the corner, a style beside it
    assert "| four | 0.500 (1.00) | 0.500 (1.00) |" in text and "Features: the encoder of adaattn_lite_image" in text

    painted = calls["painted"]
    assert main(command) == 1
    # only what failed before is tried again, and fails as it did
    assert (calls["flow"], calls["quality"], calls["speed"], calls["painted"]) == (6, 8, 18, painted)
    assert (tmp_path / "out" / "report.md").read_text() == text
    Image.fromarray(np.full((30, 30, 3), 99, "uint8")).save(tmp_path / "contents" / "new.png")
    values["contents"].append(str(tmp_path / "contents" / "new.png"))
    config.write_text(json.dumps(values))
    assert main([*command, "-o", "parts=[quality]"]) == 1
    assert calls["quality"] == 8 + 4
    assert main([*command, "-o", "parts=[quality]", "--anew"]) == 1
    assert calls["quality"] == 12 + 12
    painted = calls["painted"]
    assert main([*command, "-o", "parts=[painted]"]) == 1
    assert calls["painted"] == painted
    (tmp_path / "targets" / "painted" / "style0_content0.png").write_bytes(b"no picture")
    capsys.readouterr()
    assert main([*command, "-o", "parts=[painted]"]) == 1
    assert "style0_content0.png is left out: " in capsys.readouterr().err
    assert "Means over 3 painted pictures" in (tmp_path / "out" / "report.md").read_text()


def test_dead_channels_are_counted(tiny, material):
    """Against shares of positive values of a plain pass through the decoder's convolutions."""
    methods = name_methods([Method(name, path) for name, path in tiny.items()])
    contents, styles = (pictures_by_name(map(Path, material[kind]), kind) for kind in ("contents", "styles"))
    grids = measuring.measure_channels(methods, contents, styles, size=24, device="cpu")
    text = tables.channels_text(grids, 24)
    for method in methods:
        network = ppadaattn.load(method.weights, device="cpu").network
        pairs = itertools.product(*([read_image(path, 24) for path in given.values()] for given in (contents, styles)))
        shares = decoder_shares(network, pairs)
        dead = [int((share < 0.01).sum()) for share in shares.values()]
        ((key, layers),) = grids[method.name].values.items()
        assert key == ("4 pairs",) and [count for count, _ in layers.values()] == dead
        channels = sum(map(len, shares.values()))
        assert sum(count for _, count in layers.values()) == channels
        assert f"| {method.name} | {sum(dead)} of {channels} | {sum(dead) / channels:.1%} |" in text


def test_flow_table(tiny, material, calls):
    methods = name_methods([Method(name, path) for name, path in tiny.items()])
    styles, clips = pictures_by_name(map(Path, material["styles"]), "styles"), clips_by_name(material["clips"])
    options = FlowError(size=0)
    grids, inputs = measuring.measure_flow(methods, styles, clips, options, style_size=32, device="cpu")
    assert list(grids) == ["one", "two"] and list(grids["one"].values) == [("wave", "walk"), ("scream", "walk")]
    clip, stylizer = temporal.read_clip(clips["walk"]), ppadaattn.load(tiny["one"], device="cpu")
    style = stylizer.prepare_style(styles["scream"])
    painted = [stylizer(frame, style) / np.float32(255) for frame in clip.frames]
    assert grids["one"].values["scream", "walk"] == pytest.approx(temporal.flow_error(painted, clip.flows), rel=0.02)
    values = [100 * value for value in grids["two"].values.values()]
    row = " | ".join(f"{value:.2f}" for value in (*values, np.mean(values)))
    text = tables.flow_text(grids, inputs, options, 32)
    assert f"| two | {row} |" in text and "|f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5" in text
    assert f"| the input, not painted | - | - | {100 * inputs.values['walk',]:.2f} |" in text


def test_quality_table():
    values = {("a", "x"): 1.0, ("a", "y"): 2.0, ("b", "x"): 6.0, ("b", "y"): 3.0}
    grid = Grid([{"a": 0, "b": 0}, {"x": 0, "y": 0}])
    grid.values = {key: dict.fromkeys(quality.MEASURES, value) for key, value in values.items()}
    mean, error = tables.quality_means({"m": grid})["m"]["L_gs"]
    assert mean == 3 and error == pytest.approx(np.std([1, 2, 6, 3], ddof=1) / 2)
    assert "| m | 3.0 ± 1.1 |" in tables.quality_text({"m": grid}, "VGG-19", 64)


def test_without_matplotlib_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"charts need matplotlib, .* pip install 'ppadaattn\[evaluate\]'"):
        charts.require()


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_each_report_configuration_is_valid(path, tmp_path):
    config = read_config(Report, path)
    assert len(name_methods(config.methods)) > 1 and config.contents and config.styles
    (tmp_path / "again.yaml").write_text(to_yaml(config))
    assert read_config(Report, tmp_path / "again.yaml") == config


def test_methods_of_a_command_line(tmp_path, monkeypatch):
    assert parse_method("adaattn_lite_image") == Method(weights="adaattn_lite_image")
    assert parse_method("My net=a=b.pdparams") == Method("My net", "a=b.pdparams")
    assert parse_method("A={transform: sanet, levels: [4]}").architecture == {"transform": "sanet", "levels": [4]}
    assert [method.name for method in name_methods([Method(weights="x/y.pdparams")])] == ["y"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").write_text("")
    assert parse_method("a=b") == Method(weights="a=b")


# Bad input ------------------------------------------------------------------------------------------------------------


def fails(capsys, *words):
    """The one sentence on stderr of a command that ends with status 2."""
    try:
        status = main(list(map(str, words)))
    except SystemExit as end:  # argparse
        status = end.code
    output = capsys.readouterr()
    lines = [line for line in output.err.splitlines() if line.startswith("error: ")]
    assert status == 2 and len(lines) == 1 and "Traceback" not in output.err, output.err
    return lines[0]


def test_wrong_arguments(capsys, material):
    assert "invalid choice: 'flows'" in fails(capsys, "flows")
    assert "COMMAND" in fails(capsys)
    contents, styles, clips = (
        ("--contents", *material["contents"]),
        ("--styles", *material["styles"]),
        material["clips"],
    )
    assert "--frames: expected a number of frames, at least 2" in fails(
        capsys, "flow", "--methods", "a", "--clips", *clips, *styles, "--frames", "1"
    )
    assert "there is no model or weights file 'none.pdparams'" in fails(
        capsys, "quality", "--methods", "N=none.pdparams", *contents, *styles
    )
    random = "R={transform: sanet, width: 0.0625}"
    assert "the method R has no weights: without them only its speed" in fails(
        capsys, "quality", "--methods", random, *contents, *styles
    )
    assert "two methods are called R" in fails(capsys, "speed", "--methods", random, random)
    assert "a size is WIDTHxHEIGHT" in fails(capsys, "speed", "--methods", random, "--sizes", "512")
    assert "--limit: expected a number of seconds above 0" in fails(
        capsys, "speed", "--methods", random, "--limit", "0"
    )
    twice = material["contents"][0].replace("bird.png", "bird.jpg")
    Image.open(material["contents"][0]).save(twice)
    words = ("--methods", "adaattn_lite_image", *contents, twice, *styles)
    assert "two contents are called bird" in fails(capsys, "quality", *words)
    assert "names no method" in fails(capsys, "speed", "--methods", "=x")


def test_wrong_clips_and_styles(capsys, tiny, material, walk, picture, tmp_path):
    folder = walk[0]
    one, two = (f"{name}={path}" for name, path in tiny.items())

    def flow_fails(clip, *words, styles=material["styles"], methods=(one,)):
        words = ("--methods", *methods, "--styles", *styles, "--clips", clip, "--device", "cpu", *words)
        return fails(capsys, "flow", *words)

    picture("alone/1.png")
    assert "alone has one frame; a clip needs at least two" in flow_fails(tmp_path / "alone")
    assert "there is no file or folder gone" in flow_fails("gone")
    assert "--size must be 0; got 64" in flow_fails(folder, "--truth", "--size", "64")
    flo = tmp_path / "flow" / "walk" / "frame_0001.flo"
    whole = flo.read_bytes()
    flo.write_bytes(whole[:-8])
    assert "frame_0001.flo is cut short or damaged" in flow_fails(folder, "--truth")
    flo.write_bytes(b"PNG!" + whole[4:])
    assert "frame_0001.flo is no .flo file" in flow_fails(folder, "--truth")
    flo.write_bytes(flo_bytes(np.zeros((24, 31, 2))))
    assert "has 31 x 24 pixels, but the frame frame_0001 has 30 x 24" in flow_fails(folder, "--truth")
    flo.unlink()
    assert "there is no file" in flow_fails(folder, "--truth")

    style = tmp_path / "own.style"
    stylizer = ppadaattn.load(tiny["one"], device="cpu")
    stylizer.save_style(style, stylizer.prepare_style(material["styles"][0]))
    message = flow_fails(material["clips"][0], styles=[style], methods=(one, two))
    assert "the method two cannot use the style" in message and "was prepared by another model" in message
    words = ("--methods", one, "--contents", *material["contents"], "--styles", style, "--device", "cpu")
    assert "quality is measured against a style's picture" in fails(capsys, "quality", *words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods: []", "there is no method to evaluate"),
        ("parts: []\nmethods: [{weights: adaattn_lite_image}]", "parts is empty"),
        ("parts: [flows]", "parts must be one of sheets, flow, quality, painted, channels, speed; got 'flows'"),
        ("metods: []", "unknown key metods .did you mean 'methods'?"),
        ("methods: [{weight: a}]", "unknown key methods[0].weight .did you mean 'weights'?"),
        ("methods: [adaattn_lite_image]", "methods[0] must be a mapping of keys to values"),
        ("methods: {a: b}", "methods must be a list of mappings"),
        ("methods: [{name: a}]", "the method a needs either weights or an architecture"),
        ("methods: [{name: a, architecture: 3}]", "methods[0].architecture must be a mapping"),
        ("methods: [{weights: gone.pdparams}]", "none of the methods can be used"),
        ("methods: [{weights: adaattn_lite_image}]\nparts: [flow]", "no part of the report could be made"),
        ("flow: {frames: 1}", "flow.frames must be at least 2"),
    ],
)
def test_wrong_configurations(capsys, tmp_path, text, message):
    (tmp_path / "report.yaml").write_text(text)
    found = fails(capsys, "report", tmp_path / "report.yaml", "--output", tmp_path / "out")
    assert message.replace(" .did", " (did") in found
    assert not (tmp_path / "out" / "report.md").exists()


def test_the_command():
    done = run_python(ROOT / "tools" / "evaluate.py", "flaw")
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
