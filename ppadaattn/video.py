"""Clips in files: video files through PyAV, whose wheels carry FFmpeg, and folders of numbered frames.

`open_clip` reads either. Video is written in two steps, because a long clip may be interrupted: `PartWriter` encodes a
stretch of it into a file, and `join_parts` puts such files together, with the sound of the source, without encoding
them again.
"""

import contextlib
import heapq
import io
import itertools
import math
import os
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, Optional

from ppadaattn.errors import InputError, import_optional, note
from ppadaattn.files import atomic_write
from ppadaattn.images import FORMATS, check_size, flatten, image_size, read_image, reduce_to

import numpy as np


class Colors(NamedTuple):
    """H.273 codes that say what YCbCr means, as FFmpeg numbers them; 2 (range: 0) is unknown."""

    colorspace: int = 1
    range: int = 1
    primaries: int = 1
    transfer: int = 1


@dataclass(frozen=True)
class VideoFormat:
    """How video is written in the format of a suffix.

    Attributes:
        container: FFmpeg's name of the file format.
        codec: FFmpeg's name of the encoder of the parts, which are copied into the container (GIF: see `_join_gif`).
        pixel_format: what it encodes.
        crf: constant rate factor, the quality unless one is asked for: smaller is better; None where there is none.
        options: of the encoder.
        even: whether width and height must be even.
        sound: whether the container holds any.
        regular: whether its frames must follow each other at one rate.
        colors: of what is written, where the format cannot say that they are those of the source.
    """

    container: str
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    crf: Optional[int] = 18  # x264's own default is 23, which blurs brush strokes
    # Without B-frames packets are in the order of their times, so that parts can follow each other in any container.
    options: tuple = (("preset", "medium"), ("bf", "0"))
    even: bool = True
    sound: bool = True
    regular: bool = False
    colors: Optional[Colors] = None


VP9 = {"codec": "libvpx-vp9", "crf": 24, "even": False, "options": (("b", "0"), ("row-mt", "1"), ("cpu-used", "4"))}
# In AVI, H.264 would begin two frames late: readers of it guess at a delay.
MPEG4 = {"codec": "mpeg4", "crf": None, "regular": True, "options": (("qmin", "2"), ("qmax", "4"), ("b", "40M"))}
MPEG4["colors"] = Colors(6, 1, 6, 6)  # BT.601, which players take it for
GIF = {"codec": "ffv1", "pixel_format": "bgr0", "crf": None, "even": False, "options": (), "sound": False}

# What can be written, by suffix.
VIDEO_FORMATS = {
    ".mp4": VideoFormat("mp4"),
    ".m4v": VideoFormat("mp4"),
    ".mov": VideoFormat("mov"),
    ".mkv": VideoFormat("matroska"),
    ".avi": VideoFormat("avi", **MPEG4),
    ".webm": VideoFormat("webm", **VP9),
    ".gif": VideoFormat("gif", **GIF),
}
# What else is taken for a video by its suffix.
VIDEOS = (*VIDEO_FORMATS, ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv")

# Frames per second of a folder of frames, unless asked otherwise.
FOLDER_RATE = 25

# Codec of sound that a container cannot hold as it is.
SOUND_CODECS = {"webm": "libopus", "matroska": "flac", "avi": "libmp3lame"}
OTHER_SOUND_CODEC = "aac"
# What is kept of what a file says of itself.
METADATA = ("title", "artist", "comment", "date", "copyright")
# How codecs take more than two channels; others get two.
MANY_CHANNELS = {"aac": "5.1", "flac": "5.1"}

# ITU-T H.273 codes of YCbCr (as FFmpeg's) -> swscale's names.
COLORSPACES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}
# Codes of the range: Y from 16 to 235, or from 0 to 255, as RGB has it.
LIMITED_RANGE, FULL_RANGE = 1, 2


class Frame(NamedTuple):
    """A frame of a clip: uint8 RGB H x W x 3; when it is shown and how long, in the clip's `time_base`, from 0 on."""

    image: np.ndarray
    pts: int
    duration: int
    name: str  # for a file of its own


