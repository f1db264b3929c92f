"""What the commands have in common: words parsed, errors and notes in the words of the command line, exit status.

A command is a module of this room with a function `parser(prog)`, which returns a Parser. Its default `work` is a
function that takes the parsed arguments and returns the exit status. A row in `ppadaattn/__main__.py` makes the command
reachable.

Exit status: 0 done; 1 some of the work was not done; 2 bad input, nothing done; 128 + N by signal N (Ctrl-C: 130).
"""

import argparse
import contextlib
import errno
import importlib
import itertools
import os
import re
import shlex
import signal
import sys
import threading
import types
import warnings

from ppadaattn import runtime
from ppadaattn.errors import InputError, InputNote, nearest

# Of writing to a standard output that is closed or full; files are written by `files`, which answers with InputErrors.
BROKEN_OUTPUT = {errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EINVAL}

DEVICE_HELP = "cpu, gpu or gpu:N (default: a GPU where one works, else the CPU)"


class Parser(argparse.ArgumentParser):
    """Parser of a command. A wrong word is answered with one sentence, which names the nearest right one, and status 2.

    The namespace that `parse_args` returns also has `parser`, the Parser that read the last words (that of the
    subcommand, where there are some), and `command_line`: the list of words that the user typed, with the program's.

    Args:
        prog: what the user typed to start the program, such as 'ppadaattn paint'.
        examples: words that may follow `prog`, one string each; the help ends with them.
        synonyms: {option of other programs: option of this one}; the error for the first names the second.
        options: of argparse.ArgumentParser.
    """

    def __init__(self, prog=None, *, examples=(), synonyms=None, **options):
        super().__init__(prog, allow_abbrev=False, **options)
        self.examples, self.synonyms = examples, synonyms or {}
        self.set_defaults(parser=self)

    def format_help(self):
        examples = "".join(f"  {self.prog} {example}".rstrip() + "\n" for example in self.examples)
        return super().format_help() + (f"\nexamples:\n{examples}" if examples else "")

    def parse_args(self, args=None, namespace=None):
        words = sys.argv[1:] if args is None else list(args)
        parsed = super().parse_args(words, namespace)
        parsed.command_line = [*shlex.split(self.prog), *words]
        return parsed

    def parse_known_args(self, args=None, namespace=None):
        words = sys.argv[1:] if args is None else list(args)
        # The words after a subcommand are for its own parser.
        own = words if self._subparsers is None else itertools.takewhile(lambda word: word.startswith("-"), words)
        self._refuse_unknown_options(own)
        return super().parse_known_args(list(map(_expand_home, words)), namespace)

    def error(self, message):
        self.exit(2, f"error: {message}\n")

    def _print_message(self, message, file=None):
        """Print; argparse's own would hide that the output is closed or full."""
        file = file or sys.stderr
        if message and file is not None:
            file.write(message)

    def _refuse_unknown_options(self, words):
        """Answer a misspelt option before argparse does, which would first miss the required ones."""
        for word in words:
            if word == "--":
                return
            name, known = word.partition("=")[0], self._option_string_actions
            if len(word) > 1 and word[0] == "-" and name not in known and os.path.exists(word):
                self.error(f"{word} is read as an option, since it begins with a dash: write ./{word} for the file")
            if not name.startswith("--") or " " in name or name in known:
                continue
            if name in self.synonyms:
                self.error(f"{name} is called {self.synonyms[name]} here")
            self.error(f"there is no option {name}{nearest(name, known)}; `{self.prog} --help` lists them")

    def _check_value(self, action, value):
        """Name the nearest choice too."""
        if action.choices is not None and value not in action.choices:
            choices = ", ".join(map(str, action.choices))
            raise argparse.ArgumentError(
                action, f"invalid choice: {value!r}{nearest(value, action.choices)}; choose from {choices}"
            )


def _expand_home(word):
    """~ in a path: at the beginning of a word, or after the first = of --option=~/path or key=~/path."""
    match = re.match(r"([^~=]*=)?(~[^/\\]*[/\\].*)", word, re.DOTALL)
    return (match[1] or "") + os.path.expanduser(match[2]) if match else word


# Types and options ---------------------------------------------------------------------------------------------------


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
    from ppadaattn.media.images import MIN_SIDE  # here, so that the front door does not load Pillow

    return whole_number(MIN_SIDE, what="number of pixels", zero=zero)


def seconds(text):
    """A type of arguments: a finite float above 0."""
    return _float(text, lambda number: 0 < number < float("inf"), "a number of seconds above 0")


def fraction(text):
    """A type of arguments: a float from 0 to below 1."""
    return _float(text, lambda number: 0 <= number < 1, "a number from 0 to below 1")


