"""The methods that are compared, and the files that they are compared on: named, found, loaded."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ppadaattn.device import select_device
from ppadaattn.errors import InputError
from ppadaattn.evaluation.temporal import clip_name
from ppadaattn.infer.engine import make_engine
from ppadaattn.infer.stylizer import Stylizer, load
from ppadaattn.model.init import initialize
from ppadaattn.weights.checkpoint import build_network
from ppadaattn.weights.zoo import MODELS, weights_file

import paddle
import yaml


@dataclass
class Method:
    """A method to compare."""

    # What tables call it; null: the name of its weights.
    name: Optional[str] = None
    # A name of the model zoo or a weights file, which carries its own architecture.
    weights: Optional[str] = None
    # Instead of weights: arguments of AdaAttNNetwork. Its numbers are random then, and only its speed is measured.
    architecture: Optional[dict] = None


def parse_method(word):
    """A Method of a word: a model's name, a weights file, NAME=FILE, or NAME={transform: adain, ...}."""
    name, equals, source = word.partition("=")
    if not equals or word in MODELS or os.path.isfile(word):
        return Method(weights=word)
    if not name or not source:
        raise InputError(f"{word!r} names no method: expected a model, a weights file or NAME=FILE")
    if not source.startswith("{"):
        return Method(name, source)
    try:
        return Method(name, architecture=yaml.safe_load(source))
    except yaml.YAMLError:
        raise InputError(
            f"{source} is no mapping in YAML; expected such as {{transform: adain, levels: [4]}}"
        ) from None


def named(methods):
    """The Methods with a name each.

    Raises InputError: none at all, one without weights and architecture or with both, a name that two have.
    """
    if not methods:
        raise InputError("there is no method to evaluate; name models or weights files")
    found = []
    for method in methods:
        if (method.weights is None) == (method.architecture is None):
            raise InputError(
                f"the method {method.name or '(no name)'} needs weights or an architecture, and one of them"
            )
        found.append(Method(method.name or Path(method.weights or "random").stem, method.weights, method.architecture))
    return list(by_name(found, "methods", lambda method: method.name).values())


def by_name(items, kind, name):
    """{name(item): item}; InputError where two items have one name."""
    found = {}
    for item in items:
        if name(item) in found:
            raise InputError(f"two {kind} are called {name(item)}; give each a name of its own")
        found[name(item)] = item
    return found


def pictures_by_name(paths, kind):
    """{stem: path}, as in `by_name`."""
    return by_name(paths, kind, lambda path: path.stem)


def clips_by_name(paths):
    """{name of a folder, or stem of a file: path}, as in `by_name`."""
    return by_name(map(Path, paths), "clips", clip_name)


def load_method(method, device=None, engine="auto"):
    """The Stylizer of a Method; InputError that names it where it has no weights or they cannot be used."""
    if method.weights is None:
        raise InputError(f"the method {method.name} has no weights: without them only its speed can be measured")
    try:
        return load(method.weights, device=device, engine=engine)
    except InputError as error:
        raise InputError(f"the method {method.name}: {error}") from None


def load_for_speed(method, device=None):
    """As `load_method`, run by Paddle; where there is only an architecture, with random weights."""
    if method.weights is not None:
        return load_method(method, device, "eager")
    select_device(device)
    paddle.seed(0)
    network = build_network(f"the method {method.name}", method.architecture)
    initialize(network)
    network.eval()
    return Stylizer(network, make_engine("eager", network))


def method_stamp(method):
    """What tells whether a method is still the one that was measured."""
    return method.architecture or stamp(weights_file(method.weights))


def stamp(path):
    """What tells whether a file, or what lies in a folder, is still the same: names, sizes, times of change."""
    path = Path(path)
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    except FileNotFoundError:
        raise InputError(f"there is no file or folder {path}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
