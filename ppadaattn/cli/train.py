"""The command `train`: train or validate a network."""

import json
import os
import shlex
import sys
from pathlib import Path

from ppadaattn.cli.common import Parser, run
from ppadaattn.errors import InputError
from ppadaattn.resources import find_config

OWN_FOLDERS = ("-o", "dataset.train.content_root=PHOTOS", "dataset.train.style_root=PAINTINGS")
SMALL_CONFIGURATION = "adaattn_lite_video.yaml"


def main(argv=None):
    """Train, or validate. Returns the exit status."""
    return run("train", argv)


def parser(prog="ppadaattn train"):
    """The options of a training."""
    made = Parser(
        prog,
        description="Train as a configuration says. Every key, with its meaning, is in ppadaattn/train/config.py.",
        examples=(
            "-c adaattn_video.yaml",
            "-c adaattn_lite_image.yaml -o dataset.train.content_root=photos dataset.train.style_root=paintings",
        ),
        synonyms={
            "--config": "--config-file",
            "--opt": "--override",
            "--opts": "--override",
            "--pretrained": "--load",
            "--validate": "--evaluate-only",
        },
    )
    made.set_defaults(work=_train)
    made.add_argument(
        "-c",
        "--config-file",
        required=True,
        metavar="FILE.yaml",
        help="a file, or the name of a packaged configuration (see configs/README.md); a folder: all that are in it, "
        "each after the one whose weights it begins with",
    )
    made.add_argument(
        "-o",
        "--override",
        nargs="+",
        action="extend",
        default=[],
        metavar="A.B=C",
        help="keys of the configuration with other values, such as dataset.train.batch_size=2",
    )
    made.add_argument(
        "--resume",
        metavar="CHECKPOINT",
        help="continue from an iter_N_checkpoint.pdparams, or from the newest one in a run's folder, in that folder",
    )
    made.add_argument("--load", metavar="MODEL", help="begin with these weights (the key `load`)")
    made.add_argument("--evaluate-only", action="store_true", help="validate the weights to begin with, and end")
    made.add_argument("--seed", metavar="N", help="the key `seed`")
    return made


def _train(args):
    from ppadaattn.train.config import load_config  # here and below, because the help needs no Paddle
    from ppadaattn.train.run import train

    if args.resume and args.load:
        raise InputError("--resume continues with the weights of its checkpoint: give it or --load, not both")
    shortcuts = [f"{key}={json.dumps(value)}" for key, value in (("load", args.load),) if value]
    shortcuts += [f"seed={args.seed}"] if args.seed is not None else []
    overrides = [*args.override, *shortcuts]
    if find_config(args.config_file).is_dir():
        return _train_folder(args, overrides)
    config = load_config(args.config_file, overrides)
    try:
        done = train(config, Path(args.config_file).stem, args.resume, args.evaluate_only)
    except InputError as error:
        raise InputError("\n".join([str(error), *_help(error, args, config)])) from None
    if done.stopped_by is not None:
        kept = [override for override in overrides if not override.startswith("load=")]
        print(f"stopped; to resume: {_again(args, kept)} --resume {shlex.quote(str(done.folder))}", file=sys.stderr)
        return 128 + done.stopped_by
    if done.weights is not None:
        print(f"weights: {done.weights}")
        if config.model.name != "distillation":  # which trains no decoder
            words = ["--model", done.weights, "--content", done.content, "--style", done.style]
            print("to paint:", _command(args, "paint", *words, *["--frames"] * os.path.isdir(done.content)))
    return 0


def _train_folder(args, overrides):
    from ppadaattn.train.series import read_series, train_series

    for name, given in (("resume", args.resume), ("load", args.load), ("evaluate_only", args.evaluate_only)):
        if given:
            raise InputError(f"`{name}` is for one configuration, and {args.config_file} is a folder; give a file")
    stages = read_series(find_config(args.config_file), overrides)
    try:
        failed, stopped_by = train_series(stages, lambda sentence: print(sentence, flush=True))
    except InputError as error:
        raise InputError("\n".join([str(error), *_help(error, args, stages[0].config)])) from None
    if stopped_by is not None:
        print(f"stopped; to resume: {_again(args, overrides)}", file=sys.stderr)
        return 128 + stopped_by
    if failed:
        print(f"error: not trained: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _again(args, overrides):
    """The command that began this training, without what is for its beginning alone."""
    return _command(args, "train", "-c", args.config_file, *(word for one in overrides for word in ("-o", one)))


def _help(error, args, config):
    """Commands that would help where data or weights are missing, a line each."""
    from ppadaattn.train.data import is_missing_input

    if not is_missing_input(error):
        return
    yield f"with folders of your own: {_command(args, 'train', '-c', args.config_file, *OWN_FOLDERS)}"
    if config.encoder_weights is None:
        yield f"without a download: {_command(args, 'train', '-c', SMALL_CONFIGURATION, *OWN_FOLDERS)}"


def _command(args, command, *words):
    """A command as the user would type it: this one as it was started, others by the front door."""
    program = shlex.split(args.parser.prog) if command == "train" else ["ppadaattn", command]
    return shlex.join([*program, *map(str, words)])
