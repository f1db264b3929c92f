"""AdaAttN (Liu et al., ICCV 2021) in PaddlePaddle: arbitrary style transfer for pictures and video.

In short:

    import ppadaattn

    stylizer = ppadaattn.load("adaattn_lite_image")
    picture = stylizer("photo.jpg", "painting.jpg")

Paddle is imported when a name that needs it is first used.
"""

import importlib
from typing import TYPE_CHECKING

from ppadaattn import runtime
from ppadaattn.errors import InputError
from ppadaattn.version import __version__

if TYPE_CHECKING:
    from ppadaattn import hub
    from ppadaattn.infer.stylizer import Stylizer, load
    from ppadaattn.model.network import AdaAttNNetwork
    from ppadaattn.model.style import Style

runtime.prepare_environment()  # before Paddle loads

_HOMES = {
    "AdaAttNNetwork": "ppadaattn.model.network",
    "Style": "ppadaattn.model.style",
    "Stylizer": "ppadaattn.infer.stylizer",
    "load": "ppadaattn.infer.stylizer",
}
_MODULES = ("attention", "frames", "hub", "images", "regions", "zoo")

__all__ = ["AdaAttNNetwork", "InputError", "Style", "Stylizer", "__version__", "hub", "load"]


def __getattr__(name):
    """Import a public name when it is first used (PEP 562)."""
    if name in _MODULES:
        return importlib.import_module(f"ppadaattn.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'ppadaattn' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__():
    return sorted({*globals(), *_HOMES, *_MODULES})
