"""The zoo's rows and their files: what is documented, and what a download does when something goes wrong."""

import contextlib
import errno
import hashlib
import http.client
import http.server
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import replace

import ppadaattn
from ppadaattn import files
from ppadaattn.cli.download import main
from ppadaattn.errors import InputError, InputNote
from ppadaattn.weights import download as download_module
from ppadaattn.weights import zoo
from ppadaattn.weights.zoo import Row

import numpy as np
import paddle
import pytest
from conftest import ENVIRONMENT, ROOT

CONTENT = np.random.RandomState(0).bytes(300_000)  # several blocks
OTHER = np.random.RandomState(1).bytes(300_000)
HALF = 150_000


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Server:
    """A server of `content` whose answers go wrong as `faults` say, one for each request; afterwards they are right.

    A fault is a status; or 'cut' or 'stall' after half of what is left; 'promise' (more than comes), 'understate',
    'ignore range', 'shifted range', 'no range told', 'range of another version', 'unasked range', 'no length',
    'drip' (a byte at a time, of the body) or 'drip of headers'; or an address that is redirected to; or a function of
    the handler.
    """

    def __init__(self):
        self.content = CONTENT
        self.version = '"first"'
        self.faults = []
        self.requests = []  # (path, Range, status)
        self.released = threading.Event()
        self.before_answer = lambda: None

    def drip(self, handler, data):
        """Send a byte every 20 ms until the client goes or the test ends."""
        with contextlib.suppress(OSError):
            for place in range(len(data)):
                handler.wfile.write(data[place : place + 1])
                handler.wfile.flush()
                if self.released.wait(0.02):
                    return

    def answer(self, handler):
        self.before_answer()
        fault = self.faults.pop(0) if self.faults else None
        wanted = handler.headers["Range"]
        self.requests.append((handler.path, wanted, fault if isinstance(fault, int) else 200))
        if isinstance(fault, int):
            handler.send_error(fault)
            return
        if callable(fault):
            fault(handler)
            return
        if fault and "://" in fault:
            handler.send_response(302)
            handler.send_header("Location", fault)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        if fault == "drip of headers":
            handler.wfile.write(b"HTTP/1.0 200 OK\r\n")
            self.drip(handler, b"X-Header: long\r\n" * 1000)
            return
        start, total, version = 0, len(self.content), self.version
        condition = handler.headers["If-Range"]
        if wanted and fault != "ignore range" and (condition is None or condition == self.version):
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= total:
                handler.send_error(416)
                return
            self.requests[-1] = (handler.path, wanted, 206)
            start -= 7 * (fault == "shifted range")
            version = '"another"' if fault == "range of another version" else version
            handler.send_response(206)
            if fault != "no range told":
                handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        elif fault == "unasked range":
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes 0-{total - 1}/{total}")
        else:
            handler.send_response(200)
        if version:
            handler.send_header("ETag", version)
        body = self.content[start:]
        lie = {"promise": 10, "understate": -10}.get(fault, 0)
        if fault != "no length":
            handler.send_header("Content-Length", len(body) + lie)
        handler.end_headers()
        if fault == "drip":
            self.drip(handler, body)
            return
        handler.wfile.write(body[: HALF if fault in ("cut", "stall") else len(body) + min(0, lie)])
        if fault == "stall":
            handler.wfile.flush()
            self.released.wait(20)


