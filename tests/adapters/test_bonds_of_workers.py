"""Data connections between workers of both daemons, which prove themselves by a bond that only supervisors draw."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock

import attrs
from OpenSSL import SSL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols import amp
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.client.craft import ClientCraft
from smartproxy.client.crew import CrewHouse
from smartproxy.client.words import ServerWorkers, TunnelIsUp
from smartproxy.net.leg import ILeg
from smartproxy.net.tls import openssl
from smartproxy.net.tls.openssl import SECRET_OCTETS, proved_by_secret
from smartproxy.net.transport.secured import TlsFactory
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.settings import Pool
from smartproxy.relay.openings import SessionFacts
from smartproxy.server import worker
from smartproxy.server.crew import ServerCrew
from smartproxy.server.words import BondOver, ClientCame, ClientWent, DataCame
from smartproxy.server.worker import ServerCraft
from smartproxy.testing.pki import CLIENT_AUTH
from smartproxy.tunnel.bond import Bond, BondValue
from smartproxy.tunnel.client import ClientTunnel
from smartproxy.tunnel.client_control import ClientControl
from smartproxy.tunnel.contexts import ClientContext, PeerRefused, ServerContext, VerifiedClient
from smartproxy.tunnel.control import Responder
from smartproxy.tunnel.desk import Desk
from smartproxy.tunnel.lane import DataLane, Inbound
from smartproxy.tunnel.places import PREAMBLE_OCTETS, preamble
from smartproxy.tunnel.vocabulary import DATA_PROTOCOL, TunnelCommand
from smartproxy.workers.members import CrewMember
from tests.adapters.test_tunnel_rogues import Recorder, hello
from tests.adapters.tunnel_kit import (
    FACTS,
    SESSION,
    UNIT,
    ClientUser,
    Endpoint,
    Events,
    Network,
    Receiver,
    ServerSide,
    authority,
    credential,
    identity,
    inner,
)

PINS = [identity().proxy_id]
OURS, OTHERS = 7, 8
"""The numbers of the server's workers."""
MOST = round(limits.TUNNEL_HANDSHAKES_RATE * limits.TUNNEL_HANDSHAKES_SECONDS)
"""How many handshakes an unknown address may begin at once."""


class Link:
    """A link whose words arrive at once, as they travel, and are noted.

    :ivar said: each word, with what it said.
    """

    def __init__(self) -> None:
        self.answers: Mapping[type[TunnelCommand], Responder] = {}
        self.said: list[tuple[type[TunnelCommand], dict[bytes, bytes]]] = []
        self.handed: list[_Front] = []

    def tell(self, command: type[TunnelCommand], **arguments: Any) -> None:
        """Part of ``workers.link.Link``."""
        (box,) = amp.parseString(command.makeArguments(arguments, None).serialize())
        self.said.append((command, dict(box)))
        self.answers[command](**command.parseArguments(box, None))

    def ask(self, command: type[TunnelCommand], **arguments: Any) -> Deferred[dict[str, Any]]:
        """Part of ``workers.link.Link``."""
        self.tell(command, **arguments)
        return succeed({})

    def hand_over(
        self, command: type[TunnelCommand], connection: "_Front", **arguments: Any
    ) -> Deferred[dict[str, Any]]:
        """Part of ``workers.link.Link``."""
        self.handed.append(connection)
        return self.ask(command, **arguments)


class _Front(Protocol):
    """A connection to the server, until it said whom it is for: its protocol, its stream and its socket.

    :ivar client: the peer's address.
    """

    def __init__(self, server: "Server", address: Any) -> None:
        self.client = address.host, address.port
        self._server = server
        self._address = address
        self._said = b""

    def dataReceived(self, data: bytes) -> None:
        """Part of Twisted's interface."""
        self._said += data
        if len(self._said) < PREAMBLE_OCTETS:
            return
        number = next((each for each in self._server.crafts if self._said.startswith(preamble(each))), None)
        if number is not None:
            self._said = self._said[PREAMBLE_OCTETS:]
        door = self.goes_on(self._server.side.tunnel.factory.buildProtocol, b"" if number is not None else self._said)
        if number is not None:
            door.moves(number, self)

    def goes_on(self, build: Any, said: bytes) -> Any:
        """Have another protocol take over, as one for a new connection that says this."""
        transport: Any = self.transport
        protocol = transport.protocol = build(self._address)
        protocol.makeConnection(transport)
        if said:
            protocol.dataReceived(said)
        return protocol

    def detach(self) -> "_Front":
        """Part of ``AcceptedStream``."""
        return self

    @staticmethod
    def adopt(reactor: Any, connection: "_Front", host: str, port: int, build: Any) -> None:
        """Take a connection in a worker; see ``net.transport.sockets.adopt``."""
        connection.goes_on(build, connection._said)


