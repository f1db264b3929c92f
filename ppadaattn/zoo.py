"""The models that can be had by name, one row each."""

import contextlib
import hashlib
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from ppadaattn.errors import InputError, nearest
from ppadaattn.files import atomic_write

from tqdm import tqdm

PACKAGE = Path(__file__).resolve().parent
# Beside the package in a clone; inside it where it was installed from a wheel.
FOLDERS = (PACKAGE.parent / "pretrained", PACKAGE / "pretrained")


@dataclass(frozen=True)
class Model:
    """A row of the zoo.

    Attributes:
        file: name in the folder pretrained/.
        sha256: of the file, in hex.
        description: what it is for, in one line.
    """

    file: str
    sha256: str
    description: str


MODELS = {
    "adaattn_lite_image": Model(
        file="adaattn_lite_image.pdparams",
        sha256="6a13f5d61498250336ddef12a8b25072f7d8fd4cfdd689582b2e169fec09c481",
        description="small model (a quarter of the paper's channels), softmax attention: for pictures",
    ),
    "adaattn_lite_video": Model(
        file="adaattn_lite_video.pdparams",
        sha256="87bcb9b3c227bf52b9d6f2d4946e8552d3753c6cf5d2beed8eec15ca7a212837",
        description="small model, cosine attention: steadier for video, and fast for large pictures",
    ),
}
DEFAULT_MODEL = "adaattn_lite_image"


def weights_file(model):
    """Path of the weights of a zoo name, verified, or of a file.

    Args:
        model: a name of MODELS, or the path of a weights file (with a folder or a suffix in it).

    Raises:
        InputError: an unknown name (the known ones are listed), a missing file, or a zoo file that is not the one of
            its row.
    """
    if str(model) not in MODELS:
        path = Path(str(model))
        if not os.path.isfile(path):
            raise InputError(
                f"there is no model or weights file {str(model)!r}{nearest(model, MODELS)}; models: {', '.join(MODELS)}"
            )
        return path
    row = MODELS[str(model)]
    candidates = [folder / row.file for folder in FOLDERS]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        raise InputError(f"the weights of {model} are missing: expected {candidates[0]}; install the project again")
    if hashlib.sha256(path.read_bytes()).hexdigest() != row.sha256:
        raise InputError(f"{path} is not the file that belongs to {model} (its SHA-256 differs); check it out again")
    return path


# The normalised VGG-19 as PaddleGAN publishes it; no checksum is published with it.
VGG19_URL = "https://paddlegan.bj.bcebos.com/models/vgg_normalised.pdparams"


def cache_folder():
    """Where downloads are kept: $PPADAATTN_HOME, or ~/.cache/ppadaattn."""
    return Path(os.environ.get("PPADAATTN_HOME") or Path.home() / ".cache" / "ppadaattn")


def vgg19_file(path=None):
    """Path of the weights of VGG-19: `path` where it is given, else the cache's, else downloaded into the cache.

    Raises InputError: a path that is not there, or no way to download.
    """
    if path:
        if not os.path.isfile(path):
            raise InputError(f"encoder_weights: there is no file {path}")
        return Path(path)
    cached = cache_folder() / VGG19_URL.rpartition("/")[2]
    if not cached.is_file():
        try:
            _download(VGG19_URL, cached)
        except (OSError, InputError) as error:
            raise InputError(
                f"VGG-19 is needed for the losses and could not be downloaded ({error}): put {VGG19_URL} at {cached}, "
                "or set encoder_weights to such a file or an .npz with conv1_1.weight to conv5_1.bias"
            ) from None
    return cached


def _download(url, path):
    with contextlib.closing(urllib.request.urlopen(url, timeout=30)) as response, atomic_write(path) as temporary:
        length = int(response.headers.get("Content-Length") or 0)
        with open(temporary, "wb") as file, tqdm(
            total=length or None, unit="B", unit_scale=True, desc=path.name
        ) as bar:
            for block in iter(lambda: response.read(2**16), b""):
                file.write(block)
                bar.update(len(block))
            if length and file.tell() != length:
                raise InputError(f"{url} broke off after {file.tell()} of {length} bytes")
