"""The first octets of a connection that was accepted: nothing is spent on one that has not spoken.

Duty: wait for the first whole TLS record, for at most the handshake's deadline, and only then have what stands behind
made: TLS, the leg, events. Whoever made this says when that is: a hello may have to wait for its turn. A connection
that says nothing costs a socket and this object, so that a flood of them neither takes the time for others nor is
expensive to displace. Octets that are no TLS end the connection, and are told apart as far as it helps whoever
configured the caller. Trusts nothing that comes. Keeps one record at most, and hands on every octet as it came.

Standards: RFC 8446 section 5.1 (records); RFC 5024 section 8.2 (Stream Transmission Header).
"""

import enum
import typing
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IProtocol, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from smartproxy.net.deadline import Deadline
from smartproxy.net.leg import address_text
from smartproxy.net.transport.sockets import DataStream
from smartproxy.policy.balancers import V1, V2
from smartproxy.policy.callbacks import nothing

_HANDSHAKE: Final = 22
_HEADER: Final = 5
_RECORD_OCTETS_MOST: Final = 2**14
_KEPT_MOST: Final = _HEADER + _RECORD_OCTETS_MOST
"""Octets that are kept of a connection that waits: nobody says more before it has an answer."""
_STREAM_HEADER: Final = 0x10
_READY: Final = b"IODETTE"
_HTTP: Final = (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"CONN", b"PRI ", b"DELE", b"TRAC", b"PATC")
_WORD: Final = 4
_BALANCER: Final = (V1[:_WORD], V2[:_WORD])


class Spoken(enum.Enum):
    """What a caller has said so far."""

    NOTHING = "nothing"
    PART = "a part of a TLS record"
    TLS = "a whole TLS record"
    OFTP = "OFTP without TLS"
    HTTP = "HTTP"
    SSH = "SSH"
    BALANCER = "a header of the PROXY protocol"
    OTHER = "something that is not TLS"


def judge_hello(octets: bytes) -> Spoken:
    """What the first octets of a connection are."""
    if not octets:
        return Spoken.NOTHING
    if octets[0] == _HANDSHAKE:
        return _judge_record(octets)
    if octets[0] == _STREAM_HEADER or octets.startswith(_READY):
        return Spoken.OFTP
    word = octets[:_WORD]
    if word == b"SSH-":
        return Spoken.SSH
    if word in _HTTP:
        return Spoken.HTTP
    if word in _BALANCER:
        return Spoken.BALANCER
    if any(each.startswith(word) for each in (*_HTTP, *_BALANCER, b"SSH-", _READY)):
        return Spoken.PART
    return Spoken.OTHER


def _judge_record(octets: bytes) -> Spoken:
    if len(octets) > 1 and octets[1] != 3:
        return Spoken.OTHER
    if len(octets) < _HEADER:
        return Spoken.PART
    length = int.from_bytes(octets[3:_HEADER], "big")
    if not 0 < length <= _RECORD_OCTETS_MOST:
        return Spoken.OTHER
    return Spoken.TLS if len(octets) >= _HEADER + length else Spoken.PART


class HelloFirst(Protocol):
    """A connection that was accepted, and has yet to speak.

    :param clock: runs the deadline.
    :param seconds: from now to the first whole record.
    :param behind: makes what stands behind, which takes over; ``None`` closes the connection.
    :param ended: told once that the connection ends without that: what came, and why it ended, ``None`` if the
        deadline passed; not told after :meth:`close`.
    :param spoke: told that the first whole record is there, and calls :meth:`begin`, now or later.
    :ivar accepted: when the connection was made.
    """

    def __init__(
        self,
        clock: IReactorTime,
        seconds: float,
        behind: Callable[["HelloFirst"], IProtocol | None],
        ended: Callable[["HelloFirst", Spoken, Failure | None], object],
        spoke: Callable[["HelloFirst"], object],
    ) -> None:
        self.accepted = clock.seconds()
        self._clock = clock
        self._seconds = seconds
        self._behind = behind
        self._ended = ended
        self._spoke = spoke
        self._waits = False
        self._deadline: Deadline | None = Deadline(clock, self._late)
        self._kept = b""
        self._inner: IProtocol | None = None
        self._over = False

    @property
    def peer(self) -> str:
        """The far end, as text for logs."""
        return address_text(None if self.transport is None else self.transport.getPeer())

    def connectionMade(self) -> None:
        """The connection is accepted."""
        if self._deadline is not None:
            self._deadline.start(self._seconds)

    def dataReceived(self, data: bytes) -> None:
        """Octets arrived: for what stands behind, or one more part of the first record."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        if self._over:
            return
        self._kept += data
        if not self._waits:
            self._judge()
        if self._waits and len(self._kept) > _KEPT_MOST:
            self._end(Spoken.OTHER, Failure(connectionDone.value))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self._over:
            self._over = True
            self._ended(self, judge_hello(self._kept), reason)
        self._release()

    def close(self) -> None:
        """Close the connection, if it has not spoken; nothing is told."""
        if self._inner is None:
            self._over = True
            self._release()
            self._kept = b""
            if self.transport is not None:
                typing.cast(ITCPTransport, self.transport).abortConnection()

    def hand_on(self) -> None:
        """The connection goes on in another process; nothing is told of its end."""
        self._over = True
        self._release()

    def begin(self) -> None:
        """Let what stands behind take over, once the first record is there and unless the connection has ended."""
        if self._over or not self._waits:
            return
        behind, self._waits = self._behind, False
        self._release()
        inner = behind(self)
        if inner is None:
            self.close()
            return
        kept, self._kept, self._inner = self._kept, b"", inner
        transport: Any = self.transport
        assert transport is not None
        if hasattr(inner, "view_received"):
            self.view_received = inner.view_received
        carried: Any = getattr(transport, "protocol", None)
        if carried is self and isinstance(transport, DataStream):
            # Nothing is left to be done here: the connection may live for hours without this object.
            transport.protocol = inner
        inner.makeConnection(transport)
        inner.dataReceived(kept)

    def _release(self) -> None:
        """Stop waiting, and hold nobody who holds this: a flood leaves no garbage that has to be looked for."""
        if self._deadline is not None:
            self._deadline.stop()
            self._deadline = None
        self._behind = self._ended = self._spoke = nothing

    def _judge(self) -> None:
        spoken = judge_hello(self._kept)
        if spoken is Spoken.TLS:
            self._waits = True
            self._spoke(self)
        elif spoken is not Spoken.PART:
            self._end(spoken, Failure(connectionDone.value))

    def _late(self) -> None:
        self._end(judge_hello(self._kept), None)

    def _end(self, spoken: Spoken, reason: Failure | None) -> None:
        self._over = True
        self._ended(self, spoken, reason)
        self.close()
