"""The daemon in the DMZ: what it opens, keeps and forgets, with a real tunnel in memory."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net import process
from smartproxy.net.tls.names import subject_text
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.callbacks import nothing
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import GenerationId
from smartproxy.policy.faults import Draining, OwnFault, PartnerUnreachable, Step, TunnelLost, Unlicensed
from smartproxy.policy.licence import Licence, WithdrawnClient, sign
from smartproxy.relay.openings import CallWish, Way
from smartproxy.server.condition import ServerCondition
from smartproxy.server.generation import ServerGeneration
from smartproxy.server.service import ServerService
from smartproxy.server.stale_lists import STALE_LIST_SECONDS
from smartproxy.testing.pki import CLIENT_AUTH, SERVER_AUTH, KeyKind, TestCa, make_key
from smartproxy.tunnel.faults import ConfigurationDeclined
from smartproxy.tunnel.licence import FILE_SECONDS, load
from tests.adapters.ports import PortsReactor
from tests.adapters.tunnel_kit import FACTS, ClientSide, Network, credential, identity

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
SESSION = "0123456789abcdef"
TUNNEL, PARTNERS, OTHERS = 2878, 6619, 6620


@cache
def signing_key() -> Ed25519PrivateKey:
    """The authority's key."""
    key = make_key(KeyKind.ED25519)
    assert isinstance(key, Ed25519PrivateKey)
    return key


@cache
def site() -> TestCa:
    """The site's authority."""
    return TestCa.root("Muster SmartProxy authority", key=signing_key())


@cache
def shown() -> dict[str, str]:
    """A server certificate with its key, as the document has it."""
    issued = TestCa.root("odette").issue("proxy.muster.example", purposes=[SERVER_AUTH])
    return {
        "name": "main",
        "certificate": issued.chain_pem.decode("ascii"),
        "key": issued.key_pem.decode("ascii"),
    }


def licence(days: int = 365, **limits: int) -> Licence:
    """A licence that ends so many days from now."""
    return Licence(
        proxy_id=identity().proxy_id,
        site="Muster GmbH",
        valid_from=NOW - timedelta(days=1),
        valid_until=NOW + timedelta(days=days),
        limits=limits,
        authority_certificate=site().certificate_pem.decode("ascii"),
    )


def document(generation: int = 1, ports: tuple[int, ...] = (PARTNERS,), **server: Any) -> bytes:
    """The server's part of a generation."""
    whole = {
        "format": 1,
        "generation": generation,
        "site": "Muster GmbH",
        "server": {
            "listeners": [{"address": "127.0.0.1", "port": port} for port in ports],
            "identities": [shown()],
            **server,
        },
    }
    return json.dumps(whole).encode()


class LiveSession:
    """Stands for a session that runs until it is stopped."""

    def __init__(self, service: ServerService, stubborn: bool = False) -> None:
        self.faults: list[OwnFault] = []
        self._service = service
        self._stubborn = stubborn

    def stop(self, fault: OwnFault) -> None:
        """End, unless it is stubborn."""
        self.faults.append(fault)
        if not self._stubborn:
            self.end()

    def end(self) -> None:
        """End by itself."""
        self._service.sessions.live.clear()
        self._service.sessions._wait.finished()


class ServerTestCase(SynchronousTestCase):
    """A server that was started, on a network in memory."""

    def setUp(self) -> None:
        """Start it."""
        self.network = Network()
        self.reactor = self.network.clock = PortsReactor()
        self.now = NOW
        self.path = Path(self.mktemp())
        self.service = self.server()
        self.events: list[dict[str, Any]] = []
        self.service.events.forward = self.events.append
        self.service.startService()

    def server(self, held: Licence | None = None) -> ServerService:
        """A server that is not started."""
        return ServerService(
            self.reactor,
            identity=identity(),
            licence=held or licence(),
            licence_path=self.path,
            host="127.0.0.1",
            port=TUNNEL,
            now=lambda: self.now,
        )

    def client(self, name: str = "inner-1") -> ClientSide:
        """A client whose tunnel is up."""
        shows = credential(site().issue(name, purposes=[CLIENT_AUTH]))
        client = ClientSide(self.network, self.service.tunnel.factory, shows)
        client.tunnel.startService()
        self.network.settle()
        return client

    def bring(self, client: ClientSide, octets: bytes, generation: int = 1) -> Deferred[Any]:
        """Bring the server a generation."""
        result = client.control.configure(GenerationId(generation), octets)
        self.network.settle()
        return result

    def named(self, name: str) -> list[dict[str, Any]]:
        """The events of a name so far."""
        return [event for event in self.events if event["name"] == name]


