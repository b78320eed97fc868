"""Standard output of a daemon that nobody reads."""

import contextlib
import io
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TextIO

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs.emit import Events
from smartproxy.logs.levels import Levels
from smartproxy.logs.log import STOP_SECONDS, Log
from smartproxy.logs.logrc import StandardOutput
from smartproxy.logs.observers import AppenderTrouble
from smartproxy.logs.severity import Severity
from smartproxy.logs.standard_output import Output
from smartproxy.policy.causes import Cause

LINES = [f"line {number}\n" for number in range(2_000)]


class Reactor(MemoryReactorClock):
    """Runs what threads want when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()

    def callFromThread(self, work: Callable[..., Any], *args: Any) -> None:
        """As the reactor's."""
        self.wanted.put((work, args))

    def begin(self) -> None:
        """The reactor runs."""
        for work, args, kwargs in self.whenRunningHooks:
            work(*args, **kwargs)

    def work(self) -> None:
        """Do the first of what threads want; wait until there is anything."""
        work, args = self.wanted.get()
        work(*args)


class OutputCase(SynchronousTestCase):
    """A pipe, and what is told."""

    def setUp(self) -> None:
        """Nobody reads yet."""
        self.reactor = Reactor()
        self.told: list[tuple[str, Mapping[str, object]]] = []
        self.trouble = AppenderTrouble("x", "advice", lambda name, fields: self.told.append((name, fields)))
        read, write = os.pipe()
        self.reads = self.opened(os.fdopen(read, encoding="ascii"))
        self.stream = self.opened(os.fdopen(write, "w", encoding="ascii"))
        self.addCleanup(self.finish)

    def finish(self) -> None:
        """Wait for the thread: the number of the pipe will be another file's."""
        self.reads.close()
        for thread in threading.enumerate():
            if thread.name == "smartproxy-output":
                thread.join()

    def fill(self) -> int:
        """Fill the pipe; with how many octets."""
        descriptor, count = self.stream.fileno(), 0
        os.set_blocking(descriptor, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                count += os.write(descriptor, b"x" * 4096)
        os.set_blocking(descriptor, True)
        return count

    def opened(self, file: TextIO) -> TextIO:
        """A file that is closed at the end."""
        self.addCleanup(file.close)
        return file

    @property
    def names(self) -> list[str]:
        """What was told."""
        return [name for name, _ in self.told]


class Apart(OutputCase):
    """A pipe is written by a thread."""

    def output(self, most: int = 100) -> Output:
        """An output to the pipe, while the reactor runs."""
        output = Output(self.stream, self.trouble, most)
        output.start(self.reactor)
        self.reactor.begin()
        self.addCleanup(output.stop)
        return output

    def test_full_pipe(self) -> None:
        """No line waits for the reader: the newest are kept, and the loss is told once, with its number at the end."""
        filled = self.fill()
        output = self.output()
        for line in LINES:
            output.write(line)
        self.assertEqual(self.names, ["appender.failed"])
        self.assertEqual(self.told[0][1]["cause"], Cause.LOG_OVERFLOW)
        ended = output.stop()
        self.reads.read(filled)
        self.reactor.work()
        self.assertEqual(self.names, ["appender.failed", "appender.recovered"])
        lost = self.told[1][1]["count"]
        # The thread may have begun one before they were too many.
        self.assertIn(lost, (len(LINES) - 100, len(LINES) - 101))
        self.reactor.work()
        self.successResultOf(ended)
        self.stream.close()
        read = self.reads.readlines()
        self.assertEqual(len(read), len(LINES) - int(str(lost)))
        self.assertEqual(read[-100:], LINES[-100:])

    def test_end(self) -> None:
        """At the end all that waits is written in order; what is said later is written at once."""
        output = self.output()
        output.write("one\n")
        output.write("two ü\n")
        ended = output.stop()
        self.reactor.work()
        self.successResultOf(ended)
        output.write("three\n")
        self.stream.close()
        self.assertEqual(self.reads.read(), "one\ntwo \\xfc\nthree\n")
        self.assertEqual(self.told, [])

    def test_reader_that_is_gone(self) -> None:
        """It is told once, in the reactor."""
        output = self.output()
        self.reads.close()
        output.write("one\n")
        output.write("two\n")
        self.assertEqual(self.told, [])
        self.reactor.work()
        self.reactor.work()
        self.assertEqual((self.names, self.told[0][1]["cause"]), (["appender.failed"], Cause.LOG_FILE))
        self.assertEqual(self.trouble.lost, 2)
        output.stop()
        self.reactor.work()


class AtOnce(OutputCase):
    """What is not left to a thread."""

    def test_before_the_reactor_runs(self) -> None:
        """A line of a daemon that does not come to run is not lost."""
        output = Output(self.stream, self.trouble)
        output.start(self.reactor)
        output.write("one\n")
        self.successResultOf(output.stop())
        self.assertEqual(self.reads.readline(), "one\n")

    def test_files(self) -> None:
        """A file takes each line at once, and so does what is no file of the system."""
        path = Path(self.mktemp())
        for stream in (self.opened(path.open("w")), io.StringIO()):
            output = Output(stream, self.trouble)
            output.start(self.reactor)
            self.assertEqual(self.reactor.whenRunningHooks, [])
            output.write("one\n")
        self.assertEqual(path.read_text(), "one\n")


class UnreadLog(OutputCase):
    """A log whose standard output and standard error are one pipe that nobody reads."""

    def test_no_log_stops_a_session(self) -> None:
        """Neither the lines nor the trouble that is told hold anybody up, nor does the end, for longer than allowed."""
        self.fill()
        whole = Log("smartproxy-server", Path(self.mktemp()), Levels({"*": Severity.TRACE}))
        whole.open((StandardOutput(),), output=self.stream, errors=self.stream)
        log = Logger(namespace="x", observer=whole)
        whole.start(self.reactor, Events(log, None, self.reactor, source="server"))
        self.reactor.begin()
        for number in range(12_000):
            log.error("{number}", number=number)
        ended = whole.stop(self.reactor)
        self.assertNoResult(ended)
        self.reactor.advance(STOP_SECONDS)
        self.successResultOf(ended)
