"""The transfers of Virtual Files that the store knows of: what went where, how fast, and how it ended.

Made of the events of the client alone: the server tells the same of every session, and is the one in the DMZ. Trusts no
event to be there: a daemon that was killed told no end. Never judges a transfer, and never changes an event.
Standards: RFC 5024 sections 5.3.3 (SFID), 5.3.13 (EERP) and 5.3.14 (NERP).
"""

import enum
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend import journal
from smartproxy.backend.journal import Filter, StoredEvent
from smartproxy.policy.outcomes import TransferOutcome
from smartproxy.policy.values import shifted

LONGEST: Final = timedelta(days=2)
"""How long before its end a transfer may have begun; one that takes longer has no rate."""
_SHORTEST_SECONDS: Final = 0.001
_SOURCE: Final = "client"


_TOLD: Final = frozenset(TransferOutcome) - {TransferOutcome.RUNNING}


class Travel(enum.StrEnum):
    """Which way a file went, as the site sees it."""

    RECEIVED = "received"
    SENT = "sent"


@attrs.frozen(kw_only=True)
class FileResponse:
    """An EERP or NERP to a file.

    :ivar command: ``EERP`` or ``NERP``.
    :ivar answer: NERPREAS; ``None`` for EERP.
    :ivar reason_text: NERPREAST, as the peer wrote it.
    """

    command: str
    time: datetime
    answer: int | None = None
    reason_text: str | None = None


@attrs.frozen(kw_only=True)
class FileTransfer:
    """One file in one session; a restart is another transfer.

    :ivar number: of the event that tells its end, or its begin while it runs.
    :ivar time: when it ended, or began while it runs.
    :ivar seconds: how long it took; ``None`` where the file was not accepted or its begin is not known.
    :ivar octets: octets of the Virtual File that were sent in this session.
    :ivar answer: SFNAREAS or EFNAREAS of a refusal.
    :ivar cause: why the session of a file that was lost or not confirmed ended.
    :ivar response: the end response, once it was relayed.
    """

    number: int
    time: datetime
    session: str
    partner: str
    travel: Travel
    dataset: str
    stamp: str
    originator: str
    destination: str
    outcome: TransferOutcome
    seconds: float | None = None
    octets: int | None = None
    answer: int | None = None
    reason_text: str | None = None
    cause: str | None = None
    response: FileResponse | None = None

    @property
    def rate(self) -> int | None:
        """Octets a second."""
        if self.octets is None or self.seconds is None:
            return None
        return round(self.octets / max(self.seconds, _SHORTEST_SECONDS))


@attrs.frozen(kw_only=True)
class TransferFilter:
    """Which transfers are wanted; what is ``None`` does not matter.

    :ivar since: ended at this time or later.
    :ivar until: ended before.
    :ivar newest: as they were when the event of this number was the newest.
    """

    partner: str | None = None
    outcome: TransferOutcome | None = None
    since: datetime | None = None
    until: datetime | None = None
    newest: int | None = None


def find(session: Session, wanted: TransferFilter) -> list[FileTransfer]:
    """The transfers that are wanted, in the order of their times, with the end responses that came until now."""
    since = None if wanted.since is None else shifted(wanted.since, -LONGEST)
    about = Filter(name="file.", source=_SOURCE, partner=wanted.partner, since=since)
    ends = Filter(name="session.ended", partner=wanted.partner, since=since)
    events, causes = ([each for each in journal.find(session, it) if _was_there(each, wanted)] for it in (about, ends))
    found = _gathered(events, _causes(causes))
    return sorted((each for each in found if _is_wanted(each, wanted)), key=lambda each: (each.time, each.number))


def _was_there(event: StoredEvent, wanted: TransferFilter) -> bool:
    return wanted.newest is None or event.number <= wanted.newest


def _is_wanted(transfer: FileTransfer, wanted: TransferFilter) -> bool:
    return (
        (wanted.outcome is None or transfer.outcome is wanted.outcome)
        and (wanted.since is None or transfer.time >= wanted.since)
        and (wanted.until is None or transfer.time < wanted.until)
    )


