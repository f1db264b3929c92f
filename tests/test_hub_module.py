"""ppadaattn.hub: the interface of PaddleHub's modules."""

import ast
import base64
import importlib.util
import os
import re
import shutil
import sys
import types

import ppadaattn
from ppadaattn import Style, Stylizer
from ppadaattn.errors import InputError
from ppadaattn.media.images import read_image, write_image
from ppadaattn.serve.hub import Module
from ppadaattn.weights import zoo
from ppadaattn.weights.checkpoint import load_network, save_weights

import numpy as np
import paddle
import pytest
from conftest import ROOT, run_python

FOLDER = ROOT / "hub_module" / "ppadaattn_style"


@pytest.fixture(scope="module")
def module():
    return Module(name="adaattn_lite_image")


@pytest.fixture
def arrays(rng):
    """BGR: a content and two styles."""
    return [rng.randint(0, 256, shape).astype("uint8") for shape in ((37, 50, 3), (29, 44, 3), (40, 30, 3))]


def painted(stylizer, content, style, **options):
    """The stylizer's result for BGR arrays, in BGR."""
    rgb = [np.ascontiguousarray(array[:, :, ::-1]) for array in (content, style)]
    return stylizer(*rgb, **options)[:, :, ::-1]


def text(path):
    return base64.b64encode(path.read_bytes()).decode()


def test_importing_it_needs_no_paddlehub():
    code = "import sys, ppadaattn.hub; print('paddlehub' in sys.modules)"
    assert run_python("-c", code).stdout == "False\n"


def test_arrays_are_bgr_and_come_back_in_order(module, stylizer, arrays):
    content, first, second = arrays
    before = [array.copy() for array in arrays]
    images = [{"content": content, "styles": [style]} for style in (first, second)]
    results = module.style_transfer(images=images)
    for result, style in zip(results, (first, second)):
        assert result["save_path"] is None and result["data"].dtype == np.uint8
        assert result["data"].flags["C_CONTIGUOUS"]
        np.testing.assert_array_equal(result["data"], painted(stylizer, content, style))
    for array, same in zip(arrays, before):
        np.testing.assert_array_equal(array, same)


def test_paths_and_arrays_give_the_same(module, picture):
    cv2 = pytest.importorskip("cv2")
    content, style = str(picture("c.png", 40, 33)), picture("s.png", 40, 700)  # a style of more than 512 pixels
    (from_paths,) = module.style_transfer(paths=[{"content": content, "styles": [style]}])
    (from_arrays,) = module.style_transfer(
        images=[{"content": cv2.imread(content), "styles": [cv2.imread(str(style))]}]
    )
    np.testing.assert_array_equal(from_paths["data"], from_arrays["data"])
    both = module.style_transfer(
        images=[{"content": cv2.imread(content), "styles": [cv2.imread(content)]}],
        paths=[{"content": content, "styles": [style]}],
    )
    np.testing.assert_array_equal(both[1]["data"], from_paths["data"])


def test_weights_mix_and_alpha_is_the_strength(module, stylizer, arrays):
    content, first, second = arrays
    prepared = [stylizer.prepare_style(np.ascontiguousarray(style[:, :, ::-1])) for style in (first, second)]
    rgb = np.ascontiguousarray(content[:, :, ::-1])
    item = {"content": content, "styles": [first, second]}
    for weights, alpha in ((None, 1), ([3, 1], 1), ([0.2, 0.8], 0.4)):
        given = item if weights is None else {**item, "weights": weights}
        (result,) = module.style_transfer(images=[given], alpha=alpha)
        expected = stylizer(rgb, Style.mix(prepared, weights), strength=alpha)
        np.testing.assert_array_equal(result["data"][:, :, ::-1], expected)


