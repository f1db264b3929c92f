"""Paint pictures, each content in each style."""

import contextlib
import errno
import functools
import io
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional

from ppadaattn.cli.styles import sources, style_preparer
from ppadaattn.errors import InputError, note
from ppadaattn.files import check_writable, short_name
from ppadaattn.infer.options import FileOptions, Limits, option
from ppadaattn.media.images import (
    check_suffix,
    contact_sheet,
    find_images,
    flatten,
    read_image,
    read_picture,
    save_image,
    sheet,
    thumbnail,
    write_image,
)
from ppadaattn.media.masks import mask_for
from ppadaattn.media.tags import Tags
from ppadaattn.media.video_formats import is_video
from ppadaattn.progress import progress_bar
from ppadaattn.side_by_side import in_order

import numpy as np

SHEET_CELL = 256
GRID_SIDE = 5
# Side of a square with as many pixels as the largest pictures of common cameras, for contents that are not reduced.
LARGE_SIDE = 5000

# `-` as content and as output. They are told apart from files of that name, `./-`, by identity.
STANDARD_INPUT, STANDARD_OUTPUT = Path("-"), Path("-")


@dataclass(frozen=True)
class PictureOptions(FileOptions):
    """The options of pictures, of which the command line has two more than `Stylizer`."""

    grid: bool = option(
        False,
        "write a contact sheet of all pairs, contents down and styles across: PATH/grid.png beside the pictures, or "
        "the file PATH alone",
    )
    interpolation_grid: Optional[int] = option(
        None,
        f"N x N mixtures of four styles, which are at the corners, on one picture (N: {GRID_SIDE} unless given)",
        limits=Limits("a number of pictures a side, 2 or more", lambda side: side >= 2),
        metavar="N",
        const=GRID_SIDE,
    )


class Plan(NamedTuple):
    """What is to be painted where.

    Attributes:
        contents: paths, one a row.
        specs: StyleSpecs, one a column, or the four of an interpolation grid.
        outputs: {(row, column): path of the picture, or None for the sheet only}.
        sheet: path of the contact sheet, or None.
        mask: path of the mask of all contents, or None.
        resume: whether to keep the pictures that are there.
        left_out: sentences, one for each folder with files that are not painted.
    """

    contents: list
    specs: list
    outputs: dict
    sheet: Optional[Path]
    mask: Optional[Path]
    resume: bool
    left_out: list


class Content(NamedTuple):
    """A content as it is painted: uint8 H x W x 3 or x 4, its (height, width) before, the Tags of its file, its mask
    H x W x 3 or None.
    """

    picture: np.ndarray
    own_size: tuple
    tags: Tags
    mask: Optional[np.ndarray]


class Outcome(NamedTuple):
    """What became of one picture.

    Attributes:
        place: (row, column).
        size: (height, width) of the picture; None where there is a problem.
        own_size: that of the content before it was reduced; None where the picture was there already.
        cell, aside: thumbnails of the picture and of its content, for a sheet.
        problem: a sentence, or None.
        trouble: the words before it.
        code: errno of the system's error that caused it, or None.
    """

    place: tuple
    size: Optional[tuple] = None
    own_size: Optional[tuple] = None
    cell: Optional[np.ndarray] = None
    aside: Optional[np.ndarray] = None
    problem: Optional[str] = None
    trouble: str = "not painted"
    code: Optional[int] = None


