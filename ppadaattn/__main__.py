"""The front door: `ppadaattn COMMAND ...`, or `python -m ppadaattn COMMAND ...`."""

import sys

from ppadaattn.cli.common import Parser, plain_output, run
from ppadaattn.version import __version__

# A command and its module in ppadaattn.cli, which is imported only where it is the one to run: its line in the help.
COMMANDS = {
    "paint": "paint pictures and videos in the style of pictures",
    "train": "train a network as a configuration says",
    "evaluate": "compare methods by figures",
    "export": "write a model as programs for other runtimes",
    "download": "list or fetch the files that can be had by name",
    "convert": "turn the authors' checkpoints, or named arrays, into a weights file",
    "serve": "paint over HTTP",
}


def main(argv=None, prog="ppadaattn"):
    """Carry a command out. Returns the exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    with plain_output():
        command = parser(prog).parse_args(words[:1]).command
    return run(command, words[1:], f"{prog} {command}")


def parser(prog="ppadaattn"):
    """The parser of the first word."""
    made = Parser(
        prog,
        description="AdaAttN: arbitrary style transfer for pictures and video.",
        epilog=f"`{prog} COMMAND --help` tells the options of a command.",
        examples=("paint", "train --help"),
    )
    made.add_argument("--version", action="version", version=f"ppadaattn {__version__}")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    return made


if __name__ == "__main__":
    sys.exit(main(prog="python -m ppadaattn"))
