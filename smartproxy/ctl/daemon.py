"""What the control socket wants of a daemon, and what each action does.

Looks at the daemon, or asks it to do something, and records who asked. Trusts the daemon's own words; tells no secret,
because a :class:`Condition` has none.
"""

import os
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import attrs
from twisted.internet.interfaces import IReactorTime

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
)
from smartproxy.logs.clock import moment, now
from smartproxy.logs.emit import Events
from smartproxy.logs.severity import Severity
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import Killed, OwnFault
from smartproxy.policy.health import Diagnosis
from smartproxy.policy.licence import Licence

Facts = Mapping[str, object]
"""Names and plain values: what JSON has a form for."""


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

    def status(self) -> Facts:
        """How it is, with what :func:`verdict_facts` says of it."""

    def sessions(self) -> list[dict[str, object]]:
        """The live sessions; ``since`` is in seconds since 1970."""

    def partners(self) -> frozenset[str]:
        """The names of the partners in the configuration in force."""

    def generation(self) -> Facts:
        """The configuration in force."""

    def licence(self) -> Facts:
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
    """

    def __init__(self, reactor: Any, service: Drainable, drain: Callable[[], bool], pid_file: Path | None) -> None:
        self._reactor = reactor
        self._service = service
        self._drain = drain
        self._pid_file = pid_file
        self._begun = reactor.seconds()
        self._started = now(reactor)

    def facts(self) -> Facts:
        """Its number, its PID file and whether that holds its number, since when it runs."""
        return {
            "pid": os.getpid(),
            "pid_file": None if self._pid_file is None else str(self._pid_file),
            "pid_file_right": None if self._pid_file is None else _number_in(self._pid_file) == os.getpid(),
            "started": instant(self._started),
            "uptime": round(self._reactor.seconds() - self._begun),
        }

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
    return int(text) if text.isdecimal() else None


def instant(when: datetime) -> str:
    """A time as answers have it: ISO 8601 in UTC, to the second."""
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")


def written(held: Held | None) -> Facts:
    """The generation in force, or that there is none."""
    if held is None:
        return {"generation": None, "generation_since": None, "generation_from": None}
    return {"generation": held.generation, "generation_since": instant(held.since), "generation_from": held.by}


def verdict_facts(diagnosis: Diagnosis) -> Facts:
    """How the daemon is: ``verdict`` and ``advice`` are those of the worst finding."""
    after = diagnosis.next_expiry
    return {
        "health": diagnosis.health.value,
        "verdict": diagnosis.code,
        "advice": diagnosis.findings[0].sentence if diagnosis.findings else "",
        "findings": [
            {"verdict": each.code, "health": each.health.value, "advice": each.sentence} for each in diagnosis.findings
        ],
        "runs_out_next": None if after is None else {"what": after.what, "until": instant(after.until)},
    }


def licence_facts(licence: Licence, now: datetime) -> Facts:
    """A licence, without its authority's certificate."""
    return {
        "proxy_id": licence.proxy_id,
        "site": licence.site,
        "valid_from": instant(licence.valid_from),
        "valid_until": instant(licence.valid_until),
        "days_left": licence.days_left(now),
        "in_force": licence.in_force(now),
        "limits": dict(licence.limits),
    }


def host_port(host: str, port: int) -> str:
    """An address and a port as one text; an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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

    async def answer(self, request: Request, user: int) -> Facts:
        """Carry out a request, as soon as what its answer is made of has been read.

        :raises Refused: when it cannot be done.
        """
        if self._look is not None:
            await self._look()
        return self.perform(request, user)

    def perform(self, request: Request, user: int) -> Facts:
        """Carry out a request.

        :param user: the number of the user who asks, for the record.
        :raises Refused: when it cannot be done.
        """
        match request:
            case AskStatus():
                return {**self._condition.status(), **self._process.facts()}
            case AskSessions():
                found = sorted(self._condition.sessions(), key=lambda session: str(session["since"]))
                return {"sessions": [_dated(session, self._clock) for session in found]}
            case AskGeneration():
                return self._condition.generation()
            case AskLicence():
                return self._condition.licence()
            case AskLevel():
                return self._level(request, user)
            case TellDrain():
                self._process.drain(request.seconds)
                self._tell(request, user, seconds=request.seconds)
                return {"draining": True, "sessions": len(self._condition.sessions())}
            case TellKill():
                if not self._condition.kill(request.session):
                    raise _no_session(request.session)
                self._tell(request, user, session=request.session)
                return {"killed": request.session}
        raise AssertionError(f"there is no such request as {request!r}")

    def _level(self, request: AskLevel, user: int) -> Facts:
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
        return {"levels": self.events.levels.described()}

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

    def _tell(self, request: Request, user: int, **fields: object) -> None:
        message = _asked(request, user)
        self.events.emit("ctl.used", command=request.do, cause=Cause.OPERATOR_COMMAND, message=message, **fields)


def _no_session(session: str) -> Refused:
    return Refused(f"no live session has the id {session}; `smartproxy ctl sessions` lists them")


def _asked(request: Request, user: int) -> str:
    return f"smartproxy ctl {request.do} by user {user}"


def _dated(session: dict[str, object], clock: IReactorTime) -> Facts:
    """A session with its begin as a time, its age, and what it carried a second since then."""
    since, came, went = session.pop("since"), session["octets_in"], session["octets_out"]
    assert isinstance(since, float) and isinstance(came, int) and isinstance(went, int)
    age = max(clock.seconds() - since, 0.0)
    return {
        **session,
        "since": instant(moment(clock, since)),
        "seconds": round(age, 1),
        "rate_in": round(came / max(age, 1.0)),
        "rate_out": round(went / max(age, 1.0)),
    }
