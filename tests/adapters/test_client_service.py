"""The daemon inside: between a backend that is a list of answers and a server on a network in memory."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from unittest.mock import Mock, patch

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import fail as defer_fail
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.client.backend import Backend, BackendRefused, BackendUnavailable, Document, Trial, TunnelCredentials
from smartproxy.client.house import SessionHouse
from smartproxy.client.service import ClientService
from smartproxy.client.station import StationSessions
from smartproxy.client.tunnels import TRIES
from smartproxy.client.upkeep import TunnelKey, is_withdrawn
from smartproxy.net import process
from smartproxy.oftp2.roles import Level, Profile
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.decoding import first_certificate_in
from smartproxy.policy.configuration import Configuration, ConfigurationRefused, GenerationId
from smartproxy.policy.faults import StationUnreachable, StopReason
from smartproxy.policy.licence import Licence, WithdrawnClient, sign
from smartproxy.policy.limits import RETRY_SECONDS_MOST
from smartproxy.policy.loads import ServerLoad, ToldLoad
from smartproxy.policy.packed_record import unpack
from smartproxy.policy.session_record import SessionRecord
from smartproxy.policy.versions import Part
from smartproxy.relay.openings import SessionFacts
from smartproxy.testing.pki import CLIENT_AUTH, KeyKind, TestCa, make_key
from smartproxy.tunnel.client_control import ClientControl
from smartproxy.tunnel.faults import Closing, QuestionExpired
from smartproxy.tunnel.lane import DataLane
from smartproxy.tunnel.server_control import ServerControl
from tests.adapters.tunnel_kit import FACTS, WHY, Endpoint, Network, ServerSide, authority, identity

DAYS = 9


def generation(number: int, store: str | None = None, **client: Any) -> bytes:
    """A whole configuration document."""
    whole = {"format": 1, "generation": number, "store": store, "site": "Muster GmbH", "client": client}
    return json.dumps(whole).encode()


def certify(request_pem: str, now: datetime) -> str:
    """A tunnel certificate as the backend issues them."""
    request = x509.load_pem_x509_csr(request_pem.encode())
    issuer = authority().credential
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "inner-1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(seconds=1))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.ExtendedKeyUsage([CLIENT_AUTH]), critical=False)
        .sign(cast(Any, issuer.key), hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM).decode()


class AnsweringBackend:
    """Answers as it is told, and keeps what it is given.

    :ivar failure: what every call fails with, if anything.
    :ivar document: the configuration; a client that holds it already waits until :meth:`change`.
    :ivar begins: when the certificates begin that it issues; ``None``: a second ago.
    """

    url = "https://backend.example"

    def __init__(self, network: Network) -> None:
        self.network = network
        self.failure: Exception | None = None
        self.document = generation(1)
        self.number = 1
        self.proxy_ids = {identity().proxy_id: "licence text"}
        self.stored: list[Mapping[str, Any]] = []
        self.recorded: list[SessionRecord] = []
        self.running: list[list[Mapping[str, Any]]] = []
        self.told_loads: list[tuple[ToldLoad, list[ServerLoad]]] = []
        self.requests: list[str] = []
        self.issued: list[str] = []
        self.begins: datetime | None = None
        self.waiting: list[Deferred[None]] = []
        self.calls = 0

    def fail(self) -> None:
        """Fail, if told so."""
        self.calls += 1
        if self.failure is not None:
            raise self.failure

    def change(self, document: bytes) -> None:
        """Answer those who wait with a new document."""
        self.document = document
        self.number += 1
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each.callback(None)
        self.network.settle()

    async def hello(self) -> Mapping[str, Any]:
        """Part of the API."""
        self.fail()
        return {}

    async def tunnel_certificate(self, csr: str) -> TunnelCredentials:
        """Part of the API."""
        self.fail()
        self.requests.append(csr)
        # The clock of the tests begins in 1970; what OpenSSL judges is the real one.
        certificate = certify(csr, datetime.now(UTC) if self.begins is None else self.begins + timedelta(seconds=1))
        self.issued.append(certificate)
        return TunnelCredentials(
            certificate=certificate,
            not_after="",
            proxy_ids=tuple(self.proxy_ids),
            authority="",
        )

    async def trials(self, known: int | None, wait: int = 50) -> tuple[int, Sequence[Trial]]:
        """Part of the API; nobody wants to have anything tried."""
        never: Deferred[tuple[int, Sequence[Trial]]] = Deferred()
        return await never

    async def configuration(self, etag: str | None, wait: int = 50) -> Document | None:
        """Part of the API."""
        self.fail()
        if etag == str(self.number):
            if not wait:
                return None
            changed: Deferred[None] = Deferred()
            self.waiting.append(changed)
            await changed
            self.fail()
        return Document(etag=str(self.number), octets=self.document)

    async def licences(self) -> Mapping[str, str]:
        """Part of the API."""
        self.fail()
        return self.proxy_ids

    async def events(self, events: Sequence[Mapping[str, Any]]) -> int:
        """Part of the API."""
        self.fail()
        self.stored.extend(events)
        return len(events)

    async def records(self, packed: Sequence[bytes]) -> None:
        """Part of the API."""
        self.fail()
        self.recorded.extend(map(unpack, packed))

    async def live(self, sessions: Sequence[Mapping[str, Any]], count: int) -> None:
        """Part of the API."""
        self.fail()
        self.running.append(list(sessions))

    async def loads(self, own: ToldLoad, servers: Sequence[ServerLoad]) -> None:
        """Part of the API."""
        self.fail()
        self.told_loads.append((own, list(servers)))


class ClientTestCase(SynchronousTestCase):
    """A client with one server."""

    def setUp(self) -> None:
        """Construct it; nothing is started. The station is whoever answers at ``clock.tcpClients``; nobody does."""
        self.network = Network()
        self.clock = self.network.clock = MemoryReactorClock()
        self.network.clock.advance(datetime.now(UTC).timestamp())
        self.backend = AnsweringBackend(self.network)
        self.server = ServerSide(self.network)
        self.endpoint = Endpoint(self.network, self.server.tunnel.factory)
        self.service = ClientService(
            self.network.clock,
            backend=cast(Backend, self.backend),
            servers=[HostPort("dmz.example", 2878)],
            endpoint=lambda reactor, host, port: cast(IStreamClientEndpoint, self.endpoint),
        )

    def start(self) -> None:
        """Start it and let everything arrive."""
        self.service.startService()
        self.addCleanup(self.service._upkeep.stop)
        self.network.settle()

    def control(self) -> ClientControl:
        """The client's end of the tunnel."""
        (control,) = self.service._tunnels.controls.values()
        return control

    @property
    def sessions(self) -> StationSessions:
        """The client's sessions, which live in its own process."""
        return cast(StationSessions, self.service.sessions)

    @property
    def lane(self) -> DataLane:
        """The data connections to the server."""
        return cast(DataLane, self.service.tunnels[0].lane)

    def brought(self) -> list[dict[str, Any]]:
        """The documents that the server was brought."""
        return [json.loads(cast(bytes, note[2])) for note in self.server.user.notes if note[0] == "configuration"]

    def stored(self, name: str) -> list[Mapping[str, Any]]:
        """The events of a name that the backend holds, after what waits was sent."""
        self.network.advance(1)
        return [event for event in self.backend.stored if event["name"] == name]


