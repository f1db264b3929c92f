"""The environment that the package sets up before Paddle loads, and the message where Paddle is missing."""

import os
import sys
import types

from ppadaattn import runtime

import paddle
import pytest
from conftest import ROOT, run_python

VARIABLES = ("MKL_DEBUG_CPU_TYPE", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


@pytest.fixture
def environment(monkeypatch):
    """environment(processor, **own) -> the variables after prepare_environment, where the user has set `own`."""

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


def test_threads_and_the_fast_path_for_amd(environment):
    assert environment("AuthenticAMD") == {"MKL_DEBUG_CPU_TYPE": "5", "MKL_NUM_THREADS": "6"}
    assert environment("GenuineIntel") == {"MKL_NUM_THREADS": "6"}


def test_variables_of_the_user_are_kept(environment):
    own = {"MKL_DEBUG_CPU_TYPE": "7", "MKL_NUM_THREADS": "1"}
    assert environment("AuthenticAMD", **own) == own
    assert environment("GenuineIntel", OMP_NUM_THREADS="3") == {"OMP_NUM_THREADS": "3"}


def test_one_thread_set_by_paddle_is_replaced(environment, monkeypatch):
    monkeypatch.delitem(runtime.sys.modules, "paddle")
    assert environment("GenuineIntel", OMP_NUM_THREADS="1") == {"OMP_NUM_THREADS": "1"}
    monkeypatch.undo()
    assert environment("GenuineIntel", OMP_NUM_THREADS="1") == {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "6"}


SHOW = "import os; print(os.environ.get('MKL_NUM_THREADS'), os.environ.get('OMP_NUM_THREADS'))"


def test_importing_the_package_sets_the_environment():
    clean = dict.fromkeys(VARIABLES)
    first = run_python("-c", f"import ppadaattn; ppadaattn.AdaAttNNetwork; {SHOW}", **clean)
    cores = str(runtime._available_cores())
    assert (first.stdout, first.stderr) == (f"{cores} 1\n", "")
    late = run_python("-W", "ignore", "-c", f"import zlib, paddle, ppadaattn; {SHOW}", **clean)
    assert late.stdout == f"{cores} 1\n"


ROUND_TRIP = (
    "from ppadaattn.images import read_image, write_image; import numpy as np;"
    "write_image('a.png', np.full((20, 20, 3), 7, 'uint8')); print(read_image('a.png').mean())"
)


def test_png_in_every_order_of_imports(tmp_path, monkeypatch):
    """Paddle 2.6 breaks the system's zlib where Paddle is what loads it; one sentence then says what to do."""
    monkeypatch.chdir(tmp_path)
    for order in ("ppadaattn, paddle", "zlib, paddle, ppadaattn"):
        assert run_python("-W", "ignore", "-c", f"import {order}; {ROUND_TRIP}").stdout == "7.0\n"
    late = run_python("-W", "ignore", "-c", f"import paddle, ppadaattn; {ROUND_TRIP}")
    if late.returncode:
        assert paddle.__version__.startswith("2.6")
        assert "put `import ppadaattn` (or `import zlib`) before `import paddle`" in late.stderr.splitlines()[-1]
    else:
        assert late.stdout == "7.0\n"


def test_nothing_but_the_cache_is_written_at_home_and_no_name_is_looked_up(tmp_path, picture):
    """In a process of its own, whose look-ups of names are counted."""
    (tmp_path / "site").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import socket, sys\n"
        "events = ('socket.getaddrinfo', 'socket.gethostbyname', 'socket.connect')\n"
        "sys.addaudithook(lambda event, args: event in events\n"
        f"                 and print(event, args, file=open({str(tmp_path / 'asked')!r}, 'a')))\n"
    )
    done = run_python(
        *("-m", "ppadaattn", "paint", "--content", picture("c.png"), "--style", picture("s.png"), "--device", "cpu"),
        *("--output", tmp_path / "o.png"),
        HOME=str(tmp_path / "home"),
        USERPROFILE=str(tmp_path / "home"),
        PPADAATTN_OFFLINE="1",
        PPADAATTN_HOME=None,
        ORT_DISABLE_TELEMETRY=None,
        PYTHONPATH=os.pathsep.join([str(tmp_path / "site"), str(ROOT)]),
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "asked").exists(), (tmp_path / "asked").read_text()
    # Paddle makes an empty folder of its own.
    written = [path.relative_to(tmp_path / "home").parts for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert {path[:2] for path in written} <= {(".cache", "ppadaattn")}, written


def test_the_users_word_on_telemetry_is_kept(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    runtime.prepare_environment()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    monkeypatch.setattr(os, "environ", {"ORT_DISABLE_TELEMETRY": "0"})
    runtime.prepare_environment()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told what to do with freed memory")
def test_freed_memory_is_kept_or_returned_unless_the_user_says_otherwise(monkeypatch):
    import ctypes

    told = []
    library = types.SimpleNamespace(mallopt=lambda *words: told.append(words))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    runtime.keep_freed_memory()
    assert [option for option, _ in told] == [-1, -3]
    runtime.return_large_blocks()
    assert told[2:] == [(-3, 2**20)]
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    runtime.keep_freed_memory()
    del library.mallopt
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_")
    runtime.keep_freed_memory()  # another C library
    assert len(told) == 3