class Ports(ServerTestCase):
    """When partners can connect, and when nobody can."""

    def test_nothing_is_open_for_partners_before_there_is_a_configuration(self) -> None:
        """At first there is the tunnel's port; a client alone changes nothing."""
        self.assertEqual(self.reactor.numbers, [TUNNEL])
        self.client()
        self.assertEqual(self.reactor.numbers, [TUNNEL])

    def test_load(self) -> None:
        """Each client is told how busy the server is, with the sessions that its configuration lets run."""
        client = self.client()
        self.bring(client, document())
        self.network.advance(limits.PING_SECONDS + 1)
        told = client.control.load
        assert told is not None
        self.assertEqual((told.sessions, told.sessions_most), (0, self.service.gate.admission.limits.sessions))
        self.assertIsNotNone(told.cpu)

    def test_configuration_opens_its_ports(self) -> None:
        """A generation with a server certificate opens its listeners, and says so."""
        self.bring(self.client(), document())
        self.assertEqual(self.reactor.numbers, [TUNNEL, PARTNERS])
        self.assertEqual(self.service.listeners.ports, (HostPort("127.0.0.1", PARTNERS),))
        self.assertEqual(self.named("listener.opened")[0]["port"], PARTNERS)

    def test_configuration_without_a_certificate_opens_nothing(self) -> None:
        """A site that is being set up is accepted, and closed."""
        client = self.client()
        self.assertTrue(self.successResultOf(self.bring(client, document(identities=[]))).accepted)
        self.assertEqual(self.reactor.numbers, [TUNNEL])
        self.bring(client, document(2), 2)
        self.bring(client, document(3, identities=[]), 3)
        self.assertEqual(self.reactor.numbers, [TUNNEL])

    def test_ports_that_stay_are_not_touched(self) -> None:
        """The next generation closes what it does not name, opens what is new and leaves the rest alone."""
        client = self.client()
        self.bring(client, document(ports=(PARTNERS, OTHERS)))
        kept = next(port for port in self.reactor.ports if port.number == PARTNERS)
        self.bring(client, document(2, ports=(PARTNERS, 6621)), 2)
        self.assertEqual(self.reactor.numbers, [TUNNEL, PARTNERS, 6621])
        self.assertIn(kept, self.reactor.ports)
        self.assertEqual([event["port"] for event in self.named("listener.closed")], [OTHERS])

    def test_port_that_another_program_has(self) -> None:
        """It is an event; the other ports are open, and the next generation tries again."""
        self.reactor.taken.add(PARTNERS)
        client = self.client()
        self.bring(client, document(ports=(PARTNERS, OTHERS)))
        self.assertEqual(self.reactor.numbers, [TUNNEL, OTHERS])
        event = self.named("listener.failed")[0]
        self.assertEqual(event["cause"], "port.in_use")
        self.assertIn("in use", event["message"])
        self.reactor.taken.clear()
        self.bring(client, document(2, ports=(PARTNERS, OTHERS)), 2)
        self.assertEqual(self.reactor.numbers, [TUNNEL, PARTNERS, OTHERS])

    def test_last_client_gone(self) -> None:
        """Ports are closed at once, and keys and configuration forgotten; the same generation is taken again later."""
        client = self.client()
        self.bring(client, document())
        client.tunnel.stopService()
        self.network.settle()
        self.assertEqual(self.reactor.numbers, [TUNNEL])
        self.assertIsNone(self.service.sessions.generation)
        self.assertEqual(len(self.named("configuration.forgotten")), 1)
        again = self.client()
        self.assertEqual(again.control.held, GenerationId())
        self.assertTrue(self.successResultOf(self.bring(again, document())).accepted)
        self.assertEqual(self.reactor.numbers, [TUNNEL, PARTNERS])

    def test_one_of_two_clients_gone(self) -> None:
        """As long as a client is there, ports stay open and nothing is forgotten."""
        one, two = self.client("inner-1"), self.client("inner-2")
        self.bring(one, document())
        one.tunnel.stopService()
        self.network.settle()
        self.assertEqual(self.reactor.numbers, [TUNNEL, PARTNERS])
        self.assertIsNotNone(self.service.sessions.generation)
        self.assertIsNotNone(two.tunnel.control)

    def test_client_that_is_about_to_stop(self) -> None:
        """When the only client drains, partners are not let in any more."""
        client = self.client()
        self.bring(client, document())
        client.control.drain()
        self.network.settle()
        self.assertEqual(self.reactor.numbers, [TUNNEL])

    def test_tunnel_port_that_another_program_has(self) -> None:
        """The daemon does not start without its port, and says which it is."""
        self.reactor.taken.add(TUNNEL)
        self.assertRaises(CannotListenError, self.server().startService)


