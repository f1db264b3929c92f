"""The layout of the package, read from its sources: which room imports which, and what the networks never touch."""

import ast
import collections
import importlib
import re

import ppadaattn.model
import ppadaattn.train.losses
import ppadaattn.train.objectives

import pytest
from conftest import ROOT

# A module imports its own room and rooms of lower rank. Two rooms of one rank never import each other.
RANKS = {
    **dict.fromkeys(
        (
            "errors",
            "files",
            "resources",
            "signals",
            "device",
            "runtime",
            "version",
            "config",
            "progress",
            "side_by_side",
        ),
        0,
    ),
    "model": 1,
    **dict.fromkeys(("media", "weights"), 2),
    **dict.fromkeys(("train", "infer"), 3),
    **dict.fromkeys(("evaluation", "serve"), 4),
    "cli": 5,
}
# Former homes of public names. `ppadaattn.hub` is public, so that the package itself imports it; nothing else does.
ALIASES = {"attention", "frames", "hub", "images", "regions", "zoo"}
TOP = {"__init__", "__main__", *ALIASES}

# The networks read and write no file, and need no library for pictures, video or YAML.
FILE_MODULES = {"PIL", "cv2", "av", "yaml", "os", "pathlib", "io", "shutil", "tempfile", "pickle"}
FILE_CALLS = {"open", "np.load", "np.save", "np.savez", "np.fromfile", "paddle.load", "paddle.save"}

CALLED_BY_LIBRARIES = {"_check_value", "_print_message"}  # argparse calls them
STARTED_BY_NAME = {"serve.worker"}  # the main module of a process of its own


def read_sources(folder):
    """{dotted name: source} of the Python files in a folder; a package goes by its own name, the folder by __init__."""
    sources = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts
        sources[".".join(parts)] = path.read_text(encoding="utf-8")
    return sources


def imported_names(source):
    """The dotted names that a source imports anywhere: modules, and what is taken from modules."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def imported_modules(source, modules):
    """Those of the package's `modules` that a source imports."""
    found = set()
    for name in imported_names(source):
        package, _, inside = name.partition(".")
        if package == "ppadaattn":
            parent = inside.rpartition(".")[0]
            found.add(next((known for known in (inside, parent) if known in modules), "__init__"))
    return found


def reached_from(roots, sources):
    """The modules that `roots` import, directly or through others, and the roots."""
    found, left = set(), list(roots)
    while left:
        module = left.pop()
        if module not in found:
            found.add(module)
            parent = module.rpartition(".")[0]  # its __init__ runs first
            left += [*imported_modules(sources[module], sources), *([parent] if parent in sources else [])]
    return found


def room(module):
    return module.partition(".")[0]


def is_allowed(module, target):
    own, other = room(module), room(target)
    if other in TOP:
        return (own == "__init__" and other == "hub") or own == "__main__" == other
    return own in TOP or own == other or RANKS[other] < RANKS[own] or RANKS[other] == RANKS[own] == 0


def wrong_imports(sources):
    """'a -> b' for each import of a room that is not below, or of a former home."""
    arrows = ((module, target) for module in sources for target in imported_modules(sources[module], sources))
    return sorted(f"{module} -> {target}" for module, target in arrows if not is_allowed(module, target))


def file_uses_in_model(sources):
    """'module: name' for each use of a file, or of a library for files, in model/ and in all that it imports."""
    uses = []
    # runtime prepares the process for Paddle, before any network: it looks at the processor and the environment.
    for module in reached_from([name for name in sources if room(name) == "model"], sources) - {"runtime"}:
        libraries = {room(name) for name in imported_names(sources[module])} & FILE_MODULES
        calls = [node.func for node in ast.walk(ast.parse(sources[module])) if isinstance(node, ast.Call)]
        uses += [f"{module}: {name}" for name in libraries | {dotted(call) for call in calls} & FILE_CALLS]
    return sorted(uses)