def test_a_shared_style_is_prepared_once(module, arrays, picture, monkeypatch):
    content, first, second = arrays
    prepared = []
    prepare = Stylizer.prepare_style
    monkeypatch.setattr(Stylizer, "prepare_style", lambda self, *a, **k: prepared.append(a) or prepare(self, *a, **k))
    images = [{"content": content, "styles": [first, second]}, {"content": first, "styles": [second]}]
    module.style_transfer(images=images)
    assert len(prepared) == 2
    module.style_transfer(images=[{"content": content, "styles": [first, first.copy()]}])
    assert len(prepared) == 4  # equal is not the same
    path = picture("s.png")
    module.style_transfer(paths=[{"content": path, "styles": [str(path)]}, {"content": path, "styles": [path]}])
    module.serving_method([{"content": text(path), "styles": [text(path), text(path)]}] * 2)
    assert len(prepared) == 6


def test_results_are_written_and_overwrite_nothing(module, picture, tmp_path, arrays):
    content, style = picture("in/photo.png"), picture("s.png")
    options = {"output_dir": str(tmp_path / "a" / "b"), "visualization": True}
    paths = [{"content": content, "styles": [style]}]
    (first,) = module.style_transfer(paths=paths, **options)
    (other,) = module.style_transfer(paths=paths, alpha=0.5, **options)
    (again,) = module.style_transfer(paths=paths, **options)
    assert first["save_path"] == again["save_path"] != other["save_path"]
    assert re.fullmatch("photo_[0-9a-f]{12}.png", os.path.basename(first["save_path"]))
    for result in (first, other):
        np.testing.assert_array_equal(read_image(result["save_path"])[:, :, ::-1], result["data"])
    (of_array,) = module.style_transfer(images=[{"content": arrays[0], "styles": [arrays[1]]}], **options)
    assert os.path.basename(of_array["save_path"]).startswith("picture_")
    assert len(os.listdir(tmp_path / "a" / "b")) == 3  # and nothing temporary
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file.* cannot be written"):
        module.style_transfer(paths=paths, output_dir=str(tmp_path / "file"), visualization=True)


def test_a_failure_writes_nothing(module, picture, tmp_path):
    items = [{"content": picture("a.png"), "styles": [picture("s.png")]}]
    items.append({"content": tmp_path / "none.png", "styles": [picture("s.png")]})
    with pytest.raises(InputError, match="there is no file .*none.png"):
        module.style_transfer(paths=items, output_dir=tmp_path / "out", visualization=True)
    assert not (tmp_path / "out").exists()


def test_style_files_in_place_of_pictures(module, stylizer, picture, tmp_path):
    content, style = picture("c.png"), picture("s.png")
    saved = tmp_path / "s.style"
    stylizer.save_style(saved, stylizer.prepare_style(style))
    (expected,) = module.style_transfer(paths=[{"content": content, "styles": [style]}])
    (result,) = module.style_transfer(paths=[{"content": content, "styles": [saved]}])
    np.testing.assert_array_equal(result["data"], expected["data"])
    served = [module.serving_method([{"content": text(content), "styles": [text(s)]}]) for s in (saved, style)]
    assert served[0] == served[1]
    video = ppadaattn.load("adaattn_lite_video", device="cpu")
    video.save_style(saved, video.prepare_style(style))
    sentence = r"images\[0\]\['styles'\]\[0\] was prepared by another model"
    with pytest.raises(InputError, match=sentence):
        module.serving_method([{"content": text(content), "styles": [text(saved)]}])
    with pytest.raises(InputError, match=r"images\[0\]\['content'\] is a style file; expected a picture"):
        module.serving_method([{"content": text(saved), "styles": [text(style)]}])
    saved.write_bytes(saved.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"images\[0\]\['styles'\]\[0\] cannot be read"):
        module.serving_method([{"content": text(content), "styles": [text(saved)]}])


def test_serving_is_base64_of_files(module, stylizer, picture, tmp_path):
    content, style = picture("c.png"), picture("s.png")
    (served,) = module.serving_method([{"content": text(content), "styles": [text(style)]}], alpha=0.7)
    write_image(tmp_path / "expected.jpg", stylizer(content, style, strength=0.7))
    assert served == {"data": text(tmp_path / "expected.jpg")}


