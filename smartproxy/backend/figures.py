"""Counts of what happened, by the minute and by the hour: what plots are made of.

Duty: add counts as they become known, and give those of an hour, a day or a month. Minutes are kept for two days, hours
as long as events are. Never counts by itself what an event means: :mod:`smartproxy.backend.session_rows` does.
"""

import enum
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from smartproxy.backend.old_rows import delete_oldest
from smartproxy.backend.session_tables import FigureRow

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
MINUTES_KEPT: Final = timedelta(days=2)
LATE_MOST: Final = timedelta(days=35)
"""What happened longer ago is not counted."""
SPREAD_MOST: Final = 240
"""Minutes over which the octets of one session are spread at most: the last ones before its end."""

COUNT_MOST: Final = 2**50
"""The highest count: one that was told wrong leaves room for all that come after it."""

BEGUN: Final = "begun"
ENDED: Final = "ended."
"""With the outcome behind it."""
REFUSED: Final = "refused."
"""With the cause behind it."""
OTHER: Final = "other"
"""An outcome or a cause that nobody knows."""
OCTETS_IN: Final = "octets_in"
OCTETS_OUT: Final = "octets_out"
SETUP: Final = "setup."
"""With the highest number of milliseconds of the class behind it."""
SETUP_CLASSES: Final = (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 60000)


class Span(enum.StrEnum):
    """What a plot shows."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    @property
    def whole(self) -> timedelta:
        """How long it is."""
        return {Span.HOUR: HOUR, Span.DAY: timedelta(days=1), Span.MONTH: timedelta(days=30)}[self]

    @property
    def step(self) -> timedelta:
        """How long one of its points is."""
        return {Span.HOUR: MINUTE, Span.DAY: timedelta(minutes=30), Span.MONTH: timedelta(hours=12)}[self]


@attrs.define
class FigureTally:
    """Counts that are still to be added.

    :ivar now: what did not happen near this time is not counted: the time is what the client said.
    """

    now: datetime
    counts: Counter[tuple[datetime, str]] = attrs.field(factory=Counter)

    def add(self, moment: datetime, name: str, count: int = 1) -> None:
        """Count something that happened."""
        count = min(max(count, 0), COUNT_MOST)
        if count and -HOUR <= self.now - moment <= LATE_MOST:
            self.counts[_begin(moment, MINUTE), name[:96]] += count

    def spread(self, begin: datetime, end: datetime, name: str, count: int) -> None:
        """Count octets that were carried between two moments, evenly."""
        last = _begin(end, MINUTE)
        minutes = min(max(int((last - _begin(begin, MINUTE)) / MINUTE), 0) + 1, SPREAD_MOST)
        for index in range(minutes):
            share = count * (index + 1) // minutes - count * index // minutes
            self.add(last - index * MINUTE, name, share)


def setup_class(milliseconds: int) -> str:
    """The name under which a set-up time is counted."""
    return f"{SETUP}{next((most for most in SETUP_CLASSES if milliseconds <= most), SETUP_CLASSES[-1])}"


def keep(session: Session, tally: FigureTally) -> None:
    """Add counts to those that are there; none becomes higher than :data:`COUNT_MOST`."""
    rows = Counter[tuple[str, datetime, str]]()
    for (moment, name), count in tally.counts.items():
        rows["minute", moment, name] += count
        rows["hour", _begin(moment, HOUR), name] += count
    if not rows:
        return
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    adding = dialect.insert(FigureRow)
    more = adding.excluded["count"]
    least = func.min if dialect is sqlite else func.least
    added = least(FigureRow.count, COUNT_MOST - more) + more
    adding = adding.on_conflict_do_update(index_elements=["span", "begins", "name"], set_={"count": added})
    values = [
        {"span": span, "begins": begins, "name": name, "count": min(count, COUNT_MOST)}
        for (span, begins, name), count in rows.items()
    ]
    session.execute(adding, values)


def of(session: Session, span: Span, until: datetime) -> list[tuple[datetime, Mapping[str, int]]]:
    """The counts of each point of a span that ends with the point of a moment, the oldest first."""
    last = _begin(until, span.step)
    first = last - span.whole + span.step
    unit = "hour" if span is Span.MONTH else "minute"
    points: dict[datetime, Counter[str]] = {
        first + index * span.step: Counter() for index in range(int(span.whole / span.step))
    }
    query = select(FigureRow.begins, FigureRow.name, FigureRow.count).where(
        FigureRow.span == unit, FigureRow.begins >= first, FigureRow.begins < last + span.step
    )
    for begins, name, count in session.execute(query):
        points[_begin(begins, span.step)][name] += count
    return list(points.items())


def percentile(counts: Mapping[str, int], share: float) -> int | None:
    """The set-up time in milliseconds below which a share of the sessions is: the end of its class."""
    found = [(most, counts.get(f"{SETUP}{most}", 0)) for most in SETUP_CLASSES]
    wanted = share * sum(count for _, count in found)
    if not wanted:
        return None
    for most, count in found:
        wanted -= count
        if wanted <= 0:
            return most
    return SETUP_CLASSES[-1]


def forget(session: Session, before: datetime) -> int:
    """Delete a piece of what is older than the events that are kept; return how many rows."""
    return delete_oldest(session, FigureRow.begins, before)


def forget_minutes(session: Session, now: datetime) -> int:
    """Delete a piece of the minutes that no plot shows; return how many rows."""
    return delete_oldest(session, FigureRow.begins, now - MINUTES_KEPT, FigureRow.span == "minute")


def _begin(moment: datetime, step: timedelta) -> datetime:
    """Where the part of time begins that a moment is in."""
    seconds = int(step.total_seconds())
    return datetime.fromtimestamp(int(moment.timestamp()) // seconds * seconds, UTC)
