"""The time that is taken off where other programs had the processor (:mod:`tests.process.clock`)."""

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.testing.programs import Program
from tests.process import clock
from tests.process.clock import Stopwatch, queued


class Daemon(Program):
    """Stands for a daemon that runs."""

    def __init__(self) -> None:
        self.status = None

    @property
    def pid(self) -> int:
        """A number that no process has."""
        return 1 << 30


class StopwatchTests(SynchronousTestCase):
    """Promises are judged on the time that daemons took themselves."""

    def setUp(self) -> None:
        """A daemon whose waiting the test tells, and a clock that the test sets."""
        self.waited, self.now = {Daemon().pid: 5.0}, 100.0
        self.patch(clock, "queued", lambda pid: self.waited.get(pid, 0.0))
        self.patch(clock, "reactor", self)

    def seconds(self) -> float:
        """The time."""
        return self.now

    def test_daemon_that_waited(self) -> None:
        """What the daemon waited for a processor since the beginning is taken off, and not what it waited before."""
        watch = Stopwatch(Daemon())
        self.waited[Daemon().pid], self.now = 8.0, 104.0
        self.assertEqual((watch.passed(), watch.seconds()), (4.0, 1.0))

    def test_daemon_that_has_ended(self) -> None:
        """What a daemon waited for counts when it has ended, too, although Linux tells it no more."""
        watch = Stopwatch(Daemon())
        self.waited[Daemon().pid], self.now = 8.0, 104.0
        self.assertTrue(watch.look())
        self.waited.clear()
        self.assertFalse(watch.look())
        self.assertEqual(watch.seconds(), 1.0)

    def test_linux_tells(self) -> None:
        """Of a process that runs, Linux tells how long it waited; of one that is gone, nothing."""
        with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
            told = queued(process.pid)
        self.assertGreaterEqual(told, 0.0)
        self.assertEqual(queued(process.pid), 0.0)
        self.assertGreater(queued(os.getpid()), 0.0)
