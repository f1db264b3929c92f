"""A network as ONNX graphs of any picture size, written layer by layer from its weights; nothing is traced.

`programs` says what the programs take and give.

Why the graph is written by hand: paddle2onnx (1.3.1 with Paddle 2.6.2, 2.1.0 with 3.3.1) was tried on the programs of
`export_paddle`, small models, opset 18, ONNX Runtime 1.32. Processor time of a `network` program on one thread:

    program                                    result                                  256 x 256   512 x 512   file
    by hand, softmax                           right                                      0.25 s       4.1 s   6.7 MB
    traced, softmax, tiles in tensor arrays    2.6: the process aborts; 3.3: invalid           -           -        -
    traced, softmax, tiles joined in the loop  right                                0.69, 0.76 s      11.5 s   7.0 MB
    by hand, cosine                            right                                      0.11 s           -   6.7 MB
    traced, cosine                             right                                      0.12 s           -   6.9 MB

Besides, the version of paddle2onnx must fit that of Paddle, its default constant folding did not end within two minutes
(3.3, four of six programs), and every user of the engine would need it: programs are made from the user's weights.
"""

import hashlib
import json
from pathlib import Path

from ppadaattn.errors import import_optional
from ppadaattn.files import atomic_write
from ppadaattn.infer.programs import PICTURES, signature
from ppadaattn.model.architecture import CONVENTIONS, encoder_convolutions
from ppadaattn.version import __version__
from ppadaattn.weights.checkpoint import network_weights

import numpy as np

OPSET = 18
IR_VERSION = 9  # what ONNX Runtime 1.16 reads too

# Queries that softmax attention works on at once, so that the whole matrix of weights is never in memory. Large enough
# for fast matrix products, and 512 x 4096 weights, those of a style of 256 pixels at level 3, take 8 MB.
TILE = 512


# What the files say of their inputs and outputs.
MEANINGS = {
    "content": "the picture to paint, RGB",
    "style": "the picture whose style is taken, RGB",
    "stylized": "the content in the style, RGB, of the content's height and width",
    "bytes": "uint8 [height, width, 3], 0 to 255, at least 17 pixels a side",
    "floats": "float32 [1, 3, height, width], 0 to 1, at least 17 pixels a side",
    "state": "part of a style's state: what the program `style` gives and the program `content` takes",
}


def save_program(network, program, folder, form="bytes", about=None):
    """Write a program of a network, one of `programs.PROGRAMS`, into a folder.

    Returns:
        a list with the path of its file.

    Raises:
        InputError: a file that cannot be written, a network with another transform than AdaAttN, no `onnx`.
    """
    path, model = Path(folder, f"{program}.onnx"), make_program(network, program, form, about)
    with atomic_write(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
    return [path]


def make_program(network, program, form="bytes", about=None):
    """The onnx.ModelProto of a program of a network; errors as for `save_program`.

    Args:
        network: an AdaAttNNetwork, or a StoredNetwork.
        program: one of `programs.PROGRAMS`.
        form: of the pictures, one of `programs.FORMS`.
        about: {key: text} for the file's metadata, which also say the version, the program and the architecture.
    """
    inputs, outputs = signature(network, program, form)
    graph = Network(network, form, {name: name for name in inputs})
    if program != "content":
        graph.prepare_style(graph.read_picture("style"))
    tensors = graph.state if program == "style" else {"stylized": graph.paint(graph.read_picture("content"))}
    model = graph.model(program, inputs, {name: (tensors[name], shape) for name, shape in outputs.items()})
    described = {"version": __version__, "program": program, "pictures": form, **(about or {})}
    described["architecture"] = json.dumps(network.architecture)
    graph.onnx.helper.set_model_props(model, described)
    return model


def store_halves(model, least):
    """Store the weights of an onnx.ModelProto with at least so many numbers as float16; it still computes in float32.

    A Cast restores float32. Runtimes do that once, when they load the program: its file is half as large, no more.
    """
    onnx = import_optional("onnx", "onnx", "exported programs")
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.size >= least:
            name, half = tensor.name, f"{tensor.name}_half"
            tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float16), half))
            casts.append(onnx.helper.make_node("Cast", [half], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)


class _Graph:
    """Collects the nodes and constants of an ONNX graph; tensors are known by their names."""

    def __init__(self):
        self.onnx = import_optional("onnx", "onnx", "exported programs")
        self.nodes, self.constants, self._count, self._known = [], [], 0, {}

    def node(self, kind, *inputs, outputs=1, **attributes):
        """Add an operator; the name of its output, or a list of names."""
        self._count += 1
        names = [f"{kind}_{self._count}" + (f"_{index}" if outputs > 1 else "") for index in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array):
        """The name of a constant; equal constants are stored once."""
        key = (array.dtype.str, array.shape, hashlib.sha256(np.ascontiguousarray(array)).digest())
        if key not in self._known:
            self._known[key] = f"constant_{len(self._known)}"
            self.constants.append(self.onnx.numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def integers(self, *values):
        return self.constant(np.array(values, np.int64))

    def number(self, value):
        return self.constant(np.array(value, np.float32))

    def size(self, tensor):
        """[height, width] of a feature map."""
        return self.node("Shape", tensor, start=2, end=4)

    def flat(self, tensor):
        """[B, C, H, W] -> [B, C, H * W]."""
        return self.node("Reshape", tensor, self.integers(0, 0, -1))

    def transposed(self, tensor):
        return self.node("Transpose", tensor, perm=[0, 2, 1])

    def square(self, tensor):
        return self.node("Mul", tensor, tensor)

    def crop(self, tensor, like):
        return self.node("Slice", tensor, self.integers(0, 0), self.size(like), self.integers(2, 3))

    def clip(self, tensor):
        return self.node("Clip", tensor, self.number(0), self.number(1))

    def model(self, name, inputs, outputs):
        """The onnx.ModelProto of {name: shape} inputs and {name: (tensor, shape)} outputs, checked."""
        helper, types = self.onnx.helper, self.onnx.TensorProto

        def described(name, shape):
            picture = name in PICTURES
            kind = types.UINT8 if picture and self.form == "bytes" else types.FLOAT
            meaning = f"{MEANINGS[name]}: {MEANINGS[self.form]}" if picture else MEANINGS["state"]
            return helper.make_tensor_value_info(name, kind, shape, meaning)

        for output, (tensor, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [tensor], [output]))
        graph = helper.make_graph(
            self.nodes,
            name,
            [described(name, shape) for name, shape in inputs.items()],
            [described(name, shape) for name, (_, shape) in outputs.items()],
            self.constants,
        )
        self.constants = []  # the graph has copies: weights are large at full width, and each copy counts
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="ppadaattn")
        del graph
        model.ir_version = IR_VERSION
        self.onnx.checker.check_model(model)
        return model


