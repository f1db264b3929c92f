"""Weights of other origin as networks of this project."""

import re
import zipfile
from pathlib import Path

from ppadaattn.checkpoint import build_network, read_plain, set_weights
from ppadaattn.errors import InputError
from ppadaattn.vgg import BLOCKS, Encoder

import numpy as np


def read_arrays(path):
    """{name: array} of an .npz file. Raises InputError where it is missing or is none."""
    try:
        with zipfile.ZipFile(path):  # np.load would take other files too
            pass
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except (OSError, ValueError, AttributeError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as .npz arrays: {error}") from None
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise InputError(f"{path}: {name} does not hold finite real numbers")
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
    levels = [level for level in (3, 4, 5) if f"adaattn{level}.f.weight" in arrays]
    if np.ndim(arrays.get(first)) != 4 or not levels:
        raise InputError(
            f"{source} holds no AdaAttN network: expected {first!r} and 'adaattn3.f.weight' among its names"
        )
    width = len(arrays[first]) / BLOCKS[1][0]
    architecture = {"width": width, "levels": levels, "attention": attention, "conventions": conventions}
    network = build_network(source, architecture)
    set_weights(network, arrays, source)
    return network


def vgg19(path):
    """The normalised VGG-19 up to relu5_1 as a frozen Encoder.

    Args:
        path: a file with one of two layouts. `.npz`: the names of `Encoder`, conv1_1.weight (out, in, 3, 3) and so on.
            `.pdparams`: the authors' Sequential as PaddleGAN publishes it, names '0.weight', '2.weight' ... in the
            order of the layers; the first is the 1x1 convolution that prepares RGB, which is folded into conv1_1.

    Raises InputError where the file is missing, damaged or holds something else.
    """
    encoder = Encoder()
    if Path(path).suffix == ".npz":
        arrays = {name: array for name, array in read_arrays(path).items() if not name.endswith(".scale")}
    else:
        arrays = _from_sequential(read_plain(path), encoder, path)
    set_weights(encoder, arrays, path, "VGG-19")
    encoder.eval()
    for parameter in encoder.parameters():
        parameter.stop_gradient = True
    return encoder


def _from_sequential(saved, encoder, path):
    arrays = saved if isinstance(saved, dict) else {}
    matches = (re.fullmatch(r"(\d+)\.weight", str(name)) for name in arrays)
    layers = [
        [np.asarray(arrays.get(f"{index}.{part}"), "float32") for part in ("weight", "bias")]
        for index in sorted(int(match[1]) for match in matches if match)
    ]
    names = [name[: -len(".weight")] for name in encoder.state_dict() if name.endswith(".weight")]
    shapes = [weight.shape for weight, _ in layers[:2]]
    if len(layers) <= len(names) or shapes != [(3, 3, 1, 1), (64, 3, 3, 3)] or layers[0][1].shape != (3,):
        raise InputError(
            f"{path} is not the normalised VGG-19: expected '0.weight' of shape [3, 3, 1, 1], then convolutions"
        )
    (prepare, shift), (weight, bias), *others = layers
    # Reflection padding commutes with a 1x1 convolution, so folding is exact at the borders too.
    folded = np.einsum("ochw,ci->oihw", weight, prepare[:, :, 0, 0]), bias + np.einsum("ochw,c->o", weight, shift)
    named = zip(names, [folded, *others])
    return {f"{name}.{part}": array for name, pair in named for part, array in zip(("weight", "bias"), pair)}
