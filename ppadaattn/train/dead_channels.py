"""Dead channels of the trained layers: found, and given new weights."""

from ppadaattn.device import without_gradients
from ppadaattn.model.vgg import ReflectionConv2D

import paddle


@without_gradients
def reinit_dead_channels(objective, batches):
    """Give new weights to dead channels of the trained layers, without changing the network's output.

    A channel of a convolution that the ReLU after it sets to 0 at every point of every picture has no gradient: it
    stays dead, and a layer whose channels are all dead blocks the gradient of all layers before it. Such a channel gets
    new incoming weights, and its outgoing weights become 0 (ReDo: Sokar et al., ICML 2023,
    https://arxiv.org/abs/2302.12902).

    Args:
        objective: an Objective.
        batches: list of its batches; a channel is dead that none of them activates.

    Returns:
        {name of a layer of the network: (how many channels were dead, how many there are)}, for layers with dead ones.
    """
    alive, hooks, found = {}, [], {}
    layers = [item for item in objective.network.named_sublayers() if isinstance(item[1], ReflectionConv2D)]
    chains = [  # in each, a layer's output is the first part of the next one's input
        [item for item in layers if item[0].startswith(part)] for part in ("encoder.", "decoder.")
    ]

    def watch(name):
        def hook(layer, inputs, output):
            active = (output > 0).any(axis=[0, 2, 3])
            alive[name] = active if name not in alive else paddle.logical_or(alive[name], active)

        return hook

    for name, layer in layers:
        hooks.append(layer.register_forward_post_hook(watch(name)))
    for batch in batches:
        objective(batch)
    for hook in hooks:
        hook.remove()

    for chain in chains:
        for (name, layer), (_, following) in zip(chain, chain[1:]):
            trained = not layer.weight.stop_gradient and not following.weight.stop_gradient
            if not trained or name not in alive or bool(alive[name].all()):
                continue
            dead = (~alive[name]).astype("float32")
            found[name] = int(dead.sum()), len(dead)
            fan_in = layer.weight[0].size
            drawn = paddle.randn(layer.weight.shape) * (2 / float(fan_in)) ** 0.5
            # Inputs are not negative: filters that sum to 0 respond to their structure, not to their mean.
            drawn = drawn - drawn.mean([1, 2, 3], keepdim=True)
            mask = dead.reshape([-1, 1, 1, 1])
            layer.weight.set_value(layer.weight * (1 - mask) + drawn * mask)
            layer.bias.set_value(layer.bias * (1 - dead))
            outgoing = paddle.concat([1 - dead, paddle.ones([following.weight.shape[1] - len(dead)])])
            following.weight.set_value(following.weight * outgoing.reshape([1, -1, 1, 1]))
    return found
