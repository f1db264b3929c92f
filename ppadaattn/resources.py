"""Files that travel with the package: configurations, example pictures, bundled weights."""

import contextlib
import os
from pathlib import Path

from ppadaattn.errors import InputError, nearest

PACKAGE = Path(__file__).resolve().parent


def packaged(name):
    """The folder `configs`, `examples` or `pretrained`: inside the package in a wheel, beside it in a clone.

    Inside comes first: beside an installed package are other packages' folders, which may have these names too.
    """
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def expand(path):
    """Text of a path of a configuration: ~ is the home folder, examples/... the packaged pictures where it is not here.

    Text that is no such path stays as it is, except that what the system's encoding lacks is written as `os.listdir`
    gives it: names on Linux are bytes, those of a configuration UTF-8.
    """
    with contextlib.suppress(UnicodeEncodeError):  # half a character, which no name has
        path = os.fsdecode(path.encode("utf-8", "surrogateescape"))
    if path.startswith("examples/") and not os.path.exists(path):
        found = packaged("examples").parent / path
        return str(found) if found.exists() else path
    return os.path.expanduser(path)


def find_config(name, beside=None):
    """Path of a configuration.

    Args:
        name: a path, in which ~ is the home folder, or the name of a packaged configuration, such as
            adaattn_video.yaml, compare/cosine.yaml or configs/adaattn_video.yaml.
        beside: the file whose `_base_` names it: relative paths are then relative to its folder. None: to the current
            folder.

    Raises InputError, with the places that were searched and the nearest packaged name, where there is none.
    """
    configs, given = packaged("configs"), Path(os.path.expanduser(name))
    folder = Path() if beside is None else Path(beside).parent
    within = given.relative_to("configs") if given.parts[:1] == ("configs",) else given
    for path in (folder / given, configs / within):
        if os.path.exists(path):
            return path
    known = sorted(path.relative_to(configs).as_posix() for path in configs.rglob("*.yaml"))
    raise InputError(
        f"there is no configuration {name}{nearest(within.as_posix(), known)}; "
        f"looked in {folder.absolute()} and among the packaged ones in {configs}"
    )
