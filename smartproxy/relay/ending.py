"""What can be told of a session as a whole: how it is while it lives, how it ended, and what it carried.

A summary goes into the log as ``session.ended`` and through the tunnel as the fields of ``SessionEnded``; a portrait is
for an operator who looks. Both are made from what the session knows anyway: no octet costs anything for them. Hold no
octet of a peer but names: the SSIDCODE, and those of the Virtual File under way.
"""

from collections.abc import Mapping
from typing import Self

import attrs

from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.errors import SessionFault
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.witness import Agreed
from smartproxy.relay.openings import Opening
from smartproxy.relay.stages import Stage


@attrs.frozen(kw_only=True)
class Ending:
    """How a session ended.

    :ivar outcome: one stable word: ``completed`` (ESID 00), ``aborted`` (any other ESID of a peer), ``violated``,
        ``refused``, ``expired``, ``lost``, ``unreachable``, ``stopped`` or ``failed`` (a bug).
    :ivar cause: one sentence of our own.
    :ivar by: whose doing it was, ``None`` if ours.
    :ivar reason: the ESID reason code that the offender was told, or that the peer sent.
    :ivar rule: the rule that was broken, where one was.
    """

    outcome: str
    cause: str
    by: Role | None = None
    reason: int | None = None
    rule: str | None = None

    @classmethod
    def of(cls, fault: SessionFault, outcome: str, by: Role | None = None) -> Self:
        """An ending that a fault explains."""
        return cls(outcome=outcome, cause=fault.message, by=by, reason=int(fault.reason), rule=fault.rule)


@attrs.frozen(kw_only=True)
class Summary:
    """A finished session.

    :ivar session: its id, the same on both daemons.
    :ivar started: whether partner and station came to talk to each other.
    :ivar fields: what the event ``session.ended`` says of it, by the catalogue's names.
    """

    session: str
    ending: Ending
    started: bool
    fields: Mapping[str, object]


def summarize(
    session: str, opening: Opening, monitor: Monitor, ending: Ending, *, started: bool, counts: Mapping[str, int]
) -> Summary:
    """Sum up a session that is over.

    :param counts: what the session itself counted.
    """
    counters = monitor.counters
    whose = opening.leg if ending.outcome == "lost" else opening.side
    came, went = counters[opening.partner], counters[opening.partner.other]
    fields: dict[str, object] = {
        "partner": opening.facts.get("partner"),
        "direction": opening.direction,
        "outcome": ending.outcome,
        "cause": ending.cause,
        "rule": ending.rule,
        "reason": ending.reason,
        "side": None if ending.by is None else whose(ending.by),
        "agreed": None if monitor.agreed is None else agreed_facts(monitor.agreed),
        "octets_in": came.octets,
        "octets_out": went.octets,
        "buffers_in": came.buffers,
        "buffers_out": went.buffers,
        "files_in": came.files,
        "files_out": went.files,
        **counts,
    }
    return Summary(session=session, ending=ending, started=started, fields=fields)


def agreed_facts(agreed: Agreed) -> dict[str, str | int | bool]:
    """What the two SSIDs agreed on, as plain values."""
    return {
        "level": int(agreed.level),
        "buffer_size": agreed.buffer_size,
        "credit": agreed.credit,
        "compression": agreed.compression,
        "restart": agreed.restart,
        "authentication": agreed.authentication,
        "senders": " and ".join(sorted(role.name.lower() for role in agreed.senders)),
    }


def stamp(date: int, time: int) -> str:
    """A Virtual File's date and time stamp with its leading zeros: ``YYYYMMDD HHMMSScccc``, at old levels shorter."""
    return f"{date:08d} {time:010d}" if date > 999_999 else f"{date:06d} {time:06d}"


def portray(session: str, opening: Opening, monitor: Monitor, stage: Stage, ssid: SSID | None) -> dict[str, object]:
    """The facts of a live session.

    :param ssid: the Initiator's, once it is in.
    """
    came, went = monitor.counters[opening.partner], monitor.counters[opening.partner.other]
    return {
        "session": session,
        "partner": opening.facts.get("partner"),
        "peer": opening.facts.get("peer"),
        "code": None if ssid is None else ssid.code,
        "direction": opening.direction,
        "profile": opening.facts.get("profile"),
        "tls": opening.facts.get("tls"),
        "phase": monitor.phase.value if stage is Stage.RELAYING else stage.value,
        "speaker": None if monitor.speaker is None else opening.side(monitor.speaker),
        "agreed": None if monitor.agreed is None else agreed_facts(monitor.agreed),
        "file": _file(opening, monitor),
        "octets_in": came.octets,
        "octets_out": went.octets,
        "files_in": came.files,
        "files_out": went.files,
    }


def _file(opening: Opening, monitor: Monitor) -> dict[str, object] | None:
    """The Virtual File under way."""
    transfer = monitor.transfer
    if transfer is None:
        return None
    return {
        "dataset": transfer.dataset_name,
        "stamp": stamp(transfer.date, transfer.time),
        "link": "in" if transfer.sender is opening.partner else "out",
        "originator": transfer.originator,
        "destination": transfer.destination,
        "octets": transfer.octets,
    }
