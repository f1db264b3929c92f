"""Paint pictures and videos: make options and a plan of the command line, which `pictures` or `videos` carries out."""

import argparse
import functools
import os
import re
import shlex
import sys
from dataclasses import fields, replace

from ppadaattn.cli import camera, cluster, data_sets, pictures, videos
from ppadaattn.cli.common import DEVICE_HELP, Parser, run, whole_number
from ppadaattn.cli.pictures import PictureOptions
from ppadaattn.cli.styles import MODES, existing, style_specs
from ppadaattn.cli.videos import VideoOptions
from ppadaattn.errors import InputError, note
from ppadaattn.files import check_writable
from ppadaattn.infer.engine import ENGINES
from ppadaattn.infer.options import ClipOptions, FileOptions, PaintOptions, own_fields, value_type
from ppadaattn.infer.stylizer import is_style_file, load
from ppadaattn.media.images import FORMATS
from ppadaattn.media.video_formats import VIDEO_FORMATS
from ppadaattn.resources import packaged
from ppadaattn.runtime import current_device
from ppadaattn.weights.checkpoint import STYLE_SUFFIX
from ppadaattn.weights.zoo import DEFAULT_MODEL, DEFAULT_VIDEO_MODEL, MODELS

EXAMPLES = packaged("examples")
EXAMPLE_PAIR = (EXAMPLES / "content" / "still_life.jpg", EXAMPLES / "style" / "brush_strokes.jpg")

# Fields that one kind of contents alone has: an error with the other kind, unless they are left at their defaults.
FOR_PICTURES = own_fields(PictureOptions)
FOR_VIDEOS = [*own_fields(VideoOptions), *own_fields(ClipOptions)]
FOR_DATA_SETS = ("seed", "shard", "ray")
SIZE = next(item for item in fields(PaintOptions) if item.name == "size")
FOR_ALL = [*own_fields(PaintOptions), *own_fields(FileOptions)]


def main(argv=None):
    """Paint pictures and videos. Returns the exit status."""
    return run("paint", argv)


def parser(prog="ppadaattn paint"):
    """The options of painting."""
    made = Parser(
        prog,
        description="Paint pictures and videos in the style of pictures, each content in each style. "
        "Without --content and --style it paints the bundled example.",
        epilog="models: " + "; ".join(f"{name}: {model.description}" for name, model in MODELS.items()),
        examples=(
            "--content photo.jpg --style painting.jpg --output painted.jpg",
            "--content clip.mp4 --style painting.jpg --output painted.mp4",
        ),
        synonyms={"--alpha": "--strength", "--content-size": "--size"},
    )
    made.set_defaults(work=_paint)
    _add_files(made)
    _add_options(made.add_argument_group("pictures and videos"), FOR_ALL)
    _add_styles(made.add_argument_group("several styles"))
    _add_regions(made.add_argument_group("regions"))
    _add_options(made.add_argument_group("pictures"), FOR_PICTURES)
    _add_options(made.add_argument_group("videos"), FOR_VIDEOS)
    _add_data_sets(made.add_argument_group("data sets"))
    return made


def _add_files(group):
    files = {"nargs": "+", "action": "extend", "metavar": "FILE"}
    group.add_argument("--content", **files, help="pictures or videos: files, folders or globs; camera:0: a camera")
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
        help=f"{', '.join(MODELS)}, a weights file, or the folder of a training "
        f"(default: {DEFAULT_VIDEO_MODEL} for videos, {DEFAULT_MODEL} for pictures)",
    )
    group.add_argument("--device", help=DEVICE_HELP)
    group.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="what runs the network: Paddle layer by layer (eager), Paddle's inference runtime or ONNX Runtime with an "
        "exported program (faster on a CPU), or ONNX Runtime where it is installed (default: %(default)s)",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="keep the pictures that PATH holds already; continue a video that was interrupted",
    )


def _add_styles(group):
    group.add_argument(
        "--style-mode",
        choices=MODES,
        help="each for itself, a mixture of them, or all side by side as if one picture "
        "(default: each; mix with --style-weights or several --style-mask)",
    )
    group.add_argument("--style-weights", type=float, nargs="+", metavar="W", help="one a style, for a mixture")
    group.add_argument("--save-style", metavar=f"FILE{STYLE_SUFFIX}", help="keep the prepared style, for this model")


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


