"""Paint pictures and videos in the style of pictures: `python tools/infer.py --help` tells how.

Without an argument it paints the bundled example.
"""

import sys

from _launch import PROGRAM, run

if __name__ == "__main__":
    sys.exit(run("paint", prog=PROGRAM))
