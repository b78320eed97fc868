"""What a daemon does when an operator asks it over the control socket."""

import json
from datetime import UTC, datetime
from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.ctl import listener
from smartproxy.ctl.answers import Licences
from smartproxy.ctl.daemon import Actions, DaemonProcess
from smartproxy.ctl.listener import CALLERS_MOST, OperatorConnection, OperatorFactory
from smartproxy.ctl.protocol import IDLE_SECONDS, REQUEST_OCTETS_MOST, AskGeneration, AskStatus, Refused, read_request
from smartproxy.ctl.statuses import InForce, PlainClientStatus, Status, judged
from smartproxy.logs.emit import Events
from smartproxy.logs.severity import Severity
from smartproxy.policy.health import judge
from smartproxy.tunnel.condition import load_facts
from tests.unit.answers import on_the_wire

SESSION = {
    **dict.fromkeys(("partner", "peer", "code", "profile", "tls", "speaker", "agreed", "file")),
    "session": "0123456789abcdef",
    "direction": "inbound",
    "phase": "idle",
    "octets_in": 5000,
    "octets_out": 100,
    "files_in": 0,
    "files_out": 0,
}
STATUS = PlainClientStatus(
    **judged(judge([], [], datetime.fromtimestamp(0, UTC))),
    **load_facts(0, None),
    station=None,
    servers=(),
    outbound_listeners={},
    tunnels=(),
)


class Idle:
    """A daemon that notes what it is told."""

    def __init__(self, clock: Clock) -> None:
        self.told: list[dict[str, Any]] = []
        self.events = Events(Logger(), self.told.append, clock, carried=Severity.TRACE)
        self.killed: list[str] = []
        self.broken = False

    def status(self) -> Status:
        """Part of ``Condition``."""
        if self.broken:
            raise RuntimeError("a bug")
        return STATUS

    def sessions(self) -> list[dict[str, object]]:
        """Part of ``Condition``."""
        return [{**SESSION, "since": 90.0}]

    def partners(self) -> frozenset[str]:
        """Part of ``Condition``."""
        return frozenset({"ACME"})

    def generation(self) -> InForce:
        """Part of ``Condition``."""
        return InForce(generation=5)

    def licence(self) -> Licences:
        """Part of ``Condition``."""
        return Licences(licences=())

    def kill(self, session: str) -> bool:
        """Part of ``Condition``."""
        self.killed.append(session)
        return session == SESSION["session"]


class NotedProcess(DaemonProcess):
    """A process that notes how it is ended."""

    def __init__(self) -> None:
        self.drained: list[int | None] = []

    def completed(self, status: Status) -> Status:
        """Part of ``DaemonProcess``."""
        return attrs.evolve(status, pid=4711)

    def drain(self, seconds: int | None) -> None:
        """Part of ``DaemonProcess``."""
        self.drained.append(seconds)


class CtlTestCase(SynchronousTestCase):
    """One daemon."""

    def setUp(self) -> None:
        """Make it."""
        self.clock = Clock()
        self.clock.advance(100.0)
        self.daemon = Idle(self.clock)
        self.process = NotedProcess()
        self.actions = Actions(self.clock, self.daemon, self.process)

    def perform(self, action: str, **said: str | int) -> Any:
        """Have a request carried out."""
        request = read_request(json.dumps({"do": action, **said}).encode())
        return on_the_wire(request, self.actions.perform(request, 1000))

    def refusal(self, action: str, **said: str | int) -> str:
        """Why a request is not carried out."""
        refused: Refused = self.assertRaises(Refused, self.perform, action, **said)
        return str(refused)


class Looking(CtlTestCase):
    """Questions change nothing."""

    def test_status_is_the_daemon_s_and_the_process_s(self) -> None:
        """Both are in one answer."""
        status = self.perform("status")
        self.assertEqual((status["verdict"], status["pid"]), ("ok", 4711))

    def test_sessions(self) -> None:
        """Each with its begin, its age, and what it carried a second since then."""
        (shown,) = self.perform("sessions")["sessions"]
        self.assertEqual((shown["since"], shown["seconds"]), ("1970-01-01T00:01:30Z", 10.0))
        self.assertEqual((shown["rate_in"], shown["rate_out"]), (500, 10))

    def test_others(self) -> None:
        """The generation and the licence are the daemon's words."""
        self.assertEqual(self.perform("generation")["generation"], 5)
        self.assertEqual(self.perform("licence"), {"licences": []})
        self.assertEqual(self.daemon.told, [])


