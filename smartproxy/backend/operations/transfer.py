"""The operation that lists transfers of Virtual Files: what went where, how fast, and how it ended."""

from datetime import UTC, datetime, timedelta

import attrs

from smartproxy.backend import journal, transfers
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import AnyText, Instantaneous
from smartproxy.backend.transfers import FileTransfer, TransferFilter, Travel
from smartproxy.policy import limits
from smartproxy.policy.outcomes import TransferOutcome
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import NAME, Line, Member, Whole

TRANSFER = Family("transfer", "transfers", key="")

LOOKED_BACK = timedelta(days=7)
"""From when on transfers are listed, if nothing is said."""
_NUMBER = Whole(limits.EVENT_NUMBER)
_COUNT = Optional(_NUMBER)
_TEXT = Optional(AnyText())
_THOUSAND = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = Optional(Line(pattern=r"[0-9]{1,18}\.-?[0-9]{1,18}\.[0-9]{1,18}", form="the cursor 'next' of a part"))


@attrs.frozen(kw_only=True)
class TransfersWanted:
    """Which transfers; what is not given does not matter.

    :ivar since: ended at this time or later; ``None``: within the last 7 days.
    :ivar until: ended before.
    :ivar after: the cursor: which is the last of the part before, and which event was the newest at the first part.
    :ivar limit: how many.
    """

    partner: str | None = attrs.field(default=None, metadata=kind(Optional(NAME)))
    outcome: TransferOutcome | None = attrs.field(default=None, metadata=kind(Optional(Member(TransferOutcome))))
    since: datetime | None = attrs.field(
        default=None,
        metadata=kind(Optional(Instantaneous()), people=ForPeople(help="from this time on; 7 days back if not given")),
    )
    until: datetime | None = attrs.field(default=None, metadata=kind(Optional(Instantaneous())))
    after: str | None = attrs.field(
        default=None, metadata=kind(_CURSOR, people=ForPeople(help="the cursor 'next' of the part before"))
    )
    limit: int = attrs.field(
        default=limits.EVENTS_PAGE.default,
        metadata=kind(Whole(limits.EVENTS_PAGE), people=ForPeople(help="how many")),
    )


@attrs.frozen(kw_only=True)
class KnownResponse:
    """An EERP or NERP to a file.

    :ivar command: ``EERP`` or ``NERP``.
    :ivar answer: NERPREAS; ``None`` for EERP.
    :ivar reason_text: NERPREAST, as the peer wrote it.
    """

    command: str = attrs.field(metadata=kind(AnyText()))
    time: datetime = attrs.field(metadata=kind(Instantaneous()))
    answer: int | None = attrs.field(metadata=kind(_COUNT))
    reason_text: str | None = attrs.field(metadata=kind(_TEXT))


@attrs.frozen(kw_only=True)
class KnownTransfer:
    """One file in one session; a restart is another transfer.

    :ivar number: of the event that tells its end, or its begin while it runs.
    :ivar time: when it ended, or began while it runs.
    :ivar direction: which way it went, as the site sees it.
    :ivar milliseconds: how long it took, if that is known.
    :ivar rate: octets a second.
    :ivar answer: SFNAREAS or EFNAREAS of a refusal.
    :ivar cause: why the session of a file that was lost or not confirmed ended.
    :ivar response: the end response, once it was relayed.
    """

    number: int = attrs.field(metadata=kind(_NUMBER))
    time: datetime = attrs.field(metadata=kind(Instantaneous()))
    session: str = attrs.field(metadata=kind(AnyText()))
    partner: str = attrs.field(metadata=kind(AnyText()))
    direction: Travel = attrs.field(metadata=kind(Member(Travel)))
    dataset: str = attrs.field(metadata=kind(AnyText()))
    stamp: str = attrs.field(metadata=kind(AnyText()))
    originator: str = attrs.field(metadata=kind(AnyText()))
    destination: str = attrs.field(metadata=kind(AnyText()))
    octets: int | None = attrs.field(metadata=kind(_COUNT))
    milliseconds: int | None = attrs.field(metadata=kind(_COUNT))
    rate: int | None = attrs.field(metadata=kind(_COUNT))
    outcome: TransferOutcome = attrs.field(metadata=kind(Member(TransferOutcome)))
    answer: int | None = attrs.field(metadata=kind(_COUNT))
    reason_text: str | None = attrs.field(metadata=kind(_TEXT))
    cause: str | None = attrs.field(metadata=kind(_TEXT))
    response: KnownResponse | None = attrs.field(metadata=kind(Optional(ObjectOf(KnownResponse))))


@attrs.frozen(kw_only=True)
class TransferPart:
    """Transfers in the order of their times.

    :ivar next: the cursor for those that follow; ``None`` after the last.
    """

    items: tuple[KnownTransfer, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownTransfer))))
    next: str | None = attrs.field(metadata=kind(_CURSOR))


@TRANSFER.reading("list", "List the files that partners and station sent each other, with outcome and EERP or NERP.")
def listed(look: Transaction, wanted: TransfersWanted) -> TransferPart:
    """The transfers that are wanted.

    All parts are of the events that the first one was made of: a file that ends meanwhile would else go from its begin,
    in one part, to its end, in another, and take the others with it.
    """
    newest, *place = (
        (journal.newest_number(look.session),) if wanted.after is None else map(int, wanted.after.split("."))
    )
    asked = TransferFilter(
        partner=wanted.partner,
        outcome=wanted.outcome,
        since=wanted.since or look.now - LOOKED_BACK,
        until=wanted.until,
        newest=newest,
    )
    found = [each for each in transfers.find(look.session, asked) if _place(each) > place]
    part = found[: wanted.limit]
    more = len(found) > len(part)
    return TransferPart(
        items=tuple(map(_known, part)), next=".".join(map(str, [newest, *_place(part[-1])])) if more else None
    )


def _place(transfer: FileTransfer) -> list[int]:
    """What transfers are in the order of: the time, in microseconds, and the event's number."""
    return [(transfer.time - _EPOCH) // timedelta(microseconds=1), transfer.number]


def _known(transfer: FileTransfer) -> KnownTransfer:
    response = transfer.response
    return KnownTransfer(
        number=transfer.number,
        time=transfer.time,
        session=transfer.session,
        partner=transfer.partner,
        direction=transfer.travel,
        dataset=transfer.dataset,
        stamp=transfer.stamp,
        originator=transfer.originator,
        destination=transfer.destination,
        octets=transfer.octets,
        milliseconds=None if transfer.seconds is None else round(transfer.seconds * _THOUSAND),
        rate=transfer.rate,
        outcome=transfer.outcome,
        answer=transfer.answer,
        reason_text=transfer.reason_text,
        cause=transfer.cause,
        response=None
        if response is None
        else KnownResponse(
            command=response.command, time=response.time, answer=response.answer, reason_text=response.reason_text
        ),
    )
