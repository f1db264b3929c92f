"""Tracks and tags of a clip besides its pictures: sound, subtitles, chapters, covers, attachments, title and date.

What the output's container can hold is kept, and one note names the rest. Whether it can is tried or read back, since
FFmpeg lists more than it can write. Tracks of data, such as sensors and time codes, are dropped: some tell positions.
"""

import contextlib
import io
import itertools
import re
from fractions import Fraction
from pathlib import Path

from ppadaattn.errors import note
from ppadaattn.media.video_formats import film_of, is_cover, open_container, pyav, to_fraction, video_format

# Encoder of sound that a container cannot hold as it is.
SOUND_CODECS = {"webm": "libopus", "matroska": "flac", "avi": "libmp3lame"}
OTHER_SOUND_CODEC = "aac"
# Layout of more than two channels, by encoder; others get two channels.
MANY_CHANNELS = {"aac": "5.1", "flac": "5.1"}
# Encoder of subtitles of text, by container; those that are pictures are not encoded again.
TEXT_CODECS = {"mp4": "mov_text", "mov": "mov_text", "webm": "webvtt", "matroska": "subrip"}
# FFmpeg's codecs of subtitles of text: later PyAV says so of a codec, and 14.2 does not.
TEXTS = ("ass", "jacosub", "microdvd", "mov_text", "realtext", "sami", "srt", "ssa", "subrip", "text", "webvtt")
# Names of the files that Matroska keeps covers in, which its readers look for.
COVERS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
# Names of handlers that programs write into each MP4, such as SoundHandler and Core Media Audio.
NO_TITLE = re.compile("handler|media|GPAC", re.IGNORECASE)
# Chapters that are kept: FFmpeg's time to write them grows with their square, to 40 s for 100,000.
MOST_CHAPTERS = 10_000
# A container that holds all of this.
HOLDS_ALL = ".mkv"


class Tracks:
    """The tracks and tags of a clip, for one output.

    Args:
        clip: as `open_clip` gives it.
        output: path of the video file.
        until: where sound and subtitles end, in seconds of the source; None for all of them.
    """

    def __init__(self, clip, output, until):
        self.clip, self.output, self.kind = clip, output, video_format(output)
        self.begin = to_fraction(clip.start or 0)
        self.stop = None if until is None else to_fraction(until)
        self._lost, self._covers, self._chapters, self._labels = [], 0, 0, set()

    def add_to(self, target, opened):
        """Add tags to a target, and a stream for each track; an iterable of packets for each.

        Args:
            target: container that is written, with its stream of pictures.
            opened: ExitStack that closes what is opened here.
        """
        target.metadata.update(self.clip.metadata)
        if not self.clip.has_tracks:
            return []
        source = opened.enter_context(open_container(self.clip.path))
        pictures = film_of(source)
        _label(target.streams.video[0], pictures)
        chapters = self._chapters_of(source)
        self._chapters = len(chapters)
        if chapters and hasattr(target, "set_chapters"):
            target.set_chapters(chapters)
        packets = []
        for track in source.streams:
            if track.index != pictures.index:
                packets.append(self._add(track, target, opened))
        return list(filter(None, packets))

    def lose_all(self):
        """As `add_to`, for a target that holds pictures alone."""
        if self.clip.has_tracks:
            with open_container(self.clip.path) as source:
                found = source.streams
                files = [track for track in found if track.type == "attachment"]
                held = {"sound": found.audio, "subtitles": found.subtitles, "attachments": files}
                self._lost += [f"the {name}" for name, tracks in held.items() if tracks]
                self._covers = sum(map(is_cover, source.streams.video))
                self._chapters = len(self._chapters_of(source))

    def _add(self, track, target, opened):
        """Add a stream for a track; its packets, or None where it has none or cannot be kept."""
        if track.type == "attachment":
            return self._add_attachment(track, target)
        if track.type not in ("audio", "subtitle", "video"):
            return None
        if track.codec_context is None:
            number, kind = track.index + 1, "sound" if track.type == "audio" else track.type
            note(f"{self.output} is without track {number} of {self.clip.path}: its {kind} is of a codec not known")
            return None
        if track.type == "audio":
            self._labels.update(filter(None, _label_of(track)))
            source = opened.enter_context(open_container(self.clip.path))
            return _sound(source, source.streams[track.index], target, self._times(), self.output)
        if is_cover(track):
            self._covers += 1
            return self._add_cover(track, target, opened)
        if track.type == "subtitle":
            source = opened.enter_context(open_container(self.clip.path))
            packets = _subtitles(source, source.streams[track.index], target, self._times())
            if packets is None:
                about = ", ".join(filter(None, (*_label_of(track), track.codec_context.name)))
                self._lost.append(f"the subtitles ({about})")
            return packets
        self._lost.append("a further track of pictures")
        return None

    def _times(self):
        """(begin, end or None) in seconds of the file's own time."""
        zero = self.clip.zero
        return zero + self.begin, None if self.stop is None else zero + self.stop

    def _chapters_of(self, source):
        """The chapters of a file, as PyAV gives them, that are shown, counted from the begin."""
        chapters, (begin, stop) = [], self._times()
        for chapter in getattr(source, "chapters", list)():
            unit = chapter["time_base"]
            last = chapter["end"] * unit if stop is None else min(chapter["end"] * unit, stop)
            span = [round((time - begin) / unit) for time in (max(chapter["start"] * unit, begin), last)]
            if span[0] < span[1]:
                chapters.append({**chapter, "start": span[0], "end": span[1]})
        if len(chapters) > MOST_CHAPTERS:
            note(f"{self.clip.path} has {len(chapters)} chapters: the first {MOST_CHAPTERS} are kept")
        return chapters[:MOST_CHAPTERS]

    def _add_attachment(self, track, target):
        try:
            if target.format.name != "matroska":
                raise ValueError
            target.add_stream_from_template(track)
        except (ValueError, AttributeError):  # AttributeError: PyAV 14
            self._lost.append(f"the attachment {track.metadata.get('filename', '')}".strip())

    def _add_cover(self, track, target, opened):
        source = opened.enter_context(open_container(self.clip.path))
        packet = next((packet for packet in _packets(source, source.streams[track.index]) if packet.size), None)
        if packet is None:
            return None
        if target.format.name == "matroska" and hasattr(target, "add_attachment"):
            name, kind = COVERS.get(track.codec_context.name, (None, None))
            if name:
                target.add_attachment(name, kind, bytes(packet))
        elif target.format.name == "mp4":
            stream = target.add_stream_from_template(track, opaque=True)
            stream.disposition = track.disposition
            packet.pts = packet.dts = 0
            packet.stream = stream
            return [packet]
        return None

    def say_what_is_lost(self, written):
        """Note what is in the source and not in the file that was written, which is read for that."""
        lost, suffix, covers, chapters, tags = self._lost, Path(self.output).suffix, 0, 0, ()
        if self.kind.sound:
            with open_container(written) as container:
                covers = sum(map(is_cover, container.streams.video))
                chapters, tags = len(getattr(container, "chapters", list)()), {*map(str.lower, container.metadata)}
                labels = {text for track in container.streams for text in _label_of(track)}
            if not self._labels <= labels:
                lost.append("the names and languages of the tracks")
        if chapters < self._chapters:
            lost.append("the chapters")
        if covers < self._covers:
            lost.append("the cover")
        lost += [f"the {tag.replace('_', ' ')}" for tag in self.clip.metadata if tag not in tags]
        if lost:
            other = "" if suffix == HOLDS_ALL else f", {HOLDS_ALL} does"
            note(f"{self.output} is without {', '.join(lost)} of {self.clip.path}: {suffix} holds none of it{other}")


