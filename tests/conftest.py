import os
import subprocess
import sys
from pathlib import Path

import ppadaattn
from ppadaattn import runtime
from ppadaattn.cli import paint
from ppadaattn.media.images import to_floats

import numpy as np
import pytest
from PIL import Image

paddle = runtime.import_paddle()

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
# Configurations of trainings; those of reports are in a folder of their own.
CONFIGURATIONS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name != "evaluate")


# For processes of their own: this clone's package, installed or not.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def run_python(*words, **environment):
    """Run Python with this clone's package in a process of its own; a finished process with its output as text."""
    variables = {**ENVIRONMENT, **environment}  # None removes a variable
    variables = {name: value for name, value in variables.items() if value is not None}
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, env=variables)


@pytest.fixture(autouse=True)
def _deterministic():
    paddle.seed(0)


@pytest.fixture
def rng():
    return np.random.RandomState(0)


@pytest.fixture(scope="session")
def stylizer():
    return ppadaattn.load("adaattn_lite_image", device="cpu")


@pytest.fixture
def picture(tmp_path):
    """picture(name, height, width, mode='RGB') -> path of a new random picture in the test's folder."""

    def make(name, height=24, width=32, mode="RGB", **save):
        channels = {"RGB": (3,), "RGBA": (4,), "L": ()}[mode]
        array = np.random.RandomState(len(name)).randint(0, 256, (height, width, *channels)).astype("uint8")
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path, **save)
        return path

    return make


@pytest.fixture
def run(capsys):
    """run(words...) -> (exit status, standard output, standard error) of `ppadaattn paint`."""

    def call(*words):
        try:
            status = paint.main([*map(str, words), "--device", "cpu"])
        except SystemExit as stopped:  # argparse
            status = stopped.code
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        return status, output.out, output.err

    return call


def painted(folder="out"):
    """{name: bytes} of the pictures of a data set that was painted into a folder; hidden files too."""
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            if not name.startswith("manifest"):
                path = os.path.join(where, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder).replace(os.sep, "/")] = file.read()
    return found


def smooth(rng, height, width):
    """A smooth random picture, uint8."""
    coarse = Image.fromarray(rng.randint(0, 256, (6, 6, 3)).astype("uint8"))
    return np.asarray(coarse.resize((width, height), Image.BICUBIC))


def write_targets(folder, size=(64, 80)):
    """Two contents, two styles and the four painted pictures of another network; the folders as keys of TargetData."""
    rng = np.random.RandomState(0)
    for kind in ("content", "style", "painted"):
        (folder / kind).mkdir(parents=True)
    for number in range(2):
        Image.fromarray(smooth(rng, *size)).save(folder / "content" / f"content{number}.png")
        Image.fromarray(smooth(rng, size[0] + 16, size[1])).save(folder / "style" / f"style{number}.png")
        for style in range(2):
            Image.fromarray(smooth(rng, *size)).save(folder / "painted" / f"style{style}_content{number}.png")
    return {f"{kind}_root": str(folder / kind) for kind in ("content", "style", "painted")}


def decoder_shares(network, pairs):
    """{convolution of the decoder that has a ReLU: the share of positions where each channel is above 0}, [C] each.

    Args:
        pairs: of a content and a style, uint8 [H, W, 3].
    """
    active = {}

    def watch(name):
        return lambda layer, inputs, output: active.setdefault(name, []).append((output.numpy() > 0).mean((0, 2, 3)))

    layers = [(name, layer) for name, layer in network.decoder.named_sublayers() if isinstance(layer, paddle.nn.Conv2D)]
    hooks = [layer.register_forward_post_hook(watch(name)) for name, layer in layers[:-1]]  # the last one has no ReLU
    with paddle.no_grad():
        for pair in pairs:
            network(*(paddle.to_tensor(to_floats(picture[None])) for picture in pair))
    for hook in hooks:
        hook.remove()
    return {name: np.mean(shares, 0) for name, shares in active.items()}


@pytest.fixture
def shared():
    """The folder of training data beside a developer's checkout; tests that compare with it are skipped elsewhere."""
    if not (SHARED / "weights" / "reference_image.npz").is_file():
        pytest.skip("the reference data beside a developer's checkout is not here")
    return SHARED
