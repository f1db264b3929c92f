"""The command `evaluate`: methods compared by figures."""

import shlex

from ppadaattn.cli.common import DEVICE_HELP, Parser, add_field, pixels, run, seconds, whole_number
from ppadaattn.config import read_config
from ppadaattn.device import select_device
from ppadaattn.errors import note
from ppadaattn.evaluation import measuring, tables
from ppadaattn.evaluation.config import FlowError, Quality, Report, Speed
from ppadaattn.evaluation.methods import clips_by_name, load_method, name_methods, parse_method, pictures_by_name
from ppadaattn.evaluation.report import write_report
from ppadaattn.evaluation.speed import parse_size
from ppadaattn.evaluation.temporal import DEFINITION, FLOWS
from ppadaattn.media.images import find_images


def main(argv=None):
    """Evaluate methods. Returns the exit status."""
    return run("evaluate", argv)


def parser(prog="ppadaattn evaluate"):
    """The options of an evaluation."""
    made = Parser(
        prog,
        description="Compare methods by figures. Tables are Markdown, on stdout.",
        examples=(
            "speed --methods adaattn_lite_image adaattn_lite_video",
            "report evaluate/small.yaml --output report",
        ),
    )
    commands = made.add_subparsers(metavar="COMMAND", required=True)
    _add_flow(commands)
    _add_quality(commands)
    _add_painted(commands)
    _add_speed(commands)
    _add_report(commands)
    return made


def _command(commands, work, name, text, description="", **options):
    made = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}. {description}", **options)
    made.set_defaults(work=work)
    return made


def _add_methods(made, more=""):
    made.add_argument(
        "--methods",
        nargs="+",
        required=True,
        metavar="METHOD",
        help=f"models of the zoo, weights files, or NAME=FILE{more}",
    )
    made.add_argument("--device", help=DEVICE_HELP)


def _add_pictures(made, name):
    made.add_argument(f"--{name}", nargs="+", required=True, metavar="FILE", help="pictures, folders, globs")


def _add_flow(commands):
    made = _command(
        commands,
        _flow,
        "flow",
        "optical-flow error of clips, as table 2",
        f"{DEFINITION}{FLOWS['computed']}",
        examples=(
            "--methods adaattn_lite_image adaattn_lite_video --clips clip.mp4 --styles paintings",
            "--methods adaattn_lite_video --clips sintel/clean/alley_1 --styles painting.jpg --truth",
        ),
    )
    _add_methods(made)
    made.add_argument("--clips", nargs="+", required=True, metavar="CLIP", help="video files, folders of frames")
    _add_pictures(made, "styles")
    frames = whole_number(2, what="number of frames")
    add_field(made, FlowError, "frames", "at most, of a clip", type=frames, metavar="N")
    made.add_argument(
        "--size",
        type=pixels(zero=True),
        metavar="PIXELS",
        help=f"long side of frames; 0 leaves them as they are (default: {FlowError().size}; with ground truth 0)",
    )
    add_field(made, Report, "style_size", "long side of styles", type=pixels(), metavar="PIXELS")
    made.add_argument(
        "--truth",
        action="store_true",
        help="ground truth instead of computed flow: clips are folders ROOT/clean/NAME as in MPI Sintel, beside "
        "ROOT/flow/NAME/frame_0001.flo and ROOT/occlusions/NAME/frame_0001.png",
    )


def _add_quality(commands):
    made = _command(
        commands,
        _quality,
        "quality",
        "losses and distances of pictures, each content in each style",
        examples=(
            "--methods adaattn_lite_image --contents photos --styles paintings",
            "--methods adaattn_lite_image Mine=mine.pdparams --contents photos --styles paintings --size 512",
        ),
    )
    _add_methods(made)
    _add_pictures(made, "contents")
    _add_pictures(made, "styles")
    add_field(made, Quality, "size", "long side of contents and styles", type=pixels(), metavar="PIXELS")
    _add_encoder(made)


def _add_encoder(made):
    made.add_argument(
        "--encoder",
        metavar="FILE",
        help="VGG-19 for the features (default: the one that training uses; where it cannot be had, the small encoder)",
    )


