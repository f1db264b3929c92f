"""The configurations of a training and of a report: every key, its default, its type and what it means, in this one
place.

A YAML file holds the keys that differ from the defaults. Its names are PaddleGAN's where PaddleGAN has one. `_base_`
names one YAML file or several (relative to the file, or packaged ones) whose keys come first; `-o a.b=c` comes last.

This module never imports Paddle.
"""

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from typing import Dict, List, Optional

from ppadaattn.errors import InputError, nearest
from ppadaattn.resources import expand, find_config

import yaml


def _option(default, *, choices=None, least=None, above=None, below=None):
    """A field with a default and the values it may have: one of `choices`, or `above` < `least` <= value < `below`."""
    limits = {"choices": choices, "least": least, "above": above, "below": below}
    limits = {name: limit for name, limit in limits.items() if limit is not None}
    if isinstance(default, (list, dict)):
        return field(default_factory=default.copy, metadata=limits)
    return field(default=default, metadata=limits)


@dataclass
class Model:
    """What is trained, and the architecture of the network (as in `AdaAttNNetwork`)."""

    # stylization: the whole network with the losses below. distillation: its encoder learns to predict VGG-19's
    # features. reconstruction: its decoder learns to invert the encoder.
    name: str = _option("stylization", choices=("stylization", "distillation", "reconstruction"))
    width: float = _option(1.0, above=0)
    # null: those of the transform's own paper; of AdaAttN 3, 4 and 5.
    levels: Optional[List[int]] = None
    attention: str = _option("softmax", choices=("softmax", "cosine"))
    conventions: str = _option("paper", choices=("paper", "release"))
    # AdaAttN, or a method that it is compared with (ppadaattn/baselines/).
    transform: str = _option("adaattn", choices=("adaattn", "adain", "avatarnet", "linear", "mast", "mccnet", "sanet"))
    shallow_features: bool = True
    # How a network begins that is not loaded. kaiming: normal, for ReLU (He et al. 2015). release: normal, std 0.02.
    init: str = _option("kaiming", choices=("kaiming", "release"))
    # f, g and h near the identity, where AdaAttN begins as a softer form of the parameter-free AdaAttN* of eq. 11;
    # other transforms likewise as nearly nothing but their formula.
    identity_attention: bool = False
    # Whether the network's encoder is trained too (distillation always trains it).
    train_encoder: bool = False
    # Layers of the network, by the beginning of their names (such as encoder.conv1), that stay as they are.
    freeze: List[str] = _option([])
    # Give new weights to channels of the trained layers that the pictures of the first batches never activate.
    reinit_dead_channels: bool = False


@dataclass
class GlobalStyle:
    """L_gs, eq. 10. `weight` 0 leaves a loss out; `level_weights` are factors on levels, 1 where none is given."""

    weight: float = _option(10.0, least=0)
    levels: List[int] = _option([2, 3, 4, 5])
    distance: str = _option("mse", choices=("mse", "l2"))
    level_weights: Dict[int, float] = _option({})


@dataclass
class LocalFeature:
    """L_lf, eq. 11. `num_style_points`: at most so many style points on each level, drawn at random; null: all."""

    weight: float = _option(3.0, least=0)
    levels: List[int] = _option([3, 4, 5])
    distance: str = _option("mse", choices=("mse", "l2"))
    level_weights: Dict[int, float] = _option({})
    num_style_points: Optional[int] = _option(None, least=1)


@dataclass
class ImageSimilarity:
    """L_is, eq. 13, for video. With a weight above 0 each sample has two frames."""

    weight: float = _option(0.0, least=0)
    levels: List[int] = _option([2, 3, 4])
    normalization: str = _option("printed", choices=("printed", "size_independent"))
    level_weights: Dict[int, float] = _option({})


@dataclass
class Content:
    """L_c of the ablation, section 4.3."""

    weight: float = _option(0.0, least=0)
    levels: List[int] = _option([3, 4, 5])
    distance: str = _option("mse", choices=("mse", "l2"))
    level_weights: Dict[int, float] = _option({})
    # Compare Norm(F) instead of F, as SANet, MAST and MCCNet do.
    normalized: bool = False


@dataclass
class AdaINContent:
    """AdaIN's content loss: distance to its output t."""

    weight: float = _option(0.0, least=0)
    levels: List[int] = _option([4])
    distance: str = _option("mse", choices=("mse", "l2"))
    level_weights: Dict[int, float] = _option({})