class Levels(CtlTestCase):
    """What is logged."""

    def test_everything(self) -> None:
        """The level is in force at once, the answer shows it, and who asked is recorded."""
        self.assertEqual(self.perform("level", level="error")["levels"], {"*": "error"})
        (told,) = self.daemon.told
        self.assertEqual((told["name"], told["mode"]), ("level.changed", "error"))
        self.assertEqual(told["message"], "smartproxy ctl level by user 1000")
        self.assertEqual(self.perform("level")["levels"], {"*": "error"})

    def test_particular(self) -> None:
        """A session, a partner or a category has its own; ``configured`` takes it back."""
        self.perform("level", level="info")
        self.perform("level", level="trace", session="0123456789abcdef")
        self.perform("level", level="debug", partner="ACME")
        shown = self.perform("level", level="error", category="tunnel")["levels"]
        self.assertEqual(
            shown, {"*": "info", "tunnel": "error", "session 0123456789abcdef": "trace", "partner ACME": "debug"}
        )
        shown = self.perform("level", level="configured", partner="ACME")["levels"]
        self.assertNotIn("partner ACME", shown)

    def test_refused(self) -> None:
        """Words that make no sense are named, and nothing changes."""
        self.assertIn("unknown level 'loud'", self.refusal("level", level="loud"))
        self.assertIn("unknown category", self.refusal("level", level="info", category="weather"))
        self.assertIn("not for several", self.refusal("level", level="info", category="tunnel", partner="ACME"))
        self.assertIn("which level", self.refusal("level", partner="ACME"))
        self.assertEqual(self.daemon.told, [])

    def test_nobody_of_that_name(self) -> None:
        """A session that is not live and a partner that is not configured are refused in one line; nothing changes."""
        self.assertEqual(
            self.refusal("level", level="trace", session="feedfacefeedface"),
            "no live session has the id feedfacefeedface; `smartproxy ctl sessions` lists them",
        )
        self.assertEqual(
            self.refusal("level", level="trace", partner="ACNE"),
            "no partner has the name ACNE; `smartproxy partner list`, on the backend, lists them",
        )
        self.assertIn("no partner", self.refusal("level", level="configured", partner="ACNE"))
        self.assertEqual(self.daemon.told, [])
        self.assertEqual(self.perform("level")["levels"], {"*": "trace"})

    def test_taken_back_from_a_partner_that_was_removed(self) -> None:
        """What has a level of its own is known by it."""
        self.daemon.events.levels.set(Severity.TRACE, partner="GONE")
        self.assertEqual(self.perform("level", level="configured", partner="GONE")["levels"], {"*": "trace"})


class Deeds(CtlTestCase):
    """What changes the daemon is recorded with who asked for it."""

    def test_drain(self) -> None:
        """With or without a time."""
        self.assertEqual(self.perform("drain", seconds=60), {"draining": True, "sessions": 1})
        self.perform("drain")
        self.assertEqual(self.process.drained, [60, None])
        self.assertEqual([event["command"] for event in self.daemon.told], ["drain", "drain"])
        self.assertEqual(self.daemon.told[0]["seconds"], 60)
        self.assertIn("has to be between 0 and", self.refusal("drain", seconds=-1))

    def test_kill(self) -> None:
        """One session; another id is refused, and nothing recorded."""
        self.assertEqual(self.perform("kill", session="0123456789abcdef"), {"killed": "0123456789abcdef"})
        (told,) = self.daemon.told
        self.assertEqual((told["name"], told["session"]), ("ctl.used", "0123456789abcdef"))
        self.assertIn("no live session has the id x", self.refusal("kill", session="x"))
        self.assertEqual(len(self.daemon.told), 1)


