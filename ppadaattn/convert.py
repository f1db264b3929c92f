"""Weights of other origin as networks of this project."""

import zipfile

from ppadaattn.checkpoint import build_network, set_weights
from ppadaattn.errors import InputError
from ppadaattn.vgg import BLOCKS

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
