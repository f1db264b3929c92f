"""Pickles from strangers: followed, never run; no array is made before its bytes, type and shape are checked."""

import collections
import io
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys

from ppadaattn.errors import InputError
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.weights import pickles
from ppadaattn.weights.checkpoint import load_checkpoint, load_network, load_style, read_plain, save_weights
from ppadaattn.weights.pickles import PickleError, Reader, array_of

import numpy as np
import pytest
from conftest import ENVIRONMENT

RECONSTRUCT = np.empty(0).__reduce__()[0]
NUMBERS = np.arange(6, dtype="float32")


class Call:
    """Pickled as the call of a function, and a state for what it gives."""

    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


def dtype(text, *state):
    return Call(np.dtype, text, False, True, state=state or (3, "<", None, None, None, -1, -1, 0))


def array(shape, kind, raw, order=False):
    return Call(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, shape, kind, order, raw))


def read(data):
    return Reader().read(io.BytesIO(data), len(data))


def refusal(value, protocol=4):
    data = value if isinstance(value, bytes) else pickle.dumps(value, protocol)
    with pytest.raises(ValueError) as error:
        read(data)
    return str(error.value)


# What is read ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_and_arrays_are_those_that_python_reads(protocol):
    rng = np.random.RandomState(0)
    arrays = {
        kind: rng.randint(0, 2, (2, 3, 4)).astype(kind) if kind == "bool" else (9 * rng.randn(2, 3, 4)).astype(kind)
        for kind in ("bool", "int8", "uint8", "int16", "int64", "uint32", "float16", "float32", "float64")
    }
    value = {
        "arrays": arrays,
        "views": [np.asfortranarray(arrays["float32"]), arrays["float64"][:, 1], np.float32([]), np.zeros((3, 0))],
        "scalar": np.array(2.5),
        "plain": [1, -1, 300, -(2**40), 2**63, 0.5, True, False, None, "text é", (), (1,), (1, 2), (1, 2, 3, 4), []],
        "ordered": collections.OrderedDict([("b", 1), ("a", {3: "three"})]),
        "many": {str(number): number for number in range(2000)},
    }
    data = pickle.dumps(value, protocol)
    found, expected = read(data), pickle.loads(data)
    assert found.keys() == expected.keys() and type(found["ordered"]) is dict
    for name in ("plain", "ordered", "many"):
        assert found[name] == expected[name] and [*map(type, found["plain"])] == [*map(type, expected["plain"])]
    pairs = [(found["scalar"], value["scalar"]), *zip(found["views"], value["views"])]
    for one, other in [*pairs, *((found["arrays"][kind], arrays[kind]) for kind in arrays)]:
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_array_equal(one, other)


def test_one_array_under_two_names():
    found = read(pickle.dumps({"a": NUMBERS, "b": NUMBERS}))
    np.testing.assert_array_equal(found["b"], NUMBERS)


# What would run code -----------------------------------------------------------------------------------------------


CRAFTED = """
import pickle, struct, sys
import numpy as np
from ppadaattn.errors import InputError
from ppadaattn.model.vgg import Encoder
from ppadaattn.weights.convert import encoder_arrays
from test_pickles import array, crafted

class Payload:
    def __float__(self):
        open("ran", "w").close()
        return 0.0

payload = Payload()
for kind in crafted():
    with open("crafted.pdparams", "wb") as file:
        pickle.dump({"0.weight": array((1,), kind, struct.pack("P", id(payload)))}, file)
    try:
        encoder_arrays("crafted.pdparams", Encoder(1 / 64))
    except InputError as error:
        print(error)
"""


def crafted():
    """Types that turn raw bytes into objects: alone, as a field, as one of two; their flags say that they do not."""
    field = {"a": (np.dtype("O"), 0)}
    yield dtype("O8", 3, "|", None, None, None, -1, -1, 0)
    yield dtype("V8", 3, "|", None, ("a",), field, 8, 1, 0)
    yield dtype("V8", 3, "|", None, ("a", "b"), {**field, "b": (np.dtype("u1"), 0)}, 8, 8, 16)


@pytest.mark.parametrize("randomized", [True, False])
def test_raw_bytes_never_become_objects(tmp_path, randomized):
    """The file points at an object whose conversion to a number writes a file: its bytes are the object's address."""
    words = [sys.executable, "-c", CRAFTED]
    if not randomized:
        fixed = ["setarch", "-R"]
        if not shutil.which("setarch") or subprocess.run([*fixed, "true"], capture_output=True).returncode:
            pytest.skip("addresses cannot be fixed here")
        words = fixed + words
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([ENVIRONMENT["PYTHONPATH"], os.path.dirname(__file__)])}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and all("it has an array of a" in line and "type" in line for line in lines)
    assert not (tmp_path / "ran").exists()


