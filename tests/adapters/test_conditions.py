"""How the daemons say they are, with a real tunnel in memory."""

import json
from datetime import timedelta

from smartproxy.client.condition import ClientCondition
from smartproxy.ctl.daemon import instant
from smartproxy.logs.clock import now
from smartproxy.policy.penalties import Fault
from smartproxy.server.condition import ServerCondition
from tests.adapters.test_client_service import ClientTestCase, generation
from tests.adapters.test_server_service import NOW, OTHERS, PARTNERS, TUNNEL, ServerTestCase, document
from tests.adapters.tunnel_kit import WHY, identity


class ServerConditions(ServerTestCase):
    """The server."""

    def setUp(self) -> None:
        """Look at it."""
        super().setUp()
        self.condition = ServerCondition(self.reactor, self.service, lambda: self.now)

    def verdict(self) -> str:
        """The one word; where all is not well, there is advice."""
        status = self.condition.status()
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
        self.assertIn(str(OTHERS), str(self.condition.status()["advice"]))
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
        self.assertIsNone(self.condition.status()["internal_listener"])

    def test_facts(self) -> None:
        """Ports, tunnels, generation, licence, counts and bans are those that are."""
        self.reactor.taken.add(OTHERS)
        self.bring(self.client("inner-7"), document(5, ports=(PARTNERS, OTHERS)), 5)
        self.service.gate.penalties.fault("192.0.2.9", Fault.IDENTITY, self.reactor.seconds())
        self.service.gate.penalties.fault("192.0.2.9", Fault.IDENTITY, self.reactor.seconds())
        status = json.loads(json.dumps(self.condition.status()))
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
        self.assertEqual(self.condition.generation()["generation"], 5)
        client.control.abort(WHY)
        self.network.settle()
        self.assertEqual(
            self.condition.generation(), {"generation": None, "generation_since": None, "generation_from": None}
        )

    def test_licence(self) -> None:
        """Whose, until when, and how long that is."""
        (held,) = json.loads(json.dumps(self.condition.licence()))["licences"]
        self.assertEqual((held["proxy_id"], held["days_left"]), (identity().proxy_id, 365))
        self.assertTrue(held["in_force"])
        self.assertNotIn("CERTIFICATE", json.dumps(held))

    def test_no_session(self) -> None:
        """None is live, and none can be ended."""
        self.assertEqual(self.condition.sessions(), [])
        self.assertFalse(self.condition.kill("0123456789abcdef"))


class ClientConditions(ClientTestCase):
    """The client."""

    def setUp(self) -> None:
        """Look at it."""
        super().setUp()
        self.condition = ClientCondition(self.service)

    def verdict(self) -> str:
        """The one word; where all is not well, there is advice."""
        status = self.condition.status()
        self.assertEqual(status["verdict"] == "ok", not status["advice"])
        return str(status["verdict"])

    def test_verdicts(self) -> None:
        """Before the backend answered, with a tunnel, without one, and at the end."""
        self.assertEqual(self.verdict(), "unconfigured")
        self.start()
        self.assertEqual(self.verdict(), "ok")
        self.server.control.abort(WHY)
        self.network.settle()
        self.assertEqual(self.verdict(), "no-server")
        self.service.stopService()
        self.assertEqual(self.verdict(), "draining")

    def test_facts(self) -> None:
        """Backend, station, tunnels, generation and who brought it."""
        self.assertIsNone(self.condition.status()["station"])
        self.backend.document = generation(7, station={"host": "station.example"})
        self.start()
        status = json.loads(json.dumps(self.condition.status()))
        self.assertEqual((status["backend"], status["station"]), ("https://backend.example", "station.example:3305"))
        self.assertEqual((status["generation"], status["generation_from"]), (7, "https://backend.example"))
        (tunnel,) = status["tunnels"]
        self.assertEqual((tunnel["server"], tunnel["up"]), ("dmz.example:2878", True))
        self.assertEqual((tunnel["proxy_id"], tunnel["generation"]), (identity().proxy_id, 7))
        self.server.control.abort(WHY)
        self.network.settle()
        self.assertEqual(self.condition.status()["tunnels"], [{"server": "dmz.example:2878", "up": False}])

    def test_calls(self) -> None:
        """The ports for callers inside are shown by partner; one that cannot be opened gives the verdict."""
        ports: dict[str, tuple[str, int] | None] = {"": ("127.0.0.1", 65433), "ACME": ("::1", 65434)}
        self.start()
        self.patch(type(self.service.calls), "ports", property(lambda calls: ports))
        self.assertEqual(
            self.condition.status()["outbound_listeners"], {"any partner": "127.0.0.1:65433", "ACME": "[::1]:65434"}
        )
        self.assertEqual(self.verdict(), "ok")
        ports["ACME"] = None
        self.assertEqual(self.verdict(), "listener-down")
        self.assertIn("ACME", str(self.condition.status()["advice"]))

    def test_licences(self) -> None:
        """One that is not good is told with its cause."""
        self.start()
        (held,) = json.loads(json.dumps(self.condition.licence()))["licences"]
        self.assertEqual((held["proxy_id"], held["in_force"]), (identity().proxy_id, False))
        self.assertTrue(held["refused"])

    def test_no_session(self) -> None:
        """None is live, and none can be ended."""
        self.assertEqual(self.condition.sessions(), [])
        self.assertFalse(self.condition.kill("0123456789abcdef"))
