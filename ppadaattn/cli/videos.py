"""Videos painted, each clip with each look."""

import errno
import glob
import os
import shlex
import sys
import time
from pathlib import Path

from ppadaattn.cli.pictures import check_outputs
from ppadaattn.cli.styles import sources, style_size
from ppadaattn.errors import InputError, note
from ppadaattn.files import check_writable
from ppadaattn.infer.clips import paint_clip, parts_folder
from ppadaattn.media.images import find_images
from ppadaattn.media.video_formats import VIDEO_FORMATS, VIDEOS, is_video
from ppadaattn.media.video_read import open_clip

from tqdm import tqdm


def are_clips(args):
    """Whether the contents are clips: videos, or folders of frames where these are meant.

    Raises InputError where only some are.
    """
    frames_meant = args.frames or is_video(args.output)
    clips = [_is_clip(content, frames_meant) for content in args.content]
    if any(clips) and not all(clips):
        raise InputError("pictures and videos are painted apart: give --content one kind")
    if args.frames and not all(clips):
        raise InputError(
            f"--frames is for videos and folders of frames, and {args.content[clips.index(False)]} is none"
        )
    return all(clips)


def _is_clip(content, frames_meant):
    if os.path.isdir(content) and frames_meant:
        return True
    if not os.path.isdir(content) and not (glob.has_magic(content) and not os.path.exists(content)):
        return is_video(content)
    try:
        find_images([content])
        return False
    except InputError:  # no pictures in the folder, or that match the glob
        return any(map(is_video, glob.glob(os.path.join(content, "*") if os.path.isdir(content) else content)))


def plan(args):
    """[(clip, look, output)] of a command line; nothing is written. Raises InputError where it cannot be done."""
    clips = []
    for content in args.content:
        frames = os.path.isdir(content) and (args.frames or is_video(args.output))
        clips += [Path(content)] if frames else find_images([content], VIDEOS, "videos")
    pairs = [(clip, look) for clip in clips for look in args.looks]
    if not args.output:
        raise InputError("--output is empty; give a video or a folder")
    path = Path(args.output)
    if is_video(path) and not path.is_dir():
        if len(pairs) > 1:
            raise InputError(f"{len(pairs)} videos need a folder, and --output {path} is one file")
        outputs = [path]
    elif args.frames and len(pairs) == 1:
        outputs = [path]
    else:
        if path.suffix and not path.is_dir() and not args.output.endswith(("/", "\\")):
            raise InputError(f"{path}: videos are written as {', '.join(VIDEO_FORMATS)}; give it such a name")
        outputs = [path / f"{clip.stem}_{look.name}{_suffix(clip, args.frames)}" for clip, look in pairs]
    if len(set(outputs)) < len(outputs):
        raise InputError("several of the videos would have one name: give --content videos with different names")
    check_outputs(outputs, [*clips, *sources(args)])
    check_writable(path, path not in outputs or not is_video(path))
    return [(clip, look, output) for (clip, look), output in zip(pairs, outputs)]


def _suffix(clip, frames):
    if frames:
        return ""
    return clip.suffix.lower() if clip.suffix.lower() in VIDEO_FORMATS else ".mp4"


def paint(stylizer, plan, args):
    """Carry a plan out. Returns the exit status."""
    problems, styles = [], {}
    for clip, look, output in plan:
        if (
            args.resume
            and len(plan) > 1
            and is_video(output)
            and output.is_file()
            and not parts_folder(output).exists()
        ):
            note(f"{output} is finished: it is kept")
            continue
        start = time.perf_counter()
        try:
            source = open_clip(clip, size=args.size)
            size = style_size(args, max(source.width, source.height))
            key = (look.name, *size.values())
            if key not in styles:
                styles = {key: look.prepare(stylizer, **size)}
            result = _paint(stylizer, clip, styles[key], output, args)
        except InputError as error:
            if len(plan) == 1 or getattr(error.__cause__, "errno", None) == errno.ENOSPC:
                raise
            problems.append(str(error))
            continue
        problems += [result.problem] if result.problem else []
        size = "{} x {} pixels".format(*result.size)
        took = time.perf_counter() - start
        print(f"{output}: {result.frames} frames, {result.seconds:.2f} s of video, {size}, in {took:.1f} s")
        if result.stopped_by:
            words = [word for word in args.command_line if word != "--resume"]
            print(f"stopped; to go on: {shlex.join([*words, '--resume'])}", file=sys.stderr)
            return 128 + result.stopped_by
    for problem in problems:
        print(f"note: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _paint(stylizer, clip, style, output, args):
    options = ("size", "start", "end", "fps", "crf", "batch_size", "preview", "resume", "strength", "preserve_color")
    options = {name: getattr(args, name) for name in (*options, "smooth_statistics", "flow_blend")}
    with tqdm(unit="frame", desc=output.name, delay=0.5) as bar:

        def progress(done, total):
            bar.total = total
            if bar.n == 0:
                bar.initial = bar.n = done - 1 if done > 1 else 0
            bar.update(done - bar.n)

        try:
            return paint_clip(stylizer, clip, style, output, mask=args.content_mask, progress=progress, **options)
        except MemoryError:
            raise InputError(f"frames of {clip} need more memory than there is; lower --size or --batch-size") from None
