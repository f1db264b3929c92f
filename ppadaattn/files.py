"""Files that are either whole or not there."""

import contextlib
import errno
import os
import tempfile
import time
from pathlib import Path

from ppadaattn.errors import InputError, note

if os.name == "nt":
    import msvcrt
else:
    import fcntl

LOCK_POLL = 0.2  # seconds between two looks at a lock that another process has


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


@contextlib.contextmanager
def atomic_folder(path):
    """As `atomic_write`, for a folder with all its files; where another process was first, its folder stays."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as outer:
            temporary = Path(outer, path.name)
            temporary.mkdir()
            yield temporary
            try:
                os.replace(temporary, path)
            except OSError:
                if not path.is_dir():
                    raise
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


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
        raise InputError(f"{path} cannot be written: no permission to write in {existing}; choose another place")


@contextlib.contextmanager
def lock(path):
    """Let one process at a time into the block, of all that lock the same `path`; the others wait, with a note.

    The system opens the lock when its process ends, however that comes. The empty file `path` is made and stays: a
    process that waits has it open already. Raises InputError where it cannot be made.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(path, "a"))
            if not _try_lock(file):
                note(f"another process works on this: waiting until {path} is free")
                while not _try_lock(file):
                    time.sleep(LOCK_POLL)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
        yield


def _try_lock(file):
    try:
        if os.name == "nt":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise
        return False
    return True


def cache_folder():
    """Where downloads are kept: $PPADAATTN_HOME, or ~/.cache/ppadaattn."""
    return Path(os.environ.get("PPADAATTN_HOME") or "~/.cache/ppadaattn").expanduser()
