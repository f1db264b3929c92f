"""Read clips: video files through PyAV, and folders of numbered frames. `open_clip` opens either."""

import collections
import contextlib
import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Optional, Union

from ppadaattn.errors import InputError, note
from ppadaattn.media import PathLike
from ppadaattn.media.animation import MovingPicture, is_moving
from ppadaattn.media.images import (
    FORMATS,
    check_size,
    flatten,
    is_listed,
    is_picture,
    read_image,
    read_reduced,
    reduce_to,
)
from ppadaattn.media.tags import clip_tags
from ppadaattn.media.video_colors import Converter, look_of
from ppadaattn.media.video_formats import (
    FULL_RANGE,
    MOST_REPEATS,
    Colors,
    Filter,
    Frame,
    film_of,
    is_video,
    mpeg4_rate,
    open_container,
    pyav,
    to_fraction,
)

import numpy as np
from PIL import Image

# Frames per second of a folder of frames, and of a video that names no rate: the rate of European television.
FOLDER_RATE = 25
# Seconds before a moment at which to look for a keyframe before it, in turn: most encoders set one at least every ten
# seconds (x264: 250 frames), MPEG's streams seek to a later place than asked, and some files have one a minute.
SEEK_MARGINS = (1, 10, 60)
# Seconds by which a video may end sooner than its file says: containers round, and count the sound's last packets.
ROUNDED_END = Fraction(1, 4)
# Time bases that all encoders take as they are: libvpx refuses more units a second, and containers miscount where a
# unit is a fraction of large numbers. Others, as a damaged file may have, become microseconds.
MOST_UNITS, MOST_NUMERATOR, MICROSECONDS = 1_000_000_000, 100_000, Fraction(1, 1_000_000)
# FFmpeg's own decoders of these do not read the transparency that WebM keeps beside the pictures; libvpx's do.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def check_times(start: Optional[float], end: Optional[float], fps: Optional[float]) -> None:
    """Raise InputError unless they are times in seconds, one after the other, and a frame rate; each may be None."""
    for name, value in (("start", start), ("end", end)):
        if value is not None and not 0 <= value < math.inf:
            raise InputError(f"`{name}` is a time in seconds, 0 or more; got {value}")
    if start is not None and end is not None and end <= start:
        raise InputError(f"the `end`, {end} s, must be after the `start`, {start} s")
    if fps is not None and not 0.001 <= fps <= 1000:
        raise InputError(f"`fps` is a number of frames per second, 0.001 to 1000; got {fps}")


def open_clip(
    path: PathLike,
    *,
    size: int = 0,
    start: Optional[float] = None,
    end: Optional[float] = None,
    fps: Optional[float] = None,
    constant_rate: bool = False,
) -> "Union[VideoFile, FrameFolder, MovingPicture]":
    """Open a clip: a video file, a picture that moves (GIF, WebP, APNG), or a folder of frames, which are pictures in
    the order of the numbers in their names.

    Args:
        path: of the file or folder.
        size: long side, in pixels, to which frames are reduced; 0 leaves them as they are.
        start, end: where to begin and to end, in seconds of the clip.
        fps: frames per second to read, by leaving out or repeating frames of a video; default: all frames at their
            own times. For a folder: the rate of its frames (default 25).
        constant_rate: frames at one rate, `fps` or the clip's own, that MPEG-4 can hold.

    Returns:
        a VideoFile, a MovingPicture or a FrameFolder.

    Raises:
        InputError: a path that is missing, no video or without frames; an argument outside its range.
    """
    check_times(start, end, fps)
    kind = FrameFolder if Path(path).is_dir() else MovingPicture if is_moving(path) else VideoFile
    return kind(Path(path), size, start, end, fps, constant_rate)


