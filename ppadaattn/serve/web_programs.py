"""A network as four ONNX graphs, for the page without a service: together smaller than the programs of `export_onnx`.

    encode    a picture                             ->  its key and its feature at each level
    state     keys and features of a picture        ->  the state of that picture as a style
    attend    keys of a content, a state            ->  M and S at each level (eqs. 5 to 7)
    decode    keys of a content, M and S, its size  ->  the stylized picture (eqs. 8 and 3)

Between `attend` and `decode` the page mixes M and S of several styles, of regions, and of the content itself where the
strength is below 1. Layers are those of `export_onnx`; the size is float32 too, as all inputs but pictures.
"""

import json

from ppadaattn.infer.export_onnx import Network
from ppadaattn.infer.programs import state_shapes
from ppadaattn.model.architecture import attention_channels
from ppadaattn.version import __version__

import numpy as np

MEANINGS = {
    "content": "picture, RGB: uint8 [height, width, 3], at least 17 pixels a side",
    "stylized": "painted picture, RGB: uint8 [height, width, 3]",
    "size": "height and width of the picture",
    "key": "normalized features of levels 1 to x at the size of level x (eq. 1); `attend` takes any points of it",
    "feature": "features of level x",
    "mean": "M (eq. 6) of each point, or a weighted sum of several",
    "std": "S (eq. 7) of each point, or a weighted sum of several",
}


class _Parts(Network):
    """The layers of a network in parts. Each `..._program` gives (names of its inputs, {name of an output: tensor})."""

    def __init__(self, network):
        self.states = list(state_shapes(network))
        super().__init__(network, "bytes", {name: name for name in self.states})

    def named(self, *names):
        return [f"{name}{level}" for level in self.levels for name in names]

    def encode_program(self):
        features, found = self.encode(self.read_picture("content")), {}
        for level in self.levels:
            found[f"content_key{level}"] = super().stacked_key(features, level)
            found[f"content_feature{level}"] = features[level]
        return ["content"], found

    def stacked_key(self, features, level):
        return f"content_key{level}"

    def state_program(self):
        features, found = {level: f"content_feature{level}" for level in self.levels}, {}
        for level in self.levels:
            found.update(self.style_state(features, level))
        return self.named("content_key", "content_feature"), {name: found[name] for name in self.states}

    def attend_program(self):
        found = {}
        for level in self.levels:
            query = self.convolution(f"adaattn{level}.f", f"content_key{level}", relu=False)
            found[f"mean{level}"], found[f"std{level}"] = self.statistics(self.flat(query), level)
        return [*self.named("content_key"), *self.states], found

    def decode_program(self):
        embedded = {}
        for level in self.levels:
            # Norm(F_c) is the last part of the key, which is normalized channel by channel.
            starts, ends = self.integers(-self.values(level)), self.integers(np.iinfo(np.int64).max)
            content = self.node("Slice", f"content_key{level}", starts, ends, self.integers(1))
            shape = self.node("Shape", content)
            mean, std = (self.node("Reshape", f"{name}{level}", shape) for name in ("mean", "std"))
            embedded[level] = self.node("Add", self.node("Mul", std, content), mean)
        size = self.node("Cast", "size", to=self.onnx.TensorProto.INT64)
        picture = self.node("Slice", self.decode(embedded), self.integers(0, 0), size, self.integers(2, 3))
        return [*self.named("content_key", "mean", "std"), "size"], {"stylized": self.write_picture(self.clip(picture))}


PROGRAMS = {
    "encode": _Parts.encode_program,
    "state": _Parts.state_program,
    "attend": _Parts.attend_program,
    "decode": _Parts.decode_program,
}


def make_program(network, program, about=None):
    """The onnx.ModelProto of one of PROGRAMS; `about`, {key: text}, is added to the file's metadata."""
    graph = _Parts(network)
    inputs, outputs = PROGRAMS[program](graph)
    shapes = {"content": ["height", "width", 3], "stylized": ["height", "width", 3], "size": [2]}
    shapes.update(state_shapes(network))
    for level, (key, value) in attention_channels(network.architecture).items():
        for name, channels in (("key", key), ("feature", value)):
            shapes[f"content_{name}{level}"] = [1, channels, f"height{level}", f"width{level}"]
        shapes.update({f"{name}{level}": [1, value, f"content_points{level}"] for name in ("mean", "std")})
    outputs = {name: (tensor, shapes[name]) for name, tensor in outputs.items()}
    model = graph.model(program, {name: shapes[name] for name in inputs}, outputs)
    for value in (*model.graph.input, *model.graph.output):
        name = value.name.replace("content_", "").rstrip("345")
        value.doc_string = MEANINGS.get(name, "part of a style's state")
    described = {"version": __version__, "program": program, "architecture": json.dumps(network.architecture)}
    graph.onnx.helper.set_model_props(model, {**described, **(about or {})})
    return model
