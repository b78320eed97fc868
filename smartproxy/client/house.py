"""The place where the sessions of a client live, with all that carries their octets.

Duty: hold the data connections to each server, the sessions with the station, and the station's calls. Everything else
(what may begin, which partner is meant, which server calls it, what is kept of a session) is asked of the daemon by
:class:`Questions`: the house does not know whether the daemon is in this process.
"""

import secrets
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from smartproxy.client.callers import Callers
from smartproxy.client.calls import GrantedCall, WantedCall
from smartproxy.client.station import StationSessions
from smartproxy.logs.emit import Events
from smartproxy.net.leg import ILeg
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.policy.faults import TunnelLost
from smartproxy.policy.settings import Station
from smartproxy.relay.ending import Summary
from smartproxy.tunnel.lane import DataLane, Inbound


@attrs.frozen(kw_only=True)
class Questions:
    """What a house asks its daemon, and tells it.

    :ivar call: has a server call a partner for a session, which holds a place from then on until it is over. Fails with
        :class:`~smartproxy.client.calls.CallDenied`; may be canceled.
    :ivar over: told of each session that held a place, when it needs it no more; maybe twice.
    :ivar tried: told how the station failed when it was called, or ``None`` if it answered.
    :ivar recorded: given the record of each session that is over.
    """

    call: Callable[[str, WantedCall], Deferred[GrantedCall]]
    over: Callable[[str], None]
    tried: Callable[[Station, str | None], None]
    recorded: Callable[[dict[str, object]], object]


class SessionHouse:
    """The sessions of one process.

    :param reactor: connects and runs every deadline.
    :param events: where everything is told.
    :param questions: asks the daemon.
    :param configuration: tells the configuration in force; a session keeps the one that it began with.
    :param new_id: makes the id of a session that the station begins.
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
        configuration: Callable[[], ClientConfiguration],
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self.lanes: dict[int, DataLane] = {}
        self._questions = questions
        self.sessions = StationSessions(
            reactor=reactor,
            events=events,
            configuration=configuration,
            tried=questions.tried,
            finished=self._finished,
            recorded=questions.recorded,
        )
        self.callers = Callers(
            reactor=reactor,
            events=events,
            configuration=configuration,
            sessions=self.sessions,
            call=questions.call,
            over=questions.over,
            attach=self.attach,
            new_id=new_id,
        )

    async def open_inbound(self, server: int, inbound: Inbound) -> None:
        """Open a session that a server asks for, and that has a place.

        :param server: its number.
        :raises SessionFault: if it cannot be opened.
        """
        try:
            await self._lane(server).carry(inbound, self.sessions.open)
        finally:
            if inbound.session not in self.sessions.live:
                self._questions.over(inbound.session)

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

    def _finished(self, summary: Summary) -> None:
        self._questions.over(summary.session)
