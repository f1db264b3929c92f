"""Regions: which part of a content takes which part of a style (appendix B.1 and figure 10).

A mask is an array, uint8 H x W x 3: one colour for each region, black where there is none. A region of the content
takes the style of the region that has the same colour in the style's mask.
"""

from typing import Iterable, List, Optional, Sequence, Tuple

from ppadaattn.errors import InputError, note

import numpy as np

Colour = Tuple[int, int, int]  # (red, green, blue), 0 to 255

FREE = (0, 0, 0)
# Colours nearer than this in every channel are one colour. JPEG moves the colour inside a flat region by up to 35 at
# quality 80 and by up to 56 at quality 60 (drawn masks of six colours). Four levels a channel can still be told apart.
TOLERANCE = 64
# A colour between two others that covers less than this share of the picture, or less than this many rows of it, is the
# soft edge between their regions. Smoothed edges are one or two pixels wide; small pictures have outlines about as long
# as a side (the rows decide), large ones have longer outlines (the share decides).
RARE, RARE_ROWS = 0.005, 2
# Nobody draws so many colours by hand, and each region costs an attention of its own.
MOST_REGIONS = 32
# The share of pixels that may be far from every colour of the mask. In masks with soft edges, in JPEG, it is up to
# 0.03; in about half of all photographs it is above 0.25 (15 of 30 tried). The limit is nearer to these, because a mask
# that was painted with a wide soft brush must pass; it catches many photographs given by mistake, not all.
MOST_SOFT = 0.25


def resize_nearest(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize an array H x W (x C) to `size` (height, width): each cell takes the value at its centre."""
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for old, new in zip(array.shape, size))
    return array[rows[:, None], columns]


def split_mask(mask: np.ndarray) -> Tuple[np.ndarray, List[Colour]]:
    """Split a mask into its regions.

    Colours that differ by less than TOLERANCE are one region. Pixels of soft edges go to the region of nearest colour.

    Args:
        mask: uint8 H x W x 3.

    Returns:
        labels: int64 H x W, 0 where there is no region, k in the k-th region;
        colours: list of (red, green, blue), the most frequent first.

    Raises:
        InputError: more than MOST_REGIONS colours, or colours that run into each other, as in a photograph.
    """
    packed = mask.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    values, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    found = np.stack([values >> 16, values >> 8 & 255, values & 255], 1)  # the different colours, [colours, 3]
    few = max(RARE * packed.size, RARE_ROWS * max(packed.shape))
    # Take the most frequent colour that is left as a region; drop the colours near it, and those of soft edges between
    # it and the regions found before.
    left = np.argsort(-counts, kind="stable")
    palette = [np.array(FREE)]
    left = left[~_is_near(found[left], palette[0])]
    while len(left):
        colour = found[left[0]]
        left = left[~_is_near(found[left], colour)]
        rare = counts[left] < few
        for other in palette:
            edge = rare & _is_between(found[left], colour, other)
            left, rare = left[~edge], rare[~edge]
        palette.append(colour)
        if len(palette) > MOST_REGIONS + 1:
            raise InputError(f"a mask of more than {MOST_REGIONS} colours; expected one flat colour for each region")
    nearest = np.stack([((found - colour) ** 2).sum(1) for colour in palette]).argmin(0)
    soft = ~_is_near(found, np.stack(palette)[nearest])
    if counts[soft].sum() > MOST_SOFT * packed.size:
        raise InputError("a mask in which colours run into each other; expected one flat colour for each region")
    labels = nearest[inverse.reshape(-1)].reshape(mask.shape[:2])
    return labels, [tuple(map(int, colour)) for colour in palette[1:]]


def _is_near(colours, colour):
    return (np.abs(colours - colour) < TOLERANCE).all(-1)


def _is_between(colours, first, second):
    """Which colours are near the straight line from `first` to `second`."""
    line = second - first
    share = ((colours - first) @ line / max(1, line @ line)).clip(0, 1)
    return _is_near(colours, first + share[:, None] * line)


def partner(colour: Colour, colours: Iterable[Colour]) -> Optional[Colour]:
    """The colour of the list `colours` that means the same region as `colour`, or None."""
    near = [other for other in colours if _is_near(np.array(other), np.array(colour))]
    return min(near, key=lambda other: sum((a - b) ** 2 for a, b in zip(other, colour)), default=None)


def colour_name(colour: Colour) -> str:
    """'#ff0000' of (255, 0, 0)."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def level_labels(labels: np.ndarray, size: Sequence[int], level: int) -> np.ndarray:
    """Reduce the regions to the size of a feature map, by nearest neighbour; a region too small for it gets one cell.

    Args:
        labels: int H x W of `split_mask`.
        size: (height, width) of the feature map.
        level: level of the feature map, for notes about regions that are too small.

    Returns:
        int64 [height * width]; each region has at least one cell, unless there are more regions than cells.
    """
    cells = resize_nearest(labels, size).reshape(-1)
    for label in np.setdiff1d(np.unique(labels), [0, *np.unique(cells)]):
        # A cell may be taken from no region, or from a region that keeps another cell.
        free = [
            cell for cell in _cells_under(labels, label, size) if (cells == cells[cell]).sum() > 1 or not cells[cell]
        ]
        if free:
            cells[free[0]] = label
            _note_widened(labels, label, level)
        else:
            note(f"a region of {(labels == label).sum()} pixels has no cell of level {level}: it is left out there")
    return cells


def region_points(labels: np.ndarray, label: int, size: Sequence[int], level: int) -> np.ndarray:
    """Flat positions [N] of a region in a feature map; a region too small for it gets one cell."""
    points = np.flatnonzero(resize_nearest(labels, size) == label)
    if not len(points):
        points = np.array(_cells_under(labels, label, size)[:1])
        _note_widened(labels, label, level)
    return points


def _cells_under(labels, label, size):
    """The cells of a feature map in which a region has pixels; those with most of its pixels first."""
    rows, columns = np.nonzero(labels == label)
    inside = rows * size[0] // labels.shape[0] * size[1] + columns * size[1] // labels.shape[1]
    cells, counts = np.unique(inside, return_counts=True)
    return cells[np.argsort(-counts, kind="stable")].tolist()


def _note_widened(labels, label, level):
    pixels = (labels == label).sum()
    note(f"a region of {pixels} pixels is smaller than a cell of level {level}: it is widened to one cell")
