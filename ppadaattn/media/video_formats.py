"""The formats of video files, and PyAV, whose wheels carry FFmpeg."""

import contextlib
import math
import os
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Callable, ContextManager, NamedTuple, Optional

from ppadaattn.errors import InputError, import_optional
from ppadaattn.media import PathLike

import numpy as np


class Frame(NamedTuple):
    """A frame of a clip.

    Attributes:
        image: uint8 RGB H x W x 3, transparent parts laid on white.
        pts, duration: when and how long it is shown, in the clip's `time_base`, from 0 on.
        name: of its file, without the suffix; empty for a frame of a video.
        alpha: uint8 H x W, 255 is opaque; None where the file has no transparency.
    """

    image: np.ndarray
    pts: int
    duration: int
    name: str = ""
    alpha: Optional[np.ndarray] = None


class Colors(NamedTuple):
    """H.273 codes of a video's YCbCr, as FFmpeg numbers them; 2 (range: 0) is unknown. Default: BT.709, limited."""

    colorspace: int = 1
    range: int = 1
    primaries: int = 1
    transfer: int = 1


@dataclass(frozen=True)
class VideoFormat:
    """How video is written in the format of a suffix.

    Attributes:
        container: FFmpeg's name of the file format.
        codec: FFmpeg's name of the encoder of the parts, which are copied into the container, but for MOVING.
        pixel_format: FFmpeg's name of the layout of pixels that it encodes.
        crf: constant rate factor, the default quality: smaller is better; None for a codec without one.
        options: of the encoder.
        even: whether width and height must be even.
        sound: whether the container can hold sound.
        regular: whether its frames need a constant rate.
        colors: Colors that are written, where the format cannot name those of the source.
        alpha: layout of pixels with transparency, where the format can hold it.
        parts, alpha_parts: container of the parts, and of those with transparency. NUT keeps any time base exactly, but
            loses VP9's transparency.
    """

    container: str
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    crf: Optional[int] = 18  # x264's own default is 23, which blurs brush strokes; 18 looks like the source
    # Without B-frames packets come in the order of their times, so that parts can be joined in any container.
    # "faster" by measurement: of 100 painted frames, 512 x 256 at crf 18, each took (processor time; size; PSNR) with
    # "medium" 25 ms, 20.8 KiB, 38.2 dB; "faster" 11 ms, 21.6 KiB, 37.9 dB; "veryfast" 6 ms, 20.7 KiB, 36.9 dB.
    options: tuple = (("preset", "faster"), ("bf", "0"))
    even: bool = True
    sound: bool = True
    regular: bool = False
    colors: Optional[Colors] = None
    alpha: Optional[str] = None
    parts: str = "nut"
    alpha_parts: str = "nut"

    def with_alpha(self) -> "VideoFormat":
        """The same format with transparency, where `alpha` says that it has one."""
        return replace(self, pixel_format=self.alpha, parts=self.alpha_parts)


# VP9 has another scale of quality than H.264 (libvpx suggests 15 to 35, 31 for 1080p): 24 keeps brush strokes as 18
# there. "b" of 0 makes that quality constant; "cpu-used" of 4 (0 to 5) trades little quality for much speed.
VP9 = {
    "alpha": "yuva420p",
    "alpha_parts": "webm",
    "codec": "libvpx-vp9",
    "crf": 24,
    "even": False,
    "options": (("b", "0"), ("row-mt", "1"), ("cpu-used", "4")),
}
# In AVI, H.264 would begin two frames late, since readers guess a delay. MPEG-4 has no CRF: quantizers 2 to 4 (of 1 to
# 31) look like the source, and 40 Mbit/s is a limit that they do not reach.
MPEG4 = {"codec": "mpeg4", "crf": None, "regular": True, "options": (("qmin", "2"), ("qmax", "4"), ("b", "40M"))}
MPEG4["colors"] = Colors(6, 1, 6, 6)  # BT.601, which players assume
# Parts of a picture that moves are lossless, and encoded once more in the end: the palette of a GIF is made of the
# whole clip, and FFmpeg's NUT holds no WebP.
MOVING = {
    "codec": "ffv1",
    "pixel_format": "bgr0",
    "alpha": "bgra",
    "crf": None,
    "even": False,
    "options": (),
    "sound": False,
}
# Formats that can be written, by suffix.
VIDEO_FORMATS = {
    ".mp4": VideoFormat("mp4"),
    ".m4v": VideoFormat("mp4"),
    ".mov": VideoFormat("mov"),
    ".mkv": VideoFormat("matroska"),
    ".avi": VideoFormat("avi", **MPEG4),
    ".webm": VideoFormat("webm", **VP9),
    ".gif": VideoFormat("gif", **MOVING),
}
# Formats of pictures that may move; a content that moves is written into one of these as a clip.
MOVING_FORMATS = {
    ".webp": VideoFormat("webp", **MOVING),
    ".png": VideoFormat("apng", **MOVING),
    ".apng": VideoFormat("apng", **MOVING),
}
# Suffixes of videos: those that can be written, and those that are only read.
VIDEOS = (
    *VIDEO_FORMATS,
    *(".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv"),
    *(".mxf", ".divx", ".dv", ".rmvb", ".wtv", ".nut", ".y4m", ".qt"),
)
# Of FFmpeg's disposition of a stream: it is a picture of the film, such as a poster, and not the film.
COVER = 1 << 10
# FFmpeg's names of the formats that are read, whatever the suffix: containers of video, and single streams of it. The
# others are sound, pictures, text, and formats that make FFmpeg open other files or addresses: playlists (HLS, DASH),
# lists of files (concat, image2, IMF), descriptions of streams (SDP).
CONTAINERS = (
    "3gp,mov,matroska,webm,avi,mpeg,mpegts,asf,flv,live_flv,kux,ogg,nut,mxf,gxf,rm,dv,wtv,dhav,ty,nsv,nuv,ivf,swf,gif,"
    "apng,yuv4mpegpipe,mpegvideo,m4v,h261,h263,h264,hevc,vvc,av1,obu,vc1,vc1test,cavsvideo,dirac,bink,smk,roq,flic,"
    "film_cpk,ea,4xm,idcin,ipmovie,wc3movie,vmd,mve,amv,viv"
)
# ITU-T H.273 codes of YCbCr (as FFmpeg's) -> swscale's names.
COLORSPACES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}
# Codes of the range: Y from 16 to 235, or from 0 to 255, as RGB has it.
LIMITED_RANGE, FULL_RANGE = 1, 2
# Times that a frame may be repeated to keep a constant rate: an hour of a slide at 25 frames a second is 90,000. More
# come from damaged times, or would paint the same frame for days.
MOST_REPEATS = 100_000


