"""The configuration of a training: every key, its type and what it means.

Its names are PaddleGAN's where PaddleGAN has one. A default or a list of choices that other code has too is stated
there, in a signature or a table, and read from it here.
"""

from dataclasses import dataclass, field
from typing import Dict, List, Optional

from ppadaattn.config import option, option_of, read_config
from ppadaattn.errors import InputError
from ppadaattn.model.architecture import CONVENTIONS
from ppadaattn.model.attention import KINDS
from ppadaattn.model.init import INITS, initialize
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.model.transforms import TRANSFORMS
from ppadaattn.train import losses, objectives
from ppadaattn.train.data import CONTENT_KINDS, Clips
from ppadaattn.train.objectives import OBJECTIVES
from ppadaattn.train.trainer import OPTIMIZERS, SCHEDULES


def _levels(loss):
    return option_of(loss, "levels")


def _distance(loss):
    return option_of(loss, "distance", choices=losses.DISTANCES)


def _level_weights(loss):
    return option_of(loss, "level_weights", formerly="shares")


@dataclass
class Model:
    """What is trained, and the architecture of the network (as in `AdaAttNNetwork`)."""

    # stylization: the whole network with the losses below. distillation: its encoder learns to predict VGG-19's
    # features. reconstruction: its decoder learns to invert the encoder.
    name: str = option("stylization", choices=OBJECTIVES)
    width: float = option_of(AdaAttNNetwork, "width", above=0)
    # null: those of the transform's own paper; of AdaAttN 3, 4 and 5.
    levels: Optional[List[int]] = option_of(AdaAttNNetwork, "levels")
    attention: str = option_of(AdaAttNNetwork, "attention", choices=KINDS)
    conventions: str = option_of(AdaAttNNetwork, "conventions", choices=CONVENTIONS)
    # AdaAttN, or a method that it is compared with (ppadaattn/model/transforms/).
    transform: str = option_of(AdaAttNNetwork, "transform", choices=TRANSFORMS)
    shallow_features: bool = option_of(AdaAttNNetwork, "shallow_features")
    # First weights of what is not loaded. kaiming: normal, for ReLU (He et al. 2015). release: normal, std 0.02.
    init: str = option_of(initialize, "init", choices=INITS)
    # First weights of f, g and h near the identity: AdaAttN begins as a softer form of the parameter-free AdaAttN* of
    # eq. 11, and other transforms near their formula without learned layers.
    identity_attention: bool = option_of(initialize, "identity_attention")
    # Whether the network's encoder is trained too (distillation always trains it).
    train_encoder: bool = option_of(objectives.Stylization, "train_encoder")
    # Layers of the network, by the beginning of their names (such as encoder.conv1), that stay as they are.
    freeze: List[str] = option([])
    # While training, added to the gradient of each ReLU of the decoder, so that dead channels can come back; 0: none.
    leaky_gradient: float = option_of(objectives.Stylization, "leaky_gradient", least=0)
    # Fit the decoder to the painted pictures of dataset.train.targets before the first step, one layer after the other
    # (ppadaattn/train/closed_form.py).
    closed_form_decoder: bool = False
    # Give new weights to channels of the trained layers that are active at under 1 % of positions of the first batches.
    reinit_dead_channels: bool = option(False, formerly="revive")


@dataclass
class GlobalStyle:
    """L_gs, eq. 10.

    `weight` 0 leaves a loss out. `level_weights` are factors on levels, 1 for a level that has none.
    """

    weight: float = option(10.0, least=0)
    levels: List[int] = _levels(losses.global_style_loss)
    distance: str = _distance(losses.global_style_loss)
    level_weights: Optional[Dict[int, float]] = _level_weights(losses.global_style_loss)


@dataclass
class LocalFeature:
    """L_lf, eq. 11. `num_style_points`: how many style points a level uses at most, drawn at random; null: all."""

    weight: float = option(3.0, least=0)
    levels: List[int] = _levels(losses.local_feature_loss)
    distance: str = _distance(losses.local_feature_loss)
    level_weights: Optional[Dict[int, float]] = _level_weights(losses.local_feature_loss)
    num_style_points: Optional[int] = option_of(losses.adaattn_star, "num_style_points", least=1)


@dataclass
class ImageSimilarity:
    """L_is, eq. 13, for video. With a weight above 0 each sample has two frames."""

    weight: float = option(0.0, least=0)
    levels: List[int] = _levels(losses.image_similarity_loss)
    normalization: str = option_of(
        losses.image_similarity_loss, "normalization", choices=losses.SIMILARITY_NORMALIZATIONS, formerly="reading"
    )
    level_weights: Optional[Dict[int, float]] = _level_weights(losses.image_similarity_loss)


