"""What the session monitor says of octets: whether they may be forwarded, what they were, and what is wrong.

Values only, made by :class:`~smartproxy.oftp2.monitor.Monitor` and read by everybody else; they judge nothing and hold
no secret.
"""

from collections.abc import Mapping

import attrs

from smartproxy.oftp2.commands import Command
from smartproxy.oftp2.errors import Anomaly, ProtocolError
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.witness import State, Transfer


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
