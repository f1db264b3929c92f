"""The HTTP service among strangers: whatever they send, it answers, and good answers stay the same pictures."""

import json
import os
import re
import shutil
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

from ppadaattn.errors import InputError

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("prometheus_client")
pytest.importorskip("uvicorn")

from ppadaattn.serve import service
from ppadaattn.serve.limits import Limits
from ppadaattn.serve.painter import Painter, PainterError
from ppadaattn.serve.service import Service
from ppadaattn.weights.zoo import weights_file

from clients import (
    NAME,
    PATIENCE,
    ask,
    command,
    expected_answers,
    holds_picture,
    inside,
    item,
    metric,
    png,
    post,
    running,
    text,
    wait_for,
)  # fmt: skip
from load_serve import Load, attacks, end_while_stopped, half_sent, slow_picture

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture(scope="module")
def expected(stylizer):
    return expected_answers(stylizer)


@pytest.fixture(scope="module")
def painter():
    return Painter({NAME: NAME}, "cpu", Limits(request_seconds=10), ".png")


@pytest.fixture(scope="module")
def port(painter):
    with running(Service(painter)) as port:
        yield port


def is_good(port, expected, seed=0):
    status, answer = post(port, {"images": [item(seed)]})
    if status != 200 or (answer["status"], answer["msg"]) != ("000", ""):
        return False
    return holds_picture(answer["results"], expected[seed])


@pytest.mark.parametrize("name", attacks())
def test_an_attack_is_refused_and_hurts_nobody(port, painter, expected, name):
    body, statuses = attacks()[name]
    starts = painter.starts
    status, answer = post(port, body)
    assert status in statuses and answer["msg"] and answer["results"] == "", answer["msg"]
    assert is_good(port, expected) and painter.starts == starts


def test_slow_pictures(port):
    """Those of many scans are refused by them; an ordinary progressive one is painted."""
    message = post(port, {"images": [{**item(), "content": text(slow_picture())}]})[1]["msg"]
    assert re.match(r"images\[0\]\['content'\] has more than \d+ scans, which would take too long", message)
    assert post(port, {"images": [{**item(), "content": text(slow_picture(scans=0, side=100))}]})[0] == 200


