"""The first octets of a balancer's connection: whose it is has to be known before anything is decided about it.

Duty: wait for a whole header of the PROXY protocol, bounded in time and octets, and only then have what stands behind
made, for the address that the header names. From then on the connection's transport names this address as its far end,
so that limits, bans and events speak of it. What came behind the header is handed on as it came, however it was cut.
Trusts the balancer with the address, because whoever made this knows that the connection is a balancer's; with nothing
else.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from smartproxy.net.deadline import Deadline
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.balancers import NoHeader, judge_header
from smartproxy.policy.causes import Cause


class HeaderFirst(Protocol):
    """A connection that a balancer opened, and that nobody is named for yet.

    :param clock: runs the deadline.
    :param behind: makes what stands behind for the address that the header names, the balancer's own if it names none;
        ``None`` closes the connection.
    :param ended: told once that the wait is over: with what is wrong, or ``None`` if nothing is, because the header is
        there or the balancer closed before its first octet.
    """

    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        behind: Callable[[IAddress], IProtocol | None],
        ended: Callable[["HeaderFirst", NoHeader | None], object],
    ) -> None:
        self._behind = behind
        self._ended = ended
        self._deadline = Deadline(clock, self._late)
        self._kept = b""
        self._over = False

    def connectionMade(self) -> None:
        """The connection is accepted."""
        self._deadline.start(limits.BALANCER_HEADER_SECONDS)

    def dataReceived(self, data: bytes) -> None:
        """Octets arrived: one more part of the header, and perhaps what follows it."""
        if self._over:
            return
        self._kept += data
        try:
            introduction = judge_header(self._kept)
        except NoHeader as wrong:
            self._refuse(wrong)
            return
        if introduction is not None:
            self._end(None)
            self._hand_on(introduction.caller, self._kept[introduction.octets :])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The balancer is gone."""
        if self._kept:
            self._end(NoHeader(Cause.BALANCER_BAD_HEADER, "the balancer closed the connection within its header"))
        else:
            self._end(None)

    def close(self) -> None:
        """Close the connection; nothing is told."""
        self._over = True
        self._deadline.stop()
        self.transport.abortConnection()

    def _hand_on(self, caller: HostPort | None, rest: bytes) -> None:
        transport = self.transport
        address = transport.getPeer()
        if caller is not None:
            address = (IPv6Address if ":" in caller.host else IPv4Address)("TCP", caller.host, caller.port)
        inner = self._behind(address)
        if inner is None:
            transport.abortConnection()
            return
        transport.getPeer = lambda: address
        transport.protocol = inner
        inner.makeConnection(transport)
        if rest:
            inner.dataReceived(rest)

    def _late(self) -> None:
        seconds = limits.BALANCER_HEADER_SECONDS
        self._refuse(NoHeader(Cause.BALANCER_LATE, f"no header of the PROXY protocol within {seconds:.0f} s"))

    def _refuse(self, wrong: NoHeader) -> None:
        self._end(wrong)
        self.transport.abortConnection()

    def _end(self, wrong: NoHeader | None) -> None:
        if not self._over:
            self._over = True
            self._deadline.stop()
            self._ended(self, wrong)
