"""Paint pictures in the style of others: `python tools/infer.py --help` tells how.

Without an argument it paints the bundled example.
"""

import sys

if __name__ == "__main__":
    try:
        from ppadaattn.cli import infer
    except ImportError as error:
        sys.exit(f"error: {error}; from the clone, pip install -e '.[cpu]' installs what is needed")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(infer())
