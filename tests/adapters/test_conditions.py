"""How the daemons say they are, with a real tunnel in memory."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

from smartproxy.client.backend import BackendRefused, BackendUnavailable
from smartproxy.client.condition import ClientCondition
from smartproxy.ctl.protocol import AskGeneration, AskLicence, AskStatus
from smartproxy.ctl.statuses import TunnelToServer, instant
from smartproxy.logs.clock import now
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ConfigurationRefused, GenerationId
from smartproxy.policy.health import Health
from smartproxy.policy.licence import sign
from smartproxy.policy.penalties import Fault
from smartproxy.policy.settings import Station
from smartproxy.server.condition import ServerCondition
from smartproxy.tap.commands.ctl import STATUSES
from smartproxy.testing.pki import TestCa
from tests.adapters.test_client_service import generation
from tests.adapters.test_lookout import StationTestCase
from tests.adapters.test_server_service import (
    NOW,
    OTHERS,
    PARTNERS,
    TUNNEL,
    ServerTestCase,
    document,
    licence,
    shown,
    signing_key,
)
from tests.adapters.tunnel_kit import WHY, identity
from tests.unit.answers import on_the_wire

NOWHERE = "192.0.2.77"
"""An address that no test's host has."""


def told(status: Any) -> tuple[str, str, int, str]:
    """A status as monitoring sees it: word, code, exit status; and the sentence."""
    return status["health"], status["verdict"], STATUSES[Health(status["health"])], status["advice"]


