"""pretrained/provenance.json: what programs can read about the files of the zoo is true of them."""

import hashlib
import json

from ppadaattn.weights import zoo

import pytest
from conftest import ROOT

FOLDER = ROOT / "pretrained"
TEXT, NUMBER, NAMES = str, (int, float, type(None)), list
OPTIONAL = (str, type(None))
MODEL = {
    "file": TEXT,
    "sha256": OPTIONAL,
    "bytes": NUMBER,
    "attention": OPTIONAL,
    "width": NUMBER,
    "licence": TEXT,
    "stages": NAMES,
    "targets": NAMES,
    "figures": dict,
    "recipe": NAMES,
}
STAGE = {
    "id": int,
    "what": TEXT,
    "trainer": TEXT,
    "command": OPTIONAL,
    "configuration": OPTIONAL,
    "iterations": NUMBER,
    "batch": NUMBER,
    "size": NUMBER,
    "seed": NUMBER,
    "minutes": NUMBER,
    "cores": NUMBER,
    "data": NAMES,
    "began_from": (list, type(None)),
    "note": OPTIONAL,
}
DATA = {"pictures": NUMBER, "use": TEXT, "sources": NAMES}
SOURCE = {"repository": TEXT, "commit": TEXT, "pictures": int, "licence": TEXT, "what": TEXT}


@pytest.fixture(scope="module")
def provenance():
    return json.loads((FOLDER / "provenance.json").read_text(encoding="utf-8"))


def check(entry, schema):
    assert entry.keys() == schema.keys()
    for key, kind in schema.items():
        assert isinstance(entry[key], kind), (key, entry[key])


def test_it_has_its_schema(provenance):
    assert provenance.keys() == {"format", "about", "models", "stages", "data", "measures"}
    assert provenance["format"] == "ppadaattn provenance 1"
    for entries, schema in ((provenance["models"].values(), MODEL), (provenance["stages"], STAGE)):
        for entry in entries:
            check(entry, schema)
    for data in provenance["data"].values():
        check(data, DATA)
        for source in data["sources"]:
            check(source, SOURCE)
        assert not data["sources"] or sum(source["pictures"] for source in data["sources"]) == data["pictures"]
    stages = {stage["id"]: stage for stage in provenance["stages"]}
    assert len(stages) == len(provenance["stages"])
    for model in provenance["models"].values():
        assert set(model["stages"]) <= stages.keys() and set(model["targets"]) <= provenance["data"].keys()
        assert model["figures"].keys() <= provenance["measures"].keys()
        assert all((ROOT / "configs" / name).is_file() for name in model["recipe"])
    for stage in stages.values():
        assert set(stage["data"]) <= provenance["data"].keys()
        assert all(before < stage["id"] for before in stage["began_from"] or ())


@pytest.mark.parametrize("row", zoo.ROWS.values(), ids=zoo.ROWS)
def test_each_row_of_the_zoo_has_its_origin(provenance, row):
    model = provenance["models"][row.name]
    assert (model["file"], model["licence"]) == (row.file, row.licence)
    assert (model["sha256"], model["bytes"]) == (row.sha256, row.size if row.sha256 else None)
    if row.architecture:
        assert {key: model[key] for key in ("attention", "width")} == {
            key: row.architecture[key] for key in ("attention", "width")
        }
        assert {name: model["figures"].get(name) for name in row.figures} == row.figures
        assert model["stages"]


def test_there_is_no_other_file(provenance):
    """Each file of weights in the folder is that of a model, with its bytes and its hash."""
    files = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in (".pdparams", ".safetensors")}
    told = {model["file"]: model for model in provenance["models"].values() if model["sha256"]}
    assert files.keys() == told.keys()
    for name, data in files.items():
        assert (len(data), hashlib.sha256(data).hexdigest()) == (told[name]["bytes"], told[name]["sha256"])


def test_the_card_says_the_same(provenance):
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name in ("photos", "paintings", "official"):
        assert str(provenance["data"][name]["pictures"]) in card
    assert "among the targets" in card and (ROOT / "examples" / "figures" / "failures.jpg").stat().st_size < 200_000
