"""Pictures and frames painted at once, and painting without Paddle."""

import os
import threading
import time

import ppadaattn
from ppadaattn import runtime
from ppadaattn.infer.clips import paint_clip
from ppadaattn.media.images import read_image
from ppadaattn.model.architecture import is_adaattn, weight_shapes
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.side_by_side import in_order
from ppadaattn.weights.checkpoint import StoredNetwork, fingerprint, load_network, save_weights

import numpy as np
import pytest
from conftest import ROOT, run_python

MODEL = "adaattn_lite_video"


@pytest.fixture
def two_threads(monkeypatch, tmp_path):
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("MKL_NUM_THREADS", "2")
    monkeypatch.setenv("PPADAATTN_HOME", str(tmp_path / "home"))


def test_results_come_in_order_and_few_items_are_under_way():
    taken, running, most = [], [], []

    def items():
        for item in range(20):
            taken.append(item)
            yield item

    def work(item):
        running.append(item)
        most.append(len(running))
        time.sleep(0.004 if item % 3 == 0 else 0)
        running.remove(item)
        return item

    for result in in_order(work, items(), 3):
        assert len(taken) <= result + 5  # with the 4 that are under way
    assert result == 19 and max(most) <= 3


def test_one_worker_needs_no_thread():
    assert set(in_order(lambda _: threading.current_thread(), range(3), 1)) == {threading.main_thread()}


def test_an_error_comes_at_its_place_and_the_rest_is_left_out():
    done, begun = [], []

    def work(item):
        begun.append(item)
        if item == 2:
            raise KeyError(item)
        return item

    with pytest.raises(KeyError):
        for item in in_order(work, range(100), 2):
            done.append(item)
    assert done == [0, 1] and len(begun) <= 6
    results = in_order(work, range(3, 100), 2)
    assert next(results) == 3
    results.close()
    assert len(begun) < 20


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_the_items_comes_after_the_results_of_those_before(workers):
    def items():
        yield from range(4)
        raise KeyError("the fifth")

    done = []
    with pytest.raises(KeyError, match="the fifth"):
        for item in in_order(lambda item: item, items(), workers):
            done.append(item)
    assert done == [0, 1, 2, 3]


def test_threads_are_those_of_the_user_or_of_the_control_group(monkeypatch, tmp_path):
    for given, expected in (("3", 3), ("4,2", 4), ("none", 5), ("0", 5)):
        monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        monkeypatch.setattr(runtime, "_available_cores", lambda: 5)
        assert runtime.threads() == expected
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    assert runtime.threads() == 7

    def limit(own, **files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("cpu_", "cpu.", 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "own").write_text(own)
        return runtime._group_limit(tmp_path, tmp_path / "own")

    assert limit("0::/a/b\n") == float("inf")
    assert limit("0::/a/b\n", a__cpu_max="150000 100000\n", a__b__cpu_max="max 100000\n") == 1.5
    assert limit("0::/\n", cpu_max="50000 100000\n") == 0.5
    assert limit("damaged") == float("inf")


@pytest.mark.parametrize(
    "architecture",
    [
        {},
        {"attention": "cosine", "levels": (3,), "conventions": "release"},
        {"levels": (4, 5), "shallow_features": False},
    ],
)
def test_a_stored_network_is_the_network(architecture, tmp_path):
    network = AdaAttNNetwork(width=1 / 32, **architecture)
    assert is_adaattn(network.architecture)
    assert weight_shapes(network.architecture) == {
        name: tuple(tensor.shape) for name, tensor in network.state_dict().items()
    }
    save_weights(tmp_path / "n.pdparams", network)
    stored = StoredNetwork.read(tmp_path / "n.pdparams")
    assert fingerprint(stored) == fingerprint(network) == fingerprint(load_network(tmp_path / "n.pdparams"))
    assert stored.network() is stored.network() and fingerprint(stored.network()) == fingerprint(network)
    save_weights(tmp_path / "other.pdparams", AdaAttNNetwork(width=1 / 32, transform="adain"))
    assert StoredNetwork.read(tmp_path / "other.pdparams") is None


def test_pictures_side_by_side_are_those_of_one_thread(rng, two_threads):
    stylizer = ppadaattn.load(MODEL, device="cpu")
    contents = [rng.randint(0, 256, (30 + index, 40, 3)).astype("uint8") for index in range(8)]
    style = stylizer.prepare_style(contents[0])
    beside, workers = stylizer.side_by_side()
    assert workers == 2 and stylizer.side_by_side(0.5) == (stylizer, 1)
    assert stylizer.side_by_side(1.0, 10**12) == (stylizer, 1)  # two would need more memory than there is
    for content, painted in zip(contents, in_order(lambda content: beside(content, style), contents, workers)):
        assert np.abs(painted.astype(int) - stylizer(content, style)).max() <= 1


def test_frames_keep_their_order(picture, tmp_path, two_threads):
    for index in range(7):
        picture(f"frames/{'x' * index}{index}.png")
    stylizer = ppadaattn.load(MODEL, device="cpu")
    style = stylizer.prepare_style(picture("s.png"))
    paint_clip(stylizer, tmp_path / "frames", style, tmp_path / "out", batch_size=2)
    for path in (tmp_path / "frames").iterdir():
        expected = stylizer(path, style).astype(int)
        assert np.abs(read_image(tmp_path / "out" / path.name) - expected).max() <= 1


def test_a_damaged_picture_is_named_and_the_rest_is_painted(picture, tmp_path, two_threads, capsys):
    from ppadaattn.cli.common import run

    for index in range(5):
        picture(f"in/{index}.png")
    (tmp_path / "in" / "2.png").write_bytes(b"damaged")
    words = ["--content", str(tmp_path / "in"), "--style", str(picture("s.png")), "--model", MODEL]
    assert run("paint", [*words, "--output", str(tmp_path / "out")]) == 1
    assert sorted(os.listdir(tmp_path / "out")) == [f"{index}_s.png" for index in (0, 1, 3, 4)]
    said = capsys.readouterr()
    assert "skipped: " in said.err and "2.png is not a picture" in said.err and "4 pictures" in said.out


def test_painting_needs_no_paddle(picture, tmp_path):
    """Also with an empty cache, and with colours kept; the style may be kept in a file."""
    pytest.importorskip("onnxruntime")
    script = (
        "import sys\n"
        "from ppadaattn.__main__ import main\n"
        "status = main(sys.argv[1:])\n"
        "print(status, sorted({'paddle', 'av', 'cv2'} & set(sys.modules)))"
    )
    words = ["paint", "--content", picture("c.png"), "--style", picture("s.png"), "--preserve-color"]
    words += ["--output", tmp_path / "o.png", "--save-style", tmp_path / "s.style"]
    done = run_python("-c", script, *words, PPADAATTN_HOME=str(tmp_path / "home"), PYTHONPATH=str(ROOT))
    if runtime.has_only_cpu():
        assert done.stdout.endswith("\n0 []\n"), done.stderr
    stylizer = ppadaattn.load(device="cpu", engine="eager")
    expected = stylizer(tmp_path / "c.png", stylizer.load_style(tmp_path / "s.style"), preserve_color=True)
    assert np.abs(read_image(tmp_path / "o.png").astype(int) - expected).max() <= 2
