"""Optical flow between frames (OpenCV's DIS), and what it is used for: frames moved along it, where it can be trusted.

A flow is float32 H x W x 2, in pixels: the point (x, y) of the first frame is at (x + u, y + v) in the second.
"""

from ppadaattn.errors import import_optional

import numpy as np


def dis_flow(first, second):
    """The flow from one frame to another (Kroeger et al., ECCV 2016; OpenCV's preset 'medium').

    Args:
        first, second: uint8 RGB H x W x 3 of one size, at least 16 pixels a side.
    """
    cv2 = opencv()
    grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in (first, second)]
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)


def warp(image, flow):
    """The second frame, seen from the first: each point takes the value that the flow leads to (bilinear).

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


def reliable_flow(first, second):
    """The flow from one frame to another, and where it can be trusted.

    It can where the flow back from its end comes home: |f + b| <= 0.5 + 0.05 |f| pixels (the check of Sundaram et al.,
    ECCV 2010, with a simpler bound). Occluded points fail it.

    Returns:
        (flow, bool H x W).
    """
    forward, backward = dis_flow(first, second), dis_flow(second, first)
    returned, inside = warp(backward, forward)
    miss = np.linalg.norm(forward + returned, axis=-1)
    return forward, inside & (miss <= 0.5 + 0.05 * np.linalg.norm(forward, axis=-1))


def opencv():
    """The module cv2; InputError where it is not installed."""
    return import_optional("cv2", "opencv-python-headless", "optical flow and regions made by hand")
