"""How subcommands declare their arguments, and the kinds of values that several of them take."""

import argparse
import difflib
import re
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from smartproxy.logs.fields import utc_of
from smartproxy.logs.output import WRONG_USE, write_message
from smartproxy.logs.render import escape
from smartproxy.policy.limits import DAYS_AHEAD
from smartproxy.policy.places import DATABASE_VARIABLE, STATE_DIRECTORY, STATE_DIRECTORY_VARIABLE
from smartproxy.policy.values import whole_of
from smartproxy.tap.commands.console import Console

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Run: TypeAlias = Callable[[Console], int | None]

_SPAN = re.compile(r"([0-9]{1,9})([smhdwy])")
_SPAN_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_DAYS_BACK = {"now": None, "today": 0, "yesterday": 1}
MESSAGE_MOST = 600
NUMBER_MOST = 1_000_000
"""The largest number of things, days or seconds that an argument may be."""


STORE = "the backend's store"


def shared(uses: str | None = STORE) -> argparse.ArgumentParser:
    """The options that every subcommand takes, also in front of it; the help shows those that mean something there.

    :param uses: what of the state folder the subcommand uses, if anything.
    """
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("where and how")
    where = f"folder of {uses} [${STATE_DIRECTORY_VARIABLE} or {STATE_DIRECTORY}]"
    group.add_argument("--state-dir", metavar="DIR", help=argparse.SUPPRESS if uses is None else where)
    database = f"URL of the store's database, or a file with it; without it SQLite there [${DATABASE_VARIABLE}]"
    group.add_argument("--database", metavar="URL", help=database if uses == STORE else argparse.SUPPRESS)
    group.add_argument("--json", action="store_true", help="answer with JSON, for scripts")
    return parser


