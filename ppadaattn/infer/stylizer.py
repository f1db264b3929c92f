"""The inference object: pictures in, picture out."""

import copy
import os
from dataclasses import replace
from typing import Callable, Optional, Sequence, Union

from ppadaattn.errors import InputError
from ppadaattn.infer import strips
from ppadaattn.infer.clips import Result, paint_clip
from ppadaattn.infer.engine import PROGRAM_ENGINES, make_engine, onnx_is_installed
from ppadaattn.infer.options import ClipOptions, PaintOptions, takes_options
from ppadaattn.media.images import check_size, flatten, keep_colors, read_reduced, scale_to, to_bytes, to_floats
from ppadaattn.media.masks import mask_for
from ppadaattn.model.style import Style, check_strength
from ppadaattn.runtime import free_memory, has_only_cpu, import_paddle
from ppadaattn.weights.checkpoint import (
    STYLE_SUFFIX,
    StoredNetwork,
    built,
    fingerprint,
    is_network,
    load_network,
    load_style,
    save_style,
)
from ppadaattn.weights.zoo import DEFAULT_MODEL, encoder_finder, weights_file

import numpy as np
from PIL import Image

STYLE_SIZE = PaintOptions.style_size
# Memory of painting, a pixel and unit of width: 3840 x 2160 took 2.6 GiB with a small model, a quarter of the width.
BYTES_PER_PIXEL = 1350

# What stands for a file, for a picture, for a mask, for a style.
Path = Union[str, os.PathLike]
Picture = Union[Path, bytes, Image.Image, np.ndarray]
Mask = Union[Path, np.ndarray]
AnyStyle = Union[Picture, Style, Sequence[Union[Picture, Style]]]


def load(
    model: Path = DEFAULT_MODEL,
    *,
    device: Optional[str] = None,
    engine: str = "auto",
    encoder: Optional[Path] = None,
) -> "Stylizer":
    """A Stylizer, ready to use.

    Args:
        model: a name of the model zoo (`ppadaattn.zoo.MODELS`), the path of a weights file, or the folder of a
            training, of which the newest weights are taken.
        device: 'cpu', 'gpu', 'gpu:N'; default: a GPU where one works, otherwise the CPU. It becomes Paddle's current
            device, of which a process has one.
        engine: 'eager' (Paddle layer by layer), on a CPU 'inference' (Paddle's inference runtime) or 'onnxruntime'
            (the fastest), or 'auto': ONNX Runtime where it is installed, on a CPU.
        encoder: of a file of heads, which holds a network without its encoder: the file of that encoder (.npz,
            .pdparams or .pth); default: the VGG-19 that training uses, which is downloaded once.

    Raises:
        InputError: an unknown model, device or engine, a weights file that is missing, damaged or does not fit, an
            engine that is not installed, heads whose encoder is missing or is another one.
    """
    path, network = weights_file(model), None
    if encoder is not None and is_network(path):
        raise InputError(f"{path} holds its own encoder: leave out `encoder`, which is for a file of heads")
    if device in (None, "cpu") and engine in ("auto", "onnxruntime") and has_only_cpu() and onnx_is_installed():
        network = StoredNetwork.read(path)  # programs paint it without Paddle, which takes seconds to load
    if network is None:
        from ppadaattn.device import select_device  # here, because it loads Paddle

        select_device(device)
        network = load_network(path, encoder_finder(encoder))
    return Stylizer(network, make_engine(engine, network), str(model))


