"""Tensors of PyTorch's files as numpy arrays. PyTorch itself is needed only for files older than version 1.6."""

import math
import pickle
import zipfile

from ppadaattn.errors import InputError, import_optional
from ppadaattn.weights.checkpoint import PlainUnpickler, reading

import numpy as np

# How files begin that torch.save has written: since PyTorch 1.6, and before.
ZIP = b"PK\x03\x04"
LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)

# numpy has no bfloat16: it is the upper half of a float32.
BFLOAT16 = "bfloat16"


def read_tensors(path):
    """{name: array} of a state dict that torch.save has written; `module.` of DataParallel is taken off the names.

    Files since PyTorch 1.6 are a zip file of a pickle and each storage's raw numbers. They are read here, and nothing
    but tensors and dicts is ever constructed. Older files are read by PyTorch, with the same restriction.

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


class _StateDict(dict):
    """In OrderedDict's place. What a module's state_dict has for an attribute, the layers' versions, is left out."""

    def __setstate__(self, state):
        pass


def _tensor(storage, offset, size, stride, *_):
    """torch._utils._rebuild_tensor_v2: a view into a storage. numpy refuses one that reaches beyond its end."""
    if math.prod(size) > storage.size:
        raise ValueError("a tensor is larger than what is stored of it")
    width = storage.itemsize
    return np.ndarray(size, storage.dtype, storage, offset * width, [step * width for step in stride])


def _parameter(tensor, *_):
    return tensor


class _TensorUnpickler(PlainUnpickler):
    allowed = {  # noqa: RUF012 - never changed
        ("collections", "OrderedDict"): _StateDict,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("torch", "FloatStorage"): "f4",
        ("torch", "HalfStorage"): "f2",
        ("torch", "BFloat16Storage"): BFLOAT16,
        ("torch", "DoubleStorage"): "f8",
        ("torch", "LongStorage"): "i8",
    }

    def __init__(self, file, read_storage):
        super().__init__(file)
        self._read_storage = read_storage
        self._storages = {}

    def persistent_load(self, identity):
        """The storage of a tensor: ('storage', type, key, device, count) is what the pickle says of it."""
        _, kind, key, *_ = identity
        if key not in self._storages:
            self._storages[key] = self._read_storage(kind, key)
        return self._storages[key]


def _from_zip(path):
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickled = next((name for name in names if name.endswith("/data.pkl")), None)
        if pickled is None:
            raise ValueError("there is no data.pkl in it")
        folder = pickled[: -len("data.pkl")]
        order = f"{folder}byteorder"
        order = ">" if order in names and archive.read(order) == b"big" else "<"

        def read_storage(kind, key):
            raw = archive.read(f"{folder}data/{key}")
            if kind == BFLOAT16:
                return (np.frombuffer(raw, f"{order}u2").astype("uint32") << 16).view("float32")
            return np.frombuffer(raw, f"{order}{kind}")

        with archive.open(pickled) as file:
            return _TensorUnpickler(file, read_storage).load()


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
