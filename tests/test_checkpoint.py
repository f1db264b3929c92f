"""Weight and style files: whole, checked, and unable to run code."""

import os
import pickle
import zipfile

from ppadaattn.cli import convert as command
from ppadaattn.errors import InputError
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.model.style import Style
from ppadaattn.weights import checkpoint, convert
from ppadaattn.weights.checkpoint import (
    PICKLED_STYLE,
    digest,
    fingerprint,
    is_style_data,
    load_network,
    load_style,
    network_weights,
    save_style,
    save_weights,
    style_contents,
)
from ppadaattn.weights.convert import network_from_arrays, read_arrays

import numpy as np
import paddle
import pytest
import safetensors.numpy
from PIL import Image

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


# Safetensors --------------------------------------------------------------------------------------------------------


def rewrite_style(path, change):
    """Change what a style file holds, and write it back with the right digest, as this project would."""
    content = checkpoint._from_safetensors(path.read_bytes())
    del content["digest"]
    change(content)
    checkpoint._write(path, content)


@pytest.mark.parametrize("suffix", [".safetensors", ".SafeTensors"])
def test_weights_as_safetensors(saved, tmp_path, suffix):
    network, path = saved
    save_weights(tmp_path / f"b{suffix}", network, about="made in a test")
    weights = network_weights(network)
    # Their own library finds the arrays under the names of the network.
    found = safetensors.numpy.load_file(str(tmp_path / f"b{suffix}"))
    assert found.keys() == weights.keys() and all((found[name] == weights[name]).all() for name in weights)
    (tmp_path / f"b{suffix}").rename(tmp_path / "any.name")  # the content decides
    loaded = load_network(tmp_path / "any.name")
    assert loaded.architecture == network.architecture and fingerprint(loaded) == fingerprint(network)
    first = (tmp_path / "any.name").read_bytes()
    save_weights(tmp_path / "c.safetensors", load_network(path), about="made in a test")
    assert (tmp_path / "c.safetensors").read_bytes() == first


@pytest.fixture
def convert_to(tmp_path, capsys):
    """convert_to(source, name, *words) -> (the file or None, what was printed)."""

    def run(source, name, *words):
        output = tmp_path / name
        status = command.main([str(source), "--output", str(output), *words])
        printed = capsys.readouterr()
        assert status == (0 if printed.err == "" else 2) and printed.err.count("\n") == (status > 0)
        return output if output.exists() else None, printed.err or printed.out

    return run


