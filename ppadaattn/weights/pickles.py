"""Pickles of plain values and arrays, read without running them.

A pickle is a program: it may import and call what it likes, and even the few functions of numpy that arrays need take
a state that is not checked (a dtype with object fields turns raw bytes into Python objects). So neither `pickle` nor
numpy sees such a file. `Reader` follows the operations that pickles of dicts, lists, numbers, text and arrays consist
of, and keeps a description of each array: its bytes, type and shape. When the whole has been found sound, the arrays
are made from their bytes by `array_of`, the one place where that happens.
"""

import math
import pickletools

from ppadaattn.errors import one_line

import numpy as np

# A checkpoint of the paper's network has some 20,000 operations; more than this takes seconds to follow.
MOST_OPERATIONS = 2**18
# Checkpoints nest six deep.
MOST_DEPTH = 32
# Arrays and names may be referred to more than once, as in a checkpoint whose average is still the weights. A file that
# refers to one array a million times is refused.
MOST_GROWTH = 8

TYPES = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])
MOST_DIMENSIONS = 8


class PickleError(ValueError):
    """A pickle that holds more than plain values and arrays, or is damaged. Messages continue a sentence: 'it ...'."""


def array_of(raw, kind, shape, *, fortran=False, order="<"):
    """The read-only array of raw bytes, the only way from a file to numpy.

    Args:
        raw: bytes.
        kind: of TYPES, such as 'f4'.
        shape: list or tuple of sizes.
        fortran: whether the first axis varies fastest.
        order: of bytes, '<' or '>'.

    Raises PickleError unless these fit together.
    """
    if not isinstance(raw, (bytes, bytearray)) or not isinstance(kind, str) or kind not in TYPES or order not in "<>":
        raise PickleError("it has an array of another type than numbers (b, i, u, f of 1 to 8 bytes)")
    if not is_shape(shape):
        raise PickleError("it has an array whose shape is no tuple of sizes")
    if len(raw) != math.prod(shape) * int(kind[1]):
        raise PickleError(f"it has an array of {len(raw)} bytes for the shape {list(shape)} of {kind}")
    if kind == "b1" and raw and max(raw) > 1:
        raise PickleError("it has truth values that are neither 0 nor 1")
    return np.frombuffer(raw, f"{order}{kind}").reshape(shape, order="F" if fortran is True else "C")


def is_shape(shape):
    """Whether it is a list or tuple of sizes that an array can have."""
    sizes = isinstance(shape, (list, tuple)) and len(shape) <= MOST_DIMENSIONS
    return sizes and all(type(size) is int and 0 <= size < 2**31 for size in shape)


class Later:
    """Stands for an array until the whole file is known: `nbytes` says what it will need, `make()` gives it."""

    nbytes = 0

    def set_state(self, state):
        raise PickleError("it changes a value that has no state")

    def make(self):
        raise PickleError("it holds a type where a value belongs")


class _Type(Later):
    """numpy.dtype: one of TYPES, in this byte order; no fields, no objects, no metadata."""

    def __init__(self, text, *flags):
        self.kind = text.lstrip("<=|") if isinstance(text, str) else None

    def set_state(self, state):
        # (version, order, subarray, names, fields, item size or -1, alignment or -1, flags[, metadata])
        plain = isinstance(state, tuple) and len(state) >= 8 and state[1] in ("<", "|", "=")
        if not plain or any(value is not None for value in (*state[2:5], *state[8:])) or state[5:8] != (-1, -1, 0):
            raise PickleError("it has an array of a type that is more than little-endian numbers")


class _Array(Later):
    """numpy.ndarray: bytes, type and shape."""

    def __init__(self, raw=None, kind=None, shape=None, fortran=False):
        self.raw, self.type, self.shape, self.fortran = raw, kind, shape, fortran

    def set_state(self, state):
        if not isinstance(state, tuple) or len(state) != 5:
            raise PickleError("it has an array whose state is another one than numpy's")
        _, self.shape, self.type, self.fortran, self.raw = state

    @property
    def nbytes(self):
        return len(self.raw) if isinstance(self.raw, (bytes, bytearray)) else 0

    def make(self):
        kind = self.type.kind if isinstance(self.type, _Type) else None
        return array_of(self.raw, kind, self.shape, fortran=self.fortran)


def _frombuffer(raw, kind, shape, order):
    return _Array(raw, kind, shape, order == "F")


def _reconstruct(*_):
    return _Array()


def _encode(text, encoding):
    """Bytes as protocol 2 writes them."""
    if not isinstance(text, str) or encoding != "latin1":
        raise PickleError("it encodes text otherwise than pickles do")
    return text.encode("latin1")


def _no_bytes():
    """As protocol 2 writes b""."""
    return b""


