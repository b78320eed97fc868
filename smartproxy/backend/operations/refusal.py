"""Operations on refusals and early ends: why a partner could not do what it wanted, and what one can do about it."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from smartproxy.backend import refusals_explained, refusals_grouped
from smartproxy.backend.operations.events import KnownEvent, known_event
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import AnyJson, AnyText, Instantaneous
from smartproxy.backend.refusals_explained import ExplainedRefusal
from smartproxy.backend.refusals_grouped import RefusalGroup
from smartproxy.logs.fields import Value
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.explanations import explanation
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import NAME, Flag, Whole

REFUSAL = Family("refusal", "refusals", key="what")

LOOKED_BACK = timedelta(days=7)
"""From when on refusals are listed, if nothing is said."""


@attrs.frozen(kw_only=True)
class RefusalsWanted:
    """Which refusals.

    :ivar partner: only those of this one.
    :ivar since: only those from this time on; ``None``: of the last 7 days.
    :ivar limit: how many groups.
    """

    partner: str | None = attrs.field(
        default=None, metadata=kind(Optional(NAME), people=ForPeople(help="only those of this partner"))
    )
    since: datetime | None = attrs.field(
        default=None,
        metadata=kind(Optional(Instantaneous()), people=ForPeople(help="from this time on; 7 days back if not given")),
    )
    limit: int = attrs.field(
        default=limits.PAGE.default, metadata=kind(Whole(limits.PAGE), people=ForPeople(help="how many groups"))
    )


@attrs.frozen(kw_only=True)
class KnownRefusals:
    """Refusals of one cause and one partner.

    :ivar key: the cause as a code, as in what is known of each.
    :ivar partner: ``None``: callers that are not known.
    :ivar outgoing: whether this site called the partner.
    :ivar happened: what happened, for the partner.
    :ivar remedy: what the partner has to do.
    :ivar cause: of the last one, for this site.
    :ivar advice: what this site can do.
    :ivar peers: from where the last ones came.
    :ivar newest: the event that tells of the last one: its number is what the explanation is asked by.
    :ivar certificates: where the caller is not known, the event that tells of the last one with each certificate.
    """

    key: str = attrs.field(metadata=kind(AnyText()))
    partner: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    count: int = attrs.field(metadata=kind(Whole(limits.EVENT_NUMBER)))
    first: datetime = attrs.field(metadata=kind(Instantaneous()))
    last: datetime = attrs.field(metadata=kind(Instantaneous()))
    outgoing: bool = attrs.field(metadata=kind(Flag()))
    happened: str = attrs.field(metadata=kind(AnyText()))
    remedy: str = attrs.field(metadata=kind(AnyText()))
    cause: str = attrs.field(metadata=kind(AnyText()))
    advice: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    peers: tuple[str, ...] = attrs.field(metadata=kind(ListOf(item=AnyText())))
    newest: KnownEvent = attrs.field(metadata=kind(ObjectOf(KnownEvent)))
    certificates: tuple[KnownEvent, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownEvent))))


@attrs.frozen(kw_only=True)
class RefusalList:
    """Refusals by cause and partner, those with the newest first.

    :ivar whole: whether all of that time were counted; there were very many otherwise.
    :ivar left_out: how many groups more there are.
    """

    items: tuple[KnownRefusals, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownRefusals))))
    since: datetime = attrs.field(metadata=kind(Instantaneous()))
    whole: bool = attrs.field(metadata=kind(Flag()))
    left_out: int = attrs.field(metadata=kind(Whole(limits.EVENT_NUMBER)))


@attrs.frozen(kw_only=True)
class RefusalWanted:
    """Which refusal.

    :ivar what: an event's number, a session's id, a partner's name or an address: of these the last one.
    """

    what: str = attrs.field(
        metadata=kind(NAME, people=ForPeople(help="an event's number, a session's id, a partner's name or an address"))
    )


@attrs.frozen(kw_only=True)
class Fact:
    """Something that is known.

    :ivar name: what it is, in words.
    """

    name: str = attrs.field(metadata=kind(AnyText()))
    value: Value = attrs.field(metadata=kind(AnyJson()))


_FACTS = ListOf(item=ObjectOf(Fact))


@attrs.frozen(kw_only=True)
class KnownRefusal:
    """A refusal and all that is known of it.

    :ivar event: the event that tells of it.
    :ivar key: its cause as a code.
    :ivar outgoing: whether this site called the partner.
    :ivar happened: what happened, for the partner.
    :ivar remedy: what the partner has to do.
    :ivar called: host and port of the partner, where this site called it.
    :ivar peer: from where the partner called.
    :ivar code: the SSIDCODE that it gave.
    :ivar certificate: facts of the certificate that it showed.
    :ivar revocation_list: facts of the revocation list that was used.
    :ivar protocol: the rule that was broken, where one was.
    :ivar reached: whether the partner's system noticed anything; of a call that was refused here it did not.
    :ivar saw: what the partner saw: the TLS alert or the ESID.
    :ivar sent: the TLS alert with which the partner ended the handshake itself.
    :ivar reason: the ESID reason code with which a side ended the session.
    :ivar cause: the cause in words, for this site only.
    :ivar advice: what this site can do.
    :ivar others: what else is known of the same session, for this site only.
    """

    event: KnownEvent = attrs.field(metadata=kind(ObjectOf(KnownEvent)))
    key: str = attrs.field(metadata=kind(AnyText()))
    outgoing: bool = attrs.field(metadata=kind(Flag()))
    happened: str = attrs.field(metadata=kind(AnyText()))
    remedy: str = attrs.field(metadata=kind(AnyText()))
    called: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    peer: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    code: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    certificate: tuple[Fact, ...] = attrs.field(metadata=kind(_FACTS))
    revocation_list: tuple[Fact, ...] = attrs.field(metadata=kind(_FACTS))
    protocol: tuple[Fact, ...] = attrs.field(metadata=kind(_FACTS))
    reached: bool = attrs.field(metadata=kind(Flag()))
    saw: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    sent: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    reason: int | None = attrs.field(metadata=kind(Optional(Whole(limits.EVENT_NUMBER))))
    cause: str = attrs.field(metadata=kind(AnyText()))
    advice: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    others: tuple[KnownEvent, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownEvent))))


@REFUSAL.reading("list", "List refusals and early ends by cause and partner, those with the newest first.")
def listed(look: Transaction, wanted: RefusalsWanted) -> RefusalList:
    """The groups with the newest refusals."""
    since = wanted.since or look.now - LOOKED_BACK
    found = refusals_grouped.grouped(look.session, since, wanted.partner)
    shown = found.groups[: wanted.limit]
    return RefusalList(
        items=tuple(map(_group, shown)), since=since, whole=found.whole, left_out=len(found.groups) - len(shown)
    )


@REFUSAL.reading(
    "explain", "Say why a partner was refused, a call to it failed, or a session with it ended.", path="GET {what}"
)
def explain(look: Transaction, wanted: RefusalWanted) -> KnownRefusal:
    """The refusal that is meant."""
    return _explained(refusals_explained.find(look.session, wanted.what))


def _group(group: RefusalGroup) -> KnownRefusals:
    event = group.newest
    outgoing = refusals_explained.is_outgoing(event)
    words, advice = explanation(group.key, outgoing=outgoing), event.fields.get("advice")
    return KnownRefusals(
        key=group.key,
        partner=group.partner,
        count=group.count,
        first=group.first,
        last=group.last,
        outgoing=outgoing,
        happened=words.happened,
        remedy=words.remedy,
        cause=refusals_explained.cause_of(event),
        advice=None if advice is None else str(advice),
        peers=group.peers,
        newest=known_event(event),
        certificates=tuple(map(known_event, group.certificates)),
    )


def _explained(found: ExplainedRefusal) -> KnownRefusal:
    fields = found.event.fields
    # Of our own calls nothing of who asked for it inside.
    peer = None if found.outgoing else fields.get("peer")
    code = fields.get("code") if _is_the_partners(found) else None
    return KnownRefusal(
        event=known_event(found.event),
        key=found.key,
        outgoing=found.outgoing,
        happened=found.explanation.happened,
        remedy=found.explanation.remedy,
        called=found.called if found.outgoing else None,
        peer=None if peer is None else str(peer),
        code=None if code is None else str(code),
        certificate=_facts(found.certificate),
        revocation_list=_facts(found.revocation),
        protocol=_facts(found.protocol),
        reached=found.reached,
        saw=found.saw,
        sent=found.sent,
        reason=found.reason if isinstance(found.reason, int) else None,
        cause=found.cause,
        advice=found.advice,
        others=tuple(map(known_event, found.others)),
    )


def _is_the_partners(found: ExplainedRefusal) -> bool:
    """Whether the SSIDCODE of an event can be the partner's alone, whichever version of a daemon told it."""
    if found.key in (Cause.IDENTITY_STATION_LEVEL, Cause.IDENTITY_STATION_AUTHENTICATION):
        return False
    return not found.outgoing or found.event.name == "identity.refused"


def _facts(found: Mapping[str, Value]) -> tuple[Fact, ...]:
    return tuple(Fact(name=name, value=value) for name, value in found.items())
