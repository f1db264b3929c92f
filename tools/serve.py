"""Paint over HTTP: `python tools/serve.py --help` tells how. It is `ppadaattn serve` for a clone."""

import sys

from _launch import PROGRAM, run

if __name__ == "__main__":
    sys.exit(run("serve", prog=PROGRAM))
