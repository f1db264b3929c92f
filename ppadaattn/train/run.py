"""A training from its configuration: puts together data, network, objective, logger and trainer."""

import contextlib
import inspect
import itertools
import time
from pathlib import Path
from typing import NamedTuple, Optional

from ppadaattn.config import to_yaml
from ppadaattn.device import select_device
from ppadaattn.errors import InputError, all_errors
from ppadaattn.files import atomic_write, check_writable, sole_writer
from ppadaattn.media.images import to_floats
from ppadaattn.model.architecture import scaled_channels
from ppadaattn.model.init import initialize
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.runtime import keep_freed_memory
from ppadaattn.train.closed_form import CROPS, fit_decoder
from ppadaattn.train.config import Config
from ppadaattn.train.data import MissingInputError, Photos, Samples, batches, content_source, resize, to_tensors
from ppadaattn.train.dead_channels import reinit_dead_channels
from ppadaattn.train.logger import Logger
from ppadaattn.train.objectives import build_objective, check_prefix, frames_per_sample
from ppadaattn.train.trainer import Trainer, newest_checkpoint, weights_path
from ppadaattn.weights.checkpoint import build_network, is_network, load_network, network_weights, set_weights
from ppadaattn.weights.convert import vgg19
from ppadaattn.weights.zoo import BUNDLED, MODELS, is_offline, vgg19_file, weights_file

import numpy as np
import paddle
import paddle.distributed as distributed

# Batches before the first step on which dead channels are found, and to which a distillation fits its 1x1 convolutions.
# For the small models, 2 crops of 128 x 128 in a batch, they have 16384 points on relu3_1: enough that a channel which
# is 0 on all of them is dead, and that the fit of at most 129 numbers from a point is well determined.
PROBE_BATCHES = 8

# File in a run's folder that is there, and locked, while a process trains in it.
LOCK = "run.lock"


class Run(NamedTuple):
    """What a training leaves.

    Attributes:
        folder: of the run.
        stopped_by: the signal that stopped it, or None.
        weights: path of the last weights file; None after a validation alone, and in all processes but the first.
        content, style: paths of a picture (or clip) of each kind, held-out ones where there are any; None after a
            validation alone.
    """

    folder: Path
    stopped_by: Optional[int] = None
    weights: Optional[Path] = None
    content: Optional[str] = None
    style: Optional[str] = None


def train(config: Config, name: str, resume: Optional[str] = None, evaluate_only: bool = False) -> Run:
    """Train, or only validate, as a Config says.

    Args:
        config: Config.
        name: of the run; its folder is output_dir/NAME-DATE.
        resume: a checkpoint, or a run's folder with checkpoints, to resume from; the run continues in that folder.
        evaluate_only: one validation of the weights that the run would begin with, nothing else.

    Returns:
        a Run.

    Raises:
        InputError: anything that a user can put right, as a folder in which another process trains. Everything that is
            missing is named at once, before anything is downloaded; a MissingInputError, or CombinedInputError with
            some, where data or weights are not there.
    """
    keep_freed_memory()
    _begin_processes(config.device)
    resume = newest_checkpoint(resume) if resume else None
    folder = resume.parent if resume else _new_folder(config.output_dir, name)
    with all_errors() as attempt:
        attempt(check_writable, folder, True)
        frames = frames_per_sample(config)
        samples = None if evaluate_only else attempt(Samples, config.dataset.train, frames, config.seed)
        val_sources = attempt(_val_sources, config, evaluate_only)
        attempt(_check_weights, config, resume is not None)
    network, vgg, loaded = _networks(config, resume is not None)
    objective = build_objective(config, network, vgg, samples.targets if samples else None)
    val_pairs = _val_pairs(val_sources, config.dataset.test, frames)
    writes = distributed.get_rank() == 0
    with contextlib.ExitStack() as stack:
        if writes and not evaluate_only:
            stack.enter_context(sole_writer(folder / LOCK, f"the run {folder}"))
        logger = stack.enter_context(contextlib.closing(Logger(folder if writes else None, config.enable_visualdl)))
        if loaded and not resume:
            logger.text(loaded)
        trainer = Trainer(objective, samples, config, logger, val_pairs, _about(config, samples))
        if resume:
            trainer.restore(resume)
            logger.text(f"resuming from {resume}")
        if evaluate_only:
            trainer.validate()
            return Run(folder)
        if trainer.iteration >= config.total_iters:
            raise InputError(
                f"{resume} is of iteration {trainer.iteration}, and total_iters is {config.total_iters}: "
                "there is nothing left to do; raise total_iters to train further"
            )
        if logger.folder is not None:
            with atomic_write(folder / "config.yaml") as temporary:
                temporary.write_text(to_yaml(config), encoding="utf-8")
        if not resume:
            _prepare(trainer, samples, config, logger)
        targets = f"{len(samples.targets.painted)} painted pictures, " if samples.targets else ""
        counts = f"{len(samples.contents)} contents, {len(samples.styles)} styles, {targets}"
        logger.text(f"{folder}: {counts}{paddle.get_device()}")
        stopped_by = trainer.run()
    weights = weights_path(folder, trainer.iteration) if logger.folder is not None else None
    contents, styles = val_sources or (samples.contents, samples.styles)
    return Run(folder, stopped_by, weights, contents.name(0), styles.name(0))


