"""Exported programs and the engines that run them, against Paddle layer by layer."""

import os
from concurrent.futures import ThreadPoolExecutor

import ppadaattn
from ppadaattn import files
from ppadaattn.cli import export
from ppadaattn.errors import InputError
from ppadaattn.infer import engine, export_onnx, export_paddle, programs
from ppadaattn.infer.stylizer import Stylizer
from ppadaattn.media.images import read_image, to_bytes, to_floats
from ppadaattn.model.architecture import CONVENTIONS
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.model.style import Style

import numpy as np
import paddle
import pytest
from paddle import inference


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PPADAATTN_HOME", str(tmp_path))


@pytest.fixture(params=["inference", "onnxruntime"])
def name(request):
    """An engine that runs programs."""
    if request.param == "onnxruntime":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    return request.param


@pytest.fixture
def run(name, tmp_path):
    """run(network, program, {name: array}) -> {name: array}, with the files that are written for other runtimes."""
    opened = {}

    def run_with_onnx_runtime(path):
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda inputs: session.run(None, inputs)

    def run_with_paddle(parameters, program):
        config = inference.Config(str(program), str(parameters))
        getattr(config, "disable_mkldnn", int)()  # plain kernels, which 2.6 begins with
        config.disable_glog_info()
        predictor = inference.create_predictor(config)

        def run(inputs):
            assert predictor.get_input_names() == list(inputs)
            for name, array in inputs.items():
                predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(array))
            predictor.run()
            return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]

        return run

    graph, open_files = {
        "inference": (export_paddle, run_with_paddle),
        "onnxruntime": (export_onnx, run_with_onnx_runtime),
    }[name]

    def run(network, program, inputs):
        if program not in opened:
            floats = {"form": "floats"} if graph is export_onnx else {}
            opened[program] = open_files(*graph.save_program(network, program, tmp_path, **floats))
        _, outputs = programs.signature(network, program)
        return dict(zip(outputs, opened[program](inputs)))

    return run


def image(rng, *size):
    return rng.rand(1, 3, *size).astype("float32")


def noise(rng, *size):
    return rng.randint(0, 256, (*size, 3)).astype("uint8")


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
        {"attention": "softmax", "conventions": "lite"},
        {"attention": "softmax", "levels": (4,)},
        {"attention": "softmax", "levels": (3, 4), "shallow_features": False},
    ],
)
def test_programs_give_what_the_network_gives_at_any_size(rng, run, architecture, monkeypatch):
    monkeypatch.setattr(export_paddle, "TILE_NUMBERS", 2**14)  # several tiles in small pictures
    for level, count in {3: 50, 4: 23}.items():
        monkeypatch.setitem(CONVENTIONS["lite"].num_style_points, level, count)
    network = small(**architecture)
    for content_size, style_size in (((40, 56), (33, 47)), ((65, 99), (70, 24)), ((100, 130), (17, 19))):
        content, style = image(rng, *content_size), image(rng, *style_size)
        with paddle.no_grad():
            prepared = network.prepare_style(paddle.to_tensor(style))
            expected = network.stylize(paddle.to_tensor(content), prepared).clip(0, 1).numpy()
        assert expected.std() > 0.01
        state = run(network, "style", {"style": style})
        for name, array in programs.state_arrays(network, prepared).items():
            np.testing.assert_allclose(state[name], array, atol=2e-4 * max(1, np.abs(array).max()))
        painted = run(network, "content", {"content": content, **state})["stylized"]
        assert painted.shape == content.shape
        np.testing.assert_allclose(painted, expected, atol=1e-4)
        whole = run(network, "network", {"content": content, "style": style})["stylized"]
        np.testing.assert_allclose(whole, painted, atol=1e-5)


