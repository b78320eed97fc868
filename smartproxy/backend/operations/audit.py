"""Operations on the audit trail: what was done by whom, and whether the trail is as it was written."""

from datetime import datetime
from typing import Any

import attrs

from smartproxy.backend import audit
from smartproxy.backend.audit import AuditRecord, Deed
from smartproxy.backend.change import Channel
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import AnyJson, AnyText, Instantaneous
from smartproxy.policy import limits
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import SHA256, Flag, Line, Member, Whole

AUDIT = Family("audit", "audit", key="number")
_SCOPE = "audit:audit"
_NUMBER = Whole(limits.EVENT_NUMBER)
_ANCHORS_MOST = 100
"""So many stand in the line of a request."""


@attrs.frozen(kw_only=True)
class RecordsWanted:
    """Which records; what is not given does not matter.

    :ivar by: only of this operator.
    :ivar since: only from this time on.
    :ivar before: only records with a lower number: the cursor; ``None``: the newest.
    :ivar limit: how many.
    """

    by: str | None = attrs.field(
        default=None,
        metadata=kind(Optional(Line(most=256)), people=ForPeople(help="only what this operator did")),
    )
    deed: Deed | None = attrs.field(
        default=None, metadata=kind(Optional(Member(Deed)), people=ForPeople(help="only records of this kind"))
    )
    since: datetime | None = attrs.field(
        default=None, metadata=kind(Optional(Instantaneous()), people=ForPeople(help="only from this time on"))
    )
    before: int | None = attrs.field(
        default=None,
        metadata=kind(Optional(_NUMBER), people=ForPeople(help="the cursor 'next' of the part before")),
    )
    limit: int = attrs.field(
        default=limits.EVENTS_PAGE.default,
        metadata=kind(Whole(limits.EVENTS_PAGE), people=ForPeople(help="how many")),
    )


@attrs.frozen(kw_only=True)
class KnownRecord:
    """A record of the trail.

    :ivar number: counts from 1 without a gap.
    :ivar channel: how it came in.
    :ivar what: what was done, in the operator's words.
    :ivar facts: more about it.
    :ivar hash: of this record, in hex.
    """

    number: int = attrs.field(metadata=kind(_NUMBER))
    time: datetime = attrs.field(metadata=kind(Instantaneous()))
    deed: Deed = attrs.field(metadata=kind(Member(Deed)))
    by: str = attrs.field(metadata=kind(AnyText()))
    channel: Channel = attrs.field(metadata=kind(Member(Channel)))
    what: str = attrs.field(metadata=kind(AnyText()))
    comment: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    facts: dict[str, Any] = attrs.field(metadata=kind(AnyJson()))
    hash: str = attrs.field(metadata=kind(AnyText()))


@attrs.frozen(kw_only=True)
class RecordPart:
    """Records, oldest first.

    :ivar next: the cursor of the part before; ``None`` where there is none.
    """

    items: tuple[KnownRecord, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownRecord))))
    next: int | None = attrs.field(metadata=kind(Optional(_NUMBER)))


@attrs.frozen(kw_only=True)
class AnchorsGiven:
    """By what the trail is examined.

    :ivar anchors: hashes that were the newest once: by them records are missed that were cut off since.
    """

    anchors: tuple[str, ...] = attrs.field(
        default=(),
        metadata=kind(
            ListOf(item=SHA256, most=_ANCHORS_MOST), people=ForPeople(help="hashes that were the newest once")
        ),
    )


@attrs.frozen(kw_only=True)
class KnownFault:
    """Where the trail is not as it was written.

    :ivar number: of the first record that it is about; ``None`` if it is about an anchor.
    """

    number: int | None = attrs.field(metadata=kind(Optional(_NUMBER)))
    what: str = attrs.field(metadata=kind(AnyText()))


@attrs.frozen(kw_only=True)
class AuditVerdict:
    """What an examination of the trail found.

    :ivar whole: whether it is as it was written.
    :ivar records: how many records there are.
    :ivar newest: the number of the newest; ``None`` if there is none.
    :ivar newest_hash: its hash.
    :ivar faults: empty if the trail is whole.
    """

    whole: bool = attrs.field(metadata=kind(Flag()))
    records: int = attrs.field(metadata=kind(_NUMBER))
    newest: int | None = attrs.field(metadata=kind(Optional(_NUMBER)))
    newest_hash: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    faults: tuple[KnownFault, ...] = attrs.field(
        metadata=kind(ListOf(item=ObjectOf(KnownFault), most=limits.DOCUMENT_CONTAINERS_MOST))
    )


@AUDIT.reading("list", "List the newest records of the audit trail, or those before a cursor.", scope=_SCOPE)
def listed(look: Transaction, wanted: RecordsWanted) -> RecordPart:
    """The records that are wanted."""
    found = audit.listed(
        look.session, wanted.limit, by=wanted.by, deed=wanted.deed, since=wanted.since, before=wanted.before
    )
    more = len(found) == wanted.limit and found[0].number > 1
    return RecordPart(items=tuple(map(_known, found)), next=found[0].number if more else None)


@AUDIT.reading("verify", "Examine the whole audit trail for records that were changed, removed or moved.", scope=_SCOPE)
def verify(look: Transaction, wanted: AnchorsGiven) -> AuditVerdict:
    """What is not as it was written."""
    found = audit.verify(look.session, wanted.anchors)
    return AuditVerdict(
        whole=not found.faults,
        records=found.records,
        newest=None if found.newest is None else found.newest.number,
        newest_hash=None if found.newest is None else found.newest.hash,
        faults=tuple(KnownFault(number=each.number, what=each.what) for each in found.faults),
    )


def _known(record: AuditRecord) -> KnownRecord:
    return KnownRecord(
        number=record.number,
        time=record.time,
        deed=record.deed,
        by=record.by,
        channel=record.channel,
        what=record.what,
        comment=record.comment,
        facts=dict(record.facts),
        hash=record.hash,
    )
