"""Models as programs for other runtimes: tools/export.py."""

from pathlib import Path

from ppadaattn import onnx_graph
from ppadaattn.cli.common import Parser, exit_status
from ppadaattn.files import atomic_write, check_writable
from ppadaattn.stylizer import load
from ppadaattn.zoo import DEFAULT_MODEL, MODELS


def main(argv=None):
    """Export a model. Returns the exit status."""
    return exit_status(_export, parser().parse_args(argv))


def parser():
    """The options of tools/export.py."""
    made = Parser(
        prog="export.py",
        description="Write a model as two ONNX programs for pictures of any size from 17 pixels a side: style.onnx "
        "gives the state of a style, which can be kept; content.onnx paints a content with a state.",
    )
    made.add_argument(
        "--model", default=DEFAULT_MODEL, help=f"{', '.join(MODELS)}, or a weights file (default: %(default)s)"
    )
    made.add_argument("--output", required=True, metavar="FOLDER", help="for style.onnx and content.onnx")
    return made


def _export(args):
    folder = Path(args.output)
    check_writable(folder, folder=True)
    network = load(args.model, device="cpu", engine="eager").network
    programs = {"style": onnx_graph.style_program(network), "content": onnx_graph.content_program(network)}
    for name, program in programs.items():
        with atomic_write(folder / f"{name}.onnx") as temporary:
            temporary.write_bytes(program.SerializeToString())
        tensors = [[value.name for value in values] for values in (program.graph.input, program.graph.output)]
        print(f"{folder / name}.onnx: {', '.join(tensors[0])} -> {', '.join(tensors[1])}")
    return 0