class Naming(ClientTestCase):
    """How a server is named."""

    def test_ipv6_address(self) -> None:
        """An IPv6 address stands in brackets, wherever the server is named."""
        self.service = ClientService(
            self.network.clock,
            backend=cast(Backend, self.backend),
            servers=[HostPort("2001:db8::1", 2878)],
            endpoint=lambda reactor, host, port: cast(IStreamClientEndpoint, self.endpoint),
        )
        self.start()
        self.assertEqual(self.service.servers, ["[2001:db8::1]:2878"])
        self.assertEqual([each.server for each in self.service.tunnels], ["[2001:db8::1]:2878"])


class Configuring(ClientTestCase):
    """What the server is brought."""

    def test_server_gets_its_part_and_its_licence(self) -> None:
        """The server is given its part of the generation, with the licence for its Proxy ID, and nothing else."""
        self.backend.document = generation(7, station={"host": "station.example"})
        self.start()
        (document,) = self.brought()
        self.assertEqual(document["generation"], 7)
        self.assertEqual(document["server"]["licence"], "licence text")
        self.assertNotIn("client", document)
        self.assertNotIn("station.example", json.dumps(document))

    def test_change_reaches_the_server_at_once(self) -> None:
        """With the long poll open no time passes between a change and the server's new generation."""
        self.start()
        self.backend.change(generation(2))
        self.assertEqual([each["generation"] for each in self.brought()], [1, 2])

    def test_generation_that_is_not_valid(self) -> None:
        """It is refused with its place, once; the server hears nothing of it; the next good one is brought."""
        self.start()
        self.backend.change(generation(2, station={"port": 0}))
        (refused,) = self.stored("configuration.refused")
        self.assertEqual((refused["place"], refused["previous"]), ("client.station.port", 1))
        self.backend.change(generation(3))
        self.assertEqual([each["generation"] for each in self.brought()], [1, 3])

    def test_lower_number(self) -> None:
        """A lower number of another store is in force here and at the server; one of the same store at neither."""
        self.start()
        self.backend.change(generation(9))
        for number, store in ((4, "1" * 16), (2, "2" * 16), (1, "2" * 16)):
            self.backend.change(generation(number, store))
        self.assertEqual([each["generation"] for each in self.brought()], [1, 9, 4, 2])
        (refused,) = self.stored("configuration.refused")
        self.assertEqual((refused["place"], refused["cause"]), ("generation", "document.older"))
        self.assertEqual(self.service.configuration_refused, str(refused["place"]) + ": " + str(refused["message"]))

    def faults(self, kind: type[Exception]) -> None:
        """See that a fault of ours was told of, once."""
        self.assertEqual(len(self.flushLoggedErrors(kind)), 1)
        self.assertEqual(len(self.stored("internal.error")), 1)

    def test_reading_that_raises(self) -> None:
        """Whatever the reading of a generation raises, it is refused, and the next one is taken."""
        self.start()
        with patch("smartproxy.client.upkeep.parse", side_effect=OverflowError("date value out of range")):
            self.backend.change(generation(2))
        (refused,) = self.stored("configuration.refused")
        self.assertEqual((refused["cause"], refused["previous"]), ("configuration.fault", 1))
        self.faults(OverflowError)
        self.assertIn("a fault", str(self.service.configuration_refused))
        self.backend.change(generation(3))
        self.assertEqual([each["generation"] for each in self.brought()], [1, 3])
        self.assertIsNone(self.service.configuration_refused)

    def test_adoption_that_raises(self) -> None:
        """A generation of which a part cannot be put in force is in force in no part, here or at the server."""
        self.backend.document = generation(1, pool={"ready": 1, "most": 10}, station={"host": "one"})
        self.start()
        adopt, adopted = self.service.calls.adopt, []

        def broken(configuration: Configuration) -> None:
            adopt(configuration)
            adopted.append(configuration.generation)
            if configuration.generation == 2:
                raise KeyError("second")

        self.patch(self.service.calls, "adopt", broken)
        licences, held = self.service.licences, self.service.held
        self.backend.proxy_ids = {"0" * 64 + "px": "other"}
        self.backend.change(generation(2, pool={"ready": 2, "most": 20}, station={"host": "two"}))
        self.faults(KeyError)
        self.assertEqual([each["generation"] for each in self.stored("configuration.accepted")], [1])
        self.assertEqual((self.service.held, self.service.licences, adopted), (held, licences, [2, 1]))
        configuration = self.service.configuration
        assert configuration is not None
        self.assertEqual(configuration.station.host, "one")
        self.assertEqual((self.lane.ready, self.lane.most), (1, 10))
        self.assertEqual(len(self.brought()), 1)
        self.backend.proxy_ids = dict(licences)
        self.backend.change(generation(3))
        self.assertEqual([each["generation"] for each in self.brought()], [1, 3])

    def test_more_sessions_than_open_files(self) -> None:
        """A limit of sessions that needs more open files than the system allows is told once."""
        self.patch(process, "descriptors", lambda: 65_536)
        self.start()
        for number in (2, 3):
            self.backend.change(generation(number, limits={"sessions": 40_000}))
        (told,) = self.stored("daemon.few_descriptors")
        self.assertEqual((told["source"], told["value"], told["most"]), ("client", 65_536, 80_200))

    def test_nothing_before_it(self) -> None:
        """Where the first generation cannot be put in force, or the one before not again, there is none."""
        self.patch(self.service.calls, "adopt", Mock(side_effect=KeyError("x")))
        self.start()
        self.assertEqual((self.service.configuration, self.service.held), (None, None))
        self.assertEqual(self.brought(), [])
        self.flushLoggedErrors(KeyError)
        self.patch(self.service.calls, "adopt", lambda configuration: None)
        self.backend.change(generation(2))
        self.patch(self.service.calls, "adopt", Mock(side_effect=KeyError("x")))
        self.backend.change(generation(3))
        self.assertEqual((self.service.configuration, self.service.held), (None, None))
        self.assertEqual([each["generation"] for each in self.brought()], [2])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)

    def test_what_follows_raises(self) -> None:
        """A fault with what follows from a generation is reported; the generation is in force, and is said to be."""
        self.start()
        for number, step in enumerate(("_keep", "_bring_all"), 2):
            broken = self.patch(self.service, step, Mock(side_effect=KeyError("x")))
            self.backend.change(generation(number))
            broken.restore()
            self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
            assert self.service.held is not None
            self.assertEqual(self.service.held.generation, number)
            self.assertIsNone(self.service.configuration_refused)

    def test_delivery_that_raises(self) -> None:
        """A server that does not get a generation for a fault of ours counts as one that does not have it."""
        self.start()
        with patch("smartproxy.client.deliveries.dump", side_effect=TypeError("x")):
            self.backend.change(generation(2))
        self.faults(TypeError)
        self.assertEqual(self.service.deliveries.declined, {self.control(): 2})
        self.backend.change(generation(3))
        self.assertEqual((self.service.deliveries.declined, len(self.brought())), ({}, 2))

    def test_certificate_that_cannot_be_used(self) -> None:
        """A credential that raises does not end the loop: the client asks for another one."""
        with patch("smartproxy.client.tunnels.ClientTunnel", side_effect=OverflowError("x")):
            self.start()
        self.assertEqual((self.service.tunnels, len(self.backend.requests)), ([], 1))
        self.network.advance(RETRY_SECONDS_MOST)
        self.faults(OverflowError)
        self.assertEqual(len(self.backend.requests), 2)
        self.control()

    def test_server_that_holds_it_already(self) -> None:
        """A tunnel that comes back finds the generation there, and nothing is sent again."""
        self.start()
        self.server.control.abort(WHY)
        self.network.advance(3)
        self.assertEqual([note[0] for note in self.server.user.notes], ["up", "configuration", "down", "up"])

    def test_loads(self) -> None:
        """The backend is told how busy the client is, and what the server told of itself; nothing after the end."""
        self.start()
        busy = ToldLoad(cpu=120, sessions=3)
        self.server.tunnel.load = lambda: busy
        self.network.advance(65)
        ((own, servers),) = self.backend.told_loads
        self.assertEqual((own.sessions, own.sessions_most), (0, limits.SESSIONS.default))
        self.assertEqual(servers, [ServerLoad(proxy_id=identity().proxy_id, load=busy)])
        self.service.stopService()
        self.network.advance(120)
        self.assertEqual(len(self.backend.told_loads), 1)

    def test_server_that_was_licensed_later(self) -> None:
        """A server whose licence is younger than the client's start is spoken to with the next generation."""
        self.backend.proxy_ids = {"0" * 64 + "px": "other"}
        self.start()
        self.network.advance(60)
        self.assertEqual(self.server.tunnel.controls, ())
        self.backend.proxy_ids[identity().proxy_id] = "licence text"
        self.backend.change(generation(2))
        self.network.advance(RETRY_SECONDS_MOST)
        self.assertEqual([each["generation"] for each in self.brought()], [2])

    def test_server_whose_licence_was_withdrawn(self) -> None:
        """Its tunnel ends before it is brought the generation that says so; it is dialled again, and refused."""
        lost: list[Closing] = []
        self.service._server_lost = lost.append
        self.start()
        self.backend.proxy_ids = {"0" * 64 + "px": "other"}
        self.backend.change(generation(2))
        self.network.advance(RETRY_SECONDS_MOST)
        self.assertEqual(self.service._tunnels.controls, {})
        self.assertEqual([each["generation"] for each in self.brought()], [1])
        (down,) = self.stored("tunnel.down")
        self.assertEqual((down["cause"], lost), (Cause.TUNNEL_WRONG_SERVER_KEY, []))
        self.assertEqual(self.stored("tunnel.refused")[0]["cause"], Cause.TUNNEL_WRONG_SERVER_KEY)
        self.backend.proxy_ids = {identity().proxy_id: "licence text"}
        self.backend.change(generation(3))
        self.network.advance(limits.RECONNECT_SECONDS_MOST)
        self.assertEqual([each["generation"] for each in self.brought()], [1, 3])

    def test_licence_withdrawn_while_the_server_is_dialled(self) -> None:
        """A server that was dialled before its licence was withdrawn, and answers after that, is brought nothing."""
        welcome, held = ServerControl._welcome, Deferred[None]()

        async def late(control: ServerControl, oldest: int, newest: int) -> dict[str, Any]:
            await held
            return await welcome(control, oldest, newest)

        self.patch(ServerControl, "_welcome", late)
        self.start()
        self.backend.proxy_ids = {"0" * 64 + "px": "other"}
        self.backend.change(generation(2))
        held.callback(None)
        self.network.settle()
        self.assertEqual((self.service._tunnels.controls, self.brought()), ({}, []))

    def withdrawing(self, name: str, begins_until: datetime) -> str:
        """The server's licence, with a client withdrawn."""
        key = cast(Ed25519PrivateKey, make_key(KeyKind.ED25519))
        present = datetime.now(UTC).replace(microsecond=0)
        licence = Licence(
            proxy_id=identity().proxy_id,
            site="Muster GmbH",
            valid_from=present - timedelta(days=1),
            valid_until=present + timedelta(days=9),
            authority_certificate=TestCa.root("authority", key=key).certificate_pem.decode(),
            withdrawn=(WithdrawnClient(name=name, begins_until=begins_until),),
        )
        return sign(licence, key)

    def test_licences_that_say_nothing(self) -> None:
        """A licence that no server goes by withdraws nothing, and nothing is of a certificate that cannot be read."""
        begins = datetime.now(UTC)
        licences = {identity().proxy_id: self.withdrawing("inner-1", begins)}
        certificate = certify(TunnelKey.make().request, begins)
        self.assertTrue(is_withdrawn(certificate, licences, begins))
        self.assertFalse(is_withdrawn(certificate, {identity().proxy_id: "damaged"}, begins))
        self.assertFalse(is_withdrawn(certificate, licences, begins + timedelta(days=30)))
        self.assertFalse(is_withdrawn("damaged", licences, begins))

    def test_withdrawn_unheard(self) -> None:
        """A client that was shut out while it could not ask has another certificate with the next generation, once.

        It needs none where another client is shut out, or it was shut out before it got its certificate.
        """
        self.start()
        begins = first_certificate_in(self.backend.issued[0]).not_valid_before_utc
        for number, (name, until, requests) in enumerate(
            (("other", begins, 1), ("inner-1", begins - timedelta(seconds=1), 1), ("inner-1", begins, 2)), 2
        ):
            self.backend.proxy_ids = {identity().proxy_id: self.withdrawing(name, until)}
            self.backend.begins = begins + timedelta(seconds=1)
            self.backend.change(generation(number))
            self.network.advance(1)
            self.assertEqual(len(self.backend.requests), requests, (name, until))
        shown = self.service._tunnels.credential
        assert shown is not None
        self.assertEqual(shown.certificate, self.backend.issued[1])
        self.backend.change(generation(5))
        self.network.advance(60)
        self.assertEqual(len(self.backend.requests), 2)
        self.server.tunnel.stop("it stops")
        self.network.advance(1)
        self.server = ServerSide(self.network)
        self.endpoint.factory = self.server.tunnel.factory
        self.network.advance(RETRY_SECONDS_MOST)
        (control,) = self.server.tunnel.controls
        self.assertEqual(control.client.not_before, begins + timedelta(seconds=1))


