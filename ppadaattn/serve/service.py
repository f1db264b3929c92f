"""The HTTP service of `ppadaattn serve`, with the requests and answers of `hub serving`.

Worker processes (`ppadaattn.serve.painter`), one unless more are asked for, paint the requests, in the order in which
their bodies are complete; another one paints clips, so that no picture waits behind a clip. This process only moves
bytes, so that it answers whatever the workers do. The cost of a request is bounded: a body is limited in size and time
and kept on disk while it arrives, it gets a place in the queue once it is whole, and painting is limited in time and
memory.

    POST /predict/NAME   {"images": [{"content": base64, "styles": [base64, ...], "weights": [...]}, ...], "alpha": 1}
                         -> {"status": "000", "msg": "", "results": [{"data": base64}, ...]}
    GET /health          -> the same with {"models": [...], "queue": N, "ready": true or false} as results
    GET /metrics         -> Prometheus's text format

For browsers there is a page at / (`ppadaattn.serve.site`), which paints through jobs (`ppadaattn.serve.jobs`), in the
same queues.
"""

import asyncio
import contextlib
import functools
import logging
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from ppadaattn.errors import InputError, nearest, one_line
from ppadaattn.serve.jobs import Jobs, RefusalError
from ppadaattn.serve.limits import CLIENT_LEFT, LONGEST_MESSAGE
from ppadaattn.serve.openapi import description
from ppadaattn.serve.painter import PainterError
from ppadaattn.serve.site import Guard, Site

import uvicorn
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

RETRY_AFTER = {"Retry-After": "5"}
CLOSE = {"Connection": "close"}  # with an answer to a body that is not read to its end
IN_MEMORY = 2**18  # bytes of a body; the rest is on disk
PIECE = 2**16  # bytes of an answer that are handed to the connection at once
YOUNG = 2  # seconds in which no upload gives way to another one
RESTART, RESTART_AGAIN = 1, 10  # seconds between two looks whether the workers run; after a start that failed
REST = 60  # seconds without a clip after which the worker for clips ends: it holds some hundred MiB
# Seconds from the signal to the end: what waits is painted until the first, connections are closed after the second.
PAINT_TO_END, CLOSE_TO_END = 6, 8


def make_server(service):
    """A uvicorn.Server of a Service, which ends within CLOSE_TO_END seconds, and a bit, whatever is stuck."""
    return _Server(service)


class _Server(uvicorn.Server):
    def __init__(self, service):
        options = {"log_level": "warning", "ws": "none", "timeout_graceful_shutdown": CLOSE_TO_END}
        super().__init__(uvicorn.Config(service.application, **options))
        self.service = service

    async def shutdown(self, sockets=None):
        ending = asyncio.ensure_future(self.service.end(PAINT_TO_END))
        await super().shutdown(sockets)
        ending.cancel()


class Lane:
    """Painters and what waits for them: each paints one request or job at a time, in order of arrival.

    Attributes:
        line: requests and jobs that are whole and not answered yet, in order; the first ones are painted.
    """

    def __init__(self, painters):
        self.painters, self.line, self.used = painters, [], time.monotonic()

    @property
    def ready(self):
        """Whether each of its workers runs."""
        return all(painter.ready for painter in self.painters)

    def place(self, item):
        """How many requests and jobs must be done before it is the turn of one in the line."""
        return max(0, self.line.index(item) - len(self.painters) + 1)

    def open(self, executors, ended):
        """Begin in the running event loop.

        Args:
            executors: a contextlib.ExitStack that closes this lane's threads.
            ended: a future that is done when what is not painted yet is refused.
        """
        self._turn, self._idle, self._ended = asyncio.Lock(), asyncio.Queue(), ended
        for painter in self.painters:
            self._idle.put_nowait(painter)
        self._threads = executors.enter_context(ThreadPoolExecutor(len(self.painters), "painter"))

    async def _take(self):
        """A painter that does nothing, first come, first served; whoever has it puts it back into `_idle`."""
        async with self._turn:  # a queue alone may serve a late comer first
            return await self._idle.get()

    @contextlib.asynccontextmanager
    async def _taken(self):
        painter = await self._take()
        try:
            yield painter
        finally:
            self._idle.put_nowait(painter)

    def leave(self, item):
        """A request or job is answered: it gives up its place in the line."""
        self.line.remove(item)
        self.used = time.monotonic()

    async def in_turn(self, leaving, begin):
        """Paint when the requests before are done; a client that leaves while it waits loses its place.

        Args:
            leaving: a future that is done when the client has left.
            begin: a function of a painter that is called when it is the turn, and returns what asks that painter.

        Returns what that function returns.
        """
        turn = asyncio.ensure_future(self._take())
        await asyncio.wait({turn, leaving, self._ended}, return_when=asyncio.FIRST_COMPLETED)
        if not turn.done():
            turn.cancel()
            raise ClientDisconnect if leaving.done() else _ending()
        painter = turn.result()
        try:
            if self._ended.done():
                raise _ending()
            await self._start_where_needed(painter)
            return await self._in_thread(begin(painter))
        except PainterError as error:
            logging.getLogger(__name__).warning("the worker was ended or has ended: %s", error)
            raise
        finally:
            self._idle.put_nowait(painter)

    async def keep_ready(self):
        """Start workers that have ended."""
        for _ in self.painters:
            if self.ready:
                return
            async with self._taken() as painter:
                with contextlib.suppress(PainterError, RefusalError):  # which is logged
                    await self._start_where_needed(painter)

    async def rest(self):
        """End the workers where nothing was painted for REST seconds; the next request starts one again."""
        if any(painter.ready for painter in self.painters) and not self.line and time.monotonic() - self.used > REST:
            for _ in self.painters:
                async with self._taken() as painter:
                    await self._in_thread(painter.stop)

    async def _start_where_needed(self, painter):
        if painter.ready:
            return
        try:
            await self._in_thread(painter.start)
        except (InputError, OSError, PainterError) as error:
            if self._ended.done():
                raise _ending() from None
            logging.getLogger(__name__).error("the worker cannot be started: %s", error)
            raise PainterError(503, "the process that paints cannot be started; the service's log says why") from None

    def _in_thread(self, work):
        return asyncio.get_running_loop().run_in_executor(self._threads, work)


