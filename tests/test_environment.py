"""What the package sets up before Paddle loads, and what it says where Paddle is missing."""

import os

from ppadaattn import runtime

import pytest

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
