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


def check_writable(path):
    """Raise InputError unless the file or folder `path` could be made. Writes nothing."""
    existing = Path(path).absolute()
    if existing.is_file():
        existing = existing.parent
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise InputError(f"{path} cannot be written: {existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{path} cannot be written: no permission to write in {existing}; choose another --output")
