"""Data sets on a Ray cluster of this machine; skipped where Ray is not installed."""

import json
import os

from ppadaattn.cli import cluster, data_sets, paint
from ppadaattn.infer.options import FileOptions
from ppadaattn.infer.stylizer import load

import pytest
from conftest import ROOT

ray = pytest.importorskip("ray")
# Ray warns of what it will change, by version.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.filterwarnings("error:::ppadaattn")]

STYLES = ("s/a.png", "s/bb.png", "s/ccc.png")


@pytest.fixture
def data_set(tmp_path, monkeypatch, picture):
    """Contents and styles in the current folder, of which one each cannot be read."""
    monkeypatch.chdir(tmp_path)
    for number in range(24):
        picture(f"c/{number % 3}/{'x' * (number % 7)}{number}.png", 96, 128)
    for name in STYLES:
        picture(name, 64, 64)
    with open("c/0/bad.jpg", "w") as file:
        file.write("no picture")


@pytest.fixture
def two_machines(tmp_path, monkeypatch):
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


def pictures_in(folder):
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            if not name.startswith("manifest"):
                path = os.path.join(where, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = file.read()
    return found


def entries_in(path):
    with open(path) as file:
        return sorted(map(json.loads, file), key=lambda entry: entry["content"])


def test_with_a_machine_lost_in_the_middle_nothing_is_missing_or_twice_and_bytes_are_those_of_one_process(
    data_set, two_machines, capsys
):
    words = ("--content", "c", "--style", "s", "--random-style", "--device", "cpu")
    assert paint.main([*words, "--output", "alone"]) == 1
    machines, second = two_machines
    ended, before = [], []

    def outcomes(plan, options, names, record):
        def recorded(name, outcome):
            record(name, outcome)
            ended.append(name)
            if len(ended) == 4:
                before.append(ray.cluster_resources()["CPU"])
                machines.remove_node(second, allow_graceful=False)

        return cluster.outcomes("auto", model, plan, options, names, recorded)

    stylizer, options = load("adaattn_lite_image", device="cpu"), FileOptions(size=1024)
    model = cluster.Model("adaattn_lite_image", "cpu", "auto", stylizer.fingerprint)
    plan = data_sets.plan(["c"], ["s"], "beside", options)
    assert data_sets.paint(stylizer, plan, options, outcomes) == 1
    assert before == [2] and ray.cluster_resources()["CPU"] == 1
    assert sorted(ended) == sorted(plan.contents) and len(ended) == 25
    assert pictures_in("beside") == pictures_in("alone") and len(pictures_in("beside")) == 24
    assert len(entries_in("beside/manifest.jsonl")) == 25
    told = [
        [(entry["content"], entry["status"], entry["style"]) for entry in entries_in(f"{folder}/manifest.jsonl")]
        for folder in ("alone", "beside")
    ]
    assert told[0] == told[1] and [entry[0] for entry in told[0] if entry[1] == "failed"] == ["0/bad.jpg"]