def is_video(path):
    """Whether a path is named as a video."""
    return Path(path).suffix.lower() in VIDEOS


def open_clip(path, *, size=0, start=None, end=None, fps=None):
    """A clip to read: a video file, or a folder of frames (pictures in the order of the numbers in their names).

    Args:
        path: of either.
        size: long side, in pixels, to which frames are reduced; 0 leaves them as they are.
        start, end: seconds of the clip to begin and to end at.
        fps: frames per second to read, by leaving out or repeating frames of a video; default: all frames, at the
            times that they have. For a folder: how fast its frames follow each other (25).

    Returns:
        a VideoFile or a FrameFolder.

    Raises:
        InputError: missing, not a video, without frames; numbers that make no sense.
    """
    for name, value in (("start", start), ("end", end)):
        if value is not None and not 0 <= value < math.inf:
            raise InputError(f"{name} is a time in seconds, 0 or more; got {value}")
    if start is not None and end is not None and end <= start:
        raise InputError(f"the end, {end} s, must be after the start, {start} s")
    if fps is not None and not 0.001 <= fps <= 1000:
        raise InputError(f"fps is a number of frames per second, 0.001 to 1000; got {fps}")
    kind = FrameFolder if Path(path).is_dir() else VideoFile
    return kind(Path(path), size, start, end, fps)