class Stylizer:
    """Paints contents in styles with one network.

        stylizer = ppadaattn.load("adaattn_lite_image")
        picture = stylizer("photo.jpg", "painting.jpg")

        style = stylizer.prepare_style("painting.jpg")          # encoded once
        pictures = [stylizer(path, style) for path in photos]

    Two layers: pictures and clips in `__call__`, `prepare_style` and `stylize_video`; batches of arrays in `paint` and
    `paint_array`. For tensors see `AdaAttNNetwork.stylize`, of the attribute `network`.

    Args:
        network: an AdaAttNNetwork.
        engine: what `make_engine` gives for it; None: Paddle, layer by layer.
        model: its name, for `repr`.
    """

    def __init__(self, network, engine=None, model=None):
        self._network, self.engine, self.model = network, engine, model
        self._fingerprint = None

    @property
    def network(self):
        """The AdaAttNNetwork; one of a file is built when it is first needed, since programs do without."""
        return built(self._network)

    def __repr__(self):
        engine = next((name for name, kind in PROGRAM_ENGINES.items() if isinstance(self.engine, kind)), "eager")
        device = "cpu"
        if not isinstance(self._network, StoredNetwork):
            device = str(next(iter(self.network.parameters())).place)[6:-1]  # of Place(gpu:0)
        return f"Stylizer(model={self.model!r}, engine={engine!r}, device={device!r})"

    @takes_options(PaintOptions)
    def __call__(
        self,
        content: Picture,
        style: AnyStyle,
        options: Optional[PaintOptions] = None,
        *,
        style_weights: Optional[Sequence[float]] = None,
        mask: Optional[Mask] = None,
        **changes,
    ) -> np.ndarray:
        """Paint a content in a style.

        Args:
            content: path of a picture, the bytes of such a file, a PIL image, or a uint8 RGB array H x W x 3. Arrays
                are taken as they are, whatever the option `size` says.
            style: the same, or what `prepare_style` gave, or a list of any of these: a mixture.
            options: a PaintOptions; each of its fields is also a keyword argument, such as `strength=0.5`.
            style_weights: one number a style of a list; default: equal ones.
            mask: regions of the content, a path or uint8 RGB array (`ppadaattn.regions`): each is painted in the
                region of the same colour of the style, which needs a mask too.

        Returns:
            uint8 RGB array of the content's height and width.

        Raises:
            InputError: a file that cannot be read, an array of another kind, a side below 16 pixels, an option outside
                its limits, weights that do not fit the styles, a mask whose colours the style does not have.
        """
        options = replace(options or PaintOptions(), **changes)
        content, own_size = _picture(content, "content", options.size)
        sizes = options.style_arguments(max(content.shape[:2]))
        if style_weights is not None or not isinstance(style, Style):
            style = self.prepare_style(style, style_weights=style_weights, **sizes)
        if mask is not None:
            style = style.in_regions(mask_for(mask, content.shape[:2], own_size))
        how = {"strength": options.strength, "preserve_color": options.preserve_color}
        return self.paint(content[None], style, **how)[0]

    def prepare_style(
        self,
        style: AnyStyle,
        *,
        style_size: int = STYLE_SIZE,
        style_weights: Optional[Sequence[float]] = None,
        mask: Optional[Mask] = None,
        enlarge: bool = False,
    ) -> Style:
        """Encode a style once, for any number of contents.

        Args:
            style: path of a picture or of a style file, the bytes of a picture file, a PIL image, or a uint8 RGB array
                H x W x 3; or a list of these and of Styles, which are mixed.
            style_size: long side, in pixels, to which a style picture is reduced; 0 leaves it as it is. Arrays are
                taken as they are. A smaller style gives finer strokes.
            style_weights: one number a style of a list, 0 or more; default: equal ones.
            mask: regions of the style, a path or uint8 RGB array (`ppadaattn.regions`).
            enlarge: also enlarge a picture to `style_size`, for broader strokes.

        Returns:
            a Style: `a + b` puts styles side by side, `Style.mix([a, b], [0.3, 0.7])` interpolates.

        Raises:
            InputError: as in `__call__`; a mask for a list or for a style file, which has its own regions.
        """
        if isinstance(style, (list, tuple)):
            if mask is not None:
                raise InputError("a `mask` is for one style: prepare each style of the list with its own")
            weights, sizes = check_weights(style_weights, len(style)), {"style_size": style_size, "enlarge": enlarge}
            return Style.mix([self.prepare_style(one, **sizes) for one in style], weights)
        if style_weights is not None:
            raise InputError("`style_weights` are for a list of styles")
        if isinstance(style, Style):
            self._check_own(style)
            return style
        if is_style_file(style):
            if mask is not None:
                raise InputError(f"{style} is a style file, whose regions are in it; give the mask when it is made")
            return self.load_style(style)
        picture, own_size = _picture(style, "style", style_size, enlarge)
        mask = None if mask is None else mask_for(mask, picture.shape[:2], own_size)
        if self.engine is not None and self.engine.takes_style(*picture.shape[:2], mask):
            prepared = self.engine.prepare_style(picture)
            prepared.fingerprint = self.fingerprint
            return prepared
        with _without_gradients():
            prepared = self.network.prepare_style(_to_tensor(picture[None]), mask=mask)
        regions = {colour: Style(part.states, self.fingerprint) for colour, part in prepared.regions.items()}
        return Style(prepared.states, self.fingerprint, regions)

    def paint(self, contents, style, *, preserve_color=PaintOptions.preserve_color, **options):
        """Paint pictures of one size at once.

        Args:
            contents: uint8 RGB array B x H x W x 3.
            style: a Style of this model.
            preserve_color: as in PaintOptions.
            options: those of `paint_array`.

        Returns:
            list of B uint8 RGB arrays H x W x 3.
        """
        pictures = self._paint_tiles(contents, style, np.uint8, **options)
        if pictures is None and self._engine_takes(contents, style, **options):
            pictures = self.engine.paint(contents, style)
        elif pictures is None:
            pictures = list(to_bytes(self._paint_whole(contents, style, **options)))
        return list(map(keep_colors, pictures, contents)) if preserve_color else pictures

    def paint_array(self, contents, style, *, strength=PaintOptions.strength, features=None, content_statistics=None):
        """As `paint`, before values are rounded to bytes: float32 array B x 3 x H x W in [0, 1].

        Args:
            strength: as in PaintOptions.
            features: those of the contents, where they are known (`encode`); the contents are not used then.
            content_statistics: as in `AdaAttNNetwork.stylize_features`.

        Raises:
            InputError: a picture that needs more memory than is free.
        """
        options = {"strength": strength, "features": features, "content_statistics": content_statistics}
        painted = self._paint_tiles(contents, style, np.float32, **options)
        if painted is not None:
            return np.stack(painted)
        if self._engine_takes(contents, style, **options):
            return self.engine.paint_array(contents, style)
        return self._paint_whole(contents, style, **options)

    def _paint_whole(self, contents, style, *, features=None, **options):
        """As `paint_array`, by Paddle layer by layer."""
        with _without_gradients():
            features = features or self.encode(contents)
            return self.network.stylize_features(features, style, **options).clip(0, 1).numpy()

    def side_by_side(self, strength=PaintOptions.strength, pixels=0):
        """How to paint many pictures: each on one thread, on all cores at once.

        Args:
            strength: as in PaintOptions.
            pixels: about how many the largest picture has: no more are painted at once than fit into the free memory.

        Returns:
            (a Stylizer of the same model, how many threads may paint with it at once); (this one, 1) where one picture
            takes all cores anyway: without ONNX Runtime, at a `strength` below 1, with one core.
        """
        if self.engine is None or self.engine.workers == 1 or strength != 1:
            return self, 1
        need = BYTES_PER_PIXEL * self._network.architecture["width"] * pixels
        workers = int(max(1, min(self.engine.workers, free_memory() / need))) if need else self.engine.workers
        if workers == 1:
            return self, 1
        beside = copy.copy(self)
        beside._fingerprint, beside.engine = self.fingerprint, self.engine.narrow()
        return beside, workers

    def _paint_tiles(self, contents, style, kind, *, strength=PaintOptions.strength, features=None, **_):
        """Paint contents that are too large to be painted whole; None for others, and where `features` are given.

        Returns:
            list of uint8 arrays H x W x 3, or of float32 arrays 3 x H x W for the kind float32.
        """
        self._check_own(style)
        check_strength(strength)
        if features is not None or not strips.tile_pixels(self._network.architecture, *contents.shape[1:3]):
            return None
        how = {"strength": strength, "kind": kind}
        return [strips.paint(self._network, self.engine, content, style, **how) for content in contents]

    def _engine_takes(self, contents, style, strength=PaintOptions.strength, **options):
        """Whether the engine paints contents in a Style; InputError as `paint`."""
        return self.engine is not None and self.engine.takes(contents, style, strength, **options)

    def encode(self, contents):
        """The encoder's features of uint8 RGB pictures B x H x W x 3: {'relu1_1': [B, C, H, W], ...}."""
        with _without_gradients():
            return self.network.encoder(_to_tensor(contents))

    @takes_options(ClipOptions)
    def stylize_video(
        self,
        content: Path,
        style: AnyStyle,
        output: Path,
        options: Optional[ClipOptions] = None,
        *,
        style_weights: Optional[Sequence[float]] = None,
        mask: Optional[Mask] = None,
        resume: bool = False,
        progress: Optional[Callable[[int, int], None]] = None,
        **changes,
    ) -> Result:
        """Paint a clip: a video file, or a folder of numbered frames, into a video file or a folder of frames.

        Args:
            content: path of a video file or of a folder of frames.
            style, style_weights: as in `__call__`.
            output: path of a video file (its suffix says the format), or of a folder.
            options: a ClipOptions; each of its fields is also a keyword argument, such as `flow_blend=0.5`.
            mask, resume, progress: as in `ppadaattn.infer.clips.paint_clip`.

        Returns:
            a `ppadaattn.infer.clips.Result`.

        Raises:
            InputError: as in `__call__`; not a video, no frames, an output that cannot be written.
        """
        options = replace(options or ClipOptions(), **changes)

        def prepare(long_side):
            return self.prepare_style(style, style_weights=style_weights, **options.style_arguments(long_side))

        return paint_clip(self, content, prepare, output, options, mask=mask, resume=resume, progress=progress)

    @property
    def fingerprint(self):
        """SHA-256 (hex) of architecture and weights: a style fits only the model that prepared it.

        Computed once: after training on, make a new Stylizer.
        """
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self._network)
        return self._fingerprint

    def save_style(self, path, style):
        """Write a style that this model prepared to a file, whole or not at all."""
        self._check_own(style)
        own = style if style.fingerprint else Style(style.states, self.fingerprint, style.regions)
        save_style(path, own)

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


