"""A worker's process: what it has beside the daemon's own part.

Duty: run a reactor of its own between one link and the sessions, tell the supervisor what happens, and end when the
link does. Writes no log: what would be logged, and what is carried to the backend, goes to the supervisor in the order
in which it happened. Opens no file and no port. Trusts the supervisor.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Protocol

from twisted.application.internet import TimerService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.logs.carrier import Document, Waiting
from smartproxy.logs.clock import make_steady
from smartproxy.logs.emit import RECORD_KEY, Events
from smartproxy.logs.record import Record
from smartproxy.logs.severity import SIGNALS
from smartproxy.net.process import set_collector_thresholds
from smartproxy.net.sessions import LiveSessions
from smartproxy.net.transport.thrift import QUIET_SECONDS, THRIFT
from smartproxy.net.transport.turns import call_directly
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault
from smartproxy.relay.openings import Opening
from smartproxy.tunnel.boxes import Plain, line
from smartproxy.tunnel.control import Answer, Responder
from smartproxy.tunnel.faults import Closing, OpeningFailed
from smartproxy.tunnel.vocabulary import Ping, TunnelCommand
from smartproxy.workers.confinement import title_process
from smartproxy.workers.link import SILENCE_SECONDS, Link
from smartproxy.workers.packets import Packets
from smartproxy.workers.spawning import NO_MEMORY, Unborn
from smartproxy.workers.words import (
    Began,
    EndSession,
    Leave,
    Over,
    Portraits,
    Post,
    SentWhole,
    SetLevels,
    Start,
    TellEvents,
    WishLevel,
)


class Craft(Protocol):
    """A daemon's own part of a worker."""

    @property
    def sessions(self) -> LiveSessions:
        """The sessions of this worker."""

    def responders(self) -> Mapping[type[TunnelCommand], Responder]:
        """What answers the daemon's own questions of the supervisor."""

    def start(self, facts: Mapping[str, Plain]) -> None:
        """The first word came: these are the daemon's facts."""


class WorkerEvents(Events):
    """A worker's events; of one that gets no more memory, nobody knows what it would do next: it ends."""

    def failure(self, place: str, failure: Failure, /, **fields: object) -> None:
        """Report a bug, unless it is want of memory."""
        if failure.check(MemoryError) is not None:
            os._exit(NO_MEMORY)
        super().failure(place, failure, **fields)


@implementer(ILogObserver)
class Tidings:
    """What a worker tells, in order: at once in a turn of the reactor, and all of it before a session is over.

    Of more than fits, the newest is told, as in a daemon without workers.

    :param clock: brings the next turn.
    """

    def __init__(self, clock: Any) -> None:
        self.link: Link | None = None
        self.events: Events | None = None
        self._clock = clock
        self._unsent: Waiting[bytes] = Waiting()
        self._due = False

    def carry(self, document: Document) -> None:
        """Tell an event."""
        try:
            self._unsent.put(line(document))
        except ValueError:
            self._unsent.dropped += 1
        if not self._due:
            self._due = True
            self._clock.callLater(0, self.flush)

    def __call__(self, entry: LogEvent) -> None:
        """Tell what is for the log alone; a record that is carried was told already."""
        record = entry.get(RECORD_KEY)
        if isinstance(record, Record):
            if record.sequence is None:
                self.carry({**record.document(), "sequence": 0})
        elif entry.get("log_level") in (LogLevel.error, LogLevel.critical) and self.events is not None:
            failure = entry.get("log_failure")
            if failure is not None:
                self.events.failure(str(entry.get("log_namespace")), failure)

    def flush(self) -> None:
        """Tell what waits now."""
        self._due = False
        while self._unsent:
            size = count = 0
            for octets in self._unsent:
                size += len(octets) + 1
                if count and size > limits.REPORTS_OCTETS:
                    break
                count += 1
            piece = self._unsent.take(count)
            if self.link is not None:
                self.link.tell(TellEvents, events=piece)
        dropped = self._unsent.lost()
        if dropped and self.events is not None:
            cause = Cause.TUNNEL_EVENTS_MANY
            self.events.emit("events.dropped", count=dropped, cause=cause, message=cause.meaning, daemon="worker")


