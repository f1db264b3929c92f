"""A network as ONNX graphs of any picture size, written layer by layer from its weights; nothing is traced.

Two programs, so that a style can be computed once and shipped: `style_program` gives the style state of a picture,
`content_program` paints a content with a state. Their inputs and outputs are float32; the state's tensors are those of
`StyleState.state_dict` (softmax: key, value, centre; cosine: products, sums, centre) with the level behind their names.
"""

from ppadaattn.checkpoint import network_weights
from ppadaattn.errors import InputError, import_optional

import numpy as np

OPSET = 18
IR_VERSION = 9  # what ONNX Runtime 1.16 reads too

# Queries that softmax attention works on at once: the matrix of weights is never whole, as in `attention`.
TILE = 512

STATES = {"softmax": ("key", "value", "centre"), "cosine": ("products", "sums", "centre")}


def state_names(network):
    """Names of a style state's tensors in the order of the programs: 'key3', 'value3', ... for the levels in turn."""
    names = STATES[network.architecture["attention"]]
    return [f"{name}{level}" for level in network.levels for name in names]


def state_arrays(network, style):
    """{name: array} of a prepared Style for `content_program`.

    Raises InputError for a mixture or a style in regions, which one state does not hold.
    """
    kind, arrays = network.architecture["attention"], {}
    for level, state in style.states.items():
        if state.kind != kind:
            raise InputError("mixtures and regions are not one style state; exported programs take a single one")
        arrays.update({f"{name}{level}": getattr(state, name).numpy() for name in STATES[kind]})
    return arrays


def content_program(network):
    """'content' [1, 3, H, W], RGB in [0, 1], and a style state -> 'stylized' [1, 3, H, W], clipped; an onnx.ModelProto.

    Raises InputError for a network with another transform than AdaAttN.
    """
    graph = _Network(network)
    features = graph.encode("content")
    embedded = {level: graph.embed(features, level) for level in network.levels}
    stylized = graph.clip(graph.crop(graph.decode(embedded), "content"))
    inputs = {"content": [1, 3, "height", "width"], **graph.state_shapes()}
    return graph.model("content", inputs, {"stylized": (stylized, [1, 3, "height", "width"])})


def style_program(network):
    """'style' [1, 3, H, W], RGB in [0, 1] -> the tensors of its state (`state_names`); an onnx.ModelProto.

    The release's sampling of style points is not part of it: all points are used.
    """
    graph = _Network(network)
    features = graph.encode("style")
    state = {}
    for level in network.levels:
        state.update(graph.style_state(features, level))
    shapes = graph.state_shapes()
    outputs = {name: (tensor, shapes[name]) for name, tensor in state.items()}
    return graph.model("style", {"style": [1, 3, "height", "width"]}, outputs)


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
        """The name of a constant; equal ones are kept once."""
        key = (array.dtype.str, array.shape, array.tobytes())
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
        helper, float32 = self.onnx.helper, self.onnx.TensorProto.FLOAT
        for output, (tensor, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [tensor], [output]))
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info(name, float32, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, float32, shape) for name, (_, shape) in outputs.items()],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="ppadaattn")
        model.ir_version = IR_VERSION
        self.onnx.checker.check_model(model)
        return model


