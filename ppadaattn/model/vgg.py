"""The encoder: VGG-19 up to relu5_1 (Simonyan & Zisserman, https://arxiv.org/abs/1409.1556), features by name."""

from typing import Dict, Iterator, Optional, Sequence, Tuple

from ppadaattn import device  # noqa: F401 - imports Paddle without its warnings
from ppadaattn.model.architecture import encoder_convolutions, scaled_channels

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.autograd import PyLayer

Features = Dict[str, paddle.Tensor]  # {'relu1_1': [B, C, H, W], ...}

# Numbers in the unfolded copy of a band of rows: 16 MiB in float32. The system hands out larger buffers anew each time,
# and clearing their pages costs more than the convolution.
UNFOLDED_NUMBERS = 2**22


class ReflectionConv2D(nn.Conv2D):
    """A 3x3 convolution that keeps the size: reflection padding, as in the authors' release.

    On an axis of one pixel, where there is nothing to reflect, the pixel is repeated.

    On CPU Paddle unfolds the whole feature map into nine copies. Without gradients this layer convolves bands of rows
    one after the other, with the same result: it is faster (BENCHMARKS.md), and the unfolded copy does not grow with
    the picture.
    """

    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, 3)

    def forward(self, x):
        if paddle.in_dynamic_mode() and paddle.is_grad_enabled() and not x.stop_gradient and min(x.shape[2:]) >= 4:
            return self._convolve(_Reflection.apply(x))
        x = reflect(x, axis=2)
        bands = [self._convolve(reflect(band, axis=3)) for band in _bands(x)]
        return paddle.concat(bands, 2) if len(bands) > 1 else bands[0]

    def _convolve(self, x):
        if not paddle.in_dynamic_mode():
            return super().forward(x)
        x = F.conv2d(x, self.weight)
        # On CPU Paddle adds [1, C, 1, 1] to a map several times more slowly than [C, 1] to points: a seventh of
        # a training step of the small model.
        return (x.flatten(2) + self.bias.unsqueeze(-1)).reshape(x.shape)


def _bands(x):
    """Cut a map [B, C, H + 2, W] into bands of rows that overlap by two; leave it whole where bands do not help."""
    if not paddle.in_dynamic_mode() or paddle.is_grad_enabled() or not x.place.is_cpu_place():
        return [x]
    channels, height, width = x.shape[1:]
    rows = max(1, UNFOLDED_NUMBERS // (9 * channels * width))
    return [x[:, :, top : top + rows + 2] for top in range(0, height - 2, rows)]


def reflect(x, axis):
    """Pad one axis by its second and its second last row or column."""
    # Several times faster on CPU than F.pad(mode="reflect"), which also refuses an axis of one pixel.
    if x.shape[axis] == 1:
        return paddle.concat([x, x, x], axis)
    before = paddle.slice(x, [axis], [1], [2])
    after = paddle.slice(x, [axis], [-2], [-1])
    return paddle.concat([before, x, after], axis)


class _Reflection(PyLayer):
    """Reflection padding of [B, C, H, W], H and W at least 4, for training.

    The backward pass adds the gradient of the padding to the rows and columns that it repeats, in one new map for each
    axis. Automatic gradients fill a whole map for each row and column: some 5 % of a training step.
    """

    @staticmethod
    def forward(ctx, x):
        return reflect(reflect(x, 2), 3)

    @staticmethod
    def backward(ctx, grad):
        return _unreflect(_unreflect(grad, 3), 2)


def _unreflect(grad, axis):
    """The gradient of `reflect` on an axis of at least 4 pixels: [.., N + 2, ..] -> [.., N, ..]."""

    def part(start, end):
        return paddle.slice(grad, [axis], [start], [end])

    size = grad.shape[axis]
    second = part(2, 3) + part(0, 1)
    second_last = part(size - 3, size - 2) + part(size - 1, size)
    return paddle.concat([part(1, 2), second, part(3, size - 3), second_last, part(size - 2, size - 1)], axis)


def shape_of(x):
    """The shape of a tensor: a list of numbers, or a tensor while Paddle traces a program for any size."""
    return x.shape if paddle.in_dynamic_mode() else paddle.shape(x)


class Encoder(nn.Layer):
    """The encoder: convolutions `conv1_1` ... `conv5_1`, each followed by ReLU.

    Its weights are those of the 'normalised' VGG-19 (each filter's mean activation is 1), with the preprocessing folded
    into the first convolution, so that it takes RGB in [0, 1]; or those of a small network of the same shape that was
    trained to predict VGG-19's features.

    Args:
        width: factor on every channel count; 1.0 is VGG-19.
        depth: the last block, 1 to 5: the deepest feature is relu{depth}_1.
    """

    def __init__(self, width: float = 1.0, depth: int = 5):
        super().__init__()
        self.channels = scaled_channels(width)
        self.depth = depth
        in_channels = 3
        for block, index in self.convolutions():
            convolution = ReflectionConv2D(in_channels, self.channels[block])
            self.add_sublayer(f"conv{block}_{index}", convolution)
            in_channels = self.channels[block]

    def convolutions(self) -> Iterator[Tuple[int, int]]:
        """(block, index) of each convolution, in order."""
        return encoder_convolutions(self.depth)

    def forward(self, image: paddle.Tensor, layers: Optional[Sequence[str]] = None) -> Features:
        """Compute the features of an image.

        Args:
            image: float [B, 3, H, W], RGB in [0, 1], any H and W.
            layers: names of the features to return, such as relu3_2; default: the first one of each block.

        Returns:
            {'relu1_1': [B, 64 * width, H, W], ..., 'relu{depth}_1': [B, C, ceil(H / 2^(depth-1)), ...]}.
        """
        features = {}
        x = image
        for block, index in self.convolutions():
            if block > 1 and index == 1:
                x = F.max_pool2d(x, 2, 2, ceil_mode=True)
            x = F.relu_(getattr(self, f"conv{block}_{index}")(x))
            name = f"relu{block}_{index}"
            if index == 1 if layers is None else name in layers:
                features[name] = x
            if layers is not None and len(features) == len(layers):
                break
        return features