@dataclass
class Content:
    """L_c of the ablation, section 4.3."""

    weight: float = option(0.0, least=0)
    levels: List[int] = _levels(losses.content_loss)
    distance: str = _distance(losses.content_loss)
    level_weights: Optional[Dict[int, float]] = _level_weights(losses.content_loss)
    # Compare Norm(F) instead of F, as SANet, MAST and MCCNet do.
    normalized: bool = option_of(losses.content_loss, "normalized")


@dataclass
class AdaINContent:
    """AdaIN's content loss: distance to its output t."""

    weight: float = option(0.0, least=0)
    levels: List[int] = _levels(losses.adain_content_loss)
    distance: str = _distance(losses.adain_content_loss)
    level_weights: Optional[Dict[int, float]] = _level_weights(losses.adain_content_loss)


@dataclass
class GramStyle:
    """Linear's style loss: Gram matrices and channel means, squared distances summed."""

    weight: float = option(0.0, least=0)
    levels: List[int] = _levels(losses.gram_style_loss)
    level_weights: Optional[Dict[int, float]] = _level_weights(losses.gram_style_loss)


@dataclass
class IdentityPixels:
    """SANet's first identity loss: contents and styles painted in their own style stay themselves."""

    weight: float = option(0.0, least=0)


@dataclass
class IdentityFeatures:
    """SANet's second identity loss: the same on features."""

    weight: float = option(0.0, least=0)
    levels: List[int] = _levels(losses.identity_features_loss)
    level_weights: Optional[Dict[int, float]] = _level_weights(losses.identity_features_loss)


@dataclass
class Illumination:
    """MCCNet's illumination loss: noise on the content changes nothing."""

    weight: float = option(0.0, least=0)
    # The noise is normal; its std is drawn for each batch between these.
    least_noise: float = option_of(objectives.Stylization.paint_with_noise, "least_noise", least=0)
    most_noise: float = option_of(objectives.Stylization.paint_with_noise, "most_noise", least=0)


@dataclass
class DisentangledContent:
    """MAST's disentanglement loss of contents: one content in the styles of a batch has one content."""

    weight: float = option(0.0, least=0)
    levels: List[int] = _levels(losses.disentangled_content_loss)
    level_weights: Optional[Dict[int, float]] = _level_weights(losses.disentangled_content_loss)


@dataclass
class DisentangledStyle:
    """MAST's disentanglement loss of styles: the contents of a batch in one style have one style."""

    weight: float = option(0.0, least=0)
    levels: List[int] = _levels(losses.disentangled_style_loss)
    level_weights: Optional[Dict[int, float]] = _level_weights(losses.disentangled_style_loss)


@dataclass
class TotalVariation:
    """Mean absolute difference of neighbouring pixels."""

    weight: float = option(0.0, least=0)


@dataclass
class Range:
    """How far the picture's values lie outside [0, 1]. Not in the paper."""

    weight: float = option(0.0, least=0)


@dataclass
class TargetPixels:
    """Mean absolute difference to pictures of another network (`dataset.train.targets`). Not in the paper."""

    weight: float = option(0.0, least=0)


@dataclass
class TargetFeatures:
    """The same on features, relative to the target's mean at each level, averaged over levels."""

    weight: float = option(0.0, least=0)
    levels: List[int] = _levels(losses.target_features_loss)


@dataclass
class Alive:
    """A penalty on channels of the decoder that are hardly active, summed over channels. Not in the paper."""

    weight: float = option(0.0, least=0)
    # The most active tenth of positions of a channel, before the ReLU, should average at least this.
    floor: float = option_of(losses.alive_loss, "floor", above=0)


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
    target_pixels: TargetPixels = field(default_factory=TargetPixels)
    target_features: TargetFeatures = field(default_factory=TargetFeatures)
    alive: Alive = field(default_factory=Alive)


@dataclass
class Reconstruction:
    """The losses of `model.name: reconstruction`, between a picture and what the decoder makes of its features.

    Distillation has nothing to set: one loss for each level, all of weight 1.
    """

    # How pixels are compared: mean absolute difference, or mean square.
    distance: str = option_of(objectives.Reconstruction, "distance", choices=objectives.PIXEL_DISTANCES)
    weight: float = option_of(objectives.Reconstruction, "weight", least=0)
    # Weight of the mean squared difference of features of VGG-19 (Avatar-Net's perceptual loss), and its levels.
    perceptual: float = option_of(objectives.Reconstruction, "perceptual", least=0)
    perceptual_levels: List[int] = option_of(objectives.Reconstruction, "perceptual_levels")
    # Weight of the mean absolute difference of neighbouring pixels (Avatar-Net).
    total_variation: float = option_of(objectives.Reconstruction, "total_variation", least=0)
    # Weight of the penalty on hardly active channels, as losses.alive.
    alive: float = option_of(objectives.Reconstruction, "alive", least=0)


