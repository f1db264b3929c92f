"""Exported programs and the engine that runs them, against Paddle."""

import os

import ppadaattn
from ppadaattn import engine, onnx_graph
from ppadaattn.cli import export
from ppadaattn.errors import InputError
from ppadaattn.network import AdaAttNNetwork, Style

import numpy as np
import paddle
import pytest

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PPADAATTN_HOME", str(tmp_path))


def run(program, **inputs):
    session = onnxruntime.InferenceSession(program.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip((output.name for output in session.get_outputs()), session.run(None, inputs)))


def image(rng, *size):
    return rng.rand(1, 3, *size).astype("float32")


def small(**architecture):
    paddle.seed(1)
    network = AdaAttNNetwork(**{"width": 1 / 16, **architecture})
    network.eval()
    return network


@pytest.mark.parametrize(
    "architecture",
    [
        {"attention": "softmax"},
        {"attention": "cosine"},
        {"attention": "cosine", "levels": (3,), "conventions": "release"},
        {"attention": "softmax", "conventions": "release"},
        {"attention": "softmax", "levels": (3, 4), "shallow_features": False},
    ],
)
def test_programs_give_what_the_network_gives_at_any_size(rng, architecture):
    network = small(**architecture)
    style_program, content_program = onnx_graph.style_program(network), onnx_graph.content_program(network)
    for content_size, style_size in (((40, 56), (33, 47)), ((65, 99), (70, 24)), ((100, 130), (17, 19))):
        content, style = image(rng, *content_size), image(rng, *style_size)
        with paddle.no_grad():
            prepared = network.prepare_style(paddle.to_tensor(style))
            expected = network.stylize(paddle.to_tensor(content), prepared).clip(0, 1).numpy()
        state = run(style_program, style=style)
        assert list(state) == onnx_graph.state_names(network)
        for name, array in onnx_graph.state_arrays(network, prepared).items():
            np.testing.assert_allclose(state[name], array, atol=2e-4 * max(1, np.abs(array).max()))
        painted = run(content_program, content=content, **state)["stylized"]
        assert painted.shape == content.shape
        np.testing.assert_allclose(painted, expected, atol=1e-4)


@pytest.mark.parametrize("model", ["adaattn_lite_image", "adaattn_lite_video"])
def test_the_engine_paints_as_paddle_does(rng, model):
    content, style = (rng.randint(0, 256, (*size, 3)).astype("uint8") for size in ((37, 70), (40, 30)))
    eager, fast = (ppadaattn.load(model, device="cpu", engine=name) for name in ("eager", "onnxruntime"))
    prepared = eager.prepare_style(style)
    calls = []
    stylize = fast.engine.stylize
    fast.engine.stylize = lambda *inputs: calls.append(1) or stylize(*inputs)
    assert np.abs(fast(content, prepared).astype(int) - eager(content, prepared)).max() <= 1
    assert calls == [1]
    batch = np.stack([content, 255 - content])
    for picture, expected in zip(fast.paint(batch, prepared), eager.paint(batch, prepared)):
        assert np.abs(picture.astype(int) - expected).max() <= 1
    # What it does not know is left to Paddle.
    both = Style.mix([prepared, eager.prepare_style(255 - style)])
    for options in ({"strength": 0.5}, {}):
        other = prepared if options else both
        np.testing.assert_array_equal(fast(content, other, **options), eager(content, other, **options))
    tiny = content[:16, :16]
    np.testing.assert_array_equal(fast(tiny, prepared), eager(tiny, prepared))
    assert calls == [1, 1]
    with pytest.raises(InputError, match="prepared by another model"):
        fast(content, Style(prepared.states, "another"))


def test_the_program_is_kept_in_the_cache(tmp_path, rng):
    network = small(attention="cosine")
    made = engine.OnnxEngine(network)._program()
    (name,) = os.listdir(tmp_path / "programs")
    assert (tmp_path / "programs" / name).read_bytes() == made == engine.OnnxEngine(network)._program()
    other = small(attention="cosine", levels=(3,))
    engine.OnnxEngine(other)._program()
    assert len(os.listdir(tmp_path / "programs")) == 2
    (tmp_path / "programs" / name).write_bytes(b"damaged")
    painter = engine.OnnxEngine(network)
    with paddle.no_grad():
        style = network.prepare_style(paddle.to_tensor(image(rng, 32, 32)))
    with pytest.raises(InputError, match="ONNX Runtime cannot run the program .* remove .*programs, or choose the en"):
        painter.stylize(image(rng, 32, 32), style)


def test_a_cache_that_cannot_be_written_is_no_hindrance(tmp_path, rng, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PPADAATTN_HOME", str(tmp_path / "file"))
    stylizer = ppadaattn.load("adaattn_lite_video", device="cpu", engine="onnxruntime")
    picture = rng.randint(0, 256, (32, 32, 3)).astype("uint8")
    assert stylizer(picture, picture).shape == picture.shape


def test_choosing_an_engine(monkeypatch):
    network = small(attention="cosine")
    assert isinstance(engine.make_engine("auto", network), engine.OnnxEngine)
    assert engine.make_engine("eager", network) is None
    with pytest.raises(InputError, match="there is no engine 'onnxruntme' .did you mean 'onnxruntime'"):
        engine.make_engine("onnxruntme", network)
    assert engine.make_engine("auto", small(transform="sanet")) is None
    with pytest.raises(InputError, match="only networks of AdaAttN are exported; this one has sanet"):
        onnx_graph.content_program(small(transform="sanet"))
    monkeypatch.setattr(paddle.device, "get_device", lambda: "gpu:0")
    assert engine.make_engine("auto", network) is None
    with pytest.raises(InputError, match="runs on the CPU; the device is gpu:0"):
        engine.make_engine("onnxruntime", network)


def test_without_onnx_runtime_it_is_paddle_or_one_sentence(monkeypatch):
    network = small(attention="cosine")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(InputError, match="the engine onnxruntime need.* onnxruntime, which is not installed"):
        engine.make_engine("onnxruntime", network)
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: None)
    assert engine.make_engine("auto", network) is None


def test_the_tool_writes_programs_that_other_runtimes_load(tmp_path, capsys, rng):
    assert export.main(["--model", "adaattn_lite_video", "--output", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "style.onnx: style -> products3, sums3, centre3" in out and "content.onnx: content, products3" in out
    sessions = [onnxruntime.InferenceSession(str(tmp_path / "out" / f"{n}.onnx")) for n in ("style", "content")]
    content, style = image(rng, 40, 70), image(rng, 50, 33)
    names = [output.name for output in sessions[0].get_outputs()]
    state = dict(zip(names, sessions[0].run(None, {"style": style})))
    (painted,) = sessions[1].run(None, {"content": content, **state})
    network = ppadaattn.load("adaattn_lite_video", device="cpu").network
    with paddle.no_grad():
        expected = network(paddle.to_tensor(content), paddle.to_tensor(style)).clip(0, 1).numpy()
    np.testing.assert_allclose(painted, expected, atol=1e-4)
    (tmp_path / "file").write_text("")
    assert export.main(["--output", str(tmp_path / "file" / "out")]) == 2
    assert "is not a folder" in capsys.readouterr().err