class Touched:
    """In numpy's place: nothing of it may be used."""

    def __getattr__(self, name):
        raise AssertionError(f"numpy.{name} was used")


@pytest.mark.parametrize("kind", list(crafted()), ids=["object", "field", "fields"])
def test_a_file_is_refused_before_numpy_sees_it(monkeypatch, kind):
    data = pickle.dumps({"a": array((1,), kind, struct.pack("P", 1))})
    monkeypatch.setattr(pickles, "np", Touched())
    assert "it has an array of a" in refusal(data)


def test_names_of_others_are_refused():
    for data, name in (
        (b"\x80\x02cos\nsystem\n.", "os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),
        (pickle.dumps(Call(np.frombuffer, b"1234", "f4")), "numpy.*frombuffer"),
        (pickle.dumps({"a": np.float64(1)}), "multiarray.scalar"),
        (pickle.dumps({1, 2}, 2), "set"),
        (b"\x80\x02cos\nsys\x1b[2Jtem" + b"m" * 5000 + b"\n.", r"os\.sys\\x1b"),
    ):
        with pytest.raises(PickleError, match=f"^it refers to .*{name}") as error:
            read(data)
        assert len(str(error.value)) < 150 and str(error.value).isprintable()


# What would read other memory, or fill it --------------------------------------------------------------------------


def shared(depth, make):
    """A value that refers to the one before it twice, `depth` times."""
    value = make([])
    for _ in range(depth):
        value = make([value, value])
    return value


SELF = []
SELF.append(SELF)
F4 = dtype("f4")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (array((2,), dtype("V8", 3, "|", None, ("a",), {"a": (np.dtype("f8"), 4096)}, 8, 1, 0), bytes(16)), "a type"),
        (
            array((2,), dtype("V8", 3, "|", (np.dtype("f4"), (2,)), None, None, 8, 1, 0), bytes(16)),
            "a type that is more",
        ),
        (array((2,), dtype("f4", 4, "<", None, None, None, -1, -1, 0, {"a": 1}), bytes(8)), "a type that is more"),
        (array((2,), dtype("f4", 3, ">", None, None, None, -1, -1, 0), bytes(8)), "little-endian"),
        (array((2,), dtype("f4", 3, "<", None, None, None, 400, -1, 0), bytes(8)), "a type that is more"),
        (array((2,), dtype("f4", 3), bytes(8)), "a type that is more"),
        (array((1,), dtype("U2"), bytes(8)), "another type than numbers"),
        (array((1,), dtype("M8"), bytes(8)), "another type than numbers"),
        (array((1,), dtype("c8"), bytes(8)), "another type than numbers"),
        (array((1,), dtype("f8,f8"), bytes(16)), "another type than numbers"),
        (array((1,), Call(np.dtype, {"names": ["a"], "formats": ["f4"], "offsets": [4096]}), bytes(8)), "another type"),
        (array((1,), "f4", bytes(4)), "another type than numbers"),
        (array((3,), F4, bytes(8)), "8 bytes for the shape"),
        (array((2**40, 2**40), F4, bytes(8)), "no tuple of sizes"),
        (array((-1,), F4, bytes(4)), "no tuple of sizes"),
        (array((True, 2), F4, bytes(8)), "no tuple of sizes"),
        (array((1.0, 2), F4, bytes(8)), "no tuple of sizes"),
        (array((1,) * 40, F4, bytes(4)), "no tuple of sizes"),
        (array(2, F4, bytes(8)), "no tuple of sizes"),
        (array((2,), F4, "12345678"), "another type than numbers"),
        (array((2,), F4, [1.0, 2.0]), "another type than numbers"),
        (array((2,), dtype("b1"), b"\1\2"), "neither 0 nor 1"),
        (Call(np.ndarray, (2**28,), F4, b"1234", 0, (0,)), "no function"),  # a stride of 0
        (Call(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (1,), F4)), "another one than numpy's"),
        (Call(RECONSTRUCT, np.ndarray, (0,), b"b"), "another type than numbers"),
        ({"a": F4}, "a type where a value belongs"),
        (Call(collections.OrderedDict, [("a", 1)]), "no function"),
        ({"a": np.ndarray}, "a type where a value belongs"),
        ({(1, 2): 1}, "key of the type tuple"),
        ({shared(18, tuple): 1}, "key of the type tuple"),  # of a hundred, the hash would never be known
        ({None: 1}, "key of the type NoneType"),
        ({0.5: 1}, "key of the type float"),
        ({b"a": 1}, "key of the type bytes"),
        ({"a": b"raw"}, "a value of the type bytes"),
        ({"a": {1, 2}}, "operation EMPTY_SET"),
        ({"a": 2**64}, "more than 64 bits"),
        ({"a": 1 << 100_000}, "more than 64 bits"),
        (shared(40, list), "without an end"),
        (shared(40, tuple), "without an end"),
        (SELF, "without an end"),
        ([np.zeros(1000)] * 100, "far more than its size"),
        (["word" * 1000] * 100, "far more than its size"),
        ([{"key" * 1000: 1}] * 100, "far more than its size"),
        (b"\x80\x04" + b"]" * 1000 + b"a" * 999 + b".", "without an end"),
        (b"\x80\x04)" + b"\x85" * 100_000 + b".", "without an end"),
        (b"\x80\x04" + b"N0" * 200_000 + b"N.", "operation POP"),
        (b"\x80\x04N" + b"r\xff\xff\xff\x7f" * 300_000 + b".", "more than 262144 operations"),
        (b"\x80\x04h\x05.", "nothing to work on"),
        (b"\x80\x04}(\x8c\x01a(Nu.", "no dict"),
        (b"\x80\x04(.", "holds a value"),
        (b"\x80\x04.", "nothing to work on"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x00abc", "expected .* bytes"),
        (b"\x80\x04N}b.", "no state"),
        (b"\x80\x04NK\x01R.", "no function"),
        (b"\x80\x04NK\x01a.", "no list"),
        (b"hello", "nothing to work on"),
        (b"no pickle", "opcode"),
        (b"", "exhausted"),
    ],
)
def test_what_is_refused(value, sentence):
    data = value if isinstance(value, bytes) else pickle.dumps(value, 4)
    message = refusal(data)
    assert re.search(sentence, message), message


