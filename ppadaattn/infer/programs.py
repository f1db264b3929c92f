"""What exported programs take and give, whatever format they are in: `export_onnx` and `export_paddle` write them.

    network    a content and a style picture  ->  the stylized picture
    style      a style picture                ->  its style state, which can be kept and shipped
    content    a content and a style state    ->  the stylized picture

Pictures are RGB in [0, 1], float32 [1, 3, H, W] with sides from 17 pixels; what is stylized is clipped. A style state's
tensors are those of `StyleState.state_dict` with the level behind their names. The release's sampling of style points
is no part of them: all points are used (`style_of_arrays` draws from what a style program gives).
"""

from ppadaattn.errors import InputError
from ppadaattn.model.attention import state_from_dict
from ppadaattn.model.style import Style
from ppadaattn.model.vgg import feature_size

PROGRAMS = ("network", "style", "content")
STATES = {"softmax": ("key", "value", "centre"), "cosine": ("products", "sums", "centre")}


def signature(network, program):
    """Inputs and outputs of a program of a network, each {name: shape} in order; sizes that vary are words.

    Raises InputError for a network with another transform than AdaAttN.
    """
    if network.architecture["transform"] != "adaattn":
        raise InputError(f"only networks of AdaAttN are exported; this one has {network.architecture['transform']}")
    content, style, state = [1, 3, "height", "width"], [1, 3, "style_height", "style_width"], state_shapes(network)
    return {
        "network": ({"content": content, "style": style}, {"stylized": content}),
        "style": ({"style": style}, state),
        "content": ({"content": content, **state}, {"stylized": content}),
    }[program]


def state_shapes(network):
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


def state_arrays(network, style):
    """{name: array} of a prepared Style, for a content program.

    Raises InputError for a mixture or a style in regions, which one state does not hold.
    """
    kind, arrays = network.architecture["attention"], {}
    for level, state in style.states.items():
        if state.kind != kind:
            raise InputError("mixtures and regions are not one style state; exported programs take a single one")
        arrays.update({f"{name}{level}": getattr(state, name).numpy() for name in STATES[kind]})
    return arrays


def style_of_arrays(network, arrays, size):
    """The Style of a picture of `size`, (height, width) in pixels, of which a style program gave these arrays.

    It is that of `AdaAttNNetwork.prepare_style`: where the network draws style points, they are drawn.
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
