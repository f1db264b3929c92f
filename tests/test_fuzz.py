"""The script of damaged files finds nothing in some seconds, and tells what it would find."""

import subprocess
import sys

from ppadaattn.config import read_config
from ppadaattn.errors import InputError
from ppadaattn.evaluation.config import Report
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.train.config import load_config
from ppadaattn.weights import checkpoint

import fuzz
import numpy as np
import paddle
import pytest
from conftest import ENVIRONMENT, ROOT

pytest.importorskip("av", "14.2")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does")


def run(*words):
    words = [sys.executable, ROOT / "tests" / "fuzz.py", *words]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=ENVIRONMENT)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_few_cases_of_each_kind_end_well():
    status, out = run("--seconds", 2, "--seed", 3)
    rows = [line.split() for line in out.splitlines()]
    assert status == 0, out
    assert [row[0] for row in rows] == ["kind", *fuzz.KINDS, "all"] and all(int(row[1]) > 0 for row in rows[1:])


BAD = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import fuzz
class Bad(fuzz.Flow):
    def use(self, path, rng):
        if HOW == "raise": raise ValueError("a bug")
        if HOW == "print": os.write(2, b"a line of a library")
        if HOW == "crash": os.abort()
        if HOW == "memory": bytearray(2**40)
        if HOW == "hang": time.sleep(60)
HOW = os.environ["HOW"]
fuzz.CLASSES["flow"], fuzz.SECONDS, fuzz.__file__ = Bad, 2, __file__
sys.exit(fuzz.main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    "how, said",
    [
        ("raise", "ValueError: a bug"),
        ("print", "standard error: a line of a library"),
        ("crash", "ended with status -6"),
        ("memory", "MemoryError"),
        ("hang", "longer than 2 s"),
    ],
)
def test_what_is_bad_is_counted_and_kept(tmp_path, how, said):
    script = tmp_path / "bad.py"
    script.write_text(BAD.replace("sys.argv[1]", repr(str(ROOT / "tests"))).replace("sys.argv[2:]", "None"))
    words = [sys.executable, str(script), "--only", "flow", "--count", "2", "--keep", str(tmp_path / "kept")]
    done = subprocess.run(words, capture_output=True, text=True, env={**ENVIRONMENT, "HOW": how})
    assert done.returncode == 1 and done.stdout.splitlines()[-2].split()[:3] == ["flow", "2", "2"]
    assert said in done.stdout
    assert (tmp_path / "kept" / "flow-1-1" / "a.flo").is_file()
    assert said in (tmp_path / "kept" / "flow-1-1" / "why.txt").read_text()


# What it found -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd, sentence",
    [
        ({"fingerprint": np.zeros((2, 3), "float32")}, "was prepared by another model"),
        ({"regions": np.zeros((2, 3), "float32")}, "describes no style of this model"),
    ],
)
def test_arrays_in_the_place_of_other_things(tmp_path, odd, sentence):
    path, network = tmp_path / "a.style", AdaAttNNetwork(width=1 / 32)
    style = checkpoint.style_contents(network.prepare_style(paddle.zeros([1, 3, 32, 32])))
    style = {**style, "fingerprint": checkpoint.fingerprint(network)}
    levels = {str(level): state for level, state in style["levels"].items()}
    checkpoint._write(path, {"format": checkpoint.STYLE, **style, "levels": levels, **odd})
    with pytest.raises(InputError, match=sentence):
        checkpoint.load_style(path, network)


# Aliases of aliases: 9 to the power of 9 values, were they written out.
LAUGHS = "load: [&a [x,x,x,x,x,x,x,x,x]"
for before, letter in zip("abcdefgh", "bcdefghi"):
    LAUGHS += f", &{letter} [{','.join([f'*{before}'] * 9)}]"
LAUGHS += "]"


@pytest.mark.parametrize(
    "text",
    [
        f"load: [{'x' * 5000}]",
        f"model: {{name: {'x' * 5000}}}",
        "load: &a [*a]",
        LAUGHS,
        "seed: 2000-99-99",
        f"seed: {'9' * 5000}",
        "seed: " + "[" * 5000,
        '"a\\nb": 1',
    ],
)
def test_odd_configurations_are_one_short_line(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    for read in (load_config, lambda path: read_config(Report, path)):
        with pytest.raises(InputError) as error:
            read(path)
        assert str(error.value).isprintable() and len(str(error.value)) < 1000
