"""Write a model as programs for other runtimes: `python tools/export.py --model adaattn_lite_video --output folder`."""

import sys

from _launch import PROGRAM, run

if __name__ == "__main__":
    sys.exit(run("export", prog=PROGRAM))
