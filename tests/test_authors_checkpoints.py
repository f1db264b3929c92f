"""The authors' PyTorch checkpoints: read, with and without PyTorch, and as networks of this project."""

import pickle
import re
import sys
import zipfile

import ppadaattn
from ppadaattn.cli import convert as command
from ppadaattn.errors import InputError
from ppadaattn.weights.checkpoint import load_network, network_weights
from ppadaattn.weights.convert import vgg19
from ppadaattn.weights.pytorch import LEGACY, read_tensors

import numpy as np
import paddle
import pytest
from test_checkpoint import Malicious

# Where the convolutions are in the authors' Sequentials, and their stages in ours.
DECODER_INDICES = (1, 4, 7, 10, 14, 17, 21, 24)
STAGES = [f"decoder.stage{stage}" for stage in ("3.0", "3.1", "3.2", "3.3", "2.0", "2.1", "1.0", "1.1")]
ENCODER_INDICES = (0, 2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48, 51)


# The files ----------------------------------------------------------------------------------------------------------


def release(kind, width, seed=0):
    """{part: {name: float32 array}} of the authors' files, random; 'encoder' is vgg_normalised.pth up to relu5_4."""
    rng = np.random.RandomState(seed)
    c1, c2, c3, c4 = (int(channels * width) for channels in (64, 128, 256, 512))

    def layer(name, before, after, size=3):
        scale = (2 / before / size**2) ** 0.5 if size > 1 else before**-0.5
        weight = rng.randn(after, before, size, size) * scale
        return {f"{name}.weight": weight.astype("float32"), f"{name}.bias": rng.randn(after).astype("float32") / 10}

    def layers(names, channels):
        named = (layer(*one) for one in zip(names, channels, channels[1:]))
        return {name: array for arrays in named for name, array in arrays.items()}

    def attention(prefix, value, key):
        widths = {"f": key, "g": key, "h": value}
        return dict(item for name, c in widths.items() for item in layer(f"{prefix}{name}", c, c, 1).items())

    widths = [c1] * 2 + [c2] * 2 + [c3] * 4 + [c4] * 8
    encoder = layers([str(index) for index in ENCODER_INDICES[1:]], [3, *widths])
    # RGB in [0, 1] to BGR in [-124, 151] or so.
    encoder["0.weight"] = 255 * np.eye(3, dtype="float32")[::-1].reshape(3, 3, 1, 1)
    encoder["0.bias"] = np.array([-103.9, -116.8, -123.7], "float32")
    below = [c3] * 3 + [c2, c2, c1, c1, 3]
    at_3 = attention("", c3, c1 + c2 + c3)
    if kind == "video":
        decoder = layers([f"decoder.{index}" for index in DECODER_INDICES], [c3, *below])
        return {"transformer": at_3, "decoder": decoder, "encoder": encoder}
    transformer = {
        **attention("attn_adain_4_1.", c4, c1 + c2 + c3 + c4),
        **attention("attn_adain_5_1.", c4, c1 + c2 + c3 + 2 * c4),
        **layer("merge_conv", c4, c4),
    }
    decoder = {
        **layer("decoder_layer_1.1", c4, c3),
        **layers([f"decoder_layer_2.{index}" for index in DECODER_INDICES], [2 * c3, *below]),
    }
    return {"transformer": transformer, "decoder": decoder, "adaattn_3": at_3, "encoder": encoder}


def below(prefix, arrays):
    return {f"{prefix}{name}": array for name, array in arrays.items()}


def plain(value):
    """The opcodes of a plain value, to stand inside a pickle."""
    return pickle.dumps(value, 2)[2:-1]


EMPTY = b"ccollections\nOrderedDict\n)R"
STORAGES = {"float32": "Float", "float16": "Half", "float64": "Double", "int64": "Long", "uint16": "BFloat16"}


