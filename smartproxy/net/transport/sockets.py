"""TCP connections that read much at once and send at once.

Duty: carry the octets of partners, tunnel and station. Twisted's own TCP transport allocates a buffer for each read,
hands every write to the next turn of the reactor, and asks the reactor for a turn to write in even if the socket takes
everything. These read into one buffer that the whole process shares, send when they are asked to, and register with the
reactor only for what the socket did not take. Everything else is Twisted's: connecting, accepting, half-closing, ends.

Connections take turns. How much one reads in its turn grows while its octets are cheap, up to :data:`READ_MOST`, and
shrinks when two turns in a row take longer than an honest connection's (:data:`TURN_SECONDS`,
:data:`OCTET_SECONDS`), the second one of the processor's time: whoever sends what is expensive to judge gets small
turns, and the others wait for it no longer than for an honest connection. A turn of a few octets, such as a command of
which events are written, counts neither way: it cannot become smaller.

Trusts a protocol that takes views to keep none of them. Never sends an octet after an abort.
"""

import errno
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet import main, tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConnector, IListeningPort
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import ClientFactory, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import directlyProvides, providedBy

from smartproxy.net.transport.inherited import INHERITED
from smartproxy.policy import limits

READ_MOST: Final = 256 * 1024
"""Octets that one read takes at most; larger ones gain nothing that can be measured."""

READ_FIRST: Final = 64 * 1024
"""Octets that the first read of a connection takes at most."""

READ_LEAST: Final = 256
"""Octets to which a connection's reads shrink whose octets are expensive."""

TURN_SECONDS: Final = 0.00025
"""What a turn may take whatever it reads: about what an honest connection's turn takes."""

OCTET_SECONDS: Final = 20e-9
"""What a turn may take for each octet that it reads: several times what bulk data takes."""

_ROOM: Final = memoryview(bytearray(READ_MOST))
"""What was read last, in the whole process: valid until the protocol that it is given to returns."""


class _Work:
    """What all turns of all connections of this process have taken.

    :ivar seconds: by the time of day.
    """

    def __init__(self) -> None:
        self.seconds = 0.0


WORK: Final = _Work()


