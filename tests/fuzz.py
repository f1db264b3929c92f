"""Damaged and hostile files, made from good ones by a seed: each one has to end in a result or in one plain sentence.

    python tests/fuzz.py --seconds 60 --seed 1

Cases run in a process of their own, the worker, which is started again when it crashes, hangs or grows. A case is bad
when it raises anything else than an InputError of one printable line, writes to standard error, takes longer than
SECONDS or more memory than MEMORY. The last lines are a table of kinds with tried and bad; the exit status is 1 where
anything was bad. What a case is depends on the seed, its kind and its number alone.
"""

import argparse
import io
import itertools
import json
import os
import pickle
import random
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
import zipfile
import zlib
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SECONDS = 20  # of one case: some hundred times what it needs, for machines with other work
MEMORY = 3 * 2**30  # bytes that the worker may take beside what it has after loading its libraries
SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".gif", ".webp", ".png", "")  # of painted clips
KINDS = ("picture", "mask", "clip", "frames", "weights", "style", "archive", "config", "flow")


# Mutations ------------------------------------------------------------------------------------------------------------

ODD_NUMBERS = (0, 1, 2, 15, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)


def mutated(data, rng):
    """Bytes with one to a few random changes."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        size = len(data)
        if not size:
            break
        # Half of the changes are near the beginning, where formats say what follows.
        place = rng.randrange(min(size, 400)) if rng.random() < 0.5 else rng.randrange(size)
        length = min(size - place, rng.choice([1, 2, 4, 16, 256, size]))
        change = rng.randrange(9)
        if change == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif change == 1:
            data[place] = rng.randrange(256)
        elif change == 2:
            width, order = rng.choice([1, 2, 4, 8]), rng.choice(["little", "big"])
            number = rng.choice(ODD_NUMBERS) & (256**width - 1)
            data[place : place + width] = number.to_bytes(width, order)
        elif change == 3:
            del data[place:]
        elif change == 4:
            del data[place : place + length]
        elif change == 5:
            data[place:place] = data[place : place + length] * rng.choice([1, 2, 50])
        elif change == 6:
            data[place : place + length] = bytes([rng.choice([0, 255])]) * length
        elif change == 7:
            data[place:place] = bytes(rng.randrange(256) for _ in range(rng.choice([1, 4, 40])))
        else:
            other = rng.randrange(size)
            data[place : place + length] = data[other : other + length]
    return bytes(data)


def with_png_checksums(data):
    """A PNG whose chunks have the right checksums, so that decoders look at what is in them."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return data
    out, place = [data[:8]], 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        body = data[place + 4 : place + 8 + length]
        out += [data[place : place + 4], body, struct.pack(">I", zlib.crc32(body))]
        place += 12 + length
    return b"".join([*out, data[place:]])


def odd_value(value, rng, depth=0):
    """A nested dict or list of plain values and arrays with one of its items changed."""
    import numpy as np

    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value, key=repr))
        change = rng.random()
        if change < 0.15:
            return {k: v for k, v in value.items() if k != key}
        if change < 0.25:
            return {**value, rng.choice(["", "x", "\n", "a.b", "levels"]): value[key]}
        return {**value, key: odd_value(value[key], rng, depth + 1)}
    if isinstance(value, (list, tuple)) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return [*value[:place], odd_value(value[place], rng, depth + 1), *value[place + 1 :]]
    if isinstance(value, np.ndarray) and rng.random() < 0.8:
        change = rng.randrange(6)
        if change == 0:
            return value.reshape(-1)
        if change == 1:
            return value[:0]
        if change == 2:
            return value.astype(rng.choice(["float64", "int64", "float16", "uint8", "bool"]))
        if change == 3:
            return value[..., :-1] if value.ndim else value
        if change == 4:
            return np.full_like(value, rng.choice([0, 2**30]) if value.dtype.kind == "i" else np.nan)
        return value[None]
    nested = []
    for _ in range(60):
        nested = [nested]
    odd = [None, True, -1, 0, 1, 2**31, 2**63, 10**30, 1e308, float("nan"), "", "x" * 5000, "a\nb", b"\0", {}, nested]
    return rng.choice([*odd, [], {"kind": "softmax"}, [value] * 3, {"a": value}, np.zeros((2, 3), "float32")])


