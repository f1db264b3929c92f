"""The bundled models: their outputs as PyTorch computes them."""

import ppadaattn
from ppadaattn.media.images import read_image, to_floats
from ppadaattn.resources import packaged
from ppadaattn.weights import zoo
from ppadaattn.weights.convert import network_from_arrays, read_arrays

import numpy as np
import paddle
import pytest
from paddle import nn

# Outputs of the same weights in an independent PyTorch implementation (float32, not clipped) for the two pictures of
# `wave`: statistics of each colour, and single pixels by row and column.
PEER = {
    "adaattn_lite_image": {
        "mean": [0.483011, 0.409724, 0.521221],
        "std": [0.195432, 0.170605, 0.182649],
        (0, 0): [0.66861, 0.317054, 0.230116],
        (0, 60): [0.408932, 0.509463, 0.770279],
        (44, 0): [0.808099, 0.72874, 0.786994],
        (44, 60): [0.595852, 0.532825, 0.66314],
        (22, 30): [0.703745, 0.582553, 0.638984],
    },
    "adaattn_lite_video": {
        "mean": [0.562348, 0.517681, 0.506196],
        "std": [0.203437, 0.202013, 0.221955],
        (0, 0): [1.022799, 0.55212, 0.340491],
        (0, 60): [0.614648, 0.691933, 0.740753],
        (44, 0): [0.555271, 0.603951, 0.516073],
        (44, 60): [0.443874, 0.464348, 0.439033],
        (22, 30): [0.742795, 0.7287, 0.690461],
    },
}


def wave(height, width, phase):
    """A picture that is the same everywhere, uint8 H x W x 3."""
    y, x, colour = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    swing = np.sin(0.31 * x + 0.17 * y * (colour + 1) + phase) * np.cos(0.05 * x * y / (colour + 1) + phase)
    return np.round(127.5 + 127.5 * swing).astype("uint8")


def run(name, content, style):
    """Output H x W x 3, float32, not clipped, of uint8 pictures."""
    tensors = [paddle.to_tensor(image.transpose(2, 0, 1)[None].astype("float32") / 255) for image in (content, style)]
    with paddle.no_grad():
        return ppadaattn.load(name, device="cpu").network(*tensors)[0].numpy().transpose(1, 2, 0)


@pytest.mark.parametrize("name", zoo.BUNDLED)
def test_outputs_are_those_of_pytorch(name):
    output = run(name, wave(45, 61, 0.0), wave(38, 50, 2.0))
    expected = dict(PEER[name])
    np.testing.assert_allclose(output.mean((0, 1)), expected.pop("mean"), atol=1e-4)
    np.testing.assert_allclose(output.std((0, 1)), expected.pop("std"), atol=1e-4)
    for (row, column), pixel in expected.items():
        np.testing.assert_allclose(output[row, column], pixel, atol=1e-3)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_reference_outputs_are_met(shared, kind):
    """On the weights that they were computed from, which the bundled ones were trained further from."""
    expected = np.load(shared / "weights" / f"reference_{kind}.npz")
    arrays = read_arrays(shared / "weights" / f"adaattn_lite_{kind}.npz")
    network = network_from_arrays(arrays, kind, attention={"image": "softmax", "video": "cosine"}[kind])
    network.eval()
    tensors = [
        paddle.to_tensor(expected[role].transpose(2, 0, 1)[None].astype("float32") / 255)
        for role in ("content", "style")
    ]
    with paddle.no_grad():
        features = network.encoder(tensors[0])
        style = network.prepare_style(tensors[1])
        for level, layer, _, key in network.attention_inputs(features):
            np.testing.assert_allclose(
                features[f"relu{level}_1"][0].numpy(), expected[f"content_relu{level}_1"], atol=1e-4
            )
            query = layer.f(key).flatten(2)
            mean, std = style.states[level].statistics(query)
            shape = expected[f"mean{level}"].shape
            np.testing.assert_allclose(mean.numpy().reshape(shape), expected[f"mean{level}"], atol=5e-3)
            # Where one style point takes all the attention, std is the root of rounding noise.
            np.testing.assert_allclose(std.numpy().reshape(shape), expected[f"std{level}"], atol=3e-2)
        output = network.stylize(tensors[0], style)[0].numpy().transpose(1, 2, 0)
    assert np.abs(output - expected["output"]).max() <= 1e-3


def test_no_channel_of_the_image_models_decoder_is_dead(stylizer):
    """A channel is dead where it is active in less than 1 % of positions of the bundled examples."""
    active, examples = {}, packaged("examples")

    def note(name):
        def hook(layer, inputs, output):
            active.setdefault(name, []).append((output > 0).astype("float32").mean([0, 2, 3]).numpy())

        return hook

    layers = [
        (name, layer) for name, layer in stylizer.network.decoder.named_sublayers() if isinstance(layer, nn.Conv2D)
    ]
    hooks = [layer.register_forward_post_hook(note(name)) for name, layer in layers[:-1]]  # the last one has no ReLU
    read = [[read_image(path, 128) for path in sorted((examples / kind).iterdir())] for kind in ("content", "style")]
    with paddle.no_grad():
        for content in read[0]:
            for style in read[1]:
                stylizer.network(*(paddle.to_tensor(to_floats(picture[None])) for picture in (content, style)))
    for hook in hooks:
        hook.remove()
    dead = {name: float((np.mean(shares, 0) < 0.01).mean()) for name, shares in active.items()}
    assert len(dead) == 9 and max(dead.values()) <= 0.05, dead
