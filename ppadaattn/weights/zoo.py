"""The model zoo, one row for each file with a name: the bundled models, the heads of full width, and VGG-19.

To release new weights: put their file into pretrained/ (or give the row its addresses), and write its size and SHA-256
into the row.
"""

import contextlib
import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, Optional, Tuple

from ppadaattn import runtime
from ppadaattn.errors import InputError, nearest, note
from ppadaattn.files import atomic_write, cache_folder, lock
from ppadaattn.model.architecture import scaled_channels
from ppadaattn.resources import packaged

FOLDERS = (packaged("pretrained"),)


@dataclass(frozen=True)
class Row:
    """A row of the zoo.

    Attributes:
        name: what `ppadaattn.load` and the command line call it.
        file: name of the file, in pretrained/ or in the cache.
        size: in bytes; approximate where there is no checksum.
        description: what it is for, in one line.
        encoder: what its encoder is.
        trained: how it was trained, in short.
        licence: of the weights.
        sha256: of the file, in hex; None where its publisher gives none. Then the checksum of the first
            download is recorded in the cache, and the file must keep it.
        architecture: arguments of AdaAttNNetwork; None for a file that is no model that paints.
        figures: held-out losses (pretrained/README.md), as far as they were measured.
        urls: addresses, in the order in which they are tried; none for a file of the repository.
        plausible: (least, most) bytes, where there is no checksum.
        check: raises InputError for a file (a path) of other content, where there is no checksum.
        encoder_row: of heads: the name of the row of their encoder.
    """

    name: str
    file: str
    size: int
    description: str
    encoder: str
    trained: str
    licence: str
    sha256: Optional[str] = None
    architecture: Optional[dict] = None
    figures: Dict[str, float] = field(default_factory=dict)
    urls: Tuple[str, ...] = ()
    plausible: Optional[Tuple[int, int]] = None
    check: Optional[Callable] = None
    encoder_row: Optional[str] = None

    @property
    def sizes(self):
        """(least, most) bytes that the file may have."""
        return self.plausible or (self.size, self.size)


def _check_vgg19(path):
    """Raise InputError unless the file converts, to finite numbers."""
    from ppadaattn.weights.convert import vgg19  # here, because it loads Paddle

    paddle = runtime.import_paddle()
    generator = paddle.get_rng_state()
    try:
        weights = vgg19(path).state_dict()
    finally:
        paddle.set_rng_state(generator)  # what is random later must not depend on whether a file was new
    for name, tensor in weights.items():
        if not bool(paddle.isfinite(tensor).all()):
            raise InputError(f"{path}: {name} does not hold finite numbers")


FULL_ENCODER = "VGG-19 itself, which is no part of the file (vgg_normalised)"
LITE_ENCODER = "VGG-19's shape at a quarter of its width, trained to predict the features of vgg_normalised"

