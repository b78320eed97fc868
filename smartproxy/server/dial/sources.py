"""The addresses of this host from which partners are called, and what happens when one is not there.

Duty: look for them when a generation is put in force and every minute, report each one that is missing, and have the
server stop where the configuration says so. Trusts the system's answer to a bind. Never opens a connection.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from twisted.internet.interfaces import IReactorTime

from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline
from smartproxy.policy.addresses import plain_host
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.faults import StopReason
from smartproxy.policy.outbound import reachable
from smartproxy.policy.partners import Outbound
from smartproxy.policy.settings import SourceMissing

SOURCES_LOOK_SECONDS: Final = 60.0
"""How often it is looked whether the addresses that partners are called from are there."""
STOPPED: Final = 2
"""Exit status of a server that stops for this; a service manager is not to start it again by itself."""

_ADVICE: Final = (
    "give the server this address, or correct it: smartproxy settings set server.source_address ADDRESS, or "
    "smartproxy partner outbound NAME --source ADDRESS"
)


def has_address(address: str) -> bool:
    """Whether this host has an address: whether a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def source_of(server: ServerConfiguration, outbound: Outbound | None = None) -> str | None:
    """The address that a partner is called from, or without one the site's; ``None``: the system chooses.

    An IPv4 address in IPv6 form is the IPv4 address: a call needs an address of the same family.
    """
    source = server.source_address if outbound is None else outbound.source or server.source_address
    return None if source is None else plain_host(source)


class Sources:
    """The source addresses of the generation in force.

    :param stop: has the server stop.
    """

    def __init__(self, clock: IReactorTime, events: Events, stop: Callable[[StopReason], object]) -> None:
        self._events = events
        self._stop = stop
        self._server: ServerConfiguration | None = None
        self._known: frozenset[str] = frozenset()
        self._watch = Deadline(clock, self._look)

    def adopt(self, server: ServerConfiguration) -> None:
        """Look for the addresses of a generation; all that are missing are reported."""
        self._server, self._known = server, frozenset()
        self._look()

    def forget(self) -> None:
        """Stop looking."""
        self._server = None
        self._watch.stop()

    def missing(self) -> Mapping[str, Sequence[str]]:
        """The addresses that this host does not have now, with the partners that are called from them."""
        return {address: names for address, names in self._users().items() if not has_address(address)}

    def report(self, address: str, names: Sequence[str]) -> None:
        """Report that an address is missing; stop the server if it is the site's and the configuration says so."""
        server = self._server
        stops = (
            server is not None and source_of(server) == address and server.source_address_missing is SourceMissing.STOP
        )
        happens = "the server stops" if stops else "calls from partners are not affected"
        self._events.emit(
            "outbound.source_missing",
            address=address,
            cause=Cause.SOURCE_MISSING,
            message=f"this host does not have the address; {happens}",
            names=list(names),
            advice=_ADVICE,
        )
        if stops:
            self._stop(StopReason(Cause.SOURCE_MISSING, f"this host does not have the address {address}", STOPPED))

    def _users(self) -> dict[str, list[str]]:
        """The partners by the address that they are called from; the site's address also without any."""
        server = self._server
        if server is None:
            return {}
        ours = source_of(server)
        found: dict[str, list[str]] = {} if ours is None else {ours: []}
        for partner in reachable(server.partners):
            assert partner.outbound is not None
            source = source_of(server, partner.outbound)
            if source is not None:
                found.setdefault(source, []).append(partner.name)
        return found

    def _look(self) -> None:
        """Report what is missing since the last look."""
        if not self._users():
            self._watch.stop()
            return
        self._watch.start(SOURCES_LOOK_SECONDS)
        missing = self.missing()
        known, self._known = self._known, frozenset(missing)
        for address, names in missing.items():
            if address not in known:
                self.report(address, names)