@pytest.mark.parametrize("attention", ["softmax", "cosine"])
def test_programs_of_bytes_give_the_rounded_picture_at_any_size(rng, attention, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    network = small(attention=attention)

    def open_program(program, form):
        (path,) = export_onnx.save_program(network, program, tmp_path / form, form, {"model": "small"})
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    whole, exact = (open_program("network", form) for form in ("bytes", "floats"))
    prepare, paint = (open_program(program, "bytes") for program in ("style", "content"))
    for height, width in [(side, 50 - side) for side in range(17, 34)]:
        content, style = noise(rng, height, width), noise(rng, width, height)
        (picture,) = whole.run(None, {"content": content, "style": style})
        floats = {name: to_floats(x[None]) for name, x in (("content", content), ("style", style))}
        np.testing.assert_array_equal(picture, to_bytes(exact.run(None, floats)[0])[0])
        with paddle.no_grad():
            expected = network(*map(paddle.to_tensor, floats.values())).clip(0, 1).numpy()
        assert np.abs(picture.astype(int) - to_bytes(expected)[0]).max() <= 1
        state = dict(zip([output.name for output in prepare.get_outputs()], prepare.run(None, {"style": style})))
        np.testing.assert_array_equal(paint.run(None, {"content": content, **state})[0], picture)


@pytest.mark.parametrize(("width", "returned"), [(1 / 16, 0), (1.0, 1)])
def test_networks_of_full_width_return_memory(monkeypatch, width, returned):
    pytest.importorskip("onnxruntime")
    calls, network = [], small(attention="cosine")
    network.architecture["width"] = width
    monkeypatch.setattr(engine, "return_large_blocks", lambda: calls.append(1))
    engine.make_engine("onnxruntime", network)
    assert len(calls) == returned


def test_a_program_says_what_it_is(tmp_path):
    onnx = pytest.importorskip("onnx")
    model = export_onnx.make_program(small(), "content", about={"model": "small", "licence": "none"})
    said = {item.key: item.value for item in model.metadata_props}
    assert (said["model"], said["licence"], said["program"], said["pictures"]) == ("small", "none", "content", "bytes")
    assert said["version"] == ppadaattn.__version__ and "softmax" in said["architecture"]
    assert all(value.doc_string for value in (*model.graph.input, *model.graph.output))
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    pools = [node for node in model.graph.node if node.op_type == "MaxPool"]
    assert pools and not any(item.name == "ceil_mode" for node in pools for item in node.attribute)


@pytest.mark.parametrize("model", ["adaattn_lite_image", "adaattn_lite_video"])
def test_the_engine_paints_as_paddle_does(rng, model, name):
    content, style = (rng.randint(0, 256, (*size, 3)).astype("uint8") for size in ((37, 70), (40, 30)))
    eager, fast = (ppadaattn.load(model, device="cpu", engine=engine) for engine in ("eager", name))
    prepared = eager.prepare_style(style)
    calls = []
    paint = fast.engine.paint
    fast.engine.paint = lambda *inputs: calls.append(1) or paint(*inputs)
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


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ({"attention": "cosine"}, (40, 53)),
        ({"attention": "softmax"}, (40, 53)),
        ({"attention": "softmax", "conventions": "release"}, (260, 256)),  # of 65 x 64 points it draws 4096
    ],
)
def test_the_engine_prepares_styles_as_paddle_does(rng, architecture, size, name):
    network = small(**architecture)
    eager, fast = Stylizer(network), Stylizer(network, engine.make_engine(name, network))
    style = rng.randint(0, 256, (*size, 3)).astype("uint8")
    prepared, expected = fast.prepare_style(style), eager.prepare_style(style)
    assert prepared.states[3].count == expected.states[3].count == min(4096, expected.states[3].count)
    assert prepared.fingerprint == expected.fingerprint and any("style" in key for key in fast.engine._opened)
    for level, state in expected.states.items():
        saved = prepared.states[level].state_dict()
        for part, value in state.state_dict().items():
            if isinstance(value, np.ndarray):
                np.testing.assert_allclose(saved[part], value, atol=1e-3 * max(1, np.abs(value).max()))
            else:
                assert saved[part] == value
    # What it does not know is left to Paddle: regions, sides of a pixel or two.
    mask = np.zeros_like(style)
    mask[:20] = 255
    for picture, options in ((style, {"mask": mask}), (style[:16, :16], {})):
        prepared, expected = (stylizer.prepare_style(picture, **options) for stylizer in (fast, eager))
        for level, state in expected.states.items():
            np.testing.assert_array_equal(prepared.states[level].centre.numpy(), state.centre.numpy())


