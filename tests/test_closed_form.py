"""The decoder in closed form, and layers that are trained where their inputs are white."""

import itertools

from ppadaattn.model.init import initialize
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.model.vgg import ReflectionConv2D
from ppadaattn.train import closed_form, layer_inputs, targets
from ppadaattn.train.closed_form import RIDGES, fit_decoder
from ppadaattn.train.config import TargetData
from ppadaattn.train.data import Targets
from ppadaattn.train.layer_inputs import draw_points, input_of, moments, patches
from ppadaattn.train.targets import TargetPainter
from ppadaattn.train.white_inputs import FLOOR, WhiteInputs

import numpy as np
import paddle
import pytest
from conftest import write_targets
from paddle import nn
from PIL import Image, ImageOps

SIZE = 48


@pytest.mark.parametrize("layer", [nn.Conv2D(3, 5, 1), ReflectionConv2D(3, 5)], ids=["1x1", "3x3"])
def test_a_convolution_is_the_product_of_patches_and_weights(rng, layer):
    x = paddle.to_tensor(rng.rand(2, 3, 7, 9).astype("float32"))
    chosen = draw_points(x, 50, rng)
    rows = patches(layer, x, chosen)
    assert rows.shape == (50, layer.weight[0].size) and len(set(chosen.tolist())) == 50
    expected = layer(x).transpose([0, 2, 3, 1]).flatten(0, 2).numpy()[chosen]
    found = rows @ layer.weight.flatten(1).numpy().T + layer.bias.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len(draw_points(x, 1000, rng)) == 2 * 7 * 9


def test_the_input_of_a_layer_is_seen_without_what_comes_after(rng):
    seen = []
    first, second, third = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(2, 2)
    third.register_forward_pre_hook(lambda *_: seen.append("third"))
    network, x = nn.Sequential(first, second, third), paddle.to_tensor(rng.rand(5, 3).astype("float32"))
    np.testing.assert_array_equal(input_of(second, lambda: network(x)).numpy(), first(x).numpy())
    assert not seen
    network(x)
    assert seen == ["third"], "nothing stops the network afterwards"


