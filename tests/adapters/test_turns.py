"""The turns that a daemon's reactor gives: directly, and whatever a connection does in its turn."""

import socket
import threading
from unittest.mock import patch

from twisted.internet.abstract import FileDescriptor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.selectreactor import SelectReactor
from twisted.python import log
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.transport.sockets import call_directly


class Connection(FileDescriptor):
    """One end of a pair of sockets that reads one octet in each turn.

    :ivar read: what it has read.
    :ivar lost: how it ended.
    """

    def __init__(self, reactor: EPollReactor, near: socket.socket, wrong: tuple[str, ...] = ()) -> None:
        super().__init__(reactor)
        self.read = b""
        self.lost: list[Failure] = []
        self._near = near
        self._wrong = wrong

    def fileno(self) -> int:
        """Part of ``IFileDescriptor``."""
        return self._near.fileno()

    def doRead(self) -> ConnectionDone | None:
        """Read."""
        octets = self._near.recv(1)
        if "read" in self._wrong:
            raise ValueError("a bug")
        self.read += octets
        return None if octets else ConnectionDone()

    def readConnectionLost(self, reason: Failure) -> None:
        """Part of ``IHalfCloseableDescriptor``."""
        self.connectionLost(reason)

    def connectionLost(self, reason: Failure) -> None:
        """It ends."""
        self.lost.append(reason)
        if "lost" in self._wrong:
            raise LookupError("another bug")


class Turns(SynchronousTestCase):
    """A reactor on epoll, turned by hand."""

    def setUp(self) -> None:
        """One that has never run."""
        self.reactor = EPollReactor()
        self.addCleanup(self.reactor._poller.close)
        self.addCleanup(self.reactor.removeAll)
        call_directly(self.reactor)

    def connect(self, *wrong: str) -> tuple[Connection, socket.socket]:
        """A connection and its far end."""
        near, far = socket.socketpair()
        self.addCleanup(near.close)
        self.addCleanup(far.close)
        connection = Connection(self.reactor, near, wrong)
        self.reactor.addReader(connection)
        self.addCleanup(self.reactor.removeReader, connection)
        return connection, far

    def test_what_is_ready_has_its_turn(self) -> None:
        """Each connection with octets reads, without Twisted's old log; one without waits."""
        first, first_far = self.connect()
        second, second_far = self.connect()
        idle, _ = self.connect()
        first_far.send(b"ab")
        second_far.send(b"c")
        with patch.object(log, "callWithLogger", None):
            self.reactor.doIteration(1)
            self.assertEqual((first.read, second.read, idle.read), (b"a", b"c", b""))
            self.reactor.doIteration(1)
            self.reactor.doIteration(0)
        self.assertEqual((first.read, second.read, idle.read), (b"ab", b"c", b""))

    def test_end(self) -> None:
        """A connection that says that it is over is told so, once."""
        connection, far = self.connect()
        far.close()
        self.reactor.doIteration(1)
        self.reactor.doIteration(0)
        self.assertEqual([reason.type for reason in connection.lost], [ConnectionDone])

    def test_bug_in_a_turn(self) -> None:
        """Whatever a connection raises, also while it is told that it is lost, is logged and ends that one alone."""
        wrong, wrong_far = self.connect("read", "lost")
        right, right_far = self.connect()
        wrong_far.send(b"a")
        right_far.send(b"b")
        self.reactor.doIteration(1)
        self.assertEqual((right.read, right.lost, len(wrong.lost)), (b"b", [], 1))
        self.assertEqual(
            [failure.type for failure in self.flushLoggedErrors(ValueError, LookupError)], [ValueError, LookupError]
        )
        self.reactor.doIteration(0)
        self.assertEqual(len(wrong.lost), 1)

    def test_main_loop(self) -> None:
        """It runs delayed calls and turns until the reactor is stopped; what goes wrong between them is logged."""
        connection, far = self.connect()
        wait = self.reactor.timeout
        odd = [LookupError("a bug")]

        def timeout() -> float | None:
            if odd:
                raise odd.pop()
            return wait()

        self.patch(self.reactor, "timeout", timeout)
        self.reactor.callLater(0, far.send, b"a")
        self.reactor.callLater(0.01, self.reactor.stop)
        self.reactor.run(installSignalHandlers=False)
        self.assertEqual(connection.read, b"a")
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_main_loop_with_a_call_that_is_far_off(self) -> None:
        """What another thread, a delayed call or a connection asks for meanwhile does not wait for that call."""
        connection, far = self.connect()
        asked: list[str] = []

        def from_a_turn() -> None:
            Connection.doRead(connection)
            connection.doRead = stop  # type: ignore[method-assign]  # the next turn ends the reactor
            self.reactor.callLater(0, far.send, b"b")

        def stop() -> None:
            asked.append("turn")
            self.reactor.stop()

        def in_the_reactor() -> None:
            asked.append("thread")
            connection.doRead = from_a_turn  # type: ignore[method-assign]  # the next turn asks for a call
            self.reactor.callLater(0, far.send, b"a")

        thread = threading.Thread(target=self.reactor.callFromThread, args=(in_the_reactor,))
        self.addCleanup(thread.join)
        self.reactor.callLater(0.01, thread.start)
        far_off = self.reactor.callLater(20, self.reactor.stop)
        self.reactor.run(installSignalHandlers=False)
        self.assertEqual(asked, ["thread", "turn"])
        self.assertTrue(far_off.active())

    def test_another_kind_of_reactor(self) -> None:
        """It is left as it is."""
        other = SelectReactor()
        self.addCleanup(other.removeAll)
        call_directly(other)
        self.assertNotIn("doIteration", vars(other))
