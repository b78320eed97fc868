"""Partners that are silent, sessions without files, and files whose end response is overdue: each told once.

Duty: take in the client's events in the order of their arrival, each once, and keep what is needed of them; judge it by
what partners' entries and the site's settings say, and tell what has become unusual and what is over. What was told is
kept, so that neither a restart nor another backend tells it again. An event's time is what the client said: one
that lies after its arrival counts as its arrival. In a planned downtime nothing new is told, and the clock begins again
at its end. Never judges a partner by the server's events: that host is in the DMZ.

Standards: RFC 5024 sections 5.3.13 (EERP) and 5.3.14 (NERP).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from shlex import quote
from typing import Any, Final

import attrs
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session
from twisted.internet.interfaces import IReactorTime

from smartproxy.backend import generations, journal, partners, transfers
from smartproxy.backend.alerts.intake import backend_settings
from smartproxy.backend.journal import Filter
from smartproxy.backend.rounds import AGAIN_SECONDS, STORE_LOOK_SECONDS, StoreRounds
from smartproxy.backend.schema import EventRow
from smartproxy.backend.store import Runner, Store
from smartproxy.backend.watch_tables import AwaitedResponseRow, WatchCursorRow, WatchedPartnerRow
from smartproxy.logs.catalogue import look_up
from smartproxy.logs.clock import now as now_of
from smartproxy.logs.emit import Events
from smartproxy.logs.record import Record
from smartproxy.policy import limits
from smartproxy.policy.outcomes import TransferOutcome
from smartproxy.policy.schema import ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import NAME, Instant, Line, Whole
from smartproxy.policy.watching import PartnerWatching, Watching

LOOKED_BACK: Final = timedelta(days=14)
"""How old the oldest events are that are taken in when something is watched for the first time."""
AWAITED_FOR: Final = timedelta(days=60)
"""How long an end response is awaited at least."""
AWAITED_LONGER: Final = timedelta(days=1)
"""How much longer than any partner's hours for it."""
AWAITED_MOST: Final = 100_000
"""Files that await one; of further files nothing is told."""
NAMED_MOST: Final = 20
"""Files of a partner of which one look tells each; the rest is counted."""
BATCH: Final = 1_000
"""Events that are taken in at once."""
_NAMES: Final = ("session.started", "file.ended", "file.response")
_SENT: Final = (TransferOutcome.COMPLETED, TransferOutcome.UNCONFIRMED)


@attrs.frozen
class _Watched:
    """What counts for a partner."""

    limits: Watching
    entry: PartnerWatching


@attrs.frozen
class BusinessLook:
    """What a look found.

    :ivar told: the events that were stored.
    :ivar more: whether there are more events to take in, before anything can be judged.
    """

    told: tuple[Record, ...] = ()
    more: bool = False


class Business:
    """Looks into one store again and again; whom it watches is read anew with each generation only."""

    def __init__(self) -> None:
        self._generation = -1
        self._watched: Mapping[str, _Watched] = {}

    def concerns(self, session: Session) -> bool:
        """Whether there is anything to do; writes nothing."""
        self._read(session)
        return bool(self._watched) or session.get(WatchCursorRow, 1) is not None

    def look(self, session: Session, now: datetime) -> BusinessLook:
        """Take in what came, and tell what is to be told."""
        self._read(session)
        rows = _rows(session, self._watched, now)
        if not self._watched:
            session.execute(delete(WatchCursorRow))
            return BusinessLook()
        told, more = _take_in(session, rows, self._watched, now)
        for name, row in () if more else sorted(rows.items()):
            watched = self._watched[name]
            told += _silence(row, watched, now)
            told += _no_files(row, watched, now)
            told += _overdue(session, name, watched, now)
        journal.keep(session, told, now)
        return BusinessLook(told=tuple(told), more=more)

    def _read(self, session: Session) -> None:
        newest = generations.newest_number(session)
        if newest == self._generation:
            return
        site = backend_settings(session).watching
        found = {}
        for row in partners.listed(session):
            entry = row.entry.watching
            if row.entry.enabled and (counted := entry.beside(site)):
                found[row.name] = _Watched(counted, entry)
        self._watched, self._generation = found, newest