class VideoFile:
    """A video file. Its frames are turned as its rotation flag says, deinterlaced where they are interlaced, scaled to
    the size of the first one, and HDR and wide gamuts are converted to BT.709; a note tells of the last three.

    Attributes:
        width, height: of the frames that `frames` gives.
        own_size: (height, width) of the frames in the file.
        time_base: seconds in a unit of `Frame.pts`.
        rate: frames per second, on average.
        frame_count: estimate of the number of frames; 0 where it is not known.
        aspect: width to height of a pixel, as a Fraction.
        colors: Colors of the frames.
        has_alpha: whether frames may be transparent.
        problem: after reading: how the file is damaged or cut short, in a sentence; None if it is not.
        has_sound: whether the file holds sound.
        has_tracks: whether the file may hold more than pictures.
        metadata, location: {name: text} of the file, as `clip_tags` gives them.
        plays: how often it is played, for formats that say so; 0: for ever.
    """

    has_tracks, plays = True, 0

    def __init__(self, path, size, start, end, fps, constant_rate=False):
        self.path, self.size, self.start, self.end, self.fps = path, size, start, end, fps
        self.problem, self._damaged, self._said = None, 0, set()
        with self._open() as (container, stream):
            self.rate = to_fraction(fps) if fps else Fraction(stream.average_rate or stream.guessed_rate or FOLDER_RATE)
            if constant_rate:
                self.fps = self.rate = mpeg4_rate(self.rate)
            self.time_base = 1 / self.rate if self.fps else _usable(stream.time_base)
            self.has_sound = bool(container.streams.audio)
            self.metadata, self.location = clip_tags(container.metadata)
            self.seconds = _seconds(container, stream)
            self.zero = Fraction(container.start_time or 0, 1_000_000)
            try:
                first = next(self._decode(container, stream))
            except StopIteration:
                raise InputError(f"{path} has no frame that can be decoded") from None
            codec = stream.codec_context
            known = (codec.colorspace, codec.color_range, codec.color_primaries, codec.color_trc)
            self.look = look_of(first, *map(int, known[2:]))
            self.colors = Colors() if self.look or first.format.is_rgb else Colors(*map(int, known))
            turned = self._turned(first)
            self.own_size = turned.shape[:2]
            # A GIF's decoder always gives transparency, which few of them use.
            self.has_alpha = turned.shape[2] == 4 and (codec.name != "gif" or turned[..., 3].min() < 255)
            image = reduce_to(turned[..., :3], size)
            check_size((image.shape[1], image.shape[0]), f"{path}{' reduced' if size else ''}")
            self.height, self.width = image.shape[:2]
            sideways = first.rotation % 180 == 90
            aspect = Fraction(stream.sample_aspect_ratio or 1)
            self.aspect = (1 / aspect if sideways else aspect) if aspect > 0 else Fraction(1)
        if start is not None and self.seconds and start >= self.seconds:
            raise InputError(f"{path} is {float(self.seconds):.2f} s long, and is to start at {start} s")
        shown = max(0, min(end or self.seconds, self.seconds) - (start or 0))
        self.frame_count = round(shown * self.rate)
        if self.look:
            self._note_once(f"{path} is {self.look.name}: it is converted to BT.709, the colours of ordinary screens")

    def _note_once(self, message):
        if message not in self._said:
            self._said.add(message)
            note(message)

    @contextlib.contextmanager
    def _open(self):
        av = pyav()
        try:
            with open_container(self.path) as container:
                film = film_of(container)
                if film is None:
                    raise InputError(f"{self.path} holds no video; expected a video file")
                film.thread_type = "AUTO"
                yield container, film
        except FileNotFoundError:
            raise InputError(f"there is no file {self.path}") from None
        except (av.error.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{self.path} cannot be read as a video: {reason}") from None

    def _decode(self, container, stream):
        """Frames with a time, each later than the one before; damaged packets are counted and left out."""
        errors, last, decoder = pyav().error, None, _decoder(stream)
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
                frames = decoder.decode(packet)
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
        """How long a frame is shown at the average rate, in the time base of the stream."""
        rate = stream.average_rate or stream.guessed_rate or FOLDER_RATE
        return max(1, round(1 / (rate * stream.time_base)))

    def _shown(self, container, stream):
        """As `_decode`, each frame deinterlaced from the first interlaced one on; those that are not are left alone.

        bwdif is FFmpeg's motion-adaptive filter; it looks at the frame before and the one after.
        """
        bwdif, waiting = None, collections.deque()
        for frame in self._decode(container, stream):
            if bwdif is None and not frame.interlaced_frame:
                yield frame
                continue
            if bwdif is None:
                self._note_once(f"{self.path} is interlaced: its frames are deinterlaced (bwdif)")
                bwdif = Filter("bwdif", lambda: contextlib.nullcontext({"mode": "send_frame", "deint": "interlaced"}))
            waiting.append(frame)
            for done in bwdif.push(frame):
                yield _as_source(done, waiting.popleft())
        for done in bwdif.flush() if bwdif else ():
            yield _as_source(done, waiting.popleft())

    def _turned(self, frame, convert=None):
        """A frame as it is shown, in its own size: uint8 RGB or RGBA; a Converter may give its colours."""
        options = {"src_color_range": int(frame.color_range), "dst_color_range": FULL_RANGE}
        if frame.format.has_palette or len(frame.format.components) in (2, 4):  # maybe transparent
            image = frame.to_ndarray(format="rgba", **options)
            if convert:
                image[..., :3] = convert(frame)
        else:
            image = convert(frame) if convert else frame.to_ndarray(format="rgb24", **options)
        return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))

    def _picture(self, frame, convert):
        """(uint8 RGB H x W x 3, uint8 alpha H x W or None) of a frame, in the size of the clip."""
        turned = self._turned(frame, convert)
        if turned.shape[:2] != self.own_size:
            height, width = self.own_size
            self._note_once(f"{self.path} changes its size: its frames are scaled to the first, {width} x {height}")
        image = self._fitted(flatten(turned))
        return image, self._fitted(turned[..., 3]) if self.has_alpha and turned.shape[2] == 4 else None

    def _fitted(self, plane):
        if plane.shape[:2] == (self.height, self.width):
            return np.ascontiguousarray(plane)
        return np.asarray(Image.fromarray(plane).resize((self.width, self.height), Image.LANCZOS))

    def frames(self, after=None):
        """The frames in turn, or only those after the `pts` of an earlier one. Sets `problem` at the end."""
        begin = self.zero + to_fraction(self.start or 0)
        with self._open() as (container, stream):
            if self._sought(container, stream, begin if after is None else begin + after * self.time_base):
                yield from self._read(container, stream, begin, after)
                return
        with self._open() as (container, stream):
            yield from self._read(container, stream, begin, after)

    def _sought(self, container, stream, goal):
        """Seek to a keyframe before `goal`, in seconds; False where none is found."""
        if goal <= self.zero:
            return True
        for margin in SEEK_MARGINS:
            target = int(max(self.zero, goal - margin) / stream.time_base)
            with contextlib.suppress(pyav().error.FFmpegError, StopIteration):
                container.seek(target, stream=stream, backward=True)
                first = next(self._decode(container, stream))
                if first.key_frame and first.pts * stream.time_base <= goal:
                    container.seek(target, stream=stream, backward=True)
                    return True
        return False

    def _read(self, container, stream, begin, after):
        self.problem, self._damaged, count = None, 0, 0
        stop = None if self.end is None else self.zero + to_fraction(self.end)
        timed, convert = self._sampled if self.fps else self._rebased, self.look and Converter(self.look)
        for pts, duration, source in timed(container, stream, begin, stop):
            if pts < 0 or (after is not None and pts <= after):
                continue
            image, alpha = self._picture(source, convert)
            count += 1
            yield Frame(image, pts, duration, alpha=alpha)
        if after is None and not count:
            raise InputError(f"{self.path} has no frame from {self.start or 0} s on that can be decoded")

    def _rebased(self, container, stream, begin, stop):
        """As `_all`, in the clip's time base."""
        unit, last = stream.time_base / self.time_base, -1
        for pts, duration, frame in self._all(container, stream, begin, stop):
            if unit != 1 and pts >= 0:  # two frames may share a microsecond
                pts = last = max(last + 1, round(pts * unit))
                duration = max(1, round(duration * unit))
            yield pts, duration, frame

    def _all(self, container, stream, begin, stop):
        """(pts from `begin` on, duration, frame) of each frame before `stop`, from the one shown at `begin` on."""
        usual, zero, time, shown = self._usual(stream), round(begin / stream.time_base), self.zero, None
        for frame in self._shown(container, stream):
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
        """As `_all`, at the regular times of `fps`: the frame nearest to each, or the one before once more."""
        limit = math.inf if stop is None else math.ceil((stop - begin) / self.time_base)
        held, place, off, end = None, 0, 0, self.zero  # the frame that is shown from `place` on
        for frame in self._shown(container, stream):
            time = frame.pts * stream.time_base
            its_place = math.floor((time - begin) / self.time_base + Fraction(1, 2))
            its_off = abs(begin + its_place * self.time_base - time)
            end = time + (frame.duration or self._usual(stream)) * stream.time_base
            if held is None or its_place > place or its_off < off:
                yield from self._repeated(held, place, min(its_place, limit))
                held, place, off = frame, its_place, its_off
            if its_place >= limit:
                return
        places = round((end - begin) / self.time_base)
        yield from self._repeated(held, place, min(max(places, int(place <= 0)), limit))
        self._say_where_it_ended(end)

    def _repeated(self, frame, place, until):
        """(pts, duration, frame) at each time from `place` to `until`; InputError where these are far too many."""
        place = max(0, place)
        if frame is None:
            return
        if until - place > MOST_REPEATS:
            at, hours = float(place * self.time_base), float((until - place) * self.time_base / 3600)
            raise InputError(
                f"{self.path} shows one frame for {hours:.1f} hours from {at:.2f} s on, which is more than "
                f"{MOST_REPEATS} frames at {float(self.rate):.6g} a second; set an `end` before, or paint into a "
                "format of variable rate, such as .mkv, without `fps`"
            )
        yield from ((number, 1, frame) for number in range(place, until))

    def _say_where_it_ended(self, time):
        reached = time - self.zero
        if self.seconds and reached < self.seconds - ROUNDED_END - 2 / self.rate:
            self.problem = f"{self.path} ends at {float(reached):.2f} s of {float(self.seconds):.2f} s: it is cut short"
        elif self._damaged:
            self.problem = f"{self.path} is damaged: {self._damaged} of its packets could not be decoded"


