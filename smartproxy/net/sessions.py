"""The live sessions of one daemon, by their ids, and the one place where sessions are made.

Duty: give each session its monitor and its driver, know it until it is over (and its log level with it), and
end them when the daemon, an operator or the other daemon asks for it. Decides nothing about a
session: its opening and its legs are given.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import isotime
from smartproxy.net.drain import DrainWait
from smartproxy.net.driver import OpenLeg, SessionDriver
from smartproxy.net.effort import EffortWatch
from smartproxy.net.leg import ILeg
from smartproxy.oftp2.monitor import Ceilings, Monitor
from smartproxy.policy.callbacks import nothing
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault, TooCostly
from smartproxy.policy.settings import Deadlines
from smartproxy.relay.ending import Summary
from smartproxy.relay.openings import Opening
from smartproxy.relay.recorder import Recorder
from smartproxy.relay.session import Session

_Leg = TypeVar("_Leg", bound=ILeg)


@lru_cache(maxsize=8)
def _ceilings(command_octets: int) -> Ceilings:
    """The same for all sessions."""
    return Ceilings(command=command_octets)


@attrs.frozen(eq=False)
class _End:
    """What is needed at the end of a session; takes less than a partial call, or a function of each session.

    :ivar told: what is done, the same for all sessions.
    :ivar began: when the session began, where there is a recorder.
    """

    told: Callable[["_End", Summary], None]
    over: Callable[[Any, Summary], None]
    initiator: ILeg
    recorder: Recorder | None
    began: str

    def __call__(self, summary: Summary) -> None:
        """The session is over."""
        self.told(self, summary)


class LiveSessions:
    """Makes sessions, knows the live ones, and ends them.

    :param clock: runs the deadlines of sessions.
    :param events: where everything about sessions is reported.
    :param finished: called for every session that is over, once it is not live any more.
    :param recorded: given the record of every session that is over; without it, none is kept.
    :ivar sent: told of each file that was sent whole and is not confirmed: its session, octets and records.
    :ivar live: the sessions that are not over, by id.
    """

    def __init__(
        self,
        clock: IReactorTime,
        events: Events,
        finished: Callable[[Summary], None] = lambda summary: None,
        recorded: Callable[[dict[str, object]], object] | None = None,
    ) -> None:
        self.sent: Callable[[str, int, int], object] | None = None
        self.live: dict[str, SessionDriver] = {}
        self._clock = clock
        self._events = events
        self._finished = finished
        self._recorded = recorded
        # Bound once, and not for each session.
        self._wants, self._ends = events.wants, self._end
        self._wait = DrainWait(clock, self)
        self._efforts = EffortWatch(clock, events, self.live, self._end_costly)

    def prepare(
        self,
        session: str,
        opening: Opening,
        initiator: _Leg,
        *,
        deadlines: Deadlines,
        command_octets: int,
        open_leg: OpenLeg,
        ready: Deferred[None] | None = None,
        over: Callable[[_Leg, Summary], None] = nothing,
    ) -> SessionDriver:
        """Make a session, and know it until it is over; the caller lets it begin.

        :param session: its id.
        :param opening: how it begins, which side is which, and what is known of it.
        :param initiator: the leg of the Initiator.
        :param command_octets: the longest Command Exchange Buffer that is accepted once both SSIDs are there.
        :param open_leg: opens the Responder's leg, and ``ready`` fires: see
            :class:`~smartproxy.net.driver.SessionDriver`.
        :param over: called with the Initiator's leg when this session is over, before ``finished``.
        """
        monitor = Monitor(opening.profiles, ceilings=_ceilings(command_octets))
        relayed = Session(session, opening, monitor, deadlines)
        relayed.reporter.ask(self._wants)
        if self.sent is not None:
            relayed.tell_sent(partial(self.sent, session))
        began = ""
        if self._recorded is not None:
            relayed.recorder = Recorder(session, opening, monitor, self._clock.seconds)
            began = isotime(now(self._clock))
        driver = self.live[session] = SessionDriver(
            relayed,
            initiator,
            clock=self._clock,
            events=self._events,
            open_leg=open_leg,
            finished=_End(self._ends, over, initiator, relayed.recorder, began),
            ready=ready,
        )
        self._efforts.begin()
        return driver

    def _end(self, end: _End, summary: Summary) -> None:
        self.live.pop(summary.session, None)
        self._events.levels.forget(summary.session)
        self._efforts.over()
        end.over(end.initiator, summary)
        self._finished(summary)
        if self._recorded is not None and end.recorder is not None:
            self._recorded(end.recorder.document(summary, end.began))
        self._wait.finished()

    def _end_costly(self, session: str) -> None:
        self.close(session, TooCostly(rule=Cause.SESSION_COSTLY, message=Cause.SESSION_COSTLY.meaning))

    def portraits(self) -> list[dict[str, object]]:
        """The state of each of them."""
        return [driver.portrait() for driver in self.live.values()]

    def stop(self, fault: OwnFault) -> None:
        """End all of them."""
        for driver in list(self.live.values()):
            driver.stop(fault)

    def close(self, session: str, fault: OwnFault) -> bool:
        """End one; whether it was there."""
        driver = self.live.get(session)
        if driver is not None:
            driver.stop(fault)
        return driver is not None

    async def drain(self, seconds: float, closing: float) -> None:
        """Wait up to ``seconds`` for sessions to end, end the others, and wait up to ``closing`` for those."""
        await self._wait.run(seconds, closing)

    def hurry(self) -> None:
        """Wait no longer for sessions to end by themselves."""
        self._wait.hurry()
