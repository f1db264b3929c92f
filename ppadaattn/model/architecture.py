"""What an architecture decides before any layer is built: channels, sizes, conventions. Nothing here needs Paddle."""

from dataclasses import dataclass
from typing import Dict, Iterator, Optional, Sequence, Tuple

import numpy as np

KINDS = ("softmax", "cosine")

# The width of a damaged or foreign file must not fill the memory; the paper's is 1.
MAX_WIDTH = 4

# {block: (channels, convolutions)} of VGG-19; pooling comes between blocks. Only relu5_1 of the last block is used.
BLOCKS = {1: (64, 2), 2: (128, 2), 3: (256, 4), 4: (512, 4), 5: (512, 1)}


@dataclass(frozen=True)
class Conventions:
    """Details of the network. The paper and the authors' PyTorch release differ in them.

    Attributes:
        resize: of shallow features to level x: 'bilinear' (eq. 1) or 'nearest'.
        merge_relu: whether a ReLU follows the merge convolution (Table 3, stage F5).
        num_style_points: {level: how many style points softmax attention uses at most}; other levels use all.
        random_points: whether these are drawn at random, from a seed; otherwise they are evenly spaced.
        eps: added to the norms in cosine attention.
    """

    resize: str
    merge_relu: bool
    num_style_points: Dict[int, int]
    random_points: bool
    eps: float

    def seed_of_points(self, seed: int = 0) -> Optional[int]:
        """The seed from which style points are drawn; None where they are evenly spaced."""
        return seed if self.random_points else None


# "lite" is for the small models: the paper's network with fewer style points. With 2048 a level, as in their training,
# pictures are as near to those of the authors' release as with all (BENCHMARKS.md), in a third of the time.
_POINTS_OF_LITE = dict.fromkeys((3, 4, 5), 2048)
CONVENTIONS = {
    "paper": Conventions("bilinear", merge_relu=True, num_style_points={}, random_points=False, eps=0.0),
    "release": Conventions("nearest", merge_relu=False, num_style_points={3: 4096}, random_points=True, eps=1e-5),
    "lite": Conventions("bilinear", merge_relu=True, num_style_points=_POINTS_OF_LITE, random_points=False, eps=0.0),
}


def scaled_channels(width: float) -> Dict[int, int]:
    """Channels of each block for a `width`: {1: 64 * width, ..., 5: 512 * width}."""
    scaled = {block: channels * width for block, (channels, _) in BLOCKS.items()}
    if not 0 < width <= MAX_WIDTH or any(channels != int(channels) for channels in scaled.values()):
        raise ValueError(
            f"width must be a positive multiple of 1/64, so that channel counts are whole, and at most {MAX_WIDTH}; "
            f"got {width}"
        )
    return {block: int(channels) for block, channels in scaled.items()}


def feature_size(size: Sequence[int], level: int) -> Tuple[int, ...]:
    """(height, width) of relu{level}_1 of an image of `size` (height, width): each pooling halves, rounded up."""
    return tuple(-(-side // 2 ** (level - 1)) for side in size)


def chosen_positions(count: int, most: int, seed: Optional[int] = None) -> np.ndarray:
    """`most` of `count` flat positions, int64, without repetition.

    They are evenly spaced: the middle of each of `most` equal parts. With a `seed` they are drawn at random, as the
    authors' release draws its style points.
    """
    if seed is not None:
        return np.random.RandomState(seed).permutation(count)[:most]
    return (2 * np.arange(most, dtype=np.int64) + 1) * count // (2 * most)


def encoder_convolutions(depth: int) -> Iterator[Tuple[int, int]]:
    """Yield (block, index) of each convolution of an encoder up to relu{depth}_1, in order."""
    for block in range(1, depth + 1):
        count = BLOCKS[block][1] if block < depth else 1
        for index in range(1, count + 1):
            yield block, index


def attention_channels(architecture: dict) -> Dict[int, Tuple[int, int]]:
    """{level x: (channels of key and query, channels of the value)} of AdaAttN."""
    channels, shallow = scaled_channels(architecture["width"]), architecture["shallow_features"]
    levels = architecture["levels"]
    return {x: (sum(channels[y] for y in range(1 if shallow else x, x + 1)), channels[x]) for x in levels}


def is_adaattn(architecture: dict) -> bool:
    """Whether a dict is the whole architecture of a network of AdaAttN, as `AdaAttNNetwork.architecture` gives it."""
    try:
        levels = architecture["levels"]
        scaled_channels(architecture["width"])
        return (
            len(architecture) == 6
            and architecture["transform"] == "adaattn"
            and type(architecture["width"]) is float
            and type(levels) is list
            and all(type(level) is int for level in levels)
            and levels in ([3], [4], [3, 4], [4, 5], [3, 4, 5])
            and architecture["attention"] in KINDS
            and architecture["conventions"] in CONVENTIONS
            and type(architecture["shallow_features"]) is bool
        )
    except (KeyError, TypeError, ValueError):
        return False


def weight_shapes(architecture: dict) -> Dict[str, Tuple[int, ...]]:
    """{name: shape} of the weights of a network of AdaAttN."""
    levels, (c1, c2, c3, c4, _) = architecture["levels"], scaled_channels(architecture["width"]).values()
    layers, before = {}, 3
    for block, index in encoder_convolutions(max(levels)):
        channels = scaled_channels(architecture["width"])[block]
        layers[f"encoder.conv{block}_{index}"], before = (channels, before, 3), channels
    for level, (key, value) in attention_channels(architecture).items():
        layers.update({f"adaattn{level}.{name}": (key, key, 1) for name in "fg"})
        layers[f"adaattn{level}.h"] = (value, value, 1)
    if 5 in levels:
        layers["decoder.merge"] = (c4, c4, 3)
    if max(levels) > 3:
        layers["decoder.stage4"] = (c3, c4, 3)
    joined = 2 * c3 if 3 in levels and max(levels) > 3 else c3
    for stage, channels in ((3, (joined, c3, c3, c3, c2)), (2, (c2, c2, c1)), (1, (c1, c1, 3))):
        pairs = enumerate(zip(channels, channels[1:]))
        layers.update({f"decoder.stage{stage}.{index}": (after, before, 3) for index, (before, after) in pairs})
    shapes = {}
    for name, (after, before, side) in layers.items():
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (after, before, side, side), (after,)
    return shapes
