"""The HTTP service of `ppadaattn serve`: requests and answers are those of `hub serving`.

One thread paints, in the order in which requests arrived whole. Everything else that a request can cost is bounded: a
request is let in only while a place is free, before its body is read, and a body is limited in size and in time.

    POST /predict/NAME   {"images": [{"content": base64, "styles": [base64, ...], "weights": [...]}, ...], "alpha": 1}
                         -> {"status": "000", "msg": "", "results": [{"data": base64}, ...]}
    GET /health          -> the same with {"models": [...], "queue": N} as results
    GET /metrics         -> Prometheus's text format
"""

import asyncio
import contextlib
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor

from ppadaattn.errors import InputError, nearest
from ppadaattn.serve.limits import FORMATS, Limits
from ppadaattn.serve.protocol import decode, encode, transfer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

KEYS = ("images", "alpha")
CLIENT_LEFT = 499  # nginx's number for it; nobody gets the answer
RETRY_AFTER = {"Retry-After": "5"}
LONGEST_MESSAGE = 500


class Service:
    """An ASGI application that paints.

    Args:
        stylizers: {name: Stylizer}, all on one device.
        limits: Limits; None: its defaults.
        suffix: format of the results, one of `ppadaattn.images.FORMATS`.
    """

    def __init__(self, stylizers, limits=None, suffix=f".{FORMATS[0]}"):
        self.stylizers, self.limits, self.suffix = stylizers, limits or Limits(), suffix
        self.inside = 0  # requests let in and not answered yet
        self.metrics = _Metrics(lambda: self.inside)
        self.application = Starlette(
            routes=[
                Route("/predict/{name}", self._predict, methods=["POST"]),
                Route("/health", self._health),
                Route("/metrics", self._metrics),
            ],
            exception_handlers={HTTPException: _refused_by_router},
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _):
        self._turn = asyncio.Lock()  # first come, first served
        with ThreadPoolExecutor(1, "painter") as self._painter:
            yield

    async def _health(self, _):
        return _answer({"models": list(self.stylizers), "queue": self.inside})

    async def _metrics(self, _):
        return Response(self.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def _predict(self, request):
        start = time.perf_counter()
        try:
            response = await self._let_in(request)
        except _RefusalError as refusal:
            response = _answer(**vars(refusal))
        except ClientDisconnect:
            response = Response(status_code=CLIENT_LEFT)
        except Exception:
            logging.getLogger(__name__).exception("a request failed")
            response = _answer(status=500, message="this request failed here; the service's log says how")
        self.metrics.count(response.status_code, time.perf_counter() - start)
        return response

    async def _let_in(self, request):
        name, limits = request.path_params["name"], self.limits
        refusal = self._refusal_at_the_door(name)
        if refusal is not None:
            await self._body(request, 0)
            raise refusal
        self.inside += 1
        try:
            body = await self._body(request, limits.max_body * 2**20)
            if body is None:
                raise _RefusalError(413, f"a request may have {limits.max_body} MiB; send smaller pictures, or fewer")
            leaving = asyncio.ensure_future(_left(request))
            try:
                return await self._in_turn(self.stylizers[name], body, leaving)
            finally:
                leaving.cancel()
        finally:
            self.inside -= 1

    def _refusal_at_the_door(self, name):
        if name not in self.stylizers:
            known = ", ".join(self.stylizers)
            return _RefusalError(404, f"there is no model {name!r}{nearest(name, self.stylizers)}; models: {known}")
        if self.inside > self.limits.queue:
            return _RefusalError(503, f"{self.inside} requests are waiting already; try again later", RETRY_AFTER)
        return None

    async def _body(self, request, limit):
        """The body of a request, or None where it has more bytes than the limit; _RefusalError where it takes too long.

        It is read to its end, whatever is kept of it: a client does not read an answer while it sends.
        """

        async def read():
            body, size = bytearray(), 0
            async for chunk in request.stream():
                size += len(chunk)
                if size <= limit:
                    body += chunk
                else:
                    body.clear()
            return body if size <= limit else None

        try:
            return await asyncio.wait_for(read(), self.limits.body_seconds)
        except asyncio.TimeoutError:
            message = f"the request did not arrive within {self.limits.body_seconds:g} s"
            raise _RefusalError(408, message, {"Connection": "close"}) from None

    async def _in_turn(self, stylizer, body, leaving):
        """Paint when those before are done. Nothing of a client that leaves while it waits is kept."""
        turn = asyncio.ensure_future(self._turn.acquire())
        await asyncio.wait({turn, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not turn.done():
            turn.cancel()
            raise ClientDisconnect
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._painter, self._paint, stylizer, body, leaving.done)
        finally:
            self._turn.release()

    def _paint(self, stylizer, body, left):
        """The answer to a body. In the painter's thread: parsing and decoding take time and memory too."""
        try:
            images, alpha = self._parse(body)
            results = []
            for picture in transfer(stylizer, decode(images, self.limits.style_files), alpha, self.limits.size):
                results.append({"data": encode(picture, self.suffix)})
                if left():
                    raise ClientDisconnect
        except InputError as error:
            raise _RefusalError(400, str(error)) from None
        except MemoryError:
            raise _RefusalError(413, "these pictures need more memory than there is; send smaller ones") from None
        self.metrics.pictures.inc(len(results))
        return _answer(results)

    def _parse(self, body):
        try:
            given = json.loads(body.decode("utf-8"))
        except (RecursionError, ValueError) as error:
            raise InputError(f"the request is not JSON in UTF-8: {error}") from None
        if not isinstance(given, dict) or "images" not in given:
            raise InputError('the request must be {"images": [...], "alpha": 0..1}')
        unknown = [key for key in given if key not in KEYS]
        if unknown:
            raise InputError(f"the request has a key {unknown[0]!r}; known ones are {', '.join(KEYS)}")
        images, limit = given["images"], self.limits.max_pictures
        if isinstance(images, list):
            styles = [item["styles"] for item in images if isinstance(item, dict) and "styles" in item]
            count = len(images) + sum(len(some) for some in styles if isinstance(some, list))
            if count > limit:
                raise InputError(f"a request may have {limit} pictures, contents and styles; this one has {count}")
        return images, given.get("alpha", 1)


class _RefusalError(Exception):
    """Why there are no results. The message may repeat what came, which may be long and not even be Unicode."""

    def __init__(self, status, message, headers=None):
        super().__init__(message)
        message = message if len(message) <= LONGEST_MESSAGE else message[:LONGEST_MESSAGE] + "..."
        self.message = message.encode("utf-8", "backslashreplace").decode("utf-8")
        self.status, self.headers = status, headers


def _answer(results="", status=200, message="", headers=None):
    """JSON as `hub serving` answers; where it is an error, its status is HTTP's."""
    code = "000" if status == 200 else str(status)
    return JSONResponse({"status": code, "msg": message, "results": results}, status, headers)


async def _refused_by_router(request, error):
    known = "POST /predict/NAME, GET /health, GET /metrics"
    message = f"{request.method} {request.url.path} is not known here; known are {known}"
    return _answer(status=error.status_code, message=message, headers=error.headers)


async def _left(request):
    """Returns when the client is gone. The body has been read, so nothing else comes."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Metrics:
    """What /metrics tells."""

    def __init__(self, waiting):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        options = {"namespace": "ppadaattn", "registry": self.registry}
        self.requests = Counter("requests", "Requests to paint, by HTTP status.", ["status"], **options)
        self.errors = Counter("errors", "Requests to paint that were answered with an error.", **options)
        self.pictures = Counter("pictures", "Pictures painted.", **options)
        self.seconds = Histogram("request_seconds", "From a request's arrival to its answer.", **options)
        Gauge("queue_length", "Requests let in and not answered yet.", **options).set_function(waiting)

    def count(self, status, seconds):
        self.requests.labels(status).inc()
        if status >= 400:
            self.errors.inc()
        self.seconds.observe(seconds)

    def text(self):
        return generate_latest(self.registry)
