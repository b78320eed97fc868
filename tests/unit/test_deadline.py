"""Deadlines: they expire once, in time, and never after they were stopped."""

import contextlib
import sys

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.deadline import Alarms, Deadline


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


class Sleeper:
    """Remembers when it was told."""

    def __init__(self, clock: Clock, told: list[tuple[str, float]], name: str) -> None:
        self.clock, self.told, self.name = clock, told, name

    def look(self) -> None:
        """Take it down."""
        self.told.append((self.name, self.clock.seconds()))


class Many(SynchronousTestCase):
    """The waits of many sessions."""

    def setUp(self) -> None:
        """A clock, and nobody told."""
        self.clock = Clock()
        self.alarms = Alarms(self.clock)
        self.told: list[tuple[str, float]] = []

    def sleeper(self, name: str) -> Sleeper:
        """Somebody who waits."""
        return Sleeper(self.clock, self.told, name)

    def test_each_in_time(self) -> None:
        """Each is told when its own wait is over, in this order, and there is one call of the clock for all."""
        for name, due in (("late", 9.0), ("early", 2.0), ("middle", 5.0), ("same", 5.0)):
            self.alarms.set(due, self.sleeper(name))
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([1.0] * 10)
        self.assertEqual(sorted(self.told), [("early", 2.0), ("late", 9.0), ("middle", 5.0), ("same", 5.0)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_dropped(self) -> None:
        """Who does not wait any more is not told, and not held; with the last of them the call of the clock goes."""
        held = self.sleeper("dropped")
        waits = [self.alarms.set(float(due), held) for due in range(1, 21)]
        kept = self.alarms.set(30.0, self.sleeper("kept"))
        for wait in waits:
            self.alarms.drop(wait)
            self.alarms.drop(wait)
        self.assertEqual(sys.getrefcount(held), 2)
        self.clock.pump([1.0] * 25)
        self.assertEqual(self.told, [])
        self.alarms.drop(kept)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_some_dropped(self) -> None:
        """Those that are left are told in time, however many others are dropped between them."""
        waits = {due: self.alarms.set(float(due), self.sleeper(str(due))) for due in range(1, 101)}
        for due in range(1, 101):
            if due % 10:
                self.alarms.drop(waits[due])
        self.clock.pump([0.5] * 220)
        self.assertEqual(self.told, [(str(due), float(due)) for due in range(10, 101, 10)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_set_while_told(self) -> None:
        """Who is told can wait again; that it raises keeps nobody else waiting."""

        class Again(Sleeper):
            def look(sleeper) -> None:
                Sleeper.look(sleeper)
                if len(self.told) < 3:
                    self.alarms.set(self.clock.seconds() + 1.0, sleeper)
                    raise RuntimeError

        self.alarms.set(1.0, Again(self.clock, self.told, "again"))
        self.alarms.set(1.0, self.sleeper("other"))
        for _ in range(8):
            with contextlib.suppress(RuntimeError):
                self.clock.advance(0.5)
        self.assertEqual(self.told, [("again", 1.0), ("other", 1.5), ("again", 2.0)])
