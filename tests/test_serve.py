"""The HTTP service: a real server, with clients of the standard library."""

import asyncio
import base64
import io
import json
import re
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import ppadaattn
from ppadaattn import errors
from ppadaattn.cli import serve
from ppadaattn.errors import InputError
from ppadaattn.media.images import write_image
from ppadaattn.model.style import Style
from ppadaattn.weights.checkpoint import _write_style, style_contents

import numpy as np
import pytest
from conftest import ROOT, run_python
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("prometheus_client")
pytest.importorskip("uvicorn")

from ppadaattn.serve import service, worker
from ppadaattn.serve.limits import Limits
from ppadaattn.serve.painter import Painter
from ppadaattn.serve.service import Service

from clients import (
    NAME,
    PATIENCE,
    ask,
    command,
    connected,
    expected_answers,
    holds_picture,
    inside,
    item,
    metric,
    pair,
    png,
    post,
    running,
    text,
    tiny,
    wait_for,
)  # fmt: skip


@pytest.fixture(scope="module")
def port():
    limits = Limits(size=64, max_body=1, max_pictures=6, max_pixels=40000, request_pixels=60000, style_files=True)
    with running(Service(Painter({NAME: NAME}, "cpu", limits, ".png"))) as port:
        yield port


@pytest.fixture(scope="module")
def default_port():
    with running(Service(Painter({NAME: NAME}, "cpu"))) as port:
        yield port


class Gate:
    """A painter, of no picture, that works only while its gate is open, and remembers what it was given."""

    models, ready, memory, starts = {"gate": ""}, True, 0, 1

    def __init__(self, **limits):
        self.limits, self.opened, self.contents = Limits(**limits), threading.Event(), []

    def paint(self, _, body, goes_on):
        images = json.load(body)["images"]
        for image in images:
            picture = Image.open(io.BytesIO(base64.b64decode(image["content"])))
            self.contents.append(picture.getpixel((0, 0))[0])
            assert self.opened.wait(PATIENCE)
            if not goes_on():
                return {"status": 499, "message": ""}, b""
        return {"status": 200, "message": "", "pictures": len(images)}, b"[]"

    def close(self):
        self.opened.set()


def numbered(number):
    """A request whose content holds its number."""
    picture = text(png(np.full((16, 16, 3), number, "uint8")))
    return {"images": [{"content": picture, "styles": [picture]}]}


# ---------------------------------------------------------------------------------------------------------------------
# Painting
# ---------------------------------------------------------------------------------------------------------------------


def test_results_are_those_of_the_stylizer(port, stylizer):
    contents, styles = [tiny(1), tiny(2, 40, 160)], [tiny(3), tiny(4)]
    images = [
        {"content": text(png(contents[0])), "styles": [text(png(styles[0]))]},
        {"content": text(png(contents[1])), "styles": [text(png(s)) for s in styles], "weights": [1, 3]},
    ]
    status, answer = post(port, {"images": images, "alpha": 0.6})
    assert status == 200 and answer["status"] == "000" and answer["msg"] == ""
    reduced = np.asarray(Image.fromarray(contents[1]).resize((64, 16), Image.LANCZOS))  # to the service's size
    prepared = [stylizer.prepare_style(style) for style in styles]
    expected = [
        stylizer(contents[0], prepared[0], strength=0.6),
        stylizer(reduced, Style.mix(prepared, [0.25, 0.75]), strength=0.6),
    ]
    for result, picture in zip(answer["results"], expected):
        assert list(result) == ["data"]
        decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(result["data"]))))
        # Strengths and mixtures are Paddle's own work, whose last bit differs between two processes.
        np.testing.assert_allclose(decoded.astype(int), picture, atol=1)
    assert post(port, {"images": []}) == (200, {"status": "000", "msg": "", "results": []})


