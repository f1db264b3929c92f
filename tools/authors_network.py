"""Time and peak memory of the authors' network in PyTorch, with random weights: a row of `tools/benchmark.py --torch`.

`PYTHON tools/authors_network.py ATTENTION SIZE THREADS` needs PyTorch alone and prints a line of JSON: seconds with
both pictures new, seconds with the style's features kept, peak bytes of the process.

`PYTHON tools/authors_network.py --train WIDTH BATCH SIZE THREADS` prints the seconds of the fastest of five training
steps: the softmax network with WIDTH times the channels, BATCH pairs of SIZE x SIZE, the losses L_gs and L_lf, Adam.

It has the layers of their release. ATTENTION softmax: levels 3, 4 and 5; cosine, their video network: level 3. At most
4096 style points are used on level 3.
"""

import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn.functional import interpolate, mse_loss

CHANNELS = {1: 64, 2: 128, 3: 256, 4: 512, 5: 512}
CONVOLUTIONS = {1: 2, 2: 2, 3: 4, 4: 4, 5: 1}
MOST_POINTS = 4096


def convolutions(*channels):
    layers = [
        (nn.ReflectionPad2d(1), nn.Conv2d(before, after, 3), nn.ReLU()) for before, after in zip(channels, channels[1:])
    ]
    return [layer for group in layers for layer in group]


