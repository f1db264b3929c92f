"""Heads: a network in a file without its encoder, which is a file of its own."""

import hashlib
from dataclasses import replace

import ppadaattn
from ppadaattn.cli import convert as command
from ppadaattn.cli.download import main as download
from ppadaattn.errors import InputError
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.train import run
from ppadaattn.train.config import load_config
from ppadaattn.weights import checkpoint, zoo
from ppadaattn.weights.checkpoint import load_network, network_weights, save_heads, save_weights

import numpy as np
import paddle
import pytest
import safetensors.numpy
from conftest import ROOT

OPTIONS = {"width": 1 / 16, "levels": (3, 4, 5), "attention": "cosine"}


def save_encoder(path, network):
    np.savez(path, **{name: tensor.numpy() for name, tensor in network.encoder.state_dict().items()})
    return path


@pytest.fixture
def network():
    return AdaAttNNetwork(**OPTIONS)


@pytest.fixture
def files(network, tmp_path):
    """(heads, encoder) of the network."""
    save_heads(tmp_path / "heads.safetensors", network, about="made in a test")
    return tmp_path / "heads.safetensors", save_encoder(tmp_path / "encoder.npz", network)


@pytest.fixture
def convert(tmp_path, capsys):
    """convert(source, name, *words) -> (path of the output, what was printed)."""

    def run(source, name, *words):
        status = command.main([str(source), "--output", str(tmp_path / name), *map(str, words)])
        printed = capsys.readouterr()
        errors = [line for line in printed.err.splitlines() if not line.startswith("note: ")]
        assert (status, len(errors)) in ((0, 0), (2, 1)), printed.err
        assert status == 0 or not (tmp_path / name).exists()
        return tmp_path / name, printed.err + printed.out

    return run


def sentence(error):
    text = str(error.value)
    assert "\n" not in text and ". " not in text
    return text


@pytest.mark.parametrize("suffix", [".safetensors", ".pdparams"])
def test_heads_and_their_encoder_are_the_network(network, files, tmp_path, suffix):
    """The encoder is exact, all else is rounded to float16 and comes back as float32."""
    heads = tmp_path / f"again{suffix}"
    save_heads(heads, network)
    save_weights(tmp_path / f"whole{suffix}", network)
    loaded = ppadaattn.load(heads, encoder=files[1], device="cpu", engine="eager").network
    assert loaded.architecture == network.architecture and not loaded.training
    weights = network_weights(loaded)
    for name, array in network_weights(network).items():
        expected = array if name.startswith("encoder.") else array.astype("float16").astype("float32")
        assert weights[name].dtype == np.float32
        np.testing.assert_array_equal(weights[name], expected)
    kept = sum(array.size for name, array in weights.items() if not name.startswith("encoder."))
    channels = (
        4 * 3 * sum(array.size for name, array in weights.items() if name.startswith("encoder.") and array.ndim == 1)
    )
    assert 2 * kept + channels < heads.stat().st_size < 2 * kept + channels + 20_000


def test_another_library_finds_the_heads(network, files):
    arrays = safetensors.numpy.load_file(str(files[0]))
    described = {f"encoder.conv{block}_{index}.channels" for block, index in network.encoder.convolutions()}
    assert arrays.keys() == {name for name in network.state_dict() if not name.startswith("encoder.")} | described
    np.testing.assert_array_equal(arrays["adaattn4.h.bias"], network.adaattn4.h.bias.numpy().astype("float16"))


def test_the_encoder_of_another_model_is_refused(network, files, tmp_path):
    heads, _ = files
    other = save_encoder(tmp_path / "other.npz", AdaAttNNetwork(**OPTIONS))
    with pytest.raises(InputError) as error:
        ppadaattn.load(heads, encoder=other, device="cpu")
    assert f"{other} is another encoder than the one that {heads} was trained with" in sentence(error)
    assert "its conv1_1 differs by more than the scales of channels" in sentence(error)
    network.encoder.conv4_2.bias.set_value(network.encoder.conv4_2.bias + 0.1)
    with pytest.raises(InputError, match="another encoder .*its conv4_2 differs"):
        ppadaattn.load(heads, encoder=save_encoder(tmp_path / "near.npz", network), device="cpu")
    wide = save_encoder(tmp_path / "wide.npz", AdaAttNNetwork(**{**OPTIONS, "width": 1 / 8}))
    for encoder, reason in (
        (wide, r"wide.npz does not fit the encoder that .*heads.safetensors needs: conv1_1.bias has shape \[8\]"),
        (tmp_path / "none.npz", "encoder: there is no file"),
        (None, "give the file of their `encoder`"),
    ):
        with pytest.raises(InputError, match=reason) as error:
            ppadaattn.load(heads, encoder=encoder, device="cpu")
        sentence(error)
    with pytest.raises(InputError, match="holds heads without their encoder"):
        load_network(heads)
    with pytest.raises(InputError, match="holds its own encoder: leave out `encoder`"):
        ppadaattn.load("adaattn_lite_image", encoder=other, device="cpu")