class Undelivered(ClientTestCase):
    """A server that cannot be brought a generation at once."""

    def bugs(self) -> list[Mapping[str, Any]]:
        """What was reported as a bug of the client."""
        return [event for event in self.stored("internal.error") if event["source"] == "client"]

    def generations(self) -> list[int]:
        """The generations that the server took."""
        return [each["generation"] for each in self.brought()]

    def test_tunnel_lost_meanwhile(self) -> None:
        """A tunnel that is lost before the server answers is no bug; the next tunnel brings the generation."""

        def lose() -> None:
            self.server.user.refuse = lambda: None
            self.server.control.abort(WHY)
            raise ConfigurationRefused(where="test", cause=Cause.DOCUMENT_VALUE, message="nobody hears this")

        self.server.user.refuse = lose
        self.start()
        self.network.advance(5)
        self.assertEqual(self.generations(), [1])
        self.assertEqual((self.bugs(), self.stored("configuration.undelivered")), ([], []))

    def test_server_that_fails(self) -> None:
        """A server with a bug is told of each time, and tried again after a while that grows, until it takes it."""

        def fail() -> None:
            raise ZeroDivisionError

        self.server.user.refuse = fail
        self.start()
        self.network.advance(10)
        told = self.stored("configuration.undelivered")
        self.assertEqual([each["seconds"] for each in told], [1, 2, 4, 8])
        self.assertEqual({(each["cause"], each["generation"]) for each in told}, {("tunnel.question", 1)})
        self.server.user.refuse = lambda: None
        self.network.advance(10)
        self.assertEqual((self.generations(), self.bugs()), ([1], []))
        self.network.advance(60)
        self.assertEqual(len(self.stored("configuration.undelivered")), 4)

    def test_server_that_does_not_answer(self) -> None:
        """A question that is not answered in time is told of, and asked again with the newest generation."""
        self.start()
        (control,) = self.service._tunnels.controls.values()
        asked: list[GenerationId] = []
        configure = control.configure

        def silent(generation: GenerationId, octets: bytes) -> Deferred[Any]:
            asked.append(generation)
            return configure(generation, octets) if len(asked) > 2 else defer_fail(QuestionExpired("no answer"))

        self.patch(control, "configure", silent)
        self.backend.change(generation(2))
        self.backend.change(generation(3))
        self.network.advance(5)
        self.assertEqual(([each.number for each in asked], self.generations()), ([2, 3, 3], [1, 3]))
        told = self.stored("configuration.undelivered")
        self.assertEqual([each["cause"] for each in told], ["tunnel.silent", "tunnel.silent"])

    def test_server_that_takes_and_does_not_hold(self) -> None:
        """A server that answers and holds nothing is not asked without end."""
        self.start()
        (control,) = self.service._tunnels.controls.values()
        asked: list[GenerationId] = []

        def forgetful(generation: GenerationId, octets: bytes) -> Deferred[Any]:
            asked.append(generation)
            return succeed(None)

        self.patch(control, "configure", forgetful)
        self.backend.change(generation(2))
        self.network.advance(6)
        self.assertEqual(len(asked), 3)

    def test_server_that_declines(self) -> None:
        """What a server declines is not brought again; the next generation is."""

        def decline() -> None:
            raise ConfigurationRefused(where="server.partners", cause=Cause.DOCUMENT_VALUE, message="test")

        self.server.user.refuse = decline
        self.start()
        self.network.advance(60)
        self.assertEqual((self.generations(), self.stored("configuration.undelivered")), ([], []))
        self.server.user.refuse = lambda: None
        self.backend.change(generation(2))
        self.assertEqual(self.generations(), [2])

    def test_end_meanwhile(self) -> None:
        """The end of the daemon waits for no delivery."""
        self.start()
        (control,) = self.service._tunnels.controls.values()
        self.patch(control, "configure", lambda generation, octets: defer_fail(QuestionExpired("no answer")))
        self.backend.change(generation(2))
        self.successResultOf(self.stop())
        self.network.advance(10)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def stop(self) -> Deferred[None]:
        """End the daemon."""
        stopped = self.service.stopService()
        self.network.advance(1)
        return stopped