class ServerConditions(ServerTestCase):
    """The server."""

    def setUp(self) -> None:
        """Look at it."""
        super().setUp()
        self.condition = ServerCondition(self.reactor, self.service, lambda: self.now)

    def verdict(self) -> str:
        """The one word; where all is not well, there is advice."""
        status = on_the_wire(AskStatus(), self.condition.status())
        self.assertEqual(status["verdict"] == "ok", not status["advice"])
        return str(status["verdict"])

    def test_verdicts(self) -> None:
        """From the first client to the end, each state has its word."""
        self.assertEqual(self.verdict(), "no-client")
        client = self.client()
        self.assertEqual(self.verdict(), "unconfigured")
        self.bring(client, document(identities=[]))
        self.assertEqual(self.verdict(), "unconfigured")
        self.reactor.taken.add(OTHERS)
        self.bring(client, document(2, ports=(PARTNERS, OTHERS)), 2)
        self.assertEqual(self.verdict(), "listener-down")
        self.assertIn(str(OTHERS), str(on_the_wire(AskStatus(), self.condition.status())["advice"]))
        self.bring(client, document(3), 3)
        self.assertEqual(self.verdict(), "ok")
        self.now = NOW + timedelta(days=400)
        self.assertEqual(self.verdict(), "unlicensed")
        self.now = NOW
        client.control.abort(WHY)
        self.network.settle()
        self.assertEqual(self.verdict(), "no-client")
        self.service.stopService()
        self.assertEqual(self.verdict(), "draining")
        self.assertIsNone(on_the_wire(AskStatus(), self.condition.status())["internal_listener"])

    def test_table(self) -> None:
        """Each condition has its word, its code, its exit status and its sentence."""
        client = self.client()
        ended = TestCa.root("odette").issue(
            "proxy",
            valid_from=datetime(2026, 10, 1, tzinfo=UTC),
            valid_until=datetime(2026, 11, 1, tzinfo=UTC),
        )
        old = {
            "name": "old",
            "certificate": ended.certificate_pem.decode("ascii"),
            "key": ended.key_pem.decode("ascii"),
        }
        called = {
            "name": "ACME",
            "codes": ["ACME"],
            "certificates": [{"by": "key", "sha256": "ab" * 32}],
            "outbound": {"host": "acme.example"},
        }
        number = 0

        def bring(octets: Callable[[int], bytes]) -> None:
            nonlocal number
            number += 1
            self.bring(client, octets(number), number)

        def refused() -> None:
            nonlocal number
            number += 1
            result = self.bring(client, b"{}", number)
            self.failureResultOf(result)

        def half_open() -> None:
            self.reactor.taken.add(OTHERS)
            bring(lambda number: document(number, (PARTNERS, OTHERS)))

        rows: list[tuple[Callable[[], object], tuple[str, str, int], str]] = [
            (lambda: None, ("down", "unconfigured", 2), "finish the configuration"),
            (lambda: bring(document), ("ok", "ok", 0), ""),
            (refused, ("degraded", "generation-refused", 1), "generation 2 could not be put in force, the one before"),
            (lambda: bring(document), ("ok", "ok", 0), ""),
            (
                lambda: bring(lambda number: document(number, partners=[called], source_address=NOWHERE)),
                ("degraded", "source-missing", 1),
                f"does not have the address {NOWHERE}: ACME cannot be called",
            ),
            (
                lambda: bring(lambda number: document(number, identities=[shown(), old])),
                ("degraded", "ran-out", 1),
                "the certificate of our identity old ended on 2026-11-01 00:00 UTC",
            ),
            (
                half_open,
                ("degraded", "listener-down", 1),
                f"nobody can connect to port {OTHERS}",
            ),
            (
                lambda: bring(lambda number: document(number, (OTHERS,))),
                ("down", "listener-down", 2),
                f"nobody can connect to port {OTHERS}",
            ),
            (
                lambda: setattr(self, "now", NOW + timedelta(days=366)),
                ("down", "unlicensed", 2),
                "smartproxy licence extend",
            ),
            (lambda: setattr(self, "now", NOW), ("down", "listener-down", 2), ""),
            (lambda: client.control.abort(WHY), ("down", "no-client", 2), "no client is connected"),
            (self.service.stopService, ("degraded", "draining", 1), "stops when its sessions are over"),
        ]
        for place, (arrange, wanted, sentence) in enumerate(rows):
            arrange()
            self.network.settle()
            *found, advice = told(on_the_wire(AskStatus(), self.condition.status()))
            self.assertEqual(tuple(found), wanted, (place, advice))
            self.assertIn(sentence, advice)

    def test_all_that_is_wrong(self) -> None:
        """The worst is the verdict; the rest is told, too."""
        client = self.client()
        self.reactor.taken.add(OTHERS)
        self.bring(client, document(1, (PARTNERS, OTHERS)))
        self.failureResultOf(self.bring(client, b"{}", 2))
        self.now = NOW + timedelta(days=366)
        findings: Any = on_the_wire(AskStatus(), self.condition.status())["findings"]
        self.assertEqual(
            [(each["verdict"], each["health"]) for each in findings][:3],
            [("unlicensed", "down"), ("generation-refused", "degraded"), ("listener-down", "degraded")],
        )

    def test_what_runs_out_next(self) -> None:
        """The certificate, list or licence with the nearest end."""
        self.assertEqual(
            on_the_wire(AskStatus(), self.condition.status())["runs_out_next"],
            {"what": "the licence", "until": "2027-11-20T10:00:00Z"},
        )
        soon = NOW + timedelta(days=3)
        listed = {
            "issuer": "ab" * 32,
            "this_update": instant(NOW),
            "next_update": instant(soon),
            "serials": [],
        }
        self.bring(self.client(), document(1, revocation=[listed]))
        self.assertEqual(
            on_the_wire(AskStatus(), self.condition.status())["runs_out_next"],
            {"what": f"the revocation list of the CA key {'ab' * 8}", "until": instant(soon)},
        )

    def test_facts(self) -> None:
        """Ports, tunnels, generation, licence, counts and bans are those that are."""
        self.reactor.taken.add(OTHERS)
        self.bring(self.client("inner-7"), document(5, ports=(PARTNERS, OTHERS)), 5)
        self.service.gate.penalties.fault("192.0.2.9", Fault.IDENTITY, self.reactor.seconds())
        self.service.gate.penalties.fault("192.0.2.9", Fault.IDENTITY, self.reactor.seconds())
        status = on_the_wire(AskStatus(), self.condition.status())
        self.assertEqual(status["internal_listener"], f"127.0.0.1:{TUNNEL}")
        self.assertEqual(status["external_listeners"], [f"127.0.0.1:{PARTNERS}"])
        self.assertEqual(status["external_listeners_missing"], [f"127.0.0.1:{OTHERS}"])
        (tunnel,) = status["tunnels"]
        self.assertEqual((tunnel["client"], tunnel["since"]), ("inner-7", instant(now(self.reactor))))
        self.assertEqual((status["generation"], status["generation_from"]), (5, "inner-7"))
        self.assertEqual(status["generation_since"], "2026-11-20T10:00:00Z")
        self.assertEqual(status["licence_until"], "2027-11-20T10:00:00Z")
        self.assertEqual((status["sessions"], status["load"], status["connections"]), (0, 0.0, 0))
        self.assertEqual((status["bans"], status["banned"]), (1, {"192.0.2.9/32": 60}))

    def test_generation_is_forgotten_with_the_last_client(self) -> None:
        """A server without a client holds none, and says so."""
        client = self.client()
        self.bring(client, document(5), 5)
        self.assertEqual(on_the_wire(AskGeneration(), self.condition.generation())["generation"], 5)
        client.control.abort(WHY)
        self.network.settle()
        self.assertEqual(
            on_the_wire(AskGeneration(), self.condition.generation()),
            {"generation": None, "generation_since": None, "generation_from": None},
        )

    def test_licence(self) -> None:
        """Whose, until when, and how long that is."""
        (held,) = on_the_wire(AskLicence(), self.condition.licence())["licences"]
        self.assertEqual((held["proxy_id"], held["days_left"]), (identity().proxy_id, 365))
        self.assertTrue(held["in_force"])
        self.assertNotIn("CERTIFICATE", json.dumps(held))

    def test_partners(self) -> None:
        """Those of the configuration in force."""
        self.assertEqual(self.condition.partners(), frozenset())
        acme = {"name": "ACME", "codes": ["ACME"], "certificates": [{"by": "key", "sha256": "ab" * 32}]}
        self.bring(self.client(), document(partners=[acme]))
        self.assertEqual(self.condition.partners(), frozenset({"ACME"}))

    def test_no_worker(self) -> None:
        """Where workers are wanted and none is ready, no session can begin: that is told first, once it lasts."""
        crew: Any = Mock(lacks_workers=False)
        crew.condition.return_value = ()
        self.service.crew = crew
        self.bring(self.client(), document())
        self.assertEqual(self.verdict(), "ok")
        crew.lacks_workers = True
        *found, advice = told(on_the_wire(AskStatus(), self.condition.status()))
        self.assertEqual(found, ["down", "workers-down", 2])
        self.assertIn("worker.died", advice)

    def test_no_session(self) -> None:
        """None is live, and none can be ended."""
        self.assertEqual(self.condition.sessions(), [])
        self.assertFalse(self.condition.kill("0123456789abcdef"))


