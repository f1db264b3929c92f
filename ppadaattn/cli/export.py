"""The command `export`: models as programs for other runtimes."""

import shlex
from pathlib import Path

from ppadaattn.cli.common import Parser, run
from ppadaattn.errors import InputError, note
from ppadaattn.files import check_writable
from ppadaattn.infer import export_onnx, export_paddle
from ppadaattn.infer.programs import PROGRAMS, signature
from ppadaattn.infer.stylizer import load
from ppadaattn.serve.export_web import NPM_FOLDER, PINNED, RUNTIME, save_page
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
        "a state. Or write a page that paints in the visitor's browser.",
        examples=(
            "--model adaattn_lite_video --output exported",
            "--web page",
        ),
        synonyms={"--save-dir": "--output", "--output-dir": "--output", "--weights": "--model"},
    )
    made.set_defaults(work=_export)
    made.add_argument(
        "--model",
        help=f"{', '.join(MODELS)}, or a weights file (default: {DEFAULT_MODEL}; with --web both small models)",
    )
    made.add_argument(
        "--format",
        choices=FORMATS,
        help="onnx, whose pictures are uint8 [H, W, 3]; onnx-floats, whose pictures are float32 [1, 3, H, W] "
        "in [0, 1]; inference: that of Paddle's own inference runtime, also with floats (default: onnx)",
    )
    made.add_argument("--output", metavar="FOLDER", help="for the files of the programs")
    made.add_argument("--web", metavar="FOLDER", help="instead: for a page that paints in the browser, as static files")
    made.add_argument(
        "--onnxruntime-web",
        metavar="FOLDER",
        help=f"with --web: files of the npm package, which are copied (default: {NPM_FOLDER.as_posix()} where it is "
        "here, else the page loads them from a pinned address)",
    )
    return made


def _export(args):
    if bool(args.web) == bool(args.output):
        raise InputError("give --output for programs, or --web for a page: one of them")
    if args.web:
        return _export_page(args)
    if args.onnxruntime_web:
        raise InputError("--onnxruntime-web is for --web")
    args.model, args.format = args.model or DEFAULT_MODEL, args.format or next(iter(FORMATS))
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


def _export_page(args):
    if args.format:
        raise InputError("--format is for --output; the page has programs of its own")
    address = save_page(args.web, args.model, args.onnxruntime_web)
    print(f"{args.web}: the page; to look at it: python -m http.server --directory {shlex.quote(args.web)}")
    if address != RUNTIME:
        note(f"{NPM_FOLDER.as_posix()} is not here, so the page loads ONNX Runtime from {PINNED}")
    return 0
