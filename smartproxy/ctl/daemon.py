"""What the control socket wants of a daemon, and what each action does.

Looks at the daemon, or asks it to do something, and records who asked. Trusts the daemon's own words; tells no secret,
because a :class:`Condition` has none.
"""

import os
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import attrs
from twisted.internet.interfaces import IReactorTime

from smartproxy.ctl.answers import (
    DrainBegun,
    HandedOver,
    KilledSession,
    LevelsInForce,
    Licences,
    ListedSession,
    ListedSessions,
)
from smartproxy.ctl.protocol import (
    AskGeneration,
    AskLevel,
    AskLicence,
    AskSessions,
    AskStatus,
    Refused,
    Request,
    TellDrain,
    TellKill,
    TellRestart,
)
from smartproxy.ctl.statuses import InForce, Status, instant
from smartproxy.logs.clock import moment, now
from smartproxy.logs.emit import Events
from smartproxy.logs.severity import Severity
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import Killed, OwnFault
from smartproxy.policy.schema import read_object
from smartproxy.policy.values import whole_of

A = TypeVar("A")


@attrs.frozen(kw_only=True)
class Held:
    """The generation of the configuration that is in force.

    :ivar since: since when, aware, in UTC.
    :ivar by: who brought it.
    """

    generation: int
    since: datetime
    by: str


class Condition(Protocol):
    """How a daemon is, and what can be done to it. Everything told is free of secrets."""

    events: Events

    def status(self) -> Status:
        """How it is, but for what the process knows."""

    def sessions(self) -> list[dict[str, object]]:
        """The live sessions; ``since`` is in seconds since 1970."""

    def partners(self) -> frozenset[str]:
        """The names of the partners in the configuration in force."""

    def generation(self) -> InForce:
        """The configuration in force."""

    def licence(self) -> Licences:
        """The licence in force, or those that the daemon carries to its servers."""

    def kill(self, session: str) -> bool:
        """End a session with ESID 05; whether it was there."""


class Drainable(Protocol):
    """A daemon's service."""

    drain_seconds: int | None

    def hurry(self) -> None:
        """Wait for sessions no longer; end them."""


class DaemonProcess:
    """This process.

    :param drain: has the daemon end in order; whether it was not asked for before.
    :param pid_file: where its number is, if anywhere.
    :param successor: starts a new process that takes over, and tells its number, where the daemon can do that.
    """

    def __init__(
        self,
        reactor: Any,
        service: Drainable,
        drain: Callable[[], bool],
        pid_file: Path | None,
        successor: Callable[[], Coroutine[Any, Any, int]] | None = None,
    ) -> None:
        self._successor = successor
        self._reactor = reactor
        self._service = service
        self._drain = drain
        self._pid_file = pid_file
        self._begun = reactor.seconds()
        self._started = now(reactor)

    def completed(self, status: Status) -> Status:
        """The daemon's status with the process's number, its PID file, and since when it runs."""
        return attrs.evolve(
            status,
            pid=os.getpid(),
            pid_file=None if self._pid_file is None else str(self._pid_file),
            pid_file_right=None if self._pid_file is None else _number_in(self._pid_file) == os.getpid(),
            started=self._started,
            uptime=round(self._reactor.seconds() - self._begun),
        )

    async def hand_over(self) -> int:
        """Leave everything to a new process; its number.

        :raises Refused: when there is none.
        """
        if self._successor is None:
            raise Refused("this daemon hands nothing over: stop it, and start it again")
        return await self._successor()

    def drain(self, seconds: int | None) -> None:
        """End it by draining; told again with 0 seconds, end the sessions now.

        :raises Refused: when it drains already.
        """
        if seconds is not None:
            self._service.drain_seconds = seconds
        if self._drain():
            return
        if seconds != 0:
            raise Refused("it drains already; with 0 seconds its sessions are ended now")
        self._service.hurry()


def _number_in(path: Path) -> int | None:
    try:
        text = path.read_text("ascii", "replace").strip()
    except OSError:
        return None
    try:
        return whole_of(text)
    except ValueError:
        return None


def in_force(held: Held | None) -> InForce:
    """What is told of the generation in force, or that there is none."""
    if held is None:
        return InForce()
    return InForce(generation=held.generation, generation_since=held.since, generation_from=held.by)


def killed() -> OwnFault:
    """Why a session ends that an operator ends."""
    return Killed(rule=Cause.SESSION_KILLED, message="ended by an operator")


