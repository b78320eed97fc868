"""The crew: workers that are made, that die, that hang and that say what they may not say, as real processes."""

import errno
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast
from unittest.mock import Mock

from twisted.internet import reactor as trials
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.logger import ILogObserver, Logger, LogPublisher, globalLogPublisher
from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smartproxy.logs.carrier import WAITING_MOST
from smartproxy.logs.emit import Events
from smartproxy.logs.levels import Levels
from smartproxy.logs.severity import Severity
from smartproxy.net.sessions import LiveSessions
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import Draining
from smartproxy.relay.openings import SessionFacts, client_inbound
from smartproxy.tunnel.boxes import Number, Plain, PrintableText
from smartproxy.tunnel.control import Responder
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.vocabulary import TunnelCommand, TunnelPhase
from smartproxy.workers.crew import Crew
from smartproxy.workers.link import Link
from smartproxy.workers.members import CrewMember
from smartproxy.workers.sessions import portraits
from smartproxy.workers.spawning import NO_MEMORY, Unborn, Zygote
from smartproxy.workers.words import Began, Leave, Post, Start, directions
from smartproxy.workers.worker import Tidings, Worker
from tests.adapters.rig import Journal
from tests.process.clock import LIMIT_SECONDS
from tests.unit.portraits import portrait

TITLE = "smart-test"
LIAR, HONEST = "1" * 16, "2" * 16
reactor: Any = trials


class Serve(TunnelCommand):
    """Write a text into the connection that comes with it."""

    arguments = [(b"text", PrintableText(16))]


class Misbehave(TunnelCommand):
    """Begin a session of this id, or say what only a supervisor may say where there is none."""

    arguments = [(b"session", PrintableText(16))]
    response = [(b"pid", Number())]


class Remember(TunnelCommand):
    """Keep the text in the file that comes with it."""


class Recollect(TunnelCommand):
    """Say what is kept, and which process read it."""

    response = [(b"text", PrintableText(16)), (b"pid", Number())]


class Ponder(TunnelCommand):
    """Answer never."""


class TestLink(Link):
    """The table of these tests."""

    allowed = directions(supervisor=[Serve, Misbehave, Remember, Recollect, Ponder])


class Lawless(TestLink):
    """The same, for a worker that says what it likes."""

    allowed = {**TestLink.allowed, (Post.WORKER, TunnelPhase.READY): frozenset({Began, Start})}


class Recording:
    """A log without a place."""

    def __init__(self) -> None:
        self.levels = Levels()

    def divert(self, observer: ILogObserver) -> None:
        """In the worker, there is nobody else to tell."""
        globalLogPublisher.addObserver(observer)


