"""TLS in memory, between a protocol and the connection that carries it.

Duty: what Twisted's own TLS transport does, with as few calls as its work allows: all records of a read are gathered
into one delivery, and what a protocol writes is encrypted and sent as one piece. A protocol sees Twisted's interfaces
and does not know which of the two carries it. Octets come from any transport; one that reads into a shared buffer hands
its view on without a copy (:meth:`TlsTransport.view_received`).

Trusts the context that it is given to judge the peer, and OpenSSL to find what is wrong in a record. Never delivers an
octet before the handshake is over or after an abort, never sends one after its close_notify, and never keeps more of
OpenSSL's answers for a peer that does not read than :data:`CHATTER_MOST`.

Theory of operation::

                        handshake over                  loseConnection
        SHAKING ─────────────────────────▶ OPEN ─────────────────────────▶ CLOSING
           │                                 │     close_notify sent          │
           │ TLS error: alert sent           │ close_notify came, answered    │ close_notify came
           ▼                                 ▼                                ▼
          OVER ◀──────────────────────────────────────────────────────────────┘
                 the carrier sends what waits and closes; ``connectionLost`` is its word

``abortConnection`` leads from every state to OVER at once. A carrier that goes away without close_notify is a
truncation: ``ConnectionLost``, never ``ConnectionDone``. What is written while the handshake runs waits for its end.
Standards: RFC 5246 section 7.2.1 and RFC 8446 section 6.1 (close_notify).
"""

import enum
from collections.abc import Callable, Iterable
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IHandshakeListener,
    INegotiated,
    IProtocol,
    IPushProducer,
    ISSLTransport,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.net.tls.error_words import is_end_of_file
from smartproxy.net.tls.openssl import forget_errors
from smartproxy.net.transport.records import PIECE, PLAIN, PLAIN_FULL, SEALED, records
from smartproxy.net.transport.sockets import DataStream
from smartproxy.net.transport.thrift import SMALL, THRIFT, RestingTls

CHATTER_MOST: Final = 64 * 1024
"""Octets of OpenSSL's own answers, such as to key updates, that wait for a peer which does not read."""


class TlsStage(enum.Enum):
    """What a transport may do."""

    SHAKING = enum.auto()
    OPEN = enum.auto()
    CLOSING = enum.auto()
    OVER = enum.auto()