def test_a_clip_is_painted_with_the_engine(rng, tmp_path, picture, name):
    for index in range(3):
        picture(f"frames/{index}.png")
    style = rng.randint(0, 256, (32, 32, 3)).astype("uint8")
    for chosen in ("eager", name):
        stylizer = ppadaattn.load("adaattn_lite_video", device="cpu", engine=chosen)
        stylizer.stylize_video(tmp_path / "frames", style, tmp_path / chosen)
    for index in range(3):
        frames = [read_image(tmp_path / chosen / f"{index}.png").astype(int) for chosen in ("eager", name)]
        assert np.abs(frames[0] - frames[1]).max() <= 1


def test_programs_are_kept_in_the_cache(tmp_path, rng, monkeypatch, name):
    def paint(network):
        painter = engine.make_engine(name, network)
        return painter.paint(content[None], painter.prepare_style(content))

    network = small(attention="cosine")
    content = noise(rng, 32, 32)
    expected = paint(network)
    folders = list((tmp_path / "programs").iterdir())
    assert len(folders) == 2  # style and content
    with monkeypatch.context() as patch:
        patch.setattr(engine.PROGRAM_ENGINES[name], "save", None)  # which would make them again
        np.testing.assert_array_equal(paint(network), expected)
    paint(small(attention="cosine", levels=(3,)))
    assert len(os.listdir(tmp_path / "programs")) == 4
    for folder in folders:  # damaged programs are made again
        for path in folder.iterdir():
            path.write_bytes(b"damaged")
    np.testing.assert_array_equal(paint(network), expected)


@pytest.mark.parametrize("program", ["style", "content"])
def test_a_damaged_program_is_made_anew(tmp_path, rng, name, program):
    network = small(attention="cosine")
    picture = noise(rng, 48, 48)
    painter = engine.make_engine(name, network)
    expected = painter.paint(picture[None], painter.prepare_style(picture))
    (folder,) = (tmp_path / "programs").glob(f"{program}-*")
    damaged = {path.name: path.read_bytes()[:-100] for path in folder.glob(f"{program}.*")}
    for file, data in damaged.items():
        (folder / file).write_bytes(data)
    painter = engine.make_engine(name, network)
    np.testing.assert_array_equal(painter.paint(picture[None], painter.prepare_style(picture)), expected)
    assert damaged and {path.name for path in folder.iterdir()} == {*damaged, engine.DIGEST}
    for file, data in damaged.items():  # sizes differ: Paddle 2.6 counts on in the names that it gives
        assert (folder / file).read_bytes() != data


def test_a_folder_is_whole_or_not_there_and_the_first_process_wins(tmp_path):
    path = tmp_path / "programs" / "one"
    with pytest.raises(RuntimeError), files.atomic_folder(path) as temporary:
        (temporary / "half").write_text("")
        raise RuntimeError
    assert os.listdir(tmp_path / "programs") == []
    with files.atomic_folder(path) as temporary:
        with files.atomic_folder(path) as sooner:
            (sooner / "file").write_text("first")
        (temporary / "file").write_text("second")
    assert os.listdir(tmp_path / "programs") == ["one"]
    assert (path / "file").read_text() == "first"


def test_a_cache_that_cannot_be_written_is_no_hindrance(tmp_path, rng, monkeypatch, name):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PPADAATTN_HOME", str(tmp_path / "file"))
    stylizer = ppadaattn.load("adaattn_lite_video", device="cpu", engine=name)
    picture = rng.randint(0, 256, (32, 32, 3)).astype("uint8")
    assert stylizer(picture, picture).shape == picture.shape


def test_choosing_an_engine(monkeypatch, name):
    network = small(attention="cosine")
    found = engine.make_engine(name, network)
    assert isinstance(found, engine.PROGRAM_ENGINES[name])
    assert engine.make_engine("eager", network) is None
    if name == "onnxruntime":
        assert isinstance(engine.make_engine("auto", network), type(found))
    with pytest.raises(InputError, match="there is no engine 'onnxruntme' .did you mean 'onnxruntime'"):
        engine.make_engine("onnxruntme", network)
    sanet = small(transform="sanet")
    assert engine.make_engine("auto", sanet) is None
    with pytest.raises(InputError, match=f"the engine {name} runs AdaAttN; this model is sanet"):
        engine.make_engine(name, sanet)
    monkeypatch.setattr(paddle.device, "get_device", lambda: "gpu:0")
    assert engine.make_engine("auto", network) is None
    with pytest.raises(InputError, match=f"the engine {name} runs on the CPU; the device is gpu:0"):
        engine.make_engine(name, network)


