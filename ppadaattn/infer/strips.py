"""Large pictures, painted tile by tile: memory hardly grows with the picture, and the result is that of the whole.

Two things tie the parts of a picture together, and each has its remedy:

- Norm (eqs. 4 and 8) takes the mean and deviation of whole feature maps. So there are two passes. The first encodes
  each tile, keeps its stacked features F^{1:x} at each level, and adds up their means and squares in float64. Then they
  are normalized in place. The second lets each tile of them attend to the style, and decodes it.
- Convolutions see their neighbours. So a tile carries a border as wide as the network sees, which is cut off again.
  Tiles begin at multiples of the deepest level's stride, so that pooling and upsampling meet the same pixels as in the
  whole. Reflection at the picture's own border is the tile's own reflection there.

Between the passes the stacked features take 49 bytes a pixel with the small models, four times that at full width.
"""

import itertools
import threading
from typing import Dict, List, NamedTuple, Tuple

from ppadaattn.errors import InputError
from ppadaattn.infer import export_tiles
from ppadaattn.infer.programs import state_arrays
from ppadaattn.media.images import to_bytes, to_floats
from ppadaattn.model.architecture import (
    CONVENTIONS,
    attention_channels,
    encoder_convolutions,
    feature_size,
    scaled_channels,
    weight_shapes,
)
from ppadaattn.model.style import Style
from ppadaattn.runtime import free_memory
from ppadaattn.side_by_side import in_order
from ppadaattn.weights.checkpoint import built

import numpy as np

# Bytes of the feature maps that are in memory at once, where a picture is painted whole: above them it is cut into
# tiles. The small models paint 2048 x 2048 pixels whole, networks of full width 1024 x 1024.
WHOLE_BYTES = 2**30
# The same in the tiles that are painted at once. With 320 MiB 3840 x 2160 pixels took as long, and 100 MiB more memory.
TILE_BYTES = 2**28
# Tiles are painted side by side, each with a share of the threads, where each may read this many pixels: on
# two cores 3840 x 2160 pixels took 7.5 s instead of 10.1 s. More and smaller tiles would read more of each other.
LEAST_AT_ONCE = 2**19
# Tiles painted from fewer pixels than this a side would be mostly border.
LEAST_SIDE = 256
# Maps of relu1_1's size that are in memory at once: a convolution's input, the same padded, its output, and a part of
# these in the layout that the convolution works in.
MAPS = 4
_in_turn = threading.Lock()
# Pixels that a convolution of each stage of the decoder sees on each side.
STRIDES = {"merge": 8, "stage4": 8, "stage3": 4, "stage2": 2, "stage1": 1}


class Span(NamedTuple):
    """One axis of a tile, in pixels of the picture: `inner` is painted, `outer` is read."""

    outer: slice
    inner: slice
    length: int  # of the whole picture

    def read(self, level):
        """What is read, in positions of the whole map of a level."""
        return _scaled(self.outer, level)

    def painted(self, level):
        """What is painted, in positions of the whole map of a level."""
        return _scaled(self.inner, level)

    def within(self, level):
        """What is painted, in positions of the tile's own map of a level."""
        start = self.read(level).start
        return slice(self.painted(level).start - start, self.painted(level).stop - start)


class Tile(NamedTuple):
    """A part of a picture."""

    rows: Span
    columns: Span

    def part(self, how, *arguments):
        """Two slices, of rows and columns: `how` is a method of Span."""
        return tuple(getattr(span, how)(*arguments) for span in self)