# Kinds ----------------------------------------------------------------------------------------------------------------
#
# A kind is a class: its constructor makes good files in memory, `make` writes a damaged one into a folder, and `use`
# reads that as the package does. Both draw all their choices from `rng`.


class Picture:
    def __init__(self):
        from PIL import Image, PngImagePlugin

        rng = random.Random(0)
        photo = Image.frombytes("RGB", (64, 48), bytes((x * 3 + rng.randrange(40)) % 256 for x in range(64 * 48 * 3)))
        text, exif = PngImagePlugin.PngInfo(), Image.Exif()
        text.add_itxt("a", "b" * 50, zip=True)
        exif[0x0112] = 6
        profile = {"icc_profile": b"\0" * 128}
        grey, alpha = photo.convert("L"), photo.convert("RGBA")
        made = [
            (photo, "JPEG", {"exif": exif}),
            (photo, "JPEG", {"progressive": True, "quality": 60}),
            (photo.convert("CMYK"), "JPEG", {}),
            (grey, "JPEG", {}),
            (alpha, "PNG", {"pnginfo": text, "exif": exif, **profile}),
            (photo.quantize(16), "PNG", {"transparency": 3}),
            (grey.convert("I;16"), "PNG", {}),
            (photo, "WEBP", {"exif": exif}),
            (alpha, "WEBP", {"lossless": True}),
            (alpha, "WEBP", {"save_all": True, "append_images": [alpha.rotate(90)]}),
            *((photo, "TIFF", {"compression": kind, "exif": exif}) for kind in (None, "tiff_lzw", "tiff_deflate")),
            (photo, "TIFF", {"compression": "jpeg"}),
            (photo, "TIFF", {"save_all": True, "append_images": [photo] * 3}),
            (grey.convert("1"), "TIFF", {"compression": "group4"}),
            (grey.convert("F"), "TIFF", {}),
            (photo, "BMP", {}),
            (photo.quantize(16), "BMP", {}),
            (photo.quantize(), "GIF", {"save_all": True, "append_images": [grey.quantize()]}),
        ]
        self.files = []
        for image, kind, options in made:
            file = io.BytesIO()
            image.save(file, kind, **options)
            self.files.append((kind, file.getvalue()))
        self.files += [("BMP", run_length_bmp()), ("JPEG", many_scans(1000)), ("TIFF", many_strips(150_000))]

    def make(self, folder, rng):
        kind, data = rng.choice(self.files)
        data = mutated(data, rng)
        if rng.random() < 0.7:
            data = with_png_checksums(data)
        suffix = {"JPEG": ".jpg", "TIFF": ".tif"}.get(kind, f".{kind.lower()}")
        path = folder / f"a{suffix if rng.random() < 0.9 else rng.choice(['.png', '.jpg', '.bmp', ''])}"
        path.write_bytes(data)
        return path

    def use(self, path, rng):
        from ppadaattn.media.images import flatten, image_size, read_image

        image_size(path)
        flatten(read_image(path, rng.choice([0, 32, 1024])))
        read_image(path.read_bytes())


def run_length_bmp():
    """A run-length encoded BMP of 64 x 64 pixels."""
    body, palette = b"\x10\x05\x20\x07\x10\x01\x00\x00" * 64 + b"\x00\x01", bytes(range(256)) * 4
    sizes = (40, 64, 64, 1, 8, 1, len(body), 0, 0, 256, 0)
    header = struct.pack("<IHHI", 14 + 40 + 1024 + len(body), 0, 0, 14 + 40 + 1024)
    return b"BM" + header + struct.pack("<IiiHHIIiiII", *sizes) + palette + body


