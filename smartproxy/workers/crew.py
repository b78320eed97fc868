"""The workers of one supervisor: as many as are wanted, whatever happens to them.

Duty: have workers made, bring each what it needs before its first connection, know which sessions each carries, find
the least loaded, and replace whatever dies. A worker that hangs, or that says what it may not say, is killed. One event
tells of a death, and how many sessions it took. A worker that dies young is replaced after a wait that doubles. Trusts
the zygote; takes every worker for hostile.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from smartproxy.ctl.statuses import ToldWorker
from smartproxy.logs.catalogue import CatalogueError
from smartproxy.logs.emit import Events
from smartproxy.logs.record import read
from smartproxy.logs.severity import Severity
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import Outcome, OwnFault
from smartproxy.tunnel.boxes import Plain, line
from smartproxy.tunnel.control import Responder
from smartproxy.tunnel.faults import Closing, OpeningFailed, Violation
from smartproxy.tunnel.vocabulary import Ping, TunnelCommand
from smartproxy.workers.link import SILENCE_SECONDS, Link
from smartproxy.workers.packets import Packets
from smartproxy.workers.spawning import Zygote
from smartproxy.workers.words import (
    Began,
    EndSession,
    Leave,
    Over,
    Portraits,
    Post,
    SetLevels,
    Start,
    TellEvents,
    WishLevel,
)

_STATUS_SECONDS = 2.0
"""How long a death waits for the status of the process, to be told with it."""
_PORTRAITS_MOST = 10_000


@attrs.define(eq=False)
class CrewMember:
    """One worker, as its supervisor knows it.

    :ivar number: which one; no number is used twice.
    :ivar begun: when it was made, by the clock.
    :ivar pid: its process, once it is known.
    :ivar started: whether it knows who it is, and is told what changes.
    :ivar ready: whether it takes connections.
    :ivar taken: whether it has its one session, where each worker has but one.
    :ivar leaving: whether it is not needed any more, and ends.
    :ivar sessions: the sessions that it carries, with their partners.
    :ivar holds: what it was handed over, each with what has to be done when it dies.
    :ivar status: how its process ended, as ``waitpid`` tells it.
    :ivar lost: why its link is over.
    """

    number: int
    begun: float
    link: Link
    pid: int | None = None
    started: bool = False
    ready: bool = False
    taken: bool = False
    leaving: bool = False
    sessions: dict[str, str | None] = attrs.field(factory=dict)
    holds: dict[object, Callable[[], object]] = attrs.field(factory=dict)
    status: int | None = None
    lost: Closing | None = None
    telling: IDelayedCall | None = None

    @property
    def load(self) -> int:
        """How much it has to do, compared with others."""
        return max(len(self.sessions), len(self.holds))


class CrewUser(Protocol):
    """A daemon, as its crew sees it."""

    def facts(self) -> dict[str, Plain]:
        """What a worker is told with its first word."""

    def responders(self, member: CrewMember) -> Mapping[type[TunnelCommand], Responder]:
        """What answers the daemon's own questions of a worker."""

    def prepare(self, member: CrewMember) -> Deferred[None]:
        """Bring a worker what it needs before its first connection; one for which this fails is ended."""

    def ready(self, member: CrewMember) -> None:
        """A worker takes connections."""

    def over(self, member: CrewMember, session: str) -> None:
        """A session of a worker is over, or what was to become one."""

    def died(self, member: CrewMember) -> None:
        """A worker is gone, with the sessions that it still has; with none where it was not needed any more."""


