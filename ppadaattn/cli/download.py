"""The command `download`: list or fetch the files of the zoo."""

import sys

from ppadaattn.cli.common import Parser, run
from ppadaattn.errors import InputError, nearest
from ppadaattn.weights.zoo import ROWS, look_up, obtain


def main(argv=None):
    """List or fetch files of the zoo. Returns the exit status."""
    return run("download", argv)


def parser(prog="ppadaattn download"):
    """The options of a download."""
    made = Parser(
        prog,
        description="Download files of the model zoo now, so that nothing is downloaded later. Files are kept in "
        "~/.cache/ppadaattn, or $PPADAATTN_HOME. Interrupted downloads resume.",
        examples=("--list", "vgg_normalised"),
    )
    made.set_defaults(work=_download)
    made.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ROWS))
    made.add_argument("--all", action="store_true", help="every file of the zoo")
    made.add_argument("--list", action="store_true", help="list the files and where they are; download nothing")
    made.add_argument(
        "--offline",
        action="store_true",
        help="download nothing; say which files are missing and where to put them (so does PPADAATTN_OFFLINE=1)",
    )
    return made


def _download(args):
    for name in args.names:
        if name not in ROWS:
            raise InputError(f"the zoo has no {name!r}{nearest(name, ROWS)}; names: {', '.join(ROWS)}")
    if args.all and args.names:
        raise InputError("--all means every file: give it or names, not both")
    if not (args.names or args.all or args.list):
        raise InputError(f"say what to fetch: --all, or some of {', '.join(ROWS)} (--list tells more)")
    names = list(dict.fromkeys(args.names)) or list(ROWS)
    return _list(names) if args.list else _fetch(names, args.offline or None)


def _list(names):
    table = [("name", "size", "where", "licence", "description")]
    for row in map(ROWS.get, names):
        path, fault = look_up(row.name)
        size = f"{'about ' if row.plausible else ''}{row.size / 1e6:.1f} MB"
        where = f"{path} {fault}" if fault else path or "not here"
        table.append((row.name, size, str(where), row.licence, row.description))
    widths = [max(map(len, column)) for column in zip(*table)]
    for cells in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip())
    return 0


def _fetch(names, offline):
    missing = 0
    encoders = (ROWS[name].encoder_row for name in names)
    names = list(dict.fromkeys([*names, *filter(None, encoders)]))
    for name in names:
        try:
            print(f"{name}: {obtain(name, offline)}")
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            missing += 1
    if missing == len(names):
        return 2
    return 1 if missing else 0
