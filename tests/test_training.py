"""Training: objectives, the loop, snapshots and what a run leaves behind. VGG-19 has random weights here."""

import errno
import math
import os
import re
import signal
import subprocess
import sys
import time
import types

import ppadaattn
from ppadaattn.cli.train import main
from ppadaattn.errors import InputError
from ppadaattn.media.images import read_image
from ppadaattn.model.attention import attention_statistics
from ppadaattn.model.features import normalize
from ppadaattn.model.init import initialize
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.model.vgg import Encoder
from ppadaattn.train import config as config_module
from ppadaattn.train import dead_channels, losses, objectives, run
from ppadaattn.train import trainer as trainer_module
from ppadaattn.train.config import Config, LogConfig, Schedule, TargetData, TrainData, load_config
from ppadaattn.train.data import Samples, Targets
from ppadaattn.train.logger import Logger
from ppadaattn.train.objectives import Distillation, Reconstruction, Stylization, build_objective
from ppadaattn.train.run import architecture, train
from ppadaattn.train.trainer import MovingAverage, Trainer, learning_rate, newest_checkpoint, snapshots
from ppadaattn.weights import checkpoint, zoo
from ppadaattn.weights.convert import vgg19

import numpy as np
import paddle
import pytest
from conftest import CONFIGURATIONS, ENVIRONMENT, ROOT, write_targets
from PIL import Image

SIZE = 32


@pytest.fixture(scope="session")
def vgg_file(tmp_path_factory):
    """VGG-19 with random weights that keep the size of activations (He et al. 2015), as .npz."""
    rng, arrays = np.random.RandomState(0), {}
    for name, tensor in Encoder().state_dict().items():
        fan_in = np.prod(tensor.shape[1:]) if name.endswith("weight") else 1
        scale = (2 / fan_in) ** 0.5 if name.endswith("weight") else 0.01
        arrays[name] = (scale * rng.randn(*tensor.shape)).astype("float32")
    path = tmp_path_factory.mktemp("vgg") / "vgg19.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def vgg(vgg_file):
    return vgg19(vgg_file)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder with contents/ and styles/, four smooth random pictures each."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.RandomState(1)
    for kind in ("contents", "styles"):
        (folder / kind).mkdir()
        for number in range(4):
            coarse = Image.fromarray(rng.randint(0, 256, (6, 6, 3)).astype("uint8"))
            coarse.resize((48, 44), Image.BICUBIC).save(folder / kind / f"{number}.png")
    return folder


@pytest.fixture
def words(tmp_path, pictures, vgg_file):
    """Overrides that make any configuration small: few iterations on little pictures, logged one by one."""
    return [
        f"output_dir={tmp_path / 'runs'}",
        f"encoder_weights={vgg_file}",
        f"dataset.train.content_root={pictures / 'contents'}",
        f"dataset.train.style_root={pictures / 'styles'}",
        f"dataset.test.content_root={pictures / 'contents'}",
        f"dataset.test.style_root={pictures / 'styles'}",
        f"dataset.train.load_size={SIZE + 4}",
        f"dataset.train.crop_size={SIZE}",
        f"dataset.test.size={SIZE}",
        "dataset.test.max_contents=2",
        "dataset.test.max_styles=2",
        "dataset.train.batch_size=1",
        "log_config.interval=1",
        "log_config.visual_interval=0",
        "validate.interval=0",
        "total_iters=4",
        "model.reinit_dead_channels=false",
        "device=cpu",
    ]


@pytest.fixture
def configure(words):
    def make(*more, name="adaattn_lite_image"):
        return load_config(ROOT / "configs" / f"{name}.yaml", [*words, *more])

    return make


def batch(rng, frames=1, size=SIZE):
    pair = {"content": rng.rand(2 * frames, 3, size, size), "style": rng.rand(2, 3, size, size)}
    return {name: paddle.to_tensor(array.astype("float32")) for name, array in pair.items()}


def logged(folder):
    """[(iteration, {name: text})] of the Iter lines of a run's log."""
    lines = (folder / "log.txt").read_text().splitlines()
    matches = [re.match(r"Iter: (\d+)/\d+ lr: \S+ (.*) batch_cost:", line) for line in lines]
    found = []
    for match in filter(None, matches):
        words = match[2].split()
        found.append((int(match[1]), {words[i][:-1]: words[i + 1] for i in range(0, len(words), 2)}))
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Objectives
# ---------------------------------------------------------------------------------------------------------------------