def _add_painted(commands):
    made = _command(
        commands,
        _painted,
        "painted",
        "distances to pictures that another network has painted, on the same contents and styles",
        examples=(
            "--methods adaattn_lite_image adaattn_lite_video --targets data/official_dev",
            "--methods Mine=mine.pdparams --targets data/official_dev --encoder vgg19.npz",
        ),
    )
    _add_methods(made)
    made.add_argument(
        "--targets",
        required=True,
        metavar="FOLDER",
        help="with content/, style/ and painted/, whose pictures are named STYLE_CONTENT",
    )
    _add_encoder(made)


def _add_speed(commands):
    made = _command(
        commands,
        _speed,
        "speed",
        "time and memory of a picture, as table 1",
        "Ratios are to the first method.",
        examples=(
            "--methods adaattn_lite_image adaattn_lite_video --sizes 512x512 1024x1024",
            "--methods adaattn_lite_image 'SANet={transform: sanet, width: 0.25}'",
        ),
    )
    _add_methods(made, ", or 'NAME={transform: sanet, width: 1.0}': an architecture with random weights")
    add_field(made, Speed, "sizes", "of content and style", nargs="+", metavar="WxH")
    add_field(made, Speed, "runs", "median of so many", type=whole_number(1), metavar="N")
    add_field(
        made,
        Speed,
        "limit",
        "a cell whose first run takes longer is given up, larger sizes are not run",
        type=seconds,
        metavar="SECONDS",
    )


def _add_report(commands):
    made = _command(
        commands,
        _report,
        "report",
        "all that a configuration lists, with charts and contact sheets",
        "What is missing is said and left out; what was measured is kept, and not measured again.",
        examples=(
            "evaluate/small.yaml --output report",
            "my_report.yaml --output report -o speed.runs=10 --anew",
        ),
    )
    made.add_argument(
        "config",
        metavar="FILE.yaml",
        help="a file, or a packaged one of configs/evaluate/; its keys are in ppadaattn/evaluation/config.py",
    )
    made.add_argument("--output", required=True, metavar="FOLDER", help="for report.md and what belongs to it")
    made.add_argument(
        "-o", "--override", nargs="+", action="extend", default=[], metavar="A.B=C", help="keys with other values"
    )
    made.add_argument("--anew", action="store_true", help="measure again what the folder holds already")


def _flow(args):
    options = FlowError(args.frames, 0 if args.truth else FlowError().size, "truth" if args.truth else "computed")
    options.size = options.size if args.size is None else args.size
    methods, styles = _methods(args), pictures_by_name(find_images(args.styles), "styles")
    clips = clips_by_name(args.clips)
    grids, inputs = measuring.measure_flow(
        methods, styles, clips, options, style_size=args.style_size, device=args.device
    )
    print(tables.flow_text(grids, inputs, options, args.style_size))
    return 0


def _quality(args):
    methods, contents = _methods(args), pictures_by_name(find_images(args.contents), "contents")
    styles = pictures_by_name(find_images(args.styles), "styles")
    grids, features = measuring.measure_quality(
        methods, contents, styles, size=args.size, encoder=args.encoder, device=args.device
    )
    print(tables.quality_text(grids, features, args.size))
    return 0


def _speed(args):
    options = Speed(list(dict.fromkeys(args.sizes)), args.runs, args.limit)
    for size in options.sizes:
        parse_size(size)
    grids = measuring.measure_speed(name_methods(list(map(parse_method, args.methods))), options, device=args.device)
    print(tables.speed_text(grids, options, select_device(args.device)))
    return 0


def _painted(args):
    grids, features, skipped = measuring.measure_painted(
        _methods(args), args.targets, encoder=args.encoder, device=args.device
    )
    for name, reason in skipped.items():
        note(f"{name} is left out: {reason}")
    if skipped:
        note(f"{len(skipped)} painted pictures were left out")
    print(tables.painted_text(grids, features))
    return 1 if skipped else 0


def _report(args):
    config = read_config(Report, args.config, args.override)
    problems = write_report(config, args.output, command=shlex.join(args.command_line), anew=args.anew)
    print(f"{args.output}/report.md")
    return 1 if problems else 0


def _methods(args):
    """The methods of a command line; each is loaded once, so that a wrong one is known before anything is measured."""
    methods = name_methods(list(map(parse_method, args.methods)))
    for method in methods:
        load_method(method, args.device, "eager")
    return methods
