"""Downloads: whole and verified, or not there. Interrupted downloads resume.

`pooch` was tried in place of this module: 36 lines instead of 260, with five more packages to install. 37 of the 81
tests of downloads failed with it, because it neither resumes nor tries an address again, writes whatever a server sends
without a bound on its size, waits for ever on a server that sends a byte now and then, follows redirects from HTTPS to
HTTP, and takes no file: address.
"""

import contextlib
import http.client
import json
import os
import re
import stat
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from ppadaattn.errors import InputError, one_line
from ppadaattn.files import atomic_write
from ppadaattn.progress import progress_bar
from ppadaattn.version import __version__

WAITS = (1, 3, 9)  # seconds before the second, third and fourth try at an address
TIMEOUT = 30  # seconds without a byte after which a try has failed
BLOCK = 2**16
# Over each such time a try must have brought this many bytes: a hundredth of what a slow mobile connection does.
WATCHED = 60
LEAST = 60 * 2**10

# Answers after which another try may go better.
TEMPORARY = {408, 425, 429, 500, 502, 503, 504}


class _FetchError(Exception):
    """A failed try; `again` tells whether another one at the same address may go better."""

    def __init__(self, reason, again=True):
        super().__init__(one_line(reason))
        self.again = again


def download(urls, path, fault, sizes):
    """Download a file to `path`. It gets this name only when it is whole and verified.

    Until then it is `path`.part, with `path`.part.json beside it, which tells what the server called that version of
    the file. The next try, or the next call, resumes it if the server still has the same version.

    Args:
        urls: addresses of the same file, tried in turn, each again after WAITS.
        path: where to; its folder exists. One process at a time (`ppadaattn.files.lock`).
        fault: called with the name of the complete file; gives what is wrong with it, or None.
        sizes: (least, most) bytes that the file may have; more is never written.

    Raises InputError: no address gave the right file (with the reason for each), or nothing can be written here.
    """
    path = Path(path)
    part = _Part(path)
    reasons = []
    try:
        for url in urls:
            for wait in (0, *WAITS):
                time.sleep(wait)
                try:
                    _fetch(url, part, fault, sizes)
                except _FetchError as failure:
                    reason = str(failure)
                    if not failure.again:
                        break
                else:
                    os.replace(part.path, path)
                    part.discard()
                    return
            reasons.append(f"{url}: {reason}")
    except OSError as error:  # those of the network are failures of a try
        raise InputError(f"{part.path} cannot be written: {error.strerror or error}") from None
    raise InputError("; ".join(reasons))


_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class _Part:
    """The beginning of a file, and which version of it that is: {"url", "version", "size" (or None)}."""

    def __init__(self, path):
        self.path = path.with_name(f"{path.name}.part")
        self.origin_path = path.with_name(f"{path.name}.part.json")

    def origin(self, url):
        """What was written down when the part was started, if `url` can resume it; else {}, and it is discarded.

        A part that is a link, or no file at all, is not written to: it could be another user's way into a file here.
        """
        try:
            found = os.lstat(self.path)
            with open(self.origin_path, "rb") as file:
                saved = json.loads(file.read(BLOCK).decode())
            origin = {key: saved[key] for key in ("url", "version", "size")}
            size = origin["size"]
            own = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_size
            known = _is_version(origin["version"]) and (size is None or (type(size) is int and size >= 0))
            if own and known and origin["url"] == url:
                return origin
        except (OSError, KeyError, TypeError, ValueError, RecursionError):
            pass
        self.discard()
        return {}

    def open(self, resume):
        mode = "ab" if resume else "wb"
        return open(self.path, mode, opener=lambda name, flags: os.open(name, flags | _NO_LINK, 0o666))

    def size(self):
        return self.path.stat().st_size

    def write_origin(self, url, version, size):
        """Write down which version of which file the part, which is still empty, will be the beginning of."""
        with atomic_write(self.origin_path) as temporary:
            temporary.write_text(json.dumps({"url": url, "version": version, "size": size}), encoding="utf-8")

    def discard(self):
        for path in (self.path, self.origin_path):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def _fetch(url, part, fault, sizes):
    """Complete the part from `url`, and verify it: one try."""
    origin = part.origin(url)
    there = part.size() if origin else 0
    resumed = bool(there)
    if not resumed or there != origin["size"]:  # else it is complete, and only its check was interrupted
        resumed = _transfer(url, part, origin, there, sizes)
    wrong = fault(part.path)
    if wrong:
        part.discard()
        raise _FetchError(f"what came {wrong}", again=resumed)


