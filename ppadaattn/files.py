"""Files and folders that are either whole or not there, locks between processes, and the cache folder."""

import contextlib
import errno
import functools
import hashlib
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import time
import uuid
from pathlib import Path

from ppadaattn.errors import InputError, note, one_line

if os.name == "nt":
    import msvcrt
else:
    import fcntl

LOCK_POLL = 0.2  # seconds between two looks at a lock that another process has
LOCKED_BYTE = 2**30  # of a lock file, on Windows: far behind what it holds, since nobody else can read a locked byte
# What systems answer that know no locks, as some network drives.
NO_LOCKS = {getattr(errno, name) for name in ("ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP") if hasattr(errno, name)}

# Temporary names are .ppadaattn-HOST-PROCESS-RANDOM and the suffix of the final name: short, whatever that name is,
# different in each thread and process, and enough to tell later whether the process that made them is gone.
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_TEMPORARY = re.compile(rf"\.ppadaattn-{_HOST}-(\d+)-[0-9a-f]{{32}}\b")
LONGEST_NAME = 255  # bytes in a name, in nearly all file systems
_ROOM = 10  # bytes for what may be put after a name: _2 and so on, or .parts
_LONGEST_SUFFIX = 16  # a longer one says no format, and would not fit beside the rest in the 255 bytes of a name
_in_use = set()  # temporary paths of this process
_tidied = set()  # folders whose leftovers this process has removed


@contextlib.contextmanager
def atomic_write(path):
    """Give a temporary name beside `path`; rename it to `path` if the block succeeds, remove it if not.

    The folder is made where it is missing. The temporary name keeps the suffix of `path`. Files that a killed process
    left in that folder are removed.
    Raises InputError when the file cannot be written (no permission, disk full, not a folder).
    """
    path = Path(path)
    if not path.name:
        raise InputError(f"{str(path)!r} is no file name")
    try:
        with _temporary_beside(path) as temporary:
            yield temporary
            os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def atomic_folder(path):
    """As `atomic_write`, for a folder with all its files; where another process was first, its folder stays."""
    path = Path(path)
    try:
        with _temporary_beside(path) as temporary:
            temporary.mkdir()
            yield temporary
            try:
                os.replace(temporary, path)
            except OSError:
                if not path.is_dir():
                    raise
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def _temporary_beside(path):
    """A free temporary name beside `path`; what is there at the end of the block is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent)
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= _LONGEST_SUFFIX else ""
    temporary = path.with_name(f".ppadaattn-{_HOST}-{os.getpid()}-{uuid.uuid4().hex}{suffix}")
    _in_use.add(temporary.name)
    try:
        yield temporary
    finally:
        _remove(temporary)
        _in_use.discard(temporary.name)


def _remove_leftovers(folder):
    """Remove what killed processes of this machine left in a folder; each process looks once."""
    folder = os.path.abspath(folder)
    if folder in _tidied:
        return
    _tidied.add(folder)
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            match = _TEMPORARY.match(name)
            if match and name not in _in_use and not _is_running(int(match[1])):
                _remove(Path(folder, name))


def _is_running(process):
    """Whether another process of that number runs. The own number can be that of an earlier process in a container."""
    if process == os.getpid():
        return False
    if os.name == "nt":  # where signal 0 would end the process
        return True
    try:
        os.kill(process, 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, PermissionError)
    return True


def _remove(path):
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def short_name(stem, suffix=""):
    """A name for a file: `stem` and `suffix`, or, where a file system takes no such length, a shorter one with a note.

    The shorter one ends in a digest of the whole stem, so that different stems stay different, and equal ones equal.
    """
    most = LONGEST_NAME - len(os.fsencode(suffix)) - _ROOM
    if len(os.fsencode(stem)) <= most:
        return stem + suffix
    digest = hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]
    short = os.fsencode(stem)[: most - len(digest) - 1].decode(sys.getfilesystemencoding(), "ignore")
    note(f"the name {stem}{suffix} is too long for a file: {short}-{digest}{suffix} is written")
    return f"{short}-{digest}{suffix}"


def check_writable(path, folder=False):
    """Raise InputError unless the file `path`, or files in the folder `path`, could be written. Writes nothing."""
    try:
        existing = Path(path).absolute()
    except FileNotFoundError:
        raise InputError(f"{path} cannot be written: the current folder is gone; give an absolute path") from None
    if not folder:
        if len(os.fsencode(existing.name)) > LONGEST_NAME:
            raise InputError(
                f"{path} cannot be written: its name has more than {LONGEST_NAME} bytes; give a shorter one"
            )
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


class TakenError(InputError):
    """Another process writes there."""


@contextlib.contextmanager
def sole_writer(path, what):
    """Let one process (and thread) at a time into the block, of all that give the same `path`; others are refused.

    The file `path` says which process is at work, and is removed at the end; that of a killed process does not count.
    Where the system knows no locks, nobody is refused.

    Args:
        path: of the lock file. Its folder is made where it is missing.
        what: what the block writes, for the message.

    Raises:
        InputError: another process is in the block, a TakenError; or the file cannot be made.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(path, what)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
        yield
        return
    with file:
        try:
            yield
        finally:
            if os.name == "nt":  # which removes no open file
                file.close()
            _remove(path)


def _locked(path, what):
    """The lock file, open, locked and with the name of this process in it."""
    while True:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(path, "a+", encoding="utf-8", errors="replace"))
            if not _try_lock(file):
                file.seek(0)
                who = one_line(file.read(200)) or "another process"
                raise TakenError(f"{what} is being written by {who}; wait for it, or choose another place")
            if _is_same_file(file, path):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {platform.node()}")
                file.flush()
                stack.pop_all()
                return file


def _is_same_file(file, path):
    """Whether a path still leads to an open file: who had the lock before may have removed it since it was opened."""
    try:
        return os.name == "nt" or os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _try_lock(file):
    try:
        if os.name == "nt":
            file.seek(LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise
        return False
    return True


def cache_folder():
    """Where downloads and programs are kept: $PPADAATTN_HOME, else ~/.cache/ppadaattn, else a temporary folder.

    The temporary folder, with a note, is for a user without a home, or with one where nothing can be written. A cache
    that is there already is used, writable or not.
    """
    given = os.environ.get("PPADAATTN_HOME")
    try:
        folder = Path(given or "~/.cache/ppadaattn").expanduser()
        if given or folder.is_dir():
            return folder
        check_writable(folder)
    except (InputError, OSError, RuntimeError):  # RuntimeError: no HOME, and a user id without a name
        return _temporary_cache()
    return folder


@functools.lru_cache(maxsize=1)
def _temporary_cache():
    """A folder that belongs to this user alone, with a note; others must not be able to put files into it."""
    folder = Path(tempfile.gettempdir(), f"ppadaattn-{os.getuid() if hasattr(os, 'getuid') else 'cache'}")
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700)
    if not _is_own(folder):
        folder = Path(tempfile.mkdtemp(prefix="ppadaattn-"))
    note(f"no home folder can be written, so files are kept in {folder}; PPADAATTN_HOME names another place")
    return folder


def _is_own(folder):
    """Whether it is a folder, no link, in which this user alone can write."""
    with contextlib.suppress(OSError):
        found = os.lstat(folder)
        own = os.name == "nt" or (found.st_uid == os.getuid() and not found.st_mode & 0o022)
        return stat.S_ISDIR(found.st_mode) and own
    return False