def tensor(array, number, offset=0, shape=None, stride=None):
    """The opcodes of a tensor whose storage is the file `number`: what torch.save writes, opcode by opcode."""
    shape, stride = shape or array.shape, stride or [step // array.itemsize for step in array.strides]
    kind = f"ctorch\n{STORAGES[array.dtype.name]}Storage\n".encode()
    storage = b"(" + plain("storage") + kind + plain(str(number)) + plain("cpu") + plain(array.size) + b"tQ"
    view = plain(offset) + plain(tuple(shape)) + plain(tuple(stride))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"\x89" + EMPTY + b"tR"


def write_zip(path, pickled, storages, byteorder=None):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for number, raw in enumerate(storages):
            archive.writestr(f"archive/data/{number}", raw)
        if byteorder:
            archive.writestr("archive/byteorder", byteorder)
        archive.writestr("archive/version", "3\n")


def state_dict(entries):
    """The pickle of an OrderedDict of {name: opcodes} with the `_metadata` of modules."""
    items = b"".join(plain(name) + opcodes for name, opcodes in entries.items())
    return b"\x80\x02" + EMPTY + b"(" + items + b"u}" + plain("_metadata") + EMPTY + b"sb."


def save(path, arrays):
    """What torch.save would write of a state dict, without PyTorch."""
    entries = {name: tensor(array, number) for number, (name, array) in enumerate(arrays.items())}
    write_zip(path, state_dict(entries), [array.tobytes() for array in arrays.values()])


def save_release(folder, parts, save=save):
    """The files of a release in a new folder."""
    folder.mkdir(exist_ok=True)
    for part, arrays in parts.items():
        name = "vgg_normalised" if part == "encoder" else f"latest_net_{part}"
        save(folder / f"{name}.pth", {name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return folder


@pytest.fixture
def convert(tmp_path, capsys):
    """convert(*words) -> (status, the one line of the error, the network's file or None)."""

    def run(*words):
        output = tmp_path / "converted.pdparams"
        status = command.main([*map(str, words), "--output", str(output)])
        error = capsys.readouterr().err
        assert error.count("\n") == (status != 0)
        return status, error, output if output.exists() else None

    return run


# The authors' network -----------------------------------------------------------------------------------------------


class Authors:
    """The authors' network in PyTorch and float64, with what differs between their release and the paper."""

    def __init__(self, parts):
        self.torch = torch = pytest.importorskip("torch")
        self.video = "adaattn_3" not in parts
        transformer, decoder = parts["transformer"], parts["decoder"]
        pool, self.up = torch.nn.MaxPool2d(2, 2, 0, ceil_mode=True), torch.nn.Upsample(scale_factor=2, mode="nearest")
        self.encoder = self._sequential(parts["encoder"], "", ENCODER_INDICES, dict.fromkeys((7, 14, 27, 40), pool))
        name = "decoder" if self.video else "decoder_layer_2"
        self.decoder = self._sequential(decoder, f"{name}.", DECODER_INDICES, dict.fromkeys((12, 19), self.up))
        self.decoder = self.decoder[:-1]  # no ReLU after the last convolution
        at_3 = transformer if self.video else parts["adaattn_3"]
        self.attention = {3: [self._convolution(at_3, name) for name in "fgh"]}
        if not self.video:
            for level in (4, 5):
                names = [f"attn_adain_{level}_1.{name}" for name in "fgh"]
                self.attention[level] = [self._convolution(transformer, name) for name in names]
            pad = torch.nn.ReflectionPad2d(1)
            self.merge = torch.nn.Sequential(pad, self._convolution(transformer, "merge_conv"))
            self.first = self._sequential(decoder, "decoder_layer_1.", (1,), {3: self.up})

    def _convolution(self, arrays, name):
        weight, bias = (self.torch.from_numpy(arrays[f"{name}.{end}"].copy()) for end in ("weight", "bias"))
        layer = self.torch.nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2]).double()
        layer.load_state_dict({"weight": weight, "bias": bias})
        return layer

    def _sequential(self, arrays, prefix, indices, others):
        """Convolutions at `indices`, `others` at theirs, before 3x3 convolutions a padding, and else ReLU."""
        nn, layers = self.torch.nn, []
        for index in range(max(*indices, *others) + 2):
            if index in indices:
                layers.append(self._convolution(arrays, f"{prefix}{index}"))
            else:
                layers.append(others.get(index) or (nn.ReflectionPad2d(1) if index + 1 in indices else nn.ReLU()))
        return nn.Sequential(*layers)

    def _features(self, image):
        features, x = [], self.torch.from_numpy(image).double()
        for index, layer in enumerate(self.encoder):
            x = layer(x)
            if index in (3, 10, 17, 30, 43):
                features.append(x)
        return features

    @staticmethod
    def _norm(x):
        flat = x.flatten(2)
        return (x - flat.mean(2)[..., None, None]) / (flat.var(2) + 1e-5).sqrt()[..., None, None]

    def _key(self, features, level):
        resize = self.torch.nn.functional.interpolate
        size = features[level - 1].shape[2:]
        return self.torch.cat([self._norm(resize(x, size, mode="nearest")) for x in features[:level]], 1)

    def _embed(self, level, content, style):
        torch = self.torch
        f, g, h = self.attention[level]
        query, key = f(self._key(content, level)).flatten(2).transpose(1, 2), g(self._key(style, level)).flatten(2)
        value = h(style[level - 1]).flatten(2).transpose(1, 2)
        scores = query @ key
        if self.video:
            norms = (query.norm(dim=2)[:, :, None] + 1e-5) * (key.norm(dim=1)[:, None] + 1e-5)
            scores = scores / norms + 1
            weights = scores / (scores.sum(-1, keepdim=True) + 1e-5)
        else:
            weights = torch.softmax(scores, -1)
        mean = weights @ value
        std = (weights @ value**2 - mean**2).clamp(min=0).sqrt()
        mean, std = (x.transpose(1, 2).reshape(content[level - 1].shape) for x in (mean, std))
        return std * self._norm(content[level - 1]) + mean

    def __call__(self, content, style):
        with self.torch.no_grad():
            content, style = self._features(content), self._features(style)
            x = self._embed(3, content, style)
            if not self.video:
                deep = self.merge(self._embed(4, content, style) + self.up(self._embed(5, content, style)))
                x = self.torch.cat([self.first(deep), x], 1)
            return self.decoder(x).numpy()


def assert_paints_like_the_authors(path, parts):
    rng = np.random.RandomState(1)
    content, style = rng.rand(1, 3, 48, 80).astype("float32"), rng.rand(1, 3, 64, 41).astype("float32")
    expected = Authors(parts)(content, style)
    with paddle.no_grad():
        painted = load_network(path)(paddle.to_tensor(content), paddle.to_tensor(style)).numpy()
    np.testing.assert_allclose(painted, expected, rtol=0, atol=1e-4 * np.ptp(expected))


@pytest.mark.parametrize(
    ("kind", "width", "module"),
    [
        ("image", 1 / 16, ""),
        ("image", 1 / 16, "module."),
        ("image", 1, ""),
        ("video", 1 / 16, ""),
        ("video", 1 / 16, "module."),
        ("video", 1, ""),
    ],
)
def test_converted_networks_paint_like_the_authors(tmp_path, convert, kind, width, module):
    torch = pytest.importorskip("torch")
    parts = release(kind, width)

    def torch_save(path, arrays):
        named = {name: torch.from_numpy(array) for name, array in below(module, arrays).items()}
        # The authors' own VGG-19 is a file from before PyTorch 1.6.
        torch.save(named, path, _use_new_zipfile_serialization=path.stem != "vgg_normalised")

    folder = save_release(tmp_path / "release", parts, torch_save)
    encoder = (folder / "vgg_normalised.pth").rename(tmp_path / "vgg.pth")
    status, error, path = convert(folder, "--encoder", encoder)
    assert (status, error) == (0, "")
    assert_paints_like_the_authors(path, parts)


# Without PyTorch ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("kind", ["image", "video"])
def test_every_tensor_finds_its_place(tmp_path, convert, kind, prefix):
    parts = release(kind, 1 / 16)
    folder = save_release(tmp_path / "release", {part: below(prefix, arrays) for part, arrays in parts.items()})
    status, error, path = convert(folder)
    assert (status, error) == (0, "")
    network = load_network(path)
    assert network.architecture == {
        "width": 1 / 16,
        "levels": [3, 4, 5] if kind == "image" else [3],
        "attention": "softmax" if kind == "image" else "cosine",
        "conventions": "release",
        "transform": "adaattn",
        "shallow_features": True,
    }
    places = [(stage, "decoder", f"decoder.{index}") for stage, index in zip(STAGES, DECODER_INDICES)]
    places += [(f"adaattn3.{name}", "transformer", name) for name in "fgh"]
    if kind == "image":
        places = [(stage, "decoder", f"decoder_layer_2.{index}") for stage, index in zip(STAGES, DECODER_INDICES)]
        places += [("decoder.stage4", "decoder", "decoder_layer_1.1"), ("decoder.merge", "transformer", "merge_conv")]
        places += [(f"adaattn3.{name}", "adaattn_3", name) for name in "fgh"]
        places += [(f"adaattn{x}.{name}", "transformer", f"attn_adain_{x}_1.{name}") for x in (4, 5) for name in "fgh"]
    ends = ("weight", "bias")
    expected = {f"{ours}.{end}": parts[part][f"{theirs}.{end}"] for ours, part, theirs in places for end in ends}
    convolutions = [name for name, _ in network.encoder.named_sublayers()]
    for name, index in zip(convolutions[1:], ENCODER_INDICES[2:]):  # conv1_1 is folded: test_vgg19.py
        expected.update({f"encoder.{name}.{end}": parts["encoder"][f"{index}.{end}"] for end in ends})
    weights = network_weights(network)
    assert weights.keys() == expected.keys() | {"encoder.conv1_1.weight", "encoder.conv1_1.bias"}
    for name, array in expected.items():
        np.testing.assert_array_equal(weights[name], array, name)
    picture = np.random.RandomState(0).randint(0, 256, (32, 48, 3)).astype("uint8")
    assert ppadaattn.load(path, device="cpu")(picture, picture[:, ::-1]).shape == picture.shape


def test_names_of_a_video_transformer_and_numbers_of_layers_may_differ(tmp_path, convert):
    parts = release("video", 1 / 16)
    _, _, path = convert(save_release(tmp_path / "release", parts))
    expected = network_weights(load_network(path))
    # Written in another order, numbered as without paddings.
    layers = [(2 * place, f"decoder.{index}") for place, index in enumerate(DECODER_INDICES)]
    names = [(f"{new}.{end}", f"{old}.{end}") for end in ("weight", "bias") for new, old in reversed(layers)]
    parts["decoder"] = {new: parts["decoder"][old] for new, old in names}
    parts["transformer"] = below("attn_adain_3_1.", parts["transformer"])
    _, _, path = convert(save_release(tmp_path / "release", parts))
    for name, array in network_weights(load_network(path)).items():
        np.testing.assert_array_equal(array, expected[name])


def test_where_the_encoder_comes_from(tmp_path, convert, monkeypatch):
    monkeypatch.setenv("PPADAATTN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PPADAATTN_OFFLINE", "1")
    parts, others = release("video", 1 / 16), release("video", 1 / 16, seed=1)
    folder = save_release(tmp_path / "release", parts)

    def second_convolution(*words):
        status, error, path = convert(folder, *words)
        assert (status, error) == (0, "")
        return load_network(path).encoder.conv1_2.weight.numpy()

    np.testing.assert_array_equal(second_convolution(), parts["encoder"]["5.weight"])
    save_release(tmp_path / "other", {"encoder": others["encoder"]})
    given = tmp_path / "other" / "vgg_normalised.pth"
    np.testing.assert_array_equal(second_convolution("--encoder", given), others["encoder"]["5.weight"])
    named = load_network(tmp_path / "converted.pdparams").encoder.state_dict()
    np.savez(tmp_path / "vgg.npz", **{name: array.numpy() for name, array in named.items()}, conv4_1=np.zeros(3))
    np.testing.assert_array_equal(second_convolution("--encoder", tmp_path / "vgg.npz"), others["encoder"]["5.weight"])
    (folder / "vgg_normalised.pth").unlink()
    (tmp_path / "converted.pdparams").unlink()
    status, error, path = convert(folder)
    assert status == 2 and "vgg_normalised.pdparams is missing" in error and path is None
    (tmp_path / "home").mkdir()
    cached = tmp_path / "home" / "vgg_normalised.pdparams"  # too small for the zoo, which takes the real one alone
    paddle.save(others["encoder"], str(cached))
    monkeypatch.setattr("ppadaattn.cli.convert.vgg19_file", lambda: cached)
    np.testing.assert_array_equal(second_convolution(), others["encoder"]["5.weight"])


def test_training_takes_the_authors_vgg19_too(tmp_path):
    arrays = release("video", 1)["encoder"]
    save(tmp_path / "vgg.pth", arrays)
    paddle.save(arrays, str(tmp_path / "vgg.pdparams"))
    first, second = (vgg19(tmp_path / name).state_dict() for name in ("vgg.pth", "vgg.pdparams"))
    assert first.keys() == second.keys()
    assert all((first[name].numpy() == second[name].numpy()).all() for name in first)


# Reading ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["little", "big", None])
def test_types_strides_offsets_and_orders_of_bytes(tmp_path, order):
    values = np.arange(24).reshape(2, 3, 4) - 7
    sign, entries, storages, expected = ">" if order == "big" else "<", {}, [], {}
    for number, kind in enumerate(("float32", "float16", "float64", "int64")):
        entries[kind], expected[kind] = tensor(values.astype(kind), number), values
        storages.append(values.astype(np.dtype(kind).newbyteorder(sign)).tobytes())
    upper_half = (values.astype("float32").view("uint32") >> 16).astype("uint16")
    entries["bfloat16"], expected["bfloat16"] = tensor(upper_half, 4), values
    storages.append(upper_half.astype(f"{sign}u2").tobytes())
    # Views into the first storage.
    numbers = values.astype("float32")
    entries["transposed"] = tensor(numbers.transpose(2, 0, 1), 0)
    expected["transposed"] = values.transpose(2, 0, 1)
    entries["part"] = tensor(numbers[1, 1:, ::2], 0, offset=16)
    expected["part"] = values[1, 1:, ::2]
    entries["scalar"], expected["scalar"] = tensor(numbers[0, 0, 0], 0, offset=3), values[0, 0, 3]
    write_zip(tmp_path / "a.pth", state_dict(entries), storages, order)
    found = read_tensors(tmp_path / "a.pth")
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, name)


