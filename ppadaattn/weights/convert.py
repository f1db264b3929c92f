"""Weights of other origin as networks of this project."""

import math
import re
import zipfile
from pathlib import Path

from ppadaattn.errors import InputError, one_line
from ppadaattn.model.architecture import BLOCKS, MAX_WIDTH
from ppadaattn.model.vgg import Encoder
from ppadaattn.weights.channels import SAME_WEIGHTS, unscaled, with_scaled_values
from ppadaattn.weights.checkpoint import (
    ENCODER,
    build_network,
    encoder_numbers,
    network_weights,
    read_plain,
    set_weights,
)
from ppadaattn.weights.pickles import array_of
from ppadaattn.weights.pytorch import read_tensors

import numpy as np

# ---------------------------------------------------------------------------------------------------------------------
# Arrays under this project's names
# ---------------------------------------------------------------------------------------------------------------------


# How `np.savez` describes an array.
_HEADER = re.compile(
    rb"\{'descr': '[<|]([biuf][1248])', 'fortran_order': (True|False), 'shape': \((\d{1,20}(?:, \d{1,20})*,?)?\), \}\s*"
)
_LONGEST_HEADER = 1000
# A full network of the largest width; the encoder is about half of it, and a little may be there that is not needed.
MOST_NUMBERS = 3 * encoder_numbers(MAX_WIDTH, levels=(5,))


