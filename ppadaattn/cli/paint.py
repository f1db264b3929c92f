"""Painting: tools/infer.py."""

import argparse

from ppadaattn.cli import pictures, videos
from ppadaattn.cli.common import DEVICE_HELP, Parser, pixels, run
from ppadaattn.cli.styles import MODES, existing, looks, style_size
from ppadaattn.errors import InputError
from ppadaattn.files import check_writable
from ppadaattn.infer.engine import ENGINES
from ppadaattn.infer.stylizer import STYLE_SIZE, load
from ppadaattn.media.images import FORMATS
from ppadaattn.media.video_formats import VIDEO_FORMATS
from ppadaattn.model.style import check_strength
from ppadaattn.resources import packaged
from ppadaattn.weights.checkpoint import STYLE_SUFFIX
from ppadaattn.weights.zoo import DEFAULT_MODEL, MODELS

CONTENT_SIZE = 1024
GRID_SIDE = 5
MOST_STYLE_SCALE = 16
EXAMPLES = packaged("examples")
EXAMPLE_PAIR = (EXAMPLES / "content" / "still_life.jpg", EXAMPLES / "style" / "brush_strokes.jpg")

# Options that only one kind of work reads: anything but the default is refused elsewhere.
FOR_VIDEOS = ("frames", "start", "end", "fps", "crf", "preview", "batch_size", "smooth_statistics", "flow_blend")
FOR_PICTURES = ("grid", "interpolation_grid")


def main(argv=None):
    """Paint pictures and videos. Returns the exit status."""
    return run(parser(), argv)


def parser(prog="ppadaattn paint"):
    """The options of painting."""
    made = Parser(
        prog,
        description="Paint pictures and videos in the style of pictures, each content in each style. "
        "Without --content and --style it paints the bundled example.",
        epilog="models: " + "; ".join(f"{name}: {model.description}" for name, model in MODELS.items()),
        examples=(
            "--content photo.jpg --style painting.jpg --output painted.jpg",
            "--model adaattn_lite_video --content clip.mp4 --style painting.jpg --output painted.mp4",
        ),
        synonyms={"--alpha": "--strength", "--content-size": "--size"},
    )
    made.set_defaults(work=_infer)
    _add_files(made)
    _add_styles(made.add_argument_group("styles and colours"))
    _add_regions(made.add_argument_group("regions"))
    _add_video(made.add_argument_group("videos"))
    return made


def _add_files(group):
    files = {"nargs": "+", "action": "extend", "metavar": "FILE"}
    group.add_argument("--content", **files, help="pictures or videos: files, folders or globs")
    group.add_argument("--style", **files, help=f"pictures, or {STYLE_SUFFIX} files of --save-style")
    group.add_argument(
        "--output",
        default="output",
        metavar="PATH",
        help=f"a picture ({', '.join(FORMATS)}), a video ({', '.join(VIDEO_FORMATS)}), or a folder for CONTENT_STYLE "
        "files (default: %(default)s)",
    )
    group.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help=f"{', '.join(MODELS)}, or a weights file (default: %(default)s)",
    )
    group.add_argument(
        "--size",
        type=pixels(zero=True),
        default=CONTENT_SIZE,
        metavar="PIXELS",
        help="reduce contents to this long side; 0 leaves them as they are (default: %(default)s)",
    )
    group.add_argument("--device", help=DEVICE_HELP)
    group.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="what runs the network: Paddle layer by layer (eager), Paddle's inference runtime or ONNX Runtime with an "
        "exported program (faster on a CPU), or ONNX Runtime where it is installed (auto)",
    )
    group.add_argument(
        "--grid",
        action="store_true",
        help="a contact sheet of all pairs, contents down and styles across: PATH/grid.png beside the pictures, "
        "or the file PATH alone",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="keep the pictures that PATH holds already; go on with a video that was interrupted",
    )


