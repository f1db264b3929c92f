"""Data sets on a Ray cluster of this machine; skipped where Ray is not installed."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

from ppadaattn.cli import cluster, data_sets, paint
from ppadaattn.errors import InputError
from ppadaattn.infer.options import FileOptions
from ppadaattn.infer.stylizer import load

import pytest
from conftest import ROOT, painted

ray = pytest.importorskip("ray")
# Ray warns of what it will change, by version.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.filterwarnings("error:::ppadaattn")]

STYLES = ("s/a.png", "s/bb.png", "s/ccc.png")


@pytest.fixture
def data_set(tmp_path, monkeypatch, picture):
    """Contents and styles in the current folder, of which one each cannot be read."""
    monkeypatch.chdir(tmp_path)
    for number in range(24):
        picture(f"c/{number % 3}/{'x' * (number % 7)}{number}.png", 192, 256)
    for name in STYLES:
        picture(name, 64, 64)
    with open("c/0/bad.jpg", "w") as file:
        file.write("no picture")


@pytest.fixture
def two_machines(monkeypatch):
    """(cluster, its second machine): two with one core each, and one without that holds what belongs to the cluster."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    machines.add_node(num_cpus=1)
    second = machines.add_node(num_cpus=1)
    ray.init(machines.address, log_to_driver=False, logging_level="error")
    machines.wait_for_nodes()
    yield machines, second
    ray.shutdown()
    machines.shutdown()


def painting(machine):
    """The number of a process of a machine that paints at this moment; waits for one."""
    raylet = str(machine.all_processes["raylet"][0].process.pid)
    for _ in range(3000):
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                if parent == raylet and (folder / "cmdline").read_bytes().startswith(b"ray::_paint"):
                    return int(folder.name)
        time.sleep(0.01)
    raise AssertionError("no process paints")


def entries_in(path):
    with open(path) as file:
        return sorted(map(json.loads, file), key=lambda entry: entry["content"])


def test_with_a_machine_lost_in_the_middle_nothing_is_missing_or_twice_and_bytes_are_those_of_one_process(
    data_set, two_machines, capsys
):
    words = ("--content", "c", "--style", "s", "--random-style", "--device", "cpu")
    assert paint.main([*words, "--output", "alone"]) == 1
    machines, second = two_machines
    ended = []

    def outcomes(plan, options, names, record):
        def recorded(name, outcome):
            record(name, outcome)
            ended.append(name)
            if len(ended) == 4:
                os.kill(painting(second), signal.SIGKILL)
                machines.remove_node(second, allow_graceful=False)

        return cluster.outcomes(model, plan, options, names, recorded)

    stylizer, options = load("adaattn_lite_image", device="cpu"), FileOptions(size=1024)
    model = cluster.Model("adaattn_lite_image", "cpu", "auto", stylizer.fingerprint)
    plan = data_sets.plan(["c"], ["s"], "beside", options)
    with pytest.raises(InputError, match="is another network on another machine"):
        next(cluster.outcomes(model._replace(fingerprint="0"), plan, options, list(plan.contents)[:1], None))
    assert data_sets.paint(stylizer, plan, options, outcomes) == 1
    assert sorted(ended) == sorted(plan.contents) and len(ended) == 25
    assert painted("beside") == painted("alone") and len(painted("beside")) == 24
    assert len(entries_in("beside/manifest.jsonl")) == 25
    told = [
        [(entry["content"], entry["status"], entry["style"]) for entry in entries_in(f"{folder}/manifest.jsonl")]
        for folder in ("alone", "beside")
    ]
    assert told[0] == told[1] and [entry[0] for entry in told[0] if entry[1] == "failed"] == ["0/bad.jpg"]


def test_a_bad_address_is_one_sentence_and_nothing_is_written(data_set, capsys):
    words = ("--content", "c", "--style", "s", "--random-style", "--device", "cpu", "--output", "out")
    assert paint.main([*words, "--ray", "localhost:1"]) == 2
    assert "error: there is no Ray cluster at localhost:1: " in capsys.readouterr().err and not os.path.exists("out")


def test_on_all_cores_of_this_machine_with_a_style_that_cannot_be_read(data_set, monkeypatch, capsys):
    monkeypatch.setenv("MKL_NUM_THREADS", "2")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with open("s/bad.png", "w") as file:
        file.write("no picture")
    words = ("--content", "c", "--style", "s", "--random-style", "--device", "cpu", "--output", "out")
    assert paint.main([*words, "--ray"]) == 1 and not ray.is_initialized()
    entries = entries_in("out/manifest.jsonl")
    failed = [entry["content"] for entry in entries if entry["style"] == "bad.png" or entry["content"] == "0/bad.jpg"]
    assert [entry["content"] for entry in entries if entry["status"] == "failed"] == failed and 2 < len(failed) < 15
    assert len(painted("out")) == 25 - len(failed) and "bad.png is not a picture" in capsys.readouterr().err
