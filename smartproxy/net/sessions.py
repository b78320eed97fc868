"""The live sessions of one daemon, by their ids, and the one place where sessions are made.

Duty: give each session its monitor and its driver, know it until it is over (and its log level with it), and end it
when the daemon, an operator or the other daemon asks for it, or when it has cost too much CPU time for too long
(:mod:`smartproxy.policy.effort`). Decides nothing else about a session: its opening and its legs are given.
"""

import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import isotime
from smartproxy.net.deadline import Deadline
from smartproxy.net.drain import DrainWait
from smartproxy.net.driver import OpenLeg, SessionDriver
from smartproxy.net.leg import ILeg
from smartproxy.net.transport.sockets import WORK
from smartproxy.oftp2.monitor import Ceilings, Monitor
from smartproxy.policy import limits
from smartproxy.policy.callbacks import nothing
from smartproxy.policy.causes import Cause
from smartproxy.policy.effort import Effort
from smartproxy.policy.faults import OwnFault, TooCostly
from smartproxy.policy.settings import Deadlines
from smartproxy.relay.ending import Summary
from smartproxy.relay.openings import Opening
from smartproxy.relay.recorder import Recorder
from smartproxy.relay.session import Session

EFFORT_LOOK_SECONDS = 1.0
"""How often it is looked what the sessions have cost."""
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


class EffortWatch:
    """Watches what the sessions of one daemon cost: one look at all of them in each second in which there are any.

    Connections measure the time of day that their turns take, which is more than their CPU time when other programs
    have the processor: it is scaled by what the process has really had. Ends no session.

    :param live: the sessions, by id.
    :param costly: told the id of each session that is too costly.
    :param cpu: the CPU time of this process, in seconds.
    :param worked: the time of day that all turns of connections have taken, in seconds.
    """

    def __init__(
        self,
        clock: IReactorTime,
        events: Events,
        live: Mapping[str, SessionDriver],
        costly: Callable[[str], object],
        *,
        cpu: Callable[[], float] = time.process_time,
        worked: Callable[[], float] = lambda: WORK.seconds,
    ) -> None:
        self._clock = clock
        self._events = events
        self._live = live
        self._costly = costly
        self._cpu = cpu
        self._worked = worked
        self._efforts: dict[str, Effort] = {}
        self._next = Deadline(clock, self._look)
        self._since = (0.0, 0.0, 0.0)

    def begin(self) -> None:
        """There is a session."""
        if not self._next.running:
            self._since = (self._clock.seconds(), self._cpu(), self._worked())
            self._next.start(EFFORT_LOOK_SECONDS)

    def over(self) -> None:
        """A session is over."""
        if not self._live:
            self._efforts.clear()
            self._next.stop()

    def _look(self) -> None:
        self._next.start(EFFORT_LOOK_SECONDS)
        try:
            self._judge()
        except Exception:
            self._events.failure("smartproxy.net.sessions", Failure())

    def _judge(self) -> None:
        present = (self._clock.seconds(), self._cpu(), self._worked())
        seconds, cpu, worked = (new - old for new, old in zip(present, self._since, strict=True))
        self._since = present
        share = min(1.0, cpu / worked) if worked > 0 else 1.0
        efforts, self._efforts = self._efforts, {}
        for session, driver in list(self._live.items()):
            spent = driver.spent()
            if session not in efforts and spent.seconds <= limits.EFFORT_SHARE * seconds:
                # In all its life less than what would be too much for this look: nothing is kept of a quiet session.
                continue
            effort = self._efforts[session] = efforts.get(session) or Effort()
            if effort.too_costly(spent, seconds, share):
                self._costly(session)


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
        # Last: whoever waits for the last session goes on within this call, and ends the daemon.
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
