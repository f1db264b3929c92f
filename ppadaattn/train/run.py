"""A run from a configuration: network, data, objective, logger and trainer put together."""

import contextlib
import itertools
import time
from pathlib import Path

from ppadaattn.config import to_yaml
from ppadaattn.device import select_device
from ppadaattn.errors import InputError
from ppadaattn.files import atomic_write, check_writable
from ppadaattn.media.images import to_floats
from ppadaattn.model.init import initialize
from ppadaattn.model.vgg import scaled_channels
from ppadaattn.train.data import Photos, Samples, batches, content_source, resize, to_tensors
from ppadaattn.train.dead_channels import reinit_dead_channels
from ppadaattn.train.logger import Logger
from ppadaattn.train.objectives import build_objective, check_prefix
from ppadaattn.train.trainer import Trainer, newest_checkpoint
from ppadaattn.weights.checkpoint import build_network, is_network, load_network, network_weights, set_weights
from ppadaattn.weights.convert import vgg19
from ppadaattn.weights.zoo import MODELS, vgg19_file, weights_file

import numpy as np
import paddle
import paddle.distributed as distributed

# Batches that a run looks at before it begins: on them a channel must be dead to be revived.
PROBE_BATCHES = 8


def train(config, name, resume=None, evaluate_only=False):
    """Train, or only validate, as a Config says.

    Args:
        config: Config.
        name: of the run; its folder is output_dir/NAME-DATE.
        resume: a checkpoint, or a run's folder with checkpoints, to go on from; the run goes on in that folder.
        evaluate_only: one validation of the weights that the run would begin with, nothing else.

    Returns:
        (folder of the run, the signal that stopped it or None).

    Raises:
        InputError: anything that a user can put right.
    """
    _begin_processes(config.device)
    resume = newest_checkpoint(resume) if resume else None
    folder = resume.parent if resume else _new_folder(config.output_dir, name)
    check_writable(folder, folder=True)
    network, vgg, loaded = _networks(config, goes_on=resume is not None)
    objective = build_objective(config, network, vgg)
    val_pairs = _val_pairs(config.dataset.test, objective.frames, required=evaluate_only)
    samples = None if evaluate_only else Samples(config.dataset.train, objective.frames, config.seed)
    if config.validate.interval and val_pairs is None:
        raise InputError("validate.interval is set, and dataset.test.content_root and style_root are not; set them")
    logger = Logger(folder if distributed.get_rank() == 0 else None, config.enable_visualdl)
    try:
        if loaded and not resume:
            logger.text(loaded)
        trainer = Trainer(objective, samples, config, logger, val_pairs, _about(config, samples))
        if resume:
            trainer.restore(resume)
            logger.text(f"going on from {resume}")
        if evaluate_only:
            trainer.validate()
            return folder, None
        if trainer.iteration >= config.total_iters:
            raise InputError(
                f"{resume} is of iteration {trainer.iteration}, and total_iters is {config.total_iters}: "
                "there is nothing left to do; raise total_iters to go on"
            )
        if logger.folder is not None:
            with atomic_write(folder / "config.yaml") as temporary:
                temporary.write_text(to_yaml(config), encoding="utf-8")
        if not resume and (config.model.reinit_dead_channels or config.model.name == "distillation"):
            _prepare(objective, samples, config, logger)
        logger.text(f"{folder}: {len(samples.contents)} contents, {len(samples.styles)} styles, {paddle.get_device()}")
        return folder, trainer.run()
    finally:
        logger.close()


def _begin_processes(device):
    """The device, and the connection to the other processes where paddle.distributed.launch started several."""
    if distributed.ParallelEnv().world_size > 1:
        if device is None and paddle.is_compiled_with_cuda():
            device = f"gpu:{distributed.ParallelEnv().device_id}"
        select_device(device)
        distributed.init_parallel_env()
    else:
        select_device(device)