class Craft:
    """What these workers do."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._kept: dict[str, Any] = {"text": "nothing", "pid": 0}
        self.sessions = LiveSessions(worker.reactor, worker.events)

    def responders(self) -> Mapping[type[TunnelCommand], Responder]:
        """Part of ``Craft``."""
        ours: dict[type[TunnelCommand], Responder] = {Remember: self._remember, Recollect: lambda: self._kept}
        ours[Ponder] = Deferred
        return {Serve: self._serve, Misbehave: self._misbehave, **ours}

    def _remember(self) -> None:
        with open(self._worker.link.take_descriptor(), "rb") as file:
            self._kept = {"text": os.pread(file.fileno(), 16, 0).decode("ascii"), "pid": os.getpid()}

    def start(self, facts: Mapping[str, Plain]) -> None:
        """Part of ``Craft``."""
        self._worker.events.emit("backend.stopped", cause=Cause.OPERATOR_SIGNAL, message=str(facts["word"]))

    def _serve(self, text: str) -> None:
        with self._worker.link.take_socket() as connection:
            connection.sendall(f"{text} {os.getpid()}".encode("ascii"))

    def _misbehave(self, session: str) -> dict[str, int]:
        if session:
            self._worker.began(session, client_inbound(SessionFacts(peer="192.0.2.7:40000", partner="ACME")))
            told = {"command": "CDT", "sender": "initiator"}
            self._worker.events.emit("session.command", session=session, partner="ACME", **told)
        else:
            self._worker.link.tell(Start, number=1, levels=[b"{}"], facts=[b"{}"])
        return {"pid": os.getpid()}


def aged(session: str) -> dict[str, object]:
    """A session as a worker tells it, five seconds old."""
    return portrait(session, since=5.0)


class CrewCase(TestCase):
    """A crew of two workers."""

    timeout = LIMIT_SECONDS

    kind: type[Link] = TestLink
    silence = 10.0
    craft: type[Craft] = Craft
    ours: type[Link] = TestLink
    single = False
    secrets: Sequence[str] = ()
    rehearse: Callable[[Any], object] | None = None

    def setUp(self) -> None:
        """Fork a zygote, and have it make both."""
        self.told: list[dict[str, Any]] = []
        self.deaths: list[CrewMember] = []
        self.changed: list[Deferred[None]] = []
        self.ruined: Deferred[None] = Deferred()
        log = Logger(namespace="test", observer=LogPublisher())
        self.events = Events(log, self._carried, reactor, source="server", carried=Severity.TRACE)
        kind, silence, craft = self.kind, self.silence, self.craft

        def unborn(reactor: Any) -> Unborn:
            return Worker(reactor, Recording(), source="server", kind=kind, craft=craft, silence=silence).unborn()

        self.zygote = Zygote(unborn, TITLE, self.secrets, self.rehearse)
        self.zygote.fork()
        self.crew = Crew(
            reactor,
            self.events,
            self.zygote,
            count=2,
            kind=self.ours,
            user=self,
            silence=self.silence,
            single=self.single,
            ruined=lambda: self.ruined.callback(None),
        )
        self.crew.start()

    async def look(self) -> list[dict[str, object]]:
        """The state of each session, as the workers tell it."""
        return await portraits(self.crew.members, self.events, reactor)

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]  # Twisted waits for it
        """End all of it."""
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        await self.crew.stop()
        await deferLater(reactor, 0)
        self.assertFalse(Path(f"/proc/{self.zygote.pid}").exists())

    def facts(self) -> dict[str, Plain]:
        """Part of ``CrewUser``."""
        return {"word": "hello"}

    def responders(self, member: CrewMember) -> Mapping[type[TunnelCommand], Responder]:
        """Part of ``CrewUser``."""
        return {}

    def prepare(self, member: CrewMember) -> Deferred[None]:
        """Part of ``CrewUser``."""
        return succeed(None)

    def ready(self, member: CrewMember) -> None:
        """Part of ``CrewUser``."""

    def over(self, member: CrewMember, session: str) -> None:
        """Part of ``CrewUser``."""

    def died(self, member: CrewMember) -> None:
        """Part of ``CrewUser``."""
        self.deaths.append(member)

    def _carried(self, document: dict[str, Any]) -> None:
        self.told.append(document)
        changed, self.changed = self.changed, []
        for each in changed:
            each.callback(None)

    async def event(self, name: str, count: int = 1) -> dict[str, Any]:
        """The event of this name, as soon as it was told so often."""
        while len(found := [each for each in self.told if each["name"] == name]) < count:
            self.changed.append(Deferred())
            await self.changed[-1]
        return found[count - 1]

    async def both(self, count: int = 2) -> tuple[CrewMember, ...]:
        """The workers, as soon as so many have been ready."""
        await self.event("worker.started", count)
        return self.crew.members

    async def served(self) -> tuple[str, int]:
        """What a worker wrote into a connection, and its process."""
        member = await self.crew.choose()
        ours, theirs = socket.socketpair()
        with ours:
            await member.link.hand_over(Serve, theirs, text="served")
            text, pid = ours.recv(100).decode("ascii").split()
        return text, int(pid)


class Flooded(SynchronousTestCase):
    """A worker in which more happens within a turn of the reactor than can wait."""

    def test_newest_are_kept(self) -> None:
        """The oldest are dropped, as in a daemon without workers, and one event says how many."""
        clock = Clock()
        journal, tidings, told = Journal(clock), Tidings(clock), list[bytes]()
        tidings.events = journal.events
        tidings.link = cast("Link", SimpleNamespace(tell=lambda command, events: told.extend(events)))
        for number in range(WAITING_MOST + 3):
            tidings.carry({"number": number})
        clock.advance(0)
        self.assertEqual([json.loads(each)["number"] for each in told], list(range(3, WAITING_MOST + 3)))
        (dropped,) = journal.of("events.dropped")
        self.assertEqual(dropped["count"], 3)


class CrewTests(CrewCase):
    """What a crew promises."""

    async def test_workers_are_processes_that_take_descriptors(self) -> None:
        """Two workers of the zygote are ready, named so; a connection that is handed over is served by one of them."""
        members = await self.both()
        pids = {member.pid for member in members}
        self.assertEqual(len(pids - {os.getpid(), self.zygote.pid}), 2)
        self.assertEqual({Path(f"/proc/{pid}/comm").read_text("ascii").strip() for pid in pids}, {TITLE})
        text, pid = await self.served()
        self.assertEqual(text, "served")
        self.assertIn(pid, pids)

    async def test_stopped_while_they_start(self) -> None:
        """A crew that is stopped before its workers are ready tells of no fault."""
        await self.crew.stop()
        self.assertEqual([each["name"] for each in self.told if each["name"] == "internal.error"], [])

    async def test_one_that_goes_while_it_starts(self) -> None:
        """The death of a worker that was not ready is told as its death, and as no fault of the supervisor."""
        (starting, *_) = self.crew._members.values()
        starting.link.abort(Closing(Cause.WORKER_HANGS, Cause.WORKER_HANGS.meaning))
        await self.event("worker.died")
        self.assertEqual([each["name"] for each in self.told if each["name"] == "internal.error"], [])

    async def test_events_of_a_worker_are_the_daemons(self) -> None:
        """What a worker tells is told by the supervisor, with a number of its own."""
        event = await self.event("backend.stopped")
        self.assertEqual((event["message"], event["source"]), ("hello", "server"))

    async def test_levels_hold_in_every_worker(self) -> None:
        """What is logged of a worker is what the supervisor's levels say, as soon as they have changed."""
        await self.both()
        self.events.set_level(Severity.INFO, cause=Cause.OPERATOR_COMMAND, message="test")
        self.events.set_level(Severity.TRACE, cause=Cause.OPERATOR_COMMAND, message="test", session="a1")
        for member in self.crew.members:
            await member.link.ask(Misbehave, session=f"a{member.number}")
            await member.link.ask(Leave)
        commands = [(each["session"], each["level"]) for each in self.told if each["name"] == "session.command"]
        self.assertEqual(commands, [("a1", "trace")])

    async def test_a_killed_worker_is_replaced(self) -> None:
        """One CRITICAL event says which process, by which signal, and how many sessions; the other worker stays."""
        first, second = await self.both()
        await first.link.ask(Misbehave, session="a1")
        self.events.set_level(Severity.TRACE, cause=Cause.OPERATOR_COMMAND, message="test", session="a1")
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        event = await self.event("worker.died")
        self.assertEqual(
            (event["level"], event["pid"], event["cause"], event["exit_status"], event["sessions"]),
            ("critical", first.pid, Cause.WORKER_SIGNAL, -signal.SIGKILL, 1),
        )
        members = await self.both(3)
        self.assertIn(second, members)
        self.assertEqual(len(members), 2)
        self.assertEqual(self.deaths, [first])
        self.assertEqual(self.crew.live, {})
        self.assertNotIn("session a1", self.events.levels.described())

    async def test_no_zombie_and_no_descriptor_is_left(self) -> None:
        """After many deaths there are as many descriptors and children as before them."""
        await self.both()
        before = len(os.listdir("/proc/self/fd")), _children(self.zygote.pid)
        for death in range(1, 21):
            member = self.crew.members[0]
            assert member.pid is not None
            os.kill(member.pid, signal.SIGKILL)
            await self.event("worker.died", death)
            for again in self.crew._again:
                again.reset(0)
            await self.event("worker.started", 2 + death)
        self.assertEqual((len(os.listdir("/proc/self/fd")), len(_children(self.zygote.pid))), (before[0], 2))

    async def test_what_is_told_is_not_answered(self) -> None:
        """Of a word that nobody waits for, only the word travels; what is asked after it is answered after it."""
        first, _ = await self.both()
        came: list[dict[bytes, bytes]] = []
        arrived = first.link.box_arrived

        def note(box: dict[bytes, bytes]) -> None:
            came.append(box)
            arrived(box)

        self.patch(first.link, "box_arrived", note)
        first.link.tell(Misbehave, session="a1")
        await first.link.ask(Recollect)
        self.assertEqual([name for box in came for name in (amp.ANSWER, amp.ERROR) if name in box], [amp.ANSWER])
        self.assertEqual([(name, each.partner) for name, each in first.sessions.items()], [("a1", "ACME")])

    async def test_workers_are_born_with_what_they_were_taught(self) -> None:
        """The zygote reads it, once; the next worker has it without a word, and those before it have it not."""
        first, second = await self.both()
        with open(os.memfd_create("taught"), "w+b", buffering=0) as file:
            file.write(b"generation 7")
            self.crew.teach(Remember, file)
            self.assertTrue(file.closed)
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        born = (set(await self.both(3)) - {second}).pop()
        told = await born.link.ask(Recollect)
        self.assertEqual((told["text"], told["pid"]), ("generation 7", self.zygote.pid))
        self.assertEqual((await second.link.ask(Recollect))["text"], "nothing")
        self.assertEqual((born.lessons, second.lessons, self.crew.lessons), (1, 0, 1))

    async def test_stopped_while_one_is_asked(self) -> None:
        """What is asked of a worker when the daemon stops fails for that reason, and not as if the worker had died."""
        first, _ = await self.both()
        asked = first.link.ask(Ponder, seconds=60.0)
        await self.crew.stop()
        failed = self.failureResultOf(asked, Draining).value
        self.assertEqual(failed.rule, Cause.DAEMON_STOPPING)

    async def test_what_a_worker_may_not_say_ends_it(self) -> None:
        """A session of another worker's id is a violation: the worker that says it is killed, and loses nothing."""
        first, second = await self.both()
        await first.link.ask(Misbehave, session="a1")
        second.link.ask(Misbehave, session="a1").addErrback(lambda failure: None)
        event = await self.event("worker.died")
        self.assertEqual((event["pid"], event["cause"], event["sessions"]), (second.pid, Cause.WORKER_VIOLATION, 0))
        self.assertIs(self.crew.live["a1"], first)


