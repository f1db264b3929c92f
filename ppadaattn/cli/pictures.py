"""Pictures painted, each content with each look."""

import errno
import functools
import itertools
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple, Optional

from ppadaattn.cli.styles import sources, style_size
from ppadaattn.errors import InputError
from ppadaattn.files import check_writable
from ppadaattn.infer.stylizer import is_style_file
from ppadaattn.media.images import (
    check_suffix,
    contact_sheet,
    find_images,
    flatten,
    image_size,
    read_image,
    sheet,
    thumbnail,
    write_image,
)
from ppadaattn.media.masks import mask_for
from ppadaattn.model.style import Style

import numpy as np
from tqdm import tqdm

SHEET_CELL = 256


class Plan(NamedTuple):
    """What is to be painted where."""

    contents: list
    outputs: dict  # (row, column) -> path of the picture, or None for the sheet only
    sheet: Optional[Path]


def plan(args):
    """The Plan of a command line; nothing is written. Raises InputError where it cannot be carried out."""
    contents = find_images(args.content)
    looks, grids = args.looks, args.interpolation_grid is not None
    if grids:
        if len(looks) != 4:
            raise InputError(
                f"--interpolation-grid is between four styles, without other mixtures or style masks; got {len(looks)}"
            )
        if args.interpolation_grid < 2:
            raise InputError(f"--interpolation-grid has at least 2 pictures a side; got {args.interpolation_grid}")
        if args.grid or args.resume:
            raise InputError("--interpolation-grid is one picture a content: it goes without --grid and --resume")
    if not args.output:
        raise InputError("--output is empty; give a picture or a folder")
    path = Path(args.output)
    names = ["interpolations"] if grids else [look.name for look in looks]
    pairs = [(row, column) for row in range(len(contents)) for column in range(len(names))]
    folder = os.path.isdir(path) or not path.suffix or args.output.endswith(("/", "\\"))
    if folder:
        files = [f"{contents[row].stem}_{names[column]}" for row, column in pairs]
        if args.resume and len(set(files)) < len(files):
            raise InputError("--resume needs contents and styles with different names, to tell their pictures apart")
        outputs = {pair: path / f"{name}.png" for pair, name in zip(pairs, _unique(files))}
        sheet_path = path / "grid.png" if args.grid else None
    else:
        check_suffix(path)
        if args.resume:
            raise InputError(f"--resume needs a folder of pictures to go on with, and --output {path} is one file")
        if len(pairs) > 1 and not args.grid:
            raise InputError(f"{len(pairs)} pictures need a folder, and --output {path} is one file")
        outputs = dict.fromkeys(pairs, None if args.grid else path)
        sheet_path = path if args.grid else None
    check_outputs({*outputs.values(), sheet_path} - {None}, [*contents, *sources(args)])
    check_writable(path, folder)
    return Plan(contents, outputs, sheet_path)


def check_outputs(outputs, sources):
    """InputError where an output is a source or a folder."""
    inputs = {os.path.realpath(source) for source in sources}
    for output in outputs:
        if os.path.realpath(output) in inputs:
            raise InputError(f"{output} is one of the pictures to read; choose another --output")
        if os.path.isdir(output):
            raise InputError(f"{output} is a folder where a picture is to be written; choose another --output")


def paint(stylizer, plan, args):
    """Carry a Plan out. Returns the exit status."""
    rows, columns = _readable_rows(plan.contents, args.size), _readable_columns(args)
    outputs = {place: path for place, path in plan.outputs.items() if place[0] in rows and place[1] in columns}
    start, thumbnails, problems = time.perf_counter(), {}, []
    for place, picture in _paint_all(stylizer, plan.contents, outputs, args, problems):
        thumbnails[place] = thumbnail(picture, SHEET_CELL) if plan.sheet else None
    if not thumbnails:
        raise InputError("; ".join(problems))
    sheet_path = plan.sheet
    if sheet_path is not None:
        try:
            write_image(sheet_path, _sheet(plan.contents, args.looks, rows, columns, thumbnails))
        except InputError as error:
            if None in outputs.values():  # the sheet was all there was to write
                raise
            problems.append(str(error))
            sheet_path = None
    for problem in problems:
        print(f"not painted: {problem}", file=sys.stderr)

    done, alone = len(thumbnails), len(outputs) == 1
    output = next(iter(outputs.values()))
    height, width = picture.shape[:2]
    what = f"{width} x {height} pixels" if output and alone else f"{done} picture{'s' * (done > 1)}"
    where = sheet_path or (output if alone else output.parent)
    print(f"{where}: {what} in {time.perf_counter() - start:.1f} s")
    if alone and args.size and args.size < max(read_image(plan.contents[rows[0]]).shape):
        print(f"(reduced to a long side of {args.size} pixels; --size 0 paints a picture at its own size)")
    return 0 if len(outputs) == len(plan.outputs) and not problems else 1


