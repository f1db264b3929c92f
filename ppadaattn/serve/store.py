"""Files of jobs on disk: bounded together, under names that cannot be guessed, removed some time after their use."""

import contextlib
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

# A small file counts as this many bytes, so that the number of files is bounded, too.
LEAST_SIZE = 2**16
# How files of clips begin: {place of the bytes: bytes}. Others never reach FFmpeg, which would also take lists of files
# and addresses to read (playlists).
CLIPS = (
    {4: b"ftyp"},  # MP4, QuickTime
    {4: b"moov"},
    {4: b"mdat"},
    {4: b"wide"},
    {0: b"\x1a\x45\xdf\xa3"},  # Matroska, WebM
    {0: b"RIFF", 8: b"AVI "},
    {0: b"OggS"},
    {0: b"FLV\x01"},
    {0: b"\x00\x00\x01\xba"},  # MPEG
    {0: b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"},  # WMV
    {0: b"\x47", 188: b"\x47"},  # MPEG transport stream
)
HEAD = 189  # bytes that tell
# Pictures in the container of MP4: HEIC, AVIF.
PICTURE_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")


class StoredFile:
    """A file of a client.

    Attributes:
        id: its name for clients. path: where it is. size: in bytes. kind: 'clip', 'gif' (either) or 'picture' (anything
            else, which the worker looks at). held: how many jobs still need it.
    """

    def __init__(self, name, path):
        self.id, self.path, self.size, self.held, self.used = name, path, path.stat().st_size, 0, time.monotonic()
        with open(path, "rb") as file:
            self.kind = kind_of(file.read(HEAD))


def kind_of(head):
    """'clip', 'gif' or 'picture', by the first HEAD bytes of a file."""
    if head[:4] == b"GIF8":
        return "gif"
    if head[4:8] == b"ftyp" and head[8:12] in PICTURE_BRANDS:
        return "picture"
    clip = any(all(head[place:].startswith(mark) for place, mark in marks.items()) for marks in CLIPS)
    return "clip" if clip else "picture"


def new_name():
    """A name that cannot be guessed: 128 bits."""
    return secrets.token_urlsafe(16)


class Store:
    """Files by name, and folders of results, in a temporary folder that `close` removes.

    Args:
        limits: Limits, of which `max_disk` and `keep_seconds` are used.
    """

    def __init__(self, limits):
        self.limits, self.files, self._reserved, self._folders = limits, {}, 0, {}
        self.folder = Path(tempfile.mkdtemp(prefix="ppadaattn_serve_"))

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def used(self):
        """Bytes of all files and folders, and of those that arrive."""
        files = sum(max(LEAST_SIZE, file.size) for file in self.files.values())
        return files + sum(self._folders.values()) + self._reserved

    def room(self):
        """Bytes that are left."""
        return self.limits.max_disk * 2**20 - self.used

    @contextlib.contextmanager
    def arriving(self, size):
        """The path of a new file of at most `size` bytes, which `add` keeps; removed at the end of the block if not."""
        path = self.folder / new_name()
        self._reserved += size
        try:
            yield path
        finally:
            self._reserved -= size
            if path.name not in self.files:
                path.unlink() if path.exists() else None

    def add(self, path):
        """Keep a file. Returns its StoredFile."""
        self.files[path.name] = StoredFile(path.name, path)
        return self.files[path.name]

    def discard(self, name):
        """Remove a file that no job needs."""
        self.files.pop(name).path.unlink()

    def new_folder(self, name):
        """A folder for the result of a job."""
        folder = self.folder / f"job_{name}"
        folder.mkdir()
        self._folders[folder] = LEAST_SIZE
        return folder

    def measure(self, folder):
        """Count what is in a folder."""
        files = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
        self._folders[folder] = max(LEAST_SIZE, sum(map(os.path.getsize, files)))

    def remove_folder(self, folder):
        """Remove a folder of a result."""
        shutil.rmtree(folder, ignore_errors=True)
        self._folders.pop(folder, None)

    def expire(self):
        """Remove the files that no job needs and that were not used for `keep_seconds`."""
        now = time.monotonic()
        for name, file in list(self.files.items()):
            if not file.held and now - file.used > self.limits.keep_seconds:
                self.discard(name)