class LawlessTests(CrewCase):
    """Workers whose links have another table."""

    kind = Lawless

    async def test_a_forbidden_question_ends_the_worker(self) -> None:
        """A worker that asks what only a supervisor may ask is ended, and not the supervisor."""
        first, _ = await self.both()
        first.link.ask(Misbehave, session="").addErrback(lambda failure: None)
        event = await self.event("worker.died")
        self.assertEqual((event["pid"], event["cause"]), (first.pid, Cause.WORKER_VIOLATION))


class Crashing(Craft):
    """A worker whose program fails before it runs."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker)
        vars(worker)["listen_for_levels"] = _fail


def _fail() -> NoReturn:
    raise AssertionError("planted")


class CrashingTests(CrewCase):
    """An exception that nobody catches."""

    craft = Crashing

    async def test_a_worker_that_ends_by_itself(self) -> None:
        """The event has its status; those that end at once are made again, and the supervisor goes on."""
        event = await self.event("worker.died", 3)
        self.assertEqual((event["cause"], event["exit_status"]), (Cause.WORKER_EXIT, 1))


class Starving(Craft):
    """A worker that gets no memory for what it is asked to do."""

    def _serve(self, text: str) -> None:
        raise MemoryError


class StarvingTests(CrewCase):
    """Want of memory."""

    craft = Starving

    async def test_a_worker_without_memory_ends(self) -> None:
        """It does not go on: the event says why it ended, and another one takes its place."""
        first, _ = await self.both()
        ours, theirs = socket.socketpair()
        ours.close()
        first.link.hand_over(Serve, theirs, text="served").addErrback(lambda failure: None)
        event = await self.event("worker.died")
        self.assertEqual((event["pid"], event["cause"], event["exit_status"]), (first.pid, "worker.memory", NO_MEMORY))
        self.assertEqual(len(await self.both(3)), 2)


class ZygoteTests(CrewCase):
    """The zygote dies."""

    async def test_what_goes_with_it(self) -> None:
        """All workers die, and their sessions are over; one event tells of it, and no other worker is made."""
        first, second = await self.both()
        await first.link.ask(Misbehave, session="a1")
        given_back: list[str] = []
        second.holds["a2"] = lambda: given_back.append("a2")
        os.kill(self.zygote.pid, signal.SIGKILL)
        await self.ruined
        (event,) = [each for each in self.told if each["name"] == "worker.died"]
        self.assertEqual((event["cause"], event["sessions"]), (Cause.WORKER_ZYGOTE, 1))
        self.assertEqual({member: list(member.sessions) for member in self.deaths}, {first: ["a1"], second: []})
        self.assertEqual((self.crew.live, self.crew.members, given_back), ({}, (), ["a2"]))
        for pid in (first.pid, second.pid):
            while Path(f"/proc/{pid}").exists():
                await deferLater(reactor, 0)

    async def test_a_worker_that_goes_first(self) -> None:
        """A worker whose end is seen before the zygote's counts with it: one event tells of all sessions."""
        first, _ = await self.both()
        await first.link.ask(Misbehave, session="a1")
        os.kill(self.zygote.pid, signal.SIGSTOP)
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        while first not in self.deaths:
            await deferLater(reactor, 0)
        os.kill(self.zygote.pid, signal.SIGKILL)
        await self.ruined
        (event,) = [each for each in self.told if each["name"] == "worker.died"]
        self.assertEqual((event["cause"], event["sessions"]), (Cause.WORKER_ZYGOTE, 1))


