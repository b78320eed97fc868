"""What each action does. Looks at the daemon, or asks it to do something, and records who asked."""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from smartproxy.ctl.daemon import Condition, Facts, Process, moment
from smartproxy.ctl.protocol import Refused, Request
from smartproxy.logs.severity import Severity

CONFIGURED = "configured"
"""Said for a level: what was configured."""


class Actions:
    """The actions of one daemon.

    :param clock: tells the time in seconds since 1970.
    """

    def __init__(self, clock: IReactorTime, condition: Condition, process: Process) -> None:
        self.events = condition.events
        self._clock = clock
        self._condition = condition
        self._process = process
        self._actions: dict[str, Callable[[Request, int], Facts]] = {
            "status": self._status,
            "sessions": self._sessions,
            "level": self._level,
            "drain": self._drain,
            "kill": self._kill,
            "generation": lambda request, user: self._condition.generation(),
            "licence": lambda request, user: self._condition.licence(),
        }

    def perform(self, request: Request, user: int) -> Facts:
        """Carry out a request.

        :param user: the number of the user who asks, for the record.
        :raises Refused: when it cannot be done.
        """
        return self._actions[request.do](request, user)

    def _status(self, request: Request, user: int) -> Facts:
        return {**self._condition.status(), **self._process.facts()}

    def _sessions(self, request: Request, user: int) -> Facts:
        now = self._clock.seconds()
        found = sorted(self._condition.sessions(), key=lambda session: str(session["since"]))
        return {"sessions": [_dated(session, now) for session in found]}

    def _level(self, request: Request, user: int) -> Facts:
        word = request.text("level")
        about = {name: request.text(name) for name in ("session", "partner", "category")}
        if word is not None:
            try:
                severity = None if word == CONFIGURED else Severity.named(word)
                self.events.set_level(severity, cause=_asked(request, user), **about)
            except ValueError as error:
                raise Refused(str(error)) from error
        elif any(about.values()):
            raise Refused("level: say which level")
        return {"levels": self.events.levels.described()}

    def _drain(self, request: Request, user: int) -> Facts:
        seconds = request.number("seconds")
        if seconds is not None and seconds < 0:
            raise Refused("drain: seconds are 0 or more")
        self._process.drain(seconds)
        self.events.emit("ctl.used", command=request.do, cause=_asked(request, user), seconds=seconds)
        return {"draining": True, "sessions": len(self._condition.sessions())}

    def _kill(self, request: Request, user: int) -> Facts:
        session = request.text("session")
        assert session is not None
        if not self._condition.kill(session):
            raise Refused(f"no live session has the id {session}; `smartproxy ctl sessions` lists them")
        self.events.emit("ctl.used", command=request.do, cause=_asked(request, user), session=session)
        return {"killed": session}


def _asked(request: Request, user: int) -> str:
    return f"smartproxy ctl {request.do} by user {user}"


def _dated(session: dict[str, object], now: float) -> Facts:
    """A session with its begin as a time, its age, and what it carried a second since then."""
    since, came, went = session.pop("since"), session["octets_in"], session["octets_out"]
    assert isinstance(since, float) and isinstance(came, int) and isinstance(went, int)
    age = max(now - since, 0.0)
    return {
        **session,
        "since": moment(since),
        "seconds": round(age, 1),
        "rate_in": round(came / max(age, 1.0)),
        "rate_out": round(went / max(age, 1.0)),
    }
