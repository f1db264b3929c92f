"""The repository as paddle.hub sees it."""

from ppadaattn import Stylizer
from ppadaattn.weights import zoo

import paddle
import pytest
from conftest import ROOT


def hub(function, *arguments, **keywords):
    return getattr(paddle.hub, function)(str(ROOT), *arguments, source="local", **keywords)


def test_one_entry_for_each_model():
    assert sorted(hub("list")) == sorted(zoo.BUNDLED)


@pytest.mark.parametrize("name", zoo.BUNDLED)
def test_entries_are_documented_and_load(name, rng):
    assert "Returns:" in hub("help", name)
    stylizer = hub("load", name, device="cpu")
    assert isinstance(stylizer, Stylizer)
    content = rng.randint(0, 256, (20, 30, 3)).astype("uint8")
    assert stylizer(content, content).shape == content.shape
    kind = "cosine" if "video" in name else "softmax"
    assert stylizer.network.architecture["attention"] == kind