def _sheet(contents, looks, rows, columns, thumbnails):
    cells = {(rows.index(row), columns.index(column)): picture for (row, column), picture in thumbnails.items()}
    asides = [thumbnail(read_image(contents[row]), SHEET_CELL) for row in rows]
    return contact_sheet(asides, [looks[column].thumbnail(SHEET_CELL) for column in columns], cells, SHEET_CELL)


def _paint_all(stylizer, contents, outputs, args, problems):
    """Paint what has an output and write it, unless --resume finds it; yields ((row, column), picture).

    What goes wrong with one picture is added to `problems`, and the next ones are painted, unless the disk is full.
    """

    @functools.lru_cache(1 if args.interpolation_grid is None else 4)
    def prepared(look, size):
        return look.prepare(stylizer, **dict(size))

    with tqdm(total=len(outputs), unit="picture", disable=len(outputs) == 1) as progress:
        for (row, column), output in sorted(outputs.items(), key=lambda item: item[0][::-1]):  # style by style
            try:
                picture = _found(output) if args.resume and output is not None else None
                if picture is None:
                    content = read_image(contents[row], args.size)
                    size = tuple(style_size(args, max(content.shape)).items())
                    paint_one = _paint_grid if args.interpolation_grid is not None else _paint_one
                    styles = [prepared(look, size) for look in _looks_of(args, column)]
                    mask = args.content_mask
                    mask = mask and mask_for(mask, content.shape[:2], image_size(contents[row]))
                    picture = _within_memory(paint_one, stylizer, contents[row], content, styles, args, mask)
                    if output is not None:
                        write_image(output, picture)
                yield (row, column), picture
            except InputError as error:
                problems.append(str(error))
                if getattr(error.__cause__, "errno", None) == errno.ENOSPC:
                    return
            progress.update()


def _looks_of(args, column):
    return args.looks if args.interpolation_grid is not None else [args.looks[column]]


def _paint_one(stylizer, content, styles, args, mask):
    """RGB, or RGBA with the content's own alpha."""
    picture = stylizer(
        flatten(content),
        *styles,
        strength=args.strength,
        preserve_color=args.preserve_color,
        mask=mask,
    )
    return np.dstack([picture, content[:, :, 3]]) if content.shape[2] == 4 else picture


def _paint_grid(stylizer, content, styles, args, mask):
    """Mixtures of four styles, whose pictures are at the corners (figure 8): the nearer a corner, the more of it."""
    last = args.interpolation_grid - 1
    corners = [(0, 0), (0, last + 2), (last + 2, 0), (last + 2, last + 2)]
    cells = {place: look.thumbnail(SHEET_CELL) for place, look in zip(corners, args.looks)}
    places = [(row, column) for row in range(last + 1) for column in range(last + 1)]
    for row, column in tqdm(places, unit="picture", leave=False):
        down, right = row / last, column / last
        weights = [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right]
        cells[row + 1, column + 1] = _paint_one(stylizer, content, [Style.mix(styles, weights)], args, mask)
    return sheet(cells, SHEET_CELL)


def _within_memory(work, stylizer, path, content, *arguments):
    try:
        return work(stylizer, content, *arguments)
    except MemoryError:
        height, width = content.shape[:2]
        raise InputError(f"{path} at {width} x {height} pixels needs more memory than there is; lower --size") from None


def _found(path):
    """The picture that an earlier run wrote, or None where there is none that can be read."""
    try:
        return read_image(path)
    except InputError:
        return None


def _unique(names):
    """The names, with _2, _3 ... after those that came before, so that no picture is written over another."""
    seen = set()
    for name in names:
        unique, count = name, 1
        while unique.lower() in seen:  # some file systems ignore case
            count += 1
            unique = f"{name}_{count}"
        seen.add(unique.lower())
        yield unique


def _readable_rows(contents, long_side):
    """Which contents can be read; each other one is reported."""
    return _which([(functools.partial(read_image, path, long_side),) for path in contents])


def _readable_columns(args):
    """Which looks have styles that can be read; each other one is reported. Mixtures need all of theirs."""
    reads = [[functools.partial(read_image, p) for p in look.paths if not is_style_file(p)] for look in args.looks]
    together = args.interpolation_grid is not None
    if together or len(args.looks) == 1:
        for read in itertools.chain(*reads):
            read()
        return [0] if together else list(range(len(args.looks)))
    return _which(reads)


def _which(reads):
    """The numbers of those whose functions all work. Raises InputError if there are none."""
    good, problems = [], []
    for number, functions in enumerate(tqdm(reads, desc="reading", unit="picture", delay=2, leave=False)):
        try:
            for read in functions:
                read()
            good.append(number)
        except InputError as error:
            problems.append(str(error))
    if not good:
        raise InputError("; ".join(problems))
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    return good
