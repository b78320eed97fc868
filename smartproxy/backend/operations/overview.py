"""The operation that gathers what the first look at a site needs, beside figures and live sessions."""

from datetime import datetime, timedelta
from typing import Final

import attrs
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from smartproxy.backend import endings, journal
from smartproxy.backend.journal import Filter, StoredEvent
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import AnyText, Instantaneous, Nothing
from smartproxy.backend.schema import PartnerRow
from smartproxy.policy import limits
from smartproxy.policy.schema import ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import Flag, Whole

OVERVIEW = Family("overview", "overview", key="")

LICENCE: Final = "licence"
ENDS_MOST: Final = 6
ENDS_AHEAD: Final = timedelta(days=60)
_URGENT_DAYS: Final = 7
_LOOKED_BACK: Final = timedelta(days=1)
_FAILURES_READ: Final = 200
_CLIENT: Final = "client"
"""Who calls the station."""
_COUNT = Whole(limits.EVENT_NUMBER)


@attrs.frozen(kw_only=True)
class StationTrouble:
    """That the station does not answer.

    :ivar since: since the first call that failed.
    :ivar message: how the last one failed.
    :ivar partners: whose sessions could not begin.
    :ivar count: how many calls failed.
    """

    since: datetime = attrs.field(metadata=kind(Instantaneous()))
    message: str = attrs.field(metadata=kind(AnyText()))
    partners: tuple[str, ...] = attrs.field(metadata=kind(ListOf(item=AnyText())))
    count: int = attrs.field(metadata=kind(_COUNT))


@attrs.frozen(kw_only=True)
class ComingEnd:
    """Something that ends soon.

    :ivar cause: what kind of thing it is: the cause that events tell of it, or ``licence``.
    :ivar name: what it is called: of what is a partner's, the partner.
    :ivar what: which one, in words.
    :ivar days: how many days are left.
    :ivar urgent: whether that is a week at most; for what lives for a short time anyway, its last day or days.
    :ivar advice: what to do about it.
    """

    cause: str = attrs.field(metadata=kind(AnyText()))
    name: str = attrs.field(metadata=kind(AnyText()))
    what: str = attrs.field(metadata=kind(AnyText()))
    until: datetime = attrs.field(metadata=kind(Instantaneous()))
    days: int = attrs.field(metadata=kind(_COUNT))
    urgent: bool = attrs.field(metadata=kind(Flag()))
    advice: str = attrs.field(metadata=kind(AnyText()))
    partner: str | None = attrs.field(metadata=kind(Optional(AnyText())))


@attrs.frozen(kw_only=True)
class SiteOverview:
    """What the first look needs.

    :ivar partners: how many partners there are.
    :ivar station: that the station does not answer, if it does not.
    :ivar ends: what ends within 60 days, the next first.
    """

    partners: int = attrs.field(metadata=kind(_COUNT))
    station: StationTrouble | None = attrs.field(metadata=kind(Optional(ObjectOf(StationTrouble))))
    ends: tuple[ComingEnd, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(ComingEnd))))


@OVERVIEW.reading(
    "show", "Show whether the station answers, how many partners there are, and what ends soon.", path="GET "
)
def show(look: Transaction, wanted: Nothing) -> SiteOverview:
    """The site at this moment."""
    return SiteOverview(
        partners=look.session.scalar(select(func.count()).select_from(PartnerRow)) or 0,
        station=_station(look.session, look.now),
        ends=tuple(_ends(look.session, look.now)),
    )


def _station(session: Session, now: datetime) -> StationTrouble | None:
    """The calls of the station that failed since the last one that did not."""
    since = now - _LOOKED_BACK
    failed = journal.find(session, Filter(name="station.unreachable", source=_CLIENT, since=since), _FAILURES_READ)
    if not failed:
        return None
    answered = [*_last(session, "station.answered", since), *_last(session, "session.started", since)]
    last = max((each.time for each in answered), default=since)
    failed = [each for each in failed if each.time > last]
    if not failed:
        return None
    named = {str(each.fields["partner"]) for each in failed if "partner" in each.fields}
    newest = max(failed, key=lambda each: each.time)
    return StationTrouble(
        since=min(each.time for each in failed),
        message=str(newest.fields.get("message") or newest.fields.get("cause", "")),
        partners=tuple(sorted(named)),
        count=len(failed),
    )


def _last(session: Session, name: str, since: datetime) -> list[StoredEvent]:
    return list(journal.find(session, Filter(name=name, source=_CLIENT, since=since), 1))


def _ends(session: Session, now: datetime) -> list[ComingEnd]:
    latest: dict[str, endings.WatchedEnd] = {}
    for each in endings.known(session):
        if each.key not in latest or each.until > latest[each.key].until:
            latest[each.key] = each
    soon = sorted((each for each in latest.values() if _is_near(each, now)), key=lambda each: each.until)
    return [
        ComingEnd(
            cause=LICENCE if each.cause is None else each.cause,
            name=each.name,
            what=each.what,
            until=each.until,
            days=max((each.until - now).days, 0),
            urgent=(mark := each.mark(now)) is not None and mark <= _URGENT_DAYS,
            advice=each.advice,
            partner=each.partner,
        )
        for each in soon[:ENDS_MOST]
    ]


def _is_near(end: endings.WatchedEnd, now: datetime) -> bool:
    """Whether to say that it ends: in the first half of its life it does not matter, however short that is."""
    left = end.until - now
    return left <= ENDS_AHEAD and (end.begins is None or 2 * left <= end.until - end.begins)
