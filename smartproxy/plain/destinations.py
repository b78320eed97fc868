"""Destinations outside: which of them a plain server dials for its clients, and why one was not reached.

Duty: permit nothing that was not named, and give every failure a cause that travels through the tunnel to the program
that asked. A name is compared as it is written, never resolved, so that an answer of the DNS permits nothing; an
address is never taken for a name. Dials nothing itself.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

import attrs
from twisted.internet.error import ConnectionRefusedError, DNSLookupError, NoRouteError, TCPTimedOutError, TimeoutError

from smartproxy.net.proxying.ways import ConnectFailure
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy.addresses import BadHostPort, HostPort, misplaced_colons, port_of
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import StationUnreachable

_RIGHT = "right is host:port, such as mail.example:25, *.example:443, 192.0.2.0/24:22 or [2001:db8::1]:*"


class NotPermitted(Exception):
    """A destination may not be dialled."""


_CAUSES: Final[tuple[tuple[type[Exception], Cause, ConnectFailure], ...]] = (
    (NotPermitted, Cause.DESTINATION_NOT_PERMITTED, ConnectFailure.NOT_ALLOWED),
    (BadHostPort, Cause.DESTINATION_NOT_PERMITTED, ConnectFailure.NOT_ALLOWED),
    (DNSLookupError, Cause.DESTINATION_NAME, ConnectFailure.NO_NAME),
    (ValueError, Cause.DESTINATION_NAME, ConnectFailure.NO_NAME),
    (NoRouteError, Cause.DESTINATION_NO_ROUTE, ConnectFailure.NO_ROUTE),
    (TimeoutError, Cause.DESTINATION_NO_ANSWER, ConnectFailure.TIMED_OUT),
    (TCPTimedOutError, Cause.DESTINATION_NO_ANSWER, ConnectFailure.TIMED_OUT),
    (ConnectionRefusedError, Cause.DESTINATION_REFUSED, ConnectFailure.REFUSED),
    (Exception, Cause.DESTINATION_NO_ROUTE, ConnectFailure.NO_ROUTE),
)
"""Error of dialling, its cause, and what a program that asked is told; the first line that fits holds."""

_FAILURES: Final = {cause.value: failure for _, cause, failure in _CAUSES}


def fault_of(error: Exception, destination: HostPort | str) -> StationUnreachable:
    """The fault of a destination that was not reached; it travels to the program that asked for it."""
    cause, failure = next((cause, failure) for kind, cause, failure in _CAUSES if isinstance(error, kind))
    return StationUnreachable(rule=cause, message=f"{destination}: {failure.value}")


def failure_of(fault: SessionFault) -> ConnectFailure:
    """What a program that asked for a destination is told of a fault."""
    return _FAILURES.get(fault.rule, ConnectFailure.NOT_READY)


@attrs.frozen
class _Pattern:
    """One permitted destination.

    :ivar host: a network, a name, ``.example`` for all names below ``example``, or nothing for any host.
    :ivar port: a port, or ``None`` for any.
    """

    host: IPv4Network | IPv6Network | str
    port: int | None

    def allows(self, destination: HostPort) -> bool:
        host, port = destination.host, destination.port
        if self.port is not None and self.port != port:
            return False
        if not self.host:
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return isinstance(self.host, str) and self._named(host.lower().rstrip("."))
        return not isinstance(self.host, str) and address in self.host

    def _named(self, host: str) -> bool:
        assert isinstance(self.host, str)
        return host.endswith(self.host) if self.host.startswith(".") else host == self.host


@attrs.frozen
class Permit:
    """The destinations that may be dialled; none is permitted by default."""

    patterns: tuple[_Pattern, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Permit":
        """Read ``host:port`` patterns: a name, ``*.example``, an address or a network, or ``*``; ``*`` for any port.

        :raises ValueError: for anything else, with an example of what is right.
        """
        return cls(tuple(_pattern(text) for text in texts))

    def allows(self, destination: HostPort) -> bool:
        """Whether this destination may be dialled."""
        return any(pattern.allows(destination) for pattern in self.patterns)


def _pattern(text: str) -> _Pattern:
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(misplaced_colons(text, _RIGHT))
    try:
        number = None if port == "*" else port_of(port)
    except BadHostPort:
        number = 0
    if not host or number == 0:
        raise ValueError(f"{text!r} is not a destination; {_RIGHT}")
    return _Pattern(_host(host, text), number)


def _host(host: str, text: str) -> IPv4Network | IPv6Network | str:
    if host == "*":
        return ""
    try:
        return ip_network(host, strict=False)
    except ValueError:
        pass
    name = (host[1:] if host.startswith("*.") else host).lower().rstrip(".")
    if not name or name.startswith("*") or not set("*?[]/@ ").isdisjoint(name):
        raise ValueError(f"{text!r} is not a destination; {_RIGHT}")
    return name
