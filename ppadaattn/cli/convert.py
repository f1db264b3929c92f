"""The command `convert`: weights and styles from one kind of file to another."""

import os
from pathlib import Path

from ppadaattn.cli.common import Parser, run
from ppadaattn.errors import InputError
from ppadaattn.files import check_writable
from ppadaattn.model.architecture import CONVENTIONS
from ppadaattn.model.attention import KINDS
from ppadaattn.weights.checkpoint import (
    SAFETENSORS_SUFFIX,
    STYLE_SUFFIX,
    WEIGHTS_SUFFIX,
    build_network,
    convert_style,
    network_weights,
    read_weights,
    set_weights,
    write_weights,
)
from ppadaattn.weights.convert import ENCODER_FILE, network_from_arrays, network_from_release, read_arrays
from ppadaattn.weights.zoo import MODELS, vgg19_file, weights_file


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
            "adaattn_lite_image --output adaattn_lite_image.safetensors",
        ),
        synonyms={"--vgg": "--encoder", "--save-dir": "--output"},
    )
    made.set_defaults(work=_convert)
    made.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder with latest_net_transformer.pth, latest_net_decoder.pth and, for pictures, "
        "latest_net_adaattn_3.pth; an .npz file of arrays named encoder.conv1_1.weight, adaattn3.f.weight, ...; "
        f"a weights file; a model's name ({', '.join(MODELS)}); or a .style file of an earlier version",
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
        help=f"for a folder: the normalised VGG-19 (.pth, .pdparams, .npz); default: its {ENCODER_FILE}, else the file "
        "that training uses, which is downloaded once",
    )
    made.add_argument("--attention", choices=KINDS, help="for an .npz file, which needs it")
    made.add_argument("--conventions", choices=list(CONVENTIONS), help="for an .npz file; default: paper")
    made.add_argument("--about", metavar="TEXT", help="origin of the weights, kept in the file")
    return made


def _convert(args):
    check_writable(args.output)
    sources = Path(args.source).glob("*.pth") if os.path.isdir(args.source) else ()
    for source in (args.source, args.encoder, *sources):
        if source and os.path.realpath(args.output) == os.path.realpath(source):
            raise InputError(f"{args.output} is a file to read; choose another --output")
    if _has_suffix(args.source, STYLE_SUFFIX):
        return _style(args)
    if not os.path.isdir(args.output) and not _has_suffix(args.output, WEIGHTS_SUFFIX, SAFETENSORS_SUFFIX):
        raise InputError(
            f"--output {args.output}: weights are kept in {WEIGHTS_SUFFIX} or {SAFETENSORS_SUFFIX} files; "
            "give it such a name"
        )
    if os.path.isdir(args.source):
        network, about = _release(args), ""
    elif _has_suffix(args.source, ".npz", ".pth", ".pt"):
        network, about = _arrays(args), ""
    else:
        network, about = _weights(args)
    about = about if args.about is None else args.about
    weights = network_weights(network)
    write_weights(args.output, {"architecture": network.architecture, "about": about, "weights": weights})
    print(f"{args.output}: {network.architecture}")
    return 0


def _has_suffix(path, *suffixes):
    return str(path).lower().endswith(suffixes)


def _style(args):
    _refuse_options(args, "a style file", "encoder", "attention", "conventions", "about")
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
    _refuse_options(args, "a weights file, which says what it is", "encoder", "attention", "conventions")
    saved = read_weights(path)
    network = build_network(path, saved["architecture"], saved["weights"])
    set_weights(network, saved["weights"], path)
    return network, saved["about"]


def _refuse_options(args, what, *names):
    if any(getattr(args, name) is not None for name in names):
        *options, last = (f"--{name}" for name in names)
        raise InputError(f"{args.source} is {what}: leave out {', '.join(options)} and {last}")


def _release(args):
    _refuse_options(args, "a folder, whose tensors tell the attention", "attention", "conventions")
    beside = Path(args.source) / ENCODER_FILE
    return network_from_release(args.source, args.encoder or (beside if beside.is_file() else vgg19_file))


def _arrays(args):
    if args.encoder:
        raise InputError(f"{args.source} is no folder: --encoder is for one with the authors' checkpoints")
    if not _has_suffix(args.source, ".npz"):
        raise InputError(f"{args.source} is a part of the authors' network: give the folder that holds all its files")
    arrays = read_arrays(args.source)
    if not args.attention:
        raise InputError(f"arrays do not determine the attention: give --attention {' or '.join(KINDS)}")
    return network_from_arrays(arrays, args.source, attention=args.attention, conventions=args.conventions or "paper")
