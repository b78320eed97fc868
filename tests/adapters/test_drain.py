"""The wait for the last session of a daemon that ends."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.drain import GRACE_SECONDS, DrainWait
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault


class StubbornSessions:
    """Sessions that note when they are to end, and do so when the test says so."""

    def __init__(self) -> None:
        self.live: dict[str, object] = {"s": None}
        self.faults: list[OwnFault] = []

    def stop(self, fault: OwnFault) -> None:
        """Note it."""
        self.faults.append(fault)


class Waits(SynchronousTestCase):
    """How long sessions may go on, and what shortens that."""

    def setUp(self) -> None:
        """One session."""
        self.clock = Clock()
        self.sessions = StubbornSessions()
        self.wait = DrainWait(self.clock, self.sessions)

    def run_it(self) -> Deferred[None]:
        """Begin to wait: 60 s for sessions to end by themselves, 5 s for them to close."""
        return Deferred.fromCoroutine(self.wait.run(60, 5))

    def end(self) -> None:
        """The session is over."""
        self.sessions.live.clear()
        self.wait.finished()

    def test_by_itself(self) -> None:
        """A session that ends in time is not told to."""
        done = self.run_it()
        self.clock.advance(59)
        self.end()
        self.successResultOf(done)
        self.assertEqual((self.sessions.faults, self.clock.getDelayedCalls()), ([], []))

    def test_time_is_over(self) -> None:
        """What runs longer is ended, and has the closing time for that."""
        done = self.run_it()
        self.clock.advance(60)
        self.assertEqual([fault.rule for fault in self.sessions.faults], [Cause.DAEMON_DRAINING])
        self.clock.advance(5)
        self.assertNoResult(done)
        self.clock.advance(GRACE_SECONDS)
        self.successResultOf(done)

    def test_hurried(self) -> None:
        """Hurried while it waits, it ends sessions at once; they still may close."""
        done = self.run_it()
        self.wait.hurry()
        self.assertEqual(len(self.sessions.faults), 1)
        self.assertNoResult(done)
        self.end()
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_hurried_before_it_began(self) -> None:
        """A hurry that comes before the wait is remembered: sessions are ended at once, and still may close."""
        self.wait.hurry()
        self.assertEqual(self.sessions.faults, [])
        done = self.run_it()
        self.assertEqual(len(self.sessions.faults), 1)
        self.assertNoResult(done)
        self.end()
        self.successResultOf(done)