A = np.zeros((20, 20, 3), "uint8")


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (None, "give images or paths"),
        ({"content": A, "styles": [A]}, "images must be a list, .*; got dict"),
        ([A], r"images\[0\] must be a dict .*; got ndarray"),
        ([{}], r"images\[0\] must be a dict .*; got the keys \(none\)"),
        ([{"content": A, "style": A}], "got the keys content, style"),
        ([{"content": A, "styles": [A], "strength": 1}], "got the keys content, styles, strength"),
        ([{"content": A, "styles": A}], r"images\[0\]\['styles'\] must be a list of at least one style; got ndarray"),
        ([{"content": A, "styles": []}], r"at least one style; got \[\]"),
        ([{"content": None, "styles": [A]}], r"images\[0\]\['content'\] must be a BGR .*; got NoneType \(cv2.imread"),
        ([{"content": A, "styles": [A, A[:, :, 0]]}], r"images\[0\]\['styles'\]\[1\] must be .* got uint8 \(20, 20\)"),
        ([{"content": A / 255, "styles": [A]}], "got float64"),
        ([{"content": A[:9], "styles": [A]}], r"images\[0\]\['content'\] is 20 x 9 pixels; each side must be at least"),
        ([{"content": A, "styles": [A, A], "weights": [1]}], r"images\[0\]\['weights'\]: 2 styles need 2 weights"),
        ([{"content": A, "styles": [A, A], "weights": [1, -1]}], "not negative"),
        ([{"content": A, "styles": [A, A], "weights": [0, 0]}], "not all 0"),
        ([{"content": A, "styles": [A, A], "weights": ["a", 1]}], r"images\[0\]\['weights'\]: could not convert"),
        ([{"content": A, "styles": [A], "weights": [10**400]}], r"images\[0\]\['weights'\]: "),
        ([{"content": A, "styles": [A], "weights": {}}], r"images\[0\]\['weights'\]: "),
    ],
)
def test_wrong_items_are_refused(module, images, sentence):
    with pytest.raises(InputError, match=sentence):
        module.style_transfer(images=images)


def test_wrong_pictures_are_refused(module, picture, tmp_path):
    good, broken = picture("a.png"), tmp_path / "broken.png"
    broken.write_bytes(good.read_bytes()[:200])
    for content, sentence in ((3, r"paths\[0\]\['content'\] must be the path"), (broken, "broken.png cannot be read")):
        with pytest.raises(InputError, match=sentence):
            module.style_transfer(paths=[{"content": content, "styles": [good]}])
    for content, sentence in (
        (3, "must be the base64 of a picture file; got int"),
        ("ä", "is not base64"),
        ("data:image/png;base64," + text(good), "is not base64"),
        ("aaaa", "is not a picture that can be read"),
        ("", "is not a picture that can be read"),
        (text(broken), "cannot be read, it may be damaged"),
    ):
        with pytest.raises(InputError, match=rf"images\[0\]\['content'\] {sentence}"):
            module.serving_method([{"content": content, "styles": [text(good)]}])
    for alpha in (2, "1", None, float("nan")):
        with pytest.raises(InputError, match="`strength` is 0"):
            module.serving_method([{"content": text(good), "styles": [text(good)]}], alpha=alpha)


def test_a_missing_gpu_is_refused(module):
    if paddle.is_compiled_with_cuda():
        pytest.skip("there may be one here")
    with pytest.raises(InputError, match="gpu cannot be used"):
        module.style_transfer(images=[{"content": A, "styles": [A]}], use_gpu=True)


