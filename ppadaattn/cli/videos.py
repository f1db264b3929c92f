"""Paint videos, each clip in each style."""

import contextlib
import errno
import functools
import glob
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional

from ppadaattn.cli.pictures import check_outputs
from ppadaattn.cli.styles import sources, style_preparer
from ppadaattn.errors import InputError, note
from ppadaattn.files import check_writable, short_name
from ppadaattn.infer.clips import paint_clip, parts_folder
from ppadaattn.infer.options import ClipOptions, option
from ppadaattn.media.animation import is_moving, moving_suffix
from ppadaattn.media.images import FORMATS, find_files, is_listed, is_picture
from ppadaattn.media.video_formats import VIDEO_FORMATS, VIDEOS, is_video, video_format, writes_clips
from ppadaattn.media.video_read import is_clip
from ppadaattn.progress import progress_bar


@dataclass(frozen=True)
class VideoOptions(ClipOptions):
    """The options of videos, of which the command line has one more than `Stylizer.stylize_video`."""

    frames: bool = option(False, "a content folder is a clip of numbered frames, an output folder too")


class Plan(NamedTuple):
    """What is to be painted where.

    Attributes:
        clips: list of (path of a clip, StyleSpec, path of the output).
        mask: path of the mask of all frames, or None.
        resume: whether to continue interrupted videos and keep finished ones.
    """

    clips: list
    mask: Optional[Path]
    resume: bool


# What contents are. Pictures that move are clips, or still pictures by their first frames.
STILL, MOVING, FILM = "a picture", "a picture that moves", "a video"


def are_clips(contents, output, frames=False):
    """Whether contents are clips: videos, or folders of frames where `frames` or the name of the output says so.

    Pictures that move are clips, unless the output holds one picture, or some of the contents do not move.
    Raises InputError where only some are clips, or where a video is to be made of a file that is neither.
    """
    kinds = [_kind(content, folders_too=frames or is_video(output)) for content in contents]
    if STILL in kinds and FILM in kinds:
        raise InputError("pictures and videos are painted apart: give --content one kind")
    if is_video(output):
        for content, kind in zip(contents, kinds):
            if kind == STILL and os.path.isfile(content) and not is_picture(content):
                raise InputError(f"{content} is neither a picture nor a video that can be read")
    if frames and STILL in kinds:
        still = contents[kinds.index(STILL)]
        raise InputError(f"--frames is for videos and folders of frames, and {still} is none")
    return FILM in kinds or (STILL not in kinds and (frames or not _holds_one_picture(output)))


def _holds_one_picture(output):
    """Whether an output is a picture in a format without moving ones."""
    return output == "-" or (Path(output).suffix.lower() in FORMATS and not writes_clips(output))


def _kind(content, folders_too):
    """STILL, MOVING or FILM; a folder or glob is one of the latter two where none of its pictures is still."""
    if os.path.isdir(content):
        if folders_too:
            return FILM
    elif os.path.exists(content) or not glob.has_magic(content):
        return MOVING if _may_move(content) else FILM if _is_film(content) else STILL
    pictures = _found(content, is_listed)
    if not all(map(_may_move, pictures)):
        return STILL
    return FILM if _found(content, _is_film) else MOVING if pictures else STILL


def _found(content, listed):
    try:
        return find_files([content], listed, "files", ())
    except InputError:  # none, or it cannot be read, which is said later
        return []


def _may_move(path):
    """Whether a file is a picture that moves; a GIF counts as one in any case."""
    return Path(path).suffix.lower() == ".gif" or is_moving(path)


def _is_film(path):
    """Whether a file is a video, by its suffix or by what it holds."""
    return not _may_move(path) and ((is_video(path) and not is_picture(path)) or is_clip(path))


def plan(contents, specs, output, options, *, mask=None, resume=False):
    """The Plan of files, folders and globs; nothing is written. Raises InputError where it cannot be carried out."""
    clips = []
    for content in contents:
        folder = os.path.isdir(content) and (options.frames or is_video(output))
        clips += [Path(content)] if folder else find_files([content], _is_listed, "videos", VIDEOS)
    pairs = [(clip, spec) for clip in clips for spec in dict.fromkeys(specs)]
    if not output:
        raise InputError("--output is empty; give a video or a folder")
    path = Path(output)
    if writes_clips(path) and not path.is_dir():
        if len(pairs) > 1:
            raise InputError(f"{len(pairs)} videos need a folder, and --output {path} is one file")
        outputs = [path]
    elif options.frames and len(pairs) == 1:
        outputs = [path]
    else:
        if path.suffix and not path.is_dir() and not output.endswith(("/", "\\")):
            video_format(path)  # which says the suffixes of videos
        outputs = [path / short_name(f"{clip.stem}_{spec.name}", _suffix(clip, options.frames)) for clip, spec in pairs]
    if len(set(outputs)) < len(outputs):
        raise InputError("several of the videos would have one name: give --content videos with different names")
    check_outputs(outputs, [*clips, *sources(specs, mask)])
    check_writable(path, path not in outputs or not writes_clips(path))
    return Plan([(*pair, output) for pair, output in zip(pairs, outputs)], mask, resume)


def _is_listed(path):
    return _may_move(path) or _is_film(path)


def _suffix(clip, frames):
    if frames:
        return ""
    if clip.suffix.lower() in VIDEO_FORMATS:
        return clip.suffix.lower()
    return moving_suffix(clip) or ".mp4"


def paint(stylizer, plan, options):
    """Carry a Plan out. Returns the exit status: 128 + N where signal N stopped it."""
    problems, prepare, several = [], style_preparer(stylizer, options), len(plan.clips) > 1
    for path, spec, output in plan.clips:
        if plan.resume and several and _is_finished(output):
            note(f"{output} is finished: it is kept")
            continue
        start = time.perf_counter()
        try:
            with _progress_bar(output.name) as progress:
                style = functools.partial(prepare, spec)
                more = {"mask": plan.mask, "resume": plan.resume, "progress": progress}
                result = paint_clip(stylizer, path, style, output, options, **more)
        except (InputError, MemoryError) as error:
            if isinstance(error, MemoryError):
                error = InputError(f"frames of {path} need more memory than there is; lower --size or --batch-size")
            if not several or getattr(error.__cause__, "errno", None) == errno.ENOSPC:
                raise error from error.__cause__
            problems.append(str(error))
            continue
        problems += [result.problem] if result.problem else []
        size = "{} x {} pixels".format(*result.size)
        took = time.perf_counter() - start
        print(f"{output}: {result.frames} frames, {result.seconds:.2f} s of video, {size}, in {took:.1f} s")
        if result.stopped_by:
            return 128 + result.stopped_by
    for problem in problems:
        note(problem)
    return 1 if problems else 0


def _is_finished(output):
    return writes_clips(output) and output.is_file() and not parts_folder(output).exists()


@contextlib.contextmanager
def _progress_bar(name):
    """A progress bar, as the function `progress` of `paint_clip`."""
    with progress_bar(unit="frame", desc=name, delay=0.5) as bar:

        def progress(done, total):
            bar.total = total
            if bar.n == 0:  # frames of an earlier run do not count for the speed
                bar.initial = bar.n = done - 1 if done > 1 else 0
            bar.update(done - bar.n)

        yield progress
