"""Weight and style files: whole, checked, and unable to run code."""

import os
import pickle

from ppadaattn.checkpoint import load_network, load_style, network_weights, save_style, save_weights
from ppadaattn.convert import network_from_arrays, read_arrays
from ppadaattn.errors import InputError
from ppadaattn.network import AdaAttNNetwork

import numpy as np
import paddle
import pytest

OPTIONS = {"width": 1 / 32, "levels": [3, 4], "attention": "cosine", "conventions": "release"}


@pytest.fixture
def saved(tmp_path):
    """(network, path of its weights file)."""
    network = AdaAttNNetwork(**OPTIONS)
    save_weights(tmp_path / "a.pdparams", network, about="made in a test")
    return network, tmp_path / "a.pdparams"


def rewrite(path, change):
    """Load the file's dict, change it, write it back as any other program would."""
    with open(path, "rb") as file:
        content = pickle.load(file)
    change(content)
    with open(path, "wb") as file:
        pickle.dump(content, file)


def test_one_file_builds_the_same_network(saved):
    network, path = saved
    loaded = load_network(path)
    assert loaded.architecture == network.architecture == OPTIONS
    assert not loaded.training
    weights = network_weights(network)
    assert weights.keys() == network_weights(loaded).keys()
    for name, array in network_weights(loaded).items():
        np.testing.assert_array_equal(array, weights[name])
    assert os.listdir(path.parent) == ["a.pdparams"]


def test_paddle_itself_reads_the_file(saved):
    network, path = saved
    content = paddle.load(str(path))
    assert content["architecture"] == OPTIONS and content["about"] == "made in a test"
    assert content["preprocessing"] == {"layout": "NCHW", "channels": "RGB", "range": [0.0, 1.0]}
    np.testing.assert_array_equal(
        np.asarray(content["weights"]["decoder.stage1.1.bias"]), network.decoder.stage1[1].bias.numpy()
    )


def test_a_file_cut_anywhere_is_refused(saved):
    _, path = saved
    whole = path.read_bytes()
    for length in [0, 1, 10, 1000, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="damaged, cut short or another file"):
            load_network(path)


def test_a_changed_number_is_noticed(saved):
    _, path = saved

    def change(content):
        content["weights"]["decoder.stage1.1.bias"] = content["weights"]["decoder.stage1.1.bias"] + 1e-3

    rewrite(path, change)
    with pytest.raises(InputError, match="its numbers are not those that were saved"):
        load_network(path)


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def test_a_pickle_cannot_run_code(saved, tmp_path, monkeypatch):
    _, path = saved
    monkeypatch.chdir(tmp_path)
    rewrite(path, lambda content: content.update(about=Malicious()))
    with pytest.raises(InputError, match="it refers to posix.mkdir|it refers to nt.mkdir"):
        load_network(path)
    assert not os.path.exists("ran")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.clear(), "does not hold 'ppadaattn weights 1'"),
        (lambda c: c.pop("architecture"), "cannot be built: 'architecture'"),
        (lambda c: c["architecture"].update(width=0.3), "cannot be built: width must be"),
        (lambda c: c["architecture"].update(depth=3), "cannot be built: .*depth"),
        (
            lambda c: c["architecture"].update(width=1 / 16),
            r"adaattn3.f.bias has shape \[14\], expected \[28\]",
        ),
        (lambda c: c["weights"].pop("decoder.stage4.bias"), r"decoder.stage4.bias has shape none \(it is missing\)"),
        (lambda c: c["weights"].update(extra=np.zeros(3)), r"extra has shape \[3\], expected no such tensor"),
        (lambda c: c["preprocessing"].update(channels="BGR"), "for images prepared as .*BGR"),
    ],
)
def test_files_that_do_not_fit_say_why(saved, change, sentence):
    _, path = saved
    rewrite(path, change)
    with pytest.raises(InputError, match=sentence):
        load_network(path)


def test_files_of_others_are_refused(saved, tmp_path):
    network, _ = saved
    paddle.save(network.state_dict(), str(tmp_path / "plain.pdparams"))
    with pytest.raises(InputError, match="carries its own architecture"):
        load_network(tmp_path / "plain.pdparams")
    (tmp_path / "text.pdparams").write_text("hello")
    with pytest.raises(InputError, match="damaged, cut short or another file"):
        load_network(tmp_path / "text.pdparams")
    with pytest.raises(InputError, match="there is no file"):
        load_network(tmp_path / "none.pdparams")
    with pytest.raises(InputError, match="cannot be read"):
        load_network(tmp_path)


@pytest.mark.parametrize("attention", ["softmax", "cosine"])
def test_style_files(tmp_path, attention):
    network = AdaAttNNetwork(width=1 / 32, attention=attention)
    content, style = paddle.rand([1, 3, 20, 30]), paddle.rand([1, 3, 40, 17])
    with paddle.no_grad():
        prepared = network.prepare_style(style)
        save_style(tmp_path / "a.style", prepared, "the network's fingerprint")
        restored = load_style(tmp_path / "a.style", "the network's fingerprint")
        np.testing.assert_array_equal(
            network.stylize(content, restored).numpy(), network.stylize(content, prepared).numpy()
        )
    with pytest.raises(InputError, match="prepared for another model"):
        load_style(tmp_path / "a.style", "another")
    save_weights(tmp_path / "a.pdparams", network)
    with pytest.raises(InputError, match="does not hold 'ppadaattn style 1'"):
        load_style(tmp_path / "a.pdparams", "the network's fingerprint")
    rewrite(tmp_path / "a.style", lambda content: content["levels"][3].pop("centre"))
    with pytest.raises(InputError, match="is damaged: KeyError"):
        load_style(tmp_path / "a.style", "the network's fingerprint")


@pytest.mark.parametrize("levels", [(3,), (3, 4, 5)])
def test_arrays_become_a_network(tmp_path, levels):
    network = AdaAttNNetwork(width=1 / 16, levels=levels, attention="cosine")
    np.savez(tmp_path / "a.npz", **network_weights(network))
    converted = network_from_arrays(read_arrays(tmp_path / "a.npz"), "a.npz", attention="cosine")
    assert converted.architecture == network.architecture
    content, style = paddle.rand([1, 3, 20, 30]), paddle.rand([1, 3, 40, 17])
    np.testing.assert_array_equal(converted(content, style).numpy(), network(content, style).numpy())


def test_arrays_of_something_else_are_refused(tmp_path):
    for name, make, sentence in (
        ("none.npz", lambda path: None, "there is no file"),
        ("text.npz", lambda path: path.write_text("hello"), "cannot be read as .npz arrays"),
        ("one.npz", lambda path: np.savez(path, a=np.zeros(3)), "holds no AdaAttN network"),
        ("array.npz", lambda path: np.zeros(3).tofile(path), "cannot be read as .npz arrays"),
    ):
        make(tmp_path / name)
        with pytest.raises(InputError, match=sentence):
            network_from_arrays(read_arrays(tmp_path / name), name, attention="softmax")
