"""Models as programs for other runtimes: tools/export.py."""

from pathlib import Path

from ppadaattn.cli.common import Parser, exit_status
from ppadaattn.errors import InputError, nearest
from ppadaattn.files import check_writable
from ppadaattn.infer import export_onnx, export_paddle
from ppadaattn.infer.programs import PROGRAMS, signature
from ppadaattn.infer.stylizer import load
from ppadaattn.weights.zoo import DEFAULT_MODEL, MODELS

FORMATS = {"inference": export_paddle, "onnx": export_onnx}


def main(argv=None):
    """Export a model. Returns the exit status."""
    return exit_status(_export, parser().parse_args(argv))


def parser():
    """The options of tools/export.py."""
    made = Parser(
        prog="export.py",
        description="Write a model as three programs for pictures of any size from 17 pixels a side: `network` paints "
        "a content in a style; `style` gives the state of a style, which can be kept; `content` paints a content with "
        "a state.",
    )
    made.add_argument(
        "--model", default=DEFAULT_MODEL, help=f"{', '.join(MODELS)}, or a weights file (default: %(default)s)"
    )
    made.add_argument(
        "--format",
        default="onnx",
        help="onnx, or inference: that of Paddle's own inference runtime (default: %(default)s)",
    )
    made.add_argument("--output", required=True, metavar="FOLDER", help="for the files of the programs")
    return made


def _export(args):
    if args.format not in FORMATS:
        raise InputError(
            f"there is no format {args.format!r}{nearest(args.format, FORMATS)}; formats: {', '.join(FORMATS)}"
        )
    folder = Path(args.output)
    check_writable(folder, folder=True)
    network = load(args.model, device="cpu", engine="eager").network
    for program in PROGRAMS:
        files = FORMATS[args.format].save_program(network, program, folder)
        inputs, outputs = map(", ".join, signature(network, program))
        print(f"{', '.join(map(str, files))}: {inputs} -> {outputs}")
    return 0