class AuthorsNetwork(nn.Module):
    def __init__(self, attention, width=1.0):
        super().__init__()
        channels = {level: int(count * width) for level, count in CHANNELS.items()}
        self.cosine, self.levels = attention == "cosine", (3,) if attention == "cosine" else (3, 4, 5)
        self.blocks, before = nn.ModuleList(), 3
        for level in range(1, max(self.levels) + 1):
            first = [nn.MaxPool2d(2, 2, ceil_mode=True)] if level > 1 else []
            first += convolutions(before, channels[level])
            rest = convolutions(*[channels[level]] * CONVOLUTIONS[level]) if level < max(self.levels) else []
            self.blocks.extend([nn.Sequential(*first), nn.Sequential(*rest)])
            before = channels[level]
        self.heads = nn.ModuleDict()
        for level in self.levels:
            key, value = sum(channels[x] for x in range(1, level + 1)), channels[level]
            sides = {"f": key, "g": key, "h": value}
            self.heads[str(level)] = nn.ModuleDict({name: nn.Conv2d(side, side, 1) for name, side in sides.items()})
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        c1, c2, c3, c4, _ = channels.values()
        if not self.cosine:
            self.merge = nn.Sequential(*convolutions(c4, c4)[:2])
            self.stage4 = nn.Sequential(*convolutions(c4, c3), self.up)
        stages = [convolutions(c3 if self.cosine else 2 * c3, c3, c3, c3, c2), convolutions(c2, c2, c1)]
        self.decoder = nn.Sequential(*stages[0], self.up, *stages[1], self.up, *convolutions(c1, c1, 3)[:-1])

    def encode(self, x):
        features = {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index % 2 == 0:
                features[index // 2 + 1] = x
        return features

    @staticmethod
    def norm(x):
        flat = x.flatten(2)
        return (x - flat.mean(2)[..., None, None]) / (flat.var(2) + 1e-5).sqrt()[..., None, None]

    def key(self, features, level):
        size = features[level].shape[2:]
        return torch.cat([self.norm(interpolate(features[x], size)) for x in range(1, level + 1)], 1)

    def embed(self, level, content, style):
        head = self.heads[str(level)]
        query = head["f"](self.key(content, level)).flatten(2).transpose(1, 2)
        key = head["g"](self.key(style, level)).flatten(2)
        value = head["h"](style[level]).flatten(2).transpose(1, 2)
        if level == 3 and key.shape[2] > MOST_POINTS:
            chosen = torch.randperm(key.shape[2])[:MOST_POINTS]
            key, value = key[:, :, chosen], value[:, chosen]
        return self.attend(content[level], query, key, value)

    def attend(self, content, query, key, value):
        """From features [B, C, H, W], queries [B, N, D], keys [B, D, M] and values [B, M, C]."""
        scores = torch.bmm(query, key)
        if self.cosine:
            norms = (query.norm(dim=2)[:, :, None] + 1e-5) * (key.norm(dim=1)[:, None] + 1e-5)
            scores = scores / norms + 1
            weights = scores / (scores.sum(-1, keepdim=True) + 1e-5)
        else:
            weights = torch.softmax(scores, -1)
        mean = torch.bmm(weights, value)
        # The smallest number keeps the root's gradient finite where all values are the same.
        std = torch.sqrt(torch.relu(torch.bmm(weights, value**2) - mean**2) + 1e-12)
        mean, std = (x.transpose(1, 2).reshape(content.shape) for x in (mean, std))
        return std * self.norm(content) + mean

    def paint(self, content, style):
        """From a picture and the features of a style."""
        return self.stylize(self.encode(content), style).clamp(0, 1)

    def stylize(self, content, style):
        """From the features of both pictures."""
        x = self.embed(3, content, style)
        if not self.cosine:
            deep = self.merge(self.up(self.embed(5, content, style)) + self.embed(4, content, style))
            x = torch.cat([self.stage4(deep), x], 1)
        return self.decoder(x)

    def star(self, level, content, style):
        """AdaAttN* of eq. 11: attention without the convolutions f, g and h."""
        query, key = (self.key(features, level).flatten(2) for features in (content, style))
        return self.attend(content[level], query.transpose(1, 2), key, style[level].flatten(2).transpose(1, 2))


def loss_of_pairs(network, contents, styles):
    """10 L_gs + 3 L_lf of pictures [B, 3, H, W]; the losses use the features of the network's own, frozen encoder."""
    with torch.no_grad():
        content, style = network.encode(contents), network.encode(styles)
        targets = {level: network.star(level, content, style) for level in network.levels}
    stylized = network.encode(network.stylize(content, style))
    loss = 3 * sum(mse_loss(stylized[level], target) for level, target in targets.items())
    for level in (2, 3, 4, 5):
        (mean, std), (wanted_mean, wanted_std) = (
            (x.mean(2), (x.var(2) + 1e-5).sqrt()) for x in (stylized[level].flatten(2), style[level].flatten(2))
        )
        loss = loss + 10 * (mse_loss(mean, wanted_mean) + mse_loss(std, wanted_std))
    return loss


def seconds(work, count, choose=statistics.median):
    """Median time of `count` runs after a warm-up, or another one of them."""
    times = []
    for _ in range(1 + count):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return choose(times[1:])


def train(width, batch, size, threads):
    torch.manual_seed(0)
    torch.set_num_threads(int(threads))
    network = AuthorsNetwork("softmax", float(width))
    network.blocks.requires_grad_(False)
    optimizer = torch.optim.Adam([x for x in network.parameters() if x.requires_grad])
    contents, styles = (torch.rand(int(batch), 3, int(size), int(size)) for _ in range(2))

    def step():
        optimizer.zero_grad()
        loss_of_pairs(network, contents, styles).backward()
        optimizer.step()

    print(json.dumps({"step": seconds(step, 5, min)}))


@torch.no_grad()
def main(attention, size, threads):
    torch.manual_seed(0)
    torch.set_num_threads(int(threads))
    network = AuthorsNetwork(attention).eval()
    content, style = (torch.rand(1, 3, int(size), int(size)) for _ in range(2))
    kept = network.encode(style)

    anew = seconds(lambda: network.paint(content, network.encode(style)), 3)
    result = {"anew": anew, "kept": seconds(lambda: network.paint(content, kept), 3)}
    with open("/proc/self/status") as file:
        result["peak"] = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    print(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1] == "--train":
        train(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
