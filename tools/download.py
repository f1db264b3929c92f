"""List or fetch the files that can be had by name: `python tools/download.py --list`; `--help` tells more."""

import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while libraries load, an interrupt is a plain end
    try:
        from ppadaattn.cli.download import main
    except ImportError as error:
        sys.exit(f"error: {error}; from the clone, pip install -e '.[cpu]' installs what is needed")
    sys.exit(main())