class Generations(ServerTestCase):
    """Which configurations are put in force."""

    def test_refused_document_leaves_the_one_before(self) -> None:
        """A document that is not valid is declined with its place, and nothing changes."""
        client = self.client()
        self.bring(client, document())
        held = self.service.sessions.generation
        for octets, place in (
            (document(2, listeners=[{"address": "nowhere"}]), "server.listeners[0].address"),
            (document(3), "generation"),
            (document(2, identities=[{**shown(), "key": "x"}]), "server.identities[0].key"),
            (
                document(2, identities=[{**shown(), "certificate": shown()["certificate"][:200]}]),
                "server.identities[0]",
            ),
        ):
            failure = self.failureResultOf(self.bring(client, octets, 2), ConfigurationDeclined)
            self.assertIn(place, str(failure.value))
            self.assertIn(place, self.named("configuration.refused")[-1]["place"])
            self.assertIs(self.service.sessions.generation, held)
            self.assertEqual(self.reactor.numbers, [TUNNEL, PARTNERS])
        self.assertEqual(client.control.held, GenerationId(1))

    def test_more_connections_than_open_files(self) -> None:
        """Limits that need more open files than the system allows are told, once for each number."""
        self.patch(process, "descriptors", lambda: 65_536)
        client = self.client()
        for number, connections in enumerate((200_000, 200_000, 60_000, 63_336, 63_337), 1):
            self.bring(client, document(number, limits={"connections": connections}), number)
        told = [(each["value"], each["most"]) for each in self.named("daemon.few_descriptors")]
        self.assertEqual(told, [(65_536, 202_200), (65_536, 65_537)])

    def test_as_many_as_without_a_configuration(self) -> None:
        """What the default limits need was looked at when the daemon started, and is not told again."""
        self.patch(process, "descriptors", lambda: 100)
        self.bring(self.client(), document())
        self.assertEqual(self.named("daemon.few_descriptors"), [])

    def test_generation_whose_adoption_raises(self) -> None:
        """Whatever is raised in a step: the generation before serves on, and event, client and status say so."""
        client = self.client()
        self.bring(client, document())
        sessions, calls = self.service.sessions, self.service.calls
        condition = ServerCondition(self.reactor, self.service)
        text = sign(licence(800), signing_key())
        for target, step in (
            (ServerGeneration, "build"),
            (sessions.withdrawals, "judge"),
            (calls._sources, "adopt"),
            (self.service.licence, "judge"),
            (self.service.listeners, "have"),
        ):
            before = sessions.generation
            assert before is not None
            kept = (before.contexts, before.part, self.service.licence.present, self.service.held)
            raising = OverflowError("date value out of range")
            broken = self.patch(target, step, Mock(side_effect=[raising, None]))
            failure = self.failureResultOf(self.bring(client, document(2, (OTHERS,), licence=text), 2))
            broken.restore()
            self.assertIsInstance(failure.value, ConfigurationDeclined)
            self.assertEqual(self.named("configuration.refused")[-1]["cause"], "configuration.fault")
            self.assertEqual(condition.status().verdict, "generation-refused")
            after = sessions.generation
            assert after is not None
            self.assertEqual((after.contexts, after.part, self.service.licence.present, self.service.held), kept)
            assert calls._generation is not None
            self.assertEqual(calls._generation.part, before.part)
            self.assertEqual(self.reactor.numbers, [TUNNEL, PARTNERS])
        self.assertEqual(len(self.flushLoggedErrors(OverflowError)), 5)
        self.bring(client, document(2, (OTHERS,)), 2)
        self.assertEqual((condition.status().verdict, self.reactor.numbers), ("ok", [TUNNEL, OTHERS]))

    def test_first_generation_whose_ports_raise(self) -> None:
        """Where there was no generation before, there is none afterwards, and nobody is served."""
        client = self.client()
        self.patch(self.service.listeners, "have", Mock(side_effect=[OverflowError("x"), None]))
        self.failureResultOf(self.bring(client, document()), ConfigurationDeclined)
        self.assertIsNone(self.service.configuration)
        self.assertIsNone(self.service.sessions.generation)
        self.assertEqual(self.service.in_force, GenerationId())
        self.flushLoggedErrors(OverflowError)

    def test_what_follows_raises(self) -> None:
        """A fault with what follows from a generation is reported; the generation is in force, and is said to be."""
        client = self.client()
        self.bring(client, document())
        for number, (target, step) in enumerate(
            ((self.service._lists, "watch"), (self.service.licence, "keep"), (self.service.tunnel, "shut_out")), 2
        ):
            broken = self.patch(target, step, Mock(side_effect=OverflowError("x")))
            text = sign(licence(800 + number), signing_key())
            self.successResultOf(self.bring(client, document(number, (OTHERS,), licence=text), number))
            broken.restore()
            self.assertEqual(len(self.flushLoggedErrors(OverflowError)), 1)
            generation = self.service.sessions.generation
            assert generation is not None and self.service.held is not None
            self.assertEqual((generation.part.generation, self.service.held.generation), (number, number))
            self.assertEqual(self.service.licence.present.valid_until, NOW + timedelta(days=800 + number))
            self.assertEqual((self.reactor.numbers, self.service.refused), ([TUNNEL, OTHERS], None))

    def test_renewed_limits_that_raise(self) -> None:
        """Where the limits of another licence cannot be put in force, the generation stays in force as a whole."""
        self.bring(self.client(), document())
        held = self.service.held
        self.patch(self.service.calls._sources, "adopt", Mock(side_effect=[OverflowError("x"), None]))
        self.service.licence_renewed()
        self.assertEqual(len(self.flushLoggedErrors(OverflowError)), 1)
        generation = self.service.sessions.generation
        assert generation is not None
        self.assertEqual((generation.part.generation, self.service.held), (1, held))
        self.assertEqual(self.reactor.numbers, [TUNNEL, PARTNERS])

    def test_generation_that_shuts_out_its_client(self) -> None:
        """Where the client that brings a generation is the last, and its licence shuts it out, nothing is held."""
        client = self.client("removed")
        begins = NOW + timedelta(days=400)
        self.bring(client, document(licence=self.withdrawing("removed", begins))).addErrback(lambda failure: None)
        self.assertEqual(self.service.tunnel.controls, ())
        self.assertEqual((self.service.configuration, self.service.held), (None, None))
        self.assertEqual(self.service.in_force, GenerationId())

    def test_lists_that_are_out_of_date(self) -> None:
        """A generation with a stale revocation list is taken, and says which list it is, again every hour."""
        fresh = {"issuer": "aa" * 32, "this_update": "2026-11-01T00:00:00Z", "next_update": "2026-12-01T00:00:00Z"}
        scope = {"points": ["URI:http://crl.example/2.crl"]}
        part = {"issuer": "cc" * 32, "issuer_name": "CN=Shard CA", "scope": scope}
        stale = {"issuer": "bb" * 32, "this_update": "2026-10-01T00:00:00Z", "next_update": "2026-11-19T10:00:00Z"}
        self.bring(
            self.client(),
            document(revocation=[{**each, "serials": ["0a"]} for each in (fresh, stale, {**stale, **part})]),
        )
        self.assertEqual(len(self.named("crl.stale")), 2)
        told, of_part = self.named("crl.stale")
        self.assertEqual((told["issuer"], told["age"]), ("bb" * 32, 50.0 * 86400 + 36000))
        self.assertNotIn("list_part", told)
        self.assertEqual((of_part["issuer"], of_part["list_part"]), ("CN=Shard CA", *scope["points"]))
        for hours in (1, 2):
            self.service._lists._next.start(0)
            self.reactor.advance(0)
            self.assertEqual(len(self.named("crl.stale")), 2 * (1 + hours))
        self.assertTrue(self.service._lists._next.running)
        self.assertGreater(self.service._lists._next.left, STALE_LIST_SECONDS - 1)
        self.assertEqual(STALE_LIST_SECONDS, 3600)

    def test_stale_list_within_its_grace(self) -> None:
        """A list that still counts by its CA's hours of grace is told of from the first second after its date."""
        root = TestCa.root("root")
        ca = {"name": "root", "certificates": root.credential.certificate_pem.decode(), "revocation": "require"}
        stale = {"issuer": root.credential.key_sha256, "issuer_name": subject_text(root.credential.certificate)}
        client = self.client()
        for generation, date, told in ((1, "2026-11-20T10:00:00Z", 0), (2, "2026-11-20T09:59:59Z", 1)):
            dates = {"this_update": "2026-11-19T10:00:00Z", "next_update": date}
            server: dict[str, Any] = {
                "cas": [{**ca, "grace_hours": 48}],
                "revocation": [{**stale, **dates, "serials": ["0a"]}],
            }
            self.bring(client, document(generation, **server), generation)
            self.assertEqual(len(self.named("crl.stale")), told)
        self.service._lists._next.start(0)
        self.reactor.advance(0)
        self.assertEqual(len(self.named("crl.stale")), 2)

    def test_stale_lists_of_whom(self) -> None:
        """A list that no CA uses is not told of; what to do depends on whether its issuer is in a CA.

        An issuing CA's list is used by its root's CA, too, however its own one is set.
        """
        root, other = TestCa.root("root"), TestCa.root("other")
        issuing = root.intermediate("issuing")

        def ca(name: str, mode: str, authority: TestCa) -> dict[str, str]:
            return {"name": name, "certificates": authority.certificate_pem.decode(), "revocation": mode}

        cas = [ca("root", "require", root), ca("issuing", "off", issuing), ca("other", "off", other)]
        known = {"CN=" + name: each for name, each in (("root", root), ("issuing", issuing), ("other", other))}
        stale = {"this_update": "2026-10-01T00:00:00Z", "next_update": "2026-11-19T10:00:00Z", "serials": ["0a"]}
        lists = [
            {**stale, "issuer": each.credential.key_sha256, "issuer_name": subject_text(each.credential.certificate)}
            for each in known.values()
        ]
        of_another_name = {**lists[2], "issuer_name": "CN=somebody else"}
        self.bring(self.client(), document(cas=cas, revocation=[*lists, of_another_name]))
        told = {event["issuer"].split(",")[0]: event["advice"] for event in self.named("crl.stale")}
        self.assertEqual(set(told), {"CN=root", "CN=issuing", "CN=somebody else"})
        for name in ("CN=root", "CN=issuing"):
            self.assertIn("smartproxy crl load", told[name])
        self.assertIn("smartproxy crl remove", told["CN=somebody else"])

    def test_list_without_next_update(self) -> None:
        """A list that promises no next one is out of date after the seven days for which it counts."""
        old = {"issuer": "bb" * 32, "this_update": "2026-11-13T09:59:59Z", "serials": ["0a"]}
        fresh = {**old, "issuer": "aa" * 32, "this_update": "2026-11-13T10:00:01Z"}
        self.bring(self.client(), document(revocation=[old, fresh]))
        (told,) = self.named("crl.stale")
        self.assertEqual((told["issuer"], told["age"]), ("bb" * 32, 7.0 * 86400 + 1))
        self.assertNotIn("next_update", told)

    def test_licence_limits_sessions(self) -> None:
        """The licence's number of sessions is the most that a configuration can allow."""
        self.service.licence.present = licence(sessions=5)
        self.bring(self.client(), document())
        generation = self.service.sessions.generation
        assert generation is not None
        self.assertEqual(generation.part.server.limits.sessions, 5)

    def test_renewed_licence(self) -> None:
        """A licence that comes with the configuration is put in force and written; the same one again is no event."""
        client = self.client()
        text = sign(licence(800), signing_key())
        self.bring(client, document(licence=text))
        self.assertEqual(self.service.licence.present.valid_until, NOW + timedelta(days=800))
        self.assertEqual(self.path.read_text(), text)
        self.assertEqual(len(self.named("licence.written")), 1)
        before = len(self.events)
        self.bring(client, document(2, licence=text), 2)
        self.assertEqual([event["name"] for event in self.events[before:]], ["configuration.accepted"])

    def withdrawing(self, name: str, begins_until: datetime) -> str:
        """The licence in force, with a client withdrawn."""
        gone = WithdrawnClient(name=name, begins_until=begins_until)
        return sign(attrs.evolve(licence(), withdrawn=(gone,)), signing_key())

    def test_client_that_is_shut_out(self) -> None:
        """A generation ends the tunnel of a removed client at once, and its certificate is refused from then on.

        A certificate that it was given later is good, and the other clients go on. The licence outlives a restart.
        """
        removed, other = self.client("removed"), self.client("other")
        begins = x509.load_pem_x509_certificate(removed.shows.certificate.encode()).not_valid_before_utc
        self.bring(other, document(licence=self.withdrawing("removed", begins)))
        self.assertIsNone(removed.tunnel.control)
        (down,) = self.named("tunnel.down")
        self.assertEqual((down["client"], down["cause"]), ("removed", "tunnel.withdrawn"))
        self.network.advance(5)
        self.assertIsNone(removed.tunnel.control)
        self.assertEqual(self.named("tunnel.refused")[-1]["cause"], "tunnel.withdrawn")
        self.assertEqual([each.client_name for each in self.service.tunnel.controls], ["other"])
        removed.tunnel.stopService()
        fresh = site().issue("removed", purposes=[CLIENT_AUTH], valid_from=begins + timedelta(seconds=1))
        again = ClientSide(self.network, self.service.tunnel.factory, credential(fresh))
        again.tunnel.startService()
        self.network.settle()
        self.assertIsNotNone(again.tunnel.control)
        self.assertEqual(load(self.path, identity().proxy_id, NOW).withdrawn, self.service.licence.present.withdrawn)

    def test_workers_are_told_of_the_licence(self) -> None:
        """Another licence reaches the workers, whether it came with a generation or as a file."""
        client = self.client()
        self.service.crew = crew = Mock()
        self.bring(client, document(licence=sign(licence(800), signing_key())))
        self.assertEqual(crew.licence_renewed.call_count, 1)
        self.path.write_text(sign(licence(900), signing_key()))
        self.network.advance(FILE_SECONDS)
        self.assertEqual(crew.licence_renewed.call_count, 2)
        self.service.crew = None

    def test_licence_that_shuts_out_and_ends_earlier(self) -> None:
        """A licence that is not taken is told of if it shuts somebody out, with what to do; else it is no event."""
        gone = WithdrawnClient(name="removed", begins_until=NOW)
        client = self.client()
        for number, withdrawn in enumerate(((), (gone,)), 1):
            text = sign(attrs.evolve(licence(100), withdrawn=withdrawn), signing_key())
            self.bring(client, document(number, licence=text), number)
        (told,) = self.named("licence.refused")
        self.assertEqual((told["cause"], self.service.licence.present), ("licence.not_newer", licence()))
        self.assertIn("excludes clients", told["message"])
        self.assertIn("beyond 2027-11-20 10:00", told["advice"])

    def test_licence_that_is_put_in_place(self) -> None:
        """A licence that an operator puts in place is in force within seconds, with its limits and its withdrawals."""
        client = self.client("removed")
        self.bring(client, document())
        begins = x509.load_pem_x509_certificate(client.shows.certificate.encode()).not_valid_before_utc
        gone = WithdrawnClient(name="removed", begins_until=begins)
        self.path.write_text(sign(attrs.evolve(licence(400, sessions=3), withdrawn=(gone,)), signing_key()))
        self.network.advance(FILE_SECONDS)
        self.assertEqual(self.service.configuration, None, "the only client is shut out")
        self.assertEqual(self.service.licence.present.limits, {"sessions": 3})
        self.path.write_text(sign(attrs.evolve(licence(401, sessions=9)), signing_key()))
        self.network.advance(FILE_SECONDS)
        self.bring(self.client("other"), document(2), 2)
        in_force = self.service.configuration
        assert in_force is not None
        self.assertEqual(in_force.limits.sessions, 9)
        for days, sessions in ((402, 5), (403, 8), (402, 7)):
            self.path.write_text(sign(licence(days, sessions=sessions), signing_key()))
            self.network.advance(FILE_SECONDS)
        self.assertEqual(self.service.gate.admission.limits.sessions, 8)
        self.path.write_text("no licence")
        self.network.advance(60)
        self.assertEqual([each["cause"] for each in self.named("licence.refused")], ["licence.damaged"])
        self.path.unlink()
        self.network.advance(60)
        self.assertEqual(self.service.licence.present.limits, {"sessions": 8})

    def test_licence_file_that_was_deleted_or_changed(self) -> None:
        """It is written again, once whoever changes it had time to finish; the licence in any layout is left alone."""
        text = sign(licence(800), signing_key())
        self.bring(self.client(), document(licence=text))
        other_layout = json.dumps(json.loads(text))
        for spoil, cause in (
            (self.path.unlink, "licence.missing"),
            (lambda: self.path.write_text("no licence"), "licence_file.changed"),
            (lambda: self.path.write_text(sign(licence(700), signing_key())), "licence_file.changed"),
        ):
            before = len(self.named("licence.restored"))
            spoil()
            self.network.advance(FILE_SECONDS)
            self.assertEqual(len(self.named("licence.restored")), before)
            self.network.advance(FILE_SECONDS)
            self.assertEqual(self.path.read_text(), text)
            self.assertEqual(self.named("licence.restored")[before:][0]["cause"], cause)
            self.network.advance(60)
            self.assertEqual(len(self.named("licence.restored")), before + 1)
        self.path.write_text(other_layout)
        self.network.advance(60)
        self.assertEqual((self.path.read_text(), len(self.named("licence.restored"))), (other_layout, 3))

    def test_licence_file_of_an_operator(self) -> None:
        """A later licence that an operator put in place is not written over, and not invented when it is deleted."""
        client = self.client()
        self.bring(client, document(licence=sign(licence(800), signing_key())))
        self.path.write_text(sign(licence(900), signing_key()))
        self.network.advance(60)
        self.bring(client, document(2, licence=sign(licence(800), signing_key())), 2)
        self.network.advance(60)
        self.assertEqual(self.service.licence.present.valid_until, NOW + timedelta(days=900))
        self.path.unlink()
        self.network.advance(60)
        self.assertFalse(self.path.exists())
        self.assertEqual(self.named("licence.restored"), [])

    def test_licence_file_of_the_start(self) -> None:
        """The licence of the start is written again, too, as soon as the backend provides the same."""
        text = sign(licence(), signing_key())
        self.network.advance(60)
        self.assertFalse(self.path.exists())
        self.bring(self.client(), document(licence=text))
        self.network.advance(FILE_SECONDS)
        self.assertEqual(self.path.read_text(), text)

    def test_renewed_licence_that_is_not_ours(self) -> None:
        """A licence of another authority is refused, said to be, and written nowhere."""
        key = make_key(KeyKind.ED25519)
        assert isinstance(key, Ed25519PrivateKey)
        foreign = Licence(
            proxy_id=identity().proxy_id,
            site="Muster GmbH",
            valid_from=NOW,
            valid_until=NOW + timedelta(days=900),
            authority_certificate=TestCa.root("other", key=key).certificate_pem.decode("ascii"),
        )
        self.bring(self.client(), document(licence=sign(foreign, key)))
        self.assertEqual(self.named("licence.refused")[0]["cause"], "licence.wrong_authority")
        self.assertEqual(self.service.licence.present, licence())
        self.assertFalse(self.path.exists())

    def test_renewed_licence_that_cannot_be_written(self) -> None:
        """It holds in memory, and the event says that it is nowhere else."""
        self.service.licence._path = self.path / "no" / "such" / "folder"
        self.bring(self.client(), document(licence=sign(licence(800), signing_key())))
        self.assertEqual(self.service.licence.present.valid_until, NOW + timedelta(days=800))
        self.network.advance(60)
        self.assertEqual(len(self.named("licence.write_failed")), 1)
        (self.path / "no" / "such").mkdir(parents=True)
        (self.path / "no" / "such" / "folder").symlink_to("/nowhere")
        self.network.advance(FILE_SECONDS)
        self.assertEqual(load(self.path / "no" / "such" / "folder", identity().proxy_id, NOW), licence(800))
        self.assertEqual((len(self.named("licence.written")), self.named("licence.restored")), (1, []))