def test_an_encoder_with_its_preprocessing_beside_it_is_the_same(network, files, tmp_path):
    """The authors' layout: a first convolution prepares RGB, and the others follow by number."""
    tensors = {name: tensor.numpy() for name, tensor in network.encoder.state_dict().items()}
    scales = np.array([0.5, 2, 4], "float32")  # powers of two: dividing and multiplying again is exact
    saved = {"0.weight": np.diag(scales).reshape(3, 3, 1, 1), "0.bias": np.array([0.1, 0.2, 0.3], "float32")}
    names = [name[: -len(".weight")] for name in tensors if name.endswith(".weight")]
    for index, name in enumerate(names, 1):
        saved[f"{index}.weight"], saved[f"{index}.bias"] = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    saved["1.weight"] = saved["1.weight"] / scales[None, :, None, None]
    saved["1.bias"] = saved["1.bias"] - np.einsum("oihw,i->o", saved["1.weight"], saved["0.bias"])
    paddle.save(saved, str(tmp_path / "vgg.pdparams"))
    loaded = ppadaattn.load(files[0], encoder=tmp_path / "vgg.pdparams", device="cpu").network
    np.testing.assert_allclose(loaded.encoder.conv1_1.bias.numpy(), tensors["conv1_1.bias"], atol=1e-6)


def test_numbers_beyond_float16_are_refused(network, tmp_path):
    for value in (1e5, float("nan")):
        network.decoder.stage1[1].bias.set_value(paddle.full([3], value))
        with pytest.raises(InputError, match="stage1.1.bias holds numbers beyond the 65504 of float16") as error:
            save_heads(tmp_path / "heads.safetensors", network)
        sentence(error)
        assert not list(tmp_path.iterdir())


def only(prefix):
    """A change of saved heads: their weights whose names begin with a prefix."""
    return lambda saved: {name: array for name, array in saved["weights"].items() if name.startswith(prefix)}


def channels(name, array):
    """A change of saved heads: another array in the place of what describes a convolution of the encoder."""
    return lambda saved: {**saved["weights"], f"encoder.{name}.channels": array}


CHANNELS = np.ones([3, 32], "float32")  # as conv4_1 has them


