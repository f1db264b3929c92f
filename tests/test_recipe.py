"""The recipe of configs/lite: painted pictures of another network, pairings, channels that stay alive."""

import functools
import importlib.util
import json
import os
import subprocess
import sys

import ppadaattn
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.train import targets
from ppadaattn.train.config import TargetData, load_config
from ppadaattn.train.data import Targets
from ppadaattn.train.logger import Logger
from ppadaattn.train.objectives import build_objective
from ppadaattn.train.trainer import Trainer, _Clock
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

    def draw(self, rng):
        size = self.data.crop_size
        for name, top, left in next(self.plan):
            (target,) = [target for target in self.painted if target.path.name == name]
            square = (slice(top, top + size), slice(left, left + size))
            painted = np.asarray(Image.open(target.path))
            yield target, self.contents[target.content][square], painted[square]


@pytest.mark.parametrize("name", ["image", "video"])
def test_steps_are_those_of_the_lab(shared, tmp_path, monkeypatch, rng, name):
    """Two steps on one batch with another pairing each: every loss and the total, in float32 both."""
    python, size, margin = lab_python(), 64, 16 if name == "video" else 0
    vgg_file = shared / "weights" / "vgg19_normalised.npz"
    options = ["total_iters=2", "dataset.train.pairings=2", "lr_scheduler.learning_rate=0.1"]
    options += ["dataset.train.batch_size=2", f"dataset.train.crop_size={size}"]
    config = load_config(ROOT / "configs" / "lite" / f"{name}.yaml", options)
    data = TargetData(**write_targets(tmp_path, (160, 176)), crop_size=128, num_style_points=300)
    kind = config.model.attention
    network = AdaAttNNetwork(width=0.25, attention=kind)
    network.set_state_dict(ppadaattn.load("adaattn_lite_image", device="cpu").network.state_dict())
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
    words += ["--batch", 4 if margin else 2, "--pairings", 2, "--iterations", 2, "--lr", 0.1, "--train-encoder"]
    words += ["--style-shares", 3.2, 4.0, 5.7, 3.6, 10.1, "--local-shares", 5.7, 3.6, 10.1, "--mirror-weight", 40]
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