def many_scans(count):
    """A JPEG of 1000 x 1000 pixels with 9 scans, and the tenth `count` times."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (1000, 1000), (90, 120, 200)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def many_strips(height, width=16):
    """A TIFF with a strip for each row, all of them the same bytes."""
    offsets = struct.pack("<I", 8) * height
    end = 8 + width + 2 * len(offsets)
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, height, 8 + width), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, height, 8 + width + len(offsets))]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    counts = struct.pack("<I", width) * height
    return b"II*\0" + struct.pack("<I", end) + bytes(width) + offsets + counts + b"\x09\0" + entries + bytes(4)


class Mask(Picture):
    def use(self, path, rng):
        from ppadaattn.media.masks import mask_for
        from ppadaattn.model.regions import split_mask

        split_mask(mask_for(path, rng.choice([(48, 64), (64, 64), (480, 640)])))


class _Network:
    """In place of a Stylizer: paints by inverting."""

    def side_by_side(self, strength, pixels):
        return self, 1

    def paint(self, frames, style, **options):
        return list(255 - frames)


class Clip:
    def __init__(self):
        from ppadaattn.media import animation, video_read

        import av
        from PIL import Image

        animation.MOST_REPEATS = video_read.MOST_REPEATS = 1000  # so that a case which stays within it is quick
        self.files = []
        folder = Path(tempfile.mkdtemp())
        for suffix, codec, sound in (
            (".mp4", "libx264", "aac"),
            (".mp4", "mpeg4", None),
            (".mkv", "libx264", "libmp3lame"),
            (".webm", "libvpx-vp9", "libopus"),
            (".webm", "libvpx", None),
            (".avi", "mpeg4", "libmp3lame"),
            (".avi", "mjpeg", None),
            (".gif", "gif", None),
            (".ts", "mpeg2video", "mp2"),
            (".mkv", "libx264", "subrip"),
            (".mp4", "libx264", "mov_text"),
        ):
            path = folder / f"a{suffix}"
            with warnings.catch_warnings(), av.open(str(path), "w") as container:
                _encode(av, container, codec, sound)
            self.files.append((suffix, path.read_bytes()))
        shutil.rmtree(folder)
        frames = [Image.new("RGBA", (64, 48), (80 * number, 90, 200, 255 - 60 * number)) for number in range(4)]
        for suffix, kind in ((".webp", "WEBP"), (".png", "PNG"), (".gif", "GIF")):
            file = io.BytesIO()
            frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=[40, 10, 300, 90], loop=2)
            self.files.append((suffix, file.getvalue()))

    def make(self, folder, rng):
        suffix, data = rng.choice(self.files)
        path = folder / f"a{suffix if rng.random() < 0.9 else rng.choice(['.mp4', '.avi', '.mkv', '.gif'])}"
        data = mutated(data, rng)
        path.write_bytes(with_png_checksums(data) if rng.random() < 0.7 else data)
        return path

    def use(self, path, rng):
        from ppadaattn.infer.clips import paint_clip
        from ppadaattn.model.style import Style

        options = {
            "start": rng.choice([None, None, None, 0.2, 100]),
            "end": rng.choice([None, None, 0.3, 1]),
            "fps": rng.choice([None, None, None, 0.5, 10, 1000]),
            "size": rng.choice([0, 0, 16, 64]),
            "batch_size": rng.choice([1, 3]),
        }
        output = path.parent / "painted" / f"b{rng.choice(SUFFIXES)}"
        for _ in range(2):
            paint_clip(_Network(), path, Style({}), output, **options)


LINES = {"subrip": b"Hello", "mov_text": b"\0\5Hello"}  # packets of subtitles, by their codec


def _encode(av, container, codec, other):
    """Write frames, and sound or subtitles of the codec `other`; these only where PyAV can, and with chapters."""
    import numpy as np

    stream = container.add_stream(codec, rate=25)
    pixels = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
    words = other in LINES and hasattr(container, "add_mux_stream") and container.add_mux_stream(other)
    if words:
        words.time_base = Fraction(1, 1000)
        one = {"id": 1, "start": 0, "end": 300, "time_base": words.time_base, "metadata": {"title": "one"}}
        container.set_chapters([one, {**one, "id": 2, "start": 300, "end": 480}])
    track = container.add_stream(other, rate=48000) if other and other not in LINES else None
    if track:
        track.codec_context.layout = "stereo"
        track.codec_context.open()
    for number in range(12):
        picture = np.full((48, 64, 3), 60, "uint8")
        picture[8:24, 4 * number :][:, :16] = (240, 200, 80)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
    for begin in (0, 200) if words else ():
        packet = av.Packet(LINES[other])
        packet.pts = packet.dts = begin
        packet.duration, packet.time_base, packet.stream = 150, words.time_base, words
        container.mux(packet)
    if track:
        context = track.codec_context
        resampler = av.AudioResampler(context.format, context.layout, 48000, context.frame_size or None)
        quiet = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 23040), "int16"), format="s16", layout="stereo")
        quiet.rate = 48000
        for part in [*resampler.resample(quiet), *resampler.resample(None), None]:
            container.mux(track.encode(part))


class Frames(Clip):
    """Folders of frames: a few of them damaged, of odd names or sizes."""

    def __init__(self):
        self.picture = Picture()

    def make(self, folder, rng):
        path = folder / "clip"
        path.mkdir()
        good = [data for kind, data in self.picture.files if kind == "PNG"]
        usual = rng.choice(good)
        for number in range(rng.choice([0, 1, 3, 6])):
            data = usual if rng.random() < 0.95 else rng.choice(good)
            if rng.random() < 0.15:
                data = mutated(rng.choice(self.picture.files)[1], rng)
            name = f"frame_{number}.png"
            if rng.random() < 0.15:
                name = rng.choice(["x", f"{number}" * 30, "é²", ".hidden", "-1"]) + rng.choice([".PNG", ".jpg", ".txt"])
            (path / name).write_bytes(data)
        if rng.random() < 0.1:
            (path / "7.png").mkdir()
        return path


class Weights:
    suffixes = (".pdparams", ".safetensors")

    def __init__(self):
        from ppadaattn.model.network import AdaAttNNetwork
        from ppadaattn.weights.checkpoint import PREPROCESSING, WEIGHTS, network_weights

        self.network = AdaAttNNetwork(width=1 / 32)
        saved = {"architecture": self.network.architecture, "about": "a", "weights": network_weights(self.network)}
        self.contents = {"format": WEIGHTS, "preprocessing": PREPROCESSING, **saved}

    def make(self, folder, rng):
        from ppadaattn.weights import checkpoint

        path = folder / f"a{rng.choice(self.suffixes)}"
        if rng.random() < 0.5:  # right digests, so that what is behind them is looked at
            try:
                checkpoint._write(path, odd_value(self.contents, rng))
                return path
            except Exception:  # what safetensors or JSON cannot hold
                pass
        checkpoint._write(path, self.contents)
        path.write_bytes(mutated(path.read_bytes(), rng))
        return path

    def use(self, path, rng):
        from ppadaattn.weights.checkpoint import is_checkpoint, load_checkpoint, load_network
        from ppadaattn.weights.convert import encoder_arrays

        is_checkpoint(path)
        reads = [lambda: load_network(path), lambda: load_checkpoint(path)]
        if path.suffix == ".pdparams":
            reads.append(lambda: encoder_arrays(path, self.network.encoder))
        rng.choice([reads[0], *reads])()


class StyleFile(Weights):
    suffixes = (".style",)

    def __init__(self):
        super().__init__()
        from ppadaattn.model.style import Style
        from ppadaattn.weights.checkpoint import STYLE, fingerprint, style_contents

        import paddle

        self.fingerprint = fingerprint(self.network)
        with paddle.no_grad():
            pair = [self.network.prepare_style(paddle.full([1, 3, 32, 48], value)) for value in (0.2, 0.7)]
        mixed = Style.mix(pair)
        contents = style_contents(Style(mixed.states, self.fingerprint, {(255, 0, 0): pair[0]}))
        contents["levels"] = {str(level): state for level, state in contents["levels"].items()}
        for part in contents["regions"]:
            part["levels"] = {str(level): state for level, state in part["levels"].items()}
        self.contents = {"format": STYLE, **contents}

    def use(self, path, rng):
        from ppadaattn.weights.checkpoint import convert_style, load_style

        import paddle

        if rng.random() < 0.1:
            convert_style(path, path.with_name("b.style"))
        style = load_style(path, self.network, self.fingerprint)
        with paddle.no_grad():
            self.network.stylize(paddle.full([1, 3, 32, 32], 0.5), style)


class Archive:
    """.npz files of a network's arrays, and .pth files as torch.save writes them."""

    def __init__(self):
        from ppadaattn.model.vgg import Encoder

        import numpy as np

        self.encoder = Encoder(1 / 32)
        arrays = {f"encoder.{name}": tensor.numpy() for name, tensor in self.encoder.state_dict().items()}
        self.files = []
        for write in (np.savez, np.savez_compressed):
            file = io.BytesIO()
            write(file, **arrays)
            self.files.append((".npz", file.getvalue()))
        self.files.append((".pth", _pth({"0.weight": np.eye(3, dtype="float32").reshape(3, 3, 1, 1)})))

    def make(self, folder, rng):
        suffix, data = rng.choice(self.files)
        if rng.random() < 0.6:  # a whole zip file with a member that is not
            with zipfile.ZipFile(io.BytesIO(data)) as source:
                members = {name: source.read(name) for name in source.namelist()}
            name = rng.choice(sorted(members))
            members[name] = mutated(members[name], rng)
            if rng.random() < 0.1:
                members[name] = bytes(10**8)
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as target:
                for name, content in members.items():
                    target.writestr(name, content)
            data = file.getvalue()
        else:
            data = mutated(data, rng)
        path = folder / f"a{suffix if rng.random() < 0.9 else rng.choice(['.npz', '.pth'])}"
        path.write_bytes(data)
        return path

    def use(self, path, rng):
        from ppadaattn.weights.convert import encoder_arrays, network_from_arrays, read_arrays
        from ppadaattn.weights.pytorch import read_tensors

        if path.suffix == ".npz" and rng.random() < 0.7:
            network_from_arrays(read_arrays(path), path, attention="softmax")
        elif rng.random() < 0.5:
            read_tensors(path)
        else:
            encoder_arrays(path, self.encoder)