@pytest.mark.parametrize(
    ("key", "change", "reason"),
    [
        ("architecture", lambda saved: 3, "expected dicts 'architecture' and 'weights'"),
        ("preprocessing", lambda saved: "BGR", "is for images prepared as BGR"),
        ("tolerance", lambda saved: 1, "expected a number from 0 to 1 as the tolerance"),
        ("tolerance", lambda saved: float("nan"), "expected a number from 0 to 1 as the tolerance"),
        ("weights", lambda saved: {}, "expected a description of their encoder's channels"),
        ("weights", only("encoder."), "adaattn3.f.bias has shape none"),
        ("weights", only("adaattn"), "expected a description of their encoder's channels"),
        ("weights", channels("conv4_1", CHANNELS.astype("float16")), "expected a description of their encoder's chan"),
        ("weights", channels("conv4_1", CHANNELS[:, :-1]), "its description of the encoder does not fit its archit"),
        ("weights", channels("conv6_1", CHANNELS), "its description of the encoder does not fit its architecture"),
        ("weights", channels("conv4_1", CHANNELS), "is another encoder .*its conv4_1 differs"),
        ("weights", channels("conv4_1", np.nan * CHANNELS), "is another encoder .*its conv4_1 differs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_files_that_describe_no_heads(files, key, change, reason):
    heads, encoder = files
    saved = checkpoint._read(heads, checkpoint.HEADS)
    checkpoint._write(heads, {**saved, key: change(saved)})
    with pytest.raises(InputError, match=reason):
        ppadaattn.load(heads, encoder=encoder, device="cpu")


def test_heads_of_a_rounded_encoder_take_the_public_one(network, tmp_path, convert, rng):
    """With 8 bits a number: more than the default tolerance, less than 0.2; another training is still refused."""
    rounded = {}
    for name, tensor in network.encoder.state_dict().items():
        step = np.abs(tensor.numpy()).max() / 31 or 1.0  # coarser than 8 bits: these rows are short
        rounded[name] = (np.round(tensor.numpy() / step) * step).astype("float32")
    public = save_encoder(tmp_path / "public.npz", network)
    np.savez(tmp_path / "rounded.npz", **rounded)
    network.encoder.set_state_dict({name: paddle.to_tensor(array) for name, array in rounded.items()})
    save_weights(tmp_path / "whole.pdparams", network)
    strict, _ = convert(tmp_path / "whole.pdparams", "strict.safetensors", "--heads")
    made, _ = convert(tmp_path / "whole.pdparams", "made.safetensors", "--heads", "--tolerance", "0.2")
    ppadaattn.load(made, encoder=tmp_path / "rounded.npz", device="cpu")
    ppadaattn.load(made, encoder=public, device="cpu")
    other = save_encoder(tmp_path / "other.npz", AdaAttNNetwork(**OPTIONS))
    for heads, encoder in ((strict, public), (made, other)):
        with pytest.raises(InputError, match="is another encoder than the one that"):
            ppadaattn.load(heads, encoder=encoder, device="cpu")
    assert "--tolerance is for --heads" in convert(tmp_path / "whole.pdparams", "no.pdparams", "--tolerance", "0.2")[1]
    with pytest.raises(SystemExit):
        command.main([str(made), "--output", "x.safetensors", "--heads", "--tolerance", "1"])


def test_weights_of_another_type_are_no_heads(files):
    saved = checkpoint._read(files[0], checkpoint.HEADS)
    saved["weights"]["adaattn3.f.bias"] = saved["weights"]["adaattn3.f.bias"].astype("float32")
    checkpoint._write(files[0], saved)
    with pytest.raises(InputError, match="describes no network: expected float16 arrays"):
        ppadaattn.load(files[0], encoder=files[1], device="cpu")


def test_heads_are_no_style_and_no_checkpoint(files, network):
    with pytest.raises(InputError, match="holds 'ppadaattn heads 1', not 'ppadaattn style 2'"):
        checkpoint.load_style(files[0], network)
    with pytest.raises(InputError, match="holds 'ppadaattn heads 1', not 'ppadaattn checkpoint 1'"):
        checkpoint.load_checkpoint(files[0])
    files[0].write_bytes(files[0].read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged, cut short or another file"):
        ppadaattn.load(files[0], encoder=files[1], device="cpu")


def test_conversions(network, files, tmp_path, convert):
    heads, encoder = files
    (tmp_path / "run").mkdir()
    save_weights(tmp_path / "run" / "iter_5_weight.pdparams", network, about="made in a test")
    weights = network_weights(network)
    np.savez(tmp_path / "whole.npz", **weights)
    np.savez(tmp_path / "part.npz", **{name: x for name, x in weights.items() if not name.startswith("encoder.")})

    made, printed = convert(tmp_path / "run" / "iter_5_weight.pdparams", "a.safetensors", "--heads")
    assert made.read_bytes() == heads.read_bytes() and "heads of {'width': 0.0625" in printed
    about = ("--attention", "cosine", "--about", "made in a test", "--heads")
    for source, more in (("run", ()), ("whole.npz", about), ("part.npz", (*about, "--encoder", encoder))):
        made, _ = convert(tmp_path / source, f"b{source}.safetensors", *(more or ("--heads",)))
        assert made.read_bytes() == heads.read_bytes(), source
    again, _ = convert(heads, "c.pdparams", "--encoder", encoder, "--heads")
    once_more, _ = convert(again, "d.safetensors", "--encoder", encoder, "--heads")
    assert once_more.read_bytes() == heads.read_bytes()
    whole, _ = convert(heads, "whole.pdparams", "--encoder", encoder)
    np.testing.assert_array_equal(load_network(whole).encoder.conv5_1.weight.numpy(), weights["encoder.conv5_1.weight"])

    np.savez(tmp_path / "wide.npz", **{"adaattn3.f.weight": np.zeros(1), "adaattn3.h.bias": np.zeros(2000)})
    other = save_encoder(tmp_path / "other.npz", AdaAttNNetwork(**{**OPTIONS, "width": 1 / 8}))
    for source, words, reason in (
        (heads, ("--encoder", encoder, "--attention", "cosine"), "leave out --attention and --conventions"),
        (heads, ("--encoder", other), "does not fit the encoder that"),
        (heads, (), "give the file of their --encoder"),
        (tmp_path / "part.npz", about[:2], "give the file of their --encoder"),
        (tmp_path / "part.npz", (*about[:2], "--encoder", other), "does not fit the encoder of"),
        (tmp_path / "part.npz", (*about[:2], "--encoder", tmp_path / "none.npz"), "encoder: there is no file"),
        (tmp_path / "whole.npz", (*about[:2], "--encoder", encoder), "holds its own encoder: leave out --encoder"),
        (encoder, about[:2], "holds no AdaAttN network, nor the heads of one"),
        (
            tmp_path / "wide.npz",
            (*about[:2], "--encoder", encoder),
            "describes a network that cannot be built",
        ),
    ):
        assert reason in convert(source, "no.pdparams", *words)[1]


def test_heads_for_an_encoder_that_was_normalised_over_other_pictures(network, tmp_path, convert, rng):
    """Channels multiplied by d: W' = d W / d_before, b' = d b. Pictures are the same, with h as it was or rewritten."""
    for name, tensor in network.encoder.state_dict().items():  # features large beside the epsilon of Norm
        tensor.set_value(tensor * 4 if name.endswith("weight") else tensor)
    heads, encoder = tmp_path / "own.safetensors", save_encoder(tmp_path / "own.npz", network)
    save_heads(heads, network)
    arrays, before = dict(np.load(encoder)), np.ones(3)
    for name in [name[: -len(".weight")] for name in arrays if name.endswith(".weight")]:
        factors = rng.uniform(0.3, 3, len(arrays[f"{name}.bias"]))
        scaled = arrays[f"{name}.weight"] * factors[:, None, None, None] / before[:, None, None]
        arrays[f"{name}.weight"] = scaled.astype("float32")
        arrays[f"{name}.bias"] = (arrays[f"{name}.bias"] * factors).astype("float32")
        before = factors
    np.savez(tmp_path / "scaled.npz", **arrays)
    np.savez(tmp_path / "cut.npz", **{name: array for name, array in arrays.items() if "5_1" not in name})
    made, _ = convert(heads, "m.safetensors", "--encoder", encoder, "--to-encoder", tmp_path / "scaled.npz", "--heads")
    content, style = (rng.randint(0, 256, (48, 40, 3)).astype("uint8") for _ in range(2))
    found = []
    pairs = [(heads, encoder), (made, tmp_path / "scaled.npz"), (heads, tmp_path / "scaled.npz"), (made, encoder)]
    for file, its_encoder in pairs:
        stylizer = ppadaattn.load(file, encoder=its_encoder, device="cpu", engine="eager")
        with paddle.no_grad():
            found.append(stylizer.network.embed(stylizer.encode(content[None]), stylizer.prepare_style(style)))
    for level in (3, 4, 5):
        own, *others = (embedded[level].numpy() for embedded in found)
        for other in others:
            np.testing.assert_allclose(own, other, atol=2e-3 * own.std())  # float16 rounds h anew
        np.testing.assert_allclose(own, others[1], atol=5e-4 * own.std())  # here it does not

    for change, name in ((-1, "conv1_1"), (1, "conv3_2")):  # a negative factor, and one weight that is another
        changed = {**arrays, f"{name}.weight": arrays[f"{name}.weight"].copy()}
        changed[f"{name}.weight"][2, 1, 1] *= -1 if change > 0 else 1
        if change < 0:
            changed[f"{name}.weight"][2], changed[f"{name}.bias"] = (
                -changed[f"{name}.weight"][2],
                -arrays[f"{name}.bias"],
            )
        np.savez(tmp_path / "changed.npz", **changed)
        words = ("--encoder", encoder, "--to-encoder", tmp_path / "changed.npz")
        assert (
            f"changed.npz holds another encoder than this network's: its {name}"
            in convert(heads, "no.pdparams", *words)[1]
        )
    adain = AdaAttNNetwork(width=1 / 16, transform="adain", levels=[4])
    adain.encoder.set_state_dict({name: paddle.to_tensor(array) for name, array in np.load(encoder).items()})
    save_heads(tmp_path / "adain.safetensors", adain)
    with pytest.raises(InputError, match="have other scales than .*, and only heads of AdaAttN serve any"):
        ppadaattn.load(tmp_path / "adain.safetensors", encoder=tmp_path / "cut.npz", device="cpu")
    sanet = tmp_path / "sanet.pdparams"
    save_weights(sanet, AdaAttNNetwork(**{**OPTIONS, "attention": "softmax", "transform": "sanet", "levels": (4, 5)}))
    words = ("--to-encoder", encoder)
    assert "--to-encoder is for networks of AdaAttN" in convert(sanet, "no.pdparams", *words)[1]


def test_a_training_loads_heads_with_the_encoder_of_its_losses(tmp_path):
    bundled = load_network(zoo.weights_file("adaattn_lite_image"))
    save_heads(tmp_path / "heads.safetensors", bundled)
    config = load_config(ROOT / "configs" / "adaattn_lite_image.yaml", [f"load={tmp_path / 'heads.safetensors'}"])
    network, _, taken = run._networks(config)
    assert taken == ""
    np.testing.assert_array_equal(network.encoder.conv5_1.weight.numpy(), bundled.encoder.conv5_1.weight.numpy())
    config.encoder_weights = "adaattn_lite_video"
    with pytest.raises(InputError, match=r"encoder_weights \(adaattn_lite_video\) is another encoder"):
        run._networks(config)


# Heads in the zoo


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PPADAATTN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PPADAATTN_OFFLINE", raising=False)
    return tmp_path / "home"


@pytest.mark.parametrize("name", [name for name, row in zoo.MODELS.items() if row.encoder_row])
def test_the_heads_say_which_file_they_need(name, home, monkeypatch):
    monkeypatch.setenv("PPADAATTN_OFFLINE", "1")
    with pytest.raises(
        InputError, match="VGG-19 is needed: vgg_normalised.pdparams is missing, and nothing is do"
    ) as error:
        ppadaattn.load(name, device="cpu")
    assert f"put {zoo.ROWS['vgg_normalised'].urls[0]} at {home / 'vgg_normalised.pdparams'}" in sentence(error)
    other = save_encoder(home.parent / "other.npz", AdaAttNNetwork(width=1))
    with pytest.raises(InputError, match=f"other.npz is another encoder than the one that .*{name}.safetensors"):
        ppadaattn.load(name, encoder=other, device="cpu")


def test_a_release_is_an_edit_of_a_row(network, files, home, tmp_path, monkeypatch, capsys):
    """The file beside the bundled ones, its size and hash in the row; VGG-19 is the zoo's."""
    heads, encoder = files
    row = zoo.ROWS["adaattn_video"]
    monkeypatch.setattr(zoo, "FOLDERS", (tmp_path,))
    heads.rename(tmp_path / row.file)
    data = (tmp_path / row.file).read_bytes()
    released = replace(row, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    monkeypatch.setitem(zoo.ROWS, row.name, released)
    monkeypatch.setenv("PPADAATTN_OFFLINE", "1")
    monkeypatch.setattr(zoo, "scaled_channels", lambda _: network.encoder.channels)  # stands for the full width
    with pytest.raises(InputError) as error:
        ppadaattn.load(row.name, device="cpu")
    assert "VGG-19 is needed: vgg_normalised.pdparams is missing, and nothing is downloaded" in sentence(error)
    assert str(home / "vgg_normalised.pdparams") in sentence(error)
    assert download([row.name]) == 1  # the heads, but not the encoder
    assert f"{row.name}: {tmp_path / row.file}" in capsys.readouterr().out
    monkeypatch.setattr(zoo, "vgg19_file", lambda *_: encoder)
    stylizer = ppadaattn.load(row.name, device="cpu", engine="eager")
    assert stylizer.model == row.name and stylizer.network.architecture == network.architecture
