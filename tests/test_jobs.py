"""Jobs of the HTTP service: files once, progress as events, results that expire; and what keeps strangers in bounds."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import fields

from ppadaattn.infer.options import ClipOptions, PaintOptions
from ppadaattn.media.images import read_image
from ppadaattn.media.video_read import open_clip
from ppadaattn.model.style import Style

import numpy as np
import pytest
from conftest import ROOT, smooth
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("prometheus_client")
pytest.importorskip("uvicorn")

from ppadaattn.serve import about, service, site
from ppadaattn.serve.limits import Limits
from ppadaattn.serve.openapi import description
from ppadaattn.serve.painter import Painter, PainterError
from ppadaattn.serve.service import Service
from ppadaattn.serve.store import HEAD, kind_of

from clients import NAME, PATIENCE, ask, connected, inside, metric, png, running, tiny, wait_for

VIDEO_NAME = "adaattn_lite_video"


@pytest.fixture(scope="module")
def painter():
    limits = Limits(size=64, max_body=1, max_pixels=600_000, request_pixels=1_000_000, max_frames=30, style_files=True)
    return Painter({NAME: NAME, VIDEO_NAME: VIDEO_NAME}, "cpu", limits, ".png")


@pytest.fixture(scope="module")
def port(painter):
    with running(Service(painter)) as port:
        yield port


def send(port, data):
    status, _, body = ask(port, "POST", "/files", data)
    assert status == 201, body
    return json.loads(body)["id"]


def post(port, **job):
    status, _, body = ask(port, "POST", "/jobs", json.dumps(job))
    return status, json.loads(body)


def events(port, job):
    """All events of a job, until it is over."""
    _, headers, body = ask(port, "GET", f"/jobs/{job['id']}/events")
    assert headers["Content-Type"].startswith("text/event-stream")
    return [json.loads(data) for data in re.findall(r"^data: (.*)$", body.decode(), re.MULTILINE)]


def result(port, **job):
    """(last state of a job that must be taken, its result)."""
    status, job = post(port, **job)
    assert status == 201, job
    last = events(port, job)[-1]
    return last, ask(port, "GET", f"/jobs/{job['id']}/result")[2] if last["state"] == "done" else None


def picture_of(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def make_clip(path, frames=24, size=(48, 32)):
    av = pytest.importorskip("av")
    pictures = smooth(np.random.RandomState(3), size[1] + frames, size[0])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            picture = np.ascontiguousarray(pictures[number : number + size[1]])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


# Painting ------------------------------------------------------------------------------------------------------------


def test_pictures_are_those_of_the_stylizer(port, stylizer):
    """Equal but for a level: mixtures are Paddle's own work, whose last bit differs between two processes."""
    content, styles = tiny(1, 40, 60), [tiny(2, 32, 32), tiny(3, 32, 32)]
    ids = [send(port, png(picture)) for picture in (content, *styles)]
    last, data = result(port, content=ids[0], styles=ids[1:], weights=[1, 3], options={"strength": 0.7})
    prepared = [stylizer.prepare_style(style) for style in styles]
    expected = stylizer(content, Style.mix(prepared, [0.25, 0.75]), strength=0.7)
    np.testing.assert_allclose(picture_of(data).astype(int), expected, atol=1)
    assert (last["width"], last["height"], last["place"]) == (60, 40, 0) and 0 < last["expires_in"] <= 3600
    _, data = result(port, content=ids[0], styles=ids[1:], mode="concat", options={"preserve_color": True, "size": 32})
    small = np.asarray(Image.fromarray(content).resize((32, 21), Image.LANCZOS))
    expected = stylizer(small, prepared[0] + prepared[1], preserve_color=True)
    np.testing.assert_allclose(picture_of(data).astype(int), expected, atol=2)


