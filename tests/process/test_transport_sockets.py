"""TCP connections of the data path, on loopback."""

import contextlib
import errno
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from smartproxy.net.transport.secured import TlsFactory
from smartproxy.net.transport.sockets import (
    OCTET_SECONDS,
    READ_FIRST,
    READ_LEAST,
    READ_MOST,
    TURN_SECONDS,
    dialling,
    listen_tcp,
)
from tests.adapters.test_transport_tls import Contexts
from tests.adapters.test_transport_traps import KeyUpdates, Told
from tests.process.clock import PATIENCE_SECONDS

MUCH = 20_000_000
STORM = 60_000
"""Key updates, with answers of several times what the buffers of the system and of a connection hold."""


@implementer(IHalfCloseableProtocol)
class Line(Protocol):
    """Counts, and fires when it has what it waits for, when its reading side ends and when it is lost."""

    def __init__(self) -> None:
        self.count = 0
        self.wanted = -1
        self.complete: Deferred[None] = Deferred()
        self.read_end: Deferred[None] = Deferred()
        self.lost: Deferred[type] = Deferred()
        self.made: Deferred[None] = Deferred()

    @property
    def line(self) -> Any:
        """The transport."""
        return self.transport

    def connectionMade(self) -> None:
        """It is connected."""
        self.made.callback(None)

    def dataReceived(self, data: bytes) -> None:
        """Count."""
        self.count += len(data)
        if self.count == self.wanted:
            self.complete.callback(None)

    def readConnectionLost(self) -> None:
        """The far end sends no more."""
        self.read_end.callback(None)

    def writeConnectionLost(self) -> None:
        """This end sends no more."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        self.lost.callback(type(reason.value))


def waiting(line: Line) -> int:
    """Octets that were written and that the socket has not taken yet."""
    return len(line.line.dataBuffer) - line.line.offset + line.line._tempDataLen  # type: ignore[no-any-return]  # Twisted's own count


def there(line: Line, count: int) -> bytes:
    """Octets that are at a line's end, once there are so many: the kernel may take a moment to carry them."""
    octets = b""
    while len(octets) < count:
        select.select([line.line.socket], [], [], PATIENCE_SECONDS)
        octets = line.line.socket.recv(100, socket.MSG_PEEK)
    return octets


def _storm(port: int, contexts: Contexts) -> int:
    """Call, and update the keys again and again, and read nothing; after how many updates that did not go any more."""
    secrets: list[bytes] = []
    contexts.client.set_keylog_callback(lambda connection, line: secrets.append(line))
    tls = SSL.Connection(contexts.client, None)
    tls.set_connect_state()
    with socket.socket() as line:
        # Small, so that answers wait at the other end.
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(PATIENCE_SECONDS)
        line.connect(("127.0.0.1", port))
        done = False
        while not done:
            try:
                tls.do_handshake()
                done = True
            except SSL.WantReadError:
                pass
            with contextlib.suppress(SSL.WantReadError):
                line.sendall(tls.bio_read(100_000))
            if not done:
                tls.bio_write(line.recv(100_000))
        (secret,) = [each for each in secrets if each.startswith(b"CLIENT_TRAFFIC_SECRET_0")]
        updates = KeyUpdates(bytes.fromhex(secret.split()[-1].decode()))
        for count in range(STORM):
            try:
                line.sendall(updates.record())
            except OSError:
                return count
    return STORM


_GO_ON = b"go on"


def _end_of_half(port: int, contexts: Contexts) -> str:
    """Read what a server sends, ask it to go on, and wait; how OpenSSL says that it ended."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as line:
        line.settimeout(None)
        peer = SSL.Connection(contexts.client, line)
        peer.set_connect_state()
        try:
            peer.do_handshake()
            peer.recv(100)
            peer.sendall(_GO_ON)
            peer.recv(100)
        except SSL.Error as error:
            return type(error).__name__
    return "octets"


class Recorder:
    """A push producer that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.resumed: Deferred[None] = Deferred()

    def pauseProducing(self) -> None:
        """Too much waits."""
        self.told.append("pause")

    def resumeProducing(self) -> None:
        """All is sent."""
        self.told.append("resume")
        self.resumed.callback(None)

    def stopProducing(self) -> None:
        """It is gone."""


