"""Finds sessions: past ones by partner, time, file and outcome; one with all that is known; those that run.

Reads what :mod:`smartproxy.backend.session_rows` keeps. Never changes anything.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import attrs
from sqlalchemy import ColumnElement, Select, and_, exists, or_, select
from sqlalchemy.orm import Session

from smartproxy.backend import journal, refusals_explained
from smartproxy.backend.errors import NotFound
from smartproxy.backend.journal import Filter, StoredEvent
from smartproxy.backend.session_tables import LiveReportRow, SessionFileRow, SessionRecordRow, SessionRow
from smartproxy.policy.outcomes import RUNNING
from smartproxy.policy.packed_record import unpack
from smartproxy.policy.portraits import ToldSession
from smartproxy.policy.schema import read_object
from smartproxy.policy.session_record import SessionRecord
from smartproxy.policy.strict_json import DocumentRefused

LIVE_GOOD_FOR: Final = timedelta(seconds=15)
"""How long a client's report counts."""
EVENTS_MOST: Final = 500
"""Events of a session that are shown."""
_LAST: Final = "\U0010ffff"


@attrs.frozen(kw_only=True)
class SessionFilter:
    """Which sessions; what is not given does not matter.

    :ivar file: the beginning of the name of one of its Virtual Files.
    :ivar since: began at this time or later.
    :ivar until: began before.
    :ivar before: only sessions with a lower number: the cursor.
    """

    partner: str | None = None
    outcome: str | None = None
    file: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None


def find(session: Session, wanted: SessionFilter, most: int) -> Sequence[SessionRow]:
    """The newest sessions that a filter lets through, the newest first."""
    query = select(SessionRow)
    if wanted.partner is not None:
        query = query.where(SessionRow.partner == wanted.partner)
    if wanted.outcome is not None:
        is_running = wanted.outcome == RUNNING
        query = query.where(SessionRow.outcome.is_(None) if is_running else SessionRow.outcome == wanted.outcome)
    if wanted.since is not None:
        query = query.where(SessionRow.began >= wanted.since)
    if wanted.until is not None:
        query = query.where(SessionRow.began < wanted.until)
    if wanted.before is not None:
        query = query.where(SessionRow.id < wanted.before)
    if wanted.file is not None:
        query = _with_file(query, wanted.file)
    return session.scalars(query.order_by(SessionRow.id.desc()).limit(most)).all()


def _with_file(query: Select[SessionRow], begin: str) -> Select[SessionRow]:
    begins = [_begins(each) for each in {begin, begin.upper()}]
    named = select(SessionFileRow.session).where(or_(*begins))
    return query.where(SessionRow.session.in_(named))


def _begins(begin: str) -> ColumnElement[bool]:
    """By order, not by LIKE: an index serves that in both databases."""
    return and_(SessionFileRow.dataset >= begin, SessionFileRow.dataset < begin + _LAST)


def files(session: Session, sessions: Sequence[str]) -> Mapping[str, list[SessionFileRow]]:
    """The files of some sessions, by session, in the order in which they ended."""
    found: dict[str, list[SessionFileRow]] = {each: [] for each in sessions}
    query = select(SessionFileRow).where(SessionFileRow.session.in_(sessions)).order_by(SessionFileRow.id)
    for row in session.scalars(query):
        found[row.session].append(row)
    return found


@attrs.frozen(kw_only=True)
class WholeSession:
    """A session with all that is known of it.

    :ivar record: what the client brought; ``None`` while it runs, and for one that never reached a client.
    :ivar certificate: what was told of the partner's certificate and TLS.
    :ivar events: the first ones that were told of it, in the order of their times.
    """

    row: SessionRow
    files: Sequence[SessionFileRow]
    record: SessionRecord | None
    certificate: Mapping[str, Any]
    events: Sequence[StoredEvent]


def whole(session: Session, wanted: str) -> WholeSession:
    """One session.

    :raises NotFound: if nothing is known of it.
    """
    row = session.scalars(select(SessionRow).where(SessionRow.session == wanted)).one_or_none()
    if row is None:
        raise NotFound(f"no session {wanted} is known; 'smartproxy session list' lists them")
    kept = session.get(SessionRecordRow, wanted)
    events = sorted(
        journal.find(session, Filter(session=wanted), first=EVENTS_MOST), key=lambda each: (each.time, each.number)
    )
    about = next((each for each in events if "peer" in each.fields and "partner" in each.fields), None)
    return WholeSession(
        row=row,
        files=files(session, [wanted])[wanted],
        record=None if kept is None else _unpacked(kept.packed),
        certificate={} if about is None else refusals_explained.accepted(session, about),
        events=events,
    )


def _unpacked(packed: bytes) -> SessionRecord | None:
    """A stored record; what another version took, and this one would not, is none."""
    with contextlib.suppress(DocumentRefused):
        return unpack(packed)
    return None


@attrs.frozen(kw_only=True)
class LiveSession:
    """A session that runs, as its client told."""

    client: str
    told: datetime
    portrait: ToldSession


def live(session: Session, now: datetime) -> tuple[list[LiveSession], int]:
    """The sessions that run, those that began first first; and how many there are, also those that are not told."""
    found: list[LiveSession] = []
    count = 0
    # A report of later was received while the clock was ahead; its client may be gone.
    good = LiveReportRow.received.between(now - LIVE_GOOD_FOR, now + LIVE_GOOD_FOR)
    for row in session.scalars(select(LiveReportRow).where(good)):
        count += row.count
        for each in json.loads(row.sessions):
            # Another version of the backend may have stored it.
            with contextlib.suppress(DocumentRefused):
                portrait = read_object(ToldSession, each, "portrait")
                found.append(LiveSession(client=row.client, told=row.received, portrait=portrait))
    return sorted(found, key=lambda each: each.portrait.since), count


def is_live(session: Session, wanted: str, now: datetime) -> bool:
    """Whether a session runs, by the reports of the clients; one that began just now may not be among them."""
    if any(each.portrait.session == wanted for each in live(session, now)[0]):
        return True
    running = select(SessionRow.id).where(SessionRow.session == wanted, SessionRow.outcome.is_(None))
    return bool(session.scalar(select(exists(running))))
