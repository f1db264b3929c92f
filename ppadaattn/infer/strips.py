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
from typing import Dict, List, NamedTuple, Tuple

from ppadaattn.errors import InputError
from ppadaattn.infer import export_tiles
from ppadaattn.infer.programs import state_arrays
from ppadaattn.media.images import to_bytes, to_floats
from ppadaattn.model.features import sample_points
from ppadaattn.model.style import Style
from ppadaattn.model.vgg import ReflectionConv2D, feature_size
from ppadaattn.runtime import free_memory

import numpy as np
import paddle

# Bytes of the feature maps that are in memory at once, where a picture is painted whole: above them it is cut into
# tiles. The small models paint 2048 x 2048 pixels whole, networks of full width 1024 x 1024.
WHOLE_BYTES = 2**30
# The same in one tile. Smaller tiles read more of their neighbours again, larger ones were not faster: with 384 MiB
# 3840 x 2160 pixels took as long, and 1.7 GiB instead of 1.3 GiB for the whole process.
TILE_BYTES = 2**28
# Tiles painted from fewer pixels than this a side would be mostly border.
LEAST_SIDE = 256
# Maps of relu1_1's size that are in memory at once: a convolution's input, the same padded, its output, and a part of
# these in the layout that the convolution works in.
MAPS = 4
# Points of a band of the content that is prepared as a style at once.
BAND_POINTS = 2**16
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


def tile_pixels(network, height: int, width: int) -> int:
    """How many pixels the tiles may read that a picture of a size is painted in; 0: it is painted whole.

    Raises:
        InputError: a picture that needs more memory than is free.
    """
    if network.architecture["transform"] != "adaattn":
        return 0
    pixel_bytes = 4 * MAPS * network.encoder.channels[1]  # float32
    free = free_memory()
    if height * width * pixel_bytes <= min(WHOLE_BYTES, free):
        return 0
    points = {level: np.prod(feature_size((height, width), level)) for level in network.levels}
    stacks = 4 * sum(count * stack_channels(network, level) for level, count in points.items())
    least = (LEAST_SIDE + 2 * encoder_border(network)) ** 2
    need = stacks + least * pixel_bytes
    if need > free:
        raise InputError(
            f"a picture of {width} x {height} pixels needs {need / 2**20:.0f} MiB of memory, and "
            f"{free / 2**20:.0f} MiB are free; reduce it (`size`)"
        )
    return max(least, int(min(TILE_BYTES, free - stacks) / pixel_bytes))


def stack_channels(network, level):
    """Channels of the stacked features F^{1:x}."""
    return getattr(network, f"adaattn{level}").f.weight.shape[1]


def paint(network, engine, content: np.ndarray, style: Style, pixels: int, *, strength: float = 1.0, kind=np.float32):
    """Paint a content in tiles.

    Args:
        network: an AdaAttNNetwork with AdaAttN as its transform.
        engine: what `make_engine` gave for it; its programs for tiles are used where it has some.
        content: uint8 RGB H x W x 3.
        style: a Style of batch 1; with regions for this content's size.
        pixels: that a tile may read, as `tile_pixels` gives them.
        strength: as in `AdaAttNNetwork.stylize_features`.
        kind: of numbers: float32 or uint8.

    Returns:
        float32 [3, H, W] in [0, 1], or uint8 [H, W, 3].
    """
    size = content.shape[:2]
    picture = np.empty((*size, 3) if kind is np.uint8 else (3, *size), kind)
    for (rows, columns), part in _painted_tiles(network, engine, content, style, pixels, strength):
        if kind is np.uint8:
            picture[rows, columns] = to_bytes(part[None])[0]
        else:
            picture[:, rows, columns] = part
    return picture