ROWS = {
    row.name: row
    for row in (
        Row(
            name="adaattn_lite_image",
            file="adaattn_lite_image.pdparams",
            size=6660806,
            sha256="3d69aa1c9137eb9c3fc78ae517061872509c86468f9f0c459980fb917b93a86b",
            architecture={"width": 0.25, "levels": [3, 4, 5], "attention": "softmax", "conventions": "lite"},
            encoder=LITE_ENCODER,
            trained="for this project, with the paper's losses, on 1507 photos and 2683 paintings, and to come near to "
            "396 pictures that the authors' released model painted (pretrained/README.md)",
            licence="Apache-2.0",
            figures={"L_gs": 8.44, "L_lf": 40.12},
            description="small model (a quarter of the paper's channels), softmax attention: for pictures",
        ),
        Row(
            name="adaattn_lite_video",
            file="adaattn_lite_video.pdparams",
            size=6660802,
            sha256="5695f5faa35bb3c0bc933469c4c51dbec664a4d604fce61866af358c6e1d7b98",
            architecture={"width": 0.25, "levels": [3, 4, 5], "attention": "cosine", "conventions": "paper"},
            encoder=LITE_ENCODER,
            trained="for this project, as adaattn_lite_image, with L_is between two crops of one photo "
            "(configs/adaattn_lite_video.yaml)",
            licence="Apache-2.0",
            description="small model, cosine attention: steadier for video, and fast for large pictures",
        ),
        Row(
            name="adaattn_image",
            file="adaattn_image.safetensors",
            size=27312582,
            sha256="918eb791e463736e4cc0a822068286f4a794966f80e42307689c385bc8010f5d",
            architecture={"width": 1.0, "levels": [3, 4, 5], "attention": "softmax", "conventions": "paper"},
            encoder=FULL_ENCODER,
            encoder_row="vgg_normalised",
            trained="for this project, with the paper's losses, on 1507 photos and 2683 paintings, and to come near to "
            "396 pictures that the authors' released model painted; about five hours of a core (pretrained/README.md)",
            licence="Apache-2.0",
            description="the paper's width, softmax attention: heads in float16, for pictures",
        ),
        Row(
            name="adaattn_video",
            file="adaattn_video.safetensors",
            size=27312454,
            sha256="007ce89d8437f0d502dbce265427a55f41397721593697f8ad054a2326ce391b",
            architecture={"width": 1.0, "levels": [3, 4, 5], "attention": "cosine", "conventions": "paper"},
            encoder=FULL_ENCODER,
            encoder_row="vgg_normalised",
            trained="for this project, from adaattn_image, with L_is between two crops of one photo "
            "(pretrained/README.md)",
            licence="Apache-2.0",
            description="the paper's width, cosine attention: heads in float16, for video",
        ),
        Row(
            name="vgg_normalised",
            file="vgg_normalised.pdparams",
            size=80097584,
            plausible=(51779840, 90000000),  # numbers up to relu5_1, which are needed; up to relu5_4, and some more
            check=_check_vgg19,
            urls=("https://paddlegan.bj.bcebos.com/models/vgg_normalised.pdparams",),
            encoder="VGG-19 itself, scaled so that each filter's mean activation is 1",
            trained="on ImageNet by Simonyan & Zisserman; scaled and published by others",
            licence="none stated",
            description="VGG-19, as PaddleGAN publishes it: for training, and for heads of full width",
        ),
    )
}
MODELS = {name: row for name, row in ROWS.items() if row.architecture}
BUNDLED = tuple(name for name, row in MODELS.items() if not row.encoder_row)  # whole, in the repository
DEFAULT_MODEL = "adaattn_lite_image"
DEFAULT_VIDEO_MODEL = "adaattn_lite_video"


def weights_file(model):
    """Path of the weights of a zoo name, verified, or of a file.

    Args:
        model: a name of MODELS, the path of a weights file, or the folder of a training: the newest weights in it.

    Raises:
        InputError: an unknown name (the known ones are listed), a missing file, a zoo file that is not the one of
            its row and cannot be downloaded.
    """
    if str(model) in ROWS and ROWS[str(model)].architecture:
        return obtain(str(model))
    if os.path.isdir(model):
        return newest_weights(model)
    if not os.path.isfile(model):
        what = f"{model} is no model that paints" if str(model) in ROWS else None
        what = what or f"there is no model or weights file {str(model)!r}{nearest(model, MODELS)}"
        raise InputError(f"{what}; models: {', '.join(MODELS)}")
    return Path(model)


def encoder_finder(path=None):
    """The function `find_encoder` of `load_network`, for the file of an encoder; None: the zoo's VGG-19."""

    def find(encoder):
        from ppadaattn.weights.convert import encoder_arrays  # here, because it loads Paddle

        if path is None and encoder.channels != scaled_channels(1):
            raise InputError("these heads are not of VGG-19's width: give the file of their `encoder`")
        file = vgg19_file(path, "encoder")
        return file, encoder_arrays(file, encoder)

    return find


def newest_weights(folder):
    """Path of the newest iter_N_weight.pdparams of a training's folder, with a note; InputError where it has none."""
    matches = (re.fullmatch(r"iter_(\d+)_weight\.pdparams", name) for name in os.listdir(folder))
    iterations = [int(match[1]) for match in matches if match]
    if not iterations:
        raise InputError(
            f"the folder {folder} holds no iter_N_weight.pdparams, which a training writes: give the folder of a run, "
            "or a weights file"
        )
    path = Path(folder) / f"iter_{max(iterations)}_weight.pdparams"
    note(f"the newest weights of {folder}: {path.name}")
    return path


