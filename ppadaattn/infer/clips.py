"""Paint a clip from file to file: frames are read, painted and encoded at the same time, part by part.

A part is PART frames. Finished parts are kept in the folder OUTPUT.parts, with what the next frame needs of the last
one, until the whole clip is painted; an interrupted run resumes from there. Memory does not grow with the length.
"""

import contextlib
import itertools
import json
import os
import queue
import shutil
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from ppadaattn.errors import InputError, note
from ppadaattn.files import atomic_write, check_writable, sole_writer
from ppadaattn.infer.frames import FramePainter, Memory
from ppadaattn.infer.options import ClipOptions, takes_options
from ppadaattn.media.images import write_image
from ppadaattn.media.masks import mask_for
from ppadaattn.media.video_formats import video_format, writes_clips
from ppadaattn.media.video_read import open_clip
from ppadaattn.media.video_write import join_parts, part_writer
from ppadaattn.model.style import Style
from ppadaattn.side_by_side import in_order
from ppadaattn.signals import stop_when_asked
from ppadaattn.weights.checkpoint import digest, style_contents

import numpy as np

# Frames in a part. A process that is killed loses this many at most, some seconds to minutes of work; smaller parts
# would begin more often with a key frame, which makes the file larger.
PART = 100

# File in the folder of the parts: the digest of what they were made from.
JOB = "job.json"

# Frames that are read ahead of the batch that is being painted: enough to bridge the slow ones among them (key frames,
# seeking), and small in memory, 50 MB at 1920 x 1080.
AHEAD = 8


@dataclass(frozen=True)
class Result:
    """What `paint_clip` did.

    Attributes:
        frames: how many frames are in the output, those of earlier runs included.
        seconds: how much of the clip they are.
        size: (width, height) of what was painted; a format that wants even sides adds a row or column.
        stopped_by: number of the signal that stopped it, or None.
        problem: where the source was damaged or cut short, in a sentence; None if it was not.
        times: {'decode', 'network', 'encode'}: seconds that this run spent in each; they overlap.
    """

    frames: int
    seconds: float
    size: tuple
    stopped_by: Optional[int]
    problem: Optional[str]
    times: dict


@takes_options(ClipOptions)
def paint_clip(stylizer, content, style, output, options=None, *, mask=None, resume=False, progress=None, **changes):
    """Paint a clip into a file or folder.

    Args:
        stylizer: a Stylizer.
        content: path of a video file or of a folder of numbered frames.
        style: a Style that the stylizer prepared, or a function that prepares it for frames of a long side in pixels.
        output: path of a video file, whose suffix says the format, or of a folder for frames as PNG.
        options: a ClipOptions; each of its fields is also a keyword argument, such as `fps=25`.
        mask: regions of every frame, a path or an array; needs a style with regions.
        resume: continue from what an interrupted run with the same arguments finished.
        progress: called with (frames done, about how many there are) after each batch.

    Returns:
        a Result. After an interruption the output holds what was finished.

    Raises:
        InputError: an option outside its limits; as in `open_clip` and `FramePainter`; an output that cannot be written
            or is the source; nothing to resume from, or parts made with other arguments.
    """
    options, output = replace(options or ClipOptions(), **changes), Path(output)
    output = output if output.name else output.absolute()  # the folder "."
    constant_rate = writes_clips(output) and video_format(output).regular
    times = {"start": options.start, "end": options.end, "fps": options.fps}
    clip = open_clip(content, size=options.size, constant_rate=constant_rate, **times)
    if options.keep_location:
        clip.metadata = {**clip.metadata, **clip.location}
    _check_output(clip, output, options.crf)
    if not isinstance(style, Style):
        style = style(max(clip.width, clip.height))
    mask = None if mask is None else mask_for(mask, (clip.height, clip.width), clip.own_size)
    style_here = style if mask is None else style.in_regions(mask)
    painter = FramePainter(stylizer, style_here, options, pixels=clip.width * clip.height)
    parts = parts_folder(output)
    with sole_writer(parts.with_name(f"{parts.name}.lock"), output):
        journal = _Journal(parts, job_digest(clip.path, style, mask, options))
        return _paint(painter, clip, output, options, journal, resume, progress)


def _paint(painter, clip, output, options, journal, resume, progress):
    """What `paint_clip` does while nobody else writes there."""
    if not (resume and journal.read()):
        if resume and output.is_file():
            raise InputError(f"{output} is finished, or was not made here: there is nothing to resume")
        journal.begin()
    kind = video_format(output) if writes_clips(output) else None  # frames are PNG, which holds transparency
    keep_alpha = clip.has_alpha and not options.preview and (kind is None or kind.alpha is not None)
    if clip.has_alpha and not keep_alpha:
        note(f"{clip.path} has transparent parts, which {output} cannot hold: they are laid on white")
    if kind and keep_alpha:
        kind = kind.with_alpha()
    sink = _VideoSink(journal, clip, output, kind, options.crf) if kind else _FolderSink(output)
    work = _Work(painter, sink, journal, options, progress, clip.frame_count, keep_alpha)
    with stop_when_asked() as asked, contextlib.closing(_Ahead(clip.frames(journal.last_pts))) as source:
        work.paint(source, asked)
        whole = not work.left_out and not source.wait_next()
    sink.finish(whole)
    if whole:
        journal.remove()
    return Result(
        frames=journal.frames,
        seconds=float(journal.end * clip.time_base),
        size=(clip.width * (2 if options.preview else 1), clip.height),
        stopped_by=None if whole else asked[0],
        problem=clip.problem,
        times={"decode": source.seconds, **work.times},
    )


