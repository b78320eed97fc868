"""Sessions that the station began, with partners who are withdrawn while they run: TLS in memory."""

from pathlib import Path
from typing import Any

import attrs

from smartproxy.oftp2.commands import EFPA
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.configuration import ServerPart, dump
from smartproxy.policy.partners import KeyPin, Outbound, Partner, RevocationMode, SubjectRule, Verify
from smartproxy.policy.settings import Deadlines
from smartproxy.server.service import ServerService
from tests.adapters.acme import LEAF, MIDDLE, NOW, ROOT, acme, configuration, revoked
from tests.adapters.rig import FakeLeg, identity_entry, pin
from tests.adapters.test_partner_calls import ACME, HOST, OWN, SESSION, CallingTestCase
from tests.adapters.test_server_service import licence
from tests.adapters.tunnel_kit import identity
from tests.unit.playbook import EFID_5, PARTNER_SSID, SFPA_0, STATION_SSID, data, esid, framed, sfid

WITHDRAWN = esid(EsidReason.UNSPECIFIED_ABORT, "Ended by policy")
BY_NAME = Outbound(host=HOST, server_name="oftp.acme.example", ca="ca")
BY_ID = Outbound(host=HOST, verify=Verify.ODETTE)
BY_KEY = Outbound(host=HOST, verify=Verify.PIN, certificates=(KeyPin(sha256=LEAF.key_sha256),))
LISTS = (revoked(ROOT), revoked(MIDDLE))


class SessionsTestCase(CallingTestCase):
    """A session with a called partner, who is known by an authority whose lists are all there."""

    def begin(self, outbound: Outbound = BY_NAME) -> None:
        """Call the partner, and begin a session."""
        self.setUp()
        self.take = self.called(outbound)
        self.leg = FakeLeg()
        self.take(self.leg)
        self.network.settle()
        self.hear(STATION_SSID)
        self.says(PARTNER_SSID)
        self.assertEqual(self.leg.sent, SSRM_BUFFER + PARTNER_SSID)

    def called(self, outbound: Outbound = BY_NAME) -> Any:
        """Call the partner; it has greeted."""
        self.server = attrs.evolve(
            configuration(acme(outbound=outbound), mode=RevocationMode.REQUIRE, lists=LISTS),
            identities=(identity_entry(OWN),),
        )
        self.put()
        calling = self.call()
        self.connect(LEAF)
        self.says(SSRM_BUFFER)
        return self.successResultOf(calling)

    def hear(self, octets: bytes) -> None:
        """The station speaks."""
        self.leg.receive(octets)
        self.network.settle()

    def put(self, **changes: Any) -> None:
        """Put another generation in force."""
        self.server = attrs.evolve(self.server, **changes)
        self.adopt(self.server, 2)
        self.withdrawals.judge(self.server)
        self.network.settle()

    def enter(self, *partners: Partner) -> None:
        """Put a generation in force with these entries."""
        self.put(partners=partners)

    def revoke(self, **changes: Any) -> None:
        """Put a generation in force that revokes the partner's certificate."""
        self.put(revocation=(revoked(ROOT), revoked(MIDDLE, LEAF)), **changes)

    def assertWithdrawn(self, check: str, depth: int = 0) -> None:
        """The idle session ended at once, both sides are told, and one event says why."""
        told = self.journal.the("session.withdrawn")
        self.assertEqual((told["session"], told["partner"]), (SESSION, "ACME"))
        self.assertEqual((told["cause"], told["depth"], told["certificate_sha256"]), (check, depth, LEAF.sha256))
        self.assertEqual(self.journal.the("session.failed")["cause"], check)
        self.assertTrue(self.partner.received.endswith(STATION_SSID + WITHDRAWN), check)
        self.assertTrue(self.leg.sent.endswith(PARTNER_SSID), check)
        assert self.leg.end is not None
        self.assertEqual(
            (self.leg.end.outcome, self.leg.end.cause, self.leg.end.ended_by), ("stopped", check, "server")
        )
        self.leg.lose()
        self.passed(0)
        self.assertEqual((self.sessions.live, self.reactor.getDelayedCalls()), ({}, []))

    def assertGoesOn(self) -> None:
        """The session is not disturbed."""
        self.assertEqual(self.journal.of("session.withdrawn"), [])
        self.hear(sfid())
        self.assertTrue(self.partner.received.endswith(sfid()))


