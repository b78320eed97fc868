"""The entrance of a tunnel connection: nothing passes before both ends have proved their identity.

Duty: stand between TLS and a protocol until the handshake is over, for at most the handshake's deadline; then judge the
peer and let the protocol take over, or end the connection. Octets that come with the end of the handshake wait for that
answer. Trusts TLS to say when the handshake is over, and asks the context for the peer's identity.
"""

from collections.abc import Callable
from typing import Protocol as Shape

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import Attribute, implementer

from smartproxy.net.deadline import Deadline
from smartproxy.net.leg import address_text, peer_of
from smartproxy.net.transport.error_words import connection_words
from smartproxy.net.transport.secured import TlsFactory
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.tunnel.boxes import IStream
from smartproxy.tunnel.contexts import PeerRefused, tls_trouble


class Doorkeeper(Shape):
    """Decides what stands behind an entrance."""

    def admit(self, entrance: "Entrance") -> IProtocol:
        """The protocol to take over.

        :raises PeerRefused: if the peer is not admitted.
        """

    def admitted(self, entrance: "Entrance", protocol: IProtocol) -> None:
        """The protocol has taken over."""

    def refused(self, entrance: "Entrance", refusal: PeerRefused) -> None:
        """The peer is not admitted, or did not prove its identity; the connection ends."""

    def vanished(self, entrance: "Entrance", why: str) -> None:
        """The connection ended before there was anything to judge."""


class ITunnelTransport(IStream):
    """What an entrance asks of TLS beside the stream."""

    wrappedProtocol = Attribute("The protocol that the octets are for.")

    def getHandle() -> SSL.Connection:
        """OpenSSL's connection."""

    def setTcpNoDelay(enabled: bool) -> None:
        """Have small pieces sent at once, or gathered."""


@implementer(IHandshakeListener)
class Entrance(Protocol):
    """One connection, from the beginning of its handshake on.

    :param seconds: what is left of the handshake's deadline.
    """

    transport: ITunnelTransport | None

    def __init__(self, keeper: Doorkeeper, clock: IReactorTime, seconds: float = limits.HANDSHAKE.default) -> None:
        self._keeper = keeper
        self._seconds = seconds
        self._handshake = Deadline(clock, self._late)
        self._judged = False

    @property
    def peer(self) -> str:
        """The far end, as text for logs."""
        return address_text(self.transport.getPeer() if self.transport is not None else None)

    @property
    def host(self) -> str:
        """The far end's address; empty if it has none."""
        peer = peer_of(self.transport.getPeer() if self.transport is not None else None)
        return "" if peer is None else peer.host

    @property
    def connection(self) -> SSL.Connection:
        """OpenSSL's connection."""
        assert self.transport is not None
        return self.transport.getHandle()

    def connectionMade(self) -> None:
        """The TCP connection is there; the handshake has yet to begin."""
        assert self.transport is not None
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        self._handshake.start(self._seconds)

    def handshakeCompleted(self) -> None:
        """Both ends proved that they have the keys of their certificates."""
        if self._judged or self.transport is None:
            return
        self._judged = True
        self._handshake.stop()
        try:
            inner = self._keeper.admit(self)
        except PeerRefused as refusal:
            self._keeper.refused(self, refusal)
            self.transport.abortConnection()
            return
        # All that comes from here on is the protocol's: the entrance is not needed any more.
        self.transport.wrappedProtocol = inner
        inner.makeConnection(self.transport)
        self._keeper.admitted(self, inner)

    def dataReceived(self, data: bytes) -> None:
        """Octets before there is a protocol behind: none come from a peer that may stay."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone before a protocol took over."""
        self._handshake.stop()
        if not self._judged:
            self._judged = True
            self._end(reason)
        self.transport = None

    def drop(self, refusal: PeerRefused) -> None:
        """Refuse the peer, and end the connection."""
        if not self._judged:
            self._judged = True
            self._handshake.stop()
            self._keeper.refused(self, refusal)
        if self.transport is not None:
            self.transport.abortConnection()

    def displace(self) -> None:
        """End the connection without telling the keeper, which needs the place for another one."""
        self._judged = True
        self._handshake.stop()
        if self.transport is not None:
            self.transport.abortConnection()

    def _end(self, reason: Failure) -> None:
        if not reason.check(SSL.Error):
            self._keeper.vanished(self, connection_words(reason.value))
            return
        self._keeper.refused(self, PeerRefused(cause=Cause.TUNNEL_TLS, message=tls_trouble(reason)))

    def _late(self) -> None:
        self.drop(handshake_late())


def handshake_late() -> PeerRefused:
    """The refusal of a peer that did not complete its handshake in time."""
    message = f"no TLS handshake within {limits.HANDSHAKE.default} s"
    return PeerRefused(cause=Cause.TUNNEL_HANDSHAKE_TIMEOUT, message=message)


class EntranceFactory(Factory):
    """Makes entrances, which speak through TLS."""

    noisy = False

    def __init__(self, build: Callable[[], Entrance]) -> None:
        self._build = build

    @override
    def buildProtocol(self, addr: IAddress | None) -> Entrance:
        return self._build()


def secured_client(
    context: IOpenSSLClientConnectionCreator, build: Callable[[], Entrance], first: bytes = b""
) -> IProtocolFactory:
    """A factory of entrances at the client's end.

    :param first: what is sent before TLS.
    """
    return TlsFactory(context, True, EntranceFactory(build), first)
