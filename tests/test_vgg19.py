"""The weights of VGG-19: both layouts, and where they are looked for."""

import dataclasses

from ppadaattn.errors import InputError
from ppadaattn.weights import download, zoo
from ppadaattn.weights.convert import vgg19
from ppadaattn.weights.zoo import vgg19_file

import numpy as np
import paddle
import pytest
from paddle import nn

NAME = "vgg_normalised"


def sequential():
    """VGG-19 as the authors' Sequential, up to relu5_4, in Paddle's own layers; random weights."""
    layers, channels = [nn.Conv2D(3, 3, 1)], 3
    for block, (width, count) in enumerate(((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))):
        layers += [nn.MaxPool2D(2, 2, 0, ceil_mode=True)] if block else []
        for _ in range(count):
            layers += [nn.Pad2D([1, 1, 1, 1], mode="reflect"), nn.Conv2D(channels, width, 3), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """(the Sequential, the file of its weights as paddle.save writes it)."""
    paddle.seed(0)
    network, path = sequential(), tmp_path_factory.mktemp("vgg") / "vgg_normalised.pdparams"
    with paddle.no_grad():
        # RGB in [0, 1] to BGR in [-124, 151] or so, as in the published file.
        network[0].weight.set_value(255 * paddle.eye(3).flip(0).reshape([3, 3, 1, 1]))
        network[0].bias.set_value(paddle.to_tensor([-103.9, -116.8, -123.7]))
    paddle.save(network.state_dict(), str(path))
    return network, path


def test_the_published_layout_is_folded_exactly(published):
    network, path = published
    image, expected = paddle.rand([1, 3, 37, 50]), {}
    with paddle.no_grad():
        x, block, relus = image, 1, 0
        for layer in network:
            x = layer(x)
            block += isinstance(layer, nn.MaxPool2D)
            relus = 0 if isinstance(layer, nn.MaxPool2D) else relus + isinstance(layer, nn.ReLU)
            if isinstance(layer, nn.ReLU) and relus == 1:
                expected[f"relu{block}_1"] = x
        encoder = vgg19(path)
        features = encoder(image)
    assert features.keys() == expected.keys()
    for name, feature in features.items():
        scale = float(expected[name].abs().max())
        np.testing.assert_allclose(feature.numpy() / scale, expected[name].numpy() / scale, atol=1e-5)
    assert all(parameter.stop_gradient for parameter in encoder.parameters())


def test_named_arrays(published, tmp_path):
    encoder = vgg19(published[1])
    arrays = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    np.savez(tmp_path / "vgg.npz", **arrays, **{"conv1_1.scale": np.ones(64)})
    again = vgg19(tmp_path / "vgg.npz").state_dict()
    assert all((again[name].numpy() == array).all() for name, array in arrays.items())
    del arrays["conv4_2.bias"]
    np.savez(tmp_path / "vgg.npz", **arrays)
    with pytest.raises(InputError, match=r"vgg\.npz does not fit VGG-19: conv4_2\.bias has shape none"):
        vgg19(tmp_path / "vgg.npz")


@pytest.mark.parametrize("change", ["short", "no first", "other shape", "no dict", "text"])
def test_other_files_are_refused(published, tmp_path, change):
    state = {name: tensor.numpy() for name, tensor in published[0].state_dict().items()}
    path = tmp_path / "other.pdparams"
    if change == "short":
        state = {name: array for name, array in state.items() if int(name.split(".")[0]) < 20}
    if change == "no first":
        state = {name: array for name, array in state.items() if not name.startswith("0.")}
    if change == "other shape":
        state["5.weight"] = state["5.weight"][:, :, :1]
    paddle.save([1, 2] if change == "no dict" else state, str(path))
    if change == "text":
        path.write_text("no pickle")
    with pytest.raises(InputError, match=r"other\.pdparams") as error:
        vgg19(path)
    assert "\n" not in str(error.value)


@pytest.fixture
def row(tmp_path, monkeypatch):
    """row(url): the zoo's row with another address; the cache is empty."""
    monkeypatch.setenv("PPADAATTN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PPADAATTN_OFFLINE", raising=False)
    monkeypatch.setattr(download, "WAITS", ())
    return lambda url: monkeypatch.setitem(zoo.ROWS, NAME, dataclasses.replace(zoo.ROWS[NAME], urls=(url,)))


def test_path_then_cache_then_download(published, tmp_path, row):
    row(published[1].as_uri())
    cached = tmp_path / "home" / "vgg_normalised.pdparams"
    assert vgg19_file(published[1]) == published[1] and not cached.exists()
    assert vgg19_file() == cached and cached.read_bytes() == published[1].read_bytes()
    row((tmp_path / "nowhere").as_uri())
    assert vgg19_file() == cached  # from the cache
    assert f"  {cached.name}" in (tmp_path / "home" / f"{cached.name}.sha256").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="encoder_weights: there is no file /nowhere"):
        vgg19_file("/nowhere")


def test_without_a_network_one_sentence_says_which_file_to_put_where(tmp_path, row, monkeypatch):
    row("http://127.0.0.1:9/vgg_normalised.pdparams")
    for _ in ("online", "offline"):
        with pytest.raises(InputError, match="VGG-19 is needed: .* .encoder_weights of a conf") as error:
            vgg19_file()
        assert f"put http://127.0.0.1:9/vgg_normalised.pdparams at {tmp_path}" in str(error.value)
        assert "\n" not in str(error.value)
        monkeypatch.setenv("PPADAATTN_OFFLINE", "1")


def test_a_file_that_does_not_convert_to_finite_numbers_is_refused(published, tmp_path, row):
    state = {name: tensor.numpy() for name, tensor in published[0].state_dict().items()}
    state["9.weight"][5, 4, 2, 1] = np.nan
    paddle.save(state, str(tmp_path / "vgg_normalised.pdparams"))
    row((tmp_path / "vgg_normalised.pdparams").as_uri())
    with pytest.raises(InputError, match="conv2_1.weight does not hold finite numbers|conv1_2.weight does not"):
        vgg19_file()
    paddle.save([1, np.zeros(20_000_000, "float32")], str(tmp_path / "vgg_normalised.pdparams"))
    with pytest.raises(InputError, match="is not the normalised VGG-19"):
        vgg19_file()
    assert not (tmp_path / "home" / "vgg_normalised.pdparams").exists()
