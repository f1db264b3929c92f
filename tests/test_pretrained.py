"""The bundled models: their outputs as PyTorch computes them."""

import ppadaattn
from ppadaattn import zoo
from ppadaattn.convert import network_from_arrays, read_arrays

import numpy as np
import paddle
import pytest

# Outputs of the same weights in an independent PyTorch implementation (float32, not clipped) for the two pictures of
# `wave`: statistics of each colour, and single pixels by row and column.
PEER = {
    "adaattn_lite_image": {
        "mean": [0.452089, 0.458048, 0.574004],
        "std": [0.198878, 0.131775, 0.161985],
        (0, 0): [0.648771, 0.365046, 0.343638],
        (0, 60): [0.552469, 0.704678, 0.741654],
        (44, 0): [0.420213, 0.522478, 0.696052],
        (44, 60): [0.25291, 0.436304, 0.662441],
        (22, 30): [0.243118, 0.370768, 0.499507],
    },
    "adaattn_lite_video": {
        "mean": [0.409502, 0.418543, 0.56746],
        "std": [0.218093, 0.146618, 0.211224],
        (0, 0): [0.639791, 0.204195, 0.306324],
        (0, 60): [0.432095, 0.507732, 0.750111],
        (44, 0): [0.537515, 0.597771, 0.795442],
        (44, 60): [0.47411, 0.51412, 0.66964],
        (22, 30): [0.481841, 0.542488, 0.69379],
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


@pytest.mark.parametrize("name", zoo.MODELS)
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
