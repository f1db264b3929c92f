"""A folder of configurations, trained one after the other."""

import contextlib

from ppadaattn.cli.train import main
from ppadaattn.errors import InputError
from ppadaattn.files import sole_writer
from ppadaattn.train import series
from ppadaattn.train.run import Run
from ppadaattn.train.series import read_series, train_series
from ppadaattn.weights.checkpoint import load_network

import numpy as np
import pytest


@pytest.fixture
def folder(tmp_path, picture):
    """A folder of configurations: z loads a, and a loads m; _base is none to train."""
    for name in ("photos/1.png", "photos/2.png", "paintings/1.png", "paintings/2.png"):
        picture(name, 40, 44)
    files = {
        "_base": f"""
            _base_: adaattn_lite_image.yaml
            total_iters: 1
            output_dir: {tmp_path / "runs"}
            model: {{reinit_dead_channels: false}}
            validate: {{interval: 0}}
            dataset:
              train: {{content_root: {tmp_path / "photos"}, style_root: {tmp_path / "paintings"}, load_size: 0,
                       crop_size: 32, num_workers: 1}}
            """,
        "a": "load: m.yaml",
        "m": "total_iters: 2",
        "z": "load: a.yaml",
    }
    made = tmp_path / "own"
    made.mkdir()
    for name, text in files.items():
        lines = [line[12:] if name == "_base" else line for line in text.splitlines()]
        base = [] if name == "_base" else ["_base_: _base.yaml"]
        (made / f"{name}.yaml").write_text("\n".join([*base, *lines]) + "\n")
    return made


def change(folder, name, text):
    (folder / f"{name}.yaml").write_text(f"_base_: _base.yaml\n{text}\n")


def test_each_begins_with_the_weights_that_it_names_and_nothing_is_trained_twice(folder, tmp_path, capsys):
    assert main(["-c", str(folder)]) == 0
    runs = tmp_path / "runs" / "own"
    assert sorted(path.name for path in runs.glob("*.pdparams")) == ["a.pdparams", "m.pdparams", "z.pdparams"]
    (of_a,) = runs.glob("a-*/config.yaml")
    assert f"load: {runs / 'm.pdparams'}\n" in of_a.read_text()
    weights = {name: load_network(runs / f"{name}.pdparams").state_dict() for name in "maz"}
    name = "decoder.stage1.1.weight"
    difference = {pair: np.abs(weights[pair[0]][name].numpy() - weights[pair[1]][name].numpy()).max() for pair in
                  ("ma", "az")}  # fmt: skip
    assert all(0 < value < 0.01 for value in difference.values()), difference  # one step of Adam apart
    capsys.readouterr()
    assert main(["-c", str(folder)]) == 0
    assert capsys.readouterr().out.count("done already") == 3
    assert len(list(runs.glob("*-*/"))) == 3


def test_the_comparison_trains_all_methods_alike():
    stages = {stage.name: stage for stage in read_series("configs/compare")}
    order, iterations = list(stages), set()
    for name, stage in stages.items():
        assert stage.after is None or order.index(stage.after) < order.index(name)
        shared = stage.config.dataset.train, stage.config.seed, stage.config.model.width, stage.config.encoder_weights
        assert stage.config.dataset.train.batch_size == 4 and stage.config.dataset.train.crop_size == 128
        assert shared[1:] == (0, 0.25, "adaattn_lite_image") and stage.config.model.identity_attention
        before = stages[stage.after].config.total_iters if stage.after else 0
        if not name.startswith("reconstruct"):
            iterations.add(before + stage.config.total_iters)
    assert len(iterations) == 1, "the decoder's iterations are counted with those of the method"
    assert len(order) == 17 and not [name for name in order if name.startswith("_")]


def test_an_interrupted_series_continues_where_it_was(folder, tmp_path):
    stages = read_series(folder)
    assert [stage.name for stage in stages] == ["m", "a", "z"]
    begun = []

    def stop(config, name, resume):
        begun.append((name, resume))
        run = tmp_path / "runs" / "own" / f"{name}-2026-01-01-00-00-00"
        run.mkdir(parents=True, exist_ok=True)
        if len(begun) == 2:
            (run / "iter_1_checkpoint.pdparams").write_bytes(b"")
            return Run(run, 15)
        weights = run / f"iter_{config.total_iters}_weight.pdparams"
        weights.write_bytes(name.encode())
        return Run(run, None, weights)

    assert train_series(stages, list, stop) == ({}, 15)
    assert train_series(stages, list, stop) == ({}, None)
    run = tmp_path / "runs" / "own" / "a-2026-01-01-00-00-00"
    assert begun == [("m", None), ("a", None), ("a", run), ("z", None)]
    assert stages[1].weights.read_bytes() == b"a"