def test_bundled_styles_have_names(port, stylizer):
    content = tiny(1, 40, 60)
    _, data = result(port, content=send(port, png(content)), styles=["woodcut"], options={"style_size": 64})
    expected = stylizer(content, str(ROOT / "examples" / "style" / "woodcut.jpg"), style_size=64)
    np.testing.assert_allclose(picture_of(data).astype(int), expected, atol=1)


def test_regions(port, stylizer):
    content, mask = tiny(1, 48, 64), np.full((48, 64, 3), 255, "uint8")
    mask[:, 32:] = (255, 0, 0)
    styles = [tiny(2, 32, 32), tiny(3, 32, 32)]
    ids = [send(port, png(picture)) for picture in (content, mask, *styles)]
    _, data = result(port, content=ids[0], mask=ids[1], styles=ids[2:], colours=["#ffffff", "#ff0000"])
    parts = [stylizer.prepare_style(s).as_region(c) for s, c in zip(styles, [(255, 255, 255), (255, 0, 0)])]
    np.testing.assert_allclose(picture_of(data).astype(int), stylizer(content, Style.mix(parts), mask=mask), atol=1)


def test_style_files(port, stylizer, tmp_path):
    style, content = tiny(2, 32, 32), tiny(1, 40, 60)
    _, data = result(port, styles=[send(port, png(style))])
    (tmp_path / "a.style").write_bytes(data)
    np.testing.assert_array_equal(stylizer(content, str(tmp_path / "a.style")), stylizer(content, style))
    _, painted = result(port, content=send(port, png(content)), styles=[send(port, data)])
    np.testing.assert_allclose(picture_of(painted).astype(int), stylizer(content, style), atol=1)
    last, _ = result(port, content=send(port, png(content)), styles=[send(port, data)], model=VIDEO_NAME)
    assert last["status"] == 400 and "was prepared by another model" in last["error"]


def test_a_small_picture_comes_first():
    limits = Limits(size=320)
    with running(Service(Painter({NAME: NAME}, "cpu", limits))) as port:
        content = send(port, png(smooth(np.random.RandomState(0), 288, 288)))
        status, job = post(port, content=content, styles=[send(port, png(tiny(2, 32, 32)))], options={"size": 272})
        assert status == 201
        seen = events(port, job)
        assert seen[-1]["state"] == "done" and seen[-1]["preview"]
        assert picture_of(ask(port, "GET", f"/{seen[-1]['preview']}")[2]).shape == (256, 256, 3)
        assert picture_of(ask(port, "GET", f"/{seen[-1]['result']}")[2]).shape == (272, 272, 3)


def test_clips(port, tmp_path):
    clip, style = send(port, make_clip(tmp_path / "clip.mp4")), send(port, png(tiny(2, 32, 32)))
    status, job = post(port, content=clip, styles=[style], format="webm", options={"strength": 0.8})
    assert status == 201
    seen = events(port, job)
    assert seen[-1]["state"] == "done" and seen[-1]["frames"] == 24 and seen[-1]["done"] == 24, seen[-1]
    assert seen == sorted(seen, key=lambda event: event["done"])
    _, headers, data = ask(port, "GET", f"/jobs/{job['id']}/result")
    assert headers["Content-Type"] == "video/webm" and 'filename="painted.webm"' in headers["Content-Disposition"]
    (tmp_path / "painted.webm").write_bytes(data)
    assert len(list(open_clip(tmp_path / "painted.webm").frames())) == 24
    for options, sentence in (({"start": 50}, "the clip is 2.00 s long"), ({"fps": 999}, "30 are painted at most")):
        last, _ = result(port, content=clip, styles=[style], options=options)
        assert last["state"] == "failed" and sentence in last["error"] and "/" not in last["error"], last["error"]
    cut = send(port, make_clip(tmp_path / "clip.mp4")[:200])
    last, _ = result(port, content=cut, styles=[style])
    assert last["state"] == "failed" and last["status"] == 400 and re.search("^the clip .*[^/]*$", last["error"]), last


