"""What belongs to a daemon's process: PID files, signals, the service manager, and what is given up."""

import ctypes
import errno
import fcntl
import io
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.ctl.protocol import Refused
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from smartproxy.logs.levels import Levels
from smartproxy.logs.log import Log
from smartproxy.logs.severity import Severity
from smartproxy.net import process
from smartproxy.net.process import COLLECTED_FROM, ENDLESS, harden, take_descriptors
from smartproxy.net.transport import memory
from smartproxy.net.transport.inherited import INHERITED
from smartproxy.net.transport.sockets import ListeningSocket, StreamPort
from smartproxy.net.transport.thrift import QUIET_SECONDS, Thrift
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import StopReason
from smartproxy.policy.limits import DESCRIPTORS_LEAST, SETTLING_SECONDS, SUCCESSION_SECONDS
from smartproxy.tap import launch as launches
from smartproxy.tap import life
from smartproxy.tap.launch import Launch, Occupied, PidFile
from smartproxy.tap.life import Life, manager, watchdog
from smartproxy.tap.predecessor import SERVING, Handed, Predecessor
from smartproxy.tap.signals import NOW_SECONDS, THREADS_SECONDS, Signals
from smartproxy.tap.succession import Succession
from tests.process.clock import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
ENDLESS_DAEMON = """
import os, signal, time
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from smartproxy.tap.signals import Signals
from tests.unit.test_process_life import Draining

def twice(_):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)

Signals(print).attach(reactor, Draining())
reactor.addSystemEventTrigger("before", "shutdown", Deferred)
reactor.callWhenRunning(lambda: deferToThread(time.time).addCallback(twice))
reactor.run()
"""
"""Looks up a name, as it were, gets two signals, and never has done with its sessions."""


class Turning(Clock):
    """A reactor that notes how it is ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[str] = []
        self.started: list[Any] = []

    def callWhenRunning(self, call: Any) -> None:
        """Remember what is done at the start."""
        self.started.append(call)

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        """Call it in a later turn, as a reactor does."""
        self.callLater(0, call, *arguments)

    def stop(self) -> None:
        """End in order."""
        self.ends.append("stop")

    def crash(self) -> None:
        """End now."""
        self.ends.append("crash")


class Draining(Service):
    """A daemon's service that notes what happens to it."""

    def __init__(self) -> None:
        self.told: list[dict[str, Value]] = []
        self.hurried = 0
        self.stop_reason = StopReason()
        self.events = Events(Logger(), self.told.append, Clock(), carried=Severity.TRACE)

    def hurry(self) -> None:
        """Count it."""
        self.hurried += 1

    @property
    def names(self) -> list[Value]:
        """The events so far."""
        return [event["name"] for event in self.told]


