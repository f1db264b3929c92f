"""What is said to users: the one exception for what they can put right, and notes on what was done with their input."""

import contextlib
import difflib
import importlib
import threading
import warnings


class InputError(ValueError):
    """Input that cannot be used. The message is one sentence: what was wrong, and what would be right.

    The command-line tools print it without a traceback and exit with status 2.
    """


def nearest(word, known):
    """' (did you mean X?)' for the word of `known` nearest to `word`, or '' where none is near."""
    matches = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def one_line(text, most=200):
    """Text of others (a server, a file) for a message: control characters escaped, cut after `most` characters."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)[: most + 1])
    return text if len(text) <= most else f"{text[:most]}..."


class InputNote(UserWarning):
    """Input that was used otherwise than given, such as weights divided by their sum. The tools print `note: ...`."""


def note(message):
    """Say in one sentence what was done with the input, as an InputNote."""
    warnings.warn(message, InputNote, stacklevel=3)


def import_optional(module, package, purpose):
    """A module that the installation may lack; InputError that names the package where it does."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise InputError(f"{purpose} need {module}, which is not installed: pip install {package}") from None


_FILTERS = threading.RLock()


@contextlib.contextmanager
def without_warnings():
    """No warnings in this block. Their filters belong to the process, so that only one thread at a time is inside."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
