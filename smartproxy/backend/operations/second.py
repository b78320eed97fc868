"""Four eyes: operations that two administrators have to want, the second after the first, within a week.

Duty: which operations those are is the setting ``backend.four_eyes``. The first administrator's call is judged as any
other, undone, and kept as wanted: by the SHA-256 of what is called and with which input. The same call of another
administrator is carried out. Trusts the names of callers: whoever has two accounts has four eyes. What is not an
operation, such as a command on the backend's own machine that works on the store directly, is not held back.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import attrs
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from smartproxy.backend import audit, journal
from smartproxy.backend.access_tables import AwaitedSecondRow
from smartproxy.backend.alerts.intake import backend_settings
from smartproxy.backend.errors import SecondAwaited
from smartproxy.backend.operations.history import HISTORY
from smartproxy.backend.operations.operation import Caller, Transaction
from smartproxy.backend.operations.shapes import Nothing
from smartproxy.policy.schema import ListOf, ObjectOf, kind
from smartproxy.policy.values import Instant, Lines

AWAITED_FOR: Final = timedelta(days=7)
"""How long a second administrator is awaited."""
_TEXT = Lines(most=100_000)


@attrs.frozen(kw_only=True)
class AwaitedSecond:
    """A call that waits for a second administrator.

    :ivar said: what was called, in the operator's words.
    :ivar by: who wanted it.
    """

    said: str = attrs.field(metadata=kind(_TEXT))
    by: str = attrs.field(metadata=kind(_TEXT))
    at: datetime = attrs.field(metadata=kind(Instant()))
    until: datetime = attrs.field(metadata=kind(Instant()))


@attrs.frozen(kw_only=True)
class AwaitedSeconds:
    """All of them, the oldest first."""

    items: tuple[AwaitedSecond, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(AwaitedSecond))))


@HISTORY.reading("waiting", "List the calls that wait for a second administrator.")
def waiting(look: Transaction, wanted: Nothing) -> AwaitedSeconds:
    """What one administrator wants, and another one has not said yet."""
    query = select(AwaitedSecondRow).where(AwaitedSecondRow.at > look.now - AWAITED_FOR).order_by(AwaitedSecondRow.at)
    return AwaitedSeconds(
        items=tuple(
            AwaitedSecond(said=row.said, by=row.by, at=row.at, until=row.at + AWAITED_FOR)
            for row in look.session.scalars(query)
        )
    )


def see_second(session: Session, operation: str, request: Callable[[], str], by: str, now: datetime) -> None:
    """See that another administrator wanted the same, where that is needed; what was wanted is done then.

    :param request: says what the call is known by.
    :raises SecondAwaited: when nobody else did.
    """
    if operation not in backend_settings(session).four_eyes:
        return
    row = session.get(AwaitedSecondRow, request())
    if row is None or row.by == by or row.at <= now - AWAITED_FOR:
        raise SecondAwaited(
            "the change is valid and waits for a second administrator, who must give the same command "
            f"within {AWAITED_FOR.days} days, with dates for times (not 90d); 'smartproxy history waiting' shows what "
            "waits"
        )
    session.delete(row)


def keep_wanted(session: Session, said: str, request: str, caller: Caller, now: datetime) -> None:
    """Keep that an administrator wants something, and tell the others."""
    session.execute(delete(AwaitedSecondRow).where(AwaitedSecondRow.at <= now - AWAITED_FOR))
    new = session.get(AwaitedSecondRow, request) is None
    session.merge(AwaitedSecondRow(request=request, said=said, by=caller.name, at=now))
    audit.record_refusal(
        session, said, "waits for a second administrator", by=caller.name, channel=caller.channel, now=now
    )
    if new:
        facts: Mapping[str, str] = {"by": caller.name}
        advice = "see what waits (smartproxy history waiting), and give the same command if you want it, too"
        told = journal.record_of("second.awaited", now, 1, command=said, facts=facts, advice=advice)
        journal.keep(session, [told], now)
