"""One file that is enough: weights with their architecture and preprocessing, and styles prepared for one network."""

import contextlib
import hashlib
import pickle

from ppadaattn.errors import InputError
from ppadaattn.files import atomic_write
from ppadaattn.model.attention import state_from_dict
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.model.style import Style

import numpy as np
import paddle

WEIGHTS = "ppadaattn weights 1"
STYLE = "ppadaattn style 1"
CHECKPOINT = "ppadaattn checkpoint 1"

# How files of styles are named, so that they can stand where pictures do.
STYLE_SUFFIX = ".style"

# What each kind of file is for, in the words of an error.
HINTS = {
    WEIGHTS: "carries its own architecture; expected such a file",
    STYLE: "`save_style` writes; expected such a file",
    CHECKPOINT: "a training writes as iter_N_checkpoint.pdparams and goes on from; weights alone are for --load",
}

# What the encoder takes, written into each file so that a reader in another language need not guess.
PREPROCESSING = {"layout": "NCHW", "channels": "RGB", "range": [0.0, 1.0]}

# What a pickle of plain values and numpy arrays refers to, under the names of numpy 1 and 2. Nothing else is ever
# constructed, so that a file from a stranger cannot run code.
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): dict,
}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = np.empty(0).__reduce__()[0]
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = np.empty(0).__reduce_ex__(5)[0]


class PlainUnpickler(pickle.Unpickler):
    """Constructs what `allowed` lists, {(module, name): what stands for it}, and nothing else."""

    allowed = _ALLOWED

    def find_class(self, module, name):
        try:
            return self.allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}") from None


def read_plain(path, kind="a dict of arrays"):
    """What a pickle of plain values and numpy arrays holds; InputError for any other file (`kind` is for its message).

    Nothing else is ever constructed. An open file can stand for the path.
    """
    with reading(path, kind), contextlib.nullcontext(path) if hasattr(path, "read") else open(path, "rb") as file:
        return PlainUnpickler(file).load()


@contextlib.contextmanager
def reading(path, kind):
    """Whatever goes wrong in the block, which reads the file `path` as a `kind`, becomes an InputError that says so."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise InputError(
            f"{path} cannot be read as {kind!r}: it is damaged, cut short or another file: {error}"
        ) from None


def _read(path, kind):
    saved = read_plain(path, kind)
    found = saved.get("format") if isinstance(saved, dict) else None
    if found != kind:
        holds = f"holds {found!r}, not {kind!r}" if found in HINTS else f"does not hold {kind!r}"
        raise InputError(f"{path} {holds}, which {HINTS[kind]}")
    if saved.pop("digest", None) != digest(saved):
        raise InputError(f"{path} is damaged: its numbers are not those that were saved; fetch or make it again")
    return saved


def _write(path, saved):
    with atomic_write(path) as temporary:
        paddle.save({**saved, "digest": digest(saved)}, str(temporary))


def digest(value):
    """SHA-256 (hex) of nested dicts and lists of arrays, numbers and strings; the order of keys does not matter."""
    sha = hashlib.sha256()
    if isinstance(value, dict):
        for key in sorted(value, key=repr):
            sha.update(f"{key!r}: {digest(value[key])}, ".encode())
    elif isinstance(value, (list, tuple)):
        for item in value:
            sha.update(f"{digest(item)}, ".encode())
    elif isinstance(value, np.ndarray):
        sha.update(f"{value.dtype.str} {value.shape}".encode())
        sha.update(np.ascontiguousarray(value).tobytes())
    else:
        sha.update(repr(value).encode())
    return sha.hexdigest()


def fingerprint(network):
    """SHA-256 (hex) of a network's architecture and weights: tells whether two networks are one."""
    return digest({"architecture": network.architecture, "weights": network_weights(network)})


def network_weights(network):
    """{name: float32 numpy array} of a network."""
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def save_weights(path, network, about=""):
    """Write a network to one .pdparams file, from which `load_network` builds it; whole or not there.

    The file is a pickled dict of plain values and arrays (`paddle.load` reads it too): format, architecture,
    preprocessing, about, weights, digest.

    Args:
        path: file name.
        network: an AdaAttNNetwork.
        about: where the weights come from, in a sentence or two.

    Raises InputError where it cannot be written.
    """
    saved = {
        "format": WEIGHTS,
        "architecture": network.architecture,
        "preprocessing": PREPROCESSING,
        "about": about,
        "weights": network_weights(network),
    }
    _write(path, saved)