@pytest.fixture
def server():
    made = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            made.answer(self)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        made.url = f"http://127.0.0.1:{running.server_port}/thing.bin"
        yield made
        made.released.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and tries that follow each other at once."""
    monkeypatch.setenv("PPADAATTN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PPADAATTN_OFFLINE", raising=False)
    monkeypatch.setattr(download_module, "WAITS", (0, 0))
    monkeypatch.setattr(download_module, "TIMEOUT", 10)
    monkeypatch.setattr(files, "LOCK_POLL", 0.01)
    return tmp_path / "home"


@pytest.fixture
def row(server, cache, monkeypatch):
    """row(**fields): puts the row `thing`, pinned and at the server, into the zoo."""

    def put(**fields):
        made = Row(
            name="thing",
            file="thing.bin",
            size=len(CONTENT),
            description="a thing",
            encoder="none",
            trained="not at all",
            licence="none",
            sha256=sha256(CONTENT),
            urls=(server.url,),
        )
        made = replace(made, **fields)
        monkeypatch.setitem(zoo.ROWS, "thing", made)
        return made

    put()
    return put


def check_thing(path):
    """The structure of `thing` where no checksum pins it."""
    if path.read_bytes()[:4] not in (CONTENT[:4], OTHER[:4]):
        raise InputError(f"{path} is no thing")


@pytest.fixture
def unpinned(row):
    """The row without a checksum; what decides is `check_thing`."""
    return row(sha256=None, plausible=(200_000, 400_000), check=check_thing)


def is_whole(cache, content=CONTENT):
    """Whether the cache holds the file and nothing else that matters."""
    names = {path.name for path in cache.iterdir()} - {"thing.bin.lock", "thing.bin.sha256"}
    return names == {"thing.bin"} and (cache / "thing.bin").read_bytes() == content


def sentence(error):
    text = str(error.value)
    assert "\n" not in text
    return text


# The table


@pytest.mark.parametrize("name", zoo.BUNDLED)
def test_rows_belong_to_their_files(name):
    row = zoo.ROWS[name]
    path = ROOT / "pretrained" / row.file
    assert path.stat().st_size == row.size <= 8e6
    assert sha256(path.read_bytes()) == row.sha256
    architecture = ppadaattn.load(row.name, device="cpu").network.architecture
    assert {key: architecture[key] for key in row.architecture} == row.architecture


def cells(text):
    """The rows of all Markdown tables, as lists of cells without backticks."""
    return [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("row", zoo.ROWS.values(), ids=zoo.ROWS)
def test_documents_say_what_the_rows_say(row):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert row.name in readme
    if not row.architecture:
        assert row.file in readme
        return
    card = (ROOT / "pretrained" / "README.md").read_text(encoding="utf-8")
    (line,) = [line for line in cells(card) if line[0] == row.file]
    assert line[1].split()[0] == row.architecture["attention"]
    assert str(row.size) in line and row.sha256 in line
    assert f"`width: {row.architecture['width']}`" in card and row.licence in card
    headers = [line for line in cells(card) if "L_gs" in line]
    bundled = [line for line in cells(card) if "(bundled)" in line[0]]
    for name, value in row.figures.items():
        shown = [line[h.index(name)] for h in headers for line in bundled if len(line) == len(h)]
        assert value in map(float, shown)


def test_every_row_can_be_had_and_recognised():
    for name, row in zoo.ROWS.items():
        assert name == row.name and row.description and row.encoder and row.trained and row.licence
        assert row.sha256 or (row.check and row.plausible)
        assert row.urls or (ROOT / "pretrained" / row.file).is_file()
        assert row.sizes[0] <= row.size <= row.sizes[1]
    assert {zoo.DEFAULT_MODEL, zoo.DEFAULT_VIDEO_MODEL} <= set(zoo.BUNDLED) <= set(zoo.MODELS)


# Models by name


def test_unknown_names_list_the_known_ones():
    with pytest.raises(InputError, match="did you mean 'adaattn_lite_image'.*adaattn_lite_image, adaattn_lite_video"):
        ppadaattn.load("adaattn_light_image")
    with pytest.raises(InputError, match="no model or weights file 'xyz.pdparams'; models: adaattn_lite_image"):
        ppadaattn.load("xyz.pdparams")
    with pytest.raises(InputError, match="vgg_normalised is no model that paints; models: adaattn_lite_image"):
        ppadaattn.load("vgg_normalised")


def test_a_changed_or_missing_bundled_file_is_not_used(tmp_path, monkeypatch):
    row = zoo.MODELS["adaattn_lite_image"]
    monkeypatch.setenv("PPADAATTN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(zoo, "FOLDERS", (tmp_path / "nowhere", tmp_path))
    with pytest.raises(InputError, match=r"is missing: it belongs to the repository and is expected at \S+nowhere"):
        ppadaattn.load("adaattn_lite_image")
    (tmp_path / row.file).write_bytes(b"changed")
    with pytest.raises(InputError, match=f"has 7 bytes, not {row.size} bytes: it belongs .*; check it out again"):
        ppadaattn.load("adaattn_lite_image")
    (tmp_path / row.file).write_bytes(bytes(row.size))
    with pytest.raises(InputError, match=f"is not the right file: its SHA-256 is not {row.sha256}"):
        ppadaattn.load("adaattn_lite_image")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / row.file).write_bytes((ROOT / "pretrained" / row.file).read_bytes())
    assert zoo.weights_file("adaattn_lite_image") == tmp_path / "home" / row.file  # the right one elsewhere


# Downloads


def test_a_file_is_downloaded_once(row, server, cache):
    assert zoo.obtain("thing") == cache / "thing.bin"
    assert is_whole(cache)
    assert zoo.obtain("thing") == cache / "thing.bin"
    assert server.requests == [("/thing.bin", None, 200)]


@pytest.mark.parametrize("fault", ["cut", "stall", "no length", "unasked range", 500, 503, 429])
def test_after_a_fault_another_try_brings_the_file(row, server, cache, monkeypatch, fault):
    monkeypatch.setattr(download_module, "TIMEOUT", 0.5 if fault == "stall" else 10)
    server.faults = [fault]
    assert zoo.obtain("thing") == cache / "thing.bin"
    assert is_whole(cache)
    tries = [(wanted, status) for _, wanted, status in server.requests]
    if fault in ("cut", "stall"):
        first = int(re.fullmatch(r"bytes=(\d+)-", tries[1][0])[1])
        assert 0 < first <= HALF and tries == [(None, 200), (f"bytes={first}-", 206)]
    elif fault == "no length":
        assert tries == [(None, 200)]
    else:
        assert len(tries) == 2 and tries[1] == (None, 200)


def test_an_interrupted_download_goes_on_in_the_next_call(row, server, cache):
    server.faults = ["cut", 500, 500]
    with pytest.raises(InputError, match="answers 500") as error:
        zoo.obtain("thing")
    assert f"put {server.url} at {cache / 'thing.bin'}" in sentence(error)
    assert not (cache / "thing.bin").exists()
    assert (cache / "thing.bin.part").read_bytes() == CONTENT[:HALF]
    assert zoo.obtain("thing") == cache / "thing.bin"
    assert is_whole(cache)
    assert server.requests[-1] == ("/thing.bin", f"bytes={HALF}-", 206)


def test_what_was_complete_but_not_verified_is_not_downloaded_again(row, server, cache, monkeypatch):
    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(zoo, "_sha256", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        zoo.obtain("thing")
    assert not (cache / "thing.bin").exists()
    zoo.obtain("thing")
    assert is_whole(cache) and len(server.requests) == 1


@pytest.mark.parametrize("fault", ["ignore range", "shifted range", "no range told", "range of another version", 416])
def test_a_range_that_the_server_does_not_honour(row, server, cache, fault):
    server.faults = ["cut", fault]
    zoo.obtain("thing")
    assert is_whole(cache)
    anew = server.requests[2:]
    assert anew == ([] if fault == "ignore range" else [("/thing.bin", None, 200)])


def test_a_file_that_changes_between_two_tries_is_begun_anew(row, server, cache):
    server.content, server.version = OTHER, '"old"'
    server.faults = ["cut", 503, 503]
    with pytest.raises(InputError):
        zoo.obtain("thing")
    server.content, server.version = CONTENT, '"new"'
    zoo.obtain("thing")
    assert is_whole(cache)
    assert server.requests[-1] == ("/thing.bin", f"bytes={HALF}-", 200)


@pytest.mark.parametrize("version", [None, 'W/"weak"'])
def test_without_a_version_nothing_is_resumed(row, server, cache, version):
    server.version, server.faults = version, ["cut"]
    zoo.obtain("thing")
    assert is_whole(cache)
    assert server.requests == [("/thing.bin", None, 200)] * 2


def test_a_changed_file_under_the_same_version_is_noticed(row, server, cache):
    """The checksum is what counts: the sum of two halves is thrown away, and the whole comes after all."""
    server.content, server.faults = OTHER, ["cut", 500, 500]
    with pytest.raises(InputError):
        zoo.obtain("thing")
    server.content = CONTENT
    zoo.obtain("thing")
    assert is_whole(cache)
    assert [status for *_, status in server.requests[3:]] == [206, 200]


@pytest.mark.parametrize("damage", ["part", "origin", "too long"])
def test_a_damaged_beginning_is_thrown_away(row, server, cache, damage):
    server.faults = ["cut", 500, 500]
    with pytest.raises(InputError):
        zoo.obtain("thing")
    part, origin = cache / "thing.bin.part", cache / "thing.bin.part.json"
    if damage == "part":
        part.write_bytes(bytes(HALF))
    elif damage == "origin":
        origin.write_text("[1")
    else:
        part.write_bytes(bytes(2 * len(CONTENT)))
    zoo.obtain("thing")
    assert is_whole(cache)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"faults": [404]}, "answers 404 Not Found"),
        ({"faults": [500, 502, 503]}, "answers 503"),
        ({"faults": ["promise"] * 3}, "offers 300010 bytes, expected 300000 bytes"),
        ({"faults": ["understate"] * 3}, "offers 299990 bytes, expected 300000 bytes"),
        ({"content": OTHER}, "what came is not the right file: its SHA-256 is not"),
        ({"content": b"<html>log in</html>"}, "offers 19 bytes, expected 300000"),
        ({"content": CONTENT * 2, "faults": ["no length"]}, "sends more than 300000 bytes"),
        ({"content": CONTENT[:HALF], "version": None, "faults": ["no length"] * 3}, "broke off after 150000 bytes"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value,
)
def test_a_wrong_answer_is_one_sentence_and_no_file(row, server, cache, change, match):
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises(InputError, match=match) as error:
        zoo.obtain("thing")
    assert server.url in sentence(error)
    assert not (cache / "thing.bin").exists()
    server.content, server.version, server.faults = CONTENT, '"right"', []
    zoo.obtain("thing")  # and nothing that stayed does harm
    assert is_whole(cache)


@pytest.mark.parametrize("first", [404, "wrong", "unreachable", "down"])
def test_mirrors_are_tried_in_turn(row, server, cache, first):
    mirror = server.url.replace("thing.bin", "mirror/thing.bin")
    row(urls=("http://127.0.0.1:9/thing.bin" if first == "unreachable" else server.url, mirror))
    server.faults = {404: [404], "down": [503] * 3}.get(first, [])
    if first == "wrong":
        answers = iter([OTHER, CONTENT])
        server.before_answer = lambda: setattr(server, "content", next(answers))
    zoo.obtain("thing")
    assert is_whole(cache)
    assert server.requests[-1][0] == "/mirror/thing.bin"
    assert len(server.requests) == {"unreachable": 1, "down": 4}.get(first, 2)


def test_a_part_from_one_mirror_is_not_continued_from_another(row, server, cache):
    mirror = server.url.replace("thing.bin", "mirror/thing.bin")
    row(urls=(server.url, mirror))
    server.faults = ["cut", 500, 404]
    zoo.obtain("thing")
    assert is_whole(cache)
    assert server.requests[-1] == ("/mirror/thing.bin", None, 200)


def test_all_mirrors_are_named_where_none_has_the_file(row, server):
    mirror = server.url.replace("thing.bin", "mirror/thing.bin")
    row(urls=(server.url, mirror))
    server.faults = [404, 403]
    with pytest.raises(InputError) as error:
        zoo.obtain("thing")
    assert f"{server.url}: it answers 404 Not Found; {mirror}: it answers 403 Forbidden" in sentence(error)


def test_waits_grow(row, server, monkeypatch):
    slept = []
    monkeypatch.setattr(download_module, "WAITS", (1, 3, 9))
    monkeypatch.setattr(download_module.time, "sleep", slept.append)
    server.faults = [500] * 4
    with pytest.raises(InputError):
        zoo.obtain("thing")
    assert [wait for wait in slept if wait] == [1, 3, 9] and len(server.requests) == 4


@pytest.mark.parametrize("fault", ["drip", "drip of headers"])
def test_a_server_that_sends_a_byte_now_and_then_is_left(row, server, cache, monkeypatch, fault):
    monkeypatch.setattr(download_module, "WATCHED", 0.3, raising=False)
    server.faults = [fault] * 3
    begin = time.monotonic()
    with pytest.raises(InputError, match="less than 61440 bytes in 0.3 s|not answer within 0.3 s") as error:
        zoo.obtain("thing")
    sentence(error)
    assert time.monotonic() - begin < 20  # a byte every 20 ms would be 100 minutes
    zoo.obtain("thing")
    assert is_whole(cache)


@pytest.fixture
def https(server, monkeypatch):
    """The server's address as if it were HTTPS: requests of https: addresses go to it unencrypted."""

    class Handler(urllib.request.AbstractHTTPHandler):
        def https_open(self, request):
            return self.do_open(http.client.HTTPConnection, request)

        https_request = urllib.request.AbstractHTTPHandler.do_request_

    monkeypatch.setattr(urllib.request, "HTTPSHandler", Handler)
    monkeypatch.setattr(urllib.request, "_opener", None)
    return server.url.replace("http://", "https://")