class WithoutBackend(ClientTestCase):
    """The backend is away, or will not have this client."""

    def test_backend_that_comes_later(self) -> None:
        """Its absence is told once, its return once, and then everything goes its way."""
        self.backend.failure = BackendUnavailable("connection refused")
        self.start()
        self.network.advance(120)
        self.backend.failure = None
        self.network.advance(RETRY_SECONDS_MOST + 1)
        self.assertEqual(len(self.stored("backend.unreachable")), 1)
        self.assertEqual(len(self.stored("backend.reached")), 1)
        self.assertEqual([each["generation"] for each in self.brought()], [1])

    def test_backend_that_comes_back_without_news(self) -> None:
        """A backend that was away and has nothing new is told of as soon as it answers, not when it has news."""
        self.start()
        waiting, self.backend.waiting = self.backend.waiting, []
        for each in waiting:
            each.errback(BackendUnavailable("connection refused"))
        self.network.advance(RETRY_SECONDS_MOST)
        self.assertEqual(len(self.stored("backend.unreachable")), 1)
        self.assertEqual(len(self.stored("backend.reached")), 1)
        self.assertEqual(len(self.backend.waiting), 1, "and asked for news again")

    def test_what_waited_is_sent_at_once(self) -> None:
        """Events of the backend's absence are sent as soon as it answers, and do not wait for their own next try."""
        self.start()
        self.backend.failure = BackendUnavailable("connection refused")
        self.service.events.emit("listener.opened", port=7)
        # The try of the events that is next comes long after that of the configuration.
        self.network.advance(20)
        waiting, self.backend.waiting = self.backend.waiting, []
        for each in waiting:
            each.errback(BackendUnavailable("connection refused"))
        self.backend.failure = None
        while self.service.backend_fault is not None:
            self.network.advance(0.1)
        self.assertEqual([each["port"] for each in self.backend.stored if each["name"] == "listener.opened"], [7])

    def test_whichever_loop_is_answered_first(self) -> None:
        """That is told also where a certificate is what the backend gives first: once, and to all that wait for it."""
        resumed: list[int] = []
        self.patch(self.service._carrier, "resume", lambda: resumed.append(1))
        self.backend.failure = BackendUnavailable("connection refused")
        self.start()
        self.network.advance(20)
        self.backend.failure = None
        self.network.advance(RETRY_SECONDS_MOST + 1)
        self.assertEqual((len(self.stored("backend.reached")), resumed), (1, [1]))

    def test_not_over_what_another_client_brought(self) -> None:
        """While the backend is away, a server that holds a generation keeps it; then the backend's word counts."""
        self.backend.document = generation(7, "1" * 16)
        self.start()
        self.backend.failure = BackendUnavailable("connection refused")
        self.backend.change(generation(7, "1" * 16))
        other = GenerationId(3, "2" * 16)
        self.server.user.in_force = other
        self.server.control.abort(WHY)
        self.network.advance(5)
        self.assertEqual((self.server.user.in_force, len(self.brought())), (other, 1))
        self.backend.failure = None
        self.network.advance(RETRY_SECONDS_MOST)
        self.assertEqual([each["generation"] for each in self.brought()], [7, 7])

    def test_backend_that_says_hello_alone(self) -> None:
        """A backend that says hello, and gives no configuration or no certificate, is told of once, and is not back."""
        for call in ("configuration", "tunnel_certificate"):
            self.setUp()
            broken = self.patch(self.backend, call, Mock(side_effect=BackendUnavailable("the store is broken")))
            self.start()
            self.network.advance(300)
            self.assertEqual((len(self.stored("backend.unreachable")), self.stored("backend.reached")), (1, []), call)
            self.assertIsNotNone(self.service.backend_fault)
            broken.restore()
            self.network.advance(RETRY_SECONDS_MOST + 1)
            self.assertEqual((len(self.stored("backend.reached")), self.service.backend_fault), (1, None), call)

    def test_two_reasons(self) -> None:
        """A backend that has one reason for the certificate and another for the configuration tells each once."""
        for call in ("configuration", "tunnel_certificate"):
            self.patch(self.backend, call, Mock(side_effect=BackendUnavailable(f"no {call}")))
        self.start()
        self.network.advance(300)
        told = sorted(str(each["message"]) for each in self.stored("backend.unreachable"))
        self.assertEqual((told, self.stored("backend.reached")), (["no configuration", "no tunnel_certificate"], []))

    def test_confirmed_without_news(self) -> None:
        """A backend that is there again and has no news confirms the generation, which every server is brought then."""
        self.backend.document = generation(7, "1" * 16)
        self.start()
        self.backend.failure = BackendUnavailable("connection refused")
        waiting, self.backend.waiting = self.backend.waiting, []
        for each in waiting:
            each.callback(None)
        self.server.user.in_force = GenerationId(3, "2" * 16)
        self.server.control.abort(WHY)
        self.network.advance(5)
        self.assertEqual([each["generation"] for each in self.brought()], [7])
        self.backend.failure = None
        self.network.advance(RETRY_SECONDS_MOST)
        self.assertEqual([each["generation"] for each in self.brought()], [7, 7])

    def test_not_over_a_newer_store_s(self) -> None:
        """A backend that is there again is asked first: a server that holds what it says now is left as it is."""
        self.backend.document = generation(7, "1" * 16)
        self.start()
        self.backend.failure = BackendUnavailable("connection refused")
        self.backend.change(generation(4, "2" * 16))
        self.server.user.in_force = GenerationId(4, "2" * 16)
        self.server.control.abort(WHY)
        self.network.advance(5)
        self.backend.failure = None
        self.network.advance(RETRY_SECONDS_MOST)
        self.assertEqual(self.server.user.in_force, GenerationId(4, "2" * 16))
        self.assertEqual([each["generation"] for each in self.brought()], [7])
        self.assertIsNotNone(self.service.held)

    def test_backend_is_not_hammered(self) -> None:
        """In ten minutes of absence each loop makes a few dozen calls, not thousands."""
        self.backend.failure = BackendUnavailable("connection refused")
        self.start()
        self.network.advance(600)
        self.assertLess(self.backend.calls, 80)

    def test_backend_that_does_not_hold_requests(self) -> None:
        """A backend that answers at once that nothing changed is asked once a second at most."""

        async def unchanged(etag: str | None, wait: int = 50) -> Document | None:
            self.backend.calls += 1
            return None if etag else Document(etag="1", octets=generation(1))

        self.patch(self.backend, "configuration", unchanged)
        self.start()
        before = self.backend.calls
        self.network.advance(10)
        self.assertLessEqual(self.backend.calls - before, 14)

    def test_removed_and_enabled_again(self) -> None:
        """A client that was removed or disabled ends its tunnels; enabled again, it has another certificate at once."""
        self.start()
        self.backend.failure = BackendRefused(401, "api.removed", "the client was removed or disabled")
        self.backend.change(generation(2))
        self.assertEqual(self.server.user.notes[-1][:2], ("down", "inner-1"))
        self.network.advance(RETRY_SECONDS_MOST * 3)
        self.assertEqual((self.service._tunnels.controls, len(self.backend.requests)), ({}, 1))
        self.backend.failure = None
        self.network.advance(RETRY_SECONDS_MOST)
        self.assertEqual(len(self.backend.requests), 2)
        self.assertEqual([each["generation"] for each in self.brought()], [1, 2])
        self.control()

    def test_versions_that_do_not_fit(self) -> None:
        """The backend's words name both versions, and are told once."""
        self.backend.failure = BackendRefused(
            426, "api.version", "backend 2.0 takes clients from 1.5; update the client"
        )
        self.start()
        self.network.advance(90)
        self.backend.failure = None
        self.network.advance(RETRY_SECONDS_MOST + 1)
        (refused,) = self.stored("backend.version_refused")
        self.assertIn("2.0", refused["message"])

    def test_running_sessions_need_no_backend(self) -> None:
        """When the backend goes away, the tunnel and the generation stay."""
        self.start()
        self.backend.failure = BackendUnavailable("gone")
        self.backend.change(generation(2))
        self.network.advance(300)
        self.assertTrue(self.server.control.ready)
        self.assertEqual([each["generation"] for each in self.brought()], [1])


