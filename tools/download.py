"""List or fetch the files that can be had by name: `python tools/download.py --list`; `--help` tells more."""

import sys

from _launch import PROGRAM, run

if __name__ == "__main__":
    sys.exit(run("download", prog=PROGRAM))