# What pickles of arrays refer to, under the names of numpy 1 and 2, and what is done here in its place.
NAMES = {
    ("numpy", "ndarray"): Later(),
    ("numpy", "dtype"): _Type,
    ("collections", "OrderedDict"): dict,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
}
for _core in ("numpy.core", "numpy._core"):
    NAMES[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    NAMES[f"{_core}.numeric", "_frombuffer"] = _frombuffer

_MARK = object()
_INTEGERS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4")
_TEXTS = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
_BYTES = ("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8")
_VALUES = frozenset([*_INTEGERS, *_TEXTS, *_BYTES, "BINFLOAT"])
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "MARK": _MARK}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}


class Reader:
    """Reads one pickle.

    Args:
        names: {(module, name): what stands for it}, a function of ours or a plain value.
        persistent: gives what a persistent id, a tuple, stands for.
    """

    def __init__(self, names=NAMES, persistent=None):
        self._names, self._persistent = names, persistent
        self._stack, self._memo = [], {}

    def read(self, file, size):
        """The value of a pickle in a binary file open at its beginning; `size` is that of the whole file in bytes.

        Raises PickleError, and ValueError where the pickle is cut short.
        """
        for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if count > MOST_OPERATIONS:
                raise PickleError(f"it has more than {MOST_OPERATIONS} operations")
            try:
                self._follow(operation.name, argument)
            except (IndexError, KeyError, TypeError):
                raise PickleError(f"its operation {operation.name} has nothing to work on") from None
        value = self._stack.pop()  # STOP has found it there
        self._values, self._bytes = MOST_OPERATIONS, MOST_GROWTH * size
        return self._finished(value, MOST_DEPTH)

    def _follow(self, name, argument):
        stack = self._stack
        if name in _VALUES:
            if isinstance(argument, int) and not -(2**63) <= argument < 2**64:
                raise PickleError("it has a number of more than 64 bits")
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name == "STOP":
            stack[-1]
        elif name in ("PROTO", "FRAME"):
            pass
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "TUPLE":
            stack.append(tuple(self._above_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            values = self._plain(stack[-count:])
            stack[-count:] = [tuple(values)]
        elif name in ("LIST", "DICT"):
            values = self._above_mark()
            stack.append(values if name == "LIST" else self._set_items({}, values))
        elif name == "APPEND":
            value = self._plain([stack.pop()])
            self._extend(stack[-1], value)
        elif name == "APPENDS":
            values = self._above_mark()
            self._extend(stack[-1], values)
        elif name == "SETITEM":
            values = self._plain(stack[-2:])
            del stack[-2:]
            self._set_items(stack[-1], values)
        elif name == "SETITEMS":
            values = self._above_mark()
            self._set_items(stack[-1], values)
        elif name == "GLOBAL":
            module, _, name = argument.partition(" ")
            stack.append(self._named(module, name))
        elif name == "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
            stack.append(self._named(module, name))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            if not callable(function) or type(arguments) is not tuple or (function is dict and arguments):
                raise PickleError("it calls something that is no function")
            stack.append(function(*arguments))
        elif name == "BUILD":
            state = stack.pop()
            if type(stack[-1]) is not dict:  # the attributes of an OrderedDict are left out
                stack[-1].set_state(state) if isinstance(stack[-1], Later) else Later().set_state(state)
        elif name == "BINPERSID" and self._persistent:
            stack.append(self._persistent(stack.pop()))
        else:
            raise PickleError(f"it has the operation {name}, which dicts of arrays do not need")

    def _above_mark(self):
        """Take what is above the last mark, and the mark, off the stack."""
        values = []
        while self._stack[-1] is not _MARK:
            values.append(self._stack.pop())
        self._stack.pop()
        return values[::-1]

    @staticmethod
    def _plain(values):
        if any(value is _MARK for value in values):
            raise PickleError("it has a mark where a value belongs")
        return values

    @staticmethod
    def _extend(target, values):
        if type(target) is not list:
            raise PickleError("it appends to something that is no list")
        target.extend(values)

    @staticmethod
    def _set_items(target, values):
        if type(target) is not dict or len(values) % 2:
            raise PickleError("it puts names into something that is no dict")
        for key, value in zip(values[::2], values[1::2]):
            # Others, such as tuples of tuples, can take forever to hash.
            if type(key) not in (str, int):
                raise PickleError(f"it has a key of the type {type(key).__name__}, where names and numbers belong")
            target[key] = value
        return target

    def _named(self, module, name):
        found = self._names.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if found is None:
            raise PickleError(f"it refers to {one_line(f'{module}.{name}', 100)}")
        return found

    def _finished(self, value, depth):
        """A copy of a value with its arrays made; PickleError where that would take far more than the file holds."""
        self._values -= 1
        self._bytes -= value.nbytes if isinstance(value, Later) else len(value) if type(value) is str else 0
        if self._values < 0 or self._bytes < 0 or depth < 0:
            raise PickleError("it unfolds to far more than its size, or without an end")
        if isinstance(value, Later):
            return value.make()
        if type(value) is dict:
            self._bytes -= sum(len(key) for key in value if type(key) is str)
            return {key: self._finished(item, depth - 1) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self._finished(item, depth - 1) for item in value)
        if value is None or type(value) in (bool, int, float, str):
            return value
        raise PickleError(f"it holds a value of the type {type(value).__name__}")
