"""Temporal consistency: the optical-flow error of table 2.

The paper gives figures without their definition; DEFINITION is this project's.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import List, Tuple

from ppadaattn.errors import InputError
from ppadaattn.media.flow import UNKNOWN, read_flo, reliable_flow, warp
from ppadaattn.media.images import flatten, read_image
from ppadaattn.media.video_read import open_clip

import numpy as np

DEFINITION = (
    "Optical-flow error (x 10^-2, smaller is steadier): the stylized frame t + 1 is warped back onto frame t along the "
    "flow of the input frames from t to t + 1 (bilinear); the error of the pair is the root of the mean squared "
    "difference to the stylized frame t, over RGB in [0, 1], not rounded, and over the pixels that count; then the "
    "mean over the pairs of a clip, over clips and over styles. Each frame is stylized by itself, in a style that was "
    "prepared once. "
)
FLOWS = {
    "computed": "Flow: OpenCV's DIS (preset medium) on the input frames, both ways. A pixel counts where the flow ends "
    "inside the frame and the flow b from there leads back: |f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5 pixels.",
    "truth": "Flow: ground truth. A pixel counts where its flow is known and ends inside the frame, and where nothing "
    "occludes it.",
}


@dataclass
class Clip:
    """Consecutive frames and the flow between them.

    Attributes:
        name: of the file or folder.
        frames: uint8 RGB H x W x 3 each.
        flows: for each frame but the last: (flow to the next, bool H x W of the pixels that count).
    """

    name: str
    frames: List[np.ndarray]
    flows: List[Tuple[np.ndarray, np.ndarray]]


def read_clip(path, *, size=0, count=None, flow="computed"):
    """Read a Clip from a video file or a folder of frames.

    Args:
        path: of the file or folder. For ground truth a folder as in MPI Sintel, ROOT/PASS/NAME with frame_0001.png and
        so on,
            beside ROOT/flow/NAME/frame_0001.flo and ROOT/occlusions/NAME/frame_0001.png.
        size: long side in pixels to which frames are reduced; 0 leaves them as they are.
        count: how many frames to read at most; None for all.
        flow: 'computed' or 'truth', see FLOWS.

    Raises:
        InputError: no clip, a single frame, ground truth that is missing, damaged or of another size, no pixel that
            counts.
    """
    frames = list(itertools.islice(open_clip(path, size=size).frames(), count))
    if len(frames) < 2:
        raise InputError(f"{path} has one frame; a clip needs at least two, because flow is between frames")
    if flow == "truth":
        flows = _true_flows(Path(path).absolute(), frames[:-1], size)
    else:
        flows = [reliable_flow(first.image, second.image) for first, second in zip(frames, frames[1:])]
    if not any(counted.any() for _, counted in flows):
        raise InputError(f"{path}: no pixel of a frame can be followed to the next frame")
    return Clip(clip_name(path), [frame.image for frame in frames], flows)


def clip_name(path):
    """The name of a clip in tables: that of a folder, or that of a file without its suffix."""
    path = Path(path).absolute()
    return path.name if path.is_dir() else path.stem


def _true_flows(folder, frames, size):
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of frames; ground truth needs a folder in the layout of MPI Sintel")
    if size:
        raise InputError(f"ground truth is for frames of their own size; `size` must be 0; got {size}")
    return [_true_flow(folder, frame) for frame in frames]


def _true_flow(folder, frame):
    flow_file, occlusion_file = (
        folder.parent.parent / kind / folder.name / f"{frame.name}{suffix}"
        for kind, suffix in (("flow", ".flo"), ("occlusions", ".png"))
    )
    flow, occlusion = read_flo(flow_file), flatten(read_image(occlusion_file))
    for file, found in ((flow_file, flow), (occlusion_file, occlusion)):
        if found.shape[:2] != frame.image.shape[:2]:
            sizes = [f"{shape[1]} x {shape[0]}" for shape in (found.shape, frame.image.shape)]
            raise InputError(f"{file} has {sizes[0]} pixels, but the frame {frame.name} has {sizes[1]}")
    known = (np.abs(flow) < UNKNOWN).all(-1)
    flow = np.where(known[..., None], flow, np.float32(0))
    _, inside = warp(flow, flow)
    return flow, known & inside & (occlusion.max(-1) < 128)


def difference(first, second, flow):
    """The second picture, warped back along the flow, minus the first one; float H x W x C."""
    return warp(second, flow)[0] - first


def flow_error(pictures, flows):
    """The optical-flow error of a clip's stylized frames: mean over pairs of the root of the mean squared difference.

    Args:
        pictures: iterable of float32 H x W x 3 in [0, 1], one for each frame.
        flows: those of the Clip.
    """
    pictures, errors = iter(pictures), []
    first = next(pictures)
    for second, (flow, counted) in zip(pictures, flows):
        if counted.any():
            errors.append(np.sqrt(np.square(difference(first, second, flow)[counted], dtype=np.float64).mean()))
        first = second
    return float(np.mean(errors))


def stylize_frames(stylizer, style, frames):
    """Yield the frames, uint8 H x W x 3, in a Style: float32 H x W x 3 in [0, 1], not rounded."""
    for frame in frames:
        yield np.ascontiguousarray(stylizer.paint_array(frame[None], style)[0].transpose(1, 2, 0))