def _add_data_sets(group):
    group.add_argument(
        "--random-style",
        action="store_true",
        help="paint each picture of folders, at any depth, in one style, drawn at random from files and folders at any "
        "depth; PATH gets the same folders, and a manifest from which the same command continues",
    )
    group.add_argument("--seed", type=whole_number(0, what="seed"), metavar="N", help="of the draw (default: 0)")
    group.add_argument(
        "--ray",
        nargs="?",
        const=cluster.LOCAL,
        metavar="ADDRESS",
        help="paint on a Ray cluster: its address, auto for the one that is found, or all cores of this machine",
    )
    group.add_argument("--shard", type=_shard, metavar="I/N", help="paint the I-th of N parts, from 1/N to N/N")


def _shard(text):
    """A type of arguments: a Shard."""
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"expected a part such as 1/8, from 1/8 to 8/8; got {text}")
    return data_sets.Shard(*map(int, match.groups()))


def _add_options(group, items):
    """Add an option for each of these fields of a dataclass of options."""
    for item in items:
        meaning = {"default": _default(item), "help": item.metadata["help"]}
        if value_type(item) is bool:
            meaning["action"] = "store_true"
        else:
            meaning.update(type=_number(item), metavar=item.metadata["metavar"])
            if item.default is not None:
                meaning["help"] += " (default: %(default)s)"
            if "const" in item.metadata:
                meaning.update(nargs="?", const=item.metadata["const"])
        group.add_argument(_option(item), **meaning)


def _default(item):
    return item.metadata.get("command_line", item.default)


def _option(item):
    return f"--{item.name.replace('_', '-')}"


