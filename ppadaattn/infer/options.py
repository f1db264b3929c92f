"""The options of painting, each stated once: default, meaning, limits.

The command line makes its options and their help from these fields, and `Stylizer` and `paint_clip` their signatures: a
new option is one new field here, and the code that reads it.
"""

import inspect
import numbers
import typing
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Callable, NamedTuple, Optional

from ppadaattn.errors import InputError
from ppadaattn.media.images import MIN_SIDE
from ppadaattn.media.video_formats import VIDEO_FORMATS
from ppadaattn.media.video_read import check_times
from ppadaattn.model.style import check_strength


class Limits(NamedTuple):
    """The numbers that an option takes: in words, and as a function that tells whether a number is one."""

    words: str
    hold: Callable


# At 16 a content of 1024 pixels asks for a style of 16384 pixels: no computer has the memory for more.
MOST_STYLE_SCALE = 16

PIXELS = Limits(f"a number of pixels, 0 or at least {MIN_SIDE}", lambda side: side == 0 or side >= MIN_SIDE)
FACTOR = Limits(f"a number above 0 and up to {MOST_STYLE_SCALE}", lambda factor: 0 < factor <= MOST_STYLE_SCALE)
SHARE = Limits("a share, 0 (off) or more and below 1", lambda share: 0 <= share < 1)
FRAMES = Limits("a number of frames, 1 or more", lambda frames: frames >= 1)


def option(default, meaning, *, limits=None, metavar=None, **more):
    """A field of a dataclass of options.

    Args:
        default: its value unless another one is given.
        meaning: one line of help.
        limits: Limits of a number.
        metavar: what stands for the value in the help.
        more: `command_line`, the default of the command line where it is another one; `const`, the value of the option
            alone, without a number; `changes_frames`, False where a resumed video may have another value.
    """
    return field(default=default, metadata={"help": meaning, "limits": limits, "metavar": metavar, **more})


@dataclass(frozen=True)
class PaintOptions:
    """How pictures and videos are painted.

    Raises InputError that names the option: a value of another type or outside its limits.
    """

    # The command line paints photographs of phones, of which the full size takes minutes and gigabytes on a CPU.
    size: int = option(
        0,
        "reduce contents to this long side; 0 leaves them as they are",
        limits=PIXELS,
        metavar="PIXELS",
        command_line=1024,
    )
    style_size: int = option(
        512,
        "reduce styles to this long side; 0 leaves them as they are; smaller gives finer strokes",
        limits=PIXELS,
        metavar="PIXELS",
    )
    style_scale: Optional[float] = option(
        None,
        "instead: the long side of styles is that of the content times this; they are enlarged where needed",
        limits=FACTOR,
        metavar="FACTOR",
    )
    strength: float = option(
        1.0, "how much of the style; the rest is the content, taken as its own style", metavar="0..1"
    )
    preserve_color: bool = option(False, "keep the colours of the content: only the luminance is painted")

    def __post_init__(self):
        for item in fields(self):
            value, limits = getattr(self, item.name), item.metadata["limits"]
            if limits is None or (value is None and item.default is None):
                continue
            whole = value_type(item) is int
            if not isinstance(value, numbers.Integral if whole else numbers.Real) or not limits.hold(value):
                raise InputError(f"`{item.name}` is {limits.words}; got {value!r}")
        check_strength(self.strength)
        if self.style_scale is not None and self.style_size != PaintOptions.style_size:
            raise InputError("`style_size` and `style_scale` both say how large a style is: give one of them")

    def style_arguments(self, content_side):
        """How large styles are for a content of a long side, in pixels: arguments of `Stylizer.prepare_style`."""
        if self.style_scale is None:
            return {"style_size": self.style_size}
        return {"style_size": max(MIN_SIDE, round(self.style_scale * content_side)), "enlarge": True}


@dataclass(frozen=True)
class FileOptions(PaintOptions):
    """How contents in files are painted, whose files say more than their pictures."""

    keep_location: bool = option(
        False,
        "keep the position (GPS) that a content's file tells; date and camera are always kept",
        changes_frames=False,
    )


@dataclass(frozen=True)
class ClipOptions(FileOptions):
    """How videos are painted: the options of files, and these.

    Raises InputError as PaintOptions does.
    """

    start: Optional[float] = option(None, "begin here", metavar="SECONDS")
    end: Optional[float] = option(None, "end here", metavar="SECONDS")
    fps: Optional[float] = option(
        None,
        "frames per second, by leaving out or repeating frames (default: all frames, at the times that they have)",
        metavar="RATE",
    )
    crf: Optional[int] = option(
        None,
        f"quality: 0 is best (default: {VIDEO_FORMATS['.mp4'].crf}, in .webm {VIDEO_FORMATS['.webm'].crf})",
        metavar="N",
    )
    preview: bool = option(False, "write the source beside the painted video")
    batch_size: int = option(1, "frames painted at once", limits=FRAMES, metavar="N", changes_frames=False)
    smooth_statistics: float = option(
        0.0,
        "against flicker: the share that means and deviations of contents (eq. 8) keep of the frames before; 0: off",
        limits=SHARE,
        metavar="SHARE",
    )
    flow_blend: float = option(
        0.0,
        "against flicker: the share of the painted frame before, moved along the optical flow where that can be "
        "trusted; 0: off",
        limits=SHARE,
        metavar="SHARE",
    )

    def __post_init__(self):
        super().__post_init__()
        check_times(self.start, self.end, self.fps)

    def that_change_frames(self):
        """{name: value} of every option that an interrupted video must be resumed with."""
        deciding = [item.name for item in fields(self) if item.metadata.get("changes_frames", True)]
        return {name: getattr(self, name) for name in deciding}


def own_fields(kind):
    """The fields that a dataclass of options adds to the one that it is made from."""
    inherited = {item.name for base in kind.__bases__ if is_dataclass(base) for item in fields(base)}
    return [item for item in fields(kind) if item.name not in inherited]


def value_type(item):
    """The type of an option's value: int for the field of an Optional[int]."""
    return next(iter(typing.get_args(item.type)), item.type)


def takes_options(kind):
    """Decorate a function that takes `**changes` to options of `kind`: show each of these in its signature."""

    def decorate(function):
        signature = inspect.signature(function)
        kept = [item for item in signature.parameters.values() if item.kind is not inspect.Parameter.VAR_KEYWORD]
        shown = [
            inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=item.default, annotation=item.type)
            for item in fields(kind)
        ]
        function.__signature__ = signature.replace(parameters=[*kept, *shown])
        return function

    return decorate
