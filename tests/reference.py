"""The paper's formulas in plain float64 numpy, written from the equations alone: what the package is compared with."""

import numpy as np


def softmax_attention(query, key):
    """A of eq. 5: [B, N_c, N_s] from [B, D, N_c] and [B, D, N_s]."""
    scores = np.einsum("bdi,bdj->bij", query, key)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def cosine_attention(query, key, eps=0.0):
    """A of eq. 12; eps as in the authors' release."""
    query_norm = np.sqrt((query**2).sum(1))[:, :, None] + eps
    key_norm = np.sqrt((key**2).sum(1))[:, None, :] + eps
    scores = np.einsum("bdi,bdj->bij", query, key) / query_norm / key_norm + 1
    return scores / (scores.sum(-1, keepdims=True) + eps)


def weighted_statistics(attention, value):
    """M and S of eqs. 6 and 7; S from its definition (spread around M), which does not cancel."""
    mean = np.einsum("bij,bcj->bci", attention, value)
    deviation = value[:, :, None, :] - mean[:, :, :, None]
    return mean, np.sqrt(np.einsum("bij,bcij->bci", attention, deviation**2))


def attention_statistics(query, key, value, kind, eps=0.0):
    attention = softmax_attention(query, key) if kind == "softmax" else cosine_attention(query, key, eps)
    return weighted_statistics(attention, value)


def normalize(feature):
    mean = feature.mean((2, 3), keepdims=True)
    variance = feature.var((2, 3), keepdims=True, ddof=1) if feature[0, 0].size > 1 else 0.0
    return (feature - mean) / np.sqrt(variance + 1e-5)


def bilinear(feature, size):
    """Half-pixel bilinear resizing of [B, C, H, W], one axis after the other."""
    for axis, target in zip((2, 3), size):
        source = feature.shape[axis]
        position = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, source - 1)
        share = (position - low).reshape([-1 if a == axis else 1 for a in range(4)])
        feature = np.take(feature, low, axis) * (1 - share) + np.take(feature, high, axis) * share
    return feature


def nearest(feature, size):
    for axis, target in zip((2, 3), size):
        feature = np.take(feature, np.arange(target) * feature.shape[axis] // target, axis)
    return feature


def convolution(x, weight, bias):
    """3x3, reflection padding; numpy's 'reflect' repeats the pixel of an axis of one."""
    height, width = x.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    taps = [x[:, :, dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    return np.einsum("oit,tbihw->bohw", weight.reshape(*weight.shape[:2], 9), np.stack(taps)) + bias[:, None, None]


def pointwise(x, weight, bias):
    return np.einsum("oi,bihw->bohw", weight[:, :, 0, 0], x) + bias[:, None, None]


def max_pool(x):
    """2x2 with ceil mode: a last odd row or column is a window of its own."""
    height, width = x.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), (0, height % 2), (0, width % 2)), constant_values=-np.inf)
    return x.reshape(*x.shape[:2], (height + 1) // 2, 2, (width + 1) // 2, 2).max((3, 5))


def relu(x):
    return np.maximum(x, 0)


class Network:
    """The whole network of the paper (or of the release) on {name: array} weights, in float64."""

    def __init__(self, weights, kind, levels=(3, 4, 5), release=False, sanet=False, shallow=True):
        self.weights = {name: np.asarray(array, "float64") for name, array in weights.items()}
        self.kind, self.levels, self.release, self.sanet, self.shallow = kind, levels, release, sanet, shallow

    def _convolve(self, name, x, function=convolution):
        return function(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def encode(self, x):
        features = []
        for block, count in zip(range(1, max(self.levels) + 1), (2, 2, 4, 4, 1)):
            x = max_pool(x) if block > 1 else x
            x = relu(self._convolve(f"encoder.conv{block}_1", x))
            features.append(x)
            for index in range(2, count + 1) if block < max(self.levels) else ():
                x = relu(self._convolve(f"encoder.conv{block}_{index}", x))
        return features

    def key(self, features, level):
        size = features[level - 1].shape[2:]
        resize = nearest if self.release else bilinear
        first = 0 if self.shallow else level - 1
        return np.concatenate([normalize(resize(feature, size)) for feature in features[first:level]], 1)

    def embed(self, content, style, level):
        layer = f"adaattn{level}"
        query = self._convolve(f"{layer}.f", self.key(content, level), pointwise)
        key = self._convolve(f"{layer}.g", self.key(style, level), pointwise)
        value = self._convolve(f"{layer}.h", style[level - 1], pointwise)
        flat = [x.reshape(*x.shape[:2], -1) for x in (query, key, value)]
        mean, std = attention_statistics(*flat, self.kind, 1e-5 if self.release else 0.0)
        shape = content[level - 1].shape
        if self.sanet:
            return content[level - 1] + self._convolve(f"{layer}.out", mean.reshape(shape), pointwise)
        return std.reshape(shape) * normalize(content[level - 1]) + mean.reshape(shape)

    def __call__(self, content, style):
        height, width = content.shape[2:]
        content, style = self.encode(content), self.encode(style)
        embedded = {level: self.embed(content, style, level) for level in self.levels}
        x = embedded[3]
        if 5 in embedded:
            rows, columns = embedded[4].shape[2:]
            x = embedded[4] + embedded[5].repeat(2, 2).repeat(2, 3)[:, :, :rows, :columns]
            x = self._convolve("decoder.merge", x)
            x = x if self.release else relu(x)
            rows, columns = embedded[3].shape[2:]
            x = relu(self._convolve("decoder.stage4", x)).repeat(2, 2).repeat(2, 3)[:, :, :rows, :columns]
            x = np.concatenate([x, embedded[3]], 1)
        for index in range(4):
            x = relu(self._convolve(f"decoder.stage3.{index}", x))
        x = x.repeat(2, 2).repeat(2, 3)
        for index in range(2):
            x = relu(self._convolve(f"decoder.stage2.{index}", x))
        x = x.repeat(2, 2).repeat(2, 3)
        x = relu(self._convolve("decoder.stage1.0", x))
        return self._convolve("decoder.stage1.1", x)[:, :, :height, :width]
