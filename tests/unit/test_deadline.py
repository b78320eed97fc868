"""Deadlines: they expire once, in time, and never after they were stopped."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.deadline import Deadline


class Deadlines(SynchronousTestCase):
    """A deadline on a clock that the test moves."""

    def setUp(self) -> None:
        """Take a deadline that notes when it expires."""
        self.clock = Clock()
        self.expired: list[float] = []
        self.deadline = Deadline(self.clock, lambda: self.expired.append(self.clock.seconds()))

    def test_expires_once(self) -> None:
        """It calls back when its seconds are over, not before, and once."""
        self.deadline.start(5)
        self.clock.advance(4.9)
        self.assertEqual([], self.expired)
        self.clock.advance(0.1)
        self.clock.advance(10)
        self.assertEqual([5.0], self.expired)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_stopped(self) -> None:
        """A stopped deadline never calls back and leaves nothing on the clock; stopping it twice is nothing."""
        self.deadline.start(5)
        self.deadline.stop()
        self.deadline.stop()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.clock.advance(10)
        self.assertEqual([], self.expired)

    def test_stop_without_start(self) -> None:
        """A deadline that was never started, or has expired, can be stopped."""
        self.deadline.stop()
        self.deadline.start(1)
        self.clock.advance(1)
        self.deadline.stop()
        self.assertEqual([1.0], self.expired)

    def test_started_anew(self) -> None:
        """Starting a running deadline moves it, to later or to earlier, and it still expires once."""
        self.deadline.start(5)
        self.clock.advance(4)
        self.deadline.start(5)
        self.clock.advance(4)
        self.assertEqual([], self.expired)
        self.deadline.start(0.5)
        self.clock.advance(0.5)
        self.clock.advance(10)
        self.assertEqual([8.5], self.expired)

    def test_running_and_left(self) -> None:
        """It tells whether it runs, and the seconds that are left."""
        self.assertEqual((False, 0.0), (self.deadline.running, self.deadline.left))
        self.deadline.start(5)
        self.clock.advance(2)
        self.assertEqual((True, 3.0), (self.deadline.running, self.deadline.left))
        self.deadline.stop()
        self.assertEqual((False, 0.0), (self.deadline.running, self.deadline.left))

    def test_started_when_it_expires(self) -> None:
        """It does not run while it calls back, so that what it calls may start it again."""
        running: list[bool] = []

        def again() -> None:
            running.append(deadline.running)
            if len(running) < 3:
                deadline.start(1)

        deadline = Deadline(self.clock, again)
        deadline.start(1)
        self.clock.pump([1, 1, 1, 1, 1])
        self.assertEqual([False, False, False], running)
        self.assertFalse(deadline.running)

    def test_stopped_when_it_expires(self) -> None:
        """What it calls may stop it, as one does who closes for any reason."""
        deadline = Deadline(self.clock, lambda: deadline.stop())
        deadline.start(1)
        self.clock.advance(1)
        self.assertFalse(deadline.running)
