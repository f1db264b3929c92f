"""The recipe of configs/lite: painted pictures of another network, pairings, channels that stay alive."""

import functools
import importlib.util
import json
import os
import subprocess
import sys

import ppadaattn
from ppadaattn.errors import CombinedInputError, InputError
from ppadaattn.model.init import initialize
from ppadaattn.model.network import AdaAttNNetwork, Decoder
from ppadaattn.train import losses, targets
from ppadaattn.train.config import Config, Schedule, TargetData, TrainData, load_config
from ppadaattn.train.data import Cropper, Samples, TargetCrop, Targets
from ppadaattn.train.logger import Logger
from ppadaattn.train.objectives import Reconstruction, Stylization, build_objective
from ppadaattn.train.run import train
from ppadaattn.train.targets import TargetPainter
from ppadaattn.train.trainer import Trainer, _Clock, learning_rate
from ppadaattn.weights.convert import vgg19

import numpy as np
import paddle
import pytest
from conftest import ROOT, SHARED, smooth, write_targets
from PIL import Image

SIZE = 32


@pytest.fixture
def target_data(tmp_path):
    return TargetData(**write_targets(tmp_path / "targets"), crop_size=SIZE, feature_size=16, num_style_points=40)


@pytest.fixture(scope="session")
def small_vgg():
    """The bundled small encoder in VGG-19's place."""
    encoder = ppadaattn.load("adaattn_lite_image", device="cpu").network.encoder
    for parameter in encoder.parameters():
        parameter.stop_gradient = True
    return encoder


# ---------------------------------------------------------------------------------------------------------------------
# The lab's trainer
# ---------------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def lab_python():
    """A Python with PyTorch: the one that PPADAATTN_TORCH_PYTHON names, else this one; skips the test without."""
    if not (SHARED / "lab" / "fit.py").is_file():
        pytest.skip("the lab's trainer beside a developer's checkout, ../shared/lab, is not here")
    if "PPADAATTN_TORCH_PYTHON" in os.environ:
        return os.environ["PPADAATTN_TORCH_PYTHON"]
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed; PPADAATTN_TORCH_PYTHON may name a Python that has it")
    return sys.executable


class PlannedTargets(Targets):
    """Draws what the plan says: [(name of a painted picture, top, left)] for each step."""

    plan = ()

    def draw(self, rng, permute=True):
        size = self.data.crop_size
        for name, top, left in next(self.plan):
            (target,) = [target for target in self.painted if target.path.name == name]
            square = (slice(top, top + size), slice(left, left + size))
            painted = np.asarray(Image.open(target.path))
            yield TargetCrop(target, (0, 1, 2), self.contents[target.content][square], painted[square])