def test_a_memo_of_large_numbers_needs_no_memory():
    """Python's own reader makes a list up to the number: 16 GB for these ten bytes."""
    assert read(b"\x80\x04Nr\xff\xff\xff\x7f.") is None


def test_whatever_a_file_holds_the_answer_is_one_sentence(tmp_path):
    """`format` as a list or an array, values that contain themselves, nesting without an end."""
    values = [{"format": value} for value in ([1], NUMBERS, {"a": 1}, None, 1, SELF)] + [SELF, 3, NUMBERS, None, "a"]
    network = None
    for value in [*values, b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b"."]:
        path = tmp_path / "a.pdparams"
        path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value))
        for load in (load_network, load_checkpoint, lambda path: load_style(path, network, "a")):
            with pytest.raises(InputError) as error:
                load(path)
            assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_arrays_are_made_of_checked_bytes_alone():
    np.testing.assert_array_equal(array_of(NUMBERS.tobytes(), "f4", [2, 3]), NUMBERS.reshape(2, 3))
    np.testing.assert_array_equal(array_of(NUMBERS.tobytes(), "f4", [2, 3], fortran=True).T.ravel(), NUMBERS)
    np.testing.assert_array_equal(array_of(NUMBERS.astype(">f4").tobytes(), "f4", [6], order=">"), NUMBERS)
    for raw, kind, shape in ((b"1234", "O", [1]), (b"1234", "f4,f4", [1]), (b"1234", "f4", 1), ("1234", "f4", [1])):
        with pytest.raises(PickleError):
            array_of(raw, kind, shape)


def test_damaged_files_give_the_same_or_one_sentence(tmp_path):
    """Bytes changed at random: what is still read has the same digest, and so the same numbers."""
    network = AdaAttNNetwork(width=1 / 64, levels=[3], attention="cosine")
    save_weights(tmp_path / "whole.pdparams", network)
    whole = (tmp_path / "whole.pdparams").read_bytes()
    expected = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    rng = np.random.RandomState(0)
    operations = [place for place in range(len(whole)) if place < 2000 or place > len(whole) - 2000]
    for _ in range(150):
        changed = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            changed[operations[rng.randint(len(operations))]] = rng.randint(256)
        (tmp_path / "a.pdparams").write_bytes(changed)
        try:
            loaded = load_network(tmp_path / "a.pdparams")
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert all((tensor.numpy() == expected[name]).all() for name, tensor in loaded.state_dict().items())


def test_an_open_file_stands_for_a_path():
    assert read_plain(io.BytesIO(pickle.dumps({"a": 1}))) == {"a": 1}
