"""A network as programs of Paddle's own format (`paddle.inference`), of any picture size, traced from its layers.

`programs` says what the programs take and give. The layers are traced as they are, with sizes that are tensors
(`vgg.shape_of`); only the tiles of attention, whose number depends on the sizes, are written again here.

Tracing changes the mode of the whole process: no other thread may run Paddle meanwhile.
"""

import tempfile
from pathlib import Path

from ppadaattn.errors import without_warnings
from ppadaattn.files import atomic_write
from ppadaattn.infer.programs import STATES, signature
from ppadaattn.model.attention import TILE_NUMBERS, CosineState, SoftmaxState
from ppadaattn.model.style import Style

import paddle
from paddle import nn
from paddle.static import InputSpec
from paddle.tensor.manipulation import tensor_array_to_tensor

# Parameters and program of one program; Paddle 3 saves the latter as JSON.
SUFFIXES = (".pdiparams", ".pdmodel" if paddle.__version__.startswith("2.") else ".json")


def save_program(network, program, folder):
    """Write a program of a network, one of `programs.PROGRAMS`, into a folder.

    Returns:
        paths of its files: parameters and program.

    Raises:
        InputError: files that cannot be written.
    """
    specs = [
        InputSpec([size if isinstance(size, int) else None for size in shape], "float32", name)
        for name, shape in signature(network, program)[0].items()
    ]
    if program == "content":
        specs = [specs[0], specs[1:]]
    paths = [Path(folder, program + suffix) for suffix in SUFFIXES]
    with tempfile.TemporaryDirectory() as work, without_warnings():  # about operations in place
        traced = LAYERS[program](network)
        traced.eval()
        paddle.jit.save(traced, str(Path(work, program)), input_spec=specs)
        for path in paths:
            with atomic_write(path) as temporary:
                temporary.write_bytes(Path(work, path.name).read_bytes())
    return paths


class _Traced(nn.Layer):
    """Base of the programs of a network."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def paint(self, content, states):
        style = Style({level: _TracedState(state) for level, state in states.items()})
        return self.network.stylize(content, style).clip(0, 1)

    def style_states(self, picture):
        states = {}
        for level, layer, feature, key in self.network.attention_inputs(self.network.encoder(picture)):
            key, value = layer.g(key).flatten(2), layer.h(feature).flatten(2)
            if layer.attention == "softmax":
                states[level] = SoftmaxState.from_points(*(self.few(x, layer.num_style_points) for x in (key, value)))
            else:
                centre = value.mean(-1, keepdim=True)
                products, sums = CosineState.sums_of(key, value - centre, layer.eps)
                states[level] = self.cosine_state(products, sums, centre)
        return states

    def few(self, points, most):
        """The points [1, C, N] that attention uses, where they are evenly spaced: see `chosen_positions`."""
        if most is None or self.network.conventions.random_points:
            return points
        count = paddle.shape(points)[2].astype("int64")
        most = paddle.minimum(count, paddle.full_like(count, most))
        return points.index_select((2 * paddle.arange(most) + 1) * count // (2 * most), 2)

    def cosine_state(self, products, sums, centre):
        # The count matters only for the floor under a sum of scores; a content program does not get it.
        return CosineState(products, sums, centre, count=1, eps=self.network.conventions.eps)


# not_to_static: their Python has no branches to rewrite, so that tracing suffices.


class _Network(_Traced):
    @paddle.jit.not_to_static
    def forward(self, content, style):
        return self.paint(content, self.style_states(style))


class _Style(_Traced):
    @paddle.jit.not_to_static
    def forward(self, style):
        names = STATES[self.network.architecture["attention"]]
        return [getattr(state, name) for state in self.style_states(style).values() for name in names]


class _Content(_Traced):
    @paddle.jit.not_to_static
    def forward(self, content, state):
        make = SoftmaxState if self.network.architecture["attention"] == "softmax" else self.cosine_state
        levels = self.network.levels
        return self.paint(content, {level: make(*state[3 * i : 3 * i + 3]) for i, level in enumerate(levels)})


LAYERS = {"network": _Network, "style": _Style, "content": _Content}


class _TracedState:
    """A style state for any number of queries, which is known only when the program runs."""

    def __init__(self, state):
        self.state = state

    def statistics(self, query):
        if self.state.kind == "cosine":
            return self.state.statistics_of_tile(query)
        # Tiles of one size, since Paddle 3 joins no others: the queries are padded with zeros, and the result is cut.
        count, keys = (paddle.shape(x)[2].astype("int64") for x in (query, self.state.key))
        rows = paddle.minimum((paddle.full_like(keys, TILE_NUMBERS) // keys).clip(min=1), count)
        tiles = (count + rows - 1) // rows
        query = paddle.concat([query, paddle.zeros([1, query.shape[1], tiles * rows - count])], 2)

        def tile(index, means, stds):
            mean, std = self.state.statistics_of_tile(query[:, :, index * rows : (index + 1) * rows])
            means, stds = paddle.tensor.array_write(mean, index, means), paddle.tensor.array_write(std, index, stds)
            return index + 1, means, stds

        first = paddle.zeros([1], "int64")
        arrays = [paddle.tensor.create_array("float32") for _ in range(2)]
        _, *found = paddle.static.nn.while_loop(lambda index, *_: index < tiles, tile, [first, *arrays])
        return [tensor_array_to_tensor(array, axis=2)[0][:, :, :count] for array in found]