class Service:
    """An ASGI application that paints.

    Args:
        painters: Painters of the same models and limits, which paint pictures side by side. The service starts those
            that are not started yet, and closes them.
        hosts: names under which browsers may ask it, as Guard takes them.
        clip_painter: another one, for clips. The service starts it for a clip, ends it when there was none for a while,
            and closes it. None: `painters` paint clips, too, and pictures wait.
    """

    def __init__(self, *painters, hosts=(), clip_painter=None):
        self.painter = painters[0]  # which has the models, the limits and the format of them all
        self.limits = self.painter.limits
        self.pictures = Lane(painters)
        self.clips = self.pictures if clip_painter is None else Lane([clip_painter])
        self.lanes = list(dict.fromkeys([self.pictures, self.clips]))
        self.uploads = set()  # those that arrive
        self.answers = 0  # those that are sent
        self.metrics = _Metrics(self)
        self.jobs = Jobs(self)
        site, jobs = Site(self.jobs), self.jobs
        self.application = Starlette(
            routes=[
                Route("/predict/{name}", self._predict, methods=["POST"]),
                Route("/health", self._health),
                Route("/metrics", self._metrics),
                Route("/files", _answered(jobs.post_file), methods=["POST"]),
                Route("/files/{id}", _answered(jobs.delete_file), methods=["DELETE"]),
                Route("/jobs", _answered(jobs.post_job), methods=["POST"]),
                Route("/jobs/{id}", _answered(jobs.get_job)),
                Route("/jobs/{id}", _answered(jobs.delete_job), methods=["DELETE"]),
                Route("/jobs/{id}/events", _answered(jobs.get_events)),
                Route("/jobs/{id}/preview", _answered(jobs.get_preview)),
                Route("/jobs/{id}/result", _answered(jobs.get_result)),
                Route("/options", site.get_options),
                Route("/openapi.json", self._openapi),
                Route("/pictures/{kind}/{name}.jpg", site.get_picture),
                Route("/", site.get_page),
                *(Route(f"/{name}", site.get_static) for name in site.files),
            ],
            middleware=[Middleware(Guard, hosts=hosts, seconds=self.limits.body_seconds)],
            exception_handlers={HTTPException: _refused_by_router},
            lifespan=self._lifespan,
        )

    @property
    def inside(self):
        """How many requests and jobs are whole and not answered yet."""
        return sum(len(lane.line) for lane in self.lanes)

    @property
    def ended(self):
        """Whether what is not answered yet is refused."""
        return self._ended.done()

    @contextlib.asynccontextmanager
    async def _lifespan(self, _):
        self._ending, self._ended = False, asyncio.get_running_loop().create_future()
        self.jobs.open()
        with contextlib.ExitStack() as executors:
            for lane in self.lanes:
                lane.open(executors, self._ended)
            keeper = asyncio.ensure_future(self._keep_ready())
            try:
                yield
            finally:
                keeper.cancel()
                self._close_painters()
                await self.jobs.close()

    async def _keep_ready(self):
        """Start workers for pictures that have ended, before the next request needs them; end that for clips."""
        while True:
            await self.pictures.keep_ready()
            if self.clips is not self.pictures:
                await self.clips.rest()
            self.jobs.expire()
            await asyncio.sleep(RESTART if self.pictures.ready else RESTART_AGAIN)

    async def end(self, seconds):
        """Refuse what still arrives, and after so many seconds what still waits or is painted."""
        self._ending = True
        for upload in self.uploads:
            upload.refuse(_ending())
        end = time.monotonic() + seconds
        while self.inside and time.monotonic() < end:
            await asyncio.sleep(0.1)
        if not self._ended.done():
            self._ended.set_result(None)
            self._close_painters()

    def _close_painters(self):
        for lane in self.lanes:
            for painter in lane.painters:
                painter.close()

    def check_room(self, lane):
        """Raise RefusalError where too many requests and jobs wait in a lane."""
        if len(lane.line) >= self.limits.queue + len(lane.painters):
            raise RefusalError(503, f"{len(lane.line)} requests are waiting already; try again later", RETRY_AFTER)

    async def _health(self, _):
        ready = any(painter.ready for painter in self.pictures.painters)
        return _answer({"models": list(self.painter.models), "queue": self.inside, "ready": ready})

    async def _metrics(self, _):
        return Response(self.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def _predict(self, request):
        start = time.perf_counter()
        try:
            response = await self._let_in(request)
        except RefusalError as refusal:
            response = _answer(**vars(refusal))
        except PainterError as error:
            response = _answer(status=error.status, message=str(error))
        except ClientDisconnect:
            response = Response(status_code=CLIENT_LEFT)
        except Exception:
            logging.getLogger(__name__).exception("a request failed")
            response = _answer(status=500, message="this request failed here; the service's log says how")
        self.metrics.count(response.status_code, time.perf_counter() - start)
        return response

    async def _let_in(self, request):
        name, limits = request.path_params["name"], self.limits
        known = name in self.painter.models
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as body:
            size = await self.arrive(request, body, limits.max_body * 2**20 if known else 0)
            if not known:
                names = ", ".join(self.painter.models)
                near = nearest(name, self.painter.models)
                raise RefusalError(404, f"there is no model {name!r}{near}; models: {names}")
            if size > limits.max_body * 2**20:
                raise RefusalError(413, f"a request may have {limits.max_body} MiB; send smaller pictures, or fewer")
            self.check_room(self.pictures)
            body.seek(0)
            leaving = asyncio.ensure_future(_left(request))

            def begin(painter):
                return functools.partial(painter.paint, name, body, lambda: not leaving.done())

            self.pictures.line.append(body)
            try:
                return self._hub_answer(*await self.pictures.in_turn(leaving, begin))
            finally:
                leaving.cancel()
                self.pictures.leave(body)

    async def arrive(self, request, body, most):
        """Write the body of a request into a file, up to `most` bytes; its size.

        A body that is too large is read to its end and dropped: a client does not read an answer while it sends.
        Raises RefusalError where it does not arrive.
        """
        if self._ending:
            raise _ending()
        if len(self.uploads) >= self.limits.max_uploads:
            self._make_room()
        upload = _Upload(request, body, most)
        self.uploads.add(upload)
        try:
            await self._wait_for(upload)
            if upload.refusal is not None:
                raise upload.refusal
            if not upload.task.done():
                message = f"the request did not arrive within {self.limits.body_seconds:g} s"
                raise RefusalError(408, message, CLOSE)
            return upload.task.result()
        finally:
            upload.task.cancel()
            self.uploads.discard(upload)

    async def _wait_for(self, upload):
        """Wait until a body has arrived, `body_seconds`, and for a larger file as long again for each `max_body`."""
        seconds, piece = self.limits.body_seconds, self.limits.max_body * 2**20
        while not upload.task.done():
            left = seconds * (1 + min(upload.size, upload.most) // piece) - (time.monotonic() - upload.start)
            if left <= 0:
                return
            await asyncio.wait({upload.task}, timeout=left)

    def _make_room(self):
        """Refuse the slowest upload, so that clients that send next to nothing keep nobody out; else the new one."""
        message = f"more than {self.limits.max_uploads} requests arrive at the same time"
        now = time.monotonic()
        grown = [upload for upload in self.uploads if now - upload.start > YOUNG and upload.refusal is None]
        if not grown:
            raise RefusalError(503, f"{message}; try again later", {**RETRY_AFTER, **CLOSE})
        slowest = min(grown, key=lambda upload: upload.size / (now - upload.start))
        slowest.refuse(RefusalError(408, f"{message}, and this one was the slowest; try again later", CLOSE))

    def _hub_answer(self, answer, content):
        if answer["status"] != 200:
            return _answer(status=answer["status"], message=answer["message"])
        self.metrics.pictures.inc(answer["pictures"])
        content = b'{"status":"000","msg":"","results":' + content + b"}"
        return _LargeResponse(content, self)

    async def _openapi(self, _):
        return JSONResponse(description(self.limits))


def _answered(handler):
    """A route for jobs and files: what it refuses is answered with {"error": sentence}."""

    @functools.wraps(handler)
    async def answered(request):
        try:
            return await handler(request)
        except RefusalError as refusal:
            message = one_line(refusal.message, LONGEST_MESSAGE)
            return JSONResponse({"error": message}, refusal.status, refusal.headers)
        except ClientDisconnect:
            return Response(status_code=CLIENT_LEFT)
        except Exception:
            logging.getLogger(__name__).exception("a request failed")
            return JSONResponse({"error": "this request failed here; the service's log says how"}, 500)

    return answered


class _Upload:
    """A body under way: its `task`, whose result is the number of bytes, and what tells how slow it is."""

    def __init__(self, request, body, most):
        self.start, self.size, self.most, self.refusal = time.monotonic(), 0, most, None
        self.task = asyncio.ensure_future(self._read(request, body, most))
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # which nobody may ask for

    async def _read(self, request, body, most):
        async for chunk in request.stream():
            self.size += len(chunk)
            if self.size <= most:
                body.write(chunk)
        return self.size

    def refuse(self, refusal):
        self.refusal = refusal
        self.task.cancel()


class _LargeResponse(Response):
    """An answer in pieces, so that one whose client does not take it in time is dropped and keeps no memory."""

    def __init__(self, content, service):
        super().__init__(content, media_type="application/json")
        self.service = service

    async def __call__(self, scope, receive, send):
        async def send_pieces():
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for start in range(0, len(self.body), PIECE):
                end = start + PIECE
                more = end < len(self.body)
                await send({"type": "http.response.body", "body": self.body[start:end], "more_body": more})

        self.service.answers += 1
        try:
            with contextlib.suppress(asyncio.TimeoutError):  # uvicorn then closes the connection
                await asyncio.wait_for(send_pieces(), self.service.limits.body_seconds)
        finally:
            self.service.answers -= 1


def _ending():
    return RefusalError(503, "the service ends; send the request again later", CLOSE)


def _answer(results="", status=200, message="", headers=None):
    """A JSON answer as that of `hub serving`; "status" is "000", or the HTTP status of an error."""
    code = "000" if status == 200 else str(status)
    answer = {"status": code, "msg": one_line(message, LONGEST_MESSAGE), "results": results}
    return JSONResponse(answer, status, headers)


async def _refused_by_router(request, error):
    known = "POST /predict/NAME, GET /health, GET /metrics, and what /openapi.json describes"
    message = f"{request.method} {request.url.path} is not known here; known are {known}"
    return _answer(status=error.status_code, message=message, headers=error.headers)


async def _left(request):
    """Wait until the client has left. Its body was read before, so that nothing else can arrive."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Metrics:
    """The metrics of GET /metrics."""

    def __init__(self, service):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        options = {"namespace": "ppadaattn", "registry": self.registry}
        self.requests = Counter("requests", "Requests to paint, by HTTP status.", ["status"], **options)
        self.errors = Counter("errors", "Requests to paint that were answered with an error.", **options)
        self.jobs = Counter("jobs", "Jobs, by how they ended.", ["state"], **options)
        self.pictures = Counter("pictures", "Pictures painted.", **options)
        self.seconds = Histogram("request_seconds", "From a request's arrival to its answer.", **options)
        painters = [painter for lane in service.lanes for painter in lane.painters]
        for name, text, value in (
            ("queue_length", "Requests that are whole and not answered yet.", lambda: service.inside),
            ("uploads", "Requests that arrive.", lambda: len(service.uploads)),
            ("answers", "Answers that are sent.", lambda: service.answers),
            ("worker_starts", "Starts of processes that paint.", lambda: sum(one.starts for one in painters)),
            (
                "worker_resident_memory_bytes",
                "Resident memory of the processes that paint.",
                lambda: sum(one.memory for one in painters),
            ),
        ):
            Gauge(name, text, **options).set_function(value)

    def count(self, status, seconds):
        self.requests.labels(status).inc()
        if status >= 400:
            self.errors.inc()
        self.seconds.observe(seconds)

    def text(self):
        return generate_latest(self.registry)