class Crew:
    """The workers.

    :param reactor: carries the links.
    :param events: where deaths are told, and where the workers' events go.
    :param zygote: makes processes; forked already.
    :param count: how many workers there are; with ``single``, how many wait for a session.
    :param kind: the daemon's class of links.
    :param user: the daemon.
    :param silence: seconds after which a worker without a sign of life is killed.
    :param single: whether each worker carries one session, and ends with it.
    :param ruined: told that there can be no workers any more.
    :ivar live: the worker that carries each session.
    """

    def __init__(
        self,
        reactor: Any,
        events: Events,
        zygote: Zygote,
        *,
        count: int,
        kind: type[Link],
        user: CrewUser,
        silence: float = SILENCE_SECONDS,
        single: bool = False,
        ruined: Callable[[], object] = lambda: None,
    ) -> None:
        self.live: dict[str, CrewMember] = {}
        self._reactor = reactor
        self._events = events
        self._zygote = zygote
        self._count = count
        self._kind = kind
        self._user = user
        self._silence = silence
        self._ruined = ruined
        self._single = single
        self._number = 0
        self._members: dict[int, CrewMember] = {}
        self._gone: dict[int, CrewMember] = {}
        self._young = 0
        self._again: set[IDelayedCall] = set()
        self._waiting: list[Deferred[CrewMember]] = []
        self._over: Callable[[], object] = lambda: None
        self._stopping = False

    @property
    def members(self) -> tuple[CrewMember, ...]:
        """The workers that take connections."""
        return tuple(member for member in self._members.values() if member.ready)

    @property
    def started(self) -> tuple[CrewMember, ...]:
        """The workers that are told what changes, also while they are being brought what they need."""
        return tuple(member for member in self._members.values() if member.started)

    def start(self) -> None:
        """Have the workers made."""
        self._zygote.attach(self._reactor, self._born, self._ended, self._zygote_lost)
        self._events.releveled = self.tell_levels
        self._fill()

    async def stop(self) -> None:
        """Let every worker tell what there is to tell, then end all."""
        self._stopping = True
        for again in self._again:
            again.cancel()
        self._again.clear()
        leaving = [member.link.ask(Leave, seconds=limits.CLOSING.default) for member in self.members]
        await DeferredList(leaving, consumeErrors=True)
        for member in list(self._members.values()):
            member.link.close(Closing(Cause.DAEMON_STOPPING, Cause.DAEMON_STOPPING.meaning))
        self._zygote.stop()

    # For the daemon.

    def choose(self) -> Deferred[CrewMember]:
        """The worker with the least to do, as soon as there is one."""
        member = self._free()
        if member is not None:
            return succeed(member)
        waiting: Deferred[CrewMember] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def numbered(self, number: int) -> CrewMember | None:
        """The worker with a number, if it takes connections."""
        member = self._members.get(number)
        return member if member is not None and member.ready else None

    def tell_levels(self) -> None:
        """What is logged has changed."""
        for member in self.started:
            member.link.tell(SetLevels, levels=self._levels())

    def end_session(self, session: str, fault: OwnFault) -> bool:
        """Have a session ended; whether it was there."""
        member = self.live.get(session)
        if member is None:
            return False
        codes = OpeningFailed(fault).fields()
        kind, rule = codes[b"fault"].decode("ascii"), codes[b"rule"].decode("ascii")
        member.link.tell(EndSession, session=session, fault=kind, rule=rule, message=fault.message)
        return True

    async def portraits(self) -> list[dict[str, object]]:
        """The state of each session; ``since`` is in the clock's seconds. One of a worker that dies now is left out."""
        told: list[dict[str, object]] = []
        for member in self.members:
            after: str | None = ""
            while after is not None and len(told) < _PORTRAITS_MOST:
                try:
                    answer = await member.link.ask(Portraits, after=after, seconds=self._silence)
                except Exception:
                    break
                page: list[dict[str, object]] = answer["portraits"] or []
                after = str(page[-1]["session"]) if page else None
                for portrait in page:
                    age = portrait.get("since")
                    portrait["since"] = self._reactor.seconds() - (age if isinstance(age, int | float) else 0.0)
                    portrait["pid"] = member.pid
                told += page
        return told

    def condition(self) -> tuple[ToldWorker, ...]:
        """Each worker for an operator."""
        now = self._reactor.seconds()
        return tuple(
            ToldWorker(pid=each.pid or 0, sessions=len(each.sessions), seconds=round(now - each.begun))
            for each in self.members
        )

    # The life of a worker.

    def _free(self) -> CrewMember | None:
        """The worker for what comes next, which is its one session where each has but one."""
        able = [member for member in self.members if not member.taken]
        member = min(able, key=lambda each: each.load, default=None)
        if member is not None and self._single:
            member.taken = True
            self._fill()
        return member

    def _fill(self) -> None:
        """Have as many workers made as are missing, those that wait to be made again not counted."""
        there = sum(not member.taken and not member.leaving for member in self._members.values())
        room = limits.WORKERS_MOST - len(self._members)
        for _ in range(min(self._count - there - len(self._again), room)):
            self._hire()

    def rest(self, member: CrewMember) -> None:
        """A worker was relieved of something: one that has had its session tells what there is to tell, and ends."""
        if not member.taken or member.leaving or member.load:
            return
        member.leaving, member.ready = True, False
        over = Closing(Cause.DAEMON_STOPPING, "not needed any more")
        member.link.ask(Leave, seconds=limits.CLOSING.default).addBoth(lambda _: member.link.close(over))

    def _hire(self) -> None:
        self._number += 1
        number = self._number
        end = self._zygote.spawn(number)
        link = self._kind(
            Post.SUPERVISOR, self._reactor, self._events, lambda why: self._lost(member, why), self._silence
        )
        member = self._members[number] = CrewMember(number, self._reactor.seconds(), link)
        link.answers = {
            Began: lambda session, partner: self._began(member, session, partner),
            Over: lambda session: self._ended_session(member, session),
            TellEvents: self._told,
            WishLevel: lambda level, signal: self._wish_level(member, level, signal),
            Ping: lambda: None,
            **self._user.responders(member),
        }
        Packets(self._reactor, end, link, takes=False)
        Deferred.fromCoroutine(self._begin(member))

    async def _begin(self, member: CrewMember) -> None:
        try:
            await member.link.ask(
                Start, number=member.number, levels=self._levels(), facts=[line(self._user.facts())], seconds=30.0
            )
            member.link.made_ready()
            member.started = True
            await self._user.prepare(member)
        except Exception:
            if member.lost is None:
                self._events.failure("smartproxy.workers.crew", Failure())
            member.link.abort(Closing(Cause.WORKER_START, Cause.WORKER_START.meaning))
            return
        member.ready = True
        self._user.ready(member)
        if not self._single:
            self._events.emit("worker.started", pid=member.pid)
        while self._waiting and (free := self._free()) is not None:
            self._waiting.pop(0).callback(free)

    def _born(self, number: int, pid: int) -> None:
        member = self._members.get(number) or self._gone.get(number)
        if member is not None:
            member.pid = pid

    def _ended(self, number: int, status: int) -> None:
        member = self._members.get(number) or self._gone.get(number)
        if member is None:
            return
        member.status = status
        if member.lost is not None:
            self._tell_death(member)
        # Else the end of its link is on its way.

    def _lost(self, member: CrewMember, why: Closing) -> None:
        """A link is over: the worker is, too."""
        del self._members[member.number]
        member.lost, member.ready, member.started = why, False, False
        self._zygote.kill(member.number)
        if self._stopping:
            return
        if member.leaving and not member.load:
            self._user.died(member)
            self._fill()
            return
        self._gone[member.number] = member
        member.telling = self._reactor.callLater(_STATUS_SECONDS, self._tell_death, member)
        if member.status is not None:
            self._tell_death(member)
        for session in member.sessions:
            self.live.pop(session, None)
        holds, member.holds = member.holds, {}
        for let_go in holds.values():
            let_go()
        self._user.died(member)
        for session in member.sessions:
            self._events.levels.forget(session)
        if member.taken:
            self._fill()
        else:
            self._replace(member)
        if not self.live:
            self._over()

    def _replace(self, member: CrewMember) -> None:
        lived = self._reactor.seconds() - member.begun
        self._young = 0 if lived >= limits.WORKER_LIVED_SECONDS else self._young + 1
        wait = 0.0
        if self._young > self._count:
            first, most = limits.WORKER_WAIT_SECONDS_FIRST, limits.WORKER_WAIT_SECONDS_MOST
            wait = min(first * 2.0 ** (self._young - self._count - 1), most)

        def hire() -> None:
            self._again.discard(again)
            self._hire()

        again = self._reactor.callLater(wait, hire)
        self._again.add(again)

    def _tell_death(self, member: CrewMember) -> None:
        if self._gone.pop(member.number, None) is None:
            return
        if member.telling is not None and member.telling.active():
            member.telling.cancel()
        assert member.lost is not None
        code = None if member.status is None else os.waitstatus_to_exitcode(member.status)
        cause, message = member.lost.cause, member.lost.message
        if member.link.violation is not None:
            cause, message = Cause.WORKER_VIOLATION, str(member.link.violation)
        elif cause not in (Cause.WORKER_HANGS, Cause.WORKER_START):
            cause = Cause.WORKER_SIGNAL if code is not None and code < 0 else Cause.WORKER_EXIT
            message = cause.meaning
        self._events.emit(
            "worker.died",
            pid=member.pid,
            cause=cause,
            message=message,
            sessions=len(member.sessions),
            exit_status=code,
            age=self._reactor.seconds() - member.begun,
        )

    def _zygote_lost(self) -> None:
        self._events.emit(
            "worker.died", cause=Cause.WORKER_ZYGOTE, message=Cause.WORKER_ZYGOTE.meaning, sessions=len(self.live)
        )
        self._stopping = True
        self._ruined()

    # What workers say.

    def _began(self, member: CrewMember, session: str, partner: str | None) -> None:
        if session in self.live:
            raise Violation(Cause.SESSION_OPEN, Cause.SESSION_OPEN.meaning)
        member.sessions[session] = partner
        self.live[session] = member

    def _ended_session(self, member: CrewMember, session: str) -> None:
        member.sessions.pop(session, None)
        if self.live.get(session) is member:
            del self.live[session]
            self._events.levels.forget(session)
        self._user.over(member, session)
        self.rest(member)
        if not self.live:
            self._over()

    def when_over(self, over: Callable[[], object]) -> None:
        """Have *over* called whenever there is no session any more."""
        self._over = over

    def _told(self, events: list[dict[str, Plain]]) -> None:
        for document in events:
            try:
                self._events.relay(read(document))
            except CatalogueError as error:
                raise Violation(Cause.VALUE_MALFORMED, str(error)) from None

    def _wish_level(self, member: CrewMember, level: str, signal: int) -> None:
        """A signal to a worker is for the sessions that it carries, and for no others."""
        try:
            severity = Severity.named(level)
        except ValueError:
            raise Violation(Cause.VALUE_MALFORMED, "no such level") from None
        message = f"signal {signal} to process {member.pid}"
        for session in member.sessions:
            self._events.set_level(severity, cause=Cause.OPERATOR_SIGNAL, message=message, session=session)

    def _levels(self) -> list[bytes]:
        return [line(dict(self._events.levels.described()))]


def tell_lost(events: Events, member: CrewMember) -> None:
    """Tell the end of the sessions that a worker took along, since it cannot."""
    cause = Cause.WORKER_LOST
    for session, partner in member.sessions.items():
        lost = {"outcome": Outcome.LOST.value, "cause": cause, "message": cause.meaning}
        events.emit("session.ended", session=session, partner=partner, **lost)
