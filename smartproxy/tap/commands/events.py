"""``smartproxy events``: what happened, as the daemons told the backend."""

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from smartproxy.policy import limits
from smartproxy.tap.commands.arguments import Subparsers, action, newest, newest_wanted, past
from smartproxy.tap.commands.console import Console, WrongUse

if TYPE_CHECKING:
    from smartproxy.backend.journal import StoredEvent
    from smartproxy.backend.operations.events import EventsWanted

FOLLOW_SECONDS = 0.5
SOURCES = ("server", "client", "backend", "command")


def register(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = action(
        subparsers,
        "events",
        "List events of all daemons in the order of their times, follow them, or delete old ones. 'smartproxy explain' "
        "takes the number at the beginning of a line.",
        run,
        "  smartproxy events --follow\n"
        "  smartproxy events --name session. --partner ACME --since 7d\n"
        "  smartproxy events --level error --json\n"
        "  smartproxy events prune --older-than 400d",
    )
    parser.add_argument("action", nargs="?", choices=("list", "prune"), default="list", help="[list]")
    which = parser.add_argument_group("which")
    which.add_argument("--name", metavar="NAME", help="an event's name, or a subject with its full stop: session.")
    which.add_argument("--level", metavar="LEVEL", help="this level and above: debug, info, warning, error, critical")
    which.add_argument("--source", choices=SOURCES, help="the daemon that told of it, or the command")
    which.add_argument("--partner", metavar="NAME")
    which.add_argument("--session", metavar="ID")
    which.add_argument(
        "--since",
        type=past,
        metavar="TIME",
        help="a date, 2026-11-20T12:00 (UTC), yesterday, or 5m, 2h, 7d ago",
    )
    which.add_argument("--until", type=past, metavar="TIME", help="up to this time, written in the same ways")
    newest(parser, 100)
    parser.add_argument("--long", action="store_true", help="all fields, on lines of any length")
    parser.add_argument("-f", "--follow", action="store_true", help="keep printing new events until Ctrl-C")
    parser.add_argument(
        "--older-than",
        type=past,
        metavar="TIME",
        help="for prune: delete the events that arrived before this: 400d ago, or a date",
    )


def run(console: Console) -> None:
    """Do what was asked."""
    wanted = console.arguments
    if (wanted.action == "prune") != (wanted.older_than is not None):
        raise WrongUse("events: prune and --older-than go together")
    if wanted.action == "prune":
        # None of these selects what is deleted: who gave one would lose more than was meant.
        chosen = (wanted.name, wanted.level, wanted.source, wanted.partner, wanted.session, wanted.since, wanted.until)
        if any(each is not None for each in (*chosen, wanted.number)) or wanted.long or wanted.follow:
            raise WrongUse("events: prune takes --older-than only; it deletes all events that arrived before")
        prune(console)
    else:
        show(console)


def prune(console: Console) -> None:
    """Delete old events."""
    from smartproxy.backend.operations import events as operations

    older = operations.EventsOlder(before=console.arguments.older_than)
    count = console.call(operations.prune, older).deleted
    console.answer({"deleted": count}, f"{count} events deleted")


def show(console: Console) -> None:
    """List events, and go on listing."""
    import attrs

    from smartproxy.backend.journal import StoredEvent

    wanted, most = _wanted(console), newest_wanted(console.arguments)
    text = str if console.arguments.long else StoredEvent.short
    found, last = _newest(console, wanted, most)
    if not console.arguments.follow:
        lines = "\n".join(map(text, found)) or "no event matches"
        console.answer([each.document() for each in found], lines)
        return
    while True:
        for each in found:
            console.line(each.document(), text(each))
        console.sleep(FOLLOW_SECONDS)
        # From far the backend holds the call until there is something; the local store is asked again and again.
        wait = limits.EVENTS_WAIT.most if console.arguments.api_url is not None else 0
        found, last = _following(console, attrs.evolve(wanted, after=last, wait=wait))


def _newest(console: Console, wanted: "EventsWanted", most: int) -> "tuple[list[StoredEvent], int]":
    """The events that happened last, and the cursor for those to come; as many parts are read as it takes.

    What arrives meanwhile comes after the cursor of the first part: it is not listed here, too.
    """
    import attrs

    from smartproxy.backend.operations import events as operations

    found: list[StoredEvent] = []
    part = console.call(operations.listed, attrs.evolve(wanted, limit=min(most, limits.EVENTS_PAGE.most)))
    last, size = part.next, min(most, limits.EVENTS_PAGE.most)
    while True:
        found.extend(each.stored() for each in part.items if each.number <= last)
        if len(part.items) < size or len(found) >= most:
            return _in_time(found), last
        size = min(most - len(found), limits.EVENTS_PAGE.most)
        part = console.call(operations.listed, attrs.evolve(wanted, before=part.items[0].number, limit=size))


def _following(console: Console, wanted: "EventsWanted") -> "tuple[list[StoredEvent], int]":
    """All events that arrived after a cursor, and the cursor for those to come."""
    import attrs

    from smartproxy.backend.operations import events as operations

    found: list[StoredEvent] = []
    while True:
        part = console.call(operations.listed, attrs.evolve(wanted, limit=limits.EVENTS_PAGE.most))
        found.extend(each.stored() for each in part.items)
        if len(part.items) < limits.EVENTS_PAGE.most:
            return _in_time(found), part.next
        wanted = attrs.evolve(wanted, after=part.next)


def _in_time(events: "Iterable[StoredEvent]") -> "list[StoredEvent]":
    """Events in the order of their times: those of the two daemons arrive in batches."""
    return sorted(events, key=lambda each: (each.time, each.number))


def _wanted(console: Console) -> "EventsWanted":
    from smartproxy.backend.operations.events import EventsWanted
    from smartproxy.logs.severity import Severity

    wanted = console.arguments
    _check_name(wanted.name)
    if wanted.until is not None and wanted.follow:
        raise WrongUse("events: --follow waits for new events, and --until ends before them; give one of the two")
    if None not in (wanted.since, wanted.until) and wanted.since >= wanted.until:
        raise WrongUse("events: --since has to be earlier than --until")
    try:
        level = None if wanted.level is None else Severity.named(wanted.level).label
    except ValueError as error:
        raise WrongUse(f"events --level: {error}") from None
    return EventsWanted(
        name=wanted.name,
        level=level,
        source=wanted.source,
        partner=wanted.partner,
        session=wanted.session,
        since=wanted.since,
        until=wanted.until,
    )


def _check_name(name: str | None) -> None:
    """See that events of a name, or of a subject, can be there.

    :raises WrongUse: when they cannot, with what may have been meant.
    """
    from smartproxy.logs.catalogue import EVENTS

    subjects = {f"{each.partition('.')[0]}." for each in EVENTS}
    if name is None or name in EVENTS or name in subjects:
        return
    near = difflib.get_close_matches(name, [*sorted(subjects), *EVENTS], n=1)
    meant = f"did you mean {near[0]!r}?" if near else "a subject with its full stop, such as session., lists all of it"
    raise WrongUse(f"events --name: no event is named {name!r}; {meant}")
