"""Times and days as people type them into a form; all are in UTC."""

from datetime import UTC, datetime

from smartproxy.backend.errors import Unusable
from smartproxy.backend.page.visit import PageVisit


def moment(visit: PageVisit, text: str) -> datetime | None:
    """A time that was typed; ``None`` for nothing.

    :raises Unusable: when it is not one.
    """
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
    except ValueError:
        told = visit.text("%(text)s is no time; write one such as 2026-11-20T10:00 (UTC).", text=text)
        raise Unusable(told) from None


def as_typed(at: datetime) -> str:
    """A time as a field for one has it, to be sent again as it is: with seconds where it has some."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds" if at.second else "minutes")


def last_second(visit: PageVisit, text: str) -> datetime:
    """The end of a last day that was typed.

    :raises Unusable: when it is no day.
    """
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(hour=23, minute=59, second=59, tzinfo=UTC)
    except ValueError:
        raise Unusable(visit.text("Type the last day as 2027-12-31.")) from None
