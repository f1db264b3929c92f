"""The page of `ppadaattn serve`: its files, what it asks about the service, and what keeps other sites away from it."""

import asyncio
import contextlib
import ipaddress
import mimetypes
import socket
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from ppadaattn.serve.about import content_policy, describe

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

FOLDER = Path(__file__).resolve().parent / "static"
PAGE = "index.html"
# Types of the static files; systems disagree about that of modules.
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": content_policy({"frame-ancestors": "'none'"}),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Addresses of `hub serving` and of monitoring, for other programs: they stay as they are.
FOR_PROGRAMS = ("/predict", "/health", "/metrics")


class Guard:
    """Middleware of all routes for browsers: safe headers, no requests from other sites, no client that takes nothing.

    Args:
        app: an ASGI application.
        hosts: names besides addresses, localhost and that of this computer under which the service may be asked. A
            site of an attacker whose name is made to point here (DNS rebinding) has another one.
        seconds: for a client to take a piece of an answer.
    """

    def __init__(self, app, hosts=(), seconds=60):
        own = socket.gethostname().lower()
        self.app, self.seconds = app, seconds
        self.hosts = {"localhost", own, f"{own}.local", *(host.lower() for host in hosts)}
        self.named = {host.lower() for host in hosts}

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["path"].startswith(FOR_PROGRAMS):
            await self.app(scope, receive, send)
            return

        async def send_guarded(message):
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await asyncio.wait_for(send(message), self.seconds)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        problem = self._problem(scope["method"], headers)
        app = self.app if problem is None else JSONResponse({"error": problem}, 403)
        with contextlib.suppress(asyncio.TimeoutError):  # uvicorn then closes the connection
            await app(scope, receive, send_guarded)

    def _problem(self, method, headers):
        """Why a request is refused; None where it is not."""
        host = headers.get("host", "")
        if not self._is_own(_hostname(f"//{host}")):
            return (
                f"this service is not called {_hostname(f'//{host}')!r}; start it with --allow-host to allow the name"
            )
        if method in ("GET", "HEAD"):
            return None
        fetch, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if fetch is not None:
            foreign = fetch not in ("same-origin", "none")
        else:
            foreign = origin is not None and urlsplit(origin).netloc != host and _hostname(origin) not in self.named
        return "pages of other sites may not paint here" if foreign else None

    def _is_own(self, name):
        if name in self.hosts or name.endswith(".localhost"):
            return True
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name)
            return True
        return False


def _hostname(address):
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


class Site:
    """The page's files and what it asks.

    Args:
        jobs: the Jobs of a service.
    """

    def __init__(self, jobs):
        self.jobs = jobs
        self.files = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.is_file()}
        self.pictures = {"styles": jobs.styles, "contents": jobs.contents}

    async def get_page(self, request):
        """The page for browsers; other programs get what they always got."""
        if "text/html" not in request.headers.get("accept", ""):
            raise HTTPException(404)
        return self._static(PAGE)

    async def get_static(self, request):
        """A file of the page."""
        return self._static(request.url.path.rpartition("/")[2])

    def _static(self, name):
        suffix = Path(name).suffix
        kind = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(self.files[name], media_type=kind, headers={"Cache-Control": "no-cache"})

    async def get_picture(self, request):
        """A bundled picture."""
        path = self.pictures.get(request.path_params["kind"], {}).get(request.path_params["name"])
        if path is None:
            raise HTTPException(404)
        return Response(path.read_bytes(), media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})

    async def get_options(self, _):
        """What can be painted: models, bundled pictures, options with their defaults, limits."""
        jobs = self.jobs
        return JSONResponse(
            describe(jobs.service.painter.models, asdict(jobs.limits), styles=jobs.styles, contents=jobs.contents)
        )