def test_moments_against_numpy(rng):
    rows = [(3 + rng.rand(n, 6) @ rng.rand(6, 6)).astype("float32") for n in (40, 70)]
    mean, covariance = moments(rows)
    together = np.concatenate(rows).astype("float64")
    np.testing.assert_allclose(mean, together.mean(0), rtol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(together.T, bias=True), rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# The decoder
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("relu", [False, True])
def test_regression_is_the_best_ridge_of_held_out_crops(rng, relu):
    """Against the naive formula in float64, over every ridge."""
    x = rng.randn(7, 12, 5) + 2
    y = np.maximum(x @ rng.randn(5, 3) + 2 * rng.randn(7, 12, 3), 0)
    weight, bias, unexplained = closed_form._regression(x.astype("float32"), y.astype("float32"), 2, relu)
    fitted_x, fitted_y = x[:5].reshape(-1, 5), y[:5].reshape(-1, 3)
    held_x, held_y = x[5:].reshape(-1, 5), y[5:].reshape(-1, 3)
    mean_x, mean_y = fitted_x.mean(0), fitted_y.mean(0)
    centred = fitted_x - mean_x
    found = []
    for ridge in RIDGES:
        added = ridge * np.square(centred).sum(0).mean() * np.eye(5)
        naive = np.linalg.inv(centred.T @ centred + added) @ centred.T @ (fitted_y - mean_y)
        predicted = (held_x - mean_x) @ naive + mean_y
        predicted = np.maximum(predicted, 0) if relu else predicted
        found.append((np.square(predicted - held_y).sum() / np.square(held_y - mean_y).sum(), naive))
    error, naive = min(found, key=lambda pair: pair[0])
    np.testing.assert_allclose(unexplained, error, rtol=1e-4)
    np.testing.assert_allclose(weight, naive, atol=1e-4)
    np.testing.assert_allclose(bias, mean_y - mean_x @ naive, atol=1e-4)


def test_a_layer_that_reads_nothing_gives_the_mean():
    x, y = np.zeros([3, 4, 2], "float32"), np.arange(12, dtype="float32").reshape(3, 4, 1)
    weight, bias, _ = closed_form._regression(x, y.copy(), 1, False)
    assert not weight.any() and bias == y[:2].mean()


@pytest.mark.parametrize("levels", [[3, 4, 5], [4]])
def test_a_fitted_decoder_comes_nearer_to_painted_pictures(rng, tmp_path, monkeypatch, levels):
    folders = write_targets(tmp_path)
    for path in (tmp_path / "painted").iterdir():  # what depends on the content can be learnt
        content = Image.open(tmp_path / "content" / f"{path.stem.split('_')[1]}.png")
        ImageOps.invert(content).save(path)
    source = Targets(TargetData(**folders, crop_size=SIZE, batch_size=4), {})
    paddle.seed(0)
    network = AdaAttNNetwork(width=0.0625, levels=levels)
    initialize(network, "kaiming", identity_attention=True)
    encoder = {name: tensor.numpy() for name, tensor in network.encoder.state_dict().items()}
    painter = TargetPainter(source, network, False)
    crops = [crop for step in range(8) for crop in painter.embed(network, step)]
    assert [tuple(painted.shape) for _, painted in crops] == [(1, 3, SIZE, SIZE)] * 32
    monkeypatch.setattr(targets.distributed, "get_rank", lambda: 1)
    again = painter.embed(network, 0)
    assert all((one == other).all() for (_, one), (_, other) in zip(crops, again)), "all processes fit the same decoder"
    monkeypatch.undo()
    _, stylized, painted = painter.paint(network, 0)
    for (embedded, target), whole, wanted in zip(crops, stylized, painted):
        np.testing.assert_array_equal(target[0].numpy(), wanted.numpy())
        np.testing.assert_allclose(network.decoder(embedded)[0].numpy(), whole.numpy(), atol=1e-5)

    def distance():
        with paddle.no_grad():
            pictures = [(network.decoder(embedded), target) for embedded, target in crops[-8:]]
        return np.mean([float((picture - target).abs().mean()) for picture, target in pictures])

    said, before = [], distance()
    fit_decoder(network, crops, rng, lambda name, share: said.append((name, share)), points=3200, held_out=8)
    names = ["stage3.0", "stage3.1", "stage3.2", "stage3.3", "stage2.0", "stage2.1", "stage1.0", "stage1.1"]
    assert [name for name, _ in said] == [*(["merge"] if 5 in levels else []), "stage4", *names]
    assert all(0 < share < 1 for _, share in said), said
    constant = np.mean([float((target - target.mean([2, 3], keepdim=True)).abs().mean()) for _, target in crops[-8:]])
    assert distance() < 0.9 * min(before, constant)  # AdaAttN takes the content's own means and deviations away
    assert all((network.encoder.state_dict()[name].numpy() == array).all() for name, array in encoder.items())
    assert all(parameter.grad is None for parameter in network.parameters())


# ---------------------------------------------------------------------------------------------------------------------
# White inputs
# ---------------------------------------------------------------------------------------------------------------------


def test_the_map_makes_inputs_white(rng):
    """The mean becomes 0, and a variance v becomes v / (v + floor), in all directions."""
    layer = nn.Conv2D(4, 2, 1)
    mixing = rng.randn(4, 4)
    batches = [paddle.to_tensor((rng.randn(1, 8, 8, 4) @ mixing + 5).astype("float32")) for _ in range(6)]
    white = WhiteInputs({"layer": layer})
    white.measure(lambda x: layer(x.transpose([0, 3, 1, 2])), batches, rng)
    matrix, mean = (tensor.numpy().astype("float64") for tensor in white.maps["layer"])
    rows = np.concatenate([x.numpy().reshape(-1, 4) for x in batches]).astype("float64")
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-5)
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    found = vectors.T @ np.cov(((rows - mean) @ matrix).T, bias=True) @ vectors
    floor = FLOOR * values.mean()
    np.testing.assert_allclose(found, np.diag(values / (values + floor)), atol=2e-3)  # the matrix is kept in float16