def test_stylization_takes_the_papers_losses_on_vgg_features(rng, vgg):
    network = ppadaattn.load("adaattn_lite_video", device="cpu").network
    config = Config().losses
    config.image_similarity.weight, config.content.weight, config.range.weight = 100, 1, 1
    config.local_feature.level_weights = {5: 0.5}
    objective, data = Stylization(network, vgg, config), batch(rng, frames=2)
    found, pictures = objective(data)
    assert objective.weights == {
        "global_style": 10, "local_feature": 3, "image_similarity": 100, "content": 1, "range": 1,
    }  # fmt: skip
    with paddle.no_grad():
        style = paddle.concat([data["style"]] * 2)
        image = network(data["content"], style)
        c, s, cs = vgg(data["content"]), vgg(style), vgg(image)
        frames = [tuple({n: x[half] for n, x in f.items()} for half in (slice(0, 2), slice(2, 4))) for f in (c, cs)]
        expected = {
            "global_style": losses.global_style_loss(cs, s),
            "local_feature": losses.local_feature_loss(cs, c, s, attention="cosine", level_weights={5: 0.5}),
            "image_similarity": losses.image_similarity_loss(*frames),
            "content": losses.content_loss(cs, c),
            "range": losses.range_loss(image),
        }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(float(found[name]), float(value), rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(pictures["stylized"].numpy(), image.numpy(), atol=1e-5)


def test_the_losses_of_the_compared_methods_are_of_the_pictures_that_they_name(rng, vgg):
    network = AdaAttNNetwork(width=0.0625, transform="mccnet")
    initialize(network)
    config = Config().losses
    names = ("adain_content", "gram_style", "identity_pixels", "identity_features", "illumination")
    names += ("disentangled_content", "disentangled_style", "total_variation")
    for name in names:
        getattr(config, name).weight = 1
    config.global_style.weight = config.local_feature.weight = 0
    objective, data = Stylization(network, vgg, config), batch(rng)
    found, _ = objective(data, seed=3)
    content, style = data["content"], data["style"]
    with paddle.no_grad():
        image = network(content, style)
        in_own_style = [network(picture, picture) for picture in (content, style)]
        random = np.random.RandomState(3)
        noise = random.uniform(0.01, 0.02) * random.standard_normal(content.shape)
        noisy = network(content + paddle.to_tensor(noise.astype("float32")), style)
        c, s, cs = vgg(content), vgg(style), vgg(image)
        one_content = vgg(network(paddle.concat([content[:1]] * 2), style))
        one_style = vgg(network(content, style[:1]))
        expected = {
            "adain_content": losses.adain_content_loss(cs, c, s),
            "gram_style": losses.gram_style_loss(cs, s),
            "identity_pixels": losses.identity_pixels_loss(in_own_style, [content, style]),
            "identity_features": losses.identity_features_loss([vgg(x) for x in in_own_style], [c, s]),
            "illumination": losses.illumination_loss(image, noisy),
            "disentangled_content": losses.disentangled_content_loss(one_content),
            "disentangled_style": losses.disentangled_style_loss(one_style),
            "total_variation": losses.total_variation_loss(image),
        }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(float(found[name]), float(value), rtol=1e-3, err_msg=name)


def test_range_loss_is_the_distance_to_the_range():
    image = paddle.to_tensor([[-0.5, 0.0, 0.3, 1.0, 1.5]])
    np.testing.assert_allclose(float(losses.range_loss(image)), (0.5 + 0.5) / 5)


@pytest.mark.parametrize("train_encoder", [False, True])
@pytest.mark.parametrize("attention", ["softmax", "cosine"])
def test_what_stylization_trains(rng, vgg, attention, train_encoder):
    network = AdaAttNNetwork(width=0.25, attention=attention)
    initialize(network, identity_attention=True)
    objective = Stylization(network, vgg, Config().losses, train_encoder)
    names = objective.trained_parameters()
    assert any("encoder" in name for name in names) == train_encoder
    assert {name.split(".")[1] for name in names} >= {"adaattn3", "adaattn4", "adaattn5", "decoder"}
    found, _ = objective(batch(rng))
    (10 * found["global_style"] + 3 * found["local_feature"]).backward()
    for name, parameter in names.items():
        assert parameter.grad is not None and bool(paddle.isfinite(parameter.grad).all()), name
        assert float(parameter.grad.abs().max()) > 0, name
    assert all(parameter.grad is None for parameter in vgg.parameters())
    if not train_encoder:
        assert all(parameter.grad is None for parameter in network.encoder.parameters())


def test_a_network_of_vggs_own_encoder_takes_its_features_from_the_losses(rng, vgg):
    network = AdaAttNNetwork(levels=[3])
    network.encoder.set_state_dict({name: vgg.state_dict()[name] for name in network.encoder.state_dict()})
    data = batch(rng)
    shared = Stylization(network, vgg, Config().losses)
    assert shared.shares_encoder and not Stylization(AdaAttNNetwork(levels=[3]), vgg, Config().losses).shares_encoder
    image = shared(data)[1]["stylized"]
    np.testing.assert_allclose(image.numpy(), network(data["content"], data["style"]).numpy(), atol=1e-4)


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_each_configuration_trains(rng, vgg, tmp_path, path):
    """One step at a sixteenth of the width: every loss is finite and every trained parameter moves towards less."""
    config = load_config(path, ["model.width=0.0625"])
    model = config.model
    network = AdaAttNNetwork(**architecture(model))
    initialize(network, model.init, model.identity_attention)
    options = TargetData(**write_targets(tmp_path), crop_size=SIZE, batch_size=1)
    wanted = config.dataset.train.targets.painted_root
    objective = build_objective(config, network, vgg, Targets(options, {}) if wanted else None)
    data = batch(rng, objective.frames)

    # The first picture of the release's video network is flat, so that L_is there is rounding noise.
    weights = {**objective.weights, **({"image_similarity": 0} if path.stem == "adaattn_video_release" else {})}

    def total():
        found, _ = objective(data)
        assert found.keys() == weights.keys() and all(map(np.isfinite, map(float, found.values())))
        return sum(weight * found[name] for name, weight in weights.items())

    before = total()
    before.backward()
    parameters = list(objective.trained_parameters().values())
    slope = sum(float(p.grad.square().sum()) for p in parameters if p.grad is not None)
    assert slope > 0
    step = 1e-4 * float(before) / slope  # a first-order decrease of a ten-thousandth: longer steps meet curvature
    with paddle.no_grad():
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.set_value(parameter - step * parameter.grad)
    assert float(total()) < float(before)


def test_distillation_and_reconstruction_losses(rng, vgg):
    network = AdaAttNNetwork(width=0.0625)
    objective, data = Distillation(network, vgg), batch(rng)
    found, _ = objective(data)
    image = paddle.concat([data["content"], data["style"]])
    features, targets = network.encoder(image), vgg(image)
    for mapping, (name, loss) in zip(objective.maps, found.items()):
        weight = mapping.weight.numpy()[:, :, 0, 0]
        predicted = np.einsum("oi,bihw->bohw", weight, features[name].numpy()) + mapping.bias.numpy()[:, None, None]
        target = targets[name].numpy()
        expected = ((predicted - target) ** 2).mean() / (target**2).mean()
        np.testing.assert_allclose(float(loss), expected, rtol=1e-4)
    objective = Reconstruction(network, vgg)
    found, pictures = objective(data)
    expected = np.abs(pictures["result"].numpy() - image.numpy()).mean()
    np.testing.assert_allclose(float(found["reconstruction"]), expected, rtol=1e-5)
    assert all(name.startswith("network.decoder") for name in objective.trained_parameters())
    network = AdaAttNNetwork(width=0.0625, transform="avatarnet")
    config = Config(reconstruction=config_module.Reconstruction(distance="mse", perceptual=1, total_variation=1))
    config.model.name = "reconstruction"
    objective = build_objective(config, network, vgg)
    found, pictures = objective(data)
    result = pictures["result"]
    np.testing.assert_allclose(result.numpy(), network.reconstruct(network.encoder(image)).numpy(), atol=1e-5)
    expected = {
        "reconstruction": np.square(result.numpy() - image.numpy()).mean(),
        "perceptual": float(losses.content_loss(vgg(result), vgg(image), levels=(1, 2, 3, 4))),
        "total_variation": float(losses.total_variation_loss(result)),
    }
    assert {name: float(loss) for name, loss in found.items()} == pytest.approx(expected, rel=1e-4)


def test_the_maps_of_distillation_begin_as_the_least_squares_solution(rng, vgg):
    network = AdaAttNNetwork(width=0.0625)
    initialize(network)
    objective, data = Distillation(network, vgg), batch(rng)
    objective.prepare([data])
    image = paddle.concat([data["content"], data["style"]])
    with paddle.no_grad():
        features, targets = network.encoder(image), vgg(image)
    for mapping, name in zip(objective.maps, objective.weights):
        points, wanted = (x[name].numpy().transpose(0, 2, 3, 1).reshape(-1, x[name].shape[1]).astype("float64")
                          for x in (features, targets))  # fmt: skip
        points = np.concatenate([points, np.ones_like(points[:, :1])], 1)
        best = np.square(points @ np.linalg.lstsq(points, wanted, rcond=None)[0] - wanted).mean()
        ours = float((mapping(features[name]) - targets[name]).square().mean())
        assert best * 0.999 < ours < best * 1.01 + 1e-6 * np.square(wanted).mean()


def test_dead_channels_begin_anew(rng, vgg):
    """Alive, at the mean and deviation that the lab's recipe gives them, with little effect on what was alive."""
    network = AdaAttNNetwork(width=0.25, attention="cosine")
    initialize(network, identity_attention=True)
    killed = {"decoder.stage4": 64, "decoder.stage3.1": 5, "decoder.stage2.0": 1}
    layers = dict(network.named_sublayers())
    for name, count in killed.items():
        bias = layers[name].bias.numpy()
        bias[:count] = -1e6
        layers[name].bias.set_value(bias)
    objective, batches = Stylization(network, vgg, Config().losses), [batch(rng) for _ in range(2)]
    before = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    shares = dead_channels.active_shares(objective.relu_convolutions(), objective.run_network, batches)
    assert float(shares["decoder.stage4"].max()) == 0 and shares.keys() == revivable(network)
    assert "decoder.stage4 64 of 64" in dead_channels.describe_dead_channels(objective, batches)
    revived = dead_channels.reinit_dead_channels(objective, batches)
    assert {name: revived[name][0] >= count for name, count in killed.items()} == dict.fromkeys(killed, True)
    assert revived["decoder.stage4"] == (64, 64)
    outputs = []
    hook = layers["decoder.stage4"].register_forward_post_hook(
        lambda layer, inputs, output: outputs.append(output.numpy())  # a copy: the ReLU works in place
    )
    found, _ = objective(batches[0])
    objective.run_network(batches[1])
    hook.remove()
    points = np.concatenate([output.transpose(1, 0, 2, 3).reshape(64, -1) for output in outputs], 1)
    np.testing.assert_allclose(points.mean(1), 0.3, atol=1e-3)
    np.testing.assert_allclose(points.std(1, ddof=1), 1, rtol=1e-3)
    found["global_style"].backward()
    assert float(layers["decoder.stage3.0"].weight.grad[:, :64].abs().max()) > 0  # which was cut off before
    kept = shares["decoder.stage3.0"].numpy() >= dead_channels.DEAD_BELOW
    outgoing = network.decoder.stage3[0].weight.numpy()[kept, :64]
    np.testing.assert_allclose(outgoing.std(), 0.1 * (2 / (128 * 9)) ** 0.5, rtol=0.05)
    after = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert not [name for name in changed if not name.startswith("decoder.")]
    alive = np.arange(5, 64)  # of decoder.stage3.1, unless they were dead too
    if revived["decoder.stage3.1"][0] == 5:
        weight = "decoder.stage3.1.bias"
        np.testing.assert_array_equal(after[weight][alive], before[weight][alive])
    assert dead_channels.reinit_dead_channels(objective, batches).get("decoder.stage4", (0, 64))[0] == 0


def revivable(network):
    """The names of the decoder's convolutions but the last."""
    return {name.rpartition(".")[0] for name in network.state_dict() if re.match(r"decoder\.(?!stage1\.1)", name)}


def test_white_inputs_are_of_trained_convolutions(vgg):
    network = AdaAttNNetwork(width=0.0625)
    objective = Reconstruction(network, vgg)
    layers = objectives.white_layers(objective, ["decoder.stage2", "decoder.merge"])
    assert sorted(layers) == ["network.decoder.merge", "network.decoder.stage2.0", "network.decoder.stage2.1"]
    assert layers["network.decoder.merge"] is network.decoder.merge
    for prefix, nearest_one in (("decoder.marge", "decoder.merge"), ("encoder", "")):  # which is not trained here
        with pytest.raises(InputError, match=rf"white_inputs: no trained .* begins with '{prefix}'.*{nearest_one}"):
            objectives.white_layers(objective, [prefix])


def test_frozen_layers_stay(configure, words):
    options = ["model.reinit_dead_channels=true", "total_iters=2", "lr_scheduler.warmup_iters=0"]
    config = configure("model.freeze=[decoder.stage1, adaattn3]", *options)
    folder = train(config, "name").folder
    before = ppadaattn.load("adaattn_lite_image", device="cpu").network.state_dict()
    after = ppadaattn.load(folder / "iter_2_weight.pdparams", device="cpu").network.state_dict()
    for name, tensor in before.items():
        frozen = name.startswith(("decoder.stage1", "adaattn3", "encoder"))
        if frozen or name in ("adaattn3.h.weight", "decoder.stage2.1.weight"):
            assert bool((tensor == after[name]).all()) == frozen, name
    with pytest.raises(InputError, match=r"model\.freeze: no layer's name begins with 'decoder\.stage9'"):
        train(configure("model.freeze=[decoder.stage9]"), "name")


def test_identity_attention_begins_as_adaattn_star(rng):
    network = AdaAttNNetwork(width=0.25)
    initialize(network, "kaiming", identity_attention=True)
    value, key = (paddle.to_tensor(rng.rand(1, c, 6, 5).astype("float32")) for c in (64, 112))
    state = network.adaattn3.prepare_style(value, normalize(key))
    embedded = network.adaattn3(value, normalize(key), state)
    flat = normalize(key).flatten(2)
    query = flat / 112**0.25  # the temperature of scaled dot-product attention
    mean, std = (x.reshape(value.shape) for x in attention_statistics(query, query, value.flatten(2)))
    star = std * normalize(value) + mean
    assert float((embedded - star).abs().mean()) < 0.15 * float(star.abs().mean())


@pytest.mark.parametrize("init", ["kaiming", "release"])
def test_first_weights_have_the_spread_that_is_asked_for(init):
    network = AdaAttNNetwork(width=0.25)
    initialize(network, init)
    for layer in (network.decoder.merge, network.adaattn5.g):
        expected = (2 / np.prod(layer.weight.shape[1:])) ** 0.5 if init == "kaiming" else 0.02
        assert abs(float(layer.weight.std()) / expected - 1) < 0.05 and float(layer.bias.abs().max()) == 0


# ---------------------------------------------------------------------------------------------------------------------
# Schedules and averages
# ---------------------------------------------------------------------------------------------------------------------


def test_schedules():
    rate = 2e-4
    constant = Schedule("constant", rate)
    assert [learning_rate(constant, i, 10) for i in (1, 5, 10)] == [rate] * 3
    linear = Schedule("linear", rate, decay_after=0.5)
    np.testing.assert_allclose([learning_rate(linear, i, 10) / rate for i in (1, 6, 7, 10)], [1, 1, 0.8, 0.2])
    cosine = Schedule("cosine", rate)
    np.testing.assert_allclose(learning_rate(cosine, 6, 10), rate / 2)
    np.testing.assert_allclose(learning_rate(cosine, 10, 10), rate * (1 + math.cos(0.9 * math.pi)) / 2)
    warm = Schedule("constant", rate, warmup_iters=4)
    np.testing.assert_allclose([learning_rate(warm, i, 10) / rate for i in (1, 2, 4, 5)], [0.25, 0.5, 1, 1])


def test_moving_average_against_its_formula():
    parameter = paddle.create_parameter([2], "float32")
    values = [np.array(pair, "float32") for pair in ((1, 2), (3, -1), (0, 5))]
    parameter.set_value(values[0])
    average, expected = MovingAverage({"p": parameter}, 0.2), values[0]
    for iteration, value in enumerate(values[1:], 1):
        parameter.set_value(value)
        average.update(iteration)
        decay = min(0.2, iteration / (iteration + 10))
        expected = decay * expected + (1 - decay) * value
    with average.applied():
        np.testing.assert_allclose(parameter.numpy(), expected, rtol=1e-6)
    np.testing.assert_array_equal(parameter.numpy(), values[-1])


# ---------------------------------------------------------------------------------------------------------------------
# Runs
# ---------------------------------------------------------------------------------------------------------------------


def test_a_run_leaves_its_configuration_log_pictures_and_weights(configure, capsys):
    config = configure(
        "snapshot_config.interval=2", "snapshot_config.keep_last=2", "log_config.visual_interval=2",
        "validate.interval=4", "validate.save_img=true",
    )  # fmt: skip
    folder, stopped_by, weights, *_ = train(config, "name")
    assert weights == folder / "iter_4_weight.pdparams"
    assert stopped_by is None and re.fullmatch(r"name-\d{4}(-\d\d){5}", folder.name)
    assert load_config(folder / "config.yaml") == config
    lines = (folder / "log.txt").read_text().splitlines()
    assert lines == [line for line in capsys.readouterr().out.splitlines() if line]
    assert [line.split()[1] for line in lines if line.startswith("Iter: ")] == ["1/4", "2/4", "3/4", "4/4"]
    for word in ("lr", "global_style", "local_feature", "range", "total", "batch_cost", "reader_cost", "ips", "eta"):
        assert f" {word}: " in lines[-3], word
    assert re.search(r"peak_memory: \d+ MiB", lines[-3]) and lines[-2].startswith("Validation at 4: global_style: ")
    assert lines[-1].startswith("Snapshot at 4: dead channels: ")
    for _, terms in logged(folder):
        values = {name: float(text) for name, text in terms.items()}
        total = 10 * values["global_style"] + 3 * values["local_feature"] + 10 * values["range"]
        np.testing.assert_allclose(values["total"], total, rtol=1e-5)
    assert read_image(folder / "visual_train" / "iter_2.jpg").shape == (3 * SIZE, SIZE, 3)
    assert read_image(folder / "visual_test" / "iter_4.jpg").shape == (3 * SIZE + 4 * 8, 3 * SIZE + 4 * 8, 3)
    assert snapshots(folder) == [2, 4]
    names = {f"iter_{n}_{kind}.pdparams" for n in (2, 4) for kind in ("checkpoint", "weight")}
    assert names <= set(os.listdir(folder)) and not [name for name in os.listdir(folder) if name.startswith(".")]
    painted = ppadaattn.load(folder / "iter_4_weight.pdparams", device="cpu")(*[np.zeros((20, 24, 3), "uint8")] * 2)
    assert painted.shape == (20, 24, 3)


def test_only_the_last_snapshots_are_kept(configure):
    folder = train(configure("snapshot_config.interval=1", "snapshot_config.keep_last=2"), "name").folder
    assert sorted(name for name in os.listdir(folder) if name.startswith("iter_")) == [
        f"iter_{n}_{kind}.pdparams" for n in (3, 4) for kind in ("checkpoint", "weight")
    ]


@pytest.mark.parametrize(
    "name, more",
    [
        ("adaattn_lite_image", []),
        ("adaattn_lite_image", ["optimizer.white_inputs=[decoder, adaattn4.h]"]),
        ("adaattn_lite_video", []),
    ],
)
def test_resuming_takes_the_same_steps_to_the_last_bit(configure, name, more):
    options = ["snapshot_config.interval=2", "optimizer.accumulate=2", "lr_scheduler.warmup_iters=0", *more]
    whole = train(configure(*options, name=name), "whole").folder
    resumed = train(configure(*options, name=name), "again", resume=whole / "iter_2_checkpoint.pdparams").folder
    assert resumed == whole
    (third, fourth), again = logged(whole)[2:4], logged(whole)[4:]
    assert again == [third, fourth]
    assert third[1]["total"] != fourth[1]["total"]


def test_a_killed_run_goes_on_to_the_last_bit(words, tmp_path):
    def command(output, *more):
        overrides = [word for word in words if not word.startswith("output_dir")] + [f"output_dir={tmp_path / output}"]
        options = ["total_iters=12", "snapshot_config.interval=3", *more]
        return [sys.executable, ROOT / "tools" / "main.py", "-c", ROOT / "configs" / "adaattn_lite_image.yaml", "-o",
                *overrides, *options]  # fmt: skip

    subprocess.run(command("whole"), check=True, env=ENVIRONMENT, capture_output=True)
    process = subprocess.Popen(command("killed"), env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("Iter: 8/"):
            process.kill()
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    (whole,), (killed,) = ((tmp_path / output).iterdir() for output in ("whole", "killed"))
    newest = newest_checkpoint(killed)
    assert newest.name in ("iter_3_checkpoint.pdparams", "iter_6_checkpoint.pdparams")
    before = len(logged(killed))
    subprocess.run([*command("killed"), "--resume", killed], check=True, env=ENVIRONMENT, capture_output=True)
    first = checkpoint.load_checkpoint(newest)["iteration"]
    assert logged(killed)[before:] == logged(whole)[first:]
    ends = [checkpoint.load_checkpoint(folder / "iter_12_checkpoint.pdparams")["weights"] for folder in (whole, killed)]
    assert all((ends[0][name] == ends[1][name]).all() for name in ends[0])


def test_an_interrupted_run_writes_a_checkpoint_and_says_how_to_go_on(words, tmp_path):
    command = [
        sys.executable,
        "tools/main.py",
        "-c",
        "configs/adaattn_lite_image.yaml",
        "-o",
        *words,
        "total_iters=500",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT
    )
    for line in process.stdout:
        if line.startswith("Iter: 2/"):
            process.send_signal(signal.SIGINT)
            break
    _, error = process.communicate()
    assert process.returncode == 130 and "Traceback" not in error
    answer = r"finishing iteration [23], then writing a checkpoint; once more ends at once"
    assert re.search(answer, error)
    (folder,) = (tmp_path / "runs").iterdir()
    assert snapshots(folder) and snapshots(folder)[0] in (2, 3)
    (told,) = [line for line in error.splitlines() if "to resume: " in line]
    told = told.partition("to resume: ")[2]
    told = told.replace("python tools/main.py", f"{sys.executable} tools/main.py", 1).replace(
        "total_iters=500", "total_iters=4"
    )
    subprocess.run(told, shell=True, check=True, cwd=ROOT, env=ENVIRONMENT, capture_output=True)
    assert snapshots(folder)[-1] == 4


def test_accumulated_batches_are_one_large_batch(configure):
    options = ["total_iters=3", "lr_scheduler.warmup_iters=0", "lr_scheduler.learning_rate=0.0001"]
    options += ["losses.global_style.distance=l2"]
    large = train(configure(*options, "dataset.train.batch_size=2"), "large").folder
    small = train(configure(*options, "dataset.train.batch_size=1", "optimizer.accumulate=2"), "small").folder
    for (_, a), (_, b) in zip(logged(large), logged(small)):
        assert a.keys() == b.keys() and len(a) == 4
        for name in a:
            np.testing.assert_allclose(float(a[name]), float(b[name]), rtol=1e-3, atol=1e-5, err_msg=name)


def test_two_processes_are_one_with_the_same_total_batch(words, tmp_path, configure):
    options = ["total_iters=3", "lr_scheduler.warmup_iters=0", "lr_scheduler.learning_rate=0.0001"]
    one = train(configure(*options, "dataset.train.batch_size=2", name="adaattn_lite_video"), "one").folder
    launch = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--backend", "gloo",
              "--log_dir", tmp_path / "log"]  # fmt: skip
    command = [*launch, "tools/main.py", "-c", "configs/adaattn_lite_video.yaml", "-o", *words, *options]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    (two,) = (tmp_path / "runs").glob("adaattn_lite_video-*")
    assert len(logged(two)) == 3 and len(list((tmp_path / "runs").iterdir())) == 2
    for (_, a), (_, b) in zip(logged(one), logged(two)):
        for name in a:
            np.testing.assert_allclose(float(b[name]), float(a[name]), rtol=1e-3, atol=1e-5, err_msg=name)


def test_one_pair_is_learnt_by_heart(tmp_path, pictures):
    """200 iterations of the small model on one content and one style, from a decoder that knows nothing.

    The losses are on the small model's own features, which are like VGG-19's and are here without a download.
    """
    network = ppadaattn.load("adaattn_lite_image", device="cpu").network
    features = ppadaattn.load("adaattn_lite_image", device="cpu").network.encoder
    features.eval()
    for parameter in features.parameters():
        parameter.stop_gradient = True
    initialize(network.decoder)
    config = Config(total_iters=200, lr_scheduler=Schedule("constant", 2e-3))
    config.log_config = LogConfig(interval=1, visual_interval=0)
    config.dataset.train = TrainData(
        str(pictures / "contents"), str(pictures / "styles"), load_size=32, crop_size=32, batch_size=1
    )
    samples = Samples(config.dataset.train, 1, seed=0)
    samples.contents.items, samples.styles.items = samples.contents.items[:1], samples.styles.items[:1]
    logger = Logger(tmp_path / "run")
    Trainer(Stylization(network, features, config.losses), samples, config, logger).run()
    logger.close()
    totals = [float(terms["total"]) for _, terms in logged(tmp_path / "run")]
    assert len(totals) == 200 and np.mean(totals[-5:]) < totals[0] / 4


def test_small_models_from_nothing(words, pictures, tmp_path):
    """Distillation, reconstruction, stylization: each begins with the weights of the one before."""
    small = ["total_iters=2", "model.width=0.0625"]
    weights = None
    for name in ("distill_lite", "reconstruct_lite", "adaattn_lite_video"):
        load = ["--load", str(weights)] if weights else []
        path = str(ROOT / "configs" / f"{name}.yaml")
        assert main(["-c", path, "-o", *words, *small, *load]) == 0
        (folder,) = (tmp_path / "runs").glob(f"{name}-*")
        weights = folder / "iter_2_weight.pdparams"
    stylizer = ppadaattn.load(weights, device="cpu")
    assert stylizer.network.architecture["attention"] == "cosine" and stylizer.network.architecture["width"] == 0.0625
    painted = stylizer(pictures / "contents" / "0.png", pictures / "styles" / "0.png")
    assert painted.shape == (44, 48, 3)


def test_validation_alone(configure, capsys, vgg, pictures):
    folder = train(configure("validate.save_img=false"), "name", evaluate_only=True).folder
    assert os.listdir(folder) == ["log.txt"]
    (line,) = (folder / "log.txt").read_text().splitlines()
    objective = Stylization(ppadaattn.load("adaattn_lite_image", device="cpu").network, vgg, configure().losses)
    expected = []
    for content in ("0.png", "1.png"):
        for style in ("0.png", "1.png"):
            pair = [Image.open(pictures / path).resize((SIZE, SIZE), Image.BICUBIC) for path in
                    (f"contents/{content}", f"styles/{style}")]  # fmt: skip
            pair = [paddle.to_tensor(np.asarray(x).transpose(2, 0, 1)[None].astype("float32") / 255) for x in pair]
            expected.append(float(objective(dict(zip(("content", "style"), pair)))[0]["global_style"]))
    assert line.startswith("Validation at 0: global_style: ") and "pairs: 4" in line
    np.testing.assert_allclose(float(line.split()[4]), np.mean(expected), rtol=1e-4)


# ---------------------------------------------------------------------------------------------------------------------
# VisualDL
# ---------------------------------------------------------------------------------------------------------------------


class FakeWriter:
    """Stands in for visualdl.LogWriter: notes what it is given."""

    def __init__(self, logdir):
        self.scalars, self.images, self.closed = [], [], False
        FakeWriter.last = self

    def add_scalar(self, tag, step, value):
        self.scalars.append((tag, step, value))

    def add_image(self, tag, img, step):
        assert img.dtype == np.uint8
        self.images.append((tag, step))

    def close(self):
        self.closed = True


def test_visualdl_gets_every_loss_at_its_step(configure, monkeypatch):
    monkeypatch.setitem(sys.modules, "visualdl", types.SimpleNamespace(LogWriter=FakeWriter))
    options = ["enable_visualdl=true", "validate.interval=2", "validate.save_img=true", "log_config.visual_interval=4"]
    folder = train(configure(*options), "name").folder
    found = {(tag, step): value for tag, step, value in FakeWriter.last.scalars}
    for iteration, terms in logged(folder):
        for name, text in terms.items():
            np.testing.assert_allclose(found[f"loss/{name}", iteration], float(text), rtol=1e-6)
        weighted = found["weighted/local_feature", iteration]
        np.testing.assert_allclose(weighted, 3 * float(terms["local_feature"]), rtol=1e-6)
        assert found["train/lr", iteration] > 0 and found["train/ips", iteration] > 0
    assert [step for tag, step in found if tag == "validation/total"] == [2, 4] and FakeWriter.last.closed
    sheets = [("visual_train", 1), ("visual_test", 2), ("visual_train", 4), ("visual_test", 4)]
    assert FakeWriter.last.images == sheets


def test_the_real_visualdl_reads_back_what_was_written(tmp_path):
    visualdl = pytest.importorskip("visualdl")
    logger = Logger(tmp_path, visualdl=True)
    for step in (1, 2, 3):
        logger.scalars(step, {"loss/total": 0.5 * step})
    logger.close()
    (file,) = (tmp_path / "vdl").iterdir()
    read = visualdl.LogReader(file_path=str(file)).get_data("scalar", "loss/total")
    assert [(record.id, record.value) for record in read] == [(1, 0.5), (2, 1.0), (3, 1.5)]


def test_visualdl_that_is_missing_or_fails_is_told_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "visualdl", None)
    logger = Logger(tmp_path / "missing", visualdl=True)
    logger.scalars(1, {"a": 1.0, "b": 2.0})
    logger.close()
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "pip install visualdl" in told and "training continues" in told

    class Full(FakeWriter):
        def add_scalar(self, tag, step, value):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(sys.modules, "visualdl", types.SimpleNamespace(LogWriter=Full))
    logger = Logger(tmp_path / "full", visualdl=True)
    for step in (1, 2):
        logger.scalars(step, {"a": 1.0, "b": 2.0})
    logger.text("a line")
    logger.close()
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "No space left" in told
    assert (tmp_path / "full" / "log.txt").read_text() == "a line\n"