class _Network(_Graph):
    """The layers of an AdaAttNNetwork, in the order and with the names of `network`, `vgg` and `attention`."""

    def __init__(self, network):
        super().__init__()
        if network.architecture["transform"] != "adaattn":
            raise InputError(f"only networks of AdaAttN are exported; this one has {network.architecture['transform']}")
        self.network, self.weights = network, network_weights(network)
        self.attention, self.conventions = network.architecture["attention"], network.conventions

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
        for block, index in self.network.encoder.convolutions():
            if block > 1 and index == 1:
                x = self.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
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
        shallow = range(1, level) if self.network.shallow_features else ()
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

    def unit(self, points):
        squares = self.node("Max", self.node("ReduceSumSquare", points, self.integers(1)), self.number(1e-30))
        length = self.node("Sqrt", squares)
        if self.conventions.eps:
            length = self.node("Add", length, self.number(self.conventions.eps))
        return self.node("Div", points, length)

    # Attention

    def channels(self, level):
        """(of the value, of the key) at a level."""
        return tuple(self.weights[f"adaattn{level}.{layer}.weight"].shape[0] for layer in "hf")

    def state_shapes(self):
        shapes = {}
        for level in self.network.levels:
            value, key = self.channels(level)
            points = f"points{level}"
            if self.attention == "softmax":
                shapes.update({f"key{level}": [1, key, points], f"value{level}": [1, value, points]})
            else:
                shapes.update({f"products{level}": [1, 2 * value + 1, key], f"sums{level}": [1, 2 * value + 1, 1]})
            shapes[f"centre{level}"] = [1, value, 1]
        return shapes

    def style_state(self, features, level):
        key = self.flat(self.convolution(f"adaattn{level}.g", self.stacked_key(features, level), relu=False))
        value = self.flat(self.convolution(f"adaattn{level}.h", features[level], relu=False))
        centre = self.node("ReduceMean", value, self.integers(2))
        value = self.node("Sub", value, centre)
        if self.attention == "softmax":
            return {f"key{level}": key, f"value{level}": value, f"centre{level}": centre}
        ones = self.node("Add", self.node("Mul", self.first_row(value), self.number(0)), self.number(1))
        rows = self.node("Concat", value, self.square(value), ones, axis=1)
        products = self.node("MatMul", rows, self.transposed(self.unit(key)))
        sums = self.node("ReduceSum", rows, self.integers(2))
        return {f"products{level}": products, f"sums{level}": sums, f"centre{level}": centre}

    def first_row(self, points):
        return self.node("Slice", points, self.integers(0), self.integers(1), self.integers(1))

    def statistics(self, query, level):
        value = self.channels(level)[0]
        moments = (self.softmax_moments if self.attention == "softmax" else self.cosine_moments)(query, level)
        first, second = self.node("Split", moments, self.integers(value, value), outputs=2, axis=1)
        variance = self.node("Sub", second, self.square(first))
        certain = self.node("Greater", variance, self.node("Mul", second, self.number(np.finfo(np.float32).eps)))
        variance = self.node("Where", certain, variance, self.number(0))
        return self.node("Add", first, f"centre{level}"), self.node("Sqrt", variance)

    def cosine_moments(self, query, level):
        products = self.node("MatMul", f"products{level}", self.unit(query))
        weighted = self.node("Add", products, f"sums{level}")
        rows = self.integers(2 * self.channels(level)[0], 1)
        values, scores = self.node("Split", weighted, rows, outputs=2, axis=1)
        # The layer's floor is 8 eps N_s; the programs do not know N_s, whose like the sum is unless all keys oppose it.
        return self.node("Div", values, self.node("Max", scores, self.number(1e-6)))

    def softmax_moments(self, query, level):
        """Tile by tile of queries: an ONNX Loop over what is padded to whole tiles, and cut again."""
        helper, types = self.onnx.helper, self.onnx.TensorProto
        value = f"value{level}"
        both = self.transposed(self.node("Concat", value, self.square(value), axis=1))  # [1, N_s, 2C]
        points = self.node("Shape", query, start=2, end=3)
        tiles = self.node("Div", self.node("Add", points, self.integers(TILE - 1)), self.integers(TILE))
        missing = self.node("Sub", self.node("Mul", tiles, self.integers(TILE)), points)
        pads = self.node("Concat", self.integers(0, 0, 0, 0, 0), missing, axis=0)
        padded = self.transposed(self.node("Pad", query, pads))  # [1, tiles * TILE, D]
        inner = type(self).__new__(type(self))
        _Graph.__init__(inner)
        inner._count = self._count + 10_000  # names of a body must differ from those around it
        begin = inner.node("Mul", f"tile{level}", self.integers(TILE))
        stop = inner.node("Add", begin, self.integers(TILE))
        begin, stop = (inner.node("Reshape", number, self.integers(1)) for number in (begin, stop))
        tile = inner.node("Slice", padded, begin, stop, self.integers(1))
        scores = inner.node("MatMul", tile, f"key{level}")
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
                helper.make_tensor_value_info(moments, types.FLOAT, [1, TILE, 2 * self.channels(level)[0]]),
            ],
        )
        count = self.node("Reshape", tiles, self.constant(np.zeros(0, np.int64)))
        stacked = self.node("Loop", count, "", body=body)  # [tiles, 1, TILE, 2C]
        moments = self.node("Reshape", stacked, self.integers(1, -1, 2 * self.channels(level)[0]))
        return self.transposed(self.node("Slice", moments, self.integers(0), points, self.integers(1)))

    def embed(self, features, level):
        query = self.convolution(f"adaattn{level}.f", self.stacked_key(features, level), relu=False)
        shape = self.node("Shape", features[level])
        mean, std = (self.node("Reshape", x, shape) for x in self.statistics(self.flat(query), level))
        return self.node("Add", self.node("Mul", std, self.normalize(features[level])), mean)

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
