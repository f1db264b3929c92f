"""Training data: folders of pictures or clips, as samples that depend on a seed and their index alone.

A run can therefore start from any sample, on any number of threads or processes, and still see the same pictures.
"""

import contextlib
import itertools
import os
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Tuple

from ppadaattn.errors import InputError, all_errors
from ppadaattn.media.images import READ_FORMATS, flatten, is_listed, read_image, to_floats
from ppadaattn.media.video_formats import VIDEOS, is_video
from ppadaattn.media.video_read import open_clip

import numpy as np
import paddle
from PIL import Image

# ---------------------------------------------------------------------------------------------------------------------
# Where pictures come from
# ---------------------------------------------------------------------------------------------------------------------


def find_files(root):
    """Pictures and videos below a folder, at any depth; sorted, without hidden ones, links followed."""
    found, seen = [], set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        found += [path for path in paths if is_video(path) or is_listed(path)]
    return found


class MissingInputError(InputError):
    """Data or weights that a training needs are not there: the user's own, or another configuration, would help."""


def is_missing_input(error: InputError) -> bool:
    """Whether an error is a MissingInputError, or a CombinedInputError with one."""
    return any(isinstance(one, MissingInputError) for one in getattr(error, "errors", [error]))


def _root(path, key, what):
    """The folder `path`; MissingInputError, which names `key`, where it is not set or not there."""
    if not path:
        raise MissingInputError(f"{key} is not set; set it to a folder of {what}")
    if not os.path.isdir(path):
        raise MissingInputError(f"{key}: there is no folder {path}; expected a folder of {what}")
    return path


class Photos:
    """The pictures below a folder, each by itself."""

    def __init__(self, root, key):
        what = f"pictures ({', '.join(READ_FORMATS)}), at any depth"
        self.items = [path for path in find_files(_root(root, key, what)) if not is_video(path)]
        if not self.items:
            raise MissingInputError(f"{key}: the folder {root} holds no pictures; expected {what}")

    def __len__(self):
        return len(self.items)

    def name(self, index):
        return str(self.items[index])

    def read(self, index, frames, rng):
        """One picture, uint8 RGB H x W x 3, in a list. Raises InputError where the file cannot be read."""
        return [flatten(read_image(self.items[index]))]


class Clips:
    """The clips below a folder: folders of at least two frames, and video files, read by `media.video_read`.

    Args:
        gap: how many frames lie at most between the two frames of a sample, the second one included.
    """

    def __init__(self, root, key, gap=1):
        what = f"clips: folders of frames ({', '.join(READ_FORMATS)}), or videos ({', '.join(VIDEOS)})"
        files = find_files(_root(root, key, what))
        frames = Counter(path.parent for path in files if not is_video(path))
        self.items = [folder for folder, count in frames.items() if count > 1]
        self.items += [path for path in files if is_video(path)]
        self.gap = gap
        self._opened = {}  # a clip knows its frames or its length, and holds no file open
        if not self.items:
            single = next(iter(frames), None)
            found = f" (in {single} there is only one frame; a clip needs two)" if single else ""
            raise MissingInputError(f"{key}: the folder {root} holds no clip{found}; expected {what}")

    def __len__(self):
        return len(self.items)

    def name(self, index):
        return str(self.items[index])

    def read(self, index, frames, rng):
        """A random frame and, for two, another one at most `gap` later; uint8 RGB H x W x 3.

        Only the part of a video around them is decoded. Raises InputError where it cannot be read.
        """
        clip = self._open(self.items[index])
        count = clip.frame_count  # of a video an estimate, and 0 where it is not known
        gap = min(int(rng.randint(1, self.gap + 1)) if frames > 1 else 0, max(1, count - 1))
        first = int(rng.randint(max(1, count - gap)))
        found = self._frames(clip, round(first / (clip.rate * clip.time_base)) - 1, gap + 1)
        if len(found) <= gap:  # a video may have fewer frames than its length and its rate suggest
            found = self._frames(clip, None, gap + 1)
        if len(found) < frames:
            raise InputError(f"{clip.path} has one frame; a clip needs at least two")
        return [found[0], found[-1]][:frames]

    def _open(self, path):
        if path not in self._opened:
            self._opened[path] = open_clip(path)
        return self._opened[path]

    @staticmethod
    def _frames(clip, after, count):
        with contextlib.closing(clip.frames(after)) as frames:
            return [frame.image for frame in itertools.islice(frames, count)]


