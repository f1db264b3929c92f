"""Clients of the HTTP service, of the standard library alone, and services to try them on."""

import base64
import contextlib
import http.client
import io
import json
import re
import socket
import subprocess
import sys
import threading
import time

from ppadaattn.media.images import save_image
from ppadaattn.serve.service import make_server

import numpy as np
from conftest import ENVIRONMENT
from PIL import Image

NAME = "adaattn_lite_image"
PATIENCE = 120  # seconds until a test that hangs fails
SEEDS = 10  # different good requests


def png(array):
    file = io.BytesIO()
    save_image(file, array, ".png")
    return file.getvalue()


def is_same_picture(first, second):
    """Whether two base64 texts are one picture, but for a level: Paddle's last bit differs between two processes."""
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int) for data in (first, second)]
    return pictures[0].shape == pictures[1].shape and np.abs(pictures[0] - pictures[1]).max() <= 1


def text(data):
    return base64.b64encode(data).decode()


def tiny(seed, height=16, width=20):
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype("uint8")


def pair(seed):
    """(content, style) of a good request."""
    return tiny(seed), tiny(1000 + seed)


def item(seed=0):
    content, style = pair(seed)
    return {"content": text(png(content)), "styles": [text(png(style))]}


def expected_answers(stylizer):
    """base64 of the PNG of each good request, painted in this process."""
    return [text(png(stylizer(*pair(seed)))) for seed in range(SEEDS)]


def holds_picture(results, expected):
    """Whether the results of an answer are one picture and nothing else, the expected one (`is_same_picture`)."""
    return [result.keys() for result in results] == [{"data"}] and is_same_picture(results[0]["data"], expected)


@contextlib.contextmanager
def connected(port):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        yield connection


def ask(port, method, path, body=None):
    """(HTTP status, headers, body) of one request."""
    with connected(port) as connection:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def post(port, request, name=NAME):
    """(HTTP status, answer) of a request to paint: a value for JSON, or bytes that are sent as they are."""
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    status, _, answer = ask(port, "POST", f"/predict/{name}", body)
    return status, json.loads(answer)


def metric(port, name):
    """The value of a metric; 0 where it is missing."""
    status, headers, body = ask(port, "GET", "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    found = re.search(rf"^{re.escape(name)} (\S+)$", body.decode(), re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@contextlib.contextmanager
def running(served, port=0):
    """Run a server in this process; gives its port, which is any that is free unless one is given."""
    server = make_server(served)
    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_for(lambda: server.started and served.painter.ready)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


def inside(port):
    return json.loads(ask(port, "GET", "/health")[2])["results"]["queue"]


@contextlib.contextmanager
def command(*words):
    """Start a service as a user does; gives (process, port)."""
    words = [sys.executable, *words, "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        found = re.search(r"^serving .*http://127.0.0.1:(\d+)/predict/\w+; Ctrl-C ends it$", line)
        assert found, line + process.stderr.read()
        yield process, int(found.group(1))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