class Causes(SessionsTestCase):
    """What ends an idle session, and what does not."""

    def test_revoked(self) -> None:
        """The partner's certificate, or that of the CA between; however a CA makes the partner known."""
        for outbound in (BY_NAME, BY_ID):
            self.begin(outbound)
            self.revoke()
            self.assertWithdrawn("certificate.revoked")
            self.begin(outbound)
            self.put(revocation=(revoked(ROOT, MIDDLE.credential), revoked(MIDDLE)))
            self.assertWithdrawn("certificate.revoked", 1)

    def test_entry(self) -> None:
        """Disabled, removed, or not to be called any more."""
        for partners, check in (
            ((acme(outbound=BY_NAME, enabled=False),), "certificate.partner_disabled"),
            ((acme(outbound=BY_NAME, name="SUCCESSOR"),), "certificate.no_partner"),
            ((), "certificate.no_partner"),
            ((acme(),), "certificate.not_called"),
        ):
            self.begin()
            self.enter(*partners)
            self.assertWithdrawn(check)

    def test_outbound(self) -> None:
        """An outbound part that the certificate does not fit any more: name, authority, pins, Odette ID."""
        other = SubjectRule(ca="ca", serial_number="O0013000009OTHER")
        for before, changes, check in (
            (BY_NAME, {"server_name": "other.acme.example"}, "certificate.wrong_name"),
            (BY_NAME, {"server_name": None}, "certificate.wrong_name"),
            (BY_NAME, {"ca": "another"}, "certificate.unknown_ca"),
            (BY_NAME, {"verify": Verify.PIN, "certificates": (pin(ACME),)}, "certificate.not_expected"),
            (BY_ID, {"certificates": (other,)}, "certificate.not_expected"),
            (BY_KEY, {"certificates": (pin(ACME),)}, "certificate.not_expected"),
        ):
            self.begin(before)
            self.enter(acme(outbound=attrs.evolve(before, **changes)))
            self.assertWithdrawn(check)

    def test_authority(self) -> None:
        """The authority is gone, or has another certificate."""
        self.begin()
        another = attrs.evolve(self.server.cas[0], certificates=ACME.certificate_pem.decode())
        self.put(cas=(another,))
        self.assertWithdrawn("certificate.unknown_ca")

    def test_others_go_on(self) -> None:
        """Missing lists, a revocation of another, another address, another rule that fits the partner as well."""
        for outbound in (
            attrs.evolve(BY_NAME, host="192.0.2.98", port=6620),
            attrs.evolve(BY_NAME, server_name="OFTP.acme.example", ca=None),
            BY_ID,
            BY_KEY,
        ):
            self.begin()
            self.enter(acme(outbound=outbound), acme(name="another", codes=("X",), enabled=False))
            self.put(revocation=())
            self.put(revocation=(revoked(ROOT), revoked(MIDDLE, ROOT.issue("somebody else"))))
            self.assertGoesOn()

    def test_over(self) -> None:
        """A session that is over is not judged any more."""
        self.begin()
        self.leg.lose()
        self.passed(10)
        self.revoke()
        self.assertEqual(self.journal.of("session.withdrawn"), [])


class Moments(SessionsTestCase):
    """When a session that is not idle ends."""

    def test_within_a_file(self) -> None:
        """A file that is under way is finished, its answer included; the session ends then, without another file."""
        self.begin()
        self.hear(sfid())
        self.says(SFPA_0)
        self.hear(data())
        self.revoke()
        self.hear(EFID_5)
        self.assertTrue(self.partner.received.endswith(EFID_5))
        answer = framed(EFPA(cd="N"))
        self.says(answer)
        self.assertTrue(self.leg.sent.endswith(answer))
        self.assertIsNotNone(self.leg.end)
        self.assertTrue(self.partner.received.endswith(EFID_5 + WITHDRAWN))
        self.assertEqual(self.journal.the("file.ended")["outcome"], "completed")
        self.journal.the("session.withdrawn")

    def test_deadline(self) -> None:
        """A session that does not come to an idle moment is ended when the deadline has passed, and not before."""
        self.begin()
        self.hear(sfid())
        self.says(SFPA_0)
        self.revoke(deadlines=Deadlines(withdrawal=30))
        self.passed(29)
        self.put(deadlines=Deadlines(withdrawal=300))
        self.assertTrue(self.partner.received.endswith(sfid()))
        self.passed(1)
        self.assertTrue(self.partner.received.endswith(WITHDRAWN))
        self.assertIsNotNone(self.leg.end)
        self.assertEqual(self.journal.the("session.withdrawn")["seconds"], 30)

    def test_called_before(self) -> None:
        """A partner that greeted before the generation that revokes it gets no octet of the station."""
        take = self.called()
        self.revoke()
        leg = FakeLeg()
        take(leg)
        self.network.settle()
        self.assertEqual(self.journal.the("session.withdrawn")["cause"], "certificate.revoked")
        self.assertEqual((leg.sent, leg.calls, self.partner.received), (b"", ["finish"], b""))
        leg.lose()
        self.passed(10)
        self.assertIsNotNone(self.partner.ended)
        self.assertEqual((self.sessions.live, self.reactor.getDelayedCalls()), ({}, []))


class Daemon(SessionsTestCase):
    """The whole server, which is brought a generation."""

    def setUp(self) -> None:
        """A server that is not started; its events go into the journal."""
        super().setUp()
        service = self.service = ServerService(
            self.reactor,
            identity=identity(),
            licence=licence(),
            licence_path=Path(self.mktemp()),
            host="127.0.0.1",
            port=2878,
            now=lambda: NOW,
        )
        self.calls, self.sessions = service.calls, service.sessions
        self.events: list[dict[str, Any]] = []
        service.events.forward = self.events.append

    def put(self, **changes: Any) -> None:
        """A client brings another generation."""
        self.server = attrs.evolve(self.server, **changes)
        control: Any = attrs.make_class("Control", {"client_name": attrs.field(default="inner")})()
        part = ServerPart(generation=2, site="Muster GmbH", server=self.server)
        self.service.configuration_arrived(control, part.id, dump(part))
        self.network.settle()

    def test_revoked(self) -> None:
        """A generation ends the sessions in both directions, one that leaves no certificate to show as well."""
        for changes in ({}, {"identities": ()}):
            self.begin()
            self.revoke(**changes)
            self.assertTrue(self.partner.received.endswith(STATION_SSID + WITHDRAWN))
            told = [event for event in self.events if event["name"] == "session.withdrawn"]
            self.assertEqual([event["cause"] for event in told], ["certificate.revoked"])