class VideoFile:
    """A video file, seen as it is shown: turned as its rotation flag says.

    Attributes:
        width, height: of the frames that `frames` gives.
        own_size: (height, width) of the frames in the file.
        time_base: seconds in a unit of `Frame.pts`.
        rate: frames per second, on average.
        frame_count: about how many frames there are; 0 where that is not known.
        aspect: width to height of a pixel, as a Fraction.
        colors: Colors of the source.
        problem: after reading: where the file ended too early, in a sentence; None if it did not.
        has_sound: whether there is any.
    """

    def __init__(self, path, size, start, end, fps):
        self.path, self.size, self.start, self.end, self.fps = path, size, start, end, fps
        self.problem, self._damaged = None, 0
        with self._open() as (container, stream):
            self.rate = _fraction(fps) if fps else Fraction(stream.average_rate or stream.guessed_rate or FOLDER_RATE)
            self.time_base = 1 / self.rate if fps else stream.time_base
            self.has_sound = bool(container.streams.audio)
            self.seconds = _seconds(container, stream)
            self.zero = Fraction(container.start_time or 0, 1_000_000)
            try:
                first = next(self._decode(container, stream))
            except StopIteration:
                raise InputError(f"{path} has no frame that can be decoded") from None
            image = self._picture(first)
            self.own_size = self._turned(first).shape[:2]
            check_size((image.shape[1], image.shape[0]), f"{path}{' reduced' if size else ''}")
            self.height, self.width = image.shape[:2]
            turned = first.rotation % 180 == 90
            aspect = Fraction(stream.sample_aspect_ratio or 1)
            self.aspect = (1 / aspect if turned else aspect) if aspect > 0 else Fraction(1)
            codec = stream.codec_context
            known = (codec.colorspace, codec.color_range, codec.color_primaries, codec.color_trc)
            self.colors = Colors() if first.format.is_rgb else Colors(*map(int, known))
        if start is not None and self.seconds and start >= self.seconds:
            raise InputError(f"{path} is {float(self.seconds):.2f} s long, and is to start at {start} s")
        shown = max(0, min(end or self.seconds, self.seconds) - (start or 0))
        self.frame_count = round(shown * self.rate)

    @contextlib.contextmanager
    def _open(self):
        av = _av()
        try:
            with _open(self.path) as container:
                streams = [s for s in container.streams.video if s.codec_context is not None]
                if not streams:
                    raise InputError(f"{self.path} holds no video; expected a video file")
                streams[0].thread_type = "AUTO"
                yield container, streams[0]
        except FileNotFoundError:
            raise InputError(f"there is no file {self.path}") from None
        except (av.error.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{self.path} cannot be read as a video: {reason}") from None

    def _decode(self, container, stream):
        """Frames with a time, each later than the one before; what is damaged is counted and left out."""
        errors, last = _av().error, None
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except errors.FFmpegError:
                self._damaged += 1  # the file ends in the middle of something
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except errors.FFmpegError:
                self._damaged += 1
                continue
            for frame in frames:
                if frame.pts is None:
                    frame.pts = (
                        frame.dts if frame.dts is not None else 0 if last is None else last + self._usual(stream)
                    )
                if last is not None and frame.pts <= last:  # AVI has no times of its own
                    frame.pts = last + self._usual(stream)
                last = frame.pts
                yield frame

    def _usual(self, stream):
        rate = stream.average_rate or stream.guessed_rate or FOLDER_RATE
        return max(1, round(1 / (rate * stream.time_base)))

    def _picture(self, frame):
        return np.ascontiguousarray(reduce_to(self._turned(frame), self.size))

    @staticmethod
    def _turned(frame):
        options = {"src_color_range": int(frame.color_range), "dst_color_range": FULL_RANGE}
        if frame.format.has_palette or len(frame.format.components) in (2, 4):  # it may be transparent
            image = flatten(frame.to_ndarray(format="rgba", **options))
        else:
            image = frame.to_ndarray(format="rgb24", **options)
        return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))

    def frames(self, after=None):
        """The frames in turn, or only those after the `pts` of an earlier one. Fills `problem`."""
        begin = self.zero + _fraction(self.start or 0)
        with self._open() as (container, stream):
            if self._sought(container, stream, begin if after is None else begin + after * self.time_base):
                yield from self._read(container, stream, begin, after)
                return
        with self._open() as (container, stream):
            yield from self._read(container, stream, begin, after)

    def _sought(self, container, stream, goal):
        """Whether the next frame to be decoded is a keyframe before `goal`, in seconds, after going there."""
        if goal <= self.zero:
            return True
        for margin in (1, 10, 60):  # MPEG's streams arrive later than asked, or within a group of pictures
            target = int(max(self.zero, goal - margin) / stream.time_base)
            with contextlib.suppress(_av().error.FFmpegError, StopIteration):
                container.seek(target, stream=stream, backward=True)
                first = next(self._decode(container, stream))
                if first.key_frame and first.pts * stream.time_base <= goal:
                    container.seek(target, stream=stream, backward=True)
                    return True
        return False

    def _read(self, container, stream, begin, after):
        self.problem, self._damaged, count = None, 0, 0
        stop = None if self.end is None else self.zero + _fraction(self.end)
        timed = self._sampled if self.fps else self._all
        for pts, duration, source in timed(container, stream, begin, stop):
            if pts < 0 or (after is not None and pts <= after):
                continue
            image = self._picture(source)
            if image.shape[:2] != (self.height, self.width):
                raise InputError(f"{self.path} changes its size from {self.width} x {self.height} on the way")
            count += 1
            yield Frame(image, pts, duration, "")
        if after is None and not count:
            raise InputError(f"{self.path} has no frame from {self.start or 0} s on that can be decoded")

    def _all(self, container, stream, begin, stop):
        """(pts from `begin` on, duration, frame) of each frame before `stop`; at `begin` the one that is shown then."""
        usual, zero, time, shown = self._usual(stream), round(begin / stream.time_base), self.zero, None
        for frame in self._decode(container, stream):
            pts, time = frame.pts - zero, frame.pts * stream.time_base
            if shown is not None and pts > 0:
                yield 0, min(pts, round(((stop or time) - begin) / stream.time_base)), shown
            shown = frame if pts < 0 else None
            if stop is not None and time >= stop:
                return
            duration = frame.duration or usual
            yield pts, duration, frame
            time += duration * stream.time_base
        self._say_where_it_ended(time)

    def _sampled(self, container, stream, begin, stop):
        """As `_all`, at the regular times of `fps`: at each the frame nearest to it, or else the one before again."""
        limit = math.inf if stop is None else math.ceil((stop - begin) / self.time_base)
        held, place, off, end = None, 0, 0, self.zero  # the frame that is shown from `place` on
        for frame in self._decode(container, stream):
            time = frame.pts * stream.time_base
            its_place = math.floor((time - begin) / self.time_base + Fraction(1, 2))
            its_off = abs(begin + its_place * self.time_base - time)
            end = time + (frame.duration or self._usual(stream)) * stream.time_base
            if held is None or its_place > place or its_off < off:
                yield from ((number, 1, held) for number in range(place, min(its_place, limit)) if held)
                held, place, off = frame, its_place, its_off
            if its_place >= limit:
                return
        places = round((end - begin) / self.time_base)
        yield from ((number, 1, held) for number in range(place, min(max(places, int(place <= 0)), limit)) if held)
        self._say_where_it_ended(end)

    def _say_where_it_ended(self, time):
        reached = time - self.zero
        if self.seconds and reached < self.seconds - Fraction(1, 4) - 2 / self.rate:
            self.problem = f"{self.path} ends at {float(reached):.2f} s of {float(self.seconds):.2f} s: it is cut short"
        elif self._damaged:
            self.problem = f"{self.path} is damaged: {self._damaged} of its packets could not be decoded"


