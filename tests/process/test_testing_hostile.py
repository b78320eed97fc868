"""Hostile partners against a station of the test kit: each sees what RFC 5024 says an attacker sees."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import TestCase

from smartproxy.oftp2.errors import EsidReason
from smartproxy.testing import hostile
from smartproxy.testing.hostile import Attacker, Seen
from smartproxy.testing.pki import TestCa
from smartproxy.testing.settings import Settings
from smartproxy.testing.station import TestStation
from smartproxy.testing.store import MemoryStore
from smartproxy.testing.tls import TestContext
from smartproxy.testing.user_monitor import UserMonitor

reactor: Any = installed_reactor
PARTNER, STATION = "O0099ACME", "O0013STATION"


class HostileTests(TestCase):
    """A station with TLS that knows one partner."""

    @inlineCallbacks
    def setUp(self) -> Generator[Deferred[Any], Any, None]:  # type: ignore[override]  # trial waits for it
        """Start the station."""
        folder = Path(self.mktemp())
        folder.mkdir()
        authority = TestCa.root("Test CA")
        anchor = folder / "ca.crt"
        anchor.write_bytes(authority.certificate_pem)
        files = authority.issue("Station").write(folder, "station")
        self.expired = authority.issue_expired("Acme").write(folder, "expired")
        self.store = MemoryStore()
        self.station = TestStation(
            reactor,
            Settings(code=STATION, peers={PARTNER: ""}),
            UserMonitor(self.store),
            context=TestContext(certificate=files.certificate, key=files.key, authorities=(anchor,)),
        )
        address = yield self.station.listen(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        self.addCleanup(self.station.stop)
        self.attacker = Attacker(
            reactor=reactor,
            host="127.0.0.1",
            port=address.port,
            credential=authority.issue("Acme").write(folder, "acme"),
            code=PARTNER,
            station_code=STATION,
        )

    @inlineCallbacks
    def test_what_attackers_see(self) -> Generator[Deferred[Any], Any, None]:
        """Alert or ESID, with its reason and text, as far as the session came; and no file arrives."""
        scenarios: list[tuple[Attacker, Callable[[Attacker], Deferred[Seen]], str, tuple[str, ...]]] = [
            (
                attrs.evolve(self.attacker, credential=None),
                hostile.greet,
                "TLS alert: certificate required",
                (),
            ),
            (
                attrs.evolve(self.attacker, credential=self.expired),
                hostile.greet,
                "TLS alert: certificate expired",
                (),
            ),
            (
                attrs.evolve(self.attacker, code="O0099OTHER"),
                hostile.greet,
                "ESID 03 User code not known",
                ("SSRM", "ESID"),
            ),
            (
                attrs.evolve(self.attacker, authentication=True),
                hostile.greet,
                "ESID 12",
                ("SSRM", "ESID"),
            ),
            (self.attacker, hostile.unknown_command, "ESID 01", ("SSRM", "ESID")),
            (self.attacker, hostile.lying_header, "ESID 07", ("SSRM", "ESID")),
            (self.attacker, hostile.wrong_state, "ESID 02", ("SSRM", "ESID")),
            (self.attacker, hostile.bad_field, "ESID 06", ("SSRM", "ESID")),
            (self.attacker, hostile.bad_subrecords, "ESID 06", ("SSRM", "SSID", "SFPA", "ESID")),
            (self.attacker, hostile.greet, "ESID 00", ("SSRM", "SSID", "ESID")),
            (self.attacker, hostile.low_release_level, "no end", ("SSRM", "SSID")),
        ]
        for attacker, scenario, saw, heard in scenarios:
            if saw == "no end":
                self.patch(hostile, "PATIENCE_SECONDS", 5.0)
            seen: Seen = yield scenario(attacker)
            self.assertIn(saw, str(seen))
            self.assertEqual(seen.heard, heard)
            self.assertRegex(seen.address, r"\A127\.0\.0\.1:\d+\Z")
        self.assertEqual(self.store.contents, {})
        self.assertEqual(self.station.accepted, len(scenarios))

    @inlineCallbacks
    def test_reasons_are_values(self) -> Generator[Deferred[Any], Any, None]:
        """What was seen can be compared by scripts."""
        seen: Seen = yield hostile.unknown_command(self.attacker)
        self.assertEqual((seen.reason, seen.alert, seen.tls), (EsidReason.COMMAND_NOT_RECOGNISED, None, "TLSv1.3"))
        seen = yield hostile.greet(attrs.evolve(self.attacker, credential=None))
        self.assertEqual((seen.reason, seen.alert), (None, "certificate required"))

    @inlineCallbacks
    def test_nobody_there(self) -> Generator[Deferred[Any], Any, None]:
        """An attack on nobody fails."""
        yield self.station.stop()
        yield self.assertFailure(hostile.greet(self.attacker), ConnectionRefusedError)
