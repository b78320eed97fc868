"""What can be told of a session as a whole: how it is while it lives, how it ended, and what it carried.

A summary goes into the log as ``session.ended``; a portrait is for an operator who looks. Both are made from what the
session knows anyway: no octet costs anything for them. Hold no octet of a peer but names: the SSIDCODE, and those of
the Virtual File under way.
"""

from collections.abc import Mapping
from typing import Final, Self

import attrs

from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.errors import EsidReason, SessionFault
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import ROLES, Role
from smartproxy.oftp2.witness import Agreed
from smartproxy.policy.faults import OwnFault, PartnerUnreachable
from smartproxy.policy.outcomes import Outcome, Participant
from smartproxy.policy.portraits import Portrait, ToldAgreement, ToldFile
from smartproxy.policy.schema import read_object, write_object
from smartproxy.relay.events import SharedEnd
from smartproxy.relay.openings import Opening
from smartproxy.relay.stages import Stage


@attrs.frozen(kw_only=True)
class Ending:
    """How a session ended.

    :ivar outcome: in one word.
    :ivar cause: why, as a stable code: a :class:`~smartproxy.policy.causes.Cause`, or the rule that a peer broke.
    :ivar message: why, in one sentence of our own.
    :ivar stage: how far the session was.
    :ivar ended_by: who began the end.
    :ivar by: the role of the side that it is about: who ended it, or who was refused; ``None`` if it is neither.
    :ivar reason: the ESID reason code that the offender was told, or that the peer sent.
    :ivar fault: what ended it, unless a peer's ESID did.
    """

    outcome: Outcome
    cause: str
    message: str
    stage: Stage
    ended_by: Participant
    by: Role | None = None
    reason: EsidReason | None = None
    fault: SessionFault | None = None

    @property
    def text(self) -> str:
        """What ESID 99 says of it to a side that did not cause it: fixed words, which name nothing inside the site."""
        if self.ended_by is Participant.NOBODY:
            return "Connection between parties lost"
        return _TEXTS.get(self.outcome, EsidReason.UNSPECIFIED_ABORT.phrase)

    def shared(self, opening: Opening) -> SharedEnd:
        """What the other daemon is told of it."""
        return SharedEnd(
            outcome=self.outcome,
            cause=self.cause,
            ended_by=self.ended_by,
            reason=self.reason,
            message=self.message,
            side=None if self.by is None else opening.side(self.by),
        )

    @classmethod
    def of(
        cls, fault: SessionFault, outcome: Outcome, stage: Stage, ended_by: Participant, by: Role | None = None
    ) -> Self:
        """An ending that a fault explains."""
        return cls(
            outcome=outcome,
            cause=cause_of(fault),
            message=fault.message,
            stage=stage,
            ended_by=ended_by,
            by=by,
            reason=fault.reason,
            fault=fault,
        )


_TEXTS: Final[Mapping[Outcome, str]] = {
    Outcome.VIOLATED: "Protocol violation by other party",
    Outcome.LOST: "Connection to other party lost",
    Outcome.EXPIRED: "Time out of other party",
    Outcome.REFUSED: "Refused by policy",
    Outcome.STOPPED: "Ended by policy",
}


def cause_of(fault: SessionFault) -> str:
    """The code of a fault, as exactly as it is known."""
    return fault.cause if isinstance(fault, PartnerUnreachable) else fault.rule


def not_begun(fault: OwnFault, daemon: Participant) -> SharedEnd:
    """What the other daemon is told where one side is not there, and this daemon has no session yet.

    :param daemon: which one this is.
    """
    ended_by = fault.ended_by or daemon
    return SharedEnd(
        outcome=Outcome.UNREACHABLE,
        cause=cause_of(fault),
        ended_by=ended_by,
        reason=fault.reason,
        message=fault.message,
    )


