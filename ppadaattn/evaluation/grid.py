"""What was measured of one method: a value for each combination of names."""

import itertools
import json

from ppadaattn.errors import InputError, note
from ppadaattn.files import atomic_write


class Grid:
    """Values by (name on the first axis, name on the second, ...), kept in a file where a path is given.

    What a file holds is used again where the settings, and the stamps of the names, are those of before.

    Args:
        axes: for each axis {name: stamp}; a stamp tells whether what is called so is still the same.
        path: of a JSON file; None keeps nothing.
        settings: what else the values depend on, as plain values.
        anew: do not use what the file holds.

    Attributes:
        values: {(name, ...): value}, values as JSON has them.
    """

    def __init__(self, axes, path=None, settings=None, anew=False):
        # As they will be read again: JSON has no tuples.
        self.axes, self.settings = json.loads(json.dumps([list(axes), settings]))
        self.path = path
        self.values = {} if path is None or anew else self._kept()

    def combinations(self):
        """All combinations, the last axis fastest."""
        return list(itertools.product(*self.axes))

    def missing(self):
        """The combinations that have no value yet."""
        return [key for key in self.combinations() if key not in self.values]

    def fill(self, compute, progress, failed=None, only=None):
        """Compute the values that are missing.

        Args:
            compute: a function of the names of a combination; its result is JSON's kind of value.
            progress: a tqdm bar of as many steps as there are missing values.
            failed: called with a combination and the InputError that its computing raised; None lets it through.
            only: one combination instead of all.
        """
        for key in self.missing() if only is None else {only}.intersection(self.missing()):
            try:
                self.values[key] = compute(*key)
            except InputError as error:
                if failed is None:
                    raise
                failed(key, error)
            else:
                self._keep()
            progress.update()

    def _kept(self):
        try:
            saved = json.loads(self.path.read_text(encoding="utf-8"))
            if saved["settings"] != self.settings or len(saved["axes"]) != len(self.axes):
                return {}
            kept = {tuple(key): value for key, value in saved["values"]}
            return {key: value for key, value in kept.items() if self._is_same(key, saved["axes"])}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            note(f"{self.path} is damaged and is made anew ({error})")
            return {}

    def _is_same(self, key, axes):
        return len(key) == len(axes) and all(
            name in own and own[name] == before.get(name) for name, own, before in zip(key, self.axes, axes)
        )

    def _keep(self):
        if self.path is not None:
            saved = {"settings": self.settings, "axes": self.axes, "values": list(self.values.items())}
            with atomic_write(self.path) as temporary:
                temporary.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
