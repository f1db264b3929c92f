"""Inputs and outputs of exported programs, in any format: `export_onnx` and `export_paddle` write them.

    network    a content and a style picture  ->  the stylized picture
    style      a style picture                ->  its style state, which can be kept in a file
    content    a content and a style state    ->  the stylized picture

Pictures are RGB with sides from 17 pixels, in one of two forms:

    bytes     uint8 [H, W, 3], as files hold them: conversion, clipping and rounding are part of the program
    floats    float32 [1, 3, H, W] in [0, 1], as the network takes them; stylized pictures are clipped

The tensors of a style state, float32, are those of `StyleState.state_dict`, named with the level at the end. Programs
use all style points: the release's sampling of points is left to `style_of_arrays`, which draws from the points that a
style program gives.
"""

from typing import Dict, Tuple

from ppadaattn.errors import InputError
from ppadaattn.model.attention import state_from_dict
from ppadaattn.model.style import Style
from ppadaattn.model.vgg import feature_size

import numpy as np

PROGRAMS = ("network", "style", "content")
# Forms of pictures, {name: shape of a picture whose height and width are these}.
FORMS = {"bytes": lambda *size: [*size, 3], "floats": lambda *size: [1, 3, *size]}
PICTURES = ("content", "style", "stylized")
STATES = {"softmax": ("key", "value", "centre"), "cosine": ("products", "sums", "centre")}


def signature(network, program: str, form: str = "floats") -> Tuple[Dict[str, list], Dict[str, list]]:
    """Inputs and outputs of a program of a network, with pictures in a form of FORMS.

    Returns:
        ({name: shape} of the inputs, {name: shape} of the outputs), in order; sizes that vary are words.

    Raises:
        InputError: a network with another transform than AdaAttN.
    """
    if network.architecture["transform"] != "adaattn":
        raise InputError(f"only networks of AdaAttN are exported; this one is {network.architecture['transform']}")
    content, style = FORMS[form]("height", "width"), FORMS[form]("style_height", "style_width")
    state = state_shapes(network)
    return {
        "network": ({"content": content, "style": style}, {"stylized": content}),
        "style": ({"style": style}, state),
        "content": ({"content": content, **state}, {"stylized": content}),
    }[program]


def state_shapes(network) -> Dict[str, list]:
    """{name: shape} of a style state's tensors, level by level: 'key3', 'value3', 'centre3', 'key4', ..."""
    shapes = {}
    for level in network.levels:
        layer, points = getattr(network, f"adaattn{level}"), f"points{level}"
        value, key = layer.h.weight.shape[0], layer.g.weight.shape[0]
        if layer.attention == "softmax":
            shapes.update({f"key{level}": [1, key, points], f"value{level}": [1, value, points]})
        else:
            shapes.update({f"products{level}": [1, 2 * value + 1, key], f"sums{level}": [1, 2 * value + 1, 1]})
        shapes[f"centre{level}"] = [1, value, 1]
    return shapes


def state_arrays(network, style: Style) -> Dict[str, np.ndarray]:
    """{name: float32 array} of a prepared Style, the inputs of a content program.

    Raises:
        InputError: a mixture or a style with regions, which are not one state.
    """
    kind, arrays = network.architecture["attention"], {}
    for level, state in style.states.items():
        if state.kind != kind:
            raise InputError("exported programs take one style; mixtures and styles with regions are several")
        arrays.update({f"{name}{level}": getattr(state, name).numpy() for name in STATES[kind]})
    return arrays


def style_of_arrays(network, arrays: Dict[str, np.ndarray], size: Tuple[int, int]) -> Style:
    """The Style of the arrays that a style program gave, equal to that of `AdaAttNNetwork.prepare_style`.

    Args:
        network: the AdaAttNNetwork of the program; its style points are drawn, where it draws some.
        arrays: {name: float32 array}.
        size: (height, width) of the style picture, in pixels.
    """
    kind, states = network.architecture["attention"], {}
    for level in network.levels:
        height, width = feature_size(size, level)
        saved = {name: arrays[f"{name}{level}"] for name in STATES[kind]}
        eps = network.conventions.eps
        state = state_from_dict({"kind": kind, **saved, "count": height * width, "eps": eps})
        if kind == "softmax":
            state = state.sampled(getattr(network, f"adaattn{level}").num_style_points)
        states[level] = state
    return Style(states)
