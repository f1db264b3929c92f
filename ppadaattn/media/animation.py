"""Read pictures that move, GIF, WebP and APNG, as clips. FFmpeg reads no animated WebP, and says no loops."""

import bisect
import contextlib
import math
from fractions import Fraction
from typing import Optional

from ppadaattn.errors import InputError, without_warnings
from ppadaattn.media.decoding import check_animation
from ppadaattn.media.images import as_shown, check_size, decoding, flatten, reduce_to
from ppadaattn.media.video_formats import MOST_REPEATS, Colors, Frame, mpeg4_rate, to_fraction

import numpy as np
from PIL import Image

# Pillow's names of the formats, and the suffix of each.
MOVING = {"GIF": ".gif", "PNG": ".png", "WEBP": ".webp"}
# Milliseconds that browsers show a frame with 10 or fewer: old files say 0 where their authors saw this.
SHORTEST, USUAL = 10, 100
# Bytes in which a PNG says that it moves: before its pixels, after a colour profile, the largest of which have 1 MB.
LONGEST_HEAD = 2_000_000


def moving_suffix(path) -> Optional[str]:
    """The suffix of the format of a picture with several frames, by its first bytes; None for another file.

    Pages of a TIFF do not move.
    """
    try:
        if not _says_that_it_moves(path):
            return None
        with without_warnings(), Image.open(path, formats=list(MOVING)) as image:
            return MOVING[image.format] if image.is_animated else None
    except Exception:  # of any kind: it is no such picture
        return None


def _says_that_it_moves(path):
    """Whether a file begins as a GIF, or as a WebP or PNG that says of itself that it moves; most files do not."""
    with open(path, "rb") as file:
        head = file.read(21)
        if head.startswith(b"\x89PNG"):
            return _has_animation_chunk(file)
    webp = head.startswith(b"RIFF") and head[12:16] == b"VP8X" and head[20] & 2
    return bool(webp) or head.startswith(b"GIF8")


def _has_animation_chunk(file):
    """Whether a PNG has the chunk acTL before its pixels; only the heads of chunks are read."""
    place, chunk = 8, b""
    while chunk != b"IDAT" and place < LONGEST_HEAD:
        file.seek(place)
        head = file.read(8)
        chunk = head[4:]
        if chunk in (b"acTL", b""):
            return chunk == b"acTL"
        place += 12 + int.from_bytes(head[:4], "big")
    return False


def is_moving(path) -> bool:
    """Whether a file is a picture with several frames."""
    return moving_suffix(path) is not None


class MovingPicture:
    """A picture with several frames, with the attributes of a VideoFile.

    Its frames are read once more at the beginning, for their times, and bounded by `check_animation`.
    """

    aspect, colors, metadata, location = Fraction(1), Colors(), {}, {}
    has_sound = has_tracks = False

    def __init__(self, path, size, start, end, fps, constant_rate=False):
        self.path, self.size, self.problem, self.has_alpha = path, size, None, False
        self._times = [0]  # when each frame begins, and the last one ends, in milliseconds
        for picture, duration in self._decode():
            if len(self._times) == 1:
                self.own_size = picture.shape[:2]
                self.height, self.width = reduce_to(picture, size).shape[:2]
            self.has_alpha = self.has_alpha or (picture.shape[2] == 4 and picture[:, :, 3].min() < 255)
            self._times.append(self._times[-1] + (duration if duration > SHORTEST else USUAL))
        self._times = [round(time) for time in self._times]
        check_size((self.width, self.height), f"{path}{' reduced' if size else ''}")
        seconds = self._times[-1] / 1000
        if start is not None and start >= seconds:
            raise InputError(f"{path} is {seconds:.2f} s long, and is to start at {start} s")
        # With frames of several lengths the rate is that of the shortest, so that a constant rate loses none.
        self.rate = to_fraction(fps) if fps else Fraction(1000, max(1, int(min(np.diff(self._times)))))
        constant = fps or constant_rate
        self.rate = mpeg4_rate(self.rate) if constant_rate else self.rate
        self.time_base = 1 / self.rate if constant else Fraction(1, 1000)
        self.start, self.end = start, end
        self._shown = self._regular() if constant else self._own()
        self.frame_count = len(self._shown)

    def frames(self, after=None):
        """The frames in turn, or only those after the `pts` of an earlier one."""
        shown = [item for item in self._shown if after is None or item[1] > after]
        for index, (picture, _) in enumerate(self._decode()):
            if not shown:
                return
            if index < shown[0][0]:
                continue
            image, alpha = np.ascontiguousarray(reduce_to(flatten(picture), self.size)), None
            if self.has_alpha:
                opaque = np.full(self.own_size, 255, np.uint8)
                alpha = reduce_to(picture[:, :, 3] if picture.shape[2] == 4 else opaque, self.size)
            while shown and shown[0][0] == index:
                _, pts, duration = shown.pop(0)
                yield Frame(image, pts, duration, alpha=alpha)

    def _own(self):
        """(number of the frame, pts, duration) of each frame from `start` to `end`, in milliseconds."""
        begin = round((self.start or 0) * 1000)
        stop = self._times[-1] if self.end is None else min(round(self.end * 1000), self._times[-1])
        spans = enumerate(zip(self._times, self._times[1:]))
        cut = [(index, max(first, begin) - begin, min(last, stop) - begin) for index, (first, last) in spans]
        return [(index, first, last - first) for index, first, last in cut if first < last]

    def _regular(self):
        """As `_own`, at the regular times of `rate`: the frame that is shown then, in units of 1 / `rate`."""
        begin, total = to_fraction(self.start or 0), Fraction(self._times[-1], 1000)
        stop = total if self.end is None else min(to_fraction(self.end), total)
        places = math.ceil((stop - begin) * self.rate)
        if places > MOST_REPEATS * (len(self._times) - 1):
            raise InputError(
                f"{self.path} lasts {float(total / 3600):.1f} hours, which are {places} frames at "
                f"{float(self.rate):.6g} a second; set an `end` before, or a lower `fps`"
            )
        times = [(begin + place / self.rate) * 1000 for place in range(places)]
        return [(bisect.bisect_right(self._times, time, 0, len(self._times) - 1) - 1, place, 1)
                for place, time in enumerate(times)]  # fmt: skip

    def _decode(self):
        """(uint8 H x W x 3 or 4, milliseconds) of each frame; sets `plays`, and `problem` at the end."""
        self.problem = None
        with contextlib.ExitStack() as opened:
            with decoding(self.path):
                image = opened.enter_context(Image.open(self.path, formats=list(MOVING)))
                first = int(getattr(image, "default_image", False))  # of an APNG, for programs that know none
                count, self.plays = check_animation(image, self.path), _plays(image)
            for number in range(first, count):
                try:
                    with decoding(self.path):
                        image.seek(number)
                        image.load()
                        shown = np.asarray(as_shown(image, self.path)[0])
                        duration = float(image.info.get("duration") or 0)
                except InputError:
                    if number == first:
                        raise
                    done, most = number - first, count - first
                    self.problem = f"{self.path} is damaged: the first {done} of its {most} frames can be read"
                    return
                yield shown, duration


def _plays(image):
    """How often a picture is played; 0: for ever. GIF counts repeats, and says nothing where there are none."""
    loop = image.info.get("loop")
    if image.format == "GIF":
        return 1 if loop is None else loop and loop + 1
    return loop or 0
