"""The tunnel's port: which connections get as far as the judgement of their certificates.

Duty: let a flood of connections neither keep a client out nor take the time for others. Trusts nothing that comes, and
no address: one from which a client was admitted has places of its own, and no other privilege. Never ends a connection
that has proved its identity.

Theory of operation. A connection first waits until it has spoken, which costs a socket and little else; then it is in
the handshake; then it is admitted, and none of ours any more. Waiting and handshake have each a bounded number of
places, once for addresses from which a client was admitted and once for all others. Where all places of one kind are
taken, the newcomer gets the one of the oldest from the most crowded address. So what is silent displaces nobody who
spoke, and strangers displace no client. How often an unknown address may begin a handshake, which is what costs time,
is bounded by a rate, whichever process it asks for: what is for a worker takes its part before it is handed on. A
worker is told whether the address is known, and tells of one that it got to know.
"""

import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from typing_extensions import override

from smartproxy.logs.emit import Events
from smartproxy.net.handshakes import Handshakes
from smartproxy.net.hello import HelloFirst, Spoken
from smartproxy.net.leg import peer_of
from smartproxy.net.transport.error_words import connection_words
from smartproxy.net.transport.secured import connections
from smartproxy.net.transport.tls import TlsTransport
from smartproxy.policy import limits
from smartproxy.policy.addresses import prefix_of
from smartproxy.policy.admission import Sparing
from smartproxy.policy.budget import Budgets
from smartproxy.policy.callbacks import nothing
from smartproxy.policy.causes import Cause
from smartproxy.policy.crowd import Crowd
from smartproxy.tunnel.contexts import PeerRefused, ServerContext
from smartproxy.tunnel.entrance import Entrance, handshake_late
from smartproxy.tunnel.places import PlacedStream


@attrs.define
class _Places:
    """The places of one kind of addresses.

    :ivar silent: connections that have not sent a whole TLS record.
    :ivar shaking: connections in the handshake.
    """

    silent: Crowd[HelloFirst] = attrs.field(factory=lambda: Crowd(limits.TUNNEL_SILENT_MOST))
    shaking: Crowd[Entrance] = attrs.field(factory=lambda: Crowd(limits.TUNNEL_STRANGERS_MOST))


Move = Callable[[int, socket.socket, tuple[Any, ...], bool], None]
"""Takes a connection for a worker: its number, the socket, the peer's address, and whether that is known; closes one
for none."""


class _Door(HelloFirst):
    """A connection that may turn out to be for a worker.

    :ivar moved: called then, with the worker's number.
    """

    moved: Callable[[int, PlacedStream], None]

    def moves(self, worker: int, stream: PlacedStream) -> None:
        """The connection is for a worker: call the stream's ``detach``, or have it closed."""
        self.moved(worker, stream)


