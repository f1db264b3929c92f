"""Paint pictures and videos in the style of pictures: `python tools/infer.py --help` tells how.

Without an argument it paints the bundled example.
"""

import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while libraries load, an interrupt is a plain end
    try:
        from ppadaattn.cli.infer import main
    except ImportError as error:
        sys.exit(f"error: {error}; from the clone, pip install -e '.[cpu]' installs what is needed")
    sys.exit(main())