class FrameFolder:
    """A folder of numbered frames, with the attributes of a VideoFile."""

    aspect, colors, problem, has_sound = Fraction(1), Colors(), None, False

    def __init__(self, path, size, start, end, fps):
        self.path, self.size, self.start, self.end = path, size, start, end
        self.rate = _fraction(fps or FOLDER_RATE)
        self.time_base = 1 / self.rate
        try:
            files = [
                file for file in path.iterdir() if file.suffix.lower() in FORMATS and not file.name.startswith(".")
            ]
        except OSError as error:
            raise InputError(f"the folder {path} cannot be read: {error.strerror}") from None
        first, last = round((start or 0) * self.rate), None if end is None else round(end * self.rate)
        self.files = sorted(files, key=_by_number)[first:last]
        if not self.files:
            raise InputError(
                f"the folder {path} holds no frames{' from then on' if files else ''} ({', '.join(FORMATS)})"
            )
        self.frame_count = len(self.files)
        stems = [file.stem for file in self.files]
        twice = next((stem for stem in stems if stems.count(stem) > 1), None)
        if twice is not None:
            raise InputError(f"the folder {path} holds several frames named {twice}; a clip has one file a frame")
        self.height, self.width = self._read(self.files[0]).shape[:2]
        self.own_size = image_size(self.files[0])

    def _read(self, file):
        return flatten(read_image(file, self.size))

    def frames(self, after=None):
        """The frames in turn, or only those after the `pts` of an earlier one."""
        for pts, file in enumerate(self.files):
            if after is None or pts > after:
                image = self._read(file)
                if image.shape[:2] != (self.height, self.width):
                    raise InputError(
                        f"{file} is {image.shape[1]} x {image.shape[0]} pixels, the first frame of its folder "
                        f"{self.width} x {self.height}: the frames of a clip are of one size"
                    )
                yield Frame(image, pts, 1, file.stem)


def _by_number(file):
    """Sorts frame2 before frame10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def _fraction(number):
    return Fraction(number).limit_denominator(100_000)


def _seconds(container, stream):
    """How long the video is, where the file says so; else 0."""
    if stream.duration:
        return stream.duration * stream.time_base
    written = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))  # Matroska
    if written:
        hours, minutes, seconds = map(Fraction, written.groups())
        return 3600 * hours + 60 * minutes + seconds
    # Of the file: with sound beside it that says little of the video.
    return Fraction(0) if container.streams.audio else Fraction(container.duration or 0, 1_000_000)


def _open(path, *arguments, **options):
    """PyAV's open, for names that FFmpeg would take for an address ("12:30.mp4")."""
    if not arguments:
        options = {"metadata_errors": "replace", **options}
    return _av().open(os.path.abspath(str(path)), *arguments, **options)


