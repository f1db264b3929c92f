"""Weight and style files: whole, checked, and unable to run code."""

import os
import pickle
import zipfile

from ppadaattn.errors import InputError
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.model.style import Style
from ppadaattn.weights.checkpoint import (
    digest,
    fingerprint,
    load_network,
    load_style,
    network_weights,
    save_style,
    save_weights,
)
from ppadaattn.weights.convert import network_from_arrays, read_arrays

import numpy as np
import paddle
import pytest

OPTIONS = {
    "width": 1 / 32,
    "levels": [3, 4],
    "attention": "cosine",
    "conventions": "release",
    "transform": "adaattn",
    "shallow_features": True,
}


@pytest.fixture
def saved(tmp_path):
    """(network, path of its weights file)."""
    network = AdaAttNNetwork(**OPTIONS)
    save_weights(tmp_path / "a.pdparams", network, about="made in a test")
    return network, tmp_path / "a.pdparams"


def rewrite(path, change):
    """Load the file's dict, change it, write it back as this project would."""
    with open(path, "rb") as file:
        content = pickle.load(file)
    change(content)
    content["digest"] = digest({name: value for name, value in content.items() if name != "digest"})
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


def flip_bit(path, array):
    """Change one bit of the numbers of `array` in a file."""
    content = bytearray(path.read_bytes())
    content[content.index(array.tobytes()) + array.nbytes // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["encoder.conv1_1.weight", "adaattn4.g.weight", "decoder.stage1.1.bias"])
def test_a_changed_bit_is_noticed(saved, name):
    network, path = saved
    flip_bit(path, network_weights(network)[name])
    with pytest.raises(InputError, match="its numbers are not those that were saved"):
        load_network(path)


def test_the_digest_tells_values_types_and_names_apart():
    value = {"a": np.zeros((2, 3), "float32"), "b": [1, "x"]}
    same = {"b": [1, "x"], "a": np.asfortranarray(np.zeros((2, 3), "float32"))}
    assert digest(value) == digest(same)
    for other in (
        {**value, "a": np.zeros((3, 2), "float32")},
        {**value, "a": np.zeros((2, 3), "int32")},
        {**value, "b": [1, "y"]},
        {**value, "c": None},
        {"a": value["a"], "c": value["b"]},
    ):
        assert digest(other) != digest(value)


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
        (lambda c: c.pop("architecture"), "describes no network"),
        (lambda c: c.update(weights=[1, 2]), "describes no network"),
        (lambda c: c.update(weights={"a": "word"}), "expected float32 arrays"),
        (lambda c: c["architecture"].update(source=1), "cannot be built"),
        (lambda c: c["architecture"].update(width=float("inf")), "cannot be built"),
        (lambda c: c["architecture"].update(width=0.3), "cannot be built: width must be"),
        (lambda c: c["architecture"].update(depth=3), "cannot be built: .*depth"),
        (
            lambda c: c["architecture"].update(width=1 / 16),
            r"adaattn3.f.bias has shape \[14\], expected \[28\]",
        ),
        (lambda c: c["weights"].pop("decoder.stage4.bias"), r"decoder.stage4.bias has shape none \(it is missing\)"),
        (
            lambda c: c["weights"].update(extra=np.zeros(3, "float32")),
            r"extra has shape \[3\], expected no such",
        ),
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
@pytest.mark.parametrize("kind", ["one", "two side by side", "a mix"])
def test_style_files(tmp_path, attention, kind):
    network = AdaAttNNetwork(width=1 / 32, attention=attention)
    content, style = paddle.rand([1, 3, 20, 30]), paddle.rand([1, 3, 40, 17])
    with paddle.no_grad():
        first, second = (network.prepare_style(image) for image in (style, 1 - style))
        style = {"one": first, "two side by side": first + second, "a mix": Style.mix([first, second], [1, 3])}[kind]
        style.fingerprint = fingerprint(network)
        save_style(tmp_path / "a.style", style)
        restored = load_style(tmp_path / "a.style", network)
        np.testing.assert_array_equal(
            network.stylize(content, restored).numpy(), network.stylize(content, style).numpy()
        )
    with pytest.raises(InputError, match="prepared by another model"):
        load_style(tmp_path / "a.style", network, "another")
    save_weights(tmp_path / "a.pdparams", network)
    with pytest.raises(InputError, match="holds 'ppadaattn weights 1', not 'ppadaattn style 2'"):
        load_style(tmp_path / "a.pdparams", network)
    centre = (style.states[3].states[0] if kind == "a mix" else style.states[3]).centre.numpy()
    flip_bit(tmp_path / "a.style", centre)
    with pytest.raises(InputError, match="damaged"):
        load_style(tmp_path / "a.style", network)


def test_fingerprints_tell_architectures_with_equal_weights_apart():
    networks = [AdaAttNNetwork(**{**OPTIONS, "conventions": name}) for name in ("paper", "release")]
    networks[1].set_state_dict(networks[0].state_dict())
    assert fingerprint(networks[0]) != fingerprint(networks[1])
    assert fingerprint(networks[0]) == fingerprint(networks[0])


@pytest.mark.parametrize("levels", [(3,), (3, 4, 5)])
def test_arrays_become_a_network(tmp_path, levels):
    network = AdaAttNNetwork(width=1 / 16, levels=levels, attention="cosine")
    np.savez(tmp_path / "a.npz", **network_weights(network))
    converted = network_from_arrays(read_arrays(tmp_path / "a.npz"), "a.npz", attention="cosine")
    assert converted.architecture == network.architecture
    content, style = paddle.rand([1, 3, 20, 30]), paddle.rand([1, 3, 40, 17])
    np.testing.assert_array_equal(converted(content, style).numpy(), network(content, style).numpy())


def zip_of_text(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")


FIRST, LEVEL_3, WEIGHT = "encoder.conv1_1.weight", "adaattn3.f.weight", np.zeros((2, 3, 3, 3))


def test_arrays_of_something_else_are_refused(tmp_path):
    for name, make, sentence in (
        ("none.npz", lambda path: None, "there is no file"),
        ("text.npz", lambda path: path.write_text("hello"), "cannot be read as .npz arrays"),
        ("one.npz", lambda path: np.savez(path, a=np.zeros(3)), "holds no AdaAttN network"),
        ("array.npz", lambda path: np.zeros(3).tofile(path), "cannot be read as .npz arrays"),
        ("array.npy", lambda path: np.save(path, np.zeros(3)), "cannot be read as .npz arrays"),
        ("words.npz", lambda path: np.savez(path, **{FIRST: np.array("word")}), "finite real numbers"),
        ("zip.npz", zip_of_text, "holds no AdaAttN network"),
        ("nan.npz", lambda path: np.savez(path, **{FIRST: WEIGHT * np.nan, LEVEL_3: 0}), "finite real numbers"),
        ("complex.npz", lambda path: np.savez(path, **{FIRST: WEIGHT * 1j, LEVEL_3: 0}), "finite real numbers"),
        ("wide.npz", lambda path: np.savez(path, **{FIRST: np.zeros((6400, 1, 1, 1)), LEVEL_3: 0}), "at most 4"),
        ("flat.npz", lambda path: np.savez(path, **{FIRST: np.zeros(3), LEVEL_3: np.zeros(3)}), "holds no AdaAttN"),
        ("odd.npz", lambda path: np.savez(path, **{FIRST: np.zeros((3, 3, 3, 3)), LEVEL_3: 0}), "expected"),
        ("35.npz", lambda path: np.savez(path, **{FIRST: WEIGHT, LEVEL_3: 0, LEVEL_3.replace("3", "5"): 0}), "5 only"),
    ):
        make(tmp_path / name)
        with pytest.raises(InputError, match=sentence):
            network_from_arrays(read_arrays(tmp_path / name), name, attention="softmax")


def test_a_style_in_the_regions_of_one_content_is_not_saved(tmp_path):
    network = AdaAttNNetwork(**OPTIONS)
    mask = np.zeros((32, 32, 3), np.uint8)
    mask[:16] = 255, 0, 0
    style = network.prepare_style(paddle.rand([1, 3, 32, 32])).as_region((255, 0, 0)).in_regions(mask)
    with pytest.raises(InputError, match="a.style: a style in_regions of a content serves that content only"):
        save_style(tmp_path / "a.style", style)
    assert not list(tmp_path.iterdir())
