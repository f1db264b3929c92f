"""Tiles of large pictures with Paddle, layer by layer: what the programs of `strips` do not do."""

from ppadaattn.device import without_gradients
from ppadaattn.infer import strips
from ppadaattn.model.architecture import feature_size
from ppadaattn.model.features import sample_points
from ppadaattn.model.style import Style

import numpy as np
import paddle

# Points of a band of the content that is prepared as a style at once.
BAND_POINTS = 2**16


class EagerEncoder:
    """Encodes tiles, as `strips.ProgramEncoder`."""

    def __init__(self, network):
        self.network = network

    @without_gradients
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
                x = x.index_select(paddle.to_tensor(strips.nearest_rows(span, level, shallow)), axis)
                continue
            places = strips.sample_rows(span, level, shallow).clip(0, x.shape[axis] - 1)
            before = np.floor(places).astype(np.int64)
            after = (before + 1).clip(max=x.shape[axis] - 1)
            share = paddle.to_tensor((places - before).astype(np.float32).reshape([-1, 1] if axis == 2 else [-1]))
            first, second = (x.index_select(paddle.to_tensor(rows), axis) for rows in (before, after))
            x = first + (second - first) * share
        return x


class EagerPainter:
    """Paints tiles in any Style, as `strips.ProgramPainter`."""

    def __init__(self, network, style, size):
        self.network, self.style, self.size = network, style, size

    @without_gradients
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


@without_gradients
def own_style(network, stacks, fingerprint):
    """The content as its own Style, prepared in bands of rows, whose states are added."""
    states = {}
    for level in network.levels:
        layer, stack = getattr(network, f"adaattn{level}"), stacks.maps[level]
        chosen = sample_points(stack[0].size, layer.num_style_points, network.conventions.seed_of_points())
        if chosen is None:
            rows = max(1, BAND_POINTS // stack.shape[2])
            bands = [stack[:, start : start + rows] for start in range(0, stack.shape[1], rows)]
        else:
            bands = [stack.reshape(len(stack), 1, -1)[:, :, chosen.numpy()]]
        prepared = [_state(stacks, layer, level, band) for band in bands]
        states[level] = sum(prepared[1:], prepared[0])
    return Style(states, fingerprint)


def _state(stacks, layer, level, key):
    value = layer.h.weight.shape[1]
    own = key[-value:] * stacks.std[level][-value:] + stacks.mean[level][-value:]  # F^x, the last of the stack
    return layer.prepare_style(*(paddle.to_tensor(np.ascontiguousarray(x)[None]) for x in (own, key)))
