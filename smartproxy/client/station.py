"""The connection to the station, the sessions with it, and the look whether it answers.

Duty: connect to the configured station, and say why that failed; for the look, judge every octet of its greeting, send
nothing, and report the result. The only place where the client opens a connection to the station; the address never
comes from outside. Standards: RFC 5024 sections 2 (OFTP2 over TCP) and 5.3.1 (SSRM).
"""

from collections.abc import Callable
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
from zope.interface import implementer

from smartproxy.logs.emit import Events
from smartproxy.net.connection import LegFactory
from smartproxy.net.driver import SessionDriver
from smartproxy.net.leg import ILeg, ILegReceiver, LegEnd
from smartproxy.net.sessions import LiveSessions
from smartproxy.net.transport.endpoints import connect
from smartproxy.net.transport.sockets import dialling
from smartproxy.oftp2.commands import SSRM
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Role
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.policy.faults import StationUnreachable
from smartproxy.policy.outcomes import Outcome
from smartproxy.policy.settings import Station
from smartproxy.relay.ending import Summary
from smartproxy.relay.events import SharedEnd
from smartproxy.relay.openings import Opening, SessionFacts, client_inbound

_CAUSES: dict[type[BaseException] | None, tuple[Cause, str]] = {
    ConnectionRefusedError: (Cause.STATION_REFUSED, "it refuses the connection"),
    DNSLookupError: (Cause.STATION_NAME, "its name is not known"),
    ValueError: (Cause.STATION_NAME, "its name is not a host name"),
    NoRouteError: (Cause.STATION_NO_ROUTE, "there is no route to it"),
    TCPTimedOutError: (Cause.STATION_NO_ANSWER, "it does not answer"),
    TimeoutError: (Cause.STATION_NO_ANSWER, "it does not answer"),
}


def dial_station(reactor: Any, station: Station, closing: float) -> Deferred[ILeg]:
    """Connect to the station.

    :param reactor: connects, and measures the time that closing may take.
    :param closing: seconds that closing the connection may take before it is aborted.
    :return: fires with the station's leg; fails with
        :class:`~smartproxy.policy.faults.StationUnreachable`. Canceling it gives the attempt up.
    """
    endpoint = endpoint_to(dialling(reactor), station.host, station.port, timeout=station.timeout)
    connecting = connect(endpoint, LegFactory(reactor, closing))

    def explain(failure: Failure) -> Failure:
        # What is no host name is a ValueError; an older version took such names.
        failure.trap(ConnectError, DNSLookupError, ValueError)
        cause, words = _CAUSES.get(failure.type, (Cause.STATION_CONNECT, "the connection failed"))
        message = f"no connection to the station {HostPort(station.host, station.port)}: {words}"
        return Failure(StationUnreachable(rule=cause, message=message))

    dialled: Deferred[ILeg] = connecting.addErrback(explain)
    return dialled


def endpoint_to(
    reactor: Any, host: str, port: int, *, timeout: float = 30, source: str | None = None
) -> IStreamClientEndpoint:
    """Where a host is dialled; an address is not looked up as a name is, which takes a thread.

    :param source: the address from which it is dialled, if one is given.
    """
    bound = None if source is None else (source, 0)
    if isIPAddress(host):
        return TCP4ClientEndpoint(reactor, host, port, timeout, bound)
    if isIPv6Address(host):
        return TCP6ClientEndpoint(reactor, host, port, timeout, bound)
    return HostnameEndpoint(reactor, host.encode("ascii"), port, timeout, bound)


class StationSessions(LiveSessions):
    """All sessions of the client: those that partners began, and those that the station began.

    :param reactor: connects to the station and runs every deadline.
    :param events: where everything is told.
    :param configuration: tells the configuration in force; a session keeps the one that it began with.
    :param began: told of each session that begins: its id, and how.
    :param tried: told how the station failed when it was called, or ``None`` if it answered.
    :param finished: told of every session that is over.
    :param recorded: given the record of each.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        events: Events,
        configuration: Callable[[], ClientConfiguration],
        began: Callable[[str, Opening], None] = lambda session, opening: None,
        tried: Callable[[Station, str | None], None] = lambda station, message: None,
        finished: Callable[[Summary], None] = lambda summary: None,
        recorded: Callable[[dict[str, object]], object] | None = None,
    ) -> None:
        super().__init__(reactor, events, finished, recorded)
        self._reactor = reactor
        self._configuration = configuration
        self._began = began
        self._tried = tried

    def prepare(self, session: str, opening: Opening, initiator: ILeg, **more: Any) -> SessionDriver:
        """Tell that a session begins, whoever began it."""
        self._began(session, opening)
        return super().prepare(session, opening, initiator, **more)

    def open(self, session: str, facts: SessionFacts, data: ILeg) -> Deferred[None]:
        """Open a session with the station.

        :param session: its id.
        :param facts: what the server knows of it.
        :param data: the leg towards the server.
        :return: fires when the station has greeted; fails with the reason why the session cannot begin, and the leg
            towards the server is given back.
        """
        configuration = self._configuration()
        if session in self.live:
            return _refused(data, Cause.SESSION_OPEN, "a session with this id is open already")
        if facts.partner is None or facts.level is None:
            return _refused(data, Cause.SESSION_FACTS, "the server did not say which partner and level the session has")
        station, deadlines = configuration.station, configuration.deadlines
        ready = Deferred[None]()
        self.prepare(
            session,
            client_inbound(facts, station.profile),
            data,
            deadlines=attrs.evolve(deadlines, opening=min(deadlines.opening, station.timeout)),
            command_octets=configuration.limits.command_octets,
            open_leg=lambda session, facts, why: dial_station(self._reactor, station, deadlines.closing),
            ready=ready,
            over=lambda leg, summary: self._ended(station, summary),
        ).begin()

        def answered(result: None) -> None:
            self._tried(station, None)

        return ready.addCallback(answered)

    def _ended(self, station: Station, summary: Summary) -> None:
        ending = summary.ending
        if summary.started:
            return
        if ending.outcome is Outcome.UNREACHABLE:
            self._tried(station, ending.message)
        elif ending.outcome is Outcome.VIOLATED and ending.by is Role.RESPONDER:
            self._tried(station, not_a_greeting(ending.message))


def not_a_greeting(message: str) -> str:
    """How a station failed that sent something else than SSRM.

    :param message: what is wrong with it.
    """
    return f"SSRM: what the station sent is not SSRM: {message}"


def _refused(data: ILeg, cause: Cause, message: str) -> Deferred[None]:
    """Give the data connection back, and say why the session cannot begin."""
    data.finish()
    return fail(StationUnreachable(rule=cause, message=message))


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
