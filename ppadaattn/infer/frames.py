"""Paint frames one after the other, and pass on from each to the next what keeps a painted clip from flickering.

Against flicker the paper itself has cosine attention and the loss L_is (section 3.4). Smoothed statistics and blending
along the optical flow go beyond it, and are off by default.
"""

from dataclasses import dataclass, replace

from ppadaattn.errors import InputError
from ppadaattn.infer.options import ClipOptions
from ppadaattn.media.flow import opencv, reliable_flow, warp
from ppadaattn.runtime import import_paddle

import numpy as np
from PIL import Image

# A new scene begins, and nothing is passed on, at a frame that differs by more than this from the one before: the mean
# absolute difference of small grey versions in [0, 1]. In the five clips that this was tried on neighbouring frames
# differed by 0.06 at most, and frames of different clips by 0.15 at least.
CUT = 0.15
# Side of the grey versions, in pixels: grain and small things that move average out.
CUT_SIDE = 32


@dataclass
class Memory:
    """What a frame passes on to the next.

    Attributes:
        content: the frame, uint8 H x W x 3.
        picture: as it was painted, uint8 H x W x 3.
        statistics: {level: (mean, std)} smoothed so far, float32 arrays [1, C, 1, 1]; empty unless they are smoothed.
    """

    content: np.ndarray
    picture: np.ndarray
    statistics: dict

    def to_arrays(self):
        """{name: array}, the argument of `from_arrays`."""
        arrays = {"content": self.content, "picture": self.picture}
        for level, (mean, std) in self.statistics.items():
            arrays[f"mean{level}"], arrays[f"std{level}"] = mean, std
        return arrays

    @classmethod
    def from_arrays(cls, arrays):
        """The Memory of which `to_arrays` gave these arrays."""
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
        options: a ClipOptions, of which `strength`, `preserve_color` and these are used; each field is also a keyword
            argument.
            `smooth_statistics`: the share that the mean and std of Norm(F_c) (eq. 8) keep of those of the frames
            before, an exponential moving average.
            `flow_blend`: the share of the painted frame before, moved along the optical flow of the contents, where
            that can be trusted.
        pixels: of a frame, as in `Stylizer.side_by_side`.

    Raises:
        InputError: an option outside its limits, a model without Norm(F_c) for `smooth_statistics`, no OpenCV for
            `flow_blend`.
    """

    def __init__(self, stylizer, style, options=None, *, pixels=0, **changes):
        options = replace(options or ClipOptions(), **changes)
        if options.smooth_statistics and not stylizer.network.normalizes_content:
            transform = stylizer.network.architecture["transform"]
            raise InputError(f"`smooth_statistics` needs a model that normalizes contents; {transform} does not")
        if options.flow_blend:
            opencv()
        self.style, self.options, self.stylizer, self.workers = style, options, stylizer, 1
        if not options.smooth_statistics and style.is_single:
            self.stylizer, self.workers = stylizer.side_by_side(options.strength, pixels)

    def paint_alone(self, frames):
        """The pictures of frames as far as they do not depend on those before, as `painted` of a call; else None.

        `workers` threads may call it at once.
        """
        if self.options.smooth_statistics:
            return None
        how = {"strength": self.options.strength, "preserve_color": self.options.preserve_color}
        return self.stylizer.paint(np.stack(frames), self.style, **how)

    def __call__(self, frames, memory=None, painted=None):
        """Paint the next frames.

        Args:
            frames: list of uint8 RGB H x W x 3, all of one size.
            memory: the Memory of the call before; None for the first frames.
            painted: what `paint_alone` gave for these frames, where it was called.

        Returns:
            (list of uint8 H x W x 3, a Memory).
        """
        options, of_last = self.options, {}
        pictures = painted or self.paint_alone(frames)
        if not options.smooth_statistics and not options.flow_blend:
            return pictures, Memory(frames[-1], pictures[-1], {})
        before = [memory.content if memory else None, *frames[:-1]]
        same_scene = [content is not None and not is_cut(content, frame) for content, frame in zip(before, frames)]
        if options.smooth_statistics:
            given = {"strength": options.strength, "preserve_color": options.preserve_color}
            features = self.stylizer.encode(np.stack(frames))
            smoothed = self._smooth(self.stylizer.network.content_statistics(features), same_scene, memory)
            tensors = {level: tuple(map(import_paddle().to_tensor, pair)) for level, pair in smoothed.items()}
            given.update(features=features, content_statistics=tensors)
            of_last = {level: tuple(array[-1:] for array in pair) for level, pair in smoothed.items()}
            pictures = self.stylizer.paint(np.stack(frames), self.style, **given)
        last = memory.picture if memory else None
        for index, (content, frame, same) in enumerate(zip(before, frames, same_scene)):
            if options.flow_blend and same:
                pictures[index] = self._blend(pictures[index], frame, content, last)
            last = pictures[index]
        return pictures, Memory(frames[-1], pictures[-1], of_last)

    def _smooth(self, statistics, same_scene, memory):
        """{level: (mean, std)} with each frame's averaged with those before it."""
        smoothed = {}
        for level, pair in statistics.items():
            smoothed[level] = []
            for index, tensor in enumerate(pair):
                values = tensor.numpy()
                previous = memory.statistics[level][index][0] if memory and memory.statistics else None
                for place, same in enumerate(same_scene):
                    if same and previous is not None:
                        values[place] += np.float32(self.options.smooth_statistics) * (previous - values[place])
                    previous = values[place]
                smoothed[level].append(values)
        return smoothed

    def _blend(self, picture, frame, frame_before, picture_before):
        flow, trusted = reliable_flow(frame, frame_before)
        moved, _ = warp(picture_before.astype(np.float32), flow)
        share = self.options.flow_blend * trusted[..., None]
        return (picture + share * (moved - picture)).round().astype(np.uint8)


def is_cut(first, second):
    """Whether a new scene begins between two frames, uint8 H x W x 3."""
    size = (CUT_SIDE, CUT_SIDE)
    grey = [np.asarray(Image.fromarray(f).resize(size, Image.BOX).convert("L")) / 255.0 for f in (first, second)]
    return np.abs(grey[0] - grey[1]).mean() > CUT
