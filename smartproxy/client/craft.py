"""A worker of the client: the house of its sessions, in a process of its own.

Duty: make of what the supervisor says what the client's own process would do, and bring the questions of the house to
the supervisor. Dials servers and the station; has no listener, no log, no token and no control connection. Trusts its
supervisor.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from smartproxy.client.house import Questions, SessionHouse
from smartproxy.client.station import endpoint_to
from smartproxy.client.wanted_calls import GrantedCall, WantedCall
from smartproxy.client.words import (
    CALL_SECONDS,
    Adopt,
    AskCall,
    CountConnections,
    ForgetServer,
    HearStation,
    KeepRecord,
    KnowServer,
    OpenSession,
    ServerWorkers,
    StationHeard,
    StationTried,
    TakeCaller,
    TryOut,
    TunnelIsDown,
    TunnelIsUp,
    pieces,
)
from smartproxy.net.sessions import LiveSessions
from smartproxy.net.transport.sockets import adopt
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.policy.schema import read_object, write_object
from smartproxy.policy.settings import Pool, Station
from smartproxy.relay.openings import SessionFacts
from smartproxy.tunnel.bond import Bond
from smartproxy.tunnel.boxes import Plain, line
from smartproxy.tunnel.control import Answer, Responder
from smartproxy.tunnel.credential import ClientCredential
from smartproxy.tunnel.faults import Closing, OpeningFailed
from smartproxy.tunnel.lane import DataLane, Inbound
from smartproxy.tunnel.vocabulary import TunnelCommand
from smartproxy.workers.worker import Worker


class ClientCraft:
    """The client's part of a worker.

    :param source: the address from which servers are dialled, if one is given.
    """

    def __init__(self, worker: Worker, source: str | None = None) -> None:
        self._worker = worker
        self._house = SessionHouse(
            reactor=worker.reactor,
            events=worker.events,
            questions=Questions(
                call=self._call,
                over=worker.session_over,
                tried=partial(self._called, StationTried),
                heard=partial(self._called, StationHeard),
                recorded=self._recorded,
                began=worker.began,
            ),
            endpoint=partial(endpoint_to, source=source),
        )
        self.sessions: LiveSessions = self._house.sessions

    def start(self, facts: Mapping[str, Plain]) -> None:
        """Nothing is needed before the configuration."""

    def responders(self) -> Mapping[type[TunnelCommand], Responder]:
        """What answers the supervisor."""
        return {
            Adopt: self._adopt,
            KnowServer: self._know_server,
            ForgetServer: lambda server: self._house.forget(server),
            TunnelIsUp: self._with_lane(self._up),
            TunnelIsDown: self._with_lane(self._down),
            ServerWorkers: self._with_lane(DataLane.serve),
            CountConnections: self._count,
            OpenSession: self._open_session,
            TakeCaller: self._take_caller,
            TryOut: self._try_out,
            HearStation: self._hear_station,
        }

    # What the supervisor says.

    def _adopt(self, client: list[dict[str, Plain]]) -> None:
        self._house.adopt(read_object(ClientConfiguration, client[0]))

    def _know_server(
        self,
        server: int,
        host: str,
        port: int,
        ready: int,
        most: int,
        certificate: bytes,
        key: bytes,
        proxy_ids: str,
    ) -> None:
        lane = self._house.lanes.get(server)
        if lane is None:
            lane = self._house.lane(server, host, port, Pool(ready=ready, most=most))
        lane.resize(ready, most)
        lane.renew(
            ClientCredential(certificate=certificate.decode("ascii"), key=key.decode("ascii")), proxy_ids.split()
        )

    def _with_lane(self, do: Callable[..., object]) -> Responder:
        def answer(server: int, **told: Any) -> None:
            do(self._house.lanes[server], **told)

        return answer

    def _up(self, lane: DataLane, bond: Bond | None) -> None:
        lane.bind(bond)
        if lane.pool is None:
            lane.start()

    def _down(self, lane: DataLane, cause: Cause, message: str) -> None:
        lane.stop(Closing(cause, message))

    def _count(self, server: int) -> Answer:
        return {"count": len(self._house.lanes[server])}

    def _open_session(self, server: int, session: str, ticket: bytes, deadline: int, **facts: Any) -> Deferred[Answer]:
        inbound = Inbound(session=session, ticket=ticket, seconds=deadline, facts=SessionFacts(**facts))
        return Deferred.fromCoroutine(self._open(server, inbound))

    async def _open(self, server: int, inbound: Inbound) -> Answer:
        try:
            await self._house.open_inbound(server, inbound)
        except SessionFault as fault:
            raise OpeningFailed(fault) from fault
        return {}

    def _take_caller(self, partner: str, session: str) -> None:
        accepted = self._worker.link.take_socket()
        try:
            host, port = accepted.getpeername()[:2]
        except OSError:
            # It is gone already.
            accepted.close()
            self._worker.session_over(session)
            return
        factory = self._house.callers.factory(partner, session)
        adopt(self._worker.reactor, accepted, host, port, factory.buildProtocol)

    def _try_out(self, session: str, partner: str | None) -> Deferred[Answer]:
        async def tried() -> Answer:
            await self._house.try_out(session, partner)
            return {}

        return Deferred.fromCoroutine(tried())

    def _hear_station(self, session: str) -> Deferred[Answer]:
        async def heard() -> Answer:
            try:
                await self._house.hear_station()
            finally:
                self._worker.session_over(session)
            return {}

        return Deferred.fromCoroutine(heard())

    # What the house asks.

    def _call(self, session: str, wanted: WantedCall) -> Deferred[GrantedCall]:
        told = attrs.asdict(wanted, recurse=False)
        answer = self._worker.link.ask(AskCall, seconds=CALL_SECONDS, session=session, **told)
        return answer.addCallback(lambda granted: GrantedCall(**granted))

    def _called(self, command: type[TunnelCommand], station: Station, message: str | None) -> None:
        self._worker.link.tell(command, station=[line(_plain(station))], message=message)

    def _recorded(self, packed: bytes) -> None:
        self._worker.link.tell(KeepRecord, **pieces(packed))


def _plain(station: Station) -> dict[str, Any]:
    return write_object(station)
