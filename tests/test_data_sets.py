"""Data sets: each picture of folders painted in a style that is drawn at random, with a manifest."""

import errno
import hashlib
import json
import os
import pickle
import sys
import threading
from pathlib import Path

from ppadaattn.cli import cluster, data_sets, manifest, pictures
from ppadaattn.cli.styles import StyleSpec, style_preparer
from ppadaattn.errors import InputError
from ppadaattn.infer.options import FileOptions
from ppadaattn.infer.stylizer import load
from ppadaattn.media.images import read_image

import numpy as np
import pytest
from conftest import painted

MODEL = "adaattn_lite_image"
CONTENTS = ("c/1.png", "c/2.jpg", "c/a/3.PNG", "c/a/4.gif", "c/a/b/5.jpg", "c/a/b/6.png", "c/b/1.png")
STYLES = ("s/x.png", "s/deep/y.png", "s/deep/zz.jpg")
WORDS = ("--content", "c", "--style", "s", "--random-style", "--output", "out")
NAMES = [name[2:] for name in CONTENTS]


@pytest.fixture(autouse=True)
def _data_set(tmp_path, monkeypatch, picture):
    monkeypatch.chdir(tmp_path)
    for name in (*CONTENTS, *STYLES):
        picture(name)


def lines(path="out/manifest.jsonl"):
    with open(path) as file:
        return [json.loads(line) for line in file]


def done(path="out/manifest.jsonl"):
    return [line["content"] for line in lines(path) if line["status"] == "done"]


def output_of(name):
    return f"{name}.png" if name.endswith(".gif") else name


def naive_draw(seed, name):
    digest = hashlib.sha256(f"style\0{seed}\0{name}".encode()).hexdigest()
    return sorted(style[2:] for style in STYLES)[int(digest[:16], 16) % len(STYLES)]


def test_each_picture_is_painted_in_its_drawn_style_with_the_bytes_of_painting_it_alone(run, stylizer, monkeypatch):
    monkeypatch.setenv("MKL_NUM_THREADS", "2")
    status, out, _ = run(*WORDS, "--seed", 5)
    assert status == 0 and "7 pictures" in out
    assert sorted(painted()) == sorted(map(output_of, NAMES))
    entries = {line["content"]: line for line in lines()}
    assert sorted(entries) == sorted(NAMES) and len(lines()) == len(NAMES)
    for name, entry in entries.items():
        style = naive_draw(5, name)
        assert entry == {
            "content": name, "style": style, "seed": 5, "model": "adaattn_lite_image",
            "fingerprint": stylizer.fingerprint[:16], "options": {"size": 1024}, "status": "done",
        }  # fmt: skip
        if name.endswith(".gif"):  # alone it is a clip
            continue
        monkeypatch.setenv("MKL_NUM_THREADS", "1")
        output = f"alone{os.path.splitext(output_of(name))[1]}"
        assert run("--content", f"c/{name}", "--style", f"s/{style}", "--output", output)[0] == 0
        with open(output, "rb") as file:
            assert file.read() == painted()[output_of(name)], name


def test_draws_are_even_and_depend_on_seed_and_name_alone():
    names = [f"{number}.jpg" for number in range(3000)]
    draws = {seed: [data_sets.drawn(seed, name, 3) for name in names] for seed in (0, 1)}
    for drawn in draws.values():
        assert min(np.bincount(drawn)) > 900
    assert 1800 < sum(np.not_equal(draws[0], draws[1])) < 2200
    parts = [sum(data_sets.Shard(index, 4).holds(name) for name in names) for index in (1, 2, 3, 4)]
    assert sum(parts) == 3000 and min(parts) > 650
    in_first = [drawn for name, drawn in zip(names, draws[0]) if data_sets.Shard(1, 4).holds(name)]
    assert min(np.bincount(in_first)) > 190  # a part has all styles alike


