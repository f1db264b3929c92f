"""The training loop: batches through an objective, steps of the optimizer, logs, validation, snapshots.

It knows nothing of style transfer: objectives.py defines the losses, data.py the samples. Everything random follows
from the seed and the iteration, so that a resumed run takes the same steps as one that never stopped.
"""

import contextlib
import math
import os
import re
import time
from collections import defaultdict
from pathlib import Path

from ppadaattn.device import peak_memory, without_gradients
from ppadaattn.errors import InputError, one_line, shown
from ppadaattn.media.images import contact_sheet, to_bytes
from ppadaattn.progress import progress_bar
from ppadaattn.signals import stop_when_asked
from ppadaattn.train.data import batches, to_tensors
from ppadaattn.train.objectives import white_layers
from ppadaattn.train.white_inputs import WhiteInputs
from ppadaattn.weights.checkpoint import (
    is_checkpoint,
    load_checkpoint,
    network_weights,
    save_checkpoint,
    save_weights,
)

import numpy as np
import paddle
import paddle.distributed as distributed

# Side in pixels of a cell of the validation's contact sheet: of 15 x 15 pairs, the default, it is 2700 pixels wide.
SHEET_CELL = 160

OPTIMIZERS = {"Adam": paddle.optimizer.Adam}

# Factor on the learning rate at a fraction, 0 to 1, of the iterations after `decay_after`.
SCHEDULES = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1 - done,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
}


def learning_rate(schedule, iteration, total):
    """The rate of an iteration, 1 to `total`, of a Schedule of the configuration."""
    done = (iteration - 1) / total
    decaying = max(0.0, (done - schedule.decay_after) / (1 - schedule.decay_after))
    warmup = min(1.0, iteration / schedule.warmup_iters) if schedule.warmup_iters else 1.0
    return schedule.learning_rate * (SCHEDULES[schedule.name](decaying) + schedule.floor) * warmup


class MovingAverage:
    """An exponential moving average of parameters: weights that are steadier than those of any single iteration."""

    def __init__(self, parameters, decay):
        self.parameters, self.decay = parameters, decay
        self.values = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @without_gradients
    def update(self, iteration):
        # At iteration t the average spans about the last (t + 10) / 10 iterations until it spans 1 / (1 - decay): early
        # on, first weights would dominate it. The 10 is that of TensorFlow's ExponentialMovingAverage (num_updates).
        decay = min(self.decay, iteration / (iteration + 10))
        for name, parameter in self.parameters.items():
            self.values[name] = decay * self.values[name] + (1 - decay) * parameter

    @contextlib.contextmanager
    def applied(self):
        """Within the block the parameters are their averages."""
        kept = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        _assign(self.parameters, self.values)
        try:
            yield
        finally:
            _assign(self.parameters, kept)


@without_gradients
def _assign(parameters, values):
    for name, parameter in parameters.items():
        parameter.set_value(values[name])


