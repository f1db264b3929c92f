"""The command `convert`: weights and styles from one kind of file to another."""

import os
from pathlib import Path

from ppadaattn.cli.common import Parser, fraction, run
from ppadaattn.errors import InputError
from ppadaattn.files import check_writable
from ppadaattn.model.architecture import CONVENTIONS
from ppadaattn.model.attention import KINDS
from ppadaattn.weights.channels import SAME_WEIGHTS
from ppadaattn.weights.checkpoint import (
    SAFETENSORS_SUFFIX,
    STYLE_SUFFIX,
    WEIGHTS_SUFFIX,
    convert_style,
    is_network,
    read_network,
    save_heads,
    save_weights,
)
from ppadaattn.weights.convert import (
    ENCODER_FILE,
    exchange_encoder,
    has_encoder,
    network_from_arrays,
    network_from_release,
    read_arrays,
    with_encoder,
)
from ppadaattn.weights.zoo import MODELS, encoder_finder, vgg19_file, weights_file


def main(argv=None):
    """Convert weights or a style. Returns the exit status."""
    return run("convert", argv)


def parser(prog="ppadaattn convert"):
    """The options of a conversion."""
    made = Parser(
        prog,
        description="Convert weights: the authors' PyTorch checkpoints or named arrays to a weights file, and weights "
        "files between .pdparams and .safetensors. Convert style files of earlier versions. Width and levels follow "
        "from the tensors.",
        examples=(
            "checkpoints --encoder vgg_normalised.pth --output authors.pdparams",
            "output_dir/full_image-DATE --heads --output heads.safetensors",
        ),
        synonyms={"--vgg": "--encoder", "--save-dir": "--output"},
    )
    made.set_defaults(work=_convert)
    made.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder with latest_net_transformer.pth, latest_net_decoder.pth and, for pictures, "
        "latest_net_adaattn_3.pth; an .npz file of arrays named encoder.conv1_1.weight, adaattn3.f.weight, ...; "
        f"a weights file or the folder of a training; a model's name ({', '.join(MODELS)}); or a .style file of an "
        "earlier version",
    )
    made.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help=f"{WEIGHTS_SUFFIX} or {SAFETENSORS_SUFFIX} for weights, {STYLE_SUFFIX} for a style",
    )
    made.add_argument(
        "--encoder",
        metavar="FILE",
        help="for the authors' checkpoints, heads, and arrays without an encoder: the normalised VGG-19 (.pth, "
        f".pdparams, .npz); default: the {ENCODER_FILE} beside the checkpoints, else the file that training uses, "
        "which is downloaded once",
    )
    made.add_argument(
        "--heads",
        action="store_true",
        help="write the network without its encoder, in float16, with the scales of that encoder's channels",
    )
    made.add_argument(
        "--tolerance",
        type=fraction,
        metavar="D",
        help="with --heads: how far another encoder may be from this one, for heads that were trained with a rounded "
        f"copy of a public encoder (about 0.2 for 8 bits a number); default: {SAME_WEIGHTS}",
    )
    made.add_argument(
        "--to-encoder",
        metavar="FILE",
        help="put this file of the same encoder, normalised over other pictures, in the place of the network's own; "
        "pictures stay the same",
    )
    made.add_argument("--attention", choices=KINDS, help="for an .npz file, which needs it")
    made.add_argument("--conventions", choices=list(CONVENTIONS), help="for an .npz file; default: paper")
    made.add_argument("--about", metavar="TEXT", help="origin of the weights, kept in the file")
    return made


def _convert(args):
    check_writable(args.output)
    sources = Path(args.source).glob("*.pth") if os.path.isdir(args.source) else ()
    for source in (args.source, args.encoder, args.to_encoder, *sources):
        if source and os.path.realpath(args.output) == os.path.realpath(source):
            raise InputError(f"{args.output} is a file to read; choose another --output")
    if _has_suffix(args.source, STYLE_SUFFIX):
        return _style(args)
    if args.tolerance is not None and not args.heads:
        raise InputError("--tolerance is for --heads: give both, or leave it out")
    if not os.path.isdir(args.output) and not _has_suffix(args.output, WEIGHTS_SUFFIX, SAFETENSORS_SUFFIX):
        raise InputError(
            f"--output {args.output}: weights are kept in {WEIGHTS_SUFFIX} or {SAFETENSORS_SUFFIX} files; "
            "give it such a name"
        )
    if os.path.isdir(args.source) and not any(Path(args.source).glob("iter_*_weight.pdparams")):
        network, about = _release(args), ""
    elif _has_suffix(args.source, ".npz", ".pth", ".pt"):
        network, about = _arrays(args), ""
    else:
        network, about = _weights(args)
    if args.to_encoder:
        exchange_encoder(network, args.to_encoder)
    about = about if args.about is None else args.about
    if args.heads:
        save_heads(args.output, network, about, SAME_WEIGHTS if args.tolerance is None else args.tolerance)
    else:
        save_weights(args.output, network, about)
    print(f"{args.output}: {'heads of ' if args.heads else ''}{network.architecture}")
    return 0


def _has_suffix(path, *suffixes):
    return str(path).lower().endswith(suffixes)


def _style(args):
    _refuse_options(
        args, "a style file", "encoder", "heads", "tolerance", "to_encoder", "attention", "conventions", "about"
    )
    if not _has_suffix(args.output, STYLE_SUFFIX):
        raise InputError(
            f"--output {args.output}: {args.source} is a style; give it a name that ends in {STYLE_SUFFIX}"
        )
    convert_style(args.source, args.output)
    print(f"{args.output}: the style of {args.source}, for the same model")
    return 0


def _weights(args):
    """(network, about) of a weights file or a name of the zoo."""
    path = weights_file(args.source)
    if args.encoder and not is_network(path):
        _refuse_options(args, "a file of heads, which says what it is", "attention", "conventions")
    else:
        _refuse_options(args, "a weights file, which says what it is", "encoder", "attention", "conventions")
    return read_network(path, encoder_finder(args.encoder))


def _refuse_options(args, what, *names):
    if any(getattr(args, name) not in (None, False) for name in names):
        *options, last = (f"--{name.replace('_', '-')}" for name in names)
        raise InputError(f"{args.source} is {what}: leave out {', '.join(options)} and {last}")


def _release(args):
    _refuse_options(args, "a folder, whose tensors tell the attention", "attention", "conventions")
    beside = Path(args.source) / ENCODER_FILE
    return network_from_release(args.source, args.encoder or (beside if beside.is_file() else vgg19_file))


def _arrays(args):
    if not _has_suffix(args.source, ".npz"):
        raise InputError(f"{args.source} is a part of the authors' network: give the folder that holds all its files")
    arrays = read_arrays(args.source)
    if not args.attention:
        raise InputError(f"arrays do not determine the attention: give --attention {' or '.join(KINDS)}")
    if not has_encoder(arrays):
        arrays = with_encoder(arrays, args.source, encoder_finder(args.encoder))
    elif args.encoder:
        raise InputError(f"{args.source} holds its own encoder: leave out --encoder")
    return network_from_arrays(arrays, args.source, attention=args.attention, conventions=args.conventions or "paper")
