"""Train convolutions in coordinates where what they read is white.

The inputs of the decoder's layers are large, positive and alike: one direction has most of the variance. In the
weights' own coordinates the gradient is then nearly all along that direction, and Adam, which knows each weight by
itself, moves all weights of a channel together: channels die, and what distinguishes one pattern from another is learnt
slowly. With P the inverse root of the covariance of the input x, and m its mean, the same layer is

    W x + b = V (P (x - m)) + o,    W = V P,    b = o - W m

and V and o are trained in place of W and b: the input of V has mean 0 and about equal variance in all directions. The
picture and the losses stay those of W and b. This is the input's half of K-FAC (Martens & Grosse,
https://arxiv.org/abs/1503.05671, section 3), measured once.
"""

import contextlib

from ppadaattn.device import without_gradients
from ppadaattn.train.layer_inputs import draw_points, hooks_before, moments, patches

import numpy as np
import paddle
from paddle import nn

# Added to all variances, as a share of their mean: directions in which the input hardly varies stay small, or their
# noise would be as large as the rest.
FLOOR = 0.1
# Points of all batches together: about two for each of the 4608 numbers that the widest layer reads; with the floor
# above that is enough.
POINTS = 10000

_PARTS = ("weight", "bias")
# What is kept of a layer, and how: the matrices of the full width have 90 million numbers, and a thousandth more or
# less in one of them does not matter.
_KINDS = {"matrix": "float16", "mean": "float32"}


class WhiteInputs:
    """The coordinates of some convolutions.

    Adam's step depends on gradients alone, not on the place: V and o need not be kept. They begin at 0 in each step,
    and what the optimizer makes of them is the change of W and b.

    Args:
        layers: {name: convolution of stride 1, 1x1 or with reflection padding, with a bias}; {}: all steps are plain.

    Attributes:
        maps: {name: (P [D, D], m [D])}, float32 tensors; empty until `measure` or `load`.
    """

    def __init__(self, layers):
        self.layers, self.maps = layers, {}
        self._steps = {
            f"{name}.{part}": _like(getattr(layer, part)) for name, layer in layers.items() for part in _PARTS
        }

    def replace(self, parameters):
        """{name: parameter} with V and o in the places of W and b, for an optimizer."""
        return {name: self._steps.get(name, parameter) for name, parameter in parameters.items()}

    @without_gradients
    def measure(self, run, batches, rng):
        """Measure the inputs of all layers.

        Args:
            run: is called with each batch, and runs the network on it.
            batches: list of them.
            rng: numpy RandomState, which draws points.
        """
        rows = {name: [] for name in self.layers}

        def watch(name):
            def hook(layer, inputs):
                chosen = draw_points(inputs[0], POINTS // len(batches), rng)
                rows[name].append(patches(layer, inputs[0], chosen))

            return hook

        with hooks_before({layer: watch(name) for name, layer in self.layers.items()}):
            for batch in batches:
                run(batch)
        found = {}
        for name in self.layers:
            mean, covariance = moments(rows.pop(name))
            found[f"{name}.matrix"], found[f"{name}.mean"] = _inverse_root(covariance), mean
        self.load(found)

    @contextlib.contextmanager
    def step(self):
        """Within the block an optimizer makes a step with V and o; W and b follow."""
        with paddle.no_grad():
            for name, layer in self.layers.items():
                self._give_gradients(name, layer)
        yield
        with paddle.no_grad():
            for name, layer in self.layers.items():
                self._take_steps(name, layer)

    def _give_gradients(self, name, layer):
        matrix, mean = self.maps[name]
        weight, bias = layer.weight.grad, layer.bias.grad
        if weight is None:  # a layer that no loss depends on
            return
        white = paddle.matmul(weight.flatten(1) - bias.unsqueeze(1) * mean, matrix)
        for part, gradient in zip(_PARTS, (white.reshape(weight.shape), bias)):
            self._steps[f"{name}.{part}"].grad = gradient
            getattr(layer, part).clear_gradient()

    def _take_steps(self, name, layer):
        matrix, mean = self.maps[name]
        step, shift = (self._steps[f"{name}.{part}"] for part in _PARTS)
        change = paddle.matmul(step.flatten(1), matrix)
        layer.weight.set_value(layer.weight + change.reshape(layer.weight.shape))
        layer.bias.set_value(layer.bias + shift - paddle.matmul(change, mean))
        for moved in (step, shift):
            moved.set_value(paddle.zeros_like(moved))

    def state_dict(self):
        """{name.matrix: float16 array, name.mean: float32 array}, for `load`: as they are used, to the last bit."""
        return {
            f"{name}.{part}": tensor.numpy().astype(kind)
            for name, pair in self.maps.items()
            for (part, kind), tensor in zip(_KINDS.items(), pair)
        }

    def shapes(self):
        """{key of `state_dict`: shape}."""
        sizes = {name: int(np.prod(layer.weight.shape[1:])) for name, layer in self.layers.items()}
        return {
            f"{name}.{part}": [size, size] if part == "matrix" else [size]
            for name, size in sizes.items()
            for part in _KINDS
        }

    def load(self, arrays):
        """Take what `state_dict` gave, or {name.matrix, name.mean} as measured."""
        for name in self.layers:
            pair = (arrays[f"{name}.{part}"].astype(kind) for part, kind in _KINDS.items())
            self.maps[name] = tuple(paddle.to_tensor(array.astype("float32")) for array in pair)


def _like(parameter):
    """A parameter of zeros with the shape of another one, and with its factor on the learning rate."""
    made = paddle.create_parameter(parameter.shape, "float32", default_initializer=nn.initializer.Constant(0.0))
    made.optimize_attr["learning_rate"] = parameter.optimize_attr["learning_rate"]
    return made


def _inverse_root(covariance):
    """P of a covariance C: (C + FLOOR * mean variance)^(-1/2), float32 [D, D]."""
    values, vectors = np.linalg.eigh(covariance)
    values = values.clip(min=0)
    floor = max(FLOOR * float(values.mean()), 1e-12)  # an input that is 0 everywhere has no variance at all
    return (vectors / np.sqrt(values + floor)) @ vectors.T