def test_weights_are_converted_there_and_back(saved, convert_to):
    _, path = saved
    there, _ = convert_to(path, "there.safetensors")
    back, _ = convert_to(there, "back.pdparams")
    assert back.read_bytes() == path.read_bytes()  # with what was said about them
    named, _ = convert_to("adaattn_lite_video", "named.safetensors", "--about", "the video model")
    assert load_network(named).architecture["attention"] == "cosine"
    for source, name, words, sentence in (
        (path, "b.txt", (), "weights are kept in .pdparams or .safetensors files"),
        (path, "b.style", (), "weights are kept in .pdparams or .safetensors files"),
        (path, "b.safetensors", ("--attention", "softmax"), "leave out --encoder, --attention and --conventions"),
        (there, "there.safetensors", (), "is a file to read"),
        ("adaattn_lite_vidoe", "b.safetensors", (), "did you mean 'adaattn_lite_video'"),
    ):
        made, printed = convert_to(source, name, *words)
        assert sentence in printed and (made is None or made == there)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: data[:-1], "cut short or another file"),
        (lambda data: data + b"more", "cut short or another file"),
        (lambda data: data[:100], "cut short or another file"),
        (lambda data: safetensors.numpy.save({"a": np.zeros(3, "float32")}), "of another program"),
        (lambda data: safetensors.numpy.save({}, {"ppadaattn": "[1"}), "cut short or another file"),
        (lambda data: safetensors.numpy.save({}, {"ppadaattn": "[" * 500_000}), "cut short or another file"),
        (lambda data: safetensors.numpy.save({}, {"ppadaattn": '{"a":' * 300 + "1" + "}" * 300}), "nests too deep"),
        (lambda data: safetensors.numpy.save({}, {"ppadaattn": "3"}), "cut short or another file"),
        (lambda data: safetensors.numpy.save({}, {"ppadaattn": '{"format": [1]}'}), "does not hold 'ppadaattn weig"),
        (
            lambda data: safetensors.numpy.save({"a": np.zeros(3)}, {"ppadaattn": "{}"}),
            "has the type F64, expected F32",
        ),
        (lambda data: safetensors.numpy.save({"a.b": np.float32([3])}, {"ppadaattn": "{}"}), "another file: 'a'"),
        (lambda data: safetensors.numpy.save({"a": np.float32([3])}, {"ppadaattn": '{"a": 1}'}), "a has no place"),
        (lambda data: (2**40).to_bytes(8, "little") + data[8:], "cut short or another file"),
        (lambda data: data[:8] + b"{" * len(data[8:]), "cut short or another file"),
    ],
)
def test_other_safetensors_are_refused(saved, change, sentence):
    network, path = saved
    save_weights(path.with_suffix(".safetensors"), network)
    data = path.with_suffix(".safetensors").read_bytes()
    path.write_bytes(change(data))
    with pytest.raises(InputError, match=sentence) as error:
        load_network(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


@pytest.fixture
def style(tmp_path):
    """(network, path of a style file: a mixture with a region)."""
    network = AdaAttNNetwork(width=1 / 32, levels=[3, 4], attention="cosine", conventions="release")
    with paddle.no_grad():
        one, two = (network.prepare_style(paddle.rand([1, 3, side, 24])) for side in (16, 40))
        mixed = Style.mix([one, two], [1, 3]).as_region((255, 0, 0))
    mixed.fingerprint = fingerprint(network)
    save_style(tmp_path / "a.style", mixed)
    return network, tmp_path / "a.style"


def leaf(content):
    return content["levels"]["3"]["states"][0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c["levels"].pop("4"), "it has the levels 3, the model 3, 4"),
        (lambda c: c["levels"].update({"5": c["levels"]["4"]}), "it has the levels 3, 4, 5"),
        (lambda c: c["levels"].update({"3": c["levels"]["4"]}), "has the shape .*, expected"),
        (lambda c: c["regions"][0]["levels"].pop("4"), "it has the levels 3"),
        (lambda c: c["regions"][0].update(colour=[1, 2]), "three numbers from 0 to 255"),
        (lambda c: c["regions"][0].update(colour=[1, 2, 300]), "three numbers from 0 to 255"),
        (lambda c: c["regions"][0].update(colour="red"), "three numbers from 0 to 255"),
        (lambda c: c.update(regions=3), "describes no style of this model"),
        (lambda c: c.update(levels=[3]), "it has the levels|describes no style of this model"),
        (lambda c: c["levels"]["3"].update(weights=[1.0]), "one for each style, which sum to 1"),
        (lambda c: c["levels"]["3"].update(weights=[0.5, 0.75]), "one for each style, which sum to 1"),
        (lambda c: c["levels"]["3"].update(weights=[2, -1]), "one for each style, which sum to 1"),
        (lambda c: c["levels"]["3"].update(weights=["1", "0"]), "one for each style, which sum to 1"),
        (lambda c: c["levels"]["3"].update(states=[], weights=[]), "one for each style, which sum to 1"),
        (lambda c: c["levels"]["3"].update(kind="other"), "describes no style of this model"),
        (lambda c: leaf(c).update(kind="softmax"), "kind is softmax, expected cosine"),
        (lambda c: leaf(c).pop("centre"), "a state has kind, products, sums, count, eps, expected|a state has"),
        (lambda c: leaf(c).update(eps=0.5), "eps is 0.5, expected 1e-05"),
        (lambda c: leaf(c).update(count=0), "count is no count of points"),
        (lambda c: leaf(c).update(count="many"), "count is no count of points"),
        (lambda c: leaf(c).update(centre=leaf(c)["centre"][:, :-1]), r"centre has the shape \[1, 7, 1\], expected 8"),
        (lambda c: leaf(c).update(centre=leaf(c)["centre"][0]), "centre is no array of float32 with 3 dimensions"),
        (lambda c: leaf(c).update(centre=leaf(c)["centre"] * np.float32(np.nan)), "does not hold finite"),
        (lambda c: leaf(c).update(centre=leaf(c)["centre"].astype("float64")), "has the type F64, expected F32 or I64"),
        (lambda c: leaf(c).update(centre=[1.0]), "centre is no array of float32 with 3 dimensions"),
    ],
)
def test_styles_with_a_right_digest_that_do_not_fit(style, change, sentence):
    network, path = style
    load_style(path, network)
    rewrite_style(path, change)
    with pytest.raises(InputError, match=sentence) as error:
        load_style(path, network)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda tensors: tensors.update(centres=tensors["centres"] + 1), "positions reach beyond the 15 of"),
        (lambda tensors: tensors.update(centres=tensors["centres"] - 1), "positions reach beyond the 15 of"),
        (lambda tensors: tensors.update(centres=tensors["centres"].astype("float32")), "no array of int64 with 2"),
        (lambda tensors: tensors.update(mean=tensors["mean"].astype("int64")), "no array of float32 with 4"),
        (lambda tensors: tensors.pop("mean"), "a state has .*, expected mean, colour, whitened, centres"),
    ],
)
def test_positions_in_styles_of_another_method(tmp_path, change, sentence):
    network = AdaAttNNetwork(width=1 / 32, transform="avatarnet")
    with paddle.no_grad():
        style = network.prepare_style(paddle.rand([1, 3, 40, 24]))
        style.fingerprint = fingerprint(network)
        save_style(tmp_path / "a.style", style)
        restored, content = load_style(tmp_path / "a.style", network), paddle.rand([1, 3, 20, 30])
        np.testing.assert_array_equal(
            network.stylize(content, restored).numpy(), network.stylize(content, style).numpy()
        )
    level = str(max(style.states))
    rewrite_style(tmp_path / "a.style", lambda content: change(content["levels"][level]["tensors"]))
    with pytest.raises(InputError, match=sentence):
        load_style(tmp_path / "a.style", network)