def mpeg4_rate(rate: Fraction) -> Fraction:
    """The nearest frame rate of which both parts fit into the 16 bits that MPEG-4 has for each."""
    return rate.limit_denominator(max(1, min(500, 65535 // math.ceil(rate))))


def is_video(path: PathLike) -> bool:
    """Whether a path has the suffix of a video."""
    return Path(path).suffix.lower() in VIDEOS


def writes_clips(path: PathLike) -> bool:
    """Whether a clip can be written into a file of this name; a picture can, too, where it is one of MOVING_FORMATS."""
    return is_video(path) or Path(path).suffix.lower() in MOVING_FORMATS


def to_fraction(number) -> Fraction:
    """A number of seconds or frames per second as a fraction; 0.04 becomes 1/25, which no float is exactly."""
    return Fraction(number).limit_denominator(100_000)


def open_container(path, *arguments, **options):
    """Open a file with PyAV; also one whose name FFmpeg would take for an address ("12:30.mp4").

    Of files to read only CONTAINERS are opened, and nothing but the file itself.
    """
    if not arguments:
        closed = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
        options = {"metadata_errors": "replace", "options": closed, **options}
    return pyav().open(os.path.abspath(str(path)), *arguments, **options)


def is_cover(stream) -> bool:
    """Whether a stream of pictures is a cover; some containers give it as a stream of video with one frame."""
    return bool(int(stream.disposition) & COVER)


def film_of(container):
    """The stream of an open container that is its film; None where there is none. A cover picture is none."""
    films = [s for s in container.streams.video if s.codec_context is not None and not is_cover(s)]
    return films[0] if films else None


def pyav():
    """The module av (PyAV); InputError where it is not installed, or too old to give the rotation flag of a video."""
    av = import_optional("av", "av", "videos")
    if not hasattr(av.VideoFrame, "rotation"):
        raise InputError(f"videos need PyAV 14.2 or newer, which needs Python 3.9; this is PyAV {av.__version__}")
    return av


class Filter:
    """One of FFmpeg's filters, for the frames of a video; it is made anew where their size or layout changes.

    Args:
        name: FFmpeg's name of the filter.
        options: makes a context that gives the filter's options, {name: str}, while the filter is made.
    """

    def __init__(self, name: str, options: Callable[[], ContextManager[dict]]):
        self.name, self.options = name, options
        self._graph, self._source, self._sink, self._made_for = None, None, None, None

    def push(self, frame) -> list:
        """The PyAV frames that the filter has ready after another one."""
        what, ready = {"width": frame.width, "height": frame.height, "format": frame.format.name}, []
        if what != self._made_for:
            ready, self._made_for = self.flush(), what
            graph = self._graph = pyav().filter.Graph()  # its contexts do not keep it alive
            self._source = graph.add_buffer(**what, time_base=frame.time_base or Fraction(1, 1000))
            with self.options() as options:
                chosen = graph.add(self.name, **options)
            self._sink = graph.add("buffersink")
            self._source.link_to(chosen)
            chosen.link_to(self._sink)
            graph.configure()
        self._source.push(frame)
        return [*ready, *pull_all(self._sink)]

    def flush(self) -> list:
        """The frames that the filter still holds back. Nothing can be pushed to it before it is made anew."""
        if self._made_for is None:
            return []
        self._made_for = None
        self._source.push(None)
        return list(pull_all(self._sink))


def pull_all(sink):
    """The frames that the last filter of a graph, its sink, has ready."""
    errors = pyav().error
    with contextlib.suppress(errors.BlockingIOError, errors.EOFError):
        while True:
            yield sink.pull()


def video_format(path: PathLike) -> VideoFormat:
    """The VideoFormat of a path; InputError where videos with its suffix cannot be written."""
    formats = {**VIDEO_FORMATS, **MOVING_FORMATS}
    try:
        return formats[Path(path).suffix.lower()]
    except KeyError:
        raise InputError(f"{path}: videos are written as {', '.join(formats)}; give it such a name") from None
