"""The manifest of a painted data set: what became of each content, one line of JSON each; later runs continue from it.

A line is an object with the keys

    content      name: the path below its folder, with forward slashes
    style        name of the style, in the same way
    seed         that of the draw
    model        name or file of the model
    fingerprint  the first 16 digits of `Stylizer.fingerprint`
    options      {name: value} of the PaintOptions that differ from their defaults
    status       'done' or 'failed'
    error        of a failed one: a sentence

Of several lines on one content the last one counts.
"""

import contextlib
import errno
import json
import os
import threading
from pathlib import Path

from ppadaattn.errors import InputError
from ppadaattn.files import sole_writer

# A picture that is there was painted as the present run would paint it, if these are equal.
DECIDING = ("seed", "style", "fingerprint", "options")


class Manifest:
    """An open manifest, to which any number of threads may append. `writing` opens one."""

    def __init__(self, path, file):
        self._path, self._file, self._appending = path, file, threading.Lock()

    def append(self, entry):
        """Write one dict as a whole line, at once. Raises InputError where it cannot be written."""
        line = f"{json.dumps(entry)}\n".encode()
        with self._appending:
            try:
                if self._file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                raise InputError(f"{self._path} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def writing(path):
    """A Manifest that appends to the file `path`, for one process at a time; its folder is made where it is missing.

    A last line that is cut, as by a power failure, is ended, so that it spoils no other one; it is no JSON, and is
    ignored. Raises InputError where another process writes it, or it cannot be opened.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        stack.enter_context(sole_writer(path.with_name(f".{path.name}.lock"), str(path)))
        try:
            file = stack.enter_context(open(path, "a+b", buffering=0))  # each write goes to the system at once
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read() != b"\n":
                    file.write(b"\n")
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}") from error
        yield Manifest(path, file)


def entries(folder):
    """Yield (path of the manifest, entry) of all manifests in a folder, those of all shards; cut lines are left out."""
    for path in sorted(Path(folder).glob("manifest*.jsonl")):
        try:
            with open(path, "rb") as file:
                for line in file:
                    entry = _parsed(line)
                    if isinstance(entry, dict) and isinstance(entry.get("content"), str):
                        yield path, entry
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _parsed(line):
    """What a line of JSON holds; None for one that is cut."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def painted_before(folder, expected):
    """The names of the contents that are done, as the manifests in a folder say.

    Args:
        folder: of the manifests.
        expected: a function of a name: the entry that the present run would write, or None where it does not paint it.

    Raises:
        InputError: a content was painted otherwise than the present run would paint it.
    """
    done = set()
    for path, entry in entries(folder):
        name = entry["content"]
        own = expected(name)
        if own is None:
            continue
        done.discard(name)
        if entry.get("status") != "done":
            continue
        for key in DECIDING:
            if entry.get(key) != own[key]:
                raise InputError(
                    f"{path}: {name} was painted with the {key} {entry.get(key)!r}, and now it would be {own[key]!r}; "
                    "give the same styles, seed, model and options as before, or another `output`"
                )
        done.add(name)
    return done