def test_what_is_no_clip_never_reaches_its_decoder():
    """A playlist would make it read other files."""
    for text in (b"#EXTM3U\n/etc/passwd", b"ffconcat version 1.0\nfile /etc/passwd", b"", b"RIFF1234WEBP"):
        assert kind_of(text[:HEAD]) == "picture"
    assert kind_of(b"\0\0\0\x18ftypheic") == "picture" and kind_of(b"\0\0\0\x18ftypisom") == "clip"
    assert kind_of(b"GIF89a") == "gif"


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(port):
    return {"content": send(port, png(tiny(1, 40, 60))), "styles": [send(port, png(tiny(2)))]}


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        ({"styles": []}, 400, "`styles` is a list of 1 to 15"),
        ({"styles": "woodcut"}, 400, "`styles` is a list"),
        ({"styles": ["woodcutt"]}, 404, "did you mean 'woodcut'"),
        ({"styles": ["../content/landscape"]}, 404, "style 1: there is no file"),
        ({"styles": [["a"]]}, 404, "there is no file"),
        ({"styles": [{}]}, 404, "there is no file"),
        ({"content": "/etc/passwd"}, 404, "the content: there is no file"),
        ({"content": 3}, 404, "the content: there is no file"),
        ({"contents": 3}, 400, "a job has no 'contents' .did you mean 'content'"),
        ({"weights": [1, 2]}, 400, "1 styles need 1 weights"),
        ({"weights": ["1"]}, 400, "`weights` is a list of numbers"),
        ({"weights": [10**400]}, 400, "`weights` are numbers of an ordinary size"),
        ({"weights": [float("nan")]}, 400, "`style_weights` are 0 or more"),
        ({"weights": [1], "mode": "concat"}, 400, "`weights` are for a mixture"),
        ({"mode": "each"}, 400, "`mode` is one of mix, concat"),
        ({"model": "adaattn"}, 400, "there is no model 'adaattn'"),
        ({"format": "gif"}, 400, "`format` of a picture is one of jpg, png"),
        ({"format": ["png"]}, 400, "`format` of a picture"),
        ({"mask": "x"}, 404, "the mask: there is no file"),
        ({"colours": ["#ffffff"]}, 400, "`colours` are those of a mask"),
        ({"options": []}, 400, "`options` is a dict"),
        ({"options": {"strengh": 1}}, 400, "did you mean 'strength'"),
        ({"options": {"strength": 2}}, 400, "`strength` is 0"),
        ({"options": {"strength": "1"}}, 400, "`strength` is a number; got '1'"),
        ({"options": {"strength": True}}, 400, "`strength` is a number; got True"),
        ({"options": {"preserve_color": 1}}, 400, "`preserve_color` is true or false"),
        ({"options": {"strength": 10**400}}, 400, "`strength` is a number of an ordinary size"),
        ({"options": {"size": 100}}, 400, "`size` is up to 64 in this service"),
        ({"options": {"size": 8}}, 400, "`size` is a number of pixels"),
        ({"options": {"style_size": 0}}, 400, "`style_size` is up to 64"),
        ({"options": {"style_scale": 16.0}}, 400, "`style_scale` times `size` is up to 128"),
        ({"options": {"fps": 5}}, 400, "there is no option 'fps'"),
        ({"options": {"batch_size": 5}}, 400, "there is no option 'batch_size'"),
    ],
)
def test_wrong_jobs_are_refused(port, good, changes, status, sentence):
    found, answer = post(port, **{**good, **changes})
    assert found == status and re.search(sentence, answer["error"]), answer


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 60000, b'{"a": ' * 9000])
def test_descriptions_that_are_none(port, body):
    status, _, answer = ask(port, "POST", "/jobs", body)
    assert status == 400 and json.loads(answer)["error"]
    assert ask(port, "POST", "/jobs", b" " * 2**17)[0] == 413