def plan(contents, specs, output, options, *, mask=None, resume=False):
    """The Plan of files, folders and globs; nothing is written. Raises InputError where it cannot be carried out."""
    if options.interpolation_grid is None:
        specs = list(dict.fromkeys(specs))  # a style that is named twice is painted once
    left_out = [sentence for content in contents for sentence in _videos_in(content)]
    contents, names = _contents(contents), [spec.name for spec in specs]
    if options.interpolation_grid is not None:
        if len(specs) != 4:
            raise InputError(
                f"--interpolation-grid is between four styles, without other mixtures or style masks; got {len(specs)}"
            )
        if options.grid or resume:
            raise InputError("--interpolation-grid is one picture a content: it goes without --grid and --resume")
        names = ["interpolations"]
    if not output:
        raise InputError("--output is empty; give a picture or a folder")
    path = STANDARD_OUTPUT if output == "-" else Path(output)
    pairs = [(row, column) for row in range(len(contents)) for column in range(len(names))]
    folder = output != "-" and (os.path.isdir(path) or not path.suffix or output.endswith(("/", "\\")))
    if folder:
        files = [short_name(f"{_stem(contents[row])}_{names[column]}") for row, column in pairs]
        if resume and len(set(files)) < len(files):
            raise InputError("--resume needs contents and styles with different names, to tell their pictures apart")
        outputs = {pair: path / f"{name}.png" for pair, name in zip(pairs, _unique(files))}
        sheet_path = path / "grid.png" if options.grid else None
    else:
        if output != "-":
            check_suffix(path)
        if resume:
            raise InputError(f"--resume needs a folder of pictures to continue, and --output {path} is one file")
        if len(pairs) > 1 and not options.grid:
            raise InputError(f"{len(pairs)} pictures need a folder, and --output {path} is one file")
        outputs = dict.fromkeys(pairs, None if options.grid else path)
        sheet_path = path if options.grid else None
    if options.keep_location and not folder and path.suffix.lower() in (".tif", ".tiff", ".bmp"):
        note(f"{path} cannot hold the position: --keep-location is for .jpg, .png and .webp")
    if output != "-":
        check_outputs({*outputs.values(), sheet_path} - {None}, [*contents, *sources(specs, mask)])
        check_writable(path, folder)
    return Plan(contents, specs, outputs, sheet_path, mask, resume, left_out)


def _contents(words):
    """Paths of the contents, or STANDARD_INPUT alone."""
    if "-" not in map(str, words):
        return find_images(words)
    if len(words) > 1:
        raise InputError("--content - reads one picture from standard input: give it alone")
    return [STANDARD_INPUT]


def _stem(path):
    return "stdin" if path is STANDARD_INPUT else path.stem


def _videos_in(folder):
    """A sentence on the videos beside the pictures of a folder, which are painted apart; none where there are none."""
    videos = []
    if os.path.isdir(folder):
        found = sorted(path for path in Path(folder).iterdir() if is_video(path) and not path.name.startswith("."))
        videos = [path.name for path in found if path.suffix.lower() != ".gif"]
    if videos:
        yield f"{len(videos)} videos among the pictures of {folder}: {', '.join(videos)}; give them to --content alone"


def check_outputs(outputs, sources):
    """InputError where an output is a source or a folder."""
    inputs = {os.path.realpath(source) for source in sources}
    for output in outputs:
        if os.path.realpath(output) in inputs:
            raise InputError(f"{output} is one of the pictures to read; choose another --output")
        if os.path.isdir(output):
            raise InputError(f"{output} is a folder where a picture is to be written; choose another --output")