def parts_folder(output):
    """The folder of the finished parts of an output, which is there until the whole clip is painted."""
    return Path(output).with_name(f"{Path(output).name}.parts")


def job_digest(path, style, mask, options):
    """SHA-256 (hex) of all that decides what the frames of an output are: with another one nothing is resumed."""
    source = [str(path.resolve()), os.path.getmtime(path)]
    return digest([source, options.that_change_frames(), mask, style_contents(style)])


def _check_output(clip, output, crf):
    source = os.path.realpath(clip.path)
    if os.path.realpath(output) == source:
        raise InputError(f"{output} is the clip to read; choose another output")
    if writes_clips(output) or (output.suffix and not output.is_dir()):
        kind = video_format(output)
        if output.is_dir():
            raise InputError(f"{output} is a folder where a video is to be written; choose another output")
        most = 63 if "vpx" in kind.codec else 51
        if crf is not None and (kind.crf is None or not 0 <= crf <= most):
            held = f"0 to {most} in {output.suffix}" if kind.crf is not None else f"not for {output.suffix}"
            raise InputError(f"`crf`, the quality of the video, is {held}; got {crf}")
        check_writable(output)
    else:
        if crf is not None:
            raise InputError(f"`crf` is for video files, and {output} is a folder of frames")
        check_writable(output, folder=True)


class _Ahead:
    """Reads frames in a thread while others are painted."""

    def __init__(self, frames):
        self.seconds, self._next, self._ended = 0.0, None, False
        self._queue, self._stop = queue.Queue(AHEAD), False
        self._thread = threading.Thread(target=self._read, args=(frames,), daemon=True)
        self._thread.start()

    def _read(self, frames):
        begun, last = time.perf_counter(), None
        try:
            for frame in frames:
                self.seconds += time.perf_counter() - begun
                self._put(frame)
                if self._stop:
                    return
                begun = time.perf_counter()
        except Exception as error:  # raised where the frames are taken
            last = error
        finally:
            frames.close()
        self._put(last)

    def _put(self, item):
        while not self._stop:
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return

    def wait_next(self):
        """Whether there is another frame; waits for it."""
        if self._next is None and not self._ended:
            self._next = self._queue.get()
            if isinstance(self._next, Exception):
                raise self._next
            self._ended = self._next is None
        return not self._ended

    def take(self, count):
        """The next frames, `count` unless the clip ends before."""
        batch = []
        while len(batch) < count and self.wait_next():
            batch.append(self._next)
            self._next = None
        return batch

    def close(self):
        self._stop = True
        self._thread.join()


class _Work:
    """Paints part by part, several batches at once where the painter can; a thread writes each batch meanwhile."""

    def __init__(self, painter, sink, journal, options, progress, expected, keep_alpha):
        self.painter, self.sink, self.journal = painter, sink, journal
        self.options, self.progress, self.expected = options, progress, expected
        self.keep_alpha = keep_alpha
        self.left_out = 0  # frames that were taken from the source, and not written
        self.times, self._adding = {"network": 0.0, "encode": 0.0}, threading.Lock()

    def paint(self, source, asked):
        """Paint and record part by part, until the clip ends or a signal asks to stop."""
        batches = in_order(self._paint_alone, self._batches(source, asked), self.painter.workers)
        with contextlib.closing(batches):
            while not asked and self._paint_part(batches, asked):
                pass

    def _paint_part(self, batches, asked):
        """Write and record the next PART frames, or fewer where the clip ends; False where there are none.

        The first frames of the next part are painted meanwhile, so that no core waits at the end of a part.
        """
        first = next(batches, None)
        if first is None:
            return False
        journal, memory, count, encoding = self.journal, self.journal.memory, 0, None
        with self.sink.part(journal.frames) as writer, ThreadPoolExecutor(1) as encoder:
            for batch, pictures in itertools.chain([first], batches):
                pictures, memory = self._follow(batch, pictures, memory)
                if encoding is not None:
                    encoding.result()
                encoding = encoder.submit(self._encode, writer, batch, pictures)
                count += len(batch)
                self.left_out -= len(batch)
                if self.progress:
                    done = journal.frames + count
                    self.progress(done, max(done, self.expected))
                if asked or count == PART:  # frames that are under way are left out, so that the end comes at once
                    break
            encoding.result()
            encoder.submit(self._encode, writer, (), ()).result()
        journal.record(count, batch[-1].pts, batch[-1].pts + batch[-1].duration, memory)
        return True

    def _batches(self, source, asked):
        """The frames in batches, none of which spans two parts."""
        left = PART
        while not asked and source.wait_next():
            batch = source.take(min(self.options.batch_size, left))
            left = left - len(batch) or PART
            self.left_out += len(batch)
            yield batch

    def _paint_alone(self, batch):
        """(batch, its pictures as far as they do not depend on frames before); several threads may be in here."""
        begun = time.perf_counter()
        pictures = self.painter.paint_alone([frame.image for frame in batch])
        self._add_time("network", (time.perf_counter() - begun) / self.painter.workers)
        return batch, pictures

    def _follow(self, batch, pictures, memory):
        """(pictures, Memory) of a batch that follows the frames of a Memory."""
        begun = time.perf_counter()
        pictures, memory = self.painter([frame.image for frame in batch], memory, pictures)
        self._add_time("network", time.perf_counter() - begun)
        if self.options.preview:
            pictures = [np.hstack([frame.image, picture]) for frame, picture in zip(batch, pictures)]
        return pictures, memory

    def _add_time(self, stage, seconds):
        with self._adding:
            self.times[stage] += seconds

    def _encode(self, writer, batch, pictures):
        """Write a batch, or, where there is none, finish the part."""
        begun = time.perf_counter()
        for frame, picture in zip(batch, pictures):
            if self.keep_alpha and frame.alpha is not None:
                picture = np.dstack([picture, frame.alpha])
            writer.write(picture, frame.pts, frame.name)
        if not batch:
            writer.finish()
        self._add_time("encode", time.perf_counter() - begun)


