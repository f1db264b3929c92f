"""AdaAttN (Liu et al., ICCV 2021) in PaddlePaddle: arbitrary style transfer for pictures and video.

In short:

    import ppadaattn

    stylizer = ppadaattn.load("adaattn_lite_image")
    picture = stylizer("photo.jpg", "painting.jpg")
"""

from ppadaattn import runtime

runtime.prepare_environment()  # before Paddle loads
runtime.import_paddle()

from ppadaattn import hub  # noqa: E402
from ppadaattn.errors import InputError  # noqa: E402
from ppadaattn.infer.stylizer import Stylizer, load  # noqa: E402
from ppadaattn.model.network import AdaAttNNetwork  # noqa: E402
from ppadaattn.model.style import Style  # noqa: E402
from ppadaattn.version import __version__  # noqa: E402

__all__ = ["AdaAttNNetwork", "InputError", "Style", "Stylizer", "__version__", "hub", "load"]
