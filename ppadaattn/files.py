"""Files that are either whole or not there."""

import contextlib
import os
from pathlib import Path

from ppadaattn.errors import InputError


@contextlib.contextmanager
def atomic_write(path):
    """Give a temporary name beside `path`; rename it to `path` if the block succeeds, remove it if not.

    The folder is made where it is missing. The temporary name keeps the suffix of `path`.
    Raises InputError when the file cannot be written (no permission, disk full, not a folder).
    """
    path = Path(path)
    if not path.name:
        raise InputError(f"{str(path)!r} is no file name")
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_writable(path, folder=False):
    """Raise InputError unless the file `path`, or files in the folder `path`, could be written. Writes nothing."""
    existing = Path(path).absolute()
    if not folder:
        existing = existing.parent
    while not os.path.lexists(existing):
        existing = existing.parent
    if not os.path.isdir(existing):
        raise InputError(f"{path} cannot be written: {existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{path} cannot be written: no permission to write in {existing}; choose another --output")