@pytest.mark.parametrize("new", [True, False])
def test_what_pytorch_saves_is_read(tmp_path, new):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(5, 6)).double()
    base = torch.randn(6, 8)
    states = [
        network.state_dict(),
        dict(network.named_parameters()),
        {"half": base.half(), "bfloat16": base.bfloat16(), "part": base[2:5, 1::3], "turned": base.t(), "base": base},
        torch.nn.DataParallel(network).state_dict(),
    ]
    for state in states:
        torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
        found = read_tensors(tmp_path / "a.pth")
        assert list(found) == [name.replace("module.", "") for name in state]
        for array, saved in zip(found.values(), state.values()):
            np.testing.assert_array_equal(array, saved.detach().to(torch.float32 if not new else saved.dtype).float())


def test_pytorch_reads_what_these_tests_write(tmp_path):
    torch = pytest.importorskip("torch")
    arrays = release("video", 1 / 16)["transformer"]
    save(tmp_path / "a.pth", arrays)
    loaded = torch.load(tmp_path / "a.pth", weights_only=True)
    assert loaded.keys() == arrays.keys()
    assert all((loaded[name].numpy() == array).all() for name, array in arrays.items())


# Refusing -----------------------------------------------------------------------------------------------------------

NUMBERS = np.arange(6, dtype="float32")