def test_points_of_softmax_styles_must_agree(tmp_path):
    network = AdaAttNNetwork(width=1 / 32, levels=[3], attention="softmax")
    with paddle.no_grad():
        style = network.prepare_style(paddle.rand([1, 3, 40, 24]))
    style.fingerprint = fingerprint(network)
    save_style(tmp_path / "a.style", style)
    rewrite_style(tmp_path / "a.style", lambda c: c["levels"]["3"].update(key=c["levels"]["3"]["key"][:, :, :5]))
    with pytest.raises(InputError, match=r"has the shape \[1, \d+, 60\], expected 5"):
        load_style(tmp_path / "a.style", network)


def test_mixtures_of_mixtures_have_an_end(style):
    network, path = style

    def nest(content):
        for level in content["levels"]:
            for _ in range(33):
                content["levels"][level] = {"kind": "mixed", "weights": [1.0], "states": [content["levels"][level]]}

    rewrite_style(path, nest)
    with pytest.raises(InputError, match="nests too deep|one for each style"):
        load_style(path, network)


def write_pickled_style(path, style):
    """As versions before safetensors wrote styles."""
    content = {"format": PICKLED_STYLE, **style_contents(style)}
    path.write_bytes(pickle.dumps({**content, "digest": digest(content)}, 4))


def test_pickled_styles_are_converted(style, tmp_path, convert_to):
    network, path = style
    kept = load_style(path, network)
    write_pickled_style(tmp_path / "old.style", kept)
    with pytest.raises(InputError, match="ppadaattn convert old.style --output new.style") as error:
        load_style(tmp_path / "old.style", network)
    assert str(error.value).count("old.style is a style file of an earlier version") == 1
    new, _ = convert_to(tmp_path / "old.style", "new.style")
    assert new.read_bytes() == path.read_bytes()
    for source, name, words, sentence in (
        (tmp_path / "old.style", "b.pdparams", (), "is a style; give it a name that ends in .style"),
        (tmp_path / "old.style", "b.style", ("--about", "x"), "leave out"),
        (new, "b.style", (), "holds 'ppadaattn style 2', not 'ppadaattn style 1'"),
        (tmp_path / "none.style", "b.style", (), "there is no file"),
    ):
        made, printed = convert_to(source, name, *words)
        assert made is None and sentence in printed
    kept.states[3].states[0].centre = kept.states[3].states[0].centre.astype("float64")
    write_pickled_style(tmp_path / "old.style", kept)
    made, printed = convert_to(tmp_path / "old.style", "b.style")
    assert made is None and "expected float32" in printed


