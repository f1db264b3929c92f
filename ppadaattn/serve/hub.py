"""Style transfer with the interface of PaddleHub's modules: lists of dicts in and out, arrays in BGR as in OpenCV.

    module = ppadaattn.hub.Module(name="adaattn_lite_image")
    (painted,) = module.style_transfer(paths=[{"content": "photo.jpg", "styles": ["painting.jpg"]}])

Signatures are those of PaddleHub's stylepro_artistic, so that programs written for it run. PaddleHub is not needed.
"""

import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from ppadaattn.device import select_device
from ppadaattn.errors import InputError, nearest
from ppadaattn.infer.stylizer import load
from ppadaattn.media.images import write_image
from ppadaattn.serve.protocol import ITEM, check_items, decode, encode, transfer
from ppadaattn.serve.sources import ArraySource, PathSource
from ppadaattn.weights.checkpoint import SAFETENSORS_SUFFIX, WEIGHTS_SUFFIX, digest
from ppadaattn.weights.zoo import DEFAULT_MODEL, MODELS

import numpy as np

SUFFIXES = (WEIGHTS_SUFFIX, SAFETENSORS_SUFFIX)


class Module:
    """A style transfer module with PaddleHub's interface.

    Args:
        name: of a model of the zoo (`ppadaattn.zoo.MODELS`).
        directory: instead of a name: a folder with one weights file (.pdparams or .safetensors), or
            hub_module/ppadaattn_style of this project for the default model.

    Raises:
        InputError: neither or both of them, an unknown name, a folder without weights or with several.
    """

    def __init__(self, name: Optional[str] = None, directory: "Union[str, os.PathLike, None]" = None):
        if (name is None) == (directory is None):
            raise InputError("a module has a name or a directory: give one of them")
        if name is not None and name not in MODELS:
            known = ", ".join(MODELS)
            raise InputError(f"there is no module named {name!r}{nearest(name, MODELS)}; modules: {known}")
        self.model = name if name is not None else _model_in(directory)
        self._stylizers = {}  # device -> Stylizer
        self._on(use_gpu=False)

    def style_transfer(
        self,
        images: Optional[List[Dict[str, Any]]] = None,
        paths: Optional[List[Dict[str, Any]]] = None,
        alpha: float = 1,
        use_gpu: bool = False,
        output_dir: "Union[str, os.PathLike]" = "transfer_result",
        visualization: bool = False,
    ) -> List[Dict[str, Any]]:
        """Paint pictures, each in its own style or mixture of styles.

        Args:
            images: list of {'content': array, 'styles': [array, ...], 'weights': [number, ...]}. Arrays are BGR uint8
                H x W x 3, as `cv2.imread` gives them; weights mix several styles (default: equal weights), and are
                divided by their sum.
            paths: the same with paths of pictures; a style may be a `.style` file. Results follow those of `images`.
            alpha: how much of the style, 0 to 1: the strength.
            use_gpu: paint on the GPU, otherwise on the CPU.
            output_dir: folder for `visualization`.
            visualization: also write each result as NAME_DIGEST.png, with the content's name and a digest of the
                result's pixels, so that a file is never overwritten by another picture.

        Returns:
            list of {'data': BGR uint8 array of the content's size, 'save_path': path or None}, in the order of the
            items. Styles are reduced to a long side of 512 pixels, contents are not reduced.

        Raises:
            InputError: an item of another kind, a file that cannot be read, weights that do not fit, an `alpha` outside
                0 to 1, no GPU. Nothing is written then.
        """
        if images is None and paths is None:
            raise InputError(f"give images or paths: a list, each of its items {ITEM}")
        items = [] if images is None else check_items(images, "images", ArraySource)
        items += [] if paths is None else check_items(paths, "paths", PathSource)
        pictures = [picture[:, :, ::-1] for picture in transfer(self._on(use_gpu), items, alpha)]
        saved = [_save(output_dir, item, picture) if visualization else None for item, picture in zip(items, pictures)]
        return [{"data": np.ascontiguousarray(data), "save_path": path} for data, path in zip(pictures, saved)]

    def serving_method(
        self, images: List[Dict[str, Any]], alpha: float = 1, use_gpu: bool = False
    ) -> List[Dict[str, str]]:
        """The method for `hub serving`: as `style_transfer`, with base64 texts of picture files instead of arrays.

        Args:
            images: list of {'content': text, 'styles': [text, ...], 'weights': [number, ...]}; a style may be the
                base64 of a `.style` file.
            alpha, use_gpu: as in `style_transfer`.

        Returns:
            list of {'data': base64 text of a JPEG file}.

        Raises:
            InputError: as in `style_transfer`; text that is not base64.
        """
        return [{"data": encode(picture)} for picture in transfer(self._on(use_gpu), decode(images), alpha)]

    def _on(self, use_gpu):
        """The Stylizer on the GPU or on the CPU, which becomes Paddle's current device."""
        device = select_device("gpu" if use_gpu else "cpu")
        if device not in self._stylizers:
            self._stylizers[device] = load(self.model, device=device)
        return self._stylizers[device]


def _model_in(directory):
    """The model of a folder: its weights file, or the default model for this project's module.py."""
    if not os.path.isdir(directory):
        raise InputError(f"there is no folder {directory}")
    weights = sorted(path for path in Path(directory).iterdir() if path.suffix in SUFFIXES)
    if len(weights) > 1:
        names = ", ".join(path.name for path in weights)
        raise InputError(f"{directory} holds several weights files ({names}): expected one")
    if weights:
        return weights[0]
    module = Path(directory) / "module.py"
    if module.is_file() and "ppadaattn" in module.read_text(encoding="utf-8", errors="replace"):
        return DEFAULT_MODEL
    raise InputError(f"{directory} holds no weights: expected one file *{' or *'.join(SUFFIXES)} in it")


def _save(folder, item, picture):
    """Write a BGR picture under a name with a digest of its pixels."""
    stem = item["content"].stem[:60]  # a long name must leave room for the digest
    path = os.path.join(folder, f"{stem}_{digest(picture)[:12]}.png")
    write_image(path, picture[:, :, ::-1])
    return path
