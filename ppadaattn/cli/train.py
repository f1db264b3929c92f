"""Training: tools/main.py."""

import json
import os
import shlex
import sys
from pathlib import Path

from ppadaattn.cli.common import Parser, exit_status
from ppadaattn.errors import InputError
from ppadaattn.train.config import load_config
from ppadaattn.train.data import MissingInputError
from ppadaattn.train.run import train

OWN_FOLDERS = ("-o", "dataset.train.content_root=PHOTOS", "dataset.train.style_root=PAINTINGS")
SMALL_CONFIGURATION = "adaattn_lite_video.yaml"


def main(argv=None):
    """Train, or validate. Returns the exit status."""
    return exit_status(_main, parser().parse_args(argv))


def parser():
    """The options of tools/main.py."""
    made = Parser(
        prog="main.py",
        description="Train as a configuration says. Every key, with its meaning, is in ppadaattn/train/config.py.",
    )
    made.add_argument("-c", "--config-file", required=True, metavar="FILE.yaml", help="see configs/")
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


def _main(args):
    if args.resume and args.load:
        raise InputError("--resume continues with the weights of its checkpoint: give it or --load, not both")
    shortcuts = [f"{key}={json.dumps(value)}" for key, value in (("load", args.load),) if value]
    shortcuts += [f"seed={args.seed}"] if args.seed is not None else []
    config = load_config(args.config_file, [*args.override, *shortcuts])
    try:
        run = train(config, Path(args.config_file).stem, args.resume, args.evaluate_only)
    except InputError as error:
        raise InputError("\n".join([str(error), *_help(error, args, config)])) from None
    if run.stopped_by is not None:
        overrides = [override for override in (*args.override, *shortcuts) if not override.startswith("load=")]
        words = ["-c", args.config_file, *(word for override in overrides for word in ("-o", override))]
        print(f"stopped; to resume: {_command('train', *words, '--resume', run.folder)}", file=sys.stderr)
        return 128 + run.stopped_by
    if run.weights is not None:
        print(f"weights: {run.weights}")
        if config.model.name != "distillation":  # which trains no decoder
            words = ["--model", run.weights, "--content", run.content, "--style", run.style]
            print("to paint:", _command("paint", *words, *["--frames"] * os.path.isdir(run.content)))
    return 0


def _help(error, args, config):
    """Commands that would help where data or weights are missing, a line each."""
    if not any(isinstance(one, MissingInputError) for one in getattr(error, "errors", [error])):
        return
    yield f"with folders of your own: {_command('train', '-c', args.config_file, *OWN_FOLDERS)}"
    if config.encoder_weights is None:
        yield f"without a download: {_command('train', '-c', SMALL_CONFIGURATION, *OWN_FOLDERS)}"


def _command(*words):
    return shlex.join(["ppadaattn", *map(str, words)])