class _Journal:
    """A folder with what resuming needs: one file of arrays for each finished part.

    Attributes:
        frames: how many are finished.
        last_pts, end: when the last of these begins and ends, in the clip's time base; None and 0 at the beginning.
        memory: the Memory after it, or None.
        parts: the number of the first frame of each part.
    """

    def __init__(self, folder, job):
        self.folder, self.job = folder, job
        self.frames, self.last_pts, self.end, self.memory, self.parts = 0, None, 0, None, []

    def begin(self):
        """Start over. InputError where the folder holds something else."""
        if self.folder.exists() and not (self.folder / JOB).is_file() and any(self.folder.iterdir()):
            raise InputError(
                f"{self.folder} is needed for the parts of the clip, and holds something else; move it away"
            )
        self.remove()
        with atomic_write(self.folder / JOB) as temporary:
            temporary.write_text(json.dumps(self.job))

    def read(self):
        """Read what an earlier run finished. False where there is nothing; InputError where it was another job."""
        job = self.folder / JOB
        if not job.exists():
            return False
        if json.loads(job.read_text()) != self.job:
            raise InputError(
                f"{self.folder} was begun with another clip, style or other options: give the same to resume, or start "
                "over without `resume`"
            )
        for file in sorted(self.folder.glob("[0-9]*.npz")):  # not the temporary files of a run that was killed
            try:
                with np.load(file) as arrays:
                    arrays = dict(arrays)
            except (OSError, ValueError, zipfile.BadZipFile) as error:
                raise InputError(f"{file} cannot be read ({error}): start over without `resume`") from None
            self.parts.append(self.frames)
            self.frames, self.last_pts, self.end = (int(arrays.pop(name)) for name in ("frames", "last_pts", "end"))
            self.memory = Memory.from_arrays(arrays)
        return True

    def record(self, count, last_pts, end, memory):
        """Note that a part of `count` frames is finished."""
        state = {"frames": self.frames + count, "last_pts": last_pts, "end": end, **memory.to_arrays()}
        with atomic_write(self.folder / f"{self.frames:08d}.npz") as temporary:
            np.savez(temporary, **state)
        self.parts.append(self.frames)
        self.frames, self.last_pts, self.end, self.memory = self.frames + count, last_pts, end, memory

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class _VideoSink:
    """Writes frames into the parts of a video, and joins these to the video."""

    def __init__(self, journal, clip, output, kind, crf):
        self.journal, self.clip, self.output, self.kind, self.crf = journal, clip, output, kind, crf

    def _file(self, first_frame):
        return self.journal.folder / f"{first_frame:08d}.nut"

    def part(self, first_frame):
        return part_writer(self._file(first_frame), self.kind, self.clip, self.crf)

    def finish(self, whole):
        clip, journal = self.clip, self.journal
        if journal.parts:
            until = None if whole and clip.end is None else (clip.start or 0) + float(journal.end * clip.time_base)
            join_parts([self._file(first) for first in journal.parts], journal.end, self.output, clip, until)


class _FolderSink:
    """Frames into pictures of their own."""

    def __init__(self, folder):
        self.folder = folder

    def part(self, first_frame):
        return contextlib.nullcontext(_FrameWriter(self.folder, first_frame + 1))

    def finish(self, whole):
        pass


class _FrameWriter:
    """Writes frames as pictures, as a PartWriter does into a video; those without a name are numbered."""

    def __init__(self, folder, number):
        self.folder, self.number = folder, number

    def write(self, picture, pts, name):
        name = name or f"frame_{self.number:06d}"
        write_image(self.folder / f"{name}.png", picture)
        self.number += 1

    def finish(self):
        pass
