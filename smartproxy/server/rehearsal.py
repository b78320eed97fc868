"""What a worker of the server does, played before there is one: partners call, and are called.

Duty: bring a worker a configuration of one partner that exists nowhere, have that partner call and be called, and be
the client at the other end of the tunnel; see :mod:`smartproxy.workers.scene`. Its keys are its own: neither the
server's identity nor anything of the configuration is in it.
"""

import os
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Protocol
from twisted.protocols.tls import TLSMemoryBIOProtocol
from typing_extensions import override
from zope.interface import implementer

from smartproxy.net.tls.context import new_context, show_identity
from smartproxy.net.transport.secured import connections
from smartproxy.net.transport.tls import TlsTransport
from smartproxy.policy.configuration import ServerConfiguration, ServerPart, dump
from smartproxy.policy.partners import (
    Outbound,
    Partner,
    RevocationMode,
    ServerIdentity,
    SubjectRule,
    TrustedCa,
    Verify,
)
from smartproxy.relay.openings import Way
from smartproxy.server.words import (
    Assign,
    CallPartner,
    ClientCame,
    DataCame,
    OpenInside,
    PartnerCame,
    PutInForce,
    ServerLink,
)
from smartproxy.server.worker import ServerCraft
from smartproxy.tunnel.bond import Bond
from smartproxy.tunnel.control import Answer, Responder
from smartproxy.tunnel.credential import ClientCredential
from smartproxy.tunnel.identity import Identity
from smartproxy.tunnel.lane import DataLane
from smartproxy.tunnel.places import PlacedStream, preamble
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

_PARTNER_PORT: Final = 6_619


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class _PartnerTls:
    """TLS as the partner speaks it."""

    def __init__(self, shown: Shown, *, server: bool, newest: int = SSL.TLS1_3_VERSION) -> None:
        self._context = new_context(server=server)
        self._context.set_max_proto_version(newest)
        show_identity(self._context, shown.pem, shown.key_pem, PARTNER)

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """The partner calls."""
        return SSL.Connection(self._context, None)

    serverConnectionForTLS = clientConnectionForTLS


class _Door(Protocol):
    """A data connection before it is known which worker it is for."""

    def __init__(self, scene: Scene) -> None:
        self._stage = scene

    def moves(self, worker: int, stream: PlacedStream) -> None:
        """It is known now."""
        self._stage.link.hand_over(DataCame, stream.detach(), host=HOST, port=PORT, known=0)


