"""Time and peak memory on the CPU, as Markdown: ratios of one run, or the tables behind them.

`python tools/benchmark.py --quick` prints the ratios (some five minutes on two cores), without `--quick` also pictures
of 7680 x 4320 (ten minutes more). With `--torch PYTHON` the authors' network runs beside ours. `--all` adds all tables,
`--write BENCHMARKS.md` puts what is printed into that file, between its two marks; options such as `--network` and
`--ratios training` print one table alone. Each row runs in a new process; ratios compare rows of one run.
"""

import argparse
import contextlib
import functools
import io
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import ppadaattn
from ppadaattn import runtime
from ppadaattn.errors import InputError
from ppadaattn.evaluation.timing import in_new_process, median_time, peak, reset_peak
from ppadaattn.infer.engine import PROGRAM_ENGINES, make_engine
from ppadaattn.infer.stylizer import Stylizer
from ppadaattn.media.images import read_image, write_image
from ppadaattn.model import attention, vgg
from ppadaattn.model.attention import attention_statistics
from ppadaattn.model.init import initialize
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.side_by_side import in_order
from ppadaattn.train import losses
from ppadaattn.train.config import ImageSimilarity, Losses, load_config
from ppadaattn.train.objectives import Stylization, build_objective
from ppadaattn.train.run import architecture
from ppadaattn.train.trainer import Trainer
from ppadaattn.weights.zoo import BUNDLED

import numpy as np
import paddle
import paddle.nn.functional as F
from PIL import Image

# Level 3 of the paper's network: relu3_1 is a quarter of the picture's side.
KEY_CHANNELS, VALUE_CHANNELS, STRIDE = 448, 256, 4

# Sides of a square content and a square style.
ATTENTION_SIZES = [(256, 256), (512, 512), (1024, 512), (2048, 2048)]
NETWORK_SIZES = [256, 512, 1024, 2048]
ENGINE_SIZES = [(256, 256), (512, 256), (512, 512), (1024, 1024)]
STYLE_SIZE = 512
LARGE_SIZES = [(3840, 2160)]
COUNT = 48  # pictures of a folder, frames of a clip

# Lines of a file between which `--write` puts the tables.
MARKS = ("<!-- made by tools/benchmark.py -->", "<!-- end of what it made -->")

# Networks with random weights, which take the same time: name -> attention.
FULL_WIDTH = {"full width, softmax": "softmax", "full width, cosine": "cosine"}

SMALL = {"softmax": "adaattn_lite_image", "cosine": "adaattn_lite_video"}

# Larger N_c x N_s are not run: the quadratic forms keep several such matrices, softmax computes as many exponentials.
QUADRATIC_NUMBERS = 2**28
SOFTMAX_NUMBERS = 2**30


def quadratic_softmax(query, key, value):
    """Eqs. 5-7 as printed, with the whole attention matrix."""
    return quadratic_statistics(F.softmax(paddle.matmul(query, key, transpose_x=True), -1), value)


def quadratic_cosine(query, key, value):
    """Eq. 12 as printed, with the whole attention matrix."""
    unit_query, unit_key = (x / x.square().sum(1, keepdim=True).sqrt() for x in (query, key))
    scores = paddle.matmul(unit_query, unit_key, transpose_x=True) + 1
    return quadratic_statistics(scores / scores.sum(-1, keepdim=True), value)


def quadratic_statistics(weights, value):
    mean = paddle.matmul(value, weights, transpose_y=True)
    second = paddle.matmul(value.square(), weights, transpose_y=True)
    return mean, (second - mean.square()).clip(min=0).sqrt()


METHODS = {  # name -> (function, largest N_c x N_s that is run)
    "softmax, quadratic": (quadratic_softmax, QUADRATIC_NUMBERS),
    "softmax, tiles (ours)": (attention_statistics, SOFTMAX_NUMBERS),
    "cosine, quadratic": (quadratic_cosine, QUADRATIC_NUMBERS),
    "cosine, linear (ours)": (functools.partial(attention_statistics, kind="cosine"), None),
}