@linux
def test_a_killed_worker_costs_one_request(port, painter, expected):
    starts = painter.starts
    os.kill(painter._process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(3) as clients:
        first = clients.submit(post, port, {"images": [item(1)]})
        wait_for(lambda: inside(port) == 1)
        others = [clients.submit(is_good, port, expected, seed) for seed in (2, 3)]
        wait_for(lambda: inside(port) == 3)
        os.kill(painter._process.pid, signal.SIGKILL)
        status, answer = first.result()
        assert status == 500 and "ended in the middle of this request (signal 9)" in answer["msg"]
        assert all(other.result() for other in others)
    assert painter.starts == starts + 1
    os.kill(painter._process.pid, signal.SIGKILL)  # between two requests it costs none, and is noticed without one
    wait_for(lambda: painter.starts == starts + 2 and painter.ready)
    assert is_good(port, expected)


@linux
def test_a_stuck_worker_costs_one_request(port, painter, expected):
    os.kill(painter._process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(post, port, {"images": [item(1)]})
        wait_for(lambda: inside(port) == 1)
        second = clients.submit(is_good, port, expected, 2)
        for path in ("/health", "/metrics"):  # while it is stuck
            assert ask(port, "GET", path)[0] == 200
        status, answer = first.result()
        assert status == 504 and "painting took longer than 10 s" in answer["msg"]
        assert second.result()


@linux
def test_the_memory_of_the_worker_is_limited():
    painter = Painter({NAME: NAME}, "cpu", Limits(worker_memory=32))  # less than the libraries alone
    with running(Service(painter)) as port:
        assert metric(port, "ppadaattn_worker_resident_memory_bytes") > 32 * 2**20
        large = text(png(np.zeros((1024, 1024, 3), "uint8")))
        status, answer = post(port, {"images": [{"content": large, "styles": [large]}] * 2})
        assert status == 413 and "painting took more than 32 MiB of memory" in answer["msg"]
        wait_for(lambda: painter.starts == 2 and painter.ready)


@linux
def test_a_worker_that_cannot_be_started(tmp_path):
    shutil.copy(weights_file(NAME), tmp_path / "a.pdparams")
    painter = Painter({"a": tmp_path / "a.pdparams"}, "cpu")
    with running(Service(painter)) as port:
        assert post(port, {"images": [item()]}, "a")[0] == 200
        (tmp_path / "a.pdparams").unlink()
        os.kill(painter._process.pid, signal.SIGKILL)
        wait_for(lambda: not painter.ready)
        status, answer = post(port, {"images": [item()]}, "a")
        assert status == 503 and "cannot be started" in answer["msg"]
        assert json.loads(ask(port, "GET", "/health")[2])["results"]["ready"] is False
    with pytest.raises(PainterError, match="the service ends"):
        painter.start()
    with pytest.raises(InputError, match="there is no model or weights file"):
        Painter({"a": tmp_path / "a.pdparams"}, "cpu").start()


# Slow clients --------------------------------------------------------------------------------------------------------


def test_half_sent_requests_take_no_place(port, expected):
    held = half_sent(port, 20)
    wait_for(lambda: metric(port, "ppadaattn_uploads") == 20)
    assert inside(port) == 0 and is_good(port, expected)
    for connection in held:
        connection.close()
    wait_for(lambda: metric(port, "ppadaattn_uploads") == 0)


class Answers:
    """A painter that gives one answer to everything."""

    models, ready, memory, starts = {NAME: ""}, True, 0, 1

    def __init__(self, content=b"[]", **limits):
        self.content, self.limits = content, Limits(**limits)

    def paint(self, *_):
        return {"status": 200, "message": "", "pictures": 1}, self.content

    def close(self):
        pass


def test_the_slowest_upload_gives_way(monkeypatch):
    with running(Service(Answers(max_uploads=4))) as port:
        held = half_sent(port, 4)
        wait_for(lambda: metric(port, "ppadaattn_uploads") == 4)
        for connection in held[1:]:
            connection.sendall(b" " * 500)
        monkeypatch.setattr(service, "YOUNG", PATIENCE * 10)
        status, headers, body = ask(port, "POST", f"/predict/{NAME}", b"{}")
        assert status == 503 and "more than 4 requests arrive at the same time; try again" in json.loads(body)["msg"]
        assert headers["Retry-After"]
        monkeypatch.setattr(service, "YOUNG", 0)
        assert post(port, b"{}")[0] == 200
        answer = held[0].recv(1000)
        assert b" 408 " in answer.splitlines()[0] and b"this one was the slowest" in answer
        assert metric(port, "ppadaattn_uploads") == 3
        for connection in held:
            connection.close()


def test_an_answer_that_is_not_taken_is_dropped():
    content = b" " * (64 * 2**20)
    with running(Service(Answers(content, body_seconds=1))) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(f"POST /predict/{NAME} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode())
            wait_for(lambda: metric(port, 'ppadaattn_requests_total{status="200"}') == 1)
            wait_for(lambda: metric(port, "ppadaattn_answers") == 0)
            received = 0
            while True:
                data = connection.recv(2**20)
                received += len(data)
                if not data:
                    break
        assert received < len(content)


# The whole of it -----------------------------------------------------------------------------------------------------


@linux
def test_a_mixed_load_and_the_end_while_the_worker_is_stuck(expected):
    words = ["--model", NAME, "--format", "png", "--request-seconds", "20"]
    with command("-m", "ppadaattn", "serve", *words) as (process, port):
        load = Load(port, process.pid, expected).run(clients=8, requests=5, attacked=True, killed=True)
        assert load.wrong == [] and len(load.seconds) >= 8 * 4 - 8 - 2 * load.answers["worker: SIGKILL"]
        assert load.memory["service"] < 2**30 and load.memory["worker"] < 2**32
        _, status, statuses, problems = end_while_stopped(process, port)
        assert status == 0 and statuses == [503] * 7, problems
        assert "Traceback" not in problems
