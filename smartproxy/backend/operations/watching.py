"""Operations on what is watched of partners: when it is told that one is silent or late, and its planned downtimes."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from smartproxy.backend import business, partners
from smartproxy.backend.business import WatchedPartner
from smartproxy.backend.change import Change
from smartproxy.backend.errors import ChangeRefused, NotFound
from smartproxy.backend.operations.operation import Transaction
from smartproxy.backend.operations.partner import PARTNER, KnownPartner
from smartproxy.backend.operations.shapes import Nothing
from smartproxy.backend.schema import PartnerRow
from smartproxy.policy import limits
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, PartOf, kind
from smartproxy.policy.values import NAME, Instant, Line
from smartproxy.policy.watching import Downtime, PartnerWatching

KEPT_AFTER = timedelta(days=90)
"""How long a downtime that is over stays in the entry; the history has it for ever."""


@attrs.frozen(kw_only=True)
class WatchedList:
    """All partners that are watched."""

    items: tuple[WatchedPartner, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(WatchedPartner))))


@attrs.frozen(kw_only=True)
class WatchingAlteration:
    """When a partner is to be told of.

    :ivar watching: the fields that change; all others stay as they are; ``None`` in one: as the site says.
    """

    name: str = attrs.field(metadata=kind(NAME))
    watching: Mapping[str, Any] = attrs.field(
        metadata=kind(
            PartOf(cls=PartnerWatching, without=frozenset({"downtimes"})),
            people=ForPeople(help="the fields that change; null in one: as the site says"),
        )
    )


@attrs.frozen(kw_only=True)
class DowntimeAddition:
    """A time in which a partner is known to be down.

    :ivar begins: its begin; ``None``: now.
    :ivar until: its end.
    :ivar why: why, for people.
    """

    name: str = attrs.field(metadata=kind(NAME))
    begins: datetime | None = attrs.field(
        default=None, metadata=kind(Optional(Instant()), people=ForPeople(help="its begin; not said: now"))
    )
    until: datetime = attrs.field(metadata=kind(Instant(), people=ForPeople(help="its end")))
    why: str = attrs.field(
        metadata=kind(Line(most=limits.DOWNTIME_CHARACTERS_MOST), people=ForPeople(help="why, for people"))
    )


@attrs.frozen(kw_only=True)
class DowntimeRemoval:
    """Downtimes that are not to be, or that are over earlier.

    :ivar begins: the begin of one; ``None``: all that are not over.
    """

    name: str = attrs.field(metadata=kind(NAME))
    begins: datetime | None = attrs.field(
        default=None,
        metadata=kind(Optional(Instant()), people=ForPeople(help="the begin of one; not said: all that are not over")),
    )


@PARTNER.reading("watched", "List the partners that are watched: last session, last file, and what is unusual.")
def watched(look: Transaction, wanted: Nothing) -> WatchedList:
    """What is known of those who are watched."""
    return WatchedList(items=tuple(business.watched(look.session, look.now)))


@PARTNER.changing(
    "watch",
    "Set when it is told that a partner is silent, sends no files, or that end responses are overdue.",
    path="PATCH {name}/watching",
)
def watch(change: Change, wanted: WatchingAlteration) -> KnownPartner:
    """Change what is told of a partner."""
    entry = partners.find(change.session, wanted.name).entry.watching
    return _altered(change, wanted.name, attrs.evolve(entry, **wanted.watching))


@PARTNER.changing(
    "downtime.add", "Say that a partner will be down: nothing is told of it meanwhile.", path="POST {name}/downtimes"
)
def add_downtime(change: Change, wanted: DowntimeAddition) -> KnownPartner:
    """Plan a downtime."""
    begins = (wanted.begins or change.now).replace(microsecond=0)
    if wanted.until <= max(begins, change.now):
        raise ChangeRefused("the end of a downtime has to be later than its begin, and in the future")
    entry = partners.find(change.session, wanted.name).entry.watching
    kept = [each for each in entry.downtimes if each.until > change.now - KEPT_AFTER and each.begins != begins]
    added = Downtime(begins=begins, until=wanted.until, why=wanted.why)
    downtimes = tuple(sorted([*kept, added], key=lambda each: each.begins))
    return _altered(change, wanted.name, attrs.evolve(entry, downtimes=downtimes))


@PARTNER.changing(
    "downtime.remove",
    "Remove planned downtimes of a partner, or end the one that goes on.",
    path="POST {name}/downtimes/remove",
)
def remove_downtimes(change: Change, wanted: DowntimeRemoval) -> KnownPartner:
    """Remove planned downtimes."""
    entry = partners.find(change.session, wanted.name).entry.watching
    left: list[Downtime] = []
    for each in entry.downtimes:
        if each.until <= change.now or wanted.begins not in (None, each.begins):
            left.append(each)
        elif each.begins < change.now:
            # It was down until now: what is watched begins again from here.
            left.append(attrs.evolve(each, until=change.now.replace(microsecond=0)))
    if tuple(left) == entry.downtimes:
        raise NotFound(
            f"no such downtime of {wanted.name} goes on or is planned; 'smartproxy partner downtime list' shows all"
        )
    return _altered(change, wanted.name, attrs.evolve(entry, downtimes=tuple(left)))


def _altered(change: Change, name: str, watching: PartnerWatching) -> KnownPartner:
    row: PartnerRow = partners.alter(change, name, watching=watching)
    return KnownPartner(partner=row.entry, notes=row.notes)
