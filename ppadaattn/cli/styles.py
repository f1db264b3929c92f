"""The styles of a command line: each for itself, mixed, or side by side, with their masks."""

import functools
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ppadaattn.errors import InputError, note
from ppadaattn.infer.stylizer import check_weights, is_style_file
from ppadaattn.media.images import find_images, read_image
from ppadaattn.model.regions import FREE, partner
from ppadaattn.model.style import Style

import numpy as np
from PIL import Image, ImageColor

MODES = ("each", "mix", "concat")
KEPT_STYLES = 4  # as many as an interpolation grid has; prepared styles are large


@dataclass(frozen=True)
class StyleSpec:
    """One or more styles that paint a picture together.

    Attributes:
        paths: of pictures or style files.
        masks: for each style the path of a mask, a colour (red, green, blue) for the whole of it, or None.
        weights: one a style for a mixture; None for styles side by side.
    """

    paths: tuple
    masks: tuple
    weights: Optional[tuple] = None

    @property
    def name(self):
        """For names of files."""
        return "+".join(path.stem for path in self.paths)

    def prepare(self, stylizer, **sizes):
        """The Style; `sizes` are `style_size` and `enlarge` of `Stylizer.prepare_style`."""
        try:
            styles = [_prepare(stylizer, path, mask, sizes) for path, mask in zip(self.paths, self.masks)]
        except MemoryError:
            raise InputError(f"the style {self.name} needs more memory than there is; make it smaller") from None
        if len(styles) == 1:
            return styles[0]
        if self.weights is not None:
            return Style.mix(styles, self.weights)
        try:
            return functools.reduce(Style.__add__, styles)
        except TypeError:
            raise InputError("a style file that holds a mixture cannot be put beside another style") from None

    def thumbnail(self, side):
        """The styles side by side, to look at: uint8 H x W x 3; a style file is a grey square."""
        squares = [np.full((side, side, 3), 224, np.uint8) if is_style_file(p) else read_image(p) for p in self.paths]
        if len(squares) == 1:
            return squares[0]
        height = max(1, side // len(squares))
        squares = [np.asarray(Image.fromarray(s[:, :, :3]).resize((height, height), Image.LANCZOS)) for s in squares]
        return np.hstack(squares)


def _prepare(stylizer, path, mask, sizes):
    if isinstance(mask, tuple):
        if is_style_file(path):
            raise InputError(f"{path} is a style file, whose regions are in it; give its mask when it is made")
        return stylizer.prepare_style(path, **sizes).as_region(mask)
    return stylizer.prepare_style(path, mask=mask, **sizes)


def style_preparer(stylizer, options, kept=KEPT_STYLES):
    """The function (StyleSpec, long side of a content in pixels) -> Style, which prepares nothing twice in a row.

    Any number of threads may call it: one prepares a style, and the others that want the same one wait for it.

    Args:
        stylizer: a Stylizer.
        options: a PaintOptions.
        kept: how many prepared styles are kept, those that were used last.
    """

    @functools.lru_cache(kept)
    def place_of(spec, **sizes):
        return threading.Lock(), []  # the list is for the Style, as soon as it is prepared

    finding = threading.Lock()  # two threads that want one style must find the same place

    def prepared(spec, content_side):
        sizes = options.style_arguments(content_side)
        with finding:
            preparing, styles = place_of(spec, **sizes)
        with preparing:
            if not styles:
                styles.append(spec.prepare(stylizer, **sizes))
        return styles[0]

    return prepared


def find_styles(patterns):
    """Pictures and style files named by files, folders and globs, in the order given.

    A file that is named twice counts twice, as two corners of a grid or with two masks; folders and globs repeat none.
    """
    styles = []
    for pattern in patterns:
        if os.path.isfile(pattern):
            styles.append(Path(pattern))
        else:
            styles += [path for path in find_images([pattern]) if path not in styles]
    return styles


def style_specs(patterns, masks=None, weights=None, mode=None):
    """The StyleSpecs of the words of a command line; each argument is what its option was given.

    Raises InputError: weights or masks that do not fit the styles, options that do not go together.
    """
    styles = find_styles(patterns)
    if masks is not None and len(masks) != len(styles):
        raise InputError(f"{len(styles)} styles need {len(styles)} masks; --style-mask has {len(masks)}")
    together = weights is not None or (masks is not None and len(styles) > 1)
    mode = mode or ("mix" if together else "each")
    if weights is not None and mode != "mix":
        raise InputError(f"--style-weights are for a mixture; --style-mode is {mode}")
    masks = tuple(map(_mask, masks)) if masks else (None,) * len(styles)
    if mode == "each":
        return [StyleSpec((style,), (mask,)) for style, mask in zip(styles, masks)]
    return [StyleSpec(tuple(styles), masks, _shares(weights, len(styles)) if mode == "mix" else None)]


def sources(specs, mask):
    """The files that are read besides contents: styles, their masks, and the content's mask."""
    masks = [mask for spec in specs for mask in spec.masks if isinstance(mask, Path)]
    return [*(path for spec in specs for path in spec.paths), *masks, *filter(None, [mask])]


def _shares(weights, count):
    """Weights divided by their sum, with a note where that changes them."""
    checked = check_weights(weights, count)
    total = sum(checked)
    shares = tuple(weight / total for weight in checked)
    if weights is not None and abs(total - 1) > 1e-6:
        note(f"the weights sum to {total:g}; used as {', '.join(map('{:.3g}'.format, shares))}")
    return shares


def _mask(text):
    if os.path.exists(text) or Path(text).suffix:
        return existing(text, "--style-mask")
    try:
        colour = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise InputError(f"--style-mask {text}: there is no such file, and no such colour") from None
    if partner(colour, [FREE]):
        raise InputError(f"--style-mask {text}: black is no region; give another colour")
    return colour


def existing(path, option):
    """The path of a file; InputError where there is none."""
    if not os.path.isfile(path):
        raise InputError(f"{option}: there is no file {path}")
    return Path(path)
