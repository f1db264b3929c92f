"""The command `train`: train or validate a network."""

import json
import shlex
import sys
from pathlib import Path

from ppadaattn.cli.common import Parser, run
from ppadaattn.config import load_config
from ppadaattn.errors import InputError
from ppadaattn.train.run import train


def main(argv=None):
    """Train, or validate. Returns the exit status."""
    return run(parser(), argv)


def parser(prog="ppadaattn train"):
    """The options of a training."""
    made = Parser(
        prog,
        description="Train as a configuration says. Every key of it, with its meaning, is in ppadaattn/config.py.",
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
        help="a file, or the name of a packaged configuration (see configs/README.md)",
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
        help="go on from an iter_N_checkpoint.pdparams, or from the newest one in a run's folder, in that folder",
    )
    made.add_argument("--load", metavar="MODEL", help="begin with these weights (the key `load`)")
    made.add_argument("--evaluate-only", action="store_true", help="validate the weights to begin with, and end")
    made.add_argument("--seed", metavar="N", help="the key `seed`")
    return made


def _train(args):
    if args.resume and args.load:
        raise InputError("--resume goes on with the weights of its checkpoint: give it or --load, not both")
    shortcuts = [f"load={json.dumps(args.load)}"] if args.load else []
    shortcuts += [f"seed={args.seed}"] if args.seed is not None else []
    config = load_config(args.config_file, [*args.override, *shortcuts])
    folder, stopped_by = train(config, Path(args.config_file).stem, args.resume, args.evaluate_only)
    if stopped_by is None:
        return 0
    words = [*shlex.split(args.parser.prog), "-c", args.config_file]
    # The checkpoint has all weights: there are none to load.
    words += [word for override in (*args.override, *shortcuts) for word in ("-o", override) if "load=" not in override]
    print(f"stopped; to go on: {shlex.join([*words, '--resume', str(folder)])}", file=sys.stderr)
    return 128 + stopped_by