class DataStream(tcp.Connection):
    """What both ends of a TCP connection have in common.

    A protocol that has a method ``view_received`` is given a view of what was read, which is valid during this call
    only; any other gets a copy.

    :ivar worked: the seconds that its turns have taken, by the time of day.
    """

    worked = 0.0

    SEND_LIMIT = 1024 * 1024

    _appetite = READ_FIRST
    _dear = False
    _queueing = False

    def doRead(self) -> ConnectionLost | ConnectionDone | None:  # type: ignore[override]  # as tcp.Connection has it
        """Read once, and hand on what came."""
        appetite = self._appetite
        try:
            count = self.socket.recv_into(_ROOM, appetite)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not count:
            return main.CONNECTION_DONE
        protocol: Any = self.protocol
        suspect = self._dear
        spent = time.thread_time() if suspect else 0.0
        begun = time.perf_counter()
        # An endpoint puts a protocol of its own before the one that it connects; that one only passes octets on.
        protocol = getattr(protocol, "_wrappedProtocol", protocol)
        receive = getattr(protocol, "view_received", None)
        if receive is None:
            protocol.dataReceived(bytes(_ROOM[:count]))
        else:
            receive(_ROOM[:count])
        took = time.perf_counter() - begun
        self.worked += took
        WORK.seconds += took
        if took > TURN_SECONDS and took > count * OCTET_SECONDS:
            if count > READ_LEAST:
                # It can be another program that had the processor meanwhile: the next such turn is asked for its own.
                self._dear = True
                if suspect and time.thread_time() - spent > max(TURN_SECONDS, count * OCTET_SECONDS):
                    self._appetite = max(count // 2, READ_LEAST)
        else:
            # A read that was not half full says nothing about a full one.
            if count * 2 >= appetite:
                self._dear = False
            if count == appetite < READ_MOST:
                self._appetite = min(appetite * 2, READ_MOST)
        return None

    def write(self, data: bytes | memoryview) -> None:
        """Send octets now; what the socket does not take is copied, and sent as soon as it can."""
        if not data:
            return
        if not self._queueing and self.connected:
            try:
                sent = self.socket.send(data if len(data) <= self.SEND_LIMIT else memoryview(data)[: self.SEND_LIMIT])
            except OSError:
                # An error is met again in the turn in which the rest is sent, and ends the connection there.
                sent = 0
            if sent:
                data = data[sent:]
        if data:
            super().write(bytes(data))  # type: ignore[no-untyped-call]  # Twisted has no types here

    def writeSomeData(self, data: bytes | memoryview) -> int | ConnectionLost:
        """Give the socket what it takes; how much that is, or the error."""
        if not data:
            # Nothing is left before a close: an error of the socket is none of ours any more.
            return 0
        try:
            return self.socket.send(data if len(data) <= self.SEND_LIMIT else memoryview(data)[: self.SEND_LIMIT])
        except BlockingIOError:
            return 0
        except OSError as error:
            return 0 if error.errno == errno.ENOBUFS else main.CONNECTION_LOST

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send pieces as one."""
        self.write(b"".join(iovec))

    def startWriting(self) -> None:
        """Be told when the socket takes octets; until then all writes queue."""
        self._queueing = True
        super().startWriting()  # type: ignore[no-untyped-call]  # Twisted has no types here

    def stopWriting(self) -> None:
        """Nothing waits any more."""
        self._queueing = False
        super().stopWriting()  # type: ignore[no-untyped-call]  # Twisted has no types here

    def abortConnection(self) -> None:
        """Close now; nothing is sent any more."""
        super().abortConnection()  # type: ignore[no-untyped-call]  # Twisted has no types here
        self._queueing = True


class AcceptedStream(DataStream, tcp.Server):
    """A connection that was accepted."""

    def __init__(self, sock: Any, protocol: Any, client: Any, server: Any, sessionno: int, reactor: Any) -> None:
        super().__init__(sock, protocol, client, server, sessionno, reactor)
        # Twisted makes two texts for each connection, which nobody reads.
        self.logstr = self.repstr = "<an accepted connection>"

    def detach(self) -> socket.socket:
        """Give the socket up, as it is: this process has nothing to do with it any more."""
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        self.connected = False
        self.disconnected = True
        taken: socket.socket = self.socket
        # The protocol holds this, and goes with it: what is in a ring stays until the garbage is looked for.
        self.protocol = None  # type: ignore[assignment]  # as after Twisted's own end of a connection
        # What is asked to close now closes nothing.
        self.socket = socket.socket()
        self.socket.close()
        return taken


class HeldStream(AcceptedStream):
    """A connection of which nothing is read here: its protocol's ``readable`` is called when there would be.

    A protocol that is not ``readable`` is before the connection's own octets, as a balancer's header is: it is given
    these one by one, until another protocol takes its place, so that none is read that stands behind.
    """

    def doRead(self) -> ConnectionLost | ConnectionDone | None:  # type: ignore[override]  # as tcp.Connection has it
        """Something came, or the peer is gone: whoever reads will see."""
        before: Any = self.protocol
        # It is connected until a later turn when it is aborted.
        while self.protocol is before and self.connected and not self._aborting:
            if hasattr(before, "readable"):
                before.readable(self)
                return None
            try:
                octet = self.socket.recv(1)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError:
                return main.CONNECTION_LOST
            if not octet:
                return main.CONNECTION_DONE
            before.dataReceived(octet)
        return None


def adopt(
    reactor: Any,
    accepted: socket.socket,
    host: str,
    port: int,
    build: Callable[[IPv4Address | IPv6Address], Any],
) -> None:
    """Carry on a connection that another process accepted.

    :param host: the peer's address.
    :param port: the peer's port.
    :param build: makes the protocol, as the factory of a listening port does; ``None`` closes the connection.
    """
    accepted.setblocking(False)
    address: tuple[Any, ...] = (host, port, 0, 0) if ":" in host else (host, port)
    protocol = build((IPv6Address if ":" in host else IPv4Address)("TCP", *address))
    if protocol is None:
        accepted.close()
        return
    no_port: Any = None
    stream = AcceptedStream(accepted, protocol, address, no_port, accepted.fileno(), reactor)
    protocol.makeConnection(stream)


class DialledStream(DataStream, tcp.Client):
    """A connection that was dialled."""


class ListeningSocket(socket.socket):
    """A listening socket that leaves out connections which their callers have reset already.

    In a flood most are reset before they are accepted; all that such a one costs is this call.

    :ivar resets: how many it may leave out, until it is set again.
    """

    resets = 0

    @override
    def accept(self) -> tuple[socket.socket, Any]:
        while True:
            accepted, address = super().accept()
            if not self.resets or not accepted.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return accepted, address
            self.resets -= 1
            accepted.close()


class StreamPort(tcp.Port):
    """A listening port whose connections are :class:`AcceptedStream`."""

    transport = AcceptedStream
    socket: ListeningSocket
    _shared = False
    _shut_down_before = True

    @override
    def createInternetSocket(self) -> ListeningSocket:
        made: socket.socket = super().createInternetSocket()  # type: ignore[no-untyped-call]  # Twisted has no types here
        listening = ListeningSocket(fileno=made.detach())
        listening.setblocking(False)
        if listening.family == socket.AF_INET6:
            # [::] is IPv4, too, whatever the system does by default (net.ipv6.bindv6only).
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        return listening

    def adopt(self, given: ListeningSocket) -> None:
        """Listen with a socket that listens already, and goes on when this port is closed."""
        given.setblocking(False)
        self._preexistingSocket = given

    def share(self) -> None:
        """Another process listens with the same socket: closing this port leaves it alone."""
        if not self._shared:
            self._shared, self._shut_down_before = True, self._shouldShutdown
        self._shouldShutdown = False

    def unshare(self) -> None:
        """No other process listens with the socket after all."""
        if self._shared:
            self._shared, self._shouldShutdown = False, self._shut_down_before

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._shared:
            INHERITED.closed(self.socket)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]  # Twisted has no types here

    def doRead(self) -> None:
        """Accept some; Twisted alone would accept ever more in one turn of the reactor while a flood lasts."""
        self.numberAccepts = min(self.numberAccepts, limits.ACCEPTS_MOST)
        self.socket.resets = limits.RESETS_MOST
        super().doRead()  # type: ignore[no-untyped-call]  # Twisted has no types here


class _Connector(tcp.Connector):
    """Dials a :class:`DialledStream`."""

    def _makeTransport(self) -> DialledStream:
        return DialledStream(self.host, self.port, self.bindAddress, self, self.reactor)  # type: ignore[no-untyped-call]  # Twisted has no types here


class _Dialling:
    """A reactor as endpoints see it, except that its connections are those of this module."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory,
        timeout: float = 30,
        bindAddress: Any = None,
    ) -> IConnector:
        """Dial with a connection of this module; without a timeout, and from any address, unless they are given."""
        connector = _Connector(host, port, factory, timeout, bindAddress, self._reactor)
        connector.connect()
        return connector