def subject(subparsers: Subparsers, name: str, summary: str, examples: str = "") -> Subparsers:
    """Declare a subject that has actions of its own; returns where these are declared."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=_examples(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return choices_of(parser, dest="action", title="actions")


def choices_of(parser: argparse.ArgumentParser, *, dest: str, title: str) -> Subparsers:
    """Where the subjects or actions of a parser are declared; where none is given, its help is shown.

    Argparse would say that one is missing, and nothing of an option that it does not know.
    """

    def bare(console: Console) -> int:
        parser.print_help()
        return WRONG_USE

    parser.set_defaults(run=bare)
    return parser.add_subparsers(dest=dest, metavar=dest.upper(), title=title)


class CommandLine(argparse.ArgumentParser):
    """A parser that names what may have been meant where a subject, an action or another choice is unknown."""

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        """Write help, version or error; unlike the class above, let the caller know when that fails."""
        write_message(message, file)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse at once what argparse would take for something else, or would tell of in another command's name.

        ``--option=--`` would be an option with an empty list, and an unknown option one of the whole program.
        """
        given = sys.argv[1:] if args is None else list(args)
        for each in given:
            if each.startswith("--") and each.endswith("=--"):
                self.error(f"argument {each.removesuffix('=--')}: expected one argument")
        found, unknown = super().parse_known_args(given, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of the choices, with what may have been meant."""
        if action.choices is None or value in action.choices:
            return
        choices, given = list(map(str, action.choices)), str(value)
        near = difflib.get_close_matches(given, choices, n=1)
        near = near or [each for each in choices if given and each.startswith(given)]
        meant = f"did you mean {' or '.join(map(repr, near))}?" if near else f"choose from {', '.join(choices)}"
        if action.metavar in ("SUBJECT", "ACTION"):
            raise argparse.ArgumentError(None, f"there is no {action.metavar.lower()} '{given}'; {meant}")
        raise argparse.ArgumentError(action, f"invalid choice: '{given}'; {meant}")

    def error(self, message: str) -> NoReturn:
        """End the program with status 2 and one line."""
        self.wrong(message, self.prog)

    def wrong(self, message: str, where: str) -> NoReturn:
        """The same; the help of another command says what would be right.

        What was given stands in the line: it is escaped and bounded.
        """
        self.exit(2, f"{self.prog}: {escape(message, MESSAGE_MOST)} (see {where} --help)\n")


def action(
    subparsers: Subparsers,
    name: str,
    summary: str,
    run: Run,
    examples: str = "",
    *,
    uses: str | None = STORE,
    changes: bool = False,
    tried: bool = False,
) -> argparse.ArgumentParser:
    """Declare an action: its name, what it does in one sentence, and the function that does it.

    :param uses: what of the state folder it uses, if anything.
    :param changes: whether it changes the configuration: then it takes a comment for the history.
    :param tried: whether it changes the configuration by an operation: then it can be tried without being done.
    """
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=_examples(examples),
        parents=[shared(uses)],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, works_on=uses, command=parser.prog)
    if tried:
        text = "show what would change and whom it would refuse, and change nothing"
        parser.add_argument("--dry-run", action="store_true", help=text)
    if changes:
        parser.add_argument("--comment", metavar="TEXT", help="why, for the history of changes")
    return parser


def writes(parser: argparse.ArgumentParser, *names: str, shown: bool = False, again: bool = False, **more: Any) -> None:
    """Declare the argument that names a file to write, and ``--force``; ``-`` is standard output.

    The place is looked at before the command does anything: :meth:`Console.reserved`.

    :param shown: whether the answer is what would be written, where no file is named.
    :param again: whether the command writes the same once more: then nothing is lost in a device that takes nothing.
    """
    declared = parser.add_argument(*names, metavar="FILE", **more)
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.set_defaults(written=declared.dest, written_is_shown=shown, written_again=again)


def moment(text: str) -> datetime:
    """A time: ``2027-12-31`` (its first second, UTC) or ``2027-12-31T12:00``, with a zone if it is not UTC.

    :raises argparse.ArgumentTypeError: when it is not one of these.
    """
    try:
        found = datetime.fromisoformat(text)
        return utc_of(found.replace(tzinfo=UTC) if found.tzinfo is None else found)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; write one such as 2027-12-31 or 2027-12-31T12:00 (UTC)"
        ) from None


def past(text: str) -> datetime:
    """A time that is over: a date, a time, ``yesterday``, or how long ago: ``60s``, ``5m``, ``2h``, ``7d``, ``4w``.

    ``today`` and ``yesterday`` are their first seconds, UTC.

    :raises argparse.ArgumentTypeError: when it is not one of these.
    """
    now = datetime.now(UTC)
    if text.lower() in _DAYS_BACK:
        back = _DAYS_BACK[text.lower()]
        return now if back is None else datetime.combine(now.date() - timedelta(days=back), time(), UTC)
    match = _SPAN.fullmatch(text)
    try:
        return moment(text) if match is None else now - _span(match)
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text!r} is too long ago") from None
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; write a date (2026-11-20), a time (2026-11-20T12:00, UTC), yesterday, or how "
            "long ago: 60s, 5m (minutes), 2h, 7d, 4w, 1y"
        ) from None


def end_of(text: str) -> datetime:
    """The end of something: the last second of a day, a time, or how long from now: ``12h``, ``90d``, ``1y``.

    Days, weeks and years end with a day (UTC), as a date does: said again on the same day, they mean the same. Minutes
    and seconds are not taken: ``6m`` would be read as months.

    :raises argparse.ArgumentTypeError: when it is not one of these.
    """
    match = _SPAN.fullmatch(text)
    if match is not None:
        if match[2] in "sm":
            raise argparse.ArgumentTypeError(f"{text!r}: give days, weeks or years (180d, 26w, 1y), or a date")
        try:
            found = (datetime.now(UTC) + _span(match)).replace(microsecond=0)
        except OverflowError:
            raise argparse.ArgumentTypeError(f"{text!r} is too far in the future") from None
        return found if match[2] == "h" else _last_second(found.date())
    try:
        return _last_second(date.fromisoformat(text))
    except ValueError:
        return moment(text)


def _last_second(day: date) -> datetime:
    return datetime.combine(day, time(23, 59, 59), UTC)


def number(text: str) -> int:
    """A whole number from 0 to a million.

    :raises argparse.ArgumentTypeError: when it is not one, or larger.
    """
    return ranged(text, 0, NUMBER_MOST)


def newest(parser: argparse.ArgumentParser, shown: int) -> None:
    """Declare ``-n``: how many of the newest entries of a list are shown.

    :param shown: how many where it is not given.
    """
    text = f"show only the newest N; 0: all [{shown}]"
    parser.add_argument("-n", "--number", type=number, metavar="N", help=text)
    parser.set_defaults(number_shown=shown)


def newest_wanted(arguments: argparse.Namespace) -> int:
    """How many entries ``-n`` asks for; where it asks for all, more than any list holds."""
    wanted: int = arguments.number_shown if arguments.number is None else arguments.number
    return wanted or sys.maxsize


def days(text: str) -> int:
    """A number of days, at most a hundred years.

    :raises argparse.ArgumentTypeError: when it is not one, or larger.
    """
    return ranged(text, DAYS_AHEAD.least, DAYS_AHEAD.most)


def whole(text: str) -> int:
    """A whole number of any size: who reads it checks its range.

    :raises argparse.ArgumentTypeError: when it is none.
    """
    try:
        return whole_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def ranged(text: str, least: int, most: int) -> int:
    """A whole number within a range.

    :raises argparse.ArgumentTypeError: when it is none, or out of the range.
    """
    try:
        found = whole_of(text)
    except ValueError:
        found = least - 1
    if not least <= found <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
    return found


def _span(match: re.Match[str]) -> timedelta:
    """How long a text such as ``7d`` says.

    :raises OverflowError: when it is longer than a difference of times can be.
    """
    return timedelta(seconds=int(match[1]) * _SPAN_SECONDS[match[2]])


def _examples(text: str) -> str | None:
    return f"examples:\n{text}" if text else None