class Trainer:
    """Trains an objective.

    Args:
        objective: an Objective.
        samples: by index, as `data.Samples`.
        config: Config.
        logger: Logger.
        val_pairs: (list of contents, list of styles) for the objective's `measure`, or None.
        about: a sentence for the weights files that says where they come from.
    """

    def __init__(self, objective, samples, config, logger, val_pairs=None, about=""):
        self.objective, self.samples, self.config, self.logger = objective, samples, config, logger
        self.val_pairs, self.about = val_pairs, about
        self.iteration = self.skipped = 0
        self.processes = distributed.get_world_size()
        self._batches = []  # (batch, what the objective made of it) of this iteration, for all its pairings
        self.parameters = objective.trained_parameters()
        options = config.optimizer
        self.white = WhiteInputs(white_layers(objective, options.white_inputs))
        self.stepped = self.white.replace(self.parameters)
        clip = options.clip_grad_norm
        self.optimizer = OPTIMIZERS[options.name](
            config.lr_scheduler.learning_rate,
            beta1=options.beta1,
            beta2=options.beta2,
            parameters=list(self.stepped.values()),
            grad_clip=paddle.nn.ClipGradByGlobalNorm(clip) if clip else None,
        )
        self.average = MovingAverage(self.parameters, config.ema_decay) if config.ema_decay else None

    @property
    def samples_per_iteration(self):
        return self.config.dataset.train.batch_size * self.config.optimizer.accumulate * self.processes

    @property
    def pairings(self):
        return self.config.dataset.train.pairings

    def run(self):
        """Train until `total_iters`, or until a signal tells the process to stop; either way end with a snapshot.

        Returns:
            the signal, or None.

        Raises:
            InputError: a loss that is not finite, a file that cannot be written. Earlier checkpoints stay as they are.
        """
        config = self.config
        data = config.dataset.train
        first = self.iteration // self.pairings * self.samples_per_iteration
        first += distributed.get_rank() * data.batch_size
        stream = batches(self.samples, first, data.batch_size, data.num_workers, data.batch_size * self.processes)
        clock, ends = _Clock(), (self.iteration + 1, config.total_iters)
        with stop_when_asked(self._answer) as asked, contextlib.closing(stream), self._progress() as progress:
            while self.iteration < config.total_iters and not asked:
                with clock.steps:
                    losses, pictures, rate = self.step(stream, clock)
                clock.iterations += 1
                progress.set_postfix_str(f"total {losses['total']:.4g}, eta {self._eta(clock)}", refresh=False)
                progress.update()
                if _due(self.iteration, config.log_config.interval, ends):
                    self.log(losses, rate, clock)
                    clock = _Clock()
                if _due(self.iteration, config.log_config.visual_interval, ends):
                    self.logger.picture(self.iteration, "visual_train", _rows(pictures))
                if _due(self.iteration, config.validate.interval):
                    self.validate()
                if _due(self.iteration, config.snapshot_config.interval) and self.iteration < config.total_iters:
                    self.snapshot()
            self.snapshot()
        return asked[0] if asked else None

    def _answer(self):
        return f"finishing iteration {self.iteration}, then writing a checkpoint; once more ends at once"

    def _progress(self):
        """A progress bar on stderr, on a terminal only; with the ETA of the log, without validation and saving."""
        return progress_bar(
            total=self.config.total_iters,
            initial=self.iteration,
            disable=True if self.logger.folder is None else None,
            leave=False,
            bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
        )

    def _eta(self, clock):
        return _duration(clock.batch_cost * (self.config.total_iters - self.iteration))

    def step(self, stream, clock):
        """One iteration: `accumulate` batches, one update. Returns the losses, the last pictures and the rate."""
        self.iteration += 1
        accumulate = self.config.optimizer.accumulate
        losses = defaultdict(float)
        self.objective.train()
        self.objective.begin_iteration(self.iteration)
        pairing = (self.iteration - 1) % self.pairings
        if pairing == 0:
            self._batches = []
        for part in range(accumulate):
            if part == len(self._batches):
                with clock.reader:
                    batch = to_tensors(next(stream))
                self._batches.append((batch, self.objective.encode_batch(batch)))
            # Each part of each iteration draws its own style points, and draws them again when it is repeated.
            seed = (self.config.seed + self.iteration * accumulate + part) % 2**32
            found, pictures = self.objective.losses_of(self._batches[part][1], seed, pairing)
            if self.pairings == 1:  # features of several batches would fill the memory
                self._batches[part] = (self._batches[part][0], None)
            total = sum(weight * found[name] for name, weight in self.objective.weights.items())
            (total / accumulate).backward()
            for name, loss in {**found, "total": total}.items():
                losses[name] += float(loss) / accumulate
        if self.processes > 1:
            losses = self._average_over_processes(losses)
        self._check_finite(losses)
        rate = learning_rate(self.config.lr_scheduler, self.iteration, self.config.total_iters)
        self.optimizer.set_lr(rate)
        with self.white.step():
            self.optimizer.step()
        self.optimizer.clear_grad()
        if self.average is not None:
            self.average.update(self.iteration)
        return losses, pictures, rate

    def _average_over_processes(self, losses):
        """Gradients become their mean over the processes; returns the mean losses."""
        parameters = [parameter for parameter in self.parameters.values() if parameter.grad is not None]
        values = [
            *(parameter.grad.flatten() for parameter in parameters),
            paddle.to_tensor(list(losses.values()), "float32"),
        ]
        together = paddle.concat(values)  # one message instead of dozens
        distributed.all_reduce(together)
        *gradients, means = (together / self.processes).split([int(np.prod(value.shape)) for value in values])
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad.set_value(gradient.reshape(parameter.shape))
        return dict(zip(losses, means.tolist()))

    def _check_finite(self, losses):
        if all(map(math.isfinite, losses.values())):
            return
        terms = ", ".join(f"{name} {_number(value)}" for name, value in losses.items())
        raise InputError(
            f"the loss of iteration {self.iteration} is not finite: {terms}; the checkpoints before it are good: "
            "resume from the last one with a lower lr_scheduler.learning_rate or optimizer.clip_grad_norm"
        )

    def log(self, losses, rate, clock):
        ips = self.samples_per_iteration / clock.batch_cost
        memory = peak_memory() / 2**20
        for name, reason in list(self.samples.skipped.items())[self.skipped :]:
            self.logger.text(f"skipped: {name}: {reason}")
        self.skipped = len(self.samples.skipped)
        terms = " ".join(f"{name}: {_number(value)}" for name, value in losses.items())
        self.logger.text(
            f"Iter: {self.iteration}/{self.config.total_iters} lr: {rate:.3e} {terms} "
            f"batch_cost: {clock.batch_cost:.3f} s reader_cost: {clock.reader_cost:.3f} s ips: {ips:.3f} samples/s "
            f"eta: {self._eta(clock)} "
            f"peak_memory: {memory:.0f} MiB" + (f" skipped: {self.skipped} files" if self.skipped else "")
        )
        weighted = {f"weighted/{name}": weight * losses[name] for name, weight in self.objective.weights.items()}
        plain = {f"loss/{name}": value for name, value in losses.items()}
        speed = {"train/lr": rate, "train/ips": ips, "train/peak_memory_mib": memory}
        self.logger.scalars(self.iteration, {**plain, **weighted, **speed})

    def validate(self):
        """Log and return the mean losses over the held-out pairs; {} without any. Every process does the same work."""
        if self.val_pairs is None:
            return {}
        contents, styles = self.val_pairs
        sums, count, pictures = defaultdict(float), 0, {}
        self.objective.eval()
        start = time.perf_counter()
        with self.average.applied() if self.average is not None else contextlib.nullcontext():
            for place, losses, image in self.objective.measure(contents, styles):
                for name, value in losses.items():
                    sums[name] += value
                count += 1
                if self.config.validate.save_img:
                    pictures[place] = to_bytes(image.numpy())[0]
        means = {name: value / count for name, value in sums.items()}
        # Losses that need other data than pairs are not measured.
        weights = {name: weight for name, weight in self.objective.weights.items() if name in means}
        means["total"] = sum(weight * means[name] for name, weight in weights.items())
        terms = " ".join(f"{name}: {_number(value)}" for name, value in means.items())
        seconds = time.perf_counter() - start
        self.logger.text(f"Validation at {self.iteration}: {terms} pairs: {count} ({_duration(seconds)})")
        self.logger.scalars(self.iteration, {f"validation/{name}": value for name, value in means.items()})
        if pictures:
            columns = 1 + max(column for _, column in pictures)
            rows = 1 + max(row for row, _ in pictures)
            asides = [to_bytes(image[:1].numpy())[0] for image in [*contents, *styles]]
            sheet = contact_sheet(asides[:rows], asides[len(contents) :][:columns], pictures, SHEET_CELL)
            self.logger.picture(self.iteration, "visual_test", sheet)
        return means

    # -----------------------------------------------------------------------------------------------------------------
    # Snapshots
    # -----------------------------------------------------------------------------------------------------------------

    def snapshot(self):
        """Write the checkpoint and the weights of this iteration, and remove older ones beyond `keep_last`."""
        folder = self.logger.folder
        if folder is None:
            return
        save_checkpoint(folder / f"iter_{self.iteration}_checkpoint.pdparams", self.state())
        with self.average.applied() if self.average is not None else contextlib.nullcontext():
            if self._batches:
                self.logger.text(f"Snapshot at {self.iteration}: {self.objective.report(self._batches[-1][0])}")
            about = f"{self.about} Iteration {self.iteration} of {self.config.total_iters}."
            save_weights(weights_path(folder, self.iteration), self.objective.network, about)
        keep = self.config.snapshot_config.keep_last
        for old in snapshots(folder)[:-keep] if keep else ():
            for kind in ("checkpoint", "weight"):
                (folder / f"iter_{old}_{kind}.pdparams").unlink(missing_ok=True)

    def state(self):
        """What the next iteration depends on, beside configuration and data, as plain values and arrays."""
        return {
            "iteration": self.iteration,
            "architecture": self.objective.network.architecture,
            "objective": type(self.objective).__name__,
            "seed": self.config.seed,
            "samples_per_iteration": self.samples_per_iteration,
            "pairings": self.pairings,
            "weights": network_weights(self.objective),
            "optimizer": self._optimizer_state(),
            "average": self._average_state(),
            "white_inputs": self.white.state_dict(),
        }

    def _average_state(self):
        return None if self.average is None else {name: value.numpy() for name, value in self.average.values.items()}

    def restore(self, path):
        """Resume from a checkpoint.

        Raises InputError: another kind of file, or one whose numbers do not fit; another architecture, objective, seed
        or batch size, with which the steps would not be those of the checkpoint's run.
        """
        try:
            saved = load_checkpoint(path)
        except InputError as error:
            raise InputError(f"{error}{_whole_before(path)}") from None
        saved.setdefault("pairings", 1)  # older checkpoints have no such key
        if saved.get("white_inputs") is None:  # nor this one, or None where no inputs are white
            saved["white_inputs"] = {}
        try:
            self._check_saved(saved, path)
        except InputError:
            raise
        except Exception as error:  # whatever stands in the place of dicts and numbers
            raise InputError(f"{path} is no checkpoint of this training: {one_line(error)}") from None
        self.objective.set_state_dict({name: paddle.to_tensor(array) for name, array in saved["weights"].items()})
        self._set_optimizer_state(saved["optimizer"])
        if self.average is not None:
            self.average.values = {name: paddle.to_tensor(array) for name, array in saved["average"].items()}
        self.white.load(saved["white_inputs"])
        self.iteration = saved["iteration"]

    def _check_saved(self, saved, path):
        """Raise an error that says why where what a checkpoint holds is not what `state` gives here."""
        present = self.state()
        for key in ("objective", "architecture", "seed", "samples_per_iteration", "pairings"):
            if saved.get(key) != present[key]:
                raise InputError(
                    f"{path} is of a run with {key} {shown(saved.get(key), 1000)}, this configuration has "
                    f"{present[key]!r}; resume with the configuration of that run, or begin a new run with its "
                    "weights, as `load`"
                )
        if (saved["average"] is None) != (self.average is None):
            raise InputError(f"{path} is of a run {'without' if saved['average'] is None else 'with'} ema_decay")
        white = self.white.shapes()
        if saved["white_inputs"].keys() != white.keys():
            raise InputError(f"{path} is of a run with another optimizer.white_inputs")
        for key, shape in white.items():
            _check_array(f"white input {key}", saved["white_inputs"][key], [shape])
        if type(saved["iteration"]) is not int or saved["iteration"] < 0:
            raise ValueError(f"its iteration is {saved['iteration']!r}")
        shapes = {name: parameter.shape for name, parameter in self.parameters.items()}
        every = {name: tensor.shape for name, tensor in self.objective.state_dict().items()}
        for kind, expected in (("weights", every), ("average", shapes)):
            if saved[kind] is not None and saved[kind].keys() != expected.keys():
                odd = sorted(saved[kind].keys() ^ expected.keys(), key=str)
                raise ValueError(f"its {kind} have other names than expected, such as {odd[0]}")
            for name, array in (saved[kind] or {}).items():
                _check_array(f"{kind} of {name}", array, [expected[name]])
        for key, array in saved["optimizer"].items():
            name, _, slot = key.rpartition(":")
            if name not in shapes:
                raise ValueError(f"its optimizer knows {key!r}, which is no parameter here")
            _check_array(f"{slot} of {name}", array, [shapes[name], [1], []])

    def _optimizer_state(self):
        """The optimizer's state under our parameters' names: Paddle numbers its own anew in each process."""
        state = self.optimizer.state_dict()
        named = {}
        for name, parameter in self.stepped.items():
            for key, tensor in state.items():
                if key.startswith(f"{parameter.name}_"):
                    named[f"{name}:{key[len(parameter.name) + 1 :]}"] = tensor.numpy()
        return named

    def _set_optimizer_state(self, named):
        state = {}
        for key, array in named.items():
            name, _, slot = key.rpartition(":")
            state[f"{self.stepped[name].name}_{slot}"] = paddle.to_tensor(array)
        self.optimizer.set_state_dict(state)