class Sessions(ServerTestCase):
    """Where sessions go, and when there are none."""

    def open(self) -> Deferred[Any]:
        """Ask for the leg towards the station."""
        opening = self.service.carriers.open_inside("0123456789abcdef", FACTS, nothing)
        self.network.settle()
        return opening

    def test_session_goes_to_the_client(self) -> None:
        """The client is asked with the session's id and facts."""
        client = self.client()
        self.bring(client, document())
        self.open()
        self.assertIn(("inbound", "0123456789abcdef", FACTS), client.user.notes)

    def test_without_a_client(self) -> None:
        """There is nowhere to go: the tunnel is down."""
        self.failureResultOf(self.open(), TunnelLost)

    def test_licence_that_ended(self) -> None:
        """At the end of the licence new sessions are refused; nothing else changes."""
        self.bring(self.client(), document())
        self.now += timedelta(days=366)
        failure = self.failureResultOf(self.open(), Unlicensed)
        self.assertIn("licence ended", str(failure.value))
        self.assertEqual(self.reactor.numbers, [TUNNEL, PARTNERS])


class HandingOver(ServerTestCase):
    """A newer process of the server has the ports."""

    def setUp(self) -> None:
        """Have a client that wants a partner called."""
        super().setUp()
        client = self.client()
        self.bring(client, document())
        self.called: Deferred[Any] = Deferred()
        self.patch(self.service.calls, "open", lambda *call, **options: self.called)
        calling = client.control.call(SESSION, "ACME", CallWish(way=Way.PORT))
        calling.addErrback(lambda failure: None)
        self.network.settle()
        self.handed = Deferred.fromCoroutine(self.service.hand_over())
        self.network.advance(5)
        self.assertNoResult(self.handed)

    def test_call_that_becomes_a_session(self) -> None:
        """The end does not begin before the call that is being dialled is a session, for which a drain waits."""
        self.service.sessions.live[SESSION] = LiveSession(self.service)
        self.network.advance(1)
        self.successResultOf(self.handed)

    def test_call_that_fails(self) -> None:
        """Nothing is waited for when the partner does not answer."""
        unreachable = PartnerUnreachable.at(Step.CONNECT, "the partner refuses the connection", Cause.CALL_REFUSED)
        self.called.errback(unreachable)
        self.network.advance(1)
        self.successResultOf(self.handed)

    def test_call_without_an_end(self) -> None:
        """A call is not waited for longer than it may take."""
        self.network.advance(limits.OPENING.default)
        self.successResultOf(self.handed)


