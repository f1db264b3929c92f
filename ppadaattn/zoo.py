"""The models that can be had by name, one row each."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ppadaattn.errors import InputError, nearest

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
        sha256="e6b499dc19eac7bb01c888a27f5bb61aca1326754afabd4bb3b2d55e901dd865",
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
