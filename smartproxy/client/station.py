"""The station's leg, and how it is dialled.

Duty: connect to the station that the configuration names and say in plain words why that failed. The only place from
which the client opens a connection towards the station; the address never comes from outside. Standards: RFC 5024
section 2 (OFTP2 over TCP).
"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import (
    ConnectError,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from smartproxy.logs.emit import Events
from smartproxy.net.connection import LegFactory
from smartproxy.net.driver import SessionDriver
from smartproxy.net.leg import ILeg
from smartproxy.net.sessions import LiveSessions
from smartproxy.oftp2.monitor import Ceilings, Monitor
from smartproxy.oftp2.roles import Level, Profile
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.policy.faults import StationUnreachable
from smartproxy.policy.settings import Station
from smartproxy.relay.ending import Summary
from smartproxy.relay.openings import client_inbound
from smartproxy.relay.session import Session

_CAUSES: dict[type[BaseException] | None, str] = {
    ConnectionRefusedError: "it refuses the connection",
    DNSLookupError: "its name is not known",
    NoRouteError: "there is no route to it",
    TCPTimedOutError: "it does not answer",
    TimeoutError: "it does not answer",
}


def station_name(station: Station) -> str:
    """The station's address as logs show it."""
    host = f"[{station.host}]" if ":" in station.host else station.host
    return f"{host}:{station.port}"


def dial_station(reactor: Any, station: Station, closing: float) -> Deferred[ILeg]:
    """Connect to the station.

    :param reactor: connects, and measures the time that closing may take.
    :param closing: seconds from the wish to close the connection to its abort.
    :return: fires with the station's leg; fails with
        :class:`~smartproxy.policy.faults.StationUnreachable`. Canceling it gives the attempt up.
    """
    connecting: Any = _endpoint(reactor, station).connect(LegFactory(reactor, closing))

    def explain(failure: Failure) -> Failure:
        failure.trap(ConnectError, DNSLookupError)
        cause = _CAUSES.get(failure.type, "the connection failed")
        message = f"no connection to the station {station_name(station)}: {cause}"
        return Failure(StationUnreachable(rule="station.connect", message=message))

    dialled: Deferred[ILeg] = connecting.addErrback(explain)
    return dialled


def _endpoint(reactor: Any, station: Station) -> IStreamClientEndpoint:
    host = station.host
    if isIPAddress(host):
        return TCP4ClientEndpoint(reactor, host, station.port, station.timeout)
    if isIPv6Address(host):
        return TCP6ClientEndpoint(reactor, host, station.port, station.timeout)
    return HostnameEndpoint(reactor, host.encode("ascii"), station.port, station.timeout)


Dial = Callable[[], Deferred[ILeg]]


class StationSessions(LiveSessions):
    """All sessions that the client has with the station.

    :param reactor: connects to the station and runs every deadline.
    :param events: where everything is told.
    :param configuration: tells the configuration in force; a session keeps the one that it began with.
    :param finished: told of every session that is over.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        events: Events,
        configuration: Callable[[], ClientConfiguration],
        finished: Callable[[Summary], None] = lambda summary: None,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._events = events
        self._configuration = configuration
        self._finished = finished

    def open(self, session: str, facts: Mapping[str, str], data: ILeg) -> Deferred[None]:
        """Begin a session.

        :param session: its id, made by the server.
        :param facts: what the server knows of it, by the names of OpenInbound.
        :param data: the leg through the tunnel.
        :return: fires when the station has greeted; fails with an :class:`~smartproxy.policy.faults.OwnFault`.
        """
        configuration = self._configuration()
        most = configuration.limits.sessions
        if len(self.live) >= most:
            return _refused(data, "quota.sessions", f"the client's limit of {most} sessions is reached")
        if session in self.live:
            return _refused(data, "session.twice", "a session of this id is live")
        try:
            profile, _ = Profile(facts["profile"]), Level(int(facts["level"]))
        except (KeyError, ValueError):
            return _refused(data, "session.facts", "the server's facts are not those of a session")
        station = configuration.station
        deadlines = configuration.deadlines
        deadlines = attrs.evolve(deadlines, opening=min(deadlines.opening, station.timeout))
        monitor = Monitor(profile, ceilings=Ceilings(command=configuration.limits.command_octets))
        ready: Deferred[None] = Deferred()
        driver = SessionDriver(
            Session(session, client_inbound(facts), monitor, deadlines),
            data,
            clock=self._reactor,
            events=self._events,
            open_leg=lambda told: dial_station(self._reactor, station, deadlines.closing),
            finished=self._over,
            ready=ready,
        )
        self.live[session] = driver
        driver.begin()
        return ready

    def _over(self, summary: Summary) -> None:
        self.live.pop(summary.session, None)
        self._finished(summary)


def _refused(data: ILeg, rule: str, message: str) -> Deferred[None]:
    """Give the data connection back, and say why the session cannot begin."""
    data.finish()
    return fail(StationUnreachable(rule=rule, message=message))
