"""How a tool of this folder begins: it is a command of the package under another name."""

import shlex
import sys


def launch(command):
    """Carry out a command of `ppadaattn` with the words that this program was given, and end with its exit status."""
    try:
        from ppadaattn.__main__ import carry_out
    except ImportError as error:
        sys.exit(f"error: {error}; from the clone, pip install -e '.[cpu]' installs what is needed")
    sys.exit(carry_out(command, sys.argv[1:], shlex.join(["python", sys.argv[0]])))
