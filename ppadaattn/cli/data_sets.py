"""Paint a data set: each picture of folders at any depth in one style, drawn at random, with a manifest.

The draw depends on the seed, the list of styles and the content's name alone: the order of the work, shards and
restarts change nothing.
"""

import contextlib
import errno
import functools
import hashlib
import os
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from ppadaattn.cli.manifest import painted_before, writing
from ppadaattn.cli.pictures import LARGE_SIDE, paint_file
from ppadaattn.cli.styles import KEPT_STYLES, StyleSpec, style_preparer
from ppadaattn.errors import InputError
from ppadaattn.files import check_writable
from ppadaattn.infer.options import PaintOptions
from ppadaattn.infer.stylizer import is_style_file
from ppadaattn.media.images import FORMATS, find_images, is_listed
from ppadaattn.progress import progress_bar
from ppadaattn.side_by_side import in_order

# Sentences on stderr about pictures that failed; the manifest has all of them.
MOST_SAID = 20


class Shard(NamedTuple):
    """The part of a data set that one process paints: `index` of `count`, from 1."""

    index: int = 1
    count: int = 1

    def holds(self, name):
        """Whether a content, by its name, is in this part."""
        return _number("shard", name) % self.count == self.index - 1

    @property
    def manifest(self):
        """The name of its manifest."""
        return "manifest.jsonl" if self.count == 1 else f"manifest-{self.index}-of-{self.count}.jsonl"


class Plan(NamedTuple):
    """What is to be painted.

    Attributes:
        contents: {name: path}; a name is the path below the folder, with forward slashes.
        styles: [(name, StyleSpec)], sorted by name.
        seed: of the draw.
        shard: a Shard.
        output: path of the folder.
    """

    contents: dict
    styles: list
    seed: int
    shard: Shard
    output: Path

    def style_of(self, name):
        """(name, StyleSpec) of the style in which a content is painted."""
        return self.styles[drawn(self.seed, name, len(self.styles))]

    def output_of(self, name):
        """The path of the picture: the content's name, with .png after it where that format is not written."""
        written = os.path.splitext(name)[1].lower() in FORMATS
        return self.output / (name if written else f"{name}.png")


def drawn(seed, name, count):
    """A number from 0 to count - 1, drawn for a name by a seed: the same on every machine."""
    return _number("style", str(seed), name) % count


def _number(*words):
    """64 bits of SHA-256 of words."""
    return int.from_bytes(hashlib.sha256(b"\0".join(map(os.fsencode, words))).digest()[:8], "big")


def plan(contents, styles, output, options, *, seed=0, shard=None):
    """The Plan of folders; nothing is written. Raises InputError where it cannot be carried out."""
    folders = _named_folders(contents, "content")
    path = Path(output)
    if path.suffix.lower() in FORMATS and not path.is_dir():
        raise InputError(f"`random_style` paints into a folder, and `output` {output} is a picture")
    for prefix, folder in folders.items():
        if _within(path / prefix, folder) or _within(folder, path / prefix):
            raise InputError(f"{path / prefix} and {folder} lie within one another; choose an `output` beside it")
    shard, named = shard or Shard(), _named_styles(styles)
    inside = any(_within(place, path) for place in {os.path.dirname(file) for file in named.values()})
    if inside or any(os.path.isdir(word) and _within(path, word) for word in styles):
        raise InputError(f"{path} and the styles lie within one another; choose an `output` beside them")
    if options.style_scale is not None and any(is_style_file(style) for style in named.values()):
        raise InputError("`style_scale` cannot change a style file, whose size is that it was made with")
    found = {}
    for prefix, folder in folders.items():
        found.update((name, file) for name, file in _pictures(folder, prefix) if shard.holds(name))
    if not found and shard.count == 1:
        raise InputError(f"there are no pictures in {', '.join(map(str, contents))}, at any depth")
    for name in found:
        if os.path.splitext(name)[1].lower() not in FORMATS and f"{name}.png" in found:
            raise InputError(f"{name} is painted into {name}.png, which is the name of another content: rename one")
    check_writable(path, folder=True)
    specs = [(name, StyleSpec((Path(style),), (None,))) for name, style in sorted(named.items())]
    return Plan(found, specs, seed, shard, path)


