"""The inference object: pictures in, picture out."""

import os

from ppadaattn.checkpoint import fingerprint, load_network, load_style, save_style
from ppadaattn.device import select_device
from ppadaattn.errors import InputError
from ppadaattn.images import check_size, flatten, read_image
from ppadaattn.network import Style
from ppadaattn.zoo import DEFAULT_MODEL, weights_file

import numpy as np
import paddle

STYLE_SIZE = 512


def load(model=DEFAULT_MODEL, *, device=None):
    """A Stylizer, ready to use.

    Args:
        model: a name of the model zoo (`ppadaattn.zoo.MODELS`), or the path of a weights file.
        device: 'cpu', 'gpu', 'gpu:N'; default: a GPU where one works, otherwise the CPU. It becomes Paddle's current
            device, of which a process has one.

    Raises:
        InputError: an unknown model or device, a weights file that is missing, damaged or does not fit.
    """
    path = weights_file(model)
    select_device(device)
    return Stylizer(load_network(path))


class Stylizer:
    """Paints contents in styles with one network.

        stylizer = ppadaattn.load("adaattn_lite_image")
        picture = stylizer("photo.jpg", "painting.jpg")

        style = stylizer.prepare_style("painting.jpg")          # encoded once
        pictures = [stylizer(path, style) for path in photos]

    Two layers: files and uint8 arrays in `__call__` and `prepare_style`, tensors in `stylize_tensor`.
    """

    def __init__(self, network):
        self.network = network
        self._fingerprint = None

    def __call__(self, content, style, *, size=0, style_size=STYLE_SIZE):
        """Paint a content in a style.

        Args:
            content: path of a picture, or uint8 RGB array H x W x 3.
            style: path, array, or what `prepare_style` gave.
            size: long side, in pixels, to which a content file is reduced; 0 leaves it as it is.
            style_size: as in `prepare_style`.

        Returns:
            uint8 RGB array of the content's height and width.

        Raises:
            InputError: a file that cannot be read, an array of another kind, a side below 16 pixels.
        """
        content = _to_tensor(_picture(content, "content", size))
        style = style if isinstance(style, Style) else self.prepare_style(style, style_size=style_size)
        return _to_image(self.stylize_tensor(content, style))

    @paddle.no_grad()
    def prepare_style(self, style, *, style_size=STYLE_SIZE):
        """Encode a style once, for any number of contents.

        Args:
            style: path of a picture, or uint8 RGB array H x W x 3.
            style_size: long side, in pixels, to which a style file is reduced; 0 leaves it as it is. Arrays are taken
                as they are, and nothing is enlarged. A smaller style gives finer strokes.

        Returns:
            a Style: `a + b` puts styles side by side, `Style.mix([a, b], [0.3, 0.7])` interpolates.
        """
        prepared = self.network.prepare_style(_to_tensor(_picture(style, "style", style_size)))
        return Style(prepared.states, self.fingerprint)

    @paddle.no_grad()
    def stylize_tensor(self, content, style):
        """As `__call__`, inside: float32 [B, 3, H, W] RGB in [0, 1] and a Style to the same layout, clipped."""
        self._check_own(style)
        return self.network.stylize(content, style).clip(0, 1)

    @property
    def fingerprint(self):
        """SHA-256 (hex) of architecture and weights: a style fits only the model that prepared it.

        Computed once: after training on, make a new Stylizer.
        """
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self.network)
        return self._fingerprint

    def save_style(self, path, style):
        """Write a style that this model prepared to a file, whole or not at all."""
        self._check_own(style)
        save_style(path, Style(style.states, self.fingerprint))

    def _check_own(self, style):
        if not isinstance(style, Style):
            raise InputError(f"expected what prepare_style gives; got {type(style).__name__}")
        if style.fingerprint not in (None, self.fingerprint):
            raise InputError("this style was prepared by another model; prepare it again with this one")

    def load_style(self, path):
        """A style written by `save_style` with the same model; InputError for any other file."""
        return load_style(path, self.fingerprint)


def _picture(source, role, long_side):
    """RGB uint8 array H x W x 3 of a path (reduced to `long_side`) or of an array (taken as it is)."""
    if isinstance(source, (str, os.PathLike)):
        return flatten(read_image(source, long_side))
    if not isinstance(source, np.ndarray) or source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
        got = f"an array of {source.dtype} {source.shape}" if isinstance(source, np.ndarray) else type(source).__name__
        raise InputError(f"{role} must be a path or a uint8 RGB array H x W x 3; got {got}")
    check_size((source.shape[1], source.shape[0]), f"the {role} array")
    return source


def _to_tensor(image):
    return paddle.to_tensor(np.asarray(image).transpose(2, 0, 1)[None].astype("float32") / 255)


def _to_image(tensor):
    return np.ascontiguousarray((tensor[0].numpy().transpose(1, 2, 0) * 255).round().astype("uint8"))
