"""What remains of a session when it is over: how it ended and what it carried.

Goes into the log as ``session.ended`` and through the tunnel as the fields of ``SessionEnded``. Holds no octet of a
peer but the SSIDCODE.
"""

from collections.abc import Mapping
from typing import Self

import attrs

from smartproxy.oftp2.errors import SessionFault
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.witness import Agreed
from smartproxy.relay.openings import Opening


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