def _float(text, fits, wanted):
    try:
        number = float(text)
    except ValueError:
        number = float("nan")  # which fits no limits
    if not fits(number):
        raise argparse.ArgumentTypeError(f"expected {wanted}; got {text}")
    return number


def add_field(group, kind, name, help, **options):  # noqa: A002 - argparse's word
    """Add the option of a dataclass's field, with the field's default, which ends the help.

    Args:
        group: a Parser or a group of one.
        kind: the dataclass, all of whose fields have defaults.
        name: the field.
        help, options: of `add_argument`.
    """
    default = getattr(kind(), name)
    shown = " ".join(default) if isinstance(default, (list, tuple)) else "%(default)s"
    flag = f"--{name.replace('_', '-')}"
    group.add_argument(flag, default=default, help=f"{help} (default: {shown})", **options)


# Work ----------------------------------------------------------------------------------------------------------------


def run(command, argv=None, prog=None):
    """Carry a command out: the way from every entry point (`ppadaattn COMMAND`, tools/*.py) to the command's work.

    Args:
        command: a module of this room.
        argv: the words after it; default: those of the process.
        prog: what the user typed to start the command; default: `ppadaattn COMMAND`.

    Returns the exit status.
    """
    interrupt_plainly()
    try:
        module = importlib.import_module(f"ppadaattn.cli.{command}")
    except ImportError as error:
        remedy = "; `pip install 'ppadaattn[cpu]'` installs what is needed" if error.name else ""
        print(f"error: {error}{remedy}", file=sys.stderr)
        return 1
    with plain_output():
        args = module.parser(prog or f"ppadaattn {command}").parse_args(argv)
        with errors_reported(args) as outcome:
            outcome.status = args.work(args)
    return outcome.status


@contextlib.contextmanager
def plain_output():
    """End the process without a traceback where its standard output is closed (status 141, as by SIGPIPE) or full (1).

    What the block prints is flushed at its end, so that this is found before Python ends.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        if error.filename is not None or error.errno not in BROKEN_OUTPUT:
            raise
        with contextlib.suppress(OSError, ValueError):  # the last flush, by Python itself, must not fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            sys.exit(128 + 13)
        with contextlib.suppress(OSError):
            print(f"error: standard output cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(1)


@contextlib.contextmanager
def errors_reported(args):
    """Report an InputError of the block as one sentence, with status 2, and Ctrl-C with status 130.

    Args:
        args: of a Parser.

    Yields an object whose `status` is the exit status; the block sets it where it ends well.
    """
    _end_plainly_on_signals()
    warnings.simplefilter("once", InputNote)
    warnings.showwarning = _show_warning(args)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # for names of files that the terminal cannot show
    outcome = types.SimpleNamespace(status=None)
    try:
        yield outcome
    except InputError as error:
        print(f"error: {as_options(error, args)}", file=sys.stderr)
        outcome.status = 2
    except ImportError as error:
        if error.name:  # another one than those with a sentence for users
            raise
        print(f"error: {error}", file=sys.stderr)
        outcome.status = 1
    except KeyboardInterrupt:
        print("interrupted; every file already written is whole", file=sys.stderr)
        outcome.status = 130


def as_options(message, args):
    """A library's message with each `argument` in backticks written as --argument, where the command has that option.

    Args:
        message: text or an exception.
        args: of a Parser.
    """
    actions = [action for action in args.parser._actions if action.option_strings]
    options = {action.dest: max(action.option_strings, key=len) for action in actions}
    return re.sub(r"`(\w+)`", lambda match: options.get(match[1], match[0]), str(message))


def interrupt_plainly():
    """Let Ctrl-C end the process without a traceback, as while libraries load."""
    with contextlib.suppress(ValueError):  # outside the main thread, which is the one that gets signals
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end_plainly_on_signals():
    """Interrupts and SIGTERM unwind the program, so that half-written files are removed, without Paddle's traceback."""
    runtime.keep_signals()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def _show_warning(args):
    """A `warnings.showwarning`: notes on the input are one line each, above a progress bar; others as Python does.

    Each note is said once: Python forgets what it has shown whenever the filters change, as `without_warnings` does.
    """
    from tqdm import tqdm  # here, so that the front door does not load it

    said = set()

    def show(message, category, filename, lineno, file=None, line=None):
        if issubclass(category, InputNote) and str(message) in said:
            return
        if issubclass(category, InputNote):
            said.add(str(message))
            tqdm.write(f"note: {as_options(message, args)}", file=sys.stderr)
        else:
            sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))

    return show
