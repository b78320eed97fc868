"""Both daemons' supervisors with workers that tests play: a generation that is not taken, and none that is ready."""

import errno
import os
import socket
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import Mock

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.client.crew import CrewHouse
from smartproxy.client.words import ClientLink
from smartproxy.policy import limits
from smartproxy.policy.admission import Admission
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ServerConfiguration, ServerPart
from smartproxy.policy.penalties import Penalties
from smartproxy.policy.settings import PenaltySettings
from smartproxy.server.accept import Gate
from smartproxy.server.crew import ServerCrew
from smartproxy.server.service import ServerService
from smartproxy.server.words import PutInForce, ServerLink
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.vocabulary import Ping
from smartproxy.workers.link import Link
from smartproxy.workers.packets import Closeable, Packets, pair
from smartproxy.workers.words import Post, SetLevels, Start
from tests.adapters.rig import Journal
from tests.adapters.test_server_service import licence
from tests.adapters.tunnel_kit import identity


class HandReactor(Clock):
    """A clock that reads what has come when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self._readers: list[Packets] = []
        self.addReader = self._readers.append
        self.removeReader = self._readers.remove
        self.addWriter = self.removeWriter = lambda writer: None

    def settle(self) -> None:
        """Read until nothing comes any more: each packet is there as soon as it is sent."""
        for _ in range(20):
            self.advance(0)
            for reader in list(self._readers):
                gone = reader.doRead()
                if gone is not None:
                    reader.connectionLost(Failure(gone))


class Played:
    """A zygote whose workers are tests.

    :ivar able: whether a worker that is made answers its first word.
    :ivar fault: what a worker raises when it is asked to put a generation in force.
    :ivar taught: the words that the next workers are born with.
    :ivar asked: each worker that was asked to put a generation in force, and which.
    :ivar links: the workers' ends, in the order in which they were made.
    """

    def __init__(self, reactor: HandReactor, journal: Journal, kind: type[Link]) -> None:
        self.able = True
        self.fault: Exception | None = None
        self.taught: list[bytes] = []
        self.asked: list[tuple[int, int]] = []
        self.links: list[Link] = []
        self._reactor, self._journal, self._kind = reactor, journal, kind

    def attach(self, *told: object) -> None:
        """Part of ``Zygote``."""

    def kill(self, number: int) -> None:
        """Part of ``Zygote``."""

    def teach(self, packet: bytes, descriptor: Closeable | None = None) -> None:
        """Part of ``Zygote``."""
        self.taught.append(packet)
        if descriptor is not None:
            descriptor.close()

    def spawn(self, number: int) -> socket.socket:
        """Part of ``Zygote``."""
        ours, theirs = pair()
        link = self._kind(Post.WORKER, self._reactor, self._journal.events, lambda why: None)
        link.answers = {
            Start: lambda **told: None if self.able else Deferred(),
            SetLevels: lambda levels: None,
            Ping: lambda **told: None,
            PutInForce: lambda generation: self._put_in_force(number, generation),
        }
        self.links.append(link)
        Packets(self._reactor, theirs, link, takes=True)
        return ours

    def _put_in_force(self, number: int, generation: int) -> None:
        self.asked.append((number, generation))
        if self.fault is not None:
            raise self.fault


class PlayedCase(SynchronousTestCase):
    """What both daemons' tests have in common.

    :ivar crew: the supervisor's side.
    """

    kind: type[Link]
    crew: Any

    def setUp(self) -> None:
        """Have two workers that are played."""
        self.reactor = HandReactor()
        self.journal = Journal(self.reactor)
        self.zygote: Any = Played(self.reactor, self.journal, self.kind)
        self.supervise()

    def supervise(self) -> None:
        """Make the supervisor's side."""
        raise NotImplementedError

    def passes(self, seconds: float) -> bool:
        """Let time pass, in which whoever lives says so; whether workers are lacking then."""
        for _ in range(round(seconds * 4)):
            self.reactor.advance(0.25)
            self.reactor.settle()
        lacking: bool = self.crew.lacks_workers
        return lacking

    def changes(self, *, able: bool) -> None:
        """All workers die; the next ones get ready, or do not."""
        self.zygote.able = able
        for link in self.zygote.links:
            link.abort(Closing(Cause.WORKER_EXIT, "test"))
        self.reactor.settle()

    def check_lacking(self) -> None:
        """Workers are lacking from ten seconds after the start, or the death of the last one, until one is ready."""
        most = limits.WORKERS_AWAITED_SECONDS
        self.zygote.able = False
        self.crew.start()
        self.assertEqual([False, True], [self.passes(most - 1), self.passes(1)])
        self.changes(able=True)
        self.assertEqual([False, False], [self.passes(1), self.passes(most)])
        self.changes(able=False)
        self.assertEqual([False, True], [self.passes(most - 1), self.passes(1)])