def _check_array(what, array, shapes):
    """ValueError unless it is a float array of one of the shapes."""
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or list(array.shape) not in map(list, shapes):
        found = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"its {what} are {found}, expected float32 {list(shapes[0])}")


def weights_path(folder, iteration):
    """The weights file of an iteration in a run's folder."""
    return folder / f"iter_{iteration}_weight.pdparams"


def snapshots(folder):
    """The iterations of the checkpoints in a run's folder, in order."""
    matches = (re.fullmatch(r"iter_(\d+)_checkpoint\.pdparams", name) for name in os.listdir(folder))
    return sorted(int(match[1]) for match in matches if match)


def _whole_before(path):
    """'; resume from FILE...' for the newest whole checkpoint before a damaged one of the same run; '' without one."""
    match = re.fullmatch(r"iter_(\d+)_checkpoint\.pdparams", Path(path).name)
    folder = Path(path).parent
    for iteration in reversed(snapshots(folder)) if match and folder.is_dir() else ():
        before = folder / f"iter_{iteration}_checkpoint.pdparams"
        if iteration < int(match[1]) and is_checkpoint(before):
            return f"; the one before it is whole: resume from {before}"
    return ""


def newest_checkpoint(path):
    """The path of a checkpoint as it is, or of the newest checkpoint in a run's folder."""
    path = Path(path).expanduser()
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"`resume`: there is no file or folder {path}")
    found = snapshots(path)
    if not found:
        raise InputError(f"the folder {path} holds no iter_N_checkpoint.pdparams to resume from")
    return path / f"iter_{found[-1]}_checkpoint.pdparams"


