"""Refusals and early ends of some days, grouped by cause and partner: what an operator looks through first.

Several events may tell of one session, of both daemons: it is counted once, by the event that tells most. Reads a
bounded number of the newest events of each kind, and says whether that was all. Judges nothing.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend import journal, refusals_explained
from smartproxy.backend.journal import StoredEvent
from smartproxy.backend.telling import REFUSALS
from smartproxy.policy.addresses import host_in

EVENTS_READ: Final = 1000
"""So many events of one name are looked at, the newest."""
PEERS_SHOWN: Final = 5
CERTIFICATES_SHOWN: Final = 10
"""So many different certificates of callers that are not known are told, the last ones that came."""


@attrs.frozen(kw_only=True)
class RefusalGroup:
    """Refusals of one cause and one partner.

    :ivar key: the cause, as :data:`~smartproxy.policy.explanations.EXPLANATIONS` names it.
    :ivar partner: ``None``: a caller that is not known, or several of them.
    :ivar newest: the event that tells of the last one.
    :ivar certificates: where the caller is not known, the event that tells of the last one with each certificate.
    :ivar peers: from where the last ones came, without ports, each once.
    """

    key: str
    partner: str | None
    count: int
    first: datetime
    last: datetime
    newest: StoredEvent
    certificates: tuple[StoredEvent, ...]
    peers: tuple[str, ...]


@attrs.frozen(kw_only=True)
class GroupedRefusals:
    """All groups, that with the newest refusal first.

    :ivar whole: whether all events of the time were read; otherwise there are more than is counted.
    """

    groups: tuple[RefusalGroup, ...]
    whole: bool


def grouped(session: Session, since: datetime, partner: str | None = None) -> GroupedRefusals:
    """The refusals from a time on.

    :param partner: only of this one.
    """
    whole, found = True, list[StoredEvent]()
    for name in REFUSALS:
        events, all_read = journal.newest_since(session, name, since, EVENTS_READ, partner, telling=True)
        whole = whole and all_read
        found += events
    by_group: dict[tuple[str, str | None], list[StoredEvent]] = {}
    for event in _once(found):
        whose = event.fields.get("partner")
        by_group.setdefault((refusals_explained.key_of(event), None if whose is None else str(whose)), []).append(event)
    groups = [_group(key, whose, events) for (key, whose), events in by_group.items()]
    return GroupedRefusals(groups=tuple(sorted(groups, key=lambda each: each.last, reverse=True)), whole=whole)


def _once(events: Iterable[StoredEvent]) -> Iterator[StoredEvent]:
    """Of each session, or connection that became none, the event that tells most; the newest first."""
    found: dict[object, StoredEvent] = {}
    for event in sorted(events, key=refusals_explained.telling_order):
        # A peer has the same port again only after a while.
        connection = event.fields.get("peer"), f"{event.time:%Y-%m-%d %H}"
        found.setdefault(event.fields.get("session") or (connection if connection[0] else event.number), event)
    return iter(sorted(found.values(), key=lambda each: (each.time, each.number), reverse=True))


def _group(key: str, partner: str | None, events: list[StoredEvent]) -> RefusalGroup:
    peers = dict.fromkeys(host_in(str(each.fields["peer"])) for each in events if "peer" in each.fields)
    certificates: dict[object, StoredEvent] = {}
    for each in events if partner is None else ():
        if "certificate_sha256" in each.fields:
            certificates.setdefault(each.fields["certificate_sha256"], each)
    return RefusalGroup(
        key=key,
        partner=partner,
        count=len(events),
        first=events[-1].time,
        last=events[0].time,
        newest=events[0],
        certificates=tuple(certificates.values())[:CERTIFICATES_SHOWN],
        peers=tuple(peers)[:PEERS_SHOWN],
    )