def _named_folders(words, option):
    """{prefix of the names in it: path} of folders: no prefix for one alone, its own name for one of several."""
    folders = {}
    for word in dict.fromkeys(words):
        if not os.path.isdir(word):
            raise InputError(f"`random_style` takes folders as `{option}`, and {word} is none")
        name = os.path.basename(os.path.abspath(word))
        if name in folders:
            raise InputError(f"{folders[name]} and {word} are two folders of one name: rename one, or paint them apart")
        folders[name] = word
    return folders if len(folders) > 1 else dict(zip([""], folders.values()))


def _named_styles(words):
    """{name: path} of styles: folders at any depth, files and globs."""
    folders = [word for word in words if os.path.isdir(word)]
    named = {}
    for prefix, folder in _named_folders(folders, "style").items():
        named.update(_pictures(folder, prefix))
    for path in find_images(word for word in words if word not in folders):
        if named.setdefault(path.name, str(path)) != str(path):
            raise InputError(f"{named[path.name]} and {path} are two styles of one name: rename one")
    if not named:
        raise InputError(f"there are no pictures in {', '.join(map(str, words))}, at any depth")
    return named


def _pictures(folder, prefix="", above=()):
    """Yield (name, path) of the pictures in a folder, at any depth; hidden ones are none."""
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder above it
        return
    try:
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read: {error.strerror}") from error
    for entry in found:
        name = f"{prefix}/{entry.name}" if prefix else entry.name
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _pictures(entry.path, name, (*above, real))
        elif is_listed(Path(entry.path)):
            yield name, entry.path


def _within(one, other):
    """Whether a folder is another one or lies in it."""
    one, other = os.path.realpath(one), os.path.realpath(other)
    return one == other or one.startswith(os.path.join(other, ""))


def paint(stylizer, plan, options, outcomes=None):
    """Carry a Plan out, but for what is done already. Returns the exit status.

    Args:
        stylizer: a Stylizer.
        plan: a Plan.
        options: a FileOptions.
        outcomes: what paints: a generator function (plan, options, names, record) that yields the Outcome of each
            name, and calls `record(name, outcome)` as soon as it is known; default: this process.
    """
    outcomes = outcomes or functools.partial(_outcomes, stylizer)
    start, painted, failed = time.perf_counter(), 0, 0
    given = {item.name: getattr(options, item.name) for item in fields(PaintOptions)}
    changed = {name: value for name, value in given.items() if value != getattr(PaintOptions, name)}
    model = {"model": os.path.basename(str(stylizer.model)), "fingerprint": stylizer.fingerprint[:16]}

    def entry(name):
        if name not in plan.contents:
            return None
        return {"content": name, "style": plan.style_of(name)[0], "seed": plan.seed, **model, "options": changed}

    def record(name, outcome):
        ended = {"status": "failed", "error": outcome.problem} if outcome.problem else {"status": "done"}
        manifest.append({**entry(name), **ended})

    path = plan.output / plan.shard.manifest
    with writing(path) as manifest:
        done = {name for name in painted_before(plan.output, entry) if plan.output_of(name).is_file()}
        # Style by style, so that each is prepared once, although few are kept.
        names = sorted(plan.contents.keys() - done, key=lambda name: (plan.style_of(name)[0], name))
        with progress_bar(total=len(names), unit="picture") as progress, contextlib.closing(
            outcomes(plan, options, names, record)
        ) as found:
            for outcome in found:
                if not outcome.problem:
                    painted += 1
                else:
                    failed += 1
                    if failed <= MOST_SAID:
                        print(f"{outcome.trouble}: {outcome.problem}", file=sys.stderr)
                    if outcome.code == errno.ENOSPC:
                        break
                progress.update()
    before = f", {len(done)} were there" if done else ""
    wrong = f", {failed} failed, of which {path} tells" if failed else ""
    print(f"{plan.output}: {painted} pictures in {time.perf_counter() - start:.1f} s{before}{wrong}")
    return 1 if failed else 0


def _outcomes(stylizer, plan, options, names, record):
    """Yield the Outcome of each name, painted in this process; as `outcomes` of `paint`."""
    sides = (options.size or LARGE_SIDE, options.style_size or LARGE_SIDE)
    painter, workers = stylizer.side_by_side(options.strength, max(sides) ** 2)
    prepare = style_preparer(painter, options, max(KEPT_STYLES, workers + 1))

    def paint_one(name):
        style = functools.partial(prepare, plan.style_of(name)[1])
        outcome = paint_file(painter, plan.contents[name], plan.output_of(name), style, options)
        record(name, outcome)
        return outcome

    return in_order(paint_one, names, workers)
