"""The life of a worker that is played before there is one: what is played, that nothing is left, and what fails."""

import contextlib
import gc
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn

from OpenSSL import SSL
from twisted.internet.defer import TimeoutError
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from smartproxy.client.rehearsal import ClientPlay
from smartproxy.logs.severity import SIGNALS
from smartproxy.net.tls.openssl import has_secrets
from smartproxy.net.transport.sockets import WORK
from smartproxy.net.transport.thrift import THRIFT
from smartproxy.policy.causes import Cause
from smartproxy.server.rehearsal import ServerPlay
from smartproxy.tunnel.boxes import PrintableText
from smartproxy.tunnel.contexts import ServerContext, VerifiedClient
from smartproxy.tunnel.control import Responder
from smartproxy.tunnel.vocabulary import TunnelCommand, TunnelPhase
from smartproxy.workers import parts, scene
from smartproxy.workers.link import Link
from smartproxy.workers.parts import Actor, Misplayed, Part, Shown
from smartproxy.workers.scene import Play, Scene, rehearse
from smartproxy.workers.words import Post, directions
from smartproxy.workers.worker import Worker
from tests.adapters.test_workers import Craft, CrewCase, Serve

SESSIONS = 4
"""How many each play has."""
UNPLAYED = {
    "server": {"Forget", "Displaced", "BondOver", "ClientWent", "SetLevels", "EndSession", "Portraits"},
    "client": {
        *("ForgetServer", "ServerWorkers", "CountConnections", "TryOut", "HearStation"),
        *("SetLevels", "EndSession", "Portraits"),
    },
}
"""What a supervisor says where no session begins, and what a play leaves out."""


_PLAYED: Final = (Scene, Worker, Actor, Shown, SSL.Connection, SSL.Context)
"""What a play makes, of which nothing is to be left."""


