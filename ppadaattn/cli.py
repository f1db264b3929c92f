"""The command-line tools: arguments in, work done elsewhere, exit status out.

Exit status: 0 done; 1 some pictures of many were not painted; 2 bad input, nothing done; 130 interrupted.
"""

import argparse
import errno
import json
import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

from ppadaattn.attention import KINDS
from ppadaattn.checkpoint import save_weights
from ppadaattn.config import load_config
from ppadaattn.convert import network_from_arrays, read_arrays
from ppadaattn.errors import InputError
from ppadaattn.files import check_writable
from ppadaattn.images import (
    FORMATS,
    MIN_SIDE,
    check_suffix,
    contact_sheet,
    find_images,
    flatten,
    read_image,
    thumbnail,
    write_image,
)
from ppadaattn.network import CONVENTIONS
from ppadaattn.stylizer import STYLE_SIZE, load
from ppadaattn.training import train
from ppadaattn.zoo import DEFAULT_MODEL, MODELS

import numpy as np
import paddle
from tqdm import tqdm

CONTENT_SIZE = 1024
SHEET_CELL = 256
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
EXAMPLE_PAIR = (EXAMPLES / "content" / "still_life.jpg", EXAMPLES / "style" / "brush_strokes.jpg")


class _Parser(argparse.ArgumentParser):
    """Answers a wrong argument with one sentence, without the usage lines."""

    def error(self, message):
        self.exit(2, f"error: {message}\n")


