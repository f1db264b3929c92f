"""Named arrays to a weights file: tools/convert_weights.py."""

import os

from ppadaattn.attention import KINDS
from ppadaattn.checkpoint import save_weights
from ppadaattn.cli.common import Parser, exit_status
from ppadaattn.convert import network_from_arrays, read_arrays
from ppadaattn.errors import InputError
from ppadaattn.files import check_writable
from ppadaattn.network import CONVENTIONS


def main(argv=None):
    """Named arrays to a weights file: tools/convert_weights.py. Returns the exit status."""
    parser = Parser(
        prog="convert_weights.py",
        description="Turn named arrays (encoder.conv1_1.weight, adaattn3.f.weight, decoder.merge.weight, ...) into "
        "a weights file. Width and levels are told from the arrays.",
    )
    parser.add_argument("arrays", metavar="FILE.npz")
    parser.add_argument("--output", required=True, metavar="FILE.pdparams")
    parser.add_argument("--attention", required=True, choices=KINDS)
    parser.add_argument("--conventions", default="paper", choices=list(CONVENTIONS), help="default: %(default)s")
    parser.add_argument("--about", default="", metavar="TEXT", help="where the weights come from, kept in the file")
    return exit_status(_convert_weights, parser.parse_args(argv))


def _convert_weights(args):
    check_writable(args.output)
    if os.path.realpath(args.output) == os.path.realpath(args.arrays):
        raise InputError(f"{args.output} is the file to read; choose another --output")
    arrays = read_arrays(args.arrays)
    network = network_from_arrays(arrays, args.arrays, attention=args.attention, conventions=args.conventions)
    save_weights(args.output, network, args.about)
    print(f"{args.output}: {network.architecture}")
    return 0
