"""Regions of pictures: which part of a content takes which part of a style (paper, appendix B.1 and figure 10).

A mask is a picture, uint8 H x W x 3: one colour a region, black where there is none. Masks of content and style belong
together by their colours.
"""

from ppadaattn.errors import InputError, note

import numpy as np

FREE = (0, 0, 0)
# Colours nearer than this in every channel are one colour: JPEG and painting programs do not keep them exact.
TOLERANCE = 64
# A colour of fewer pixels than this share, or than this many rows of the picture, between two others, is the soft edge
# between their regions.
RARE, RARE_ROWS = 0.005, 2
MOST_REGIONS = 32
# In a mask most pixels have the colour of their region; in a photograph they do not.
MOST_SOFT = 0.25


def resize_nearest(array, size):
    """An array H x W (x C) at (height, width): each cell takes the value at its centre."""
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for old, new in zip(array.shape, size))
    return array[rows[:, None], columns]


def split_mask(mask):
    """The regions of a mask.

    Colours that differ by less than TOLERANCE are one region, and soft edges go to the nearer side.

    Args:
        mask: uint8 H x W x 3.

    Returns:
        labels: int64 H x W, 0 where there is no region, k in the k-th region;
        colours: list of (red, green, blue), the most frequent first.

    Raises:
        InputError: more than MOST_REGIONS colours: not a mask but a picture.
    """
    packed = mask.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    values, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    every = np.stack([values >> 16, values >> 8 & 255, values & 255], 1)
    few = max(RARE * packed.size, RARE_ROWS * max(packed.shape))
    left = np.argsort(-counts, kind="stable")
    palette = [np.array(FREE)]
    left = left[~_is_near(every[left], palette[0])]
    while len(left):
        colour = every[left[0]]
        left = left[~_is_near(every[left], colour)]
        rare = counts[left] < few
        for other in palette:
            edge = rare & _is_between(every[left], colour, other)
            left, rare = left[~edge], rare[~edge]
        palette.append(colour)
        if len(palette) > MOST_REGIONS + 1:
            raise InputError(f"a mask of more than {MOST_REGIONS} colours; expected one flat colour for each region")
    nearest = np.stack([((every - colour) ** 2).sum(1) for colour in palette]).argmin(0)
    soft = ~_is_near(every, np.stack(palette)[nearest])
    if counts[soft].sum() > MOST_SOFT * packed.size:
        raise InputError("a mask in which colours run into each other; expected one flat colour for each region")
    labels = nearest[places.reshape(-1)].reshape(mask.shape[:2])
    return labels, [tuple(map(int, colour)) for colour in palette[1:]]


def _is_near(colours, colour):
    return (np.abs(colours - colour) < TOLERANCE).all(-1)


def _is_between(colours, first, second):
    """Which colours are near the straight line from `first` to `second`."""
    line = second - first
    share = ((colours - first) @ line / max(1, line @ line)).clip(0, 1)
    return _is_near(colours, first + share[:, None] * line)


def partner(colour, colours):
    """The colour of a list that means the same region, or None."""
    near = [other for other in colours if _is_near(np.array(other), np.array(colour))]
    return min(near, key=lambda other: sum((a - b) ** 2 for a, b in zip(other, colour)), default=None)


def colour_name(colour):
    """'#ff0000' of (255, 0, 0)."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def level_labels(labels, size, level):
    """The regions at the size of a feature map: nearest neighbour, and a region too small for it is one cell.

    Args:
        labels: int H x W of `split_mask`.
        size: (height, width) of the feature map.
        level: its level, for the note about a region that had to be widened.

    Returns:
        int64 [height * width], each region of `labels` in at least one of them unless there are too few cells.
    """
    cells = resize_nearest(labels, size).reshape(-1)
    for label in np.setdiff1d(np.unique(labels), [0, *np.unique(cells)]):
        free = [
            cell for cell in _cells_under(labels, label, size) if (cells == cells[cell]).sum() > 1 or not cells[cell]
        ]
        if free:
            cells[free[0]] = label
            _say_widened(labels, label, level)
        else:
            note(f"a region of {(labels == label).sum()} pixels has no cell of level {level}: it is left out there")
    return cells


def region_points(labels, label, size, level):
    """Flat positions of a region in a feature map; a region too small for it is the cell that holds most of it."""
    points = np.flatnonzero(resize_nearest(labels, size) == label)
    if not len(points):
        points = np.array(_cells_under(labels, label, size)[:1])
        _say_widened(labels, label, level)
    return points


def _cells_under(labels, label, size):
    """The cells of a feature map in which a region has pixels, those with the most of them first."""
    rows, columns = np.nonzero(labels == label)
    inside = rows * size[0] // labels.shape[0] * size[1] + columns * size[1] // labels.shape[1]
    cells, counts = np.unique(inside, return_counts=True)
    return cells[np.argsort(-counts, kind="stable")].tolist()


def _say_widened(labels, label, level):
    pixels = (labels == label).sum()
    note(f"a region of {pixels} pixels is smaller than a cell of level {level}: it is widened to one cell")