class ServerWorkers(PlayedCase):
    """The server's."""

    kind = ServerLink

    def supervise(self, *, single: bool = False) -> None:
        """Make the supervisor's side."""
        events = self.journal.events
        admission = Admission(limits=ServerConfiguration().limits)
        gate = Gate(self.reactor, events, admission, Penalties(PenaltySettings()))
        tunnel = Mock(controls=[])
        self.crew = ServerCrew(self.reactor, events, gate, tunnel, Mock(), self.zygote, count=2, single=single)
        self.addCleanup(self.crew._hold_document, None)

    def adopt(self, generation: int) -> None:
        """Put a generation in force."""
        part = ServerPart(generation=generation, site="Muster GmbH")
        self.crew.adopt(Mock(server=part.server, part=part))
        self.reactor.settle()

    def test_a_generation_that_is_not_taken(self) -> None:
        """The bug is told, the worker is replaced, and the next one is born with the generation, and not asked."""
        self.crew.start()
        self.reactor.settle()
        self.adopt(1)
        self.zygote.fault = RuntimeError("planted")
        self.zygote.links[1].answers = {**self.zygote.links[1].answers, PutInForce: lambda generation: None}
        self.adopt(2)
        self.assertEqual([(1, 1), (2, 1), (1, 2)], self.zygote.asked)
        told = [each["exception"] for each in self.journal.of("internal.error")]
        self.assertEqual(["RuntimeError", "smartproxy.tunnel.faults.QuestionFailed"], told)
        self.passes(5)
        self.assertEqual(Cause.WORKER_START, self.journal.the("worker.died")["cause"])
        self.assertEqual([2, 3], [each.number for each in self.crew._crew.members])
        self.assertEqual((3, 2), (len(self.zygote.asked), len(self.zygote.taught)))
        self.zygote.fault = None
        self.adopt(3)
        self.assertEqual([(3, 3)], self.zygote.asked[3:])

    def test_none_that_is_ready(self) -> None:
        """The server says so."""
        self.check_lacking()

    def spent(self) -> None:
        """There is no descriptor left for the next worker that is made."""
        spawn = self.zygote.spawn

        def fail(number: int) -> NoReturn:
            self.zygote.spawn = spawn
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        self.zygote.spawn = fail

    def test_no_descriptors(self) -> None:
        """A worker that cannot be made is told once, and made a little later."""
        self.spent()
        self.crew.start()
        self.reactor.settle()
        self.assertEqual([each.number for each in self.crew._crew.members], [2])
        told = self.journal.the("worker.died")
        self.assertEqual((told["cause"], told["sessions"]), (Cause.WORKER_START, 0))
        self.assertIn("LimitNOFILE=", told["advice"])
        self.passes(1)
        self.assertEqual([each.number for each in self.crew._crew.members], [2, 3])
        self.assertEqual(len(self.journal.of("worker.died")), 1)

    def test_no_descriptors_for_the_next(self) -> None:
        """Nor does it take the worker from a session that one is there for."""
        self.supervise(single=True)
        self.crew.start()
        self.reactor.settle()
        self.spent()
        for _ in range(2):
            self.successResultOf(self.crew._crew.choose())
        waiting = self.crew._crew.choose()
        self.assertNoResult(waiting)
        self.passes(1)
        self.successResultOf(waiting)
        self.assertEqual(len(self.journal.of("worker.died")), 1)

    def test_takes_over(self) -> None:
        """A newer process of the server takes over when a worker is ready, and not before."""
        service = ServerService(
            self.reactor,
            identity=identity(),
            licence=licence(),
            licence_path=Path(self.mktemp()),
            host="127.0.0.1",
            port=2878,
            zygote=self.zygote,
            workers=2,
        )
        assert service.crew is not None
        self.crew = service.crew
        self.zygote.able = False
        self.crew.start()
        taken = Deferred.fromCoroutine(service.taken_over())
        self.passes(limits.SUCCESSION_SECONDS / 3)
        self.assertNoResult(taken)
        self.changes(able=True)
        self.passes(limits.WORKER_WAIT_SECONDS_MOST)
        self.successResultOf(taken)

    def test_one_session_each(self) -> None:
        """A worker that has its one session takes no other: where no next one gets ready, no session can begin."""
        self.supervise(single=True)
        self.crew.start()
        self.reactor.settle()
        self.zygote.able = False
        self.assertFalse(self.passes(limits.WORKERS_AWAITED_SECONDS))
        for _ in range(2):
            self.successResultOf(self.crew._crew.choose())
        most = limits.WORKERS_AWAITED_SECONDS
        self.assertEqual([False, True], [self.passes(most - 1), self.passes(1)])
        self.patch(limits, "WORKERS_MOST", len(self.zygote.links))
        self.assertFalse(self.crew.lacks_workers, "as many as may be")


class ClientWorkers(PlayedCase):
    """The client's."""

    kind = ClientLink

    def supervise(self) -> None:
        """Make the supervisor's side."""
        self.crew = CrewHouse(self.reactor, self.journal.events, Mock(), self.zygote, count=2)

    def test_ready(self) -> None:
        """A session can begin here when a worker is ready, and not before."""
        self.zygote.able = False
        self.crew.start()
        self.passes(1)
        self.assertFalse(self.crew.able)
        self.changes(able=True)
        self.passes(1)
        self.assertTrue(self.crew.able)

    def test_none_that_is_ready(self) -> None:
        """The client says so."""
        self.check_lacking()