class TunnelPort(Factory):
    """Takes connections, and hands on those whose handshake is over.

    :param events: where it is told, in rate, who was refused.
    :param context: makes OpenSSL's side of each connection.
    :param admit: the protocol for a connection whose handshake is over; raises :class:`PeerRefused`.
    :ivar move: takes the connections that are for workers, where the port's are
        :class:`~smartproxy.tunnel.places.PlacedStream`.
    :ivar met: told of each address that was not known and from which a client was admitted.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        events: Events,
        context: ServerContext,
        admit: Callable[[Entrance], IProtocol],
    ) -> None:
        self.admit = admit
        self.move: Move = lambda worker, connection, address, known: connection.close()
        self.met: Callable[[str], object] = nothing
        self._clock = clock
        self._events = events
        self._context = context
        self._create = connections(context, client=False)
        self._places = {known: _Places() for known in (False, True)}
        self._known: OrderedDict[str, None] = OrderedDict()
        self._rates: Budgets[str] = Budgets(limits.TUNNEL_HANDSHAKES_SECONDS, limits.TUNNEL_HANDSHAKES_PREFIXES_MOST)
        self._handshakes = Handshakes(clock)
        self._sparing = Sparing()
        self._stopping = False

    @property
    def waiting(self) -> int:
        """How many connections have not proved their identity."""
        return sum(len(places.silent) + len(places.shaking) for places in self._places.values())

    def stop(self, refusal: PeerRefused) -> None:
        """Take no more connections, and end those that have not proved their identity."""
        self._stopping = True
        for places in self._places.values():
            for door in places.silent.all():
                places.silent.leave(door)
                door.close()
            self._handshakes.stop()
            for entrance in places.shaking.all():
                entrance.drop(refusal)

    def know(self, host: str) -> None:
        """A client was admitted from this address, by this process or by one that shares the port with it."""
        prefix = prefix_of(host)
        self._known[prefix] = None
        self._known.move_to_end(prefix)
        if len(self._known) > limits.TUNNEL_KNOWN_MOST:
            self._known.popitem(last=False)

    @override
    def buildProtocol(self, addr: IAddress | None) -> HelloFirst | None:
        """What listens for the first octets of a connection; ``None``, which closes it, where there is no room."""
        if self._stopping:
            return None
        peer = peer_of(addr)
        host = "" if peer is None else peer.host
        prefix = prefix_of(host) if host else ""
        if prefix not in self._known and self._handshakes.is_hasty(prefix):
            self._tell("", str(peer), PeerRefused(cause=Cause.TUNNEL_HASTE, message=Cause.TUNNEL_HASTE.meaning))
            return None
        places = self._places[prefix in self._known]

        def speaks(door: HelloFirst) -> IProtocol | None:
            places.silent.leave(door)
            return self._begin(door, prefix)

        def spoke(door: HelloFirst) -> None:
            self._handshakes.arrived(door, prefix, known=prefix in self._known)

        def ended(door: HelloFirst, spoken: Spoken, reason: Failure | None) -> None:
            places.silent.leave(door)
            self._handshakes.leave(door)
            self._unspoken(door, host, spoken, reason)

        def moved(worker: int, stream: PlacedStream) -> None:
            places.silent.leave(door)
            known = prefix in self._known
            if not known and not self._affords(prefix, door.peer):
                door.close()
                return
            door.hand_on()
            self.move(worker, stream.detach(), stream.client, known)

        door = _Door(self._clock, limits.HANDSHAKE.default, speaks, ended, spoke)
        door.moved = moved
        displaced = places.silent.enter(door, prefix)
        if displaced is not None:
            self._crowded(displaced.peer, limits.TUNNEL_SILENT_MOST)
            self._handshakes.leave(displaced)
            displaced.close()
        return door

    def _begin(self, door: HelloFirst, prefix: str) -> IProtocol | None:
        """The TLS of a connection that has spoken; nothing if its address does so too often."""
        known = prefix in self._known
        now = self._clock.seconds()
        if not known and not self._affords(prefix, door.peer):
            return None
        entrance = Entrance(self, self._clock, max(0.0, door.accepted + limits.HANDSHAKE.default - now))
        displaced = self._places[known].shaking.enter(entrance, prefix)
        if displaced is not None:
            self._crowded(displaced.peer, limits.TUNNEL_STRANGERS_MOST)
            displaced.displace()
        return TlsTransport(self._create, entrance)

    def _affords(self, prefix: str, peer: str) -> bool:
        """Whether an unknown address may begin one more handshake; it is told if not."""
        if self._rates.take(prefix, limits.TUNNEL_HANDSHAKES_RATE, self._clock.seconds()):
            return True
        self._tell(prefix, peer, PeerRefused(cause=Cause.TUNNEL_HASTE, message=Cause.TUNNEL_HASTE.meaning))
        return False

    def _unspoken(self, door: HelloFirst, host: str, spoken: Spoken, reason: Failure | None) -> None:
        """A connection ended before it sent a whole TLS record."""
        if reason is None:
            self._tell(host, door.peer, handshake_late())
        elif spoken in (Spoken.NOTHING, Spoken.PART):
            self._closed(door.peer, connection_words(reason.value))
        else:
            message = f"TLS is expected, and the caller sent {spoken.value}"
            self._tell(host, door.peer, PeerRefused(cause=Cause.TUNNEL_TLS, message=message))

    def _crowded(self, peer: str, most: int) -> None:
        left_out = self._sparing.tell("", "crowded", self._clock.seconds())
        if left_out is not None:
            self._events.emit(
                "tunnel.refused",
                cause=Cause.TUNNEL_CROWDED,
                message=Cause.TUNNEL_CROWDED.meaning,
                peer=peer,
                advice="restrict the tunnel's port in the firewall to the clients' addresses",
                facts={"displaced": left_out + 1, "most": most},
            )

    def _tell(self, host: str, peer: str, refusal: PeerRefused) -> None:
        """Tell of a refusal, sparingly: a stranger can cause thousands of them a second."""
        left_out = self._sparing.tell(host, refusal.cause, self._clock.seconds())
        if left_out is not None:
            self._events.emit("tunnel.refused", peer=peer, facts=left_out.facts, **refusal.fields())

    def _closed(self, peer: str, message: str) -> None:
        """A connection ended before it sent anything: a port scan, or a check whether the port is open."""
        self._events.emit("connection.closed", peer=peer, cause=Cause.TUNNEL_CLOSED, message=message)

    # For entrances.

    def admitted(self, entrance: Entrance, protocol: IProtocol) -> None:
        """A connection proved its identity: its address is known from now on."""
        self._leave(entrance)
        if entrance.host:
            is_new = prefix_of(entrance.host) not in self._known
            self.know(entrance.host)
            if is_new:
                self.met(entrance.host)

    def refused(self, entrance: Entrance, refusal: PeerRefused) -> None:
        """A connection is refused."""
        self._leave(entrance)
        self._tell(entrance.host, entrance.peer, self._context.refusal(entrance.connection) or refusal)

    def vanished(self, entrance: Entrance, why: str) -> None:
        """A connection ended in its handshake."""
        self._leave(entrance)
        self._closed(entrance.peer, why)

    def _leave(self, entrance: Entrance) -> None:
        for places in self._places.values():
            places.shaking.leave(entrance)
