"""Training data: folders of pictures or clips, as samples that depend on a seed and their index alone.

So a run can go on from any sample, on any number of threads or processes, and meets the pictures it would have met.
"""

import itertools
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from ppadaattn.errors import InputError
from ppadaattn.media.images import FORMATS, flatten, read_image, to_floats
from ppadaattn.media.video_formats import VIDEOS

import numpy as np
import paddle
from PIL import Image

# ---------------------------------------------------------------------------------------------------------------------
# Where pictures come from
# ---------------------------------------------------------------------------------------------------------------------


def find_files(root, suffixes):
    """Files below a folder, at any depth, with one of the suffixes; sorted, without hidden ones, links followed."""
    found, seen = [], set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(folder, name)
            for name in sorted(names)
            if os.path.splitext(name)[1].lower() in suffixes and not name.startswith(".")
        ]
    return found


def _root(path, key, what):
    if not path:
        raise InputError(
            f"{key} is not set; it is to be a folder with {what}: give it in the YAML or as -o {key}=FOLDER"
        )
    if not os.path.isdir(path):
        raise InputError(f"{key}: there is no folder {path}; it is to hold {what}")
    return path


class Photos:
    """The pictures below a folder, each by itself."""

    def __init__(self, root, key):
        what = f"pictures ({', '.join(FORMATS)}), at any depth"
        self.items = find_files(_root(root, key, what), FORMATS)
        if not self.items:
            raise InputError(f"{key}: the folder {root} holds no pictures; it is to hold {what}")

    def __len__(self):
        return len(self.items)

    def name(self, index):
        return str(self.items[index])

    def read(self, index, frames, rng):
        """One picture, uint8 RGB H x W x 3, in a list. Raises InputError where the file cannot be read."""
        return [flatten(read_image(self.items[index]))]


class Clips:
    """The clips below a folder: folders with at least two pictures (frames in the order of their names), and videos.

    Args:
        gap: the frames of one sample are at most so many apart.
    """

    def __init__(self, root, key, gap=1):
        what = f"clips: folders of frames ({', '.join(FORMATS)}), or videos ({', '.join(VIDEOS)})"
        files = find_files(_root(root, key, what), (*FORMATS, *VIDEOS))
        frames = {}
        for path in files:
            if path.suffix.lower() in FORMATS:
                frames.setdefault(path.parent, []).append(path)
        self.items = [names for names in frames.values() if len(names) > 1]
        self.items += [path for path in files if path.suffix.lower() in VIDEOS]
        self.gap = gap
        if not self.items:
            single = next(iter(frames), None)
            found = f" (in {single} there is only one frame; a clip needs two)" if single else ""
            raise InputError(f"{key}: the folder {root} holds no clip{found}; it is to hold {what}")

    def __len__(self):
        return len(self.items)

    def name(self, index):
        item = self.items[index]
        return str(item[0].parent if isinstance(item, list) else item)

    def read(self, index, frames, rng):
        """The first frame and, for two, another one at most `gap` later; uint8 RGB H x W x 3."""
        item = self.items[index]
        gap = int(rng.randint(1, self.gap + 1)) if frames > 1 else 0
        if isinstance(item, list):
            gap = min(gap, len(item) - 1)
            first = int(rng.randint(len(item) - gap))
            return [flatten(read_image(item[place])) for place in (first, first + gap)[:frames]]
        return _read_video(item, gap, frames, rng)


def _read_video(path, gap, frames, rng):
    """A random frame of a video, and the one `gap` later. Only the part around it is decoded."""
    try:
        import av
    except ModuleNotFoundError:
        raise InputError(f"{path} is a video, and reading videos needs PyAV: pip install av") from None
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            duration = (
                stream.duration * stream.time_base if stream.duration else (container.duration or 0) / av.time_base
            )
            place = rng.random_sample() * float(duration)
            container.seek(int(place * av.time_base))
            wanted = deque(maxlen=gap + 1)
            for frame in container.decode(stream):
                wanted.append(frame)
                if len(wanted) > gap and (frame.time or 0) >= place:
                    break
            if len(wanted) <= gap:  # the place was too near the end
                container.seek(0)
                wanted.extend(itertools.islice(container.decode(stream), gap + 1))
            if len(wanted) <= gap:
                raise InputError(f"{path} has fewer than {gap + 1} frames; a clip needs at least two")
            return [frame.to_ndarray(format="rgb24") for frame in (wanted[0], wanted[-1])[:frames]]
    except (av.error.FFmpegError, IndexError, OSError) as error:
        raise InputError(f"{path} cannot be read as a video: {error}") from None


def content_source(data, key):
    """The Photos or Clips of a section of the configuration: TrainData or TestData."""
    if data.content_kind == "clips":
        return Clips(data.content_root, f"{key}.content_root", getattr(data, "frame_gap", 1))
    return Photos(data.content_root, f"{key}.content_root")