class Ungrown(CrewCase):
    """The system makes no process for the second worker, twice."""

    def setUp(self) -> None:
        """Have the third and the fourth fork fail that the zygote's process knows of; the first made itself."""
        fork, forks = os.fork, list[int]()

        def forked() -> int:
            forks.append(1)
            if len(forks) in (3, 4):
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            return fork()

        self.patch(os, "fork", forked)
        super().setUp()

    async def test_a_fork_that_fails(self) -> None:
        """One worker less is all that it costs: the first one goes on, and the second one is there a little later."""
        first = (await self.both(1))[0]
        event = await self.event("worker.died", 2)
        self.assertEqual((event["cause"], event["sessions"]), (Cause.WORKER_START, 0))
        self.assertNotIn("pid", event)
        self.assertIn("TasksMax=", event["advice"])
        members = await self.both()
        self.assertEqual((len(members), members[0], len(_children(self.zygote.pid))), (2, first, 2))
        self.assertNoResult(self.ruined)


class Unwatched(CrewCase):
    """The zygote has no descriptor left with which to follow the second worker."""

    def setUp(self) -> None:
        """Have the second of them fail."""
        watch, watched = os.pidfd_open, list[int]()

        def opened(pid: int) -> int:
            watched.append(pid)
            if len(watched) == 2:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return watch(pid)

        self.patch(os, "pidfd_open", opened)
        super().setUp()

    async def test_a_process_that_cannot_be_watched(self) -> None:
        """It is ended and leaves no zombie; another one takes its place, and the first worker goes on."""
        event = await self.event("worker.died")
        self.assertEqual(event["cause"], Cause.WORKER_START)
        self.assertEqual((len(await self.both()), len(_children(self.zygote.pid))), (2, 2))
        self.assertNoResult(self.ruined)


