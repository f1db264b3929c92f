"""Paint over HTTP: `python tools/serve.py --help` tells how. It is `ppadaattn serve` for a clone."""

import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while libraries load, an interrupt is a plain end
    try:
        from ppadaattn.cli.serve import main
    except ImportError as error:
        sys.exit(f"error: {error}; from the clone, pip install -e '.[cpu,serve]' installs what is needed")
    sys.exit(main())
