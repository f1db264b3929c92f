"""Paint the contents of another network's pictures in their styles, crop by crop, as the whole pictures would be."""

from ppadaattn.device import without_gradients
from ppadaattn.media.images import to_floats
from ppadaattn.model.features import sample_points
from ppadaattn.model.style import Style
from ppadaattn.model.vgg import Encoder

import numpy as np
import paddle
import paddle.distributed as distributed
from paddle import nn


class TargetPainter(nn.Layer):
    """Paints crops of the contents of Targets.

    Norm of eqs. 4 and 8 is over a whole picture, and attention reads the whole style. A crop is therefore painted with
    the statistics of its whole content and with points of all of the style; with those of the crop colours go wrong.
    Whole pictures are encoded once; where the encoder is trained, by a copy of it that `refresh` renews. The copy is
    part of the checkpoints, so that a resumed run takes the same steps.

    Args:
        source: Targets.
        network: the AdaAttNNetwork.
        train_encoder: whether its encoder is trained.
    """

    def __init__(self, source, network, train_encoder):
        super().__init__()
        self.source, self.options = source, source.data
        self.encoder = None
        if train_encoder:
            self.encoder = Encoder(network.architecture["width"], depth=max(network.levels))
            for parameter in self.encoder.parameters():
                parameter.stop_gradient = True
        self._contents, self._styles = {}, {}

    def refresh(self, network, iteration):
        """Renew the copy of the encoder at iteration 1 and then every `refresh_interval` iterations."""
        if self.encoder is not None and (iteration - 1) % self.options.refresh_interval == 0:
            self.encoder.set_state_dict(network.encoder.state_dict())
            self._contents, self._styles = {}, {}

    def paint(self, network, seed):
        """Paint the crops of one iteration.

        Args:
            network: the AdaAttNNetwork.
            seed: determines pictures, crops and style points; each process draws its own.

        Returns:
            contents, stylized, painted: float [B, 3, S, S], RGB in [0, 1]; `painted` is to be come near to.
        """
        contents, stylized, painted = [], [], []
        rng = np.random.RandomState([seed, distributed.get_rank()])
        for content, wanted, style, statistics in self._draw(network, rng):
            stylized.append(network.stylize_features(network.encoder(content), style, **statistics))
            contents.append(content)
            painted.append(wanted)
        return tuple(map(paddle.concat, (contents, stylized, painted)))

    @without_gradients
    def embed(self, network, seed):
        """[({level: F_cs}, painted [1, 3, S, S])] of crops as one iteration draws them; arguments as for `paint`.

        Each process draws the same, since what is computed from them has to be the same in all. No colours are
        exchanged: whole pictures would have to be encoded anew for many of the crops.
        """
        return [
            (network.embed(network.encoder(content), style, **statistics), painted)
            for content, painted, style, statistics in self._draw(network, np.random.RandomState([seed, 0]), False)
        ]

    def _draw(self, network, rng, permute=True):
        """Yield content [1, 3, S, S], painted [1, 3, S, S], Style and the statistics of the whole content."""
        for target, colours, *crops in self.source.draw(rng, permute):
            content, painted = (paddle.to_tensor(to_floats(crop[None])) for crop in crops)
            style = self._style(network, target.style, colours, int(rng.randint(2**31)))
            yield content, painted, style, self._statistics(network, target.content, colours)

    def window(self, seed, *images):
        """The same random square of `feature_size` pixels of pictures [B, 3, S, S]."""
        rng = np.random.RandomState([seed, distributed.get_rank(), 1])
        size = min(self.options.feature_size, self.options.crop_size)
        top, left = (int(rng.randint(length - size + 1)) for length in images[0].shape[2:])
        return [image[:, :, top : top + size, left : left + size] for image in images]

    @without_gradients
    def _encode(self, network, picture, colours):
        encoder = network.encoder if self.encoder is None else self.encoder
        return encoder(paddle.to_tensor(to_floats(picture[None][..., colours])))

    @without_gradients
    def _statistics(self, network, name, colours):
        if (name, colours) not in self._contents:
            features = self._encode(network, self.source.contents[name], colours)
            self._contents[name, colours] = {
                "content_statistics": network.content_statistics(features),
                "key_statistics": network.key_statistics(features),
            }
        return self._contents[name, colours]

    def _style(self, network, name, colours, seed):
        """A Style of at most `num_style_points` points of each level, drawn anew each time."""
        states = {}
        for level, (feature, key) in self._whole_style(network, name, colours).items():
            chosen = sample_points(key.shape[2], self.options.num_style_points, seed)
            if chosen is not None:
                feature, key = (points.index_select(chosen, 2) for points in (feature, key))
            states[level] = getattr(network, f"adaattn{level}").prepare_style(feature, key, seed)
        return Style(states)

    @without_gradients
    def _whole_style(self, network, name, colours):
        """{level: (F_s [1, C, N, 1], Norm(F_s^{1:x}) [1, D, N, 1])} of a whole style."""
        if (name, colours) in self._styles:
            return self._styles[name, colours]
        features = self._encode(network, self.source.styles[name], colours)
        whole = {
            level: tuple(points.flatten(2).unsqueeze(-1) for points in (feature, key))
            for level, _, feature, key in network.attention_inputs(features)
        }
        if colours == (0, 1, 2):  # one of full width has 70 MB: with all six orders a dozen of them would have 5 GB
            self._styles[name, colours] = whole
        return whole
