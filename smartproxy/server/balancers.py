"""Connections that come through a balancer: they are introduced before anything is decided about them.

Duty: know which addresses are balancers', bound how many of their connections wait for a header, and report one that
does not have it. A fault of the way from balancer to server is nobody's: a penalty for it would shut out every partner
behind the balancer. Trusts a balancer with the address of its caller and with nothing else; an address that is no
balancer's gets no say about whose connection it is.
"""

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from smartproxy.net.deadline import Deadline
from smartproxy.net.leg import peer_of
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort, Networks, prefix_of
from smartproxy.policy.balancers import NoHeader, judge_header
from smartproxy.policy.causes import Cause
from smartproxy.policy.crowd import Crowd
from smartproxy.server.accept import Gate

_ADVICE = (
    "have the balancer send the PROXY protocol to this port (HAProxy: send-proxy-v2, and check-send-proxy for its "
    "checks), or take its network out of server.balancers"
)


class HeaderFirst(Protocol):
    """A connection that a balancer opened, and that nobody is named for yet.

    Waits for a whole header of the PROXY protocol, bounded in time and octets. From then on the connection's transport
    names the header's address as its far end, so that limits, bans and events speak of it. What came behind the header
    is handed on as it came, however it was cut.

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


class Balancers:
    """The balancers in front of the server.

    :param clock: runs deadlines.
    :param gate: reports refusals.
    :param networks: connections from these networks are balancers', and no others.
    """

    def __init__(self, clock: IReactorTime, gate: Gate, networks: Iterable[str]) -> None:
        self._clock = clock
        self._gate = gate
        self._networks = Networks(networks)
        self._waiting: Crowd[HeaderFirst] = Crowd(limits.BALANCER_WAITING_MOST)

    def accept(self, address: IAddress, behind: Callable[[IAddress], Protocol | None]) -> Protocol | None:
        """The protocol of a new connection; ``None`` closes it at once.

        :param behind: makes it for the address whose connection it is, at once or when the balancer has said whose.
        """
        peer = peer_of(address)
        assert peer is not None
        if not self._networks.hold(peer.host):
            return behind(address)

        def ended(door: HeaderFirst, wrong: NoHeader | None) -> None:
            self._waiting.leave(door)
            if wrong is not None:
                self._gate.turn_away(peer.host, str(peer), wrong.cause, wrong.message, advice=_ADVICE)

        door = HeaderFirst(self._clock, behind, ended)
        displaced = self._waiting.enter(door, prefix_of(peer.host))
        if displaced is not None:
            displaced.close()
            self._gate.turn_away("", str(peer), Cause.BALANCER_CROWDED, Cause.BALANCER_CROWDED.meaning)
        return door