def _av():
    """PyAV; InputError where it is not installed, or too old to say how a video is turned."""
    av = import_optional("av", "av", "videos")
    if not hasattr(av.VideoFrame, "rotation"):
        raise InputError(f"videos need PyAV 14.2 or newer, which needs Python 3.9; this is PyAV {av.__version__}")
    return av


# ---------------------------------------------------------------------------------------------------------------------
# Writing
# ---------------------------------------------------------------------------------------------------------------------


def video_format(path):
    """The VideoFormat of a path; InputError where its suffix is none that can be written."""
    try:
        return VIDEO_FORMATS[Path(path).suffix.lower()]
    except KeyError:
        raise InputError(f"{path}: videos are written as {', '.join(VIDEO_FORMATS)}; give it such a name") from None


@contextlib.contextmanager
def part_writer(path, kind, clip, crf=None):
    """A PartWriter into a file, which is whole or not there; NUT is its format, which keeps any time base exactly.

    Args:
        path: of the file.
        kind: a VideoFormat.
        clip: the source, for time base, rate, pixel aspect and colours.
        crf: quality, or None for that of the format.
    """
    options = dict(kind.options)
    if kind.crf is not None:
        options["crf"] = str(kind.crf if crf is None else crf)
    with atomic_write(path) as temporary, _open(temporary, "w", format="nut") as container:
        writer = PartWriter(container, kind, clip, options)
        yield writer
        writer.finish()


class PartWriter:
    """Encodes frames that follow each other; `part_writer` makes it."""

    def __init__(self, container, kind, clip, options):
        self._container, self._stream, self._finished = container, None, False
        self.kind, self.clip, self.options = kind, clip, options
        self.colors = kind.colors or clip.colors

    def write(self, image, pts, name=""):
        """Encode a frame, uint8 RGB H x W x 3, shown at `pts` in the clip's time base; `name` is for other writers."""
        height, width = image.shape[:2]
        if self.kind.even:  # the last row or column once more, which leaves all others as they are
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        if self._stream is None:
            self._stream = self._add_stream(image.shape[1], image.shape[0])
        frame = _av().VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        if self.kind.pixel_format.startswith("yuv"):
            frame = frame.reformat(
                format=self.kind.pixel_format,
                dst_colorspace=COLORSPACES.get(self.colors.colorspace),
                src_color_range=FULL_RANGE,
                dst_color_range=FULL_RANGE if self.colors.range == FULL_RANGE else LIMITED_RANGE,
            )
        frame.pts, frame.time_base = pts, self.clip.time_base
        self._mux(frame)

    def finish(self):
        """Encode what the encoder still holds; nothing can be written after that."""
        if self._stream is not None and not self._finished:
            self._mux(None)
        self._finished = True

    def _add_stream(self, width, height):
        stream = self._container.add_stream(self.kind.codec, rate=self.clip.rate, options=self.options)
        stream.width, stream.height, stream.pix_fmt = width, height, self.kind.pixel_format
        context = stream.codec_context
        context.time_base, context.sample_aspect_ratio = self.clip.time_base, self.clip.aspect
        if self.kind.pixel_format.startswith("yuv"):
            context.colorspace, context.color_range, context.color_primaries, context.color_trc = self.colors
        return stream

    def _mux(self, frame):
        self._container.mux(self._stream.encode(frame))