class Server(Factory):
    """A server with workers, whose port is this."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.side = ServerSide(network)
        self.crew = ServerCrew(
            network.clock,
            Events(),
            Mock(),
            self.side.tunnel,
            Mock(),
            Mock(),
            count=2,
            withdrawn_until=lambda name: self.withdrawn.get(name),
        )
        self.withdrawn: dict[str, datetime] = {}
        self.crafts: dict[int, ServerCraft] = {}
        self.links: dict[int, Link] = {}
        self.events = Events()
        user: Any = self.side.user
        user.tunnel_up = self.crew.client_came
        user.tunnel_down = lambda control, why: self.crew.client_went(
            control, why, last=self.side.tunnel.named(control.client_name) is None
        )

    def buildProtocol(self, addr: IAddress | None) -> _Front:
        """Part of Twisted's interface."""
        return _Front(self, addr)

    def hire(self, number: int) -> None:
        """Have one more worker; the clients are told."""
        link = self.links[number] = Link()
        told: Any = Mock(take_socket=link.handed.pop)
        worker: Any = Mock(reactor=self.network.clock, events=self.events, number=number, link=told)
        pem = authority().certificate_pem.decode("ascii")
        craft = self.crafts[number] = ServerCraft(worker, identity(), pem)
        link.answers = craft.responders()
        member: Any = CrewMember(number, 0.0, link, started=True, ready=True)  # type: ignore[arg-type]  # as good as one
        self.crew._crew._members[number] = member
        answers = self.crew.responders(member)
        told.tell = lambda command, **arguments: answers[command](**arguments)
        self.crew.prepare(member)
        self.crew.ready(member)

    def bonds(self, number: int) -> dict[bytes, Any]:
        """The bonds that a worker takes data connections by."""
        return self.crafts[number]._context._bonds


class Client:
    """A client with a worker."""

    def __init__(self, network: Network, server: Server, *, single: bool = False) -> None:
        self.network = network
        self.endpoint = Endpoint(network, server)
        self.events = Events()
        self.user = ClientUser()
        self.house = CrewHouse(network.clock, self.events, Mock(), Mock(), count=1, single=single)
        self.link = self.hire(1)
        self.tunnel = ClientTunnel(
            network.clock,
            self.endpoint,
            "dmz.example:2878",
            credential=inner(),
            proxy_ids=PINS,
            user=self.user,
            events=self.events,
            lane=self.house.lane(0, "dmz.example", 2878, Pool(ready=2)),
            jitter=lambda: 1.0,
        )
        self.tunnel.startService()
        network.settle()

    def hire(self, number: int) -> Link:
        """Have one more worker."""
        link = Link()
        craft = ClientCraft(Mock(reactor=self.network.clock, events=self.events, link=Mock()))
        self.craft = craft
        house: Any = craft._house
        house._endpoint = lambda reactor, host, port: self.endpoint
        link.answers = craft.responders()
        member: Any = CrewMember(number, 0.0, link, started=True, ready=True)  # type: ignore[arg-type]  # as good as one
        self.house.crew._members[number] = member
        self.house.prepare(member)
        self.network.settle()
        return link

    @property
    def control(self) -> ClientControl:
        """The control connection."""
        assert self.tunnel.control is not None, "the tunnel is up"
        return self.tunnel.control

    @property
    def lane(self) -> DataLane:
        """The data connections of the newest worker."""
        return self.craft._house.lanes[0]

    def proved(self) -> dict[int | None, list[bool]]:
        """Of each data connection of the newest worker, by the server's worker, whether a bond proved it."""
        return {worker: list(map(_proved, pool._all)) for worker, pool in self.lane._pools.items()}


def _proved(connection: Any) -> bool:
    handle: SSL.Connection = connection.transport.getHandle()
    return proved_by_secret(handle) and handle.get_peer_certificate() is None


