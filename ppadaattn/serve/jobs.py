"""Jobs over HTTP: files are sent once, jobs name them, progress is told as server-sent events, results expire.

POST /files               a picture, clip or style file as it is -> {"id": ..., "kind": ...}
POST /jobs                {"content": ID, "styles": [name or ID, ...], ...} -> the job
GET /jobs/ID              -> the job: state, place in the queue, progress, seconds left, addresses of its results
GET /jobs/ID/events       the same as server-sent events, until it is over
GET /jobs/ID/preview      the picture, or first frame, painted small
GET /jobs/ID/result       the painted file
DELETE /jobs/ID           stops the job and removes what it made
"""

import asyncio
import contextlib
import functools
import io
import json
import logging
import re
import time

from ppadaattn.errors import InputError, nearest, one_line
from ppadaattn.infer.options import ClipOptions, PaintOptions, value_type
from ppadaattn.infer.stylizer import check_weights
from ppadaattn.serve.about import CLIP_FORMATS, STYLE_MODES, client_options, examples
from ppadaattn.serve.limits import CLIENT_LEFT, FORMATS, LONGEST_MESSAGE
from ppadaattn.serve.painter import PainterError
from ppadaattn.serve.store import Store, new_name
from ppadaattn.weights.zoo import DEFAULT_MODEL, DEFAULT_VIDEO_MODEL

from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

KEYS = ("content", "styles", "weights", "mode", "mask", "colours", "model", "options", "format")
LARGEST_NUMBER = 10**12  # whole numbers are not bounded in JSON, and turn into floats later
LARGEST_JOB = 2**16  # bytes of the description of a job
MOST_JOBS = 1000  # that are remembered
MOST_STREAMS = 64  # of events at the same time
EVENT_EVERY, EVENT_AFTER = 0.1, 1  # least and greatest seconds between two events of a stream
HIDDEN = ("status", "message", "length")  # of the worker's last answer
OVER = ("done", "failed", "cancelled")


class RefusalError(Exception):
    """A refusal, without results."""

    def __init__(self, status, message, headers=None):
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


class Job:
    """A job, from its request until it is forgotten.

    Attributes:
        id: its name for clients. task: the dict for the worker. files: the StoredFiles that it needs.
        lane: the Lane where it waits: pictures and clips do not wait for each other.
        state: 'waiting', 'painting', 'done', 'failed' or 'cancelled'.
        about: what the worker said of the result. error: (status, sentence) of a job that failed.
        changed: an asyncio.Event that is set at the next change; there is a new one then.
    """

    def __init__(self, name, task, files, lane):
        self.id, self.task, self.files, self.lane = name, task, files, lane
        self.state, self.about, self.error, self.preview = "waiting", {}, None, b""
        self.progress, self.started, self.ended = {}, None, None
        self.changed, self.leaving = asyncio.Event(), asyncio.get_running_loop().create_future()

    @property
    def clip(self):
        return self.task["clip"]

    def change(self, **values):
        for name, value in values.items():
            setattr(self, name, value)
        event, self.changed = self.changed, asyncio.Event()
        event.set()

    def end(self, state, **values):
        self.change(state=state, ended=time.monotonic(), **values)

    def stop(self):
        if not self.leaving.done():
            self.leaving.set_result(None)


