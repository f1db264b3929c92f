"""The measurements of one method: a value for each combination of names, kept in a file."""

import itertools
import json

from ppadaattn.errors import InputError, note
from ppadaattn.files import atomic_write


class Grid:
    """Values by (name on the first axis, name on the second, ...), kept in a file where a path is given.

    A value in the file is used again as long as the settings and the stamps of its names are the same.

    Args:
        axes: for each axis {name: stamp}; a stamp changes when the named thing does (`methods.file_stamp`).
        path: of a JSON file; None keeps nothing.
        settings: what else the values depend on, as plain values.
        anew: do not use the values in the file.

    Attributes:
        values: {(name, ...): value}, each a value that JSON can hold.
    """

    def __init__(self, axes, path=None, settings=None, anew=False):
        # Through JSON, which has no tuples, so that they equal what a file gives back.
        self.axes, self.settings = json.loads(json.dumps([list(axes), settings]))
        self.path = path
        self.values = {} if path is None or anew else self._read()

    def combinations(self):
        """All combinations, the last axis fastest."""
        return list(itertools.product(*self.axes))

    def missing(self):
        """The combinations without a value."""
        return [key for key in self.combinations() if key not in self.values]

    def fill(self, compute, progress, failed=None, only=None):
        """Compute the missing values.

        Args:
            compute: function of the names of a combination; returns a value that JSON can hold.
            progress: a bar with a step for each missing value.
            failed: function of a combination and the InputError that `compute` raised for it; None raises the error.
            only: one combination, to compute no other.
        """
        for key in self.missing() if only is None else {only}.intersection(self.missing()):
            try:
                self.values[key] = compute(*key)
            except InputError as error:
                if failed is None:
                    raise
                failed(key, error)
            else:
                self._write()
            progress.update()

    def _read(self):
        try:
            saved = json.loads(self.path.read_text(encoding="utf-8"))
            if saved["settings"] != self.settings or len(saved["axes"]) != len(self.axes):
                return {}
            kept = {tuple(key): value for key, value in saved["values"]}
            return {key: value for key, value in kept.items() if self._is_same(key, saved["axes"])}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            note(f"{self.path} is damaged: its values are measured again ({error})")
            return {}

    def _is_same(self, key, axes):
        return len(key) == len(axes) and all(
            name in own and own[name] == before.get(name) for name, own, before in zip(key, self.axes, axes)
        )

    def _write(self):
        if self.path is not None:
            saved = {"settings": self.settings, "axes": self.axes, "values": list(self.values.items())}
            with atomic_write(self.path) as temporary:
                temporary.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
