"""The two programs of `strips` as ONNX graphs: they encode and paint one tile of a picture.

    encode    a tile and where it lies  ->  its stacked features, with their means and squares, at each level
    paint     normalized stacked features of a tile and a style state  ->  the painted tile

Layers are those of `export_onnx`; numbers of rows and columns are float32 too, as all inputs of programs.
"""

from pathlib import Path

from ppadaattn.files import atomic_write
from ppadaattn.infer.export_onnx import Network
from ppadaattn.infer.programs import state_shapes

PROGRAMS = ("encode", "paint")
PARTS = ("stack", "mean", "squares")  # what `encode` gives of each level


def outputs_of(architecture, program):
    """Names of a program's outputs, in order."""
    if program == "paint":
        return ["stylized"]
    return [f"{part}{level}" for level in architecture["levels"] for part in PARTS]


def save_program(network, program, folder):
    """As `export_onnx.save_program`, for one of PROGRAMS."""
    path, states = Path(folder, f"{program}.onnx"), state_shapes(network)
    graph = TileNetwork(network, "floats", {name: name for name in states})
    model = graph.encoding() if program == "encode" else graph.painting(states)
    with atomic_write(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
    return [path]


class TileNetwork(Network):
    """The layers of a network that works on tiles."""

    def encoding(self):
        """The onnx.ModelProto of `encode`.

        Inputs: `content` [1, 3, h, w]; for each level x `part{x}`, the first row and column and the last ones plus one
        of its map that are wanted; for each shallow level s either `roi{x}_{s}`, the region of `Resize`, or
        `rows{x}_{s}` and `columns{x}_{s}`, those that nearest resizing takes.
        """
        inputs, found = {"content": [1, 3, "height", "width"]}, {}
        features = self.encode("content")
        for level in self.levels:
            inputs[f"part{level}"] = [4]
            start, stop = self.node("Split", self.whole(f"part{level}"), self.integers(2, 2), outputs=2, axis=0)
            own, parts = self.node("Slice", features[level], start, stop, self.integers(2, 3)), []
            for shallow in range(1, level) if self.shallow_features else ():
                name = f"{level}_{shallow}"
                if self.conventions.resize == "bilinear":
                    inputs[f"roi{name}"] = [8]
                    size = self.node("Concat", self.node("Shape", features[shallow], end=2), self.size(own), axis=0)
                    how = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}
                    parts.append(self.node("Resize", features[shallow], f"roi{name}", "", size, **how))
                    continue
                x = features[shallow]
                for axis, places in ((2, f"rows{name}"), (3, f"columns{name}")):
                    inputs[places] = [places]
                    x = self.node("Gather", x, self.whole(places), axis=axis)
                parts.append(x)
            stack = self.node("Concat", *parts, own, axis=1) if parts else own
            mean = self.node("ReduceMean", stack, self.integers(2, 3))
            squares = self.node("ReduceSumSquare", self.node("Sub", stack, mean), self.integers(2, 3))
            found.update(zip([f"{part}{level}" for part in PARTS], (stack, mean, squares)))
        shapes = {name: [1, f"channels_{name}", f"rows_{name}", f"columns_{name}"] for name in found}
        return self.model("encode", inputs, {name: (found[name], shape) for name, shape in shapes.items()})

    def painting(self, states):
        """The onnx.ModelProto of `paint`: inputs `key{x}`, [1, D, h, w], for each level x, and `states`."""
        inputs, embedded = {}, {}
        for level in self.levels:
            channels = self.weights[f"adaattn{level}.f.weight"].shape[1]
            inputs[f"key_of_content{level}"] = [1, channels, f"rows{level}", f"columns{level}"]
            embedded[level] = self.attend(f"key_of_content{level}", level)
        inputs.update(states)
        painted = self.clip(self.decode(embedded))
        return self.model("paint", inputs, {"stylized": (painted, [1, 3, "height", "width"])})

    def whole(self, numbers):
        return self.node("Cast", numbers, to=self.onnx.TensorProto.INT64)
