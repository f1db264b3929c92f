"""Models for `paddle.hub`: each function here gives a ready Stylizer."""

import ppadaattn as _ppadaattn

dependencies = ["paddle", "numpy", "PIL", "tqdm"]


def adaattn_lite_image(device=None):
    """The small image model (softmax attention), trained, offline.

    Args:
        device: 'cpu', 'gpu' or 'gpu:N'; default: a GPU where one works, otherwise the CPU.

    Returns:
        ppadaattn.Stylizer: stylizer(content, style) takes paths or RGB uint8 arrays H x W x 3 and gives an RGB uint8
        array of the content's size.
    """
    return _ppadaattn.load("adaattn_lite_image", device=device)


def adaattn_lite_video(device=None):
    """The small video model (cosine attention), trained, offline: steadier, and fast for large pictures.

    Args:
        device: 'cpu', 'gpu' or 'gpu:N'; default: a GPU where one works, otherwise the CPU.

    Returns:
        ppadaattn.Stylizer: stylizer(content, style) takes paths or RGB uint8 arrays H x W x 3 and gives an RGB uint8
        array of the content's size.
    """
    return _ppadaattn.load("adaattn_lite_video", device=device)
