"""The console script: `ppadaattn serve`, or `python -m ppadaattn serve`."""

import sys

from ppadaattn.cli import serve
from ppadaattn.cli.common import Parser, exit_status


def main(argv=None):
    """Carry a command out. Returns the exit status."""
    parser = Parser(prog="ppadaattn", description="AdaAttN style transfer. The other tools are in tools/ of a clone.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    options = serve.parser(add_help=False)
    commands.add_parser("serve", parents=[options], help="paint over HTTP", description=options.description)
    return exit_status(serve.serve, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