def refusal(path):
    """The one sentence with which a file is refused."""
    with pytest.raises(InputError) as error:
        read_tensors(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("place", ["alone", "as a tensor", "as metadata"])
def test_a_pickle_cannot_run_code(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    evil = plain(Malicious())
    pickled = {
        "alone": b"\x80\x02" + evil + b".",
        "as a tensor": state_dict({"a": tensor(NUMBERS, 0), "b": evil}),
        "as metadata": state_dict({"a": tensor(NUMBERS, 0)})[:-2] + b"}" + plain("x") + evil + b"sb.",
    }[place]
    write_zip(tmp_path / "a.pth", pickled, [NUMBERS.tobytes()])
    assert "it refers to posix.mkdir" in refusal(tmp_path / "a.pth") or sys.platform == "win32"
    (tmp_path / "a.pth").write_bytes(LEGACY + pickled)
    message = refusal(tmp_path / "a.pth")
    assert "ppadaattn[convert]" in message or "cannot be read as 'a PyTorch checkpoint'" in message
    assert not (tmp_path / "ran").exists()


def test_an_old_file_that_would_run_code(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Malicious()}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert "it refers to more than tensors" in refusal(tmp_path / "a.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        (1, (6,), (1,)),
        (0, (6,), (2,)),
        (-1, (6,), (1,)),
        (2, (4,), (-1,)),
        (0, (2, 3), (4, 1)),
        (7, (1,), (1,)),
        (0, (-1,), (1,)),
        (0, (6, 2**40), (1, 0)),
        (0, (2**32, 2**32), (0, 0)),
        (0, (2,), (1, 1)),
        (0, (2,), (2**70,)),
        (0.5, (2,), (1,)),
    ],
)
def test_views_beyond_their_storage_are_refused(tmp_path, offset, shape, stride):
    entries = {"a": tensor(NUMBERS, 0, offset, shape, stride)}
    write_zip(tmp_path / "a.pth", state_dict(entries), [NUMBERS.tobytes()])
    assert "damaged, cut short or another file" in refusal(tmp_path / "a.pth")


def test_a_view_of_a_view_cannot_widen_it(tmp_path):
    """A tensor given where a storage belongs: it has six numbers as one, repeated, and is no memory to read on in."""
    repeated = tensor(NUMBERS, 0, 0, (6,), (0,))
    storage = tensor(NUMBERS, 0).partition(b"tQ")[0] + b"tQ"
    around = tensor(NUMBERS, 0).replace(storage[storage.index(b"((") + 1 :], repeated, 1)
    write_zip(tmp_path / "a.pth", state_dict({"a": around}), [NUMBERS.tobytes()])
    assert "is no view of numbers" in refusal(tmp_path / "a.pth")


def test_nothing_is_unpacked_that_is_larger_than_the_file(tmp_path, monkeypatch):
    """torch.save compresses nothing: what inflates, or is seen a thousand times, is no checkpoint."""
    path, many = tmp_path / "a.pth", np.zeros(2**20, "float32")
    read = []
    real = zipfile.ZipFile.read
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda self, member: read.append(member) or real(self, member))
    pickled = state_dict({"a": tensor(many, 0)})
    for member in ("archive/data/0", "archive/data.pkl", "archive/byteorder"):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (
                ("archive/data.pkl", pickled),
                ("archive/data/0", many.tobytes()),
                ("archive/byteorder", b"little" + bytes(2**20) * (member == "archive/byteorder")),
            ):
                archive.writestr(name, content, zipfile.ZIP_DEFLATED if name == member else zipfile.ZIP_STORED)
        assert f"its member {member} is compressed" in refusal(path)
        assert member not in [one.filename for one in read]
        read.clear()
    with zipfile.ZipFile(path, "w") as archive:  # beside what is needed there may be anything
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", many.tobytes())
        archive.writestr("archive/stray.txt", bytes(2**24), zipfile.ZIP_DEFLATED)
    assert read_tensors(path)["a"].shape == many.shape
    write_zip(path, state_dict({str(number): tensor(many, 0) for number in range(1000)}), [many.tobytes()])
    assert "far more than its size" in refusal(path)