@pytest.mark.parametrize("name", ["image", "video"])
def test_steps_are_those_of_the_lab(shared, tmp_path, monkeypatch, rng, name):
    """Two steps on one batch with another pairing each: every loss and the total, in float32 both."""
    python, size, margin = lab_python(), 64, 16 if name == "video" else 0
    vgg_file = shared / "weights" / "vgg19_normalised.npz"
    options = ["total_iters=2", "dataset.train.pairings=2", "lr_scheduler.learning_rate=0.02"]
    options += ["dataset.train.batch_size=2", f"dataset.train.crop_size={size}"]
    config = load_config(ROOT / "configs" / "lite" / f"{name}.yaml", options)
    data = TargetData(**write_targets(tmp_path, (160, 176)), crop_size=128, num_style_points=300)
    kind = config.model.attention
    network = AdaAttNNetwork(width=0.25, attention=kind)
    network.set_state_dict(ppadaattn.load("adaattn_lite_image", device="cpu").network.state_dict())
    bias = network.state_dict()["decoder.stage1.1.bias"]
    bias.set_value(bias + 0.4)  # many values leave [0, 1]: "range" is more than rounding
    np.savez(tmp_path / "network.npz", **{key: tensor.numpy() for key, tensor in network.state_dict().items()})

    contents = np.stack([smooth(rng, size + margin, size + margin) for _ in range(2)]).transpose(0, 3, 1, 2)
    styles = np.stack([smooth(rng, size, size) for _ in range(2)]).transpose(0, 3, 1, 2)
    np.savez(tmp_path / "batch.npz", content=contents, style=styles)
    corners = [(3, 10), (12, 5)] if margin else [(0, 0)]
    frames = np.concatenate([contents[:, :, y : y + size, x : x + size] for y, x in corners])
    batch = {"content": frames.astype("float32") / 255, "style": styles.astype("float32") / 255}

    drawn = [
        [("style0_content1.png", 16, 32), ("style1_content0.png", 0, 48)],
        [("style1_content1.png", 32, 0), ("style0_content1.png", 0, 16)],
    ]
    points = []

    def sample_points(count, most, seed):
        points.append(np.random.RandomState(seed).permutation(count)[:most])
        return paddle.to_tensor(points[-1])

    monkeypatch.setattr(targets, "sample_points", sample_points)
    source = PlannedTargets(data, {})
    source.plan = iter(drawn)
    objective = build_objective(config, network, vgg19(vgg_file), source)
    trainer, stream, clock = Trainer(objective, None, config, Logger(None)), iter([batch]), _Clock()
    ours = [trainer.step(stream, clock)[0] for _ in range(2)]

    names = {"style": "global_style", "local": "local_feature", "range": "range"}
    names.update({"similarity": "image_similarity"} if margin else {})
    names.update(mirror_pixels="target_pixels", mirror_features="target_features", alive="alive")
    draws = {
        "randint": [number for corner in corners for number in corner],
        "choices": [painted for step in drawn for painted, _, _ in step],
        "randrange": [n for step in drawn for n in (*(x for _, *corner in step for x in corner), 0, 0)],
        "randperm": [chosen.tolist() for chosen in points],
    }
    words = ["--content", ".", "--style", ".", "--teacher", vgg_file, "--init", tmp_path / "network.npz"]
    words += ["--out", tmp_path / "fit.pt", "--mirror", tmp_path, "--kind", kind, "--size", size]
    words += ["--batch", 4 if margin else 2, "--pairings", 2, "--iterations", 2, "--lr", 0.02, "--train-encoder"]
    words += ["--style-shares", 3.2, 4.0, 5.7, 3.6, 10.1, "--local-shares", 5.7, 3.6, 10.1, "--mirror-weight", 80]
    words += ["--similarity", 10] if margin else []
    plan = {"lab": str(SHARED / "lab"), "words": list(map(str, words)), "names": list(names), "draws": draws}
    plan.update(crop_size=128, num_style_points=300, refresh_interval=300)
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    command = [python, str(ROOT / "tests" / "lab_step.py"), str(tmp_path)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env={**environment, "CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 0, done.stdout + done.stderr
    labs = json.loads((tmp_path / "losses.json").read_text())
    for step, (found, expected) in enumerate(zip(ours, labs), 1):
        for theirs, own in {**names, "total": "total"}.items():
            print(f"{name} step {step} {own}: {found[own]:.6g} {found[own] / expected[theirs] - 1:+.1e}")
            np.testing.assert_allclose(found[own], expected[theirs], rtol=1e-3, err_msg=f"{own} of step {step}")
    assert abs(ours[1]["total"] / ours[0]["total"] - 1) > 0.01, "the first step changed something"


# ---------------------------------------------------------------------------------------------------------------------
# Painted pictures
# ---------------------------------------------------------------------------------------------------------------------


def test_a_crop_is_painted_as_the_whole_picture_would_be(target_data, small_vgg):
    """Attention with the statistics of the whole content, and all of the style: F_cs of a crop is a crop of F_cs."""
    network = ppadaattn.load("adaattn_lite_image", device="cpu").network
    target_data.num_style_points, target_data.crop_size = None, 64  # all rows: only the columns are cropped
    source = Targets(target_data, {})
    painter = TargetPainter(source, network, train_encoder=False)
    content, style = source.contents["content1"], source.styles["style0"]
    as_tensor = lambda picture: paddle.to_tensor(picture.transpose(2, 0, 1)[None].astype("float32") / 255)  # noqa: E731
    with paddle.no_grad():
        features, prepared = network.encoder(as_tensor(content)), network.prepare_style(as_tensor(style))
        whole = network.embed(features, prepared)
        statistics = painter._statistics(network, "content1", (0, 1, 2))
        own = painter._style(network, "style0", (0, 1, 2), seed=0)
        again = network.embed(features, own, **statistics)
        cropped = {name: feature[..., : -(-64 // 2**level)] for level, (name, feature) in enumerate(features.items())}
        part = network.embed(cropped, own, **statistics)
    for level in (3, 4, 5):
        np.testing.assert_allclose(again[level].numpy(), whole[level].numpy(), atol=1e-3)
        columns = part[level].shape[3] - 1  # bilinear resizing sees the border of the crop in its last column
        np.testing.assert_allclose(
            part[level][..., :columns].numpy(), whole[level][..., :columns].numpy(), atol=1e-3, err_msg=str(level)
        )


def test_target_losses_against_their_formulas(target_data, rng, small_vgg):
    network = ppadaattn.load("adaattn_lite_image", device="cpu").network
    config = Config().losses
    config.global_style.weight = config.local_feature.weight = 0
    config.target_pixels.weight, config.target_features.weight = 10, 3
    objective = Stylization(network, small_vgg, config, targets=Targets(target_data, {}))
    found, pictures = objective({"content": None, "style": None}, seed=4)
    assert objective.weights == {"target_pixels": 10, "target_features": 3} and found.keys() == objective.weights.keys()
    image, target = pictures["stylized"], pictures["target"]
    assert image.shape == target.shape == pictures["content"].shape == [2, 3, SIZE, SIZE]
    np.testing.assert_allclose(float(found["target_pixels"]), np.abs((image - target).numpy()).mean(), rtol=1e-5)
    actual, wanted = (small_vgg(part) for part in objective.targets.window(4, image, target))
    expected = np.mean([
        np.abs((actual[name] - wanted[name]).numpy()).mean() / np.abs(wanted[name].numpy()).mean()
        for name in ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
    ])  # fmt: skip
    np.testing.assert_allclose(float(found["target_features"]), expected, rtol=1e-4)
    again, _ = objective({"content": None, "style": None}, seed=4)
    other, _ = objective({"content": None, "style": None}, seed=5)
    assert float(again["target_pixels"]) == float(found["target_pixels"]) != float(other["target_pixels"])
    sum(found.values()).backward()
    assert float(network.adaattn5.g.weight.grad.abs().max()) > 0


def test_whole_pictures_are_encoded_anew_where_the_encoder_is_trained(target_data):
    network = AdaAttNNetwork(width=0.0625)
    initialize(network)
    target_data.refresh_interval = 3
    painter = TargetPainter(Targets(target_data, {}), network, train_encoder=True)
    weight, seen = network.encoder.conv1_1.weight, []
    for iteration in range(1, 8):
        painter.refresh(network, iteration)
        seen.append(float(painter.encoder.conv1_1.weight.sum()) == float(weight.sum()))
        painter.paint(network, seed=iteration)
        weight.set_value(weight + 0.01)
    assert seen == [True, False, False, True, False, False, True]
    assert all(parameter.stop_gradient for parameter in painter.encoder.parameters())


def test_targets_that_cannot_be_used_are_named_skipped_and_counted(target_data, tmp_path):
    folder = tmp_path / "targets"
    for name in ("style7_content0", "style0_content7", "nothing"):
        Image.new("RGB", (80, 64)).save(folder / "painted" / f"{name}.png")
    Image.new("RGB", (64, 64)).save(folder / "painted" / "style0_content0.png")  # of another size
    (folder / "painted" / "style1_content1.png").write_bytes(b"no picture")
    Image.new("RGB", (80, 64)).save(folder / "painted" / "style_2_content0.png")  # an underscore in a name
    Image.new("RGB", (80, 64)).save(folder / "style" / "style_2.png")
    (folder / "style" / "style9.png").write_bytes(b"no picture")
    Image.new("RGB", (80, 64)).save(folder / "painted" / "style9_content0.png")
    skipped = {}
    source = Targets(target_data, skipped)
    drawn = {target.path.stem for seed in range(40) for target, *_ in source.draw(np.random.RandomState(seed))}
    assert drawn == {"style1_content0", "style0_content1", "style_2_content0"}
    reasons = {os.path.basename(name): reason for name, reason in skipped.items()}
    sentences = {
        "style7_content0.png": "its style style7 is not in dataset.train.targets.style_root",
        "style0_content7.png": "its content content7 is not in dataset.train.targets.content_root",
        "nothing.png": "its content STYLE_CONTENT is not in",
        "style0_content0.png": "it has 64 x 64 pixels, and its content content0 has 80 x 64",
        "style1_content1.png": "is not a picture that can be read",
        "style9_content0.png": "style9.png is not a picture",
    }
    assert reasons.keys() == sentences.keys()
    for name, sentence in sentences.items():
        assert sentence in reasons[name], name
    for target, _, content, painted in source.draw(np.random.RandomState(0)):
        places = [(y, x) for y in range(0, 33, 16) for x in range(0, 49, 16)]
        whole = source.contents[target.content], np.asarray(Image.open(target.path))
        assert any(
            all((part == image[y : y + SIZE, x : x + SIZE]).all() for part, image in zip((content, painted), whole))
            for y, x in places
        )


def test_crops_are_flipped_and_colours_exchanged_in_all_three_pictures_alike(target_data):
    target_data.flip, target_data.permute_colours = True, 0.5
    source, seen = Targets(target_data, {}), set()
    for seed in range(20):
        for target, colours, content, painted in source.draw(np.random.RandomState(seed)):
            wholes = source.contents[target.content], np.asarray(Image.open(target.path))
            found = {
                (y, x, step)
                for y in range(0, 33, 16)
                for x in range(0, 49, 16)
                for step in (1, -1)
                if all(
                    (part == whole[y : y + SIZE, x : x + SIZE][:, ::step][..., colours]).all()
                    for part, whole in zip((content, painted), wholes)
                )
            }
            assert len(found) == 1, "one square, turned alike"
            seen.add((colours, found.pop()[2]))
    assert {step for _, step in seen} == {1, -1} and len({colours for colours, _ in seen}) == 6
    as_they_are = [crop for seed in range(20) for crop in source.draw(np.random.RandomState(seed), permute=False)]
    assert {colours for _, colours, *_ in as_they_are} == {(0, 1, 2)}
    network = AdaAttNNetwork(width=0.0625)
    initialize(network)
    painter, order = TargetPainter(source, network, train_encoder=False), (2, 0, 1)
    painter.source.styles["other"] = source.styles["style0"][..., order]
    swapped, own = (painter._style(network, *which, seed=0) for which in (("style0", order), ("other", (0, 1, 2))))
    for level in (3, 4, 5):
        states = [style.states[level].state_dict() for style in (swapped, own)]
        assert states[0].keys() == states[1].keys()
        for name in states[0]:
            np.testing.assert_array_equal(*(np.asarray(state[name]) for state in states), err_msg=name)


def test_targets_that_are_missing_are_one_answer(target_data, tmp_path):
    for key in ("content_root", "painted_root"):
        setattr(target_data, key, str(tmp_path / "nowhere"))
    target_data.style_root = None
    with pytest.raises(CombinedInputError) as error:
        Targets(target_data, {})
    assert [str(one).partition(" is ")[0].partition(":")[0] for one in error.value.errors] == [
        f"dataset.train.targets.{kind}_root" for kind in ("content", "style", "painted")
    ]
    folder = tmp_path / "strangers"
    folder.mkdir()
    Image.new("RGB", (80, 64)).save(folder / "a_b.png")
    strangers = TargetData(**{f"{kind}_root": str(folder) for kind in ("content", "style", "painted")})
    with pytest.raises(
        InputError, match="no painted picture can be used, for instance .*a_b.png: its content b is not"
    ):
        Targets(strangers, {})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["losses.target_pixels.weight=1"], r"losses\.target_pixels needs pictures of another network: set dataset"),
        (
            ["losses.target_features.weight=1", "dataset.train.targets.painted_root=x", "model.transform=adain"],
            "is for the transform adaattn; got adain",
        ),
        (["model.closed_form_decoder=true"], "closed_form_decoder is for model.name stylization with losses.target_pi"),
        (
            ["model.closed_form_decoder=true", "losses.target_pixels.weight=1", "model.levels=[3]"],
            r"model.closed_form_decoder needs level 4 or 5 in model.levels; got \[3\]",
        ),
        (["dataset.train.crop_scale=[1.6, 0.6]"], "crop_scale must be two numbers above 0, the smaller one first"),
        (["dataset.train.crop_scale=1.6"], r"crop_scale must be a list of numbers, such as \[0.6, 1.6\]"),
        (["dataset.train.permute_colours=2"], "permute_colours are at most 1"),
        (["optimizer.rates={encoder: fast}"], "optimizer.rates must be a mapping of names to numbers"),
    ],
)
def test_keys_that_do_not_fit_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        load_config(ROOT / "configs" / "adaattn_image.yaml", options)


# ---------------------------------------------------------------------------------------------------------------------
# Pairings, rates, schedule
# ---------------------------------------------------------------------------------------------------------------------


def batch(rng, frames=1, count=3):
    pair = {"content": rng.rand(count * frames, 3, SIZE, SIZE), "style": rng.rand(count, 3, SIZE, SIZE)}
    return {name: paddle.to_tensor(array.astype("float32")) for name, array in pair.items()}


@pytest.mark.parametrize("train_encoder", [False, True])
def test_a_pairing_is_the_batch_with_its_styles_moved_on(rng, small_vgg, train_encoder):
    network = ppadaattn.load("adaattn_lite_video", device="cpu").network
    config = Config().losses
    config.image_similarity.weight = 1
    objective, data = Stylization(network, small_vgg, config, train_encoder), batch(rng, frames=2)
    encoded = objective.encode_batch(data)
    for pairing in (0, 1, 2, 4):
        order = [(i + pairing) % 3 for i in range(3)]
        moved = {"content": data["content"], "style": paddle.to_tensor(data["style"].numpy()[order])}
        found, pictures = objective.losses_of(encoded, 0, pairing)
        expected, _ = objective(moved)
        for name, loss in expected.items():
            np.testing.assert_allclose(float(found[name]), float(loss), rtol=1e-5, err_msg=name)
        np.testing.assert_array_equal(pictures["style"].numpy(), np.tile(moved["style"].numpy(), (2, 1, 1, 1)))


def test_the_schedule_ends_at_its_floor():
    schedule = Schedule("cosine", 1e-3, warmup_iters=4, floor=0.02)
    factors = [learning_rate(schedule, i, 1000) / 1e-3 for i in (1, 501, 1000)]
    np.testing.assert_allclose(factors, [1.02 / 4, 0.52, 0.02], atol=1e-4)


def test_rates_are_factors_on_layers(rng, small_vgg):
    """The first step of Adam has the length of the rate."""
    rates = {"decoder": 0.5, "decoder.merge": 0.1, "encoder": 0.0}
    config = Config(total_iters=1, lr_scheduler=Schedule("constant", 1e-3))
    config.model.train_encoder, config.optimizer.rates = True, rates
    network = ppadaattn.load("adaattn_lite_image", device="cpu").network
    before = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    trainer = Trainer(build_objective(config, network, small_vgg), None, config, Logger(None))
    trainer.step(iter([{name: tensor.numpy() for name, tensor in batch(rng).items()}]), _Clock())
    for name, factor in (("decoder.merge.weight", 0.1), ("decoder.stage2.0.weight", 0.5), ("adaattn3.h.weight", 1.0)):
        moved = np.abs(network.state_dict()[name].numpy() - before[name])
        np.testing.assert_allclose(np.percentile(moved, 90), factor * 1e-3, rtol=2e-2, err_msg=name)
    assert (network.encoder.conv3_1.weight.numpy() == before["encoder.conv3_1.weight"]).all()
    config.optimizer.rates = {"decoder.stage9": 0.1}
    with pytest.raises(InputError, match=r"optimizer\.rates: no layer's name begins with 'decoder\.stage9'"):
        build_objective(config, network, small_vgg)


@pytest.fixture
def configure(tmp_path, target_data):
    """A small run of the whole recipe, on the features of the small encoder."""
    rng, roots = np.random.RandomState(1), []
    for kind in ("content", "style"):
        (tmp_path / kind).mkdir()
        for number in range(3):
            Image.fromarray(smooth(rng, 44, 48)).save(tmp_path / kind / f"{number}.png")
        roots.append(f"dataset.train.{kind}_root={tmp_path / kind}")
    targets = [f"dataset.train.targets.{key}={value}" for key, value in vars(target_data).items()]
    words = [*roots, *targets, f"output_dir={tmp_path / 'runs'}", "encoder_weights=adaattn_lite_image", "device=cpu"]
    words += [f"dataset.train.crop_size={SIZE}", "dataset.train.batch_size=2", "dataset.train.pairings=3"]
    words += ["dataset.test.content_root=null", "dataset.test.style_root=null", "validate.interval=0"]
    words += ["log_config.interval=1", "log_config.visual_interval=0", "total_iters=8", "snapshot_config.interval=4"]
    words += ["lr_scheduler.warmup_iters=0", "dataset.train.targets.refresh_interval=3"]

    def make(*more, name="image"):
        return load_config(ROOT / "configs" / "lite" / f"{name}.yaml", [*words, *more])

    return make


@pytest.mark.parametrize("name", ["image", "video"])
def test_a_run_of_the_recipe_resumes_to_the_last_bit(configure, name):
    """From the middle of the pairings of a batch, and between two encodings of whole pictures."""
    config = configure("dataset.train.batch_size=1", "load=adaattn_lite_image", name=name)
    whole = train(config, "whole").folder
    train(config, "again", resume=whole / "iter_4_checkpoint.pdparams")
    lines = [line for line in (whole / "log.txt").read_text().splitlines() if line.startswith(("Iter: ", "Snapshot"))]
    told = [line.partition(" batch_cost: ")[0] for line in lines]
    assert len(told) == 10 + 5 and told[10:] == told[5:10] and len(set(told[:10])) == 10
    assert " target_pixels: " in told[0] and " target_features: " in told[0] and " alive: " in told[0]
    assert "painted pictures, cpu" in (whole / "log.txt").read_text()
    assert told[4].startswith("Snapshot at 4: dead channels: ")
    with pytest.raises(InputError, match="of a run with pairings 3, this configuration has 1"):
        more = ("dataset.train.batch_size=1", "dataset.train.pairings=1", "total_iters=9")
        train(configure(*more, name=name), "other", resume=whole)


def test_a_batch_is_read_once_for_its_pairings(configure, monkeypatch):
    read = []
    draw = Samples.__getitem__
    monkeypatch.setattr(Samples, "__getitem__", lambda self, index: read.append(index) or draw(self, index))
    config = configure("total_iters=6", "dataset.train.num_workers=1", "model.reinit_dead_channels=false")
    train(config, "name")
    assert len(read) <= 2 * (2 + 1) and read[:4] == [0, 1, 2, 3]  # two batches of two, and one read ahead


def test_skipped_targets_are_counted_in_the_log(configure, target_data):
    Image.new("RGB", (80, 64)).save(os.path.join(target_data.painted_root, "style5_content0.png"))
    text = (train(configure("total_iters=1"), "name").folder / "log.txt").read_text()
    assert "style5_content0.png: its style style5 is not in" in text and " skipped: 1 files" in text


def test_painted_pictures_alone(configure):
    options = ["losses.global_style.weight=0", "losses.local_feature.weight=0", "losses.range.weight=0"]
    folder = train(configure("total_iters=2", *options), "name").folder
    text = (folder / "log.txt").read_text()
    assert "global_style" not in text and " target_pixels: " in text and "Snapshot at 2: dead channels" in text


# ---------------------------------------------------------------------------------------------------------------------
# Living channels
# ---------------------------------------------------------------------------------------------------------------------


def test_alive_loss_against_its_formula(rng):
    output = rng.randn(2, 5, 9, 8).astype("float32") - np.array([0, 1, 2, 3, 4], "float32")[:, None, None]
    points = output[:, :, ::2, ::2].transpose(1, 0, 2, 3).reshape(5, -1)
    highest = np.sort(points, 1)[:, -(points.shape[1] // 10) :].mean(1)
    tensor = paddle.to_tensor(output, stop_gradient=False)
    loss = losses.alive_loss(tensor, floor=0.5)
    np.testing.assert_allclose(float(loss), np.maximum(0.5 - highest, 0).sum(), rtol=1e-5)
    loss.backward()
    assert (np.abs(tensor.grad.numpy()).sum((0, 2, 3)) > 0).tolist() == (highest < 0.5).tolist()
    assert float(losses.alive_loss(tensor + 10)) == 0  # all are alive


def test_a_reconstruction_keeps_its_decoder_alive(rng, small_vgg):
    """The penalty and the gradient below 0, as in a stylization; without a weight there is no such loss."""
    network = AdaAttNNetwork(width=0.25)
    assert "alive" not in Reconstruction(network, small_vgg).weights and network.decoder.leaky_gradient == 0
    config = load_config(ROOT / "configs" / "compare" / "reconstruct_345.yaml")
    objective = build_objective(config, network, small_vgg)
    assert objective.weights["alive"] == config.reconstruction.alive and network.decoder.leaky_gradient == 0.05
    network.decoder.stage3[1].bias.set_value(paddle.full_like(network.decoder.stage3[1].bias, -1e3))  # all are dead
    pair = batch(rng)
    found, _ = objective(pair)
    outputs = []
    for layer in objective.relu_convolutions().values():
        layer.register_forward_post_hook(lambda _, __, output: outputs.append(output))
    objective.run_network(pair)
    np.testing.assert_allclose(float(found["alive"]), sum(float(losses.alive_loss(x)) for x in outputs), rtol=1e-4)
    assert float(found["alive"]) > 100
    sum(found.values()).backward()
    assert float(network.decoder.stage3[1].bias.grad.abs().min()) > 0
    assert "alive" not in next(objective.measure([pair["content"][:1]], []))[1]


def test_the_alive_loss_sees_every_relu_of_the_decoder(rng, small_vgg):
    network = ppadaattn.load("adaattn_lite_image", device="cpu").network
    config = Config().losses
    config.alive.weight = 5
    objective, data = Stylization(network, small_vgg, config), batch(rng)
    found, _ = objective(data)
    outputs = {}
    for name, layer in network.decoder.named_sublayers():
        layer.register_forward_post_hook(
            lambda layer, inputs, output, name=name: outputs.update({name: output.clone()})
        )
    objective.run_network(data)
    del outputs["stage1.1"]
    assert len(outputs) == 9
    expected = sum(float(losses.alive_loss(output)) for output in outputs.values())
    np.testing.assert_allclose(float(found["alive"]), expected, rtol=1e-4)
    assert "alive" not in next(objective.measure([data["content"][:1]], [data["style"][:1]]))[1]


def test_the_leaky_gradient_changes_gradients_alone(rng):
    decoder = Decoder(0.0625)
    embedded = {level: paddle.to_tensor(rng.randn(1, c, n, n).astype("float32"))
                for level, c, n in ((3, 16, 8), (4, 32, 4), (5, 32, 2))}  # fmt: skip
    plain = decoder(embedded)
    decoder.leaky_gradient = 0.05
    leaky = decoder(embedded)
    np.testing.assert_array_equal(leaky.numpy(), plain.numpy())
    x = paddle.to_tensor([-2.0, 3.0], stop_gradient=False)
    decoder._relu(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [0.05, 1.05], rtol=1e-6)
    decoder.eval()
    x = paddle.to_tensor([-2.0, 3.0], stop_gradient=False)
    decoder._relu(x * 1).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 1])


# ---------------------------------------------------------------------------------------------------------------------
# Crops and colours
# ---------------------------------------------------------------------------------------------------------------------


def test_crops_of_many_scales():
    """In a picture that tells places, a crop spans 0.6 to 1.6 times its size, or all of a small picture."""
    y, x = np.mgrid[:120, :100]
    picture, widths = np.stack([x, y, 0 * x], -1).astype("uint8"), []
    crop = Cropper(TrainData(load_size=0, crop_size=40, crop_scale=[0.6, 1.6]))
    for seed in range(60):
        (found,) = crop([picture], np.random.RandomState(seed))
        assert found.shape == (40, 40, 3)
        widths.append(int(found[0, -1, 0]) - int(found[0, 0, 0]))
    assert 20 < min(widths) < 30 and 56 < max(widths) < 66
    (small,) = crop([picture[:20, :30]], np.random.RandomState(0))
    assert small.shape == (40, 40, 3)


def test_red_green_and_blue_of_styles_are_exchanged(tmp_path):
    for kind in ("content", "style"):
        (tmp_path / kind).mkdir()
        Image.new("RGB", (40, 40), (10, 100, 200)).save(tmp_path / kind / "0.png")
    roots = {f"{kind}_root": str(tmp_path / kind) for kind in ("content", "style")}
    data = TrainData(load_size=0, crop_size=SIZE, permute_colours=0.5, **roots)
    samples = [Samples(data, 1, seed=0)[index] for index in range(60)]
    assert all((sample["content"] == (10, 100, 200)).all() for sample in samples)
    styles = [tuple(sample["style"][0, 0].tolist()) for sample in samples]
    assert len(set(styles)) == 6 and all(sorted(style) == [10, 100, 200] for style in styles)
    assert 20 < sum(style == (10, 100, 200) for style in styles) < 50  # half of them, and a sixth of the others