def test_a_way_from_https_to_http_is_not_taken(row, server, cache, https):
    row(urls=(https,))
    server.faults = [server.url]
    with pytest.raises(InputError, match="it redirects from HTTPS to http://.*, which is not safe") as error:
        zoo.obtain("thing")
    sentence(error)
    assert len(server.requests) == 1 and not (cache / "thing.bin").exists()
    server.faults = [https.replace("thing", "moved")]
    zoo.obtain("thing")
    assert is_whole(cache) and server.requests[-1][0] == "/moved.bin"


def test_redirects_are_followed_elsewhere(row, server, cache):
    server.faults = [server.url.replace("thing", "moved")]
    zoo.obtain("thing")
    assert is_whole(cache) and server.requests[-1][0] == "/moved.bin"


@pytest.mark.parametrize(
    "address", ["ftp://127.0.0.1:9/x", "file:///etc/passwd", "http://[", "http://a b\x01/", "x://y"]
)
def test_odd_redirects_are_one_sentence(row, server, address):
    server.faults = [address] * 3
    with pytest.raises(InputError) as error:
        zoo.obtain("thing")
    assert sentence(error).isprintable()


def test_whatever_a_server_says_is_one_short_line(row, server, cache):
    def shout(handler):
        handler.wfile.write(b"HTTP/1.0 404 \x1b[2J\x07" + b"loud " * 5000 + b"\r\n\r\n")

    def range_of_lines(handler):
        handler.wfile.write(
            b"HTTP/1.0 206 OK\r\nContent-Range: bytes 0-\xb2/" + b"9" * 6000 + b"\r\nContent-Length: \xb2\r\n\r\n"
        )

    for fault in (shout, range_of_lines):
        server.faults = [fault] * 3
        with pytest.raises(InputError) as error:
            zoo.obtain("thing")
        assert sentence(error).isprintable() and len(sentence(error)) < 800
    zoo.obtain("thing")
    assert is_whole(cache)


