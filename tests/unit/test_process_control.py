"""What a daemon's process has to do with its control socket."""

import os
import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.ctl.daemon import Condition, DaemonProcess
from smartproxy.ctl.listener import ControlSocket
from smartproxy.ctl.protocol import Refused
from smartproxy.ctl.statuses import PlainClientStatus, judged
from smartproxy.logs.levels import Levels
from smartproxy.logs.log import Log
from smartproxy.logs.severity import SIGNALS
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import StopReason
from smartproxy.policy.health import judge
from smartproxy.policy.limits import SUCCESSION_SECONDS
from smartproxy.tap import life
from smartproxy.tap import life as control
from smartproxy.tap.daemon import DaemonOptions
from smartproxy.tap.launch import Launch
from smartproxy.tap.life import SWITCH, Life, life_of
from smartproxy.tap.predecessor import SERVING, VARIABLE, Handed, Predecessor, counts_line, environment_for
from smartproxy.tap.signals import Signals
from smartproxy.tap.succession import _Heir
from smartproxy.tunnel.condition import load_facts
from tests.unit.test_process_life import Draining, Turning


class Endable(Draining):
    """A daemon's service whose drain time can be changed."""

    drain_seconds: int | None = None


class ProcessTestCase(SynchronousTestCase):
    """This process, on a reactor that notes how it is ended."""

    def setUp(self) -> None:
        """It began at 100."""
        self.reactor = Turning()
        self.reactor.advance(100)
        self.service = Endable()
        self.signals = Signals(lambda severity: None)
        self.signals.attach(self.reactor, self.service)
        self.path = Path(self.mktemp())

    def process(self, path: Path | None) -> DaemonProcess:
        """The process with this PID file."""
        drain = partial(self.signals.drain, StopReason(Cause.OPERATOR_COMMAND, "smartproxy ctl drain"))
        return DaemonProcess(self.reactor, self.service, drain, path)


STATUS = PlainClientStatus(
    **judged(judge([], [], datetime.fromtimestamp(0, UTC))),
    **load_facts(0, None),
    station=None,
    servers=(),
    outbound_listeners={},
    tunnels=(),
)
"""A daemon's, before its process has said anything."""


class Facts(ProcessTestCase):
    """What the process says of itself."""

    def test_number_and_age(self) -> None:
        """Its number, when it began, and how long ago that is."""
        process = self.process(None)
        self.reactor.advance(50)
        facts = process.completed(STATUS)
        begun = datetime.fromtimestamp(100, UTC)
        self.assertEqual((facts.pid, facts.started, facts.uptime), (os.getpid(), begun, 50))
        self.assertEqual((facts.pid_file, facts.pid_file_right), (None, None))

    def test_pid_file(self) -> None:
        """It is right if it holds this process's number; another number, garbage and no file are wrong."""
        self.path.write_text(f"{os.getpid()}\n")
        self.assertIs(self.process(self.path).completed(STATUS).pid_file_right, True)
        for text in ("1", "garbage", ""):
            self.path.write_text(text)
            self.assertIs(self.process(self.path).completed(STATUS).pid_file_right, False)
        self.path.unlink()
        self.assertIs(self.process(self.path).completed(STATUS).pid_file_right, False)


class Drains(ProcessTestCase):
    """How it is ended."""

    def test_in_order(self) -> None:
        """In a later turn, so that the answer leaves before; with the time that was said."""
        self.process(None).drain(60)
        self.assertEqual((self.reactor.ends, self.service.drain_seconds), ([], 60))
        self.reactor.advance(0)
        self.assertEqual(self.reactor.ends, ["stop"])

    def test_as_configured(self) -> None:
        """Nothing said leaves what the command line said."""
        self.service.drain_seconds = 7
        self.process(None).drain(None)
        self.assertEqual(self.service.drain_seconds, 7)

    def test_again(self) -> None:
        """A second time is refused and ends nothing sooner; with 0 seconds, sessions are ended now."""
        process = self.process(None)
        process.drain(60)
        for seconds in (None, 5):
            refused: Refused = self.assertRaises(Refused, process.drain, seconds)
            self.assertIn("drains already", str(refused))
        self.assertEqual(self.service.hurried, 0)
        process.drain(0)
        self.assertEqual(self.service.hurried, 1)
        self.reactor.advance(0)
        self.assertEqual(self.reactor.ends, ["stop"])

    def test_signal_after_it(self) -> None:
        """A signal to a daemon that drains already is the second one: it ends now."""
        self.process(None).drain(None)
        self.signals.ending(15)
        self.assertEqual((self.service.hurried, self.service.told[-1]["mode"]), (1, "now"))