@dataclass
class GramStyle:
    """Linear's style loss: Gram matrices and channel means, squared distances summed."""

    weight: float = _option(0.0, least=0)
    levels: List[int] = _option([1, 2, 3, 4])
    level_weights: Dict[int, float] = _option({})


@dataclass
class IdentityPixels:
    """SANet's first identity loss: contents and styles painted in their own style stay themselves."""

    weight: float = _option(0.0, least=0)


@dataclass
class IdentityFeatures:
    """SANet's second identity loss: the same on features."""

    weight: float = _option(0.0, least=0)
    levels: List[int] = _option([1, 2, 3, 4, 5])
    level_weights: Dict[int, float] = _option({})


@dataclass
class Illumination:
    """MCCNet's illumination loss: noise on the content changes nothing."""

    weight: float = _option(0.0, least=0)
    # The noise is normal; its std is drawn for each batch between these.
    least_noise: float = _option(0.01, least=0)
    most_noise: float = _option(0.02, least=0)


@dataclass
class DisentangledContent:
    """MAST's disentanglement loss of contents: one content in the styles of a batch has one content."""

    weight: float = _option(0.0, least=0)
    levels: List[int] = _option([4, 5])
    level_weights: Dict[int, float] = _option({})


@dataclass
class DisentangledStyle:
    """MAST's disentanglement loss of styles: the contents of a batch in one style have one style."""

    weight: float = _option(0.0, least=0)
    levels: List[int] = _option([1, 2, 3, 4, 5])
    level_weights: Dict[int, float] = _option({})


@dataclass
class TotalVariation:
    """Mean absolute difference of neighbouring pixels."""

    weight: float = _option(0.0, least=0)


@dataclass
class Range:
    """How far the picture's values lie outside [0, 1]. Not in the paper."""

    weight: float = _option(0.0, least=0)


@dataclass
class Losses:
    """The losses of `model.name: stylization`."""

    global_style: GlobalStyle = field(default_factory=GlobalStyle)
    local_feature: LocalFeature = field(default_factory=LocalFeature)
    image_similarity: ImageSimilarity = field(default_factory=ImageSimilarity)
    content: Content = field(default_factory=Content)
    adain_content: AdaINContent = field(default_factory=AdaINContent)
    gram_style: GramStyle = field(default_factory=GramStyle)
    identity_pixels: IdentityPixels = field(default_factory=IdentityPixels)
    identity_features: IdentityFeatures = field(default_factory=IdentityFeatures)
    illumination: Illumination = field(default_factory=Illumination)
    disentangled_content: DisentangledContent = field(default_factory=DisentangledContent)
    disentangled_style: DisentangledStyle = field(default_factory=DisentangledStyle)
    total_variation: TotalVariation = field(default_factory=TotalVariation)
    range: Range = field(default_factory=Range)


@dataclass
class Reconstruction:
    """The losses of `model.name: reconstruction`: a picture of a picture's own features is to be that picture.

    Distillation has one loss a level, all of weight 1.
    """

    # How pixels are compared: mean absolute difference, or mean square.
    distance: str = _option("l1", choices=("l1", "mse"))
    weight: float = _option(1.0, least=0)
    # Weight of the mean squared difference of features of VGG-19 (Avatar-Net's perceptual loss), and its levels.
    perceptual: float = _option(0.0, least=0)
    perceptual_levels: List[int] = _option([1, 2, 3, 4])
    # Weight of the mean absolute difference of neighbouring pixels (Avatar-Net).
    total_variation: float = _option(0.0, least=0)


@dataclass
class TrainData:
    """Contents and styles, pictures at any depth below a folder, paired at random."""

    content_root: Optional[str] = None
    style_root: Optional[str] = None
    # photos: every picture by itself. clips: every folder with two or more pictures is a clip, and every video file.
    content_kind: str = _option("photos", choices=("photos", "clips"))
    # Pictures are resized to this height and width, in pixels, then cropped; 0: they stay as they are.
    load_size: int = _option(512, least=0)
    # True: the shorter side becomes load_size and the shape is kept. False: both sides do (the release).
    keep_aspect: bool = False
    crop_size: int = _option(256, least=16)
    # Mirror pictures left to right half the time.
    flip: bool = False
    # Two frames of one photo (with image_similarity.weight above 0): the second crop is moved by up to `shift` pixels
    # along each axis, and shows up to this part more or less of the photo.
    shift: int = _option(32, least=0)
    zoom: float = _option(0.05, least=0, below=0.5)
    # Two frames of one clip are at most this many frames apart.
    frame_gap: int = _option(1, least=1)
    # Pairs of content and style in a batch, on each card.
    batch_size: int = _option(8, least=1)
    # Threads that read pictures; the samples do not depend on it.
    num_workers: int = _option(4, least=1)


