"""The one exception for what a user can put right."""

import difflib


class InputError(ValueError):
    """Input that cannot be used. The message is one sentence: what was wrong, and what would be right.

    The command-line tools print it without a traceback and exit with status 2.
    """


def nearest(word, known):
    """' (did you mean X?)' for the word of `known` nearest to `word`, or '' where none is near."""
    matches = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
