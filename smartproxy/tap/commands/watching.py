"""``smartproxy partner watch``, ``watched`` and ``downtime``: when it is told that a partner is silent or late."""

from typing import TYPE_CHECKING

from smartproxy.policy.schema import write_object
from smartproxy.policy.watching import PartnerWatching
from smartproxy.tap.commands import declared
from smartproxy.tap.commands.arguments import Subparsers, action, end_of, moment, subject
from smartproxy.tap.commands.console import Console, WrongUse, listing, table, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.partner import KnownPartner

_EXAMPLES = """\
  smartproxy settings set backend.watching.silent_hours 48            (all partners)
  smartproxy partner watch ACME --silent-hours 24 --eerp-hours 12     (this one otherwise)
  smartproxy partner watch ACME --silent-hours 0                      (never)
  smartproxy partner watch ACME --as-site silent_hours"""
_DOWNTIME_EXAMPLES = """\
  smartproxy partner downtime add ACME --until 12h --why 'new system'
  smartproxy partner downtime add ACME --from 2026-12-24 --until 2027-01-02 --why 'works holidays'
  smartproxy partner downtime remove ACME"""
_FIELDS = tuple(each.name for each in declared.argued(PartnerWatching))


def register(actions: Subparsers) -> None:
    """Declare the actions."""
    change = action(
        actions,
        "watch",
        "Set when it is told that a partner is silent, has sessions without files, or that end responses (EERP) are "
        "overdue: by an event, which starts mail and event script. What is not given stays.",
        watch,
        _EXAMPLES,
        changes=True,
        tried=True,
    )
    change.add_argument("name", metavar="NAME")
    declared.add_arguments(change, PartnerWatching)
    change.add_argument("--as-site", action="append", default=[], choices=_FIELDS, help="use the site's setting again")
    action(actions, "watched", "List who is watched: last session, last file, and what is unusual.", watched)
    planned = subject(
        actions,
        "downtime",
        "Planned downtimes: nothing is told of a partner meanwhile.",
        _DOWNTIME_EXAMPLES,
    )
    more = action(
        planned, "add", "Say that a partner will be down.", add_downtime, _DOWNTIME_EXAMPLES, changes=True, tried=True
    )
    more.add_argument("name", metavar="NAME")
    more.add_argument("--from", dest="begins", type=moment, metavar="TIME", help="its begin [now]")
    more.add_argument(
        "--until",
        type=end_of,
        required=True,
        metavar="TIME",
        help="its end (2026-12-31), or how long: 12h, 3d",
    )
    more.add_argument("--why", required=True, metavar="TEXT", help="why, for people")
    action(planned, "list", "List planned downtimes, those that are over, too.", show_downtimes)
    less = action(
        planned,
        "remove",
        "Remove the downtimes of a partner that are planned, and end the one that goes on.",
        remove_downtimes,
        changes=True,
        tried=True,
    )
    less.add_argument("name", metavar="NAME")
    less.add_argument("--from", dest="begins", type=moment, metavar="TIME", help="only the one that begins then")


def watch(console: Console) -> None:
    """Change what is told of a partner."""
    from smartproxy.backend.operations import watching as operations

    wanted = console.arguments
    values = declared.given(wanted, PartnerWatching) | dict.fromkeys(wanted.as_site)
    if not values:
        raise WrongUse("partner watch: nothing to change was given")
    _tell(console, console.call(operations.watch, operations.WatchingAlteration(name=wanted.name, watching=values)))


def watched(console: Console) -> None:
    """List who is watched."""
    from smartproxy.backend.operations import watching as operations
    from smartproxy.backend.operations.shapes import Nothing

    found = console.call(operations.watched, Nothing()).items
    cells = [
        (
            each.partner,
            each.watching.silent_hours or "-",
            each.watching.no_files_days or "-",
            each.watching.eerp_hours or "-",
            when(each.last_session),
            when(each.last_file),
            each.awaited,
            ", ".join(each.unusual) or ("-" if each.down_until is None else f"down until {when(each.down_until)}"),
        )
        for each in found
    ]
    heads = ("PARTNER", "SILENT H", "NO FILES D", "EERP H", "LAST SESSION", "LAST FILE", "NO EERP YET", "UNUSUAL")
    empty = "no partner is watched; 'smartproxy partner watch --help' says how"
    console.answer([write_object(each) for each in found], table(heads, cells, empty))


def add_downtime(console: Console) -> None:
    """Plan a downtime."""
    from smartproxy.backend.operations import watching as operations

    given = console.arguments
    wanted = operations.DowntimeAddition(name=given.name, begins=given.begins, until=given.until, why=given.why)
    _tell(console, console.call(operations.add_downtime, wanted))


def show_downtimes(console: Console) -> None:
    """List downtimes."""
    from smartproxy.backend.operations import partner as operations

    found = [
        (each.partner.name, downtime)
        for each in console.every(operations.listed)
        for downtime in each.partner.watching.downtimes
    ]
    cells = [(name, when(each.begins), when(each.until), each.why) for name, each in found]
    documents = [{"partner": name, **write_object(each)} for name, each in found]
    console.answer(documents, table(("PARTNER", "FROM", "UNTIL", "WHY"), cells, "no downtime is planned"))


def remove_downtimes(console: Console) -> None:
    """Remove planned downtimes."""
    from smartproxy.backend.operations import watching as operations

    wanted = operations.DowntimeRemoval(name=console.arguments.name, begins=console.arguments.begins)
    _tell(console, console.call(operations.remove_downtimes, wanted))


def _tell(console: Console, known: "KnownPartner") -> None:
    entry = known.partner.watching
    shown = {"partner": known.partner.name, **declared.pairs(entry, downtimes=_downtimes(known))}
    console.answer({"name": known.partner.name, "watching": write_object(entry)}, listing(shown))


def _downtimes(known: "KnownPartner") -> list[str]:
    return [f"{when(each.begins)} to {when(each.until)}: {each.why}" for each in known.partner.watching.downtimes]
