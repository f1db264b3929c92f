"""Promises that documents and committed files make."""

import importlib.util
import re

from ppadaattn.cli import paint, train
from ppadaattn.infer.engine import ENGINES
from ppadaattn.media.images import find_images, read_image

import numpy as np
import pytest
from conftest import ROOT, run_python

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *ROOT.glob("*/README.md"))]


def test_readme_describes_every_option_and_no_other():
    actions = [action for parser in (paint.parser(), train.parser()) for action in parser._actions]
    options = {word for action in actions for word in action.option_strings if word.startswith("--")}
    described = set(re.findall(r"^\| `(--[a-z-]+)", README, re.MULTILINE))
    assert described == options - {"--help"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_inside_the_repository_lead_somewhere(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", text):
        target = "".join(target)
        if "://" not in target:
            assert (ROOT / document.parent / target).exists(), target


def test_readme_python_runs(monkeypatch, tmp_path):
    """The README's Python block, in the clone's root, with its pictures written elsewhere."""
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(ROOT)
    block = block.replace('"painted.png"', f"{str(tmp_path / 'painted.png')!r}")
    block = block.replace('"brush_strokes.style"', f"{str(tmp_path / 'brush_strokes.style')!r}")
    exec(compile(block, "README.md", "exec"), {})
    assert read_image(tmp_path / "painted.png").shape == (512, 768, 3)


def draw():
    pytest.importorskip("cv2")
    specification = importlib.util.spec_from_file_location("draw", ROOT / "examples" / "draw.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_examples_are_the_pictures_that_the_script_draws():
    names = sorted(draw().PICTURES)
    committed = find_images([ROOT / "examples" / "content", ROOT / "examples" / "style"])
    assert sorted(f"{path.parent.name}/{path.stem}" for path in committed) == names
    assert len([name for name in names if name.startswith("content/")]) >= 2
    assert len([name for name in names if name.startswith("style/")]) >= 6


def test_script_draws_the_committed_pictures(tmp_path):
    """At a quarter of the size a picture is the committed one reduced, but for strokes and grain."""
    draw()
    script = ROOT / "examples" / "draw.py"
    run_python(script, "style/wave_print", "--scale", "0.25", "--output", tmp_path)
    small = read_image(tmp_path / "style" / "wave_print.jpg").astype(int)
    large = read_image(ROOT / "examples" / "style" / "wave_print.jpg", max(small.shape)).astype(int)
    assert np.abs(small - large).mean() < 25
    failed = run_python(script, "mona_lisa")
    assert failed.returncode == 2 and "Traceback" not in failed.stderr and "style/wave_print" in failed.stderr


def test_benchmark_prints_its_tables():
    words = ["--attention", "64,64", "--network", "32", "--models", "adaattn_lite_video"]
    words += ["--engines", "48,32", "--full-width", "--training", "1", "--training-size", "32"]
    done = run_python(ROOT / "tools" / "benchmark.py", *words)
    rows = [line for line in done.stdout.splitlines() if line.startswith("| 64, 64 |")]
    assert [row.split(" | ")[2] for row in rows] == [
        "softmax, quadratic", "softmax, tiles (ours)", "cosine, quadratic", "cosine, linear (ours)",
    ]  # fmt: skip
    assert "| adaattn_lite_video | 32 |" in done.stdout
    assert all(f"| adaattn_lite_video | 48 x 32 | {engine} |" in done.stdout for engine in ENGINES if engine != "auto")
    assert "| ours | 1 |" in done.stdout and "| naive | 1 |" in done.stdout
