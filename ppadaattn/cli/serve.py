"""The command `serve`: paint over HTTP."""

import contextlib
import dataclasses
import socket
from pathlib import Path

from ppadaattn.cli.common import DEVICE_HELP, Parser, add_field, pixels, run, seconds, whole_number
from ppadaattn.errors import InputError, import_optional
from ppadaattn.media.images import MIN_SIDE
from ppadaattn.runtime import threads
from ppadaattn.serve.limits import FORMATS, HOST, PORT, Limits
from ppadaattn.serve.painter import Painter, PainterError
from ppadaattn.weights.zoo import BUNDLED, MODELS, weights_file

LIBRARIES = ("starlette", "uvicorn", "prometheus_client")
FORMER = {"--no-style-files": "--style-files (off unless given)"}
EXTRA = "'ppadaattn[serve]' (from a clone: pip install -e '.[serve]')"


def main(argv=None):
    """Serve until told to end. Returns the exit status."""
    return run("serve", argv)


def parser(prog="ppadaattn serve"):
    """The options of the service."""
    made = Parser(
        prog,
        description="Paint in a browser: the printed address is a page. For programs there are jobs, described at "
        "/openapi.json, and POST /predict/NAME, GET /health and GET /metrics, with the requests and answers of `hub "
        "serving`. There is no encryption and no login: for strangers put a proxy before it.",
        examples=("", "--model adaattn_lite_video --host 0.0.0.0 --port 8080 --request-seconds 20"),
        synonyms={"--models": "--model", "--address": "--host", "--use-gpu": "--device gpu", **FORMER},
    )
    made.set_defaults(work=_serve)
    made.add_argument(
        "--model",
        nargs="+",
        default=list(BUNDLED),
        metavar="MODEL",
        help="names of the zoo or weights files, whose NAME is theirs without suffix (default: all of the zoo)",
    )
    made.add_argument("--host", default=HOST, help="address to listen on; 0.0.0.0: all (default: %(default)s)")
    made.add_argument(
        "--port", type=whole_number(0, 65535), default=PORT, help="0: any that is free (default: %(default)s)"
    )
    made.add_argument(
        "--allow-host",
        nargs="+",
        default=[],
        metavar="NAME",
        help="names under which browsers may open the page, besides addresses, localhost and that of this computer",
    )
    made.add_argument("--device", help=DEVICE_HELP)
    made.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="of results (default: %(default)s)")
    limits = made.add_argument_group("limits")
    for name, kind, metavar, text in (
        ("size", pixels(), "PIXELS", "reduce contents to this long side"),
        ("max_pixels", whole_number(MIN_SIDE**2), "N", "refuse pictures with more"),
        ("request_pixels", whole_number(MIN_SIDE**2), "N", "of all pictures of a request together"),
        ("max_pictures", whole_number(2), "N", "of a request, contents and styles"),
        ("max_body", whole_number(1), "MIB", "of a request, in MiB"),
        ("max_uploads", whole_number(1), "N", "requests that arrive at the same time; the slowest gives way"),
        ("body_seconds", seconds, "SECONDS", "for a request to arrive, and for its answer to be taken"),
        ("workers", whole_number(1), "N", "pictures painted side by side, each by a process with its share of cores"),
        ("queue", whole_number(0), "N", "pictures, and clips, that wait while others are painted; more get status 503"),
        ("request_seconds", seconds, "SECONDS", "for a request to be decoded and painted"),
        ("max_upload", whole_number(1), "MIB", "of a file of a job, such as a clip, in MiB"),
        ("max_frames", whole_number(1), "N", "of a clip"),
        ("clip_seconds", seconds, "SECONDS", "for a clip to be painted"),
        ("max_disk", whole_number(1), "MIB", "of all files and results of jobs together, in MiB"),
        ("keep_seconds", seconds, "SECONDS", "that files of jobs are kept after their last use, and results"),
        ("worker_memory", whole_number(256, zero=True), "MIB", "of each process that paints, in MiB; 0: any"),
    ):
        add_field(limits, Limits, name, text, type=kind, metavar=metavar)
    limits.add_argument(
        "--style-files",
        action="store_true",
        default=Limits.style_files,
        help="also take .style files as styles",
    )
    return made


def _serve(args):
    for library in LIBRARIES:
        import_optional(library, EXTRA, "HTTP services")
    from ppadaattn.serve.service import Service, make_server

    names = [model if model in MODELS else Path(model).stem for model in args.model]
    if len(set(names)) < len(names):
        raise InputError(f"--model: two models cannot have one name; got {', '.join(names)}")
    limits = Limits(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Limits)})
    with contextlib.closing(_listen(args.host, args.port)) as listener:
        models = {name: weights_file(model) for name, model in zip(names, args.model)}  # downloads are visible here
        share = max(1, threads() // limits.workers) if limits.workers > 1 else None
        # The worker for clips may use all cores: it is often the only one that paints.
        *painters, clip_painter = (
            Painter(models, args.device, limits, f".{args.format}", own) for own in [share] * limits.workers + [None]
        )
        with contextlib.ExitStack() as closing:
            for painter in (*painters, clip_painter):
                closing.enter_context(contextlib.closing(painter))
            try:
                painters[0].start()  # the service starts the others
            except PainterError as error:
                raise InputError(f"the models cannot be loaded: {error}") from None
            host = f"[{args.host}]" if ":" in args.host else args.host
            url = f"http://{host}:{listener.getsockname()[1]}/"
            addresses = [f"a page for browsers at {url}", *(f"{url}predict/{name}" for name in names)]
            print(f"serving {', '.join(addresses)}; Ctrl-C ends it", flush=True)
            server = make_server(Service(*painters, hosts=args.allow_host, clip_painter=clip_painter))
            # On a signal it answers the requests that it has accepted, and then raises the signal again.
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