def test_names_and_directories(tmp_path, arrays):
    weights = zoo.weights_file("adaattn_lite_video")
    shutil.copy(weights, tmp_path)
    save_weights(tmp_path / "safe" / "a.safetensors", load_network(weights))
    content, style, _ = arrays
    directories = (tmp_path, tmp_path / "safe", FOLDER)
    results = [
        module.style_transfer(images=[{"content": content, "styles": [style]}])[0]["data"]
        for module in (Module(name="adaattn_lite_video"), *(Module(directory=folder) for folder in directories))
    ]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert (results[0] != results[3]).any() and Module(directory=str(FOLDER)).model == zoo.DEFAULT_MODEL
    shutil.copy(weights, tmp_path / "other.pdparams")
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "module.py").write_text("")
    for options, sentence in (
        ({}, "a name or a directory"),
        ({"name": "a", "directory": "b"}, "a name or a directory"),
        ({"name": "adaattn_lite"}, "no module named 'adaattn_lite' .did you mean 'adaattn_lite_"),
        ({"name": str(weights)}, "there is no module named"),
        ({"directory": tmp_path / "none"}, "there is no folder"),
        ({"directory": tmp_path / "empty"}, "holds no weights"),
        ({"directory": tmp_path / "foreign"}, "holds no weights"),
        ({"directory": tmp_path}, "several weights files .adaattn_lite_video.pdparams, other.pdparams."),
    ):
        with pytest.raises(InputError, match=sentence):
            Module(**options)


# ---------------------------------------------------------------------------------------------------------------------
# The folder for PaddleHub
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub_class(monkeypatch):
    """The class of module.py, with stand-ins for PaddleHub's decorators."""
    marked = {}

    def mark(kind):
        return lambda function: marked.setdefault(kind, function)

    def moduleinfo(**words):
        marked["moduleinfo"] = words
        return lambda cls: type(cls.__name__, cls.__bases__, {**vars(cls), **words, "directory": str(FOLDER)})

    stand_in = types.ModuleType("paddlehub.module.module")
    stand_in.moduleinfo, stand_in.runnable, stand_in.serving = moduleinfo, mark("runnable"), mark("serving")
    monkeypatch.setitem(sys.modules, "paddlehub", types.ModuleType("paddlehub"))
    monkeypatch.setitem(sys.modules, "paddlehub.module", types.ModuleType("paddlehub.module"))
    monkeypatch.setitem(sys.modules, "paddlehub.module.module", stand_in)
    specification = importlib.util.spec_from_file_location("ppadaattn_style.module", FOLDER / "module.py")
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded.PpadaattnStyle, marked


def test_the_folder_equals_the_package(hub_class, module, picture, tmp_path, capsys):
    cls, marked = hub_class
    hub_module = cls()
    content, style = picture("c.png"), picture("s.png")
    expected = module.style_transfer(paths=[{"content": content, "styles": [style, content], "weights": [1, 3]}])
    words = ["--content", str(content), "--styles", f"{style},{content}", "--weights", "1,3"]
    (result,) = marked["runnable"](hub_module, [*words, "--output_dir", str(tmp_path / "out")])
    np.testing.assert_array_equal(result["data"], expected[0]["data"])
    np.testing.assert_array_equal(read_image(result["save_path"])[:, :, ::-1], result["data"])
    images = [{"content": text(content), "styles": [text(style)]}]
    assert marked["serving"](hub_module, images=images, alpha=0.5) == module.serving_method(images, 0.5)
    with pytest.raises(SystemExit):
        marked["runnable"](hub_module, ["--help"])
    assert "hub run ppadaattn_style" in capsys.readouterr().out


def test_the_folders_description_is_literal(hub_class):
    tree = ast.parse((FOLDER / "module.py").read_text(encoding="utf-8"))
    (cls,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    (decorator,) = cls.decorator_list
    words = {keyword.arg: ast.literal_eval(keyword.value) for keyword in decorator.keywords}
    assert words == hub_class[1]["moduleinfo"]
    assert words["name"] == FOLDER.name and words["version"] == ppadaattn.__version__