def _painted_tiles(network, engine, content, style, pixels, strength):
    """Yield ((rows, columns) as slices of the picture, float32 [3, rows, columns])."""
    size = content.shape[:2]
    stacks = Stacks(network, size)
    programs = engine if engine is not None and engine.paints_tiles else None
    encode = ProgramEncoder(programs) if programs else EagerEncoder(network)
    for tile in tiles(size, pixels, _step(network), encoder_border(network)):
        stacks.add(tile, encode(to_floats(content[tile.part("read", 1)][None]), tile))
    del encode  # a program keeps its memory as long as it is open
    stacks.normalize()
    if strength < 1:
        style = Style.mix([style, stacks.own_style(style.fingerprint)], [strength, 1 - strength])
    taken = programs is not None and programs.takes_state(style)
    paint_tile = ProgramPainter(programs, style) if taken else EagerPainter(network, style, size)
    for tile in tiles(size, pixels, _step(network), decoder_border(network)):
        painted = paint_tile({level: stacks.part(tile, level) for level in network.levels}, tile)
        rows, columns = tile.part("within", 1)
        yield tile.part("painted", 1), painted[0][:, rows, columns]


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


def _step(network):
    return 2 ** (max(network.levels) - 1)


def encoder_border(network) -> int:
    """Pixels around a tile that its stacked features depend on, in whole steps.

    Bilinear resizing reads features beside the tile too: at sizes that are no multiples of the step rows of deep levels
    are up to a step further from the picture's top than their number says. Shallow features see so much less that they
    are right there all the same.
    """
    reach = sum(2 ** (block - 1) for block, _ in network.encoder.convolutions())
    return _whole_steps(network, reach)


def decoder_border(network) -> int:
    """Pixels around a tile whose embedded features its painted pixels depend on, in whole steps."""
    layers = [name for name, layer in network.decoder.named_sublayers() if isinstance(layer, ReflectionConv2D)]
    return _whole_steps(network, sum(STRIDES[name.partition(".")[0]] for name in layers))