@dataclass
class TargetData:
    """Pictures that another network has painted, to come near to; each is named STYLE_CONTENT after its two pictures.

    Such as style3_content7.jpg, content7.* painted in style3.*, of the size of content7.
    """

    content_root: Optional[str] = None
    style_root: Optional[str] = None
    painted_root: Optional[str] = None
    # Squares of painted pictures in each step, and their side in pixels.
    batch_size: int = option(2, least=1)
    crop_size: int = option(256, least=16)
    # Side of the part of each square on which features are compared.
    feature_size: int = option(128, least=16)
    # How many points of the whole style each level uses, drawn at random; null: all.
    num_style_points: Optional[int] = option(2048, least=1)
    # Iterations after which whole contents and styles are encoded anew, where the encoder is trained.
    refresh_interval: int = option(300, least=1)
    # Mirror content and painted picture left to right half the time.
    flip: bool = False
    # Share of the pairs whose red, green and blue are exchanged at random, in content, style and painted picture alike:
    # palettes that no painted picture has.
    permute_colours: float = option(0.0, least=0)


@dataclass
class TrainData:
    """Contents and styles, pictures at any depth below a folder, paired at random.

    A relative folder that is not in the working directory is looked for beside the package (such as examples/style).
    """

    content_root: Optional[str] = None
    style_root: Optional[str] = None
    # photos: every picture by itself. clips: every folder with two or more pictures is a clip, and every video file.
    content_kind: str = option("photos", choices=CONTENT_KINDS)
    # Pictures are resized to this height and width, in pixels, then cropped; 0: they stay as they are.
    load_size: int = option(512, least=0)
    # true: the shorter side becomes load_size, and the aspect ratio is kept. false: both sides do (the release).
    keep_aspect: bool = False
    crop_size: int = option(256, least=16)
    # The side of the square that is cropped, as a multiple of crop_size, is drawn between these two numbers (it is at
    # most the picture's shorter side); the crop is resized to crop_size. null: 1.
    crop_scale: Optional[List[float]] = option(None)
    # Mirror pictures left to right half the time.
    flip: bool = False
    # Share of the styles whose red, green and blue are exchanged at random: wider palettes.
    permute_colours: float = option(0.0, least=0)
    # Two frames of one photo (with image_similarity.weight above 0): the second crop is moved by up to `shift` pixels
    # along each axis, and its side is longer or shorter by up to this fraction.
    shift: int = option(32, least=0)
    zoom: float = option(0.05, least=0, below=0.5)
    # Two frames of one clip are at most this many frames apart.
    frame_gap: int = option_of(Clips, "gap", least=1)
    # Pairs of content and style in a batch, on each card.
    batch_size: int = option(8, least=1)
    # Steps on each batch, whose features for the losses are computed once: in step k content i meets style i + k.
    pairings: int = option(1, least=1)
    # Threads that read pictures; the samples do not depend on it.
    num_workers: int = option(4, least=1)
    targets: TargetData = field(default_factory=TargetData)


@dataclass
class TestData:
    """Held-out pictures for validation: the first ones by name, in all pairs, resized to `size` x `size` pixels."""

    content_root: Optional[str] = None
    style_root: Optional[str] = None
    content_kind: str = option("photos", choices=CONTENT_KINDS)
    size: int = option(256, least=16)
    max_contents: int = option(15, least=1)
    max_styles: int = option(15, least=1)


@dataclass
class Dataset:
    """Pictures to train on, and to validate on."""

    train: TrainData = field(default_factory=TrainData)
    test: TestData = field(default_factory=TestData)


@dataclass
class Optimizer:
    """The optimizer of the trained weights."""

    name: str = option("Adam", choices=OPTIMIZERS)
    beta1: float = option(0.9, least=0, below=1)
    beta2: float = option(0.999, least=0, below=1)
    # The gradient's norm is cut to this; null: never.
    clip_grad_norm: Optional[float] = option(None, above=0)
    # Batches whose gradients are averaged before one update.
    accumulate: int = option(1, least=1)
    # Factors on the learning rate of layers, by the beginning of their names, such as {encoder: 0.1}; else 1.
    rates: Dict[str, float] = option({})
    # Convolutions, by the beginning of their names, such as decoder, that are trained in coordinates where what they
    # read is white (ppadaattn/train/white_inputs.py).
    white_inputs: List[str] = option([])