class Streams(TestCase):
    """Accepted and dialled connections."""

    async def pair(self, interface: str = "127.0.0.1") -> tuple[Line, Line]:
        """Both ends of a connection."""
        far, near = Line(), Line()
        port: Any = listen_tcp(reactor, 0, Factory.forProtocol(lambda: far), interface=interface)
        self.addCleanup(port.stopListening)
        kind = TCP6ClientEndpoint if ":" in interface else TCP4ClientEndpoint
        endpoint = kind(dialling(reactor), interface, port.getHost().port)
        await endpoint.connect(Factory.forProtocol(lambda: near))
        await far.made

        async def end() -> None:
            for each in (near, far):
                if not each.lost.called:
                    each.line.abortConnection()
                    await each.lost

        self.addCleanup(lambda: Deferred.fromCoroutine(end()))
        return near, far

    async def test_much_both_ways(self) -> None:
        """Twenty megabytes go each way at once, whatever the socket takes at a time."""
        for interface in ("127.0.0.1", "::1"):
            near, far = await self.pair(interface)
            near.wanted = far.wanted = MUCH
            for each in (near, far):
                each.line.write(bytes(MUCH))
            await near.complete
            await far.complete
            self.assertEqual((0, 0), (waiting(near), waiting(far)))

    async def test_sent_at_once(self) -> None:
        """A write is at the far end when it returns: no turn of the reactor lies between."""
        near, far = await self.pair()
        near.line.write(b"at once")
        self.assertEqual(0, waiting(near))
        self.assertEqual(b"at once", there(far, 7))
        near.line.writeSequence([b" and ", b"more"])
        self.assertEqual(b"at once and more", there(far, 16))

    async def test_order(self) -> None:
        """What is written while something waits goes behind it."""
        near, far = await self.pair()
        far.line.pauseProducing()
        received = bytearray()
        self.patch(far, "dataReceived", received.extend)
        near.line.write(b"a" * 10_000_000)
        self.assertGreater(waiting(near), 0)
        near.line.write(b"b")
        near.line.loseConnection()
        far.line.resumeProducing()
        self.assertIs(ConnectionDone, await near.lost)
        await far.read_end
        self.assertEqual((10_000_001, ord("b")), (len(received), received[-1]))

    async def test_producer(self) -> None:
        """A producer is paused while too much waits, and resumed when nothing waits."""
        near, far = await self.pair()
        producer = Recorder()
        near.line.registerProducer(producer, True)
        far.line.pauseProducing()
        near.line.write(b"few")
        self.assertEqual([], producer.told)
        near.line.write(bytes(MUCH))
        self.assertEqual(["pause"], producer.told)
        far.line.resumeProducing()
        await producer.resumed
        self.assertEqual((["pause", "resume"], 0), (producer.told, waiting(near)))
        near.line.unregisterProducer()

    async def test_half_close(self) -> None:
        """One direction ends; the other one goes on."""
        near, far = await self.pair()
        near.wanted = 4
        near.line.loseWriteConnection()
        await far.read_end
        near.line.write(b"not sent")
        far.line.write(b"back")
        await near.complete
        self.assertEqual(0, far.count)

    async def test_abort(self) -> None:
        """After an abort nothing is sent, and the far end sees a loss."""
        near, far = await self.pair()
        near.line.abortConnection()
        near.line.write(b"too late")
        self.assertIs(ConnectionAborted, await near.lost)
        self.assertIs(ConnectionLost, await far.lost)
        self.assertEqual(0, far.count)

    async def test_write_to_a_lost_connection(self) -> None:
        """A write that fails ends the connection in a turn of its own, never within the write."""
        near, far = await self.pair()
        near.line.pauseProducing()
        far.line.abortConnection()
        await far.lost
        near.line.write(b"x")
        near.line.write(b"y")
        self.assertFalse(near.lost.called)
        self.assertIs(ConnectionLost, await near.lost)

    async def test_peer_that_vanishes_while_paused(self) -> None:
        """What a peer did while nothing was read is met when reading goes on, or with the next write."""
        near, far = await self.pair()
        near.line.pauseProducing()
        far.line.write(b"never read")
        far.line.abortConnection()
        await far.lost
        self.assertFalse(near.lost.called)
        near.line.resumeProducing()
        self.assertIs(ConnectionLost, await near.lost)

    async def test_descriptor_closed_under_us(self) -> None:
        """A connection whose descriptor is no more ends at its next read, or in the turn after its next write."""

        class Closed:
            """A socket that somebody closed."""

            def __init__(self, real: socket.socket) -> None:
                self.real = real

            def __getattr__(self, name: str) -> Any:
                return getattr(self.real, name)

            def recv_into(self, *arguments: object) -> int:
                """Nothing is read any more."""
                raise OSError(errno.EBADF, "Bad file descriptor")

            send = recv_into

        near, far = await self.pair()
        near.line.socket = Closed(near.line.socket)
        far.line.write(b"never read")
        self.assertIs(ConnectionLost, await near.lost)
        near, far = await self.pair()
        near.line.socket = Closed(near.line.socket)
        near.line.write(b"never sent")
        self.assertFalse(near.lost.called)
        self.assertIs(ConnectionLost, await near.lost)

    async def test_system_without_buffers(self) -> None:
        """A system that has no buffer left for a moment is asked again; no connection ends for that."""

        class Short:
            """A socket whose first two sends find no buffer."""

            left = 2

            def __init__(self, real: socket.socket) -> None:
                self.real = real

            def __getattr__(self, name: str) -> Any:
                return getattr(self.real, name)

            def send(self, octets: Any) -> int:
                """Send the third time."""
                self.left -= 1
                if self.left >= 0:
                    raise OSError(errno.ENOBUFS, "No buffer space available")
                return self.real.send(octets)

        near, far = await self.pair()
        far.wanted = 5
        near.line.socket = Short(near.line.socket)
        near.line.write(b"works")
        await far.complete
        self.assertEqual(0, waiting(near))

    async def test_bug_of_a_protocol(self) -> None:
        """An exception in a delivery ends its connection, is reported, and ends no other one."""
        near, far = await self.pair()
        other, there = await self.pair()

        def broken(data: bytes) -> None:
            raise RuntimeError("a bug")

        self.patch(far, "dataReceived", broken)
        near.line.write(b"x")
        self.assertIs(RuntimeError, await far.lost)
        await near.read_end
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        there.wanted = 5
        other.line.write(b"works")
        await there.complete

    async def test_refused(self) -> None:
        """A dial to a closed port fails as Twisted's own does."""
        closed = socket.socket()
        closed.bind(("127.0.0.1", 0))
        self.addCleanup(closed.close)
        endpoint = HostnameEndpoint(dialling(reactor), "127.0.0.1", closed.getsockname()[1])
        with self.assertRaises(ConnectionRefusedError):
            await endpoint.connect(Factory.forProtocol(Line))

    async def test_reset_before_it_is_accepted(self) -> None:
        """A connection that its caller has reset makes no protocol, whatever it has sent; the next one does."""
        lines: list[Line] = []

        def build() -> Line:
            lines.append(Line())
            if len(lines) == 1:
                built.callback(None)
            return lines[-1]

        built: Deferred[None] = Deferred()
        port: Any = listen_tcp(reactor, 0, Factory.forProtocol(build), backlog=20, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        for _ in range(10):
            caller = socket.create_connection(("127.0.0.1", port.getHost().port))
            caller.send(b"hello")
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.close()
        with socket.create_connection(("127.0.0.1", port.getHost().port)):
            await built
            await lines[0].made
        ends: list[Deferred[Any]] = [lines[0].read_end, lines[0].lost]
        await DeferredList(ends, fireOnOneCallback=True)
        self.assertEqual(len(lines), 1)
        lines[0].line.abortConnection()
        await lines[0].lost

    async def test_reads_grow_and_shrink(self) -> None:
        """Reads grow while they are cheap, shrink when two in a row are not, and stay within their bounds."""
        _, far = await self.pair()
        now, cost = [0.0], [0.0]
        sizes: list[int] = []

        class Endless:
            """A socket that always has more to read."""

            def recv_into(self, room: memoryview, most: int) -> int:
                """Fill it."""
                return most

        def received(data: bytes) -> None:
            sizes.append(len(data))
            now[0] += cost[0]

        def read(times: int) -> list[int]:
            del sizes[:]
            for _ in range(times):
                far.line.doRead()
            return sizes

        self.patch(time, "perf_counter", lambda: now[0])
        self.patch(time, "thread_time", lambda: now[0])
        self.patch(far, "dataReceived", received)
        self.patch(far.line, "socket", Endless())
        self.assertEqual([READ_FIRST, READ_FIRST * 2, READ_MOST, READ_MOST], read(4))
        # What takes long because it is much is not dear.
        cost[0] = READ_MOST * OCTET_SECONDS * 0.9
        self.assertEqual([READ_MOST] * 3, read(3))
        cost[0] = READ_MOST * OCTET_SECONDS * 2
        self.assertEqual([READ_MOST, READ_MOST, READ_MOST // 2], read(3))
        self.assertEqual(READ_LEAST, read(9)[-1])
        cost[0] = TURN_SECONDS / 2
        self.assertEqual([READ_LEAST, READ_LEAST * 2, READ_LEAST * 4], read(3))
        read(10)
        # A read that is cut short shrinks to half of what came, and the next ones grow to the bound and not beyond.
        self.patch(Endless, "recv_into", lambda endless, room, most: most - 1)
        cost[0] = READ_MOST * OCTET_SECONDS * 2
        read(2)
        self.patch(Endless, "recv_into", lambda endless, room, most: most)
        cost[0] = 0.0
        self.assertEqual([READ_MOST // 2 - 1, READ_MOST - 2, READ_MOST, READ_MOST], read(4))
        # Nor is dear what another program had the processor for.
        cost[0] = READ_MOST * OCTET_SECONDS * 2
        self.patch(time, "thread_time", lambda: 0.0)
        self.assertEqual([READ_MOST] * 4, read(4))

    async def costly(self) -> Callable[[int, float], int]:
        """What has a connection read octets whose work takes so many seconds; it gives how many it read."""
        _, far = await self.pair()
        now, cost, sizes = [0.0], [0.0], list[int]()

        class Sent:
            """A socket that has so much to read."""

            octets = 0

            def recv_into(self, room: memoryview, most: int) -> int:
                """As much as there is."""
                return min(most, self.octets)

        def received(data: bytes) -> None:
            sizes.append(len(data))
            now[0] += cost[0]

        def read(octets: int, seconds: float) -> int:
            sent.octets, cost[0] = octets, seconds
            far.line.doRead()
            return sizes[-1]

        sent = Sent()
        self.patch(time, "perf_counter", lambda: now[0])
        self.patch(time, "thread_time", lambda: now[0])
        self.patch(far, "dataReceived", received)
        self.patch(far.line, "socket", sent)
        return read

    async def test_commands_leave_reads_as_they_are(self) -> None:
        """A turn of few octets counts neither way, whether it takes long, as that of a command does, or not."""
        read = await self.costly()
        for _ in range(9):
            read(READ_LEAST, TURN_SECONDS * 2)
        self.assertEqual(2048, read(2048, TURN_SECONDS * 2))
        self.assertEqual(READ_LEAST, read(READ_LEAST, 0.0))
        self.assertEqual(2048, read(2048, TURN_SECONDS * 2))
        self.assertEqual(1024, read(2048, TURN_SECONDS * 2))

    async def test_expensive_reads_between_cheap_ones(self) -> None:
        """Small cheap reads between large dear ones do not keep these large."""
        read = await self.costly()
        dear = READ_MOST
        for _ in range(20):
            dear = read(READ_MOST, READ_MOST * OCTET_SECONDS * 3)
            read(READ_LEAST + 44, 0.0)
        self.assertLessEqual(dear, READ_LEAST * 4)

    async def test_abort_of_tls(self) -> None:
        """A peer is never told by TLS that an aborted connection ended in order: it may not have all that there was."""
        contexts = Contexts()
        near = Line()
        near.wanted = len(_GO_ON)
        factory = TlsFactory(contexts, False, Factory.forProtocol(lambda: near))
        port: Any = listen_tcp(reactor, 0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        end = deferToThread(_end_of_half, port.getHost().port, contexts)
        await near.made
        near.line.write(b"half of")
        await near.complete
        near.line.abortConnection()
        self.assertNotEqual("ZeroReturnError", await end)
        self.assertIs(ConnectionAborted, await near.lost)

    async def test_key_updates_without_end(self) -> None:
        """A peer that updates its keys and reads no answer is cut off, on a real connection, too."""
        far = Line()
        contexts = Contexts()
        factory = TlsFactory(contexts, False, Factory.forProtocol(lambda: far))
        port: Any = listen_tcp(reactor, 0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        sent = deferToThread(_storm, port.getHost().port, contexts)
        await far.made
        far.line._carrier.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        far.line.registerProducer(Told(), True)
        count = await sent
        self.assertLess(count, STORM)
        await far.lost

    async def test_views(self) -> None:
        """A protocol that takes views is given the shared buffer itself, also one that an endpoint has connected."""
        for writer, reader in (pair := await self.pair(), pair[::-1]):
            seen: Deferred[tuple[bytes, Any]] = Deferred()
            reader.view_received = lambda view, seen=seen: seen.callback((bytes(view), view.obj))  # type: ignore[attr-defined]  # no slot of its own
            writer.line.write(b"view")
            octets, shared = await seen
            self.assertEqual((b"view", READ_MOST), (octets, len(shared)))

    def test_in_memory(self) -> None:
        """A reactor in memory is used as it is."""
        memory = MemoryReactorClock()
        self.assertIs(memory, dialling(memory))
        listen_tcp(memory, 1234, Factory(), interface="127.0.0.1")
        self.assertEqual(1234, memory.tcpServers[0][0])
