"""Limits and defaults of the HTTP service. This module imports no library of it."""

from dataclasses import dataclass

FORMATS = ("jpg", "png")  # of results; the first is the default
HOST, PORT = "127.0.0.1", 8866  # the port of `hub serving`
CLIENT_LEFT = 499  # nginx's status for a client that closed the connection; only the metrics show it
LONGEST_MESSAGE = 500  # characters of an answer's sentence, which may quote the request


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Attributes:
        size: long side, in pixels, to which contents are reduced.
        max_pixels: of a picture; larger ones are refused before they are decoded.
        request_pixels: of all pictures of a request together, before they are reduced; also known before decoding.
        max_pictures: contents and styles of a request.
        max_body: MiB of a request.
        max_uploads: requests that arrive at the same time.
        body_seconds: for a request to arrive, and for its answer to be taken.
        workers: pictures that are painted side by side, each by a worker, a process with its share of the cores.
        queue: pictures that have arrived whole and wait while others are painted; as many clips.
        request_seconds: for a request to be decoded and painted; then the worker is ended and started again.
        worker_memory: MiB of resident memory of a worker while it paints, 0: any; watched on Linux. There is one
            more worker, for clips. The default is some five times what the bundled models need with the other defaults.
        style_files: whether styles may be style files.
        max_upload: MiB of a file of a job, such as a clip; those of pictures and styles are limited by `max_body`.
        max_frames: of a clip.
        clip_seconds: for a clip to be painted; each of its frames has `request_seconds`.
        max_disk: MiB of all files and results of jobs together.
        keep_seconds: how long a file is kept after it was last used, and a result after it was finished.
    """

    size: int = 1024
    max_pixels: int = 25_000_000
    request_pixels: int = 100_000_000
    max_pictures: int = 16
    max_body: int = 16
    max_uploads: int = 64
    body_seconds: float = 60
    workers: int = 1
    queue: int = 16
    request_seconds: float = 60
    worker_memory: int = 8192
    style_files: bool = False
    max_upload: int = 256
    max_frames: int = 3000
    clip_seconds: float = 3600
    max_disk: int = 2048
    keep_seconds: float = 3600