def _transfer(url, part, origin, there, sizes):
    """Append what is missing to the part, or write it from the start. Returns whether it was appended."""
    headers = {"User-Agent": f"ppadaattn/{__version__}", "Accept-Encoding": "identity"}
    if there:
        headers.update({"Range": f"bytes={there}-", "If-Range": origin["version"]})
    with contextlib.closing(_open(urllib.request.Request(url, headers=headers), part)) as response:
        # Without 206 the server has another version, or always sends whole files: it is sent from the start.
        resumed = response.status == 206
        length = response.headers.get("Content-Length", "")
        size = int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
        if resumed:
            size = _size_of_range(response, part, origin, there)
        least, most = sizes
        if size is not None and not least <= size <= most:
            raise _FetchError(f"it offers {size} bytes, expected {size_text(sizes)}", again=False)
        with part.open(resumed) as file, progress_bar(
            total=size, initial=there if resumed else 0, unit="B", unit_scale=True, desc=part.path.stem, delay=0.5
        ) as bar:
            if not resumed:
                part.write_origin(url, _version(response), size)
            for block in _blocks(response):
                if file.tell() + len(block) > most:
                    raise _FetchError(f"it sends more than {most} bytes", again=False)
                file.write(block)
                bar.update(len(block))
    end = part.size()
    if size is not None and end > size:
        part.discard()
        raise _FetchError(f"it sends {end} bytes where it offers {size}")
    if end < (least if size is None else size):
        raise _FetchError(f"it broke off after {end} bytes" + ("" if size is None else f" of {size}"))
    return resumed


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to HTTPS, and from HTTP to HTTP; never from HTTPS to what anybody on the way could change."""

    def redirect_request(self, request, file, code, message, headers, url):
        scheme = url.partition(":")[0].lower()
        if scheme not in ("https", request.type):
            raise _FetchError(f"it redirects from {request.type.upper()} to {url}, which is not safe", again=False)
        return super().redirect_request(request, file, code, message, headers, url)

    def http_error_302(self, request, file, code, message, headers):
        try:
            return super().http_error_302(request, file, code, message, headers)
        except Exception:
            file.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _open(request, part):
    """The answer to a request, when its headers are here."""
    opener = urllib.request.build_opener(_SafeRedirects)
    try:
        return _within(WATCHED, lambda: opener.open(request, timeout=TIMEOUT))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the part is no beginning of what the server has now
            part.discard()
        again = error.code in TEMPORARY or error.code == 416
        raise _FetchError(f"it answers {error.code} {error.reason}", again) from None
    except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: an address that is none
        raise _FetchError(getattr(error, "reason", error) or type(error).__name__) from None


def _within(seconds, work):
    """What `work` gives; _FetchError if it takes longer: a server can send headers a byte at a time, without an end."""
    result = {}

    def run():
        try:
            result["value"] = work()
        except BaseException as error:
            result["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not result:
        raise _FetchError(f"it does not answer within {seconds} seconds")
    if "error" in result:
        raise result["error"]
    return result["value"]


def _blocks(response):
    """Its bytes as they come; _FetchError where they break off, or are fewer than LEAST in WATCHED seconds."""
    start, count = time.monotonic(), 0
    try:
        for block in iter(lambda: response.read1(BLOCK), b""):
            yield block
            count += len(block)
            if time.monotonic() - start > WATCHED:
                if count < LEAST:
                    raise _FetchError(f"it sends less than {LEAST} bytes in {WATCHED} seconds")
                start, count = time.monotonic(), 0
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _FetchError(f"it broke off: {error or type(error).__name__}") from None


def _size_of_range(response, part, origin, there):
    """Size of the whole file, as an answer 206 tells it; _FetchError unless it is the range that was asked for."""
    told = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", told.strip())
    start, end, size = map(int, match.groups()) if match else (None, None, None)
    asked = origin and start == there and end + 1 == size == (origin["size"] or size)
    if not asked or _version(response) not in (None, origin["version"]):
        part.discard()
        raise _FetchError(f"it answers 206 with a range that was not asked for ({told or 'none is told'})")
    return size


def _version(response):
    """What tells one version of a file from another: a strong ETag, else the date; None where there is neither."""
    tag = response.headers.get("ETag")
    version = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
    return version if _is_version(version) else None


def _is_version(version):
    """Whether it can stand in a header again."""
    return isinstance(version, str) and re.fullmatch(r"[ -~]{1,200}", version) is not None


def size_text(sizes):
    """'N bytes' or 'N to M bytes'."""
    least, most = sizes
    return f"{least} bytes" if least == most else f"{least} to {most} bytes"
