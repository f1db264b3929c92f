"""What the command-line tools have in common: arguments in, work done elsewhere, exit status out.

Exit status: 0 done; 1 some of the work was not done; 2 bad input, nothing done; 128 + N told to end by
signal N (Ctrl-C: 130).
"""

import argparse
import re
import shlex
import signal
import sys
import threading
import warnings

from ppadaattn.errors import InputError, InputNote
from ppadaattn.media.images import MIN_SIDE

import paddle
from tqdm import tqdm

DEVICE_HELP = "cpu, gpu or gpu:N (default: a GPU where one works, else the CPU)"


class Parser(argparse.ArgumentParser):
    """Answers a wrong argument with one sentence, without the usage lines.

    Args:
        prog: what the user typed to start the program.
        examples: words that may follow `prog`, one string each; the help ends with them.
        synonyms: {option of other programs: option of this one}; the error for the first names the second.
        options: of argparse.ArgumentParser.
    """

    def __init__(self, prog=None, *, examples=(), synonyms=None, **options):
        super().__init__(prog, **options)
        self.examples, self.synonyms = examples, synonyms or {}
        self.set_defaults(parser=self)

    def format_help(self):
        examples = "".join(f"  {self.prog} {example}\n" for example in self.examples)
        return super().format_help() + (f"\nexamples:\n{examples}" if examples else "")

    def parse_args(self, args=None, namespace=None):
        words = sys.argv[1:] if args is None else list(args)
        for word in words:
            if word.partition("=")[0] in self.synonyms:
                name = word.partition("=")[0]
                self.error(f"{name} is called {self.synonyms[name]} here")
        parsed = super().parse_args(words, namespace)
        parsed.command_line = [*shlex.split(self.prog), *words]
        return parsed

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


def run(parser, argv=None):
    """Parse the words of a command and do its work. Returns the exit status."""
    args = parser.parse_args(argv)
    return exit_status(args.work, args)


def as_options(message, args):
    """A library's message with each `argument` in backticks written as --argument, where there is such an option."""
    actions = [action for action in args.parser._actions if action.option_strings]
    options = {action.dest: max(action.option_strings, key=len) for action in actions}
    return re.sub(r"`(\w+)`", lambda match: options.get(match[1], match[0]), str(message))


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
        print(f"error: {as_options(error, *arguments)}", file=sys.stderr)
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
