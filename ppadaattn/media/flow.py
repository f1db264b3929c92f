"""Optical flow between frames (OpenCV's DIS): computed, checked for consistency, read, and frames warped along it.

A flow is float32 H x W x 2, in pixels: the point (x, y) of the first frame is at (x + u, y + v) in the second.
"""

import struct
from typing import Tuple

from ppadaattn.errors import InputError, import_optional
from ppadaattn.media import PathLike

import numpy as np

# A .flo file begins with these bytes, the float32 202021.25; width and height follow as int32, all little-endian.
FLO_MAGIC = b"PIEH"
# Numbers from this one on mark points whose flow is not known.
UNKNOWN = 1e9


def dis_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The flow from one frame to another (Kroeger et al., ECCV 2016; OpenCV's preset 'medium').

    Args:
        first, second: uint8 RGB H x W x 3 of one size, at least 16 pixels a side.
    """
    cv2 = opencv()
    grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in (first, second)]
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)


def warp(image: np.ndarray, flow: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Warp the second frame onto the first: each point takes the value that the flow leads to (bilinear).

    Args:
        image: H x W x C of the second frame, uint8 or float32.
        flow: from the first frame to the second.

    Returns:
        (the warped image, bool H x W: where the flow stays inside the frame).
    """
    cv2 = opencv()
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), inside


def reliable_flow(first: np.ndarray, second: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The flow from one frame to another, and where it is consistent with the flow back.

    Returns:
        (flow, bool H x W, as `is_flow_consistent` gives it).
    """
    forward, backward = dis_flow(first, second), dis_flow(second, first)
    return forward, is_flow_consistent(forward, backward)


def is_flow_consistent(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Where the backward flow, taken at the end of the forward flow, leads back to the point; occluded points fail.

    |f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5, in pixels, with b at the end of f, inside the frame. The inequality and its
    numbers are those of Sundaram et al. (Dense Point Trajectories by GPU-Accelerated Large Displacement Optical Flow,
    ECCV 2010): up to 0.7 pixels of rest error, and a tenth of the length where the motion is large.

    Returns:
        bool H x W.
    """
    returned, inside = warp(backward, forward)
    miss, there, back = (np.square(flow).sum(-1) for flow in (forward + returned, forward, returned))
    return inside & (miss < 0.01 * (there + back) + 0.5)


def read_flo(path: PathLike) -> np.ndarray:
    """Read the flow in a .flo file (Middlebury's format), as data sets such as MPI Sintel have it.

    Returns:
        float32 H x W x 2; numbers of 1e9 and more mark points whose flow is not known.

    Raises:
        InputError: missing, not of this format, of another length than its size says.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    if data[:4] != FLO_MAGIC:
        raise InputError(f"{path} is no .flo file: it does not begin with {FLO_MAGIC.decode()}")
    width, height = struct.unpack("<ii", data[4:12]) if len(data) >= 12 else (0, 0)
    if min(width, height) < 1 or len(data) != 12 + 8 * width * height:
        raise InputError(
            f"{path} is cut short or damaged: {len(data)} bytes, and a flow of {width} x {height} pixels has "
            f"{12 + 8 * width * height}"
        )
    return np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)


def opencv():
    """The module cv2; InputError where it is not installed."""
    return import_optional("cv2", "opencv-python-headless", "optical flow and regions made by hand")
