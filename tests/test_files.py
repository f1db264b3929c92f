"""Temporary names, leftovers, locks, and where the cache is."""

import contextlib
import errno
import os
import platform
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

from ppadaattn import files
from ppadaattn.errors import InputError, InputNote
from ppadaattn.files import atomic_folder, atomic_write, cache_folder, check_writable, lock, sole_writer

import pytest
from conftest import ENVIRONMENT, run_python


@pytest.fixture(autouse=True)
def _first_time(monkeypatch):
    """As in a new process."""
    monkeypatch.setattr(files, "_tidied", set())
    files._temporary_cache.cache_clear()
    yield
    files._temporary_cache.cache_clear()


def test_threads_that_write_one_path_lose_nothing(tmp_path):
    failures, start = [], threading.Barrier(4)

    def write(number):
        start.wait()
        for turn in range(100):
            try:
                with atomic_write(tmp_path / "a.txt") as temporary:
                    temporary.write_text(f"{number} {turn}\n" * 1000)
            except InputError as error:
                failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and os.listdir(tmp_path) == ["a.txt"]
    assert len(set((tmp_path / "a.txt").read_text().splitlines())) == 1


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "n" * 251 + ".png", "a." + "s" * 253])
def test_names_may_be_as_long_as_the_system_takes(tmp_path, name):
    with atomic_write(tmp_path / name) as temporary:
        temporary.write_text("whole")
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_text() == "whole"
    with atomic_folder(tmp_path / "of folders" / name) as temporary:
        (temporary / "a").write_text("whole")
    assert (tmp_path / "of folders" / name / "a").read_text() == "whole"


def test_the_suffix_is_kept_and_no_folder_lists_the_name(tmp_path):
    with atomic_write(tmp_path / "a.tar.png") as temporary:
        temporary.write_text("")
        assert temporary.suffix == ".png" and temporary.name.startswith(".") and temporary.parent == tmp_path


KILLED = """
import os, signal, sys
from ppadaattn.files import atomic_folder, atomic_write
with atomic_write(sys.argv[1] + "/a.bin") as file, atomic_folder(sys.argv[1] + "/folder") as folder:
    file.write_bytes(b"half"), (folder / "b").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no such signal")
def test_what_a_killed_save_left_is_removed_at_the_next_one(tmp_path):
    assert run_python("-c", KILLED, tmp_path).returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 2
    with atomic_write(tmp_path / "c.txt") as temporary:
        temporary.write_text("whole")
    assert os.listdir(tmp_path) == ["c.txt"]


def test_what_others_are_writing_stays(tmp_path):
    """Of a process that runs, of this one, of another machine; and what has other names."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        running = f".ppadaattn-{files._HOST}-{process.pid}-{'0' * 32}.png"
        gone = f".ppadaattn-{files._HOST}-{2**22 + 1}-{'0' * 32}.png"
        earlier = f".ppadaattn-{files._HOST}-{os.getpid()}-{'0' * 32}"  # of a container's process of the same number
        elsewhere = f".ppadaattn-00000000-{2**22 + 1}-{'0' * 32}.png"
        others = [running, elsewhere, ".ppadaattn-notes", "picture.png"]
        for name in (*others, gone, earlier):
            (tmp_path / name).write_text("")
        with atomic_write(tmp_path / "a") as one:
            one.write_text("")
            files._tidied.clear()
            with atomic_write(tmp_path / "b") as other:
                other.write_text("")
            assert one.exists()
        assert sorted(os.listdir(tmp_path)) == sorted([*others, "a", "b"])
        process.communicate(b"\n")


def test_a_failed_write_leaves_nothing(tmp_path):
    for write in (atomic_write, atomic_folder):
        with pytest.raises(KeyboardInterrupt), write(tmp_path / "a") as temporary:
            (temporary / "x" if write is atomic_folder else temporary).write_text("half")
            raise KeyboardInterrupt
        assert os.listdir(tmp_path) == []


def test_a_folder_that_another_was_first_to_make_stays(tmp_path):
    with atomic_folder(tmp_path / "a") as mine:
        (mine / "mine").write_text("")
        with atomic_folder(tmp_path / "a") as other:
            (other / "other").write_text("")
    assert os.listdir(tmp_path) == ["a"] and os.listdir(tmp_path / "a") == ["other"]


