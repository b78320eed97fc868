"""Local programs that want to reach a destination outside, and the ports on which they say so.

One port serves HTTP CONNECT and SOCKS5; a forwarding port has one destination, and says nothing to its callers. What
may be reached is the server's to permit. Standards: RFC 9110 section 9.3.6 (CONNECT), RFC 1928 (SOCKS5).
"""

from typing import Any

import attrs
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from smartproxy.net.proxying.requester import RequesterFactory, RequesterLeg, either_way
from smartproxy.net.proxying.ways import ConnectFailure, Target
from smartproxy.oftp2.errors import SessionFault
from smartproxy.plain.client import PlainClientService
from smartproxy.plain.troubles import RULE, of_text

REQUEST_SECONDS = 10
"""How long a caller may take to say whom it wants."""


@attrs.define(eq=False)
class Outgoing:
    """One port for local programs.

    :ivar host: the address to listen on.
    :ivar port: the port.
    :ivar destination: where all connections of this port go; ``None`` where callers say it.
    """

    host: str
    port: int
    destination: Target | None = None
    _service: PlainClientService | None = None

    def listen(self, service: PlainClientService) -> IListeningPort:
        """Open the port.

        :raises CannotListenError: when it cannot be opened.
        """
        self._service = service
        factory = RequesterFactory(
            service.clock,
            self,
            seconds=REQUEST_SECONDS,
            closing=lambda: service.sessions.seconds,
            dialogue=either_way if self.destination is None else None,
        )
        port: IListeningPort = service.clock.listenTCP(self.port, factory, interface=self.host)
        host: Any = port.getHost()
        mode = "outgoing" if self.destination is None else f"forward to {self.destination}"
        service.events.emit("listener.opened", address=host.host, port=host.port, mode=mode)
        return port

    # RequesterHost

    def requested(self, leg: RequesterLeg, target: Target | None) -> None:
        """A caller wants a destination."""
        wanted = target or self.destination
        assert wanted is not None and self._service is not None, "a port without a destination asks its callers for one"
        if wanted.port is None:
            self._refuse(leg, ConnectFailure.NOT_ALLOWED, "the port is missing")
            return
        coupling = self._service.outward(wanted.host, wanted.port, leg)
        coupling.addErrback(self._not_reached, leg)

    def malformed(self, leg: RequesterLeg, cause: str) -> None:
        """A caller's request is none."""
        self._tell(leg, cause)

    def left(self, leg: RequesterLeg, cause: str) -> None:
        """A caller is gone before it was coupled; its leg is not coupled then."""

    def _not_reached(self, failure: Failure, leg: RequesterLeg) -> None:
        fault = failure.value
        if not isinstance(fault, SessionFault):
            assert self._service is not None
            self._service.events.failure("smartproxy.plain.outgoing", failure)
            leg.abort()
            return
        trouble = of_text(fault.message) if fault.rule == RULE else ConnectFailure.NOT_READY
        self._refuse(leg, trouble, fault.message)

    def _refuse(self, leg: RequesterLeg, trouble: ConnectFailure, cause: str) -> None:
        leg.refuse(trouble, trouble.value)
        self._tell(leg, cause)

    def _tell(self, leg: RequesterLeg, cause: str) -> None:
        if self._service is not None:
            self._service.events.emit("connection.refused", peer=leg.peer, cause=cause)
