"""Dead channels: those that the ReLU after a convolution sets to 0 nearly everywhere, so that they learn nothing."""

from ppadaattn.device import without_gradients
from ppadaattn.train.layer_inputs import hooks_after

import paddle

# A channel that is active, above 0, at a smaller share of positions is dead: its part in the picture, and its gradient,
# are next to nothing.
DEAD_BELOW = 0.01
# New channels have this mean before the ReLU, and standard deviation 1: six tenths of their positions are active.
NEW_MEAN = 0.3
# Outgoing weights of new channels, relative to He initialization: with larger ones the losses put the channels out at
# once, because what they add is wrong at first.
NEW_OUTGOING = 0.1


@without_gradients
def active_shares(layers, run, batches):
    """Share of positions where each channel is active.

    Args:
        layers: {name: convolution before a ReLU}.
        run: function of a batch, which calls the layers.
        batches: list of batches.

    Returns:
        {name: float tensor [C], 0 to 1}, the mean over the batches.
    """
    shares = {}

    def watch(name):
        def hook(layer, inputs, output):
            share = (output > 0).astype("float32").mean([0, 2, 3]) / len(batches)
            shares[name] = shares.get(name, 0.0) + share

        return hook

    with hooks_after({layer: watch(name) for name, layer in layers.items()}):
        for batch in batches:
            run(batch)
    return shares


def count_dead_channels(layers, run, batches):
    """{name of a layer: (dead channels, channels)}; arguments as of `active_shares`."""
    shares = active_shares(layers, run, batches)
    return {name: (int((share < DEAD_BELOW).sum()), len(share)) for name, share in shares.items()}


def describe_dead_channels(objective, batches):
    """'decoder.merge 3 of 128, decoder.stage4 ...', for each layer with dead channels, or 'none'."""
    counts = count_dead_channels(objective.relu_convolutions(), objective.run_network, batches)
    return ", ".join(f"{name} {dead} of {channels}" for name, (dead, channels) in counts.items() if dead) or "none"


@without_gradients
def reinit_dead_channels(objective, batches):
    """Give new weights to dead channels of the trained layers, from Paddle's seed.

    A dead channel has no gradient: it stays dead, and a layer whose channels are all dead blocks the gradient of all
    layers before it. Such a channel gets new incoming weights (normal, He et al. 2015), scaled so that before the ReLU
    it has mean 0.3 and standard deviation 1 over the batches, and little weight in the next layer. Layers follow one
    another, each on the output of the new ones before it. The network's output changes a little.

    Args:
        objective: an Objective.
        batches: list of its batches; a channel is dead that is active at less than a hundredth of their positions.

    Returns:
        {name of a layer of the network: (how many channels were dead, how many there are)}, for layers with dead ones.
    """
    layers, found = objective.relu_convolutions(), {}
    shares = active_shares(layers, objective.run_network, batches)
    chain = [*layers.values(), objective.last_convolution()]
    for (name, layer), following in zip(layers.items(), chain[1:]):
        if following is None or layer.weight.stop_gradient or following.weight.stop_gradient:
            continue
        dead = paddle.nonzero(shares[name] < DEAD_BELOW).flatten()
        if not len(dead):
            continue
        found[name] = len(dead), len(shares[name])
        _set_rows(layer.weight, dead, _drawn(layer.weight, dead, 0))
        _set_rows(layer.bias, dead, paddle.zeros([len(dead)]))
        mean, std = _moments(objective, batches, layer, dead)
        std = std.clip(min=1e-3)  # a channel that sees the same everywhere
        _set_rows(layer.weight, dead, layer.weight.index_select(dead) / std.reshape([-1, 1, 1, 1]))
        _set_rows(layer.bias, dead, NEW_MEAN - mean / std)
        outgoing = following.weight.transpose([1, 0, 2, 3])
        _set_rows(outgoing, dead, NEW_OUTGOING * _drawn(following.weight, dead, 1))
        following.weight.set_value(outgoing.transpose([1, 0, 2, 3]))
    return found


def _drawn(weight, channels, axis):
    """New weights of output channels (axis 0) or of input channels (axis 1, which comes first in the result)."""
    _, fan_in, height, width = weight.shape
    shape = [len(channels), weight.shape[1 - axis], height, width]
    return paddle.randn(shape) * (2 / (fan_in * height * width)) ** 0.5


def _set_rows(tensor, rows, values):
    tensor.set_value(paddle.scatter(tensor, rows, values))


def _moments(objective, batches, layer, channels):
    """Mean and standard deviation [n] of some channels of a layer's output over the batches."""
    seen = []

    def hook(layer, inputs, output):
        seen.append(output.index_select(channels, 1).transpose([1, 0, 2, 3]).flatten(1))

    with hooks_after({layer: hook}):
        for batch in batches:
            objective.run_network(batch)
    points = paddle.concat(seen, 1)
    return points.mean(1), points.std(1)
