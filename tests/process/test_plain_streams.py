"""The plain pair as real daemons: whole streams in both directions, their ends, their limits, and what breaks."""

import contextlib
import hashlib
import itertools
import os
import socket
import threading
from collections.abc import Iterator

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from smartproxy.testing.ports import held_port
from tests.process.plain_site import PlainCase, kill, port_of, resident
from tests.process.sites import Log, until

MEGABYTE = 1 << 20
SIZE = 1024 * MEGABYTE
"""What goes each way."""
STALLED = 40
TAKEN_MOST = STALLED * 32 * MEGABYTE
"""What the kernel's buffers never hold."""
BLOCK = os.urandom(MEGABYTE - 8)


def pieces(size: int) -> Iterator[bytes]:
    """Octets without a pattern, no two pieces alike."""
    for number in range(size // MEGABYTE):
        yield number.to_bytes(8, "big") + BLOCK


def send(connection: socket.socket, size: int) -> str:
    """Send so many octets; their SHA-256."""
    digest = hashlib.sha256()
    for piece in pieces(size):
        connection.sendall(piece)
        digest.update(piece)
    return digest.hexdigest()


def receive(connection: socket.socket, size: int) -> str:
    """Take so many octets; their SHA-256."""
    digest, left, buffer = hashlib.sha256(), size, memoryview(bytearray(MEGABYTE))
    while left:
        count = connection.recv_into(buffer, min(left, MEGABYTE))
        if not count:
            raise AssertionError(f"{left} octets are missing")
        digest.update(buffer[:count])
        left -= count
    return digest.hexdigest()


def receive_all(connection: socket.socket) -> bytes:
    """Take what comes until the far end closes."""
    got = bytearray()
    while octets := connection.recv(65_536):
        got += octets
    return bytes(got)


def closed(connection: socket.socket) -> bool:
    """Wait for the end of a connection that says nothing."""
    with contextlib.suppress(ConnectionError):
        return connection.recv(1) == b""
    return True


class Streams(PlainCase):
    """What goes in comes out."""

    def test_both_ways_at_once(self) -> Deferred[None]:
        """1 GB goes each way at once, and both ends compute the same SHA-256."""
        return Deferred.fromCoroutine(self.both_ways())

    async def both_ways(self) -> None:
        """See above."""
        target = self.listening()
        await self.site.start_server()
        await self.site.start_client(port_of(target))
        outer = self.calling(self.site.port)
        inner, _ = await deferToThread(target.accept)
        self.addCleanup(inner.close)
        sent_in, sent_out, got_in, got_out = await gatherResults(
            [
                deferToThread(send, outer, SIZE),
                deferToThread(send, inner, SIZE),
                deferToThread(receive, inner, SIZE),
                deferToThread(receive, outer, SIZE),
            ],
            consumeErrors=True,
        )
        self.assertEqual((sent_in, sent_out), (got_in, got_out))

    def test_peer_that_closes_after_its_last_octet(self) -> Deferred[None]:
        """All that it sent arrives before the end, also where the other side only reads when it is over; either way."""
        return Deferred.fromCoroutine(self.closes())

    async def closes(self) -> None:
        """See above."""
        target = self.listening()
        log = await self.site.start_server()
        await self.site.start_client(port_of(target))
        sent = os.urandom(3 * MEGABYTE)
        for outer_sends in (True, False):
            outer = self.calling(self.site.port)
            inner, _ = await deferToThread(target.accept)
            self.addCleanup(inner.close)
            sender, receiver = (outer, inner) if outer_sends else (inner, outer)
            begun = threading.Event()

            def last_words(sender: socket.socket = sender, begun: threading.Event = begun) -> None:
                begun.set()
                sender.sendall(sent)
                sender.close()

            gone = deferToThread(last_words)
            await deferToThread(begun.wait)
            # Beyond the five seconds that a connection of the smart pair may take to close.
            if outer_sends:
                await deferToThread(threading.Event().wait, 6)
            got = await deferToThread(receive_all, receiver)
            await gone
            self.assertEqual(hashlib.sha256(got).digest(), hashlib.sha256(sent).digest())
            receiver.close()
        await until(lambda: len(log.events("session.ended")) == 2, "both sessions ended")
        self.assertEqual([event["outcome"] for event in log.events("session.ended")], ["completed"] * 2)

    def test_words_and_end_before_the_target_is_there(self) -> Deferred[None]:
        """Who says one word and leaves at once is heard all the same."""
        return Deferred.fromCoroutine(self.hasty())

    async def hasty(self) -> None:
        """See above."""
        target = self.listening()
        await self.site.start_server()
        await self.site.start_client(port_of(target))
        outer = self.calling(self.site.port)
        outer.sendall(b"last word")
        outer.close()
        inner, _ = await deferToThread(target.accept)
        self.addCleanup(inner.close)
        self.assertEqual(await deferToThread(receive_all, inner), b"last word")

    def test_500_at_once(self) -> Deferred[None]:
        """500 connections are open at the same time, each with octets of its own."""
        return Deferred.fromCoroutine(self.many())

    async def many(self) -> None:
        """See above."""
        target = self.listening()
        await self.site.start_server()
        await self.site.start_client(port_of(target))

        def answer(inner: socket.socket) -> None:
            for _ in range(2):
                inner.sendall(inner.recv(100))

        def echo() -> None:
            with contextlib.suppress(OSError):
                while True:
                    inner, _ = target.accept()
                    inners.append(inner)
                    threading.Thread(target=answer, args=(inner,), daemon=True).start()

        def talk() -> list[bytes]:
            # Some at a time: how long all of them take to open together is no promise.
            outers: list[socket.socket] = []
            while len(outers) < 500:
                some = [self.calling(self.site.port) for _ in range(20)]
                for outer in some:
                    outer.sendall(b"first")
                self.assertEqual([outer.recv(100) for outer in some], [b"first"] * len(some))
                outers += some
            for number, outer in enumerate(outers):
                outer.sendall(b"%06d" % number)
            return [outer.recv(100) for outer in outers]

        inners: list[socket.socket] = []
        echoing = threading.Thread(target=echo, daemon=True)
        echoing.start()
        got = await deferToThread(talk)
        self.assertEqual(got, [b"%06d" % number for number in range(500)])
        self.assertEqual(len(inners), 500)
        for inner in inners:
            inner.close()
        target.shutdown(socket.SHUT_RDWR)
        echoing.join()

    def test_stalled_sessions_take_bounded_memory(self) -> Deferred[None]:
        """40 senders whose receivers do not read are held back: neither daemon keeps what they would send."""
        return Deferred.fromCoroutine(self.stalled())

    async def stalled(self) -> None:
        """See above."""
        target = self.listening()
        await self.site.start_server()
        await self.site.start_client(port_of(target))
        before = [resident(program) for program in (self.site.server, self.site.client)]
        outers = [self.calling(self.site.port) for _ in range(STALLED)]
        inners = [(await deferToThread(target.accept))[0] for _ in outers]
        for connection in (*outers, *inners):
            self.addCleanup(connection.close)
            connection.setblocking(False)
        taken = 0
        idle = 0
        while idle < 20 and taken < TAKEN_MOST:
            moved = 0
            for outer in outers:
                with contextlib.suppress(BlockingIOError):
                    moved += outer.send(BLOCK)
            taken += moved
            idle = 0 if moved else idle + 1
            await deferToThread(threading.Event().wait, 0.05)
        self.assertGreater(taken, STALLED * 100_000)
        for name, program, held in zip(("server", "client"), (self.site.server, self.site.client), before, strict=True):
            self.assertLess(
                (resident(program) - held) / STALLED, MEGABYTE, f"octets that the {name} holds for a session"
            )


class Ends(PlainCase):
    """When nobody can be reached, and when something breaks."""

    def test_only_the_internal_port_is_open_until_a_client_is_there(self) -> Deferred[None]:
        """Before and after the client nobody outside can connect; the log says when that changes."""
        return Deferred.fromCoroutine(self.opened())

    async def opened(self) -> None:
        """See above."""
        log = await self.site.start_server()
        self.assertEqual(log.events("listener.opened"), [])
        self.assertRaises(ConnectionRefusedError, self.calling, self.site.port)
        await self.site.start_client(port_of(self.listening()))
        self.calling(self.site.port).close()
        kill(self.site.client)
        await log.event("listener.closed", port=self.site.port)
        self.assertRaises(ConnectionRefusedError, self.calling, self.site.port)

    def test_target_that_is_down(self) -> Deferred[None]:
        """The outer connection is closed at once, both logs say why, and nothing is left."""
        return Deferred.fromCoroutine(self.down())

    async def down(self) -> None:
        """See above."""
        port = held_port()
        server = await self.site.start_server()
        client = await self.site.start_client(port)
        outer = self.calling(self.site.port)
        self.assertTrue(await deferToThread(closed, outer))
        await client.event("station.unreachable", host="127.0.0.1", port=port)
        failed = await server.event("session.failed")
        self.assertEqual(failed["cause"], "target.connect")
        self.assertIn("the target is not reachable", failed["message"])

    def test_tunnel_that_is_killed(self) -> Deferred[None]:
        """Both ends of a session end, not in order; the client comes back, and the next session is carried."""
        return Deferred.fromCoroutine(self.killed())

    async def killed(self) -> None:
        """See above."""
        target = self.listening()
        await self.site.start_server()
        client = await self.site.start_client(port_of(target))
        outer = self.calling(self.site.port)
        inner, _ = await deferToThread(target.accept)
        self.addCleanup(inner.close)
        outer.sendall(b"half a file")
        self.assertEqual(await deferToThread(inner.recv, 100), b"half a file")
        kill(self.site.server)
        self.assertTrue(await deferToThread(closed, outer))
        with self.assertRaises(ConnectionResetError):
            await deferToThread(inner.recv, 100)
        ended = await client.event("session.ended")
        self.assertEqual(ended["outcome"], "lost")
        again = await self.site.start_server()
        await again.event("listener.opened")
        outer = self.calling(self.site.port)
        inner, _ = await deferToThread(target.accept)
        self.addCleanup(inner.close)
        outer.sendall(b"all of it")
        self.assertEqual(await deferToThread(inner.recv, 100), b"all of it")

    def test_idle_pairs_are_closed(self) -> Deferred[None]:
        """After the time of ``-T`` without an octet both connections are closed; one that moves is not."""
        return Deferred.fromCoroutine(self.idle())

    async def idle(self) -> None:
        """See above."""
        target = self.listening()
        server = await self.site.start_server("-T", "5")
        await self.site.start_client(port_of(target))
        quiet, busy = self.calling(self.site.port), self.calling(self.site.port)
        inners = [(await deferToThread(target.accept))[0] for _ in range(2)]
        for inner in inners:
            self.addCleanup(inner.close)
        ended: list[object] = []
        over = deferToThread(closed, quiet).addCallback(ended.append)
        for number in itertools.count():
            busy.sendall(b"%d" % number)
            await deferToThread(threading.Event().wait, 0.25)
            if ended:
                break
        await over
        (event,) = server.events("session.ended") or [await server.event("session.ended")]
        self.assertEqual((event["outcome"], event["cause"]), ("expired", "stream.idle"))
        self.assertEqual(event["message"], "nothing moved for 5 s")

    def test_stop_lets_sessions_end(self) -> Deferred[None]:
        """Asked to end, the server takes nothing new, waits for its session, and ends with it."""
        return Deferred.fromCoroutine(self.stopping())

    async def stopping(self) -> None:
        """See above."""
        target = self.listening()
        log = await self.site.start_server("--drain", "20")
        await self.site.start_client(port_of(target))
        outer = self.calling(self.site.port)
        inner, _ = await deferToThread(target.accept)
        self.addCleanup(inner.close)
        await log.event("session.started")
        assert self.site.server is not None
        stopping = Deferred.fromCoroutine(self.site.server.stop())
        await log.event("listener.closed")
        self.assertRaises(ConnectionRefusedError, self.calling, self.site.port)
        outer.sendall(b"still here")
        self.assertEqual(await deferToThread(inner.recv, 100), b"still here")
        outer.close()
        self.assertEqual(await deferToThread(inner.recv, 100), b"")
        inner.close()
        await stopping
        self.assertEqual(self.site.server.status, 0)
        self.assertEqual([event["outcome"] for event in Log.events(log, "session.ended")], ["completed"])
