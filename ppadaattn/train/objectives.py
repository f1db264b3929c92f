"""Objectives of a training: a batch in, named losses and pictures out.

An objective is a layer that holds the network it trains, `network`. Calling it with a batch returns

    losses: {name: scalar}, without weights; `weights` holds a factor for each.
    pictures: {name: float [B, 3, H, W]}, to look at.

A batch can be encoded once for several steps: `encode_batch`, then `losses_of` for each of them.

`measure` computes the same losses, as floats, for held-out pictures; not those that need other data than pairs.
"""

import dataclasses
import functools
import typing

from ppadaattn.device import without_gradients
from ppadaattn.errors import InputError, nearest
from ppadaattn.model.features import stacked_key
from ppadaattn.train import losses
from ppadaattn.train.dead_channels import describe_dead_channels
from ppadaattn.train.targets import TargetPainter

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

# Losses on pictures that another network has painted (dataset.train.targets).
TARGET_LOSSES = ("target_pixels", "target_features")

# How `Reconstruction` compares pixels.
PIXEL_DISTANCES = {"l1": F.l1_loss, "mse": F.mse_loss}


class Objective(nn.Layer):
    """What all objectives share.

    Args:
        network: the AdaAttNNetwork.
        vgg: the frozen Encoder of the losses, VGG-19 or a smaller one; it is not part of the layer's state.

    Attributes:
        weights: {name of a loss: its factor}.
        frames: contents a sample, 1 or 2.
    """

    weights = None
    frames = 1

    def __init__(self, network, vgg):
        super().__init__()
        self.network = network
        self._vgg = [vgg]  # a list hides it from checkpoints: it is no sublayer
        self._alive = []  # the loss "alive" of each layer each time that it is used

    def vgg(self, image):
        return self._vgg[0](image)

    def check_levels(self, key, levels):
        """Raise InputError, which names the configuration's key, where a loss needs deeper features than there are."""
        depth = self._vgg[0].depth
        if max(levels, default=0) > depth:
            raise InputError(
                f"{key}: relu{max(levels)}_1 is not among the features of encoder_weights, which end at relu{depth}_1; "
                f"give levels up to {depth}, or another encoder"
            )

    def keep_alive(self, leaky_gradient, alive):
        """Let the decoder's dead channels come back, and watch for them.

        Args:
            leaky_gradient: as in `Decoder`.
            alive: options of `alive_loss`; None: it is not computed.
        """
        self.network.decoder.leaky_gradient = leaky_gradient

        def watch(layer, inputs, output):
            if paddle.is_grad_enabled():
                self._alive.append(losses.alive_loss(output, **alive))

        for layer in self.relu_convolutions().values() if alive is not None else ():
            layer.register_forward_post_hook(watch)

    def train_only(self, *layers):
        """Freeze the whole network except `layers`."""
        for parameter in self.network.parameters():
            parameter.stop_gradient = True
        for layer in layers:
            for parameter in layer.parameters():
                parameter.stop_gradient = False

    def prepare(self, batches):
        """Compute first weights from a list of batches, before the first step. Here: nothing."""

    def begin_iteration(self, iteration):
        """Renew what changes with the iteration, counted from 1. Here: nothing."""

    def encode_batch(self, batch):
        """What several steps on one batch share, for `losses_of`. Here: the batch itself."""
        return batch

    def losses_of(self, encoded, seed=0, pairing=0):
        """Losses and pictures of what `encode_batch` gave.

        Args:
            seed: of what is drawn at random in this step, such as style points.
            pairing: content i is painted in style i + pairing of the batch.
        """
        raise NotImplementedError

    def forward(self, batch, seed=0):
        """Losses and pictures of {'content': [frames * B, 3, H, W], 'style': [B, 3, H, W]}; `seed` draws points."""
        return self.losses_of(self.encode_batch(batch), seed)

    def run_network(self, batch):
        """The network on a batch, without losses: for what watches its layers."""
        raise NotImplementedError

    def relu_convolutions(self):
        """{name in the network: convolution that a ReLU follows} of the part whose dead channels count, in order."""
        return {f"decoder.{name}": layer for name, layer in self.network.decoder.relu_convolutions().items()}

    def last_convolution(self):
        """The convolution after those, which no ReLU follows; None where there is none in the network."""
        return self.network.decoder.stage1[-1]

    def report(self, batch):
        """A sentence for the log at each snapshot, from the last batch."""
        return f"dead channels: {describe_dead_channels(self, [batch])}"

    def trained_parameters(self):
        """{name: parameter} of the parameters that are trained."""
        return {name: parameter for name, parameter in self.named_parameters() if not parameter.stop_gradient}