class LookTests(CrewCase):
    """A worker that hangs, and is not known to do so yet."""

    async def test_a_look_does_not_wait_for_it(self) -> None:
        """Sessions of the others are told before the silence of one worker counts."""
        first, second = await self.both()
        assert first.pid is not None
        os.kill(first.pid, signal.SIGSTOP)
        self.assertEqual(await self.look(), [])
        self.assertEqual(set(self.crew.members), {first, second})


class Telling:
    """A link to a worker that was taken over: it answers a look with whatever it likes."""

    def __init__(self, answer: Callable[[str], Sequence[object] | None]) -> None:
        self.asked = 0
        self._answer = answer

    def ask(self, command: type[TunnelCommand], *, after: str, seconds: float) -> Deferred[dict[str, Any]]:
        """Answer."""
        self.asked += 1
        return succeed({"portraits": self._answer(after)})


class LiedPortraits(SynchronousTestCase):
    """One worker tells what it should not, the other one what is so."""

    def setUp(self) -> None:
        """Have a crew of two, each of which carries a session."""
        self.clock = Clock()
        self.journal = Journal(self.clock)
        self.crew = Crew(self.clock, self.journal.events, Mock(), count=2, kind=TestLink, user=Mock())

    async def told(self) -> list[dict[str, object]]:
        """What is told of the sessions."""
        return await portraits(self.crew.members, self.journal.events, self.clock)

    def look(self, answer: Callable[[str], Sequence[object] | None]) -> tuple[list[str], int]:
        """The sessions that are known after both workers were asked, and how often the first one was."""
        links = Telling(answer), Telling(lambda after: None if after else [aged(HONEST)])
        for number, (link, session) in enumerate(zip(links, (LIAR, HONEST), strict=True)):
            member = self.crew._members[number] = CrewMember(number, 0.0, cast(Link, link), ready=True, pid=number)
            member.sessions[session] = Mock()
        found = self.successResultOf(Deferred.fromCoroutine(self.told()))
        return [str(each["session"]) for each in found], links[0].asked

    def test_good(self) -> None:
        """A portrait is told with the begin of its session by this clock, and its worker's process."""
        self.clock.advance(100)
        self.assertEqual(self.look(lambda after: None if after else [aged(LIAR)]), ([LIAR, HONEST], 2))
        (first, _) = self.successResultOf(Deferred.fromCoroutine(self.told()))
        self.assertEqual((first["since"], first["pid"]), (95.0, 0))

    def test_no_portrait(self) -> None:
        """What is none is left out and reported; what else the worker tells counts, and what the other one tells."""
        good = aged(LIAR)
        for wrong in (
            {},
            {"x": 1},
            {**good, "session": "a1"},
            {**good, "since": 1e300},
            {**good, "since": -1},
            {**good, "since": True},
            {**good, "octets_in": 2**64},
            {**good, "file": "abc"},
            {**good, "phase": "\x1b[2J"},
            {**good, "phase": "x" * 301},
            {**good, "more": 1},
        ):
            self.clock.advance(60)
            self.assertEqual(self.look(lambda after: None if after else [wrong, good])[0], [LIAR, HONEST], wrong)  # noqa: B023 - asked at once
            self.assertEqual(self.look(lambda after: [wrong]), ([HONEST], 1), wrong)  # noqa: B023 - asked at once
        reported = self.journal.of("internal.error")
        self.assertTrue(reported)
        self.assertEqual({each["exception"] for each in reported}, {"smartproxy.policy.strict_json.DocumentRefused"})

    def test_sessions_of_others(self) -> None:
        """A worker does not tell of sessions that it does not carry."""
        self.assertEqual(self.look(lambda after: None if after else [aged(HONEST)])[0], [HONEST])

    def test_without_an_end(self) -> None:
        """A worker that tells the same again and again, or ever more, is asked a bounded number of times."""
        self.assertEqual(self.look(lambda after: [aged(LIAR)])[1], 2)

        def more(after: str) -> list[object]:
            return [aged(f"{int(after or '0', 16) + 1:016x}")]

        self.assertEqual(self.look(more), ([HONEST], limits.PORTRAIT_PAGES_MOST))

    def test_reported_bugs(self) -> None:
        """What one worker reports without an end is cut off, and what the other one reports is told."""
        self.look(lambda after: None)
        bug = {"time": "2026-01-01T00:00:00Z", "source": "server", "sequence": 1, "name": "internal.error"}
        for number, times in ((0, 1000), (1, 1)):
            told = {**bug, "exception": "x", "place": f"of worker {number}", "frames": "z"}
            self.crew._told(self.crew._members[number], [cast(Any, told)] * times)
        places = [each["place"] for each in self.journal.of("internal.error")]
        self.assertEqual(places, ["of worker 0"] * 6 + ["of worker 1"])

    def test_one_that_fails(self) -> None:
        """A look at one worker that breaks takes nothing from a look at the others."""
        self.assertEqual(self.look(lambda after: cast(Any, 7))[0], [HONEST])
        self.assertEqual([each["exception"] for each in self.journal.of("internal.error")], ["TypeError"])


class HangingTests(CrewCase):
    """Silence counts after a moment."""

    silence = 0.8

    async def test_a_worker_that_hangs_is_killed(self) -> None:
        """One that is stopped gives no sign of life: it is killed and replaced."""
        first, _ = await self.both()
        assert first.pid is not None
        os.kill(first.pid, signal.SIGSTOP)
        event = await self.event("worker.died")
        self.assertEqual(
            (event["pid"], event["cause"], event["exit_status"]), (first.pid, Cause.WORKER_HANGS, -signal.SIGKILL)
        )
        self.assertEqual(len(await self.both(3)), 2)


def _children(pid: int) -> list[str]:
    """The children of a process."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