def test_wrong_files_are_answered_with_a_sentence(port, good):
    huge = png(np.zeros((800, 801, 3), "uint8"))
    for data, sentence in (
        (b"no picture", "the content is not a picture that can be read"),
        (b"#EXTM3U\n/etc/passwd", "the content is not a picture"),
        (huge, "the content has more pixels than the 600000 that are read; make it smaller first"),
        (png(tiny(0, 8, 40)), "each side must be at least 16"),
        (png(tiny(0, 90, 90))[:300], "the content cannot be read, it may be damaged or cut short"),
    ):
        last, _ = result(port, content=send(port, data), styles=good["styles"])
        assert last["state"] == "failed" and last["status"] == 400 and sentence in last["error"], last
    many = [send(port, png(np.full((590, 600, 3), value, "uint8"))) for value in range(3)]
    last, _ = result(port, content=good["content"], styles=many)
    assert "may have 1000000 pixels together; these have 1064400" in last["error"]
    mask = send(port, png(smooth(np.random.RandomState(0), 40, 60)))
    last, _ = result(port, **good, mask=mask, colours=["#ff0000"])
    assert last["status"] == 400, last
    for data, status in ((b"", 400), (b" " * (2**20 + 1), 413)):
        assert ask(port, "POST", "/files", data)[0] == status


def test_unknown_ids(port, good):
    gets = (
        "jobs/none",
        "jobs/none/events",
        "jobs/none/result",
        "jobs/none/preview",
        "jobs/%2e%2e/result",
        "service.py",
    )
    gets += ("..%2fservice.py", "pictures/styles/..%2fwoodcut.jpg", "pictures/x/woodcut.jpg")
    for method, path in (*(("GET", path) for path in gets), ("DELETE", "jobs/none"), ("DELETE", "files/none")):
        assert ask(port, method, f"/{path}")[0] == 404, path
    assert len(good["content"]) >= 22  # 128 bits
    file = send(port, b"x")
    assert ask(port, "DELETE", f"/files/{file}")[0] == 204 and ask(port, "DELETE", f"/files/{file}")[0] == 404


# The queue, room and time --------------------------------------------------------------------------------------------


class Steps:
    """A painter whose jobs take a step whenever its gate is open."""

    models, ready, memory, starts, suffix = {"gate": ""}, True, 0, 1, ".png"

    def __init__(self, **limits):
        self.limits, self.opened, self.steps, self.closed = Limits(**limits), threading.Event(), 0, False

    def paint_job(self, job, report):
        for done in range(4):
            assert self.opened.wait(PATIENCE)
            if self.closed:
                raise PainterError(503, "the service ends")
            self.steps += 1
            if not report({"done": done, "total": 4}, b""):
                return {"status": 499, "message": ""}
        with open(job["output"], "wb") as file:
            file.write(b"painted")
        return {"status": 200, "message": ""}

    def close(self):
        self.closed = True
        self.opened.set()


def state(port, job):
    return json.loads(ask(port, "GET", f"/jobs/{job['id']}")[2])


def test_places_in_the_queue_and_cancelling():
    steps = Steps(queue=3)
    with running(Service(steps)) as port:
        content = send(port, b"x")
        made = [post(port, content=content, styles=["woodcut"])[1] for _ in range(4)]
        wait_for(lambda: state(port, made[0])["state"] == "painting")
        assert [state(port, job)["place"] for job in made] == [0, 1, 2, 3]
        status, answer = post(port, content=content, styles=["woodcut"])
        assert status == 503 and "are waiting already" in answer["error"]
        assert ask(port, "DELETE", f"/files/{content}")[0] == 409
        assert json.loads(ask(port, "DELETE", f"/jobs/{made[1]['id']}")[2])["state"] == "cancelled"  # it waits
        wait_for(lambda: state(port, made[2])["place"] == 1)
        ask(port, "DELETE", f"/jobs/{made[0]['id']}")  # it is painted
        steps.opened.set()
        assert [events(port, job)[-1]["state"] for job in made] == ["cancelled", "cancelled", "done", "done"]
        assert steps.steps == 1 + 4 + 4
        assert [metric(port, f'ppadaattn_jobs_total{{state="{end}"}}') for end in ("cancelled", "done")] == [2, 2]
        assert ask(port, "GET", f"/jobs/{made[0]['id']}/result")[0] == 409
        status, headers, data = ask(port, "GET", f"/jobs/{made[2]['id']}/result")
        assert (status, data) == (200, b"painted") and "attachment" in headers["Content-Disposition"]
        ask(port, "DELETE", f"/jobs/{made[2]['id']}")
        assert ask(port, "GET", f"/jobs/{made[2]['id']}/result")[0] == 409


