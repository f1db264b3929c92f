"""Write a model as ONNX programs: `python tools/export.py --model adaattn_lite_video --output exported/`."""

import sys

from ppadaattn.cli.export import main

if __name__ == "__main__":
    sys.exit(main())
