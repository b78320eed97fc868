"""The workers of one supervisor: as many as are wanted, whatever happens to them.

Duty: have workers made, bring each what it needs before its first connection, know which sessions each carries, find
the least loaded, and replace whatever dies. A worker that hangs, or that says what it may not say, is killed. One event
tells of a death, and how many sessions it took. A worker that dies young is replaced after a wait that doubles. Trusts
the zygote; takes every worker for hostile.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from smartproxy.ctl.statuses import ToldWorker
from smartproxy.logs.catalogue import CatalogueError
from smartproxy.logs.emit import Events
from smartproxy.logs.record import read
from smartproxy.logs.severity import Severity
from smartproxy.net.deadline import Deadline
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault
from smartproxy.tunnel.boxes import Plain, line
from smartproxy.tunnel.faults import Closing, OpeningFailed, Violation
from smartproxy.tunnel.vocabulary import Ping, TunnelCommand
from smartproxy.workers.link import SILENCE_SECONDS, Link
from smartproxy.workers.members import CarriedSession, CrewMember, CrewUser
from smartproxy.workers.packets import Closeable, Packets
from smartproxy.workers.spawning import NO_MEMORY, NOT_MADE, Zygote
from smartproxy.workers.words import (
    Began,
    EndSession,
    Leave,
    Over,
    Post,
    SentWhole,
    SetLevels,
    Start,
    TellEvents,
    WishLevel,
)

_STATUS_SECONDS = 2.0
"""How long a death waits for the status of the process, to be told with it."""
_NOT_MADE = (
    "the system has no process or no descriptors for it: see that memory, TasksMax= and LimitNOFILE= suffice; "
    "it is tried again"
)


class Crew:
    """Keeps as many workers alive as are wanted: one that dies or hangs is told and replaced.

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
    :ivar lessons: how many words workers have been taught.
    :ivar empty: called whenever there is no session any more.
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
        self.lessons = 0
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
        self._filling = Deadline(reactor, self._fill)
        self._waiting: list[Deferred[CrewMember]] = []
        self.empty: Callable[[], object] = lambda: None
        self._stopping = False
        self._barren = False
        self._able_at = 0.0

    @property
    def members(self) -> tuple[CrewMember, ...]:
        """The workers that take connections."""
        return tuple(member for member in self._members.values() if member.ready)

    @property
    def started(self) -> tuple[CrewMember, ...]:
        """The workers that are told what changes, also while they are being brought what they need."""
        return tuple(member for member in self._members.values() if member.started)

    @property
    def lacking(self) -> bool:
        """Whether no worker takes what comes, and none did for some seconds."""
        return not self.able and self._reactor.seconds() - self._able_at >= limits.WORKERS_AWAITED_SECONDS

    @property
    def able(self) -> bool:
        """Whether a worker takes what comes; where there are as many as may be, it waits for the end of a session."""
        return len(self._members) >= limits.WORKERS_MOST or any(not member.taken for member in self.members)

    def start(self) -> None:
        """Have the workers made."""
        self._zygote.attach(self._reactor, self._born, self._ended, self._zygote_lost, self._unrehearsed)
        self._events.releveled = self.tell_levels
        self._able_at = self._reactor.seconds()
        self._fill()

    async def stop(self) -> None:
        """Let every worker tell what there is to tell, then end all."""
        self._stopping = True
        self._filling.stop()
        for again in self._again:
            again.cancel()
        self._again.clear()
        for dead in list(self._gone.values()):
            self._tell_death(dead)
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
        if self._filling.running:
            self._fill()
        return waiting

    def numbered(self, number: int) -> CrewMember | None:
        """The worker with a number, if it takes connections."""
        member = self._members.get(number)
        return member if member is not None and member.ready else None

    def teach(self, command: type[TunnelCommand], descriptor: Closeable | None = None, **arguments: object) -> None:
        """Have workers that are made from now on be born with what a word says; the others do not hear it."""
        self.lessons += 1
        self._zygote.teach(self._kind.lesson(command, **arguments), descriptor)

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
            self._able_at = self._reactor.seconds()
            member.taken = True
            if self._waiting:
                self._fill()
            elif not self._filling.running:
                # A session that begins has the processor for itself.
                self._filling.start(limits.FILL_SECONDS)
        return member

    def _fill(self) -> None:
        """Have as many workers made as are missing, those that wait to be made again not counted."""
        self._filling.stop()
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
        number = self._number = self._number + 1
        try:
            end = self._zygote.spawn(number)
        except OSError:
            # This process has no descriptors left.
            self._events.emit(
                "worker.died",
                cause=Cause.WORKER_START,
                message=Cause.WORKER_START.meaning,
                sessions=0,
                advice=_NOT_MADE,
            )
            self._hire_later(0.0, limits.WORKER_WAIT_SECONDS_FIRST)
            return
        link = self._kind(
            Post.SUPERVISOR, self._reactor, self._events, lambda why: self._lost(member, why), self._silence
        )
        member = self._members[number] = CrewMember(number, self._reactor.seconds(), link, self.lessons)
        link.answers = {
            Began: lambda **told: self._began(member, **told),
            SentWhole: lambda session, **told: self._carried(member, session).sent(**told),
            Over: lambda session: self._ended_session(member, session),
            TellEvents: lambda events: self._told(member, events),
            WishLevel: lambda level, signal: self._wish_level(member, level, signal),
            Ping: lambda **_: None,
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
            # Questions fail before it is told that the link is over.
            if member.link.lost is None:
                self._events.failure("smartproxy.workers.crew", Failure())
            member.link.abort(Closing(Cause.WORKER_START, Cause.WORKER_START.meaning))
            return
        member.ready = True
        self._user.ready(member)
        self._tell_started(member)
        while self._waiting and (free := self._free()) is not None:
            self._waiting.pop(0).callback(free)

    def _born(self, number: int, pid: int) -> None:
        member = self._members.get(number) or self._gone.get(number)
        if member is not None:
            member.pid = pid
            self._tell_started(member)

    def _tell_started(self, member: CrewMember) -> None:
        """Tell of a worker that is ready, of which the zygote said which process it is: either may be the first."""
        if member.ready and member.pid is not None and not self._single:
            self._events.emit("worker.started", pid=member.pid)

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
        if self.able:
            self._able_at = self._reactor.seconds()
        del self._members[member.number]
        member.lost, member.ready, member.started = why, False, False
        # Its process may still be there: it hangs, or its link was cut off for a violation.
        self._zygote.kill(member.number)
        if self._stopping:
            return
        if member.leaving and not member.load:
            self._user.died(member)
            self._fill()
            return
        if not self._barren:
            self._gone[member.number] = member
            member.telling = Deadline(self._reactor, partial(self._tell_death, member))
            member.telling.start(_STATUS_SECONDS)
            if member.status is not None:
                self._tell_death(member)
        for session in member.sessions:
            self.live.pop(session, None)
        holds, member.holds = member.holds, {}
        for let_go in holds.values():
            let_go()
        self._user.died(member)
        # After the daemon has told how they ended, at the levels that were set for them.
        for session in member.sessions:
            self._events.levels.forget(session)
        if self._barren or self._stopping:
            # Whoever is told of a death may stop the crew at once.
            pass
        elif member.taken:
            self._fill()
        else:
            self._hire_later(self._reactor.seconds() - member.begun)
        if not self.live:
            self.empty()

    def _hire_later(self, lived: float, least: float = 0.0) -> None:
        """Have a worker made in place of one that lived for so long.

        :param least: seconds after which it is made at the earliest.
        """
        self._young = 0 if lived >= limits.WORKER_LIVED_SECONDS else self._young + 1
        wait = least
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
        member.tell_no_later()
        assert member.lost is not None
        code = None if member.status is None else os.waitstatus_to_exitcode(member.status)
        cause, message = member.lost.cause, member.lost.message
        if member.link.violation is not None:
            cause, message = Cause.WORKER_VIOLATION, str(member.link.violation)
        elif cause not in (Cause.WORKER_HANGS, Cause.WORKER_START):
            cause = Cause.WORKER_SIGNAL if code is not None and code < 0 else Cause.WORKER_EXIT
            cause = Cause.WORKER_MEMORY if code == NO_MEMORY else cause
            message = cause.meaning
        advice = None
        if member.pid is None and code == NOT_MADE:
            cause, message, code, advice = Cause.WORKER_START, Cause.WORKER_START.meaning, None, _NOT_MADE
        self._events.emit(
            "worker.died",
            pid=member.pid,
            cause=cause,
            message=message,
            sessions=len(member.sessions),
            exit_status=code,
            age=self._reactor.seconds() - member.begun,
            advice=advice,
        )

    def _zygote_lost(self) -> None:
        # The end of a worker's link may have been the first that was seen of it.
        gone, self._gone = self._gone, {}
        for member in gone.values():
            member.tell_no_later()
        self._events.emit(
            "worker.died",
            cause=Cause.WORKER_ZYGOTE,
            message=Cause.WORKER_ZYGOTE.meaning,
            sessions=len(self.live) + sum(len(member.sessions) for member in gone.values()),
        )
        self._barren = True
        for again in self._again:
            again.cancel()
        self._again.clear()
        # The kernel kills them with it: their sessions are over before the daemon ends.
        for member in list(self._members.values()):
            member.link.abort(Closing(Cause.WORKER_ZYGOTE, Cause.WORKER_ZYGOTE.meaning))
        self._ruined()

    def _unrehearsed(self, exception: str) -> None:
        self._events.emit(
            "worker.unrehearsed",
            cause=Cause.WORKER_REHEARSAL,
            message=Cause.WORKER_REHEARSAL.meaning,
            facts={"exception": exception},
            advice="sessions are carried all the same; report this event as a bug",
        )

    # What workers say.

    def _began(self, member: CrewMember, session: str, **told: Any) -> None:
        if session in self.live:
            raise Violation(Cause.SESSION_OPEN, Cause.SESSION_OPEN.meaning)
        member.sessions[session] = CarriedSession(session=session, begun=self._reactor.seconds(), **told)
        self.live[session] = member

    def _carried(self, member: CrewMember, session: str) -> CarriedSession:
        if session not in member.sessions:
            raise Violation(Cause.WORKER_VIOLATION, "a worker speaks of a session that it does not have")
        return member.sessions[session]

    def _ended_session(self, member: CrewMember, session: str) -> None:
        member.sessions.pop(session, None)
        if self.live.get(session) is member:
            del self.live[session]
            self._events.levels.forget(session)
        self._user.over(member, session)
        self.rest(member)
        if not self.live:
            self.empty()

    def _told(self, member: CrewMember, events: list[dict[str, Plain]]) -> None:
        for document in events:
            try:
                told = read(document)
            except CatalogueError as error:
                raise Violation(Cause.VALUE_MALFORMED, str(error)) from None
            self._events.relay(told, member.budgets)
            carried = member.sessions.get(str(told.fields.get("session")))
            if carried is not None:
                carried.observe(told)

    def _wish_level(self, member: CrewMember, level: Severity, signal: int) -> None:
        """A signal to a worker is for the sessions that it carries, and for no others."""
        message = f"signal {signal} to process {member.pid}"
        for session in member.sessions:
            self._events.set_level(level, cause=Cause.OPERATOR_SIGNAL, message=message, session=session)

    def _levels(self) -> list[bytes]:
        return [line(dict(self._events.levels.described()))]