@pytest.mark.parametrize("place", ["thing.bin.part", "thing.bin.part.json"])
@pytest.mark.parametrize("kind", ["link", "hard link", "dangling link"])
def test_links_are_not_written_through(row, server, cache, tmp_path, place, kind):
    server.faults = ["cut", 500, 500]
    with pytest.raises(InputError):
        zoo.obtain("thing")
    victim = tmp_path / "victim"
    if kind != "dangling link":
        victim.write_bytes((cache / place).read_bytes())
    before = victim.read_bytes() if victim.exists() else None
    (cache / place).unlink()
    if kind == "hard link":
        os.link(victim, cache / place)
    else:
        (cache / place).symlink_to(victim)
    zoo.obtain("thing")
    assert is_whole(cache) and not (cache / "thing.bin").is_symlink()
    assert (victim.read_bytes() if victim.exists() else None) == before


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff\xfe",
        b"[" * 60_000,
        b"{" * 200_000,
        b"3",
        b"null",
        b'{"url": "URL", "version": 5, "size": 300000}',
        b'{"url": "URL", "version": ["a"], "size": 300000}',
        b'{"url": "URL", "version": "a\\r\\nX-Header: b", "size": 300000}',
        b'{"url": "URL", "version": "\\u20ac", "size": 300000}',
        b'{"url": "URL", "version": "\\"first\\"", "size": "300000"}',
        b'{"url": "URL", "version": "\\"first\\"", "size": -1}',
        b'{"url": "URL", "version": "\\"first\\"", "size": true}',
    ],
)
def test_damaged_bookkeeping_is_discarded(row, server, cache, damage):
    server.faults = ["cut", 500, 500]
    with pytest.raises(InputError):
        zoo.obtain("thing")
    (cache / "thing.bin.part.json").write_bytes(damage.replace(b"URL", server.url.encode()))
    zoo.obtain("thing")
    assert is_whole(cache) and server.requests[-1] == ("/thing.bin", None, 200)


