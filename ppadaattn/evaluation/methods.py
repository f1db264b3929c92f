"""The methods that are compared, and the files that they are compared on: their names, loading, changes of files."""

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
    """Read a Method from a word: a model's name, a weights file, NAME=FILE, or NAME={transform: adain, ...}."""
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
            f"{source} is no mapping in YAML; expected something like {{transform: adain, levels: [4]}}"
        ) from None


def name_methods(methods):
    """Give each Method a name: its own, or the stem of its weights file.

    Raises:
        InputError: no method, a method without weights and architecture or with both, two methods of one name.
    """
    if not methods:
        raise InputError("there is no method to evaluate; name models or weights files")
    found = []
    for method in methods:
        if (method.weights is None) == (method.architecture is None):
            raise InputError(f"the method {method.name or '(no name)'} needs either weights or an architecture")
        found.append(Method(method.name or Path(method.weights or "random").stem, method.weights, method.architecture))
    return list(by_name(found, "methods", lambda method: method.name).values())


def by_name(items, kind, name):
    """{name(item): item}; InputError where two items have the same name."""
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
    """Load the Stylizer of a Method.

    Raises:
        InputError: no weights, or weights that cannot be used; the message names the method.
    """
    if method.weights is None:
        raise InputError(f"the method {method.name} has no weights: without them only its speed can be measured")
    try:
        return load(method.weights, device=device, engine=engine)
    except InputError as error:
        raise InputError(f"the method {method.name}: {error}") from None


def load_for_speed(method, device=None):
    """As `load_method`, with the engine 'eager'; a method that is only an architecture gets random weights."""
    if method.weights is not None:
        return load_method(method, device, "eager")
    select_device(device)
    paddle.seed(0)
    network = build_network(f"the method {method.name}", method.architecture)
    initialize(network)
    network.eval()
    return Stylizer(network, make_engine("eager", network))


def method_stamp(method):
    """A value that changes when the method does: its architecture, or the `file_stamp` of its weights."""
    return method.architecture or file_stamp(weights_file(method.weights))


def file_stamp(path):
    """A value that changes when a file, or a file in a folder, does: names, sizes in bytes, times of change."""
    path = Path(path)
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    except FileNotFoundError:
        raise InputError(f"there is no file or folder {path}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
