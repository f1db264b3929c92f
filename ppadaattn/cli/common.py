"""What the command-line tools have in common: arguments in, work done elsewhere, exit status out.

Exit status: 0 done; 1 some of the work was not done; 2 bad input, nothing done; 128 + N told to end by
signal N (Ctrl-C: 130).
"""

import argparse
import signal
import sys
import threading
import warnings

from ppadaattn.errors import InputError, InputNote
from ppadaattn.media.images import MIN_SIDE

import paddle
from tqdm import tqdm


class Parser(argparse.ArgumentParser):
    """Answers a wrong argument with one sentence, without the usage lines."""

    def error(self, message):
        self.exit(2, f"error: {message}\n")


def whole_number(least, most=None, what="whole number", zero=False):
    """A type of arguments: an int of at least `least` and at most `most`; with `zero` 0 is taken as well."""
    wanted = f"at least {least}" if most is None else f"{least} to {most}"

    def number(text):
        given = int(text) if text.isdecimal() else -1
        if not (zero and given == 0) and not least <= given <= (given if most is None else most):
            raise argparse.ArgumentTypeError(f"expected a {what}, {'0 or ' * zero}{wanted}; got {text}")
        return given

    return number


def pixels(zero=False):
    """A type of arguments: the side of a picture."""
    return whole_number(MIN_SIDE, what="number of pixels", zero=zero)


def exit_status(work, *arguments):
    """Run `work`; an InputError becomes one sentence and status 2, Ctrl-C status 130."""
    _end_plainly_when_told()
    warnings.simplefilter("once", InputNote)
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # for names of files that the terminal cannot show
    try:
        return work(*arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; every file already written is whole", file=sys.stderr)
        return 130


def _end_plainly_when_told():
    """Interrupts and SIGTERM unwind the program, so that half-written files are removed, without Paddle's traceback."""
    paddle.disable_signal_handler()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def _show_warning(message, category, filename, lineno, file=None, line=None):
    """Notes on the input are one line each, above a progress bar; other warnings as Python has them."""
    if issubclass(category, InputNote):
        tqdm.write(f"note: {message}", file=sys.stderr)
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))
