"""Regions drawn by hand, as in the paper's interactive tool.

`grow_region` starts from clicked points, `fill_polygon` and `fill_outlines` from closed outlines; `paint_mask` puts
regions into one mask.
"""

from typing import Mapping, Sequence, Tuple

from ppadaattn.errors import InputError
from ppadaattn.media.flow import opencv

import numpy as np
from PIL import Image


def grow_region(image: np.ndarray, points: Sequence[Tuple[float, float]], tolerance: int = 12) -> np.ndarray:
    """Grow a region around clicked points: the connected pixels of a similar colour.

    Args:
        image: uint8 RGB H x W x 3.
        points: list of (x, y) in pixels.
        tolerance: greatest difference of a channel from the clicked pixel, 0 to 255. Default: above the noise of a
            JPEG, below most edges.

    Returns:
        bool H x W.

    Raises:
        InputError: a point outside the picture, a tolerance outside 0 to 255, no OpenCV.
    """
    cv2 = opencv()
    height, width = image.shape[:2]
    if not 0 <= tolerance <= 255:
        raise InputError(f"`tolerance` must be 0 to 255; got {tolerance}")
    image = np.array(image)  # OpenCV refuses read-only arrays
    grown = np.zeros((height + 2, width + 2), np.uint8)  # OpenCV wants a border of one pixel
    for x, y in points:
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(f"the point ({x}, {y}) is outside the picture of {width} x {height} pixels")
        if grown[int(y) + 1, int(x) + 1]:
            continue
        flags = 4 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY | 255 << 8
        around = [float(tolerance)] * 3
        cv2.floodFill(image, grown, (int(x), int(y)), 0, around, around, flags)
    return grown[1:-1, 1:-1] > 0


def fill_polygon(size: Tuple[int, int], points: Sequence[Tuple[float, float]]) -> np.ndarray:
    """Fill a closed outline given by its corners.

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


def fill_outlines(drawn: np.ndarray) -> np.ndarray:
    """Fill closed outlines that were drawn, lines included; an open line stays a line.

    Args:
        drawn: bool H x W, True on the lines.

    Returns:
        bool H x W.
    """
    cv2 = opencv()
    drawn = np.asarray(drawn, bool)
    paper = np.pad(drawn.astype(np.uint8), 1)  # a margin, so that the outside is connected whatever touches the border
    cv2.floodFill(paper, None, (0, 0), 2)
    return paper[1:-1, 1:-1] != 2


def paint_mask(regions: Mapping[Tuple[int, int, int], np.ndarray]) -> np.ndarray:
    """Put regions into one mask, uint8 H x W x 3; where they overlap the later one counts.

    Args:
        regions: {(red, green, blue): bool H x W}, all of one size.

    Raises:
        InputError: no region, regions of different sizes.
    """
    regions = dict(regions)
    if len({np.shape(region) for region in regions.values()}) != 1:
        raise InputError("a mask needs one or more regions, all of one size")
    mask = np.zeros((*np.shape(next(iter(regions.values()))), 3), np.uint8)
    for colour, region in regions.items():
        mask[region] = colour
    return mask


def show_regions(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Tint the regions of a picture, for a look at them.

    Args:
        image, mask: uint8 H x W x 3 of one size.

    Returns:
        uint8 H x W x 3.
    """
    tint = Image.blend(Image.fromarray(image), Image.fromarray(mask), 0.5)
    return np.where(mask.any(-1, keepdims=True), np.asarray(tint), image)
