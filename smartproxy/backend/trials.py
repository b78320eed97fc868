"""What an operator wants to have tried: whether a partner or the station can be reached.

The ``smartproxy`` command leaves a trial in the store; clients are told of it while they wait for news, carry it out,
and what came of it comes back as an event that names the trial's session. A trial that nobody took in time is none.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from smartproxy.backend.database import announce
from smartproxy.backend.schema import EventRow
from smartproxy.backend.session_tables import TrialRow

GOOD_FOR = timedelta(seconds=60)
"""How long after it was asked for a trial may begin."""

PARTNER_RESULTS = ("outbound.answered", "outbound.failed", "outbound.refused")
STATION_RESULTS = ("station.answered", "station.unreachable")
"""The events that say what came of a trial."""


def ask(session: Session, partner: str | None, now: datetime) -> TrialRow:
    """Have a partner tried, or the station if none is named."""
    row = TrialRow(session=secrets.token_hex(8), partner=partner, asked=now)
    session.add(row)
    session.flush()
    # Behind the new one: SQLite gives the number after the highest that is there, and clients know which they had.
    session.execute(delete(TrialRow).where(TrialRow.asked < now - timedelta(days=1), TrialRow.number < row.number))
    announce(session)
    return row


def wish(session: Session, live: str, what: str, now: datetime, level: str | None = None) -> None:
    """Have a client do something about its live session: ``end`` it, or log it at a ``level``."""
    session.add(TrialRow(session=live, partner=None, asked=now, wish=what, level=level))
    session.flush()
    announce(session)


def newest_number(session: Session) -> int:
    """The number of the newest trial; 0 for none."""
    return session.scalar(select(func.max(TrialRow.number))) or 0


def after(session: Session, number: int, now: datetime) -> Sequence[TrialRow]:
    """The trials that were asked for after the one of a number, and may still begin."""
    # One of later was asked for while the clock was ahead; it may be an old one.
    good = TrialRow.asked.between(now - GOOD_FOR, now + GOOD_FOR)
    wanted = select(TrialRow).where(TrialRow.number > number, good)
    return session.scalars(wanted.order_by(TrialRow.number)).all()


def is_known(session: Session, trial: str) -> bool:
    """Whether a trial was asked for in the last days."""
    return session.scalar(select(func.count()).where(TrialRow.session == trial, TrialRow.wish.is_(None))) != 0


def result(session: Session, trial: str, names: Sequence[str]) -> EventRow | None:
    """What came of a trial, if that is known.

    :param trial: its session.
    :param names: of the events that may say it; an earlier one says more.
    """
    rows = session.scalars(select(EventRow).where(EventRow.session == trial, EventRow.name.in_(names))).all()
    return min(rows, key=lambda row: names.index(row.name), default=None)