@dataclass
class TestData:
    """Held-out pictures for validation: the first ones by name, all pairs of them, resized to `size` x `size`."""

    content_root: Optional[str] = None
    style_root: Optional[str] = None
    content_kind: str = _option("photos", choices=("photos", "clips"))
    size: int = _option(256, least=16)
    max_contents: int = _option(15, least=1)
    max_styles: int = _option(15, least=1)


@dataclass
class Dataset:
    train: TrainData = field(default_factory=TrainData)
    test: TestData = field(default_factory=TestData)


@dataclass
class Optimizer:
    name: str = _option("Adam", choices=("Adam",))
    beta1: float = _option(0.9, least=0, below=1)
    beta2: float = _option(0.999, least=0, below=1)
    # The gradient's norm is cut to this; null: never.
    clip_grad_norm: Optional[float] = _option(None, above=0)
    # Batches whose gradients are averaged before one update.
    accumulate: int = _option(1, least=1)


@dataclass
class Schedule:
    """The learning rate over the iterations."""

    # constant; linear: from learning_rate to 0; cosine: half a cosine from learning_rate to 0.
    name: str = _option("constant", choices=("constant", "linear", "cosine"))
    learning_rate: float = _option(1e-4, above=0)
    # Part of the iterations after which linear and cosine begin to fall.
    decay_after: float = _option(0.0, least=0, below=1)
    # Iterations over which the rate first rises from 0.
    warmup_iters: int = _option(0, least=0)


@dataclass
class Validate:
    # Iterations between validations; 0: none.
    interval: int = _option(0, least=0)
    # A contact sheet of all pairs in visual_test/.
    save_img: bool = False


@dataclass
class LogConfig:
    # Iterations between lines of the log, and between sheets of what is trained on in visual_train/ (0: none).
    interval: int = _option(10, least=1)
    visual_interval: int = _option(500, least=0)


@dataclass
class SnapshotConfig:
    # Iterations between snapshots, and how many checkpoints and weights files are kept (0: all).
    interval: int = _option(5000, least=1)
    keep_last: int = _option(0, least=0)


@dataclass
class Config:
    total_iters: int = _option(50000, least=1)
    output_dir: str = "output_dir"
    # Begin with these weights: a name of the model zoo or a weights file, of any attention. null: from the start.
    load: Optional[str] = None
    # Layers of the network that are taken from there, by the beginning of their names (such as encoder); the others
    # begin anew. null: all of them; into a network with another transform, encoder and decoder.
    load_only: Optional[List[str]] = None
    # The encoder on whose features the losses are. VGG-19, with which a network of width 1 also begins: .npz, .pdparams
    # or .pth; null: from the cache, where it is downloaded to. Or the encoder of a model of this project, a name of the
    # zoo or a weights file: a narrow one costs a fraction of VGG-19.
    encoder_weights: Optional[str] = None
    # Everything random follows from it: first weights, order and crops of pictures, style points.
    seed: int = _option(0, least=0, below=2**32)
    # cpu, gpu or gpu:N; null: a GPU where one works.
    device: Optional[str] = None
    # Weights are averaged over iterations with this factor; validation and weights files use the average. null: not.
    ema_decay: Optional[float] = _option(None, above=0, below=1)
    enable_visualdl: bool = False
    model: Model = field(default_factory=Model)
    losses: Losses = field(default_factory=Losses)
    reconstruction: Reconstruction = field(default_factory=Reconstruction)
    dataset: Dataset = field(default_factory=Dataset)
    optimizer: Optimizer = field(default_factory=Optimizer)
    lr_scheduler: Schedule = field(default_factory=Schedule)
    validate: Validate = field(default_factory=Validate)
    log_config: LogConfig = field(default_factory=LogConfig)
    snapshot_config: SnapshotConfig = field(default_factory=SnapshotConfig)


