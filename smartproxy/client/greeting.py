"""The greeting of the station: a connection that ends with its SSRM, to know whether it answers.

Duty: judge every octet of the greeting, send nothing, and report the result: in one event, if an operator asked.
Standards: RFC 5024 section 5.3.1.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from smartproxy.client.station import dial_station, not_a_greeting
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


async def try_station(
    reactor: Any,
    events: Events,
    configuration: ClientConfiguration,
    session: str,
    tried: Callable[[Station, str | None], None],
) -> None:
    """Connect to the station, hear its SSRM, and report the result in an event.

    :param reactor: connects and runs every deadline.
    :param session: the id of the trial.
    :param tried: told how the station failed, or ``None`` if it answered.
    """
    station, begun = configuration.station, reactor.seconds()
    where = {"session": session, "host": station.host, "port": station.port}
    fault = await hear_station(reactor, configuration, tried)
    if fault is None:
        events.emit("station.answered", duration=reactor.seconds() - begun, **where)
    else:
        events.emit("station.unreachable", cause=fault.rule, message=fault.message, **where)


async def hear_station(
    reactor: Any, configuration: ClientConfiguration, tried: Callable[[Station, str | None], None]
) -> StationUnreachable | None:
    """Connect to the station, hear its SSRM, and disconnect.

    :param reactor: connects and runs every deadline.
    :param tried: told how the station failed, or ``None`` if it answered.
    :return: the same.
    :raises CancelledError: if it is given up.
    """
    station = configuration.station
    try:
        leg = await dial_station(reactor, station, configuration.deadlines.closing)
        greeting = _Greeting(leg)
        leg.receiver = greeting
        try:
            await greeting.heard.addTimeout(station.timeout, reactor, _late)
        finally:
            leg.finish()
    except StationUnreachable as fault:
        tried(station, fault.message)
        return fault
    tried(station, None)
    return None


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
            message = not_a_greeting(judgement.error.message)
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