class Stopping(ServerTestCase):
    """The end of the daemon."""

    def stop(self) -> Deferred[None]:
        """Ask it to stop."""
        stopped: Deferred[None] = self.service.stopService()
        self.network.settle()
        return stopped

    def test_idle_server_stops_at_once(self) -> None:
        """With no session there is nothing to wait for: ports, tunnel and keys go."""
        self.bring(self.client(), document())
        self.successResultOf(self.stop())
        self.assertEqual(self.reactor.numbers, [])
        self.assertIsNone(self.service.sessions.generation)
        self.assertEqual([event["name"] for event in self.events[-6:-2]].count("server.stopping"), 1)

    def test_sessions_may_finish(self) -> None:
        """Ports close at once; the daemon waits for a session that ends in time, and does not disturb it."""
        self.bring(self.client(), document())
        session = LiveSession(self.service)
        self.service.sessions.live["s"] = session
        stopped = self.stop()
        self.assertEqual(self.reactor.numbers, [])
        self.network.advance(200)
        self.assertNoResult(stopped)
        session.end()
        self.network.settle()
        self.successResultOf(stopped)
        self.assertEqual(session.faults, [])

    def test_rest_is_ended(self) -> None:
        """After the drain time what still runs is ended with the reason for a close down."""
        self.bring(self.client(), document(deadlines={"drain": 10}))
        session = LiveSession(self.service)
        self.service.sessions.live["s"] = session
        stopped = self.stop()
        self.network.advance(10)
        self.successResultOf(stopped)
        self.assertIsInstance(session.faults[0], Draining)

    def test_stubborn_sessions_are_not_waited_for(self) -> None:
        """A session that does not end when told to costs the closing time and no more."""
        self.bring(self.client(), document(deadlines={"drain": 10, "closing": 5}))
        self.service.sessions.live["s"] = LiveSession(self.service, stubborn=True)
        stopped = self.stop()
        self.network.advance(15)
        self.assertNoResult(stopped)
        self.network.advance(2)
        self.successResultOf(stopped)

    def test_no_new_session_while_stopping(self) -> None:
        """A partner who greets late is told that the server closes down."""
        self.bring(self.client(), document())
        self.service.sessions.live["s"] = LiveSession(self.service)
        self.stop()
        self.failureResultOf(self.service.carriers.open_inside("0123456789abcdef", FACTS, nothing), Draining)
        self.network.advance(301)
