"""What the session monitor says of octets: whether they may be forwarded, what they were, and what is wrong.

Values only, made by :class:`~smartproxy.oftp2.monitor.Monitor` and read by everybody else; they judge nothing, and what
they show holds no secret.
"""

from collections.abc import Mapping
from typing import Final

import attrs

from smartproxy.oftp2.commands import BY_NAME, DATA, Command
from smartproxy.oftp2.errors import Anomaly, ProtocolError
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.stream import HEADER_LENGTH
from smartproxy.oftp2.witness import State, Transfer


@attrs.define
class Counters:
    """What one direction has carried.

    :ivar octets: forwarded, headers included.
    :ivar buffers: Exchange Buffers forwarded.
    :ivar commands: those of them that are not DATA.
    :ivar files: Virtual Files of this sender that the other end has confirmed with EFPA.
    :ivar discarded: octets after the end of the session.
    """

    octets: int = 0
    buffers: int = 0
    commands: int = 0
    files: int = 0
    discarded: int = 0


@attrs.frozen(kw_only=True)
class Observation:
    """One command that was let pass.

    :ivar sender: who sent it.
    :ivar command: its name.
    :ivar value: the command; ``None`` for DATA.
    :ivar state: the state it led to.
    :ivar before: the state it found.
    :ivar length: octets of its Exchange Buffer.
    :ivar anomalies: tolerated departures, those of the DATA since the last observation of this sender included.
    :ivar transfer: the Virtual File that it is about.
    """

    sender: Role
    command: str
    value: Command | None
    state: State
    before: State
    length: int
    anomalies: tuple[Anomaly, ...] = ()
    transfer: Transfer | None = None

    @property
    def fields(self) -> Mapping[str, object]:
        """Its values by the RFC's field names, secrets masked."""
        return {} if self.value is None else self.value.shown()


@attrs.frozen(kw_only=True)
class Judgement:
    """The verdict on some octets.

    :ivar octets: all complete, valid Stream Transmission Buffers, as they came: to be forwarded in one write.
    :ivar observations: the commands in them; DATA only if asked for.
    :ivar error: what is wrong with what follows them.
    :ivar discarded: octets after the end of the session.
    :ivar held: octets of a started, unfinished buffer behind them.
    :ivar excerpt: the octets at fault in hex (:func:`excerpt`), where this call has found the error.
    """

    octets: bytes = b""
    observations: tuple[Observation, ...] = ()
    error: ProtocolError | None = None
    discarded: int = 0
    excerpt: str = ""
    held: int = attrs.field(default=0, eq=False)


#: The most octets of a wrong buffer that are shown.
EXCERPT_OCTETS: Final = 64
_HIDDEN: Final = "**"


def excerpt(buffer: bytes | bytearray, error: ProtocolError) -> str:
    """Write the octets at fault in hex: those that end with the one that made the buffer wrong.

    Octets of secrets (SSIDPSWD, AURPRSP) and of a file's content are ``**``. What came behind the fault is not shown,
    so that the text is the same however the stream was cut.

    :param buffer: the Stream Transmission Buffer as far as it has come.
    """
    assert error.offset is not None
    end = min(error.offset + 1, len(buffer))
    hidden = _hidden(error)
    shown = range(max(0, end - EXCERPT_OCTETS), end)
    return "".join(_HIDDEN if at in hidden else f"{buffer[at]:02x}" for at in shown)


def _hidden(error: ProtocolError) -> set[int]:
    """The positions of secrets in the Stream Transmission Buffer of the command at fault."""
    kind = BY_NAME.get(error.command or "")
    if kind is None:
        return set()
    if kind is DATA:
        assert error.offset is not None
        return set(range(HEADER_LENGTH + 1, error.offset))
    return {
        HEADER_LENGTH + field.position + index
        for layout in kind.LAYOUTS.values()
        for field in layout.fields
        if field.secret and field.position is not None
        for index in range(field.width or 0)
    }