class Encoded(typing.NamedTuple):
    """Pictures and what the losses of all their pairings share.

    Attributes:
        image: [B, 3, H, W].
        features: for the losses. own: of the network's own encoder.
        keys: {level: stacked key} of `features`, for the local feature loss; {} where it is not used.
    """

    image: paddle.Tensor
    features: dict
    own: dict
    keys: dict

    def map(self, function):
        """The same with `function` of each tensor."""
        return Encoded(function(self.image), *({name: function(x) for name, x in part.items()} for part in self[1:]))

    def frames(self, count):
        """The same `count` times, one after the other: a style for each frame."""
        return self if count == 1 else self.map(lambda tensor: paddle.concat([tensor] * count))


class Stylization(Objective):
    """The paper's training: the losses of section 3.3, and of 3.4 for video, on pictures of the whole network.

    It also has the losses of the methods that the paper compares with. A loss of weight 0 is not computed.

    Args:
        config: Losses, of the configuration.
        train_encoder: whether the network's own encoder is trained.
        leaky_gradient: as in `Decoder`.
        targets: Targets, for the losses on pictures of another network; without them these losses are left out.
    """

    def __init__(self, network, vgg, config, train_encoder=False, leaky_gradient=0.0, targets=None):
        super().__init__(network, vgg)
        layers = [layer for name, layer in network.named_children() if train_encoder or name != "encoder"]
        self.train_only(*layers)
        self.train_encoder = train_encoder
        self.shares_encoder = not train_encoder and _same_weights(network.encoder, vgg)
        sections = {item.name: getattr(config, item.name) for item in dataclasses.fields(config)}
        left_out = TARGET_LOSSES if targets is None else ()
        self.weights = {
            name: section.weight for name, section in sections.items() if section.weight and name not in left_out
        }
        self.pair_losses = [name for name in self.weights if name not in (*TARGET_LOSSES, "alive")]
        needs_targets = any(name in self.weights for name in TARGET_LOSSES)
        self.targets = TargetPainter(targets, network, train_encoder) if needs_targets else None
        self.frames = self.frames_for(config)
        self.options = {
            name: {key: value for key, value in dataclasses.asdict(section).items() if key != "weight"}
            for name, section in sections.items()
        }
        for name in self.weights:
            self.check_levels(f"losses.{name}.levels", self.options[name].get("levels", ()))
        self.options["local_feature"].update(
            attention=network.architecture["attention"],
            resize=network.conventions.resize,
            shallow_features=network.shallow_features,
        )
        self.keep_alive(leaky_gradient, self.options["alive"] if "alive" in self.weights else None)

    @staticmethod
    def frames_for(config):
        """Contents in a sample: the image similarity loss needs 2."""
        return 2 if config.image_similarity.weight else 1

    def encode(self, image):
        """Pictures as Encoded."""
        encoded = self.encode_for_losses(image)
        return encoded._replace(own=encoded.features if self.shares_encoder else self.encode_own(image))

    def encode_for_losses(self, image):
        """Pictures as Encoded, without features of the network's own encoder."""
        options = self.options["local_feature"]
        levels = options["levels"] if "local_feature" in self.pair_losses else ()
        with paddle.no_grad():
            features = self.vgg(image)
            keys = {x: stacked_key(features, x, options["resize"], options["shallow_features"]) for x in levels}
        return Encoded(image, features, {}, keys)

    def encode_own(self, image):
        """Features of the network's own encoder."""
        with paddle.set_grad_enabled(self.train_encoder and paddle.is_grad_enabled()):
            return self.network.encoder(image)

    def begin_iteration(self, iteration):
        if self.targets is not None:
            self.targets.refresh(self.network, iteration)

    def encode_batch(self, batch):
        """(contents, styles) as Encoded. Features of an encoder that is trained are computed anew in each step."""
        if not self.pair_losses:
            return None
        if not self.train_encoder:
            return self.encode(batch["content"]), self.encode(batch["style"])
        return tuple(self.encode_for_losses(batch[name]) for name in ("content", "style"))

    def losses_of(self, encoded, seed=0, pairing=0):
        self._alive = []
        found, pictures = {}, {}
        if encoded is not None:
            content, style = encoded
            if pairing:
                style = style.map(lambda tensor: paddle.roll(tensor, -pairing, 0))
            if self.train_encoder:
                content, style = (part._replace(own=self.encode_own(part.image)) for part in (content, style))
            found, stylized = self.compare(content, style, seed)
            pictures = {"content": content.image, "style": style.frames(self.frames).image, "stylized": stylized}
        if self.targets is not None:
            near, painted = self.compare_with_targets(seed)
            found, pictures = {**found, **near}, pictures or painted
        if "alive" in self.weights:
            found["alive"] = sum(self._alive)
        return {name: found[name] for name in self.weights}, pictures

    def compare_with_targets(self, seed):
        """Losses on pictures of another network, and the pictures that are compared."""
        contents, stylized, painted = self.targets.paint(self.network, seed)
        found = {}
        if "target_pixels" in self.weights:
            found["target_pixels"] = losses.target_pixels_loss(stylized, painted)
        if "target_features" in self.weights:
            actual, wanted = self.targets.window(seed, stylized, painted)
            with paddle.no_grad():
                wanted = self.vgg(wanted)
            options = self.options["target_features"]
            found["target_features"] = losses.target_features_loss(self.vgg(actual), wanted, **options)
        return found, {"content": contents, "target": painted, "stylized": stylized}

    def run_network(self, batch):
        return self.network(batch["content"], _repeat(batch["style"], self.frames))

    def compare(self, content, style, seed=0):
        """Losses, and the stylized pictures, of what `encode` gave for contents and styles."""
        style = style.frames(self.frames)
        prepared = self.network.prepare_style_features(style.own, seed)
        image = self.network.stylize_features(content.own, prepared)
        stylized = self.vgg(image)
        # Both identity losses need the same pictures: they are painted once.
        identities = functools.lru_cache(maxsize=None)(
            lambda: [self.paint_in_own_style(encoded, seed) for encoded in (content, style)]
        )
        computed = {
            "global_style": lambda **options: losses.global_style_loss(stylized, style.features, **options),
            "local_feature": lambda **options: losses.local_feature_loss(
                stylized, content.features, style.features, keys=(content.keys, style.keys), seed=seed, **options
            ),
            "image_similarity": lambda **options: losses.image_similarity_loss(
                _frames(content.features), _frames(stylized), **options
            ),
            "content": lambda **options: losses.content_loss(stylized, content.features, **options),
            "adain_content": lambda **options: losses.adain_content_loss(
                stylized, content.features, style.features, **options
            ),
            "gram_style": lambda **options: losses.gram_style_loss(stylized, style.features, **options),
            "identity_pixels": lambda: losses.identity_pixels_loss(identities(), (content.image, style.image)),
            "identity_features": lambda **options: losses.identity_features_loss(
                [self.vgg(picture) for picture in identities()], (content.features, style.features), **options
            ),
            "illumination": lambda **noise: losses.illumination_loss(
                image, self.paint_with_noise(content, prepared, seed, **noise)
            ),
            "disentangled_content": lambda **options: losses.disentangled_content_loss(
                self.vgg(self.paint_one_content(content, prepared)), **options
            ),
            "disentangled_style": lambda **options: losses.disentangled_style_loss(
                self.vgg(self.paint_one_style(content, style, seed)), **options
            ),
            "total_variation": lambda: losses.total_variation_loss(image),
            "range": lambda: losses.range_loss(image),
        }
        found = {name: computed[name](**self.options[name]) for name in self.pair_losses}
        return found, image

    def paint_in_own_style(self, encoded, seed=0):
        """Pictures painted in their own style (SANet's identity losses)."""
        own = self.network.prepare_style_features(encoded.own, seed)
        return self.network.stylize_features(encoded.own, own)

    def paint_with_noise(self, content, prepared, seed, least_noise=0.01, most_noise=0.02):
        """Contents with normal noise, in their styles (MCCNet's illumination loss).

        The noise's standard deviation is drawn between the two limits, which are those of the authors' code.
        """
        random = np.random.RandomState(seed)
        noise = random.uniform(least_noise, most_noise) * random.standard_normal(content.image.shape)
        noisy = self.encode(content.image + paddle.to_tensor(noise.astype("float32")))
        return self.network.stylize_features(noisy.own, prepared)

    def paint_one_content(self, content, prepared):
        """The first content of the batch in all styles (MAST's disentanglement loss)."""
        first = content.map(lambda tensor: paddle.concat([tensor[:1]] * tensor.shape[0]))
        return self.network.stylize_features(first.own, prepared)

    def paint_one_style(self, content, style, seed=0):
        """All contents of the batch in the first style (MAST's disentanglement loss)."""
        first = style.map(lambda tensor: tensor[:1])
        return self.network.stylize_features(content.own, self.network.prepare_style_features(first.own, seed))

    @paddle.no_grad()
    def measure(self, contents, styles):
        """Losses, and the picture, of each pair; contents outside, styles inside.

        Args:
            contents: list of float [frames, 3, H, W].
            styles: list of float [1, 3, H, W].

        Yields:
            (content's index, style's index), {loss: float}, float [1, 3, H, W].
        """
        encoded_styles = [self.encode(style) for style in styles]
        for row, content in enumerate(contents):
            encoded = self.encode(content)
            for column, style in enumerate(encoded_styles):
                found, image = self.compare(encoded, style)
                yield (row, column), {name: float(loss) for name, loss in found.items()}, image[:1]