def measure_attention(method, content_size, style_size):
    """(seconds, extra peak bytes) of attention statistics at level 3."""
    queries, keys = ((size // STRIDE) ** 2 for size in (content_size, style_size))
    query, key = (paddle.randn([1, KEY_CHANNELS, count]) for count in (queries, keys))
    value = paddle.randn([1, VALUE_CHANNELS, keys])
    function, _ = METHODS[method]
    before = reset_peak()
    seconds = median_time(lambda: function(query, key, value))
    return seconds, peak() - before


@paddle.no_grad()
def measure_network(model, size, bands):
    """(seconds, peak bytes of the process) of one content of `size` x `size` in a prepared style."""
    stylizer = ppadaattn.load(model, device="cpu")
    vgg.UNFOLDED_NUMBERS = vgg.UNFOLDED_NUMBERS if bands else 2**60
    style = stylizer.network.prepare_style(paddle.rand([1, 3, STYLE_SIZE, STYLE_SIZE]))
    content = paddle.rand([1, 3, size, size])
    return median_time(lambda: stylizer.network.stylize(content, style)), peak()


def measure_engine(model, engine, width, height):
    """Stylize one uint8 content.

    Returns:
        (seconds in a prepared style, seconds with the style prepared each time, seconds for the first picture of the
        process, peak bytes of the process, the stylized picture).
    """
    paddle.seed(0)
    if model in BUNDLED:
        stylizer = ppadaattn.load(model, device="cpu", engine=engine)
    else:
        network = AdaAttNNetwork(attention=FULL_WIDTH[model])
        stylizer = Stylizer(network, make_engine(engine, network))
    rng = np.random.RandomState(0)
    content, picture = (rng.randint(0, 256, (h, w, 3)).astype("uint8") for h, w in ((height, width), [STYLE_SIZE] * 2))
    style = stylizer.prepare_style(picture)
    start = time.perf_counter()
    stylized = stylizer(content, style)
    first = time.perf_counter() - start
    kept = median_time(lambda: stylizer(content, style), warm=True)
    return kept, median_time(lambda: stylizer(content, picture), warm=True), first, peak(), stylized


def measure_authors(python, attention, size):
    """As `measure_engine`, of the authors' network in the PyTorch of a Python: (kept, anew, peak bytes)."""
    found = run_authors(python, attention, size)
    return found["kept"], found["anew"], found["peak"]


def run_authors(python, *words):
    """What tools/authors_network.py prints, with as many threads as ours."""
    command = [python, Path(__file__).with_name("authors_network.py"), *words, runtime.threads()]
    return json.loads(subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout)


def measure_like_the_authors(attention, size):
    """(seconds with the style kept, both new, peak bytes) of a network of the authors' conventions and full width."""
    paddle.seed(0)
    levels = [3] if attention == "cosine" else [3, 4, 5]
    network = AdaAttNNetwork(attention=attention, levels=levels, conventions="release")
    network.eval()
    return measure_pair(Stylizer(network, make_engine("auto", network)), size)


def measure_small(model, size):
    """(seconds with the style kept, both new, peak bytes) of a bundled model."""
    return measure_pair(ppadaattn.load(model, device="cpu"), size)


def measure_pair(stylizer, size):
    rng = np.random.RandomState(0)
    content, picture = (rng.randint(0, 256, (size, size, 3)).astype("uint8") for _ in range(2))
    style = stylizer.prepare_style(picture)
    anew = median_time(lambda: stylizer(content, picture), most=3)
    return median_time(lambda: stylizer(content, style), most=3), anew, peak()


def measure_command(model, width, height):
    """(seconds, peak bytes) of the whole command on one picture in one style of STYLE_SIZE."""
    rng = np.random.RandomState(0)
    with tempfile.TemporaryDirectory() as folder:
        for name, side in (("content.jpg", (width, height)), ("style.jpg", (STYLE_SIZE, STYLE_SIZE))):
            noise = rng.randint(0, 256, (side[1] // 16 + 1, side[0] // 16 + 1, 3)).astype("uint8")
            Image.fromarray(noise).resize(side, Image.BICUBIC).save(Path(folder, name))
        files = [f"--{role}={Path(folder, role)}.jpg" for role in ("content", "style")]
        words = [*files, f"--output={Path(folder, 'painted.png')}", "--size=0", "--device=cpu", f"--model={model}"]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "ppadaattn", "paint", *words], check=True, capture_output=True)
        return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def measure_tiles(model, width, height):
    """Seconds of one content, painted whole or in tiles as `strips` decides, in a prepared style."""
    stylizer = ppadaattn.load(model, device="cpu")
    rng = np.random.RandomState(0)
    content, picture = (rng.randint(0, 256, (*size, 3)).astype("uint8") for size in ((height, width), [STYLE_SIZE] * 2))
    style = stylizer.prepare_style(picture)
    return median_time(lambda: stylizer(content, style), most=3)


def measure_variant(engine, bands=True):
    """Seconds for a 512 x 512 content in a prepared style with the small video model."""
    vgg.UNFOLDED_NUMBERS = vgg.UNFOLDED_NUMBERS if bands else 2**60
    return measure_engine("adaattn_lite_video", engine, 512, 512)[0]


@paddle.no_grad()
def measure_layout(layout):
    """Seconds for 3x3 convolutions as the small network has them at 512 x 512, without padding, with ReLU."""
    axes = [0, 3, 1, 2] if layout == "NCHW" else [0, 1, 2, 3]
    maps = [paddle.rand([1, 512 // scale, 512 // scale, 16 * scale]).transpose(axes) for scale in (1, 2, 4, 8)]
    kernels = [paddle.rand([x, x, 3, 3]) for x in (16, 32, 64, 128)]
    counts = (3, 4, 7, 4)

    def work():
        for x, kernel, count in zip(maps, kernels, counts):
            for _ in range(count):
                F.relu(F.conv2d(x, kernel, data_format=layout))

    return median_time(work)


@paddle.no_grad()
def measure_bfloat16(model):
    """(how Paddle answers a convolution in bfloat16, PSNR in dB of a picture with weights and features in bfloat16)."""
    try:
        seconds = median_time(lambda: F.conv2d(*(paddle.rand([64, 64, 3, 3]).astype("bfloat16") for _ in range(2))))
        answer = f"runs, {seconds * 1000:.1f} ms for a small convolution"
    except Exception as error:
        answer = next(line for line in reversed(str(error).splitlines()) if "rror" in line or "not" in line)
    stylizer = ppadaattn.load(model, device="cpu", engine="eager")
    rng = np.random.RandomState(0)
    noise = [rng.randint(0, 256, (32, 32, 3)).astype("uint8") for _ in range(2)]
    content, style = (np.asarray(Image.fromarray(x).resize((256, 256), Image.BICUBIC)) for x in noise)
    expected = stylizer(content, style).astype(float)

    def rounded(x):
        return x.astype("bfloat16").astype("float32")

    for layer in stylizer.network.sublayers():
        if isinstance(layer, paddle.nn.Conv2D):
            layer.weight.set_value(rounded(layer.weight))
            layer.register_forward_post_hook(lambda layer, inputs, output: rounded(output))
    stylizer = Stylizer(stylizer.network)
    error = np.square(stylizer(content, style) - expected).mean()
    return answer, 10 * np.log10(255**2 / error)


def measure_training(form, batch, size):
    """(seconds, extra peak bytes) of one step of the paper's video training, forward and backward.

    Full width, `batch` pairs of frames of `size` x `size`, random weights (which take the same time).
    """
    config = Losses(image_similarity=ImageSimilarity(weight=100))
    loss_encoder = vgg.Encoder()
    for parameter in loss_encoder.parameters():
        parameter.stop_gradient = True
    network = AdaAttNNetwork(attention="cosine")
    network.encoder.set_state_dict(loss_encoder.state_dict())
    if form == "naive":
        attention.style_state = lambda key, value, kind, **_: NaiveState(key, value)
        losses.style_state = attention.style_state
        losses.image_similarity_loss = naive_similarity
    objective = Stylization(network, loss_encoder, config)
    data = {"content": paddle.rand([2 * batch, 3, size, size]), "style": paddle.rand([batch, 3, size, size])}
    before, start = reset_peak(), time.perf_counter()
    found, _ = objective(data)
    sum(weight * found[name] for name, weight in objective.weights.items()).backward()
    return time.perf_counter() - start, peak() - before


# A training of a small network with the losses of the paper alone, so that PyTorch can take the same steps.
COMPARED = Path(__file__).parents[1] / "configs" / "compare" / "adaattn_softmax.yaml"
PLAIN_LOSSES = (
    "losses.alive.weight=0",
    "losses.range.weight=0",
    "model.leaky_gradient=0",
    "optimizer.clip_grad_norm=null",
    "ema_decay=null",
)


def measure_steps(*trainings):
    """Seconds a pair of `COMPARED` with each of several lists of options, the best of five batches, which take turns.

    Random crops, first weights, and losses from the network's own encoder, as it is configured.
    """
    runtime.keep_freed_memory()
    batches = [steps_of(options) for options in trainings]
    times = [[batch() for batch in batches] for _ in range(6)]
    return [min(found) for found in zip(*times[1:])]


def steps_of(options):
    """A function that trains on one batch, with all its pairings, and returns the seconds a pair."""
    # PyTorch takes steps without white inputs, and those of a training are measured on real pictures.
    config = load_config(COMPARED, ["optimizer.white_inputs=[]", *options])
    data = config.dataset.train
    paddle.seed(0)
    network = AdaAttNNetwork(**architecture(config.model))
    initialize(network, config.model.init, config.model.identity_attention)
    loss_encoder = vgg.Encoder(config.model.width)
    loss_encoder.set_state_dict(network.encoder.state_dict())
    trainer = Trainer(build_objective(config, network, loss_encoder), None, config, None)
    crops = np.random.RandomState(0).rand(2, data.batch_size, 3, data.crop_size, data.crop_size).astype("float32")
    batches = itertools.repeat({"content": crops[0], "style": crops[1]})
    clock = SimpleNamespace(reader=contextlib.nullcontext())

    def batch():
        start = time.perf_counter()
        for _ in range(data.pairings):
            trainer.step(batches, clock)
        return (time.perf_counter() - start) / (data.pairings * data.batch_size)

    return batch


def measure_torch_steps(python):
    """As `measure_steps` with `PLAIN_LOSSES` and one pairing, in the PyTorch of a Python."""
    config = load_config(COMPARED)
    data = config.dataset.train
    found = run_authors(python, "--train", config.model.width, data.batch_size, data.crop_size)
    return found["step"] / data.batch_size


class NaiveState:
    """Cosine attention as printed, with automatic gradients."""

    def __init__(self, key, value):
        self.key, self.value = key, value

    def statistics(self, query):
        return quadratic_cosine(query, self.key, self.value)


def naive_similarity(contents, stylized, *, levels, **_):
    """Eq. 13 as printed, with whole matrices and automatic gradients."""
    total = 0.0
    for name in (f"relu{level}_1" for level in levels):
        shares = []
        for first, second in (contents, stylized):
            u, v = (F.normalize(frame[name].flatten(2), axis=1) for frame in (first, second))
            distances = 1 - paddle.matmul(u, v, transpose_x=True)
            shares.append(distances / distances.sum(1, keepdim=True))
        total = total + (shares[0] - shares[1]).abs().mean()
    return total


def run_command(*words):
    """Seconds of `ppadaattn WORDS...` in a process of its own."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "ppadaattn", *map(str, words)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def write_frames(folder, count, width, height):
    """Write smooth random pictures as JPEG; returns their paths."""
    rng = np.random.RandomState(0)
    paths = [Path(folder, f"{number:03d}.jpg") for number in range(count)]
    for path in paths:
        noise = Image.fromarray(rng.randint(0, 256, (height // 32, width // 32, 3)).astype("uint8"))
        noise.resize((width, height), Image.BICUBIC).save(path, quality=92)
    return paths


def measure_one_by_one(model, paths, style, output):
    """Seconds to read, paint and write pictures one after the other, the style kept."""
    stylizer = ppadaattn.load(model, device="cpu")
    prepared = stylizer.prepare_style(style)
    stylizer(paths[0], prepared)
    start = time.perf_counter()
    for path in paths:
        write_image(Path(output, f"{path.stem}.png"), stylizer(path, prepared))
    return time.perf_counter() - start


def measure_network_alone(model, path, style):
    """Seconds a picture of the network alone, side by side, the style kept."""
    stylizer = ppadaattn.load(model, device="cpu")
    prepared, content = stylizer.prepare_style(style), read_image(path)[None]
    beside, workers = stylizer.side_by_side()
    for count in (2 * workers, 40):  # the first ones warm up
        start = time.perf_counter()
        for _ in in_order(lambda _: beside.paint(content, prepared), range(count), workers):
            pass
    return (time.perf_counter() - start) / count


def measure_commands(model, count):
    """Seconds of whole commands with programs in the cache, and of what they are compared with.

    Returns:
        dict: 'first': a picture 512 x 512; 'apart', 'together': `count` pictures 512 x 512 one by one in a process, by
        one command; 'alone', 'clip': `count` frames of 512 x 256 by the network alone, as a clip by one command. The
        start of a command is not in 'together' and 'clip'.
    """
    with tempfile.TemporaryDirectory() as folder:
        (photo, style), big = write_frames(folder, 2, 512, 512), Path(folder, "pictures")
        output, frames = Path(folder, "out"), Path(folder, "frames")
        big.mkdir(), frames.mkdir(), output.mkdir()
        paths, small = write_frames(big, count, 512, 512), write_frames(frames, count, 512, 256)
        words = ("--style", style, "--model", model)
        one = ("paint", "--content", photo, "--output", output / "one.png", *words)
        first = statistics.median([run_command(*one) for _ in range(4)][1:])
        clip = ("paint", "--frames", "--content", frames, "--output", output / "clip.mp4", *words)
        return {
            "first": first,
            "apart": in_new_process(measure_one_by_one, model, paths, style, output),
            "together": run_command("paint", "--content", big, "--output", output, *words) - first,
            "alone": in_new_process(measure_network_alone, model, small[0], style) * count,
            "clip": run_command(*clip) - first,
        }


def measure_start(*words):
    """Median seconds of a Python command in a process of its own."""

    def work():
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    return statistics.median(work() for _ in range(5))


def print_ratios(groups, python, quick, count):
    """The ratios that matter most, of one run, beside the least that this project wants."""
    print("## Ratios\n")
    print("| work | measured | ratio | at least |")
    print("|---|---|---|---|", flush=True)
    for group in groups:
        for cells in RATIOS[group](python, quick, count):
            print("| " + " | ".join(cells) + " |", flush=True)


def command_ratios(python, quick, count):
    found = measure_commands(SMALL["cosine"], count)
    alone, clip = count / found["alone"], count / found["clip"]
    yield (
        f"clip 512 x 256, {count} frames, style kept: whole command, over the network alone",
        f"{clip:.1f} of {alone:.1f} frames a second",
        f"{clip / alone:.2f}",
        "0.92; 13 frames a second on two AVX-512 cores",
    )
    yield (
        f"folder of {count} pictures 512 x 512, one style: one command, against one by one in a process",
        f"{found['together']:.2f} s, {found['apart']:.2f} s",
        f"{found['apart'] / found['together']:.2f}",
        "1.5",
    )
    yield "first picture 512 x 512, warm cache: whole command (video model)", f"{found['first']:.2f} s", "", ""


def start_ratios(python, quick, count):
    floor, shown = measure_start("-c", "pass"), measure_start("-m", "ppadaattn", "--help")
    yield "`ppadaattn --help`, over Python alone", f"{shown:.2f} s, {floor:.2f} s", f"{shown / floor:.1f}", "0.3 s"


def engine_ratios(python, quick, count):
    eager, auto = (in_new_process(measure_engine, SMALL["cosine"], engine, 512, 512)[0] for engine in ("eager", "auto"))
    yield (
        "small video model 512 x 512, style kept: against Paddle layer by layer",
        f"{auto:.3f} s, {eager:.3f} s",
        f"{eager / auto:.2f}",
        "5",
    )


def author_ratios(python, quick, count):
    for kind in ("softmax", "cosine") if python else ():
        theirs = in_new_process(measure_authors, python, kind, 512)
        ours = in_new_process(measure_like_the_authors, kind, 512)
        small = in_new_process(measure_small, SMALL[kind], 512)
        yield (
            f"{SMALL[kind]} 512 x 512, both new: against the authors' network in PyTorch",
            f"{small[1]:.2f} s, {theirs[1]:.2f} s",
            f"{theirs[1] / small[1]:.2f}",
            "7" if kind == "softmax" else "",
        )
        yield (
            f"full width, {kind}, 512 x 512, both new: against theirs; memory over theirs",
            f"{ours[1]:.2f} s, {theirs[1]:.2f} s; {mebibytes(ours[2])}, {mebibytes(theirs[2])}",
            f"{theirs[1] / ours[1]:.2f}; {ours[2] / theirs[2]:.2f}",
            "2; at most 0.5" if kind == "softmax" else "",
        )


def training_ratios(python, quick, count):
    work = "training, configs/compare/adaattn_softmax.yaml without white inputs, one thread, seconds a pair"
    one, four = ([f"dataset.train.pairings={pairings}"] for pairings in (1, 4))
    # Two threads gain little in steps this small, and lose much where anything else runs on the machine.
    with environment(MKL_NUM_THREADS="1"):
        before, after, plain = in_new_process(measure_steps, one, four, [*one, *PLAIN_LOSSES])
        theirs = in_new_process(measure_torch_steps, python) if python else None
    yield (
        f"{work}: four pairings of a batch, against one",
        f"{after:.3f} s, {before:.3f} s",
        f"{before / after:.2f}",
        "",
    )
    if python:
        yield (
            f"{work}, L_gs and L_lf alone, one pairing: against PyTorch",
            f"{plain:.3f} s, {theirs:.3f} s",
            f"{theirs / plain:.2f}",
            "",
        )


def large_ratios(python, quick, count):
    video, image = SMALL["cosine"], SMALL["softmax"]
    for model in (video, image):
        small = in_new_process(measure_tiles, model, 512, 512) / 512**2
        large = in_new_process(measure_tiles, model, 3840, 2160) / (3840 * 2160)
        memory = in_new_process(measure_command, model, 3840, 2160)[1]
        yield (
            f"{model} 3840 x 2160: time a pixel over 512 x 512; peak memory of the command",
            f"{large * 1e6:.2f}, {small * 1e6:.2f} microseconds; {mebibytes(memory)}",
            f"{large / small:.2f}",
            "at most 1.2; 1.5 GiB" if model == video else "at most 3 GiB",
        )
    for model in () if quick else (video, image):
        seconds, memory = in_new_process(measure_command, model, 7680, 4320)
        yield f"{model} 7680 x 4320: whole command", f"{seconds:.0f} s; {mebibytes(memory)}", "", "at most 5 GiB"


RATIOS = {  # groups of `--ratios`: functions of (Python with PyTorch or None, quick, count of pictures) -> rows
    "start": start_ratios,
    "commands": command_ratios,
    "engines": engine_ratios,
    "training": training_ratios,
    "authors": author_ratios,
    "large": large_ratios,
}


def mebibytes(count):
    return f"{count / 2**20:.0f} MiB"


def print_commands(models, count):
    """Start, a clip and a folder: whole commands, programs in the cache. The start of a command is not in its rate."""
    print(f"\n## Commands ({count} pictures, a clip of {count} frames 512 x 256, style kept)\n")
    print("| command | time | ratio |")
    print("|---|---|---|", flush=True)
    print(f"| paint --help | {measure_start('-m', 'ppadaattn', 'paint', '--help'):.2f} s | |")
    for model in models:
        found = measure_commands(model, count)
        rate, alone = count / found["clip"], count / found["alone"]
        print(f"| {model}: first picture 512 x 512 | {found['first']:.2f} s | |")
        print(f"| {model}: folder, one by one in a process | {found['apart']:.2f} s | 1 |")
        ratio = found["apart"] / found["together"]
        print(f"| {model}: folder, side by side | {found['together']:.2f} s | {ratio:.2f} times as fast |")
        print(f"| {model}: clip, the network alone | {found['alone']:.2f} s, {alone:.1f} frames a second | 1 |")
        print(f"| {model}: clip | {found['clip']:.2f} s, {rate:.1f} frames a second | {rate / alone:.2f} |", flush=True)


def print_attention(sizes):
    print(f"\n## Attention statistics (level 3 at full width: D = {KEY_CHANNELS}, C = {VALUE_CHANNELS})\n")
    print("| content, style | N_c x N_s | method | time | to quadratic | extra memory | to quadratic |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for content_size, style_size in sizes:
        queries, keys = ((size // STRIDE) ** 2 for size in (content_size, style_size))
        reference = None
        for method, (_, limit) in METHODS.items():
            row = f"| {content_size}, {style_size} | {queries} x {keys} | {method} "
            quadratic = "quadratic" in method
            if limit is not None and queries * keys > limit:
                print(f"{row}| not run | | matrix of {queries * keys * 4 / 2**30:.0f} GiB | |")
                reference = None if quadratic else reference
                continue
            seconds, extra = in_new_process(measure_attention, method, content_size, style_size)
            reference = (seconds, extra) if quadratic else reference
            ratios = [f"{own / other:.2f}" for own, other in zip((seconds, extra), reference or ())] or ["", ""]
            print(f"{row}| {seconds:.2f} s | {ratios[0]} | {extra / 2**20:.0f} MiB | {ratios[1]} |", flush=True)


def print_network(models, sizes, bands):
    print(f"\n## Whole network (content of side N, prepared style of side {STYLE_SIZE})\n")
    print("| model | side | time | microseconds a pixel | to first row | peak memory of the process | to first row |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for model in models:
        first = None
        for size in sizes:
            seconds, most = in_new_process(measure_network, model, size, bands)
            pixel = seconds / size**2 * 1e6
            first = first or (pixel, most)
            row = f"| {model} | {size} | {seconds:.2f} s | {pixel:.2f} | {pixel / first[0]:.2f} |"
            print(f"{row} {most / 2**20:.0f} MiB | {most / first[1]:.2f} |", flush=True)


def print_engines(models, sizes):
    print(f'\n## Engines\n\nThe style is of side {STYLE_SIZE}; "style anew" prepares it each time.\n')
    print(
        "| model | content | engine | style kept | to eager | frames a second | style anew | to eager | first picture "
        "| peak memory | largest difference, of 255 |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for model in models:
        for width, height in sizes:
            row, eager = f"| {model} | {width} x {height} |", None
            if FULL_WIDTH.get(model) == "softmax" and width * height > 512**2:
                print(f"{row} not run: minutes a picture | | | | | | | | |", flush=True)
                continue
            for engine in ("eager", *PROGRAM_ENGINES):
                try:
                    found = in_new_process(measure_engine, model, engine, width, height)
                except InputError as error:
                    print(f"{row} {engine} | not run: {error} | | | | | | | |", flush=True)
                    continue
                kept, anew, first, most, picture = found
                eager = eager or found
                difference = np.abs(picture.astype(int) - eager[-1]).max()
                times = f"{kept:.3f} s | {kept / eager[0]:.2f} | {1 / kept:.1f} | {anew:.3f} s | {anew / eager[1]:.2f}"
                print(f"{row} {engine} | {times} | {first:.2f} s | {most / 2**20:.0f} MiB | {difference} |", flush=True)


def print_variants():
    print(f"\n## Threads and settings (adaattn_lite_video, 512 x 512, prepared style of side {STYLE_SIZE})\n")
    print("| engine | threads | settings | time | to first row |")
    print("|---|---|---|---|---|", flush=True)
    cores, first = os.cpu_count(), None
    rows = [(engine, threads, "ours", {}, True) for engine in ("eager", *PROGRAM_ENGINES) for threads in (cores, 1)]
    plain = {"MKL_DEBUG_CPU_TYPE": "0"}  # MKL chooses; Paddle sets OMP_NUM_THREADS to 1, and MKL follows
    rows += [
        ("eager", 1, "without those of runtime.py", plain, True),
        ("eager", 1, "without those, whole maps: plain Paddle", plain, False),
    ]
    for engine, threads, settings, variables, bands in rows:
        with environment(MKL_NUM_THREADS=str(threads), **variables):
            seconds = in_new_process(measure_variant, engine, bands)
        first = first or seconds
        print(f"| {engine} | {threads} | {settings} | {seconds:.3f} s | {seconds / first:.2f} |", flush=True)
    print("\n| eager convolutions of the small network | time | to first row |")
    print("|---|---|---|", flush=True)
    first = None
    for layout in ("NCHW", "NHWC"):
        seconds = in_new_process(measure_layout, layout)
        first = first or seconds
        print(f"| {layout} | {seconds:.3f} s | {seconds / first:.2f} |", flush=True)
    print("\n| model | a convolution in bfloat16 on this CPU | picture with weights and features rounded to it |")
    print("|---|---|---|", flush=True)
    for model in BUNDLED:
        answer, decibels = in_new_process(measure_bfloat16, model)
        print(f"| {model} | {answer} | {decibels:.1f} dB |", flush=True)


def print_large(models, sizes):
    print(f"\n## Large pictures (the command `paint`, style of side {STYLE_SIZE})\n")
    print("| model | content | whole command | peak memory | painting alone, microseconds a pixel | to 512 x 512 |")
    print("|---|---|---|---|---|---|", flush=True)
    for model in models:
        first = in_new_process(measure_tiles, model, 512, 512) / 512**2 * 1e6
        print(f"| {model} | 512 x 512 | | | {first:.2f} | 1.00 |", flush=True)
        for width, height in sizes:
            command, most = in_new_process(measure_command, model, width, height)
            pixel = in_new_process(measure_tiles, model, width, height) / (width * height) * 1e6
            row = f"| {model} | {width} x {height} | {command:.1f} s | {most / 2**20:.0f} MiB |"
            print(f"{row} {pixel:.2f} | {pixel / first:.2f} |", flush=True)


def print_authors(python, sizes):
    print("\n## Beside the authors' network in PyTorch (square pictures, random weights, the release's conventions)\n")
    print("| network | side | both new | authors' time to it | style kept | authors' to it | peak memory | to theirs |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for kind in FULL_WIDTH.values():
        for size in sizes:
            rows = {
                "authors'": in_new_process(measure_authors, python, kind, size),
                "full width": in_new_process(measure_like_the_authors, kind, size),
                "small": in_new_process(measure_small, SMALL[kind], size),
            }
            theirs = rows["authors'"]
            for name, (kept, anew, most) in rows.items():
                times = f"{anew:.2f} s | {theirs[1] / anew:.2f} | {kept:.2f} s | {theirs[0] / kept:.2f}"
                memory = f"{most / 2**20:.0f} MiB | {most / theirs[2]:.2f}"
                print(f"| {name}, {kind} | {size} | {times} | {memory} |", flush=True)


def processor():
    """Name of the processor, and whether it has AVX-512; elsewhere than on Linux the architecture."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
        return f"{name} ({'with' if any('avx512f' in line for line in lines) else 'without'} AVX-512)"
    return platform.machine()


@contextlib.contextmanager
def environment(**variables):
    """Set environment variables for processes that begin in this block."""
    before = dict(os.environ)
    os.environ.update(variables)
    yield
    os.environ.clear()
    os.environ.update(before)


def print_training(batches, forms, size):
    print(f"\n## One step of the paper's video training (full width, pairs of frames of {size} x {size})\n")
    print("| form | pairs | time | extra memory of the step | a pair | 4 pairs, computed |")
    print("|---|---|---|---|---|---|", flush=True)
    for form in forms:
        for batch in batches:
            seconds, extra = in_new_process(measure_training, form, batch, size)
            pair = extra / batch
            row = f"| {form} | {batch} | {seconds:.1f} s | {extra / 2**30:.2f} GiB |"
            print(f"{row} {pair / 2**30:.2f} GiB | {4 * pair / 2**30:.1f} GiB |", flush=True)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="benchmark.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--attention",
        nargs="*",
        type=_pair,
        metavar="CONTENT,STYLE",
        help="print the attention table, for these sides of content and style "
        f"(default: {' '.join(f'{content},{style}' for content, style in ATTENTION_SIZES)})",
    )
    parser.add_argument(
        "--network",
        nargs="*",
        type=_side,
        metavar="SIDE",
        help=f"print the network table, for these sides (default: {' '.join(map(str, NETWORK_SIZES))})",
    )
    parser.add_argument(
        "--engines",
        nargs="*",
        type=_pair,
        metavar="WIDTH,HEIGHT",
        help="print the table of engines, for these sizes "
        f"(default: {' '.join(f'{width},{height}' for width, height in ENGINE_SIZES)})",
    )
    parser.add_argument(
        "--full-width",
        nargs="*",
        choices=list(FULL_WIDTH.values()),
        default=list(FULL_WIDTH.values()),
        metavar="ATTENTION",
        help="networks of the paper's width, with random weights, in the table of engines: softmax, cosine, or none "
        "(default: both)",
    )
    parser.add_argument("--variants", action="store_true", help="print threads, settings, layouts and bfloat16")
    parser.add_argument(
        "--training",
        nargs="*",
        type=int,
        metavar="PAIRS",
        help="print the table of a step of training, for these batches (default: 1)",
    )
    parser.add_argument(
        "--large",
        nargs="*",
        type=_pair,
        metavar="WIDTH,HEIGHT",
        help="print the table of large pictures, for these sizes (default: 3840,2160)",
    )
    parser.add_argument(
        "--torch",
        metavar="PYTHON",
        help="a Python that has PyTorch: ratios to the authors' network in it",
    )
    parser.add_argument(
        "--torch-sizes",
        nargs="*",
        type=_side,
        metavar="SIDE",
        help="print the table of the authors' network, for these sides; needs --torch (default: 512)",
    )
    parser.add_argument(
        "--commands",
        nargs="?",
        type=int,
        const=COUNT,
        metavar="COUNT",
        help="print the table of commands: start, a folder of COUNT pictures, a clip of COUNT frames "
        "(default: %(const)s)",
    )
    parser.add_argument(
        "--ratios",
        nargs="*",
        choices=list(RATIOS),
        metavar="GROUP",
        help=f"print the ratios, of these groups: {', '.join(RATIOS)} (default: all of them)",
    )
    parser.add_argument("--quick", action="store_true", help="ratios without pictures of 7680 x 4320")
    parser.add_argument("--all", action="store_true", help="print the ratios and all tables")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also put all that into FILE, between its two marks")
    parser.add_argument("--training-size", type=_side, default=256, metavar="SIDE", help="default: %(default)s")
    parser.add_argument("--no-bands", action="store_true", help="convolve whole maps instead of bands of rows")
    parser.add_argument(
        "--models", nargs="+", choices=list(BUNDLED), default=list(BUNDLED), help="default: %(default)s"
    )
    args = parser.parse_args(argv)
    if args.torch_sizes is not None and not args.torch:
        parser.error("--torch-sizes needs --torch PYTHON, a Python that has PyTorch")
    if args.write and not all(mark in args.write.read_text(encoding="utf-8") for mark in MARKS):
        parser.error(f"--write: {args.write} needs the lines {' and '.join(MARKS)}, between which the tables go")
    printed = io.StringIO()
    with contextlib.redirect_stdout(_Both(sys.stdout, printed)):
        print_tables(args)
    if args.write:
        before, _, rest = args.write.read_text(encoding="utf-8").partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        text = f"{before}{MARKS[0]}\n\n{printed.getvalue().strip()}\n\n{MARKS[1]}{after}"
        args.write.write_text(text, encoding="utf-8")


class _Both:
    """A stream that writes to two."""

    def __init__(self, *streams):
        self.streams = streams

    def write(self, text):
        for stream in self.streams:
            stream.write(text)

    def flush(self):
        for stream in self.streams:
            stream.flush()


def print_tables(args):
    """Print what the options choose; the ratios where they choose no table."""

    def chosen(given, default):
        return default if (args.all and given is None) or given == [] else given or ()

    ratios, attention, network, engines, training, large, torch_sizes = (
        chosen(given, default)
        for given, default in (
            (args.ratios, list(RATIOS)),
            (args.attention, ATTENTION_SIZES),
            (args.network, NETWORK_SIZES),
            (args.engines, ENGINE_SIZES),
            (args.training, [1]),
            (args.large, LARGE_SIZES),
            (args.torch_sizes, [512]),
        )
    )
    commands = args.commands or (COUNT if args.all else 0)
    print(f"paddle {paddle.__version__}, {processor()}, {os.cpu_count()} cores\n")
    if not any((ratios, attention, network, engines, training, large, torch_sizes, commands, args.variants)):
        ratios = list(RATIOS)
    if ratios:
        print_ratios(ratios, args.torch, args.quick, commands or COUNT)
    if commands:
        print_commands(args.models, commands)
    if attention:
        print_attention(attention)
    if network:
        print_network(args.models, network, not args.no_bands)
    if engines:
        full_width = [name for name, attention in FULL_WIDTH.items() if attention in args.full_width]
        print_engines([*args.models, *full_width], engines)
    if args.variants or args.all:
        print_variants()
    if large:
        print_large(args.models, large)
    if torch_sizes and args.torch:
        print_authors(args.torch, torch_sizes)
    if training:
        print_training(training, ["ours", "naive"], args.training_size)


def _side(text):
    if not text.isdecimal() or int(text) < 16:
        raise argparse.ArgumentTypeError(f"expected a side in pixels, at least 16; got {text}")
    return int(text)


def _pair(text):
    if text.count(",") != 1:
        raise argparse.ArgumentTypeError(f"expected two sides, as in 512,512; got {text}")
    return tuple(_side(side) for side in text.split(","))


if __name__ == "__main__":
    main()
