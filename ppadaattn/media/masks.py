"""Masks of regions, read from files and resized to their picture."""

import os

from ppadaattn.errors import InputError, note
from ppadaattn.media import PathLike
from ppadaattn.media.images import read_image
from ppadaattn.model.regions import resize_nearest

import numpy as np


def read_mask(path: PathLike) -> np.ndarray:
    """Read a mask, uint8 H x W x 3; transparent pixels become black, which is no region.

    Raises InputError for a file that cannot be read.
    """
    image = read_image(path)
    return image if image.shape[2] == 3 else image[:, :, :3] * (image[:, :, 3:] > 127)


def mask_for(source, size, own_size=None):
    """The mask of a picture, uint8 H x W x 3, resized to it by nearest neighbour where its size is another.

    Args:
        source: path, or uint8 RGB array H x W x 3.
        size: (height, width) of the picture as it is painted, in pixels.
        own_size: (height, width) of the picture before it was reduced; a mask of any third size is resized with a note.

    Raises InputError for a file that cannot be read or an array of another kind.
    """
    if isinstance(source, (str, os.PathLike)):
        mask, what = read_mask(source), f"the mask {source}"
    else:
        mask, what = source, "the mask"
        if not isinstance(mask, np.ndarray) or mask.dtype != np.uint8 or mask.ndim != 3 or mask.shape[2] != 3:
            raise InputError("a mask must be a path or a uint8 RGB array H x W x 3")
    if mask.shape[:2] == tuple(size):
        return mask
    if mask.shape[:2] != own_size:
        note(f"{what} is {_size(mask.shape)}, its picture {_size(own_size or size)}: the mask is resized")
    return resize_nearest(mask, size)


def _size(shape):
    return f"{shape[1]} x {shape[0]} pixels"