class ImageObjective(Objective):
    """An objective on single pictures: contents and styles serve alike. Not in the paper."""

    def compare(self, image):
        """Losses, and a picture to look at, of pictures float [B, 3, H, W]."""
        raise NotImplementedError

    def losses_of(self, encoded, seed=0, pairing=0):
        self._alive = []
        image = _all_pictures(encoded)
        found, result = self.compare(image)
        if "alive" in self.weights:
            found["alive"] = sum(self._alive)
        return found, {"content": image, "result": result}

    @paddle.no_grad()
    def measure(self, contents, styles):
        """As in Stylization, for each picture by itself: the column is 0, and styles come after contents."""
        for row, image in enumerate([*contents, *styles]):
            found, result = self.compare(image)
            yield (row, 0), {name: float(loss) for name, loss in found.items()}, result[:1]


class Distillation(ImageObjective):
    """A small encoder learns to predict VGG-19's features through 1x1 convolutions, which are dropped afterwards.

    The loss of a level is the mean squared error divided by the target's mean square, so that all levels count alike.
    """

    def __init__(self, network, vgg):
        super().__init__(network, vgg)
        self.train_only(network.encoder)
        pairs = zip(network.encoder.channels.values(), vgg.channels.values())
        pairs = list(pairs)[: network.encoder.depth]
        self.maps = nn.LayerList([nn.Conv2D(small, large, 1) for small, large in pairs])
        self.weights = {f"relu{level}_1": 1.0 for level in range(1, network.encoder.depth + 1)}

    def relu_convolutions(self):
        return {f"encoder.{name}": layer for name, layer in self.network.encoder.named_children()}

    def last_convolution(self):
        return None

    def run_network(self, batch):
        return self.network.encoder(_all_pictures(batch))

    @without_gradients
    def prepare(self, batches):
        """Set the 1x1 convolutions to the least-squares prediction from the encoder's present features."""
        images = [_all_pictures(batch) for batch in batches]
        pairs = [(self.network.encoder(image), self.vgg(image)) for image in images]
        for name, mapping in zip(self.weights, self.maps):
            products, targets = 0.0, 0.0
            for features, wanted in pairs:
                points, wanted = (x[name].transpose([1, 0, 2, 3]).flatten(1) for x in (features, wanted))
                points = paddle.concat([points, paddle.ones_like(points[:1])])  # a row for the bias
                products = products + paddle.matmul(points, points, transpose_y=True).numpy().astype("float64")
                targets = targets + paddle.matmul(points, wanted, transpose_y=True).numpy().astype("float64")
            # Channels that are 0 everywhere make the system singular. A millionth of the mean square, about float32's
            # rounding, is too little to change the others.
            ridge = 1e-6 * np.trace(products) / len(products) * np.eye(len(products))
            solution = np.linalg.solve(products + ridge, targets).astype("float32")
            mapping.weight.set_value(solution[:-1].T[:, :, None, None])
            mapping.bias.set_value(solution[-1])

    def compare(self, image):
        with paddle.no_grad():
            targets = self.vgg(image)
        features = self.network.encoder(image)
        found = {
            name: (mapping(features[name]) - targets[name]).square().mean() / targets[name].square().mean()
            for name, mapping in zip(self.weights, self.maps)
        }
        return found, image


