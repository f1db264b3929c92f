"""Compare methods by figures: `python tools/evaluate.py flow|quality|speed|report`; `--help` tells more."""

import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while libraries load, an interrupt is a plain end
    try:
        from ppadaattn.cli.evaluate import main
    except ImportError as error:
        sys.exit(f"error: {error}; from the clone, pip install -e '.[cpu,evaluate]' installs what is needed")
    sys.exit(main())