def tile_pixels(architecture: dict, height: int, width: int) -> int:
    """How many pixels the tiles that are painted at once may read in all; 0: a picture of that size is painted whole.

    Raises:
        InputError: a picture that needs more memory than is free.
    """
    if architecture["transform"] != "adaattn":
        return 0
    pixel_bytes = 4 * MAPS * scaled_channels(architecture["width"])[1]  # float32
    free = free_memory()
    if height * width * pixel_bytes <= min(WHOLE_BYTES, free):
        return 0
    channels = attention_channels(architecture)
    stacks = 4 * sum(np.prod(feature_size((height, width), level)) * key for level, (key, _) in channels.items())
    least = (LEAST_SIDE + 2 * encoder_border(architecture)) ** 2
    need = stacks + least * pixel_bytes
    if need > free:
        raise InputError(
            f"a picture of {width} x {height} pixels needs {need / 2**20:.0f} MiB of memory, and "
            f"{free / 2**20:.0f} MiB are free; reduce it (`size`)"
        )
    return max(least, int(min(TILE_BYTES, free - stacks) / pixel_bytes))


def paint(network, engine, content: np.ndarray, style: Style, *, strength: float = 1.0, kind=np.float32):
    """Paint a content in tiles, several at once where the engine can.

    Threads that ask at once are served in turn: each picture takes all cores, and counts on the memory that is free.

    Args:
        network: an AdaAttNNetwork with AdaAttN as its transform, or a StoredNetwork.
        engine: what `make_engine` gave for it; its programs for tiles are used where it has some.
        content: uint8 RGB H x W x 3.
        style: a Style of batch 1; with regions for this content's size.
        strength: as in `AdaAttNNetwork.stylize_features`.
        kind: of numbers: float32 or uint8.

    Returns:
        float32 [3, H, W] in [0, 1], or uint8 [H, W, 3].
    """
    size = content.shape[:2]
    with _in_turn:
        pixels = tile_pixels(network.architecture, *size) or np.prod(size)
        picture = np.empty((*size, 3) if kind is np.uint8 else (3, *size), kind)
        for (rows, columns), part in _painted_tiles(network, engine, content, style, pixels, strength):
            if kind is np.uint8:
                picture[rows, columns] = to_bytes(part[None])[0]
            else:
                picture[:, rows, columns] = part
    return picture


def _painted_tiles(network, engine, content, style, pixels, strength):
    """Yield ((rows, columns) as slices of the picture, float32 [3, rows, columns])."""
    size, architecture = content.shape[:2], network.architecture
    programs = engine if engine is not None and engine.paints_tiles else None
    step, workers = _step(architecture), 1
    if programs:
        workers = max(1, min(programs.workers, int(pixels / LEAST_AT_ONCE)))
    stacks = _normalized_stacks(network, programs, content, pixels, workers)
    if strength < 1:
        own = _eager().own_style(built(network), stacks, style.fingerprint)
        style = Style.mix([style, own], [strength, 1 - strength])
    if programs and programs.takes_state(style):
        paint_tile = ProgramPainter(programs, workers, style)
    else:
        paint_tile, workers = _eager().EagerPainter(built(network), style, size), 1
    where = tiles(size, pixels / workers, step, decoder_border(architecture))
    for tile, painted in in_order(lambda x: (x, paint_tile(stacks.parts(x), x)), where, workers):
        rows, columns = tile.part("within", 1)
        yield tile.part("painted", 1), painted[0][:, rows, columns]


def _normalized_stacks(network, programs, content, pixels, workers):
    """The first pass. Its program, which keeps its memory as long as it is open, ends with this function."""
    architecture, size = network.architecture, content.shape[:2]
    encode = ProgramEncoder(programs, workers) if programs else _eager().EagerEncoder(built(network))

    def encoded(tile):
        return tile, encode(to_floats(content[tile.part("read", 1)][None]), tile)

    stacks = Stacks(architecture, size)
    where = tiles(size, pixels / workers, _step(architecture), encoder_border(architecture))
    for tile, found in in_order(encoded, where, workers):
        stacks.add(tile, found)
    stacks.normalize()
    return stacks


def _eager():
    from ppadaattn.infer import strips_eager  # here, because it loads Paddle

    return strips_eager