def _rows(session: Session, watched: Mapping[str, _Watched], now: datetime) -> dict[str, WatchedPartnerRow]:
    """The rows of those who are watched; others have none, and await nothing."""
    rows = {row.name: row for row in session.scalars(select(WatchedPartnerRow))}
    for name in rows.keys() - watched.keys():
        session.delete(rows.pop(name))
        session.execute(delete(AwaitedResponseRow).where(AwaitedResponseRow.partner == name))
    for name in watched.keys() - rows.keys():
        rows[name] = WatchedPartnerRow(name=name, since=now)
        session.add(rows[name])
    _not_later(session, rows.values(), now)
    hours = max((each.limits.eerp_hours for each in watched.values()), default=0)
    awaited = max(AWAITED_FOR, timedelta(hours=hours) + AWAITED_LONGER)
    session.execute(delete(AwaitedResponseRow).where(AwaitedResponseRow.ended < now - awaited))
    return rows


def _not_later(session: Session, rows: Iterable[WatchedPartnerRow], now: datetime) -> None:
    """Let what was noted while the clock was ahead count from now: else nothing is missed until that time has come."""
    for row in rows:
        row.since = min(row.since, now)
        row.last_session = row.last_session and min(row.last_session, now)
        row.last_file = row.last_file and min(row.last_file, now)
    session.execute(update(AwaitedResponseRow).where(AwaitedResponseRow.ended > now).values(ended=now))


def _take_in(
    session: Session, rows: Mapping[str, WatchedPartnerRow], watched: Mapping[str, _Watched], now: datetime
) -> tuple[list[Record], bool]:
    """Keep what the next events say; what is told of them, and whether there are more."""
    cursor = session.get(WatchCursorRow, 1)
    newest = journal.newest_number(session)
    if cursor is None:
        first = session.scalar(select(func.min(EventRow.id)).where(EventRow.received >= now - LOOKED_BACK))
        cursor = WatchCursorRow(number=1, event=newest if first is None else first - 1)
        session.add(cursor)
    query = select(EventRow).where(EventRow.id > cursor.event, EventRow.name.in_(_NAMES), EventRow.source == "client")
    found = session.scalars(query.order_by(EventRow.id).limit(BATCH)).all()
    told: list[Record] = []
    for event in found:
        row = rows.get(event.partner or "")
        if row is not None:
            told += _note(session, row, watched[row.name].limits, event, now)
    cursor.event = found[-1].id if len(found) == BATCH else max(newest, cursor.event)
    return told, len(found) == BATCH


def _note(
    session: Session, row: WatchedPartnerRow, counted: Watching, event: EventRow, now: datetime
) -> Iterator[Record]:
    moment = min(event.time, event.received, now)
    fields: dict[str, Any] = {**event.fields, "partner": row.name}
    match event.name:
        case "session.started":
            row.last_session = max(filter(None, (row.last_session, moment)))
        case "file.ended" if fields.get("outcome") in _SENT:
            row.last_file = max(filter(None, (row.last_file, moment)))
            if counted.eerp_hours:
                _await(session, fields, moment)
        case "file.response":
            waiting = session.get(AwaitedResponseRow, _key(transfers.answered(fields)))
            if waiting is not None:
                session.delete(waiting)
                if waiting.named:
                    about = {"link": waiting.link, "dataset": waiting.dataset, "stamp": waiting.stamp}
                    yield _record("watch.recovered", row.name, now, event="watch.eerp_overdue", **about)


def _await(session: Session, fields: Mapping[str, Any], moment: datetime) -> None:
    key = _key(transfers.awaited(fields))
    waiting = session.get(AwaitedResponseRow, key)
    if waiting is not None:
        # Sent again: its response may come as late as that of any file.
        waiting.ended = moment
        return
    if (session.scalar(select(func.count()).select_from(AwaitedResponseRow)) or 0) < AWAITED_MOST:
        about = {name: str(fields.get(name, "")) for name in ("link", "dataset", "stamp", "originator")}
        session.add(AwaitedResponseRow(key=key, partner=fields["partner"], ended=moment, named=False, **about))


