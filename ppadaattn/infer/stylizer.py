"""The inference object: pictures in, picture out."""

import os

from ppadaattn.device import select_device
from ppadaattn.errors import InputError
from ppadaattn.infer.clips import paint_clip
from ppadaattn.infer.engine import make_engine
from ppadaattn.media.images import (
    check_size,
    flatten,
    keep_colors,
    read_image,
    reduce_to,
    scale_to,
    to_bytes,
    to_floats,
)
from ppadaattn.media.masks import mask_for
from ppadaattn.model.style import Style, check_strength
from ppadaattn.weights.checkpoint import STYLE_SUFFIX, fingerprint, load_network, load_style, save_style
from ppadaattn.weights.zoo import DEFAULT_MODEL, weights_file

import numpy as np
import paddle

STYLE_SIZE = 512


def load(model=DEFAULT_MODEL, *, device=None, engine="auto"):
    """A Stylizer, ready to use.

    Args:
        model: a name of the model zoo (`ppadaattn.zoo.MODELS`), or the path of a weights file.
        device: 'cpu', 'gpu', 'gpu:N'; default: a GPU where one works, otherwise the CPU. It becomes Paddle's current
            device, of which a process has one.
        engine: 'eager' (Paddle layer by layer), on a CPU 'inference' (Paddle's inference runtime) or 'onnxruntime'
            (the fastest), or 'auto': ONNX Runtime where it is installed, on a CPU.

    Raises:
        InputError: an unknown model, device or engine, a weights file that is missing, damaged or does not fit, an
            engine that is not installed.
    """
    path = weights_file(model)
    select_device(device)
    network = load_network(path)
    return Stylizer(network, make_engine(engine, network))