class Pipe:
    """The daemon's end of a UNIX socket, in memory."""

    def __init__(self) -> None:
        self.written = b""
        self.producer: Any = None
        self.ended = ""
        self.disconnecting = False

    def getHandle(self) -> "Pipe":
        """What the kernel is asked about."""
        return self

    def write(self, octets: bytes) -> None:
        """Note what is said."""
        self.written += octets

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Note who is paused while nobody reads."""
        self.producer = producer

    def unregisterProducer(self) -> None:
        """Pause nobody."""
        self.producer = None

    def pauseProducing(self) -> None:
        """Read no more for a while."""

    def resumeProducing(self) -> None:
        """Read on."""

    def loseConnection(self) -> None:
        """End when all is written."""
        self.ended, self.disconnecting = "closed", True

    def abortConnection(self) -> None:
        """End now."""
        self.ended, self.disconnecting = "aborted", True


class Callers(CtlTestCase):
    """Who may ask, and how much."""

    def setUp(self) -> None:
        """Everybody is this daemon's user."""
        super().setUp()
        self.user = 1000
        self.patch(listener, "peer_of", lambda handle: (4712, self.user))
        self.patch(listener.os, "geteuid", lambda: 1000)  # type: ignore[attr-defined]  # the module's own name for it
        self.factory = OperatorFactory(self.clock, self.actions)

    def call(self) -> tuple[OperatorConnection, Pipe]:
        """Connect."""
        caller, pipe = self.factory.buildProtocol(None), Pipe()
        caller.makeConnection(pipe)
        return caller, pipe

    def answers(self, pipe: Pipe) -> list[Any]:
        """What was answered."""
        return [json.loads(line) for line in pipe.written.splitlines()]

    def test_questions_in_their_order(self) -> None:
        """However they are cut, each line has one answer."""
        caller, pipe = self.call()
        for octet in AskStatus().line() + AskGeneration().line():
            caller.dataReceived(bytes([octet]))
        status, generation = (each["answer"] for each in self.answers(pipe))
        self.assertEqual((status["pid"], generation["generation"]), (4711, 5))

    def test_refusal_ends_nothing(self) -> None:
        """After garbage the next question is answered."""
        caller, pipe = self.call()
        caller.dataReceived(b"garbage\n" + AskGeneration().line())
        self.assertEqual([each["ok"] for each in self.answers(pipe)], [False, True])
        self.assertEqual(pipe.ended, "")

    def test_bug_is_told_to_the_log(self) -> None:
        """A bug of ours is an event; the operator is told where to look, and the daemon goes on."""
        caller, pipe = self.call()
        self.daemon.broken = True
        caller.dataReceived(AskStatus().line() + AskGeneration().line())
        self.assertIn("its log", self.answers(pipe)[0]["error"])
        self.assertTrue(self.answers(pipe)[1]["ok"])
        self.assertEqual([event["name"] for event in self.daemon.told], ["internal.error"])
        self.flushLoggedErrors(RuntimeError)

    def test_another_user(self) -> None:
        """Another user is told nothing and not read, and the event names that user; root may ask."""
        self.user = 1001
        caller, pipe = self.call()
        caller.dataReceived(AskStatus().line())
        self.assertEqual((pipe.written, pipe.ended), (b"", "aborted"))
        (told,) = self.daemon.told
        self.assertEqual(told["name"], "ctl.refused")
        self.assertIn("process 4712 of user 1001", told["message"])
        self.user = 0
        caller, pipe = self.call()
        caller.dataReceived(AskStatus().line())
        self.assertTrue(self.answers(pipe)[0]["ok"])

    def test_too_many(self) -> None:
        """The one too many is told so; when one leaves, there is room again."""
        first, _ = self.call()
        for _number in range(CALLERS_MOST - 1):
            self.call()
        _, pipe = self.call()
        self.assertIn("open already", self.answers(pipe)[0]["error"])
        self.assertEqual(pipe.ended, "closed")
        first.connectionLost()
        _, pipe = self.call()
        self.assertEqual(pipe.ended, "")

    def test_line_without_an_end(self) -> None:
        """It is refused as soon as it is too long, and nothing after it is heard."""
        caller, pipe = self.call()
        caller.dataReceived(b"x" * (REQUEST_OCTETS_MOST + 1))
        caller.dataReceived(b"\n" + AskStatus().line())
        (answer,) = self.answers(pipe)
        self.assertIn(str(REQUEST_OCTETS_MOST), answer["error"])
        self.assertEqual((pipe.ended, pipe.producer), ("closed", None))

    def test_who_does_not_read(self) -> None:
        """While answers wait, questions wait."""
        caller, pipe = self.call()
        pipe.producer.pauseProducing()
        caller.dataReceived(AskStatus().line() * 3)
        self.assertEqual(pipe.written, b"")
        pipe.producer.resumeProducing()
        self.assertEqual(len(self.answers(pipe)), 3)

    def test_idle(self) -> None:
        """A connection over which nothing is asked ends after a while; a question starts the time anew."""
        caller, pipe = self.call()
        self.clock.advance(IDLE_SECONDS - 1)
        caller.dataReceived(AskStatus().line())
        self.clock.advance(IDLE_SECONDS - 1)
        self.assertEqual(pipe.ended, "")
        self.clock.advance(1)
        self.assertEqual(pipe.ended, "aborted")
        caller.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
