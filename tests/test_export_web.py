"""The files of the page without a service, and its smaller programs. tests/test_web.py paints with them."""

import json
import re
import shutil

import ppadaattn
from ppadaattn.errors import InputError, import_optional
from ppadaattn.infer.stylizer import Stylizer
from ppadaattn.media.images import read_image
from ppadaattn.resources import packaged
from ppadaattn.serve import export_web
from ppadaattn.serve.export_web import PINNED, PINNED_HOST, RUNTIME, RUNTIME_FILES, save_page
from ppadaattn.serve.web_programs import PROGRAMS, make_program
from ppadaattn.weights import zoo

import numpy as np
import pytest
from conftest import smooth

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

MODEL = "adaattn_lite_video"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """A folder that looks like onnxruntime-web's."""
    folder = tmp_path_factory.mktemp("dist")
    for pair in RUNTIME_FILES.items():
        for name in pair:
            (folder / name).write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory, runtime):
    folder = tmp_path_factory.mktemp("web") / "page"
    assert save_page(folder, runtime=runtime) == RUNTIME
    return folder


def words_of(folder, name):
    """A constant that the service worker begins with."""
    return json.loads(re.search(rf"^const {name} = (.*);$", (folder / "sw.js").read_text(), re.MULTILINE)[1])


def test_service_worker_knows_every_file(page):
    files = {path.relative_to(page).as_posix() for path in page.rglob("*") if path.is_file()} - {"sw.js"}
    with_gpu = {f"{RUNTIME}{name}" for name in list(RUNTIME_FILES.items())[1]}
    assert set(words_of(page, "FIRST")) | set(words_of(page, "REST")) == files - with_gpu
    for path in page.glob("*.js"):  # modules import only what is there
        for name in re.findall(r'(?:from|import\() ?"\./([\w.]+)"', path.read_text()):
            assert (page / name).is_file(), name


def test_page_asks_no_other_host(page):
    assert "https://" not in (page / "index.html").read_text() + (page / "about.json").read_text()


@pytest.fixture
def _without_models(monkeypatch):
    monkeypatch.setattr(
        export_web, "_write_model", lambda writer, name, *_: writer.bytes(f"models/{name}/a.bin", b"") or None
    )


@pytest.mark.usefixtures("_without_models")
def test_another_export_replaces_the_page_and_its_version(page, runtime, tmp_path):
    again = tmp_path / "page"
    shutil.copytree(page, again)
    save_page(again, model=MODEL, runtime=runtime)
    assert words_of(again, "VERSION") != words_of(page, "VERSION")
    assert [model["name"] for model in json.loads((again / "about.json").read_text())["models"]] == [MODEL]


@pytest.mark.usefixtures("_without_models")
def test_pinned_address_where_there_is_no_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert save_page("page", model=MODEL) == PINNED
    assert json.loads((tmp_path / "page" / "about.json").read_text())["runtime"] == PINNED
    page = (tmp_path / "page" / "index.html").read_text()
    assert f"connect-src 'self' {PINNED_HOST};" in page and not (tmp_path / "page" / RUNTIME).exists()


def runner(read):
    """A function (program, inputs) -> {name: array}; read: a function that gives the bytes of a program by name."""
    sessions = {name: onnxruntime.InferenceSession(read(name), providers=["CPUExecutionProvider"]) for name in PROGRAMS}

    def run(program, **inputs):
        names = [output.name for output in sessions[program].get_outputs()]
        taken = {one.name for one in sessions[program].get_inputs()}
        given = {name: np.asarray(array) for name, array in inputs.items() if name in taken}
        return dict(zip(names, sessions[program].run(None, given)))

    return run


def paint(run, content, state):
    """The stylized picture, by the programs one after the other."""
    keys = run("encode", content=content)
    size = np.array(content.shape[:2], "float32")
    return run("decode", **keys, **run("attend", **keys, **state), size=size)["stylized"].astype(float)


def test_halves_paint_nearly_the_same(page):
    """Large weights and states as float16: at least 60 dB, as docs/web.md says."""
    network = ppadaattn.load(MODEL, device="cpu", engine="eager").network
    content = smooth(np.random.RandomState(3), 61, 83)
    style = read_image(packaged("examples") / "style" / "woodcut.jpg", 512)
    run = runner(lambda name: make_program(network, name).SerializeToString())
    state = run("state", **run("encode", content=style))
    expected = paint(run, content, state)
    about, kept = json.loads((page / "about.json").read_text())["states"][MODEL], {}
    numbers = np.frombuffer((page / "models" / MODEL / "woodcut.bin").read_bytes(), "<f2").astype("float32")
    for name, shape in about["tensors"]:
        kept[name], numbers = numbers[: np.prod(shape)].reshape(shape), numbers[np.prod(shape) :]
        if not name.startswith("centre"):
            kept[name] = kept[name] * about["counts"]["woodcut"][name[-1]]
        np.testing.assert_allclose(kept[name], state[name], rtol=2e-3, atol=2e-3 * np.abs(state[name]).max())
    assert numbers.size == 0
    halves = runner(lambda name: (page / "models" / MODEL / f"{name}.onnx").read_bytes())
    for given in (kept, halves("state", **halves("encode", content=style))):
        found = paint(halves, content, given)
        assert np.abs(found - expected).max() <= 2
        assert np.mean((found - expected) ** 2) < 255**2 / 10**6  # 60 dB