# ---------------------------------------------------------------------------------------------------------------------
# A report: tools/evaluate.py report
# ---------------------------------------------------------------------------------------------------------------------

PARTS = ("sheets", "flow", "quality", "speed")


@dataclass
class Method:
    """A method to compare."""

    # What tables call it; null: the name of its weights.
    name: Optional[str] = None
    # A name of the model zoo or a weights file, which carries its own architecture.
    weights: Optional[str] = None
    # Instead of weights: arguments of AdaAttNNetwork. Its numbers are random then, and only its speed is measured.
    architecture: Optional[dict] = None


@dataclass
class Sheets:
    """Contact sheets: a row for each pair of a content (or clip) and a style, a column for each method."""

    # Rows at most; the first content goes with the first style, and so on, the shorter list again from its beginning.
    rows: int = _option(8, least=1)
    # Long side of the pictures that are painted, and side of a cell, in pixels.
    size: int = _option(512, least=16)
    cell: int = _option(192, least=16)


@dataclass
class FlowError:
    """The optical-flow error of table 2."""

    # Frames of each clip, at most, and their long side in pixels (0: as they are).
    frames: int = _option(12, least=2)
    size: int = _option(512, least=0)
    # computed: by OpenCV from the frames. truth: read, for clips in the folders of MPI Sintel; needs size 0.
    flow: str = _option("computed", choices=("computed", "truth"))


@dataclass
class Quality:
    """Losses and distances of stylized pictures, all contents in all styles."""

    # Long side of contents and of styles, in pixels.
    size: int = _option(256, least=16)


@dataclass
class Speed:
    """Time and memory, as in table 1."""

    # WIDTHxHEIGHT of the content; the style is as large.
    sizes: List[str] = _option(["256x256", "512x256", "512x512", "1024x1024"])
    # Runs of which the median is taken, after one to warm up.
    runs: int = _option(5, least=1)
    # Seconds: a method whose first run takes longer is given up, and not run at larger sizes.
    limit: float = _option(60.0, above=0)


@dataclass
class Report:
    title: str = "Comparison of methods"
    parts: List[str] = _option(list(PARTS), choices=PARTS)
    # The first one is what the others' times are compared with.
    methods: List[Method] = _option([])
    # Pictures: files, folders, globs. Clips: video files and folders of frames.
    contents: List[str] = _option([])
    styles: List[str] = _option([])
    clips: List[str] = _option([])
    # Long side to which styles are reduced for sheets and clips.
    style_size: int = _option(512, least=16)
    # VGG-19 for `quality`, as for a training. null: from the cache, where it is downloaded to.
    encoder_weights: Optional[str] = None
    # cpu, gpu or gpu:N; null: a GPU where one works.
    device: Optional[str] = None
    sheets: Sheets = field(default_factory=Sheets)
    flow: FlowError = field(default_factory=FlowError)
    quality: Quality = field(default_factory=Quality)
    speed: Speed = field(default_factory=Speed)


# ---------------------------------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------------------------------


def load_config(path, overrides=()):
    """The Config of a training, of a YAML file and of `-o` words; as `read_config`."""
    config = read_config(Config, path, overrides)
    train = config.dataset.train
    if 0 < train.load_size < train.crop_size:
        raise InputError(
            f"dataset.train.load_size is {train.load_size}, smaller than dataset.train.crop_size {train.crop_size}; "
            "load at least as much as is cropped"
        )
    return config


def read_config(kind, path, overrides=()):
    """A `kind`, Config or Report, of a YAML file and of `-o` words.

    Args:
        kind: the dataclass.
        path: the YAML file, or the name of a packaged one (`resources.find_config`).
        overrides: words 'a.b=c'; c is read as YAML.

    Raises:
        InputError: a file that cannot be read or is no mapping, an unknown key (the nearest is named), a value of
            another type or outside what it may be.
    """
    values = _read(find_config(path), kind)
    for word in overrides:
        values = _merge(values, _override(word), kind)
    return _build(kind, values, "")


def to_dict(config):
    """A Config as nested dicts of plain values."""
    return dataclasses.asdict(config)


