"""Video on the CPU, as Markdown: flicker of stylized clips, speed, memory.

`python tools/benchmark_video.py --clips FOLDER ... --styles FILE ...` prints all tables; `--help` lists the options
that choose. Each model and each row of the memory table runs in a new process; ratios compare rows of one run.
"""

import argparse
import itertools
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import ppadaattn
from ppadaattn.device import peak_memory
from ppadaattn.errors import InputError
from ppadaattn.evaluation.temporal import difference, read_clip
from ppadaattn.evaluation.timing import in_new_process
from ppadaattn.infer.frames import FramePainter
from ppadaattn.media.video_read import open_clip
from ppadaattn.weights.zoo import BUNDLED

import av
import numpy as np
import paddle
from tqdm import tqdm

# Ways to reduce flicker: name -> options of FramePainter.
SMOOTH, BLEND = {"smooth_statistics": 0.8}, {"flow_blend": 0.5}
MEANS = {"nothing": {}, "smooth_statistics=0.8": SMOOTH, "flow_blend=0.5": BLEND, "both": {**SMOOTH, **BLEND}}

STAGES = ("decode", "network", "encode")
SPEED_SIZE, SPEED_FRAMES, BATCHES, RUNS = (512, 256), 24, (1, 4), 3
MEMORY_SIZE, MEMORY_FRAMES, MEMORY_MODEL = (128, 96), (60, 300), "adaattn_lite_video"


def write_clip(path, count, width, height):
    """Write a video of three crossing waves, red, green and blue."""
    rows, columns = np.mgrid[:height, :width]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(count):
            waves = [np.sin((columns + (k - 1) * rows) / (7 + 5 * k) + number / (2 + k)) for k in range(3)]
            image = (127.5 + 127.5 * np.stack(waves, -1)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def any_style(side):
    """A picture of noise: time and memory do not depend on what a style shows."""
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)


def flicker(pictures, flows):
    """Mean absolute difference (%) of pictures to the next ones, warped back onto them, where the flow is reliable."""
    differences = [
        np.abs(difference(first, second.astype(np.float32), flow))[trusted]
        for first, second, (flow, trusted) in zip(pictures, pictures[1:], flows)
    ]
    return 100 * np.concatenate(differences).mean() / 255


def measure_flicker(model, clips, styles, count, size):
    """{way to reduce flicker: [flicker of each clip, mean over the styles]} of a model."""
    stylizer = ppadaattn.load(model, device="cpu")
    prepared = [stylizer.prepare_style(style) for style in styles]
    found = {means: [] for means in MEANS}
    for clip in tqdm(clips, desc=Path(model).stem, unit="clip"):
        moving = read_clip(clip, count=count, size=size)
        for means, options in tqdm(MEANS.items(), desc=moving.name, leave=False):
            painters = [FramePainter(stylizer, style, **options) for style in prepared]
            found[means].append(
                statistics.mean(flicker(paint_in_turn(p, moving.frames), moving.flows) for p in painters)
            )
    return found


def paint_in_turn(painter, frames):
    pictures, memory = [], None
    for frame in frames:
        (picture,), memory = painter([frame], memory)
        pictures.append(picture)
    return pictures


def measure_speed(model, clip, output, style_size):
    """{batch size, or None for a new style in each frame: {'whole' or a stage: seconds}}, medians of runs."""
    stylizer = ppadaattn.load(model, device="cpu")
    picture = any_style(style_size)
    style, frames = stylizer.prepare_style(picture), [frame.image for frame in open_clip(clip).frames()]
    runs = {batch: [] for batch in (None, *BATCHES)}
    for _, batch in tqdm([*itertools.product(range(RUNS), runs)], desc=model, unit="run"):
        begun, times = time.perf_counter(), dict.fromkeys(STAGES, 0)
        if batch is None:
            for frame in frames:
                stylizer(frame, picture)
        else:
            times = stylizer.stylize_video(clip, style, output, batch_size=batch).times
        runs[batch].append({"whole": time.perf_counter() - begun, **times})
    return {
        batch: {name: statistics.median(run[name] for run in found) for name in found[0]}
        for batch, found in runs.items()
    }


def measure_memory(model, clip, output):
    """(peak bytes of this process before the first frame, after the last one)."""
    stylizer = ppadaattn.load(model, device="cpu")
    style = stylizer.prepare_style(any_style(max(MEMORY_SIZE)))
    before = peak_memory()
    stylizer.stylize_video(clip, style, output)
    return before, peak_memory()