def _whole_steps(network, reach):
    step = _step(network)
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

    def __init__(self, network, size):
        self.network, self.mean, self.std = network, {}, {}
        shapes = {x: (stack_channels(network, x), *feature_size(size, x)) for x in network.levels}
        self.maps = {level: np.empty(shape, np.float32) for level, shape in shapes.items()}
        self._moments = dict.fromkeys(network.levels, (0, 0.0, 0.0))  # points, mean, sum of squares around the mean

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

    def part(self, tile: Tile, level: int) -> np.ndarray:
        """What is read of a tile, [1, D, h, w]."""
        return np.ascontiguousarray(self.maps[level][(slice(None), *tile.part("read", level))])[None]

    def own_style(self, fingerprint):
        """The content as its own Style, prepared in bands of rows, whose states are added."""
        states = {}
        for level in self.network.levels:
            layer, stack = getattr(self.network, f"adaattn{level}"), self.maps[level]
            chosen = sample_points(stack[0].size, layer.num_style_points)
            if chosen is None:
                rows = max(1, BAND_POINTS // stack.shape[2])
                bands = [stack[:, start : start + rows] for start in range(0, stack.shape[1], rows)]
            else:
                bands = [stack.reshape(len(stack), 1, -1)[:, :, chosen.numpy()]]
            prepared = [self._state(layer, level, band) for band in bands]
            states[level] = sum(prepared[1:], prepared[0])
        return Style(states, fingerprint)

    def _state(self, layer, level, key):
        value = layer.h.weight.shape[1]
        own = key[-value:] * self.std[level][-value:] + self.mean[level][-value:]  # F^x, the last of the stack
        return layer.prepare_style(*(paddle.to_tensor(np.ascontiguousarray(x)[None]) for x in (own, key)))


class EagerEncoder:
    """Encodes tiles with Paddle, layer by layer."""

    def __init__(self, network):
        self.network = network

    def __call__(self, picture, tile):
        """What `Stacks.add` takes, of a float32 picture [1, 3, h, w]."""
        features, found = self.network.encoder(paddle.to_tensor(picture)), {}
        for level in self.network.levels:
            rows, columns = tile.part("within", level)
            shallow = range(1, level) if self.network.shallow_features else ()
            parts = [self._resized(features[f"relu{x}_1"], tile, level, x) for x in shallow]
            stack = paddle.concat([*parts, features[f"relu{level}_1"][:, :, rows, columns]], 1)
            mean = stack.mean([2, 3], keepdim=True)
            found[level] = [x.numpy() for x in (stack, mean, (stack - mean).square().sum([2, 3]))]
        return found

    def _resized(self, x, tile, level, shallow):
        for axis, span in zip((2, 3), tile):
            if self.network.conventions.resize == "nearest":
                x = x.index_select(paddle.to_tensor(nearest_rows(span, level, shallow)), axis)
                continue
            places = sample_rows(span, level, shallow).clip(0, x.shape[axis] - 1)
            before = np.floor(places).astype(np.int64)
            after = (before + 1).clip(max=x.shape[axis] - 1)
            share = paddle.to_tensor((places - before).astype(np.float32).reshape([-1, 1] if axis == 2 else [-1]))
            first, second = (x.index_select(paddle.to_tensor(rows), axis) for rows in (before, after))
            x = first + (second - first) * share
        return x


class EagerPainter:
    """Paints tiles with Paddle, layer by layer, in any Style."""

    def __init__(self, network, style, size):
        self.network, self.style, self.size = network, style, size

    def __call__(self, keys, tile):
        embedded = {}
        for level, key in keys.items():
            layer, key = getattr(self.network, f"adaattn{level}"), paddle.to_tensor(key)
            rows, columns = tile.part("read", level)
            height, width = feature_size(self.size, level)
            points = np.arange(height * width).reshape(height, width)[rows, columns].reshape(-1)
            state = self.style.states[level].at(points)
            content = key[:, -layer.h.weight.shape[1] :]  # Norm(F_c), the last of the stack
            embedded[level] = layer(content, key, state, (0.0, 1.0))
        return self.network.decoder(embedded).clip(0, 1).numpy()


class ProgramEncoder:
    """As EagerEncoder, with an engine's program."""

    def __init__(self, engine):
        self.network, self.run = engine.network, engine.open_tiles("encode")

    def __call__(self, picture, tile):
        inputs = {"content": picture}
        for level in self.network.levels:
            within = tile.part("within", level)
            inputs[f"part{level}"] = _floats([part.start for part in within] + [part.stop for part in within])
            for shallow in range(1, level) if self.network.shallow_features else ():
                name = f"{level}_{shallow}"
                if self.network.conventions.resize == "bilinear":
                    ends = np.array([_ends(span, level, shallow) for span in tile]).T  # [start or end, axis]
                    inputs[f"roi{name}"] = _floats([0, 0, *ends[0], 1, 1, *ends[1]])
                else:
                    for span, axis in zip(tile, ("rows", "columns")):
                        inputs[f"{axis}{name}"] = _floats(nearest_rows(span, level, shallow))
        outputs = self.run(inputs)
        return {level: [outputs[f"{part}{level}"] for part in export_tiles.PARTS] for level in self.network.levels}


class ProgramPainter:
    """As EagerPainter, with an engine's program, in a Style that it takes."""

    def __init__(self, engine, style):
        self.run, self.state = engine.open_tiles("paint"), state_arrays(engine.network, style)

    def __call__(self, keys, tile):
        return self.run({**{f"key_of_content{level}": key for level, key in keys.items()}, **self.state})["stylized"]


def _ends(span, level, shallow):
    """The first and last of `sample_rows`, as shares of the shallow map's last row: the `roi` of ONNX's Resize."""
    places, read = sample_rows(span, level, shallow), span.read(shallow)
    return places[[0, -1]] / max(1, read.stop - read.start - 1)


def _floats(numbers):
    return np.array(numbers, np.float32)
