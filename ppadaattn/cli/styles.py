"""What to paint with: the styles of a command line, alone, mixed or side by side, with their masks."""

import functools
import os
from pathlib import Path

from ppadaattn.errors import InputError, note
from ppadaattn.infer.stylizer import STYLE_SIZE, is_style_file
from ppadaattn.media.images import MIN_SIDE, find_images, read_image
from ppadaattn.model.regions import FREE, partner
from ppadaattn.model.style import Style
from ppadaattn.weights.checkpoint import STYLE_SUFFIX

import numpy as np
from PIL import Image, ImageColor

MODES = ("each", "mix", "concat")


class Look:
    """One or more styles that paint a picture together.

    Attributes:
        name: for names of files.
        paths: of pictures or style files.
        weights: one a style for a mixture; None for styles side by side.
        masks: for each style the path of a mask, a colour for the whole of it, or None.
    """

    def __init__(self, paths, weights=None, masks=None):
        self.paths, self.weights = list(paths), weights
        self.masks = masks or [None] * len(self.paths)
        self.name = "+".join(path.stem for path in self.paths)

    def prepare(self, stylizer, **size):
        """The Style; `size` are `style_size` and `enlarge` of `Stylizer.prepare_style`."""
        try:
            styles = [_prepare(stylizer, path, mask, size) for path, mask in zip(self.paths, self.masks)]
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


def _prepare(stylizer, path, mask, size):
    if isinstance(mask, tuple):
        if is_style_file(path):
            raise InputError(f"{path} is a style file, whose regions are in it; give its mask when it is made")
        return stylizer.prepare_style(path, **size).as_region(mask)
    return stylizer.prepare_style(path, mask=mask, **size)


def find_styles(patterns):
    """Pictures and style files named by files, folders and globs, in the order given."""
    styles = []
    for pattern in patterns:
        if is_style_file(pattern) and os.path.isfile(pattern):
            styles.append(Path(pattern))
        else:
            styles += [path for path in find_images([pattern]) if path not in styles]
    return styles


def looks(args):
    """The Looks of a command line.

    Raises InputError: weights or masks that do not fit the styles, options that do not go together.
    """
    styles = find_styles(args.style)
    masks = _masks(args.style_mask, len(styles))
    together = args.style_weights is not None or (masks is not None and len(styles) > 1)
    mode = args.style_mode or ("mix" if together else "each")
    if args.style_weights is not None and mode != "mix":
        raise InputError(f"--style-weights are for a mixture; --style-mode is {mode}")
    if args.style_scale is not None and any(map(is_style_file, styles)):
        raise InputError(f"--style-scale cannot change a {STYLE_SUFFIX} file, whose size is that it was made with")
    if args.style_mask and not args.content_mask and not args.save_style:
        raise InputError("--style-mask needs --content-mask, which says where each of its regions goes")
    if mode == "each":
        return [Look([style], None, masks and masks[i : i + 1]) for i, style in enumerate(styles)]
    weights = _weights(args.style_weights, len(styles)) if mode == "mix" else None
    return [Look(styles, weights, masks)]


def sources(args):
    """The files besides contents that a command line reads."""
    masks = [mask for look in args.looks for mask in look.masks if isinstance(mask, Path)]
    return [*(path for look in args.looks for path in look.paths), *masks, *filter(None, [args.content_mask])]


def style_size(args, content_side=0):
    """How large styles are for a content of a long side: arguments of `Look.prepare`."""
    if args.style_scale is not None:
        return {"style_size": max(MIN_SIDE, round(args.style_scale * content_side)), "enlarge": True}
    return {"style_size": STYLE_SIZE if args.style_size is None else args.style_size}


def _weights(given, count):
    weights = given if given is not None else [1.0 / count] * count
    if len(weights) != count:
        raise InputError(f"{count} styles need {count} weights; --style-weights has {len(weights)}")
    if not all(np.isfinite(weights)) or min(weights) < 0 or sum(weights) <= 0:
        raise InputError(f"--style-weights are 0 or more, and not all 0; got {' '.join(map('{:g}'.format, weights))}")
    total = sum(weights)
    if abs(total - 1) > 1e-6:
        weights = [weight / total for weight in weights]
        note(f"the weights sum to {total:g}; used as {', '.join(map('{:.3g}'.format, weights))}")
    return weights


def _masks(given, count):
    if given is None:
        return None
    if len(given) != count:
        raise InputError(f"{count} styles need {count} masks; --style-mask has {len(given)}")
    return [_mask(mask) for mask in given]


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