def _new_folder(output_dir, name):
    """output_dir/NAME-DATE, or -2, -3 ... after it where that is there already."""
    folder = Path(output_dir) / f"{name}-{time.strftime('%Y-%m-%d-%H-%M-%S')}"
    unique, count = folder, 1
    while unique.exists():
        count += 1
        unique = folder.with_name(f"{folder.name}-{count}")
    return unique


def _prepare(objective, samples, config, logger):
    """What an objective does before its first step with a look at some batches; every process sees the same ones."""
    data = config.dataset.train
    with contextlib.closing(batches(samples, 0, data.batch_size, data.num_workers)) as stream:
        probe = [to_tensors(batch) for batch in itertools.islice(stream, PROBE_BATCHES)]
    if config.model.reinit_dead_channels:
        for layer, (dead, channels) in reinit_dead_channels(objective, probe).items():
            logger.text(f"revived: {layer}: {dead} of {channels} channels")
    objective.prepare(probe)


def _networks(config, goes_on=False):
    """The network to train, with its first weights, the Encoder of the losses, and what was loaded, in words ('': all).

    A run that goes on has all weights in its checkpoint, and needs none to load.
    """
    model = config.model
    paddle.seed(config.seed)
    network = build_network("the configuration", architecture(model))
    vgg = _loss_encoder(config.encoder_weights)
    if model.width != 1 and model.name != "distillation" and not config.load and not goes_on:
        raise InputError(
            f"a network of width {model.width} needs trained weights of its encoder to begin with: --load a model of "
            "that width (adaattn_lite_image has 0.25), or the weights of configs/distill_lite.yaml"
        )
    if config.load_only is not None and not config.load and not goes_on:
        raise InputError("load_only says what is taken from `load`, which is not set; set it, or leave load_only out")
    if config.load:
        return network, vgg, _load(network, config)
    initialize(network, model.init, model.identity_attention)
    if model.width == 1 and model.name != "distillation":
        if vgg.channels != scaled_channels(1):
            raise InputError(
                f"a network of width 1 begins with VGG-19, and encoder_weights is {config.encoder_weights}; give "
                "VGG-19 there, or --load a model"
            )
        network.encoder.set_state_dict({name: vgg.state_dict()[name] for name in network.encoder.state_dict()})
    return network, vgg, ""


def _loss_encoder(path):
    """The frozen Encoder that `encoder_weights` names."""
    if path in MODELS or (path and is_network(path)):
        encoder = load_network(weights_file(path)).encoder
        for parameter in encoder.parameters():
            parameter.stop_gradient = True
        return encoder
    return vgg19(vgg19_file(path))


def _load(network, config):
    """Put the weights of `config.load` into a network; what was taken and what begins anew, in words ('' for all).

    Weights of one attention serve another: the video model begins as the image model. Where the transform is another,
    or takes other keys, encoder and decoder are taken; what is taken has to fit.
    """
    path, model = weights_file(config.load), config.model
    source = load_network(path)
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
    anew = sorted({name.split(".")[0] for name in known if name not in taken})
    layers = ", ".join(part.rstrip(".") for part in parts)
    return f"{config.load}: taken: {layers}; begins anew: {', '.join(anew) or 'nothing'}"


def architecture(model):
    """The arguments of AdaAttNNetwork that are in a section `model` of the configuration."""
    keys = ("width", "levels", "attention", "conventions", "transform", "shallow_features")
    return {key: getattr(model, key) for key in keys}


def _val_pairs(data, frames, required):
    """(contents, styles) of TestData for `measure`: float32 [frames or 1, 3, size, size] each; None if not set."""
    if not required and not (data.content_root or data.style_root):
        return None
    sources = [
        (content_source(data, "dataset.test"), data.max_contents, frames),
        (Photos(data.style_root, "dataset.test.style_root"), data.max_styles, 1),
    ]
    return tuple(_squares(*source, data.size) for source in sources)


def _squares(source, most, frames, size):
    squares = []
    for index in range(min(most, len(source))):
        images = source.read(index, frames, np.random.RandomState(index))
        if len(images) < frames:
            # A second frame from one photo, the same one at every validation: an eighth of it further right.
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