class ServerPlay(Play):
    """One partner's sessions."""

    kind: type[Link] = ServerLink

    def __init__(self) -> None:
        self._authority = Shown.issue("authority")
        self._client = Shown.issue(CLIENT, self._authority)
        self._identity = Identity.of(Shown.issue("server").key)
        self._ca = Shown.issue("ca")
        self._partner = Shown.issue(PARTNER, self._ca)
        self._own = Shown.issue("site", self._ca)
        self._inside = TunnelActor(())

    @override
    def worker(self, reactor: Any, log: Unwritten) -> Worker:
        craft = partial(ServerCraft, identity=self._identity, authority=self._authority.pem)
        return Worker(reactor, log, source="server", kind=ServerLink, craft=craft)

    @override
    def answers(self, scene: Scene) -> Mapping[type[TunnelCommand], Responder]:
        """The client opens whatever it is asked for."""
        lane = DataLane(scene.reactor, TCP4ClientEndpoint(scene.reactor, HOST, TUNNEL_PORT), scene.events, ready=0)
        lane.renew(ClientCredential(certificate=self._client.pem, key=self._client.key_pem), [self._identity.proxy_id])
        self._lane = lane
        scene.places[TUNNEL_PORT] = partial(self._dialled, scene)

        def open_inside(ticket: bytes, **told: Any) -> Deferred[Answer]:
            return Deferred.fromCoroutine(self._attach(ticket))

        return {Assign: lambda session: {"client": CLIENT, "seconds": SECONDS_LEFT}, OpenInside: open_inside}

    @override
    async def act(self, scene: Scene) -> None:
        link = scene.link
        document = os.memfd_create("smartproxy-played", os.MFD_CLOEXEC)
        with open(document, "w+b", buffering=0) as file:
            file.write(dump(self._part()))
            await link.hand_over(PutInForce, file, generation=1)
        bond, client = played_bond(self._identity.proxy_id), self._client.certificate
        await link.ask(
            ClientCame,
            client=CLIENT,
            since=int(client.not_valid_before_utc.timestamp()),
            until=int(client.not_valid_after_utc.timestamp()),
            subject=CLIENT.encode("ascii"),
            bond=None if bond is None else bond.name,
            key=None if bond is None else bond.key(preamble(Scene.NUMBER)),
        )
        for visit, newest in enumerate((SSL.TLS1_3_VERSION, SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)):
            # The first data connection is one of a client that has no bond.
            self._dial_anew(bond if visit else None)
            await self._called(scene, visit, newest)
        self._dial_anew(bond)
        await self._call(scene)

    def _dial_anew(self, bond: Bond | None) -> None:
        """Have the next session make a data connection of its own."""
        self._lane.stop(PLAYED)
        self._lane.start()
        self._lane.bind(bond)

    async def _called(self, scene: Scene, visit: int, newest: int) -> None:
        """The partner calls."""
        partner, self._inside = ConnectedActor(caller(*IN)), TunnelActor(answerer(*OUT))
        near, far = scene.pair()
        create = connections(_PartnerTls(self._partner, server=False, newest=newest), client=True)
        scene.carry(far, lambda address: TlsTransport(create, partner))
        await scene.link.hand_over(PartnerCame, near, visit=visit, host=HOST, port=PORT, known=1, age=0)
        await scene.ended(partner, self._inside)

    async def _call(self, scene: Scene) -> None:
        """The partner is called."""
        partner, self._inside = ConnectedActor(answerer(*IN), GREETING), TunnelActor(caller(*OUT))
        create = connections(_PartnerTls(self._partner, server=True), client=False)
        scene.places[_PARTNER_PORT] = lambda far: scene.carry(far, lambda address: TlsTransport(create, partner))
        wish = {"way": Way.PORT, "caller": f"{HOST}:{PORT}", "host": None, "port": None}
        session = "played"
        called = {"session": session, "client": CLIENT, "partner": PARTNER, "deadline": SECONDS_LEFT}
        answer = await scene.link.ask(CallPartner, seconds=SECONDS_LEFT, **called, **wish)
        await self._attach(answer["ticket"])
        await scene.ended(partner, self._inside)

    async def _attach(self, ticket: bytes) -> Answer:
        self._inside.take(await self._lane.attach(ticket))
        return {}

    def _dialled(self, scene: Scene, far: socket.socket) -> None:
        far.setblocking(False)
        door = _Door(scene)
        no_port: Any = None
        stream = PlacedStream(far, door, (HOST, PORT), no_port, far.fileno(), scene.reactor)
        door.makeConnection(stream)  # type: ignore[no-untyped-call]  # Twisted has no types here

    def _part(self) -> ServerPart:
        rule = SubjectRule(ca="played", serial_number=PARTNER)
        outbound = Outbound(host=HOST, port=_PARTNER_PORT, verify=Verify.ODETTE)
        partner = Partner(name=PARTNER, codes=(PARTNER_CODE,), certificates=(rule,), outbound=outbound)
        server = ServerConfiguration(
            identities=(ServerIdentity(name="played", certificate=self._own.pem, key=self._own.key_pem),),
            cas=(TrustedCa(name="played", certificates=self._ca.pem, revocation=RevocationMode.OFF),),
            partners=(partner,),
        )
        return ServerPart(generation=1, site="played", server=server)