def _exit_status(work, *arguments):
    """Run `work`; an InputError becomes one sentence and status 2, Ctrl-C status 130."""
    _end_plainly_when_told()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # for names of files that the terminal cannot show
    try:
        return work(*arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; every file already written is whole", file=sys.stderr)
        return 130


def _end_plainly_when_told():
    """Interrupts and SIGTERM unwind the program, so that half-written files are removed, without Paddle's traceback."""
    paddle.disable_signal_handler()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


# ---------------------------------------------------------------------------------------------------------------------
# infer
# ---------------------------------------------------------------------------------------------------------------------


def infer(argv=None):
    """Paint pictures: tools/infer.py. Returns the exit status."""
    return _exit_status(_infer, _infer_parser().parse_args(argv))


def _infer_parser():
    parser = _Parser(
        prog="infer.py",
        description="Paint pictures in the style of others, each content in each style. "
        "Without --content and --style it paints the bundled example.",
        epilog="models: " + "; ".join(f"{name}: {model.description}" for name, model in MODELS.items()),
    )
    files = {"nargs": "+", "action": "extend", "metavar": "FILE", "help": "files, folders or globs"}
    parser.add_argument("--content", **files)
    parser.add_argument("--style", **files)
    parser.add_argument(
        "--output",
        default="output",
        metavar="PATH",
        help=f"a picture ({', '.join(FORMATS)}), or a folder for CONTENT_STYLE.png (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help=f"{', '.join(MODELS)}, or a weights file (default: %(default)s)",
    )
    parser.add_argument(
        "--size",
        type=_pixels,
        default=CONTENT_SIZE,
        metavar="PIXELS",
        help="reduce contents to this long side; 0 leaves them as they are (default: %(default)s)",
    )
    parser.add_argument(
        "--style-size",
        type=_pixels,
        default=STYLE_SIZE,
        metavar="PIXELS",
        help="the same for styles; smaller gives finer strokes (default: %(default)s)",
    )
    parser.add_argument("--device", help="cpu, gpu or gpu:N (default: a GPU where one works, else the CPU)")
    parser.add_argument(
        "--grid",
        action="store_true",
        help="a contact sheet of all pairs, contents down and styles across: PATH/grid.png beside the pictures, "
        "or the file PATH alone",
    )
    parser.add_argument("--resume", action="store_true", help="keep the pictures that PATH holds already")
    return parser


def _pixels(text):
    if not text.isdecimal() or 0 < int(text) < MIN_SIDE:
        raise argparse.ArgumentTypeError(f"expected a number of pixels, 0 or at least {MIN_SIDE}; got {text}")
    return int(text)


def _infer(args):
    if bool(args.content) != bool(args.style):
        raise InputError("--content and --style go together: give both, or neither for the bundled example")
    if not args.content and not all(path.is_file() for path in EXAMPLE_PAIR):
        raise InputError("the bundled example is part of a clone, not of this installation: give --content and --style")
    contents = find_images(args.content or EXAMPLE_PAIR[:1])
    styles = find_images(args.style or EXAMPLE_PAIR[1:])
    outputs, sheet_path = _plan_outputs(contents, styles, args)
    asked = len(contents) + len(styles)
    contents, styles = _readable(contents, args.size), _readable(styles, args.style_size)
    stylizer = load(args.model, device=args.device)

    start, thumbnails, problems = time.perf_counter(), {}, []
    pairs = len(contents) * len(styles)
    for place, picture in _paint_pairs(stylizer, contents, styles, outputs, args, problems):
        thumbnails[place] = thumbnail(picture, SHEET_CELL) if sheet_path else None
    done = len(thumbnails)
    if done == 0:
        raise InputError("; ".join(problems))
    output = outputs[contents[0], styles[0]]
    if sheet_path is not None:
        asides = [[thumbnail(read_image(path), SHEET_CELL) for path in paths] for paths in (contents, styles)]
        try:
            write_image(sheet_path, contact_sheet(*asides, thumbnails, SHEET_CELL))
        except InputError as error:
            if output is None:  # the sheet was all there was to write
                raise
            problems.append(str(error))
            sheet_path = None
    for problem in problems:
        print(f"not painted: {problem}", file=sys.stderr)

    height, width = picture.shape[:2]
    what = f"{width} x {height} pixels" if output and pairs == 1 else f"{done} picture{'s' * (done > 1)}"
    where = sheet_path or (output if pairs == 1 else output.parent)
    print(f"{where}: {what} in {time.perf_counter() - start:.1f} s")
    if pairs == 1 and args.size and args.size < max(read_image(contents[0]).shape):
        print(f"(reduced to a long side of {args.size} pixels; --size 0 paints a picture at its own size)")
    return 0 if len(contents) + len(styles) == asked and not problems else 1


def _paint_pairs(stylizer, contents, styles, outputs, args, problems):
    """Paint each content in each style and write it, unless --resume finds it; yields ((row, column), picture).

    What goes wrong with one pair is added to `problems`, and the next ones are painted, unless the disk is full.
    """
    pairs = len(contents) * len(styles)
    with tqdm(total=pairs, unit="picture", disable=pairs == 1) as progress:
        for column, style_path in enumerate(styles):
            style = None  # prepared once, and only if a picture needs it
            for row, content_path in enumerate(contents):
                output = outputs[content_path, style_path]
                try:
                    picture = _found(output) if args.resume and output is not None else None
                    if picture is None:
                        style = style or stylizer.prepare_style(style_path, style_size=args.style_size)
                        picture = _paint(stylizer, content_path, style, args.size)
                        if output is not None:
                            write_image(output, picture)
                    yield (row, column), picture
                except InputError as error:
                    problems.append(str(error))
                    if getattr(error.__cause__, "errno", None) == errno.ENOSPC:
                        return
                progress.update()


def _found(path):
    """The picture that an earlier run wrote, or None where there is none that can be read."""
    try:
        return read_image(path)
    except InputError:
        return None


def _plan_outputs(contents, styles, args):
    """{(content path, style path): output path, or None for the sheet only}, and the path of the sheet, or None."""
    if not args.output:
        raise InputError("--output is empty; give a picture or a folder")
    path = Path(args.output)
    pairs = [(content, style) for content in contents for style in styles]
    folder = os.path.isdir(path) or not path.suffix or args.output.endswith(("/", "\\"))
    if folder:
        names = [f"{content.stem}_{style.stem}" for content, style in pairs]
        if args.resume and len(set(names)) < len(names):
            raise InputError("--resume needs contents and styles with different names, to tell their pictures apart")
        outputs = {pair: path / f"{name}.png" for pair, name in zip(pairs, _unique(names))}
        sheet_path = path / "grid.png" if args.grid else None
    else:
        check_suffix(path)
        if args.resume:
            raise InputError(f"--resume needs a folder of pictures to go on with, and --output {path} is one file")
        if len(pairs) > 1 and not args.grid:
            raise InputError(f"{len(pairs)} pictures need a folder, and --output {path} is one file")
        outputs = dict.fromkeys(pairs, None if args.grid else path)
        sheet_path = path if args.grid else None
    inputs = {os.path.realpath(source) for source in (*contents, *styles)}
    for output in {*outputs.values(), sheet_path} - {None}:
        if os.path.realpath(output) in inputs:
            raise InputError(f"{output} is one of the pictures to read; choose another --output")
        if os.path.isdir(output):
            raise InputError(f"{output} is a folder where a picture is to be written; choose another --output")
    check_writable(path, folder)
    return outputs, sheet_path


def _unique(names):
    """The names, with _2, _3 ... after those that came before, so that no picture is written over another."""
    seen = set()
    for name in names:
        unique, count = name, 1
        while unique.lower() in seen:  # some file systems ignore case
            count += 1
            unique = f"{name}_{count}"
        seen.add(unique.lower())
        yield unique


def _readable(paths, long_side):
    """The paths that can be read; each other one is reported. Raises InputError if none is left."""
    readable, problems = [], []
    for path in tqdm(paths, desc="reading", unit="picture", delay=2, leave=False):
        try:
            read_image(path, long_side)
            readable.append(path)
        except InputError as error:
            problems.append(str(error))
    if not readable:
        raise InputError("; ".join(problems))
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    return readable


def _paint(stylizer, path, style, size):
    """The picture of a content file: RGB, or RGBA with the file's own alpha."""
    content = read_image(path, size)
    try:
        picture = stylizer(flatten(content), style)
    except MemoryError:
        height, width = content.shape[:2]
        raise InputError(f"{path} at {width} x {height} pixels needs more memory than there is; lower --size") from None
    return np.dstack([picture, content[:, :, 3]]) if content.shape[2] == 4 else picture


# ---------------------------------------------------------------------------------------------------------------------
# main: training
# ---------------------------------------------------------------------------------------------------------------------


def main(argv=None):
    """Train, or validate: tools/main.py. Returns the exit status."""
    return _exit_status(_main, _main_parser().parse_args(argv))


def _main_parser():
    parser = _Parser(
        prog="main.py",
        description="Train as a configuration says. Every key of it, with its meaning, is in ppadaattn/config.py.",
    )
    parser.add_argument("-c", "--config-file", required=True, metavar="FILE.yaml", help="see configs/")
    parser.add_argument(
        "-o",
        "--override",
        nargs="+",
        action="extend",
        default=[],
        metavar="A.B=C",
        help="keys of the configuration with other values, such as dataset.train.batch_size=2",
    )
    parser.add_argument(
        "--resume",
        metavar="CHECKPOINT",
        help="go on from an iter_N_checkpoint.pdparams, or from the newest one in a run's folder, in that folder",
    )
    parser.add_argument("--load", metavar="MODEL", help="begin with these weights (the key `load`)")
    parser.add_argument("--evaluate-only", action="store_true", help="validate the weights to begin with, and end")
    parser.add_argument("--seed", metavar="N", help="the key `seed`")
    return parser


def _main(args):
    if args.resume and args.load:
        raise InputError("--resume goes on with the weights of its checkpoint: give it or --load, not both")
    shortcuts = [f"{key}={json.dumps(value)}" for key, value in (("load", args.load),) if value]
    shortcuts += [f"seed={args.seed}"] if args.seed is not None else []
    config = load_config(args.config_file, [*args.override, *shortcuts])
    folder, stopped_by = train(config, Path(args.config_file).stem, args.resume, args.evaluate_only)
    if stopped_by is None:
        return 0
    words = ["python", "tools/main.py", "-c", args.config_file]
    words += [word for override in (*args.override, *shortcuts) for word in ("-o", override) if "load=" not in override]
    print(f"stopped; to go on: {shlex.join([*words, '--resume', str(folder)])}", file=sys.stderr)
    return 128 + stopped_by


# ---------------------------------------------------------------------------------------------------------------------
# convert_weights
# ---------------------------------------------------------------------------------------------------------------------


def convert_weights(argv=None):
    """Named arrays to a weights file: tools/convert_weights.py. Returns the exit status."""
    parser = _Parser(
        prog="convert_weights.py",
        description="Turn named arrays (encoder.conv1_1.weight, adaattn3.f.weight, decoder.merge.weight, ...) into "
        "a weights file. Width and levels are told from the arrays.",
    )
    parser.add_argument("arrays", metavar="FILE.npz")
    parser.add_argument("--output", required=True, metavar="FILE.pdparams")
    parser.add_argument("--attention", required=True, choices=KINDS)
    parser.add_argument("--conventions", default="paper", choices=list(CONVENTIONS), help="default: %(default)s")
    parser.add_argument("--about", default="", metavar="TEXT", help="where the weights come from, kept in the file")
    return _exit_status(_convert_weights, parser.parse_args(argv))


def _convert_weights(args):
    check_writable(args.output)
    if os.path.realpath(args.output) == os.path.realpath(args.arrays):
        raise InputError(f"{args.output} is the file to read; choose another --output")
    arrays = read_arrays(args.arrays)
    network = network_from_arrays(arrays, args.arrays, attention=args.attention, conventions=args.conventions)
    save_weights(args.output, network, args.about)
    print(f"{args.output}: {network.architecture}")
    return 0