def test_locks_let_one_process_in(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LOCK_POLL", 0.01)
    script = (
        "import sys\nfrom ppadaattn.files import lock\nwith lock(sys.argv[1]):\n    print('in', flush=True); input()"
    )
    words = [sys.executable, "-c", script, str(tmp_path / "a.lock")]
    with subprocess.Popen(words, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "in\n"
        threading.Timer(0.2, lambda: (process.stdin.write("\n"), process.stdin.flush())).start()
        with pytest.warns(InputNote, match="waiting until .* is free"), lock(tmp_path / "a.lock"):
            assert process.wait(20) == 0


SOLE = """
import sys
from ppadaattn.files import sole_writer
with sole_writer(sys.argv[1], "the film"):
    print("in", flush=True); input()
"""


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path):
    path = tmp_path / "folder" / "a.lock"
    words = [sys.executable, "-c", SOLE, str(path)]
    with subprocess.Popen(words, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "in\n"
        said = f"the film is being written by process {process.pid} on {platform.node()}; wait for it"
        for _ in range(2):
            with pytest.raises(InputError, match=re.escape(said)), sole_writer(path, "the film"):
                pass
        process.communicate("\n")
    assert os.listdir(path.parent) == []
    refused = pytest.raises(InputError, match=f"by process {os.getpid()} ")
    with sole_writer(path, "the film"), refused, sole_writer(path, "the film"):  # as another thread would
        pass
    assert os.listdir(path.parent) == []


def test_the_lock_of_a_killed_writer_does_not_count(tmp_path):
    path = tmp_path / "a.lock"
    words = [sys.executable, "-c", SOLE, str(path)]
    with subprocess.Popen(words, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.kill()
    assert path.exists()
    with sole_writer(path, "the film"):
        assert str(os.getpid()) in path.read_text()
    assert not path.exists()


def test_many_that_write_one_after_the_other(tmp_path):
    """No two are inside at once, though each one removes the file and others have it open by then."""
    inside, most, done = [], [], []

    def work():
        while len(done) < 200:
            with contextlib.suppress(InputError), sole_writer(tmp_path / "a.lock", "the film"):
                inside.append(1)
                most.append(len(inside))
                done.append(inside.pop())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and os.listdir(tmp_path) == []


def test_systems_without_locks_refuse_nobody(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(files, "_try_lock", refuse)
    with sole_writer(tmp_path / "a.lock", "a"), sole_writer(tmp_path / "a.lock", "a"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), sole_writer(tmp_path / "file" / "a.lock", "a"):
        pass


# The cache ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The system's folder for temporary files, and no home that is told."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(files.tempfile, "tempdir", str(folder))
    for name in ("PPADAATTN_HOME", "HOME", "USERPROFILE"):
        monkeypatch.delenv(name, raising=False)
    return folder


def unknown_home(monkeypatch):
    def expanduser(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(files.Path, "expanduser", expanduser)


@pytest.mark.parametrize("home", ["unknown", "not writable", "a file"])
def test_without_a_home_the_cache_is_a_temporary_folder(temporary, tmp_path, monkeypatch, home):
    if home == "unknown":
        unknown_home(monkeypatch)
    elif home == "a file":
        (tmp_path / "home").write_text("")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
    else:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setattr(files.os, "access", lambda *_: False)
    with pytest.warns(InputNote, match="files are kept in .*; PPADAATTN_HOME names another place"):
        folder = cache_folder()
    assert folder.parent == temporary and folder.is_dir()
    assert cache_folder() == folder  # said once
    if hasattr(os, "getuid"):
        assert folder.stat().st_mode & 0o777 == 0o700
    files._temporary_cache.cache_clear()
    with pytest.warns(InputNote):
        assert cache_folder() == folder  # the next process uses it too


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="temporary folders of Windows are each user's own")
@pytest.mark.parametrize("planted", ["link", "open to all", "of another"])
def test_a_temporary_cache_that_another_user_planted_is_not_used(temporary, tmp_path, monkeypatch, planted):
    unknown_home(monkeypatch)
    place = temporary / f"ppadaattn-{os.getuid()}"
    if planted == "link":
        place.symlink_to(tmp_path)
    else:
        place.mkdir()
        place.chmod(0o777 if planted == "open to all" else 0o755)
    if planted == "of another":
        user = os.getuid() + 1
        monkeypatch.setattr(files.os, "getuid", lambda: user)
        place.rename(temporary / f"ppadaattn-{user}")
    with pytest.warns(InputNote):
        folder = cache_folder()
    assert folder.parent == temporary and folder.name.startswith("ppadaattn-") and folder != place
    assert folder.lstat().st_mode & 0o777 == 0o700 and folder.name != f"ppadaattn-{os.getuid()}"


def test_a_cache_that_is_there_is_used_writable_or_not(temporary, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / ".cache" / "ppadaattn").mkdir(parents=True)
    monkeypatch.setattr(files.os, "access", lambda *_: False)
    assert cache_folder() == tmp_path / ".cache" / "ppadaattn"
    monkeypatch.setenv("PPADAATTN_HOME", "/nowhere/at/all")
    assert cache_folder() == Path("/nowhere/at/all")  # what the user says holds


GONE = """
import os, shutil, sys
os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
from ppadaattn.files import atomic_write, cache_folder, check_writable
from ppadaattn.weights.zoo import obtain
target = sys.argv[1]
check_writable(target)
with atomic_write(target) as temporary:
    temporary.write_text("whole")
print(cache_folder(), obtain("adaattn_lite_image"))
try:
    check_writable("relative.png")
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no current folder")
def test_a_current_folder_that_is_gone(tmp_path):
    home = {"HOME": str(tmp_path), "PPADAATTN_HOME": None}
    script = tmp_path / "script.py"
    script.write_text(f"import os\nos.chdir({str(tmp_path)!r})\n{GONE}")
    done = run_python(script, tmp_path / "a.txt", **home)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.txt").read_text() == "whole" and str(tmp_path / ".cache" / "ppadaattn") in done.stdout
    assert "relative.png cannot be written: the current folder is gone; give an absolute path" in done.stdout


def test_what_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is not a folder"):
        check_writable(tmp_path / "file" / "a.png")
    with pytest.raises(InputError, match="cannot be written"), atomic_write(tmp_path / "file" / "a.png"):
        pass
    with pytest.raises(InputError, match="is no file name"), atomic_write(Path("/")):
        pass