# ---------------------------------------------------------------------------------------------------------------------
# Small things
# ---------------------------------------------------------------------------------------------------------------------


class _Stopwatch:
    """Seconds spent in its `with` blocks."""

    def __init__(self):
        self.seconds = 0.0

    def __enter__(self):
        self.start = time.perf_counter()

    def __exit__(self, *_):
        self.seconds += time.perf_counter() - self.start


class _Clock:
    """Seconds of iterations, and of waiting for their data."""

    def __init__(self):
        self.iterations, self.steps, self.reader = 0, _Stopwatch(), _Stopwatch()

    @property
    def batch_cost(self):
        return self.steps.seconds / self.iterations

    @property
    def reader_cost(self):
        return self.reader.seconds / self.iterations


def _due(iteration, interval, besides=()):
    """Whether an iteration is one of every `interval`, or one of `besides`; an interval of 0 means never."""
    return bool(interval) and (iteration % interval == 0 or iteration in besides)


def _number(value):
    """A float32 in the fewest digits that determine it: logs of two runs can be compared to the last bit."""
    return str(np.float32(value))


def _duration(seconds):
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


def _rows(pictures):
    """A picture with one row for each of `pictures`, a batch each."""
    return np.concatenate([np.concatenate(list(to_bytes(tensor.numpy())), 1) for tensor in pictures.values()])
