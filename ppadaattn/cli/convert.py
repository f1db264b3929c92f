"""The authors' PyTorch checkpoints, or named arrays, to a weights file: tools/convert_weights.py."""

import os
from pathlib import Path

from ppadaattn.cli.common import Parser, exit_status
from ppadaattn.errors import InputError
from ppadaattn.files import check_writable
from ppadaattn.model.attention import KINDS
from ppadaattn.model.network import CONVENTIONS
from ppadaattn.weights.checkpoint import save_weights
from ppadaattn.weights.convert import ENCODER_FILE, network_from_arrays, network_from_release, read_arrays
from ppadaattn.weights.zoo import vgg19_file


def main(argv=None):
    """Weights of other origin to a weights file: tools/convert_weights.py. Returns the exit status."""
    parser = Parser(
        prog="convert_weights.py",
        description="Turn the authors' PyTorch checkpoints, or named arrays, into a weights file. Width and levels are "
        "told from the tensors.",
    )
    parser.add_argument(
        "source",
        metavar="FOLDER|FILE.npz",
        help="a folder with latest_net_transformer.pth, latest_net_decoder.pth and, for pictures, "
        "latest_net_adaattn_3.pth; or arrays named encoder.conv1_1.weight, adaattn3.f.weight, ...",
    )
    parser.add_argument("--output", required=True, metavar="FILE.pdparams")
    parser.add_argument(
        "--encoder",
        metavar="FILE",
        help="for a folder: the normalised VGG-19 (.pth, .pdparams, .npz); default: its vgg_normalised.pth, else the "
        "file that training uses, which is downloaded once",
    )
    parser.add_argument("--attention", choices=KINDS, help="for FILE.npz, which needs it")
    parser.add_argument("--conventions", choices=list(CONVENTIONS), help="for FILE.npz; default: paper")
    parser.add_argument("--about", default="", metavar="TEXT", help="where the weights come from, kept in the file")
    return exit_status(_convert_weights, parser.parse_args(argv))


def _convert_weights(args):
    check_writable(args.output)
    convert, sources = (_release, Path(args.source).glob("*.pth")) if os.path.isdir(args.source) else (_arrays, ())
    for source in (args.source, args.encoder, *sources):
        if source and os.path.realpath(args.output) == os.path.realpath(source):
            raise InputError(f"{args.output} is a file to read; choose another --output")
    network = convert(args)
    save_weights(args.output, network, args.about)
    print(f"{args.output}: {network.architecture}")
    return 0


def _release(args):
    if args.attention or args.conventions:
        raise InputError(
            f"{args.source} is a folder, whose tensors tell the attention: leave out --attention and --conventions"
        )
    beside = Path(args.source) / ENCODER_FILE
    return network_from_release(args.source, args.encoder or (beside if beside.is_file() else vgg19_file))


def _arrays(args):
    if args.encoder:
        raise InputError(f"{args.source} is no folder: --encoder is for one with the authors' checkpoints")
    if Path(args.source).suffix == ".pth":
        raise InputError(f"{args.source} is a part of the authors' network: give the folder that holds all its files")
    arrays = read_arrays(args.source)
    if not args.attention:
        raise InputError(f"arrays do not tell their attention: give --attention {' or '.join(KINDS)}")
    return network_from_arrays(arrays, args.source, attention=args.attention, conventions=args.conventions or "paper")