class PlayedCase(SynchronousTestCase):
    """Plays in this process, on a reactor of their own."""

    make: Callable[[], Play]
    names: ClassVar[str]

    def setUp(self) -> None:
        """Keep who observes this process's log, which a worker's beginning takes away; it tells only its supervisor."""
        observers = tuple(globalLogPublisher._observers)
        thresholds = gc.get_threshold()
        self.addCleanup(gc.set_threshold, *thresholds)

        def restore() -> None:
            for each in tuple(globalLogPublisher._observers):
                globalLogPublisher.removeObserver(each)
            for each in observers:
                globalLogPublisher.addObserver(each)

        self.addCleanup(restore)
        # What other tests of this process left, held so that nothing else gets its place.
        self.before = [each for each in gc.get_objects() if isinstance(each, _PLAYED)]
        self.reactor = EPollReactor()
        self.scenes: list[Scene] = []
        clear = Scene.clear

        def note(played: Scene) -> None:
            self.scenes.append(played)
            clear(played)

        self.patch(Scene, "clear", note)

    def play(self) -> None:
        """Play, and do away with the reactor."""
        try:
            rehearse(self.make, self.reactor)
        finally:
            self.reactor._poller.close()
            waker: Any = self.reactor.waker
            waker.connectionLost(Failure(ConnectionDone()))
            vars(self.reactor).clear()

    def ends(self) -> set[str]:
        """The descriptors of this process, but for those of reactors."""
        links = [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
        found = {f"{each.name} {os.readlink(each)}" for each in links}
        return {each for each in found if not any(kind in each for kind in ("eventpoll", "pipe:", "/fd"))}

    def clean(self) -> None:
        """There is nothing left of what was played."""
        self.scenes.clear()
        del self.reactor
        self.flushLoggedErrors()
        gc.collect()
        known = set(map(id, self.before))
        left = [each for each in gc.get_objects() if isinstance(each, _PLAYED) and id(each) not in known]
        self.assertEqual(left, [])


class PlayTests:
    """What each play does, and leaves."""

    def test_whole_sessions(self: Any) -> None:
        """Sessions that partner and station began run to their end, each with a file both ways; nothing goes wrong."""
        self.play()
        told = Counter(self.scenes[0].told)
        self.assertEqual((told["session.started"], told["session.ended"]), (SESSIONS, SESSIONS))
        self.assertEqual((told["file.ended"], told["file.response"]), (2 * SESSIONS, SESSIONS))
        self.assertEqual(self.scenes[0].unexpected, [])

    def test_data_connections(self: Any) -> None:
        """Each session has one of its own: the first proves itself by certificates, the others by a bond."""
        found: list[bool] = []
        bound = ServerContext.bound

        def note(context: ServerContext, connection: SSL.Connection) -> VerifiedClient | None:
            client = bound(context, connection)
            found.append(client is not None)
            return client

        self.patch(ServerContext, "bound", note)
        self.play()
        self.assertEqual(found, [False] + [has_secrets()] * (SESSIONS - 1))

    def test_every_word_that_a_session_takes(self: Any) -> None:
        """What a supervisor says to a worker is said, but for what belongs to no session."""
        said: set[str] = set()
        link = self.make.kind
        arrived = link.box_arrived

        def note(end: Any, box: dict[bytes, bytes]) -> None:
            if end._side is Post.WORKER and b"_command" in box:
                said.add(link.commands[box[b"_command"]].__name__)
            arrived(end, box)

        self.patch(link, "box_arrived", note)
        self.play()
        able: set[type[TunnelCommand]] = set(link.allowed[Post.SUPERVISOR, TunnelPhase.READY])
        self.assertEqual({each.__name__ for each in able} - said - {"Ping"}, UNPLAYED[self.names])

    def test_nothing_is_left(self: Any) -> None:
        """Descriptors, signals, title and counts are what they were, no object is left, and nobody heard of it."""
        heard: list[object] = []

        @implementer(ILogObserver)
        def hear(entry: LogEvent) -> None:
            heard.append(entry)

        globalLogPublisher.addObserver(hear)
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        title = Path("/proc/self/cmdline").read_bytes()
        titles: set[bytes] = set()
        tell = Scene._tell

        def note(played: Scene, events: Any) -> None:
            titles.add(Path("/proc/self/cmdline").read_bytes())
            tell(played, events)

        self.patch(Scene, "_tell", note)
        before = self.ends(), WORK.seconds, THRIFT._ended
        self.play()
        self.assertEqual((self.ends(), WORK.seconds, THRIFT._ended), before)
        self.assertEqual({number: signal.getsignal(number) for number in SIGNALS}, handlers)
        self.assertNotIn(title, titles)
        self.assertTrue(titles)
        self.assertEqual(Path("/proc/self/cmdline").read_bytes(), title)
        self.assertEqual(heard, [])
        self.clean()

    def test_a_part_that_is_played_wrong(self: Any) -> None:
        """Whatever one end says that is not in its part ends the play with an exception, and leaves nothing either."""
        answers: Callable[[str, str], Part] = parts.answerer

        def wrong(own: str, other: str) -> Part:
            return (*answers(own, other)[:-1], (b"4", b"\x10\0\0\x06F0"))

        self.patch(self.module, "answerer", wrong)
        before = self.ends()
        self.assertRaises(Misplayed, self.play)
        self.assertEqual(self.ends(), before)
        self.clean()

    def test_a_play_that_hangs(self: Any) -> None:
        """A play that waits for what does not come ends after its time."""
        self.patch(scene, "SECONDS", 0.1)
        self.patch(Actor, "hear", lambda actor, octets: None)
        self.assertRaises(TimeoutError, self.play)
        self.clean()


class ServerPlayed(PlayTests, PlayedCase):
    """A worker of the server."""

    make = ServerPlay
    names = "server"
    from smartproxy.server import rehearsal as module

    def test_a_play_that_breaks(self) -> None:
        """A connection that nobody has taken yet is closed, too."""

        def fail(played: Scene, *_: object) -> NoReturn:
            raise ZeroDivisionError

        self.patch(Scene, "carry", fail)
        before = self.ends()
        self.assertRaises(ZeroDivisionError, self.play)
        self.assertEqual(self.ends(), before)
        self.assertTrue(self.scenes[0]._ends)
        self.clean()


class ClientPlayed(PlayTests, PlayedCase):
    """A worker of the client."""

    make = ClientPlay
    names = "client"
    from smartproxy.client import rehearsal as module


def _fail(reactor: Any) -> None:
    raise ValueError("what a peer said")


class Unrehearsed(CrewCase):
    """Workers for which nothing could be played."""

    rehearse = staticmethod(_fail)

    async def test_workers_are_made_all_the_same(self) -> None:
        """One warning names the exception, and not its text; then workers are made, and carry connections."""
        told = await self.event("worker.unrehearsed")
        self.assertEqual((told["level"], told["cause"]), ("warning", Cause.WORKER_REHEARSAL))
        exception = told["facts"]["exception"]
        self.assertTrue(exception.startswith("ValueError in ") and "peer" not in exception, exception)
        await self.both()
        self.assertEqual((await self.served())[0], "served")
        self.assertEqual(len([each for each in self.told if each["name"] == "worker.unrehearsed"]), 1)


class Draw(TunnelCommand):
    """Draw what a client of TLS says at random."""

    response = [(b"random", PrintableText(64))]


class DrawingLink(Link):
    """The table of these tests."""

    allowed = directions(supervisor=[Serve, Draw])


def _draw() -> dict[str, str]:
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    connection.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    drawn = connection.client_random()
    assert drawn is not None
    return {"random": drawn.hex()}


class DrawingCraft(Craft):
    """What these workers do."""

    def responders(self) -> Mapping[type[TunnelCommand], Responder]:
        """Part of ``Craft``."""
        return {**super().responders(), Draw: _draw}


class Rehearsed(CrewCase):
    """Workers for which the server's sessions were played."""

    rehearse = staticmethod(partial(rehearse, ServerPlay))
    kind = ours = DrawingLink
    craft = DrawingCraft

    async def test_each_has_random_numbers_of_its_own(self) -> None:
        """OpenSSL's generator, which was used in the zygote, tells no two workers the same."""
        members = await self.both()
        drawn = {(await member.link.ask(Draw))["random"] for _ in range(2) for member in members}
        self.assertEqual(len(drawn), 4)

    async def test_a_zygote_is_as_it_would_be_without(self) -> None:
        """The zygote plays by itself, tells nothing, and has its title and its descriptors: two children, no more."""
        await self.both()
        self.assertEqual((await self.served())[0], "served")
        zygote = Path(f"/proc/{self.zygote.pid}")
        kinds = Counter(os.readlink(each).partition(":[")[0] for each in (zygote / "fd").iterdir())
        # A child's end is waited for with a descriptor that not every kernel calls the same.
        kinds["anon_inode"] += kinds.pop("pidfd", 0)
        self.assertEqual(kinds, {"/dev/null": 3, "socket": 1, "pipe": 2, "anon_inode": 1 + 2})
        self.assertEqual((zygote / "cmdline").read_bytes(), Path("/proc/self/cmdline").read_bytes())
        await self.event("backend.stopped", 2)
        self.assertEqual({each["name"] for each in self.told}, {"backend.stopped", "worker.started"})
