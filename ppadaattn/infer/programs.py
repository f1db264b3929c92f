"""Inputs and outputs of exported programs, in any format: `export_onnx` and `export_paddle` write them.

    network    a content and a style picture  ->  the stylized picture
    style      a style picture                ->  its style state, which can be kept in a file
    content    a content and a style state    ->  the stylized picture

Pictures are RGB with sides from 17 pixels, in one of two forms:

    bytes     uint8 [H, W, 3], as files hold them: conversion, clipping and rounding are part of the program
    floats    float32 [1, 3, H, W] in [0, 1], as the network takes them; stylized pictures are clipped

The tensors of a style state, float32, are those of `StyleState.state_dict`, named with the level at the end. Programs
choose style points that are evenly spaced. The release's, which are drawn at random, are left to `style_of_arrays`: the
programs give and use all of them.
"""

from typing import Dict, Tuple

from ppadaattn.errors import InputError
from ppadaattn.model.architecture import CONVENTIONS, attention_channels, chosen_positions, feature_size
from ppadaattn.model.style import Style

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
    for level, (key, value) in attention_channels(network.architecture).items():
        points = f"points{level}"
        if network.architecture["attention"] == "softmax":
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
    if isinstance(style, ProgramStyle):
        return style.arrays
    kind, arrays = network.architecture["attention"], {}
    for level, state in style.states.items():
        if state.kind != kind:
            raise InputError("exported programs take one style; mixtures and styles with regions are several")
        arrays.update({f"{name}{level}": getattr(state, name).numpy() for name in STATES[kind]})
    return arrays


def style_of_arrays(network, arrays: Dict[str, np.ndarray], size: Tuple[int, int]) -> Style:
    """The Style of the arrays that a style program gave, equal to that of `AdaAttNNetwork.prepare_style`.

    Args:
        network: that of the program; its style points are drawn, where it draws some.
        arrays: {name: float32 array}.
        size: (height, width) of the style picture, in pixels.
    """
    kind, conventions = network.architecture["attention"], CONVENTIONS[network.architecture["conventions"]]
    saved = {}
    for level in network.architecture["levels"]:
        state = {"kind": kind, **{name: arrays[f"{name}{level}"] for name in STATES[kind]}}
        if kind == "softmax":
            state = _sampled(state, conventions.num_style_points.get(level), conventions.seed_of_points())
        else:
            height, width = feature_size(size, level)
            state.update(count=height * width, eps=conventions.eps)
        saved[level] = state
    return ProgramStyle(saved)


def _sampled(state, most, seed):
    """A softmax state with at most so many points, as `style_state` chooses them."""
    count = state["key"].shape[2]
    if most is None or count <= most:
        return state
    chosen = chosen_positions(count, most, seed)
    value = state["value"][:, :, chosen] + state["centre"]
    centre = value.mean(2, keepdims=True)
    return {"kind": state["kind"], "key": state["key"][:, :, chosen], "value": value - centre, "centre": centre}


class ProgramStyle(Style):
    """A style that a program prepared, in numpy. It is a Style in all; its states, for Paddle, are made when needed.

    Args:
        saved: {level: `StyleState.state_dict`}.
    """

    is_single = True

    def __init__(self, saved, fingerprint=None):
        self._saved, self._states = saved, None
        self.fingerprint, self.regions = fingerprint, {}

    @property
    def arrays(self):
        """{name: float32 array}, the inputs of a content program."""
        return {f"{name}{x}": state[name] for x, state in self._saved.items() for name in STATES[state["kind"]]}

    @property
    def states(self):
        if self._states is None:
            from ppadaattn.model.attention import state_from_dict  # here, because it loads Paddle

            self._states = {level: state_from_dict(state) for level, state in self._saved.items()}
        return self._states

    def state_dicts(self):
        return self._saved