# The disk


def test_a_damaged_file_is_replaced(row, cache):
    cache.mkdir()
    (cache / "thing.bin").write_bytes(CONTENT[:-1])
    with pytest.warns(InputNote, match="has 299999 bytes, not 300000 bytes; it was downloaded again"):
        zoo.obtain("thing")
    assert is_whole(cache)


def test_a_damaged_file_is_not_used_offline(row, cache):
    cache.mkdir()
    (cache / "thing.bin").write_bytes(OTHER)
    with pytest.raises(InputError, match="is not the right file.*nothing is downloaded"):
        zoo.obtain("thing", offline=True)


def test_a_full_disk_keeps_what_came_and_goes_on_later(row, server, cache, monkeypatch):
    real_open = open

    def full_disk(path, mode="r", **keywords):
        file = real_open(path, mode, **keywords)
        if str(path).endswith(".part") and mode[0] in "wa":
            write = file.write

            class Full:
                def __enter__(self):
                    return self

                def __exit__(self, *_):
                    file.close()

                def write(self, block):
                    if file.tell() >= HALF:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    return write(block)

                tell = staticmethod(file.tell)

            return Full()
        return file

    with monkeypatch.context() as context:
        context.setattr(download_module, "open", full_disk, raising=False)
        with pytest.raises(InputError, match=r"thing\.bin\.part cannot be written: No space left") as error:
            zoo.obtain("thing")
    assert f"put {server.url} at" in sentence(error)
    assert len(server.requests) == 1  # another try would not help
    zoo.obtain("thing")
    assert is_whole(cache) and server.requests[-1][2] == 206


