"""The bundled models: their outputs as PyTorch computes them."""

import itertools

import ppadaattn
from ppadaattn.media.images import read_image
from ppadaattn.resources import packaged
from ppadaattn.weights import zoo
from ppadaattn.weights.convert import network_from_arrays, read_arrays

import numpy as np
import paddle
import pytest
from conftest import decoder_shares

# Outputs of the same weights in an independent PyTorch implementation (float32, not clipped) for the two pictures of
# `wave`: statistics of each colour, and single pixels by row and column.
PEER = {
    "adaattn_image": {
        "mean": [0.664519, 0.410237, 0.538338],
        "std": [0.13043, 0.149436, 0.190289],
        (0, 0): [0.848912, 0.426509, 0.485642],
        (0, 60): [0.681282, 0.406215, 0.501864],
        (44, 0): [0.733262, 0.574267, 0.526325],
        (44, 60): [0.771578, 0.41542, 0.837181],
        (22, 30): [0.718004, 0.538795, 0.616394],
    },
    "adaattn_video": {
        "mean": [0.431761, 0.475254, 0.429342],
        "std": [0.153965, 0.171564, 0.193351],
        (0, 0): [0.503097, 0.58856, 0.197847],
        (0, 60): [0.378834, 0.286757, 0.376551],
        (44, 0): [0.306996, 0.67727, 0.493268],
        (44, 60): [0.589682, 0.595604, 0.690193],
        (22, 30): [0.513317, 0.511988, 0.553505],
    },
    "adaattn_lite_image": {
        "mean": [0.475383, 0.437595, 0.423468],
        "std": [0.199771, 0.165578, 0.209951],
        (0, 0): [0.704264, 0.420664, 0.250202],
        (0, 60): [0.403566, 0.495263, 0.736313],
        (44, 0): [0.62857, 0.548287, 0.627074],
        (44, 60): [0.5692, 0.506294, 0.424057],
        (22, 30): [0.810155, 0.625178, 0.45083],
    },
    "adaattn_lite_video": {
        "mean": [0.565413, 0.491207, 0.427578],
        "std": [0.220044, 0.179243, 0.216498],
        (0, 0): [0.902948, 0.291375, 0.0653205],
        (0, 60): [0.529816, 0.621246, 0.816497],
        (44, 0): [0.675544, 0.277231, 0.542045],
        (44, 60): [0.506725, 0.56752, 0.506249],
        (22, 30): [0.799862, 0.675737, 0.55933],
    },
}


def wave(height, width, phase):
    """A picture that is the same everywhere, uint8 H x W x 3."""
    y, x, colour = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    swing = np.sin(0.31 * x + 0.17 * y * (colour + 1) + phase) * np.cos(0.05 * x * y / (colour + 1) + phase)
    return np.round(127.5 + 127.5 * swing).astype("uint8")


def run(name, content, style, **options):
    """Output H x W x 3, float32, not clipped, of uint8 pictures; options of `load`."""
    tensors = [paddle.to_tensor(image.transpose(2, 0, 1)[None].astype("float32") / 255) for image in (content, style)]
    with paddle.no_grad():
        return ppadaattn.load(name, device="cpu", **options).network(*tensors)[0].numpy().transpose(1, 2, 0)


def check_peer(name, **options):
    output = run(name, wave(45, 61, 0.0), wave(38, 50, 2.0), **options)
    expected = dict(PEER[name])
    np.testing.assert_allclose(output.mean((0, 1)), expected.pop("mean"), atol=1e-4)
    np.testing.assert_allclose(output.std((0, 1)), expected.pop("std"), atol=1e-4)
    for (row, column), pixel in expected.items():
        np.testing.assert_allclose(output[row, column], pixel, atol=1e-3)


@pytest.mark.parametrize("name", zoo.BUNDLED)
def test_outputs_are_those_of_pytorch(name):
    check_peer(name)


@pytest.mark.parametrize("name", [name for name in zoo.MODELS if name not in zoo.BUNDLED])
def test_outputs_of_the_full_width_are_those_of_pytorch(shared, name):
    """With the VGG-19 that its heads were trained with."""
    check_peer(name, encoder=shared / "weights" / "vgg19_normalised.npz")


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


@pytest.mark.parametrize("name", zoo.BUNDLED)
def test_next_to_no_channel_of_a_decoder_is_dead(name):
    """A channel is dead where it is active in less than 1 % of positions of the bundled examples."""
    network = ppadaattn.load(name, device="cpu").network
    examples = packaged("examples")
    read = ([read_image(path, 128) for path in sorted((examples / kind).iterdir())] for kind in ("content", "style"))
    shares = decoder_shares(network, itertools.product(*read))
    dead = {name: float((share < 0.01).mean()) for name, share in shares.items()}
    assert len(dead) == 9 and max(dead.values()) <= 0.05, dead