class FrameFolder:
    """A folder of numbered frames, with the attributes of a VideoFile."""

    aspect, colors, problem, has_sound, metadata, location = Fraction(1), Colors(), None, False, {}, {}
    has_tracks, plays = False, 0

    def __init__(self, path, size, start, end, fps, constant_rate=False):
        self.path, self.size, self.start, self.end = path, size, start, end
        self.rate = to_fraction(fps or FOLDER_RATE)
        self.rate = mpeg4_rate(self.rate) if constant_rate else self.rate
        self.time_base = 1 / self.rate
        try:
            files = [file for file in path.iterdir() if is_listed(file) and not is_video(file)]
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
        first, self.own_size = read_reduced(self.files[0], size)
        self.height, self.width = first.shape[:2]
        self.has_alpha = first.shape[2] == 4

    def frames(self, after=None):
        """The frames in turn, or only those after the `pts` of an earlier one."""
        for pts, file in enumerate(self.files):
            if after is None or pts > after:
                image = read_image(file, self.size)
                if image.shape[:2] != (self.height, self.width):
                    raise InputError(
                        f"{file} is {image.shape[1]} x {image.shape[0]} pixels, the first frame of its folder "
                        f"{self.width} x {self.height}: the frames of a clip are of one size"
                    )
                alpha = image[..., 3] if image.shape[2] == 4 else None
                yield Frame(flatten(image), pts, 1, file.stem, alpha)