@dataclass
class Schedule:
    """The learning rate over the iterations."""

    # constant; linear: from learning_rate to 0; cosine: half a cosine from learning_rate to 0.
    name: str = option("constant", choices=SCHEDULES)
    learning_rate: float = option(1e-4, above=0)
    # Fraction of the iterations after which linear and cosine begin to fall.
    decay_after: float = option(0.0, least=0, below=1)
    # Iterations over which the rate first rises from 0.
    warmup_iters: int = option(0, least=0)
    # Added to the factor on learning_rate, so that linear and cosine end at this share of it.
    floor: float = option(0.0, least=0)


@dataclass
class Validate:
    """Losses on held-out pictures."""

    # Iterations between validations; 0: none.
    interval: int = option(0, least=0)
    # A contact sheet of all pairs in visual_test/.
    save_img: bool = False


@dataclass
class LogConfig:
    """What a run reports. The first and the last iteration always get a line and a sheet."""

    # Iterations between lines of the log, and between sheets of training pictures in visual_train/ (0: no sheets).
    interval: int = option(10, least=1)
    visual_interval: int = option(500, least=0)


@dataclass
class SnapshotConfig:
    """Checkpoints, to resume from, and weights files, to paint with."""

    # Iterations between two snapshots, and how many of the last ones are kept (0: all).
    interval: int = option(5000, least=1)
    keep_last: int = option(0, least=0)


@dataclass
class Config:
    """A training."""

    total_iters: int = option(50000, least=1)
    output_dir: str = "output_dir"
    # Begin with these weights: a name of the model zoo or a weights file, of any attention. null: with new weights.
    # Where a folder of configurations is trained: also the file name of another one, such as reconstruct_4.yaml.
    load: Optional[str] = None
    # Layers that are taken from `load`, by the beginning of their names (such as encoder); the others get new weights.
    # null: all layers; where the transform is another one, encoder and decoder.
    load_only: Optional[List[str]] = None
    # The encoder whose features the losses compare. null: VGG-19 from the cache, downloaded where it is missing. A file
    # .npz, .pdparams or .pth: VGG-19. A name of the zoo or a weights file: the encoder of that model, which takes a
    # fraction of the time where it is narrow. A network of width 1 begins with VGG-19 as its own encoder.
    encoder_weights: Optional[str] = None
    # Determines everything random: first weights, order and crops of pictures, style points.
    seed: int = option(0, least=0, below=2**32)
    # cpu, gpu or gpu:N; null: a GPU where one works.
    device: Optional[str] = None
    # Decay of an exponential moving average of the weights, which validation and weights files use; null: no average.
    ema_decay: Optional[float] = option(None, above=0, below=1)
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


def load_config(path, overrides=()) -> Config:
    """The Config of a YAML file and of overrides, as `ppadaattn.config.read_config`."""
    config = read_config(Config, path, overrides)
    train = config.dataset.train
    if 0 < train.load_size < train.crop_size:
        raise InputError(
            f"dataset.train.load_size is {train.load_size}, smaller than dataset.train.crop_size {train.crop_size}; "
            "load at least as much as is cropped"
        )
    scale = train.crop_scale
    if scale is not None and not (len(scale) == 2 and 0 < scale[0] <= scale[1]):
        raise InputError(
            "dataset.train.crop_scale must be two numbers above 0, the smaller one first, such as [0.6, 1.6]; "
            f"got {scale}"
        )
    shares = (train.permute_colours, train.targets.permute_colours)
    if max(shares) > 1 or min(config.optimizer.rates.values(), default=0) < 0:
        raise InputError(
            "dataset.train.permute_colours and dataset.train.targets.permute_colours are at most 1, "
            "and optimizer.rates are not negative"
        )
    _check_targets(config)
    return config


def _check_targets(config):
    """Raise InputError where losses on painted pictures are asked for without any, or of a network that has none."""
    names = objectives.TARGET_LOSSES if config.model.name == "stylization" else ()
    wanted = [name for name in names if getattr(config.losses, name).weight]
    if config.model.closed_form_decoder:
        if not wanted:
            raise InputError(
                "model.closed_form_decoder is for model.name stylization with losses.target_pixels or "
                "losses.target_features: give one of them a weight, or leave closed_form_decoder out"
            )
        if max(config.model.levels or [5]) < 4:
            raise InputError(f"model.closed_form_decoder needs level 4 or 5 in model.levels; got {config.model.levels}")
    if not wanted:
        return
    targets = config.dataset.train.targets
    if not targets.painted_root:
        raise InputError(
            f"losses.{wanted[0]} needs pictures of another network: set dataset.train.targets.painted_root, "
            "content_root and style_root, or its weight to 0"
        )
    if config.model.transform != "adaattn":
        raise InputError(f"losses.{wanted[0]} is for the transform adaattn; got {config.model.transform}")