def _number(item):
    """The type of the argument of a field: a number within its limits."""
    kind, limits = value_type(item), item.metadata["limits"]
    if limits is None:
        return kind

    def number(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not limits.hold(value):
            raise argparse.ArgumentTypeError(f"expected {limits.words}; got {text}")
        return value

    return number


def _paint(args):
    contents, styles = _contents_and_styles(args)
    if args.random_style:
        return _paint_data_set(args, contents, styles)
    given = [f"--{word}" for word in FOR_DATA_SETS if getattr(args, word) is not None]
    if given:
        raise InputError(f"{given[0]} goes with --random-style")
    if any(map(camera.is_camera, contents)):
        return _paint_camera(args, contents, styles)
    specs = style_specs(styles, args.style_mask, args.style_weights, args.style_mode)
    are_clips = bool(contents) and videos.are_clips(contents, args.output, args.frames)
    kind, options_kind = (videos, VideoOptions) if are_clips else (pictures, PictureOptions)
    options = options_kind(**{item.name: getattr(args, item.name) for item in fields(options_kind)})
    _check(args, contents, specs, options, are_clips)
    mask = existing(args.content_mask, "--content-mask") if args.content_mask else None
    plan = kind.plan(contents, specs, args.output, options, mask=mask, resume=args.resume) if contents else None
    model = args.model or (DEFAULT_VIDEO_MODEL if are_clips else DEFAULT_MODEL)
    stylizer = load(model, device=args.device, engine=args.engine)
    if args.save_style:
        stylizer.save_style(args.save_style, specs[0].prepare(stylizer, **options.style_arguments(0)))
        print(f"{args.save_style}: the style {specs[0].name}, for the model {model}")
    if plan is None:
        return 0
    status = kind.paint(stylizer, plan, options)
    if are_clips and not args.model:
        note(f"painted by {model}, the model for videos; --model chooses another one")
    if status > 128:
        words = [word for word in args.command_line if word != "--resume"]
        print(f"stopped; to resume: {shlex.join([*words, '--resume'])}", file=sys.stderr)
    return status


def _paint_camera(args, contents, styles):
    """Paint a camera in a window with each style in turn."""
    if len(contents) > 1:
        raise InputError("a camera is painted alone: give --content nothing else")
    _refuse_others(args, "a camera", "resume")
    options = PaintOptions(**{item.name: getattr(args, item.name) for item in fields(PaintOptions)})
    if options.size == _default(SIZE):
        options = replace(options, size=camera.SIDE)
    if options.style_scale is not None:
        raise InputError("--style-scale does nothing with a camera: give --style-size")
    folder = args.output
    check_writable(folder, folder=True)
    stylizer = load(args.model or DEFAULT_VIDEO_MODEL, device=args.device, engine=args.engine)
    specs = style_specs(styles, None, None, None)
    prepared = [(spec.name, spec.prepare(stylizer, **options.style_arguments(0))) for spec in specs]
    return camera.paint(stylizer, contents[0], prepared, folder, options)


def _paint_data_set(args, contents, styles):
    """Paint each picture of folders in a style that is drawn at random."""
    if not args.content:
        raise InputError("--random-style paints folders: give --content and --style")
    _refuse_others(args, "--random-style")
    options = FileOptions(**{item.name: getattr(args, item.name) for item in fields(FileOptions)})
    if args.ray is not None and options.style_scale is not None:
        raise InputError("--style-scale does nothing with --ray: give --style-size")
    plan = data_sets.plan(contents, styles, args.output, options, seed=args.seed or 0, shard=args.shard)
    model = args.model or DEFAULT_MODEL
    stylizer = load(model, device=args.device, engine=args.engine)
    if args.ray is None:
        return data_sets.paint(stylizer, plan, options)
    path = os.path.abspath(model) if os.path.exists(model) else model
    network = cluster.Model(path, current_device().partition(":")[0], args.engine, stylizer.fingerprint)
    with cluster.connected(args.ray):
        return data_sets.paint(stylizer, plan, options, functools.partial(cluster.outcomes, network))


def _refuse_others(args, what, *words):
    """InputError where an option is given that pictures or videos alone have, or one of `words`: `what` has none."""
    alone = (*FOR_PICTURES, *FOR_VIDEOS)
    given = [_option(item) for item in alone if getattr(args, item.name) != _default(item)]
    words = ("content_mask", "style_mask", "style_mode", "style_weights", "save_style", *words)
    given += [f"--{word.replace('_', '-')}" for word in words if getattr(args, word)]
    if given:
        raise InputError(f"{given[0]} does nothing with {what}: leave it out")


def _contents_and_styles(args):
    """Lists of words: those of the command line, or the bundled example where it has neither."""
    if args.save_style and not args.style:
        raise InputError("--save-style needs --style, the picture to keep")
    if not args.save_style and bool(args.content) != bool(args.style):
        raise InputError("--content and --style go together: give both, or neither for the bundled example")
    if args.style:
        return args.content or [], args.style
    if not all(path.is_file() for path in EXAMPLE_PAIR):
        raise InputError("the bundled example is part of a clone, not of this installation: give --content and --style")
    return tuple([str(path)] for path in EXAMPLE_PAIR)


def _check(args, contents, specs, options, are_clips):
    """InputError where options do not go together."""
    others, what = (FOR_PICTURES, "pictures") if are_clips else (FOR_VIDEOS, "videos")
    for item in others if contents else ():
        if getattr(args, item.name) != _default(item):
            raise InputError(f"{_option(item)} is for {what}, and {contents[0]} is none")
    if options.style_scale is not None and any(is_style_file(path) for spec in specs for path in spec.paths):
        raise InputError(f"--style-scale cannot change a {STYLE_SUFFIX} file, whose size is that it was made with")
    if args.style_mask and not args.content_mask and not args.save_style:
        raise InputError("--style-mask needs --content-mask, which says where each of its regions goes")
    if args.save_style:
        if len(specs) > 1:
            raise InputError("--save-style keeps one style, or several with --style-mode mix or concat")
        if options.style_scale is not None:
            raise InputError("--save-style knows no content for --style-scale: give --style-size")
        if not args.save_style.lower().endswith(STYLE_SUFFIX):
            raise InputError(f"--save-style {args.save_style}: give it a name that ends in {STYLE_SUFFIX}")
        check_writable(args.save_style)