class Places(ProcessTestCase):
    """Where the socket and the PID file are."""

    def setUp(self) -> None:
        """Parsing takes the level signals; they are given back."""
        super().setUp()
        for number in SIGNALS:
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def socket(self, *words: str, parent: usage.Options | None = None) -> tuple[ControlSocket, DaemonProcess]:
        """The control socket of these switches."""

        class Options(DaemonOptions):
            program = "smartproxy-server"
            optParameters = [SWITCH]

        options = Options()
        options.parent = parent
        options.parseOptions(["--state-dir", str(self.path), *words])
        made: list[Any] = []
        self.patch(control, "Actions", lambda clock, condition, process, look: made.append(process))
        condition = cast(Condition, None)
        socket = life_of(self.reactor, self.service, condition, options)._control
        assert socket is not None
        return socket, made[0]

    def test_socket(self) -> None:
        """In the state folder under the daemon's name, unless the switch says where."""
        self.assertEqual(self.socket()[0].path, self.path.absolute() / "smartproxy-server.sock")
        self.assertEqual(self.socket("--ctl-socket", "/run/x.sock")[0].path, Path("/run/x.sock"))

    def test_pid_file(self) -> None:
        """In the state folder, unless a switch says where, or says to twistd that there is none; twistd writes none."""
        usual = str(self.path.absolute() / "smartproxy-server.pid")
        self.assertEqual(self.socket()[1].completed(STATUS).pid_file, usual)
        self.assertEqual(self.socket("--pid-file", "/run/x.pid")[1].completed(STATUS).pid_file, "/run/x.pid")
        for given, words, expected in (
            ("twistd.pid", (), usual),
            ("/run/twistd.pid", (), "/run/twistd.pid"),
            ("/run/twistd.pid", ("--pid-file", "/run/x.pid"), "/run/x.pid"),
            ("", (), None),
        ):
            parent = usage.Options()
            parent["pidfile"], parent["logfile"], parent["syslog"] = given, None, None
            self.assertEqual(self.socket(*words, parent=parent)[1].completed(STATUS).pid_file, expected)
            self.assertEqual(parent["pidfile"], "")


class NotedSocket:
    """A control socket that notes when it is opened and closed, and whether the daemon ran then."""

    def __init__(self, service: Draining) -> None:
        self.notes: list[tuple[str, bool]] = []
        self._service = service

    def open(self, *, instead: bool = False) -> None:
        """Part of ``ControlSocket``."""
        self.notes.append(("instead" if instead else "open", bool(self._service.running)))

    async def close(self, *, succeeded: bool = False) -> None:
        """Part of ``ControlSocket``."""
        self.notes.append(("close", bool(self._service.running)))


class Lives(ProcessTestCase):
    """When it is there."""

    def test_from_the_start_to_the_very_end(self) -> None:
        """Opened when the daemon runs, closed when it has ended, so that a drain can be watched; never before."""
        self.patch(life, "harden", dict)
        self.patch(life, "collect_seldom", lambda: None)
        ending: Deferred[None] = Deferred()
        self.patch(self.service, "stopService", lambda: ending)
        noted = NotedSocket(self.service)
        log = Log("smartproxy-test", self.path, Levels())
        launch = Launch("smartproxy-test", None, background=False)
        living = Life(self.reactor, self.service, self.signals, log, launch, control=cast(ControlSocket, noted))
        self.assertEqual(noted.notes, [])
        living.startService()
        self.assertEqual(noted.notes, [("open", True)])
        stopped = living.stopService()
        self.assertEqual(len(noted.notes), 1)
        ending.callback(None)
        self.successResultOf(stopped)
        self.assertEqual([word for word, _ in noted.notes], ["open", "close"])

    def test_taking_over(self) -> None:
        """A process that takes over has the control socket when it serves, in the place of the one before, and says so.

        Not before: if it does not come to serve, the other one goes on, and is asked there.
        """
        self.patch(life, "harden", dict)
        self.patch(life, "collect_seldom", lambda: None)
        told, tells = os.pipe()
        self.addCleanup(os.close, told)
        noted = NotedSocket(self.service)
        log = Log("smartproxy-test", self.path, Levels())
        launch = Launch("smartproxy-test", None, background=False, predecessor=Predecessor(Handed(tells)))
        living = Life(self.reactor, self.service, self.signals, log, launch, control=cast(ControlSocket, noted))
        living.startService()
        self.assertEqual(noted.notes, [])
        living._serving()
        self.assertEqual(noted.notes, [("instead", True)])
        self.assertEqual(os.read(told, 100), SERVING + f"{os.getpid()}\n".encode())