def _causes(events: Sequence[StoredEvent]) -> Mapping[str, str]:
    """Why each session ended, by the client, or by the server where that is all."""
    order = sorted(events, key=lambda each: each.source == _SOURCE)
    return {str(each.fields.get("session")): str(each.fields.get("cause", "")) for each in order}


def _gathered(events: Sequence[StoredEvent], causes: Mapping[str, str]) -> Iterator[FileTransfer]:
    begun: dict[str, StoredEvent] = {}
    ended: list[FileTransfer] = []
    sent: dict[tuple[object, ...], int] = {}
    for event in sorted(events, key=lambda each: (each.time, each.number)):
        where = str(event.fields.get("session", ""))
        match event.name:
            case "file.started":
                if where in begun:
                    ended.append(_unended(begun[where], causes.get(where, "")))
                begun[where] = event
            case "file.ended" if str(event.fields.get("outcome")) in _TOLD:
                start = begun.pop(where, None)
                transfer = _ended(event, start if start is not None and _file(start) == _file(event) else None, causes)
                if transfer.outcome in (TransferOutcome.COMPLETED, TransferOutcome.UNCONFIRMED):
                    sent[awaited(event.fields)] = len(ended)
                ended.append(transfer)
            case "file.response":
                place = sent.get(answered(event.fields))
                if place is not None:
                    ended[place] = attrs.evolve(ended[place], response=_response(event))
    yield from ended
    for where, event in begun.items():
        yield _unended(event, causes.get(where))


def _file(event: StoredEvent) -> tuple[object, ...]:
    """What a file is known by within one session."""
    fields = event.fields
    return tuple(fields.get(name) for name in ("link", "dataset", "stamp", "originator", "destination"))


def awaited(fields: Mapping[str, object]) -> tuple[object, ...]:
    """What the end response to a file is known by: from the same partner's side, the other way, to its originator.

    Not its destination: a NERP is made where the file could not go on, which may be in between.
    """
    link = "out" if fields.get("link") == "in" else "in"
    return fields.get("partner"), link, fields.get("dataset"), fields.get("stamp"), fields.get("originator")


def answered(fields: Mapping[str, object]) -> tuple[object, ...]:
    """What an end response answers, by the same measure: its destination is the file's originator."""
    names = ("partner", "link", "dataset", "stamp", "destination")
    return tuple(fields.get(name) for name in names)


def _ended(event: StoredEvent, start: StoredEvent | None, causes: Mapping[str, str]) -> FileTransfer:
    outcome = TransferOutcome(str(event.fields.get("outcome")))
    broken = outcome in (TransferOutcome.LOST, TransferOutcome.UNCONFIRMED)
    seconds = None if start is None else max((event.time - start.time).total_seconds(), 0.0)
    return attrs.evolve(
        _transfer(event, outcome, causes.get(str(event.fields.get("session"))) if broken else None),
        seconds=seconds,
        octets=_whole(event, "octets"),
        answer=_whole(event, "answer"),
        reason_text=_text(event, "reason_text") or None,
    )


def _unended(event: StoredEvent, cause: str | None) -> FileTransfer:
    """A file whose end was not told: it runs, or the session is over and the client could not tell any more.

    :param cause: why its session ended, or the next file began; ``None`` while neither happened.
    """
    return _transfer(event, TransferOutcome.RUNNING if cause is None else TransferOutcome.LOST, cause)


def _transfer(event: StoredEvent, outcome: TransferOutcome, cause: str | None) -> FileTransfer:
    return FileTransfer(
        number=event.number,
        time=event.time,
        session=_text(event, "session"),
        partner=_text(event, "partner"),
        travel=Travel.RECEIVED if event.fields.get("link") == "in" else Travel.SENT,
        dataset=_text(event, "dataset"),
        stamp=_text(event, "stamp"),
        originator=_text(event, "originator"),
        destination=_text(event, "destination"),
        outcome=outcome,
        cause=cause or None,
    )


def _response(event: StoredEvent) -> FileResponse:
    return FileResponse(
        command=_text(event, "command"),
        time=event.time,
        answer=_whole(event, "answer"),
        reason_text=_text(event, "reason_text") or None,
    )


def _text(event: StoredEvent, name: str) -> str:
    return str(event.fields.get(name, ""))


def _whole(event: StoredEvent, name: str) -> int | None:
    value = event.fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