def _label(stream, track):
    """Give a stream the name, language and flags (default, forced and so on) of a track of the source."""
    title, language = _label_of(track)
    stream.metadata.update({"language": language} if language else {})
    # MP4 has no titles of tracks; players show the name of the handler.
    name = "handler_name" if stream.container.format.name in ("mp4", "mov") else "title"
    stream.metadata.update({name: title} if title else {})
    stream.disposition = int(track.disposition)


def _label_of(track):
    """(title, language) of a track; None where it has none."""
    entries = {key.lower(): text for key, text in track.metadata.items()}
    name, language = entries.get("handler_name", ""), entries.get("language")
    title = entries.get("title") or (None if NO_TITLE.search(name) else name)
    return title or None, None if language == "und" else language


def _sound(source, track, target, times, output):
    """Add a stream to the target for a track of sound; its packets between two times, in seconds."""
    if _holds(target.format.name, track):
        stream = target.add_stream_from_template(track, opaque=True)
        packets = _copied(source, track, *times)
    else:
        name = SOUND_CODECS.get(target.format.name, OTHER_SOUND_CODEC)
        note(f"{output} cannot hold sound encoded as {track.codec_context.name}: it is encoded again as {name}")
        stream = target.add_stream(name, rate=48000 if name == "libopus" else track.codec_context.sample_rate)
        channels = track.codec_context.channels
        stream.codec_context.layout = {1: "mono", 2: "stereo"}.get(channels, MANY_CHANNELS.get(name, "stereo"))
        stream.codec_context.open()
        packets = _encoded(source, track, stream, *times)
    _label(stream, track)
    return _from_begin(packets, stream, times[0], video_format(output).regular)


def _subtitles(source, track, target, times):
    """As `_sound`, for a track of subtitles; None where the target cannot hold it."""
    codec, context = TEXT_CODECS.get(target.format.name), track.codec_context
    if _holds(target.format.name, track):
        stream, encode = target.add_stream_from_template(track, opaque=True), None
    elif codec and context.name in TEXTS and hasattr(context, "encode_subtitle"):
        stream = target.add_stream(codec)
        context.open(strict=False)
        encoder, unit = stream.codec_context, Fraction(1, 1000)
        encoder.subtitle_header, encoder.time_base, stream.time_base = context.subtitle_header, unit, unit

        def encode(packet):
            found = context.decode2(packet)
            return encoder.encode_subtitle(found) if found and len(found) else None

    else:
        return None
    _label(stream, track)
    return _texts(source, track, stream, *times, encode)


def _texts(source, track, stream, begin, stop, encode):
    """The packets of subtitles that are shown between two times, cut to these, encoded again or not."""
    for packet in _packets(source, track):
        if packet.pts is None or not packet.size:
            continue
        unit = track.time_base
        first, last = packet.pts * unit, (packet.pts + (packet.duration or 0)) * unit
        if first < begin >= last or (stop is not None and first >= stop):
            continue
        made = packet if encode is None else _or_none(encode, packet)
        if made is None:
            continue
        made.time_base = unit
        made.pts = made.dts = round((max(first, begin) - begin) / unit)
        if packet.duration:
            made.duration = round((last if stop is None else min(last, stop)) / unit) - round(max(first, begin) / unit)
        made.stream = stream
        yield made


def _or_none(encode, packet):
    """What `encode` gives; None where a packet is damaged."""
    with contextlib.suppress(pyav().error.FFmpegError):
        return encode(packet)


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
