"""Write clips in two steps, because a long clip may be interrupted.

`PartWriter` encodes a stretch of a clip into a file. `join_parts` puts such files together, with the tracks and tags of
the source, without encoding them again; pictures that move (GIF, WebP, APNG) are encoded there.

Why FFmpeg does not join them by itself: its concat demuxer (tried with PyAV 18) guesses the length of each part, and
frames of a variable rate at 300 to 1000 ms came out at 440 to 1650 ms, or at 600 to 1700 ms with the lengths in its
list; it would save two lines. imageio-ffmpeg pipes frames at one constant rate into a second copy of FFmpeg: times of
frames would be lost. FFmpeg's filters make the palette of a GIF.
"""

import contextlib
import heapq
import itertools
from fractions import Fraction

from ppadaattn.errors import InputError
from ppadaattn.files import atomic_write
from ppadaattn.media.tracks import Tracks
from ppadaattn.media.video_formats import (
    COLORSPACES,
    FULL_RANGE,
    LIMITED_RANGE,
    open_container,
    pull_all,
    pyav,
    video_format,
)

import numpy as np


@contextlib.contextmanager
def part_writer(path, kind, clip, crf=None):
    """Open a PartWriter into a file, whole or not there.

    The block raises InputError where the encoder refuses the frames.

    Args:
        path: of the file.
        kind: a VideoFormat.
        clip: the source, for time base, rate, pixel aspect and colours.
        crf: quality, or None for that of the format.
    """
    options = dict(kind.options)
    if kind.crf is not None:
        options["crf"] = str(kind.crf if crf is None else crf)
    try:
        with atomic_write(path) as temporary, open_container(temporary, "w", format=kind.parts) as container:
            writer = PartWriter(container, kind, clip, options)
            yield writer
            writer.finish()
    except pyav().error.FFmpegError as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"the frames of {clip.path} cannot be encoded by {kind.codec}: {reason}; choose another format"
        ) from error


class PartWriter:
    """Encodes consecutive frames; made by `part_writer`."""

    def __init__(self, container, kind, clip, options):
        self._container, self._stream, self._finished = container, None, False
        self.kind, self.clip, self.options = kind, clip, options
        self.colors = kind.colors or clip.colors

    def write(self, image, pts, name=""):
        """Encode a frame, shown at `pts` in the clip's time base; `name` is for other writers.

        It is uint8 RGB H x W x 3, or RGBA H x W x 4 in a format with transparency.
        """
        height, width = image.shape[:2]
        if self.kind.even:  # repeats the last row or column, and leaves the others as they are
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        if self._stream is None:
            self._stream = self._add_stream(image.shape[1], image.shape[0])
        layout = "rgba" if image.shape[2] == 4 else "rgb24"
        frame = pyav().VideoFrame.from_ndarray(np.ascontiguousarray(image), format=layout)
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
        """Flush the encoder; nothing can be written afterwards."""
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
    """Join parts into a video file, with the tracks and tags of the source (`media.tracks`); whole or not there.

    One note names what the format cannot hold.

    Args:
        parts: files of PartWriter, in order.
        end: when the last frame ends, in the clip's time base.
        output: path of the video file.
        clip: the source, as `open_clip` gives it.
        until: where the sound ends, in seconds of the source; None for all of it.

    Raises:
        InputError: a file that cannot be written.
    """
    kind, errors = video_format(output), pyav().error
    tracks = Tracks(clip, output, until)
    try:
        with atomic_write(output) as temporary:
            with contextlib.ExitStack() as opened:
                target = opened.enter_context(
                    open_container(temporary, "w", format=kind.container, options=_options(kind, clip, parts, end))
                )
                if kind.container in MOVING_PICTURES:
                    tracks.lose_all()
                    MOVING_PICTURES[kind.container](parts, end * clip.time_base, target)
                else:
                    packets = [_video_track(parts, end, clip, target, opened), *tracks.add_to(target, opened)]
                    for packet in heapq.merge(*packets, key=lambda p: p.dts * p.time_base):
                        target.mux(packet)
            if kind.container == "webp":
                _replace_frames(temporary)
            tracks.say_what_is_lost(temporary)
    except errors.FFmpegError as error:
        raise InputError(f"{output} cannot be written: {getattr(error, 'strerror', None) or error}") from error


def _options(kind, clip, parts, end):
    """FFmpeg's options of a container."""
    plays = clip.plays
    if kind.container == "gif":  # which counts repeats: 0 is for ever, -1 none
        return {"loop": str(plays and (plays - 1 or -1))}
    if kind.container == "apng":
        return {"plays": str(plays), "final_delay": f"{_last_duration(parts, end, clip.time_base)}/1000"}
    faststart = {"movflags": "faststart"}
    return {"webp": {"loop": str(plays)}, "mp4": faststart, "mov": faststart}.get(kind.container, {})


