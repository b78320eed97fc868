"""Calls through a proxy: HTTP CONNECT and SOCKS5, as a station's own settings would have it.

An endpoint that reaches its host through a proxy that another endpoint reaches, with any protocol on top. Standards:
RFC 9110 section 9.3.6 (CONNECT), RFC 1928 (SOCKS5).
"""

import ipaddress
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer


@attrs.define(auto_exc=True, eq=False)
class ProxyRefused(Exception):
    """The proxy did not let the call through.

    :ivar answer: all that it said, as it came.
    """

    answer: bytes


@attrs.frozen
class Ask:
    """How a proxy is asked.

    :ivar request: all that is sent at once.
    :ivar granted: how many octets of the answer say yes; 0 as long as it is not whole, ``None`` for no.
    """

    request: bytes
    granted: Callable[[bytes], int | None]


def connect(target: str) -> Ask:
    """HTTP CONNECT to ``host:port``, or whatever the proxy understands."""

    def granted(answer: bytes) -> int | None:
        head, end, _ = answer.partition(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 2"[: len(answer)]):
            return None
        return len(head) + len(end) if end else 0

    return Ask(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode(), granted)


def socks(host: str, port: int) -> Ask:
    """SOCKS5 to a name, or to an address of either family."""
    try:
        packed = ipaddress.ip_address(host).packed
        address = bytes((1 if len(packed) == 4 else 4,)) + packed
    except ValueError:
        address = bytes((3, len(host))) + host.encode("ascii")

    def granted(answer: bytes) -> int | None:
        if not answer.startswith(b"\x05\x00\x05\x00"[: len(answer)]):
            return None
        return 12 if len(answer) >= 12 else 0

    return Ask(b"\x05\x01\x00\x05\x01\x00" + address + port.to_bytes(2, "big"), granted)


class _Asking(Protocol):
    transport: Any

    def __init__(self, ask: Ask, factory: IProtocolFactory, done: Deferred[IProtocol]) -> None:
        self._ask = ask
        self._factory = factory
        self._done = done
        self._answer = b""

    def connectionMade(self) -> None:
        self.transport.write(self._ask.request)

    def dataReceived(self, data: bytes) -> None:
        self._answer += data
        granted = self._ask.granted(self._answer)
        if not granted:
            return
        inner = self._factory.buildProtocol(self.transport.getPeer())
        assert inner is not None
        self.transport.protocol = inner
        inner.makeConnection(self.transport)
        self._done.callback(inner)
        if self._answer[granted:]:
            inner.dataReceived(self._answer[granted:])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._done.errback(ProxyRefused(self._answer))


@implementer(IStreamClientEndpoint)
class ProxiedEndpoint:
    """A host behind a proxy.

    :param proxy: reaches the proxy.
    :param ask: what it is asked.
    """

    def __init__(self, proxy: IStreamClientEndpoint, ask: Ask) -> None:
        self._proxy = proxy
        self._ask = ask

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; fails with :class:`ProxyRefused` when the proxy says no."""
        done: Deferred[IProtocol] = Deferred()
        factory = Factory.forProtocol(lambda: _Asking(self._ask, protocolFactory, done))
        factory.noisy = False
        return self._proxy.connect(factory).addCallback(lambda _: done)
