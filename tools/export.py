"""Write a model as programs for other runtimes: `python tools/export.py --model adaattn_lite_video --output folder`."""

import sys

from ppadaattn.cli.export import main

if __name__ == "__main__":
    sys.exit(main())