def parameter_of(array, rate=1.0):
    made = paddle.create_parameter(list(array.shape), "float32")
    made.set_value(array.astype("float32"))
    made.optimize_attr["learning_rate"] = rate
    return made


@pytest.mark.parametrize("rate", [1.0, 0.1])
def test_steps_are_those_of_the_layer_in_white_coordinates(rng, rate):
    """Against a layer that holds V and o themselves, W x + b = V P (x - m) + o, with automatic gradients."""
    paddle.seed(0)
    layer, other = ReflectionConv2D(2, 3), nn.Conv2D(3, 2, 1)
    layer.weight.optimize_attr["learning_rate"] = layer.bias.optimize_attr["learning_rate"] = rate
    images = [paddle.to_tensor((rng.rand(2, 2, 6, 6) + 3).astype("float32")) for _ in range(4)]
    wanted = paddle.to_tensor(rng.rand(2, 2, 6, 6).astype("float32"))
    white = WhiteInputs({"layer": layer})
    white.measure(layer, images, rng)
    matrix, mean = white.maps["layer"]

    v = parameter_of(np.linalg.solve(matrix.numpy(), layer.weight.flatten(1).numpy().T).T, rate)
    o = parameter_of((layer.bias + layer.weight.flatten(1) @ mean).numpy(), rate)
    kept = [parameter_of(other.weight.numpy()), parameter_of(other.bias.numpy())]
    options = {"beta1": 0.9, "beta2": 0.99}
    clip = nn.ClipGradByGlobalNorm(0.5)
    names = {"layer.weight": layer.weight, "layer.bias": layer.bias, "o.weight": other.weight, "o.bias": other.bias}
    stepped = white.replace(names)
    assert stepped["o.weight"] is other.weight and stepped["layer.weight"] is not layer.weight
    ours = paddle.optimizer.Adam(0.05, parameters=list(stepped.values()), grad_clip=clip, **options)
    theirs = paddle.optimizer.Adam(0.05, parameters=[v, o, *kept], grad_clip=clip, **options)
    for image in itertools.islice(itertools.cycle(images), 6):
        (other(layer(image)) - wanted).square().sum().backward()
        with white.step():
            ours.step()
        ours.clear_grad()
        assert all(parameter.grad is None or not parameter.grad.any() for parameter in names.values())

        rows = nn.functional.unfold(layer_inputs.reflect(layer_inputs.reflect(image, 2), 3), 3).transpose([0, 2, 1])
        hidden = (rows - mean) @ matrix @ v.T + o
        result = (hidden @ kept[0].flatten(1).T + kept[1]).transpose([0, 2, 1]).reshape(wanted.shape)
        (result - wanted).square().sum().backward()
        theirs.step()
        theirs.clear_grad()
        weight = v @ matrix
        np.testing.assert_allclose(layer.weight.flatten(1).numpy(), weight.numpy(), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(layer.bias.numpy(), (o - weight @ mean).numpy(), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(other.weight.numpy(), kept[0].numpy(), rtol=1e-3, atol=1e-4)


def test_maps_are_kept_to_the_last_bit(rng):
    layer = ReflectionConv2D(2, 3)
    white, again = WhiteInputs({"layer": layer}), WhiteInputs({"layer": layer})
    white.measure(layer, [paddle.to_tensor(rng.rand(2, 2, 6, 6).astype("float32"))], rng)
    saved = white.state_dict()
    assert {key: list(array.shape) for key, array in saved.items()} == white.shapes()
    again.load(saved)
    for ours, theirs in zip(white.maps["layer"], again.maps["layer"]):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