def _pth(arrays):
    """What torch.save would write of a state dict of float32 arrays, without PyTorch."""

    def plain(value):
        return pickle.dumps(value, 2)[2:-1]

    empty, items = b"ccollections\nOrderedDict\n)R", b""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, (name, array) in enumerate(arrays.items()):
            storage = b"(" + plain("storage") + b"ctorch\nFloatStorage\n" + plain(str(number)) + plain("cpu")
            storage += plain(array.size) + b"tQ"
            view = plain(0) + plain(array.shape) + plain(tuple(step // 4 for step in array.strides))
            items += plain(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"\x89" + empty + b"tR"
            archive.writestr(f"archive/data/{number}", array.tobytes())
        archive.writestr("archive/data.pkl", b"\x80\x02" + empty + b"(" + items + b"u.")
        archive.writestr("archive/byteorder", "little")
    return file.getvalue()


class Configuration:
    def __init__(self):
        self.files = [path.read_text() for path in sorted((ROOT / "configs").rglob("*.yaml"))]

    def make(self, folder, rng):
        text = rng.choice(self.files)
        path = folder / "a.yaml"
        if rng.random() < 0.5:
            lines = text.splitlines()
            place = rng.randrange(len(lines))
            odd = (
                "null",
                "-1",
                "1e400",
                "[]",
                "{}",
                "'x'",
                "*a",
                "&a [*a]",
                "!!python/name:os.system",
                "2000-01-01",
                "~",
            )
            odd += ("2000-99-99", "9" * 5000, "[" * 2000, "[&b [&a [x, x], *a, *a], *b, *b]")
            odd += (".nan", "0x7fffffffffffffffffff", "[[1, 2], {}]", "a.yaml", "'" + "x" * 3000 + "'", "yes", '"\\n"')
            key = lines[place].partition(":")[0]
            lines[place : place + rng.choice([0, 1, 3])] = [f"{key}: {rng.choice(odd)}"]
            text = "\n".join(lines)
        data = text.encode() if rng.random() < 0.5 else mutated(text.encode(), rng)
        path.write_bytes(data.replace(b"_base_: ", b"_base_: " + str(ROOT / "configs").encode() + b"/"))
        return path

    def use(self, path, rng):
        from ppadaattn.config import read_config, to_yaml
        from ppadaattn.evaluation.config import Report
        from ppadaattn.train.config import load_config

        to_yaml(load_config(path) if rng.random() < 0.8 else read_config(Report, path))


class Flow:
    def make(self, folder, rng):
        path = folder / "a.flo"
        path.write_bytes(mutated(b"PIEH" + struct.pack("<ii", 12, 9) + bytes(8 * 12 * 9), rng))
        return path

    def use(self, path, rng):
        from ppadaattn.media.flow import read_flo

        read_flo(path)


CLASSES = dict(zip(KINDS, (Picture, Mask, Clip, Frames, Weights, StyleFile, Archive, Configuration, Flow)))


# The worker -----------------------------------------------------------------------------------------------------------


def work(folder, seed):
    """Answer each line `KIND NUMBER` of standard input with a line of JSON: [outcome, text]."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print counts
    from ppadaattn.errors import InputError, InputNote

    warnings.simplefilter("ignore", InputNote)
    threading.stack_size(2**20)  # many threads of decoders would else reserve much of what is allowed
    made = {}
    for line in sys.stdin:
        kind, number = line.split()
        if kind not in made:
            made[kind] = CLASSES[kind]()
            _limit_memory()
        rng = random.Random(f"{seed} {kind} {number}")
        case = Path(folder, "case")
        shutil.rmtree(case, ignore_errors=True)
        case.mkdir(parents=True)
        path = made[kind].make(case, rng)
        written, outcome, text = os.fstat(2).st_size, "result", ""
        answers.write("made\n")
        answers.flush()
        try:
            made[kind].use(path, rng)
        except InputError as error:
            outcome, text = "refused", str(error)
            if not text.isprintable() or len(text) > 2000:
                outcome = "bad"
        except BaseException:  # a bug, whatever it is
            outcome, text = "bad", traceback.format_exc()
        sys.stderr.flush()
        if os.fstat(2).st_size > written:
            with open(Path(folder, "errors"), "rb") as errors:
                errors.seek(written)
                outcome, text = "bad", f"{text}\nstandard error: {errors.read().decode(errors='replace')}"
        answers.write(json.dumps([outcome, text]) + "\n")
        answers.flush()


def _limit_memory():
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


class Worker:
    """The process that runs cases, started again where it has ended."""

    def __init__(self, folder, seed):
        self.folder, self.seed, self.process = folder, seed, None

    def start(self):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        words = [sys.executable, "-X", "faulthandler", __file__, "--worker", str(self.folder), "--seed", str(self.seed)]
        with open(self.folder / "errors", "wb") as errors:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
            self.process = subprocess.Popen(words, env=environment, text=True, **pipes)

    def run(self, kind, number):
        """(outcome, text) of a case."""
        if self.process is None:
            self.start()
        self.process.stdin.write(f"{kind} {number}\n")
        self.process.stdin.flush()
        if not self.process.stdout.readline():  # after which the file is there; libraries may load before
            self.stop()
            return "bad", f"no case was made: {self._errors()}"
        timer = threading.Timer(SECONDS, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        late = not timer.is_alive()
        timer.cancel()
        if line:
            return tuple(json.loads(line))
        status = self.process.wait()
        self.stop()
        return "bad", f"longer than {SECONDS} s" if late else f"ended with status {status}: {self._errors()}"

    def _errors(self):
        return (self.folder / "errors").read_text(errors="replace")[-3000:]

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def main(argv=None):
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seconds", type=float, default=60, help="how long (default: %(default)s)")
    made.add_argument("--seed", default="1", help="another one makes other cases (default: %(default)s)")
    made.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="kinds (default: all)")
    made.add_argument("--first", type=int, default=0, help="number of the first case (default: %(default)s)")
    made.add_argument("--count", type=int, help="end after these cases of each kind")
    made.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the files of bad cases, and why they are bad")
    made.add_argument("--worker", help=argparse.SUPPRESS)
    args = made.parse_args(argv)
    if args.worker:
        return work(args.worker, args.seed)
    counts = {kind: dict.fromkeys(("tried", "bad", "result", "refused"), 0) for kind in args.only}
    end = time.monotonic() + args.seconds
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(Path(folder), args.seed)
        try:
            for number in itertools.count(args.first):
                if args.count is not None and number >= args.first + args.count:
                    break
                for kind in args.only:
                    outcome, text = worker.run(kind, number)
                    counts[kind]["tried"] += 1
                    counts[kind][outcome] += 1
                    if outcome == "bad":
                        print(f"bad: {kind} {number} of seed {args.seed}: {text}", flush=True)
                        _keep(args.keep, f"{kind}-{args.seed}-{number}", Path(folder, "case"), text)
                if time.monotonic() > end:
                    break
        finally:
            worker.stop()
    counts["all"] = {column: sum(count[column] for count in counts.values()) for column in counts[args.only[0]]}
    print(f"{'kind':10}{'tried':>8}{'bad':>8}{'results':>10}{'refused':>10}")
    for kind, count in counts.items():
        print(f"{kind:10}{count['tried']:8}{count['bad']:8}{count['result']:10}{count['refused']:10}")
    return 1 if counts["all"]["bad"] else 0


def _keep(folder, name, case, text):
    if folder is not None and case.is_dir():
        kept = folder / re.sub(r"[^\w-]", "_", name)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(case, kept)
        (kept / "why.txt").write_text(text)


if __name__ == "__main__":
    sys.exit(main())