def vgg19_file(path=None, key="encoder_weights"):
    """Path of the weights of VGG-19: `path` where it is given, else the zoo's `vgg_normalised`; `key` names `path`.

    Raises InputError: a path that is not there, or a file that is not here and cannot be downloaded.
    """
    if path:
        if not os.path.isfile(path):
            raise InputError(f"{key}: there is no file {path}")
        return Path(path)
    try:
        return obtain("vgg_normalised")
    except InputError as error:
        raise InputError(
            f"VGG-19 is needed: {error}, or name such a file, or an .npz with conv1_1.weight to "
            "conv5_1.bias (encoder_weights of a configuration, the `encoder` of ppadaattn.load and ppadaattn convert)"
        ) from None


def is_offline():
    """Whether $PPADAATTN_OFFLINE forbids downloads: set, and not to 0, no or false."""
    return os.environ.get("PPADAATTN_OFFLINE", "").lower() not in ("", "0", "no", "false")


def obtain(name, offline=None):
    """Path of the file of a row, verified; downloaded into the cache where it is not here.

    A damaged or other file is never used; where the row has an address, it is downloaded again.

    Args:
        name: of ROWS.
        offline: download nothing; None: as `is_offline` says.

    Raises InputError: the file is missing or damaged, and cannot be downloaded.
    """
    row = ROWS[name]
    path, fault = look_up(name)
    if path and not fault:
        return path
    state = f"{path} {fault}" if path else f"{row.file} is missing"
    if not row.urls:
        place = path or FOLDERS[0] / row.file
        raise InputError(f"{state}: it belongs to the repository and is expected at {place}; check it out again")
    cached = cache_folder() / row.file
    remedy = f"put {row.urls[0]} at {cached} (PPADAATTN_HOME names another folder)"
    if is_offline() if offline is None else offline:
        raise InputError(f"{state}, and nothing is downloaded (offline): {remedy}")
    try:
        from ppadaattn.weights.download import download  # here, because it loads the libraries of HTTP

        with lock(cached.with_name(f"{cached.name}.lock")):
            now, fault = look_up(name)
            if now and not fault:  # another process has downloaded it meanwhile
                return now
            download(row.urls, cached, lambda part: _fault(row, part, row.sha256), row.sizes)
            if path:
                note(f"{state}; it was downloaded again")
            if not row.sha256:
                _record(row, cached)
    except InputError as error:
        raise InputError(f"{state}, and could not be downloaded ({error}): try again, or {remedy}") from None
    return cached


def look_up(name):
    """Look for a row's file on this machine, without downloading: (path, fault).

    Returns:
        (path, None): the file, verified. (path, fault): a damaged or other file, and the rest of a sentence that
        begins with its path. (None, None): there is none.
    """
    row = ROWS[name]
    wrong = []
    for path in (folder / row.file for folder in (*FOLDERS, cache_folder())):
        if os.path.isfile(path):
            recorded = _recorded(row)
            fault = _fault(row, path, row.sha256 or recorded)
            if not fault:
                if not row.sha256 and not recorded:  # put here by hand
                    with contextlib.suppress(InputError):  # checked each time, in a cache that cannot be written
                        _record(row, path)
                return path, None
            wrong.append((path, fault))
    return wrong[0] if wrong else (None, None)


def _fault(row, path, sha256):
    """What is wrong with a file of a row, as the end of a sentence; None where nothing is.

    Args:
        sha256: of the only right file; None where its content decides.
    """
    least, most = row.sizes
    try:
        size = os.path.getsize(path)
        if not least <= size <= most:
            from ppadaattn.weights.download import size_text

            return f"has {size} bytes, not {size_text(row.sizes)}"
        if sha256:
            return None if _sha256(path) == sha256 else f"is not the right file: its SHA-256 is not {sha256}"
        row.check(path)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    except InputError as error:
        return f"is not the right file: {error}"
    return None


def _sha256(path):
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            sha.update(block)
    return sha.hexdigest()


# The checksum of the first download of a row without one, recorded in the format of sha256sum.


def _record_path(row):
    return cache_folder() / f"{row.file}.sha256"


def _recorded(row):
    try:
        match = re.match(r"[0-9a-f]{64}(?=\s)", _record_path(row).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return match and match[0]


def _record(row, path):
    """Record the checksum of a file that passed its check; with a note where it differs from the one before."""
    before, now = _recorded(row), _sha256(path)
    if before == now:
        return
    if before:
        note(f"{row.urls[0]} gives another file than before: its SHA-256 was {before} and is {now}")
    with atomic_write(_record_path(row)) as temporary:
        temporary.write_text(f"{now}  {row.file}\n", encoding="utf-8")
