"""Both daemons' sessions on real sockets in one thread, turn by turn, with the calls of each daemon counted.

A partner over TLS, the server's side, a data connection over TLS, the client's side, a station over TCP, all on the
transports of :mod:`smartproxy.net.transport`. There is no reactor: sockets that can be read are read in turn, and time
stands still, so that the same input makes the same calls on every machine.
"""

import select
import socket
import sys
from collections import Counter
from functools import cache
from types import FrameType
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from smartproxy.net.transport.sockets import AcceptedStream
from smartproxy.net.transport.tls import TlsTransport
from smartproxy.testing.pki import self_signed
from smartproxy.tunnel.data import DataConnection
from tests.adapters.chain import Chain
from tests.adapters.wires import Network

SERVER: Final = "server"
CLIENT: Final = "client"


class DaemonCalls:
    """What one daemon called.

    :ivar python: entries of Python functions, by name.
    :ivar system: calls of methods of sockets.
    """

    def __init__(self) -> None:
        self.python: Counter[str] = Counter()
        self.system: Counter[str] = Counter()

    def profile(self, frame: FrameType, what: str, argument: Any) -> None:
        """Count one call."""
        if what == "call":
            self.python[f"{frame.f_code.co_filename.rpartition('/')[2]} {frame.f_code.co_qualname}"] += 1
        elif what == "c_call" and isinstance(getattr(argument, "__self__", None), socket.socket):
            self.system[argument.__name__] += 1


class Sockets(Network):
    """Connections over pairs of sockets, moved by hand.

    :param calls: who called what; an end whose protocol belongs to nobody is not counted.
    """

    def __init__(self, clock: MemoryReactorClock, calls: dict[str, DaemonCalls]) -> None:
        super().__init__(clock)
        self._reactor = clock
        self._calls = calls
        self._whose: dict[AcceptedStream, DaemonCalls | None] = {}

    def connect(self, near: Any, far: Any, host: str = "192.0.2.7") -> Any:
        """Connect two protocols; a partner calls the server, the client calls server and station."""
        partner = not self._whose
        if isinstance(near, DataConnection):
            near, far = _tunnel(near, dials=True), _tunnel(far, dials=False)
        data = isinstance(near, TlsTransport)
        pair = socket.socketpair()
        ends = (
            self._end(pair[0], near, None if partner else CLIENT),
            self._end(pair[1], far, SERVER if partner or data else None),
        )
        far.makeConnection(ends[1])
        near.makeConnection(ends[0])
        return ends

    def _end(self, plain: socket.socket, protocol: Any, whose: str | None) -> AcceptedStream:
        plain.setblocking(False)
        listening: Any = _Listening()
        end = _Paired(plain, protocol, ("192.0.2.7", 40001), listening, 0, self._reactor)
        self._whose[end] = None if whose is None else self._calls[whose]
        return end

    def close(self) -> None:
        """Close all sockets."""
        for end in self._whose:
            if end.fileno() >= 0:
                end.socket.close()

    def settle(self) -> None:
        """Move octets until nothing moves any more."""
        while True:
            self.clock.advance(0)
            reading, writing = (
                {end.fileno(): end for end in self._whose if end in wishing and end.fileno() >= 0}
                for wishing in (self._reactor.getReaders(), self._reactor.getWriters())
            )
            readable, writable, _ = select.select(list(reading), list(writing), [], 0)
            if not readable and not writable:
                return
            for ready, ends, step in ((writable, writing, "doWrite"), (readable, reading, "doRead")):
                for number in ready:
                    self._step(ends[number], step)

    def _step(self, end: AcceptedStream, step: str) -> None:
        calls = self._whose[end]
        if calls is not None:
            sys.setprofile(calls.profile)
        try:
            why = getattr(end, step)()
        finally:
            sys.setprofile(None)
        if why is not None:
            end.stopReading()
            end.stopWriting()
            end.connectionLost(Failure(why))


class _Paired(AcceptedStream):
    """One of a pair of sockets of the kernel's own, which need no acknowledgement: nothing is ever on its way."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no such delay."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """There is no such octet."""

    def getPeer(self) -> IPv4Address:
        """An address that a log can show."""
        return _ADDRESS

    def getHost(self) -> IPv4Address:
        """An address that a log can show."""
        return _ADDRESS


class _Listening:
    """What an accepted connection asks of its port."""

    _realPortNumber = 0


_ADDRESS: Final = IPv4Address("TCP", "192.0.2.7", 40001)


@cache
def _context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    shown = self_signed("tunnel")
    context.use_certificate(shown.certificate)
    context.use_privatekey(shown.key)
    return context


def _tunnel(behind: DataConnection, *, dials: bool) -> TlsTransport:
    """A data connection over TLS 1.3."""

    def create(transport: TlsTransport) -> SSL.Connection:
        connection = SSL.Connection(_context(), None)
        if dials:
            connection.set_connect_state()
        else:
            connection.set_accept_state()
        return connection

    return TlsTransport(create, behind)


class CountedChain(Chain):
    """A partner, both daemons, a station; the daemons' calls are counted.

    :ivar calls: of each daemon.
    :ivar sockets: the network.
    """

    def __init__(self, **server: Any) -> None:
        super().__init__(**server)
        self.calls = {SERVER: DaemonCalls(), CLIENT: DaemonCalls()}
        self.sockets = Sockets(self.reactor, self.calls)
        self.network = self.sockets

    def counted(self) -> dict[str, DaemonCalls]:
        """What was counted since this was asked last."""
        found = {}
        for name, calls in self.calls.items():
            found[name] = kept = DaemonCalls()
            kept.python, kept.system = calls.python.copy(), calls.system.copy()
            calls.python.clear()
            calls.system.clear()
        return found