def is_clip(path: PathLike) -> bool:
    """Whether a file is a video by what it holds; pictures are not, whatever FFmpeg makes of them."""
    if not Path(path).is_file() or is_picture(path):
        return False
    try:
        av = pyav()
    except InputError:
        return False
    try:
        with open_container(path) as container:
            return film_of(container) is not None
    except (av.error.FFmpegError, OSError):
        return False


def _decoder(stream):
    """The decoder of a stream: its own, or another one that reads its transparency."""
    name = ALPHA_DECODERS.get(stream.codec_context.name)
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    if tags.get("alpha_mode") != "1" or name not in pyav().codecs_available:
        return stream.codec_context
    decoder = pyav().CodecContext.create(name, "r")
    decoder.thread_type = "AUTO"
    return decoder


def _as_source(frame, source):
    """A frame that a filter made, with the times and colours of the one it was made of."""
    frame.pts, frame.time_base, frame.duration = source.pts, source.time_base, source.duration
    frame.colorspace, frame.color_range = source.colorspace, source.color_range
    return frame


def _usable(time_base):
    """The time base itself, or microseconds where encoders would not take it."""
    usable = time_base.numerator <= MOST_NUMERATOR and time_base.denominator <= MOST_UNITS
    return time_base if usable else MICROSECONDS


def _by_number(file):
    """Key that sorts frame2 before frame10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def _seconds(container, stream):
    """Length of the video in seconds, where the file says it; else 0."""
    if stream.duration:
        return stream.duration * stream.time_base
    written = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))  # Matroska
    if written:
        hours, minutes, seconds = map(Fraction, written.groups())
        return 3600 * hours + 60 * minutes + seconds
    # The length of the file is that of the video only where there is no sound.
    return Fraction(0) if container.streams.audio else Fraction(container.duration or 0, 1_000_000)
