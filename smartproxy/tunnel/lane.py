"""A client's data connections to one server, where its sessions live.

Duty: keep a pool of them while the tunnel is up, show the tickets that came by the control connection, and give each
session its leg for as long as the server waits for it. Knows nothing of the control connection, which may be in another
process. Trusts whoever hands it tickets to have them from the server.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from typing_extensions import override

from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline
from smartproxy.net.leg import ILeg
from smartproxy.policy import limits
from smartproxy.policy.budget import Budget
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault, StationUnreachable
from smartproxy.relay.openings import SessionFacts
from smartproxy.tunnel.bond import Bond
from smartproxy.tunnel.contexts import ClientContext, PeerRefused, VerifiedServer
from smartproxy.tunnel.credential import ClientCredential
from smartproxy.tunnel.data import DataConnection, DataLeg
from smartproxy.tunnel.dialling import dial
from smartproxy.tunnel.entrance import Entrance
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.kinds import SMART, TunnelKind
from smartproxy.tunnel.places import place_of, preamble
from smartproxy.tunnel.pool import DataPool
from smartproxy.tunnel.vocabulary import Side

_NOT_NEEDED: Final = Closing(Cause.TUNNEL_IDLE, "not needed")
_R = TypeVar("_R")


@attrs.frozen(kw_only=True)
class Inbound:
    """A session that a server wants to open inside.

    :ivar ticket: what its data connection shows.
    :ivar seconds: how long the server waits.
    """

    session: str
    ticket: bytes = attrs.field(repr=False)
    seconds: int
    facts: SessionFacts


class Lane(Protocol):
    """The data connections to one server, as its control connection sees them."""

    def __len__(self) -> int:
        """How many there are."""

    def renew(self, credential: ClientCredential, proxy_ids: Collection[str]) -> None:
        """Use this credential and these Proxy IDs for connections dialled from now on."""

    def bind(self, bond: Bond | None) -> None:
        """Prove data connections by the bond of the control connection, until there is another credential."""

    def start(self) -> None:
        """The tunnel is up: keep connections ready."""

    def serve(self, workers: Sequence[int]) -> None:
        """The server has these workers, and each data connection is for one of them."""

    def stop(self, why: Closing) -> None:
        """The tunnel is down: abort all connections, and with them their sessions."""


class NamedWorkers:
    """The workers that a server names, in a lane that follows no faster than a server has new ones.

    Where the server names them faster, the newest of its words counts when its turn is there.

    :param clock: ``callLater``'s owner.
    """

    def __init__(self, clock: IReactorTime, lane: Lane) -> None:
        self._clock = clock
        self._lane = lane
        self._budget = Budget(limits.WORKERS_NAMED_RATE, limits.WORKERS_MOST / limits.WORKERS_NAMED_RATE)
        self._known: frozenset[int] = frozenset()
        self._newest: Sequence[int] = ()
        self._turn = Deadline(clock, self._serve)

    def name(self, workers: Sequence[int]) -> None:
        """The server has these workers now."""
        self._newest = workers
        if not self._turn.running:
            self._serve()

    def stop(self) -> None:
        """The tunnel is down."""
        self._turn.stop()

    def _serve(self) -> None:
        named = frozenset(self._newest)
        if self._budget.take(self._clock.seconds(), max(1, len(named - self._known))):
            self._known = named
            self._lane.serve(self._newest)
        else:
            self._turn.start(limits.WORKERS_NAMED_SECONDS)


@attrs.define
class _Bound:
    """A bond, by which data connections are dialled.

    :ivar strangers: the workers that did not know it, though they are the server's.
    :ivar known: whether any of the server's processes knew it.
    """

    bond: Bond
    strangers: set[int | None] = attrs.field(factory=set)
    known: bool = False


class DataLane(Lane):
    """The data connections to one server.

    :param clock: ``callLater``'s owner.
    :param endpoint: how to dial the server.
    :param ready: data connections kept ready.
    :param most: data connections at most.
    :param kind: which kind of tunnel it is.
    :ivar pool: while the tunnel is up, those to a server that is one process.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        events: Events,
        *,
        ready: int = limits.POOL_READY.default,
        most: int = limits.POOL_MOST.default,
        kind: TunnelKind = SMART,
    ) -> None:
        self.ready = ready
        self.most = most
        self.pool: DataPool | None = None
        self._pools: dict[int | None, DataPool] = {}
        self._kept: frozenset[int | None] = frozenset()
        self._dials = 0
        self._clock = clock
        self._endpoint = endpoint
        self._events = events
        self._kind = kind
        self._shown: tuple[ClientCredential, frozenset[str]] | None = None
        self._context: ClientContext | None = None
        self._bonding: ClientContext | None = None
        self._bound: _Bound | None = None

    def __len__(self) -> int:
        """How many data connections there are, those that are being dialled included."""
        return sum(pool.connected for pool in self._pools.values()) + self._dials

    @override
    def renew(self, credential: ClientCredential, proxy_ids: Collection[str]) -> None:
        shown = credential, frozenset(proxy_ids)
        if self._shown != shown:
            self._shown = shown
            self._context = ClientContext(*shown, self._kind.data)
            # Made here and not with the bond: a process for one session inherits it.
            self._bonding = ClientContext(*shown, self._kind.data, bonds=True)
            self._bound = None

    @override
    def bind(self, bond: Bond | None) -> None:
        self._bound = None if bond is None else _Bound(bond)

    @override
    def start(self) -> None:
        self._kept = frozenset((None,))
        self.pool = self._kept_ready(None, self.ready)

    @override
    def serve(self, workers: Sequence[int]) -> None:
        if self.pool is None:
            return
        before, self._kept = self._kept, frozenset(workers)
        for worker in self._pools.keys() - self._kept:
            self._pools.pop(worker).stop(_NOT_NEEDED)
        if self._bound is not None:
            self._bound.strangers &= self._kept
        for worker in self._kept:
            if worker not in self._pools:
                self._kept_ready(worker, self._share(worker))
            elif worker not in before:
                self._pools[worker].keep(self._share(worker), self.most)

    def resize(self, ready: int, most: int) -> None:
        """Keep so many ready, and have so many at most, from now on."""
        self.ready, self.most = ready, most
        for worker, pool in self._pools.items():
            pool.keep(self._share(worker), most)

    def _share(self, worker: int | None) -> int:
        """How many are kept ready for a worker of the server."""
        return -(-self.ready // len(self._kept)) if worker in self._kept else 0

    @override
    def stop(self, why: Closing) -> None:
        self.pool = self._bound = None
        while self._pools:
            _, pool = self._pools.popitem()
            pool.stop(why)

    async def attach(self, ticket: bytes) -> DataLeg:
        """The leg of the session that a ticket is for.

        :raises OwnFault: if there is no data connection for it while the ticket is good.
        """
        if self.pool is None:
            raise OwnFault(rule=Cause.TUNNEL_POOL, message="the tunnel is down")
        worker, shown = place_of(ticket)
        # A worker is named with its first session before the server tells of it, if it is new.
        pool = self._pools[worker] if worker in self._pools else self._kept_ready(worker, 0)
        connection = pool.take_idle()
        if connection is None:
            taking = Deferred.fromCoroutine(pool.take())
            try:
                connection = await taking.addTimeout(limits.TICKET_SECONDS / 2, self._clock)
            except TimeoutError as fault:
                message = "the client could not make a data connection in time"
                raise OwnFault(rule=Cause.TUNNEL_POOL, message=message) from fault
            finally:
                self._drop_empty(worker, pool)
        return connection.attach(shown)

    async def carry(self, inbound: Inbound, open_inbound: Callable[[str, SessionFacts, ILeg], Deferred[None]]) -> None:
        """Open a session that a server asks for.

        :param open_inbound: opens it inside, given its id, its facts and the leg towards the server; fires when the
            inside is ready, and is canceled when the server waits no longer.
        :raises SessionFault: if it cannot be opened; its leg is ended.
        """
        leg = await self.attach(inbound.ticket)
        opening = maybeDeferred(open_inbound, inbound.session, inbound.facts, leg)
        try:
            await opening.addTimeout(inbound.seconds, self._clock)
        except TimeoutError as fault:
            leg.finish()
            message = f"the station was not ready within {inbound.seconds} s"
            raise StationUnreachable(rule=Cause.DEADLINE_OPENING, message=message) from fault
        except Exception:
            leg.finish()
            raise

    def _kept_ready(self, worker: int | None, ready: int) -> DataPool:
        pool = self._pools[worker] = DataPool(
            lambda pool: self._dial(pool, worker),
            self._clock,
            self._events,
            ready=ready,
            most=self.most,
            others=lambda: len(self) - len(pool),
            emptied=lambda pool: self._drop_empty(worker, pool),
        )
        pool.start()
        return pool

    def _dial(self, pool: DataPool, worker: int | None) -> Deferred[DataConnection]:
        def build(entrance: Entrance, server: VerifiedServer) -> DataConnection:
            return self._kind.connection(pool, Side.CLIENT, self._clock, self._events, entrance.peer)

        self._dials += 1
        return Deferred.fromCoroutine(self._dialled(build, worker)).addBoth(self._dial_over)

    def _dial_over(self, result: _R) -> _R:
        self._dials -= 1
        return result

    def _drop_empty(self, worker: int | None, pool: DataPool) -> None:
        """Forget a pool that has nothing, and is for a worker that the server did not name, or names no longer."""
        if worker not in self._kept and self._pools.get(worker) is pool and not len(pool):
            self._pools.pop(worker).stop(_NOT_NEEDED)
            if self._bound is not None:
                self._bound.strangers.discard(worker)

    async def _dialled(
        self, build: Callable[[Entrance, VerifiedServer], DataConnection], worker: int | None
    ) -> DataConnection:
        """Dial by the bond, and by certificates where the server or its worker does not know it."""
        assert self._context is not None and self._bonding is not None, "it has a credential before its tunnel is up"
        first = b"" if worker is None else preamble(worker)
        bound = self._bound
        if bound is None or worker in bound.strangers:
            return await dial(self._clock, self._endpoint, self._context, build, first)
        try:
            connection = await dial(self._clock, self._endpoint, self._bonding.by(bound.bond, first), build, first)
        except PeerRefused:
            # Whatever it is: if certificates do not help, the server says why.
            connection = await dial(self._clock, self._endpoint, self._context, build, first)
            bound.strangers.add(worker)
            if not bound.known and self._bound is bound:
                self._bound = None
        else:
            bound.known = True
        return connection