class Reconstruction(ImageObjective):
    """The decoder learns to invert the encoder: a good start for stylization, and the whole training of Avatar-Net.

    Args:
        distance: of pixels, one of PIXEL_DISTANCES.
        weight, perceptual, total_variation: weights of that distance, of the mean squared difference of features at
            relu{x}_1, x in `perceptual_levels`, and of the total variation.
        alive: weight of `alive_loss`.
        leaky_gradient: as in `Decoder`.
    """

    def __init__(
        self,
        network,
        vgg,
        *,
        distance="l1",
        weight=1.0,
        perceptual=0.0,
        perceptual_levels=(1, 2, 3, 4),
        total_variation=0.0,
        alive=0.0,
        leaky_gradient=0.0,
    ):
        super().__init__(network, vgg)
        self.train_only(network.decoder)
        self.distance, self.perceptual_levels = PIXEL_DISTANCES[distance], perceptual_levels
        weights = {
            "reconstruction": weight,
            "perceptual": perceptual,
            "total_variation": total_variation,
            "alive": alive,
        }
        self.weights = {name: weight for name, weight in weights.items() if weight}
        if perceptual:
            self.check_levels("reconstruction.perceptual_levels", perceptual_levels)
        self.keep_alive(leaky_gradient, {} if alive else None)

    def run_network(self, batch):
        return self.network.reconstruct(self.network.encoder(_all_pictures(batch)))

    def compare(self, image):
        with paddle.no_grad():
            features = self.network.encoder(image)
        result = self.network.reconstruct(features)
        computed = {
            "reconstruction": lambda: self.distance(result, image),
            "perceptual": lambda: losses.content_loss(self.vgg(result), self.vgg(image), levels=self.perceptual_levels),
            "total_variation": lambda: losses.total_variation_loss(result),
        }
        return {name: computed[name]() for name in self.weights if name in computed}, result