def paint(stylizer, plan, options):
    """Carry a Plan out. Returns the exit status.

    A content or style that cannot be read is skipped, and what goes wrong with one picture does not stop the others,
    unless the disk is full.
    """
    start, prepare = time.perf_counter(), style_preparer(stylizer, options)
    painted, asides = {}, {}  # {(row, column): thumbnail, or None without a sheet}; {row: thumbnail of the content}
    problems = {}  # {sentence: the words before it}, each said once

    @functools.lru_cache(1)
    def read(path):
        return read_content(path, options, plan.mask)

    def paint_one(job):
        place, output = job
        with Attempt(plan.contents[place[0]], place) as attempt:
            picture = _found(output) if plan.resume and output is not None else None
            if picture is None or plan.sheet:
                attempt.content = read(attempt.path)
            content = attempt.content
            if picture is None:
                specs = plan.specs if options.interpolation_grid else [plan.specs[place[1]]]
                styles = [prepare(spec, max(content.picture.shape[:2])) for spec in specs]
                attempt.trouble = "not painted"
                if options.interpolation_grid:
                    picture = _interpolations(painter, content, specs, styles, options)
                else:
                    picture = painter(flatten(content.picture), styles[0], options, mask=content.mask)
                    picture = _with_alpha(picture, content)
                if output is STANDARD_OUTPUT:
                    _print_picture(picture, content.tags)
                elif output is not None:
                    write_image(output, picture, content.tags)
            cells = [thumbnail(x, SHEET_CELL) for x in (picture, content.picture)] if plan.sheet else [None, None]
            attempt.outcome = Outcome(place, picture.shape[:2], content and content.own_size, *cells)
        return attempt.outcome

    alone = len(plan.outputs) == 1
    painter, workers = _side_by_side(stylizer, plan, options)
    jobs = sorted(plan.outputs.items(), key=lambda item: item[0][::-1])  # style by style
    with progress_bar(total=len(jobs), unit="picture", disable=alone) as progress, contextlib.closing(
        in_order(paint_one, jobs, workers)
    ) as outcomes:
        for outcome in outcomes:
            if outcome.problem:
                problems[outcome.problem] = outcome.trouble
                if outcome.code == errno.ENOSPC:
                    break
            else:
                size, own_size = outcome.size, outcome.own_size
                painted[outcome.place] = outcome.cell
                if plan.sheet:
                    asides[outcome.place[0]] = outcome.aside
            progress.update()
    if not painted:
        raise InputError("; ".join(problems))
    sheet_path = plan.sheet
    if sheet_path is not None:
        try:
            sheet_picture = _sheet(plan.specs, asides, painted)
            if sheet_path is STANDARD_OUTPUT:
                _print_picture(sheet_picture)
            else:
                write_image(sheet_path, sheet_picture)
        except InputError as error:
            if None in plan.outputs.values():  # the sheet was all there was to write
                raise
            problems[str(error)], sheet_path = "not painted", None
    problems.update(dict.fromkeys(plan.left_out, "skipped"))
    for sentence, trouble in problems.items():
        print(f"{trouble}: {sentence}", file=sys.stderr)

    output = next(iter(plan.outputs.values()))
    what = "{1} x {0} pixels".format(*size) if output and alone else f"{len(painted)} picture{'s' * (len(painted) > 1)}"
    where = sheet_path or (output if alone else output.parent)
    stream = sys.stderr if where is STANDARD_OUTPUT else sys.stdout
    print(f"{where}: {what} in {time.perf_counter() - start:.1f} s", file=stream)
    if alone and own_size and 0 < options.size < max(own_size):
        print(
            f"(reduced to a long side of {options.size} pixels; --size 0 paints a picture at its own size)", file=stream
        )
    return 1 if problems else 0


def read_content(path, options, mask=None):
    """The Content of a path, or of STANDARD_INPUT; `mask` is the path of its mask."""
    source, name = (sys.stdin.buffer.read(), "standard input") if path is STANDARD_INPUT else (path, None)
    picture, own_size, tags = read_picture(source, options.size, name)
    tags = tags if options.keep_location else tags.without_location()
    return Content(picture, own_size, tags, mask and mask_for(mask, picture.shape[:2], own_size))


class Attempt:
    """A `with` block that paints one picture and keeps the problem that it meets.

    Args:
        path: of the content, for messages.
        place: of the Outcome.

    Attributes:
        content: a Content, to be set as soon as it is read.
        trouble: of the Outcome of a problem.
        outcome: an Outcome, to be set at the end of the block; where there was a problem, it is that of the problem.
    """

    def __init__(self, path, place=None):
        self.path, self.place = path, place
        self.content, self.trouble, self.outcome = None, "skipped", None

    def __enter__(self):
        return self

    def __exit__(self, _, error, __):
        if isinstance(error, InputError):
            code = getattr(error.__cause__, "errno", None)
            self.outcome = Outcome(self.place, problem=str(error), trouble=self.trouble, code=code)
        elif isinstance(error, MemoryError):
            at = " at {1} x {0} pixels".format(*self.content.picture.shape) if self.content else ""
            self.outcome = Outcome(self.place, problem=f"{self.path}{at} needs more memory than there is; lower --size")
        else:
            return False
        return True