class Stylizer:
    """Paints contents in styles with one network.

        stylizer = ppadaattn.load("adaattn_lite_image")
        picture = stylizer("photo.jpg", "painting.jpg")

        style = stylizer.prepare_style("painting.jpg")          # encoded once
        pictures = [stylizer(path, style) for path in photos]

    Three layers: files in `__call__`, `prepare_style` and `stylize_video`; arrays in `paint` and `paint_array`; tensors
    in `stylize_tensor`.
    """

    def __init__(self, network, engine=None):
        self.network, self.engine = network, engine
        self._fingerprint = None

    def __call__(self, content, style, *, size=0, style_size=STYLE_SIZE, strength=1.0, preserve_color=False, mask=None):
        """Paint a content in a style.

        Args:
            content: path of a picture, or uint8 RGB array H x W x 3.
            style: path, array, or what `prepare_style` gave.
            size: long side, in pixels, to which a content file is reduced; 0 leaves it as it is.
            style_size: as in `prepare_style`.
            strength: 0 to 1: how much of the style. The rest is the content, taken as its own style.
            preserve_color: take the luminance of the result and the colours of the content.
            mask: regions of the content, a path or uint8 RGB array (`ppadaattn.regions`): each is painted in the
                region of the same colour of the style, which needs a mask too.

        Returns:
            uint8 RGB array of the content's height and width.

        Raises:
            InputError: a file that cannot be read, an array of another kind, a side below 16 pixels, a strength
                outside 0 to 1, a mask whose colours the style does not have.
        """
        content, own_size = _picture(content, "content", size)
        style = style if isinstance(style, Style) else self.prepare_style(style, style_size=style_size)
        if mask is not None:
            style = style.in_regions(mask_for(mask, content.shape[:2], own_size))
        return self.paint(content[None], style, strength=strength, preserve_color=preserve_color)[0]

    @paddle.no_grad()
    def prepare_style(self, style, *, style_size=STYLE_SIZE, mask=None, enlarge=False):
        """Encode a style once, for any number of contents.

        Args:
            style: path of a picture or of a style file, or uint8 RGB array H x W x 3.
            style_size: long side, in pixels, to which a style picture is reduced; 0 leaves it as it is. Arrays are
                taken as they are. A smaller style gives finer strokes.
            mask: regions of the style, a path or uint8 RGB array (`ppadaattn.regions`).
            enlarge: also enlarge a picture file to `style_size`, for broader strokes.

        Returns:
            a Style: `a + b` puts styles side by side, `Style.mix([a, b], [0.3, 0.7])` interpolates.

        Raises:
            InputError: as in `__call__`; a mask for a style file, which has its own regions.
        """
        if is_style_file(style):
            if mask is not None:
                raise InputError(f"{style} is a style file, whose regions are in it; give the mask when it is made")
            return self.load_style(style)
        picture, own_size = _picture(style, "style", style_size, enlarge)
        mask = None if mask is None else mask_for(mask, picture.shape[:2], own_size)
        if self.engine is not None and self.engine.takes_style(*picture.shape[:2], mask):
            prepared = self.engine.prepare_style(to_floats(picture[None]))
        else:
            prepared = self.network.prepare_style(_to_tensor(picture[None]), mask=mask)
        regions = {colour: Style(part.states, self.fingerprint) for colour, part in prepared.regions.items()}
        return Style(prepared.states, self.fingerprint, regions)

    def paint(self, contents, style, *, preserve_color=False, **options):
        """Paint pictures of one size at once.

        Args:
            contents: uint8 RGB array B x H x W x 3.
            style: a Style of this model.
            preserve_color: as in `__call__`.
            options: those of `stylize_tensor`.

        Returns:
            list of B uint8 RGB arrays H x W x 3.
        """
        pictures = to_bytes(self.paint_array(contents, style, **options))
        if preserve_color:
            return [keep_colors(picture, content) for picture, content in zip(pictures, contents)]
        return list(pictures)

    def paint_array(self, contents, style, **options):
        """As `paint`, before values are rounded to bytes: float32 array B x 3 x H x W in [0, 1]."""
        if self.engine is not None and self.engine.takes(contents, style, **options):
            self._check_own(style)
            return self.engine.stylize(to_floats(contents), style)
        tensor = None if options.get("features") else _to_tensor(contents)
        return self.stylize_tensor(tensor, style, **options).numpy()

    @paddle.no_grad()
    def encode(self, contents):
        """The encoder's features of uint8 RGB pictures B x H x W x 3: {'relu1_1': [B, C, H, W], ...}."""
        return self.network.encoder(_to_tensor(contents))

    @paddle.no_grad()
    def stylize_tensor(self, content, style, *, features=None, strength=1.0, content_statistics=None):
        """As `__call__`, inside: float32 [B, 3, H, W] RGB in [0, 1] and a Style to the same layout, clipped.

        Args:
            features: those of the content, where they are known (`encode`); the content itself is not used then.
            strength, content_statistics: as in `AdaAttNNetwork.stylize_features`.
        """
        self._check_own(style)
        check_strength(strength)
        features = features or self.network.encoder(content)
        options = {"strength": strength, "content_statistics": content_statistics}
        return self.network.stylize_features(features, style, **options).clip(0, 1)

    def stylize_video(self, content, style, output, *, style_size=STYLE_SIZE, mask=None, **options):
        """Paint a clip: a video file, or a folder of numbered frames, into a video file or a folder of frames.

        Args:
            content: path of a video file or of a folder of frames.
            style, style_size, mask: as in `__call__`; the mask holds for every frame.
            output: path of a video file (its suffix says the format), or of a folder.
            options: those of `ppadaattn.clips.paint_clip` and of `ppadaattn.frames.FramePainter`.

        Returns:
            a `ppadaattn.clips.Result`.

        Raises:
            InputError: as in `__call__`; not a video, no frames, an output that cannot be written.
        """
        style = style if isinstance(style, Style) else self.prepare_style(style, style_size=style_size)
        return paint_clip(self, content, style, output, mask=mask, **options)

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
        save_style(path, Style(style.states, self.fingerprint, style.regions))

    def _check_own(self, style):
        if not isinstance(style, Style):
            raise InputError(f"expected what prepare_style gives; got {type(style).__name__}")
        if style.fingerprint not in (None, self.fingerprint):
            raise InputError("this style was prepared by another model; prepare it again with this one")

    def load_style(self, path):
        """A style written by `save_style` with the same model; InputError for any other file."""
        return load_style(path, self.network, self.fingerprint)


def is_style_file(source):
    """Whether a source of a style is named as the files that `save_style` writes."""
    return isinstance(source, (str, os.PathLike)) and os.fspath(source).lower().endswith(STYLE_SUFFIX)


def _picture(source, role, long_side, enlarge=False):
    """RGB uint8 array H x W x 3 of a path (at `long_side`) or of an array (as it is), and the size it had before."""
    if isinstance(source, (str, os.PathLike)):
        picture = flatten(read_image(source))
        resized = (scale_to if enlarge else reduce_to)(picture, long_side)
        check_size(resized.shape[1::-1], f"{source}, reduced to a long side of {long_side},")
        return resized, picture.shape[:2]
    if not isinstance(source, np.ndarray) or source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
        got = f"an array of {source.dtype} {source.shape}" if isinstance(source, np.ndarray) else type(source).__name__
        raise InputError(f"{role} must be a path or a uint8 RGB array H x W x 3; got {got}")
    check_size(source.shape[1::-1], f"the {role} array")
    return source, source.shape[:2]


def _to_tensor(images):
    return paddle.to_tensor(to_floats(images))