def print_flicker(models, clips, styles, count, size):
    inputs = [read_clip(clip, count=count, size=size) for clip in clips]
    names = [clip.name for clip in inputs]
    print(f"\n## Flicker (x 0.01 of the range; {count} frames of long side {size}, mean over {len(styles)} styles)\n")
    print(f"| model | with | {' | '.join(names)} | mean | to first row |")
    print("|---|---|" + "---|" * (len(names) + 2), flush=True)
    first = None
    for model in models:
        found = in_new_process(measure_flicker, model, clips, styles, count, size)
        for means, values in found.items():
            first = first or statistics.mean(values)
            print_flicker_row(Path(model).stem, means, values, first)
    print_flicker_row("none: the input", "", [flicker(clip.frames, clip.flows) for clip in inputs], first)


def print_flicker_row(model, means, values, first):
    mean = statistics.mean(values)
    cells = [f"{value:.2f}" for value in (*values, mean, mean / first)]
    print(f"| {model} | {means} | {' | '.join(cells)} |", flush=True)


def print_speed(models, style_size=512):
    width, height = SPEED_SIZE
    print(f"\n## Speed ({width} x {height}, {SPEED_FRAMES} frames, style of {style_size} x {style_size})\n")
    print("| model | style | batch | frames a second | to first row | whole, ms a frame | decode | network | encode |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        clip, output = Path(folder, "clip.mp4"), Path(folder, "painted.mp4")
        write_clip(clip, SPEED_FRAMES, width, height)
        for model in models:
            found = in_new_process(measure_speed, model, clip, output, style_size)
            for batch, times in found.items():
                print_speed_row(Path(model).stem, batch, times, found[None]["whole"])
    print("\nThe stages overlap; shares are of their sum. The style anew: network alone, no decoding or encoding.")


def print_speed_row(model, batch, times, first):
    whole, total = times["whole"], sum(times[stage] for stage in STAGES)
    cells = [model, "kept" if batch else "anew for each frame", str(batch or 1)]
    cells += [f"{SPEED_FRAMES / whole:.2f}", f"{first / whole:.2f}", f"{1000 * whole / SPEED_FRAMES:.1f}"]
    for own in (times[stage] for stage in STAGES):
        cells.append(f"{1000 * own / SPEED_FRAMES:.1f} ({100 * own / total:.1f} %)" if total else "")
    print(f"| {' | '.join(cells)} |", flush=True)


def print_memory():
    width, height = MEMORY_SIZE
    print(f"\n## Memory ({MEMORY_MODEL}, {width} x {height})\n")
    print("| frames | peak before the first frame | peak of the process | to first row |")
    print("|---|---|---|---|", flush=True)
    first = None
    for count in MEMORY_FRAMES:
        with tempfile.TemporaryDirectory() as folder:
            clip, output = Path(folder, "clip.mp4"), Path(folder, "painted.mp4")
            write_clip(clip, count, width, height)
            before, peak = in_new_process(measure_memory, MEMORY_MODEL, clip, output)
        first = first or peak
        print(f"| {count} | {before / 2**20:.0f} MiB | {peak / 2**20:.0f} MiB | {peak / first:.3f} |", flush=True)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="benchmark_video.py", description=__doc__.splitlines()[0])
    parser.add_argument("--flicker", action="store_true", help="differences of frames moved onto each other")
    parser.add_argument("--speed", action="store_true", help="frames a second, and where the time goes")
    parser.add_argument("--memory", action="store_true", help="peak memory of a short clip and of a long one")
    parser.add_argument("--clips", nargs="+", default=[], metavar="FOLDER", help="clips for --flicker")
    parser.add_argument("--styles", nargs="+", default=[], metavar="FILE", help="styles for --flicker")
    parser.add_argument("--frames", type=int, default=12, metavar="N", help="at most, of a clip; default: %(default)s")
    parser.add_argument("--size", type=int, default=256, metavar="PIXELS", help="long side; default: %(default)s")
    parser.add_argument("--models", nargs="+", default=list(BUNDLED), help="zoo names or weights files; default: all")
    args = parser.parse_args(argv)
    everything = not (args.flicker or args.speed or args.memory)
    given = bool(args.clips and args.styles)
    if args.flicker and not given:
        parser.error("--flicker needs --clips and --styles")
    print(f"paddle {paddle.__version__}, {platform.machine()}, {os.cpu_count()} cores")
    if given and (args.flicker or everything):
        try:
            print_flicker(args.models, args.clips, args.styles, args.frames, args.size)
        except InputError as error:
            parser.error(str(error))
    elif everything:
        print("\nNo table of flicker: it needs --clips and --styles.")
    if args.speed or everything:
        print_speed(args.models)
    if args.memory or everything:
        print_memory()


if __name__ == "__main__":
    main()