def join_parts(parts, end, output, clip, until=None):
    """Put parts together into a video file, with the sound of the source; whole or not there.

    The sound is copied packet by packet; where the container cannot hold it as it is, it is encoded again, with a note.

    Args:
        parts: files of PartWriter, in order.
        end: when the last frame ends, in the clip's time base.
        output: path of the video file.
        clip: the source.
        until: seconds at which the sound is to end; None for all of it.

    Raises:
        InputError: a file that cannot be written.
    """
    kind, errors = video_format(output), _av().error
    if clip.has_sound and not kind.sound:
        note(f"{output} is without the sound of {clip.path}: {Path(output).suffix} holds none")
    options = {"movflags": "faststart"} if kind.container in ("mp4", "mov") else {}
    try:
        with atomic_write(output) as temporary, contextlib.ExitStack() as opened:
            target = opened.enter_context(_open(temporary, "w", format=kind.container, options=options))
            if kind.container == "gif":
                _join_gif(parts, end * clip.time_base, target)
                return
            first = opened.enter_context(_open(parts[0]))
            stream = target.add_stream_from_template(first.streams.video[0], opaque=True)
            stream.codec_context.framerate = clip.rate  # Matroska and AVI write it down
            stream.time_base = clip.time_base
            packets = [_video_packets(parts, end, clip.time_base, stream)]
            if clip.has_sound:
                packets += _tracks(clip, target, until, output, opened)
            for packet in heapq.merge(*packets, key=lambda p: p.dts * p.time_base):
                target.mux(packet)
    except errors.FFmpegError as error:
        raise InputError(f"{output} cannot be written: {getattr(error, 'strerror', None) or error}") from error


def _tracks(clip, target, until, output, opened):
    """The packets of each track of sound, for streams that are added to the target."""
    source = opened.enter_context(_open(clip.path))
    target.metadata.update(
        {key: value for key, value in source.metadata.items() if key in ("title", "artist", "comment")}
    )
    begin = clip.zero + _fraction(clip.start or 0)
    stop = None if until is None else clip.zero + _fraction(until)
    for number, audio in enumerate(source.streams.audio):
        if audio.codec_context is None:
            note(f"{output} is without track {number + 1} of the sound of {clip.path}, whose codec is not known")
            continue
        yield _sound(opened.enter_context(_open(clip.path)), number, target, begin, stop, output)


def _video_packets(parts, end, time_base, stream):
    """The packets of all parts, with their durations, for a stream of the output."""
    previous = None
    for part in parts:
        with _open(part) as container:
            for packet in container.demux(video=0):
                if packet.pts is None:
                    continue  # the end of the file
                packet.pts = packet.dts = round(packet.pts * packet.time_base / time_base)
                packet.time_base, packet.stream = time_base, stream
                if previous is not None:
                    previous.duration = packet.pts - previous.pts
                    yield previous
                previous = packet
    previous.duration = end - previous.pts
    yield previous


def _sound(source, number, target, begin, stop, output):
    """Packets of a track of sound for a stream that is added to the target, from `begin` to `stop` (seconds)."""
    track, regular = source.streams.audio[number], video_format(output).regular
    if _holds(target.format.name, track):
        stream = target.add_stream_from_template(track, opaque=True)
        packets = _copied(source, track, begin, stop)
    else:
        name = SOUND_CODECS.get(target.format.name, OTHER_SOUND_CODEC)
        note(f"{output} cannot hold sound encoded as {track.codec_context.name}: it is encoded again as {name}")
        stream = target.add_stream(name, rate=48000 if name == "libopus" else track.codec_context.sample_rate)
        channels = track.codec_context.channels
        stream.codec_context.layout = {1: "mono", 2: "stereo"}.get(channels, MANY_CHANNELS.get(name, "stereo"))
        stream.codec_context.open()
        packets = _encoded(source, track, stream, begin, stop)
    if track.metadata.get("language"):
        stream.metadata["language"] = track.metadata["language"]
    return _from_begin(packets, stream, begin, regular)


def _holds(container, track):
    """Whether a container takes the packets of a track as they are: tried, since what FFmpeg lists is too much."""
    errors = _av().error
    try:
        with _open(track.container.name) as source, _av().open(io.BytesIO(), "w", format=container) as trial:
            stream = trial.add_stream_from_template(source.streams[track.index], opaque=True)
            for packet in itertools.islice(source.demux(source.streams[track.index]), 4):
                if packet.dts is not None:
                    packet.stream = stream
                    trial.mux(packet)
        return True
    except (errors.FFmpegError, ValueError):
        return False