@attrs.frozen(kw_only=True)
class Summary:
    """A finished session.

    :ivar session: its id, the same on both daemons.
    :ivar fields: what the event ``session.ended`` says of it, by the catalogue's names.
    """

    session: str
    ending: Ending
    fields: Mapping[str, object]

    @property
    def started(self) -> bool:
        """Whether partner and station came to talk to each other."""
        return self.ending.stage.joined


def summarize(
    session: str, opening: Opening, monitor: Monitor, ending: Ending, counts: Mapping[str, object]
) -> Summary:
    """Sum up a session that is over.

    :param counts: what the session itself counted.
    """
    fields: dict[str, object] = {
        "partner": opening.facts.partner,
        "direction": opening.direction.value,
        "outcome": ending.outcome.value,
        "cause": ending.cause,
        "message": ending.message,
        "reason": ending.reason,
        "side": side_of(opening, ending),
        "ended_by": ending.ended_by.value,
        "agreed": None if monitor.agreed is None else agreed_facts(monitor.agreed),
        "buffers_in": monitor.counters[opening.partner].buffers,
        "buffers_out": monitor.counters[opening.partner.other].buffers,
        **_carried(opening, monitor),
        **counts,
    }
    return Summary(session=session, ending=ending, fields=fields)


def side_of(opening: Opening, ending: Ending) -> str | None:
    """The side that an ending is about; ``tunnel`` where the tunnel was lost."""
    if ending.ended_by is Participant.NOBODY:
        return "tunnel"
    return None if ending.by is None else opening.side(ending.by)


def _carried(opening: Opening, monitor: Monitor) -> dict[str, int]:
    came, went = monitor.counters[opening.partner], monitor.counters[opening.partner.other]
    return {
        "octets_in": came.octets,
        "octets_out": went.octets,
        "files_in": came.files,
        "files_out": went.files,
    }


def agreed_facts(agreed: Agreed) -> dict[str, str | int | bool]:
    """What the two SSIDs agreed on, as plain values."""
    return {
        "level": int(agreed.level),
        "buffer_size": agreed.buffer_size,
        "credit": agreed.credit,
        "compression": agreed.compression,
        "restart": agreed.restart,
        "authentication": agreed.authentication,
        "senders": " and ".join(role.word for role in ROLES if role in agreed.senders),
    }


def stamp(date: int, time: int) -> str:
    """A Virtual File's date and time stamp with its leading zeros: ``YYYYMMDD HHMMSScccc``, at old levels shorter."""
    return f"{date:08d} {time:010d}" if date > 999_999 else f"{date:06d} {time:06d}"


def portray(
    session: str, opening: Opening, monitor: Monitor, stage: Stage, ssid: SSID | None, size: int | None
) -> dict[str, object]:
    """The facts of a live session, as :class:`~smartproxy.policy.portraits.Portrait` is written.

    :param ssid: the Initiator's, once it is in.
    :param size: SFIDFSIZ of the file under way, in blocks of 1024 octets.
    """
    portrait = Portrait(
        session=session,
        partner=opening.facts.partner,
        peer=opening.facts.peer,
        code=None if ssid is None else ssid.code,
        direction=opening.direction.value,
        profile=opening.facts.profile.value,
        tls=opening.facts.tls,
        phase=monitor.phase.value if stage.joined else stage.value,
        speaker=None if monitor.speaker is None else opening.side(monitor.speaker).value,
        agreed=None if monitor.agreed is None else read_object(ToldAgreement, agreed_facts(monitor.agreed)),
        file=_file(opening, monitor, size),
        **_carried(opening, monitor),
    )
    return write_object(portrait)


def _file(opening: Opening, monitor: Monitor, size: int | None) -> ToldFile | None:
    """The Virtual File under way."""
    transfer = monitor.transfer
    if transfer is None:
        return None
    return ToldFile(
        dataset=transfer.dataset_name,
        stamp=stamp(transfer.date, transfer.time),
        link="in" if transfer.sender is opening.partner else "out",
        originator=transfer.originator,
        destination=transfer.destination,
        octets=transfer.octets,
        size=size,
    )