class BondsOfWorkers(SynchronousTestCase):
    """A server with two workers and a client with one."""

    def setUp(self) -> None:
        """The tunnel is up."""
        self.patch(worker, "adopt", _Front.adopt)
        self.network = Network()
        self.server = Server(self.network)
        for number in (OURS, OTHERS):
            self.server.hire(number)
        self.client = Client(self.network, self.server)

    def bond(self) -> Bond:
        """The bond of the tunnel that is up."""
        assert self.client.control.bond is not None
        return self.client.control.bond

    def connect(self, number: int, key: bytes) -> SSL.Connection:
        """Dial a worker of the server, with a key of the bond; OpenSSL's side of it at the client's end."""
        context = ClientContext(inner(), PINS, DATA_PROTOCOL, bonds=True).by(self.bond())
        context._key = key
        protocol = Protocol()
        factory = TLSMemoryBIOFactory(context, True, Factory.forProtocol(lambda: protocol), self.network.clock)
        self.network.connect(self.server.crafts[number]._port, factory)
        assert protocol.transport is not None
        handle: SSL.Connection = protocol.transport.getHandle()  # type: ignore[attr-defined]  # TLS has it
        self.network.settle()
        return handle

    def test_server_that_is_forgotten(self) -> None:
        """A worker that is told to forget a server has no data connection to it any more, nor dials it."""
        dialled = len(self.client.endpoint.dialled)
        self.assertEqual(len(self.client.lane), 2)
        lane = self.client.lane
        self.client.house.forget(0)
        self.network.advance(60)
        self.assertEqual((len(lane), self.client.craft._house.lanes), (0, {}))
        self.assertEqual(len(self.client.endpoint.dialled), dialled)

    def carries_a_session(self, number: int) -> None:
        """A session of a worker of the server goes through a data connection of the client's."""
        legs: list[ILeg] = []

        def opened(session: str, facts: SessionFacts, leg: ILeg) -> Deferred[None]:
            legs.append(leg)
            return succeed(None)

        def ask(ticket: bytes) -> Deferred[None]:
            inbound = Inbound(session=SESSION, ticket=ticket, seconds=20, facts=FACTS)
            return Deferred.fromCoroutine(self.client.lane.carry(inbound, opened))

        desk = self.server.crafts[number]._desks["inner-1"]
        opening = Deferred.fromCoroutine(desk.open_inbound(SESSION, 20, ask))
        self.network.settle()
        partner, station = Receiver(self.successResultOf(opening)), Receiver(legs[-1])
        partner.leg.send(UNIT)
        station.leg.send(UNIT * 2)
        self.network.settle()
        self.assertEqual((UNIT * 2, UNIT), (partner.got, station.got))

    def test_without_certificates(self) -> None:
        """Each worker of the server has data connections that show no certificate, and a session goes through one."""
        self.assertEqual({OURS: [True], OTHERS: [True]}, self.client.proved())
        for number in (OURS, OTHERS):
            self.carries_a_session(number)
        self.assertEqual([], self.server.events.seen)

    def test_what_a_worker_of_the_server_has(self) -> None:
        """It has one key, with which it can neither find those of others nor be dialled in the place of another."""
        bond, others = self.bond(), preamble(OTHERS)
        said = {number: dict(link.said)[ClientCame] for number, link in self.server.links.items()}
        keys = {number: told[b"key"] for number, told in said.items()}
        self.assertEqual(keys, {number: bond.key(preamble(number)) for number in (OURS, OTHERS)})
        self.assertEqual(3, len({bond.key(), *keys.values()}))
        for told in said.values():
            self.assertNotIn(bond.secret, told.values())
            self.assertNotIn(bond.key(), told.values())
        self.assertNotEqual(keys[OTHERS], Bond(bond.name, keys[OURS], bond.proxy_id).key(others))
        self.connect(OTHERS, keys[OURS])
        self.assertEqual([Cause.TUNNEL_TLS.value], self.server.events.causes("tunnel.refused"))
        self.assertTrue(proved_by_secret(self.connect(OTHERS, keys[OTHERS])))

    def test_ends_with_its_control_connection(self) -> None:
        """When the control connection has ended, no worker takes anybody by its bond any more, and none dials by it."""
        bond = self.bond()
        self.client.tunnel.stopService()
        self.network.settle()
        self.assertEqual({OURS: {}, OTHERS: {}}, {number: self.server.bonds(number) for number in (OURS, OTHERS)})
        self.assertEqual([BondOver, ClientWent], [command for command, _ in self.server.links[OURS].said[-2:]])
        self.assertIsNone(self.client.lane._bound)
        self.client.tunnel.control = Mock(bond=bond)
        self.assertFalse(proved_by_secret(self.connect(OURS, bond.key(preamble(OURS)))))

    def test_ended_within_a_handshake(self) -> None:
        """A bond that ends before the handshake of a data connection is over proves nothing any more."""
        find = ServerContext._secret

        def find_last(context: ServerContext, connection: SSL.Connection, name: bytes) -> bytes | None:
            secret = find(context, connection, name)
            self.server.links[OURS].tell(BondOver, bond=name)
            return secret

        self.patch(ServerContext, "_secret", find_last)
        self.server.hire(OURS)
        self.connect(OURS, self.bond().key(preamble(OURS)))
        self.assertEqual([Cause.TUNNEL_UNPROVED.value], self.server.events.causes("tunnel.refused"))

    def test_newer_process_of_the_client(self) -> None:
        """Beside the bond of an older process of the client there is that of the newer one; each ends with its own."""
        self.successResultOf(self._moved())
        newer = Client(self.network, self.server)
        self.assertEqual({OURS: [True], OTHERS: [True]}, newer.proved())
        assert newer.control.bond is not None
        self.assertEqual({self.bond().name, newer.control.bond.name}, set(self.server.bonds(OURS)))
        self.client.tunnel.stopService()
        self.network.settle()
        self.assertEqual({newer.control.bond.name}, set(self.server.bonds(OURS)))
        self.assertNotIn(ClientWent, [command for command, _ in self.server.links[OURS].said])

    def _moved(self) -> Deferred[None]:
        moved = self.client.control.moved()
        self.network.settle()
        return moved

    def test_workers_that_come_later(self) -> None:
        """A worker of either daemon that is made while the tunnel is up is brought what it needs."""
        self.server.hire(9)
        self.network.settle()
        self.assertEqual([True], self.client.proved()[9])
        self.assertEqual([ClientCame, DataCame], [command for command, _ in self.server.links[9].said])
        link = self.client.hire(2)
        self.assertEqual({OURS: [True], OTHERS: [True], 9: [True]}, self.client.proved())
        self.assertEqual([TunnelIsUp, ServerWorkers], [command for command, _ in link.said[-2:]])

    def test_withdrawn_certificate(self) -> None:
        """A worker refuses the older certificate of a client that came with a newer one, as a server without does.

        It makes no difference whether the licence or the worker comes later.
        """
        client = self.client_of_server()
        old = attrs.evolve(client, not_before=client.not_before - timedelta(seconds=1))
        self.patch(ServerContext, "bound", lambda context, connection: connection.shown)
        self.patch(Desk, "admit", lambda desk, shown, entrance, kind: shown)

        def admitted(number: int, shown: VerifiedClient) -> Any:
            connection: Any = Mock(shown=shown)
            connection.get_alpn_proto_negotiated.return_value = DATA_PROTOCOL
            return self.server.crafts[number]._admit(Mock(connection=connection))

        self.assertIs(admitted(OURS, old), old)
        self.server.withdrawn[client.name] = old.not_before
        self.server.crew.licence_renewed()
        self.server.hire(9)
        for number in (OURS, OTHERS, 9):
            self.assertIs(admitted(number, client), client)
            refused: PeerRefused = self.assertRaises(PeerRefused, admitted, number, old)
            self.assertIs(refused.cause, Cause.TUNNEL_WITHDRAWN)
        self.server.withdrawn.clear()
        self.server.crew.licence_renewed()
        self.assertIs(admitted(OURS, old), old)

    def client_of_server(self) -> VerifiedClient:
        """The client, as the server knows it."""
        (control,) = self.server.side.tunnel.controls
        return control.client

    def test_one_session_each(self) -> None:
        """A process for one session dials by the bond, too, whichever worker of the server its ticket names."""
        self.client.tunnel.stopService()
        self.network.settle()
        self.client = Client(self.network, self.server, single=True)
        self.assertEqual(0, len(self.client.lane))
        self.carries_a_session(OTHERS)
        self.assertEqual([True], self.client.proved()[OTHERS])

    def test_server_without_workers(self) -> None:
        """Workers of the client prove themselves by the bond to a server that is one process."""
        server = Server(self.network)
        client = Client(self.network, server)
        self.assertEqual({None: [True, True]}, client.proved())

    def test_worker_that_does_not_know_it(self) -> None:
        """To a worker that does not know the bond, certificates are shown; to the others they are not."""
        self.server.crafts[OURS]._context._bonds.clear()
        for pool in self.client.lane._pools.values():
            pool._ready = 2
            pool._top_up()
        self.network.settle()
        self.assertEqual({OURS: [False, True], OTHERS: [True, True]}, _sorted(self.client.proved()))
        dialled = len(self.client.endpoint.dialled)
        for pool in self.client.lane._pools.values():
            pool._ready = 3
            pool._top_up()
        self.network.settle()
        self.assertEqual({OURS: [False, False, True], OTHERS: [True] * 3}, _sorted(self.client.proved()))
        self.assertEqual(2, len(self.client.endpoint.dialled) - dialled)
        self.carries_a_session(OURS)
        self.assertEqual([], self.server.events.causes("tunnel.refused"))

    def test_server_that_does_not_know_it(self) -> None:
        """Once a server turned out not to know bonds, nobody tries its other workers; sessions get through."""
        self.patch(ServerContext, "bind", lambda *given: None)
        self.client.tunnel.stopService()
        self.network.settle()
        self.client = Client(self.network, self.server)
        self.assertEqual({OURS: [False], OTHERS: [False]}, self.client.proved())
        self.assertIsNone(self.client.lane._bound)
        self.carries_a_session(OURS)

    def test_newer_certificate(self) -> None:
        """As soon as the server knows the newer certificate, which it is told, data connections go on by the bond."""
        self.client.tunnel.renew(credential(authority().issue("inner-1", purposes=[CLIENT_AUTH])), PINS)
        self.assertIsNone(self.client.lane._bound)
        self.network.settle()
        for pool in self.client.lane._pools.values():
            pool._ready = 2
            pool._top_up()
        self.network.settle()
        self.assertEqual({OURS: [True, True], OTHERS: [True, True]}, self.client.proved())
        self.client.hire(2)
        self.assertEqual({OURS: [True], OTHERS: [True]}, self.client.proved())

    def test_without_private_names(self) -> None:
        """Where pyOpenSSL lacks a name for it, certificates are shown."""
        self.patch(openssl, "_NEEDED_FOR_SECRETS", ("SSL_of_tomorrow",))
        self.network = Network()
        self.server = Server(self.network)
        self.server.hire(OURS)
        self.client = Client(self.network, self.server)
        self.assertIsNone(self.client.control.bond)
        self.carries_a_session(OURS)

    def begins(self, number: int | None, host: str) -> bool:
        """Whether somebody at an address may begin a handshake with a worker, or with the supervisor."""
        rogue = Recorder()
        self.network.connect(self.server, Factory.forProtocol(lambda: rogue), host)
        rogue.write((b"" if number is None else preamble(number)) + hello())
        self.network.settle()
        return not rogue.lost

    def test_one_rate_for_all_processes(self) -> None:
        """An address begins no more handshakes by asking for several workers than by asking for one process."""
        begun = [self.begins(number, "192.0.2.66") for _ in range(MOST) for number in (OURS, OTHERS, None)]
        self.assertEqual([True] * MOST + [False] * 2 * MOST, begun)
        self.assertEqual([Cause.TUNNEL_HASTE.value], self.server.side.events.causes("tunnel.refused"))
        self.assertEqual([], self.server.events.causes("tunnel.refused"))
        self.network.advance(1)
        self.assertTrue(self.begins(OTHERS, "192.0.2.66"), "a second later")
        self.assertEqual(0, len(self.server.side.tunnel.factory._places[False].silent))

    def test_client_has_no_rate(self) -> None:
        """A client dials any number of data connections at once, to a worker that has just begun, too."""
        self.server.hire(9)
        self.network.settle()
        # As if no data connection had come before.
        self.server.crafts[9]._port._known.clear()
        for pool in self.client.lane._pools.values():
            pool.keep(MOST + 20, 10_000)
        self.network.settle()
        self.assertEqual(dict.fromkeys((OURS, OTHERS, 9), [True] * (MOST + 20)), self.client.proved())
        self.assertEqual([], self.server.events.causes("tunnel.refused"))

    def test_other_address_of_a_client(self) -> None:
        """Once a data connection from another address proved its client to a worker, all processes know that, too."""
        dialled = Protocol()
        secured = TlsFactory(
            ClientContext(inner(), PINS, DATA_PROTOCOL), True, Factory.forProtocol(lambda: dialled), preamble(OURS)
        )
        self.network.connect(self.server, secured, "10.0.0.9")
        self.network.settle()
        self.assertEqual([True] * 2 * MOST, [self.begins(OTHERS, "10.0.0.9") for _ in range(2 * MOST)])

    def test_on_its_way(self) -> None:
        """A bond arrives as it was, and what is none is refused, in words that do not show it."""
        bond, value = self.bond(), BondValue()
        told = value.toString(bond)
        self.assertEqual(bond, value.fromString(told))
        self.assertNotIn(repr(bond.secret), repr(value.fromString(told)))
        for wrong in (b"", told[1:], told + b"x", told[:-2], bytes(SECRET_OCTETS)):
            refusal = self.assertRaises(ValueError, value.fromString, wrong)
            self.assertNotIn(repr(wrong), str(refusal))


def _sorted(proved: Mapping[int | None, list[bool]]) -> dict[int | None, list[bool]]:
    return {worker: sorted(each) for worker, each in proved.items()}
