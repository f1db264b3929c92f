"""Base of the methods whose style is a few tensors, instead of keys and values: AdaIN, Linear, MCCNet, Avatar-Net.

Such a method defines two steps:

    state = prepare_style(style, style_key, seed, points)    once for each style: a `TensorState`
    F_cs = transfer(content, state)                          for each content, in a single style

`forward` adds mixtures and regions. A mixture is the weighted average of the F_cs of its styles; for AdaAttN, whose
F_cs is linear in M and S, this is the average of M and S.
"""

from ppadaattn.errors import InputError
from ppadaattn.model.attention import MixedState, StyleState, check_compatible
from ppadaattn.model.features import channel_moments, points_of

import numpy as np
import paddle
from paddle import nn


class FeatureTransform(nn.Layer):
    """A method at one level. Class attributes as in AdaAttN.

    Args:
        channels: of F_c and F_s.
        key_channels, options: AdaAttN's; without effect here.
    """

    levels = (4,)
    attentions = ()
    stacks_key = False
    normalizes_content = False
    skips = ()

    def __init__(self, channels, key_channels=None, **options):
        super().__init__()
        self.channels = channels

    def prepare_style(self, style, style_key=None, seed=0, points=None):
        """The TensorState of a style feature [B, C, H, W]; `points`, flat positions, restricts it to a region."""
        raise NotImplementedError

    def transfer(self, content, state):
        """F_cs [B, C, H, W] of a content feature and the TensorState of a single style."""
        raise NotImplementedError

    def forward(self, content, content_key, state, content_statistics=None):
        """F_cs [B, C, H, W] of a content feature [B, C, H, W] and a style's state: single, mixed or in regions.

        Raises:
            ValueError: `content_statistics` for a method that does not normalize the content; a state of other channels
                or another method, or whose batch is neither 1 nor the content's.
        """
        check_content_statistics(self, content_statistics)
        if state.value_channels != self.channels or state.batch not in (1, content.shape[0]):
            raise ValueError(
                f"the state is of {state.value_channels} channels and batch {state.batch}; expected {self.channels} "
                f"channels, and batch 1 or {content.shape[0]}"
            )
        options = {} if content_statistics is None else {"content_statistics": content_statistics}
        return state.apply(lambda single: self.transfer(content, single, **options))


def check_content_statistics(transform, content_statistics):
    """Raise ValueError where `content_statistics` are given to a transform that does not normalize the content."""
    if content_statistics is not None and not transform.normalizes_content:
        name = type(transform).__name__
        raise ValueError(f"{name} does not normalize contents: it has no use for content statistics")


class FeatureState(StyleState):
    """The state of one or several styles for a FeatureTransform."""

    def apply(self, transfer):
        """F_cs of this state; `transfer(state)` gives that of a single style."""
        return transfer(self)

    @staticmethod
    def mixture(states, weights):
        return MixedFeatures(states, weights)

    @staticmethod
    def in_regions(states, labels):
        return RegionFeatures(states, labels)

    def _concat(self, other):
        raise InputError("styles of this method cannot be put side by side as if they were one picture; mix them")


class TensorState(FeatureState, saved_as="tensors"):
    """A single style as a few tensors by name, such as `state["mean"]`.

    Args:
        tensors: {name: tensor}. The first is [B, C, ...], with the channels of the features.
    """

    kind = "tensors"

    def __init__(self, **tensors):
        self.tensors = tensors
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self.batch, self.value_channels = next(iter(shapes.values()))[:2]
        self.key_channels = str(sorted(shapes))  # a name of the method: only states of one method are compatible

    def __getitem__(self, name):
        return self.tensors[name]

    def state_dict(self):
        """{'kind', 'tensors': {name: numpy array}}."""
        return {"kind": self.kind, "tensors": {name: tensor.numpy() for name, tensor in self.tensors.items()}}

    @classmethod
    def from_dict(cls, saved):
        return cls(**{name: paddle.to_tensor(array) for name, array in saved["tensors"].items()})


class Statistics(TensorState, saved_as="statistics"):
    """Mean and variance of each channel, each [B, C, 1, 1], over `count` points, a tensor [1, 1].

    The variance is unbiased and without eps, so that statistics of concatenated styles are those of all their points.
    """

    kind = "statistics"

    @classmethod
    def of(cls, feature, points=None):
        """The statistics of a feature [B, C, H, W], or of its `points`, flat positions."""
        chosen = points_of(feature, points)
        mean, variance = (moment.unsqueeze(-1) for moment in channel_moments(chosen))
        return cls(mean=mean, variance=variance, count=paddle.full([1, 1], float(chosen.shape[-1])))

    def _concat(self, other):
        first, second = self["count"].item(), other["count"].item()
        count = first + second
        shift = other["mean"] - self["mean"]
        squares = self["variance"] * max(first - 1, 0) + other["variance"] * max(second - 1, 0)
        squares = squares + shift.square() * (first * second / count)
        return Statistics(
            mean=self["mean"] + shift * (second / count),
            variance=squares / (count - 1),
            count=paddle.full([1, 1], count),
        )


class MixedFeatures(FeatureState, MixedState, saved_as="mixed_features"):
    """Interpolation between styles: F_cs is the weighted average of theirs."""

    def apply(self, transfer):
        return sum(weight * state.apply(transfer) for state, weight in zip(self.states, self.weights))


class RegionFeatures(FeatureState):
    """Regions: each point of the content takes F_cs of the state of its region. It is not saved.

    Args:
        states: one for each region.
        labels: int array [N_c]: the index in `states` of the region of each content point.
    """

    def __init__(self, states, labels):
        self.states, self.labels = list(states), np.asarray(labels)
        self.batch, self.key_channels, self.value_channels, self.eps = check_compatible(self.states)

    def apply(self, transfer):
        total = 0.0
        for index in np.unique(self.labels).tolist():
            embedded = self.states[index].apply(transfer)
            if embedded.shape[2] * embedded.shape[3] != len(self.labels):
                raise ValueError(
                    f"the regions are for {len(self.labels)} content points; the content has "
                    f"{embedded.shape[2]} x {embedded.shape[3]}"
                )
            inside = paddle.to_tensor((self.labels == index).astype("float32"))
            total = total + embedded * inside.reshape([1, 1, *embedded.shape[2:]])
        return total