# ---------------------------------------------------------------------------------------------------------------------
# What a run says
# ---------------------------------------------------------------------------------------------------------------------


def test_a_short_run_has_a_line_a_sheet_and_scalars_at_both_ends(configure, monkeypatch):
    monkeypatch.setitem(sys.modules, "visualdl", types.SimpleNamespace(LogWriter=FakeWriter))
    options = ("enable_visualdl=true", "log_config.interval=100", "log_config.visual_interval=1000", "total_iters=3")
    run = train(configure(*options), "name")
    assert [iteration for iteration, _ in logged(run.folder)] == [1, 3]
    assert sorted(os.listdir(run.folder / "visual_train")) == ["iter_1.jpg", "iter_3.jpg"]
    assert [step for tag, step, _ in FakeWriter.last.scalars if tag == "loss/total"] == [1, 3]
    assert (run.folder / "log.txt").read_text().count("batch_cost: ") == 2


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_a_bar_and_other_outputs_only_lines(configure, monkeypatch, capsys, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    folder = train(configure("total_iters=2"), "name").folder
    shown = capsys.readouterr()
    assert ("| 2/2 [" in shown.err and "total 0." in shown.err and "eta 0:00:00" in shown.err) == terminal
    assert bool(shown.err) == terminal and shown.out.splitlines() == (folder / "log.txt").read_text().splitlines()


def test_validation_and_saving_are_not_in_the_costs(configure, monkeypatch):
    """A clock that moves only where it is told: a second in each step, an hour in validations and snapshots."""
    now = [0.0]
    monkeypatch.setattr(trainer_module.time, "perf_counter", lambda: now[0])

    def slow(method, seconds):
        def work(*arguments):
            now[0] += seconds
            return method(*arguments)

        return work

    monkeypatch.setattr(Trainer, "step", slow(Trainer.step, 1.0))
    monkeypatch.setattr(Trainer, "validate", slow(Trainer.validate, 3600.0))
    monkeypatch.setattr(Trainer, "snapshot", slow(Trainer.snapshot, 3600.0))
    folder = train(
        configure("validate.interval=1", "snapshot_config.interval=1", "log_config.interval=3"), "name"
    ).folder
    lines = [line for line in (folder / "log.txt").read_text().splitlines() if line.startswith("Iter: ")]
    assert len(lines) == 3 and all("batch_cost: 1.000 s" in line and "ips: 1.000 " in line for line in lines)
    assert "eta: 0:00:03" in lines[0] and "eta: 0:00:01" in lines[1]


def test_the_last_lines_are_the_weights_and_how_to_paint(words, tmp_path, pictures, capsys):
    path = str(ROOT / "configs" / "adaattn_lite_image.yaml")
    assert main(["-c", path, "-o", *words, "total_iters=1"]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    weights = folder / "iter_1_weight.pdparams"
    *_, first, last = capsys.readouterr().out.splitlines()
    assert first == f"weights: {weights}" and weights.is_file()
    command = ["ppadaattn", "paint", "--model", weights, "--content", pictures / "contents" / "0.png", "--style"]
    assert last == f"to paint: {' '.join(map(str, command))} {pictures / 'styles' / '0.png'}"


@pytest.mark.parametrize("offline", ["1", ""])
def test_all_that_is_missing_is_one_answer_before_any_download(tmp_path, monkeypatch, capsys, offline):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PPADAATTN_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PPADAATTN_OFFLINE", offline)
    monkeypatch.setattr("ppadaattn.weights.download.download", lambda *_: pytest.fail("nothing is to be downloaded"))
    monkeypatch.setattr(zoo, "FOLDERS", (tmp_path / "pretrained",))
    assert main(["-c", "adaattn_image.yaml", "-o", "device=cpu"]) == 2
    (first, *missing, own, small), told = capsys.readouterr().err.splitlines(), "dataset.train."
    assert [line.partition(":")[0].strip() for line in missing] == [
        f"- {told}content_root", f"- {told}style_root", *["- VGG-19 is needed"] * bool(offline)
    ]  # fmt: skip
    assert first == f"error: {len(missing)} things are missing or wrong:"
    folders = "-o dataset.train.content_root=PHOTOS dataset.train.style_root=PAINTINGS"
    assert own == f"with folders of your own: ppadaattn train -c adaattn_image.yaml {folders}"
    assert small == f"without a download: ppadaattn train -c adaattn_lite_video.yaml {folders}"
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_the_small_configuration_needs_nothing_but_pictures(words, tmp_path, monkeypatch, pictures):
    """The command that the answer above gives, from any folder, without the internet; made short here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PPADAATTN_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PPADAATTN_OFFLINE", "1")
    folders = [f"dataset.train.{kind}_root={pictures / f'{kind}s'}" for kind in ("content", "style")]
    short = ["total_iters=1", "dataset.test.max_contents=1", "dataset.test.max_styles=1", "dataset.test.size=32"]
    short += ["dataset.train.crop_size=32", "dataset.train.load_size=36", "device=cpu"]
    assert main(["-c", "adaattn_lite_video.yaml", "-o", *folders, *short]) == 0
    (folder,) = (tmp_path / "output_dir").iterdir()
    assert (folder / "iter_1_weight.pdparams").is_file()


def test_other_mistakes_get_no_commands(words, capsys):
    assert main(["-c", str(ROOT / "configs" / "adaattn_lite_image.yaml"), "-o", *words, "load=adaattn_lite_vdieo"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "did you mean 'adaattn_lite_video'" in told


# ---------------------------------------------------------------------------------------------------------------------
# What can go wrong
# ---------------------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_the_run(configure, monkeypatch):
    calls = []

    def range_loss(image):
        calls.append(1)
        return (image * (math.nan if len(calls) > 3 else 1.0)).mean()

    monkeypatch.setattr(objectives.losses, "range_loss", range_loss)
    config = configure("snapshot_config.interval=2")
    with pytest.raises(
        InputError, match=r"iteration 4 is not finite: global_style \d\S*, local_feature \d\S*, range nan"
    ):
        train(config, "name")
    (folder,) = (ROOT / config.output_dir).iterdir()
    assert snapshots(folder) == [2]
    weights = checkpoint.load_checkpoint(folder / "iter_2_checkpoint.pdparams")["weights"]
    assert all(np.isfinite(array).all() for array in weights.values())


def test_a_full_disk_leaves_the_checkpoint_before(configure, monkeypatch):
    save, calls = paddle.save, []

    def full(state, path):
        calls.append(path)
        if len(calls) > 2:
            with open(path, "wb") as file:
                file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(state, path)

    monkeypatch.setattr(paddle, "save", full)
    config = configure("snapshot_config.interval=2")
    with pytest.raises(InputError, match=r"iter_4_checkpoint\.pdparams cannot be written: No space left"):
        train(config, "name")
    (folder,) = (ROOT / config.output_dir).iterdir()
    assert sorted(os.listdir(folder)) == [
        "config.yaml", "iter_2_checkpoint.pdparams", "iter_2_weight.pdparams", "log.txt",
    ]  # fmt: skip
    assert checkpoint.load_checkpoint(newest_checkpoint(folder))["iteration"] == 2


@pytest.fixture
def run_folder(configure):
    return train(configure("total_iters=1"), "name")[0]


@pytest.mark.parametrize(
    "options, sentence",
    [
        ([], r"is of iteration 1, and total_iters is 1: there is nothing left to do"),
        (["model.attention=cosine", "total_iters=2"], r"architecture .*'softmax'.*'cosine'.*begin a new run .* `load`"),
        (["seed=5", "total_iters=2"], "is of a run with seed 0, this configuration has 5"),
        (["ema_decay=null", "total_iters=2"], "is of a run with ema_decay"),
        (["optimizer.white_inputs=[decoder]", "total_iters=2"], "is of a run with another optimizer.white_inputs"),
        (["dataset.train.batch_size=2", "total_iters=2"], "samples_per_iteration 1, this configuration has 2"),
        (["model.name=reconstruction", "total_iters=2"], "objective 'Stylization', this configuration has 'Recon"),
    ],
)
def test_resuming_from_another_run_is_refused(configure, run_folder, options, sentence):
    with pytest.raises(InputError, match=sentence):
        train(configure("total_iters=1", *options), "name", resume=run_folder)


def test_resuming_from_what_is_no_checkpoint(configure, run_folder, tmp_path):
    config = configure("total_iters=2")
    with pytest.raises(InputError, match="holds 'ppadaattn weights 1', not 'ppadaattn checkpoint 1'.*`load` takes"):
        train(config, "name", resume=run_folder / "iter_1_weight.pdparams")
    with pytest.raises(InputError, match="`resume`: there is no file or folder"):
        train(config, "name", resume=tmp_path / "nowhere.pdparams")
    with pytest.raises(InputError, match=r"holds no iter_N_checkpoint\.pdparams to resume from"):
        train(config, "name", resume=tmp_path)


def test_white_inputs_of_another_shape_are_refused(configure):
    options = ["optimizer.white_inputs=[decoder.merge]"]
    folder = train(configure("total_iters=1", *options), "name").folder
    path = folder / "iter_1_checkpoint.pdparams"
    saved = checkpoint.load_checkpoint(path)
    assert {key: array.dtype for key, array in saved["white_inputs"].items()} == {
        "network.decoder.merge.matrix": "float16",
        "network.decoder.merge.mean": "float32",
    }
    saved["white_inputs"]["network.decoder.merge.mean"] = np.zeros(3, "float32")
    saved.pop("format")
    checkpoint.save_checkpoint(path, saved)
    with pytest.raises(InputError, match=r"its white input network.decoder.merge.mean are float32 \[3\], expected"):
        train(configure("total_iters=2", *options), "name", resume=folder)


def test_a_run_begins_with_a_decoder_in_closed_form(configure, tmp_path, monkeypatch):
    """The first losses are those of the fitted decoder; a resumed run does not fit it again."""
    monkeypatch.setattr(run, "CROPS", 32)
    targets = [f"dataset.train.targets.{key}={value}" for key, value in write_targets(tmp_path / "targets").items()]
    options = [*targets, "dataset.train.targets.crop_size=32", "dataset.train.targets.feature_size=16"]
    options += ["losses.target_pixels.weight=10", "lr_scheduler.learning_rate=1e-9", "optimizer.white_inputs=[decoder]"]
    options += ["load=adaattn_lite_image", "load_only=[encoder]"]
    distances = []
    for fits in ("false", "true"):
        config = configure(*options, f"model.closed_form_decoder={fits}", "total_iters=2")
        folder = train(config, fits).folder
        distances.append(float(logged(folder)[1][1]["target_pixels"]))
    text = (folder / "log.txt").read_text()
    assert distances[1] < 0.7 * distances[0], distances
    assert text.count("of the variance of held-out crops is left") == 10 and "fitting the decoder to 32 crops" in text
    train(configure(*options, "model.closed_form_decoder=true", "total_iters=3"), "again", folder)
    assert len(logged(folder)) == 3 and (folder / "log.txt").read_text().count("fitting the decoder") == 1


def test_where_the_newest_checkpoint_is_damaged_the_one_before_is_named(configure, run_folder):
    first = run_folder / "iter_1_checkpoint.pdparams"
    for iteration in (2, 3):
        (run_folder / f"iter_{iteration}_checkpoint.pdparams").write_bytes(first.read_bytes()[:-100])
    with pytest.raises(InputError, match="iter_3_.* damaged, .*; the one before it is whole: resume from .*iter_1_ch"):
        train(configure("total_iters=2"), "name", resume=run_folder)
    first.write_bytes(b"")
    with pytest.raises(InputError, match="iter_3_.* damaged") as error:
        train(configure("total_iters=2"), "name", resume=run_folder)
    assert "whole" not in str(error.value)


def test_two_processes_do_not_train_in_one_folder(words, run_folder):
    options = [*words, "total_iters=100000", "snapshot_config.interval=100000"]
    command = [sys.executable, ROOT / "tools" / "main.py", "-c", ROOT / "configs" / "adaattn_lite_image.yaml", "-o",
               *options, "--resume", run_folder]  # fmt: skip
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as first:
        while not first.stdout.readline().startswith("Iter: 2/"):
            pass
        before = sorted(os.listdir(run_folder))
        second = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
        assert second.returncode == 2 and second.stdout == "" and "Traceback" not in second.stderr
        assert f"the run {run_folder} is being written by process {first.pid} on " in second.stderr
        assert sorted(os.listdir(run_folder)) == before and "run.lock" in before
        first.kill()
    config = load_config(ROOT / "configs" / "adaattn_lite_image.yaml", [*words, "total_iters=2"])
    train(config, "name", resume=run_folder)
    assert "run.lock" not in os.listdir(run_folder)


@pytest.mark.parametrize("change", [lambda c: c.pop("white_inputs"), lambda c: c.update(white_inputs=None)])
def test_an_older_checkpoint_resumes(configure, run_folder, change):
    path = run_folder / "iter_1_checkpoint.pdparams"
    saved = checkpoint.load_checkpoint(path)
    change(saved)
    saved.pop("pairings")
    saved.pop("format")
    checkpoint.save_checkpoint(path, saved)
    train(configure("total_iters=2"), "name", resume=run_folder)
    assert (run_folder / "iter_2_weight.pdparams").is_file()


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda c: c.pop("weights"), "is no checkpoint of this training: 'weights'"),
        (lambda c: c.update(weights=[]), "is no checkpoint of this training"),
        (lambda c: c["weights"].popitem(), "its weights have other names than expected, such as "),
        (lambda c: c["weights"].update(odd=np.zeros(3, "float32")), "its weights have other names than expected"),
        (lambda c: c.update(weights={n: array[None] for n, array in c["weights"].items()}), "its weights of"),
        (lambda c: c.update(weights=dict.fromkeys(c["weights"], 1)), "its weights of .* are int, expected float32"),
        (lambda c: c.pop("average"), "is no checkpoint of this training: 'average'"),
        (lambda c: c.update(average={}), "its average have other names"),
        (lambda c: c.pop("optimizer"), "is no checkpoint of this training: 'optimizer'"),
        (lambda c: c["optimizer"].update({"a:b": np.zeros(1, "float32")}), "its optimizer knows 'a:b'"),
        (lambda c: c.update(optimizer=dict.fromkeys(c["optimizer"], "x")), "are str, expected float32"),
        (lambda c: c.update(white_inputs=3), "is no checkpoint of this training"),
        (lambda c: c.update(white_inputs={"odd.mean": np.zeros(3)}), "is of a run with another optimizer.white_inputs"),
        (lambda c: c.update(iteration="3"), "its iteration is '3'"),
        (lambda c: c.update(iteration=-1), "its iteration is -1"),
        (lambda c: c.update(seed=np.zeros(3)), "is no checkpoint of this training"),
    ],
)  # fmt: skip
def test_checkpoints_that_hold_something_else_are_one_sentence(configure, run_folder, change, sentence):
    path = run_folder / "iter_1_checkpoint.pdparams"
    saved = checkpoint.load_checkpoint(path)
    change(saved)
    saved.pop("format")
    checkpoint.save_checkpoint(path, saved)
    with pytest.raises(InputError, match=sentence) as error:
        train(configure("total_iters=2"), "name", resume=run_folder)
    assert str(error.value).isprintable()


def test_what_a_run_needs_is_asked_for_in_one_sentence(configure):
    for options, sentence in (
        (["load=null"], "a network of width 0.25 needs trained weights of its encoder"),
        (["load=adaattn_lite_vdieo"], "did you mean 'adaattn_lite_video'"),
        (["model.width=0.5"], "does not fit the network"),
        (["dataset.train.content_root=/nowhere"], r"dataset\.train\.content_root: there is no folder /nowhere"),
        (["dataset.test.style_root=null", "validate.interval=1"], r"dataset\.test\.style_root is not set"),
        (["encoder_weights=/nowhere.npz"], "encoder_weights: there is no file /nowhere.npz"),
        (["device=tpu"], "device 'tpu' is not known"),
        (["output_dir=/proc/nowhere"], "cannot be written"),
    ):
        with pytest.raises(InputError, match=sentence):
            train(configure(*options), "name")


def test_encoder_and_decoder_serve_another_transform(configure, capsys):
    """A decoder for level 4 on the bundled encoder, then AdaIN and Linear on both."""
    once = (
        "model.width=0.25",
        "model.levels=[4]",
        "model.reinit_dead_channels=false",
        "total_iters=1",
        "ema_decay=null",
    )
    first = train(configure(*once, "model.name=reconstruction", "load_only=[encoder]"), "first").folder
    text = (first / "log.txt").read_text()
    assert "adaattn_lite_image: taken: encoder; new weights: adaattn4, decoder" in text
    bundled = ppadaattn.load("adaattn_lite_image", device="cpu").network.state_dict()
    weights = first / "iter_1_weight.pdparams"
    decoded = checkpoint.load_network(weights).state_dict()
    for name, tensor in decoded.items():
        if name.startswith("encoder"):
            np.testing.assert_array_equal(tensor.numpy(), bundled[name].numpy())
    still = ("model.freeze=[decoder]", f"load={weights}", "validate.interval=0")
    second = train(configure(*once, *still, "model.transform=linear"), "second").folder
    text = (second / "log.txt").read_text()
    assert f"{weights}: taken: encoder, decoder; new weights: adaattn4" in text
    for name, tensor in checkpoint.load_network(second / "iter_1_weight.pdparams").state_dict().items():
        if not name.startswith("adaattn4"):
            np.testing.assert_array_equal(tensor.numpy(), decoded[name].numpy(), err_msg=name)
    further = ("model.transform=linear", "total_iters=2", "load=null", "validate.interval=0")
    train(configure(*once, *further, "model.freeze=[decoder]"), "second", resume=second)
    assert (second / "iter_2_weight.pdparams").exists(), "what goes on needs nothing to load"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["model.transform=adain", "model.levels=[4]"], "does not fit the network .*decoder.stage3.0.weight has shape"),
        (["model.levels=[3]"], "does not fit the network"),
        (["load_only=[enc0der]"], "load_only: no layer's name begins with 'enc0der' .did you mean 'encoder'"),
        (["load=null", "load_only=[encoder]", "model.width=1"], "load_only says what is taken from `load`, which is"),
    ],
)
def test_weights_that_do_not_fit_are_refused(configure, options, sentence):
    with pytest.raises(InputError, match=sentence):
        train(configure(*options), "misfit")


def test_losses_on_the_features_of_a_small_encoder_need_no_vgg(rng, configure, monkeypatch):
    monkeypatch.setattr(run, "vgg19", None)
    small = ("encoder_weights=adaattn_lite_image", "total_iters=2")
    folder = train(configure(*small), "small").folder
    bundled = ppadaattn.load("adaattn_lite_image", device="cpu").network
    for name, tensor in checkpoint.load_network(folder / "iter_2_weight.pdparams").state_dict().items():
        same = np.array_equal(tensor.numpy(), bundled.state_dict()[name].numpy())
        assert same == name.startswith("encoder"), name
    by_file = train(configure(*small, f"encoder_weights={zoo.weights_file('adaattn_lite_image')}"), "by_file").folder
    assert logged(by_file) == logged(folder)
    encoder, data = run._loss_encoder("adaattn_lite_image"), batch(rng)
    objective = Stylization(bundled, encoder, Config().losses)
    found, pictures = objective(data)
    with paddle.no_grad():
        features = {name: bundled.encoder(picture) for name, picture in pictures.items()}
    expected = losses.global_style_loss(features["stylized"], features["style"])
    np.testing.assert_allclose(float(found["global_style"]), float(expected), rtol=1e-5)
    sum(found.values()).backward()
    assert objective.shares_encoder and all(parameter.grad is None for parameter in encoder.parameters())
    assert bundled.decoder.merge.weight.grad is not None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], r"losses\.global_style\.levels: relu5_1 is not among"),
        (
            ["model.name=reconstruction", "reconstruction.perceptual=1", "reconstruction.perceptual_levels=[4]"],
            r"reconstruction\.perceptual_levels: relu4_1 is not among .*, which end at relu3_1; give levels up to 3",
        ),
        (["model.width=1", "load=null"], "a network of width 1 begins with VGG-19, and encoder_weights is "),
    ],
)
def test_losses_that_a_small_encoder_cannot_give_are_refused(configure, tmp_path, options, sentence):
    path = tmp_path / "shallow.pdparams"
    checkpoint.save_weights(path, AdaAttNNetwork(width=0.25, levels=[3]))
    with pytest.raises(InputError, match=sentence):
        train(configure(f"encoder_weights={path}", *options), "refused")


def test_load_and_resume_do_not_go_together(capsys):
    path = str(ROOT / "configs" / "adaattn_image.yaml")
    assert main(["-c", path, "--resume", "a", "--load", "b"]) == 2
    assert capsys.readouterr().err.startswith("error: --resume continues with the weights of its checkpoint")


def test_runs_that_begin_in_one_second_have_folders_of_their_own(configure, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda form: "now")
    folders = [train(configure(), "name", evaluate_only=True)[0].name for _ in range(3)]
    assert folders == ["name-now", "name-now-2", "name-now-3"]