def _add_styles(group):
    group.add_argument(
        "--style-size",
        type=pixels(zero=True),
        metavar="PIXELS",
        help=f"reduce styles to this long side; smaller gives finer strokes (default: {STYLE_SIZE})",
    )
    group.add_argument(
        "--style-scale",
        type=_positive,
        metavar="FACTOR",
        help="instead: the long side of styles is that of the content times this; they are enlarged where needed",
    )
    group.add_argument("--strength", type=float, default=1.0, metavar="0..1", help="how much of the style (default: 1)")
    group.add_argument("--preserve-color", action="store_true", help="keep the colours of the content")
    group.add_argument(
        "--style-mode",
        choices=MODES,
        help="several styles: each for itself, a mixture of them, or all side by side as if one picture "
        "(default: each; mix with --style-weights or several --style-mask)",
    )
    group.add_argument("--style-weights", type=float, nargs="+", metavar="W", help="one a style, for a mixture")
    group.add_argument(
        "--interpolation-grid",
        type=int,
        nargs="?",
        const=GRID_SIDE,
        metavar="N",
        help=f"N x N mixtures of four styles, which are at the corners, on one picture (default: {GRID_SIDE})",
    )
    group.add_argument("--save-style", metavar=f"FILE{STYLE_SUFFIX}", help="keep the prepared style for this model")


def _add_regions(group):
    group.add_argument(
        "--content-mask",
        metavar="FILE",
        help="regions of the content: one colour each; black and transparent parts are free",
    )
    group.add_argument(
        "--style-mask",
        nargs="+",
        metavar="FILE",
        help="regions of each style; those of one colour belong together. A colour such as red: all of that style",
    )


def _add_video(group):
    group.add_argument(
        "--frames", action="store_true", help="a content folder is a clip of numbered frames, an output folder too"
    )
    group.add_argument("--start", type=float, metavar="SECONDS", help="begin here")
    group.add_argument("--end", type=float, metavar="SECONDS", help="end here")
    group.add_argument("--fps", type=float, metavar="RATE", help="frames per second (default: those of the video)")
    group.add_argument("--crf", type=int, metavar="N", help="quality: 0 is best (default: 18, in .webm 24)")
    group.add_argument("--preview", action="store_true", help="the source beside the painted video")
    group.add_argument("--batch-size", type=int, default=1, metavar="N", help="frames at once (default: 1)")
    group.add_argument(
        "--smooth-statistics",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="against flicker: the share that contents' statistics keep of the frames before (default: 0, off)",
    )
    group.add_argument(
        "--flow-blend",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="against flicker: the share of the frame before, moved along the optical flow (default: 0, off)",
    )


def _positive(text):
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number <= MOST_STYLE_SCALE:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and up to {MOST_STYLE_SCALE}; got {text}")
    return number


def _infer(args):
    _check(args)
    args.looks = looks(args)
    if args.save_style and len(args.looks) > 1:
        raise InputError("--save-style keeps one style, or several with --style-mode mix or concat")
    kind = videos if args.content and videos.are_clips(args) else pictures
    if args.content:
        _refuse_others(args, kind)
    plan = kind.plan(args) if args.content else None
    stylizer = load(args.model, device=args.device, engine=args.engine)
    if args.save_style:
        stylizer.save_style(args.save_style, args.looks[0].prepare(stylizer, **style_size(args)))
        print(f"{args.save_style}: the style {args.looks[0].name}, for the model {args.model}")
    return kind.paint(stylizer, plan, args) if args.content else 0


def _refuse_others(args, kind):
    names, what = (FOR_PICTURES, "pictures") if kind is videos else (FOR_VIDEOS, "videos")
    for name in names:
        if getattr(args, name) != parser().get_default(name):
            raise InputError(f"--{name.replace('_', '-')} is for {what}, and {args.content[0]} is none")


def _check(args):
    check_strength(args.strength)
    if args.save_style and not args.style:
        raise InputError("--save-style needs --style, the picture to keep")
    if not args.save_style and bool(args.content) != bool(args.style):
        raise InputError("--content and --style go together: give both, or neither for the bundled example")
    if args.style_scale is not None and args.style_size is not None:
        raise InputError("--style-size and --style-scale both say how large a style is: give one of them")
    if args.content_mask:
        existing(args.content_mask, "--content-mask")
    if args.save_style:
        if args.style_scale is not None:
            raise InputError("--save-style knows no content for --style-scale: give --style-size")
        if not args.save_style.lower().endswith(STYLE_SUFFIX):
            raise InputError(f"--save-style {args.save_style}: give it a name that ends in {STYLE_SUFFIX}")
        check_writable(args.save_style)
    if not args.content and not args.style:
        if not all(path.is_file() for path in EXAMPLE_PAIR):
            raise InputError(
                "the bundled example is part of a clone, not of this installation: give --content and --style"
            )
        args.content, args.style = ([str(path)] for path in EXAMPLE_PAIR)
