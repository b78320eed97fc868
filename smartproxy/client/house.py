"""The place where the sessions of a client live, with all that carries their octets.

Duty: hold the data connections to each server, the sessions with the station, and the station's calls. Everything else
(what may begin, which partner is meant, which server calls it, what is kept of a session) is asked of the daemon by
:class:`Questions`: the house does not know whether the daemon is in this process.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint

from smartproxy.client.local_callers import Callers
from smartproxy.client.station import StationSessions, hear_station, try_station
from smartproxy.client.wanted_calls import GrantedCall, WantedCall
from smartproxy.ctl.statuses import ToldWorker
from smartproxy.logs.emit import Events
from smartproxy.net.leg import ILeg
from smartproxy.net.transport.sockets import dialling
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.policy.faults import OwnFault, TunnelLost
from smartproxy.policy.packed_record import pack
from smartproxy.policy.settings import Pool, Station
from smartproxy.relay.ending import Summary
from smartproxy.relay.openings import Opening
from smartproxy.tunnel.dialling import STOPPED
from smartproxy.tunnel.lane import DataLane, Inbound, Lane


@attrs.frozen(kw_only=True)
class Questions:
    """What a house asks its daemon, and tells it.

    :ivar call: has a server call a partner for a session, which holds a place from then on until it is over. Fails with
        :class:`~smartproxy.client.wanted_calls.CallDenied`; may be canceled.
    :ivar began: told of each session that begins: its id, and how.
    :ivar over: told of each session that held a place, when it does not need it any more; maybe twice.
    :ivar tried: told how the station failed when it was called, or ``None`` if it answered; an event tells it, too.
    :ivar heard: the same, of a call that nobody asked for, of which no event tells.
    :ivar recorded: given the packed record of each session that is over.
    """

    call: Callable[[str, WantedCall], Deferred[GrantedCall]]
    over: Callable[[str], None]
    tried: Callable[[Station, str | None], None]
    heard: Callable[[Station, str | None], None]
    recorded: Callable[[bytes], object]
    began: Callable[[str, Opening], None] = lambda session, opening: None


class Lodgers(Protocol):
    """The sessions that are not over, as the daemon sees them."""

    @property
    def live(self) -> Mapping[str, object]:
        """What there is of each, by its id."""

    def portraits(self) -> list[dict[str, object]]:
        """The state of each, as it was when the house was looked at."""

    def close(self, session: str, fault: OwnFault) -> bool:
        """End one; whether it was there."""

    async def drain(self, seconds: float, closing: float) -> None:
        """Wait up to ``seconds`` for sessions to end, end the others, and wait up to ``closing`` for those."""

    def hurry(self) -> None:
        """Wait no longer for sessions to end by themselves."""


class House(Protocol):
    """Where sessions live, as the daemon sees it: in its own process, or in others."""

    @property
    def sessions(self) -> Lodgers:
        """Those that are not over."""

    @property
    def workers(self) -> tuple[ToldWorker, ...]:
        """The processes that carry sessions, where these are others."""

    @property
    def able(self) -> bool:
        """Whether a session can begin: no process has to be made for it first."""

    @property
    def lacks_workers(self) -> bool:
        """Whether no session can begin, since there has been no such process for some seconds."""

    @property
    def pending(self) -> bool:
        """Whether there is a caller that has no session, and may get one."""

    def start(self) -> None:
        """Be there for sessions; the daemon starts."""

    async def stop(self) -> None:
        """End; sessions have been drained."""

    def lane(self, number: int, host: str, port: int, pool: Pool) -> Lane:
        """The data connections to a server, from now on."""

    def forget(self, number: int) -> None:
        """The tunnel to a server is no more, and will not be: forget its data connections."""

    def adopt(self, configuration: ClientConfiguration) -> None:
        """Use this configuration for sessions that begin from now on."""

    async def open_inbound(self, server: int, inbound: Inbound) -> None:
        """Open a session that a server asks for, and that has a place.

        :param server: its number.
        :raises SessionFault: if it cannot be opened.
        """

    def factory(self, partner: str) -> IProtocolFactory:
        """What takes the callers of a listener.

        :param partner: the partner that they want; empty where they name it themselves.
        """

    async def try_out(self, session: str, partner: str | None) -> None:
        """Call a partner or, for ``None``, the station, as an operator asked, up to the greeting; tell the result."""

    async def hear_station(self) -> None:
        """Call the station up to its greeting, though nobody asked."""

    async def look(self) -> None:
        """Find out how sessions and data connections are, before that is told."""


class SessionHouse:
    """The sessions of one process.

    :param reactor: connects and runs every deadline.
    :param events: where everything is told.
    :param questions: asks the daemon.
    :param endpoint: makes the endpoint of a server from the reactor, its host and its port.
    :param new_id: makes the id of a session that the station begins.
    :ivar configuration: what is in force; a session keeps the one that it began with.
    :ivar lanes: the data connections, by the number of the server.
    :ivar sessions: those that are not over.
    :ivar callers: the station's calls.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        events: Events,
        questions: Questions,
        endpoint: Callable[[Any, str, int], IStreamClientEndpoint] = HostnameEndpoint,
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self.configuration = ClientConfiguration()
        self.lanes: dict[int, DataLane] = {}
        self.workers: tuple[ToldWorker, ...] = ()
        self.able = True
        self.lacks_workers = False
        self._reactor = reactor
        self._events = events
        self._questions = questions
        self._endpoint = endpoint
        self.sessions = StationSessions(
            reactor=reactor,
            events=events,
            configuration=lambda: self.configuration,
            began=questions.began,
            tried=questions.tried,
            finished=self._finished,
            recorded=self._recorded,
        )
        self.callers = Callers(
            reactor=reactor,
            events=events,
            configuration=lambda: self.configuration,
            sessions=self.sessions,
            call=questions.call,
            over=questions.over,
            attach=self.attach,
            new_id=new_id,
        )
        self.factory = self.callers.factory

    @property
    def pending(self) -> bool:
        """Whether there is a caller that has no session, and may get one."""
        return self.callers.pending

    def start(self) -> None:
        """Nothing has to be made before the first session."""

    async def stop(self) -> None:
        """Nothing is left when sessions have been drained."""

    def lane(self, number: int, host: str, port: int, pool: Pool) -> DataLane:
        """The data connections of this process to a server, from now on."""
        endpoint = self._endpoint(dialling(self._reactor), host, port)
        lane = DataLane(self._reactor, endpoint, self._events, ready=pool.ready, most=pool.most)
        self.lanes[number] = lane
        return lane

    def forget(self, number: int) -> None:
        """Abort the data connections to a server, and forget them."""
        lane = self.lanes.pop(number, None)
        if lane is not None:
            lane.stop(STOPPED)

    def adopt(self, configuration: ClientConfiguration) -> None:
        """Use this configuration for the sessions and the data connections that begin from now on."""
        self.configuration = configuration
        for lane in self.lanes.values():
            lane.resize(configuration.pool.ready, configuration.pool.most)

    async def look(self) -> None:
        """Everything is at hand."""

    async def open_inbound(self, server: int, inbound: Inbound) -> None:
        """Connect a session that a server asks for with the station; give back its place if it does not begin.

        :raises SessionFault: if it cannot be opened.
        """
        try:
            await self._lane(server).carry(inbound, self.sessions.open)
        finally:
            if inbound.session not in self.sessions.live:
                self._questions.over(inbound.session)

    async def try_out(self, session: str, partner: str | None) -> None:
        """Call a partner or, for ``None``, the station, up to the greeting."""
        if partner is not None:
            await self.callers.try_partner(session, partner)
            return
        try:
            await try_station(self._reactor, self._events, self.configuration, session, self._questions.tried)
        finally:
            self._questions.over(session)

    async def hear_station(self) -> None:
        """Call the station up to its greeting; what came of it is told to the daemon alone."""
        await hear_station(self._reactor, self.configuration, self._questions.heard)

    async def attach(self, server: int, ticket: bytes) -> ILeg:
        """The leg of a session that a server is ready for.

        :raises OwnFault: if there is no data connection for it.
        """
        return await self._lane(server).attach(ticket)

    def _lane(self, server: int) -> DataLane:
        lane = self.lanes.get(server)
        if lane is None:
            raise TunnelLost(rule=Cause.TUNNEL_LOST, message="the tunnel is down")
        return lane

    def _recorded(self, document: dict[str, object]) -> None:
        self._questions.recorded(pack(document))

    def _finished(self, summary: Summary) -> None:
        self._questions.over(summary.session)
