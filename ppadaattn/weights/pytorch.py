"""Tensors of PyTorch's files as numpy arrays. PyTorch itself is needed only for files older than version 1.6."""

import io
import pickle
import zipfile
from pathlib import Path

from ppadaattn.errors import InputError, import_optional
from ppadaattn.weights.checkpoint import reading
from ppadaattn.weights.pickles import Later, PickleError, Reader, array_of, is_shape

import numpy as np

# How files begin that torch.save has written: since PyTorch 1.6, and before.
ZIP = b"PK\x03\x04"
LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)

# numpy has no bfloat16: it is the upper half of a float32.
BFLOAT16 = "bfloat16"
WIDTHS = {"f2": 2, "f4": 4, "f8": 8, "i8": 8, BFLOAT16: 2}  # bytes of a number


def read_tensors(path):
    """{name: array} of a state dict that torch.save has written; `module.` of DataParallel is taken off the names.

    Files since PyTorch 1.6 are a zip file of a pickle and each storage's raw numbers. They are read here, and nothing
    in them is executed. Older files are read by PyTorch, which is told to take nothing but tensors and dicts.

    Raises InputError: a file that is missing, damaged or holds anything else; an older one where PyTorch is missing.
    """
    with reading(path, "a PyTorch checkpoint"):
        with open(path, "rb") as file:
            start = file.read(len(LEGACY))
        if start.startswith(ZIP):
            saved = _from_zip(path)
        elif start == LEGACY:
            saved = _by_pytorch(path)
        else:
            raise InputError(f"{path} is no PyTorch checkpoint: expected a file that torch.save has written")
    if not isinstance(saved, dict) or not all(
        isinstance(name, str) and isinstance(array, np.ndarray) for name, array in saved.items()
    ):
        raise InputError(f"{path} holds no state dict: expected names and their tensors, nothing else")
    parallel = "module."
    if all(name.startswith(parallel) for name in saved):
        return {name[len(parallel) :]: array for name, array in saved.items()}
    return dict(saved)


class _Storage:
    """The raw numbers that tensors are views of; read when a tensor is made."""

    def __init__(self, read, kind, count):
        self._read, self.kind, self.count = read, kind, count
        self._array = None

    def array(self):
        if self._array is None:
            self._array = self._read()
        return self._array


class _Tensor(Later):
    """torch._utils._rebuild_tensor_v2: a view into a storage, which must not reach beyond its end."""

    def __init__(self, storage, offset, size, stride, *_):
        # A stride is for each size; what is seen is no more than what is stored, so that nothing is repeated.
        fits = isinstance(storage, _Storage) and type(offset) is int and is_shape(size) and is_shape(stride)
        if not fits or len(size) != len(stride) or offset < 0:
            raise PickleError("it has a tensor that is no view of numbers")
        count = int(np.prod(size, dtype=object))
        last = offset + sum((length - 1) * step for length, step in zip(size, stride)) if count else 0
        if count > storage.count or (count and last >= storage.count):
            raise PickleError("it has a tensor that is larger than what is stored of it")
        self._view, self._storage = (offset, size, stride), storage
        self.nbytes = count * WIDTHS[storage.kind]

    def make(self):
        offset, size, stride = self._view
        array = self._storage.array()
        steps = [step * array.itemsize for step in stride]
        return np.ndarray(size, array.dtype, array, offset * array.itemsize if array.size else 0, steps)


def _parameter(tensor, *_):
    return tensor


NAMES = {
    ("collections", "OrderedDict"): dict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "FloatStorage"): "f4",
    ("torch", "HalfStorage"): "f2",
    ("torch", "BFloat16Storage"): BFLOAT16,
    ("torch", "DoubleStorage"): "f8",
    ("torch", "LongStorage"): "i8",
}


def _from_zip(path):
    size = Path(path).stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        pickled = next((name for name in members if name.endswith("/data.pkl")), None)
        if pickled is None:
            raise ValueError("there is no data.pkl in it")
        folder = pickled[: -len("data.pkl")]

        def member(name):
            """A member that may be read. torch.save compresses none, so that none is larger than the file."""
            if name not in members:
                raise ValueError(f"there is no {name} in it")
            if members[name].compress_type != zipfile.ZIP_STORED or members[name].file_size > size:
                raise ValueError(f"its member {name} is compressed")
            return members[name]

        order = f"{folder}byteorder"
        order = ">" if order in members and archive.read(member(order)) == b"big" else "<"
        storages = {}

        def storage(identity):
            """('storage', type, key, device, count) is what the pickle says of one."""
            if type(identity) is not tuple or len(identity) != 5:
                raise PickleError("it has a storage without type, name and size")
            _, kind, key, *_ = identity
            if not isinstance(kind, str) or kind not in WIDTHS or not isinstance(key, str):
                raise PickleError("it has a storage of an unknown type")
            if (kind, key) not in storages:
                raw = member(f"{folder}data/{key}")
                count = raw.file_size // WIDTHS[kind]
                storages[kind, key] = _Storage(lambda: _numbers(archive.read(raw), kind, order), kind, count)
            return storages[kind, key]

        return Reader(NAMES, storage).read(io.BytesIO(archive.read(member(pickled))), size)


def _numbers(raw, kind, order):
    if kind != BFLOAT16:
        return array_of(raw, kind, [len(raw) // WIDTHS[kind]], order=order)
    halves = array_of(raw, "u2", [len(raw) // 2], order=order)
    return (halves.astype("uint32") << 16).view("float32")


def _by_pytorch(path):
    extra = "'ppadaattn[convert]' (from a clone: pip install -e '.[convert]')"
    torch = import_optional("torch", extra, f"{path} is from before PyTorch 1.6: such files")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # a paragraph, and it tells how to have the code run
        raise ValueError("it refers to more than tensors") from None
    if not isinstance(saved, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in saved.values()):
        return None
    return {name: tensor.detach().float().numpy() for name, tensor in saved.items()}
