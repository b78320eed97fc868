"""Partners' connections that were accepted for workers: held until there is something to read, and not read.

Duty: admit a connection, keep the deadline until it says something, and hand it over unread. One that says nothing
costs a socket and this object. Trusts nothing; reads nothing.
"""

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

from smartproxy.net.deadline import Deadline
from smartproxy.net.hello import Spoken
from smartproxy.net.leg import peer_of
from smartproxy.net.transport.sockets import HeldStream
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.admission import Visit
from smartproxy.server.accept import Gate
from smartproxy.server.balancers import Balancers
from smartproxy.server.generation import ServerGeneration

HandOver = Callable[[HostPort, Visit, float, float, socket.socket], object]
"""Takes a connection: who it is from, its place, when it was accepted and until when TLS has to be complete, by the
clock, and its socket."""


class HeldCaller(Protocol):
    """A partner's connection that was accepted, and of which nothing is read here.

    :param seconds: from now until it has to have said something.
    :param hand_over: takes it when it has.
    """

    def __init__(
        self, clock: IReactorTime, seconds: float, caller: HostPort, visit: Visit, gate: Gate, hand_over: HandOver
    ) -> None:
        self.accepted = clock.seconds()
        self._clock = clock
        self._seconds = seconds
        self._caller = caller
        self._visit = visit
        self._gate = gate
        self._hand_over = hand_over
        self._deadline: Deadline | None = Deadline(clock, self._late)
        self._over = False
        visit.displaced = self._displaced

    @property
    def peer(self) -> str:
        """The far end, as text for logs."""
        return str(self._caller)

    def connectionMade(self) -> None:
        """The connection is accepted."""
        if self._deadline is not None:
            self._deadline.start(self._seconds)

    def readable(self, stream: HeldStream) -> None:
        """It said something, or is gone: a worker will see."""
        self._over = True
        self._release()
        until = self.accepted + self._seconds
        self._hand_over(self._caller, self._visit, self.accepted, until, stream.detach())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone before it was handed over."""
        self._end(reason)

    def _release(self) -> None:
        """Stop waiting, and hold nobody who holds this: what is in a ring stays until the garbage is looked for."""
        if self._deadline is not None:
            self._deadline.stop()
            self._deadline = None

    def _late(self) -> None:
        self._end(None)
        self._abort()

    def _displaced(self) -> None:
        self._over = True
        self._release()
        self._gate.displaced(self.peer)
        self._abort()

    def _end(self, reason: Failure | None) -> None:
        if not self._over:
            self._over = True
            self._release()
            self._visit.leave()
            self._gate.unspoken(self._caller.host, self, Spoken.NOTHING, reason)

    def _abort(self) -> None:
        stream: Any = self.transport
        stream.abortConnection()


class HeldFactory(ServerFactory):
    """Accepts partners' connections for workers; its port's streams are ``HeldStream``.

    :param generation: tells the generation in force.
    :param hasty: see :meth:`~smartproxy.server.accept.Gate.enter`.
    :param balancers: tells the balancers in front of the server, if there are some.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        gate: Gate,
        generation: Callable[[], ServerGeneration | None],
        balancers: Callable[[], Balancers | None],
        hand_over: HandOver,
        hasty: Callable[[str], bool],
    ) -> None:
        self._hasty = hasty
        self._balancers = balancers
        self._clock = clock
        self._gate = gate
        self._generation = generation
        self._hand_over = hand_over

    def buildProtocol(self, address: IAddress | None) -> Protocol | None:
        """Admit a connection, as soon as a balancer has said whose it is; ``None`` closes it at once."""
        assert address is not None
        balancers = self._balancers()
        return self._admit(address) if balancers is None else balancers.accept(address, self._admit)

    def _admit(self, address: IAddress) -> HeldCaller | None:
        caller, generation = peer_of(address), self._generation()
        assert caller is not None
        if generation is None:
            self._gate.unconfigured(caller.host, str(caller))
            return None
        visit = self._gate.enter(caller.host, str(caller), self._hasty)
        if visit is None:
            return None
        seconds = generation.server.deadlines.handshake
        return HeldCaller(self._clock, seconds, caller, visit, self._gate, self._hand_over)