class Worker:
    """A process that carries sessions: links the craft of its daemon to the supervisor, until that link is over.

    :param reactor: its own; it does not run yet.
    :param log: the daemon's log as it was inherited; it writes nothing here.
    :param source: the daemon's name in its events.
    :param kind: the daemon's class of links.
    :param craft: makes the daemon's part.
    :param silence: see :class:`~smartproxy.workers.link.Link`.
    :ivar number: which worker it is.
    :ivar over: fires when the link is over.
    """

    def __init__(
        self,
        reactor: Any,
        log: Any,
        *,
        source: str,
        kind: type[Link],
        craft: Callable[["Worker"], Craft],
        silence: float = SILENCE_SECONDS,
    ) -> None:
        make_steady(reactor)
        call_directly(reactor)
        self.reactor = reactor
        self.number = 0
        self._single = False
        self._title = f"smartproxy-{source}"
        self.over: Deferred[Closing] = Deferred()
        self.tidings = Tidings(reactor)
        self.events = WorkerEvents(Logger(namespace=f"smartproxy.{source}"), self.tidings.carry, reactor, source=source)
        self.events.levels = log.levels
        self.tidings.events = self.events
        self.link = kind(Post.WORKER, reactor, self.events, self.over.callback, silence)
        self.tidings.link = self.link
        self.craft = craft(self)
        self.craft.sessions.sent = self._file_sent
        self.link.answers = {
            Start: self._start,
            SetLevels: self._set_levels,
            EndSession: self._end_session,
            Portraits: self._portraits,
            Leave: self._leave,
            Ping: lambda **_: None,
            **self.craft.responders(),
        }
        log.divert(self.tidings)
        for inherited in tuple(globalLogPublisher._observers):
            # Any other would write to descriptors that are closed here, and another's by now.
            globalLogPublisher.removeObserver(inherited)
        globalLogPublisher.addObserver(self.tidings)

    def unborn(self) -> Unborn:
        """What a zygote holds of it."""
        return Unborn(learn=self.link.learn, live=self.live)

    def live(self, end: socket.socket) -> None:
        """Be a worker until the link is over."""
        thrift = TimerService(QUIET_SECONDS, THRIFT.give_back)
        thrift.clock = self.reactor
        thrift.startService()
        Packets(self.reactor, end, self.link, takes=True)
        self.listen_for_levels()
        self.over.addBoth(lambda _: maybeDeferred(self.reactor.stop))
        set_collector_thresholds()
        self.reactor.run(installSignalHandlers=False)

    # For the craft.

    def began(self, session: str, opening: Opening) -> None:
        """A session began."""
        facts = opening.facts
        if self._single:
            title_process(f"{self._title}: session {session} partner {facts.partner}")
        told = {"partner": facts.partner, "peer": facts.peer, "direction": opening.direction}
        self.link.tell(Began, session=session, **told)

    def session_over(self, session: str) -> None:
        """A session is over: tell all of it, and then that."""
        self.tidings.flush()
        self.link.tell(Over, session=session)

    def _file_sent(self, session: str, octets: int, records: int) -> None:
        """A file was sent whole: tell that before anything can happen to this process."""
        self.tidings.flush()
        self.link.tell(SentWhole, session=session, octets=octets, records=records)

    def listen_for_levels(self) -> None:
        """Have the level signals set the level of the sessions that run here, at the supervisor, which all log with."""
        if sys.platform == "linux":
            for number in SIGNALS:
                signal.signal(number, self._signalled)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self.reactor.callFromThread(self.link.tell, WishLevel, level=SIGNALS[number], signal=number)

    # Answering.

    def _start(self, number: int, levels: list[dict[str, Plain]], facts: list[dict[str, Plain]]) -> None:
        self.number = number
        self._single = facts[0].get("single") is True
        title_process(f"{self._title}: {'ready for a session' if self._single else 'worker'}")
        self._set_levels(levels)
        self.craft.start(facts[0])

    def _set_levels(self, levels: list[dict[str, Plain]]) -> None:
        self.events.levels.adopt({name: str(label) for name, label in levels[0].items()})

    def _end_session(self, session: str, fault: str, rule: str, message: str) -> None:
        codes = {b"fault": fault.encode("ascii"), b"rule": rule.encode("ascii")}
        told: SessionFault = OpeningFailed.read(message, codes).fault
        assert isinstance(told, OwnFault)
        self.craft.sessions.close(session, told)

    def _portraits(self, after: str) -> Answer:
        page: list[bytes] = []
        size, now = 0, self.reactor.seconds()
        for session in sorted(self.craft.sessions.live):
            if session <= after:
                continue
            portrait: dict[str, Any] = self.craft.sessions.live[session].portrait()
            octets = line({**portrait, "since": max(0.0, now - portrait["since"])})
            size += len(octets) + 1
            if page and size > limits.REPORTS_OCTETS:
                break
            page.append(octets)
        return {"portraits": page or None}

    def _leave(self) -> None:
        self.events.tell_counted()
        self.tidings.flush()
