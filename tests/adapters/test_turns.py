"""The turns that a daemon's reactor gives: directly, and whatever a connection does in its turn."""

import random
import socket
import threading
from unittest.mock import patch

from twisted.internet.abstract import FileDescriptor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import AlreadyCalled, AlreadyCancelled, ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.python import log
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smartproxy.net.transport.turns import LaterCalls, call_directly


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
        run = self.reactor.runUntilCurrent
        odd = [LookupError("a bug")]

        def run_with_a_bug() -> None:
            if odd:
                raise odd.pop()
            run()

        self.patch(self.reactor, "runUntilCurrent", run_with_a_bug)
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

    def test_calls_are_known(self) -> None:
        """The reactor tells which calls wait, also those that it was asked for before."""
        reactor = EPollReactor()
        self.addCleanup(reactor._poller.close)
        self.addCleanup(reactor.removeAll)
        before = reactor.callLater(0, self.fail)
        call_directly(reactor)
        after = reactor.callLater(1, self.fail)
        self.assertEqual({before, after}, set(reactor.getDelayedCalls()))
        before.cancel()
        after.cancel()
        self.assertEqual([], list(reactor.getDelayedCalls()))

    def test_another_kind_of_reactor(self) -> None:
        """It is left as it is."""
        other = SelectReactor()
        self.addCleanup(other.removeAll)
        call_directly(other)
        self.assertNotIn("doIteration", vars(other))


class Later(SynchronousTestCase):
    """What is called later, on seconds that the test tells."""

    def setUp(self) -> None:
        """Nothing was asked for."""
        self.now = 0.0
        self.later = LaterCalls(lambda: self.now)
        self.made: list[object] = []

    def test_as_twisted_does(self) -> None:
        """Calls that are asked for, moved and canceled at random are made when those of Twisted's clock are."""
        for seed in range(300):
            chance = random.Random(seed)
            self.setUp()
            clock = Clock()
            expected: list[object] = []
            pairs: list[tuple[IDelayedCall, IDelayedCall]] = []
            for number in range(60):
                seconds = float(chance.randrange(1, 40))
                ours, theirs = chance.choice(pairs) if pairs else (None, None)
                match chance.choice(("ask", "ask", "cancel", "reset", "delay", "advance")):
                    case "advance":
                        for _ in range(4):
                            self.now += seconds / 4
                            self.later.run()
                            clock.advance(seconds / 4)
                    case "ask":
                        note = (self.made.append, expected.append)
                        pairs.append(
                            (self.later.ask(seconds, note[0], number), clock.callLater(seconds, note[1], number))
                        )
                    case what if ours is not None and theirs is not None and ours.active():
                        arguments = () if what == "cancel" else (seconds,)
                        getattr(ours, what)(*arguments)
                        getattr(theirs, what)(*arguments)
                self.assertEqual([ours.active() for ours, _ in pairs], [theirs.active() for _, theirs in pairs], seed)
                waiting = [theirs.getTime() for _, theirs in pairs if theirs.active()]
                self.assertEqual(sorted(call.getTime() for call in self.later), sorted(waiting), seed)
            self.assertEqual(sorted(map(str, self.made)), sorted(map(str, expected)), seed)

    def test_order_and_waiting(self) -> None:
        """The first is made first, of two at once the one that was asked for first; what they ask for waits a turn."""
        self.later.ask(2, self.made.append, "b")
        self.later.ask(2, self.made.append, "c")
        self.later.ask(1, self.later.ask, 0, self.made.append, "a")
        self.assertEqual(1, self.later.run())
        self.now = 1.0
        self.assertEqual(([], 0), (self.made, self.later.run()))
        self.assertEqual((1, ["a"]), (self.later.run(), self.made))
        self.now = 3.0
        self.assertIsNone(self.later.run())
        self.assertEqual(["a", "b", "c"], self.made)

    def test_over(self) -> None:
        """A call that was made or canceled cannot be canceled or moved, as with Twisted's."""
        made, canceled = self.later.ask(0, self.made.append, "a"), self.later.ask(0, self.made.append, "b")
        verifyObject(IDelayedCall, made)
        canceled.cancel()
        self.later.run()
        self.assertEqual(["a"], self.made)
        for call, error in ((made, AlreadyCalled), (canceled, AlreadyCancelled)):
            self.assertRaises(error, call.cancel)
            self.assertRaises(error, call.reset, 1)
            self.assertRaises(error, call.delay, 1)
        self.assertRaises(AssertionError, self.later.ask, -1, self.made.append, "c")

    def test_a_bug(self) -> None:
        """What a call raises is logged, and keeps no other call from being made."""
        self.later.ask(0, [].pop)
        self.later.ask(0, self.made.append, "a")
        self.later.run()
        self.assertEqual(["a"], self.made)
        self.assertEqual(1, len(self.flushLoggedErrors(IndexError)))

    def test_canceled_calls_take_no_room(self) -> None:
        """However many are asked for and canceled, before or after the reactor looks: few are kept."""
        for turn in range(50):
            calls = [self.later.ask(1000, self.made.append, turn) for _ in range(40)]
            for call in calls[:20]:
                call.cancel()
            self.later.run()
            for call in calls[20:]:
                call.cancel()
        kept = self.later.ask(1, self.made.append, "kept")
        self.later.run()
        self.assertEqual([kept], list(self.later))
        self.assertLess(len(self.later.heap), 110)
