"""Limits and defaults of the HTTP service. This module imports no library of it."""

from dataclasses import dataclass

FORMATS = ("jpg", "png")  # of results; the first is the default
HOST, PORT = "127.0.0.1", 8866  # the port of `hub serving`


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Attributes:
        size: long side, in pixels, to which contents are reduced; 0 leaves them as they are.
        max_pixels: of a picture; larger ones are refused before they are decoded.
        max_body: MiB of a request.
        max_pictures: contents and styles of a request.
        queue: requests that wait while another one is painted.
        body_seconds: for a request to arrive.
        style_files: whether styles may be style files.
    """

    size: int = 1024
    max_pixels: int = 25_000_000
    max_pictures: int = 16
    max_body: int = 16
    queue: int = 16
    body_seconds: float = 60
    style_files: bool = True