def _packets(source, track):
    """The packets of a track up to its end, or to where the file is damaged."""
    with contextlib.suppress(_av().error.FFmpegError):
        yield from source.demux(track)


def _copied(source, track, begin, stop):
    for packet in _packets(source, track):
        if packet.pts is None or packet.dts is None:
            continue
        time, length = packet.pts * track.time_base, (packet.duration or 0) * track.time_base
        if not (begin > 0 and time + length <= begin) and (stop is None or time < stop):
            yield packet


def _encoded(source, track, stream, begin, stop):
    context = stream.codec_context
    resampler = _av().AudioResampler(context.format, context.layout, context.sample_rate, context.frame_size or None)
    for packet in _packets(source, track):
        with contextlib.suppress(_av().error.FFmpegError):  # a damaged packet is a gap
            for frame in packet.decode():
                time = frame.pts * frame.time_base if frame.pts is not None else begin
                if time >= begin and (stop is None or time < stop):
                    for part in resampler.resample(frame):
                        yield from stream.encode(part)
    for part in resampler.resample(None):
        yield from stream.encode(part)
    yield from stream.encode(None)


def _from_begin(packets, stream, begin, regular):
    """The packets with times from `begin` on, for a stream of the output."""
    shift = None
    for packet in packets:
        if shift is None:
            shift = round(begin / packet.time_base)
            if regular:  # AVI knows no times before 0 and would move the pictures
                shift = min(shift, packet.dts)
        packet.pts -= shift
        packet.dts -= shift
        packet.stream = stream
        yield packet


def _join_gif(parts, seconds, target):
    """With one palette for the whole clip, so that colours do not flicker; a first pass over the parts finds it."""

    def source_of(graph, frame):
        what = {"width": frame.width, "height": frame.height, "format": frame.format.name}
        return graph.add_buffer(**what, time_base=first.time_base)

    def sink_of(graph, last):
        sink = graph.add("buffersink")
        last.link_to(sink)
        graph.configure()
        return sink

    graph = _av().filter.Graph()
    first = next(_decoded(parts))
    source, find = source_of(graph, first), graph.add("palettegen", "reserve_transparent=0")
    source.link_to(find)
    sink = sink_of(graph, find)
    for frame in _decoded(parts):
        source.push(frame)
    source.push(None)
    palette = sink.pull()

    graph = _av().filter.Graph()
    source, colours = source_of(graph, first), source_of(graph, palette)
    use = graph.add("paletteuse", "dither=bayer:bayer_scale=3")
    source.link_to(use, 0, 0)
    colours.link_to(use, 0, 1)
    sink = sink_of(graph, use)
    colours.push(palette)
    colours.push(None)
    stream = target.add_stream("gif", rate=100)  # its times are in hundredths of a second
    stream.width, stream.height, stream.pix_fmt = first.width, first.height, "pal8"
    held = None
    for frame in itertools.chain(_decoded(parts), [None]):
        source.push(frame)
        for painted in _pull_all(sink):
            painted.pts, painted.time_base = round(painted.pts * painted.time_base * 100), Fraction(1, 100)
            if held is not None and painted.pts > held.pts:  # at over 100 frames a second some fall on one moment
                held = _mux_gif(held, painted.pts, stream, target)
            held = painted
    _mux_gif(held, max(held.pts + 1, round(seconds * 100)), stream, target)
    target.mux(stream.encode(None))


def _mux_gif(frame, until, stream, target):
    for packet in stream.encode(frame):
        packet.duration = until - frame.pts
        target.mux(packet)


def _decoded(parts):
    for part in parts:
        with _open(part) as container:
            yield from container.decode(video=0)


def _pull_all(sink):
    errors = _av().error
    with contextlib.suppress(errors.BlockingIOError, errors.EOFError):
        while True:
            yield sink.pull()
