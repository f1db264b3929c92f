"""The command `export`: models as programs for other runtimes."""

from pathlib import Path

from ppadaattn.cli.common import Parser, run
from ppadaattn.files import check_writable
from ppadaattn.infer import export_onnx, export_paddle
from ppadaattn.infer.programs import PROGRAMS, signature
from ppadaattn.infer.stylizer import load
from ppadaattn.weights.zoo import DEFAULT_MODEL, MODELS

# {name: (writer, form of the pictures)}; the first is the default.
FORMATS = {
    "onnx": (export_onnx, "bytes"),
    "onnx-floats": (export_onnx, "floats"),
    "inference": (export_paddle, "floats"),
}


def main(argv=None):
    """Export a model. Returns the exit status."""
    return run("export", argv)


def parser(prog="ppadaattn export"):
    """The options of an export."""
    made = Parser(
        prog,
        description="Write a model as three programs for pictures of any size from 17 pixels a side: `network` paints "
        "a content in a style; `style` gives the state of a style, which can be kept; `content` paints a content with "
        "a state.",
        examples=(
            "--model adaattn_lite_video --output exported",
            "--model my_weights.pdparams --output exported --format inference",
        ),
        synonyms={"--save-dir": "--output", "--output-dir": "--output", "--weights": "--model"},
    )
    made.set_defaults(work=_export)
    made.add_argument(
        "--model", default=DEFAULT_MODEL, help=f"{', '.join(MODELS)}, or a weights file (default: %(default)s)"
    )
    made.add_argument(
        "--format",
        choices=FORMATS,
        default=next(iter(FORMATS)),
        help="onnx, whose pictures are uint8 [H, W, 3]; onnx-floats, whose pictures are float32 [1, 3, H, W] "
        "in [0, 1]; inference: that of Paddle's own inference runtime, also with floats (default: %(default)s)",
    )
    made.add_argument("--output", required=True, metavar="FOLDER", help="for the files of the programs")
    return made


def _export(args):
    folder = Path(args.output)
    check_writable(folder, folder=True)
    network = load(args.model, device="cpu", engine="eager").network
    writer, form = FORMATS[args.format]
    about = {
        "model": Path(args.model).stem,
        **({"licence": MODELS[args.model].licence} if args.model in MODELS else {}),
    }
    options = {"form": form, "about": about} if writer is export_onnx else {}
    for program in PROGRAMS:
        files = writer.save_program(network, program, folder, **options)
        inputs, outputs = map(", ".join, signature(network, program))
        print(f"{', '.join(map(str, files))}: {inputs} -> {outputs}")
    return 0