class PidFiles(SynchronousTestCase):
    """Who holds the lock is in the way; a number in the file is not."""

    def setUp(self) -> None:
        """A place for the file."""
        self.path = Path(self.mktemp())

    def made(self) -> PidFile:
        """A PID file in this place; given up at the end."""
        file = PidFile(self.path)
        self.addCleanup(file.release)
        return file

    def test_life(self) -> None:
        """The number is written when the daemon serves; the file goes when it is given up."""
        file = self.made()
        self.assertIsNone(file.claim())
        self.assertEqual(self.path.read_text(), "")
        file.write()
        self.assertEqual(self.path.read_text(), f"{os.getpid()}\n")
        file.release()
        self.assertFalse(self.path.exists())
        file.release()

    def test_handed_over(self) -> None:
        """The next process holds the lock from the first moment, and its number is whole however long the one before's.

        The file goes with the last of them.
        """
        file, heir = self.made(), self.made()
        file.claim()
        self.path.write_text("1234567890\n")
        assert file.descriptor is not None
        heir.inherit(os.dup(file.descriptor))
        heir.write()
        self.assertEqual(self.path.read_text(), f"{os.getpid()}\n")
        os.close(file.descriptor)
        self.assertRaises(Occupied, self.made().claim)
        file._descriptor = None
        heir.release()
        self.assertFalse(self.path.exists())

    def test_holder_is_named(self) -> None:
        """The refusal says the process, the file and what to do, and nothing of the process's command line."""
        file = self.made()
        file.claim()
        file.write()
        refused = self.assertRaises(Occupied, self.made().claim)
        for part in (f"process {os.getpid()} ", str(self.path), f"kill -HUP {os.getpid()}"):
            self.assertIn(part, str(refused))
        self.assertIn("python", Path("/proc/self/cmdline").read_text())
        self.assertNotIn("python", str(refused))
        self.assertEqual(self.path.read_text(), f"{os.getpid()}\n")

    def test_stale_files_are_taken_over(self) -> None:
        """A number, of a process that runs or not, is not in the way, and neither is a file that holds none."""
        for text, expected in ((f"{os.getppid()}\n", os.getppid()), ("999999999", 999_999_999), ("x", 0), ("", 0)):
            self.path.write_text(text)
            file = self.made()
            self.assertEqual(file.claim(), expected)
            file.write()
            self.assertEqual(self.path.read_text(), f"{os.getpid()}\n")
            file.release()
            self.assertFalse(self.path.exists())

    def test_nobody_else_is_named(self) -> None:
        """As long as the holder has not written its number, the refusal names nobody, whatever was in the file."""
        self.path.write_text(f"{os.getppid()}\n")
        self.made().claim()
        refused = self.assertRaises(Occupied, self.made().claim)
        self.assertIn("about to start", str(refused))
        self.assertNotIn(str(os.getppid()), str(refused))

    def test_stranger_is_not_ended(self) -> None:
        """Who locks a file need not be whom it names: nobody is told to end a process that has not opened it."""
        self.made().claim()
        self.path.write_text(f"{os.getppid()}\n")
        refused = str(self.assertRaises(Occupied, self.made().claim))
        self.assertNotIn("kill", refused)
        self.assertIn(f"another process holds {self.path}", refused)
        self.assertIn("--pid-file", refused)

    def test_file_that_goes_away_while_it_is_claimed(self) -> None:
        """A holder that removes the file between our opening and our locking it leaves us with a file of our own."""
        locks = []

        def lock(descriptor: int, how: int) -> None:
            locks.append(descriptor)
            if len(locks) == 1:
                self.path.unlink()

        self.path.write_text("5")
        self.patch(fcntl, "flock", lock)
        self.assertIsNone(self.made().claim())
        self.assertEqual((len(locks), self.path.exists()), (2, True))

    def test_file_of_somebody_else(self) -> None:
        """A file that has taken the place of ours is not removed."""
        file = self.made()
        file.claim()
        self.path.unlink()
        self.path.write_text("5")
        file.release()
        self.assertEqual(self.path.read_text(), "5")

    def test_what_is_no_pid_file(self) -> None:
        """A file that holds more than a number, or a pipe, is not emptied and not removed."""
        self.path.write_text("Dear reader, this is a letter of mine.\n")
        self.assertRaises(FileExistsError, self.made().claim)
        self.assertTrue(self.path.read_text().startswith("Dear"))
        self.path.unlink()
        os.mkfifo(self.path)
        self.assertRaises(FileExistsError, self.made().claim)
        self.assertTrue(self.path.is_fifo())

    def test_folder_that_is_a_file(self) -> None:
        """A file in the place of its folder is told as one."""
        self.path.write_text("5")
        launch = Launch("smartproxy-x", self.path / "x", background=False)
        told = io.StringIO()
        self.patch(launches, "standard_error", lambda: told)
        self.assertRaises(SystemExit, launch.claim)
        self.assertEqual(told.getvalue(), f"smartproxy-x: --pid-file: {self.path}/x: Not a directory\n")

    def test_what_is_no_file(self) -> None:
        """A folder or a link in its place is an error, not a stale file."""
        self.path.mkdir()
        self.assertRaises(OSError, self.made().claim)
        self.path.rmdir()
        self.path.symlink_to("elsewhere")
        self.assertRaises(OSError, self.made().claim)


