"""What the session monitor says: verdicts, observations, counters, and the coarse course of a session."""

import enum
from collections.abc import Mapping
from typing import Final

import attrs

from smartproxy.oftp2.anomalies import Anomaly
from smartproxy.oftp2.commands import Command
from smartproxy.oftp2.errors import ProtocolError
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.witness import State, Transfer


class Phase(enum.Enum):
    """The coarse course of a session, for deadlines and displays."""

    AWAIT_SSRM = "awaiting SSRM"
    AWAIT_SSID = "awaiting SSID"
    AUTHENTICATING = "authenticating"
    IDLE = "idle"
    TRANSFER = "transfer"
    ENDED = "ended"


PHASES: Final[Mapping[State, Phase]] = {
    State.AWAIT_SSRM: Phase.AWAIT_SSRM,
    State.AWAIT_I_SSID: Phase.AWAIT_SSID,
    State.AWAIT_R_SSID: Phase.AWAIT_SSID,
    State.AWAIT_I_SECD: Phase.AUTHENTICATING,
    State.AWAIT_R_AUCH: Phase.AUTHENTICATING,
    State.AWAIT_I_AURP: Phase.AUTHENTICATING,
    State.AWAIT_R_SECD: Phase.AUTHENTICATING,
    State.AWAIT_I_AUCH: Phase.AUTHENTICATING,
    State.AWAIT_R_AURP: Phase.AUTHENTICATING,
    State.IDLE: Phase.IDLE,
    State.IDLE_TURNED: Phase.IDLE,
    State.AWAIT_RTR: Phase.IDLE,
    State.OPENING: Phase.TRANSFER,
    State.SENDING: Phase.TRANSFER,
    State.CLOSING: Phase.TRANSFER,
    State.AWAIT_CD: Phase.IDLE,
    State.ENDING: Phase.ENDED,
}


@attrs.frozen(kw_only=True)
class Ceilings:
    """The longest buffers that are waited for, whatever the protocol would allow.

    :ivar before_ssid: Stream Transmission Buffer before both SSIDs are there (an ESID with the longest text is 1010).
    :ivar command: Command Exchange Buffer afterwards.
    """

    before_ssid: int = 1010
    command: int = 16384


@attrs.define
class Counters:
    """What one direction has carried.

    :ivar octets: forwarded, headers included.
    :ivar buffers: Exchange Buffers forwarded.
    :ivar files: Virtual Files of this sender that the other end has confirmed with EFPA.
    :ivar discarded: octets after the end of the session.
    """

    octets: int = 0
    buffers: int = 0
    files: int = 0
    discarded: int = 0


@attrs.frozen(kw_only=True)
class Observation:
    """One command that was let pass.

    :ivar sender: who sent it.
    :ivar command: its name.
    :ivar fields: its values by the RFC's field names, secrets masked.
    :ivar value: the command; ``None`` for DATA.
    :ivar state: the state it led to.
    :ivar before: the state it found.
    :ivar length: octets of its Exchange Buffer.
    :ivar anomalies: tolerated departures, those of the DATA since the last observation of this sender included.
    :ivar transfer: the Virtual File that it is about.
    """

    sender: Role
    command: str
    fields: Mapping[str, object]
    value: Command | None
    state: State
    before: State
    length: int
    anomalies: tuple[Anomaly, ...] = ()
    transfer: Transfer | None = None


@attrs.frozen(kw_only=True)
class Judgement:
    """The verdict on some octets.

    :ivar octets: all complete, valid Stream Transmission Buffers, as they came: to be forwarded in one write.
    :ivar observations: the commands in them; DATA only if asked for.
    :ivar error: what is wrong with what follows them.
    :ivar discarded: octets after the end of the session.
    """

    octets: bytes = b""
    observations: tuple[Observation, ...] = ()
    error: ProtocolError | None = None
    discarded: int = 0
