"""Frames one after the other: what one frame hands on to the next so that a painted clip does not flicker.

The paper's own means are cosine attention and the loss L_is (section 3.4); what is here goes beyond it, and is off
unless asked for.
"""

from dataclasses import dataclass

from ppadaattn.errors import InputError
from ppadaattn.media.flow import opencv, reliable_flow, warp
from ppadaattn.model.style import check_strength

import numpy as np
import paddle
from PIL import Image

# A frame that differs from the one before by more than this, on average over small grey versions in [0, 1], begins a
# new scene, in which nothing is handed on.
CUT = 0.15
CUT_SIDE = 32


@dataclass
class Memory:
    """What is handed on from a frame to the next.

    Attributes:
        content: the frame, uint8 H x W x 3.
        picture: as it was painted, uint8 H x W x 3.
        statistics: {level: (mean, std)} smoothed so far, float32 arrays [1, C, 1, 1]; empty unless they are smoothed.
    """

    content: np.ndarray
    picture: np.ndarray
    statistics: dict

    def to_arrays(self):
        """{name: array}, from which `from_arrays` makes it again."""
        arrays = {"content": self.content, "picture": self.picture}
        for level, (mean, std) in self.statistics.items():
            arrays[f"mean{level}"], arrays[f"std{level}"] = mean, std
        return arrays

    @classmethod
    def from_arrays(cls, arrays):
        levels = [int(name[4:]) for name in arrays if name.startswith("mean")]
        statistics = {level: (arrays[f"mean{level}"], arrays[f"std{level}"]) for level in levels}
        return cls(arrays["content"], arrays["picture"], statistics)


class FramePainter:
    """Paints the frames of a clip in turn.

        memory = None
        for batch in batches_of_frames:
            pictures, memory = painter(batch, memory)

    Args:
        stylizer: a Stylizer.
        style: a Style that it prepared.
        smooth_statistics: 0 (off) to below 1: the share that the mean and std of Norm(F_c) (eq. 8) keep of those of the
            frames before, an exponential moving average.
        flow_blend: 0 (off) to below 1: the share of the frame painted before, moved along the optical flow of the
            contents, where that can be trusted.
        strength, preserve_color: as in `Stylizer.paint`.

    Raises:
        InputError: a share outside its range, no OpenCV for `flow_blend`.
    """

    def __init__(self, stylizer, style, *, smooth_statistics=0.0, flow_blend=0.0, strength=1.0, preserve_color=False):
        check_strength(strength)
        for name, share in (("smooth_statistics", smooth_statistics), ("flow_blend", flow_blend)):
            if not 0 <= share < 1:
                raise InputError(f"{name} is a share, 0 (off) or more and below 1; got {share}")
        if smooth_statistics and not stylizer.network.normalizes_content:
            transform = stylizer.network.architecture["transform"]
            raise InputError(f"smooth_statistics needs a model that normalizes contents; {transform} does not")
        if flow_blend:
            opencv()
        self.stylizer, self.style = stylizer, style
        self.options = {"strength": strength, "preserve_color": preserve_color}
        self.smooth_statistics, self.flow_blend = smooth_statistics, flow_blend

    def __call__(self, frames, memory=None):
        """Paint the next frames.

        Args:
            frames: list of uint8 RGB H x W x 3, all of one size.
            memory: what the call before gave; None at the beginning.

        Returns:
            (list of uint8 H x W x 3, a Memory).
        """
        before = [memory.content if memory else None, *frames[:-1]]
        goes_on = [content is not None and not is_cut(content, frame) for content, frame in zip(before, frames)]
        given, of_last = {}, {}
        if self.smooth_statistics:
            features = self.stylizer.encode(np.stack(frames))
            smoothed = self._smooth(self.stylizer.network.content_statistics(features), goes_on, memory)
            tensors = {level: tuple(map(paddle.to_tensor, pair)) for level, pair in smoothed.items()}
            given = {"features": features, "content_statistics": tensors}
            of_last = {level: tuple(array[-1:] for array in pair) for level, pair in smoothed.items()}
        pictures = self.stylizer.paint(np.stack(frames), self.style, **given, **self.options)
        last = memory.picture if memory else None
        for index, (content, frame, same_scene) in enumerate(zip(before, frames, goes_on)):
            if self.flow_blend and same_scene:
                pictures[index] = self._blend(pictures[index], frame, content, last)
            last = pictures[index]
        return pictures, Memory(frames[-1], pictures[-1], of_last)

    def _smooth(self, statistics, goes_on, memory):
        """{level: (mean, std)} with each frame's averaged with those before it."""
        smoothed = {}
        for level, pair in statistics.items():
            smoothed[level] = []
            for index, tensor in enumerate(pair):
                values = tensor.numpy()
                previous = memory.statistics[level][index][0] if memory and memory.statistics else None
                for place, same_scene in enumerate(goes_on):
                    if same_scene and previous is not None:
                        values[place] += np.float32(self.smooth_statistics) * (previous - values[place])
                    previous = values[place]
                smoothed[level].append(values)
        return smoothed

    def _blend(self, picture, frame, frame_before, picture_before):
        flow, trusted = reliable_flow(frame, frame_before)
        moved, _ = warp(picture_before.astype(np.float32), flow)
        share = self.flow_blend * trusted[..., None]
        return (picture + share * (moved - picture)).round().astype(np.uint8)


def is_cut(first, second):
    """Whether a new scene begins between two frames, uint8 H x W x 3."""
    size = (CUT_SIDE, CUT_SIDE)
    grey = [np.asarray(Image.fromarray(f).resize(size, Image.BOX).convert("L")) / 255.0 for f in (first, second)]
    return np.abs(grey[0] - grey[1]).mean() > CUT
