"""Progress of long work: a bar on a terminal, a line now and then in a log."""

import sys
import time

from tqdm import tqdm

# Seconds between two lines in a log: a run of a day makes some thousand, which a reader can still scroll through.
LINE_EVERY = 10


def progress_bar(**options):
    """A tqdm bar on a terminal; elsewhere what writes a line at most every LINE_EVERY seconds, and one at the end.

    Args:
        options: of tqdm; a log heeds total, initial, desc, unit, unit_scale, delay, leave and disable (None: no lines)
    """
    if sys.stderr is not None and sys.stderr.isatty():
        return tqdm(**options)
    return _Lines(**options)


class _Lines:
    """Takes the part of tqdm's calls that this package makes.

    Attributes:
        n, total, initial: steps done, all, and those done before the start; they may be set.
    """

    def __init__(
        self, total=None, initial=0, desc=None, unit="step", unit_scale=False, delay=0, leave=True, disable=False, **_
    ):
        self.total, self.initial, self.n = total, initial, initial
        self.desc, self.unit, self.unit_scale, self.delay = desc, unit, unit_scale, delay
        self.leave, self.silent = leave, disable is None or disable or sys.stderr is None
        self._start = self._last = time.monotonic()
        self._written = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def update(self, steps=1):
        self.n += steps
        if time.monotonic() - self._last >= LINE_EVERY:
            self._write()

    def set_postfix_str(self, text, refresh=True):
        """Nothing: in a log a line has no room that comes and goes."""

    def close(self):
        if self.leave and self._written != self.n and time.monotonic() - self._start >= self.delay:
            self._write()
        self.silent = True

    def _write(self):
        self._last, self._written = time.monotonic(), self.n
        if self.silent:
            return
        text = tqdm.format_meter(
            self.n,
            self.total,
            self._last - self._start,
            unit=self.unit if self.unit_scale else f" {self.unit}s",
            unit_scale=self.unit_scale,
            prefix=f"{self.desc}: " if self.desc else "",
            initial=self.initial,
            bar_format="{desc}{n_fmt}/{total_fmt}{unit}, {elapsed}, {rate_fmt}",
        )
        print(text, file=sys.stderr, flush=True)
