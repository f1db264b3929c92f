"""The whole network: encoder, AdaAttN (or another transform) at several levels, decoder (section 3.1, appendix A)."""

from typing import Dict, Iterator, Optional, Sequence, Tuple

from ppadaattn.model.architecture import CONVENTIONS, KINDS, scaled_channels
from ppadaattn.model.features import channel_statistics, stacked_features, stacked_key
from ppadaattn.model.regions import region_points, split_mask
from ppadaattn.model.style import Style
from ppadaattn.model.transforms import TRANSFORMS
from ppadaattn.model.transforms.adain import AdaIN
from ppadaattn.model.vgg import Encoder, Features, ReflectionConv2D, shape_of

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn


class Decoder(nn.Layer):
    """The decoder (eq. 3, Table 3). It begins at the deepest of `levels`; stages deeper than that are not built.

    Args:
        width: factor on every channel count; 1.0 is the paper.
        levels: the levels whose F_cs it takes.
        merge_relu: whether a ReLU follows the merge convolution (the paper has it, the release does not).

    Attributes:
        leaky_gradient: while training, this is added to the gradient of each ReLU: 0.05 is a gradient of 0.05 below 0
            and of 1.05 above. The output stays exact. With it dead channels can come back.
    """

    leaky_gradient = 0.0

    def __init__(self, width: float = 1.0, levels: Sequence[int] = (3, 4, 5), merge_relu: bool = True):
        super().__init__()
        c1, c2, c3, c4, _ = scaled_channels(width).values()
        self.merge_relu = merge_relu
        if 5 in levels:
            self.merge = ReflectionConv2D(c4, c4)
        if max(levels) > 3:
            self.stage4 = ReflectionConv2D(c4, c3)
        joined = 2 * c3 if 3 in levels and max(levels) > 3 else c3
        self.stage3 = _convolutions(joined, c3, c3, c3, c2)
        self.stage2 = _convolutions(c2, c2, c1)
        self.stage1 = _convolutions(c1, c1, 3)

    def forward(self, embedded, skips=None):
        """Decode F_cs to an image.

        Args:
            embedded: {level: F_cs, float [B, C, H_x, W_x]}.
            skips: {level: function of the features [B, C, H', W'] before the last convolution of that level}.

        Returns:
            float [B, 3, H', W'], RGB, not clipped; H' >= H, W' >= W: up to 4 * H_3 (8 * H_4 without level 3), to be
            cropped to the content's size.
        """
        x = embedded[max(embedded)]
        if 5 in embedded:  # levels 4 and 5 are added, level 3 is concatenated
            x = self.merge(_upsample(x, embedded[4]) + embedded[4])
            x = self._relu(x) if self.merge_relu else x
        if max(embedded) > 3:
            x = _upsample(self._relu(self.stage4(x)), embedded.get(3))
            x = paddle.concat([x, embedded[3]], 1) if 3 in embedded else x
        skips = skips or {}
        for level, stage in ((3, self.stage3), (2, self.stage2), (1, self.stage1)):
            *convolutions, last = stage
            for convolution in convolutions:
                x = self._relu(convolution(x))
            x = last(skips[level](x) if level in skips else x)
            x = _upsample(self._relu(x)) if level > 1 else x
        return x

    def _relu(self, x):
        if self.leaky_gradient and self.training and paddle.is_grad_enabled():
            return F.relu(x) + self.leaky_gradient * (x - x.detach())
        return F.relu_(x)

    def relu_convolutions(self) -> Dict[str, ReflectionConv2D]:
        """{name: convolution that a ReLU follows}, in order: the output of each is the first part of the next's input.

        The last convolution of the decoder, which gives the picture, is not among them.
        """
        layers = {name: layer for name, layer in self.named_sublayers() if isinstance(layer, ReflectionConv2D)}
        del layers["stage1.1"]
        if not self.merge_relu:
            layers.pop("merge", None)
        return layers


def _convolutions(*channels):
    return nn.LayerList([ReflectionConv2D(before, after) for before, after in zip(channels, channels[1:])])


def _upsample(x, like=None):
    """Nearest upsampling by two, cropped to the height and width of the feature map `like` where given."""
    shape = shape_of(x)
    x = F.interpolate(x, [2 * shape[2], 2 * shape[3]], mode="nearest")
    return x if like is None else _crop(x, like)


def _crop(x, like):
    shape = shape_of(like)
    return x[:, :, : shape[2], : shape[3]]


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")


