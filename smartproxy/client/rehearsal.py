"""What a worker of the client does, played before there is one: servers open sessions, and the station calls.

Duty: bring a worker a station that exists nowhere, be that station, and be the server at the other end of the tunnel;
see :mod:`smartproxy.workers.scene`. Its keys are its own: nothing of what the client shows to servers is in it.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol
from typing_extensions import override

from smartproxy.client.craft import ClientCraft
from smartproxy.client.words import (
    Adopt,
    AskCall,
    ClientLink,
    KnowServer,
    OpenSession,
    TakeCaller,
    TunnelIsDown,
    TunnelIsUp,
)
from smartproxy.net.leg import ILeg
from smartproxy.oftp2.roles import Level, Profile
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.policy.schema import write_object
from smartproxy.policy.settings import Station
from smartproxy.relay.openings import SessionFacts
from smartproxy.tunnel.boxes import line
from smartproxy.tunnel.contexts import ServerContext
from smartproxy.tunnel.control import Answer, Responder
from smartproxy.tunnel.desk import Desk
from smartproxy.tunnel.entrance import Entrance
from smartproxy.tunnel.identity import Identity
from smartproxy.tunnel.kinds import SMART
from smartproxy.tunnel.port import TunnelPort
from smartproxy.tunnel.vocabulary import TunnelCommand
from smartproxy.workers.link import Link
from smartproxy.workers.parts import (
    CLIENT,
    GREETING,
    IN,
    OUT,
    PARTNER,
    PARTNER_CODE,
    SECONDS_LEFT,
    TUNNEL_PORT,
    ConnectedActor,
    Shown,
    TunnelActor,
    answerer,
    caller,
    played_bond,
)
from smartproxy.workers.scene import HOST, PLAYED, PORT, Play, Scene, Unwritten
from smartproxy.workers.worker import Worker

_STATION_PORT: Final = 3_305
_SERVER: Final = 1


class ClientPlay(Play):
    """One station's sessions."""

    kind: type[Link] = ClientLink

    def __init__(self) -> None:
        self._authority = Shown.issue("authority")
        self._client = Shown.issue(CLIENT, self._authority)
        self._identity = Identity.of(Shown.issue("server").key)
        self._bond = played_bond(self._identity.proxy_id)
        self._outside = TunnelActor(())

    @override
    def worker(self, reactor: Any, log: Unwritten) -> Worker:
        return Worker(reactor, log, source="client", kind=ClientLink, craft=ClientCraft)

    @override
    def answers(self, scene: Scene) -> Mapping[type[TunnelCommand], Responder]:
        """The partner that the station wants is there."""
        context = ServerContext(self._identity, self._authority.pem, SMART.protocols)
        bond = self._bond
        if bond is not None:
            context.bind(bond.name, bond.key(), context.told(CLIENT, 0, 0, CLIENT))
        desk = self._desk = Desk(CLIENT, scene.reactor, scene.events)

        def admit(entrance: Entrance) -> IProtocol:
            client = context.bound(entrance.connection) or context.verified(entrance.connection)
            return desk.admit(client, entrance, SMART)

        port = TunnelPort(scene.reactor, scene.events, context, admit)
        scene.places[TUNNEL_PORT] = lambda far: scene.carry(far, port.buildProtocol)

        def call(session: str, **wanted: Any) -> Deferred[Answer]:
            return Deferred.fromCoroutine(self._call(session))

        return {AskCall: call}

    @override
    async def act(self, scene: Scene) -> None:
        configuration: Any = write_object(ClientConfiguration(station=Station(host=HOST, port=_STATION_PORT)))
        await scene.link.ask(Adopt, client=[line(configuration)])
        await scene.link.ask(
            KnowServer,
            server=_SERVER,
            host=HOST,
            port=TUNNEL_PORT,
            ready=0,
            most=2,
            certificate=self._client.pem.encode("ascii"),
            key=self._client.key_pem.encode("ascii"),
            proxy_ids=self._identity.proxy_id,
        )
        for number in range(3):
            # The first data connection is one to a server that has no bond.
            await scene.link.ask(TunnelIsUp, server=_SERVER, bond=self._bond if number else None)
            await self._opened(scene, f"opened{number}")
            await scene.link.ask(TunnelIsDown, server=_SERVER, cause=PLAYED.cause, message=PLAYED.message)
        await scene.link.ask(TunnelIsUp, server=_SERVER, bond=self._bond)
        await self._called(scene)

    async def _opened(self, scene: Scene, session: str) -> None:
        """The server opens a session for a partner that has called it."""
        (_, ssid), *more = caller(*IN)
        partner, station = TunnelActor(more, ssid), ConnectedActor(answerer(*OUT), GREETING)
        scene.places[_STATION_PORT] = lambda far: scene.carry(far, lambda address: station)
        facts = SessionFacts(peer=f"{HOST}:{PORT}", partner=PARTNER, code=PARTNER_CODE, level=Level.OFTP_2_0)
        told = {"session": session, "deadline": SECONDS_LEFT, **attrs.asdict(facts, recurse=False)}

        def ask(ticket: bytes) -> Deferred[Answer]:
            return scene.link.ask(OpenSession, seconds=SECONDS_LEFT, server=_SERVER, ticket=ticket, **told)

        partner.take(await self._desk.open_inbound(session, SECONDS_LEFT, ask))
        await scene.ended(partner, station)

    async def _called(self, scene: Scene) -> None:
        """The station calls a partner."""
        station, self._outside = ConnectedActor(caller(*OUT)), TunnelActor(answerer(*IN), GREETING)
        near, far = scene.pair()
        scene.carry(far, lambda address: station)
        await scene.link.hand_over(TakeCaller, near, partner=PARTNER, session="called")
        await scene.ended(station, self._outside)

    async def _call(self, session: str) -> Answer:
        def take(leg: ILeg | None) -> None:
            self._outside.take(leg)

        ticket = await self._desk.open_outbound(session, SECONDS_LEFT, lambda: succeed(take))
        return {"partner": PARTNER, "profile": Profile.DEFAULT, "server": _SERVER, "ticket": ticket}
