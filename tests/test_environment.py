"""What the package sets up before Paddle loads, and what it says where Paddle is missing."""

import os

from ppadaattn import runtime

import paddle
import pytest
from conftest import run_python

VARIABLES = ("MKL_DEBUG_CPU_TYPE", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


@pytest.fixture
def environment(monkeypatch):
    """environment(processor, **own) -> the variables after prepare_environment with the user's own ones."""

    def prepare(processor, **own):
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in own.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(runtime, "_processor", lambda: processor)
        monkeypatch.setattr(runtime, "_available_cores", lambda: 6)
        # So that the variables are put back after the test.
        monkeypatch.setattr(os, "environ", dict(os.environ))
        runtime.prepare_environment()
        return {name: os.environ[name] for name in VARIABLES if name in os.environ}

    return prepare


def test_threads_for_all_and_the_fast_path_for_amd(environment):
    assert environment("AuthenticAMD") == {"MKL_DEBUG_CPU_TYPE": "5", "MKL_NUM_THREADS": "6"}
    assert environment("GenuineIntel") == {"MKL_NUM_THREADS": "6"}


def test_what_the_user_has_set_is_kept(environment):
    own = {"MKL_DEBUG_CPU_TYPE": "7", "MKL_NUM_THREADS": "1"}
    assert environment("AuthenticAMD", **own) == own
    assert environment("GenuineIntel", OMP_NUM_THREADS="3") == {"OMP_NUM_THREADS": "3"}


def test_a_one_that_paddle_has_set_is_not_the_users_word(environment, monkeypatch):
    monkeypatch.delitem(runtime.sys.modules, "paddle")
    assert environment("GenuineIntel", OMP_NUM_THREADS="1") == {"OMP_NUM_THREADS": "1"}
    monkeypatch.undo()
    assert environment("GenuineIntel", OMP_NUM_THREADS="1") == {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "6"}


SHOW = "import os; print(os.environ.get('MKL_NUM_THREADS'), os.environ.get('OMP_NUM_THREADS'))"


def test_importing_the_package_sets_the_environment():
    clean = dict.fromkeys(VARIABLES)
    first = run_python("-c", f"import ppadaattn; ppadaattn.load; {SHOW}", **clean)
    cores = str(runtime._available_cores())
    assert (first.stdout, first.stderr) == (f"{cores} 1\n", "")
    late = run_python("-W", "ignore", "-c", f"import zlib, paddle, ppadaattn; {SHOW}", **clean)
    assert late.stdout == f"{cores} 1\n"


ROUND_TRIP = (
    "from ppadaattn.images import read_image, write_image; import numpy as np;"
    "write_image('a.png', np.full((20, 20, 3), 7, 'uint8')); print(read_image('a.png').mean())"
)


def test_png_is_read_whichever_came_first_or_one_sentence_says_why_not(tmp_path, monkeypatch):
    """Paddle 2.6 spoils the system's zlib for others if it loads it."""
    monkeypatch.chdir(tmp_path)
    for order in ("ppadaattn, paddle", "zlib, paddle, ppadaattn"):
        assert run_python("-W", "ignore", "-c", f"import {order}; {ROUND_TRIP}").stdout == "7.0\n"
    late = run_python("-W", "ignore", "-c", f"import paddle, ppadaattn; {ROUND_TRIP}")
    if late.returncode:
        assert paddle.__version__.startswith("2.6")
        assert "put `import ppadaattn` (or `import zlib`) before `import paddle`" in late.stderr.splitlines()[-1]
    else:
        assert late.stdout == "7.0\n"
