"""Jobs in the worker: pictures, clips and style files from files into files, with the Stylizer's and the clips' code.

The service (`ppadaattn.serve.jobs`) has checked a job's options and chosen all paths; what is in the files is from
strangers.
"""

import contextlib
import functools
import io
import itertools
import operator
import os
from dataclasses import fields, replace
from pathlib import Path

from ppadaattn.errors import InputError
from ppadaattn.infer.clips import paint_clip
from ppadaattn.infer.options import ClipOptions, PaintOptions
from ppadaattn.media.images import flatten, read_picture, reduce_to, save_image, write_image
from ppadaattn.media.masks import read_mask
from ppadaattn.media.video_read import open_clip
from ppadaattn.model.regions import resize_nearest
from ppadaattn.model.style import Style
from ppadaattn.serve.protocol import check_pixels
from ppadaattn.serve.sources import BytesSource

import numpy as np

# Long side of the small picture that is shown before the whole one: some tenths of a second on two cores.
PREVIEW = 256
# Prepared styles that are kept for the next job: at 512 pixels one has some 10 MB.
KEPT_STYLES = 12
# Frames between two looks at the disk space that a clip takes.
LOOK_AT_DISK = 25


class StoppedError(Exception):
    """The service does not want the rest of a request or job."""


def style_cache(stylizers):
    """A function (name of a model, path, name for messages, whether style files are taken, side, enlarge) -> Style."""

    @functools.lru_cache(KEPT_STYLES)
    def prepare(model, path, name, style_files, style_size, enlarge=False):
        source = BytesSource(Path(path).read_bytes(), name, style_files)
        return source.style(stylizers[model], style_size, enlarge)

    return prepare


def paint_job(stylizers, prepare, job, limits, report):
    """Paint a job into its output file.

    Args:
        stylizers: {name of a model: Stylizer}.
        prepare: as `style_cache` makes it.
        job: dict with 'model'; 'content', a path or None for a style file; 'clip', whether it is one; 'styles', list of
            {'path', 'colour': (red, green, blue) of its region or None}; 'weights', one a style, or None for styles
            side by side; 'mask', a path or None; 'options', fields of PaintOptions or ClipOptions; 'output', a path.
        limits: Limits.
        report: a function of a dict of progress and of the bytes of a small picture, b"" for none, which returns
            whether the job goes on.

    Returns:
        dict: 'width' and 'height' in pixels, 'frames', what a 'note' says of a damaged clip; as far as they apply.

    Raises:
        InputError: what is wrong with which file. StoppedError: `report` said so.
    """
    stylizer, output = stylizers[job["model"]], Path(job["output"])
    _check_sizes(job, limits)

    def style_for(options, content_side):
        sizes = options.style_arguments(content_side)
        styles = []
        for number, one in enumerate(job["styles"]):
            name = f"style {number + 1}" if len(job["styles"]) > 1 else "the style"
            style = prepare(job["model"], one["path"], name, limits.style_files, **sizes)
            styles.append(style if one["colour"] is None else style.as_region(tuple(one["colour"])))
        if len(styles) == 1:
            return styles[0]
        if job["weights"] is not None:
            return Style.mix(styles, job["weights"])
        try:
            return functools.reduce(operator.add, styles)
        except TypeError:
            raise InputError("a style file that holds a mixture cannot be put beside another style") from None

    if job["content"] is None:
        options = _options(PaintOptions, job)
        stylizer.save_style(output, style_for(options, 0))
        return {}
    mask = None if job["mask"] is None else _read(read_mask, job["mask"], "the mask")
    if job["clip"]:
        return _paint_clip(stylizer, job, style_for, mask, output, limits, report)
    return _paint_picture(stylizer, job, style_for, mask, output, report)


def _options(kind, job):
    names = {item.name for item in fields(kind)}
    return kind(**{name: value for name, value in job["options"].items() if name in names})