class RestingSteps(Steps):
    """Steps whose worker is started and stopped."""

    ready, starts = False, 0

    def start(self):
        self.ready, self.starts = True, self.starts + 1

    def stop(self):
        self.ready = False


def test_pictures_and_clips_do_not_wait_for_each_other(monkeypatch):
    monkeypatch.setattr(service, "REST", 0)
    pictures, clips = Steps(queue=1), RestingSteps(queue=1)
    with running(Service(pictures, clip_painter=clips)) as port:
        content, clip = send(port, b"x"), send(port, b"\0\0\0\x20ftypisom" + bytes(20))
        assert not clips.starts
        painted, waiting = (post(port, content=clip, styles=["woodcut"])[1] for _ in range(2))
        wait_for(lambda: state(port, painted)["state"] == "painting")
        pictures.opened.set()
        made = [result(port, content=content, styles=["woodcut"])[0] for _ in range(3)]
        assert [(job["state"], job["place"]) for job in made] == [("done", 0)] * 3  # while the clip is painted
        assert clips.steps == 0 and [state(port, job)["place"] for job in (painted, waiting)] == [0, 1]
        assert post(port, content=clip, styles=["woodcut"])[0] == 503  # a full queue of clips takes pictures
        pictures.opened.clear()
        picture = post(port, content=content, styles=["woodcut"])[1]
        wait_for(lambda: state(port, picture)["state"] == "painting")
        assert [inside(port), state(port, picture)["place"]] == [3, 0]
        ask(port, "DELETE", f"/jobs/{waiting['id']}")
        ask(port, "DELETE", f"/jobs/{painted['id']}")
        clips.opened.set()
        assert [events(port, job)[-1]["state"] for job in (painted, waiting)] == ["cancelled"] * 2
        assert clips.steps == 1 and state(port, picture)["state"] == "painting"
        wait_for(lambda: not clips.ready)  # the worker for clips ends when nothing was painted for REST seconds
        assert result(port, content=clip, styles=["woodcut"])[0]["state"] == "done" and clips.starts == 2
        pictures.opened.set()
        assert events(port, picture)[-1]["state"] == "done"


def test_several_workers_paint_side_by_side():
    """In order of arrival; what is painted takes no place of those that wait."""
    painters = [Steps(queue=1, workers=2), RestingSteps(queue=1, workers=2)]  # the service starts the second one
    with running(Service(*painters)) as port:
        wait_for(lambda: painters[1].ready)
        content = send(port, b"x")
        made = [post(port, content=content, styles=["woodcut"])[1] for _ in range(3)]
        wait_for(lambda: [state(port, job)["state"] for job in made] == ["painting", "painting", "waiting"])
        assert [state(port, job)["place"] for job in made] == [0, 0, 1] and inside(port) == 3
        assert post(port, content=content, styles=["woodcut"])[0] == 503
        painters[1].opened.set()
        assert [events(port, job)[-1]["state"] for job in made[1:]] == ["done", "done"]
        assert [painter.steps for painter in painters] == [0, 8] and state(port, made[0])["state"] == "painting"
        painters[1].opened.clear()
        painters[1].ready = False  # its process has ended: another one is started, and the first one is not disturbed
        wait_for(lambda: painters[1].starts == 2)
        waiting = [post(port, content=content, styles=["woodcut"])[1] for _ in range(2)]
        wait_for(lambda: state(port, waiting[0])["state"] == "painting")
        ask(port, "DELETE", f"/jobs/{waiting[1]['id']}")
        painters[0].opened.set()
        assert [events(port, job)[-1]["state"] for job in (made[0], waiting[1])] == ["done", "cancelled"]
        painters[1].opened.set()
        assert events(port, waiting[0])[-1]["state"] == "done"