def test_style_files_are_told_from_pictures(style, tmp_path):
    _, path = style
    whole = path.read_bytes()
    assert is_style_data(whole) and is_style_data(whole[:999]) and is_style_data(pickle.dumps({}))
    for suffix in ("png", "jpg", "gif", "bmp", "webp", "tiff"):
        Image.new("RGB", (20, 123)).save(tmp_path / f"a.{suffix}")  # 123 is where a header's { would be in a GIF
        assert not is_style_data((tmp_path / f"a.{suffix}").read_bytes())
    assert not is_style_data(b"") and not is_style_data(b"GIF89a\x20\x00{\x22")


# Bombs ---------------------------------------------------------------------------------------------------------------


def test_a_small_file_cannot_claim_a_large_network(saved):
    _, path = saved
    rewrite(path, lambda content: content["architecture"].update(width=4.0))
    with pytest.raises(InputError, match=r"cannot be built: it needs more than \d+ numbers, and has \d+"):
        load_network(path)


def write_npz(path, members, compression=zipfile.ZIP_DEFLATED):
    """A zip file of {name: (beginning, how many zeros follow)}."""
    with zipfile.ZipFile(path, "w", compression, allowZip64=True) as archive:
        for name, (start, zeros) in members.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(start)
                while zeros:
                    member.write(bytes(min(zeros, 2**24)))
                    zeros -= min(zeros, 2**24)


def npy(shape, descr="<f4", order="False"):
    header = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header


def test_archives_are_sized_before_they_are_unpacked(tmp_path, monkeypatch):
    """Nothing is unpacked but headers: the claim of a header, the directory, and the members that are no weights."""
    largest = []
    real = zipfile.ZipExtFile.read

    def watched(self, count=-1):
        found = real(self, count)
        largest.append(len(found))
        return found

    monkeypatch.setattr(zipfile.ZipExtFile, "read", watched)
    monkeypatch.setattr(convert, "MOST_NUMBERS", 2**20)
    weight = f"{FIRST}.npy"
    for members, sentence in (
        ({weight: (npy((2**23,)), 2**25)}, "it unpacks to 8388608 numbers"),
        ({f"encoder.{x}.npy": (npy((2**19,)), 2**21) for x in "abc"}, "it unpacks to 1572864 numbers"),
        ({weight: (npy((2**19,)), 2**25)}, "which do not fit its shape"),
        ({weight: (npy((2**40, 2**30)), 100)}, "which do not fit its shape"),
        ({weight: (npy((3, 3)), 0)}, "which do not fit its shape"),
        ({weight: (npy((-1,)), 4)}, "does not hold finite real numbers"),
        ({weight: (npy("(" * 200), 4)}, "does not hold finite real numbers"),
        ({weight: (npy((1,), "|O"), 8)}, "does not hold finite real numbers"),
        ({weight: (npy((1,), ">f4"), 4)}, "does not hold finite real numbers"),
        ({weight: (npy((1,), "<f8,<f8"), 16)}, "does not hold finite real numbers"),
        ({weight: (b"\x93NUMPY\2\0" + b"\xff" * 4, 2**25)}, "does not hold finite real numbers"),
        ({weight: (b"", 2**25)}, "is no array"),
    ):
        write_npz(tmp_path / "a.npz", members)
        with pytest.raises(InputError, match=sentence) as error:
            read_arrays(tmp_path / "a.npz")
        assert "\n" not in str(error.value) and max(largest) < 2**12
    write_npz(tmp_path / "a.npz", {"stray.npy": (npy((2**23,)), 2**25), "readme.txt": (b"", 2**25)})
    assert read_arrays(tmp_path / "a.npz") == {} and max(largest) < 2**12


def test_the_bound_of_archives_is_above_the_largest_network():
    numbers = sum(array.size for array in network_weights(AdaAttNNetwork(width=1 / 4)).values())
    assert numbers * (4 * 4) ** 2 < convert.MOST_NUMBERS < 2**30
