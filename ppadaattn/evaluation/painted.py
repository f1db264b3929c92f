"""Distances to pictures that another network has painted, on the same contents and styles."""

from pathlib import Path

from ppadaattn.device import without_gradients
from ppadaattn.errors import InputError
from ppadaattn.media.images import to_floats
from ppadaattn.train import losses
from ppadaattn.train.config import TargetData
from ppadaattn.train.data import Targets

import paddle
import paddle.nn.functional as F

LEVELS = (1, 2, 3, 4)
LAYERS = tuple(f"relu{level}_1" for level in LEVELS)
TONE_SIZE = 32  # pixels: what is left are colours and their places
DISTANCES = {
    "pixels": "mean absolute difference of RGB in [0, 1]",
    "tone": f"the same at {TONE_SIZE} x {TONE_SIZE} pixels: colours and their places",
    "features": f"mean absolute difference of features over the mean of the painted picture's, mean over "
    f"{', '.join(LAYERS)}",
}


@without_gradients
def distances(encoder, picture, painted):
    """{distance: float} for each of DISTANCES, of uint8 pictures [H, W, 3]; `encoder` as of `quality.loss_network`."""
    first, second = (paddle.to_tensor(to_floats(array[None])) for array in (picture, painted))
    features, wanted = (encoder(image, LAYERS) for image in (first, second))
    tones = (F.adaptive_avg_pool2d(image, TONE_SIZE) for image in (first, second))
    return {
        "pixels": float(losses.target_pixels_loss(first, second)),
        "tone": float(losses.target_pixels_loss(*tones)),
        "features": float(losses.target_features_loss(features, wanted, levels=LEVELS)),
    }


def usable_targets(folder):
    """The painted pictures of a folder that can be compared with, those of one style after the other.

    Args:
        folder: with content/, style/ and painted/, whose pictures are named as `train.data.Targets` says.

    Returns:
        (Targets of the folder, {name of a painted picture: Target}, {path of one that cannot be used: why}).

    Raises InputError where no painted picture can be used.
    """
    roots = {f"{kind}_root": str(Path(folder) / kind) for kind in ("content", "style", "painted")}
    skipped = {}
    source, usable = Targets(TargetData(**roots), skipped), {}
    for target in sorted(source.painted, key=lambda target: target.style):
        try:
            source.read(target)
        except InputError as error:
            skipped[str(target.path)] = str(error)
        else:
            usable[target.path.name] = target
    if not usable:
        name, reason = next(iter(skipped.items()))
        raise InputError(f"{folder}: no painted picture can be used, for instance {name}: {reason}")
    return source, usable, skipped