def _key(known_by: tuple[object, ...]) -> str:
    return hashlib.sha256(json.dumps(known_by).encode("utf-8", "surrogatepass")).hexdigest()


def _silence(row: WatchedPartnerRow, watched: _Watched, now: datetime) -> Iterator[Record]:
    """Whether a partner had no session for too long."""
    limit = timedelta(hours=watched.limits.silent_hours)
    last = max(filter(None, (row.since, row.last_session)))
    if not limit:
        row.silent_told = None
    elif row.silent_told is not None:
        if now - last < limit:
            row.silent_told = None
            yield _record("watch.recovered", row.name, now, event="watch.silent")
    elif _too_long(last, watched.entry, limit, now):
        row.silent_told = now
        advice = (
            "ask the partner whether it means to call; see whether it is refused: smartproxy explain "
            f"{quote(row.name)}; if it is down for a while: smartproxy partner downtime add {quote(row.name)}"
        )
        yield _record("watch.silent", row.name, now, seconds=(now - last).total_seconds(), advice=advice)


def _no_files(row: WatchedPartnerRow, watched: _Watched, now: datetime) -> Iterator[Record]:
    """Whether a partner had sessions, and none of them a file, for too long."""
    limit = timedelta(days=watched.limits.no_files_days)
    last = max(filter(None, (row.since, row.last_file)))
    if not limit:
        row.no_files_told = None
    elif row.no_files_told is not None:
        if now - last < limit:
            row.no_files_told = None
            yield _record("watch.recovered", row.name, now, event="watch.no_files")
    elif _too_long(last, watched.entry, limit, now) and row.last_session is not None and row.last_session > last:
        row.no_files_told = now
        advice = f"see what the sessions were for: smartproxy events --partner {quote(row.name)} --name session."
        yield _record("watch.no_files", row.name, now, seconds=(now - last).total_seconds(), advice=advice)


def _too_long(last: datetime, entry: PartnerWatching, limit: timedelta, now: datetime) -> bool:
    """Whether a time is longer than a limit, without planned downtimes."""
    begin = max(filter(None, (last, entry.resumed(now))))
    return not entry.is_down(now) and now - begin >= limit


def _overdue(session: Session, partner: str, watched: _Watched, now: datetime) -> list[Record]:
    """The files whose end response is overdue and was not told."""
    limit = timedelta(hours=watched.limits.eerp_hours)
    if not limit:
        session.execute(delete(AwaitedResponseRow).where(AwaitedResponseRow.partner == partner))
        return []
    if not _too_long(now - limit, watched.entry, limit, now):
        return []
    waiting = select(AwaitedResponseRow).where(
        AwaitedResponseRow.partner == partner,
        AwaitedResponseRow.told.is_(None),
        AwaitedResponseRow.ended <= now - limit,
    )
    rows = _unanswered(session, session.scalars(waiting.order_by(AwaitedResponseRow.ended)).all())
    named = len(rows) if len(rows) <= NAMED_MOST else NAMED_MOST
    told = []
    for number, row in enumerate(rows):
        row.told, row.named = now, number < named
        if number <= named:
            told.append(_late(row, now, None if number < named else len(rows) - named))
    return told


def _late(row: AwaitedResponseRow, now: datetime, count: int | None) -> Record:
    whose = "the partner" if row.link == "out" else "the station"
    day = f"{row.ended:%Y-%m-%d}"
    return _record(
        "watch.eerp_overdue",
        row.partner,
        now,
        link=row.link,
        dataset=row.dataset,
        stamp=row.stamp,
        originator=row.originator or None,
        age=(now - row.ended).total_seconds(),
        count=count,
        advice=f"ask {whose} whether it has received the file; list the partner's files (EERP is - where none has "
        f"come): smartproxy transfers --partner {quote(row.partner)} --since {quote(day)}",
    )