class Successors(SynchronousTestCase):
    """What becomes of a new process, as the old one hears it."""

    def heir(self, *said: bytes) -> _Heir:
        """A new process that says this."""
        self.clock = Clock()
        heir = _Heir(self.clock)
        self.killed: list[str] = []
        heir.transport = cast(Any, self)
        for each in said:
            heir.childDataReceived(3, each)
        return heir

    def signalProcess(self, name: str) -> None:
        """Part of ``IProcessTransport``."""
        self.killed.append(name)

    def refusal(self, heir: _Heir) -> str:
        """Why it does not serve."""
        return str(self.failureResultOf(heir.serves, Refused).value)

    def test_serves(self) -> None:
        """Its number, however it is cut; what was said before is no matter, and time neither."""
        heir = self.heir(b"a warning\n", SERVING, b"12")
        self.assertNoResult(heir.serves)
        heir.childDataReceived(3, b"34\n")
        self.assertEqual(self.successResultOf(heir.serves), 1234)
        self.clock.advance(SUCCESSION_SECONDS * 2)
        self.assertEqual(self.killed, [])

    def test_ends(self) -> None:
        """Its last words are the reason; without any, its end is."""
        ended = Failure(ProcessTerminated(1))
        for said, words in ((b"first\nno licence\n", "this one goes on: no licence"), (b"", "see its log")):
            heir = self.heir(said)
            heir.processExited(ended)
            self.assertIn(words, self.refusal(heir))

    def test_late(self) -> None:
        """One that does not serve in time is ended."""
        heir = self.heir()
        self.clock.advance(SUCCESSION_SECONDS)
        self.assertIn("did not serve within 60 seconds", self.refusal(heir))
        self.assertEqual(self.killed, ["KILL"])

    def writeToChild(self, descriptor: int, octets: bytes) -> None:
        """Part of ``IProcessTransport``: note what it is told."""
        self.told.append((descriptor, octets))

    def test_sessions_that_go_on(self) -> None:
        """It is told of them at once, and each second if they have changed, until it has ended."""
        self.told: list[tuple[int, bytes]] = []
        heir, sessions = self.heir(), {"ACME": 2}
        heir.count(lambda: dict(sessions))
        self.assertEqual(self.told, [(4, b'{"ACME": 2}\n')])
        self.clock.advance(1)
        self.assertEqual(len(self.told), 1)
        sessions["ACME"] = 1
        self.clock.advance(1)
        self.assertEqual(self.told[1:], [(4, b'{"ACME": 1}\n')])
        heir.processExited(Failure(ProcessTerminated(1)))
        self.failureResultOf(heir.serves, Refused)
        sessions.clear()
        self.clock.advance(5)
        self.assertEqual(len(self.told), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_sessions_of_the_older_process(self) -> None:
        """What it tells is taken line by line, however it is cut; when it has ended, there are none."""
        reactor = MemoryReactorClock()
        read, write = os.pipe()
        told, tells = os.pipe()
        self.addCleanup(os.close, told)
        self.addCleanup(os.close, tells)
        taken: list[Mapping[str, int]] = []
        predecessor = Predecessor(Handed(tells, counts=read))
        predecessor.follow(reactor, taken.append)
        (reader,) = reactor.getReaders()
        for octets in (counts_line({"ACME": 2, "BÖLT": 1}), b'{"ACME"', b": 1}\n{}\n", counts_line({"ACME": 3})):
            os.write(write, octets)
            reader.doRead()
        self.assertEqual(taken, [{"ACME": 2, "BÖLT": 1}, {"ACME": 1}, {}, {"ACME": 3}])
        os.close(write)
        lost = reader.doRead()
        reader.connectionLost(Failure(lost))
        self.assertEqual(taken[4:], [{}])
        predecessor.follow(reactor, taken.append)
        self.assertEqual(len(taken), 5)

    def test_descriptors(self) -> None:
        """What is handed is read as it was written, with and without each part."""
        for handed in (Handed(3), Handed(3, (4, 5), (6,), 7, 8), Handed(3, (), (4,), counts=5)):
            self.assertEqual(Handed.read(handed.text()), handed)
        environment = environment_for(Handed(3), {"WATCHDOG_PID": "1", "WATCHDOG_USEC": "5", "HOME": "/"})
        self.assertEqual(environment, {"WATCHDOG_USEC": "5", "HOME": "/", VARIABLE: "3;;;;"})
        self.assertIsNone(Predecessor.of({}))
