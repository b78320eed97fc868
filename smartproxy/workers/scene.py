"""A worker's life, played before there is a worker: what a process makes with its first session is made once.

Duty: live a worker's life in the zygote with the code that workers run, on a reactor that is thrown away afterwards:
a supervisor answers it, and far ends speak OFTP2 with it (:mod:`smartproxy.workers.parts`). Python settles how it runs
each function, libraries make their tables, OpenSSL fetches its algorithms, and all of it stays in memory that processes
share which are forked later. Otherwise each of them makes it again, for its one session.

Nothing of a play gets out: its connections are pairs of sockets of the kernel's own, what it tells goes to nobody, its
keys are made for it and stand nowhere else, and descriptors, signals, title and counts are afterwards as they were. A
play that does not end as it should within :data:`SECONDS` raises, and leaves as little behind.
"""

import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

from twisted.internet import tcp
from twisted.internet.defer import Deferred, DeferredList, DeferredQueue, FirstError
from twisted.internet.interfaces import IProtocol
from twisted.logger import ILogObserver, Logger, LogPublisher, globalLogPublisher
from twisted.python.failure import Failure
from typing_extensions import override

from smartproxy.logs.emit import Events
from smartproxy.logs.levels import Levels
from smartproxy.logs.record import read
from smartproxy.logs.severity import SIGNALS, Severity
from smartproxy.net.transport.sockets import WORK, DialledStream, adopt
from smartproxy.net.transport.thrift import THRIFT
from smartproxy.policy.callbacks import nothing
from smartproxy.policy.causes import Cause
from smartproxy.tunnel.boxes import Plain, line
from smartproxy.tunnel.control import Responder
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.vocabulary import TunnelCommand, TunnelPhase
from smartproxy.workers.confinement import keeping_title
from smartproxy.workers.link import STOPPED, Link
from smartproxy.workers.packets import Packets, pair
from smartproxy.workers.parts import Actor, Misplayed
from smartproxy.workers.words import Leave, Over, Post, Start, TellEvents
from smartproxy.workers.worker import Worker

SECONDS: Final = 5.0
"""What a play may take; it takes a fraction of one where there is a processor for it."""
HOST: Final = "192.0.2.7"
"""Where all far ends are: an address for documents (RFC 5737)."""
PORT: Final = 40_000
PLAYED: Final = Closing(Cause.TUNNEL_IDLE, "played")
"""Why connections end between two sessions."""


class Play(Protocol):
    """What of a play is one daemon's."""

    kind: type[Link]

    def worker(self, reactor: Any, log: "Unwritten") -> Worker:
        """The worker whose life is played."""

    def answers(self, scene: "Scene") -> Mapping[type[TunnelCommand], Responder]:
        """What the supervisor answers, where it is not nothing."""

    async def act(self, scene: "Scene") -> None:
        """Play some sessions.

        :raises Misplayed: or anything else, if that does not work.
        """


def rehearse(make: Callable[[], Play], reactor: Any) -> None:
    """Play what a daemon's workers do.

    :param make: makes the play, and what it shows.
    :param reactor: runs it, and cannot be used for anything else.
    :raises Exception: whatever ended the play before its time.
    """
    with keeping_title(), _keeping_signals(), _keeping_counts():
        scene = Scene(reactor, make())
        try:
            scene.run()
        finally:
            scene.clear()


class Unwritten:
    """A log that is none: where a daemon's worker has the daemon's."""

    def __init__(self) -> None:
        self.levels = Levels()

    def divert(self, observer: ILogObserver) -> None:
        """Nothing is written, wherever it goes."""


