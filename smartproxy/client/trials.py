"""Trials: test connections to partners and to the station, when an operator asks for one.

Duty: wait at the backend for trials, run each without transferring anything, and report the result in one event with
the trial's session id. A trial of a partner is a call that ends with the partner's SSRM; a trial of the station is a
connection that ends with its SSRM. Another module reports that the backend is unreachable. Standards: RFC 5024 section
5.3.1.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.client.backend import Backend, BackendRefused, BackendUnavailable, Trial
from smartproxy.client.station import dial_station
from smartproxy.client.upkeep import POLL_SECONDS_LEAST
from smartproxy.logs.emit import Events
from smartproxy.net.leg import ILeg, ILegReceiver, LegEnd
from smartproxy.oftp2.commands import SSRM
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Role
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.policy.faults import StationUnreachable
from smartproxy.policy.settings import Station
from smartproxy.relay.events import SharedEnd

RETRY_SECONDS = 30.0
"""The wait after a call that the backend did not answer."""


class Trials:
    """Runs trials as long as the client runs.

    :param reactor: connects and runs every deadline.
    :param try_partner: calls a partner, by the id of the trial and its name.
    :param configuration: tells the configuration in force.
    :param wished: told what an operator wants of a live session.
    :param tried: told how the station failed when it was tried, or ``None`` if it answered.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        events: Events,
        backend: Backend,
        try_partner: Callable[[str, str], Coroutine[Any, Any, None]],
        configuration: Callable[[], ClientConfiguration],
        wished: Callable[[Trial], None] = lambda wish: None,
        tried: Callable[[Station, str | None], None] = lambda station, message: None,
    ) -> None:
        self._reactor = reactor
        self._events = events
        self._backend = backend
        self._try_partner = try_partner
        self._configuration = configuration
        self._tried = tried
        self._wished = wished
        self._running: set[Deferred[None]] = set()

    def start(self) -> None:
        """Wait for trials until :meth:`stop`."""
        self._run(Deferred.fromCoroutine(self._follow()))

    def stop(self) -> None:
        """Wait for no further trials, and give up those that run."""
        for running in list(self._running):
            running.cancel()

    def _run(self, running: Deferred[None]) -> None:
        self._running.add(running)

        def over(result: Failure | None) -> None:
            self._running.discard(running)
            if isinstance(result, Failure) and result.check(CancelledError) is None:
                self._events.failure("smartproxy.client.trials", result)

        running.addBoth(over)

    async def _follow(self) -> None:
        known: int | None = None
        while True:
            asked = self._reactor.seconds()
            try:
                known, trials = await self._backend.trials(known)
            except (BackendRefused, BackendUnavailable):
                await deferLater(self._reactor, RETRY_SECONDS)
                continue
            for trial in trials:
                self._run(Deferred.fromCoroutine(self._carry_out(trial)))
            if not trials:
                # Do not flood a backend that answers without waiting.
                await deferLater(self._reactor, max(0.0, POLL_SECONDS_LEAST - (self._reactor.seconds() - asked)))

    async def _carry_out(self, trial: Trial) -> None:
        if trial.wish is not None:
            self._wished(trial)
        elif trial.partner is None:
            await self._try_station(trial.session)
        else:
            await self._try_partner(trial.session, trial.partner)

    async def _try_station(self, session: str) -> None:
        configuration = self._configuration()
        station, begun = configuration.station, self._reactor.seconds()
        where = {"session": session, "host": station.host, "port": station.port}
        try:
            leg = await dial_station(self._reactor, station, configuration.deadlines.closing)
            greeting = _Greeting(leg)
            leg.receiver = greeting
            try:
                await greeting.heard.addTimeout(station.timeout, self._reactor, _late)
            finally:
                leg.finish()
        except StationUnreachable as fault:
            self._tried(station, fault.message)
            self._events.emit("station.unreachable", cause=fault.rule, message=fault.message, **where)
        else:
            self._tried(station, None)
            self._events.emit("station.answered", duration=self._reactor.seconds() - begun, **where)


def _late(result: object, seconds: float) -> None:
    raise StationUnreachable(
        rule=Cause.STATION_SILENT, message=f"SSRM: the station did not send it within {seconds:g} s"
    )


@implementer(ILegReceiver)
class _Greeting:
    """Waits for a station's SSRM.

    :ivar heard: fires when SSRM is in; fails with :class:`~smartproxy.policy.faults.StationUnreachable`.
    """

    def __init__(self, leg: ILeg) -> None:
        self.heard: Deferred[None] = Deferred()
        self._monitor = Monitor()

    def octets_received(self, leg: ILeg, octets: bytes) -> None:
        """Judge the octets of the greeting."""
        judgement = self._monitor.judge(Role.RESPONDER, octets)
        if any(isinstance(each.value, SSRM) for each in judgement.observations):
            self._settle(None)
        elif judgement.error is not None:
            message = f"SSRM: what the station sent is not SSRM: {judgement.error.message}"
            self._settle(StationUnreachable(rule=Cause.STATION_GREETING, message=message))

    def leg_lost(self, leg: ILeg, end: LegEnd) -> None:
        """Fail the trial: the station is gone."""
        message = f"SSRM: the station closed the connection before it: {end.message}"
        self._settle(StationUnreachable(rule=Cause.STATION_CLOSED, message=message))

    def leg_ended(self, leg: ILeg, end: SharedEnd | None) -> None:
        """Happens with data connections only."""

    def leg_full(self, leg: ILeg) -> None:
        """Nothing is sent."""

    def leg_drained(self, leg: ILeg) -> None:
        """Nothing is sent."""

    def _settle(self, fault: StationUnreachable | None) -> None:
        if self.heard.called:
            return
        if fault is None:
            self.heard.callback(None)
        else:
            self.heard.errback(fault)