def test_styles_may_be_style_files_where_they_are_allowed(port, default_port, stylizer, tmp_path):
    content, style = tiny(5), tiny(6)
    stylizer.save_style(tmp_path / "a.style", stylizer.prepare_style(style))
    saved = (tmp_path / "a.style").read_bytes()

    def request(style):
        return {"images": [{"content": text(png(content)), "styles": [text(style)]}]}

    assert post(port, request(saved)) == post(port, request(png(style)))
    video = ppadaattn.load("adaattn_lite_video", device="cpu")
    video.save_style(tmp_path / "b.style", video.prepare_style(style))
    contents = style_contents(stylizer.prepare_style(style))
    contents["levels"].popitem()
    _write_style(tmp_path / "c.style", contents)  # with the right digest
    for wrong, sentence in (
        ((tmp_path / "c.style").read_bytes(), "describes no style of this model"),
        ((tmp_path / "b.style").read_bytes(), "was prepared by another model"),
        (saved[: len(saved) // 2], "cannot be read as 'ppadaattn style 2'"),
        (b"\x80\x04cos\nsystem\n.", "it refers to os.system"),
    ):
        status, answer = post(port, request(wrong))
        assert status == 400 and answer["msg"].startswith("images[0]['styles'][0] ") and sentence in answer["msg"]
    status, answer = post(default_port, request(saved))
    assert status == 400 and "which this service does not take" in answer["msg"]
    assert post(default_port, request(png(style)))[0] == 200


def test_two_hundred_requests_of_eight_clients(port, stylizer):
    before = metric(port, 'ppadaattn_requests_total{status="200"}'), metric(port, "ppadaattn_pictures_total")
    expected = expected_answers(stylizer)

    def client(number):
        with connected(port) as connection:  # one connection for all
            for turn in range(25):
                seed = (number + turn) % len(expected)
                connection.request("POST", f"/predict/{NAME}", json.dumps({"images": [item(seed)]}))
                response = connection.getresponse()
                assert response.status == 200
                assert holds_picture(json.loads(response.read())["results"], expected[seed])
        return 25

    with ThreadPoolExecutor(8) as clients:
        assert sum(clients.map(client, range(8))) == 200
    assert metric(port, 'ppadaattn_requests_total{status="200"}') == before[0] + 200
    assert metric(port, "ppadaattn_pictures_total") == before[1] + 200


# ---------------------------------------------------------------------------------------------------------------------
# Requests that are refused
# ---------------------------------------------------------------------------------------------------------------------

GOOD = item()


@pytest.mark.parametrize(
    ("request_", "status", "sentence"),
    [
        (b"", 400, "is not JSON"),
        (b"{'images': []}", 400, "is not JSON"),
        (b"\xff\xfe", 400, "is not JSON in UTF-8"),
        (b"[" * 200000, 400, "is not JSON|must be"),
        ([], 400, 'must be {"images"'),
        ({"alpha": 1}, 400, 'must be {"images"'),
        ({"images": None}, 400, "images must be a list"),
        ({"images": [GOOD], "use_gpu": True}, 400, "a key 'use_gpu'; known ones are images, alpha"),
        ({"images": [GOOD], "alpha": 2}, 400, "`strength` is 0"),
        ({"images": [GOOD], "alpha": "1"}, 400, "`strength` is 0"),
        ({"images": ["x"]}, 400, r"images\[0\] must be a dict"),
        ({"images": [{**GOOD, "styles": []}]}, 400, "at least one style"),
        ({"images": [{**GOOD, "styles": 3}]}, 400, "at least one style"),
        ({"images": [{**GOOD, "content": "not base64!"}]}, 400, r"images\[0\]\['content'\] is not base64"),
        ({"images": [{**GOOD, "content": 7}]}, 400, "must be the base64 of a picture file; got int"),
        ({"images": [{**GOOD, "content": text(b"GIF89a")}]}, 400, "is not a picture that can be read"),
        ({"images": [{**GOOD, "content": text(png(tiny(0))[:100])}]}, 400, "may be damaged or cut short"),
        ({"images": [{**GOOD, "content": text(png(tiny(0, 8, 40)))}]}, 400, "each side must be at least 16"),
        (b'{"images": [{"\\ud800": 1}]}', 400, r"got the keys \\ud800"),
        ({"images": [{"x" * 10000: 1}]}, 400, r"^.{500}\.\.\.$"),
        ({"images": [{**GOOD, "weights": [1] * 10000}]}, 400, r"need 1 weights.*\.\.\.$"),
        ({"images": [{**GOOD, "weights": [1, 2]}]}, 400, "1 styles need 1 weights"),
        ({"images": [GOOD, {**GOOD, "content": "aaaa"}]}, 400, r"images\[1\]\['content'\] is not a picture"),
        ({"images": [GOOD] * 4}, 400, "a request may have 6 pictures, contents and styles; this one has 8"),
        ({"images": [{**GOOD, "styles": GOOD["styles"] * 6}]}, 400, "this one has 7"),
        (b" " * 2**20 + b"{}", 413, "a request may have 1 MiB"),
    ],
)
def test_wrong_requests_are_refused(port, request_, status, sentence):
    found, answer = post(port, request_)
    assert found == status and answer["status"] == str(status) and answer["results"] == ""
    assert re.search(sentence, answer["msg"]), answer["msg"]
    assert "\n" not in answer["msg"]


def test_huge_pictures_are_refused_before_they_are_decoded(port):
    huge, cut = (text(png(np.zeros((200, 201, 3), "uint8"))[:size]) for size in (None, 60))
    for given in (huge, cut):
        status, answer = post(port, {"images": [{**GOOD, "content": given}]})
        assert status == 400 and "['content'] has more pixels than the 40000 that are read" in answer["msg"]


def test_the_pixels_of_all_pictures_are_limited(port):
    """They are counted from the headers: a picture that is cut short counts as well, before anything is decoded."""
    picture = png(np.zeros((100, 200, 3), "uint8"))
    shared = {"content": text(picture), "styles": [text(picture)]}
    assert post(port, {"images": [shared, shared]})[0] == 200  # one style, decoded once: 3 x 20000 pixels
    status, answer = post(port, {"images": [shared, {**shared, "styles": [text(picture[:60])]}]})
    assert status == 400
    assert answer["msg"] == "the pictures of a request may have 60000 pixels together; these have 80000"


def test_unknown_addresses_are_refused(port):
    for method, path, expected in (
        ("GET", "/", 404),
        ("POST", "/predict", 404),
        ("GET", f"/predict/{NAME}", 405),
        ("POST", "/health", 405),
        ("POST", "/predict/adaattn_lite", 404),
    ):
        status, headers, body = ask(port, method, path, b"{}" if method == "POST" else None)
        answer = json.loads(body)
        assert (status, answer["status"], answer["results"]) == (expected, str(expected), "")
        assert headers["Content-Type"] == "application/json"
    assert f"did you mean '{NAME}'" in answer["msg"]


def test_a_body_in_chunks_is_limited_too(port):
    with connected(port) as connection:
        connection.request("POST", f"/predict/{NAME}", (b" " * 2**16 for _ in range(20)), encode_chunked=True)
        assert connection.getresponse().status == 413


def test_a_refused_body_is_read_to_its_end(port):
    """A client loses the answer where the server closes the connection before it has read all bytes."""
    for name, status in ((NAME, 413), ("none", 404)):
        with connected(port) as connection:
            connection.request("POST", f"/predict/{name}", b" " * 4 * 2**20, {"Connection": "close"})
            assert connection.getresponse().status == status


def test_a_body_that_does_not_arrive():
    with running(Service(Gate(body_seconds=0.2))) as port, connected(port) as connection:
        connection.putrequest("POST", "/predict/gate")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"{")
        response = connection.getresponse()
        assert response.status == 408 and response.headers["Connection"] == "close"
        assert "did not arrive within 0.2 s" in json.loads(response.read())["msg"]
        assert metric(port, "ppadaattn_uploads") == 0


def test_a_fault_is_answered_with_500(caplog):
    class Faulty:
        def prepare_style(self, style):
            return Style({})

        def __call__(self, content, style, **_):
            raise MemoryError if content[0, 0, 0] == 2 else ZeroDivisionError

    def answer(number):
        body = json.dumps(numbered(number)).encode()
        return worker.answer(Faulty(), body, Limits(), ".png", goes_on=lambda: True)

    assert answer(1) == (500, "this request failed here; the service's log says how", [])
    assert "ZeroDivisionError" in caplog.text
    status, message, _ = answer(2)
    assert status == 413 and "more memory than there is" in message


# ---------------------------------------------------------------------------------------------------------------------
# The queue
# ---------------------------------------------------------------------------------------------------------------------


def test_the_queue_is_bounded_and_in_order():
    gate = Gate(queue=3)
    with running(Service(gate)) as port, ThreadPoolExecutor(4) as clients:
        answers = []
        for number in range(4):  # one that is painted, and three that wait
            answers.append(clients.submit(post, port, numbered(number), "gate"))
            wait_for(lambda expected=number + 1: inside(port) == expected)
        for _ in range(3):
            status, headers, body = ask(port, "POST", "/predict/gate", json.dumps(numbered(9)))
            assert status == 503 and int(headers["Retry-After"]) > 0
            assert "waiting already; try again later" in json.loads(body)["msg"]
        assert gate.contents == [0]  # one at a time
        assert metric(port, "ppadaattn_queue_length") == 4
        gate.opened.set()
        assert [answer.result()[0] for answer in answers] == [200] * 4
        assert gate.contents == [0, 1, 2, 3]
        assert inside(port) == 0 and post(port, numbered(5), "gate")[0] == 200


def leave(port, request, arrived):
    """Send a request, and hang up once `arrived`."""
    with connected(port) as connection:
        connection.request("POST", "/predict/gate", json.dumps(request))
        wait_for(arrived)


def test_clients_that_leave_free_their_places(monkeypatch):
    gate, noticed, left = Gate(queue=1), threading.Semaphore(0), service._left

    async def left_and_noticed(request):
        await left(request)
        asyncio.get_running_loop().call_soon(noticed.release)  # when this coroutine is done

    monkeypatch.setattr(service, "_left", left_and_noticed)
    with running(Service(gate)) as port, ThreadPoolExecutor(1) as clients:
        first = clients.submit(post, port, numbered(0), "gate")
        wait_for(lambda: gate.contents == [0])
        for number in range(1, 6):  # while they wait
            leave(port, numbered(number), lambda: inside(port) == 2)
            wait_for(lambda: inside(port) == 1)
            assert noticed.acquire(timeout=PATIENCE)
        gate.opened.set()
        assert first.result()[0] == 200 and gate.contents == [0]

        gate.opened.clear()  # while they are painted: the rest of their pictures is not
        images = [numbered(number)["images"][0] for number in (7, 8, 9)]
        leave(port, {"images": images}, lambda: gate.contents == [0, 7])
        assert noticed.acquire(timeout=PATIENCE)
        gate.opened.set()
        wait_for(lambda: inside(port) == 0)
        assert gate.contents == [0, 7]

        with connected(port) as connection:  # while they send
            connection.putrequest("POST", "/predict/gate")
            connection.putheader("Content-Length", "1000")
            connection.endheaders(b"{")
            wait_for(lambda: metric(port, "ppadaattn_uploads") == 1)
        wait_for(lambda: metric(port, "ppadaattn_uploads") == 0)
        assert metric(port, 'ppadaattn_requests_total{status="499"}') == 7
        assert post(port, numbered(10), "gate")[0] == 200


def test_health_and_metrics(port):
    status, _, body = ask(port, "GET", "/health")
    results = {"models": [NAME], "queue": 0, "ready": True}
    assert (status, json.loads(body)) == (200, {"status": "000", "msg": "", "results": results})
    names = ('ppadaattn_requests_total{status="200"}', 'ppadaattn_requests_total{status="400"}')
    names += ("ppadaattn_errors_total", "ppadaattn_request_seconds_count")
    before = [metric(port, name) for name in names]
    seconds = metric(port, "ppadaattn_request_seconds_sum")
    assert [post(port, request)[0] for request in ({"images": [GOOD]}, b"{", b"{")] == [200, 400, 400]
    assert np.subtract([metric(port, name) for name in names], before).tolist() == [1, 2, 2, 3]
    assert metric(port, "ppadaattn_request_seconds_sum") > seconds and metric(port, "ppadaattn_queue_length") == 0


# ---------------------------------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_accepted_requests(number):
    with command(ROOT / "tools" / "serve.py", "--model", NAME) as (process, port), ThreadPoolExecutor(3) as clients:
        large = text(png(tiny(0, 256, 256)))
        request = {"images": [{"content": large, "styles": [large]}]}
        answers = [clients.submit(post, port, request) for _ in range(3)]
        wait_for(lambda: sum(answer.done() for answer in answers) + inside(port) == 3)
        process.send_signal(number)
        assert [answer.result()[0] for answer in answers] == [200] * 3
        _, problems = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0 and problems == "", problems


def test_memory_does_not_grow():
    """Neither process grows over hundreds of requests: good, wrong, interrupted and too large ones."""
    with command("-m", "ppadaattn", "serve", "--model", NAME, "--max-body", "1", "--max-pixels", "100000") as (_, port):
        huge = {"images": [{**GOOD, "content": text(png(np.zeros((1000, 1000, 3), "uint8")))}]}

        def round_of_requests():
            for _ in range(5):
                assert post(port, {"images": [GOOD]})[0] == 200
            assert post(port, huge)[0] == 400
            assert post(port, b"[" * 500000)[0] == 400
            assert post(port, b" " * 3 * 2**20)[0] == 413
            with connected(port) as connection:
                connection.request("POST", f"/predict/{NAME}", json.dumps({"images": [GOOD] * 8}))

        for _ in range(5):
            round_of_requests()
        names = ("process_resident_memory_bytes", "ppadaattn_worker_resident_memory_bytes")
        before = [metric(port, name) for name in names]
        for _ in range(40):
            round_of_requests()
        assert max(np.subtract([metric(port, name) for name in names], before)) < 32 * 2**20
        wait_for(lambda: inside(port) == 0)


def test_wrong_options_are_refused(capsys, tmp_path, stylizer):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["--port", str(taken.getsockname()[1])]
        assert serve.main(words) == 2
        assert re.match("error: cannot listen on 127.0.0.1, port .*: .*", capsys.readouterr().err)
    for words, sentence in (
        (["--model", "adaattn"], "there is no model or weights file 'adaattn'"),
        (["--model", NAME, f"x/{NAME}.pdparams"], "two models cannot have one name"),
        (["--host", "no such host"], "cannot listen on no such host"),
        (["--device", "tpu"], "expected cpu, gpu"),
    ):
        assert serve.main(["--port", "0", *words]) == 2
        assert re.search(sentence, capsys.readouterr().err), words
    for words, sentence in (
        (["--queue", "-1"], "expected a whole number, at least 0; got -1"),
        (["--port", "99999"], "expected a whole number, 0 to 65535; got 99999"),
        (["--size", "10"], "expected a number of pixels, at least 16; got 10"),
        (["--format", "gif"], "invalid choice"),
        (["--no-style-files"], "--no-style-files is called --style-files (off unless given) here"),
    ):
        with pytest.raises(SystemExit) as stopped:
            serve.main(words)
        assert stopped.value.code == 2 and sentence in capsys.readouterr().err


def test_missing_libraries_are_named_with_their_extra(monkeypatch):
    def missing(module, *_):
        raise ModuleNotFoundError(module)

    monkeypatch.setattr(errors.importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"^HTTP services need starlette, .* pip install 'ppadaattn\[serve\]'"):
        serve._serve(serve.parser().parse_args([]))


def test_help():
    for words in (["-m", "ppadaattn", "serve"], [ROOT / "tools" / "serve.py"]):
        done = run_python(*words, "--help")
        assert done.returncode == 0 and "--max-pixels" in done.stdout
        assert "with the requests and answers of `hub serving`" in " ".join(done.stdout.split())
    done = run_python("-m", "ppadaattn")
    assert done.returncode == 2 and done.stderr == "error: the following arguments are required: COMMAND\n"


def is_certain(stylizer, seed):
    """Whether no level of a picture is near the edge of rounding, where the last bit tells (`is_same_picture`)."""
    content, style = pair(seed)
    levels = 255 * stylizer.paint_array(content[None], stylizer.prepare_style(style))
    return np.abs(levels % 1 - 0.5).min() > 1e-3


def test_jpegs_equal_those_of_write_image(default_port, stylizer, tmp_path):
    seed = next(seed for seed in range(100) if is_certain(stylizer, seed))
    (result,) = post(default_port, {"images": [item(seed)]})[1]["results"]
    write_image(tmp_path / "expected.jpg", stylizer(*pair(seed)))
    assert result["data"] == text((tmp_path / "expected.jpg").read_bytes())