def test_files_and_results_expire():
    steps = Steps(keep_seconds=0.2)
    steps.opened.set()
    service = Service(steps)
    with running(service) as port:
        content = send(port, b"x")
        _, job = post(port, content=content, styles=["woodcut"])
        assert events(port, job)[-1]["state"] == "done"
        assert len(list(service.jobs.store.folder.rglob("*"))) >= 2
        wait_for(lambda: ask(port, "GET", f"/jobs/{job['id']}")[0] == 404)
        wait_for(lambda: not list(service.jobs.store.folder.iterdir()))
        assert post(port, content=content, styles=["woodcut"])[0] == 404
        folder = service.jobs.store.folder
    assert not folder.exists()


def test_room_on_disk_is_bounded():
    with running(Service(Steps(max_disk=1, max_upload=1, max_body=1))) as port:
        assert ask(port, "POST", "/files", b" " * 700000)[0] == 201
        status, headers, body = ask(port, "POST", "/files", b" " * 700000)
        assert status == 503 and headers["Retry-After"] and "there is no room" in json.loads(body)["error"]
        made = [ask(port, "POST", "/files", b" ")[0] for _ in range(8)]
        assert 503 in made and made[0] == 201  # a small file counts, too


def test_an_upload_that_is_cut_off_leaves_nothing():
    service = Service(Steps(body_seconds=0.3))
    with running(service) as port:
        with connected(port) as connection:
            connection.putrequest("POST", "/files")
            connection.putheader("Content-Length", "1000")
            connection.endheaders(b"abc")
            assert connection.getresponse().status == 408
        assert not list(service.jobs.store.folder.iterdir()) and service.jobs.store.used == 0


@pytest.mark.skipif(sys.platform != "linux", reason="stops a process by signals of POSIX")
def test_a_worker_that_is_killed_costs_one_job(port, painter, good):
    """The sentence reaches the client, and the next job is painted by another worker."""
    worker = painter._process.pid
    os.kill(worker, signal.SIGSTOP)
    _, job = post(port, **good)
    wait_for(lambda: state(port, job)["state"] == "painting")
    os.kill(worker, signal.SIGKILL)
    last = events(port, job)[-1]
    assert last["state"] == "failed" and "ended in the middle of this request (signal 9)" in last["error"]
    assert result(port, **good)[0]["state"] == "done"


# Browsers ------------------------------------------------------------------------------------------------------------


def ask_as(port, method, path, body=None, **headers):
    with connected(port) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def test_the_page_is_for_browsers_alone(port):
    status, headers, body = ask_as(port, "GET", "/", Accept="text/html,*/*")
    assert status == 200 and headers["Content-Type"].startswith("text/html") and b"<main>" in body
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("default-src 'self'; ")
    assert ask(port, "GET", "/")[0] == 404
    for name in re.findall(r'(?:href|src)="([\w.]+)"', body.decode()):
        status, headers, _ = ask(port, "GET", f"/{name}")
        assert status == 200 and headers["X-Content-Type-Options"] == "nosniff", name
    assert ask(port, "GET", "/main.js")[1]["Content-Type"].startswith("text/javascript")


def test_the_page_asks_no_other_host():
    for path in site.FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == [], path.name