class Network(_Graph):
    """The layers of an AdaAttNNetwork, in the order and with the names of `network`, `vgg` and `attention`."""

    def __init__(self, network, form, state):
        """`state`: {name: tensor} of a style state; `prepare_style` replaces it."""
        super().__init__()
        self.form = form
        self.weights, self.state = network_weights(network), state
        architecture = network.architecture
        self.levels, self.attention = architecture["levels"], architecture["attention"]
        self.conventions = CONVENTIONS[architecture["conventions"]]
        self.shallow_features = architecture["shallow_features"]

    def prepare_style(self, picture):
        features = self.encode(picture)
        self.state = {}
        for level in self.levels:
            self.state.update(self.style_state(features, level))

    def paint(self, content):
        features = self.encode(content)
        embedded = {level: self.attend(self.stacked_key(features, level), level) for level in self.levels}
        return self.write_picture(self.clip(self.crop(self.decode(embedded), content)))

    # Pictures, converted exactly as `media.images.to_floats` and `to_bytes` do

    def read_picture(self, name):
        """float32 [1, 3, H, W] in [0, 1] of an input."""
        if self.form == "floats":
            return name
        picture = self.node("Unsqueeze", self.node("Transpose", name, perm=[2, 0, 1]), self.integers(0))
        return self.node("Div", self.node("Cast", picture, to=self.onnx.TensorProto.FLOAT), self.number(255))

    def write_picture(self, picture):
        """An output of float32 [1, 3, H, W] in [0, 1]."""
        if self.form == "floats":
            return picture
        rounded = self.node("Round", self.node("Mul", picture, self.number(255)))  # halves to even, as numpy does
        picture = self.node("Cast", rounded, to=self.onnx.TensorProto.UINT8)
        return self.node("Transpose", self.node("Squeeze", picture, self.integers(0)), perm=[1, 2, 0])

    # Layers

    def convolution(self, name, x, relu=True):
        weight, bias = (self.constant(self.weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        side = self.weights[f"{name}.weight"].shape[2]
        if side > 1:
            x = self.node("Pad", x, self.integers(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect")
        x = self.node("Conv", x, weight, bias, kernel_shape=[side, side])
        return self.node("Relu", x) if relu else x

    def encode(self, x):
        features = {}
        for block, index in encoder_convolutions(max(self.levels)):
            if block > 1 and index == 1:
                # An odd side is padded at its end, which is the same as ceil_mode; more runtimes know it.
                x = self.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
            x = self.convolution(f"encoder.conv{block}_{index}", x)
            if index == 1:
                features[block] = x
        return features

    def normalize(self, x):
        difference = self.node("Sub", x, self.node("ReduceMean", x, self.integers(2, 3)))
        squares = self.node("ReduceSumSquare", difference, self.integers(2, 3))
        count = self.node("Cast", self.node("ReduceProd", self.size(x), keepdims=0), to=self.onnx.TensorProto.FLOAT)
        others = self.node("Max", self.node("Sub", count, self.number(1)), self.number(1))
        variance = self.node("Add", self.node("Div", squares, others), self.number(1e-5))
        return self.node("Div", difference, self.node("Sqrt", variance))

    def stacked_key(self, features, level):
        resize = self.bilinear if self.conventions.resize == "bilinear" else self.nearest
        shallow = range(1, level) if self.shallow_features else ()
        parts = [resize(features[x], features[level]) for x in shallow]
        stack = self.node("Concat", *parts, features[level], axis=1) if parts else features[level]
        return self.normalize(stack)

    def bilinear(self, x, like):
        size = self.node("Concat", self.node("Shape", x, start=0, end=2), self.size(like), axis=0)
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return self.node("Resize", x, "", "", size, **how)

    def nearest(self, x, like):
        """Row i of h is row floor(i H / h) of H: in integers, since Resize divides by a rounded h / H."""
        for axis in (2, 3):
            before, after = (self.node("Shape", tensor, start=axis, end=axis + 1) for tensor in (x, like))
            count = self.node("Reshape", after, self.constant(np.zeros(0, np.int64)))
            places = self.node("Range", self.constant(np.array(0)), count, self.constant(np.array(1)))
            x = self.node("Gather", x, self.node("Div", self.node("Mul", places, before), after), axis=axis)
        return x

    def unit(self, points, level):
        # A product with ones, because ONNX Runtime sums over channels slowly.
        ones = self.constant(np.ones((1, 1, self.weights[f"adaattn{level}.f.weight"].shape[0]), np.float32))
        squares = self.node("MatMul", ones, self.square(points))
        length = self.node("Sqrt", self.node("Max", squares, self.number(1e-30)))
        if self.conventions.eps:
            length = self.node("Add", length, self.number(self.conventions.eps))
        return self.node("Div", points, length)

    # Attention

    def few(self, points, level):
        """The points [1, C, N] that attention uses, where they are evenly spaced: see `chosen_positions`."""
        most = self.conventions.num_style_points.get(level)
        if most is None or self.conventions.random_points or self.attention != "softmax":
            return points
        count = self.node("Reshape", self.node("Shape", points, start=2, end=3), self.constant(np.zeros(0, np.int64)))
        most = self.node("Min", count, self.constant(np.array(most)))
        zero, one, two = (self.constant(np.array(number)) for number in (0, 1, 2))
        middles = self.node("Add", self.node("Mul", self.node("Range", zero, most, one), two), one)
        chosen = self.node("Div", self.node("Mul", middles, count), self.node("Mul", most, two))
        return self.node("Gather", points, chosen, axis=2)

    def values(self, level):
        """Channels of the values."""
        return self.weights[f"adaattn{level}.h.weight"].shape[0]

    def style_state(self, features, level):
        maps = {"g": self.stacked_key(features, level), "h": features[level]}
        key, value = (
            self.few(self.flat(self.convolution(f"adaattn{level}.{name}", x, relu=False)), level)
            for name, x in maps.items()
        )
        centre = self.node("ReduceMean", value, self.integers(2))
        value = self.node("Sub", value, centre)
        if self.attention == "softmax":
            return {f"key{level}": key, f"value{level}": value, f"centre{level}": centre}
        ones = self.node("Add", self.node("Mul", self.first_row(value), self.number(0)), self.number(1))
        rows = self.node("Concat", value, self.square(value), ones, axis=1)
        products = self.node("MatMul", rows, self.transposed(self.unit(key, level)))
        sums = self.node("ReduceSum", rows, self.integers(2))
        return {f"products{level}": products, f"sums{level}": sums, f"centre{level}": centre}

    def first_row(self, points):
        return self.node("Slice", points, self.integers(0), self.integers(1), self.integers(1))

    def statistics(self, query, level):
        value = self.values(level)
        moments = (self.softmax_moments if self.attention == "softmax" else self.cosine_moments)(query, level)
        first, second = self.node("Split", moments, self.integers(value, value), outputs=2, axis=1)
        variance = self.node("Sub", second, self.square(first))
        certain = self.node("Greater", variance, self.node("Mul", second, self.number(np.finfo(np.float32).eps)))
        variance = self.node("Where", certain, variance, self.number(0))
        return self.node("Add", first, self.state[f"centre{level}"]), self.node("Sqrt", variance)

    def cosine_moments(self, query, level):
        products = self.node("MatMul", self.state[f"products{level}"], self.unit(query, level))
        weighted = self.node("Add", products, self.state[f"sums{level}"])
        rows = self.integers(2 * self.values(level), 1)
        values, scores = self.node("Split", weighted, rows, outputs=2, axis=1)
        # The layer's floor is 8 eps N_s, with eps of float32. A program does not know N_s: 8 eps are enough, since the
        # sum is about N_s unless every key opposes the query.
        return self.node("Div", values, self.node("Max", scores, self.number(1e-6)))

    def softmax_moments(self, query, level):
        """Attention tile by tile: an ONNX Loop over queries that are padded to whole tiles; the result is cut."""
        helper, types = self.onnx.helper, self.onnx.TensorProto
        key, value = self.state[f"key{level}"], self.state[f"value{level}"]
        both = self.transposed(self.node("Concat", value, self.square(value), axis=1))  # [1, N_s, 2C]
        points = self.node("Shape", query, start=2, end=3)
        tiles = self.node("Div", self.node("Add", points, self.integers(TILE - 1)), self.integers(TILE))
        missing = self.node("Sub", self.node("Mul", tiles, self.integers(TILE)), points)
        pads = self.node("Concat", self.integers(0, 0, 0, 0, 0), missing, axis=0)
        padded = self.transposed(self.node("Pad", query, pads))  # [1, tiles * TILE, D]
        inner = type(self).__new__(type(self))
        _Graph.__init__(inner)
        inner._count = self._count + 10_000  # names in the body must differ from those around it
        begin = inner.node("Mul", f"tile{level}", self.integers(TILE))
        stop = inner.node("Add", begin, self.integers(TILE))
        begin, stop = (inner.node("Reshape", number, self.integers(1)) for number in (begin, stop))
        tile = inner.node("Slice", padded, begin, stop, self.integers(1))
        scores = inner.node("MatMul", tile, key)
        moments = inner.node("MatMul", inner.node("Softmax", scores, axis=-1), both)
        going_on = inner.node("Identity", f"go{level}")
        body = helper.make_graph(
            inner.nodes,
            f"tile_of_level{level}",
            [
                helper.make_tensor_value_info(f"tile{level}", types.INT64, []),
                helper.make_tensor_value_info(f"go{level}", types.BOOL, []),
            ],
            [
                helper.make_tensor_value_info(going_on, types.BOOL, []),
                helper.make_tensor_value_info(moments, types.FLOAT, [1, TILE, 2 * self.values(level)]),
            ],
        )
        count = self.node("Reshape", tiles, self.constant(np.zeros(0, np.int64)))
        stacked = self.node("Loop", count, "", body=body)  # [tiles, 1, TILE, 2C]
        moments = self.node("Reshape", stacked, self.integers(1, -1, 2 * self.values(level)))
        return self.transposed(self.node("Slice", moments, self.integers(0), points, self.integers(1)))

    def attend(self, key, level):
        """F_cs (eqs. 5 to 8) of the normalized stacked features of a content."""
        query = self.convolution(f"adaattn{level}.f", key, relu=False)
        # Norm(F_c) is the last part of the key, which is normalized channel by channel.
        start, stop = -self.values(level), np.iinfo(np.int64).max
        content = self.node("Slice", key, self.integers(start), self.integers(stop), self.integers(1))
        shape = self.node("Shape", content)
        mean, std = (self.node("Reshape", x, shape) for x in self.statistics(self.flat(query), level))
        return self.node("Add", self.node("Mul", std, content), mean)

    # Decoder

    def upsample(self, x, like=None):
        scale = self.constant(np.array([1, 1, 2, 2], np.float32))
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        x = self.node("Resize", x, "", scale, **how)
        return x if like is None else self.crop(x, like)

    def decode(self, embedded):
        x = embedded[max(embedded)]
        if 5 in embedded:
            x = self.node("Add", self.upsample(x, embedded[4]), embedded[4])
            x = self.convolution("decoder.merge", x, relu=self.conventions.merge_relu)
        if max(embedded) > 3:
            x = self.convolution("decoder.stage4", x)
            x = self.upsample(x, embedded.get(3))
            x = self.node("Concat", x, embedded[3], axis=1) if 3 in embedded else x
        for index in range(4):
            x = self.convolution(f"decoder.stage3.{index}", x)
        x = self.upsample(x)
        for index in range(2):
            x = self.convolution(f"decoder.stage2.{index}", x)
        x = self.convolution("decoder.stage1.0", self.upsample(x))
        return self.convolution("decoder.stage1.1", x, relu=False)
