"""How subcommands declare their arguments, and the kinds of values that several of them take."""

import argparse
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import TypeAlias

from smartproxy.policy.places import DATABASE_VARIABLE, STATE_DIRECTORY, STATE_DIRECTORY_VARIABLE
from smartproxy.tap.commands.console import Console

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Run: TypeAlias = Callable[[Console], int | None]

_SPAN = re.compile(r"(\d{1,5})([hdwmy])")
_SPAN_HOURS = {"h": 1, "d": 24, "w": 24 * 7, "m": 24 * 30, "y": 24 * 365}


def shared() -> argparse.ArgumentParser:
    """The options that every subcommand takes, also in front of it."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("where and how")
    group.add_argument(
        "--state-dir",
        metavar="DIR",
        help=f"folder of the backend's store [${STATE_DIRECTORY_VARIABLE} or {STATE_DIRECTORY}]",
    )
    group.add_argument(
        "--database",
        metavar="URL",
        help=f"the store's database, if it is not the SQLite file in that folder [${DATABASE_VARIABLE}]",
    )
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
    return parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")


def action(subparsers: Subparsers, name: str, summary: str, run: Run, examples: str = "") -> argparse.ArgumentParser:
    """Declare an action: its name, what it does in one sentence, and the function that does it."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=_examples(examples),
        parents=[shared()],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def moment(text: str) -> datetime:
    """A time: ``2027-12-31`` (its first second, UTC) or ``2027-12-31T12:00``.

    :raises argparse.ArgumentTypeError: when it is none of these.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write one such as 2027-12-31 or 2027-12-31T12:00 (UTC)"
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def past(text: str) -> datetime:
    """A time, or how long ago: ``2h``, ``7d``."""
    span = _span(text)
    return moment(text) if span is None else datetime.now(UTC) - span


def end_of(text: str) -> datetime:
    """The end of something: the last second of a day, a time, or how long from now: ``90d``, ``1y``."""
    span = _span(text)
    if span is not None:
        return (datetime.now(UTC) + span).replace(microsecond=0)
    try:
        return datetime.combine(date.fromisoformat(text), time(23, 59, 59), UTC)
    except ValueError:
        return moment(text)


def _span(text: str) -> timedelta | None:
    match = _SPAN.fullmatch(text)
    return None if match is None else timedelta(hours=int(match[1]) * _SPAN_HOURS[match[2]])


def _examples(text: str) -> str | None:
    return f"examples:\n{text}" if text else None
