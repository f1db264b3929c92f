"""Painting as PaddleHub's modules do it: one object, lists of dicts in and out, BGR as OpenCV has it.

    module = ppadaattn.hub.Module(name="adaattn_lite_image")
    (painted,) = module.style_transfer(paths=[{"content": "photo.jpg", "styles": ["painting.jpg"]}])

The signature is that of PaddleHub's stylepro_artistic, so that programs for the one run with the other. PaddleHub is
not needed.
"""

import os
from pathlib import Path

from ppadaattn.device import select_device
from ppadaattn.errors import InputError, nearest
from ppadaattn.infer.stylizer import STYLE_SIZE, load
from ppadaattn.media.images import check_size, flatten, read_image, reduce_to, write_image
from ppadaattn.serve.protocol import ITEM, check_items, decode, encode, transfer
from ppadaattn.weights.checkpoint import digest
from ppadaattn.weights.zoo import DEFAULT_MODEL, MODELS

import numpy as np

WEIGHTS_SUFFIX = ".pdparams"


class Module:
    """Paints as a PaddleHub module does.

    Args:
        name: a name of the model zoo (`ppadaattn.zoo.MODELS`).
        directory: instead: a folder that holds a weights file (.pdparams), or hub_module/ppadaattn_style of this
            project, which stands for the default model.

    Raises:
        InputError: neither or both of them, an unknown name, a folder without weights or with several.
    """

    def __init__(self, name=None, directory=None):
        if (name is None) == (directory is None):
            raise InputError("a module has a name or a directory: give one of them")
        if name is not None and name not in MODELS:
            known = ", ".join(MODELS)
            raise InputError(f"there is no module named {name!r}{nearest(name, MODELS)}; modules: {known}")
        self.model = name if name is not None else _model_in(directory)
        self._stylizers = {}  # device -> Stylizer
        self._on(use_gpu=False)

    def style_transfer(
        self, images=None, paths=None, alpha=1, use_gpu=False, output_dir="transfer_result", visualization=False
    ):
        """Paint pictures, each in its own style or mixture of styles.

        Args:
            images: list of {'content': array, 'styles': [array, ...], 'weights': [number, ...]}. Arrays are BGR uint8
                H x W x 3, as `cv2.imread` gives them; weights are for several styles (default: equal ones), and are
                divided by their sum.
            paths: the same with paths of pictures; a style may be a `.style` file. They come after `images`.
            alpha: how much of the style, 0 to 1: the strength.
            use_gpu: paint on the GPU, otherwise on the CPU.
            output_dir: where `visualization` writes.
            visualization: also write each result, as NAME_DIGEST.png after its content and its own pixels, so that
                no file is ever replaced by another picture.

        Returns:
            list of {'data': BGR uint8 of the content's size, 'save_path': path or None}, in the order given. The long
            side of styles is reduced to 512 pixels, contents are painted as they are.

        Raises:
            InputError: an item of another kind, a file that cannot be read, weights that do not fit, an alpha outside
                0 to 1, no GPU. Nothing is written then.
        """
        if images is None and paths is None:
            raise InputError(f"give images or paths: a list, each of its items {ITEM}")
        items = [] if images is None else check_items(images, "images", _Array)
        items += [] if paths is None else check_items(paths, "paths", _path)
        pictures = [picture[:, :, ::-1] for picture in transfer(self._on(use_gpu), items, alpha)]
        saved = [_save(output_dir, item, picture) if visualization else None for item, picture in zip(items, pictures)]
        return [{"data": np.ascontiguousarray(data), "save_path": path} for data, path in zip(pictures, saved)]

    def serving_method(self, images, alpha=1, use_gpu=False):
        """What `hub serving` calls: as `style_transfer`, with base64 of picture files instead of arrays.

        Args:
            images: list of {'content': text, 'styles': [text, ...], 'weights': [number, ...]}; a style may be the
                base64 of a `.style` file.
            alpha, use_gpu: as in `style_transfer`.

        Returns:
            list of {'data': base64 of a JPEG}.

        Raises:
            InputError: as in `style_transfer`; text that is not base64.
        """
        return [{"data": encode(picture)} for picture in transfer(self._on(use_gpu), decode(images), alpha)]

    def _on(self, use_gpu):
        """The stylizer on the GPU or on the CPU, which becomes Paddle's current device again."""
        device = select_device("gpu" if use_gpu else "cpu")
        if device not in self._stylizers:
            self._stylizers[device] = load(self.model, device=device)
        return self._stylizers[device]


class _Array:
    """A BGR array; the same object is the same source."""

    stem = "picture"

    def __init__(self, array, name):
        if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            hint = " (cv2.imread gives None for a file that it cannot read)" if array is None else ""
            raise InputError(f"{name} must be a BGR uint8 array H x W x 3; got {got}{hint}")
        check_size(array.shape[1::-1], name)
        self.array = array

    def __eq__(self, other):
        return isinstance(other, _Array) and self.array is other.array

    def __hash__(self):
        return id(self.array)

    def picture(self, long_side):
        return reduce_to(np.ascontiguousarray(self.array[:, :, ::-1]), long_side)

    def style(self, stylizer):
        return stylizer.prepare_style(self.picture(STYLE_SIZE))


class _Path(str):
    """The path of a picture or of a style file."""

    __slots__ = ()

    @property
    def stem(self):
        return Path(self).stem

    def picture(self, long_side):
        return flatten(read_image(str(self), long_side))

    def style(self, stylizer):
        return stylizer.prepare_style(str(self))


def _model_in(directory):
    """The model that a folder stands for: its weights file, or the default one for this project's module.py."""
    if not os.path.isdir(directory):
        raise InputError(f"there is no folder {directory}")
    weights = sorted(path for path in Path(directory).iterdir() if path.suffix == WEIGHTS_SUFFIX)
    if len(weights) > 1:
        names = ", ".join(path.name for path in weights)
        raise InputError(f"{directory} holds several weights files ({names}): keep the one that is meant")
    if weights:
        return weights[0]
    module = Path(directory) / "module.py"
    if module.is_file() and "ppadaattn" in module.read_text(encoding="utf-8", errors="replace"):
        return DEFAULT_MODEL
    raise InputError(f"{directory} holds no weights: expected one *{WEIGHTS_SUFFIX} file in it")


def _path(path, name):
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"{name} must be the path of a picture; got {type(path).__name__}")
    return _Path(os.fspath(path))


def _save(folder, item, picture):
    """Write a BGR picture under a name that no other picture can have."""
    stem = item["content"].stem[:60]  # of names that a file system just holds, with room for the digest
    path = os.path.join(folder, f"{stem}_{digest(picture)[:12]}.png")
    write_image(path, picture[:, :, ::-1])
    return path