def tiles(size, pixels, step, border) -> List[Tile]:
    """The tiles of a picture of `size` (height, width), row by row, whose inner parts cover it once.

    Args:
        size: in pixels.
        pixels: that a tile reads, at most, unless its inner part would be smaller than LEAST_SIDE.
        step: inner and outer parts begin at multiples of it.
        border: pixels around the inner part that are read, a multiple of `step`.
    """

    def read(counts):
        return np.prod([min(length, length / count + 2 * border) for length, count in zip(size, counts)])

    choices = list(itertools.product(*(range(1, max(1, length // LEAST_SIDE) + 1) for length in size)))
    fitting = [counts for counts in choices if read(counts) <= pixels] or choices[-1:]
    counts = min(fitting, key=lambda counts: np.prod(counts) * read(counts))  # which read the fewest pixels in all
    rows, columns = (_spans(length, count, step, border) for length, count in zip(size, counts))
    return [Tile(row, column) for row in rows for column in columns]


def _spans(length, count, step, border):
    bounds = [round(index * length / count / step) * step for index in range(count)] + [length]
    return [
        Span(slice(max(0, start - border), min(length, stop + border)), slice(start, stop), length)
        for start, stop in zip(bounds, bounds[1:])
    ]


def _scaled(part, level):
    stride = 2 ** (level - 1)
    return slice(part.start // stride, -(-part.stop // stride))


def _step(architecture):
    return 2 ** (max(architecture["levels"]) - 1)


def encoder_border(architecture) -> int:
    """Pixels around a tile that its stacked features depend on, in whole steps.

    Bilinear resizing reads features beside the tile too: at sizes that are no multiples of the step rows of deep levels
    are up to a step further from the picture's top than their number says. Shallow features see so much less that they
    are right there all the same.
    """
    reach = sum(2 ** (block - 1) for block, _ in encoder_convolutions(max(architecture["levels"])))
    return _whole_steps(architecture, reach)


def decoder_border(architecture) -> int:
    """Pixels around a tile whose embedded features its painted pixels depend on, in whole steps."""
    layers = {name.rpartition(".")[0] for name in weight_shapes(architecture) if name.startswith("decoder.")}
    return _whole_steps(architecture, sum(STRIDES[name.split(".")[1]] for name in layers))


def _whole_steps(architecture, reach):
    step = _step(architecture)
    return -(-reach // step) * step


def sample_rows(span: Span, level: int, shallow: int) -> np.ndarray:
    """Where in a tile's own map of a shallow level the painted rows of a deeper one lie, as in bilinear resizing.

    Returns:
        float64 [rows]: half-pixel centres; between two rows where it is not whole.
    """
    return _nominal(span, level, shallow, 0.5) - span.read(shallow).start


def nearest_rows(span: Span, level: int, shallow: int) -> np.ndarray:
    """As `sample_rows`, for nearest resizing: int64 [rows]. Row i of h is row floor(i H / h) of H."""
    places = np.arange(span.painted(level).start, span.painted(level).stop)
    return places * _length(span, shallow) // _length(span, level) - span.read(shallow).start


def _nominal(span, level, shallow, centre):
    places = np.arange(span.painted(level).start, span.painted(level).stop)
    return (places + centre) * _length(span, shallow) / _length(span, level) - centre


def _length(span, level):
    return feature_size((span.length,), level)[0]


class Stacks:
    """The stacked features F^{1:x} of a whole picture at each level, filled tile by tile, then normalized.

    Attributes:
        maps: {level: float32 [C1 + ... + Cx, Hx, Wx]}.
        mean, std: {level: float32 [C1 + ... + Cx, 1, 1]}, those of Norm; after `normalize`.
    """

    def __init__(self, architecture, size):
        self.mean, self.std = {}, {}
        channels = attention_channels(architecture)
        shapes = {level: (key, *feature_size(size, level)) for level, (key, _) in channels.items()}
        self.maps = {level: np.empty(shape, np.float32) for level, shape in shapes.items()}
        self._moments = dict.fromkeys(channels, (0, 0.0, 0.0))  # points, mean, sum of squares around the mean

    def add(self, tile: Tile, found: Dict[int, Tuple[np.ndarray, np.ndarray, np.ndarray]]):
        """Take the inner part of a tile.

        Args:
            tile: where it lies.
            found: {level: (its stacked features [1, D, h, w], their mean, the sum of squares around that mean)}, the
                last two of D numbers.
        """
        for level, (features, mean, squares) in found.items():
            self.maps[level][(slice(None), *tile.part("painted", level))] = features[0]
            mean, squares = (x.reshape(-1).astype(np.float64) for x in (mean, squares))
            count = features[0, 0].size
            # Moments of two sets of points from those of each (Chan, Golub & LeVeque, 1979).
            before, mean_before, squares_before = self._moments[level]
            total, apart = before + count, mean - mean_before
            mean = mean_before + apart * (count / total)
            self._moments[level] = total, mean, squares_before + squares + apart**2 * (before * count / total)

    def normalize(self):
        """Norm of each channel, in place."""
        for level, (count, mean, squares) in self._moments.items():
            std = np.sqrt(squares / max(count - 1, 1) + 1e-5)  # as `channel_statistics`
            self.mean[level], self.std[level] = (x.astype(np.float32)[:, None, None] for x in (mean, std))
            for channel, one_mean, one_std in zip(self.maps[level], self.mean[level], self.std[level]):
                channel -= one_mean
                channel /= one_std

    def parts(self, tile: Tile) -> Dict[int, np.ndarray]:
        """What is read of a tile: {level: [1, D, h, w]}."""
        where = {level: (slice(None), *tile.part("read", level)) for level in self.maps}
        return {level: np.ascontiguousarray(stack[where[level]])[None] for level, stack in self.maps.items()}


class ProgramEncoder:
    """Encodes tiles with an engine's program; so many threads (`workers`) may call it at once."""

    def __init__(self, engine, workers):
        self.architecture, self.run = engine.network.architecture, engine.open_tiles("encode", workers)
        self.resize = CONVENTIONS[self.architecture["conventions"]].resize

    def __call__(self, picture, tile):
        """What `Stacks.add` takes, of a float32 picture [1, 3, h, w]."""
        inputs = {"content": picture}
        for level in self.architecture["levels"]:
            within = tile.part("within", level)
            inputs[f"part{level}"] = _floats([part.start for part in within] + [part.stop for part in within])
            for shallow in range(1, level) if self.architecture["shallow_features"] else ():
                name = f"{level}_{shallow}"
                if self.resize == "bilinear":
                    ends = np.array([_ends(span, level, shallow) for span in tile]).T  # [start or end, axis]
                    inputs[f"roi{name}"] = _floats([0, 0, *ends[0], 1, 1, *ends[1]])
                else:
                    for span, axis in zip(tile, ("rows", "columns")):
                        inputs[f"{axis}{name}"] = _floats(nearest_rows(span, level, shallow))
        outputs = self.run(inputs)
        return {
            level: [outputs[f"{part}{level}"] for part in export_tiles.PARTS] for level in self.architecture["levels"]
        }


class ProgramPainter:
    """Paints tiles with an engine's program, in a Style that it takes; `workers` as in ProgramEncoder."""

    def __init__(self, engine, workers, style):
        self.run, self.state = engine.open_tiles("paint", workers), state_arrays(engine.network, style)

    def __call__(self, keys, tile):
        """float32 [1, 3, h, w] of {level: normalized stacked features [1, D, h, w]} of what the tile reads."""
        return self.run({**{f"key_of_content{level}": key for level, key in keys.items()}, **self.state})["stylized"]


def _ends(span, level, shallow):
    """The first and last of `sample_rows`, as shares of the shallow map's last row: the `roi` of ONNX's Resize."""
    places, read = sample_rows(span, level, shallow), span.read(shallow)
    return places[[0, -1]] / max(1, read.stop - read.start - 1)


def _floats(numbers):
    return np.array(numbers, np.float32)