CONFIGURED = "configured"
"""Said for a level: what was configured."""


class Actions:
    """The actions of one daemon.

    :param clock: tells the time in seconds since 1970.
    :param look: has what answers are made of read first, without holding up the reactor, where it is not at hand.
    """

    def __init__(
        self,
        clock: IReactorTime,
        condition: Condition,
        process: DaemonProcess,
        look: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self.events = condition.events
        self._look = look
        self._clock = clock
        self._condition = condition
        self._process = process

    async def answer(self, request: Request[A], user: int) -> A:
        """Carry out a request, as soon as what its answer is made of has been read.

        :raises Refused: when it cannot be done.
        """
        if self._look is not None:
            await self._look()
        if isinstance(request, TellRestart):
            number = await self._process.hand_over()
            self._tell(request, user, pid=number)
            handed: Any = HandedOver(pid=number, sessions=len(self._condition.sessions()))
            restarted: A = handed
            return restarted
        return self.perform(request, user)

    def perform(self, request: Request[A], user: int) -> A:
        """Carry out a request.

        :param user: the number of the user who asks, for the record.
        :raises Refused: when it cannot be done.
        """
        found: Any = self._perform(request, user)
        answer: A = found
        return answer

    def _perform(self, request: Request[Any], user: int) -> object:
        match request:
            case AskStatus():
                return self._process.completed(self._condition.status())
            case AskSessions():
                found = sorted(self._condition.sessions(), key=lambda session: str(session["since"]))
                return ListedSessions(sessions=tuple(_dated(session, self._clock) for session in found))
            case AskGeneration():
                return self._condition.generation()
            case AskLicence():
                return self._condition.licence()
            case AskLevel():
                return self._level(request, user)
            case TellDrain():
                self._process.drain(request.seconds)
                self._tell(request, user, seconds=request.seconds)
                return DrainBegun(sessions=len(self._condition.sessions()))
            case TellKill():
                if not self._condition.kill(request.session):
                    raise _no_session(request.session)
                self._tell(request, user, session=request.session)
                return KilledSession(killed=request.session)
        raise AssertionError(f"there is no such request as {request!r}")

    def _level(self, request: AskLevel, user: int) -> LevelsInForce:
        about = {"session": request.session, "partner": request.partner, "category": request.category}
        if request.level is not None:
            self._check_there(request)
            try:
                severity = None if request.level == CONFIGURED else Severity.named(request.level)
                self.events.set_level(severity, cause=Cause.OPERATOR_COMMAND, message=_asked(request, user), **about)
            except ValueError as error:
                raise Refused(str(error)) from error
        elif any(about.values()):
            raise Refused("level: say which level")
        return LevelsInForce(levels=self.events.levels.described())

    def _check_there(self, request: AskLevel) -> None:
        """Refuse a name that no event will have; a level of its own can be taken back from whatever has one."""
        levels, session, partner = self.events.levels.described(), request.session, request.partner
        if (
            session is not None
            and f"session {session}" not in levels
            and all(each["session"] != session for each in self._condition.sessions())
        ):
            raise _no_session(session)
        if partner is not None and f"partner {partner}" not in levels and partner not in self._condition.partners():
            raise Refused(f"no partner has the name {partner}; `smartproxy partner list`, on the backend, lists them")

    def _tell(self, request: Request[Any], user: int, **fields: object) -> None:
        message = _asked(request, user)
        self.events.emit("ctl.used", command=request.do, cause=Cause.OPERATOR_COMMAND, message=message, **fields)


def _no_session(session: str) -> Refused:
    return Refused(f"no live session has the id {session}; `smartproxy ctl sessions` lists them")


def _asked(request: Request[Any], user: int) -> str:
    return f"smartproxy ctl {request.do} by user {user}"


def _dated(session: dict[str, object], clock: IReactorTime) -> ListedSession:
    """A session with its begin as a time, its age, and what it carried a second since then."""
    since, came, went = session.pop("since"), session["octets_in"], session["octets_out"]
    assert isinstance(since, float) and isinstance(came, int) and isinstance(went, int)
    age = max(clock.seconds() - since, 0.0)
    more = {"since": instant(moment(clock, since)), "seconds": round(age, 1)}
    rates = {"rate_in": round(came / max(age, 1.0)), "rate_out": round(went / max(age, 1.0))}
    return read_object(ListedSession, {**session, **more, **rates}, "session")
