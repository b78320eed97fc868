"""Changes of the configuration under live sessions, through the real daemons: how soon they hold, whom they disturb."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from smartproxy.backend import cas, partners, revocation, settings
from smartproxy.backend.generations import changing
from smartproxy.backend.location import Location
from smartproxy.backend.store import Store
from smartproxy.oftp2.errors import EsidReason
from smartproxy.policy.partners import CertificatePin, Partner, SubjectRule
from smartproxy.testing.held import HeldSession
from smartproxy.testing.hostile import Attacker, greet
from smartproxy.testing.pki import CredentialFiles, TestCa, TestCredential, self_signed
from smartproxy.testing.site import STATION_CODE, Site
from tests.process.clock import LIMIT_SECONDS, Stopwatch

reactor: Any = installed_reactor

CODE = "O0013000001ACME"
SESSIONS, GENERATIONS = 10, 20
IN_FORCE_SECONDS = 2.0
CRL_URL = "http://crl.odette.example/ca.crl"


class Generations(TestCase):
    """A site with live sessions whose configuration changes all the time."""

    timeout = LIMIT_SECONDS

    async def open_site(self) -> Attacker:
        """Start everything; what the partner ACME calls with."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.site = site = Site(reactor, folder)
        self.addCleanup(lambda: Deferred.fromCoroutine(site.stop()))
        await site.create()
        credential = self_signed("oftp.acme.example")
        files = credential.write(site.certificates, "acme")
        self.store = Store.open(Location.of(str(site.state), environment={}))
        self.addCleanup(self.store.close)
        self.add("ACME", CODE, CertificatePin(sha256=credential.sha256))
        await site.start_station()
        await site.start()
        return self.caller(files, CODE)

    def caller(self, files: CredentialFiles, code: str) -> Attacker:
        """A partner that behaves."""
        return Attacker(
            reactor=reactor,
            host="127.0.0.1",
            port=self.site.port,
            credential=files,
            code=code,
            station_code=STATION_CODE,
        )

    def change(self, what: str) -> Any:
        """A change by an operator."""
        return changing(self.store, by="alice", what=what, now=datetime.now(UTC))

    def add(self, name: str, code: str, rule: SubjectRule | CertificatePin) -> None:
        """Add a partner."""
        with self.change(f"partner add {name}") as making:
            partners.add(making, Partner(name=name, codes=(code,), certificates=(rule,)))

    async def arrived(self, generation: int) -> None:
        """Wait until the server has put a generation in force."""
        assert self.site.server is not None
        await self.site.server.wait(
            lambda record: record["name"] == "configuration.accepted" and record["generation"] >= generation,
            f"generation {generation}",
        )

    async def until(self, caller: Attacker, normal: bool) -> float:
        """How long it takes until a partner is let in, or is not any more."""
        begun = Stopwatch(self.site.backend, self.site.client, self.site.server)
        while ((await greet(caller)).reason is EsidReason.NORMAL) is not normal:
            pass
        return begun.seconds()

    async def explained(self, shown: TestCredential) -> None:
        """The operator can tell the partner why it was refused, as soon as the event has come to the backend."""
        while (found := await self.site.smartproxy("explain", "BOLT"))["for_us"]["name"] != "certificate.refused":
            await deferLater(reactor, 0.2)
        told = found["to_partner"]
        self.assertEqual(found["for_us"]["key"], "certificate.revoked")
        self.assertEqual(told["certificate"]["SHA-256"], shown.sha256)
        self.assertEqual(told["saw"], "the TLS alert certificate_revoked")
        self.assertIn("age in seconds", told["revocation_list"])

    async def test_changes_hold_soon_and_disturb_nobody(self) -> None:
        """A new partner, its revocation, and many settings are in force within two seconds; no live session ends."""
        acme = await self.open_site()
        held = [await HeldSession(acme).open() for _ in range(SESSIONS)]
        ca = TestCa.root("Odette")
        bolt = ca.issue("oftp.bolt.example", serial_number="BOLT", crl_urls=["http://169.254.169.254/", CRL_URL])
        caller = self.caller(bolt.write(self.site.certificates, "bolt"), "O0013000002BOLT")
        for number in range(GENERATIONS):
            with self.change("settings set") as making:
                settings.put(making, "server.limits.sessions", 1000 + number)
            await self.arrived(making.generation)
        with self.change("ca add") as making:
            cas.add(making, "odette", [ca.credential.certificate])
            making.session.flush()
            revocation.load(making, revocation.parse(ca.crl(), "odette.crl"))
        self.add("BOLT", "O0013000002BOLT", SubjectRule(ca="odette", serial_number="BOLT"))
        added = await self.until(caller, normal=True)
        running = await HeldSession(caller).open()
        with self.change("crl load") as making:
            revocation.load(making, revocation.parse(ca.crl([bolt], this_update=datetime.now(UTC)), "odette.crl"))
        withdrawn = await running.seen
        refused = await self.until(caller, normal=False)

        assert self.site.server is not None
        self.site.server.read()
        names = [record["name"] for record in self.site.server.records]
        generations = names.count("configuration.accepted")
        figures = (
            f"{generations} generations reached the server under {SESSIONS} sessions; a new partner was let in after "
            f"{added:.2f} s, a revoked one turned away {refused:.2f} s after its session was ended"
        )
        self.assertGreater(generations, GENERATIONS)
        self.assertLess(added, IN_FORCE_SECONDS, figures)
        self.assertLess(refused, IN_FORCE_SECONDS, figures)
        self.assertIs(withdrawn.reason, EsidReason.UNSPECIFIED_ABORT)
        self.assertEqual(names.count("session.withdrawn"), 1)
        self.assertEqual([each.live for each in held], [True] * SESSIONS)
        for each in held:
            self.assertTrue((await each.end()).cause)
        await self.explained(bolt)
        self.assertEqual([each["url"] for each in await self.site.smartproxy("crl", "urls")], [CRL_URL])
        (foretold,) = await self.site.smartproxy("crl", "check")
        self.assertEqual((foretold["partner"], foretold["verdict"]), ("BOLT", "refused"))
        print(figures)