def check_weights(weights, count):
    """The weights of a mixture of `count` styles, as a list; equal ones for None. InputError where they do not fit."""
    weights = [1.0] * count if weights is None else list(weights)
    if not count:
        raise InputError("a list of styles is empty; give one or more")
    if len(weights) != count:
        raise InputError(f"{count} styles need {count} weights; `style_weights` has {len(weights)}")
    if not all(np.isfinite(weights)) or min(weights) < 0 or sum(weights) <= 0:
        raise InputError(f"`style_weights` are 0 or more, and not all 0; got {' '.join(map('{:g}'.format, weights))}")
    return weights


def _picture(source, role, long_side, enlarge=False):
    """(RGB uint8 array H x W x 3, its (height, width) before): files and images at `long_side`, arrays as they are."""
    if isinstance(source, (str, os.PathLike, bytes, Image.Image)):
        name = f"the {role}" if isinstance(source, (bytes, Image.Image)) else source
        picture, own_size = read_reduced(source, 0 if enlarge else long_side, name)
        picture = flatten(picture)
        if enlarge:
            picture = scale_to(picture, long_side)
            check_size(picture.shape[1::-1], f"{name} at a long side of {long_side}")
        return picture, own_size
    if not isinstance(source, np.ndarray) or source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
        got = f"an array of {source.dtype} {source.shape}" if isinstance(source, np.ndarray) else type(source).__name__
        kinds = "a path, the bytes of a picture file, a PIL image or a uint8 RGB array H x W x 3"
        raise InputError(f"`{role}` must be {kinds}; got {got}")
    check_size(source.shape[1::-1], f"the {role} array")
    return source, source.shape[:2]


def _to_tensor(images):
    return import_paddle().to_tensor(to_floats(images))


def _without_gradients():
    return import_paddle().no_grad()
