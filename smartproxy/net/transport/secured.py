"""Factories and endpoints whose connections speak through TLS.

Duty: put :class:`~smartproxy.net.transport.tls.TlsTransport` between a carrier and the protocols of a factory or an
endpoint, accepted or dialled. Trusts the context to make OpenSSL's side of each connection.
"""

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from smartproxy.net.transport.tls import TlsTransport


@implementer(IProtocolFactory)
class TlsFactory:
    """Puts TLS between a carrier and the protocols of a factory.

    :param context: gives each connection OpenSSL's side of it.
    :param client: whether the connections are dialled; otherwise they are accepted.
    :param behind: makes the protocols.
    :param first: what is sent before TLS.
    """

    noisy = False

    def __init__(
        self,
        context: IOpenSSLClientConnectionCreator | IOpenSSLServerConnectionCreator,
        client: bool,
        behind: Any,
        first: bytes = b"",
    ) -> None:
        self._first = first
        self._create = connections(context, client=client)
        self._behind = behind

    def doStart(self) -> None:
        """A port or connector begins to use it, and so the factory behind."""
        self._behind.doStart()

    def doStop(self) -> None:
        """A port or connector uses it no more, nor the factory behind."""
        self._behind.doStop()

    def buildProtocol(self, addr: IAddress | None) -> TlsTransport | None:
        """TLS around what the factory behind makes; nothing where that makes nothing."""
        inner = self._behind.buildProtocol(addr)
        if inner is None:
            return None
        return _Late(self._create, inner, self._first) if self._first else TlsTransport(self._create, inner)


class _Late(TlsTransport):
    """TLS that begins after some octets without it."""

    __slots__ = ("_first",)

    def __init__(self, create: Callable[[TlsTransport], SSL.Connection], inner: Any, first: bytes) -> None:
        super().__init__(create, inner)
        self._first = first

    def makeConnection(self, transport: Any) -> None:
        """Send them, and begin the handshake."""
        transport.write(self._first)
        super().makeConnection(transport)


@implementer(IStreamClientEndpoint)
class TlsEndpoint:
    """Dials as another endpoint does, and puts TLS on the connection.

    :param context: gives each connection OpenSSL's side of it.
    """

    def __init__(self, context: IOpenSSLClientConnectionCreator, behind: IStreamClientEndpoint) -> None:
        self._context = context
        self._behind = behind

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect; fires with the factory's protocol before the handshake is over."""
        connecting: Deferred[Any] = self._behind.connect(TlsFactory(self._context, True, factory))
        return connecting.addCallback(_inner)


def _inner(transport: TlsTransport) -> Any:
    return transport.wrappedProtocol


def connections(context: Any, *, client: bool) -> Callable[[TlsTransport], SSL.Connection]:
    """How OpenSSL's side of connections is made with a context.

    :param client: whether they are dialled; otherwise they are accepted.
    """
    begin = SSL.Connection.set_connect_state if client else SSL.Connection.set_accept_state

    def create(transport: TlsTransport) -> SSL.Connection:
        make = context.clientConnectionForTLS if client else context.serverConnectionForTLS
        connection: SSL.Connection = make(transport)
        begin(connection)
        return connection

    return create
