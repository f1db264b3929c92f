"""A GPU is used only where it computes the same as the CPU. In these tests the CPU stands in for the GPU."""

from ppadaattn import device
from ppadaattn.errors import InputError

import numpy as np
import paddle
import pytest


@pytest.fixture
def card(monkeypatch):
    """A machine with one GPU, whose results are those of the CPU; a test can spoil them."""
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 1)
    used, real = [], paddle.set_device
    monkeypatch.setattr(paddle, "set_device", lambda name: used.append(name) or real("cpu"))
    return used


def spoil(monkeypatch, change):
    """Change the results of the self-test on the GPU: change(name, array) -> array."""
    test = device.self_test

    def spoiled(name):
        results = test(name)
        return results if name == "cpu" else {key: change(key, array) for key, array in results.items()}

    monkeypatch.setattr(device, "self_test", spoiled)


def test_self_test_equals_numpy():
    rng = np.random.RandomState(0)
    image, kernel, left, right = (
        rng.uniform(-1, 1, shape).astype("float32").astype("float64")
        for shape in ((1, 8, 16, 16), (8, 8, 3, 3), (32, 64), (64, 32))
    )
    taps = np.stack([image[0, :, y : y + 14, x : x + 14] for y in range(3) for x in range(3)], 1).reshape(72, 14, 14)
    results = device.self_test("cpu")
    np.testing.assert_allclose(results["convolution"][0], np.tensordot(kernel.reshape(8, 72), taps, 1), atol=1e-5)
    np.testing.assert_allclose(results["matrix product"], left @ right, atol=1e-5)


def test_a_working_card_is_used(card):
    assert device.select_device() == "gpu:0" and card[-1] == "gpu:0"
    assert device.select_device("gpu") == "gpu:0"


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_card_with_wrong_results_is_refused(card, monkeypatch, value):
    spoil(monkeypatch, lambda name, array: array * value)
    assert device.select_device() == "cpu" and card[-1] == "cpu"
    with pytest.raises(InputError, match="gpu cannot be used: it computes another convolution and matrix product than"):
        device.select_device("gpu")


def test_a_single_wrong_operation_is_named(card, monkeypatch):
    spoil(monkeypatch, lambda name, array: array + (name == "matrix product"))
    with pytest.raises(InputError, match="another matrix product than the CPU, .* paddlepaddle-gpu 2.6.2"):
        device.select_device("gpu:0")


def test_rounding_is_accepted(card, monkeypatch):
    spoil(monkeypatch, lambda name, array: array * 1.001)
    assert device.select_device() == "gpu:0"


def test_a_card_whose_first_operation_fails_is_refused(card, monkeypatch):
    def fail(name):
        if name != "cpu":
            raise RuntimeError("long text\nno kernel image is available")
        return {}

    monkeypatch.setattr(device, "self_test", fail)
    with pytest.raises(InputError, match="a first operation failed: no kernel image is available; use cpu"):
        device.select_device("gpu")


def test_gradients_are_back_after_nested_calls_without_them():
    @device.without_gradients
    def depth(n):
        assert not paddle.is_grad_enabled()
        return 1 + depth(n - 1) if n else 0

    assert depth(3) == 3 and paddle.is_grad_enabled()


def test_mixing_a_list_of_styles_leaves_gradients_on(stylizer, rng):
    pictures = [rng.randint(0, 256, (20, 24, 3)).astype("uint8") for _ in range(2)]
    stylizer.prepare_style(pictures)
    assert paddle.is_grad_enabled()
