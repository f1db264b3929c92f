"""The command `convert`: weights of other origin to a weights file."""

import os
from pathlib import Path

from ppadaattn.cli.common import Parser, run
from ppadaattn.errors import InputError
from ppadaattn.files import check_writable
from ppadaattn.model.attention import KINDS
from ppadaattn.model.network import CONVENTIONS
from ppadaattn.weights.checkpoint import save_weights
from ppadaattn.weights.convert import ENCODER_FILE, network_from_arrays, network_from_release, read_arrays
from ppadaattn.weights.zoo import vgg19_file


def main(argv=None):
    """Convert weights. Returns the exit status."""
    return run(parser(), argv)


def parser(prog="ppadaattn convert"):
    """The options of a conversion."""
    made = Parser(
        prog,
        description="Turn the authors' PyTorch checkpoints, or named arrays, into a weights file. Width and levels "
        "follow from the tensors.",
        examples=(
            "checkpoints --encoder vgg_normalised.pth --output authors.pdparams",
            "arrays.npz --attention softmax --output mine.pdparams",
        ),
        synonyms={"--vgg": "--encoder", "--save-dir": "--output"},
    )
    made.set_defaults(work=_convert)
    made.add_argument(
        "source",
        metavar="FOLDER|FILE.npz",
        help="a folder with latest_net_transformer.pth, latest_net_decoder.pth and, for pictures, "
        "latest_net_adaattn_3.pth; or arrays named encoder.conv1_1.weight, adaattn3.f.weight, ...",
    )
    made.add_argument("--output", required=True, metavar="FILE.pdparams")
    made.add_argument(
        "--encoder",
        metavar="FILE",
        help=f"for a folder: the normalised VGG-19 (.pth, .pdparams, .npz); default: its {ENCODER_FILE}, else the file "
        "that training uses, which is downloaded once",
    )
    made.add_argument("--attention", choices=KINDS, help="for FILE.npz, which needs it")
    made.add_argument("--conventions", choices=list(CONVENTIONS), help="for FILE.npz; default: paper")
    made.add_argument("--about", default="", metavar="TEXT", help="origin of the weights, kept in the file")
    return made


def _convert(args):
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
            f"{args.source} is a folder, whose tensors determine the attention: leave out --attention and --conventions"
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
        raise InputError(f"arrays do not determine the attention: give --attention {' or '.join(KINDS)}")
    return network_from_arrays(arrays, args.source, attention=args.attention, conventions=args.conventions or "paper")