@implementer(ISSLTransport, INegotiated, IConsumer, IPushProducer, IProtocol)
class TlsTransport(RestingTls):
    """The TLS side of one connection: a protocol for its carrier, the transport of the protocol that it wraps.

    :param create: makes OpenSSL's connection, given this transport; sets which side it is.
    :param inner: the protocol to carry.
    :ivar wrappedProtocol: the same, by Twisted's name.
    """

    __slots__ = (
        "_chatter",
        "_create",
        "_full",
        "_pending",
        "_producer",
        "_reason",
        "_records",
        "_registered",
        "_stage",
        "_views",
        "connected",
        "wrappedProtocol",
    )

    def __init__(self, create: Callable[["TlsTransport"], SSL.Connection], inner: Any) -> None:
        super().__init__()
        self.wrappedProtocol = inner
        self.connected = False
        self._create = create
        self._stage = TlsStage.SHAKING
        self._pending: list[bytes] = []
        self._producer: Any = None
        self._registered = False
        self._full = False
        self._chatter = 0
        self._reason: Failure | None = None
        self._records = records()
        self._views = False

    # A protocol, for the carrier.

    def makeConnection(self, transport: Any) -> None:
        """The carrier is connected: begin the handshake."""
        self._carrier = transport
        self._views = isinstance(transport, DataStream)
        self._tls = self._create(self)
        self.connected = True
        self.wrappedProtocol.makeConnection(self)
        # The protocol may have aborted.
        if self._stage is TlsStage.SHAKING:
            self._shake()

    def connectionMade(self) -> None:
        """Nothing is left to do: :meth:`makeConnection` begins the handshake."""

    def dataReceived(self, data: bytes) -> None:
        """Octets came from the peer."""
        self.view_received(memoryview(data))

    def view_received(self, view: memoryview) -> None:
        """Octets came from the peer, in a buffer that is not ours: nothing of it is kept."""
        gathered = 0
        shaking = self._stage is TlsStage.SHAKING
        if self._resting:
            self._wake()
        if len(view) > SMALL:
            THRIFT.grown.add(self)
        start, length = 0, len(view)
        while start < length:
            if self._stage is TlsStage.OVER:
                return
            if self._stage is not TlsStage.SHAKING:
                start, gathered, ending = self._records.unseal(self._tls, view, start, gathered)
            else:
                # What a handshake may have is bounded there.
                self._tls.bio_write(view[start : start + PIECE])
                start += PIECE
                if not self._shake():
                    continue
                gathered, ending = self._records.decrypt(self._tls, gathered)
            if ending is not None or gathered > PLAIN_FULL:
                gathered = self._pass_on(gathered, ending)
        if self._stage is not TlsStage.OVER:
            sealed = self._records.take(self._tls)
            if sealed:
                self._chat(sealed)
            if shaking and self._stage is TlsStage.OPEN:
                # A peer may say nothing for long, or nothing ever: what its certificates took is free for the next one.
                self.rest()
        if gathered and self._stage is not TlsStage.OVER:
            self.wrappedProtocol.dataReceived(bytes(PLAIN[:gathered]))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The carrier is gone."""
        try:
            self._read_rest()
        finally:
            self._truncated()
            self._tell_lost(reason)

    def _read_rest(self) -> None:
        """Deliver what came before the end."""
        if not self._resting and self._stage is not TlsStage.OVER:
            self._tls.bio_shutdown()
            if self._stage is not TlsStage.SHAKING:
                gathered = self._pass_on(*self._records.decrypt(self._tls, 0))
                if gathered:
                    self._deliver(gathered)

    def _tell_lost(self, reason: Failure) -> None:
        """Tell producer and protocol of the end, and let everything go."""
        reason, self._reason = self._reason or reason, None
        self.connected = False
        self._registered = False
        producer, self._producer = self._producer, None
        self._pending.clear()
        try:
            if producer is not None:
                producer.stopProducing()
        finally:
            try:
                self.wrappedProtocol.connectionLost(reason)
            finally:
                THRIFT.forget(self)
                # OpenSSL's callbacks hold this transport.
                self._tls = None

    def _truncated(self) -> None:
        """The carrier is gone without close_notify, unless its last octets held one."""
        if self._stage is not TlsStage.OVER:
            self._stage = TlsStage.OVER
            self._reason = self._reason or Failure(CONNECTION_LOST)

    def logPrefix(self) -> str:
        """The class of the wrapped protocol, by which Twisted names who worked."""
        return type(self.wrappedProtocol).__name__

    # The handshake.

    def _shake(self) -> bool:
        """Go on with the handshake; whether it was completed now."""
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._answer()
            return False
        except SSL.Error:
            self._end(Failure())
            return False
        finally:
            forget_errors()
        self._stage = TlsStage.OPEN
        inner = self.wrappedProtocol
        if IHandshakeListener.providedBy(inner):
            inner.handshakeCompleted()
        # What the protocol wrote in it has taken the end of the handshake along.
        if self._stage is not TlsStage.OVER:
            self._answer()
        if self._pending and self._stage is TlsStage.OPEN:
            self._send_pending()
        return True

    # Reading.

    def _pass_on(self, gathered: int, ending: SSL.Error | None) -> int:
        """Deliver what there is no room behind, and gather the rest; at the end of the stream deliver all, and end.

        :param gathered: octets that are gathered already.
        :param ending: why OpenSSL stopped.
        :return: octets that are gathered and not delivered.
        """
        while ending is None:
            if gathered <= PLAIN_FULL:
                return gathered
            self._deliver(gathered)
            if self._stage is TlsStage.OVER:
                return 0
            gathered, ending = self._records.decrypt(self._tls, 0)
        if gathered:
            self._deliver(gathered)
        if self._stage is not TlsStage.OVER:
            self._end(None if isinstance(ending, SSL.ZeroReturnError) else Failure(ending))
        return 0

    def _deliver(self, gathered: int) -> None:
        if self._stage is not TlsStage.OVER:
            self.wrappedProtocol.dataReceived(bytes(PLAIN[:gathered]))

    def _answer(self) -> None:
        """Send what OpenSSL has to say of itself."""
        sealed = self._records.take(self._tls)
        if sealed:
            self._chat(sealed)

    def _chat(self, sealed: int) -> None:
        """Send octets that no protocol wrote, as far as the peer reads; in a close nobody says how far that is."""
        self._carrier.write(SEALED[:sealed] if self._views else bytes(SEALED[:sealed]))
        if self._full or self._stage is TlsStage.CLOSING:
            self._chatter += sealed
            if self._chatter > CHATTER_MOST:
                self._reason = Failure(SSL.Error([("SSL routines", "", "too many unread answers")]))
                self.abortConnection()

    # Ends.

    def _end(self, reason: Failure | None) -> None:
        """TLS is over: close the carrier when it has sent what waits.

        :param reason: what was wrong; ``None`` if the peer closed in order.
        """
        if reason is None:
            self._notify()
            if self._reason is None and not self._full:
                # What was sent to us is delivered: how the carrier ends after that does not matter any more.
                self._reason = Failure(CONNECTION_DONE)
        elif self._reason is None:
            self._reason = Failure(CONNECTION_LOST) if is_end_of_file(reason.value) else reason
        self._stage = TlsStage.OVER
        self._pending.clear()
        self._answer()
        self._release_carrier()
        self._carrier.loseConnection()

    def _notify(self) -> bool:
        """Send close_notify.

        :return: whether the peer's has come, too.
        """
        if self._resting:
            self._wake()
        try:
            both: bool = self._tls.shutdown()
        except SSL.Error:
            # In the middle of a handshake there is nothing to close.
            both = False
        self._answer()
        return both

    def _close(self) -> None:
        """Nothing more is to be sent: begin the end."""
        self._stage = TlsStage.CLOSING
        if self._notify():
            self._release_carrier()
            self._carrier.loseConnection()

    def _release_carrier(self) -> None:
        if self._registered:
            self._registered = False
            self._carrier.unregisterProducer()

    # A transport, for the protocol.

    def write(self, data: bytes) -> None:
        """Encrypt octets and send them."""
        if not data or (self._disconnecting and self._producer is None):
            return
        if self._stage is TlsStage.OPEN and not self._pending:
            self._encrypt(data)
        elif self._stage in (TlsStage.SHAKING, TlsStage.OPEN):
            self._keep(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Encrypt pieces as one."""
        self.write(b"".join(data))

    def _encrypt(self, data: bytes) -> None:
        """Send as one piece what OpenSSL takes."""
        start, length = 0, len(data)
        if self._resting:
            self._wake()
        if length > SMALL:
            THRIFT.grown.add(self)
        while start < length:
            start, sealed, error = self._records.encrypt(self._tls, data, start)
            if sealed:
                self._carrier.write(SEALED[:sealed] if self._views else bytes(SEALED[:sealed]))
            if isinstance(error, SSL.WantReadError):
                self._keep(data[start:])
                return
            if error is not None:
                self._end(Failure(error))
                return

    def _keep(self, data: bytes) -> None:
        """Keep octets that OpenSSL does not take yet."""
        self._pending.append(data)
        if len(self._pending) == 1 and self._producer is not None and not self._full:
            self._producer.pauseProducing()

    def _send_pending(self) -> None:
        pending, self._pending = self._pending, []
        self._encrypt(b"".join(pending))
        if self._pending or self._stage is not TlsStage.OPEN:
            return
        if self._producer is not None:
            if not self._full:
                self._producer.resumeProducing()
        elif self._disconnecting:
            self._close()

    def loseConnection(self) -> None:
        """Send what was written, then close_notify; the connection ends when the peer's has come."""
        if self._disconnecting or not self.connected:
            return
        if self._stage is TlsStage.SHAKING and not self._pending:
            self.abortConnection()
            return
        self._disconnecting = True
        if self._stage is TlsStage.OPEN and not self._pending and self._producer is None:
            self._close()

    def loseWriteConnection(self) -> None:
        """Close both directions, as :meth:`loseConnection` does: TLS has no half of a connection."""
        self.loseConnection()

    def abortConnection(self) -> None:
        """Close now, without close_notify: the peer must not take what it has for all that there was.

        What OpenSSL has to say still leaves, such as the end of a handshake: the peer can judge for itself.
        """
        self._disconnecting = True
        if self._reason is not None and self._reason.check(ConnectionDone):
            # The peer closed in order; what we had to send to it is cut off all the same.
            self._reason = None
        shaken = self._stage in (TlsStage.OPEN, TlsStage.CLOSING)
        self._stage = TlsStage.OVER
        self._pending.clear()
        if shaken and not self._resting:
            self._answer()
        self._carrier.abortConnection()

    # Flow control.

    def pauseProducing(self) -> None:
        """Deliver nothing more than what is read already."""
        self._carrier.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on reading."""
        self._carrier.resumeProducing()

    def stopProducing(self) -> None:
        """Close, as :meth:`loseConnection` does."""
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause a push producer while too much waits to be sent.

        :raises ValueError: for a pull producer, which nothing here is.
        :raises RuntimeError: if there is one already.
        """
        if not streaming:
            raise ValueError("only streaming producers can be registered")
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if self._stage is TlsStage.OVER or not self.connected:
            producer.stopProducing()
            return
        self._producer = producer
        self._registered = True
        self._carrier.registerProducer(_SendSide(self), True)
        if self._pending:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """Tell nobody any more; a close that waited for that goes on."""
        if self._producer is None:
            return
        self._producer = None
        self._full = False
        self._release_carrier()
        if self._disconnecting and self._stage is TlsStage.OPEN and not self._pending:
            self._close()

    def send_side_full(self, full: bool) -> None:
        """The carrier has more to send than it likes, or has sent it; it says the first at every write."""
        if full is self._full:
            return
        self._full = full
        self._chatter = 0
        producer = self._producer
        if producer is None or self._pending:
            return
        if full:
            producer.pauseProducing()
        else:
            producer.resumeProducing()


@implementer(IPushProducer)
class _SendSide:
    """What a carrier sees of the protocol that writes."""

    __slots__ = ("_transport",)

    def __init__(self, transport: TlsTransport) -> None:
        self._transport = transport

    def pauseProducing(self) -> None:
        """The carrier has more to send than it likes."""
        self._transport.send_side_full(True)

    def resumeProducing(self) -> None:
        """The carrier has sent what waited."""
        self._transport.send_side_full(False)

    def stopProducing(self) -> None:
        """The carrier is gone; ``connectionLost`` says so, too."""