@pytest.mark.parametrize(
    "architecture",
    [
        {"attention": "softmax"},
        {"attention": "cosine"},
        {"attention": "cosine", "levels": [3], "conventions": "release"},
        {"attention": "softmax", "levels": [3, 4], "shallow_features": False},
    ],
    ids=str,
)
def test_programs_together_are_the_network(rng, architecture):
    """Also at a strength below 1, where the content is a style of its own."""
    network = ppadaattn.AdaAttNNetwork(width=0.0625, **architecture)
    network.eval()
    stylizer, (content, style) = Stylizer(network), (smooth(rng, 37, 50), smooth(rng, 28, 33))
    run = runner(lambda name: make_program(network, name).SerializeToString())
    keys = run("encode", content=content)
    states = run("state", **run("encode", content=style)), run("state", **keys)
    parts = [run("attend", **keys, **state) for state in states]
    mixed = {name: np.float32(0.3) * array + np.float32(0.7) * parts[1][name] for name, array in parts[0].items()}
    found = run("decode", **keys, **mixed, size=np.array([37, 50], "float32"))["stylized"].astype(int)
    assert np.abs(found - stylizer(content, style, strength=0.3)).max() <= 1
    assert np.abs(paint(run, content, states[0]) - stylizer(content, style)).max() <= 1


def test_programs_say_what_they_are(page):
    onnx = import_optional("onnx", "onnx", "programs")
    for name in PROGRAMS:
        model = onnx.load(page / "models" / MODEL / f"{name}.onnx")
        about = {entry.key: entry.value for entry in model.metadata_props}
        assert (
            about["model"] == MODEL
            and about["program"] == name
            and {"version", "licence", "architecture"} <= set(about)
        )
        assert all(value.doc_string for value in (*model.graph.input, *model.graph.output))


@pytest.mark.parametrize("name", zoo.BUNDLED)
def test_programs_of_the_bundled_models_lose_nothing(page, name):
    """Their weights were rounded to float16 at the end of training."""
    onnx = import_optional("onnx", "onnx", "programs")
    network = ppadaattn.load(name, device="cpu", engine="eager").network
    halves = 0
    for program in PROGRAMS:
        before = {x.name: x for x in make_program(network, program).graph.initializer}
        stored = onnx.load(page / "models" / name / f"{program}.onnx").graph.initializer
        for tensor in stored:
            if tensor.name.endswith("_half"):
                halves += 1
                whole = onnx.numpy_helper.to_array(before[tensor.name[: -len("_half")]])
                np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor).astype("float32"), whole)
    assert halves > 10


def test_refusals(tmp_path, runtime, capsys):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="holds other files: give a new folder for the page"):
        save_page(tmp_path / "own", runtime=runtime)
    with pytest.raises(InputError, match=r"has no ort\.wasm\.bundle\.min\.mjs: give `dist` of the npm package"):
        save_page(tmp_path / "new", runtime=tmp_path)
    assert not (tmp_path / "new").exists() and [path.name for path in (tmp_path / "own").iterdir()] == ["thesis.txt"]


def test_command(tmp_path, runtime, monkeypatch, capsys):
    from ppadaattn.cli import export

    asked = []

    def save(*words):
        asked.append(words)
        return PINNED

    monkeypatch.setattr(export, "save_page", save)
    assert export.main(["--web", str(tmp_path / "page"), "--onnxruntime-web", str(runtime)]) == 0
    assert asked == [(str(tmp_path / "page"), None, str(runtime))]
    said = capsys.readouterr()
    assert "python -m http.server --directory" in said.out and export_web.PINNED in said.err
    for words, sentence in (
        ([], "give --output for programs, or --web for a page: one of them"),
        (["--web", "a", "--output", "b"], "one of them"),
        (["--web", "a", "--format", "onnx"], "--format is for --output"),
        (["--output", "b", "--onnxruntime-web", "c"], "--onnxruntime-web is for --web"),
    ):
        assert export.main(words) == 2
        assert sentence in capsys.readouterr().err
