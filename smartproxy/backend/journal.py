"""The events that the store keeps: of the daemons, carried here, and of the operator's changes.

Takes only records that :mod:`smartproxy.logs.record` has checked. Finds them again by time, name, level, source,
partner and session.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import attrs
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    Table,
    bindparam,
    func,
    insert,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import Session

from smartproxy.backend import session_rows
from smartproxy.backend.alert_tables import AlertRow
from smartproxy.backend.alerts import intake
from smartproxy.backend.alerts.intake import COMMAND_SOURCE, IGNORED_BY, Arrival
from smartproxy.backend.database import Written, is_among
from smartproxy.backend.old_rows import are_more, delete_oldest
from smartproxy.backend.schema import EventRow
from smartproxy.backend.telling import REFUSALS, tells
from smartproxy.logs.catalogue import EVENTS, look_up
from smartproxy.logs.fields import Value, isotime
from smartproxy.logs.record import Record
from smartproxy.logs.render import LINE_MOST, line, shorten
from smartproxy.logs.severity import Severity
from smartproxy.policy.addresses import as_shown

_Row = TypeVar("_Row")
_EVENTS = cast(Table, EventRow.__table__)
"""Many rows at once cost less without the objects of the ORM."""
_TELLING_READ = 100
_LATEST_FIRST = (EventRow.time.desc(), EventRow.id.desc())
"""By when events happened; of one moment, by their arrival."""
_INSIDE = ("backend", COMMAND_SOURCE)
_COLUMNS = ("session", "partner")
"""Fields that have a column of their own."""


@attrs.frozen(kw_only=True)
class StoredEvent:
    """An event as it lies in the store; ``number`` rises in the order of arrival."""

    number: int
    time: datetime
    level: Severity
    name: str
    source: str
    fields: dict[str, Value]

    def document(self) -> dict[str, Value]:
        """The event as one flat JSON object, as it was carried here."""
        return {
            "number": self.number,
            "time": isotime(self.time),
            "level": self.level.label,
            "name": self.name,
            "source": self.source,
            **self.fields,
        }

    def __str__(self) -> str:
        """The event with all its fields, as one line that is safe on any terminal."""
        level = self.level.label.upper().ljust(8)
        return f"{self.number} {isotime(self.time)} {level} {self.source} {line(self.name, self.fields)}"

    def short(self) -> str:
        """What people look for in the event, as one line of at most :data:`~smartproxy.logs.render.LINE_MOST`."""
        begin = f"{self.number:>6} {self.time.astimezone(UTC):%Y-%m-%d %H:%M:%S} {self.level.label.upper():<8} "
        begin += f"{self.source:<7} "
        return begin + shorten(self.name, self.fields, LINE_MOST - len(begin))


@attrs.frozen(kw_only=True)
class Filter:
    """Which events are wanted; what is not given does not matter.

    :ivar name: a whole name, or the beginning of one ending with a full stop: ``session.``.
    :ivar level: this level and those above it.
    :ivar after: only events with a higher number.
    :ivar before: only events that happened before the one of this number; those with a lower number, if it is gone.
    """

    name: str | None = None
    level: Severity | None = None
    source: str | None = None
    partner: str | None = None
    session: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: int | None = None
    before: int | None = None


@attrs.frozen(kw_only=True)
class Forgotten:
    """What one piece of deleting did.

    :ivar events: how many events were deleted.
    :ivar more: whether there may be more to delete, of events or of what came of them.
    """

    events: int
    more: bool


def record_of(name: str, now: datetime, sequence: int, **fields: object) -> Record:
    """A record of the operator's command.

    :raises CatalogueError: when the catalogue has no such event.
    """
    return Record(name, now, COMMAND_SOURCE, sequence, look_up(name).check(fields))


def keep(
    session: Session,
    records: Iterable[Record],
    received: datetime,
    client: str | None = None,
    *,
    again: bool = False,
) -> int:
    """Store records, and what becomes of them; return how many are stored.

    :param client: the client that carried them: its name, which it cannot choose, goes into each.
    :param again: whether they may have been stored before; what a client carries always may. One that was is not
        stored twice.
    """
    again = again or client is not None
    rows: list[dict[str, object]] = []
    arrivals: list[Arrival] = []
    for record in records:
        fields = dict(record.shown)
        if record.sequence is not None:
            fields["sequence"] = record.sequence
        if client is not None:
            fields["client"] = client
        named = {name: fields.pop(name, None) for name in _COLUMNS}
        told = record.name, record.level, record.source, record.time
        arrivals.append(Arrival(*told, fields, named))
        written = Written(fields)
        rows.append(
            {
                "time": record.time,
                "received": received,
                "source": record.source,
                "name": record.name,
                "level": record.level.label,
                **named,
                "telling": tells(record.name, record.source, fields),
                "fields": written,
                "key": _key(record, named, written.text) if again else None,
            }
        )
    new, arrived = _not_there(session, rows, arrivals)
    if new:
        _insert(session, new, arrived, received)
        session_rows.note(session, new, received)
    return len(rows)


def _not_there(
    session: Session, rows: list[dict[str, object]], arrivals: list[Arrival]
) -> tuple[list[dict[str, object]], list[Arrival]]:
    """Those of the rows that were not stored before. Nobody else writes meanwhile: who writes holds the lock."""
    keys = [cast(str, row["key"]) for row in rows if row["key"] is not None]
    there = set(session.scalars(select(EventRow.key).where(is_among(session, EventRow.key, keys)))) if keys else set()
    new: list[tuple[dict[str, object], Arrival]] = []
    for row, arrival in zip(rows, arrivals, strict=True):
        key = row["key"]
        if key is None or key not in there:
            new.append((row, arrival))
            there.add(cast("str | None", key))
    return [row for row, _ in new], [arrival for _, arrival in new]


def _key(record: Record, named: Mapping[str, Value | None], written: str) -> str:
    """What is the same for one event of one sender, and differs for any two.

    It begins with the time, so that those of one moment lie together in the index.
    """
    told = record.stamp, record.source, record.name, *named.values()
    mark = hashlib.blake2b(f"{told}{written}".encode(), digest_size=10).hexdigest()
    return f"{int(record.time.timestamp() * 1000):012x}{mark}"


def _insert(
    session: Session, rows: Sequence[dict[str, object]], arrivals: Sequence[Arrival], received: datetime
) -> None:
    """Store rows; one statement for all of them: objects that nobody looks at again would cost twice as much."""
    treatments = intake.judge(session, arrivals, received)
    if not any(treatments):
        session.execute(insert(_EVENTS), rows)
        return
    for row, treatment in zip(rows, treatments, strict=True):
        if treatment.ignored_by is not None:
            row["fields"] = {**cast("dict[str, object]", row["fields"]), IGNORED_BY: treatment.ignored_by}
    numbers = session.scalars(insert(EventRow).returning(EventRow.id, sort_by_parameter_order=True), rows).all()
    intake.take_in(session, numbers, treatments, received)


def find(session: Session, wanted: Filter, most: int | None = None, first: int | None = None) -> Sequence[StoredEvent]:
    """The events that a filter lets through: in the order of their arrival, or the newest in that of their times.

    A client that was away brings its events late: what arrived last need not have happened last.

    :param most: only the newest so many of them: those that happened last.
    :param first: only the oldest so many of them: those that arrived first. Nothing arrives before these any more.
    """
    wanted_before = _is_before(session, wanted.before)
    if first is not None:
        rows = session.scalars(_some(wanted, wanted_before, first, EventRow.id.asc()))
    elif most is not None:
        rows = session.scalars(_some(wanted, wanted_before, most, *_LATEST_FIRST))
        return [_stored(row) for row in sorted(rows, key=lambda row: (row.time, row.id))]
    else:
        rows = session.scalars(_apply(select(EventRow), wanted).where(*wanted_before))
    return [_stored(row) for row in sorted(rows, key=lambda row: row.id)]


def _is_before(session: Session, number: int | None) -> tuple[ColumnElement[bool], ...]:
    """What is so of the events that happened before the one of a number; those of one moment go by their numbers."""
    if number is None:
        return ()
    time = session.scalar(select(EventRow.time).where(EventRow.id == number))
    if time is None:
        return (EventRow.id < number,)
    return (EventRow.time <= time, or_(EventRow.time < time, EventRow.id < number))


def _some(
    wanted: Filter, also: Sequence[ColumnElement[bool]], most: int, *order: ColumnElement[Any]
) -> Select[EventRow]:
    """The first events in an order: a statement that an index answers in it, however many events there are."""
    branches = _branches(wanted)
    if branches is None or len(branches) == 1:
        return _apply(select(EventRow), wanted).where(*branches or (), *also).order_by(*order).limit(most)
    parts = [_apply(select(EventRow.id), wanted).where(each, *also).order_by(*order).limit(most) for each in branches]
    found = union_all(*(select(each.subquery().c.id) for each in parts))
    return select(EventRow).where(EventRow.id.in_(found)).order_by(*order).limit(most)


def _branches(wanted: Filter) -> list[ColumnElement[bool]] | None:
    """What would make a statement look through all events, as one condition for each value that an index knows."""
    if wanted.level is not None and wanted.level > Severity.INFO:
        labels = {each.label for each in Severity if each >= wanted.level}
        return [EventRow.level == _literally(label) for label in sorted(labels)]
    if wanted.source in _INSIDE:
        return [EventRow.source == _literally(wanted.source)]
    if wanted.name is not None and wanted.name.endswith("."):
        names = [name for name in EVENTS if name.startswith(wanted.name)]
        return [EventRow.name == name for name in names or [wanted.name]]
    return None


def _literally(text: str) -> BindParameter[str]:
    """A text as it stands in the condition of an index, so that SQLite sees that the index has all that is wanted."""
    return bindparam(None, text, literal_execute=True)


def newest_telling(session: Session, what: str) -> Sequence[StoredEvent]:
    """The last events that tell of a refusal or an early end of somebody, what happened last first.

    Clients bring events in no common order: one of before may arrive last.

    :param what: a partner's name, an address, with a port or without one, or the host of a partner that was called.
    """
    peer, place = EventRow.fields["peer"].as_string(), as_shown(what)
    begins = [peer.startswith(each, autoescape=True) for each in (f"{place}:", f"[{place}]:")]
    called = EventRow.fields["host"].as_string().in_({what, what.lower(), place})
    telling = select(EventRow).where(EventRow.telling, EventRow.name.in_(REFUSALS))
    query = telling.where(or_(EventRow.partner == what, peer == place, called, *begins))
    return [_stored(row) for row in session.scalars(query.order_by(*_LATEST_FIRST).limit(_TELLING_READ))]


def newest(session: Session, name: str, partner: str | None = None) -> StoredEvent | None:
    """The event of a name, and of a partner, that happened last."""
    query = _apply(select(EventRow), Filter(name=name, partner=partner)).order_by(*_LATEST_FIRST)
    row = session.scalars(query.limit(1)).first()
    return None if row is None else _stored(row)


def newest_since(
    session: Session, name: str, since: datetime, most: int, partner: str | None = None, *, telling: bool = False
) -> tuple[list[StoredEvent], bool]:
    """The newest events of a name, from a time on, and whether these are all of them.

    :param telling: only those that tell of a refusal or an early end.
    """
    query = _apply(select(EventRow), Filter(name=name, partner=partner, since=since))
    if telling:
        query = query.where(EventRow.telling)
    rows = session.scalars(query.order_by(*_LATEST_FIRST).limit(most + 1)).all()
    return [_stored(row) for row in rows[:most]], len(rows) <= most


def newest_number(session: Session) -> int:
    """The number of the event that came last; 0 when there is none."""
    return session.scalar(select(func.max(EventRow.id))) or 0


def forget(session: Session, before: datetime) -> Forgotten:
    """Delete a piece of the events that arrived before a time, but for the newest, and of what came of them.

    When an event happened is what its sender said: one of the year 2999 would stay for ever. SQLite gives the number
    after the highest that is there: without any event the numbers would begin again, below what readers had last.
    """
    newest = select(func.max(EventRow.id)).scalar_subquery()
    events = delete_oldest(session, EventRow.received, before, EventRow.id < newest)
    alerts = delete_oldest(session, AlertRow.received, before)
    more = session_rows.forget(session, before)
    return Forgotten(events=events, more=more or are_more(events, alerts))


def shown(record: Record) -> StoredEvent:
    """A record as it would lie in the store, without being there: its number is 0."""
    fields = dict(record.shown)
    named = {name: fields.pop(name, None) for name in _COLUMNS}
    return StoredEvent(
        number=0,
        time=record.time,
        level=record.level,
        name=record.name,
        source=record.source,
        fields=intake.together(named, fields),
    )


def of_numbers(session: Session, numbers: Sequence[int]) -> dict[int, StoredEvent]:
    """The events that have these numbers, by number; those that were deleted are left out."""
    return {row.id: _stored(row) for row in session.scalars(select(EventRow).where(EventRow.id.in_(numbers)))}


def _apply(query: Select[_Row], wanted: Filter) -> Select[_Row]:
    """All that a filter asks for, but for :attr:`Filter.before`."""
    if wanted.name is not None:
        matches = EventRow.name.startswith(wanted.name, autoescape=True)
        query = query.where(matches if wanted.name.endswith(".") else EventRow.name == wanted.name)
    if wanted.level is not None:
        # Nearly all events are of the levels from INFO on: no index is to be tried for them.
        query = query.where(EventRow.level.not_in([each.label for each in Severity if each < wanted.level]))
    for column, value in (
        (EventRow.source, wanted.source),
        (EventRow.partner, wanted.partner),
        (EventRow.session, wanted.session),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(EventRow.time >= wanted.since)
    if wanted.until is not None:
        query = query.where(EventRow.time < wanted.until)
    if wanted.after is not None:
        query = query.where(EventRow.id > wanted.after)
    return query


def _stored(row: EventRow) -> StoredEvent:
    named = {"session": row.session, "partner": row.partner}
    return StoredEvent(
        number=row.id,
        time=row.time,
        level=Severity.named(row.level),
        name=row.name,
        source=row.source,
        fields=intake.together(named, cast("dict[str, Value]", row.fields)),
    )
