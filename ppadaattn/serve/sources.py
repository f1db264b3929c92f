"""Sources of pictures and styles in a request: arrays, paths, bytes of files.

A source has `picture(long_side)`, which gives uint8 RGB H x W x 3, and `style(stylizer)`, which gives a Style. Sources
are made of (value, name); the name stands in messages. A style whose source occurs several times is prepared once.
"""

import io
import os
from pathlib import Path

from ppadaattn.errors import InputError, without_warnings
from ppadaattn.infer.stylizer import STYLE_SIZE
from ppadaattn.media.images import check_size, flatten, read_image, readers, reduce_to, scale_to
from ppadaattn.weights.checkpoint import is_style_data

import numpy as np
from PIL import Image


class ArraySource:
    """A BGR array, uint8 H x W x 3. Sources of the same array object are equal."""

    stem = "picture"

    def __init__(self, array, name):
        if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            hint = " (cv2.imread gives None for a file that it cannot read)" if array is None else ""
            raise InputError(f"{name} must be a BGR uint8 array H x W x 3; got {got}{hint}")
        check_size(array.shape[1::-1], name)
        self.array = array

    def __eq__(self, other):
        return isinstance(other, ArraySource) and self.array is other.array

    def __hash__(self):
        return id(self.array)

    def picture(self, long_side):
        return reduce_to(np.ascontiguousarray(self.array[:, :, ::-1]), long_side)

    def style(self, stylizer):
        return stylizer.prepare_style(self.picture(STYLE_SIZE))


class PathSource(str):
    """The path of a picture, or of a style file. Equal paths are equal sources."""

    __slots__ = ()

    def __new__(cls, path, name):
        if not isinstance(path, (str, os.PathLike)):
            raise InputError(f"{name} must be the path of a picture; got {type(path).__name__}")
        return super().__new__(cls, os.fspath(path))

    @property
    def stem(self):
        return Path(self).stem

    def picture(self, long_side):
        return flatten(read_image(str(self), long_side))

    def style(self, stylizer):
        return stylizer.prepare_style(str(self))


class BytesSource:
    """The bytes of a picture file, or, where `style_files` allows it, of a style file."""

    def __init__(self, data, name, style_files=True):
        self.data, self.name, self.style_files = data, name, style_files

    def pixels(self):
        """Width x height, from the header; 0 where it is no picture, which `picture` and `style` refuse."""
        try:
            with without_warnings(), Image.open(io.BytesIO(self.data), formats=readers()) as image:
                return image.width * image.height
        except Exception:  # decoders of damaged files raise nearly anything
            return 0

    def picture(self, long_side):
        if self._is_style():
            raise InputError(f"{self.name} is a style file; expected a picture")
        return flatten(read_image(_NamedBytes(self.data, self.name), long_side))

    def style(self, stylizer, style_size=STYLE_SIZE, enlarge=False):
        if not self._is_style():
            picture = self.picture(0 if enlarge else style_size)
            return stylizer.prepare_style(scale_to(picture, style_size) if enlarge else picture)
        if not self.style_files:
            raise InputError(f"{self.name} is a style file, which this service does not take; send the picture")
        return stylizer.load_style(_NamedBytes(self.data, self.name))

    def _is_style(self):
        return is_style_data(self.data)


class _NamedBytes(io.BytesIO):
    """Bytes as an open file whose text is a name for messages."""

    def __init__(self, data, name):
        super().__init__(data)
        self._name = name

    def __str__(self):
        return self._name