def _begin_processes(device):
    """Select the device, and connect to the other processes where paddle.distributed.launch started several."""
    if distributed.ParallelEnv().world_size > 1:
        if device is None and paddle.is_compiled_with_cuda():
            device = f"gpu:{distributed.ParallelEnv().device_id}"
        select_device(device)
        distributed.init_parallel_env()
    else:
        select_device(device)


def _new_folder(output_dir, name):
    """output_dir/NAME-DATE, with -2, -3 and so on after it where that exists."""
    folder = Path(output_dir).expanduser() / f"{name}-{time.strftime('%Y-%m-%d-%H-%M-%S')}"
    unique, count = folder, 1
    while unique.exists():
        count += 1
        unique = folder.with_name(f"{folder.name}-{count}")
    return unique


def _prepare(trainer, samples, config, logger):
    """Prepare for the first step, with the same pictures in every process."""
    objective, model = trainer.objective, config.model
    if not (
        model.closed_form_decoder or model.reinit_dead_channels or trainer.white.layers or model.name == "distillation"
    ):
        return
    rng = np.random.RandomState(config.seed)
    if model.closed_form_decoder:
        _fit_decoder(objective, config, rng, logger)
    data = config.dataset.train
    with contextlib.closing(batches(samples, 0, data.batch_size, data.num_workers)) as stream:
        probe = [to_tensors(batch) for batch in itertools.islice(stream, PROBE_BATCHES)]
    if model.reinit_dead_channels:
        for layer, (dead, channels) in reinit_dead_channels(objective, probe).items():
            logger.text(f"new weights for dead channels: {layer}: {dead} of {channels}")
    objective.prepare(probe)
    if trainer.white.layers:
        trainer.white.measure(objective.run_network, probe, rng)


def _fit_decoder(objective, config, rng, logger):
    """Fit the decoder to crops of the painted pictures, with a line of the log for each layer."""
    logger.text(f"fitting the decoder to {CROPS} crops of painted pictures")
    objective.begin_iteration(1)
    crops, seed = [], config.seed
    while len(crops) < CROPS:
        crops += objective.targets.embed(objective.network, seed % 2**32)
        seed += 1

    def say(layer, unexplained):
        logger.text(f"decoder.{layer}: {unexplained:.2f} of the variance of held-out crops is left")

    fit_decoder(objective.network, crops, rng, say)


def _check_weights(config, resumes):
    """Raise an InputError that names all weights that are not here and will not be downloaded."""
    with all_errors() as attempt:
        if not resumes:
            attempt(_check_load, config)
        if is_offline() or config.encoder_weights not in (None, *BUNDLED):
            attempt(_encoder_file, config.encoder_weights)


def _check_load(config):
    if config.load and config.load.endswith(".yaml"):
        raise InputError(
            f"load is {config.load}, a configuration: give its folder instead of the file, or `load` weights"
        )
    if config.load:
        if is_offline() or config.load not in MODELS:
            weights_file(config.load)
    elif config.model.width != 1 and config.model.name != "distillation":
        raise InputError(
            f"a network of width {config.model.width} needs trained weights of its encoder: `load` a model of that "
            "width (adaattn_lite_image has 0.25), or the weights of configs/distill_lite.yaml"
        )
    elif config.load_only is not None:
        raise InputError("load_only says what is taken from `load`, which is not set; set it, or remove load_only")


def _networks(config, resumes=False):
    """The network to train, with its first weights; the Encoder of the losses; what was loaded, in words ('': all).

    A resumed run has all weights in its checkpoint, and loads no others.
    """
    model = config.model
    paddle.seed(config.seed)
    network = build_network("the configuration", architecture(model))
    vgg = _loss_encoder(config.encoder_weights)
    if resumes:
        return network, vgg, ""
    if config.load:
        return network, vgg, _load(network, config, vgg)
    initialize(network, model.init, model.identity_attention)
    if model.width == 1 and model.name != "distillation":
        if vgg.channels != scaled_channels(1):
            raise InputError(
                f"a network of width 1 begins with VGG-19, and encoder_weights is {config.encoder_weights}; give "
                "VGG-19 there, or `load` a model"
            )
        network.encoder.set_state_dict({name: vgg.state_dict()[name] for name in network.encoder.state_dict()})
    return network, vgg, ""