# ---------------------------------------------------------------------------------------------------------------------
# Crops
# ---------------------------------------------------------------------------------------------------------------------


def resize(image, width, height):
    """A picture uint8 H x W x 3 at another size (bicubic)."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.BICUBIC))


class Cropper:
    """Pictures at the load size, cropped at random: the transformation of `dataset.train`."""

    def __init__(self, data):
        self.data = data

    def __call__(self, images, rng, moved=False):
        """Crops at one place of pictures of one size, uint8 [crop_size, crop_size, 3] each.

        Args:
            images: one picture, or two frames.
            rng: numpy RandomState.
            moved: two crops of one picture, the second shifted and zoomed a little, instead of two frames.

        Raises InputError where a picture is smaller than the crop.
        """
        size = self.data.crop_size
        images = [self._load(image) for image in images]
        if len({image.shape for image in images}) > 1:
            raise InputError(f"the frames of one clip differ in size: {[image.shape[1::-1] for image in images]}")
        height, width = images[0].shape[:2]
        if min(height, width) < size:
            raise InputError(f"{width} x {height} pixels are fewer than the crop of {size} x {size}")
        top, left = (int(rng.randint(side - size + 1)) for side in (height, width))
        flip = self.data.flip and rng.randint(2)
        boxes = [(top, left, size)] * len(images)
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

    def _move(self, box, height, width, rng):
        """(top, left, side) of another square near the first, inside the picture."""
        top, left, size = box
        side = round(size * (1 + rng.uniform(-self.data.zoom, self.data.zoom)))
        side = min(side, height, width)
        moved = []
        for start, length in ((top, height), (left, width)):
            start += (size - side) // 2 + int(rng.randint(-self.data.shift, self.data.shift + 1))
            moved.append(min(max(start, 0), length - side))
        return (*moved, side)


# ---------------------------------------------------------------------------------------------------------------------
# Samples and batches
# ---------------------------------------------------------------------------------------------------------------------


class Samples:
    """Pairs of a content crop (one frame or two) and a style crop.

    `samples[index]` is {'content': uint8 [frames, H, W, 3], 'style': uint8 [H, W, 3]}. Each picture comes once before
    any comes again, in an order drawn from the seed; one that cannot be used is put down in `skipped`, and another is
    drawn in its place.

    Args:
        data: TrainData.
        frames: contents a sample, 1 or 2.
        seed: of order and crops.
    """

    def __init__(self, data, frames, seed):
        self.contents = content_source(data, "dataset.train")
        self.styles = Photos(data.style_root, "dataset.train.style_root")
        self.crop = Cropper(data)
        self.frames, self.seed = frames, seed
        self.moved = frames > 1 and isinstance(self.contents, Photos)
        self.skipped = {}  # name -> why

    def __getitem__(self, index):
        content = self._draw(self.contents, self.frames, index, 0, self.moved)
        style = self._draw(self.styles, 1, index, 1, False)
        return {"content": np.stack(content), "style": style[0]}

    def _draw(self, source, frames, index, stream, moved):
        rng = np.random.RandomState([self.seed, index, stream])
        epoch, place = divmod(index, len(source))
        item = int(_order(len(source), self.seed, epoch, stream)[place])
        for _ in range(100):
            try:
                return self.crop(source.read(item, frames, rng), rng, moved)
            except InputError as error:
                self.skipped[source.name(item)] = str(error)
                item = int(rng.randint(len(source)))
        name, reason = next(iter(self.skipped.items()))
        raise InputError(f"100 files after each other cannot be used, for instance {name}: {reason}")


@lru_cache(maxsize=8)
def _order(count, seed, epoch, stream):
    return np.random.RandomState([seed, epoch, stream, count]).permutation(count)


def batches(samples, start, batch_size, workers, step=None):
    """Batches of samples without end, read ahead by threads (decoders of pictures release Python's lock).

    Args:
        samples: by index.
        start: index of the first sample.
        batch_size: samples a batch.
        workers: how many threads.
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
                if len(ahead) > 1 + workers // batch_size:
                    yield collate([future.result() for future in ahead.popleft()])
        finally:
            for future in itertools.chain.from_iterable(ahead):
                future.cancel()


def collate(samples):
    """A batch, as `batches` gives them, of a list of samples."""
    content = np.stack([sample["content"] for sample in samples], 1)  # [frames, B, H, W, 3]
    return {
        "content": to_floats(content.reshape([-1, *content.shape[2:]])),
        "style": to_floats(np.stack([sample["style"] for sample in samples])),
    }


def to_tensors(batch):
    """A batch of arrays as one of Paddle's tensors."""
    return {name: paddle.to_tensor(array) for name, array in batch.items()}