class Jobs:
    """The jobs and files of a Service.

    Args:
        service: a Service, of which `arrive`, `check_room`, the lanes, `painter` and `limits` are used.
    """

    def __init__(self, service):
        self.service, self.limits = service, service.limits
        self.jobs, self.store, self.streams, self._tasks = {}, None, 0, set()
        self.styles, self.contents = examples("style"), examples("content")
        self._mean = None  # seconds that a picture takes, a moving average

    def open(self):
        self.store = Store(self.limits)

    async def close(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.store.close()

    def expire(self):
        """Forget what is older than `keep_seconds`, and the oldest jobs that are over where there are too many."""
        now = time.monotonic()
        over = sorted((job for job in self.jobs.values() if job.ended is not None), key=lambda job: job.ended)
        for number, job in enumerate(over):
            if now - job.ended > self.limits.keep_seconds or number < len(self.jobs) - MOST_JOBS:
                self._forget(job)
        self.store.expire()

    def _forget(self, job):
        self.jobs.pop(job.id, None)
        self.store.remove_folder(self._folder(job))

    def _folder(self, job):
        return self.store.folder / f"job_{job.id}"

    # Routes ----------------------------------------------------------------------------------------------------------

    async def post_file(self, request):
        """Keep a file."""
        most, told = self.limits.max_upload * 2**20, request.headers.get("content-length", "")
        size = min(most, int(told)) if re.fullmatch(r"\d{1,15}", told) else most
        self.expire()
        if size > self.store.room():
            raise RefusalError(503, "there is no room for this file now; try again later", {"Retry-After": "60"})
        with self.store.arriving(size) as path:
            with open(path, "wb") as body:
                arrived = await self.service.arrive(request, body, size)
            if arrived > size:
                raise RefusalError(413, f"a file may have {self.limits.max_upload} MiB; this one has more")
            if not arrived:
                raise RefusalError(400, "the file is empty; send its bytes as the body of the request")
            file = self.store.add(path)
            if file.kind != "clip" and arrived > self.limits.max_body * 2**20:
                self.store.discard(file.id)
                raise RefusalError(413, f"a picture may have {self.limits.max_body} MiB; this one has more")
        return JSONResponse({"id": file.id, "kind": file.kind, "size": file.size}, 201)

    async def delete_file(self, request):
        """Remove a file."""
        file = self._file(request.path_params["id"], "the file")
        if file.held:
            raise RefusalError(409, "a job still needs this file; stop the job first")
        self.store.discard(file.id)
        return Response(status_code=204)

    async def post_job(self, request):
        """Take a job."""
        body = io.BytesIO()
        if await self.service.arrive(request, body, LARGEST_JOB) > LARGEST_JOB:
            raise RefusalError(413, f"the description of a job may have {LARGEST_JOB} bytes; send files to /files")
        try:
            task, files = self._task(_parsed(body.getvalue()))
        except InputError as error:
            raise RefusalError(400, str(error)) from None
        lane = self.service.clips if task["clip"] else self.service.pictures
        self.service.check_room(lane)
        self.expire()
        job = Job(new_name(), task, files, lane)
        self.jobs[job.id] = job
        for file in files:
            file.held += 1
        lane.line.append(job)
        running = asyncio.ensure_future(self._run(job))
        self._tasks.add(running)
        running.add_done_callback(self._tasks.discard)
        return JSONResponse(self.shown(job), 201, {"Location": f"jobs/{job.id}"})

    async def get_job(self, request):
        """How a job stands."""
        return JSONResponse(self.shown(self._job(request)))

    async def delete_job(self, request):
        """Stop a job and remove what it made."""
        job = self._job(request)
        job.stop()
        if job.state == "waiting" or job.state in OVER:
            job.end("cancelled")
            self.store.remove_folder(self._folder(job))
        return JSONResponse(self.shown(job))

    async def get_preview(self, request):
        """The small picture."""
        job = self._job(request)
        if not job.preview:
            raise RefusalError(404, "this job has no small picture yet")
        return Response(job.preview, media_type="image/jpeg")

    async def get_result(self, request):
        """The painted file."""
        job = self._job(request)
        if job.state != "done":
            raise RefusalError(409, f"this job has no result: it is {job.state}")
        path = self._folder(job) / job.task["output_name"]
        return FileResponse(
            path, filename=path.name, media_type=None if path.suffix != ".style" else "application/x-style"
        )

    async def get_events(self, request):
        """Server-sent events of a job."""
        job = self._job(request)
        if self.streams >= MOST_STREAMS:
            raise RefusalError(503, f"{self.streams} clients listen already; ask GET /jobs/ID instead")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._events(job), media_type="text/event-stream", headers=headers)

    async def _events(self, job):
        self.streams += 1
        try:
            while True:
                changed = job.changed
                shown = self.shown(job)  # the job may change while the event is sent
                yield f"event: job\ndata: {json.dumps(shown)}\n\n"
                if shown["state"] in OVER or self.service.ended:
                    return
                await asyncio.sleep(EVENT_EVERY)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(changed.wait(), EVENT_AFTER)
        finally:
            self.streams -= 1

    # Painting --------------------------------------------------------------------------------------------------------

    async def _run(self, job):
        """Paint a job when it is its turn."""
        folder, loop = self.store.new_folder(job.id), asyncio.get_running_loop()
        job.task["output"] = str(folder / job.task["output_name"])

        def report(progress, data):
            loop.call_soon_threadsafe(functools.partial(self._progress, job, progress, data))
            return not job.leaving.done()

        def begin(painter):
            job.change(state="painting", started=time.monotonic())
            return functools.partial(painter.paint_job, job.task, report)

        try:
            answer = await job.lane.in_turn(job.leaving, begin)
            status, message = answer["status"], answer["message"]
            if status == 200:
                self.store.measure(folder)
                job.about = {name: value for name, value in answer.items() if name not in HIDDEN}
                self._remember(job)
                job.end("done")
            elif status == CLIENT_LEFT:
                job.end("cancelled")
            else:
                job.end("failed", error=(status, message))
        except asyncio.CancelledError:
            job.end("failed", error=(503, "the service ends; send the job again later"))
            raise
        except (RefusalError, PainterError) as error:
            job.end("failed", error=(error.status, str(error)))
        except ClientDisconnect:  # it was stopped while it waited
            job.end("cancelled")
        except Exception:
            logging.getLogger(__name__).exception("a job failed")
            job.end("failed", error=(500, "this job failed here; the service's log says how"))
        finally:
            job.lane.leave(job)
            self.service.metrics.jobs.labels(job.state).inc()
            now = time.monotonic()
            for file in job.files:
                file.held, file.used = file.held - 1, now
            if job.state != "done":
                self.store.remove_folder(folder)

    def _progress(self, job, progress, data):
        if data:
            job.preview = data
        job.change(progress={**job.progress, **progress})

    def _remember(self, job):
        if not job.clip:
            took = time.monotonic() - job.started
            self._mean = took if self._mean is None else 0.7 * self._mean + 0.3 * took

    def _seconds_left(self, job):
        """Seconds until a job is done, about; None where nobody can say."""
        line = job.lane.line
        before = [] if job.started else line[: line.index(job)]
        left = [self._left(one) for one in (*before, job)]
        if None in left:
            return None
        return round(sum(left[:-1]) / len(job.lane.painters) + left[-1], 1)

    def _left(self, one):
        """Seconds of painting that a request or job still takes, about; None where nobody can say."""
        mean, passed = self._mean, 0
        if isinstance(one, Job):
            passed = time.monotonic() - one.started if one.started else 0
            if one.clip:
                done, total = one.progress.get("done", 0), one.progress.get("total", 0)
                mean = passed * total / done if done else None
        return None if mean is None else max(0, mean - passed)

    def shown(self, job):
        """A job as clients see it."""
        line = job.lane.line
        answer = {
            "id": job.id,
            "state": job.state,
            "place": job.lane.place(job) if job in line else 0,
            "done": job.progress.get("done", 0),
            "total": job.progress.get("total", 0),
            "seconds_left": self._seconds_left(job) if job in line else 0,
            "preview": f"jobs/{job.id}/preview" if job.preview else None,
            "result": None,
            "error": None,
        }
        if job.state == "done":
            kept = self.limits.keep_seconds - (time.monotonic() - job.ended)
            answer.update(result=f"jobs/{job.id}/result", expires_in=max(0, round(kept)), **job.about)
        if job.error is not None:
            answer.update(error=one_line(job.error[1], LONGEST_MESSAGE), status=job.error[0])
        return answer

    # Requests --------------------------------------------------------------------------------------------------------

    def _job(self, request):
        self.expire()
        try:
            return self.jobs[request.path_params["id"]]
        except KeyError:
            raise RefusalError(404, "there is no such job here, or it has expired") from None

    def _file(self, name, what):
        file = self.store.files.get(name) if isinstance(name, str) else None
        if file is None:
            known = nearest(name, self.styles) if what.startswith("style") else ""
            raise RefusalError(
                404, f"{what}: there is no file {one_line(name, 40)!r} here{known}; send it to /files again"
            )
        file.used = time.monotonic()
        return file

    def _task(self, given):
        """(the dict for the worker, StoredFiles) of a description; InputError or RefusalError where it is wrong."""
        unknown = [key for key in given if key not in KEYS]
        if unknown:
            raise InputError(f"a job has no {unknown[0]!r}{nearest(unknown[0], KEYS)}; known are {', '.join(KEYS)}")
        styles, files = given.get("styles"), []
        most = self.limits.max_pictures - 1
        if not isinstance(styles, list) or not 1 <= len(styles) <= most:
            raise InputError(f"`styles` is a list of 1 to {most} styles: names of bundled ones, or ids of files")
        paths = []
        for number, style in enumerate(styles):
            if isinstance(style, str) and style in self.styles:
                paths.append(str(self.styles[style]))
            else:
                files.append(self._file(style, f"style {number + 1}"))
                paths.append(str(files[-1].path))
        content = mask = None
        if given.get("content") is not None:
            content = self._file(given["content"], "the content")
            files.append(content)
        if given.get("mask") is not None:
            if content is None:
                raise InputError("a `mask` says where the regions of the content are: give `content`, too")
            mask = self._file(given["mask"], "the mask")
            files.append(mask)
        suffix, clip = self._format(content, given.get("format"))
        mode = given.get("mode", "mix")
        if mode not in STYLE_MODES:
            raise InputError(f"`mode` is one of {', '.join(STYLE_MODES)}; got {one_line(repr(mode), 40)}")
        return {
            "model": self._model(given.get("model"), clip),
            "content": None if content is None else str(content.path),
            "clip": clip,
            "styles": [{"path": p, "colour": c} for p, c in zip(paths, _colours(given, len(styles), mask))],
            "weights": _weights(given.get("weights"), len(styles)) if mode == "mix" else _no_weights(given),
            "mask": None if mask is None else str(mask.path),
            "options": self._options(given.get("options", {}), clip),
            "output_name": f"painted.{suffix}",
        }, files

    def _format(self, content, suffix):
        """(suffix of the result, whether the content is a clip)."""
        if content is None:
            if suffix not in (None, "style"):
                raise InputError("without `content` the result is a style file: leave `format` out")
            return "style", False
        clip = content.kind == "clip" or (content.kind == "gif" and suffix in CLIP_FORMATS)
        known = CLIP_FORMATS if clip else FORMATS
        own = "mp4" if clip else self.service.painter.suffix.lstrip(".")
        if suffix is not None and suffix not in known:
            what = "clip" if clip else "picture"
            raise InputError(f"`format` of a {what} is one of {', '.join(known)}; got {one_line(repr(suffix), 40)}")
        return suffix or own, clip

    def _model(self, name, clip):
        models = self.service.painter.models
        if name is None:
            own = DEFAULT_VIDEO_MODEL if clip else DEFAULT_MODEL
            return own if own in models else next(iter(models))
        if not isinstance(name, str) or name not in models:
            near = nearest(name, models)
            raise InputError(f"there is no model {one_line(repr(name), 40)}{near}; models: {', '.join(models)}")
        return name

    def _options(self, given, clip):
        """The checked options of a job, as a dict of values that the worker makes its options of."""
        if not isinstance(given, dict):
            raise InputError(f"`options` is a dict of options; got {type(given).__name__}")
        known, most = {item.name: item for item in client_options(clip)}, self.limits.size
        options = {}
        for name, value in given.items():
            if name not in known:
                raise InputError(f"there is no option {name!r}{nearest(name, known)}; options: {', '.join(known)}")
            kind = value_type(known[name])
            allowed = {bool: bool, int: int, float: (int, float)}[kind]
            if value is None and known[name].default is None:
                continue
            if not isinstance(value, allowed) or (kind is not bool and isinstance(value, bool)):
                raise InputError(f"`{name}` is {_words(kind)}; got {one_line(repr(value), 40)}")
            if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
                raise InputError(f"`{name}` is a number of an ordinary size; got one of {len(str(value))} digits")
            options[name] = value
        options["size"] = options.get("size") or most
        made = (ClipOptions if clip else PaintOptions)(**options)
        for name in ("size", "style_size"):
            if not 0 < getattr(made, name) <= most and name in options:
                raise InputError(f"`{name}` is up to {most} in this service; got {getattr(made, name)}")
        if made.style_scale is not None and made.style_scale * made.size > 2 * most:
            raise InputError(f"`style_scale` times `size` is up to {2 * most} in this service")
        return options


