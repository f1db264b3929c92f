"""How the tools of this folder begin: each is a command of the package under another name."""

import shlex
import sys

try:
    from ppadaattn.cli.common import run  # noqa: F401 - for the tools
except ImportError as error:
    sys.exit(f"error: {error}; from the clone, pip install -e '.[cpu]' installs what is needed")

PROGRAM = shlex.join(["python", sys.argv[0]])
