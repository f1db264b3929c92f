"""Messages to users: InputError for bad input, and notes where input is used otherwise than given."""

import contextlib
import difflib
import importlib
import reprlib
import threading
import types
import warnings


class InputError(ValueError):
    """Input that cannot be used. The message is one sentence: what was wrong, and what would be right.

    The command-line tools print it without a traceback and exit with status 2.
    """


class CombinedInputError(InputError):
    """Several things that cannot be used, in one answer.

    Attributes:
        errors: list of InputError.
    """

    def __init__(self, errors):
        self.errors = list(errors)
        lines = [str(error) for error in self.errors]
        super().__init__("\n  - ".join([f"{len(lines)} things are missing or wrong:", *lines]))


@contextlib.contextmanager
def all_errors():
    """A function `attempt(work, *arguments)` that returns what `work` does, or keeps its InputError and returns None.

    The end of the block raises what was kept: one error as it is, several as a CombinedInputError.
    """
    errors = []

    def attempt(work, *arguments):
        try:
            return work(*arguments)
        except CombinedInputError as error:
            errors.extend(error.errors)
        except InputError as error:
            errors.append(error)
        return None

    yield attempt
    if errors:
        raise errors[0] if len(errors) == 1 else CombinedInputError(errors)


def nearest(word, known):
    """' (did you mean X?)' for the word of `known` nearest to `word`, or '' where none is near.

    Of near ones, those that begin with `word` come first: its end may only have been forgotten.
    """
    known = list(known)
    matches = difflib.get_close_matches(str(word), known, n=len(known) or 1)
    begun = [match for match in matches if match.startswith(str(word))]
    return f" (did you mean {(begun or matches)[0]!r}?)" if matches else ""


def one_line(text, most=200):
    """Text of others (a server, a file) for a message: control characters escaped, cut after `most` characters."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)[: most + 1])
    return text if len(text) <= most else f"{text[:most]}..."


def shown(value, most=200):
    """A value of others (a file) for a message, as Python writes it: in one line, and however large it is cut."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = most
    short.maxdict = short.maxlist = 20
    return one_line(short.repr(value), most)


class InputNote(UserWarning):
    """A note on input that is used otherwise than given, such as a mask that is resized. Commands print `note: ...`."""


def note(message: str) -> None:
    """Warn with an InputNote; the message is one sentence."""
    with _FILTERS:  # not while another thread suppresses warnings
        warnings.warn(message, InputNote, stacklevel=3)


def import_optional(module: str, package: str, purpose: str) -> types.ModuleType:
    """Import a module that may be missing; InputError that names the package to install where it is.

    Args:
        module: dotted name.
        package: what `pip install` takes.
        purpose: what needs it, in the plural, for the message.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise InputError(f"{purpose} need {module}, which is not installed: pip install {package}") from None


_FILTERS = threading.RLock()


@contextlib.contextmanager
def without_warnings():
    """Suppress warnings in this block. Filters belong to the process: only one thread at a time enters such a block."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
