"""Contact sheets: methods side by side on pictures (figure 4) and on clips with error maps (figure 7), and all pairs of
contents and styles by one method (figure 12)."""

import functools
import itertools
from urllib.parse import quote

from ppadaattn.evaluation.measuring import Painter
from ppadaattn.evaluation.methods import file_stamp, method_stamp
from ppadaattn.evaluation.temporal import difference, read_clip, stylize_frames
from ppadaattn.infer.stylizer import is_style_file
from ppadaattn.media.images import read_image, sheet, thumbnail, to_byte_range, write_image
from ppadaattn.progress import progress_bar

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Errors are small: in an error map a mean difference of a quarter of the range is already white.
ERROR_GAIN = 4
NOT_COUNTED = (0, 0, 96)


def picture_sheet(path, methods, contents, styles, options, *, style_size, store, device=None, failed=None):
    """Write a sheet with a row for each pair: content, style, each method.

    Args:
        path: of the sheet. The single pictures are kept in the store's folder.
        methods: list of Method, with weights.
        contents, styles: {name: path}.
        options: a Sheets of the configuration.
        store, device, failed: as in `measuring`.
    """

    settings, paint = _picture_painter(contents, styles, options, style_size)
    rows = _pairs(contents, styles, options.rows)
    files = _paint("pictures", methods, contents, styles, rows, paint, settings, store, device, failed)
    show = functools.partial(_show, options.cell)
    _write(path, "content", methods, [(show(contents[c]), show(styles[s])) for c, s in rows], files, rows, options.cell)


def combination_sheet(path, method, contents, styles, options, *, style_size, store, device=None, failed=None):
    """Write a sheet of all pairs by one method: a row for each content, a column for each style.

    Args:
        options: a Sheets of the configuration; the first `combinations` contents and styles are taken.
        others: as in `picture_sheet`.
    """
    contents, styles = (dict(itertools.islice(given.items(), options.combinations)) for given in (contents, styles))
    settings, paint = _picture_painter(contents, styles, options, style_size)
    pairs = [(content, style) for style in styles for content in contents]  # each style is prepared once
    files = _paint("combinations", [method], contents, styles, pairs, paint, settings, store, device, failed)
    show = functools.partial(_show, options.cell)
    cells = {(0, column): show(styles[style]) for column, style in enumerate(styles, 1)}
    for row, content in enumerate(contents, 1):
        cells[row, 0] = show(contents[content])
        for column, style in enumerate(styles, 1):
            painted = files.get((method.name, content, style))
            if painted:
                cells[row, column] = show(painted[0])
    write_image(path, sheet(cells, options.cell))


def _picture_painter(contents, styles, options, style_size):
    """(settings, paint) for `_paint`, of single pictures."""

    def paint(painter, content, style):
        return [painter.stylizer(str(contents[content]), painter.style(styles[style]), size=options.size)]

    return {"size": options.size, "style_size": style_size}, paint


def clip_sheet(path, methods, clips, styles, options, flow, *, style_size, store, device=None, failed=None):
    """Write a sheet with two rows for each clip: its first frame, the style and each method; below these, error maps.

    Args:
        clips: {name: path}.
        flow: a FlowError of the configuration: how to read clips.
        others: as in `picture_sheet`.
    """

    @functools.lru_cache(None)
    def clip(name):
        return read_clip(clips[name], size=flow.size, count=2, flow=flow.flow)

    def paint(painter, name, style):
        first, second = stylize_frames(painter.stylizer, painter.style(styles[style]), clip(name).frames)
        field, counted = clip(name).flows[0]
        shade = (np.abs(difference(first, second, field)).mean(-1, keepdims=True) * ERROR_GAIN).clip(0, 1) * 255
        error = np.where(counted[..., None], shade, NOT_COUNTED)
        return [to_byte_range(first), error.astype(np.uint8)]

    settings = {"size": flow.size, "flow": flow.flow, "style_size": style_size}
    rows = _pairs(clips, styles, max(1, options.rows // 2))
    files = _paint("clips", methods, clips, styles, rows, paint, settings, store, device, failed)
    frames = [thumbnail(clip(name).frames[0], options.cell) for name, _ in rows]
    given = [(frame, _show(options.cell, styles[style])) for frame, (_, style) in zip(frames, rows)]
    _write(path, "clip", methods, given, files, rows, options.cell)


def _pairs(firsts, styles, most):
    """[(name of a content or clip, name of a style)]: the first with the first and so on; the shorter list repeats."""
    firsts, styles = list(firsts), list(styles)
    count = min(most, max(len(firsts), len(styles)))
    return [(firsts[i % len(firsts)], styles[i % len(styles)]) for i in range(count)]


def _paint(kind, methods, firsts, styles, rows, paint, settings, store, device, failed):
    """{(method, first, style): [paths of pictures]}; `paint` makes those that the store does not keep yet."""
    names = {" in ".join(pair): pair for pair in rows}
    axis = {name: [file_stamp(firsts[first]), file_stamp(styles[style])] for name, (first, style) in names.items()}
    folder, grids = store.folder / kind, []

    def keep(painter, name):
        files = []
        for number, picture in enumerate(paint(painter, *names[name])):
            own = quote(f"{painter.method.name} {name}", safe=" ") + ("" if number == 0 else f" {number}")
            write_image(folder / f"{own}.png", picture)
            files.append(f"{own}.png")
        return files

    for method in methods:
        grid = store.grid(kind, method.name, [axis], {**settings, "method": method_stamp(method)})
        grid.values = {k: files for k, files in grid.values.items() if all((folder / f).is_file() for f in files)}
        grids.append(grid)
    with progress_bar(total=sum(len(grid.missing()) for grid in grids), desc=kind, unit="picture") as progress:
        for method, grid in zip(methods, grids):
            painter = Painter(method, device, settings["style_size"])
            grid.fill(functools.partial(keep, painter), progress, failed and functools.partial(failed, method.name))
    return {
        (method.name, *names[name]): [folder / file for file in files]
        for method, grid in zip(methods, grids)
        for (name,), files in grid.values.items()
    }


def _write(path, first, methods, given, files, rows, cell):
    """Write the sheet: `given` are the first two pictures of each row, `files` those of the methods."""
    names = [first, "style", *(method.name for method in methods)]
    cells = {(0, column): _label(name, cell) for column, name in enumerate(names)}
    row = 1
    for pair, pictures in zip(rows, given):
        cells[row, 0], cells[row, 1] = pictures
        painted_files = [files.get((method.name, *pair), []) for method in methods]
        for column, own in enumerate(painted_files, 2):
            cells.update({(row + below, column): _show(cell, file) for below, file in enumerate(own)})
        row += max(1, *map(len, painted_files))
    write_image(path, sheet(cells, cell))


def _show(cell, path):
    """A picture, reduced to a cell; grey for a style file, which holds no picture."""
    return np.full((cell, cell, 3), 224, np.uint8) if is_style_file(path) else thumbnail(read_image(path), cell)


def _label(text, cell):
    """A picture of black text on white, as wide as a cell."""
    try:
        font = ImageFont.load_default(max(10, cell // 12))
    except TypeError:  # Pillow before 10.1 has one size
        font = ImageFont.load_default()
    paper = Image.new("RGB", (cell, max(14, cell // 8)), "white")
    ImageDraw.Draw(paper).text((2, 1), text, fill="black", font=font)
    return np.asarray(paper)