def test_other_sites_are_kept_out(port):
    for headers in (
        {"Host": "attacker.example"},
        {"Host": f"attacker.example:{port}"},
        {"Host": ""},
        {"Origin": "https://attacker.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{port + 1}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Origin": f"http://127.0.0.1:{port}"},
    ):
        status, _, body = ask_as(port, "POST", "/files", b"x", **headers)
        assert status == 403 and json.loads(body)["error"], headers
    assert ask_as(port, "GET", "/options", Host="attacker.example")[0] == 403
    for headers in (
        {"Origin": f"http://127.0.0.1:{port}"},
        {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"},
        {"Sec_Fetch_Site": "same-origin", "Host": f"[::1]:{port}"},
    ):
        assert ask_as(port, "POST", "/files", b"x", **headers)[0] == 201, headers
    assert ask_as(port, "GET", "/health", Host="attacker.example")[0] == 200  # for programs, as it was


def test_further_names_of_the_service():
    with running(Service(Steps(), hosts=["Paint.example"])) as port:
        headers = {"Host": "paint.example", "Origin": "https://paint.example"}
        assert ask_as(port, "POST", "/files", b"x", **headers)[0] == 201
        assert ask_as(port, "POST", "/files", b"x", Origin="https://paint.example")[0] == 201  # behind a proxy


# Descriptions --------------------------------------------------------------------------------------------------------


def test_openapi_describes_every_route_and_option(port):
    answer = json.loads(ask(port, "GET", "/openapi.json")[2])
    described = {(method.upper(), path) for path, methods in answer["paths"].items() for method in methods}
    service = Service(Steps())
    routes = {(method, route.path) for route in service.application.routes for method in route.methods - {"HEAD"}}
    of_the_page = {("GET", path) for path in ("/", "/openapi.json", "/pictures/{kind}/{name}.jpg")}
    of_the_page |= {("GET", f"/{path.name}") for path in site.FOLDER.iterdir()}
    assert described == routes - of_the_page
    options = answer["components"]["schemas"]["NewJob"]["properties"]["options"]["properties"]
    assert options.keys() == {item.name for item in fields(ClipOptions)} - set(about.NOT_FOR_CLIENTS)
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(answer)))
    assert references <= answer["components"]["schemas"].keys()
    assert description(Limits(max_body=7))["paths"]["/files"]["post"]["description"].startswith("Pictures have up to 7")


def test_options_state_the_defaults(port):
    answer = json.loads(ask(port, "GET", "/options")[2])
    options = {option["name"]: option for option in answer["options"]}
    assert options["style_size"]["default"] == PaintOptions.style_size and options["size"]["default"] == 64
    assert options["fps"]["for_clips"] and not options["strength"]["for_clips"]
    assert [model["name"] for model in answer["models"]] == [NAME, VIDEO_NAME]
    assert len(answer["styles"]) >= 6 and len(answer["contents"]) >= 2
    for picture in answer["styles"] + answer["contents"]:
        status, headers, body = ask(port, "GET", f"/{picture['url']}")
        assert status == 200 and headers["Content-Type"] == "image/jpeg" and picture_of(body).ndim == 3


def service_blocks(language):
    text = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "/jobs" in block]


@pytest.fixture
def paintings(tmp_path, monkeypatch):
    """A folder with the files that the documents name."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(tiny(1, 40, 60)).save("photo.jpg")
    Image.fromarray(tiny(2, 32, 32)).save("painting.jpg")
    return tmp_path


def test_the_python_client_of_the_documents(port, paintings):
    (code,) = service_blocks("python")
    exec(compile(code.replace("127.0.0.1:8866", f"127.0.0.1:{port}"), "service.md", "exec"), {})
    assert read_image(paintings / "painted.jpg").shape == (40, 60, 3)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_curl_client_of_the_documents(port, paintings):
    (code,) = service_blocks("bash")
    code = code.replace("127.0.0.1:8866", f"127.0.0.1:{port}")
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert '"state": "done"' in done.stdout and read_image(paintings / "painted.jpg").shape == (40, 60, 3)