@pytest.mark.parametrize("place", ["folder", "lock", "part", "name"])
def test_a_cache_that_cannot_be_written(row, cache, monkeypatch, place):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    if place == "folder":
        monkeypatch.setattr(files.Path, "mkdir", refuse)
    elif place == "lock":
        monkeypatch.setattr(files, "open", refuse, raising=False)
    elif place == "part":
        monkeypatch.setattr(download_module, "open", refuse, raising=False)
    else:
        monkeypatch.setattr(download_module.os, "replace", refuse)
    with pytest.raises(InputError, match=r"cannot be written: Permission denied.*PPADAATTN_HOME") as error:
        zoo.obtain("thing")
    sentence(error)
    assert not (cache / "thing.bin").exists()


def test_the_cache_is_in_the_home_folder_unless_told(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("PPADAATTN_HOME", raising=False)
    assert zoo.cache_folder() == tmp_path / ".cache" / "ppadaattn"
    monkeypatch.setenv("PPADAATTN_HOME", "~/weights")
    assert zoo.cache_folder() == tmp_path / "weights"


FETCH = """
import sys
from pathlib import Path
from ppadaattn.weights import zoo
name, file, url, size, sha256 = sys.argv[1:]
zoo.ROWS[name] = zoo.Row(name=name, file=file, size=int(size), sha256=sha256, urls=(url,), description="", encoder="",
                         trained="", licence="")
print(zoo.obtain(name))
"""


def test_processes_that_want_the_same_file_take_turns(row, server, cache):
    """Three processes at once: one transfer, three right answers."""
    release = threading.Event()
    server.before_answer = lambda: release.wait(60)
    words = [sys.executable, "-c", FETCH, "thing", "thing.bin", server.url, str(len(CONTENT)), sha256(CONTENT)]
    environment = {**ENVIRONMENT, "PPADAATTN_HOME": str(cache)}
    processes = [
        subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    lines = []

    def waiting(process):  # all others have said that they wait
        lines.append(next((line for line in process.stderr if "waiting until" in line), ""))
        if sum("waiting until" in line for line in lines) == 2:
            release.set()

    readers = [threading.Thread(target=waiting, args=(process,)) for process in processes]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(120)
    release.set()
    outputs = [process.communicate()[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert outputs == [str(cache / "thing.bin")] * 3
    assert is_whole(cache) and len(server.requests) == 1


def test_a_process_that_is_killed_leaves_neither_lock_nor_broken_file(row, server, cache):
    server.faults = ["stall"]
    words = [sys.executable, "-c", FETCH, "thing", "thing.bin", server.url, str(len(CONTENT)), sha256(CONTENT)]
    part = cache / "thing.bin.part"
    with subprocess.Popen(words, env={**ENVIRONMENT, "PPADAATTN_HOME": str(cache)}, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not (part.exists() and part.stat().st_size):
            time.sleep(0.05)
        process.kill()
    assert not (cache / "thing.bin").exists()
    zoo.obtain("thing")
    assert is_whole(cache) and server.requests[-1][2] == 206


# Without a published checksum


def test_the_first_download_pins_the_file(unpinned, server, cache):
    zoo.obtain("thing")
    recorded = (cache / "thing.bin.sha256").read_text(encoding="utf-8")
    assert recorded == f"{sha256(CONTENT)}  thing.bin\n"
    (cache / "thing.bin").write_bytes(CONTENT[:4] + OTHER[4:])  # its structure is right, but it is not the one
    with pytest.raises(InputError, match="its SHA-256 is not"):
        zoo.obtain("thing", offline=True)
    with pytest.warns(InputNote, match="downloaded again"):
        zoo.obtain("thing")
    assert is_whole(cache)


def test_another_published_file_is_used_with_a_note(unpinned, server, cache):
    zoo.obtain("thing")
    (cache / "thing.bin").unlink()
    server.content = OTHER
    with pytest.warns(InputNote, match=f"another file than before: .* {sha256(CONTENT)} and is {sha256(OTHER)}"):
        zoo.obtain("thing")
    assert is_whole(cache, OTHER)
    assert zoo.obtain("thing") == cache / "thing.bin"  # said once


@pytest.mark.parametrize("content", [b"no thing" * 40_000, CONTENT[:1000]])
def test_a_file_of_another_structure_or_size_is_refused(unpinned, server, cache, content):
    server.content = content
    with pytest.raises(InputError, match=r"no thing|offers 1000 bytes, expected 200000 to 400000 bytes"):
        zoo.obtain("thing")
    assert not {"thing.bin", "thing.bin.sha256"} & set(os.listdir(cache))


def test_a_file_put_there_by_hand_is_checked_and_pinned(unpinned, server, cache):
    cache.mkdir()
    (cache / "thing.bin").write_bytes(b"no thing" * 40_000)
    with pytest.raises(InputError, match="is no thing, and nothing is downloaded"):
        zoo.obtain("thing", offline=True)
    (cache / "thing.bin").write_bytes(CONTENT)
    assert zoo.obtain("thing", offline=True) == cache / "thing.bin"
    assert (cache / "thing.bin.sha256").exists() and not server.requests


def test_a_right_file_is_used_from_a_cache_that_cannot_be_written(unpinned, cache, monkeypatch):
    cache.mkdir()
    (cache / "thing.bin").write_bytes(CONTENT)

    def refuse(*_):
        raise InputError("read-only")

    monkeypatch.setattr(zoo, "atomic_write", refuse)
    assert zoo.obtain("thing") == cache / "thing.bin"


def test_checking_vgg_draws_no_random_numbers(tmp_path):
    paddle.seed(3)
    expected = paddle.rand([4]).numpy()
    paddle.seed(3)
    (tmp_path / "file").write_bytes(b"no pickle")
    with pytest.raises(InputError):
        zoo.ROWS["vgg_normalised"].check(tmp_path / "file")
    assert (paddle.rand([4]).numpy() == expected).all()


# Offline


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("yes", True), ("", False), ("0", False), ("No", False)])
def test_offline_by_environment(row, server, cache, monkeypatch, value, offline):
    monkeypatch.setenv("PPADAATTN_OFFLINE", value)
    assert zoo.is_offline() == offline
    if offline:
        with pytest.raises(InputError, match="thing.bin is missing, and nothing is downloaded") as error:
            zoo.obtain("thing")
        assert f"put {server.url} at {cache / 'thing.bin'}" in sentence(error)
        assert not server.requests and not cache.exists()
    else:
        zoo.obtain("thing")
    assert zoo.obtain("adaattn_lite_image", offline=True).is_file()


# The tool


def test_tool_lists_what_there_is(row, unpinned, cache, capsys):
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", *zoo.ROWS]
    by_name = {line.split()[0]: line for line in lines}
    for name in zoo.MODELS:
        assert str(ROOT / "pretrained" / zoo.ROWS[name].file) in by_name[name]
    for name in zoo.BUNDLED:
        assert "6.7 MB" in by_name[name] and zoo.ROWS[name].description in by_name[name]
    assert "about 80.1 MB" in by_name["vgg_normalised"] and "not here" in by_name["vgg_normalised"]
    assert not cache.exists()  # nothing is fetched
    cache.mkdir()
    (cache / "thing.bin").write_bytes(b"short")
    assert main(["thing", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "thing.bin has 5 bytes, not 200000 to 400000 bytes" in lines[1]


def test_tool_fetches_by_name(row, server, cache, capsys):
    assert main(["thing", "adaattn_lite_image", "thing"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"thing: {cache / 'thing.bin'}"
    assert is_whole(cache) and len(server.requests) == 1


def test_tool_fetches_all_but_what_cannot_be_had(row, server, cache, capsys, monkeypatch):
    for name in ("vgg_normalised", "adaattn_image", "adaattn_video"):  # which would need the first
        monkeypatch.delitem(zoo.ROWS, name)
    server.faults = [404]
    assert main(["--all"]) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == len(zoo.BUNDLED)
    assert printed.err.startswith("error: thing.bin is missing, and could not be downloaded (http")
    assert main(["thing", "--offline"]) == 2
    assert "nothing is downloaded (offline)" in capsys.readouterr().err
    assert main(["--all"]) == 0 and is_whole(cache)


def test_tool_names_the_nearest(cache, capsys):
    assert main(["vgg_normalized"]) == 2
    assert "no 'vgg_normalized' (did you mean 'vgg_normalised'?); names: adaattn_" in capsys.readouterr().err
    assert main([]) == 2
    assert "say what to fetch" in capsys.readouterr().err
    assert main(["--all", "vgg_normalised"]) == 2
    assert "give it or names" in capsys.readouterr().err