# `model.name` of a Config: a function of the Config, Targets or None, the network and the Encoder of the losses.
OBJECTIVES = {
    "stylization": lambda config, targets, *networks: Stylization(
        *networks, config.losses, config.model.train_encoder, config.model.leaky_gradient, targets
    ),
    "distillation": lambda config, targets, *networks: Distillation(*networks),
    "reconstruction": lambda config, targets, *networks: Reconstruction(
        *networks, leaky_gradient=config.model.leaky_gradient, **dataclasses.asdict(config.reconstruction)
    ),
}


def frames_per_sample(config):
    """Contents in a sample, 1 or 2, of the objective that a Config describes."""
    return Stylization.frames_for(config.losses) if config.model.name == "stylization" else Objective.frames


def build_objective(config, network, vgg, targets=None):
    """The objective that `config.model.name` names, for a network; `targets` as in Stylization.

    Raises InputError where `config.model.freeze` or `config.optimizer.rates` names no layer of the network.
    """
    objective = OBJECTIVES[config.model.name](config, targets, network, vgg)
    for prefix, factor in sorted(config.optimizer.rates.items(), key=lambda item: len(item[0])):  # the longest wins
        check_prefix(network, prefix, "optimizer.rates")
        for name, parameter in network.named_parameters():
            if name.startswith(prefix):
                parameter.optimize_attr["learning_rate"] = factor
    for prefix in config.model.freeze:
        check_prefix(network, prefix, "model.freeze")
        for name, parameter in network.named_parameters():
            if name.startswith(prefix):
                parameter.stop_gradient = True
    return objective


def white_layers(objective, prefixes):
    """{name in the objective: trained convolution} of the network's layers whose names begin with one of `prefixes`.

    Raises InputError where one of them is the beginning of no such layer's name.
    """
    layers = {
        name: layer
        for name, layer in objective.network.named_sublayers()
        if isinstance(layer, nn.Conv2D) and not layer.weight.stop_gradient
    }
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in layers):
            raise InputError(
                f"optimizer.white_inputs: no trained convolution's name begins with {prefix!r}{nearest(prefix, layers)}"
            )
    return {f"network.{name}": layer for name, layer in layers.items() if name.startswith(tuple(prefixes))}


def check_prefix(network, prefix, key):
    """Raise InputError, which names the key of the configuration, where no weight's name begins with a prefix."""
    if not any(name.startswith(prefix) for name in network.state_dict()):
        layers = [name for name, _ in network.named_sublayers()]
        raise InputError(f"{key}: no layer's name begins with {prefix!r}{nearest(prefix, layers)}")


def _same_weights(encoder, other):
    weights = other.state_dict()
    return all(
        tensor.shape == weights[name].shape and bool((tensor == weights[name]).all())
        for name, tensor in encoder.state_dict().items()
    )


def _all_pictures(batch):
    return paddle.concat([batch["content"], batch["style"]])


def _repeat(tensor, frames):
    return tensor if frames == 1 else paddle.concat([tensor] * frames)


def _frames(features):
    """({name: first frames}, {name: second frames})."""
    halves = {name: feature.chunk(2) for name, feature in features.items()}
    return tuple({name: pair[i] for name, pair in halves.items()} for i in (0, 1))