class Certificates(ClientTestCase):
    """The client's tunnel certificate."""

    def test_renewed_before_it_ends(self) -> None:
        """After two thirds of its life there is a new key with a new certificate, and the tunnel stays up."""
        self.start()
        self.network.clock.advance(DAYS * 86400 * 2 / 3 - 60)
        self.assertEqual(len(self.backend.requests), 1)
        self.network.clock.advance(120)
        self.assertEqual(len(set(self.backend.requests)), 2)


class Sessions(ClientTestCase):
    """What the server asks for."""

    def test_no_session_without_a_configuration(self) -> None:
        """A server that is faster than the backend is told that there is no station yet."""
        self.assertRaises(StationUnreachable, self.service._judge_opening, cast(Any, None), FACTS)

    def test_server_s_events_go_to_the_backend(self) -> None:
        """They arrive as they were; what is no event of ours is refused, and said to be, once in a while."""
        self.start()
        good: dict[str, Any] = {
            "name": "listener.opened",
            "time": "2026-11-20T10:00:00.000Z",
            "level": "info",
            "source": "server",
            "sequence": 5,
            "port": 6619,
        }
        control = self.control()
        self.service.event(control, good)
        self.service.event(control, {**good, "name": "no.such\x1b"})
        self.service.event(control, {**good, "source": "client", "sequence": 6})
        self.service.event(control, {**good, "name": "audit.broken", "cause": "audit.changed", "port": None})
        self.assertEqual([event["sequence"] for event in self.stored("listener.opened")], [5])
        (refused,) = self.stored("events.refused")
        self.assertEqual((refused["message"], refused["detail"]), ("no event has this name", r"no.such\x1b"))
        self.assertEqual(self.stored("audit.broken"), [])

    def test_events_about_another_server(self) -> None:
        """A server tells of its own licence only: what it tells of another's is refused."""
        self.start()
        event: dict[str, Any] = {"name": "licence.accepted", "time": "2026-11-20T10:00:00.000Z", "level": "info"}
        event |= {"source": "server", "sequence": 5, "site": "Muster GmbH", "valid_until": "2027-01-01T00:00:00.000Z"}
        control = self.control()
        self.service.event(control, {**event, "proxy_id": identity().proxy_id})
        self.service.event(control, {**event, "sequence": 6, "proxy_id": "0" * 64 + "px"})
        self.assertEqual([each["sequence"] for each in self.stored("licence.accepted")], [5])
        self.assertIn("about another server", self.stored("events.refused")[0]["message"])

    def test_addresses_of_revocation_lists(self) -> None:
        """What the server saw in a verified certificate is an event for the backend."""
        self.start()
        self.service.crl_url_seen("http://crl.example/a.crl", "odette")
        self.assertEqual(self.stored("crl.url_seen")[0]["url"], "http://crl.example/a.crl")

    def test_loss_of_the_server(self) -> None:
        """Who wants to know that the server is gone is told, each time."""
        told: list[Cause] = []
        self.service._server_lost = lambda why: told.append(why.cause)
        self.start()
        self.server.control.abort(WHY)
        self.network.advance(5)
        self.assertEqual(len(told), 1)

    def test_removed_client_has_lost_no_server(self) -> None:
        """A client that was removed ends its tunnels itself: no server is gone."""
        lost: list[Closing] = []
        self.patch(self.service, "_server_lost", lost.append)
        self.start()
        self.service._removed()
        self.network.advance(5)
        (down,) = self.stored("tunnel.down")
        self.assertEqual((down["cause"], lost), (Cause.TUNNEL_WITHDRAWN, []))

    def test_end_of_the_client_is_no_loss_of_the_server(self) -> None:
        """A client that stops is not told that its server is gone, and tells why it stops."""
        told: list[object] = []
        self.service._server_lost = told.append
        self.service.stop_reason = StopReason(Cause.OPERATOR_SIGNAL, "signal SIGTERM")
        self.start()
        stopped = self.service.stopService()
        self.network.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(told, [])
        (stopping,) = self.stored("client.stopping")
        self.assertEqual((stopping["cause"], stopping["message"]), (Cause.OPERATOR_SIGNAL, "signal SIGTERM"))