def test_shards_are_disjoint_and_together_the_whole_with_the_same_bytes(run):
    assert run(*WORDS)[0] == 0
    whole, names = painted(), []
    for index in (1, 2, 3):
        assert run(*WORDS[:-1], "parts", "--shard", f"{index}/3")[0] == 0
        names += done(f"parts/manifest-{index}-of-3.jsonl")
    assert sorted(names) == sorted(NAMES) and painted("parts") == whole
    status, out, _ = run(*WORDS[:-1], "parts")  # as a whole now: all shards' manifests count
    assert status == 0 and "0 pictures" in out and "7 were there" in out


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stopped_run_is_continued_with_the_same_bytes(run, monkeypatch, workers):
    if workers == 2:
        pytest.importorskip("onnxruntime")
    monkeypatch.setenv("MKL_NUM_THREADS", str(workers))
    assert run(*WORDS[:-1], "whole")[0] == 0
    write, written = pictures.write_image, []

    def stop_at_the_fourth(path, *rest):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *rest)

    monkeypatch.setattr(pictures, "write_image", stop_at_the_fourth)
    assert run(*WORDS)[0] == 130
    before = done()
    assert 3 <= len(before) < 7 and len(painted()) == len(before)
    monkeypatch.setattr(pictures, "write_image", lambda path, *rest: written.append(path) or write(path, *rest))
    del written[:]
    assert run(*WORDS)[0] == 0
    assert len(written) == 7 - len(before) and sorted(done()) == sorted(NAMES)
    assert painted() == painted("whole")


def test_a_cut_line_is_ignored_and_spoils_no_other(run):
    assert run(*WORDS)[0] == 0
    whole = painted()
    with open("out/manifest.jsonl", "r+b") as file:
        file.truncate(os.path.getsize("out/manifest.jsonl") - 10)
    status, out, _ = run(*WORDS)
    assert status == 0 and "1 pictures" in out and "6 were there" in out and painted() == whole
    with open("out/manifest.jsonl") as file:
        cut = [line for line in file if not line.endswith("}\n")]
    assert len(cut) == 1
    with open("out/manifest.jsonl", "a") as file:
        file.write('[]\n{"content": []}\n{}\n\n')
    assert "7 were there" in run(*WORDS)[1]


def test_a_picture_that_is_gone_is_painted_again_and_what_is_there_is_not(run, monkeypatch):
    assert run(*WORDS)[0] == 0
    whole = painted()
    os.remove("out/a/3.PNG")
    status, out, _ = run(*WORDS)
    assert status == 0 and "1 pictures" in out and "6 were there" in out and painted() == whole


def test_what_fails_is_counted_named_and_tried_again(run, picture):
    for name in ("c/a/bad.png", "c/bad.jpg"):
        with open(name, "w") as file:
            file.write("no picture")
    status, out, err = run(*WORDS)
    assert status == 1 and "7 pictures" in out and "2 failed" in out and err.count("skipped: ") == 2
    failed = {line["content"]: line["error"] for line in lines() if line["status"] == "failed"}
    assert sorted(failed) == ["a/bad.png", "bad.jpg"] and "is not a picture" in failed["bad.jpg"]
    picture("c/bad.jpg")
    status, out, _ = run(*WORDS)
    assert status == 1 and "1 pictures" in out and "7 were there" in out and "1 failed" in out


def test_a_full_disk_ends_the_run(run, monkeypatch):
    def full(path, *_):
        raise InputError(f"{path} cannot be written: No space left on device") from OSError(errno.ENOSPC, "")

    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    monkeypatch.setattr(pictures, "write_image", full)
    status, _, err = run(*WORDS)
    assert status == 1 and err.count("No space left") == 1 and len(lines()) == 1


@pytest.mark.parametrize(
    ("words", "key"), [(("--seed", "1"), "seed"), (("--size", "20"), "options"), (("--strength", "0.5"), "options")]
)
def test_another_way_to_paint_needs_another_folder(run, words, key):
    assert run(*WORDS)[0] == 0
    whole = painted()
    status, _, err = run(*WORDS, *words)
    assert status == 2 and f"was painted with the {key}" in err and "another --output" in err and painted() == whole


def test_several_folders_keep_their_names(run, picture):
    picture("other/c/9.png")
    words = ("--style", "s/x.png", "s/deep/*.png", "--random-style", "--output", "out")
    assert run("--content", "c/a", "c/b", *words)[0] == 0
    assert sorted(painted()) == ["a/3.PNG", "a/4.gif.png", "a/b/5.jpg", "a/b/6.png", "b/1.png"]
    status, _, err = run("--content", "c", "other/c", *words)
    assert status == 2 and "two folders of one name" in err


def test_the_styles_of_a_glob_may_lie_around_the_output(run):
    assert run(*WORDS[:2], "--style", "s/*.png", *WORDS[4:-1], "s/painted")[0] == 0
    assert len(painted("s/painted")) == 7