@pytest.mark.parametrize(
    ("identity", "sentence"),
    [
        (plain(("storage", "f4")), "storage without type"),
        (plain("storage"), "storage without type"),
        (plain(("storage", "O8", "0", "cpu", 6)), "of an unknown type"),
        (plain(("storage", ["f4"], "0", "cpu", 6)), "of an unknown type"),
        (plain(("storage", "f4", ["0"], "cpu", 6)), "of an unknown type"),
        (plain(("storage", "f4", "../byteorder", "cpu", 6)), "there is no archive/data/../byteorder"),
    ],
)
def test_storages_that_are_none(tmp_path, identity, sentence):
    view = plain(0) + plain((6,)) + plain((1,))
    around = b"ctorch._utils\n_rebuild_tensor_v2\n(" + identity + b"Q" + view + b"\x89" + EMPTY + b"tR"
    write_zip(tmp_path / "a.pth", state_dict({"a": around}), [NUMBERS.tobytes()])
    assert sentence in refusal(tmp_path / "a.pth")


@pytest.mark.parametrize("kind", ["zip", "old"])
def test_a_file_cut_anywhere_is_refused(tmp_path, kind):
    path = tmp_path / "a.pth"
    if kind == "old":
        torch = pytest.importorskip("torch")
        torch.save({"a": torch.rand(300)}, path, _use_new_zipfile_serialization=False)
    else:
        save(path, {"a": np.zeros(300, "float32")})
    whole = path.read_bytes()
    for length in [0, 1, 3, 30, 100, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        refusal(path)


def test_files_that_are_no_state_dict(tmp_path):
    path = tmp_path / "a.pth"
    assert "there is no file" in refusal(path)
    path.write_text("hello")
    assert "is no PyTorch checkpoint" in refusal(path)
    np.savez(path.with_suffix(".npz"), a=NUMBERS)
    path.with_suffix(".npz").rename(path)
    assert "there is no data.pkl in it" in refusal(path)
    raw = [NUMBERS.tobytes()]
    write_zip(path, state_dict({"a": tensor(NUMBERS, 1)}), raw)
    assert "archive/data/1" in refusal(path)
    write_zip(path, state_dict({"a": tensor(NUMBERS, 0).replace(b"FloatStorage", b"QInt8Storage")}), raw)
    assert "it refers to torch.QInt8Storage" in refusal(path)
    for pickled in (
        state_dict({"epoch": plain(3)}),
        state_dict({"model": EMPTY + b"(" + plain("a") + tensor(NUMBERS, 0) + b"u"}),
        b"\x80\x02" + tensor(NUMBERS, 0) + b".",
        b"\x80\x02}" + plain(3) + tensor(NUMBERS, 0) + b"s.",
    ):
        write_zip(path, pickled, raw)
        assert "holds no state dict" in refusal(path)
    assert "Is a directory" in refusal(tmp_path) or sys.platform == "win32"


def test_an_old_file_without_pytorch_names_the_extra(tmp_path, convert, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    parts = release("video", 1 / 16)
    folder = save_release(tmp_path / "release", parts)
    (folder / "vgg_normalised.pth").write_bytes(LEGACY)
    status, error, _ = convert(folder)
    assert status == 2 and "vgg_normalised.pth is from before PyTorch 1.6: such files need torch" in error
    assert "pip install 'ppadaattn[convert]'" in error


def test_old_files_with_more_than_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    for saved in ({"a": 1}, [torch.rand(2)]):
        torch.save(saved, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
        assert "holds no state dict" in refusal(tmp_path / "a.pth")


def without(*names):
    def change(arrays):
        for name in names:
            del arrays[name]

    return change


@pytest.mark.parametrize(
    ("kind", "part", "change", "sentence"),
    [
        ("image", "transformer", without("merge_conv.bias"), "transformer.pth .* lacks merge_conv.bias$"),
        (
            "image",
            "transformer",
            lambda a: [a.pop(name) for name in list(a) if name.startswith("attn")],
            r"lacks attn_adain_4_1.f.weight, attn_adain_4_1.f.bias, .*attn_adain_4_1.h.weight and 7 more$",
        ),
        ("image", "adaattn_3", lambda a: a.update(x=NUMBERS), "adaattn_3.pth .* it has x$"),
        ("image", "adaattn_3", lambda a: a.clear(), "adaattn_3.pth .* it lacks f.weight, .* and 1 more$"),
        ("image", "decoder", without("decoder_layer_2.4.bias"), "decoder.pth .* lacks decoder_layer_2.4.bias$"),
        (
            "image",
            "decoder",
            without("decoder_layer_2.4.bias", "decoder_layer_2.4.weight"),
            r"decoder.pth has 8 convolutions \(decoder_layer_1.1, .* and 3 more\), expected 9$",
        ),
        ("video", "decoder", lambda a: a.update(running_mean=NUMBERS), "decoder.pth .* it has running_mean$"),
        ("video", "transformer", without("f.bias"), "lacks f.bias$"),
        ("video", "transformer", lambda a: a.update(a=a.pop("g.bias")), "lacks g.bias; it has a$"),
        ("video", "transformer", lambda a: a.clear(), "transformer.pth .* it lacks f.weight, .* and 1 more$"),
        (
            "image",
            "transformer",
            lambda a: a.update({"attn_adain_5_1.f.bias": NUMBERS}),
            r"adaattn5.f.bias has shape \[6\], expected \[92\]",
        ),
        (
            "video",
            "decoder",
            lambda a: a.update({"decoder.14.weight": a["decoder.4.weight"]}),
            r"decoder.stage2.0.weight has shape \[16, 16, 3, 3\], expected \[8, 8, 3, 3\]",
        ),
        ("video", "transformer", lambda a: a.update({"h.bias": NUMBERS}), "cannot be built: width must be"),
        ("video", "decoder", lambda a: a["decoder.1.bias"].fill(np.nan), "decoder.1.bias does not hold finite"),
        ("video", "encoder", without("0.weight"), "vgg_normalised.pth is not the normalised VGG-19"),
        ("video", "encoder", without("9.bias"), r"vgg_normalised.pth does not fit .*: conv2_1.bias has shape \[\]"),
    ],
)
def test_other_tensors_than_the_authors(tmp_path, convert, kind, part, change, sentence):
    parts = release(kind, 1 / 16)
    change(parts[part])
    status, error, path = convert(save_release(tmp_path / "release", parts))
    assert status == 2 and path is None
    assert re.search(sentence, error.strip()), error


def test_mixed_releases_and_encoders_of_another_size(tmp_path, convert):
    image, video = release("image", 1 / 16), release("video", 1 / 16)
    folder = save_release(tmp_path / "release", {**image, "decoder": video["decoder"]})
    assert "decoder.pth has 8 convolutions" in convert(folder)[1]
    folder = save_release(folder, {**video, "decoder": image["decoder"]})
    assert "decoder.pth has 9 convolutions" in convert(folder)[1]
    folder = save_release(folder, {**video, "encoder": release("video", 1 / 8)["encoder"]})
    assert "the first of shape [4, 3, 3, 3]" in convert(folder)[1]


def test_the_tool_says_which_files_and_options_it_needs(tmp_path, convert):
    parts = release("image", 1 / 16)
    folder = save_release(tmp_path / "release", parts)
    assert "leave out --attention and --conventions" in convert(folder, "--attention", "softmax")[1]
    assert "leave out --attention and --conventions" in convert(folder, "--conventions", "paper")[1]
    assert "there is no file nowhere.pth" in convert(folder, "--encoder", "nowhere.pth")[1]
    assert "give the folder" in convert(folder / "latest_net_decoder.pth")[1]
    np.savez(tmp_path / "a.npz", a=NUMBERS)
    words = ("--attention", "softmax", "--encoder", "x.pth")
    assert "holds no AdaAttN network, nor the heads of one" in convert(tmp_path / "a.npz", *words)[1]
    assert "give --attention softmax or cosine" in convert(tmp_path / "a.npz")[1]
    assert "there is no model or weights file" in convert(tmp_path / "nowhere")[1]
    for name in ("adaattn_3", "decoder", "transformer"):
        (folder / f"latest_net_{name}.pth").unlink()
        error = convert(folder)[1]
        assert f"has no latest_net_{name}.pth: expected latest_net_transformer.pth, latest_net_decoder.pth and" in error


def test_no_source_is_overwritten_and_no_output_is_no_error(tmp_path, capsys):
    folder = save_release(tmp_path / "release", release("video", 1 / 16))
    encoder = (folder / "vgg_normalised.pth").rename(tmp_path / "vgg.pth")
    before = {path: path.read_bytes() for path in (encoder, *folder.iterdir())}
    for output, sentence in (
        (folder / "latest_net_decoder.pth", "is a file to read"),
        (encoder, "is a file to read"),
        (encoder / "x.pdparams", "is not a folder"),
        (tmp_path, "cannot be written: Is a directory"),
    ):
        assert command.main([str(folder), "--encoder", str(encoder), "--output", str(output)]) == 2
        assert sentence in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before