def _unanswered(session: Session, rows: Sequence[AwaitedResponseRow]) -> list[AwaitedResponseRow]:
    """Without those whose response was stored before the end of the file was: another client had carried it."""
    if not rows:
        return []
    since = min(each.ended for each in rows)
    answers = journal.find(session, Filter(name="file.response", source="client", partner=rows[0].partner, since=since))
    answered = {_key(transfers.answered(each.fields)) for each in answers}
    for row in rows:
        if row.key in answered:
            session.delete(row)
    return [row for row in rows if row.key not in answered]


def _record(name: str, partner: str, now: datetime, **fields: object) -> Record:
    return Record(name, now, "backend", None, look_up(name).check({"partner": partner, **fields}))


@attrs.frozen(kw_only=True)
class WatchedPartner:
    """What is known of a partner that is watched.

    :ivar watching: what counts for it.
    :ivar since: since when it is watched; ``None``: the next look begins.
    :ivar awaited: files whose end response has not come, overdue or not.
    :ivar overdue: of these, those that were told.
    :ivar unusual: the events that told of what is not over.
    :ivar down_until: the end of the planned downtime that goes on.
    """

    partner: str = attrs.field(metadata=kind(NAME))
    watching: Watching = attrs.field(metadata=kind(ObjectOf(Watching)))
    since: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    last_session: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    last_file: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    awaited: int = attrs.field(metadata=kind(Whole(limits.EVENT_NUMBER)))
    overdue: int = attrs.field(metadata=kind(Whole(limits.EVENT_NUMBER)))
    unusual: tuple[str, ...] = attrs.field(metadata=kind(ListOf(item=Line())))
    down_until: datetime | None = attrs.field(metadata=kind(Optional(Instant())))


def watched(session: Session, now: datetime) -> Iterator[WatchedPartner]:
    """Those who are watched, by name."""
    site = backend_settings(session).watching
    rows = {row.name: row for row in session.scalars(select(WatchedPartnerRow))}
    counts = select(AwaitedResponseRow.partner, func.count(), func.count(AwaitedResponseRow.told))
    files = {name: (all_, told) for name, all_, told in session.execute(counts.group_by(AwaitedResponseRow.partner))}
    for partner in partners.listed(session):
        entry, row = partner.entry.watching, rows.get(partner.name)
        if not partner.entry.enabled or not (counted := entry.beside(site)):
            continue
        awaited, overdue = files.get(partner.name, (0, 0))
        marks = {
            "watch.silent": row is not None and row.silent_told is not None,
            "watch.no_files": row is not None and row.no_files_told is not None,
            "watch.eerp_overdue": bool(overdue),
        }
        yield WatchedPartner(
            partner=partner.name,
            watching=counted,
            since=None if row is None else row.since,
            last_session=None if row is None else row.last_session,
            last_file=None if row is None else row.last_file,
            awaited=awaited,
            overdue=overdue,
            unusual=tuple(name for name, told in marks.items() if told),
            down_until=max((each.until for each in entry.downtimes if each.begins <= now < each.until), default=None),
        )


class BusinessWatch(StoreRounds):
    """Looks every minute, by itself.

    What it tells is stored with what is kept of it, in one transaction; the log is told afterwards.
    """

    def __init__(self, store: Store, runner: Runner, events: Events, clock: IReactorTime) -> None:
        super().__init__(store, runner, events, clock)
        self._business = Business()

    async def look(self) -> float:
        """Tell who is silent or late."""
        found = await self._runner.run(self._found)
        self._events.log_stored(found.told)
        return STORE_LOOK_SECONDS if found.more else AGAIN_SECONDS

    def _found(self) -> BusinessLook:
        with self._store.reading() as session:
            if not self._business.concerns(session):
                return BusinessLook()
        with self._store.writing() as session:
            return self._business.look(session, now_of(self._clock))
