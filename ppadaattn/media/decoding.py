"""Decoders of pictures kept in bounds: what would take far longer than its size suggests is refused; libtiff is quiet.

Pillow bounds the pixels of a picture, the text and profiles in it, and the tags of its metadata; libtiff bounds the
scans of the JPEG pieces in a TIFF. Four costs are left, each with a limit of its own here.
"""

import contextlib
import ctypes
import re

from ppadaattn.errors import InputError

from PIL import Image

# Scans of a JPEG. Progressive files have about 10. Each one goes over all pixels and may take a handful of bytes: a
# file of 136 KB with 1000 scans took 25 s. The tools of libjpeg refuse to make more than 100 (MAX_SCANS in rdswitch.c),
# and libtiff refuses to read more.
MOST_SCANS = 100
# Scans of a JPEG with as many pixels as Pillow reads, 89 million, where each scan takes 0.05 s or more; smaller ones
# may have more, until the product of both is the same.
MOST_SCANS_OF_LARGEST = 20
# Strips or tiles of a picture. Pillow takes 8 microseconds for each; strips of one row are common, and 65535 rows are
# the most that JPEG, WebP (16383) and most programs know.
MOST_TILES = 100_000
# Pixels of a run-length encoded BMP, which Pillow decodes in Python at 6 million a second. Such files are drawings and
# masks of up to some megapixels.
MOST_RUN_LENGTH_PIXELS = 16_000_000
# Pixels in all frames of a picture that moves, as a multiple of what one picture may have (Image.MAX_IMAGE_PIXELS, 89
# million): 4300 frames of 1920 x 1080. A GIF of 1 MB may claim far more, at some 100 million a second.
MOST_PICTURES = 100
# Frames of such a picture, whatever their size, for the same reason: an hour at 25 frames a second.
MOST_FRAMES = 90_000

# A marker in a JPEG that is more than padding (FF), a byte FF of the data (00) or a restart (D0 to D7).
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_END, _SCAN = 0xD9, 0xDA


def check_cost(image: Image.Image, name) -> None:
    """Raise InputError, with `name`, where a picture that Pillow has opened and not decoded would take too long."""
    pixels = image.width * image.height
    if image.format in ("JPEG", "MPO"):
        place = image.fp.tell()
        image.fp.seek(0)
        most = MOST_SCANS
        if Image.MAX_IMAGE_PIXELS:
            most = min(most, MOST_SCANS_OF_LARGEST * Image.MAX_IMAGE_PIXELS // max(1, pixels))
        if count_scans(image.fp.read(), most) > most:
            raise InputError(
                f"{name} has more than {most} scans, which would take too long; save it as a baseline JPEG"
            )
        image.fp.seek(place)
    elif len(image.tile) > MOST_TILES:
        raise InputError(f"{name} has {len(image.tile)} strips, expected {MOST_TILES} at most; save it as PNG")
    elif image.tile and image.tile[0][0] == "bmp_rle" and pixels > MOST_RUN_LENGTH_PIXELS:
        raise InputError(
            f"{name} is run-length encoded and has {pixels} pixels, more than the {MOST_RUN_LENGTH_PIXELS} that are "
            "read of such; save it without compression, or as PNG"
        )


def check_animation(image: Image.Image, name) -> int:
    """How many frames an open picture has; InputError, with `name`, where all of them would take too long."""
    most = MOST_FRAMES
    if Image.MAX_IMAGE_PIXELS:
        most = min(most, MOST_PICTURES * Image.MAX_IMAGE_PIXELS // max(1, image.width * image.height))
    count = image.n_frames
    if count > most:
        raise InputError(
            f"{name} has {count} frames of {image.width} x {image.height} pixels, expected {most} at most; save it as "
            "a video, such as .mp4"
        )
    return count


def count_scans(data: bytes, most: int) -> int:
    """How many scans a JPEG has up to its end; counting stops after `most` and one more."""
    count, marker = 0, _MARKER.search(data, 2)
    while marker and count <= most:
        kind, place = data[marker.start() + 1], marker.end()
        if kind == _END:
            break
        count += kind == _SCAN
        if kind >= 0xC0 and kind != 0xD8:  # a segment with its length; others, as 01, stand alone
            place += int.from_bytes(data[place : place + 2], "big")
        marker = _MARKER.search(data, place)
    return count


def quiet_libtiff() -> None:
    """Keep libtiff from writing lines of its own to standard error; Pillow raises an error besides.

    Both handlers are functions of the library that Pillow has loaded, for the whole process: any thread may decode
    meanwhile, which it could not where standard error itself were redirected. Where Pillow has another build of libtiff
    that does not show them, its lines stay.
    """
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(Image.core.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)
