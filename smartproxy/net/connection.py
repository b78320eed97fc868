"""A Twisted connection as a leg.

Duty: what all legs that end at a transport of ours share: high-water marks, holding the far end back, and closing. Runs
on every transport of Twisted's interfaces and does not know which one carries it. Trusts the transport to call
``connectionLost`` once it is aborted.

Closing is the hardest duty. A TLS transport that was asked to lose its connection waits for the peer's close_notify,
for ever if need be, and sees neither it nor the peer's disappearance while reading is paused; so a closing leg always
reads, and always has an abort timer. A TCP transport that loses its connection with unread octets resets it, which can
cost the peer the last octets we sent; so such a leg shuts its direction only, and throws away what still comes until
the peer closes too.
"""

import typing

from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.net.leg import ILeg, ILegReceiver


class LegTransport(typing.Protocol):
    """What a leg asks of its transport: Twisted's ITransport, IConsumer and IPushProducer."""

    def write(self, octets: bytes) -> None:
        """Queue octets for sending."""

    def loseConnection(self) -> None:
        """Close when everything is sent."""

    def abortConnection(self) -> None:
        """Close now."""

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Tell a producer when more waits to be sent than should."""

    def unregisterProducer(self) -> None:
        """Tell it no more."""

    def pauseProducing(self) -> None:
        """Read no more."""

    def resumeProducing(self) -> None:
        """Read on."""

    def getPeer(self) -> IAddress:
        """The far end."""


@implementer(IPushProducer)
class _SendSide:
    """Told by the transport when more octets wait to be sent than it likes to hold."""

    def __init__(self, leg: "ConnectionLeg") -> None:
        self._leg = leg

    def pauseProducing(self) -> None:
        """The transport is over its high-water mark."""
        if self._leg.receiver is not None:
            self._leg.receiver.leg_full(self._leg)

    def resumeProducing(self) -> None:
        """The transport has sent what waited."""
        if self._leg.receiver is not None:
            self._leg.receiver.leg_drained(self._leg)

    def stopProducing(self) -> None:
        """The transport is gone; ``connectionLost`` says so, too."""


@implementer(ILeg)
class ConnectionLeg(Protocol):
    """A leg over one connection.

    :param clock: measures the time that closing may take.
    :param closing: seconds from the wish to close to the abort.
    """

    def __init__(self, clock: IReactorTime, closing: float) -> None:
        self.receiver: ILegReceiver | None = None
        self.peer = ""
        self._clock = clock
        self._closing_seconds = closing
        self._closing: IDelayedCall | None = None
        self._paused = False
        self._finishing = False

    @property
    def line(self) -> LegTransport:
        """The transport."""
        return typing.cast(LegTransport, self.transport)

    # ILeg

    def send(self, octets: bytes) -> None:
        """Queue octets for delivery."""
        if self.connected and not self._finishing:
            self.line.write(octets)

    def finish(self) -> None:
        """Deliver what was sent, then close; abort if that takes too long."""
        if not self.connected or self._finishing:
            return
        self._finishing = True
        self._closing = self._clock.callLater(self._closing_seconds, self.abort)
        self.line.unregisterProducer()
        self._read_on()
        transport = self.transport
        if ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport):
            transport.loseWriteConnection()
        else:
            self.line.loseConnection()

    def abort(self) -> None:
        """Close now."""
        if not self.connected:
            return
        self._finishing = True
        self._disarm()
        self._read_on()
        self.line.abortConnection()

    def pause(self) -> None:
        """Read no more."""
        if self.connected and not self._paused and not self._finishing:
            self._paused = True
            self.line.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if not self._finishing:
            self._read_on()

    # Protocol

    def connectionMade(self) -> None:
        """The transport is there."""
        self.peer = address_text(self.line.getPeer())
        self.line.registerProducer(_SendSide(self), True)
        # TLS transports pass these on to the TCP transport that they run on, but do not say that they provide them.
        for option in ("setTcpNoDelay", "setTcpKeepAlive"):
            getattr(self.transport, option, _ignore)(True)

    def dataReceived(self, data: bytes) -> None:
        """Octets arrived; those that come while the leg closes are nobody's any more."""
        if self.receiver is not None and not self._finishing:
            self.receiver.octets_received(self, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self.connected = 0
        self._disarm()
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.leg_lost(self, cause_text(reason))

    def _read_on(self) -> None:
        if self.connected and self._paused:
            self._paused = False
            self.line.resumeProducing()

    def _disarm(self) -> None:
        closing, self._closing = self._closing, None
        if closing is not None and closing.active():
            closing.cancel()


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
    """Stand in for an option that a transport does not have."""


def address_text(address: IAddress) -> str:
    """An address as logs show it: ``192.0.2.7:40112``, ``[2001:db8::7]:40112``."""
    match address:
        case IPv4Address():
            return f"{address.host}:{address.port}"
        case IPv6Address():
            return f"[{address.host}]:{address.port}"
    return "unknown"


def cause_text(reason: Failure) -> str:
    """Why a connection ended, in words that hold no octet of the peer."""
    error = reason.value
    match error:
        case ConnectionDone():
            return "closed"
        case ConnectionAborted():
            return "aborted here"
        case ConnectionLost():
            return "connection lost"
        case SSL.Error():
            return f"TLS error: {'; '.join(tls_error_words(error))}"
    return type(error).__name__


def tls_error_words(error: SSL.Error) -> list[str]:
    """What OpenSSL says, in its own words; at least one entry."""
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return [str(entry[-1]) for entry in entries] or [type(error).__name__]