def paint_file(painter, content, output, style, options):
    """Paint a file into a file; its Outcome.

    Args:
        painter: a Stylizer.
        content, output: paths.
        style: a function: the long side of the content, in pixels -> prepared Style.
        options: a FileOptions.
    """
    with Attempt(content) as attempt:
        read = attempt.content = read_content(content, options)
        prepared = style(max(read.picture.shape[:2]))
        attempt.trouble = "not painted"
        picture = _with_alpha(painter(flatten(read.picture), prepared, options), read)
        write_image(output, picture, read.tags)
        attempt.outcome = Outcome(None, picture.shape[:2], read.own_size)
    return attempt.outcome


def _side_by_side(stylizer, plan, options):
    """(the Stylizer that paints, how many pictures at once): several where ONNX Runtime does the whole work.

    Paddle, which paints mixtures and regions, uses all cores for each picture, and memory for each picture at once.
    """
    plain = all(len(spec.paths) == 1 and spec.masks == (None,) for spec in plan.specs) and not plan.mask
    if not plain or options.interpolation_grid or len(plan.outputs) == 1 or STANDARD_INPUT in plan.contents:
        return stylizer, 1
    return stylizer.side_by_side(options.strength, (options.size or LARGE_SIDE) ** 2)


def _print_picture(picture, tags=None):
    """Write a picture to standard output, as PNG."""
    file = io.BytesIO()  # a pipe cannot be written back and forth
    save_image(file, picture, ".png", tags)
    try:
        sys.stdout.buffer.write(file.getvalue())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"standard output cannot be written: {error.strerror}") from error


def _with_alpha(picture, content):
    """A painted picture, RGB, with the content's own alpha where it has one."""
    return np.dstack([picture, content.picture[:, :, 3]]) if content.picture.shape[2] == 4 else picture


def _interpolations(stylizer, content, specs, styles, options):
    """Mixtures of four styles, whose pictures are at the corners (figure 8): the nearer a corner, the more of it."""
    last = options.interpolation_grid - 1
    corners = [(0, 0), (0, last + 2), (last + 2, 0), (last + 2, last + 2)]
    cells = {place: spec.thumbnail(SHEET_CELL) for place, spec in zip(corners, specs)}
    places = [(row, column) for row in range(last + 1) for column in range(last + 1)]
    progress = progress_bar(total=len(places), unit="picture", leave=False)
    for row, column in places:
        down, right = row / last, column / last
        weights = [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right]
        picture = stylizer(flatten(content.picture), styles, options, style_weights=weights, mask=content.mask)
        cells[row + 1, column + 1] = _with_alpha(picture, content)
        progress.update()
    progress.close()
    return sheet(cells, SHEET_CELL)


def _sheet(specs, asides, painted):
    """The contact sheet of what was painted; a row or column without any picture is left out."""
    rows, columns = (sorted(set(numbers)) for numbers in zip(*painted))
    cells = {(rows.index(row), columns.index(column)): picture for (row, column), picture in painted.items()}
    styles = [specs[column].thumbnail(SHEET_CELL) for column in columns]
    return contact_sheet([asides[row] for row in rows], styles, cells, SHEET_CELL)


def _found(path):
    """The picture that an earlier run wrote, or None where there is none that can be read."""
    try:
        return read_image(path)
    except InputError:
        return None


def _unique(names):
    """The names, those that came before with a number, so that no picture is written over another one."""
    seen = set()
    for name in names:
        unique, count = name, 1
        while unique.lower() in seen:  # some file systems ignore case
            count += 1
            unique = f"{name}_{count}"
        seen.add(unique.lower())
        yield unique