def test_without_onnx_runtime_it_is_paddle_or_one_sentence(monkeypatch):
    network = small(attention="cosine")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(InputError, match="the engine onnxruntime need.* onnxruntime, which is not installed"):
        engine.make_engine("onnxruntime", network)
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: None)
    assert engine.make_engine("auto", network) is None


def test_the_tool_writes_programs_and_says_what_they_take(tmp_path, capsys, name):
    form, suffixes = ("onnx", [".onnx"]) if name == "onnxruntime" else (name, export_paddle.SUFFIXES)
    folder = tmp_path / "out"
    assert export.main(["--model", "adaattn_lite_video", "--output", str(folder), "--format", form]) == 0
    lines = capsys.readouterr().out.splitlines()
    state = ", ".join(f"{tensor}{level}" for level in (3, 4, 5) for tensor in programs.STATES["cosine"])
    for line, (program, takes, gives) in zip(
        lines,
        (
            ("network", "content, style", "stylized"),
            ("style", "style", state),
            ("content", f"content, {state}", "stylized"),
        ),
    ):
        assert line == ", ".join(f"{folder / program}{suffix}" for suffix in suffixes) + f": {takes} -> {gives}"
    assert sorted(os.listdir(folder)) == sorted(p + suffix for p in programs.PROGRAMS for suffix in suffixes)
    (tmp_path / "file").write_text("")
    assert export.main(["--output", str(tmp_path / "file" / "out")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        export.main(["--output", str(folder), "--format", "onxx"])
    assert (
        "invalid choice: 'onxx' (did you mean 'onnx'?); choose from onnx, onnx-floats, inference"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("chosen", ["eager", "inference", "onnxruntime"])
def test_threads_get_what_one_thread_gets(rng, chosen):
    if chosen == "onnxruntime":
        pytest.importorskip("onnxruntime")
    network = small(attention="cosine")
    sizes = [(33 + 3 * (index % 5), 40 + 5 * (index % 3)) for index in range(24)]
    jobs = [[rng.randint(0, 256, (*size, 3)).astype("uint8") for _ in range(2)] for size in sizes]
    one = Stylizer(network, engine.make_engine(chosen, network))
    expected = [one(*job) for job in jobs]
    shared = Stylizer(network, engine.make_engine(chosen, network))  # whose programs the threads open
    with ThreadPoolExecutor(8) as pool:
        painted = list(pool.map(lambda job: shared(*job), 2 * jobs))
    for picture, alone in zip(painted, 2 * expected):
        np.testing.assert_array_equal(picture, alone)


def test_eager_and_programs_of_one_engine_at_the_same_time(rng, name):
    network = small(attention="cosine")
    picture = rng.randint(0, 256, (40, 33, 3)).astype("uint8")
    painter = Stylizer(network, engine.make_engine(name, network))  # with an empty cache
    options = [{}, {"strength": 0.5}] * 8
    with ThreadPoolExecutor(8) as pool:
        painted = list(pool.map(lambda chosen: painter(picture, picture, **chosen), options))
    for result, chosen in zip(painted, options):
        np.testing.assert_array_equal(result, painter(picture, picture, **chosen))


def test_onnx_runtime_leaves_the_denormal_numbers_of_the_caller(stylizer, rng):
    pytest.importorskip("onnxruntime")
    engine = ppadaattn.load("adaattn_lite_video", engine="onnxruntime")
    engine(rng.randint(0, 256, (40, 48, 3)).astype("uint8"), rng.randint(0, 256, (32, 40, 3)).astype("uint8"))
    smallest = np.array([1e-320, 1e-310])
    assert (smallest * 0.5 > 0).all() and np.array([1e-40], "float32")[0] * np.float32(0.5) > 0
