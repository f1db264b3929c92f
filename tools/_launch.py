"""How every tool begins: it needs libraries that a fresh machine may not have, and takes a second to load them."""

import importlib
import signal
import sys


def launch(command, extras="cpu"):
    """Carry out a command of `ppadaattn.cli` and end with its exit status.

    Args:
        command: name of its module.
        extras: those of setup.py that install what it needs.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while libraries load, an interrupt is a plain end
    try:
        module = importlib.import_module(f"ppadaattn.cli.{command}")
    except ImportError as error:
        sys.exit(f"error: {error}; from the clone, pip install -e '.[{extras}]' installs what is needed")
    sys.exit(module.main())