class ClientConditions(StationTestCase):
    """The client."""

    def setUp(self) -> None:
        """Look at it; the server has a licence."""
        super().setUp()
        self.now = NOW
        self.ports: dict[str, tuple[str, int] | None] = {}
        self.backend.proxy_ids = {identity().proxy_id: sign(licence(), signing_key())}
        self.condition = ClientCondition(self.service, lambda: self.now)

    def verdict(self) -> str:
        """The one word; where all is not well, there is advice."""
        status = on_the_wire(AskStatus(), self.condition.status())
        self.assertEqual(status["verdict"] == "ok", not status["advice"])
        return str(status["verdict"])

    def test_verdicts(self) -> None:
        """Before the backend answered, with a tunnel, without a station, which nobody called, and at the end."""
        self.assertEqual(self.verdict(), "unconfigured")
        self.start()
        self.assertEqual(self.verdict(), "ok")
        self.refuses()
        self.assertEqual(self.verdict(), "station-down")
        self.network.advance(60)
        self.answers()
        self.assertEqual(self.verdict(), "ok")
        self.server.control.abort(WHY)
        self.network.settle()
        self.assertEqual(self.verdict(), "no-server")
        self.service.stopService()
        self.assertEqual(self.verdict(), "draining")

    def test_server_with_a_later_generation(self) -> None:
        """A server that holds a later generation of the same store takes no older one, and the status says so."""
        store = "a" * 16
        self.server.user.in_force = GenerationId(7, store)
        self.backend.document = generation(5, store)
        self.start()
        self.assertEqual(self.verdict(), "generation-ahead")
        self.backend.change(generation(8, store))
        self.network.advance(1)
        self.assertEqual(self.verdict(), "ok")

    def test_unconfigured(self) -> None:
        """What to do without a configuration depends on whether the backend has sent one that is refused."""
        self.assertIn("wait some seconds", told(on_the_wire(AskStatus(), self.condition.status()))[-1])
        self.backend.change(generation(1, station={"port": 0}))
        self.start()
        status: Any = on_the_wire(AskStatus(), self.condition.status())
        advice = {each["verdict"]: each["advice"] for each in status["findings"]}
        self.assertTrue(advice["generation-refused"].endswith("); no other is in force"))
        self.assertIn("correct the refused generation in the backend", advice["unconfigured"])

    def test_backend_before_the_first_generation(self) -> None:
        """Without a configuration, a backend that does not help means that no session can begin."""
        for failure, code, words in (
            (
                BackendUnavailable("connection refused"),
                "backend-down",
                "does not answer as it should: connection refused",
            ),
            (BackendRefused(401, "api.token", "the token is not known"), "token-refused", "smartproxy client token"),
            (BackendRefused(426, "api.version", "0.1 and 0.2"), "version-refused", "0.1 and 0.2"),
            (BackendRefused(403, "api.address", "not from 10.0.0.9"), "address-refused", "not from 10.0.0.9"),
        ):
            self.backend.failure = failure
            if not self.service.running:
                self.start()
            self.network.advance(60)
            *found, advice = told(on_the_wire(AskStatus(), self.condition.status()))
            self.assertEqual(found, ["down", code, 2])
            self.assertIn(words, advice)
            self.assertIn("no session can begin", advice)

    def test_table(self) -> None:
        """Each condition has its word, its code, its exit status and its sentence."""
        self.start()

        def backend(failure: Exception | None) -> None:
            self.backend.failure = failure
            self.backend.change(generation(1))
            self.network.advance(60)

        def decline() -> None:
            raise ConfigurationRefused(where="server", cause=Cause.DOCUMENT_VALUE, message="no")

        def declined() -> None:
            self.server.user.refuse = decline
            self.backend.change(generation(2))

        def accepted() -> None:
            self.server.user.refuse = lambda: None
            self.backend.change(generation(3))

        self.patch(type(self.service.calls), "ports", property(lambda calls: self.ports))
        station = Station()
        rows: list[tuple[Callable[[], object], tuple[str, str, int], str]] = [
            (lambda: None, ("ok", "ok", 0), ""),
            (
                lambda: backend(BackendUnavailable("connection refused")),
                ("degraded", "backend-down", 1),
                "sessions go on with the configuration in force",
            ),
            (
                lambda: backend(BackendRefused(401, "api.token", "the token is not known")),
                ("degraded", "token-refused", 1),
                "the token is not known",
            ),
            (lambda: backend(None), ("ok", "ok", 0), ""),
            (
                lambda: backend(BackendRefused(401, "api.removed", "the client was removed or disabled")),
                ("down", "client-removed", 2),
                "removed or disabled",
            ),
            (lambda: backend(None), ("ok", "ok", 0), ""),
            (
                lambda: self.backend.change(generation(2, station={"port": 0})),
                ("degraded", "generation-refused", 1),
                "the newest generation is refused (client.station.port",
            ),
            (
                lambda: None,
                ("degraded", "generation-refused", 1),
                "); the previous one stays in force",
            ),
            (declined, ("degraded", "generation-refused", 1), "dmz.example:2878 could not put generation 2 in force"),
            (accepted, ("ok", "ok", 0), ""),
            (
                lambda: self.service.desk.station_tried(station, "it does not answer"),
                ("down", "station-down", 2),
                "it does not answer; check it with: smartproxy test-station",
            ),
            (
                lambda: self.backend.change(generation(4, station={"host": "station.example"})),
                ("ok", "ok", 0),
                "",
            ),
            (
                lambda: self.ports.update(ACME=None),
                ("degraded", "listener-down", 1),
                "the port for calls to ACME is not open: see listener.failed in the log",
            ),
            (
                lambda: self.ports.update({"": None}),
                ("degraded", "listener-down", 1),
                "the port for HTTP CONNECT and SOCKS5 and the port for calls to ACME are not open: see",
            ),
            (
                lambda: self.ports.pop("ACME"),
                ("degraded", "listener-down", 1),
                "the port for HTTP CONNECT and SOCKS5 is not open: see",
            ),
            (self.ports.clear, ("ok", "ok", 0), ""),
            (
                lambda: setattr(self, "now", NOW + timedelta(days=366)),
                ("down", "unlicensed", 2),
                "smartproxy licence extend",
            ),
            (lambda: setattr(self, "now", NOW), ("ok", "ok", 0), ""),
            (lambda: setattr(self.service._house, "lacks_workers", True), ("down", "workers-down", 2), "worker.died"),
            (lambda: setattr(self.service._house, "lacks_workers", False), ("ok", "ok", 0), ""),
            (lambda: self.server.control.abort(WHY), ("down", "no-server", 2), "no server is connected"),
            (self.service.stopService, ("degraded", "draining", 1), "stops when its sessions are over"),
        ]
        for place, (arrange, wanted, sentence) in enumerate(rows):
            arrange()
            self.network.settle()
            *found, advice = told(on_the_wire(AskStatus(), self.condition.status()))
            self.assertEqual(tuple(found), wanted, (place, advice))
            self.assertIn(sentence, advice)

    def test_what_runs_out_next(self) -> None:
        """The licence of a server."""
        self.start()
        self.assertEqual(
            on_the_wire(AskStatus(), self.condition.status())["runs_out_next"],
            {"what": f"the licence of {identity().proxy_id[:12]}...", "until": "2027-11-20T10:00:00Z"},
        )

    def test_facts(self) -> None:
        """Backend, station, tunnels, generation and who brought it."""
        self.assertIsNone(on_the_wire(AskStatus(), self.condition.status())["station"])
        self.backend.document = generation(7, station={"host": "station.example"})
        self.start()
        status = on_the_wire(AskStatus(), self.condition.status())
        self.assertEqual((status["backend"], status["station"]), ("https://backend.example", "station.example:3305"))
        self.assertEqual((status["generation"], status["generation_from"]), (7, "https://backend.example"))
        (tunnel,) = status["tunnels"]
        self.assertEqual((tunnel["server"], tunnel["up"]), ("dmz.example:2878", True))
        self.assertEqual((tunnel["proxy_id"], tunnel["generation"]), (identity().proxy_id, 7))
        self.server.control.abort(WHY)
        self.network.settle()
        (tunnel,) = self.condition.status().tunnels
        self.assertEqual(tunnel, TunnelToServer(server="dmz.example:2878", up=False))

    def test_calls(self) -> None:
        """The ports for callers inside are shown by partner; one that cannot be opened gives the verdict."""
        ports: dict[str, HostPort | None] = {"": HostPort("127.0.0.1", 65433), "ACME": HostPort("::1", 65434)}
        self.start()
        self.patch(type(self.service.calls), "ports", property(lambda calls: ports))
        self.assertEqual(
            on_the_wire(AskStatus(), self.condition.status())["outbound_listeners"],
            {"any partner": "127.0.0.1:65433", "ACME": "[::1]:65434"},
        )
        self.assertEqual(self.verdict(), "ok")
        ports["ACME"] = None
        self.assertEqual(self.verdict(), "listener-down")
        self.assertIn("ACME", str(on_the_wire(AskStatus(), self.condition.status())["advice"]))

    def test_licences(self) -> None:
        """One that is not good is told with its cause."""
        self.backend.proxy_ids = {identity().proxy_id: "licence text"}
        self.start()
        (held,) = on_the_wire(AskLicence(), self.condition.licence())["licences"]
        self.assertEqual((held["proxy_id"], held["in_force"]), (identity().proxy_id, False))
        self.assertTrue(held["refused"])

    def test_partners(self) -> None:
        """Those of the configuration in force."""
        self.assertEqual(self.condition.partners(), frozenset())
        acme = {"name": "ACME", "codes": ["ACME"], "certificates": [{"by": "key", "sha256": "ab" * 32}]}
        self.backend.document = json.dumps({**json.loads(generation(7)), "server": {"partners": [acme]}}).encode()
        self.start()
        self.assertEqual(self.condition.partners(), frozenset({"ACME"}))

    def test_no_session(self) -> None:
        """None is live, and none can be ended."""
        self.assertEqual(self.condition.sessions(), [])
        self.assertFalse(self.condition.kill("0123456789abcdef"))