def _last_duration(parts, end, time_base):
    """How long the last frame is shown, in milliseconds; in APNG it stands apart."""
    with open_container(parts[-1]) as container:
        last = max(packet.pts * packet.time_base for packet in container.demux(video=0) if packet.pts is not None)
    return max(1, round((end * time_base - last) * 1000))


def _video_track(parts, end, clip, target, opened):
    """Add the stream of the painted pictures to the target; its packets."""
    first = opened.enter_context(open_container(parts[0]))
    stream = target.add_stream_from_template(first.streams.video[0], opaque=True)
    stream.codec_context.framerate = clip.rate  # Matroska and AVI store it
    stream.time_base = clip.time_base
    if "alpha_mode" in first.streams.video[0].metadata:
        stream.metadata["alpha_mode"] = "1"  # else readers pass transparency over
    return _video_packets(parts, end, clip.time_base, stream)


def _video_packets(parts, end, time_base, stream):
    """The packets of all parts, with their durations, for a stream of the output."""
    previous = None
    for part in parts:
        with open_container(part) as container:
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


def _join_gif(parts, seconds, target):
    """Write a GIF with one palette for the whole clip, so that colours do not flicker; a first pass finds it."""

    def source_of(graph, frame):
        what = {"width": frame.width, "height": frame.height, "format": frame.format.name}
        return graph.add_buffer(**what, time_base=first.time_base)

    def sink_of(graph, last):
        sink = graph.add("buffersink")
        last.link_to(sink)
        graph.configure()
        return sink

    graph = pyav().filter.Graph()
    first = next(_decoded(parts))
    source = source_of(graph, first)
    find = graph.add("palettegen", f"reserve_transparent={int(_is_transparent(first))}")
    source.link_to(find)
    sink = sink_of(graph, find)
    for frame in _decoded(parts):
        source.push(frame)
    source.push(None)
    palette = sink.pull()

    graph = pyav().filter.Graph()
    source, colours = source_of(graph, first), source_of(graph, palette)
    # An ordered pattern, since error diffusion would flicker; scale 3 of 0 to 5 hides both pattern and banding.
    use = graph.add("paletteuse", "dither=bayer:bayer_scale=3")
    source.link_to(use, 0, 0)
    colours.link_to(use, 0, 1)
    sink = sink_of(graph, use)
    colours.push(palette)
    colours.push(None)

    def painted():
        for frame in itertools.chain(_decoded(parts), [None]):
            source.push(frame)
            yield from pull_all(sink)

    _encode(painted(), seconds, target, "gif", "pal8", 100)


def _join_webp(parts, seconds, target):
    """Write an animated WebP of whole frames, one after the other: FFmpeg's other encoder keeps them all in memory."""
    _encode(_decoded(parts, "bgra"), seconds, target, "libwebp", "bgra", 1000, {"quality": "95"})


def _replace_frames(path):
    """Let each frame of a WebP replace the one before; FFmpeg lets them show through transparent parts.

    https://developers.google.com/speed/webp/docs/riff_container: the flags are the last byte of a frame's head.
    """
    with open(path, "r+b") as file:
        place, do_not_blend = 12, 2
        while True:
            file.seek(place)
            head = file.read(24)
            if len(head) < 8:
                return
            if head[:4] == b"ANMF":
                file.seek(place + 23)
                file.write(bytes([head[23] | do_not_blend]))
            length = int.from_bytes(head[4:8], "little")
            place += 8 + length + length % 2


def _join_apng(parts, seconds, target):
    layout = "rgba" if _is_transparent(next(_decoded(parts))) else "rgb24"
    _encode(_decoded(parts, layout), seconds, target, "apng", layout, 1000)


def _is_transparent(frame):
    return len(frame.format.components) == 4


MOVING_PICTURES = {"gif": _join_gif, "webp": _join_webp, "apng": _join_apng}


def _encode(frames, seconds, target, codec, pixel_format, unit, options=None):
    """Encode frames for a format that counts time in 1 / `unit` seconds; the last one is shown until `seconds`."""
    stream = held = None
    for frame in frames:
        if stream is None:
            stream = target.add_stream(codec, rate=unit, options=options or {})
            stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, pixel_format
            stream.codec_context.time_base = Fraction(1, unit)
        frame.pts, frame.time_base = round(frame.pts * frame.time_base * unit), Fraction(1, unit)
        if held is not None and frame.pts > held.pts:  # above `unit` frames a second some share a moment
            _mux(held, frame.pts, stream, target)
        held = frame
    _mux(held, max(held.pts + 1, round(seconds * unit)), stream, target)
    target.mux(stream.encode(None))


def _mux(frame, until, stream, target):
    for packet in stream.encode(frame):
        packet.duration = until - frame.pts
        target.mux(packet)


def _decoded(parts, pixel_format=None):
    """The frames of parts, in their own layout of pixels or another one."""
    for part in parts:
        with open_container(part) as container:
            for frame in container.decode(video=0):
                yield frame.reformat(format=pixel_format) if pixel_format else frame