def read_arrays(path, wanted=re.compile(r"(encoder|decoder|adaattn\d)\..+").fullmatch):
    """{name: float32 array} of an .npz file.

    Sizes are known from the directory and from the headers before anything is unpacked.

    Args:
        path: of the file.
        wanted: function of a name: whether it is read; others are left out. Default: those of a network.

    Raises InputError where it is missing, is none, or holds more than a network of MAX_WIDTH needs.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename[: -len(".npy")]: member for member in archive.infolist()}
            members = {name: x for name, x in members.items() if x.filename == f"{name}.npy" and wanted(name)}
            headers = {name: _npy_header(archive, member) for name, member in members.items()}
            numbers = sum(math.prod(shape) for _, shape, *_ in headers.values())
            if numbers > MOST_NUMBERS:
                raise ValueError(f"it unpacks to {numbers} numbers; a network has {MOST_NUMBERS} at most")
            return {name: _read_npy(archive, member, headers[name], path) for name, member in members.items()}
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except Exception as error:  # a damaged zip file raises nearly anything
        reason = one_line(error) or type(error).__name__
        raise InputError(f"{path} cannot be read as .npz arrays: {reason}") from None


def _npy_header(archive, member):
    """(kind, shape, whether in Fortran's order, bytes before the numbers) of an array in a zip file."""
    with archive.open(member) as file:
        start = file.read(12 + _LONGEST_HEADER)
    if start[:6] != b"\x93NUMPY" or start[6:7] not in (b"\1", b"\2", b"\3"):
        raise ValueError(f"{member.filename} is no array")
    offset = 10 if start[6:7] == b"\1" else 12  # where the header begins, which follows its own length
    numbers = offset + int.from_bytes(start[8:offset], "little")
    match = _HEADER.fullmatch(start[offset:numbers])
    if not match:
        raise ValueError(f"{member.filename} does not hold finite real numbers")
    kind, shape = match[1].decode(), tuple(map(int, re.findall(rb"\d+", match[3] or b"")))
    if numbers + math.prod(shape) * int(kind[1]) != member.file_size:
        raise ValueError(f"{member.filename} has {member.file_size} bytes, which do not fit its shape {shape}")
    return kind, shape, match[2] == b"True", numbers


def _read_npy(archive, member, header, path):
    kind, shape, fortran, start = header
    array = array_of(archive.read(member)[start:], kind, shape, fortran=fortran)
    (array,) = _as_float32({member.filename: array}, path).values()
    return array


def _as_float32(arrays, path):
    if sum(array.size for array in arrays.values()) > MOST_NUMBERS:
        raise InputError(f"{path} holds more than the {MOST_NUMBERS} numbers that a network has at most")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise InputError(f"{path}: {one_line(name)} does not hold finite real numbers")
    return {name: array.astype("float32") for name, array in arrays.items()}


def network_from_arrays(arrays, source, *, attention, conventions="paper"):
    """A network whose width and levels are told from the arrays' shapes and names.

    Args:
        arrays: {name: array} under this project's names: encoder.conv1_1.weight (out, in, 3, 3), adaattn3.f.weight,
            decoder.stage1.0.bias and so on.
        source: what to call them in an error.
        attention, conventions: as in AdaAttNNetwork; shapes do not tell them.
    """
    first = "encoder.conv1_1.weight"
    levels = levels_of(arrays)
    if np.ndim(arrays.get(first)) != 4 or not levels:
        raise InputError(
            f"{source} holds no AdaAttN network: expected {first!r} and 'adaattn3.f.weight' among its names"
        )
    width = len(arrays[first]) / BLOCKS[1][0]
    architecture = {"width": width, "levels": levels, "attention": attention, "conventions": conventions}
    network = build_network(source, architecture, arrays)
    set_weights(network, arrays, source)
    return network


def levels_of(arrays):
    """The levels of the AdaAttN layers among arrays under this project's names."""
    return [level for level in (3, 4, 5) if f"adaattn{level}.f.weight" in arrays]


def has_encoder(arrays):
    """Whether there is an encoder among arrays under this project's names."""
    return any(name.startswith(ENCODER) for name in arrays)


def with_encoder(arrays, source, find_encoder):
    """Arrays of heads, with those of their encoder; `find_encoder` as in `load_network`.

    Raises InputError where the arrays are no heads, or the encoder is not of their width.
    """
    value, levels = arrays.get("adaattn3.h.bias"), levels_of(arrays)
    if np.ndim(value) != 1 or not levels:
        raise InputError(
            f"{source} holds no AdaAttN network, nor the heads of one: expected 'adaattn3.f.weight' and "
            "'adaattn3.h.bias' among its names"
        )
    try:
        encoder = Encoder(np.size(value) / BLOCKS[3][0], max(levels))
    except ValueError as error:
        raise InputError(f"{source} describes a network that cannot be built: {error}") from None
    file, found = find_encoder(encoder)
    set_weights(encoder, found, file, f"the encoder of {source}")
    return {**arrays, **{f"{ENCODER}{name}": array for name, array in found.items()}}


# ---------------------------------------------------------------------------------------------------------------------
# The same encoder with channels of other scales
# ---------------------------------------------------------------------------------------------------------------------


def exchange_encoder(network, path):
    """Put another file of the same encoder, with channels of other scales, into a network (`weights.channels`).

    Pictures stay the same but for rounding and the epsilon of Norm.

    Args:
        network: an AdaAttNNetwork of the transform adaattn; its encoder and the weights of its h change.
        path: a file that `encoder_arrays` takes.

    Raises InputError where the file is missing or damaged, or holds other weights than those of the encoder.
    """
    if network.architecture["transform"] != "adaattn":
        raise InputError("`to_encoder` is for networks of AdaAttN: what other transforms read is not scaled")
    own = network_weights(network.encoder)
    arrays = encoder_arrays(path, network.encoder)
    set_weights(network.encoder, arrays, path, "the encoder of this network")
    factors = {}
    pairs = zip(*(unscaled(encoder, network.encoder.convolutions()) for encoder in (own, arrays)))
    for (name, scales, rows), (_, found, other) in pairs:
        if not np.all(np.linalg.norm(rows - other, axis=1) <= SAME_WEIGHTS):
            raise InputError(
                f"{path} holds another encoder than this network's: its {name} is not that of the network with its "
                "channels multiplied by positive numbers"
            )
        factors[name] = found / scales
    set_weights(network, with_scaled_values(network_weights(network), factors), path)


# ---------------------------------------------------------------------------------------------------------------------
# VGG-19
# ---------------------------------------------------------------------------------------------------------------------


def vgg19(path):
    """The normalised VGG-19 up to relu5_1 as a frozen Encoder.

    Args:
        path: a file that `encoder_arrays` takes.

    Raises InputError where the file is missing, damaged or holds something else.
    """
    encoder = Encoder()
    set_weights(encoder, encoder_arrays(path, encoder), path, "VGG-19")
    encoder.eval()
    for parameter in encoder.parameters():
        parameter.stop_gradient = True
    return encoder


def encoder_arrays(path, encoder):
    """{name: float32 array} of a file for an Encoder; what the file holds beyond its last convolution is left out.

    Args:
        path: a file with one of two layouts. `.npz`: the names of `Encoder`, conv1_1.weight (out, in, 3, 3) and so on.
            Others: the authors' Sequential, names '0.weight', '2.weight' ... in the order of the layers; the first is
            the 1x1 convolution that prepares RGB, which is folded into conv1_1. `.pth` is the authors' own file,
            `.pdparams` the same as PaddleGAN publishes it.
        encoder: the Encoder; its width and depth tell what is expected.

    Raises InputError where the file is missing, damaged or no such encoder; shapes are left to `set_weights`.
    """
    if Path(path).suffix == ".npz":
        return read_arrays(path, encoder.state_dict().__contains__)
    if Path(path).suffix in (".pth", ".pt"):
        return _from_sequential(_as_float32(read_tensors(path), path), encoder, path)
    return _from_sequential(read_plain(path), encoder, path)


def _from_sequential(saved, encoder, path):
    items = saved.items() if isinstance(saved, dict) else ()
    arrays = {name: array for name, array in items if isinstance(array, np.ndarray)}
    matches = (re.fullmatch(r"(\d+)\.weight", str(name)) for name in arrays)
    layers = [
        [np.asarray(arrays.get(f"{index}.{part}"), "float32") for part in ("weight", "bias")]
        for index in sorted(int(match[1]) for match in matches if match)
    ]
    names = [name[: -len(".weight")] for name in encoder.state_dict() if name.endswith(".weight")]
    shapes = [weight.shape for weight, _ in layers[:2]]
    expected = [(3, 3, 1, 1), tuple(encoder.conv1_1.weight.shape)]
    if len(layers) <= len(names) or shapes != expected or layers[0][1].shape != (3,):
        raise InputError(
            f"{path} is not the normalised VGG-19: expected '0.weight' of shape [3, 3, 1, 1], then convolutions"
            f" up to {names[-1]}, the first of shape {list(expected[1])}"
        )
    (prepare, shift), (weight, bias), *others = layers
    # Reflection padding commutes with a 1x1 convolution, so folding is exact at the borders too.
    folded = np.einsum("ochw,ci->oihw", weight, prepare[:, :, 0, 0]), bias + np.einsum("ochw,c->o", weight, shift)
    named = zip(names, [folded, *others])
    return {f"{name}.{part}": array for name, pair in named for part, array in zip(("weight", "bias"), pair)}


# ---------------------------------------------------------------------------------------------------------------------
# The authors' PyTorch release
# ---------------------------------------------------------------------------------------------------------------------

# Its files. For video there are the first two.
FILES = {part: f"latest_net_{part}.pth" for part in ("transformer", "decoder", "adaattn_3")}
ENCODER_FILE = "vgg_normalised.pth"

# Its layers under our names. The decoder's are in Sequentials, where numbers only tell the order; the decoder for video
# begins with stage 3.
TRANSFORMER = {f"attn_adain_{level}_1.{layer}": f"adaattn{level}.{layer}" for level in (4, 5) for layer in "fgh"}
TRANSFORMER["merge_conv"] = "decoder.merge"
LEVEL_3 = {layer: f"adaattn3.{layer}" for layer in "fgh"}
STAGES_3_TO_1 = [f"decoder.stage{stage}.{layer}" for stage, count in ((3, 4), (2, 2), (1, 2)) for layer in range(count)]


def network_from_release(folder, encoder):
    """The network of the authors' PyTorch checkpoints, with the conventions of their release.

    Args:
        folder: with latest_net_transformer.pth, latest_net_decoder.pth and, for pictures, latest_net_adaattn_3.pth.
            An image network (levels 3, 4, 5, softmax) is told from one for video (level 3, cosine) by the tensors of
            the transformer; its width by their shapes.
        encoder: a file for `encoder_arrays`, or a function that gives one, which is called when all else has been read.

    Raises InputError: files or tensors that are missing, unknown tensors, other shapes, damaged files.
    """
    folder = Path(folder)
    tensors = {part: _read_part(folder, part) for part in ("transformer", "decoder")}
    image = any(name.rpartition(".")[0] in TRANSFORMER for name in tensors["transformer"])
    if image:
        tensors["adaattn_3"] = _read_part(folder, "adaattn_3")
        order = ["decoder.stage4", *STAGES_3_TO_1]
        layers = {"transformer": TRANSFORMER, "adaattn_3": LEVEL_3}
        architecture = {"levels": [3, 4, 5], "attention": "softmax"}
    else:
        order = STAGES_3_TO_1
        layers = {"transformer": _below_prefix(LEVEL_3, tensors["transformer"])}
        architecture = {"levels": [3], "attention": "cosine"}
    layers["decoder"] = _in_order(tensors["decoder"], order, folder / FILES["decoder"])
    weights = {}
    for part, names in layers.items():
        weights.update(_renamed(tensors[part], names, folder / FILES[part]))
    width = weights["adaattn3.h.bias"].size / BLOCKS[3][0]
    network = build_network(folder, {"width": width, "conventions": "release", **architecture})
    set_weights(network, {**network_weights(network), **weights}, folder)
    encoder = encoder() if callable(encoder) else encoder
    set_weights(network.encoder, encoder_arrays(encoder, network.encoder), encoder, "the encoder of this network")
    return network


def _read_part(folder, part):
    path = folder / FILES[part]
    if not path.is_file():
        transformer, decoder, adaattn_3 = FILES.values()
        raise InputError(
            f"{folder} has no {path.name}: expected {transformer}, {decoder} and, for pictures, {adaattn_3}"
        )
    return _as_float32(read_tensors(path), path)


def _below_prefix(layers, tensors):
    """`layers` as they are called where all the tensors are below one name, such as attn.f.weight; else as given."""
    matches = [re.fullmatch(r"(.*\.)?[fgh]\.(weight|bias)", name) for name in tensors]
    prefixes = {match[1] or "" for match in matches if match}
    prefix = prefixes.pop() if len(prefixes) == 1 else ""
    return {f"{prefix}{theirs}": ours for theirs, ours in layers.items()}


def _in_order(tensors, ours, path):
    """{layer of Sequentials: one of `ours`}, in the order of the layers' numbers."""
    matches = [re.fullmatch(r"(.+)\.(weight|bias)", name) for name in tensors]
    layers = sorted({match[1] for match in matches if match}, key=lambda name: list(map(int, re.findall(r"\d+", name))))
    if len(layers) != len(ours):
        raise InputError(f"{path} has {len(layers)} convolutions ({_listed(layers)}), expected {len(ours)}")
    return dict(zip(layers, ours))


def _renamed(tensors, layers, path):
    """Tensors under our names; InputError where they are not weight and bias of each of `layers`, {theirs: ours}."""
    names = {f"{theirs}.{part}": f"{ours}.{part}" for theirs, ours in layers.items() for part in ("weight", "bias")}
    missing = [name for name in names if name not in tensors]
    extra = [name for name in tensors if name not in names]
    if missing or extra:
        found = [f"it lacks {_listed(missing)}"] * bool(missing) + [f"it has {_listed(extra)}"] * bool(extra)
        raise InputError(f"{path} has other tensors than the authors' release: {'; '.join(found)}")
    return {ours: tensors[theirs] for theirs, ours in names.items()}


def _listed(names, most=5):
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
