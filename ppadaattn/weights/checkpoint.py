"""Files of one network or style each: weights with their architecture, and styles prepared for one network.

Heads are the weights of a network without its encoder, which is a file of its own. Weights are kept as `.pdparams` (a
pickle, which `paddle.load` reads too) or `.safetensors`, styles as safetensors named `*.style`, checkpoints of
trainings as `.pdparams`. Files from strangers are safe to read: nothing in them is executed, pickles are followed by
`pickles.Reader` alone, and whatever is not as it should be is an InputError of one sentence.
"""

import contextlib
import hashlib
import json
import math
import os
import threading

from ppadaattn import runtime
from ppadaattn.errors import InputError, one_line
from ppadaattn.files import atomic_write
from ppadaattn.model.architecture import BLOCKS, is_adaattn, scaled_channels, weight_shapes
from ppadaattn.model.style import Style
from ppadaattn.weights.channels import SAME_WEIGHTS, channel_factors, describe_channels, is_scaled, with_scaled_values
from ppadaattn.weights.pickles import Reader, array_of

import numpy as np
import safetensors
import safetensors.numpy

WEIGHTS = "ppadaattn weights 1"
HEADS = "ppadaattn heads 1"
STYLE = "ppadaattn style 2"
PICKLED_STYLE = "ppadaattn style 1"
CHECKPOINT = "ppadaattn checkpoint 1"

WEIGHTS_SUFFIX, SAFETENSORS_SUFFIX = ".pdparams", ".safetensors"
# How the names of an encoder's weights begin in a network.
ENCODER = "encoder."
# How files of styles are named, so that they can stand where pictures do.
STYLE_SUFFIX = ".style"

# What each kind of file is for, in the words of an error.
HINTS = {
    WEIGHTS: "carries its own architecture; expected such a file",
    HEADS: "is a network without its encoder; expected such a file",
    STYLE: "`save_style` writes; expected such a file",
    PICKLED_STYLE: "earlier versions wrote; expected such a file",
    CHECKPOINT: "a training writes as iter_N_checkpoint.pdparams and resumes from; `load` takes weights alone",
}

# What the encoder takes, written into each file so that a reader in another language need not guess.
PREPROCESSING = {"layout": "NCHW", "channels": "RGB", "range": [0.0, 1.0]}

# Bytes of a safetensors header: about 100 a tensor, of which weights have a hundred, and a mixture of ten styles with
# the most regions some thousand.
MOST_HEADER = 2**23
# Types of tensors in safetensors files, and the same for `array_of`: numbers, and positions in feature maps.
TYPES = {"F32": "f4", "I64": "i8"}
HEADS_TYPES = {"F16": "f2", "F32": "f4"}  # the latter describe the encoder's channels
# Mixtures of mixtures of styles. Nobody needs so many; far more would exceed Python's own stack.
MOST_NESTED = 32
# Of a picture, for the shapes that a network's styles have; all sides differ at every level.
TINY_SIZES = ((16, 16), (32, 48))


# ---------------------------------------------------------------------------------------------------------------------
# Reading and writing
# ---------------------------------------------------------------------------------------------------------------------


def read_plain(path, kind="a dict of arrays"):
    """What a pickle of plain values and numpy arrays holds; InputError for any other file (`kind` is for its message).

    Nothing in the file is executed. An open binary file can stand for the path.
    """
    with reading(path, kind), _opened(path) as file:
        return Reader().read(file, _size(file))


def _opened(path):
    return contextlib.nullcontext(path) if hasattr(path, "read") else open(path, "rb")