def dialling(reactor: Any) -> Any:
    """What an endpoint needs in place of a reactor so that its connections are those of this module.

    A reactor that dials in another way is returned as it is: one in memory has no sockets.
    """
    usual = isinstance(reactor, PosixReactorBase) and "connectTCP" not in vars(reactor)
    return _Dialling(reactor) if usual else reactor


def listen_tcp(
    reactor: Any,
    port: int,
    factory: Any,
    *,
    backlog: int = 50,
    interface: str = "",
    stream: type[AcceptedStream] = AcceptedStream,
) -> IListeningPort:
    """Listen with connections of this module, and with the socket that the process was given for it, if it was.

    The same as ``IReactorTCP.listenTCP`` otherwise.

    :param stream: what connections are; on a reactor in memory, they are its own.
    :raises CannotListenError: if the port cannot be opened.
    """
    if not isinstance(reactor, PosixReactorBase):
        in_memory: IListeningPort = reactor.listenTCP(port, factory, backlog=backlog, interface=interface)
        return in_memory
    given = INHERITED.lend(interface, port)
    if given is not None:
        interface = given.getsockname()[0]
    listening = StreamPort(port, factory, backlog, interface, reactor)
    listening.transport = stream
    if given is not None:
        listening.adopt(ListeningSocket(fileno=given.detach()))
    listening.startListening()
    if given is None:
        INHERITED.opened(listening.socket)
    return listening
