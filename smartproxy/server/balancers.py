"""Connections that come through a balancer: they are introduced before anything is decided about them.

Duty: know which addresses are balancers', bound how many of their connections wait for a header, and report one that
does not have it. A fault of the way from balancer to server is nobody's: a penalty for it would shut out every partner
behind the balancer. An address that is no balancer's gets no say about whose connection it is.
"""

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Protocol

from smartproxy.net.header import HeaderFirst
from smartproxy.net.leg import peer_of
from smartproxy.policy import limits
from smartproxy.policy.addresses import Networks, prefix_of
from smartproxy.policy.balancers import NoHeader
from smartproxy.policy.causes import Cause
from smartproxy.policy.crowd import Crowd
from smartproxy.server.accept import Gate

_ADVICE = (
    "have the balancer send the PROXY protocol to this port (HAProxy: send-proxy-v2, and check-send-proxy for its "
    "checks), or take its network out of server.balancers"
)


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