def _check_sizes(job, limits):
    """Pixels of all pictures, from their headers, as in a request of `hub serving`."""
    paths = {*(one["path"] for one in job["styles"]), job["mask"], None if job["clip"] else job["content"]} - {None}
    sources = [BytesSource(Path(path).read_bytes(), "") for path in paths]
    check_pixels([{"content": source, "styles": []} for source in sources], limits.request_pixels)


def _read(reader, path, name):
    """What `reader` reads of a file; its messages call the file by name, not by the service's own path."""
    try:
        return reader(path)
    except InputError as error:
        raise InputError(str(error).replace(str(path), name)) from None


def _paint_picture(stylizer, job, style_for, mask, output, report):
    options = _options(PaintOptions, job)
    read = read_picture(Path(job["content"]).read_bytes(), options.size, "the content")
    content = flatten(read.pixels)
    if max(content.shape[:2]) > PREVIEW:
        _report_preview(stylizer, content, style_for, mask, options, report)
    height, width = content.shape[:2]
    more = {} if mask is None else {"mask": resize_nearest(mask, (height, width))}
    painted = stylizer(content, style_for(options, max(height, width)), options, **more)
    if read.pixels.shape[2] == 4 and output.suffix == ".png":
        painted = np.dstack([painted, read.pixels[:, :, 3]])
    write_image(output, painted, read.tags.without_location())
    return {"width": width, "height": height}


def _report_preview(stylizer, content, style_for, mask, options, report):
    """Paint a content small, and report that picture."""
    small = reduce_to(content, PREVIEW)
    size = options.style_size * PREVIEW // max(content.shape[:2])  # strokes as broad as they will be
    if options.style_scale is None:
        options = replace(options, style_size=min(options.style_size, max(size, PREVIEW // 2)))
    more = {} if mask is None else {"mask": resize_nearest(mask, small.shape[:2])}
    painted, file = stylizer(small, style_for(options, max(small.shape[:2])), options, **more), io.BytesIO()
    save_image(file, painted, ".jpg")
    share = small.shape[0] * small.shape[1] / (content.shape[0] * content.shape[1])
    _tell(report, {"share": share}, file.getvalue())


def _tell(report, progress, data=b""):
    if not report(progress, data):
        raise StoppedError


def _paint_clip(stylizer, job, style_for, mask, output, limits, report):
    options, path = _options(ClipOptions, job), job["content"]

    def open_checked(path):
        clip = open_clip(path, size=options.size, start=options.start, end=options.end, fps=options.fps)
        if clip.own_size[0] * clip.own_size[1] > limits.max_pixels:
            raise InputError(f"the frames of the clip have more pixels than the {limits.max_pixels} that are read")
        if clip.frame_count > limits.max_frames:
            raise _too_long(clip.frame_count, limits)
        return clip

    clip = _read(open_checked, path, "the clip")
    with contextlib.closing(clip.frames()) as frames:
        for frame in itertools.islice(frames, 1):
            _report_preview(stylizer, frame.image, style_for, mask, options, report)

    def progress(done, total):
        if done > limits.max_frames:
            raise _too_long(done, limits)
        if done % LOOK_AT_DISK == 0:
            used = sum(os.path.getsize(file) for file in output.parent.rglob("*") if file.is_file())
            if used > limits.max_disk * 2**20:
                raise InputError(f"the painted clip takes more than {limits.max_disk} MiB; paint a shorter one")
        _tell(report, {"done": done, "total": min(max(done, total), limits.max_frames)})

    def paint(path):
        return paint_clip(
            stylizer,
            path,
            lambda side: style_for(options, side),
            output,
            options,
            mask=None if mask is None else resize_nearest(mask, (clip.height, clip.width)),
            progress=progress,
        )

    result = _read(paint, path, "the clip")
    if result.stopped_by:
        raise StoppedError
    about = {"width": result.size[0], "height": result.size[1], "frames": result.frames}
    return {**about, "note": str(result.problem).replace(str(path), "the clip")} if result.problem else about


def _too_long(frames, limits):
    return InputError(f"the clip has {frames} frames, and {limits.max_frames} are painted at most; give start and end")