class EventsNotTaken(ClientTestCase):
    """An event that the backend does not take."""

    def test_set_aside(self) -> None:
        """The other events arrive; it is set aside and told, once the backend took others after it failed again."""
        self.start()
        stored = self.backend.events

        async def picky(events: Sequence[Mapping[str, Any]]) -> int:
            if any(each.get("port") == 7 for each in events):
                raise BackendRefused(500, "api.internal", "the backend has a fault")
            return await stored(events)

        self.patch(self.backend, "events", picky)
        for port in range(1, 20):
            self.service.events.emit("listener.opened", port=port)
        for _ in range(60):
            self.network.advance(0.1)
        self.assertEqual([each["port"] for each in self.stored("listener.opened")], [*range(1, 7), *range(8, 20)])
        self.service.events.emit("listener.opened", port=20)
        for _ in range(60):
            self.network.advance(0.1)
        (told,) = self.stored("events.set_aside")
        self.assertEqual((told["event"], told["daemon"]), ("listener.opened", "client"))


class HostileServer(ClientTestCase):
    """A server whose host was taken over asks for what it likes."""

    def setUp(self) -> None:
        """A site with one partner."""
        super().setUp()
        partner = {
            "name": "ACME",
            "codes": ["O0013ACME"],
            "lowest_level": 4,
            "certificates": [{"by": "key", "sha256": "0a" * 32}],
        }
        off = {**partner, "name": "OFF", "enabled": False, "codes": ["O0013OFF"]}
        off["certificates"] = [{"by": "key", "sha256": "0b" * 32}]
        whole = json.loads(generation(1))
        server = {"partners": [partner, off], "limits": {"sessions_per_partner": 3}}
        self.backend.document = json.dumps({**whole, "server": server}).encode()
        self.start()
        self.opened: list[SessionFacts] = []

    def ask(self, facts: SessionFacts) -> Cause | None:
        """Have the server ask for a session; why it may not begin, if it may not."""
        try:
            self.service._judge_opening(self.control(), facts)
        except StationUnreachable as refused:
            return Cause(refused.rule)
        self.opened.append(facts)
        return None

    def test_as_configured(self) -> None:
        """Partner, code, level and profile have to be those of the configuration that this client delivered."""
        self.assertIsNone(self.ask(FACTS))
        for wrong in (
            {"partner": "NOBODY"},
            {"partner": None},
            {"partner": "OFF", "code": "O0013OFF"},
            {"code": "O0013OFF"},
            {"code": None},
            {"level": Level.OFTP_1_2},
            {"level": None},
            {"profile": Profile.STRICT},
        ):
            facts = attrs.evolve(FACTS, **cast(Any, wrong))
            self.assertEqual(self.ask(facts), Cause.TUNNEL_NOT_CONFIGURED, wrong)
        (told,) = self.stored("tunnel.distrusted")
        self.assertEqual(told["proxy_id"], identity().proxy_id)

    def change(self, number: int, **changes: object) -> None:
        """Have the backend put another generation in force, with these changes of the partner's entry."""
        document = json.loads(self.backend.document)
        document["generation"] = number
        document["server"]["partners"][0].update(changes)
        self.backend.change(json.dumps(document).encode())
        self.network.advance(5)

    def decline(self) -> None:
        """Have the server decline what it is brought from now on."""

        def refuse() -> None:
            raise ConfigurationRefused(where="server.partners", cause=Cause.DOCUMENT_VALUE, message="test")

        self.server.user.refuse = refuse

    def test_server_that_declined(self) -> None:
        """A server that declined a generation goes by the one before, and may open what that allows."""
        self.decline()
        self.change(2, profile="strict")
        self.assertEqual(self.service.deliveries.declined, {self.control(): 2})
        self.assertIsNone(self.ask(FACTS))
        self.assertIsNone(self.ask(attrs.evolve(FACTS, profile=Profile.STRICT)))
        self.assertEqual(self.stored("tunnel.distrusted"), [])
        self.assertEqual(self.ask(attrs.evolve(FACTS, code="O0013OFF")), Cause.TUNNEL_NOT_CONFIGURED)
        (told,) = self.stored("tunnel.distrusted")
        self.assertTrue(str(told["message"]).endswith(" in generation 1"), told["message"])

    def test_declined_and_connected_again(self) -> None:
        """What a server accepted counts for the next tunnel to it, too."""
        self.decline()
        self.change(2, profile="strict")
        before = self.control()
        self.server.control.abort(WHY)
        self.network.advance(5)
        self.assertIsNot(self.control(), before)
        self.assertIsNone(self.ask(FACTS))

    def test_disabled_meanwhile(self) -> None:
        """A partner that is disabled begins no session, also if the server declined this; the server is not accused."""
        self.decline()
        self.change(2, enabled=False)
        self.assertEqual(self.ask(FACTS), Cause.TUNNEL_OTHER_GENERATION)
        self.assertEqual(self.stored("tunnel.distrusted"), [])

    def test_generation_of_another_client(self) -> None:
        """A server that may have a later generation from another client is refused, and not accused."""
        strict = attrs.evolve(FACTS, profile=Profile.STRICT)
        self.service._upkeep.unconfirmed = True
        self.assertEqual(self.ask(strict), Cause.TUNNEL_OTHER_GENERATION)
        self.service._upkeep.unconfirmed = False
        self.control().held = GenerationId(2, self.control().held.store)
        self.assertEqual(self.ask(strict), Cause.TUNNEL_OTHER_GENERATION)
        self.assertEqual(self.stored("tunnel.distrusted"), [])
        self.control().held = GenerationId(1, self.control().held.store)
        self.assertEqual(self.ask(strict), Cause.TUNNEL_NOT_CONFIGURED)

    def test_sessions_of_a_partner(self) -> None:
        """A partner has no more sessions at a server than that was told to allow; those at another do not count."""
        own, desk = self.control().proxy_id, self.service.desk
        for session, server in (("one", own), ("two", own), ("three", "another")):
            desk.admit(session, server, "ACME")
        self.assertIsNone(self.ask(FACTS))
        self.assertEqual(self.stored("tunnel.distrusted"), [])
        desk.admit("four", own, "ACME")
        self.assertEqual(self.ask(FACTS), Cause.TUNNEL_NOT_CONFIGURED)

    def test_forged_openings(self) -> None:
        """Of 1,500 sessions that a server asks for at once the first 400 reach the station; two events tell of it."""
        causes = [self.ask(FACTS) for _ in range(1500)]
        self.assertEqual((causes.count(None), causes.count(Cause.TUNNEL_RATE)), (400, 1100))
        forged = attrs.evolve(FACTS, partner="NOBODY")
        self.network.advance(10)
        self.assertEqual([self.ask(forged) for _ in range(200)], [Cause.TUNNEL_NOT_CONFIGURED] * 200)
        self.assertEqual(len(self.opened), 400)
        self.assertEqual(len(self.stored("tunnel.distrusted")), 2)

    def test_nothing_is_done_for_it(self) -> None:
        """A session that may not begin takes no data connection, and the server is told why."""
        facts = attrs.evolve(FACTS, partner="NOBODY")
        asked = self.server.control.open_inbound("0123456789abcdef", facts)
        self.network.settle()
        refused = self.failureResultOf(asked, StationUnreachable)
        self.assertEqual(refused.value.rule, Cause.TUNNEL_NOT_CONFIGURED)

    def test_limit(self) -> None:
        """More sessions than the client may have are told to the server; no data connection is taken for them."""
        for number in range(self.service.configuration.limits.sessions):  # type: ignore[union-attr]  # it is in force
            self.service.desk.hold(f"{number}")
        ready = self.lane.pool.idle  # type: ignore[union-attr]  # the tunnel is up
        asked = self.server.control.open_inbound("0123456789abcdef", FACTS)
        self.network.settle()
        self.assertEqual(self.failureResultOf(asked, StationUnreachable).value.rule, Cause.QUOTA_SESSIONS)
        self.assertEqual(self.lane.pool.idle, ready)  # type: ignore[union-attr]  # as before

    def test_flood_of_reports(self) -> None:
        """Of 118,720 events in 15 seconds so many are passed on as the rate allows; one event tells of the others."""
        event: dict[str, Any] = {"name": "tunnel.up", "time": "2026-11-20T10:00:00.000Z", "source": "server"}
        control, passed = self.control(), 0
        carrier = self.service._carrier
        counted: list[object] = []
        self.patch(carrier, "add", lambda document: counted.append(document["name"]))
        self.patch(self.service.events, "forward", carrier.add)
        for second in range(15):
            for number in range(118_720 // 15):
                self.service.event(control, {**event, "sequence": number + second})
            self.network.clock.advance(1)
        passed = counted.count("tunnel.up")
        self.assertEqual(passed, 200 * 60 + 14 * 200)
        self.assertEqual(counted.count("tunnel.distrusted"), 1)

    def test_large_events_count_for_more(self) -> None:
        """An event of 100 KB counts as a hundred."""
        event: dict[str, Any] = {"name": "tunnel.up", "time": "2026-11-20T10:00:00.000Z", "source": "server"}
        added: list[object] = []
        self.patch(self.service._carrier, "add", added.append)
        for number in range(1000):
            self.service.event(self.control(), {**event, "sequence": number, "detail": "x" * 102_400})
        self.assertLess(len([each for each in added if cast(Any, each)["name"] == "tunnel.up"]), 130)

    def test_bad_reports(self) -> None:
        """Events that are none are told once a minute."""
        for _ in range(500):
            self.service.event(self.control(), {"name": "no.such"})
        self.assertEqual(len(self.stored("events.refused")), 1)


class Stopping(ClientTestCase):
    """The end of the daemon."""

    def test_server_hears_of_it_and_events_are_stored(self) -> None:
        """The server is asked to send no more sessions, the last event reaches the backend, nothing is left over."""
        self.start()
        stopped = self.service.stopService()
        self.network.advance(1)
        self.successResultOf(stopped)
        self.assertIn(("drain",), self.server.user.notes)
        self.assertEqual(self.stored("backend.unreachable"), [])
        self.assertEqual(len(self.stored("client.stopped")), 1)
        self.network.advance(10)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_sessions_may_finish(self) -> None:
        """A session that runs is waited for; the tunnel stays up for it."""
        self.backend.document = generation(1, deadlines={"drain": 100})
        self.start()
        self.sessions.live["s"] = Mock(portrait=lambda: {"session": "s", "since": 0.0, "octets_in": 0, "octets_out": 0})
        stopped = self.service.stopService()
        self.network.advance(50)
        self.assertNoResult(stopped)
        self.assertEqual(len(self.server.tunnel._controls), 1)
        self.sessions.live.clear()
        self.sessions._wait.finished()
        self.network.advance(1)
        self.successResultOf(stopped)

    def test_without_a_server_or_a_backend(self) -> None:
        """Nothing that is away holds the end up."""
        self.backend.failure = BackendUnavailable("away")
        self.endpoint.factory = None
        self.start()
        stopped = self.service.stopService()
        self.network.advance(3)
        self.successResultOf(stopped)


class Reachable(SynchronousTestCase):
    """The fakes above are honest."""

    def test_fake_backend_has_the_calls_of_the_real_one(self) -> None:
        """Every call of the real backend exists in the fake."""
        calls = {name for name, value in vars(Backend).items() if callable(value) and not name.startswith("_")}
        self.assertEqual(calls - set(dir(AnsweringBackend)), set())


class MovedServer(ClientTestCase):
    """A server whose ports a newer process has."""

    def setUp(self) -> None:
        """The tunnel is up; the next one goes to the newer process."""
        super().setUp()
        self.start()
        self.newer = ServerSide(self.network)
        self.endpoint.factory = self.newer.tunnel.factory

    def up(self) -> list[bool]:
        """Of each tunnel, whether it is up."""
        return [tunnel.control is not None for tunnel in self.service.tunnels]

    def test_both_until_the_old_one_is_over(self) -> None:
        """The new one is configured at once; the old one stays until it ends, and is not dialled again."""
        lost: list[Closing] = []
        self.patch(self.service, "_server_lost", lost.append)
        self.server.tunnel.moved()
        self.network.settle()
        self.assertEqual(self.up(), [True, True])
        configured = [note[:2] for note in self.newer.user.notes if note[0] == "configuration"]
        self.assertEqual(configured, [("configuration", 1)])
        (newest,) = self.service._tunnels.taking.values()
        self.assertIs(newest, self.service.tunnels[1].control)
        self.server.tunnel.stop("it is over")
        self.network.settle()
        dialled = len(self.endpoint.dialled)
        self.network.advance(90)
        self.assertEqual((self.up(), len(self.endpoint.dialled), lost), ([True], dialled, []))
        self.newer.tunnel.stop("it is over, too")
        self.network.settle()
        self.assertEqual(len(lost), 1)

    def test_newer_one_does_not_answer(self) -> None:
        """As long as the new one is not connected, the old one takes what comes; saying it twice changes nothing."""
        self.endpoint.factory = None
        for _ in range(2):
            self.server.tunnel.moved()
            self.network.settle()
        self.assertEqual(self.up(), [True, False])
        self.assertEqual(list(self.service._tunnels.taking.values()), [self.service.tunnels[0].control])
        self.endpoint.factory = self.newer.tunnel.factory
        self.network.advance(2)
        self.assertEqual(self.up(), [True, True])

    def moved(self) -> ServerSide:
        """The newest process of the server has a newer one by now."""
        server, self.newer = self.newer, ServerSide(self.network)
        self.endpoint.factory = self.newer.tunnel.factory
        server.tunnel.moved()
        self.network.settle()
        return server

    def test_moved_again_soon(self) -> None:
        """A server that moves again within a minute is dialled a second later, as after a loss; later, at once."""
        self.server.tunnel.moved()
        self.network.settle()
        self.moved()
        self.assertEqual(self.up(), [True, True, False])
        self.network.advance(limits.RECONNECT_SECONDS_FIRST)
        self.assertEqual(self.up(), [True, True, True])
        self.network.advance(limits.SUCCESSION_SECONDS)
        self.moved()
        self.assertEqual(self.up(), [True, True, True, True])

    def test_more_processes_than_anybody_needs(self) -> None:
        """There are four tunnels to one server, told once; the newest process is dialled when an older one is over."""
        self.server.tunnel.moved()
        self.network.settle()
        olds = [self.server]
        for _ in range(3):
            olds.append(self.moved())
            self.network.advance(limits.SUCCESSION_SECONDS)
        self.assertEqual(self.up(), [True] * limits.SERVER_PROCESSES_MOST)
        olds[-1].tunnel.moved()
        self.network.settle()
        (told,) = self.stored("tunnel.failed")
        self.assertEqual((told["cause"], told["host"]), ("tunnel.processes", "dmz.example:2878"))
        self.assertEqual(self.newer.tunnel.controls, ())
        olds[0].tunnel.stop("it is over")
        self.network.settle()
        self.assertEqual(self.up(), [True] * limits.SERVER_PROCESSES_MOST)
        self.assertEqual(len(self.newer.tunnel.controls), 1)

    def test_server_that_moves_without_end(self) -> None:
        """A server of which every process says that there is a newer one costs a dial a second, and leaves nothing."""
        for close in (False, True):
            hostile = ServerSide(self.network)
            tunnel = hostile.tunnel
            self.endpoint.factory = tunnel.factory

            async def welcome(control: ServerControl, oldest: int, newest: int, part: Part = tunnel._part) -> Part:
                return part

            def up(control: ServerControl, close: bool = close) -> None:
                control.moved()
                if close:
                    self.network.clock.callLater(0, control.close, Closing(Cause.TUNNEL_STOPPED, "test"))

            tunnel._registry = attrs.evolve(tunnel._registry, welcome=welcome)
            self.patch(hostile.user, "tunnel_up", up)
            self.server.tunnel.stop("it is taken over")
            dialled = len(self.endpoint.dialled)
            self.network.advance(20)
            controls = len(self.service.tunnels)
            self.assertLessEqual(controls, limits.SERVER_PROCESSES_MOST)
            # Each with two data connections, which are dialled twice where their bond is gone already.
            self.assertLessEqual(len(self.endpoint.dialled) - dialled, 5 * 22)
            house = cast(SessionHouse, self.service._house)
            self.assertEqual((len(house.lanes), len(self.service._tunnels._places)), (controls, controls))
            self.server = hostile

    def test_nothing_is_dialled_at_the_end(self) -> None:
        """A process that waits for its turn is not dialled when the tunnels end, here for a client that is removed."""
        self.server.tunnel.moved()
        self.network.settle()
        for _ in range(4):
            self.moved()
            self.network.advance(limits.SUCCESSION_SECONDS)
        dialled = len(self.endpoint.dialled)
        self.service._removed()
        self.network.settle()
        self.assertEqual((self.up(), len(self.endpoint.dialled)), ([], dialled))
        self.assertEqual(cast(SessionHouse, self.service._house).lanes, {})


class TakingOver(ClientTestCase):
    """A newer process of the client, while the older one still has the ports."""

    def setUp(self) -> None:
        """Have it know that it takes over, and note when it listens."""
        super().setUp()
        self.service._heir = True
        self.listened: list[Configuration] = []
        self.patch(self.service.calls, "adopt", self.listened.append)

    def begin(self) -> Deferred[None]:
        """Start it; fires when it has taken over."""
        self.start()
        taken = Deferred.fromCoroutine(self.service.taken_over())
        self.network.advance(1)
        return taken

    def test_as_soon_as_all_is_there(self) -> None:
        """It listens for the station once it has a configuration and dialled the servers; then as any client."""
        self.successResultOf(self.begin())
        self.assertEqual([each.generation for each in self.listened], [1])
        self.assertIsNotNone(self.server.control)
        self.backend.change(generation(2))
        self.assertEqual([each.generation for each in self.listened], [1, 2])

    def test_no_worker(self) -> None:
        """It does not listen while there is no worker that could take a call: the older one goes on."""
        house = cast(SessionHouse, self.service._house)
        house.able = False
        taken = self.begin()
        self.network.advance(30)
        self.assertNoResult(taken)
        self.assertEqual(self.listened, [])
        house.able = True
        self.network.advance(1)
        self.successResultOf(taken)
        self.assertEqual(len(self.listened), 1)

    def test_no_certificate(self) -> None:
        """A configuration that comes before the certificate is not enough: no server could be dialled yet."""
        issue = self.backend.tunnel_certificate
        asked: Deferred[None] = Deferred()

        async def late(csr: str) -> TunnelCredentials:
            await asked
            return await issue(csr)

        self.patch(self.backend, "tunnel_certificate", late)
        taken = self.begin()
        self.assertIsNotNone(self.service.whole)
        self.assertNoResult(taken)
        asked.callback(None)
        self.network.advance(1)
        self.successResultOf(taken)
        self.assertIsNotNone(self.server.control)

    def test_no_configuration(self) -> None:
        """Without one it neither dials, for a server would open sessions with it, nor listens."""
        self.backend.document = b"{}"
        taken = self.begin()
        self.assertEqual((self.listened, self.endpoint.dialled), ([], []))
        self.backend.change(generation(2))
        self.network.advance(RETRY_SECONDS_MOST)
        self.successResultOf(taken)
        self.assertEqual([each.generation for each in self.listened], [2])

    def test_server_that_is_away(self) -> None:
        """One that cannot be reached is dialled twice, and then waited for no longer: the older one cannot either."""
        self.endpoint.factory = None
        self.start()
        taken = Deferred.fromCoroutine(self.service.taken_over())
        self.assertEqual(len(self.endpoint.dialled), 1)
        self.assertNoResult(taken)
        # The wait before the second one is of any length up to a second.
        for _ in range(15):
            if not taken.called:
                self.network.advance(0.1)
        self.successResultOf(taken)
        self.assertEqual(len(self.endpoint.dialled), TRIES)
        self.assertEqual(len(self.listened), 1)