def _encoder_file(path):
    """The file that `encoder_weights` names; it is downloaded where it is missing and can be."""
    if path in BUNDLED:
        return weights_file(path)
    try:
        return vgg19_file(path)
    except InputError as error:
        raise MissingInputError(str(error)) from None


def _loss_encoder(path):
    """The frozen Encoder that `encoder_weights` names."""
    file = _encoder_file(path)
    if path is None or not is_network(file):
        return vgg19(file)
    encoder = load_network(file).encoder
    for parameter in encoder.parameters():
        parameter.stop_gradient = True
    return encoder


def _load(network, config, vgg):
    """Load the weights of `config.load` into a network; says which layers were taken and which are new ('': all taken).

    Weights of one attention serve the other: the video model begins as the image model. Where the transform or its keys
    are others, encoder and decoder are taken. What is taken has to fit. Heads take the encoder of the losses, `vgg`.
    """
    path, model = weights_file(config.load), config.model

    def find_encoder(encoder):
        arrays = {name: tensor.numpy() for name, tensor in vgg.state_dict().items() if name in encoder.state_dict()}
        return f"encoder_weights ({config.encoder_weights or 'vgg_normalised'})", arrays

    source = load_network(path, find_encoder)
    parts = config.load_only
    if parts is None:
        same = all(source.architecture[key] == network.architecture[key] for key in ("transform", "shallow_features"))
        parts = [""] if same else ["encoder.", "decoder."]
    known = list(network.state_dict())
    for part in parts:
        check_prefix(network, part, "load_only")
    weights = network_weights(source)
    if parts == [""]:
        set_weights(network, weights, path)
        return ""
    initialize(network, model.init, model.identity_attention)
    own = network_weights(network)
    taken = {name for name in known if name.startswith(tuple(parts))}
    present = {name: weights[name] for name in taken if name in weights}
    set_weights(network, {**{name: own[name] for name in known if name not in taken}, **present}, path)
    new = sorted({name.split(".")[0] for name in known if name not in taken})
    layers = ", ".join(part.rstrip(".") for part in parts)
    return f"{config.load}: taken: {layers}; new weights: {', '.join(new) or 'none'}"


def architecture(model):
    """The arguments of AdaAttNNetwork in a section `model` of the configuration."""
    return {key: getattr(model, key) for key in inspect.signature(AdaAttNNetwork).parameters}


def _val_sources(config, evaluate_only):
    """(contents, styles) of `dataset.test`; None where neither is set and no validation is asked for."""
    data = config.dataset.test
    if not (evaluate_only or config.validate.interval or data.content_root or data.style_root):
        return None
    with all_errors() as attempt:
        return (
            attempt(content_source, data, "dataset.test"),
            attempt(Photos, data.style_root, "dataset.test.style_root"),
        )


def _val_pairs(sources, data, frames):
    """(contents, styles) of `_val_sources` for `measure`: lists of float32 [frames or 1, 3, size, size]; or None."""
    if sources is None:
        return None
    contents, styles = sources
    return _squares(contents, data.max_contents, frames, data.size), _squares(styles, data.max_styles, 1, data.size)


def _squares(source, most, frames, size):
    """The first pictures of a source, at most `most`, as tensors [frames, 3, size, size]."""
    squares = []
    for index in range(min(most, len(source))):
        images = source.read(index, frames, np.random.RandomState(index))
        if len(images) < frames:
            # Two frames of one photo, the same ones at every validation: the second is an eighth of the width further
            # right, 32 pixels of 256, as far as the default `shift` of the training moves it.
            step = max(1, images[0].shape[1] // 8)
            images = [images[0][:, :-step], images[0][:, step:]]
        squares.append(paddle.to_tensor(to_floats(np.stack([resize(image, size, size) for image in images]))))
    return squares


def _about(config, samples):
    if samples is None:
        return ""
    data, model = config.dataset.train, config.model
    transform = f"{model.attention} attention" if model.transform == "adaattn" else model.transform
    return (
        f"{model.name}, {transform}, from {config.load or 'first weights'}, seed {config.seed}, "
        f"{len(samples.contents)} contents and {len(samples.styles)} styles, batches of {data.batch_size} crops "
        f"{data.crop_size} x {data.crop_size}."
    )