def test_hidden_files_and_links_that_go_round_are_left_out(picture):
    picture("c/.hidden/1.png"), picture("c/._1.png")
    os.symlink(os.path.abspath("c"), "c/a/round")
    os.symlink(os.path.abspath("s"), "c/linked")
    found = dict(data_sets._pictures("c"))
    assert sorted(found) == sorted([*NAMES, *(f"linked/{name[2:]}" for name in STYLES)])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--seed", "1", "--content", "c/1.png", "--style", "s/x.png"), "--seed goes with --random-style"),
        (("--ray", "auto", "--content", "c/1.png", "--style", "s/x.png"), "--ray goes with --random-style"),
        ((*WORDS, "--ray", "--style-scale", "1"), "--style-scale does nothing with --ray"),
        (("--shard", "1/2", "--content", "c/1.png", "--style", "s/x.png"), "--shard goes with --random-style"),
        ((*WORDS, "--shard", "3/2"), "expected a part such as 1/8"),
        ((*WORDS, "--seed", "x"), "expected a seed, at least 0"),
        ((*WORDS, "--grid"), "--grid does nothing with --random-style"),
        ((*WORDS, "--style-mode", "mix"), "--style-mode does nothing with --random-style"),
        ((*WORDS, "--crf", "20"), "--crf does nothing with --random-style"),
        (("--random-style",), "give --content and --style"),
        ((*WORDS, "--content", "c/1.png"), "takes folders as --content, and c/1.png is none"),
        ((*WORDS[:-1], "c"), "lie within one another"),
        ((*WORDS[:-1], "c/painted"), "lie within one another"),
        ((*WORDS[:-1], "."), "lie within one another"),
        ((*WORDS[:-1], "s"), "lie within one another"),
        ((*WORDS[:-1], "s/painted"), "lie within one another"),
        ((*WORDS[:2], "--style", "s/x.png", *WORDS[4:-1], "s"), "lie within one another"),
        ((*WORDS[:-1], "out.png"), "paints into a folder"),
        (("--content", "c", "--style", "empty", *WORDS[4:]), "no pictures in empty, at any depth"),
        (("--content", "empty", *WORDS[2:]), "no pictures in empty, at any depth"),
        ((*WORDS, "--style", "c/1.png", "c/b/1.png"), "two styles of one name"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(run, words, sentence):
    os.mkdir("empty")
    before = sorted(os.listdir())
    status, out, err = run(*words)
    assert status == 2 and sentence in err and err.startswith("error: ") and err.count("\n") == 1 and not out
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(("engine", "strength"), [("auto", 1), ("auto", 0.5), ("eager", 1)])
def test_a_prepared_style_travels_to_another_process(engine, strength):
    stylizer, options = load(MODEL, device="cpu", engine=engine), FileOptions(strength=strength)
    model, spec = cluster.Model(MODEL, "cpu", engine, stylizer.fingerprint), StyleSpec((Path("s/x.png"),), (None,))
    style = pickle.loads(pickle.dumps(cluster._prepare(model, spec, options)))
    outcome = pickle.loads(pickle.dumps(cluster._paint(model, "c/1.png", "out/1.png", style, options)))
    expected = stylizer("c/1.png", "s/x.png", strength=strength).astype(int)
    assert outcome.problem is None and np.abs(read_image("out/1.png") - expected).max() <= 1


def test_without_ray_one_sentence_names_the_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    status, _, err = run(*WORDS, "--ray")
    assert status == 2 and "pip install 'ppadaattn[ray]'" in err and not os.path.exists("out")


def test_a_content_whose_picture_has_the_name_of_another(run, picture):
    picture("c/a/4.gif.png")
    status, _, err = run(*WORDS)
    assert status == 2 and "a/4.gif is painted into a/4.gif.png" in err


def test_one_process_writes_a_manifest(tmp_path):
    with manifest.writing(tmp_path / "m.jsonl") as first:
        with pytest.raises(InputError, match="is being written by"), manifest.writing(tmp_path / "m.jsonl"):
            pass
        threads = [threading.Thread(target=lambda n=n: [first.append({"a": n}) for _ in range(50)]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(line["a"] for line in lines(tmp_path / "m.jsonl")) == [n for n in range(4) for _ in range(50)]


def test_few_styles_are_kept_and_each_is_prepared_once():
    """Threads that want one style wait for it; styles are let go, those first that were used longest ago."""
    made, together = [], threading.Barrier(3)

    class Spec:
        def __init__(self, name):
            self.name = name

        def prepare(self, stylizer, **sizes):
            made.append(self.name)
            return f"{stylizer} {self.name}"

    prepare, specs = style_preparer("stylizer", FileOptions(), kept=2), [Spec(name) for name in "abc"]

    def ask():
        together.wait()
        for spec in specs:
            assert prepare(spec, 32) == f"stylizer {spec.name}"
            together.wait()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["a", "b", "c"]
    prepare(specs[1], 32), prepare(specs[0], 32)
    assert made == ["a", "b", "c", "a"]