def _size(file):
    """Bytes of an open file, which is then at its beginning."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


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
            f"{path} cannot be read as {kind!r}: it is damaged, cut short or another file: "
            f"{one_line(error) or type(error).__name__}"
        ) from None


def _read(path, *kinds):
    """The dict of a file of one of `kinds`, a path or an open binary file, with its numbers verified."""
    kind = kinds[0]
    with reading(path, kind), _opened(path) as file:
        size = _size(file)
        tensors = is_safetensors(file.read(9))
        file.seek(0)
        saved = _from_safetensors(file.read()) if tensors else Reader().read(file, size)
    found = saved.get("format") if isinstance(saved, dict) else None
    if not isinstance(found, str) or found not in kinds:
        known = isinstance(found, str) and found in HINTS
        if known and (found, kind) == (PICKLED_STYLE, STYLE):
            raise InputError(
                f"{path} is a style file of an earlier version; convert it: "
                "ppadaattn convert old.style --output new.style"
            )
        holds = f"holds {found!r}, not {kind!r}" if known else f"does not hold {kind!r}"
        raise InputError(f"{path} {holds}, which {HINTS[kind]}")
    expected = saved.pop("digest", None)
    if not isinstance(expected, str) or expected != digest(saved):
        raise InputError(f"{path} is damaged: its numbers are not those that were saved; fetch or make it again")
    return saved


def _write(path, saved):
    saved = {**saved, "digest": digest(saved)}
    with atomic_write(path) as temporary:
        if str(path).lower().endswith((SAFETENSORS_SUFFIX, STYLE_SUFFIX)):
            temporary.write_bytes(_to_safetensors(saved))
        else:
            runtime.import_paddle().save(saved, str(temporary))


# A safetensors file of ours has one item of metadata, "ppadaattn": the saved dict as JSON, without its arrays. Arrays
# of weights are named as in the network, others by their place: levels.3.key is saved["levels"]["3"]["key"].


def _to_safetensors(saved):
    described = dict(saved)
    arrays = described.pop("weights", None)
    if arrays is None:
        arrays = {}
        described = _without_arrays(described, arrays)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(arrays, {"ppadaattn": json.dumps(described)})


def _from_safetensors(data):
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")].decode())
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or "ppadaattn" not in metadata:
        raise ValueError("it is a safetensors file of another program, without 'ppadaattn' in its metadata")
    saved = json.loads(metadata["ppadaattn"])
    _check_depth(saved, 2 * MOST_NESTED + 8)  # a mixture is a dict and a list
    arrays, types = {}, HEADS_TYPES if saved.get("format") == HEADS else TYPES
    for name, tensor in safetensors.deserialize(data):
        if tensor["dtype"] not in types:
            raise ValueError(f"its tensor {name} has the type {tensor['dtype']}, expected {' or '.join(types)}")
        arrays[name] = array_of(tensor["data"], types[tensor["dtype"]], tensor["shape"])
    if saved.get("format") in (WEIGHTS, HEADS):
        return {**saved, "weights": arrays}
    for name, array in arrays.items():
        *places, last = name.split(".")
        holder = saved
        for place in places:
            holder = holder[int(place) if isinstance(holder, list) else place]
        if not isinstance(holder, dict) or last in holder:
            raise ValueError(f"its tensor {name} has no place")
        holder[last] = array
    return saved


def _check_depth(value, depth):
    if depth < 0:
        raise ValueError("its description nests too deep")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(item, depth - 1)


def _without_arrays(value, arrays, *places):
    """A copy of nested dicts and lists without their arrays, which go into `arrays` under dotted names."""
    if isinstance(value, (list, tuple)):
        return [_without_arrays(item, arrays, *places, str(index)) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    arrays.update({".".join([*places, key]): item for key, item in value.items() if isinstance(item, np.ndarray)})
    return {
        key: _without_arrays(item, arrays, *places, key)
        for key, item in value.items()
        if not isinstance(item, np.ndarray)
    }


def is_safetensors(data):
    """Whether the first bytes of a file, nine or more, are those of a safetensors file."""
    return data[8:9] == b"{" and 1 < int.from_bytes(data[:8], "little") <= MOST_HEADER


def is_style_data(data):
    """Whether bytes are a style file, of this version or an earlier one, and no picture."""
    return data[:1] == b"\x80" or is_safetensors(data)  # pickles begin with 0x80


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
    """{name: float32 numpy array} of a network, or of a StoredNetwork."""
    if isinstance(network, StoredNetwork):
        return network.weights
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def save_weights(path, network, about=""):
    """Write a network to one file, from which `load_network` builds it; whole or not there.

    The file is a pickled dict of plain values and arrays (`paddle.load` reads it too): format, architecture,
    preprocessing, about, weights, digest; or the same as safetensors.

    Args:
        path: file name; `.safetensors` writes safetensors, any other a pickle (`.pdparams`).
        network: an AdaAttNNetwork.
        about: where the weights come from, in a sentence or two.

    Raises InputError where it cannot be written.
    """
    described = {"architecture": network.architecture, "about": about}
    _write(path, {"format": WEIGHTS, "preprocessing": PREPROCESSING, **described, "weights": network_weights(network)})


def save_heads(path, network, about="", tolerance=SAME_WEIGHTS):
    """Write a network without its encoder: f, g, h and the decoder in float16, and what tells its encoder from others.

    Args and errors as of `save_weights`; also InputError for a number that float16 cannot hold.

    Args:
        tolerance: of `channel_factors`, for the encoders that the heads take. More than the default is for heads that
            were trained with a rounded copy of a public encoder: with 8 bits a number, weights are 6 % apart, and the
            sums of rows 0.1.
    """
    heads = {name: array for name, array in network_weights(network).items() if not name.startswith(ENCODER)}
    most = np.finfo("float16").max
    for name, array in heads.items():
        if not np.abs(array).max(initial=0) <= most:  # nor is anything that is no number
            raise InputError(f"{path} cannot be written: {name} holds numbers beyond the {most:.0f} of float16")
    described = {"architecture": network.architecture, "about": about, "tolerance": float(tolerance)}
    halves = {name: array.astype("float16") for name, array in heads.items()}
    channels = {f"{ENCODER}{name}.channels": array for name, array in _channels_of(network.encoder).items()}
    _write(path, {"format": HEADS, "preprocessing": PREPROCESSING, **described, "weights": {**halves, **channels}})


def _channels_of(encoder):
    return describe_channels(network_weights(encoder), encoder.convolutions())


def load_network(path, find_encoder=None):
    """The network of a file written by `save_weights` or `save_heads`, in evaluation mode.

    Args:
        path: of the file.
        find_encoder: for heads: a function of an Encoder that returns the name of a file and its arrays for that
            Encoder, {name: float32 array}.

    Raises InputError: a file that is missing, damaged, not of this project, or whose weights do not fit its
    architecture; heads without an encoder, or with another one than theirs.
    """
    return read_network(path, find_encoder)[0]


def read_network(path, find_encoder=None):
    """As `load_network`: (network, what the file says about itself)."""
    saved = read_weights(path)
    network, weights = build_network(path, saved["architecture"], saved["weights"]), saved["weights"]
    if saved["encoder"] is not None:
        weights = _with_encoder(path, network, weights, saved["encoder"], saved["tolerance"], find_encoder)
    return _filled(network, weights, path), saved["about"]


def _filled(network, weights, path):
    """A network with the weights of a file, in evaluation mode."""
    set_weights(network, weights, path)
    network.eval()
    return network


def _with_encoder(path, network, heads, channels, tolerance, find_encoder):
    """{name in a network: array} of heads and their encoder, whose channels may have other scales than in training."""
    if find_encoder is None:
        raise InputError(f"{path} holds heads without their encoder, and works only with the file of that encoder")
    source, arrays = find_encoder(network.encoder)
    set_weights(network.encoder, arrays, source, f"the encoder that {path} needs")
    found = _channels_of(network.encoder)
    shapes = {name: array.shape for name, array in channels.items()}
    if shapes != {name: array.shape for name, array in found.items()}:
        raise InputError(f"{path} describes no heads: its description of the encoder does not fit its architecture")
    factors, other = channel_factors(channels, found, tolerance)
    if factors is None:
        raise InputError(
            f"{source} is another encoder than the one that {path} was trained with (its {other} differs by more than "
            "the scales of channels): give the file of that encoder"
        )
    if is_scaled(factors):
        if network.architecture["transform"] != "adaattn":
            raise InputError(
                f"the channels of {source} have other scales than those of the encoder that {path} was trained with, "
                "and only heads of AdaAttN serve any: give the file of that encoder"
            )
        heads = with_scaled_values(heads, factors)
    return {**heads, **{f"{ENCODER}{name}": array for name, array in arrays.items()}}


class StoredNetwork:
    """A network of AdaAttN as its file holds it, in numpy: enough to make programs, and known without Paddle.

    Attributes:
        architecture: as of an AdaAttNNetwork.
        weights: {name: float32 array}, which fit the architecture.
    """

    def __init__(self, path, architecture, weights):
        self.architecture, self.weights = architecture, weights
        self._path, self._network, self._building = path, None, threading.Lock()

    @classmethod
    def read(cls, path):
        """That of a weights file; None for a network of another kind, or one whose weights do not fit: `load_network`
        builds it or says what is wrong. InputError as `read_weights`.
        """
        saved = read_weights(path)
        architecture, weights = saved["architecture"], saved["weights"]
        shapes = {name: array.shape for name, array in weights.items()}
        fits = is_adaattn(architecture) and shapes == weight_shapes(architecture)
        return cls(path, architecture, weights) if fits else None

    def network(self):
        """The AdaAttNNetwork; built once."""
        with self._building:
            if self._network is None:
                network = build_network(self._path, self.architecture, self.weights)
                self._network = _filled(network, self.weights, self._path)
            return self._network


def built(network):
    """The AdaAttNNetwork of what may be a StoredNetwork."""
    return network.network() if isinstance(network, StoredNetwork) else network


def read_weights(path):
    """What a file written by `save_weights` or `save_heads` holds.

    Returns:
        {'architecture': dict, 'about': str, 'weights': {name: float32 array}, 'encoder': None, 'tolerance': None}; of
        heads 'encoder' is what `describe_channels` gives of the encoder, whose weights are not there, and 'tolerance'
        how far from them those of another one may be.

    Raises InputError as `load_network`; whether the weights fit the architecture is left to it.
    """
    saved = _read(path, WEIGHTS, HEADS)
    architecture, about, weights = (saved.get(name) for name in ("architecture", "about", "weights"))
    if not isinstance(architecture, dict) or not isinstance(weights, dict):
        raise InputError(f"{path} describes no network: expected dicts 'architecture' and 'weights' in it")
    if digest(saved.get("preprocessing")) != digest(PREPROCESSING):
        other = one_line(saved.get("preprocessing"))
        raise InputError(f"{path} is for images prepared as {other}; this version prepares {PREPROCESSING}")
    heads = saved["format"] == HEADS
    encoder = tolerance = None
    if heads:
        described = {name: weights[name] for name in weights if str(name).startswith(ENCODER)}
        weights = {name: array for name, array in weights.items() if name not in described}
        encoder = {name[len(ENCODER) :].rpartition(".")[0]: array for name, array in described.items()}
        if not encoder or not _all_of(described, "float32"):
            raise InputError(f"{path} describes no heads: expected a description of their encoder's channels in it")
        tolerance = saved.get("tolerance")
        if not isinstance(tolerance, float) or not 0 <= tolerance < 1:
            raise InputError(f"{path} describes no heads: expected a number from 0 to 1 as the tolerance for encoders")
    kind = "float16" if heads else "float32"
    if not _all_of(weights, kind):
        raise InputError(f"{path} describes no network: expected {kind} arrays as its weights")
    weights = {name: array.astype("float32") for name, array in weights.items()} if heads else weights
    about = about if isinstance(about, str) else ""
    return {
        "architecture": architecture,
        "about": about,
        "weights": weights,
        "encoder": encoder,
        "tolerance": tolerance,
    }


def _all_of(arrays, kind):
    """Whether all values of a dict are arrays of a type."""
    return all(isinstance(array, np.ndarray) and array.dtype == kind for array in arrays.values())


def is_network(path):
    """Whether a file is one that `save_weights` wrote."""
    return _is(path, WEIGHTS)


def is_checkpoint(path):
    """Whether a file is a whole one that `save_checkpoint` wrote."""
    return _is(path, CHECKPOINT)


def _is(path, kind):
    try:
        _read(path, kind)
    except InputError:
        return False
    return True


def build_network(source, architecture, weights=None):
    """An AdaAttNNetwork of a dict of its arguments; InputError that names `source` where there is no such network.

    Where its `weights` are given, {name: array}, one that is far larger than they are is not built: a small file that
    claims a large network would fill the memory.
    """
    try:
        if weights is not None:
            there, needed = sum(np.size(array) for array in weights.values()), encoder_numbers(**architecture)
            if needed > max(16 * there, 2**24):  # else `set_weights` says which tensor does not fit
                raise ValueError(f"it needs more than {needed} numbers, and has {there}")
        from ppadaattn.model.network import AdaAttNNetwork  # here, because it loads Paddle

        return AdaAttNNetwork(**architecture)
    except (OverflowError, TypeError, ValueError) as error:
        raise InputError(f"{source} describes a network that cannot be built: {one_line(error)}") from None


def encoder_numbers(width=1.0, levels=None, **_):
    """How many weights the encoder of a network has, which is about half of them all."""
    channels, depth = {0: 3, **scaled_channels(width)}, max(levels or (3,))
    counts = {block: BLOCKS[block][1] if block < depth else 1 for block in BLOCKS if block <= depth}
    return sum(9 * channels[x] * (channels[x - 1] + (count - 1) * channels[x]) for x, count in counts.items())


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
                f"{one_line(name)} has shape {found.get(name, 'none (it is missing)')}, "
                f"expected {expected.get(name, 'no such tensor')}"
            )
    network.set_state_dict({name: runtime.import_paddle().to_tensor(array) for name, array in weights.items()})


def save_checkpoint(path, state):
    """Write what a training needs to resume, a dict of plain values and numpy arrays; whole or not there."""
    _write(path, {"format": CHECKPOINT, **state})


def load_checkpoint(path):
    """The dict of `save_checkpoint`. Raises InputError: a file that is missing, damaged or of another kind."""
    return _read(path, CHECKPOINT)


# ---------------------------------------------------------------------------------------------------------------------
# Styles
# ---------------------------------------------------------------------------------------------------------------------


def save_style(path, style):
    """Write a prepared Style to one file, for the network whose fingerprint it carries; whole or not there.

    The file is safetensors, named `*.style`; its metadata say the fingerprint, and what each level's state is.

    Raises InputError: another suffix, a style in the regions of one content, a file that cannot be written.
    """
    if not str(path).lower().endswith(STYLE_SUFFIX):
        raise InputError(f"{path}: styles are kept in files named *{STYLE_SUFFIX}; give it such a name")
    try:
        contents = style_contents(style)
    except AttributeError:  # a RegionState has no state_dict
        raise InputError(
            f"{path}: a style in_regions of a content serves that content only; save it as it was before"
        ) from None
    _write_style(path, contents)


def _write_style(path, contents):
    def named(levels):
        return {str(level): state for level, state in levels.items()}

    regions = [{**part, "levels": named(part["levels"])} for part in contents["regions"]]
    _write(path, {"format": STYLE, **contents, "levels": named(contents["levels"]), "regions": regions})


def style_contents(style):
    """A Style as nested dicts and lists of plain values and numpy arrays."""
    regions = [{"colour": list(colour), "levels": part.state_dicts()} for colour, part in style.regions.items()]
    return {"fingerprint": style.fingerprint, "levels": style.state_dicts(), "regions": regions}


def load_style(path, network, network_fingerprint=None):
    """The Style of a file written by `save_style`.

    Args:
        path: of the file; or a binary file open at its beginning.
        network: the one that prepared it.
        network_fingerprint: `fingerprint(network)`, where it is known.

    Raises InputError: a file that is missing, damaged, prepared by another network or of an earlier version, or whose
    levels, shapes or types are not those of the network's styles.
    """
    network_fingerprint = network_fingerprint or fingerprint(network)
    saved = _read(path, STYLE)
    own = saved.get("fingerprint")
    if not isinstance(own, str) or own != network_fingerprint:
        raise InputError(f"{path} was prepared by another model; prepare the style again with this one")
    from ppadaattn.model.attention import state_from_dict

    paddle = runtime.import_paddle()
    with paddle.no_grad():
        tiny = [network.prepare_style(paddle.zeros([1, 3, *size])) for size in TINY_SIZES]

    def style(levels, regions=None):
        if set(levels) != set(map(str, tiny[0].states)):
            raise ValueError(f"it has the levels {', '.join(levels)}, the model {', '.join(map(str, tiny[0].states))}")
        states = {
            level: state_from_dict(_checked(levels[str(level)], [style.states[level].state_dict() for style in tiny]))
            for level in tiny[0].states
        }
        return Style(states, network_fingerprint, regions)

    try:
        return style(saved["levels"], {_colour(part["colour"]): style(part["levels"]) for part in saved["regions"]})
    except Exception as error:  # whatever stands in the place of dicts and lists
        raise InputError(f"{path} describes no style of this model: {one_line(error)}") from None


def _colour(given):
    if not isinstance(given, list) or len(given) != 3 or not all(type(x) is int and 0 <= x <= 255 for x in given):
        raise ValueError("a region has no colour of three numbers from 0 to 255")
    return tuple(given)


def _checked(saved, alike, nested=MOST_NESTED):
    """A saved state, in the order in which the network gives it; ValueError unless the network could have made it.

    Args:
        saved: dict of a `StyleState.state_dict`.
        alike: those of the same level for two pictures: sizes that are equal in both depend on the network alone,
            others on the picture.
    """
    if "states" in saved:
        states, weights = saved["states"], saved["weights"]
        numbers = all(type(weight) in (int, float) and 0 <= weight <= 1 for weight in weights)
        if not states or len(weights) != len(states) or not numbers or abs(sum(weights) - 1) > 1e-6 or not nested:
            raise ValueError("a mixture has other weights than one for each style, which sum to 1")
        return {**saved, "states": [_checked(state, alike, nested - 1) for state in states]}
    first, second = alike
    if saved.keys() != first.keys():
        raise ValueError(f"a state has {', '.join(saved)}, expected {', '.join(first)}")
    sizes = {}
    for name, value in first.items():
        if isinstance(value, np.ndarray):
            _check_array(name, saved[name], value, second[name], sizes)
        elif not isinstance(value, dict) and value == second[name]:
            if saved[name] != value:
                raise ValueError(f"{name} is {saved[name]}, expected {value}")
        elif not isinstance(value, dict) and (type(saved[name]) is not int or saved[name] < 1):
            raise ValueError(f"{name} is no count of points")
    _check_positions([array for array in saved.values() if isinstance(array, np.ndarray)])
    nest = {name: value for name, value in first.items() if isinstance(value, dict)}
    return {name: _checked(saved[name], [nest[name], second[name]]) if name in nest else saved[name] for name in first}


def _check_array(name, array, first, second, sizes):
    """ValueError unless an array is like both others; where their sizes differ, equal ones stay equal (`sizes`)."""
    if not isinstance(array, np.ndarray) or array.ndim != first.ndim or array.dtype != first.dtype:
        raise ValueError(f"{name} is no array of {first.dtype} with {first.ndim} dimensions")
    for size, one, other in zip(array.shape, first.shape, second.shape):
        expected = one if one == other else sizes.setdefault((one, other), size)
        if size != expected or not size:
            raise ValueError(f"{name} has the shape {list(array.shape)}, expected {expected} where it has {size}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} does not hold finite numbers")


def _check_positions(arrays):
    """ValueError where whole numbers, which are flat positions, are beyond the feature map [B, C, H, W] beside them."""
    count = max((math.prod(array.shape[2:]) for array in arrays if array.ndim == 4), default=0)
    for array in arrays:
        if array.dtype.kind == "i" and not (array.min() >= 0 and array.max() < count):
            raise ValueError(f"positions reach beyond the {count} of the feature map")


def convert_style(source, path):
    """Write a style file of an earlier version, a pickle, as one of this version, for the same network.

    Raises InputError: a file that is missing, damaged or no such style, or one that cannot be written.
    """
    from ppadaattn.model.attention import state_from_dict

    saved = _read(source, PICKLED_STYLE)
    try:
        levels = [saved["levels"], *(part["levels"] for part in saved["regions"])]
        for state in (state for states in levels for state in states.values()):
            _check_types(state)
            state_from_dict(state)
        _write_style(path, {name: saved[name] for name in ("fingerprint", "levels", "regions")})
    except InputError:
        raise
    except Exception as error:  # whatever stands in the place of dicts and lists
        raise InputError(f"{source} describes no style: {one_line(error)}") from None


def _check_types(value):
    """ValueError unless all arrays of nested dicts and lists are of TYPES."""
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_types(item)
    if isinstance(value, np.ndarray) and value.dtype.str.lstrip("<") not in TYPES.values():
        raise ValueError(f"it has an array of {value.dtype}, expected float32")
