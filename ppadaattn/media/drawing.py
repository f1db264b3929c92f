"""Regions made by hand, as in the paper's interactive tool.

`grow_region` makes one from clicked points, `fill_polygon` and `fill_outlines` from closed outlines; `paint_mask` puts
regions into one mask.
"""

from ppadaattn.errors import InputError
from ppadaattn.media.flow import opencv

import numpy as np
from PIL import Image


def grow_region(image, points, tolerance=12):
    """The region around clicked points: what is connected to them and of a similar colour.

    Args:
        image: uint8 RGB H x W x 3.
        points: list of (x, y) in pixels.
        tolerance: how far each channel may be from that of the clicked pixel, 0 to 255.

    Returns:
        bool H x W.

    Raises:
        InputError: a point outside the picture, a tolerance outside 0 to 255, no OpenCV.
    """
    cv2 = opencv()
    height, width = image.shape[:2]
    if not 0 <= tolerance <= 255:
        raise InputError(f"the tolerance of a region is 0 to 255; got {tolerance}")
    image = np.array(image)  # OpenCV refuses what may not be written
    grown = np.zeros((height + 2, width + 2), np.uint8)  # it wants a border of one pixel
    for x, y in points:
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(f"the point ({x}, {y}) is outside the picture of {width} x {height} pixels")
        if grown[int(y) + 1, int(x) + 1]:
            continue
        flags = 4 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY | 255 << 8
        around = [float(tolerance)] * 3
        cv2.floodFill(image, grown, (int(x), int(y)), 0, around, around, flags)
    return grown[1:-1, 1:-1] > 0


def fill_polygon(size, points):
    """The inside of a closed outline given by its corners.

    Args:
        size: (height, width).
        points: list of at least three (x, y) in pixels; the last is joined to the first.

    Returns:
        bool H x W.

    Raises:
        InputError: fewer than three points, no OpenCV.
    """
    if len(points) < 3:
        raise InputError(f"an outline has at least three points; got {len(points)}")
    region = np.zeros(size, np.uint8)
    opencv().fillPoly(region, [np.asarray(points, np.float64).round().astype(np.int32)], 1)
    return region > 0


def fill_outlines(drawn):
    """The inside of closed outlines that were drawn, the lines included; an open line is only itself.

    Args:
        drawn: bool H x W, true on the lines.

    Returns:
        bool H x W.
    """
    cv2 = opencv()
    drawn = np.asarray(drawn, bool)
    paper = np.pad(drawn.astype(np.uint8), 1)  # a margin that is outside, whatever touches the border
    cv2.floodFill(paper, None, (0, 0), 2)
    return paper[1:-1, 1:-1] != 2


def paint_mask(regions):
    """A mask of regions: {(red, green, blue): bool H x W}; where they overlap the later one counts."""
    regions = dict(regions)
    if len({np.shape(region) for region in regions.values()}) != 1:
        raise InputError("a mask needs one or more regions, all of one size")
    mask = np.zeros((*np.shape(next(iter(regions.values()))), 3), np.uint8)
    for colour, region in regions.items():
        mask[region] = colour
    return mask


def show_regions(image, mask):
    """The picture with its regions tinted, to look at: uint8 H x W x 3."""
    tint = Image.blend(Image.fromarray(image), Image.fromarray(mask), 0.5)
    return np.where(mask.any(-1, keepdims=True), np.asarray(tint), image)