class Scene:
    """Where a play takes place.

    :cvar NUMBER: which worker it is.
    :ivar link: the supervisor's end of the worker's link.
    :ivar events: where far ends tell what nobody hears.
    :ivar told: the names of the events that the worker told.
    :ivar unexpected: those among them that are warnings, or worse.
    :ivar places: by its port, what is told of a connection that is dialled: its far end.
    """

    NUMBER: Final = 1

    def __init__(self, reactor: Any, play: Play) -> None:
        self.reactor = reactor
        self.told: list[str] = []
        self.unexpected: list[str] = []
        self.places: dict[int, Callable[[socket.socket], object]] = {}
        self.events = Events(Logger(observer=LogPublisher()), None, reactor, source="worker")
        self._ends: list[socket.socket] = []
        self._over: DeferredQueue[str] = DeferredQueue()
        self._ending: object = Failure(Misplayed("the worker ended"))
        self._play = play
        self._log = Unwritten()
        self._worker = play.worker(reactor, self._log)
        reactor.connectTCP = self._dial
        link = self._worker.link
        # What comes with a word is a connection of TCP everywhere else.
        link.take_socket = lambda: self._end(link.take_descriptor())  # type: ignore[method-assign]  # of this one alone
        self.link = play.kind(Post.SUPERVISOR, reactor, self.events, self._down)
        asked = play.kind.allowed[Post.WORKER, TunnelPhase.READY]
        self.link.answers = {
            **dict.fromkeys(asked, nothing),
            Over: lambda session: self._over.put(session),
            TellEvents: self._tell,
            **play.answers(self),
        }

    def run(self) -> None:
        """Play from the worker's first word to its last."""
        ours, theirs = pair()
        self._ends += ours, theirs
        Packets(self.reactor, ours, self.link, takes=False)
        acting = Deferred.fromCoroutine(self._act()).addTimeout(SECONDS, self.reactor)
        acting.addBoth(self._acted)
        self._worker.live(theirs)
        if isinstance(self._ending, Failure):
            self._ending.raiseException()

    def clear(self) -> None:
        """Leave no descriptor behind, and nobody who hears what is logged."""
        globalLogPublisher.removeObserver(self._worker.tidings)
        self.reactor.removeAll()
        for end in self._ends:
            end.close()

    # For plays.

    def pair(self) -> tuple["_End", "_End"]:
        """Both ends of a connection."""
        near, far = socket.socketpair()
        return self._end(near.detach()), self._end(far.detach())

    def carry(self, end: socket.socket, build: Callable[[Any], IProtocol | None]) -> None:
        """Have a protocol speak at one end of a connection; it is built as for a listening port."""
        adopt(self.reactor, end, HOST, PORT, build)

    async def ended(self, *actors: Actor) -> None:
        """Wait until a session was played to its end, and the worker has said so."""
        try:
            await DeferredList([actor.done for actor in actors], fireOnOneErrback=True, consumeErrors=True)
        except FirstError as first:
            first.subFailure.raiseException()
        await self._over.get()

    # The supervisor.

    async def _act(self) -> None:
        levels, facts = line(dict(self._log.levels.described())), line({"single": True})
        await self.link.ask(Start, number=self.NUMBER, levels=[levels], facts=[facts])
        self.link.made_ready()
        await self._play.act(self)
        await self.link.ask(Leave)
        if self.unexpected:
            raise Misplayed(f"what was told: {self.unexpected}")

    def _acted(self, ending: object) -> None:
        self._ending = ending
        self.link.close(STOPPED)

    def _down(self, why: Closing) -> None:
        """The worker ends with its link, and its reactor with it."""

    def _tell(self, events: list[dict[str, Plain]]) -> None:
        for event in map(read, events):
            self.told.append(event.name)
            if event.level >= Severity.WARNING:
                self.unexpected.append(event.name)

    # Connections.

    def _end(self, descriptor: int) -> "_End":
        end = _End(fileno=descriptor)
        self._ends.append(end)
        return end

    def _dial(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> tcp.Connector:
        near, far = self.pair()
        connector = _Connector(host, port, factory, timeout, None, self.reactor)
        connector.end = near
        connector.connect()
        self.places[port](far)
        return connector


class _End(socket.socket):
    """One end of a pair of sockets that passes for a connection of TCP, which is dialled and there at once."""

    @override
    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        """There is nothing of TCP in between that could be set."""
        if level != socket.IPPROTO_TCP:
            super().setsockopt(level, option, *value)

    @override
    def connect_ex(self, address: Any) -> int:
        return 0

    @override
    def getpeername(self) -> tuple[str, int]:
        return HOST, PORT

    getsockname = getpeername


class _Stream(DialledStream):
    """A connection that was dialled."""

    connector: "_Connector"

    @override
    def createInternetSocket(self) -> socket.socket:
        return self.connector.end


class _Connector(tcp.Connector):
    """Dials one; ``end`` is its socket."""

    end: _End

    def _makeTransport(self) -> _Stream:
        return _Stream(self.host, self.port, self.bindAddress, self, self.reactor)  # type: ignore[no-untyped-call]  # Twisted has no types here


@contextmanager
def _keeping_signals() -> Iterator[None]:
    """Have signals mean afterwards what they meant before."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _keeping_counts() -> Iterator[None]:
    """Have nothing be counted."""
    kept = [(each, dict(vars(each))) for each in (WORK, THRIFT)]
    try:
        yield
    finally:
        for each, counts in kept:
            vars(each).update(counts)
