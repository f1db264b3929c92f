"""Compare methods by figures: `python tools/evaluate.py flow|quality|speed|report`; `--help` tells more."""

import sys

from _launch import PROGRAM, run

if __name__ == "__main__":
    sys.exit(run("evaluate", prog=PROGRAM))