class AdaAttNNetwork(nn.Layer):
    """The whole network: content and style image in, stylized image out (eqs. 1-3).

    Args:
        width: factor on every channel count; 1.0 is the paper, 0.25 the bundled small models.
        levels: where the transform works: (3, 4, 5) in the paper, (3,) in the authors' video release. Any of 3, 4, 5,
            except that level 5 needs level 4, to which it is added. Default: those of the transform's own paper.
        attention: 'softmax' (images, eq. 5) or 'cosine' (video, eq. 12), where the transform has such attention.
        conventions: 'paper', 'release' (the authors' PyTorch code) or 'lite' (the paper's with fewer style points): see
            CONVENTIONS.
        transform: 'adaattn', or a method that it is compared with: a name of `ppadaattn.model.transforms.TRANSFORMS`.
        shallow_features: whether query and key stack the features of levels 1 to x (eq. 1), or take those of level x
            alone (the ablation of figures 5 and 11).

    Attributes:
        architecture: the arguments, as plain values for files.

    Raises:
        ValueError: an unknown value, or one that the transform has no use for.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        levels: Optional[Sequence[int]] = None,
        attention: str = "softmax",
        conventions: str = "paper",
        transform: str = "adaattn",
        shallow_features: bool = True,
    ):
        super().__init__()
        _check_choice("transform", transform, TRANSFORMS)
        _check_choice("attention", attention, KINDS)
        _check_choice("conventions", conventions, CONVENTIONS)
        layer_class = TRANSFORMS[transform]
        levels = tuple(sorted(set(layer_class.levels if levels is None else levels)))
        if not levels or not set(levels) <= {3, 4, 5} or (5 in levels and 4 not in levels):
            raise ValueError(f"levels must be some of 3, 4, 5, and 5 only with 4; got {list(levels)}")
        if attention != "softmax" and attention not in layer_class.attentions:
            raise ValueError(f"the transform {transform} has no {attention} attention; leave attention at softmax")
        if not shallow_features and not layer_class.stacks_key:
            raise ValueError(f"the transform {transform} stacks no shallow features; leave shallow_features at true")
        if set(levels) & set(layer_class.skips):
            raise ValueError(
                f"the transform {transform} leaves levels {list(layer_class.skips)} to the decoder; levels must be "
                f"others, such as {list(layer_class.levels)}; got {list(levels)}"
            )
        self.architecture = {
            "width": float(width),
            "levels": list(levels),
            "attention": attention,
            "conventions": conventions,
            "transform": transform,
            "shallow_features": bool(shallow_features),
        }
        self.levels = levels
        self.shallow_features = shallow_features
        self.conventions = CONVENTIONS[conventions]
        self.encoder = Encoder(width, depth=max(levels))
        channels = self.encoder.channels
        for level in levels:
            points = self.conventions.num_style_points.get(level) if attention == "softmax" else None
            stacked = range(1 if shallow_features else level, level + 1)
            layer = layer_class(
                channels[level],
                sum(channels[x] for x in stacked),
                attention=attention,
                num_style_points=points,
                eps=self.conventions.eps,
            )
            self.add_sublayer(f"adaattn{level}", layer)
        self.skips = layer_class.skips
        for level in self.skips:
            self.add_sublayer(f"adaattn{level}", AdaIN(channels[level]))
        self.decoder = Decoder(width, levels, self.conventions.merge_relu)

    def attention_inputs(
        self, features: Features, key_statistics=None
    ) -> Iterator[Tuple[int, nn.Layer, paddle.Tensor, Optional[paddle.Tensor]]]:
        """Yield (level x, its transform, F^x, Norm(F^{1:x})) for each level, from the encoder's features of an image.

        Norm(F^{1:x}) is None for a transform that takes no key. Levels of skip connections come first.
        `key_statistics` as `key_statistics()` gives them; default: those of the features.
        """
        given = key_statistics or {}
        for level in (*self.skips, *self.levels):
            layer = getattr(self, f"adaattn{level}")
            key = None
            if layer.stacks_key:
                key = stacked_key(features, level, self.conventions.resize, self.shallow_features, given.get(level))
            yield level, layer, features[f"relu{level}_1"], key

    @property
    def normalizes_content(self) -> bool:
        """Whether the transform normalizes contents, so that `content_statistics` can be given."""
        return TRANSFORMS[self.architecture["transform"]].normalizes_content

    def prepare_style(self, style: paddle.Tensor, seed: int = 0, mask: Optional[np.ndarray] = None) -> Style:
        """Prepare a style image for any number of contents.

        Args:
            style: float [B, 3, H, W], RGB in [0, 1], any H and W; with batch 1 it serves contents of any batch.
            seed: of the drawing of style points, where the conventions draw them at random.
            mask: uint8 H x W x 3, the regions of the image (`ppadaattn.model.regions`).
        """
        return self.prepare_style_features(self.encoder(style), seed, mask)

    def prepare_style_features(self, features: Features, seed: int = 0, mask: Optional[np.ndarray] = None) -> Style:
        """As `prepare_style`, from the encoder's features of the style image."""
        labels, colours = (None, ()) if mask is None else split_mask(mask)
        seed = self.conventions.seed_of_points(seed)
        states, regions = {}, {colour: {} for colour in colours}
        for level, layer, feature, key in self.attention_inputs(features):
            states[level] = layer.prepare_style(feature, key, seed)
            for index, colour in enumerate(colours, 1):
                points = paddle.to_tensor(region_points(labels, index, feature.shape[2:], level))
                regions[colour][level] = layer.prepare_style(feature, key, seed, points)
        return Style(states, regions={colour: Style(parts) for colour, parts in regions.items()})

    def content_statistics(self, features: Features) -> Dict[int, Tuple[paddle.Tensor, paddle.Tensor]]:
        """{level: (mean, std)} of F_c, each [B, C, 1, 1], from the encoder's features: those of Norm(F_c) in eq. 8."""
        return {level: channel_statistics(features[f"relu{level}_1"]) for level in self.levels}

    def key_statistics(self, features: Features) -> Dict[int, Tuple[paddle.Tensor, paddle.Tensor]]:
        """{level x: (mean, std)} of F^{1:x}, each [B, C1 + ... + Cx, 1, 1]: those of Norm in eq. 4."""
        resize, shallow = self.conventions.resize, self.shallow_features
        return {x: channel_statistics(stacked_features(features, x, resize, shallow)) for x in self.levels}

    def embed(
        self, features: Features, style: Style, content_statistics=None, key_statistics=None
    ) -> Dict[int, paddle.Tensor]:
        """{level: F_cs} (eq. 2) from the encoder's features of a content and a Style of this network."""
        levels = (*self.skips, *self.levels)
        if tuple(style.states) != levels:
            raise ValueError(f"the style is for levels {list(style.states)}, this network has {list(levels)}")
        inputs = self.attention_inputs(features, key_statistics)
        given = content_statistics or {}
        return {
            level: layer(feature, key, style.states[level], given.get(level))
            for level, layer, feature, key in inputs
            if level in self.levels
        }

    def decode(self, embedded: Dict[int, paddle.Tensor], features: Features, style: Optional[Style]) -> paddle.Tensor:
        """Decode {level: F_cs} to an image of the content's size (eq. 3); `features` are the content's.

        Only skip connections use the style: it can be None for transforms without them.
        """

        def skip(level):
            layer, like = getattr(self, f"adaattn{level}"), features[f"relu{level}_1"]
            return lambda feature: layer(_crop(feature, like), None, style.states[level])

        return _crop(self.decoder(embedded, {level: skip(level) for level in self.skips}), features["relu1_1"])

    def reconstruct(self, features: Features) -> paddle.Tensor:
        """Decode an image's own features, in place of F_cs."""
        style = self.prepare_style_features(features) if self.skips else None
        return self.decode({level: features[f"relu{level}_1"] for level in self.levels}, features, style)

    def stylize(self, content: paddle.Tensor, style: Style, **options) -> paddle.Tensor:
        """Stylize a content in a prepared style.

        Args:
            content: float [B, 3, H, W], RGB in [0, 1], any H and W.
            style: a Style of this network.
            options: those of `stylize_features`.

        Returns:
            float [B, 3, H, W], RGB, not clipped.

        Raises:
            ValueError: a style of other levels, batch or channels.
        """
        return self.stylize_features(self.encoder(content), style, **options)

    def stylize_features(
        self, features: Features, style: Style, *, strength: float = 1.0, content_statistics=None, key_statistics=None
    ) -> paddle.Tensor:
        """As `stylize`, from the encoder's features of the content.

        Args:
            strength: how much of the style, 0 to 1; the rest is the content, taken as its own style. At 0 M and S are
                the content's own attended statistics.
            content_statistics: {level: (mean, std)} for Norm(F_c) in eq. 8; default: those of the content.
            key_statistics: {level: (mean, std)} for Norm(F_c^{1:x}) in eq. 4; default: those of the content.
        """
        if strength < 1:
            own = self.prepare_style_features(features)
            own.fingerprint = style.fingerprint
            style = Style.mix([style, own], [strength, 1 - strength])
        return self.decode(self.embed(features, style, content_statistics, key_statistics), features, style)

    def forward(self, content: paddle.Tensor, style: paddle.Tensor, seed: int = 0) -> paddle.Tensor:
        """As `stylize`, with a style image, float [B or 1, 3, H, W], RGB in [0, 1]; `seed` as in `prepare_style`."""
        return self.stylize(content, self.prepare_style(style, seed))