# What a `content_root` may hold: each content a picture by itself, or frames of a clip.
CONTENT_KINDS = {"photos": Photos, "clips": Clips}


def content_source(data, key):
    """The contents of a section of the configuration, TrainData or TestData, which `key` names."""
    kind = CONTENT_KINDS[data.content_kind]
    gap = {"gap": data.frame_gap} if kind is Clips and hasattr(data, "frame_gap") else {}
    return kind(data.content_root, f"{key}.content_root", **gap)


# ---------------------------------------------------------------------------------------------------------------------
# Crops
# ---------------------------------------------------------------------------------------------------------------------


def resize(image, width, height):
    """A picture uint8 H x W x 3 at another size (bicubic)."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.BICUBIC))


class Cropper:
    """Resizes pictures to the load size and crops them at random, as TrainData says."""

    def __init__(self, data):
        self.data = data

    def __call__(self, images, rng, moved=False):
        """Crops uint8 [crop_size, crop_size, 3] at one place of pictures of equal size.

        Args:
            images: one picture, or two frames.
            rng: numpy RandomState.
            moved: two crops of one picture, the second a little shifted and zoomed, in place of two frames.

        Raises InputError where a picture is smaller than the crop.
        """
        size = self.data.crop_size
        images = [self._load(image) for image in images]
        height, width = images[0].shape[:2]
        side = self._side(height, width, rng)
        top, left = (int(rng.randint(length - side + 1)) for length in (height, width))
        flip = self.data.flip and rng.randint(2)
        boxes = [(top, left, side)] * len(images)
        if moved:
            images, boxes = images * 2, [*boxes, self._move(boxes[0], height, width, rng)]
        crops = []
        for image, (top, left, side) in zip(images, boxes):
            crop = resize(image[top : top + side, left : left + side], size, size)
            crops.append(crop[:, ::-1] if flip else crop)
        return crops

    def _load(self, image):
        target = self.data.load_size
        if not target:
            return image
        height, width = image.shape[:2]
        scale = target / min(height, width)
        shape = (round(width * scale), round(height * scale)) if self.data.keep_aspect else (target, target)
        return resize(image, *shape)

    def _side(self, height, width, rng):
        """Side of the square that is cropped, in pixels of the picture."""
        size = self.data.crop_size
        if self.data.crop_scale:
            return min(int(size * rng.uniform(*self.data.crop_scale)), height, width)
        if min(height, width) < size:
            raise InputError(f"{width} x {height} pixels are fewer than the crop of {size} x {size}")
        return size

    def _move(self, box, height, width, rng):
        """(top, left, side) of another square near the first one, inside the picture."""
        top, left, size = box
        side = round(size * (1 + rng.uniform(-self.data.zoom, self.data.zoom)))
        side = min(side, height, width)
        shift = round(self.data.shift * size / self.data.crop_size)
        moved = []
        for start, length in ((top, height), (left, width)):
            start += (size - side) // 2 + int(rng.randint(-shift, shift + 1))
            moved.append(min(max(start, 0), length - side))
        return (*moved, side)


# ---------------------------------------------------------------------------------------------------------------------
# Pictures that another network has painted
# ---------------------------------------------------------------------------------------------------------------------


class Target(NamedTuple):
    """A painted picture of another network and the names of its content and style."""

    path: Path
    content: str
    style: str


class TargetCrop(NamedTuple):
    """A square of a Target and of its content, uint8 [S, S, 3], and the order of red, green and blue in both."""

    target: Target
    colours: Tuple[int, int, int]
    content: np.ndarray
    painted: np.ndarray


class Targets:
    """Pictures that another network has painted, with their contents and styles.

    A painted picture is named STYLE_CONTENT, after the files of its style and its content: style3_content7.jpg is
    content7.* painted in style3.*. One whose content or style is missing, or cannot be read, is left out and noted in
    `skipped`; so is, when it is drawn, one that cannot be read itself, or is of another size than its content.

    Args:
        data: TargetData.
        skipped: {name: why}, to which notes are added.

    Attributes:
        contents, styles: {name: uint8 [H, W, 3]}, whole pictures.
        painted: list of Target.

    Raises InputError where nothing usable is found; all missing folders are named.
    """

    def __init__(self, data, skipped):
        key = "dataset.train.targets"
        with all_errors() as attempt:
            contents, styles, painted = (
                attempt(Photos, getattr(data, name), f"{key}.{name}")
                for name in ("content_root", "style_root", "painted_root")
            )
        self.data, self.skipped = data, skipped
        known = [{path.stem: path for path in source.items} for source in (contents, styles)]
        self.contents, self.styles, self.painted = {}, {}, []
        for path in painted.items:
            content, style = _content_and_style(path.stem, *known)
            try:
                for name, files, kept, what in (
                    (content, known[0], self.contents, "content"),
                    (style, known[1], self.styles, "style"),
                ):
                    if name not in files:
                        raise InputError(f"its {what} {name or 'STYLE_CONTENT'} is not in {key}.{what}_root")
                    if name not in kept:
                        kept[name] = flatten(read_image(files[name]))
                self.painted.append(Target(path, content, style))
            except InputError as error:
                self.skipped[str(path)] = str(error)
        if not self.painted:
            name, reason = next(iter(self.skipped.items()))
            raise MissingInputError(f"{key}: no painted picture can be used, for instance {name}: {reason}")

    def read(self, target):
        """The painted picture of a Target, uint8 [H, W, 3]; InputError where it is not of the size of its content."""
        painted = flatten(read_image(target.path))
        (height, width), own = painted.shape[:2], self.contents[target.content].shape[:2]
        if (height, width) != own:
            raise InputError(
                f"it has {width} x {height} pixels, and its content {target.content} has {own[1]} x {own[0]}"
            )
        return painted

    def draw(self, rng, permute=True):
        """Yield a TargetCrop, `batch_size` times.

        S is `crop_size`. Squares begin at multiples of 16 pixels, so that the positions of relu5_1 in a square are
        positions of the whole picture.

        Args:
            rng: a numpy RandomState.
            permute: whether colours are exchanged in a share of the crops, `permute_colours`.
        """
        size, flip = self.data.crop_size, self.data.flip
        permute = self.data.permute_colours if permute else 0
        for _ in range(self.data.batch_size):
            target, painted = self._read(rng)
            content = self.contents[target.content]
            top, left = (16 * int(rng.randint((length - size) // 16 + 1)) for length in content.shape[:2])
            colours = (0, 1, 2)
            if permute and rng.uniform() < permute:
                colours = tuple(map(int, rng.permutation(3)))
            square = (slice(top, top + size), slice(left, left + size), colours)
            columns = slice(None, None, -1 if flip and rng.uniform() < 0.5 else 1)
            yield TargetCrop(target, colours, content[square][:, columns], painted[square][:, columns])

    def _read(self, rng):
        for _ in range(MOST_SKIPPED):
            target = self.painted[int(rng.randint(len(self.painted)))]
            try:
                painted = self.read(target)
                _check_crop(painted, self.data.crop_size)
                return target, painted
            except InputError as error:
                self.skipped[str(target.path)] = str(error)
        raise _none_usable(self.skipped)


def _content_and_style(stem, contents, styles):
    """The names of content and style in STYLE_CONTENT; names may hold underscores themselves."""
    places = [place for place, letter in enumerate(stem) if letter == "_"]
    splits = [(stem[place + 1 :], stem[:place]) for place in places] or [("", stem)]
    return next((pair for pair in splits if pair[0] in contents and pair[1] in styles), splits[0])


def _check_crop(painted, size):
    height, width = painted.shape[:2]
    if min(height, width) < size:
        raise InputError(f"{width} x {height} pixels are fewer than the crop of {size} x {size}")


# ---------------------------------------------------------------------------------------------------------------------
# Samples and batches
# ---------------------------------------------------------------------------------------------------------------------


# Files in a row that may be unusable: chance draws so many only where nearly all files are.
MOST_SKIPPED = 100


def _none_usable(skipped):
    name, reason = next(iter(skipped.items()))
    return InputError(f"{MOST_SKIPPED} files in a row cannot be used, for instance {name}: {reason}")


class Samples:
    """Pairs of a content crop (one frame or two) and a style crop.

    `samples[index]` is {'content': uint8 [frames, H, W, 3], 'style': uint8 [H, W, 3]}. Each picture comes once before
    any comes again, in an order drawn from the seed. A picture that cannot be used is noted in `skipped`, {name: why},
    and replaced by a random one.

    Args:
        data: TrainData.
        frames: contents in a sample, 1 or 2.
        seed: determines order and crops.

    Attributes:
        targets: Targets where the configuration has some, else None; they share `skipped`.

    Raises InputError, which names all folders that lack pictures.
    """

    def __init__(self, data, frames, seed):
        self.skipped = {}
        with all_errors() as attempt:
            self.targets = attempt(Targets, data.targets, self.skipped) if data.targets.painted_root else None
            self.contents = attempt(content_source, data, "dataset.train")
            self.styles = attempt(Photos, data.style_root, "dataset.train.style_root")
        self.crop = Cropper(data)
        self.frames, self.seed = frames, seed
        self.moved = frames > 1 and isinstance(self.contents, Photos)

    def __getitem__(self, index):
        content = self._draw(self.contents, self.frames, index, 0, self.moved)
        (style,) = self._draw(self.styles, 1, index, 1, False)
        if self.crop.data.permute_colours:
            rng = np.random.RandomState([self.seed, index, 2])
            if rng.uniform() < self.crop.data.permute_colours:
                style = style[..., rng.permutation(3)]
        return {"content": np.stack(content), "style": style}

    def _draw(self, source, frames, index, stream, moved):
        rng = np.random.RandomState([self.seed, index, stream])
        epoch, place = divmod(index, len(source))
        item = int(_order(len(source), self.seed, epoch, stream)[place])
        for _ in range(MOST_SKIPPED):
            try:
                return self.crop(source.read(item, frames, rng), rng, moved)
            except InputError as error:
                self.skipped[source.name(item)] = str(error)
                item = int(rng.randint(len(source)))
        raise _none_usable(self.skipped)


@lru_cache(maxsize=8)
def _order(count, seed, epoch, stream):
    return np.random.RandomState([seed, epoch, stream, count]).permutation(count)


def batches(samples, start, batch_size, workers, step=None):
    """Endless batches of samples, read ahead by threads (decoding pictures releases Python's global lock).

    Args:
        samples: by index.
        start: index of the first sample.
        batch_size: samples in a batch.
        workers: number of threads.
        step: from the first sample of one batch to that of the next; default `batch_size`.

    Yields:
        {'content': float32 [frames * B, 3, H, W] (all first frames, then all second ones), 'style': [B, 3, H, W]},
        RGB in [0, 1].
    """
    step = step or batch_size
    with ThreadPoolExecutor(workers) as pool:
        ahead = deque()
        try:
            for first in itertools.count(start, step):
                ahead.append([pool.submit(samples.__getitem__, first + i) for i in range(batch_size)])
                if len(ahead) > 1 + workers // batch_size:  # enough for every thread, and one batch in reserve
                    yield collate([future.result() for future in ahead.popleft()])
        finally:
            for future in itertools.chain.from_iterable(ahead):
                future.cancel()


def collate(samples):
    """A batch, as `batches` yields it, of a list of samples."""
    content = np.stack([sample["content"] for sample in samples], 1)  # [frames, B, H, W, 3]
    return {
        "content": to_floats(content.reshape([-1, *content.shape[2:]])),
        "style": to_floats(np.stack([sample["style"] for sample in samples])),
    }


def to_tensors(batch):
    """A batch of arrays as a batch of Paddle tensors."""
    return {name: paddle.to_tensor(array) for name, array in batch.items()}