def _parsed(body):
    try:
        given = json.loads(body.decode("utf-8"))
    except (RecursionError, ValueError) as error:
        raise InputError(f"the description of a job is not JSON in UTF-8: {error}") from None
    if not isinstance(given, dict):
        raise InputError('a job is described as {"content": ID, "styles": [...], ...}')
    return given


def _words(kind):
    return {bool: "true or false", int: "a whole number", float: "a number"}[kind]


def _weights(weights, count):
    if weights is None:
        return [1.0] * count
    if not isinstance(weights, list) or not all(type(weight) in (int, float) for weight in weights):
        raise InputError("`weights` is a list of numbers, one a style")
    try:
        return check_weights(list(map(float, weights)), count)
    except OverflowError:
        raise InputError("`weights` are numbers of an ordinary size") from None


def _no_weights(given):
    if given.get("weights") is not None:
        raise InputError("`weights` are for a mixture; the mode is concat")


def _colours(given, count, mask):
    """The colour of each style's region, (red, green, blue) or None."""
    colours = given.get("colours")
    if colours is None:
        if mask is not None:
            raise InputError("a `mask` needs `colours`: for each style that of its region, #rrggbb, or null")
        return [None] * count
    good = isinstance(colours, list) and len(colours) == count
    if not good or not all(c is None or (isinstance(c, str) and re.fullmatch("#[0-9a-fA-F]{6}", c)) for c in colours):
        raise InputError(f"`colours` is a list of {count}, for each style #rrggbb or null")
    if mask is None:
        raise InputError("`colours` are those of a mask: give `mask`, too")
    return [None if c is None else [int(c[place : place + 2], 16) for place in (1, 3, 5)] for c in colours]
