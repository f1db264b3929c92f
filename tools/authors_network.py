"""Time and peak memory of the authors' network in PyTorch, with random weights: a row of `tools/benchmark.py --torch`.

`PYTHON tools/authors_network.py ATTENTION SIZE THREADS` needs PyTorch alone and prints a line of JSON: seconds with
both pictures new, seconds with the style's features kept, peak bytes of the process.

It has the layers of their release at full width. ATTENTION softmax: levels 3, 4 and 5; cosine, their video network:
level 3. At most 4096 style points are used on level 3.
"""

import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn.functional import interpolate

CHANNELS = {1: 64, 2: 128, 3: 256, 4: 512, 5: 512}
CONVOLUTIONS = {1: 2, 2: 2, 3: 4, 4: 4, 5: 1}
MOST_POINTS = 4096


def convolutions(*channels):
    layers = [
        (nn.ReflectionPad2d(1), nn.Conv2d(before, after, 3), nn.ReLU()) for before, after in zip(channels, channels[1:])
    ]
    return [layer for group in layers for layer in group]


class AuthorsNetwork(nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.cosine, self.levels = attention == "cosine", (3,) if attention == "cosine" else (3, 4, 5)
        self.blocks, before = nn.ModuleList(), 3
        for level in range(1, max(self.levels) + 1):
            first = [nn.MaxPool2d(2, 2, ceil_mode=True)] if level > 1 else []
            first += convolutions(before, CHANNELS[level])
            rest = convolutions(*[CHANNELS[level]] * CONVOLUTIONS[level]) if level < max(self.levels) else []
            self.blocks.extend([nn.Sequential(*first), nn.Sequential(*rest)])
            before = CHANNELS[level]
        self.heads = nn.ModuleDict()
        for level in self.levels:
            key, value = sum(CHANNELS[x] for x in range(1, level + 1)), CHANNELS[level]
            sides = {"f": key, "g": key, "h": value}
            self.heads[str(level)] = nn.ModuleDict({name: nn.Conv2d(side, side, 1) for name, side in sides.items()})
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        if not self.cosine:
            self.merge = nn.Sequential(*convolutions(512, 512)[:2])
            self.stage4 = nn.Sequential(*convolutions(512, 256), self.up)
        stages = [convolutions(256 if self.cosine else 512, 256, 256, 256, 128), convolutions(128, 128, 64)]
        self.decoder = nn.Sequential(*stages[0], self.up, *stages[1], self.up, *convolutions(64, 64, 3)[:-1])

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
        scores = torch.bmm(query, key)
        if self.cosine:
            norms = (query.norm(dim=2)[:, :, None] + 1e-5) * (key.norm(dim=1)[:, None] + 1e-5)
            scores = scores / norms + 1
            weights = scores / (scores.sum(-1, keepdim=True) + 1e-5)
        else:
            weights = torch.softmax(scores, -1)
        mean = torch.bmm(weights, value)
        std = torch.sqrt(torch.relu(torch.bmm(weights, value**2) - mean**2))
        mean, std = (x.transpose(1, 2).reshape(content[level].shape) for x in (mean, std))
        return std * self.norm(content[level]) + mean

    def paint(self, content, style):
        """From a picture and the features of a style."""
        content = self.encode(content)
        x = self.embed(3, content, style)
        if not self.cosine:
            deep = self.merge(self.up(self.embed(5, content, style)) + self.embed(4, content, style))
            x = torch.cat([self.stage4(deep), x], 1)
        return self.decoder(x).clamp(0, 1)


@torch.no_grad()
def main(attention, size, threads):
    torch.manual_seed(0)
    torch.set_num_threads(int(threads))
    network = AuthorsNetwork(attention).eval()
    content, style = (torch.rand(1, 3, int(size), int(size)) for _ in range(2))
    kept = network.encode(style)

    def seconds(work):
        times = []
        for _ in range(4):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return statistics.median(times[1:])

    anew = seconds(lambda: network.paint(content, network.encode(style)))
    result = {"anew": anew, "kept": seconds(lambda: network.paint(content, kept))}
    with open("/proc/self/status") as file:
        result["peak"] = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
