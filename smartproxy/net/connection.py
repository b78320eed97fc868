"""A Twisted connection as a leg.

Duty: what all legs that end at a transport of ours share: high-water marks, holding the far end back, and closing. Runs
on every transport of Twisted's interfaces and does not know which one carries it. Trusts the transport to call
``connectionLost`` once it is aborted. The rules that it keeps stand in :mod:`smartproxy.net.leg`.

Two things stop a leg's reading: its session, which holds it back because the other leg is full, and too many octets
that are kept for a receiver which is not there yet. Three things make it read on: ``resume``, the delivery
of what was kept, and the beginning of the end.

Closing is the hardest duty. A TLS transport that was asked to lose its connection waits for the peer's close_notify,
for ever if need be, and sees neither it nor the peer's disappearance while reading is paused; so a closing leg always
reads, and always has an abort timer. A TCP transport that loses its connection with unread octets resets it, which can
cost the peer the last octets we sent; so such a leg shuts its direction only, and throws away what still comes until
the peer closes too.
"""

from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.net.deadline import Deadline
from smartproxy.net.leg import ILeg, ILegReceiver, Inbox, LegEnd, address_text
from smartproxy.net.tls.error_words import tls_error_words
from smartproxy.net.transport.error_words import connection_words
from smartproxy.relay.events import SharedEnd

KEPT_OCTETS_MOST = 16 * 1024
"""What is kept while there is no receiver; reading stops beyond it."""


class ILegTransport(ITCPTransport, IConsumer, IPushProducer):
    """The transport of a leg."""


@implementer(IPushProducer)
class _SendSide:
    """Told by the transport when more octets wait to be sent than its high-water mark."""

    __slots__ = ("_inbox",)

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def pauseProducing(self) -> None:
        """The transport is over its high-water mark."""
        self._inbox.fill(True)

    def resumeProducing(self) -> None:
        """The transport has sent what waited."""
        self._inbox.fill(False)

    def stopProducing(self) -> None:
        """The transport is gone; ``connectionLost`` says so, too."""


@implementer(ILeg)
class ConnectionLeg(Protocol):
    """A leg over one connection.

    :param clock: measures the time that closing may take.
    :param closing: seconds from the wish to close to the abort.
    """

    transport: ILegTransport

    def __init__(self, clock: IReactorTime, closing: float) -> None:
        self.peer = ""
        self._clock = clock
        self._closing_seconds = closing
        self._closing: Deadline | None = None
        self._inbox = Inbox(self, clock, self._hold)
        self._held_back = False
        self._paused = False
        self._finishing = False

    @property
    def receiver(self) -> ILegReceiver | None:
        """The receiver of what happens."""
        return self._inbox.receiver

    @receiver.setter
    def receiver(self, receiver: ILegReceiver | None) -> None:
        self._inbox.receiver = receiver

    @property
    def keeps_octets(self) -> bool:
        """Whether there are octets for a receiver that is still to come, also after the connection is gone."""
        return self._inbox.keeps and self._inbox.octets > 0

    @property
    def worked(self) -> float:
        """The seconds that working on what the far end sent has taken."""
        return float(getattr(self.transport, "worked", 0.0))

    # ILeg

    def send(self, octets: bytes) -> None:
        """Queue octets for delivery."""
        if self.connected and not self._finishing:
            self.transport.write(octets)

    def finish(self, end: SharedEnd | None = None) -> None:
        """Deliver what was sent, then close; abort if that takes too long."""
        if not self.connected or self._finishing:
            return
        self._finishing = True
        self._closing = Deadline(self._clock, self.abort)
        self._closing.start(self._closing_seconds)
        self.transport.unregisterProducer()
        self._hold()
        transport = self.transport
        if ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport):
            transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def abort(self) -> None:
        """Close now."""
        if not self.connected:
            return
        self._finishing = True
        self._closed()
        self._hold()
        self.transport.abortConnection()

    def _closed(self) -> None:
        if self._closing is not None:
            self._closing.stop()
            self._closing = None

    def pause(self) -> None:
        """Stop reading."""
        self._held_back = True
        self._hold()

    def resume(self) -> None:
        """Go on reading."""
        self._held_back = False
        self._hold()

    # Protocol

    def connectionMade(self) -> None:
        """The transport is connected."""
        self.peer = address_text(self.transport.getPeer())
        self.transport.registerProducer(_SendSide(self._inbox), True)
        # TLS transports pass these on to the TCP transport that they run on, but do not say that they provide them.
        for option in ("setTcpNoDelay", "setTcpKeepAlive"):
            getattr(self.transport, option, _ignore)(True)

    def dataReceived(self, data: bytes) -> None:
        """Octets arrived; those that come while the leg closes are thrown away."""
        if not self._finishing and self._inbox.received(data):
            self._hold()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self.connected = 0
        self._closed()
        self._inbox.lost(end_of(reason))

    def _hold(self) -> None:
        """Pause or resume the transport, as the leg's state asks for."""
        wanted = (self._held_back or self._inbox.octets > KEPT_OCTETS_MOST) and not self._finishing
        if self.connected and wanted is not self._paused:
            self._paused = wanted
            if wanted:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()


class LegFactory(Factory):
    """Makes the leg of a connection that was dialled.

    :param clock: measures the time that closing may take.
    :param closing: seconds from the wish to close to the abort.
    """

    noisy = False

    def __init__(self, clock: IReactorTime, closing: float) -> None:
        self._clock = clock
        self._closing = closing

    def buildProtocol(self, addr: IAddress | None) -> ConnectionLeg:
        """Make the leg."""
        return ConnectionLeg(self._clock, self._closing)


def _ignore(on: bool) -> None:
    """Do nothing, in place of an option that a transport does not have."""


def end_of(reason: Failure) -> LegEnd:
    """How a connection ended, in words that hold no octet of the peer."""
    error = reason.value
    match error:
        case ConnectionDone():
            return LegEnd("closed", in_order=True)
        case ConnectionAborted():
            return LegEnd("aborted here")
        case ConnectionLost():
            return LegEnd("connection lost")
        case SSL.Error():
            return LegEnd(f"TLS error: {'; '.join(tls_error_words(error))}")
    return LegEnd(connection_words(error))