def to_yaml(config):
    """A Config as the text of a YAML file with every key."""
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def _read(path, kind, children=()):
    if path.resolve() in children:
        raise InputError(f"{path} is its own _base_")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the configuration {path} cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the configuration {path} is not YAML: {reason}") from None
    if not isinstance(values, dict):
        raise InputError(f"the configuration {path} is no mapping of keys to values; expected lines like device: cpu")
    bases = values.pop("_base_", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise InputError(f"{path}: _base_ must be a file name or a list of them; got {bases!r}")
    merged = {}
    for base in bases:
        merged = _merge(merged, _read(find_config(base, path), kind, (*children, path.resolve())), kind)
    return _merge(merged, values, kind)


def _merge(below, above, kind):
    """`above` over `below`, section by section; values, such as the mapping of `level_weights`, are replaced whole."""
    merged, types = dict(below), typing.get_type_hints(kind)
    for key, value in above.items():
        if dataclasses.is_dataclass(types.get(key)) and isinstance(merged.get(key), dict):
            if isinstance(value, dict):
                value = _merge(merged[key], value, types[key])
            elif value is None:  # a section whose keys are all commented out
                continue
        merged[key] = value
    return merged


def _override(word):
    name, equals, text = word.partition("=")
    if not equals or not all(name.split(".")):
        raise InputError(f"-o {word} is not of the form a.b=c")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"-o {word}: {text!r} is not a YAML value") from None
    for key in reversed(name.split(".")):
        value = {key: value}
    return value


def _build(kind, values, name):
    """A dataclass of `kind` from a dict; `name` is where it stands, with a dot at its end, for messages."""
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise InputError(f"{name[:-1]} must be a mapping of keys to values; got {values!r}")
    fields = {item.name: item for item in dataclasses.fields(kind)}
    types = typing.get_type_hints(kind)
    for key in values:
        if key not in fields:
            raise InputError(f"unknown key {name}{key}{nearest(key, fields) or '; known: ' + ', '.join(fields)}")
    return kind(
        **{key: _value(types[key], value, f"{name}{key}", fields[key].metadata) for key, value in values.items()}
    )


def _value(kind, value, name, limits):
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, f"{name}.")
    if typing.get_origin(kind) is typing.Union:  # Optional
        kind = typing.get_args(kind)[0]
        if value is None:
            return None
    if typing.get_origin(kind) is list and dataclasses.is_dataclass(typing.get_args(kind)[0]):
        if not isinstance(value, list):
            raise InputError(f"{name} must be a list of mappings of keys to values; got {value!r}")
        return [_build(typing.get_args(kind)[0], item, f"{name}[{index}].") for index, item in enumerate(value)]
    converted = _convert(kind, value)
    if converted is None:
        raise InputError(f"{name} must be {_describe(kind)}; got {value!r}")
    for item in converted if isinstance(converted, list) else [converted]:
        if "choices" in limits and item not in limits["choices"]:
            raise InputError(f"{name} must be one of {', '.join(limits['choices'])}; got {item!r}")
    for limit, broken, words in (
        ("least", lambda number, bound: number < bound, "at least"),
        ("above", lambda number, bound: number <= bound, "above"),
        ("below", lambda number, bound: number >= bound, "below"),
    ):
        if limit in limits and broken(converted, limits[limit]):
            raise InputError(f"{name} must be {words} {limits[limit]}; got {value!r}")
    return converted


def _convert(kind, value):
    """The value as `kind`, or None where it is of another."""
    if typing.get_origin(kind) is list:
        item = typing.get_args(kind)[0]
        items = [_convert(item, x) for x in value] if isinstance(value, list) else [None]
        return None if None in items else items
    if typing.get_origin(kind) is dict:
        kinds = typing.get_args(kind)
        pairs = value.items() if isinstance(value, dict) else [(None, None)]
        converted = {_convert(kinds[0], key): _convert(kinds[1], item) for key, item in pairs}
        return None if None in converted or None in converted.values() else converted
    if kind is str and isinstance(value, str):
        return expand(value)
    if kind is float:
        try:  # YAML reads 1e-4, without a point, as text
            number = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError):
            return None
        return number if math.isfinite(number) else None
    return value if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)) else None


def _describe(kind):
    if typing.get_origin(kind) in (list, dict):
        return {
            List[int]: "a list of whole numbers, such as [3, 4, 5]",
            List[str]: "a list of names, such as [encoder.conv1]",
            Dict[int, float]: "a mapping of levels to numbers, such as {5: 0.3}",
        }[kind]
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}[kind]
