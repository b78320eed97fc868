"""A client's data connections to one server, where its sessions live.

Duty: keep a pool of them while the tunnel is up, show the tickets that came by the control connection, and give each
session its leg for as long as the server waits for it. Knows nothing of the control connection, which may be in another
process. Trusts whoever hands it tickets to have them from the server.
"""

from collections.abc import Callable, Collection
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from smartproxy.logs.emit import Events
from smartproxy.net.leg import ILeg
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault, StationUnreachable
from smartproxy.relay.openings import SessionFacts
from smartproxy.tunnel.contexts import ClientContext, ClientCredential, VerifiedServer
from smartproxy.tunnel.data import DataConnection, DataLeg
from smartproxy.tunnel.dialling import dial
from smartproxy.tunnel.entrance import Entrance
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.kinds import SMART, TunnelKind
from smartproxy.tunnel.pool import DataPool
from smartproxy.tunnel.vocabulary import Side


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

    def start(self) -> None:
        """The tunnel is up: keep connections ready."""

    def stop(self, why: Closing) -> None:
        """The tunnel is down: abort all connections, and with them their sessions."""


class DataLane:
    """The data connections to one server.

    :param clock: ``callLater``'s owner.
    :param endpoint: how to dial the server.
    :param ready: data connections kept ready.
    :param most: data connections at most.
    :param kind: which kind of tunnel it is.
    :ivar pool: those that there are while the tunnel is up.
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
        self._clock = clock
        self._endpoint = endpoint
        self._events = events
        self._kind = kind
        self._context: ClientContext | None = None

    def __len__(self) -> int:
        """How many data connections there are, those that are being dialled included."""
        return 0 if self.pool is None else len(self.pool)

    def renew(self, credential: ClientCredential, proxy_ids: Collection[str]) -> None:
        """Part of :class:`Lane`."""
        self._context = ClientContext(credential, proxy_ids, self._kind.data)

    def start(self) -> None:
        """Part of :class:`Lane`."""
        self.pool = DataPool(self._dial, self._clock, self._events, ready=self.ready, most=self.most)
        self.pool.start()

    def stop(self, why: Closing) -> None:
        """Part of :class:`Lane`."""
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.stop(why)

    async def attach(self, ticket: bytes) -> DataLeg:
        """The leg of the session that a ticket is for.

        :raises OwnFault: if there is no data connection for it while the ticket is good.
        """
        pool = self.pool
        if pool is None:
            raise OwnFault(rule=Cause.TUNNEL_POOL, message="the tunnel is down")
        connection = pool.take_idle()
        if connection is None:
            taking = Deferred.fromCoroutine(pool.take())
            try:
                connection = await taking.addTimeout(limits.TICKET_SECONDS / 2, self._clock)
            except TimeoutError as fault:
                message = "the client could not make a data connection in time"
                raise OwnFault(rule=Cause.TUNNEL_POOL, message=message) from fault
        return connection.attach(ticket)

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

    def _dial(self, pool: DataPool) -> Deferred[DataConnection]:
        def build(entrance: Entrance, server: VerifiedServer) -> DataConnection:
            return self._kind.connection(pool, Side.CLIENT, self._clock, self._events, entrance.peer)

        assert self._context is not None, "a lane has a credential before its tunnel is up"
        return Deferred.fromCoroutine(dial(self._clock, self._endpoint, self._context, build))
