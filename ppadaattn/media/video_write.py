"""Write clips in two steps, because a long clip may be interrupted.

`PartWriter` encodes a stretch of a clip into a file. `join_parts` puts such files together, with the sound of the
source, without encoding them again.

Why FFmpeg does not join them by itself: its concat demuxer (tried with PyAV 18) guesses the length of each part, and
frames of a variable rate at 300 to 1000 ms came out at 440 to 1650 ms, or at 600 to 1700 ms with the lengths in its
list; it would save two lines. imageio-ffmpeg pipes frames at one constant rate into a second copy of FFmpeg: times of
frames would be lost. FFmpeg's filters make the palette of a GIF.
"""

import contextlib
import heapq
import io
import itertools
from fractions import Fraction
from pathlib import Path

from ppadaattn.errors import InputError, note
from ppadaattn.files import atomic_write
from ppadaattn.media.video_formats import (
    COLORSPACES,
    FULL_RANGE,
    LIMITED_RANGE,
    open_container,
    pyav,
    to_fraction,
    video_format,
)

import numpy as np

# Encoder of sound that a container cannot hold as it is.
SOUND_CODECS = {"webm": "libopus", "matroska": "flac", "avi": "libmp3lame"}
OTHER_SOUND_CODEC = "aac"
# Layout of more than two channels, by encoder; others get two channels.
MANY_CHANNELS = {"aac": "5.1", "flac": "5.1"}


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
    """Join parts into a video file, with the sound of the source; whole or not there.

    The sound is copied packet by packet; where the container cannot hold it as it is, it is encoded again, with a note.

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
    if clip.has_sound and not kind.sound:
        note(f"{output} is without the sound of {clip.path}: {Path(output).suffix} holds none")
    options = {"movflags": "faststart"} if kind.container in ("mp4", "mov") else {}
    try:
        with atomic_write(output) as temporary, contextlib.ExitStack() as opened:
            target = opened.enter_context(open_container(temporary, "w", format=kind.container, options=options))
            if kind.container == "gif":
                _join_gif(parts, end * clip.time_base, target)
                return
            target.metadata.update(clip.metadata)
            first = opened.enter_context(open_container(parts[0]))
            stream = target.add_stream_from_template(first.streams.video[0], opaque=True)
            stream.codec_context.framerate = clip.rate  # Matroska and AVI store it
            stream.time_base = clip.time_base
            if "alpha_mode" in first.streams.video[0].metadata:
                stream.metadata["alpha_mode"] = "1"  # else readers pass transparency over
            packets = [_video_packets(parts, end, clip.time_base, stream)]
            if clip.has_sound:
                packets += _tracks(clip, target, until, output, opened)
            for packet in heapq.merge(*packets, key=lambda p: p.dts * p.time_base):
                target.mux(packet)
    except errors.FFmpegError as error:
        raise InputError(f"{output} cannot be written: {getattr(error, 'strerror', None) or error}") from error


def _tracks(clip, target, until, output, opened):
    """Add a stream to the target for each track of sound; yield the packets of each."""
    source = opened.enter_context(open_container(clip.path))
    begin = clip.zero + to_fraction(clip.start or 0)
    stop = None if until is None else clip.zero + to_fraction(until)
    for number, audio in enumerate(source.streams.audio):
        if audio.codec_context is None:
            note(f"{output} is without track {number + 1} of the sound of {clip.path}, whose codec is not known")
            continue
        yield _sound(opened.enter_context(open_container(clip.path)), number, target, begin, stop, output)


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


def _sound(source, number, target, begin, stop, output):
    """Add a stream to the target for a track of sound; its packets from `begin` to `stop`, in seconds."""
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
    """Whether a container takes the packets of a track as they are: tried, since FFmpeg lists more than it can mux."""
    errors = pyav().error
    try:
        with open_container(track.container.name) as source, pyav().open(io.BytesIO(), "w", format=container) as trial:
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
    with contextlib.suppress(pyav().error.FFmpegError):
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
    resampler = pyav().AudioResampler(context.format, context.layout, context.sample_rate, context.frame_size or None)
    end = begin
    for packet in _packets(source, track):
        with contextlib.suppress(pyav().error.FFmpegError):  # a damaged packet is a gap
            for frame in packet.decode():
                if frame.pts is None:  # decoders of WMA give the last frame no time
                    frame.pts = round(end / frame.time_base)
                time = frame.pts * frame.time_base
                end = time + Fraction(frame.samples, frame.sample_rate)
                if time >= begin and (stop is None or time < stop):
                    for part in resampler.resample(frame):
                        yield from stream.encode(part)
    for part in resampler.resample(None):
        yield from stream.encode(part)
    yield from stream.encode(None)


def _from_begin(packets, stream, begin, regular):
    """The packets with times counted from `begin`, for a stream of the output."""
    shift = None
    for packet in packets:
        if shift is None:
            shift = round(begin / packet.time_base)
            if regular:  # AVI has no times before 0 and would delay the pictures
                shift = min(shift, packet.dts)
        packet.pts -= shift
        packet.dts -= shift
        packet.stream = stream
        yield packet


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
    source, find = source_of(graph, first), graph.add("palettegen", "reserve_transparent=0")
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
    stream = target.add_stream("gif", rate=100)  # GIF counts in hundredths of a second
    stream.width, stream.height, stream.pix_fmt = first.width, first.height, "pal8"
    held = None
    for frame in itertools.chain(_decoded(parts), [None]):
        source.push(frame)
        for painted in _pull_all(sink):
            painted.pts, painted.time_base = round(painted.pts * painted.time_base * 100), Fraction(1, 100)
            if held is not None and painted.pts > held.pts:  # above 100 frames a second some share a moment
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
        with open_container(part) as container:
            yield from container.decode(video=0)


def _pull_all(sink):
    errors = pyav().error
    with contextlib.suppress(errors.BlockingIOError, errors.EOFError):
        while True:
            yield sink.pull()
