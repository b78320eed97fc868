"""The station's leg, and how it is dialled.

Duty: connect to the station that the configuration names and say in plain words why that failed. The only place from
which the client opens a connection towards the station; the address never comes from outside. Standards: RFC 5024
section 2 (OFTP2 over TCP).
"""

from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
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

from smartproxy.net.connection import LegFactory
from smartproxy.net.leg import ILeg
from smartproxy.oftp2.errors import StationUnreachable
from smartproxy.policy.settings import Station

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
        :class:`~smartproxy.oftp2.errors.StationUnreachable`. Canceling it gives the attempt up.
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