def test_a_larger_total_continues_what_was_done(folder, tmp_path, capsys):
    change(folder, "m", "lr_scheduler: {name: constant}")
    for name in "az":
        (folder / f"{name}.yaml").unlink()
    weights = []
    for total in (1, 2, 2):
        assert main(["-c", str(folder), "-o", f"total_iters={total}"]) == 0
        weights.append((tmp_path / "runs" / "own" / "m.pdparams").read_bytes())
    told = capsys.readouterr().out
    assert [told.count(words) for words in ("begins, of 1 ", "at iteration 1, of 2 ", "done already")] == [1, 1, 1]
    assert weights[0] != weights[1] == weights[2]
    assert len(list((tmp_path / "runs" / "own").glob("m-*/"))) == 1


def test_what_fails_takes_only_those_with_it_that_begin_with_it(folder):
    change(folder, "b", "load: a.yaml")
    stages, begun = read_series(folder), []

    def train(config, name, resume):
        begun.append(name)
        if name == "a":
            raise InputError("a loss is not finite")
        stages_by_name[name].weights.parent.mkdir(parents=True, exist_ok=True)
        path = stages_by_name[name].weights.with_suffix(".made")
        path.write_bytes(b"")
        return Run(path.parent, None, path)

    stages_by_name = {stage.name: stage for stage in stages}
    failed, stopped_by = train_series(stages, list, train)
    assert begun == ["m", "a"] and stopped_by is None
    assert (
        failed["a"] == "a loss is not finite" and "a, which failed" in failed["b"] and "b" in failed and "z" in failed
    )


def test_two_processes_share_the_stages(folder, monkeypatch):
    """The other one, which trains m, ends while this one waits for its weights."""
    change(folder, "b", "load: adaattn_lite_image")
    stages, begun = {stage.name: stage for stage in read_series(folder)}, []

    def train(config, name, resume):
        begun.append(name)
        path = stages[name].weights.with_suffix(".made")
        path.write_bytes(b"")
        return Run(path.parent, None, path)

    with contextlib.ExitStack() as other:
        other.enter_context(sole_writer(stages["m"].weights.with_suffix(".lock"), "m"))

        def wait(seconds):
            assert begun == ["b"]
            stages["m"].weights.write_bytes(b"")
            other.close()

        monkeypatch.setattr(series.time, "sleep", wait)
        assert train_series(list(stages.values()), list, train) == ({}, None)
    assert begun == ["b", "a", "z"]
    assert not list(stages["m"].weights.parent.glob("*.lock"))


@pytest.mark.parametrize(
    "texts, sentence",
    [
        ({"m": "load: n.yaml"}, "m.yaml: load is n.yaml, which is not in"),
        ({"m": "load: z.yaml"}, "wait for one another by `load`: a.yaml, m.yaml, z.yaml"),
        ({"m": "total_itres: 1"}, "m.yaml: unknown key total_itres (did you mean 'total_iters'?)"),
    ],
)
def test_wrong_series(folder, texts, sentence):
    for name, text in texts.items():
        change(folder, name, text)
    with pytest.raises(InputError) as error:
        read_series(folder)
    assert sentence in str(error.value)


@pytest.mark.parametrize("words", [["--resume", "x"], ["--load", "x"], ["--evaluate-only"]])
def test_options_of_one_training_are_refused_for_a_folder(folder, words, capsys):
    assert main(["-c", str(folder), *words]) == 2
    assert f"{words[0]} is for one configuration" in capsys.readouterr().err


def test_missing_pictures_end_it_at_once(folder, capsys):
    assert main(["-c", str(folder), "-o", "dataset.train.content_root=nowhere"]) == 2
    error = capsys.readouterr().err
    assert error.count("there is no folder nowhere") == 1 and "with folders of your own" in error


def test_a_stage_alone_says_that_it_needs_its_folder(folder, capsys):
    assert main(["-c", str(folder / "a.yaml")]) == 2
    assert "load is m.yaml, a configuration" in capsys.readouterr().err


def test_an_empty_folder(tmp_path):
    with pytest.raises(InputError, match="holds no configuration"):
        read_series(tmp_path)