def dotted(node):
    """The text of a name such as `np.load`; of other expressions their last attribute, or ''."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return getattr(node, "id", "")


def dead_modules(sources, commands):
    """Modules that no command, no public module and no former home imports."""
    return sorted(sources.keys() - reached_from((TOP & sources.keys()) | set(commands), sources))


def unused_names(sources, texts):
    """Functions, methods and classes of the sources whose names stand once, where they are defined, in all texts."""
    words = collections.Counter(word for text in texts for word in re.findall(r"\w+", text))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return sorted(
        f"{module}: {node.name}"
        for module, source in sources.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, kinds) and words[node.name] < 2 and not node.name.startswith("__")
    )


@pytest.fixture(scope="module")
def package():
    return read_sources(ROOT / "ppadaattn")


def test_every_module_is_in_a_known_room(package):
    assert {room(module) for module in package} <= RANKS.keys() | TOP


def test_imports_point_downward(package):
    assert wrong_imports(package) == []


def test_model_reaches_no_files(package):
    assert file_uses_in_model(package) == []


def test_every_module_is_used_by_a_command_or_is_public(package):
    """A command is a module of cli/ that a file in tools/ or __main__.py names."""
    launchers = [path.read_text(encoding="utf-8") for path in (ROOT / "tools").glob("*.py")]
    words = set(re.findall(r"\w+", "\n".join([*launchers, package["__main__"]])))
    commands = {f"cli.{word}" for word in words} & package.keys()
    assert len(commands) >= 6 and dead_modules(package, commands | STARTED_BY_NAME) == []


def test_every_name_is_used(package):
    folders = ("ppadaattn", "tests", "tools", "examples", "docs", "hub_module", "configs")
    files = [*ROOT.glob("*.*"), *(path for folder in folders for path in (ROOT / folder).rglob("*.*"))]
    texts = [path.read_text(encoding="utf-8") for path in files if path.suffix in {".py", ".md", ".toml", ".yaml"}]
    unused = [name for name in unused_names(package, texts) if name.rpartition(" ")[2] not in CALLED_BY_LIBRARIES]
    assert not unused, unused


def test_the_map_of_equations_leads_somewhere():
    """Each `train.losses.adaattn_star` in the docstring of model/ is a module and a name in it."""
    places = re.findall(r"\b(?:model|train)\.\w+(?:\.\w+)*", ppadaattn.model.__doc__)
    assert len(places) >= 13
    for place in places:
        room, module, *names = place.split(".")
        value = importlib.import_module(f"ppadaattn.{room}.{module}")
        for name in names:
            value = getattr(value, name)


# The checks themselves, on made-up modules ----------------------------------------------------------------------------

GOOD = {
    "__init__": "from ppadaattn import hub\nfrom ppadaattn.model.network import Network",
    "__main__": "from ppadaattn.cli import paint",
    "hub": "from ppadaattn.serve.service import serve",
    "errors": "import os",
    "config": "from ppadaattn.errors import InputError",
    "model": "",
    "model.network": "import numpy as np\nfrom ppadaattn.model import attention",
    "model.attention": "from ppadaattn.version import VERSION",
    "version": "VERSION = 1",
    "media.images": "from ppadaattn.model.network import Network",
    "weights.files": "",
    "train.run": "import ppadaattn.media.images",
    "infer.run": "",
    "evaluation.report": "",
    "serve.service": "from ppadaattn import config",
    "cli.paint": "from ppadaattn.infer import run",
}


def changed(module, source):
    return {**GOOD, module: source}


def test_the_checks_accept_a_good_package():
    assert wrong_imports(GOOD) == [] and file_uses_in_model(GOOD) == []


@pytest.mark.parametrize(
    ("module", "source", "arrow"),
    [
        ("errors", "from ppadaattn.model import network", "errors -> model.network"),
        ("model.network", "def f():\n    from ppadaattn.media.images import read", "model.network -> media.images"),
        ("media.images", "import ppadaattn.weights.files", "media.images -> weights.files"),
        ("weights.files", "from ppadaattn.media import images", "weights.files -> media.images"),
        ("train.run", "from ppadaattn.infer.run import main", "train.run -> infer.run"),
        ("infer.run", "from ppadaattn.train.run import main", "infer.run -> train.run"),
        ("evaluation.report", "from ppadaattn.serve import service", "evaluation.report -> serve.service"),
        ("serve.service", "from ppadaattn.cli.paint import main", "serve.service -> cli.paint"),
        ("cli.paint", "from ppadaattn import hub", "cli.paint -> hub"),
        ("cli.paint", "from ppadaattn.hub import Module", "cli.paint -> hub"),
        ("infer.run", "import ppadaattn", "infer.run -> __init__"),
        ("infer.run", "from ppadaattn import Style", "infer.run -> __init__"),
        ("cli.paint", "from ppadaattn.__main__ import main", "cli.paint -> __main__"),
    ],
)
def test_a_wrong_import_is_found(module, source, arrow):
    assert wrong_imports(changed(module, source)) == [arrow]


@pytest.mark.parametrize(
    ("module", "source", "use"),
    [
        ("model.network", "from PIL import Image", "model.network: PIL"),
        ("model.network", "def f():\n    import cv2", "model.network: cv2"),
        ("model.attention", "import av.video", "model.attention: av"),
        ("model.attention", "from yaml import safe_load", "model.attention: yaml"),
        ("model.network", "from pathlib import Path", "model.network: pathlib"),
        ("model.network", "import os.path", "model.network: os"),
        ("model.network", "with open('a') as file:\n    pass", "model.network: open"),
        ("model.network", "import numpy as np\nx = np.load('a.npy')", "model.network: np.load"),
        ("model.network", "import paddle\npaddle.save({}, 'a')", "model.network: paddle.save"),
        ("version", "import yaml", "version: yaml"),  # which model.network reaches through model.attention
    ],
)
def test_a_use_of_files_in_model_is_found(module, source, use):
    assert file_uses_in_model(changed(module, source)) == [use]


def test_dead_modules_and_unused_names_are_found():
    assert dead_modules(GOOD, ["train.run", "evaluation.report"]) == ["weights.files"]
    sources = {"a": "def used():\n    pass\n\nclass Unused:\n    def method(self):\n        self.method()"}
    assert unused_names(sources, [*sources.values(), "used()"]) == ["a: Unused"]
