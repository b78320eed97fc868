"""The events of all daemons: found by filters that stand in the address, followed as they arrive, and taken away."""

import csv
import io
import json
from urllib.parse import urlencode

import attrs

from smartproxy.backend.alerts.intake import never_ignored
from smartproxy.backend.errors import NotFound
from smartproxy.backend.operations import events, refusal
from smartproxy.backend.operations.events import EventsWanted, KnownEvent
from smartproxy.backend.operations.shapes import Word
from smartproxy.backend.page.filters import read_filters
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.visit import PageRefused, PageVisit
from smartproxy.backend.telling import REFUSALS
from smartproxy.logs.catalogue import EVENTS
from smartproxy.logs.severity import Severity
from smartproxy.policy import limits

EVENTS_SHOWN = 100
FILTERS = ("name", "level", "source", "partner", "session", "since", "until", "before")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With these a text would be a formula in a spreadsheet."""

LEVELS = (later("critical"), later("error"), later("warning"), later("info"), later("debug"), later("trace"))
SOURCES = (later("server"), later("client"), later("backend"), later("command"))
OWN = {"source": Word(SOURCES)}
"""Whatever may tell events one day, these are offered."""


async def listed(visit: PageVisit) -> Shown:
    """The newest events that are wanted."""
    return await _page(visit, "events.html")


async def part(visit: PageVisit) -> Shown:
    """The same, as the part of the page that looks again by itself."""
    return await _page(visit, "events_live.html")


async def shown(visit: PageVisit) -> Shown:
    """One event, with all that it tells."""
    number = visit.named["number"]
    found: tuple[KnownEvent, ...] = ()
    if number.isdecimal() and number.isascii() and 0 < int(number) <= limits.EVENT_NUMBER.most:
        found = (await visit.call(events.listed, EventsWanted(after=int(number) - 1, limit=1))).answer.items
    if not found or str(found[0].number) != number:
        raise NotFound(visit.text("There is no event %(number)s; it may have been deleted.", number=number[:20]))
    explained = found[0].name in REFUSALS and visit.may(refusal.explain)
    return visit.render(
        "event.html",
        event=found[0],
        about=EVENTS.get(found[0].name),
        explained=explained,
        may_be_ignored=not never_ignored(found[0].name),
    )


async def as_json(visit: PageVisit) -> Shown:
    """The events that are wanted, for programs."""
    found = await _all(visit)
    _attach(visit, b"application/json", b"events.json")
    return json.dumps([each.stored().document() for each in found], indent=1).encode("ascii")


async def as_csv(visit: PageVisit) -> Shown:
    """The events that are wanted, for a spreadsheet."""
    found = await _all(visit)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("number", "time", "level", "name", "source", "partner", "session", "fields"))
    for each in found:
        rest = {name: value for name, value in each.fields.items() if name not in ("partner", "session")}
        document = each.stored().document()
        cells = [document.get(name, "") for name in ("number", "time", "level", "name", "source", "partner", "session")]
        table.writerow([_plain(cell) for cell in (*cells, json.dumps(rest))])
    _attach(visit, b"text/csv; charset=utf-8", b"events.csv")
    return text.getvalue().encode("utf-8", "backslashreplace")


def _plain(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _attach(visit: PageVisit, media: bytes, name: bytes) -> None:
    visit.request.setHeader(b"content-type", media)
    visit.request.setHeader(b"content-disposition", b'attachment; filename="' + name + b'"')


async def _all(visit: PageVisit) -> tuple[KnownEvent, ...]:
    """What a file of events has.

    :raises PageRefused: when what is wanted cannot be understood: a file with all events would look like the answer.
    """
    filters = await read_filters(visit, EventsWanted, FILTERS, OWN)
    if filters.faults:
        said = visit.backstage.renderer.said[visit.language]
        why = " ".join(f"{name}: {said.plain(fault)}" for name, fault in filters.faults.items())
        raise PageRefused(422, visit.text("These filters cannot be understood"), why)
    most = limits.EVENTS_PAGE.most
    return (await visit.call(events.listed, attrs.evolve(filters.wanted, limit=most))).answer.items


async def _page(visit: PageVisit, template: str) -> Shown:
    filters = await read_filters(visit, EventsWanted, FILTERS, OWN, limit=EVENTS_SHOWN)
    wanted = filters.wanted
    found = () if filters.faults else (await visit.call(events.listed, wanted)).answer.items[::-1]
    filters = filters.after(found)
    older = {**filters.given, "before": found[-1].number} if found else {}
    return visit.render(
        template,
        filters.status,
        events=found,
        filters=filters,
        query=urlencode({name: text for name, text in filters.given.items() if name != "before"}),
        older=urlencode(older) if len(found) == EVENTS_SHOWN else "",
        live=visit.argument("live") == "1" and not filters.faults,
        about=EVENTS,
        levels=[(each.label, visit.text(each.label)) for each in Severity],
        sources=[(each, visit.text(each)) for each in SOURCES],
        names=sorted({*EVENTS, *(f"{each.partition('.')[0]}." for each in EVENTS)}),
    )


ROUTES = (
    Route("GET", "/events", events.listed, listed),
    Route("GET", "/events/live", events.listed, part, by_itself=True),
    Route("GET", "/events/csv", events.listed, as_csv),
    Route("GET", "/events/json", events.listed, as_json),
    Route("GET", "/events/<number>", events.listed, shown),
)
