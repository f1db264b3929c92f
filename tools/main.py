"""Train a network: `python tools/main.py -c configs/adaattn_video.yaml`; `--help` tells more."""

import sys

from _launch import PROGRAM, run

if __name__ == "__main__":
    sys.exit(run("train", prog=PROGRAM))
