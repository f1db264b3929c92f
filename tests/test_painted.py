"""Distances to pictures that another network has painted."""

import os
import re
import subprocess

from ppadaattn.cli import evaluate as command
from ppadaattn.evaluation.painted import DISTANCES, distances
from ppadaattn.model.vgg import Encoder
from ppadaattn.weights.convert import vgg19

import numpy as np
import paddle
from conftest import SHARED, smooth, write_targets
from PIL import Image
from test_recipe import lab_python


def test_distances_against_their_formulas(rng):
    encoder = Encoder(width=0.0625)
    encoder.eval()
    first, second = (smooth(rng, 64, 96) for _ in range(2))
    found = distances(encoder, first, second)
    assert found.keys() == DISTANCES.keys()
    floats = [picture.astype("float64") / 255 for picture in (first, second)]
    np.testing.assert_allclose(found["pixels"], np.abs(floats[0] - floats[1]).mean(), rtol=1e-5)
    coarse = [picture.reshape(32, 2, 32, 3, 3).mean((1, 3)) for picture in floats]
    np.testing.assert_allclose(found["tone"], np.abs(coarse[0] - coarse[1]).mean(), rtol=1e-5)
    tensors = (paddle.to_tensor(picture.transpose(2, 0, 1)[None].astype("float32")) for picture in floats)
    features = [[encoder(tensor)[f"relu{level}_1"].numpy() for level in (1, 2, 3, 4)] for tensor in tensors]
    relative = [np.abs(a - b).mean() / np.abs(b).mean() for a, b in zip(*features)]
    np.testing.assert_allclose(found["features"], np.mean(relative), rtol=1e-4)
    assert set(distances(encoder, first, first).values()) == {0}


def test_distances_are_those_of_the_lab(shared, tmp_path, rng):
    """The lab computes features in bfloat16."""
    python, vgg = lab_python(), shared / "weights" / "vgg19_normalised.npz"
    write_targets(tmp_path / "targets")
    (tmp_path / "found").mkdir()
    pairs = []
    for path in sorted((tmp_path / "targets" / "painted").iterdir()):
        painted = np.asarray(Image.open(path))
        mixed = (0.5 * painted + 0.5 * smooth(rng, *painted.shape[:2])).astype("uint8")
        Image.fromarray(mixed).save(tmp_path / "found" / path.name)
        pairs.append((mixed, painted))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    words = [python, SHARED / "lab" / "yardstick.py", tmp_path / "targets", vgg, f"ours={tmp_path / 'found'}"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    encoder = vgg19(vgg)
    found = [distances(encoder, *pair) for pair in pairs]
    for name in DISTANCES:
        theirs = float(re.search(rf"\b{name} (\d+\.\d+)", done.stdout)[1])
        np.testing.assert_allclose(np.mean([values[name] for values in found]), theirs, atol=1e-3, err_msg=name)


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PPADAATTN_OFFLINE", "1")
    monkeypatch.setenv("PPADAATTN_HOME", str(tmp_path / "home"))
    folder = tmp_path / "targets"
    write_targets(folder)
    words = ["painted", "--methods", "adaattn_lite_image", "--targets", str(folder), "--device", "cpu"]
    assert command.main(words) == 0
    printed = capsys.readouterr()
    assert "Means over 4 painted pictures" in printed.out and "the encoder of adaattn_lite_image" in printed.out
    assert re.search(r"\| adaattn_lite_image \| 0\.\d+ ± 0\.\d+ \| 0\.\d+ ± 0\.\d+ \| \d\.\d+ ± 0\.\d+ \|", printed.out)
    Image.new("RGB", (64, 64)).save(folder / "painted" / "style0_content0.png")  # of another size
    (folder / "painted" / "style1_content0.png").write_bytes(b"no picture")
    Image.new("RGB", (80, 64)).save(folder / "painted" / "style7_content0.png")
    assert command.main(words) == 1
    printed = capsys.readouterr()
    assert "Means over 2 painted pictures" in printed.out
    for reason in (
        "it has 64 x 64 pixels",
        "is not a picture",
        "its style style7 is not in",
        "3 painted pictures were",
    ):
        assert reason in printed.err


def test_folders_without_usable_pictures(tmp_path, capsys):
    assert command.main(["painted", "--methods", "adaattn_lite_image", "--targets", str(tmp_path / "nowhere")]) == 2
    assert "Traceback" not in capsys.readouterr().err
    write_targets(tmp_path)
    for path in (tmp_path / "painted").iterdir():
        path.write_bytes(b"no picture")
    assert command.main(["painted", "--methods", "adaattn_lite_image", "--targets", str(tmp_path)]) == 2
    assert "no painted picture can be used, for instance" in capsys.readouterr().err
