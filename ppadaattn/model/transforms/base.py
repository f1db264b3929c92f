"""What the compared methods share: a style as a few tensors, and mixtures and regions of any method.

A method is a layer with two steps, as AdaAttN is: `prepare_style` once per style, `forward` per content. It defines

    state = prepare_style(style, style_key, seed, points)    a StyleState, here `Tensors`
    F_cs = transfer(content, state)                          for one plain state

and `forward` makes mixtures and regions of it. A mixture is the weighted average of the F_cs of its styles: for
AdaAttN, whose F_cs is linear in M and S, that is the average of M and S.
"""

from ppadaattn.errors import InputError
from ppadaattn.model.attention import StyleState, state_from_dict
from ppadaattn.model.features import channel_moments, points_of

import numpy as np
import paddle
from paddle import nn


class FeatureTransform(nn.Layer):
    """A method that transforms the features of one level.

    Args:
        channels: of F_c and F_s.
        options: those of AdaAttN, which have no meaning here.

    Attributes: as AdaAttN's.
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
        """The state of a style feature [B, C, H, W]; `points`, flat positions, restricts it to a region."""
        raise NotImplementedError

    def transfer(self, content, state):
        """F_cs [B, C, H, W] of a content feature and the state of one style."""
        raise NotImplementedError

    def forward(self, content, content_key, state, content_statistics=None):
        """F_cs [B, C, H, W] of a content feature [B, C, H, W] and a style's state, plain, mixed or in regions.

        Raises ValueError for `content_statistics` where the method does not normalize the content, a state of another
        method, and a state whose batch is neither 1 nor the content's.
        """
        check_content_statistics(self, content_statistics)
        if state.value_channels != self.channels or state.batch not in (1, content.shape[0]):
            raise ValueError(
                f"the state is of {state.value_channels} channels and batch {state.batch}; expected {self.channels} "
                f"channels, and batch 1 or {content.shape[0]}"
            )
        options = {} if content_statistics is None else {"content_statistics": content_statistics}
        return state.through(lambda plain: self.transfer(content, plain, **options))


def check_content_statistics(transform, content_statistics):
    """ValueError where they are given to a transform that does not normalize the content."""
    if content_statistics is not None and not transform.normalizes_content:
        name = type(transform).__name__
        raise ValueError(f"{name} does not normalize contents: it has no use for content statistics")


class FeatureState(StyleState):
    """A style's state that a FeatureTransform made; `through` applies what is done with a plain state."""

    def through(self, transfer):
        """`transfer(state)` for a plain state."""
        return transfer(self)

    @staticmethod
    def mixture(states, weights):
        return MixedFeatures(states, weights)

    @staticmethod
    def in_regions(states, labels):
        return RegionFeatures(states, labels)

    def _beside(self, other):
        raise InputError("styles of this method cannot be put side by side as if they were one picture; mix them")


class Tensors(FeatureState, saved_as="tensors"):
    """A few tensors by name: `state["mean"]`. The first is [B, C, ...], with the channels of the features.

    Args:
        tensors: {name: tensor}.
    """

    kind = "tensors"

    def __init__(self, **tensors):
        self.tensors = tensors
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self.batch, self.value_channels = next(iter(shapes.values()))[:2]
        self.key_channels = str(sorted(name for name in shapes))  # states of one method alone fit together

    def __getitem__(self, name):
        return self.tensors[name]

    def state_dict(self):
        """{'kind', 'tensors': {name: numpy array}}."""
        return {"kind": self.kind, "tensors": {name: tensor.numpy() for name, tensor in self.tensors.items()}}

    @classmethod
    def from_dict(cls, saved):
        return cls(**{name: paddle.to_tensor(array) for name, array in saved["tensors"].items()})


class Statistics(Tensors, saved_as="statistics"):
    """Mean and variance of each channel, each [B, C, 1, 1], over `count` points, a tensor [1, 1].

    The variance is unbiased and without eps, so that two styles side by side have the statistics of all their points.
    """

    kind = "statistics"

    @classmethod
    def of(cls, feature, points=None):
        """Those of a feature [B, C, H, W], or of its flat positions `points`."""
        own = points_of(feature, points)
        mean, variance = (moment.unsqueeze(-1) for moment in channel_moments(own))
        return cls(mean=mean, variance=variance, count=paddle.full([1, 1], float(own.shape[-1])))

    def _beside(self, other):
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


class _Several(FeatureState):
    """States together."""

    def __init__(self, states):
        self.states = list(states)
        self.batch = max(state.batch for state in self.states)
        self.value_channels, self.key_channels = self.states[0].value_channels, self.states[0].key_channels


class MixedFeatures(_Several, saved_as="mixed_features"):
    """Interpolation between styles: the weighted average of their F_cs."""

    def __init__(self, states, weights):
        super().__init__(states)
        self.weights = list(weights)

    def through(self, transfer):
        return sum(weight * state.through(transfer) for state, weight in zip(self.states, self.weights))

    def state_dict(self):
        """{'kind': 'mixed_features', 'weights': [...], 'states': [...]}."""
        states = [state.state_dict() for state in self.states]
        return {"kind": "mixed_features", "weights": self.weights, "states": states}

    @classmethod
    def from_dict(cls, saved):
        return cls([state_from_dict(state) for state in saved["states"]], saved["weights"])


class RegionFeatures(_Several):
    """A content in regions: each of its points takes F_cs from the state of its region. Not saved.

    Args:
        states: one a region.
        labels: int array [N_c]: the index in `states` of the region of each content point.
    """

    def __init__(self, states, labels):
        super().__init__(states)
        self.labels = np.asarray(labels)

    def through(self, transfer):
        total = 0.0
        for index in np.unique(self.labels).tolist():
            embedded = self.states[index].through(transfer)
            if embedded.shape[2] * embedded.shape[3] != len(self.labels):
                raise ValueError(
                    f"the regions are those of {len(self.labels)} content points; the content has "
                    f"{embedded.shape[2]} x {embedded.shape[3]}"
                )
            inside = paddle.to_tensor((self.labels == index).astype("float32"))
            total = total + embedded * inside.reshape([1, 1, *embedded.shape[2:]])
        return total
