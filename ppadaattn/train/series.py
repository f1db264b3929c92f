"""A series: all configurations of a folder, one after the other, each after the one whose weights it begins with.

In a series, `load` may be the file name of another configuration of the folder: the run begins with the weights that
the other one has trained. Files whose names begin with an underscore are bases of others and are not trained.

The weights of each configuration end as OUTPUT_DIR/FOLDER/NAME.pdparams. A series that was stopped resumes when it is
started again: what has such a file is done, and what has a run with a checkpoint continues from it. With a larger
total_iters the runs of what was done continue as well. Several processes may train a series at once, each the next
configuration that no other one trains.
"""

import shutil
import time
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Sequence

from ppadaattn.errors import InputError, nearest, note
from ppadaattn.files import TakenError, atomic_write, sole_writer
from ppadaattn.train.config import Config, load_config
from ppadaattn.train.data import is_missing_input
from ppadaattn.train.run import train
from ppadaattn.train.trainer import snapshots, weights_path

import paddle.distributed as distributed

WAIT = 5  # seconds between two looks whether other processes have trained a stage


class Stage(NamedTuple):
    """A configuration of a series.

    Attributes:
        name: of its file, without .yaml.
        config: Config, with `load` and `output_dir` as the series has them.
        after: name of the stage whose weights it begins with, or None.
    """

    name: str
    config: Config
    after: Optional[str]

    @property
    def weights(self) -> Path:
        """The file that holds the stage's weights when it is done."""
        return weights_in(self.config.output_dir, self.name)


def weights_in(folder, name):
    return Path(folder).expanduser() / f"{name}.pdparams"


def read_series(folder, overrides: Sequence[str] = ()) -> "list[Stage]":
    """The stages of a folder of configurations, in an order in which they can be trained.

    Args:
        folder: with configurations, *.yaml.
        overrides: words 'a.b=c' for all of them.

    Raises:
        InputError: a configuration that is wrong, `load` of one that the folder does not have, configurations that load
            one another.
    """
    folder = Path(folder)
    paths = {path.stem: path for path in sorted(folder.glob("*.yaml")) if not path.name.startswith("_")}
    if not paths:
        raise InputError(f"the folder {folder} holds no configuration, NAME.yaml, that can be trained")
    stages = {}
    for name, path in paths.items():
        try:
            config, after = load_config(path, overrides), None
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        config.output_dir = str(Path(config.output_dir) / folder.resolve().name)
        if config.load and config.load.endswith(".yaml"):
            after = Path(config.load).stem
            if after not in paths:
                raise InputError(f"{path}: load is {config.load}, which is not in {folder}{nearest(after, paths)}")
            config.load = str(weights_in(config.output_dir, after))
        stages[name] = Stage(name, config, after)
    return _in_order(stages, folder)


def _in_order(stages, folder):
    """The stages by name, each after the one that it begins with."""
    ordered, waiting = {}, dict(stages)
    while waiting:
        ready = [name for name, stage in waiting.items() if stage.after is None or stage.after in ordered]
        if not ready:
            circle = ", ".join(f"{name}.yaml" for name in waiting)
            raise InputError(f"in {folder} these configurations wait for one another by `load`: {circle}")
        ordered[ready[0]] = waiting.pop(ready[0])
    return list(ordered.values())


def train_series(
    stages: Sequence[Stage], say: Callable[[str], None] = note, begin: Callable = train
) -> "tuple[dict, Optional[int]]":
    """Train all stages that are not done yet, and that no other process trains.

    A stage that fails does not end the series: those that begin with its weights are left out, the others are trained.
    One that begins with weights that another process trains waits for them, and the series ends when all are trained.

    Args:
        stages: as `read_series` returns them.
        say: is called with a sentence about each stage.
        begin: as `run.train`.

    Returns:
        ({name: sentence} of what failed, the signal that stopped the series or None).

    Raises:
        InputError: data or weights are missing.
    """
    failed, told = {}, False
    places = {stage.name: f"{number} of {len(stages)}, {stage.name}" for number, stage in enumerate(stages, 1)}
    left = {stage.name: stage for stage in stages}
    while left:
        before = len(left)
        for name, stage in list(left.items()):
            if _is_done(stage):
                say(f"{places[name]}: done already: {stage.weights}")
            elif stage.after in failed:
                failed[name] = f"it begins with the weights of {stage.after}, which failed"
            elif stage.after in left:
                continue
            else:
                try:
                    with sole_writer(stage.weights.with_suffix(".lock"), f"the stage {stage.weights}"):
                        stopped_by = _train_stage(stage, places[name], say, begin)
                except TakenError:
                    if distributed.get_world_size() > 1:  # the processes of one training take no stages of their own
                        raise
                    continue
                except InputError as error:
                    if is_missing_input(error):  # which no stage can do without
                        raise
                    failed[name] = str(error)
                else:
                    if stopped_by is not None:
                        return failed, stopped_by
            if name in failed:
                say(f"{places[name]}: failed: {failed[name]}")
            del left[name]
        if len(left) == before:
            if not told:
                say(f"waits for other processes, which train or need {', '.join(left)}")
                told = True
            time.sleep(WAIT)
    return failed, None


def _train_stage(stage, place, say, begin):
    """Train one stage from where it was; the signal that stopped it, or None."""
    if _is_done(stage):  # another process was quicker
        return None
    folder, iteration = _last_run(stage)
    total = stage.config.total_iters
    weights = weights_path(folder, total) if folder else None
    if weights is None or not weights.is_file():
        say(f"{place}: {f'resumes {folder} at iteration {iteration}' if folder else 'begins'}, of {total} iterations")
        run = begin(stage.config, stage.name, resume=folder)
        if run.stopped_by is not None:
            return run.stopped_by
        weights = run.weights
    if weights is not None:  # None in all processes of a distributed training but the first
        with atomic_write(stage.weights) as temporary:
            shutil.copyfile(weights, temporary)
        say(f"{place}: weights: {stage.weights}")
    return None


def _is_done(stage):
    """Whether the stage's weights are there, and are not those of a run with fewer iterations, which can continue."""
    folder, iteration = _last_run(stage)
    return stage.weights.is_file() and not (folder and iteration < stage.config.total_iters)


def _last_run(stage):
    """(folder, iteration) of the run of a stage that is furthest, or (None, 0)."""
    runs = [(None, 0)]
    for folder in sorted(stage.weights.parent.glob(f"{stage.name}-*-*-*-*-*-*")):
        digits = folder.name[len(stage.name) + 1 :]
        if digits.replace("-", "").isdigit() and folder.is_dir() and snapshots(folder):
            runs.append((folder, snapshots(folder)[-1]))
    return max(runs, key=lambda run: run[1])
