"""The stations' side of the client: one session for each that the server asks for.

Duty: dial the station, take its SSRM, and relay between it and the data connection of the session, judging every octet
a second time. Trusts the server's facts to say which partner it is; not its octets.
"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail

from smartproxy.logs.emit import Events
from smartproxy.net.driver import SessionDriver
from smartproxy.net.leg import ILeg
from smartproxy.net.live import LiveSessions
from smartproxy.net.station import dial_station
from smartproxy.oftp2.errors import StationUnreachable
from smartproxy.oftp2.monitor import Ceilings, Monitor
from smartproxy.oftp2.roles import Level, Profile
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.relay.openings import client_inbound
from smartproxy.relay.session import Session
from smartproxy.relay.summary import Summary

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
        :return: fires when the station has greeted; fails with an :class:`~smartproxy.oftp2.errors.OwnFault`.
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