def load_network(path):
    """The network of a file written by `save_weights`, in evaluation mode.

    Raises InputError: a file that is missing, damaged, not of this project, or whose weights do not fit its
    architecture.
    """
    saved = _read(path, WEIGHTS)
    architecture, preprocessing, weights = (saved.get(name) for name in ("architecture", "preprocessing", "weights"))
    if not isinstance(architecture, dict) or not isinstance(weights, dict):
        raise InputError(f"{path} describes no network: expected dicts 'architecture' and 'weights' in it")
    network = build_network(path, architecture)
    if preprocessing != PREPROCESSING:
        raise InputError(f"{path} is for images prepared as {preprocessing}; this version prepares {PREPROCESSING}")
    if not all(isinstance(array, np.ndarray) and array.dtype == np.float32 for array in weights.values()):
        raise InputError(f"{path} describes no network: expected float32 arrays as its weights")
    set_weights(network, weights, path)
    network.eval()
    return network


def is_network(path):
    """Whether a file is one that `save_weights` wrote."""
    try:
        _read(path, WEIGHTS)
    except InputError:
        return False
    return True


def build_network(source, architecture):
    """An AdaAttNNetwork of a dict of its arguments; InputError that names `source` where there is no such network."""
    try:
        return AdaAttNNetwork(**architecture)
    except (OverflowError, TypeError, ValueError) as error:
        raise InputError(f"{source} describes a network that cannot be built: {error}") from None


def set_weights(network, weights, source, kind=None):
    """Put {name: float32 array} into a network (or another layer, of which `kind` says what it is).

    Raises InputError that names `source` and the first tensor that is missing, unknown or of another shape.
    """
    expected = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: list(np.shape(array)) for name, array in weights.items()}
    for name in sorted(expected.keys() | found.keys(), key=str):
        if expected.get(name) != found.get(name):
            raise InputError(
                f"{source} does not fit {kind or f'the network {network.architecture}'}: "
                f"{name} has shape {found.get(name, 'none (it is missing)')}, "
                f"expected {expected.get(name, 'no such tensor')}"
            )
    network.set_state_dict({name: paddle.to_tensor(array) for name, array in weights.items()})


def save_checkpoint(path, state):
    """Write what a training needs to go on, a dict of plain values and numpy arrays; whole or not there."""
    _write(path, {"format": CHECKPOINT, **state})


def load_checkpoint(path):
    """The dict of `save_checkpoint`. Raises InputError: a file that is missing, damaged or of another kind."""
    return _read(path, CHECKPOINT)


def save_style(path, style):
    """Write a prepared Style to one file, for the network whose fingerprint it carries; whole or not there.

    Raises InputError: another suffix, a style in the regions of one content, a file that cannot be written.
    """
    if not str(path).lower().endswith(STYLE_SUFFIX):
        raise InputError(f"{path}: styles are kept in files named *{STYLE_SUFFIX}; give it such a name")
    if not all(hasattr(state, "state_dict") for state in style.states.values()):
        raise InputError(f"{path}: a style in_regions of a content serves that content only; save it as it was before")
    _write(path, {"format": STYLE, **style_contents(style)})


def style_contents(style):
    """A Style as nested dicts and lists of plain values and numpy arrays."""

    def levels(style):
        return {level: state.state_dict() for level, state in style.states.items()}

    regions = [{"colour": list(colour), "levels": levels(part)} for colour, part in style.regions.items()]
    return {"fingerprint": style.fingerprint, "levels": levels(style), "regions": regions}


def load_style(path, network_fingerprint):
    """The Style of a file written by `save_style`: its path, or a binary file open at its beginning.

    Raises InputError: a file that is missing, damaged, or prepared by another network.
    """
    saved = _read(path, STYLE)
    if saved.get("fingerprint") != network_fingerprint:
        raise InputError(f"{path} was prepared by another model; prepare the style again with this one")

    def style(levels, regions=None):
        states = {level: state_from_dict(state) for level, state in levels.items()}
        return Style(states, network_fingerprint, regions)

    try:
        regions = {tuple(part["colour"]): style(part["levels"]) for part in saved["regions"]}
        return style(saved["levels"], regions)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} describes no style: {error!r}") from None
