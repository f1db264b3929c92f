"""The HTTP service: `ppadaattn serve` and tools/serve.py."""

import contextlib
import socket
from pathlib import Path

from ppadaattn.cli.common import Parser, exit_status, pixels, whole_number
from ppadaattn.errors import InputError, import_optional
from ppadaattn.infer.stylizer import load
from ppadaattn.media.images import MIN_SIDE
from ppadaattn.weights.zoo import MODELS

from PIL import Image

LIBRARIES = ("starlette", "uvicorn", "prometheus_client")
EXTRA = "'ppadaattn[serve]' (from a clone: pip install -e '.[serve]')"


def main(argv=None):
    """Serve until told to end. Returns the exit status."""
    return exit_status(serve, parser().parse_args(argv))


def parser(**options):
    """The options of the service; `options` are argparse's."""
    made = Parser(
        **{"prog": "serve.py", **options},
        description="Paint over HTTP, with the requests and answers of `hub serving`: POST /predict/NAME, "
        "GET /health, GET /metrics. There is no encryption and no login: for strangers put a proxy before it.",
    )
    made.add_argument(
        "--model",
        nargs="+",
        default=list(MODELS),
        metavar="MODEL",
        help="names of the zoo or weights files, whose NAME is theirs without suffix (default: all of the zoo)",
    )
    made.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: all (default: %(default)s)")
    made.add_argument(
        "--port", type=whole_number(0, 65535), default=8866, help="0: any that is free (default: %(default)s)"
    )
    made.add_argument("--device", help="cpu, gpu or gpu:N (default: a GPU where one works, else the CPU)")
    made.add_argument("--format", choices=("jpg", "png"), default="jpg", help="of results (default: %(default)s)")
    limits = made.add_argument_group("limits")
    limits.add_argument(
        "--size",
        type=pixels(),
        default=1024,
        metavar="PIXELS",
        help="reduce contents to this long side (default: %(default)s)",
    )
    limits.add_argument(
        "--max-pixels",
        type=whole_number(MIN_SIDE**2),
        default=25_000_000,
        metavar="N",
        help="refuse pictures with more (default: %(default)s)",
    )
    limits.add_argument(
        "--max-pictures",
        type=whole_number(2),
        default=16,
        metavar="N",
        help="of a request, contents and styles (default: %(default)s)",
    )
    limits.add_argument(
        "--max-body",
        type=whole_number(1),
        default=16,
        metavar="MIB",
        help="of a request, in MiB (default: %(default)s)",
    )
    limits.add_argument(
        "--queue",
        type=whole_number(0),
        default=16,
        metavar="N",
        help="requests that wait while one is painted; more are refused with 503 (default: %(default)s)",
    )
    limits.add_argument(
        "--no-style-files",
        action="store_true",
        help="refuse styles that are .style files: strangers could make one that takes long to read",
    )
    return made


def serve(args):
    """Serve as the options say. Returns the exit status."""
    for library in LIBRARIES:
        import_optional(library, EXTRA, "HTTP services")
    from ppadaattn.serve.service import Limits, Service

    import uvicorn

    names = [model if model in MODELS else Path(model).stem for model in args.model]
    if len(set(names)) < len(names):
        raise InputError(f"--model: two models cannot have one name; got {', '.join(names)}")
    with contextlib.closing(_listen(args.host, args.port)) as listener:
        stylizers = {name: load(model, device=args.device) for name, model in zip(names, args.model)}
        Image.MAX_IMAGE_PIXELS = args.max_pixels  # of this process, which is the service's own
        limits = Limits(
            size=args.size,
            max_body=args.max_body * 2**20,
            max_pictures=args.max_pictures,
            queue=args.queue,
            style_files=not args.no_style_files,
        )
        application = Service(stylizers, limits, f".{args.format}").application
        host = f"[{args.host}]" if ":" in args.host else args.host
        url = f"http://{host}:{listener.getsockname()[1]}/predict/"
        print(f"serving {', '.join(url + name for name in names)}; Ctrl-C ends it", flush=True)
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", ws="none"))
        # It answers what has been let in, and then hands on the signal that told it to end.
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            server.run([listener])
    return 0 if server.started else 1


def _listen(host, port):
    """A socket that listens; InputError where that is not possible."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot listen on {host}, port {port}: {reason}; choose another --port or --host") from None