class SignalsTests(SynchronousTestCase):
    """The signals of the manual."""

    def setUp(self) -> None:
        """Signals of a daemon; the process's own handlers are put back."""
        self.levels: list[Severity] = []
        self.reactor = Turning()
        self.signals = Signals(self.levels.append, lambda: self.reactor.ends.append("process"))
        self.service = Draining()
        for number in (*range(20, 25), signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def attach(self) -> None:
        """Let the reactor run."""
        self.signals.attach(self.reactor, self.service, lambda: self.reactor.ends.append("last"))
        for call in self.reactor.started:
            call()

    def test_levels_by_number(self) -> None:
        """20 to 24 set TRACE, DEBUG, INFO, ERROR and FATAL, before and after the daemon runs; later ones are told."""
        self.signals.listen_for_levels()
        os.kill(os.getpid(), 24)
        self.attach()
        for number in range(20, 25):
            os.kill(os.getpid(), number)
        self.reactor.advance(0)
        words = ["trace", "debug", "info", "error", "critical"]
        self.assertEqual([level.label for level in self.levels], ["critical", *words])
        self.assertEqual([event["mode"] for event in self.service.told], words)

    def test_signal_while_it_starts(self) -> None:
        """HUP, TERM and INT wait until the daemon runs, and then end it in order; the process goes on until then."""
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            self.setUp()
            self.signals.hold_endings()
            os.kill(os.getpid(), number)
            self.assertEqual(signal.getsignal(number), signal.SIG_DFL, "a second one ends it at once")
            self.attach()
            self.reactor.advance(0)
            self.assertEqual(self.reactor.ends, ["stop"])
            self.assertEqual(self.service.told[0]["message"], f"{number.name}: drain")

    def test_first_signal_drains(self) -> None:
        """HUP, TERM and INT end the reactor in order, which drains, and leave a DEBUG record."""
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            self.setUp()
            self.attach()
            os.kill(os.getpid(), number)
            self.reactor.advance(0)
            self.assertEqual(self.reactor.ends, ["stop"])
            self.assertEqual(self.service.told[0]["message"], f"{number.name}: drain")
            self.assertEqual(self.service.told[0]["level"], "debug")
            reason = StopReason(Cause.OPERATOR_SIGNAL, f"signal {number.name}")
            self.assertEqual(self.service.stop_reason, reason)

    def test_second_signal_ends_it_within_two_seconds(self) -> None:
        """Sessions are ended at once, and the reactor shortly after, whatever still runs."""
        self.attach()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        self.reactor.advance(0)
        self.assertEqual(self.service.hurried, 1)
        self.reactor.advance(NOW_SECONDS)
        self.assertEqual(self.reactor.ends, ["stop", "crash", "last", "process"])
        self.assertLess(NOW_SECONDS + THREADS_SECONDS, 2)

    def test_threads_do_not_keep_the_process(self) -> None:
        """A process whose pool of threads was used, and whose service never ends, is gone after the second signal."""
        done = subprocess.run([sys.executable, "-c", ENDLESS_DAEMON], cwd=ROOT, timeout=PATIENCE_SECONDS, check=False)
        self.assertEqual(done.returncode, 0)


class Spawning(Turning):
    """A reactor that starts processes which the test plays."""

    def __init__(self) -> None:
        super().__init__()
        self.shutdown: list[Any] = []
        self.heirs: list[Any] = []
        self.killed: list[str] = []
        self.told: list[tuple[int, bytes]] = []
        self.ports: list[StreamPort] = []

    def addSystemEventTrigger(self, phase: str, event: str, call: Any) -> None:
        """Remember what is done before the end."""
        self.shutdown.append(call)

    def getReaders(self) -> list[Any]:
        """The ports that are open, which are none unless the test says so."""
        return self.ports

    def spawnProcess(self, heir: Any, *arguments: Any, **more: Any) -> None:
        """Start one."""
        heir.transport = self
        self.heirs.append(heir)

    def signalProcess(self, name: str) -> None:
        """Note that it is ended."""
        self.killed.append(name)

    def writeToChild(self, descriptor: int, octets: bytes) -> None:
        """Note what it is told."""
        self.told.append((descriptor, octets))


class Successions(SynchronousTestCase):
    """A newer process that is started by this one."""

    def setUp(self) -> None:
        """A daemon that could hand over."""
        self.reactor = Spawning()
        self.launch = Launch("smartproxy-x", None, background=True)
        self.announced: Deferred[None] = Deferred()
        self.handed: list[int] = []
        self.over: list[int] = []
        self.succession = Succession(
            self.reactor, self.launch, self, lambda: self.over.append(1), lambda word: None, {}
        )

    async def announce(self) -> None:
        """Part of ``Succeeded``."""
        await self.announced

    async def hand_over(self) -> None:
        """Part of ``Succeeded``."""
        self.handed.append(1)

    def counted(self) -> Mapping[str, int]:
        """Part of ``Succeeded``."""
        return {"ACME": 2}

    def begun(self) -> Deferred[int]:
        """The new process is started."""
        beginning = Deferred.fromCoroutine(self.succession.begin())
        self.announced.callback(None)
        return beginning

    def refused(self, beginning: Deferred[int]) -> str:
        """Why nothing is handed over."""
        self.assertEqual((self.launch.succeeded, self.handed, self.over), (False, [], []))
        return str(self.failureResultOf(beginning, Refused).value)

    def test_it_serves(self) -> None:
        """All is left to the process that says that it serves."""
        beginning = self.begun()
        self.reactor.heirs[0].childDataReceived(3, b"\x0042\n")
        self.assertEqual(self.successResultOf(beginning), 42)
        self.assertEqual((self.launch.succeeded, self.handed, self.over), (True, [1], [1]))
        self.assertEqual(self.reactor.told, [(4, b'{"ACME": 2}\n')])
        self.reactor.shutdown[0]()
        self.assertEqual(self.reactor.killed, [])

    def test_it_does_not_serve(self) -> None:
        """A process that says nothing for a minute is ended."""
        beginning = self.begun()
        self.reactor.advance(SUCCESSION_SECONDS)
        self.assertIn("did not serve within 60 seconds; it was ended", self.refused(beginning))
        self.assertEqual(self.reactor.killed, ["KILL"])

    def test_it_cannot_be_started(self) -> None:
        """The system's reason is told, nothing is waited for, and the next one can be started."""

        def refuse(*arguments: Any, **more: Any) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        patch = self.patch(self.reactor, "spawnProcess", refuse)
        why = self.refused(self.begun())
        self.assertEqual(why, "the new process could not be started, and this one goes on: Too many open files")
        patch.restore()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        beginning = Deferred.fromCoroutine(self.succession.begin())
        self.reactor.heirs[0].childDataReceived(3, b"\x0042\n")
        self.assertEqual(self.successResultOf(beginning), 42)

    def test_nobody_can_be_told(self) -> None:
        """Nothing is waited for when what comes before the new process fails."""
        beginning = Deferred.fromCoroutine(self.succession.begin())
        self.announced.errback(RuntimeError("planted"))
        self.failureResultOf(beginning, RuntimeError)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_ports_are_this_process_own_again(self) -> None:
        """After a process that did not serve, a port is closed as before it: also at the manager, if it keeps it."""
        port, given = (StreamPort(0, Factory(), 50, "127.0.0.1", MemoryReactorClock()) for _ in range(2))
        listening = socket.create_server(("127.0.0.1", 0))
        given.adopt(ListeningSocket(fileno=listening.detach()))
        self.reactor.ports = [port, given]
        for each in self.reactor.ports:
            each.startListening()
            self.addCleanup(each.socket.close)
        beginning = self.begun()
        self.assertEqual([(each._shared, each._shouldShutdown) for each in (port, given)], [(True, False)] * 2)
        self.reactor.advance(SUCCESSION_SECONDS)
        self.refused(beginning)
        told: list[str] = []
        self.patch(INHERITED, "store", lambda word, descriptors: told.append(word.partition("\n")[0]))
        self.assertEqual([each._shouldShutdown for each in (port, given)], [True, False])
        port.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(told, ["FDSTOREREMOVE=1"])

    def test_stop_while_it_starts(self) -> None:
        """A process that ends takes one with it that does not serve yet, and starts none any more."""
        beginning = self.begun()
        self.reactor.shutdown[0]()
        self.assertEqual(self.reactor.killed, ["KILL"])
        self.assertIn("is ending", self.refused(beginning))
        self.assertIn("is ending", self.refused(Deferred.fromCoroutine(self.succession.begin())))

    def test_stop_before_it_is_started(self) -> None:
        """Nor is one started that was about to be."""
        beginning = Deferred.fromCoroutine(self.succession.begin())
        self.reactor.shutdown[0]()
        self.announced.callback(None)
        self.assertIn("is ending", self.refused(beginning))
        self.assertEqual(self.reactor.heirs, [])

    def test_it_stays_the_process_that_was_started(self) -> None:
        """In the background, too: whoever started it can end it."""
        read, told = os.pipe()
        self.addCleanup(os.close, read)
        options: dict[str, Any] = {}
        launch = Launch("smartproxy-x", None, background=True, predecessor=Predecessor(Handed(told)))
        launch.take_over(options)

        def forked() -> int:
            raise AssertionError("forked")

        self.patch(os, "fork", forked)
        launch.detach(self.reactor)
        self.assertEqual(options["nodaemon"], False)
        launch.serving(self.reactor, ())
        self.assertEqual(os.read(read, 100), b"\0%d\n" % os.getpid())


class FullDisk(SynchronousTestCase):
    """There is no room for the number in the PID file."""

    def serving(self, predecessor: Predecessor | None = None, caller: int | None = None) -> str:
        """What is said by a daemon that serves."""
        launch, errors = (
            Launch("smartproxy-x", Path(self.mktemp()), background=True, predecessor=predecessor),
            StringIO(),
        )
        launch.claim()
        self.addCleanup(launch.over)
        launch._caller = caller

        def full(*arguments: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self.patch(os, "pwrite", full)
        self.patch(launches, "standard_error", lambda: errors)
        self.patch(launches, "_close", lambda *standard: None)
        launch.serving(Spawning(), ())
        return errors.getvalue()

    def pipe(self) -> tuple[int, int]:
        """A pipe whose end for reading is closed after the test; the daemon closes the other."""
        read, told = os.pipe()
        self.addCleanup(os.close, read)
        return read, told

    def test_caller(self) -> None:
        """Who started the daemon is told that it serves, and what is wrong."""
        read, told = self.pipe()
        said = self.serving(caller=told)
        self.assertEqual(os.read(read, 100), b"\0")
        self.assertIn("No space left on device; the daemon runs, but the file does not name process", said)

    def test_older_process(self) -> None:
        """So is the process that this one takes over from."""
        read, told = self.pipe()
        self.serving(Predecessor(Handed(told)))
        words, serving, number = os.read(read, 1000).partition(SERVING)
        self.assertIn(b"No space left on device", words)
        self.assertEqual((serving, number), (SERVING, b"%d\n" % os.getpid()))


class ServiceManager(SynchronousTestCase):
    """Words to systemd."""

    def setUp(self) -> None:
        """A manager that listens."""
        # The path of a UNIX socket is short, so it is named from its own folder.
        self.name = f"\0smartproxy-test-{os.getpid()}-{id(self)}"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.setblocking(False)
        self.socket.bind(self.name)
        self.environment = {"NOTIFY_SOCKET": "@" + self.name[1:]}

    def test_words_arrive(self) -> None:
        """What is told is one datagram."""
        manager(self.environment)("READY=1")
        self.assertEqual(self.socket.recv(100), b"READY=1")

    def test_descriptors_arrive(self) -> None:
        """A descriptor is sent with its word."""
        with socket.socket() as sent:
            manager(self.environment)("FDSTORE=1", [sent.fileno()])
            word, (came,), _, _ = socket.recv_fds(self.socket, 100, 2)
            self.addCleanup(os.close, came)
            self.assertEqual((word, os.fstat(came).st_ino), (b"FDSTORE=1", os.fstat(sent.fileno()).st_ino))

    def test_nobody_listens(self) -> None:
        """No name, a strange name and a name without a listener are all silence."""
        for name in ("", "relative", "/no/such/socket", "@no-such-name"):
            manager({"NOTIFY_SOCKET": name})("READY=1")
        self.assertRaises(BlockingIOError, self.socket.recv, 100)

    def test_watchdog(self) -> None:
        """It is fed twice per period, if it asks, and asks this process."""
        clock = Clock()
        told: list[str] = []
        loop = watchdog({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}, clock, told.append)
        assert loop is not None
        loop.startService()
        clock.pump([2, 2])
        self.assertEqual(told, ["WATCHDOG=1"] * 3)
        self.successResultOf(loop.stopService())
        self.assertEqual(clock.getDelayedCalls(), [])
        for environment in ({}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "4", "WATCHDOG_PID": "1"}):
            self.assertIsNone(watchdog(environment, clock, told.append))


class GivenUp(SynchronousTestCase):
    """Hardening, with the system's calls replaced: this process stays as it is."""

    def setUp(self) -> None:
        """Note what the system is asked for."""
        self.asked: list[tuple[object, ...]] = []
        self.patch(resource, "setrlimit", lambda *words: self.asked.append(words))
        self.patch(process, "prctl", lambda *words: self.asked.append(words))

    def test_all_is_given_up(self) -> None:
        """Core dumps, being traced and new privileges."""
        self.assertEqual(harden(), {})
        self.assertEqual(
            self.asked,
            [
                (resource.RLIMIT_CORE, (0, 0)),
                (process.PR_SET_DUMPABLE, 0),
                (process.PR_SET_NO_NEW_PRIVS, 1),
            ],
        )

    def test_descriptors(self) -> None:
        """As many files may be open as the hard limit allows; where it cannot be raised the old number stays."""
        self.patch(resource, "getrlimit", lambda which: self.asked[-1][1] if self.asked else (1024, 8192))
        self.assertEqual(take_descriptors(), 8192)
        self.assertEqual(self.asked, [(resource.RLIMIT_NOFILE, (8192, 8192))])
        self.asked.clear()

        def refuse(*words: object) -> None:
            raise ValueError("not allowed to raise maximum limit")

        self.patch(resource, "setrlimit", refuse)
        self.assertEqual(take_descriptors(), 1024)
        self.patch(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.assertEqual(take_descriptors(), ENDLESS)

    def test_cores(self) -> None:
        """As many as the process may run on; fewer where its control group, or one around it, has a quota."""
        self.patch(os, "sched_getaffinity", lambda pid: set(range(6)))
        root = Path(self.mktemp())
        self.assertEqual(process.cores(root), 6)
        group = root / "sys/fs/cgroup/system.slice/proxy.service"
        group.mkdir(parents=True)
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/cgroup").write_text("1:name=systemd:/other\n0::/system.slice/proxy.service\n")
        self.assertEqual(process.cores(root), 6)
        for where, quota, cores in (
            (group, "max 100000", 6),
            (group, "250000 100000", 3),
            (group.parent, "150000 100000", 2),
            (group, "1000 100000", 1),
            (group, "never seen", 2),
        ):
            (where / "cpu.max").write_text(f"{quota}\n")
            self.assertEqual(process.cores(root), cores, quota)

    def test_one_library(self) -> None:
        """The C library is found once, so that a forked process needs no file for it."""
        memory.c_library()
        self.patch(ctypes, "CDLL", self.fail)
        memory.keep_memory()
        memory.trim()

    def test_memory_is_kept(self) -> None:
        """Buffers of a read's size do not come anew from the kernel, page by page, each time that one is made."""
        program = (
            "import resource, sys; from smartproxy.net.transport.memory import keep_memory\n"
            "if sys.argv[1:]: keep_memory()\n"
            "room = bytes(262144)\n"
            "def work():\n"
            "    for _ in range(100):\n        read = room[:230000]; joined = read + b'x'; relayed = joined[:200000]\n"
            "work(); before = resource.getrusage(0).ru_minflt; work()\n"
            "print(resource.getrusage(0).ru_minflt - before)"
        )
        faults = [
            int(
                subprocess.run(
                    [sys.executable, "-c", program, *words], check=True, capture_output=True, cwd=ROOT
                ).stdout
            )
            for words in ([], ["keep"])
        ]
        self.assertLess(faults[1], 100, faults)
        self.assertGreater(faults[0], faults[1] * 5, faults)

    def test_garbage_is_looked_for_seldom(self) -> None:
        """What is there at the start is never looked through again, and new objects not with every second session."""
        program = (
            "import gc, smartproxy.tap.life; from smartproxy.net.process import collect_seldom\n"
            "collect_seldom(); print(gc.get_threshold()[0], gc.get_freeze_count(), len(gc.get_objects()))"
        )
        told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, cwd=ROOT).stdout
        threshold, frozen, watched = map(int, told.split())
        self.assertEqual(threshold, COLLECTED_FROM)
        self.assertGreater(frozen, 20_000)
        self.assertLess(watched, 100)

    def test_what_the_system_does_not_allow(self) -> None:
        """One refusal keeps nothing else from being given up, and is told."""

        def refuse(*words: object) -> None:
            raise OSError(1, "Operation not permitted")

        self.patch(resource, "setrlimit", refuse)
        self.assertEqual(list(harden()), ["core dumps"])
        self.assertEqual(len(self.asked), 2)


_HARDENED = """
import ctypes, os, resource
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
from smartproxy.net.process import harden
assert harden() == {}
system = ctypes.CDLL(None)
limit = [line.split()[4:6] for line in open("/proc/self/limits") if line.startswith("Max core file size")]
print(system.prctl(3, 0, 0, 0, 0), system.prctl(39, 0, 0, 0, 0), limit, flush=True)
os.abort()
"""
"""Hardens itself, prints what the kernel says (PR_GET_DUMPABLE, PR_GET_NO_NEW_PRIVS, the limit), and aborts."""


class HardenedProcess(SynchronousTestCase):
    """The hardening as the kernel sees it, in a process of its own."""

    def test_kernel_says_so(self) -> None:
        """It can be neither traced nor dumped, gains no privileges, and SIGABRT leaves no core."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        paths = {**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
        process = subprocess.Popen([sys.executable, "-c", _HARDENED], cwd=folder, env=paths, stdout=subprocess.PIPE)
        told, _ = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(told.decode().strip(), "0 1 [['0', '0']]")
        self.assertEqual(process.returncode, -signal.SIGABRT)
        self.assertEqual(list(folder.iterdir()), [])


class Lives(SynchronousTestCase):
    """The order of a daemon's start and end."""

    descriptors = 65_536

    def setUp(self) -> None:
        """Nothing has been settled."""
        self.settled: list[int] = []

    def live(self, refused: dict[str, str], **environment: str) -> tuple[Life, Draining, Turning]:
        """A life whose hardening has this result."""
        service, reactor = Draining(), Turning()
        self.patch(life, "harden", lambda: refused)
        self.patch(life, "take_descriptors", lambda: self.descriptors)
        self.patch(life, "collect_seldom", lambda: self.settled.append(1))
        notices = (("pid_file.removed", {"path": "x", "pid": 5}),)
        self.log = Log("smartproxy-test", Path(self.mktemp()), Levels())
        signals = Signals(lambda severity: None)
        launch = Launch("smartproxy-test", None, background=False)
        return Life(reactor, service, signals, self.log, launch, notices, environment), service, reactor

    def test_start(self) -> None:
        """It is hardened, the service runs, and what was noticed before is told."""
        living, service, _ = self.live({})
        living.startService()
        self.assertTrue(service.running)
        self.assertEqual(self.settled, [1])
        self.assertEqual(service.names, ["daemon.hardened", "pid_file.removed"])
        self.assertIs(service.events.levels, self.log.levels)

    def test_console(self) -> None:
        """In the foreground the console has what is told there once: from the launch, unless the log writes to it."""
        written: list[tuple[int, bytes]] = []
        self.patch(os, "write", lambda file, octets: written.append((file, octets)))
        launch = Launch("smartproxy-test", None, background=False)
        launch.serving(Turning(), ["/var/log/x.log", "standard output"], ["a link"])
        self.assertEqual(written, [])
        launch.serving(Turning(), ["/var/log/x.log"], ["a link", "a word"])
        self.assertEqual(written, [(1, b"smartproxy-test: a link\nsmartproxy-test: a word\n")])

    def test_log_outlives_the_daemon(self) -> None:
        """The log is closed when the daemon has said its last word, and the process ends after that."""
        living, service, _ = self.live({})
        living.startService()
        closed: Deferred[None] = Deferred()

        def close(reactor: object) -> Deferred[None]:
            service.events.emit("backend.stopped")
            return closed

        self.patch(service, "stopService", lambda: service.events.emit("server.stopped"))
        self.patch(self.log, "stop", close)
        stopped = living.stopService()
        self.assertEqual(service.names[-2:], ["server.stopped", "backend.stopped"])
        self.assertNoResult(stopped)
        closed.callback(None)
        self.successResultOf(stopped)

    def test_what_could_not_be_given_up_is_told(self) -> None:
        """With its cause."""
        living, service, _ = self.live({"tracing": "not permitted"})
        living.startService()
        self.assertEqual(service.names[0], "daemon.not_hardened")
        self.assertEqual(service.told[0]["facts"], {"tracing": "not permitted"})

    def test_few_descriptors_are_told(self) -> None:
        """A system that allows fewer open files than the limits need is warned about, with what to do."""
        self.descriptors = 1024
        living, service, _ = self.live({})
        living.startService()
        (told,) = [event for event in service.told if event["name"] == "daemon.few_descriptors"]
        self.assertEqual((told["value"], told["most"]), (1024, DESCRIPTORS_LEAST))

    def test_memory_is_given_back(self) -> None:
        """Connections are asked for what they do not need as long as the daemon runs."""
        asked: list[int] = []
        self.patch(Thrift, "give_back", lambda thrift: asked.append(1))
        living, _, reactor = self.live({})
        living.startService()
        reactor.pump([QUIET_SECONDS] * 3)
        self.assertEqual(len(asked), 4)
        self.successResultOf(living.stopService())
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_older_process_ends_first(self) -> None:
        """A service manager would kill it with this one: its sessions come to their end, and the watchdog is fed."""
        living, _, reactor = self.live({}, NOTIFY_SOCKET="/no/such/socket", WATCHDOG_USEC="1000000")
        older: Any = SimpleNamespace(lives=True)
        living.startService()
        living._launch.predecessor = older
        stopped = living.stopService()
        reactor.pump([0.5] * 100)
        self.assertNoResult(stopped)
        self.assertTrue(living._watchdog is not None and living._watchdog.running)
        older.lives = False
        reactor.advance(SETTLING_SECONDS)
        self.successResultOf(stopped)
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_older_process_is_nobodys(self) -> None:
        """Without a service manager, it ends when it does: this one does not wait for it."""
        living, _, _ = self.live({})
        older: Any = SimpleNamespace(lives=True)
        living.startService()
        living._launch.predecessor = older
        self.successResultOf(living.stopService())

    def test_older_process_lives(self) -> None:
        """It is the parent of this one as long as it lives; one that did not hear that this one serves has ended."""
        read, told = os.pipe()
        older = Predecessor(Handed(told))
        self.assertFalse(older.lives)
        older.serving()
        self.assertTrue(older.lives)
        self.patch(os, "getppid", lambda: 1)
        self.assertFalse(older.lives)
        os.close(read)
        read, told = os.pipe()
        os.close(read)
        older = Predecessor(Handed(told))
        older.serving()
        self.assertFalse(older.lives)

    def test_watchdog_is_fed_until_the_end(self) -> None:
        """The watchdog's loop begins with the service and ends with it."""
        living, _, reactor = self.live({}, WATCHDOG_USEC="1000000")
        living.startService()
        self.assertEqual([call.getTime() for call in reactor.getDelayedCalls()], [0.5, QUIET_SECONDS])
        self.successResultOf(living.stopService())
        self.assertEqual(reactor.getDelayedCalls(), [])
