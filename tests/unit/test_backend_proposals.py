"""Proposals: a partner's next certificate is noticed, and trusted only when an operator says so."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update

from smartproxy.backend import cas, partners, proposals, refusals_explained, sightings
from smartproxy.backend.client_requests import ClientRequests
from smartproxy.backend.errors import NotFound
from smartproxy.backend.sighting_tables import ProposalRow, SeenCertificateRow
from smartproxy.policy.partners import CertificatePin, KeyPin, Outbound, Partner, Rule, SubjectRule, Verify
from smartproxy.testing.pki import TestCa, TestCredential
from tests.unit.commands import CommandCase
from tests.unit.sites import NOW, SiteCase

HOUR = timedelta(hours=1)
PEER = "192.0.2.7:50000"


def refusal(new: TestCredential, hours: int = 0, **fields: Any) -> dict[str, Any]:
    """A server's event about a certificate that is assigned to nobody."""
    certificate = new.certificate
    return {
        "name": "certificate.refused",
        "source": "server",
        "sequence": 1,
        "time": (NOW + hours * HOUR).isoformat(),
        "cause": "certificate.no_partner",
        "message": "the certificate is valid, but not assigned to any partner",
        "peer": PEER,
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "certificate_sha256": new.sha256,
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "facts": {"cas": "odette"},
        **fields,
    }


def acceptance(old: TestCredential, partner: str = "ACME", **fields: Any) -> dict[str, Any]:
    """A server's event about a certificate that is pinned."""
    certificate = old.certificate
    return {
        "name": "certificate.accepted",
        "source": "server",
        "sequence": 1,
        "time": NOW.isoformat(),
        "partner": partner,
        "by": "certificate",
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "certificate_sha256": old.sha256,
        "key_sha256": old.key_sha256,
        "not_after": certificate.not_valid_after_utc.isoformat(),
        **fields,
    }


def identity(old: TestCredential, partner: str = "ACME") -> dict[str, Any]:
    """A server's event about an SSIDCODE that is one of the partner's."""
    return {
        "name": "identity.accepted",
        "source": "server",
        "sequence": 1,
        "time": NOW.isoformat(),
        "session": "3d38bcab3c9b8a05",
        "partner": partner,
        "code": "O0013ACME",
        "certificate_sha256": old.sha256,
    }


class ProposalCase(SiteCase):
    """A CA, and a partner that is recognized by a pinned certificate of it and has proved its SSIDCODE."""

    def setUp(self) -> None:
        """Make them."""
        super().setUp()
        self.ca = TestCa.root("Odette")
        self.old = self.ca.issue("acme")
        self.new = self.ca.issue("acme")
        with self.change() as change:
            cas.add(change, "odette", [self.ca.credential.certificate])
        self.partner("ACME", CertificatePin(sha256=self.old.sha256))
        self.tell(acceptance(self.old), identity(self.old))

    def partner(self, name: str, *rules: Rule) -> None:
        """Add a partner."""
        with self.change() as change:
            change.session.flush()
            partners.add(change, Partner(name=name, codes=(f"O0013{name}",), certificates=rules))

    def tell(self, *events: dict[str, Any]) -> None:
        """A client carries events here, when the last of them happened."""
        received = max(NOW, *(datetime.fromisoformat(each["time"]) for each in events))
        self.assertEqual(ClientRequests(self.store).keep_events("inner", events, received).refused, [])

    def forge(self, event: dict[str, Any]) -> None:
        """A client carries an event that is not its own; it is refused."""
        self.assertEqual(ClientRequests(self.store).keep_events("inner", [event], NOW).stored, 0)

    def proposed(self) -> list[tuple[str, str]]:
        """Partners and certificates that are proposed."""
        with self.store.reading() as session:
            return [(each.partner, each.sha256) for each in proposals.listed(session)]

    def accept(self, which: str | None = None) -> proposals.ProposedCertificate:
        """Accept what is proposed for the partner."""
        with self.change() as change:
            return proposals.accept(change, "ACME", which)


class WhatIsProposed(ProposalCase):
    """When a certificate is proposed, and when it is not."""

    def test_facts(self) -> None:
        """The proposal has the facts of both certificates, when the old one proved the SSIDCODE, and where from."""
        self.tell(refusal(self.new))
        with self.store.reading() as session:
            (found,) = proposals.listed(session)
        self.assertEqual((found.partner, found.sha256, found.old_sha256), ("ACME", self.new.sha256, self.old.sha256))
        self.assertEqual(found.serial, f"{self.new.certificate.serial_number:x}")
        self.assertEqual(found.not_after, self.new.certificate.not_valid_after_utc)
        self.assertEqual(found.old_not_after, self.old.certificate.not_valid_after_utc)
        self.assertEqual((found.cas, found.proved, found.peer), ("odette", NOW, PEER))

    def test_nothing_is_trusted(self) -> None:
        """A proposal changes nothing of the partner's entry."""
        self.tell(refusal(self.new))
        with self.store.reading() as session:
            rules = partners.find(session, "ACME").entry.certificates
        self.assertEqual(rules, (CertificatePin(sha256=self.old.sha256),))

    def test_told_once(self) -> None:
        """It is told once, with what to do; that it was shown again is noted."""
        self.tell(refusal(self.new))
        self.tell(refusal(self.new, 5, peer="192.0.2.8:1"))
        (told,) = self.stored("certificate.proposed")
        self.assertEqual((told.fields["partner"], told.fields["certificate_sha256"]), ("ACME", self.new.sha256))
        self.assertIn("smartproxy partner accept ACME", str(told.fields["advice"]))
        with self.store.reading() as session:
            (found,) = proposals.listed(session)
        self.assertEqual((found.first_seen, found.last_seen, found.peer), (NOW, NOW + 5 * HOUR, "192.0.2.8:1"))

    def test_never_proved(self) -> None:
        """A certificate that never went with an SSIDCODE makes no proposal."""
        beta = self.ca.issue("beta")
        self.partner("BETA", CertificatePin(sha256=beta.sha256))
        self.tell(acceptance(beta, "BETA"))
        self.tell(refusal(self.ca.issue("beta")))
        self.assertEqual(self.proposed(), [])
        self.assertEqual(self.stored("certificate.proposed"), [])

    def test_other_subject_or_issuer(self) -> None:
        """Another subject, or another CA's certificate of the same subject, is not proposed."""
        self.tell(refusal(self.ca.issue("other")))
        self.tell(refusal(TestCa.root("Another").issue("acme")))
        self.assertEqual(self.proposed(), [])

    def test_other_causes(self) -> None:
        """A certificate whose path was not verified is not proposed, whatever it says; nor what a client says."""
        for cause in ("certificate.unknown_ca", "certificate.revoked", "certificate.expired"):
            self.tell(refusal(self.new, cause=cause))
        self.tell(refusal(self.new, facts={}))
        self.forge(refusal(self.new, source="client"))
        self.tell(refusal(self.new, certificate_sha256="short"))
        wrong = refusal(self.new)
        del wrong["not_after"]
        self.tell(wrong)
        self.assertEqual(self.proposed(), [])

    def test_known_by_its_ca(self) -> None:
        """A partner that is recognized by its CA needs none."""
        gamma = self.ca.issue("gamma")
        self.partner("GAMMA", SubjectRule(ca="odette", serial_number="GAMMA"))
        self.tell(acceptance(gamma, "GAMMA", ca="odette", by="subject"), identity(gamma, "GAMMA"))
        self.tell(refusal(self.ca.issue("gamma")))
        self.assertEqual(self.proposed(), [])

    def test_known_by_its_key(self) -> None:
        """A partner whose key is pinned gets one for a certificate with another key."""
        delta = self.ca.issue("delta")
        self.partner("DELTA", KeyPin(sha256=delta.key_sha256))
        self.tell(acceptance(delta, "DELTA", by="key"), identity(delta, "DELTA"))
        new = self.ca.issue("delta")
        self.tell(refusal(new))
        self.assertEqual(self.proposed(), [("DELTA", new.sha256)])

    def test_two_partners(self) -> None:
        """Where two partners proved themselves with this subject and issuer, nobody is proposed."""
        twin = self.ca.issue("acme")
        self.partner("TWIN", CertificatePin(sha256=twin.sha256))
        self.tell(acceptance(twin, "TWIN"), identity(twin, "TWIN"))
        self.tell(refusal(self.new))
        self.assertEqual(self.proposed(), [])

    def test_bounded(self) -> None:
        """Of one partner the newest five are kept."""
        certificates = [self.ca.issue("acme") for _ in range(7)]
        for hours, each in enumerate(certificates):
            self.tell(refusal(each, hours))
        newest = [("ACME", each.sha256) for each in reversed(certificates[2:])]
        self.assertEqual(self.proposed(), newest)

    def test_no_more(self) -> None:
        """A partner that is disabled, gone, or recognizes the new certificate already, has no proposal."""
        self.tell(refusal(self.new))
        with self.change() as change:
            partners.alter(change, "ACME", enabled=False)
        self.assertEqual(self.proposed(), [])
        with self.change() as change:
            partners.alter(change, "ACME", enabled=True)
        self.assertEqual(len(self.proposed()), 1)
        with self.change() as change:
            partners.add_rules(change, "ACME", [CertificatePin(sha256=self.new.sha256)])
        self.assertEqual(self.proposed(), [])
        with self.change() as change:
            partners.remove(change, "ACME")
        self.assertEqual(self.proposed(), [])

    def test_partner_of_another_name(self) -> None:
        """What was proposed for a partner that was removed is nobody's, also when another has its certificate."""
        self.tell(refusal(self.new))
        with self.change() as change:
            partners.remove(change, "ACME")
            change.session.flush()
            named = Partner(
                name="ACME GmbH", codes=("O0013ACME",), certificates=(CertificatePin(sha256=self.old.sha256),)
            )
            partners.add(change, named)
        with self.store.writing() as session:
            (left,) = session.scalars(select(ProposalRow))
            session.execute(delete(SeenCertificateRow))
        again = acceptance(self.old, "ACME GmbH"), identity(self.old, "ACME GmbH")
        self.tell(*again)
        with self.store.writing() as session:
            # PostgreSQL does not give a number twice.
            session.execute(update(SeenCertificateRow).values(id=left.old))
        self.assertEqual(self.proposed(), [])
        with self.store.writing() as session:
            sightings.forget(session, None, NOW)
            self.assertEqual(session.scalars(select(ProposalRow)).all(), [])

    def test_explained(self) -> None:
        """The explanation of the refusal says whose certificate it seems to be, and the command."""
        self.tell(refusal(self.new))
        with self.store.reading() as session:
            found = refusals_explained.find(session, "192.0.2.7")
        self.assertIn("smartproxy partner accept ACME", str(found.advice))


class WhatIsAccepted(ProposalCase):
    """An operator's decision."""

    def test_accepted(self) -> None:
        """The new certificate is a pin beside the old one, with what stands in it; the proposal is gone."""
        self.tell(refusal(self.new))
        self.assertEqual(self.accept().sha256, self.new.sha256)
        with self.store.reading() as session:
            row = partners.find(session, "ACME")
        pins = tuple(CertificatePin(sha256=each.sha256) for each in (self.old, self.new))
        self.assertEqual(row.entry.certificates, pins)
        (note,) = row.notes
        self.assertEqual((note.sha256, note.not_after), (self.new.sha256, self.new.certificate.not_valid_after_utc))
        self.assertEqual(self.proposed(), [])

    def test_several(self) -> None:
        """Where several are proposed, one has to be named."""
        other = self.ca.issue("acme")
        self.tell(refusal(self.new), refusal(other, 1))
        error = str(self.assertRaises(NotFound, self.accept))
        self.assertIn(other.sha256, error)
        self.assertIn("--sha256", error)
        self.accept(f"{other.sha256[:2]}:{other.sha256[2:16]}".upper())
        self.assertEqual(self.proposed(), [("ACME", self.new.sha256)])

    def test_nothing_proposed(self) -> None:
        """Without a proposal, or with a certificate that nobody showed, nothing is accepted."""
        self.assertIn("no certificate is proposed", str(self.assertRaises(NotFound, self.accept)))
        self.tell(refusal(self.new))
        self.assertRaises(NotFound, self.accept, "00" * 32)


class WhatIsRejected(ProposalCase):
    """An operator's other decision."""

    def reject(self, which: str | None = None) -> None:
        """Reject what is proposed for the partner."""
        with self.store.writing() as session:
            proposals.reject(session, "ACME", which, NOW)

    def test_does_not_come_again(self) -> None:
        """It is not proposed again, however often it is shown; another certificate is."""
        self.tell(refusal(self.new))
        self.reject()
        self.tell(refusal(self.new, 50))
        self.assertEqual(self.proposed(), [])
        self.assertEqual(len(self.stored("certificate.proposed")), 1)
        self.assertRaises(NotFound, self.accept)
        other = self.ca.issue("acme")
        self.tell(refusal(other, 51))
        self.assertEqual(self.proposed(), [("ACME", other.sha256)])
        with self.store.reading() as session:
            known = proposals.listed(session, rejected=True)
        self.assertEqual([each.rejected for each in known if each.sha256 == self.new.sha256], [NOW])

    def test_stays_in_a_flood(self) -> None:
        """Many others do not make it forgotten."""
        self.tell(refusal(self.new))
        self.reject()
        for hours in range(1, 9):
            self.tell(refusal(self.ca.issue("acme"), hours))
        self.tell(refusal(self.new, 10))
        self.assertNotIn(("ACME", self.new.sha256), self.proposed())
        self.assertEqual(len(self.proposed()), 5)

    def test_changed_mind(self) -> None:
        """One that is named is accepted all the same."""
        self.tell(refusal(self.new))
        self.reject()
        self.assertEqual(self.accept(self.new.sha256[:16]).sha256, self.new.sha256)
        self.assertEqual(self.proposed(), [])


def answer(old: TestCredential, **fields: Any) -> dict[str, Any]:
    """A server's event about a partner that was called and proved its identity."""
    told = acceptance(old, host="oftp.acme.example", port=6619, **fields)
    return {**told, "name": "outbound.answered", "session": "3d38bcab3c9b8a05"}


def failure(new: TestCredential, hours: int = 0, **fields: Any) -> dict[str, Any]:
    """A server's event about a partner that was called and showed another certificate."""
    told = refusal(new, hours, **{"cause": "certificate.not_expected", "partner": "ACME", "step": "tls", **fields})
    return {**told, "name": "outbound.failed", "host": "oftp.acme.example", "port": 6619}


class WhenCalled(ProposalCase):
    """A partner that is called shows a new certificate."""

    def setUp(self) -> None:
        """It is recognized by a pin of its own when it is called."""
        super().setUp()
        self.server = self.ca.issue("oftp.acme.example")
        self.next = self.ca.issue("oftp.acme.example")
        self.call(CertificatePin(sha256=self.server.sha256))

    def call(self, *pins: CertificatePin) -> None:
        """Say how it is called."""
        outbound = Outbound(host="oftp.acme.example", verify=Verify.PIN, certificates=pins)
        with self.change() as change:
            partners.alter(change, "ACME", outbound=outbound)

    def test_proposed(self) -> None:
        """It is proposed, told, and when accepted pinned for calls to the partner, and for nothing else."""
        self.tell(answer(self.server))
        self.tell(failure(self.next))
        (told,) = self.stored("certificate.proposed")
        self.assertEqual((told.fields["partner"], told.fields["direction"]), ("ACME", "outbound"))
        self.assertTrue(self.accept().outgoing)
        with self.store.reading() as session:
            entry = partners.find(session, "ACME").entry
        assert entry.outbound is not None
        pins = tuple(CertificatePin(sha256=each.sha256) for each in (self.server, self.next))
        self.assertEqual(entry.outbound.certificates, pins)
        self.assertEqual(entry.certificates, (CertificatePin(sha256=self.old.sha256),))
        self.assertEqual(self.proposed(), [])

    def test_pins_of_the_entry(self) -> None:
        """Where the rules of its own calls count, the new pin goes there."""
        self.call()
        self.tell(answer(self.old))
        self.tell(failure(self.new))
        self.accept()
        with self.store.reading() as session:
            entry = partners.find(session, "ACME").entry
        self.assertEqual(len(entry.certificates), 2)

    def test_not_proposed(self) -> None:
        """Not without a proof before, a verified path, or the same subject; and not of another partner."""
        self.tell(failure(self.next))
        self.tell(answer(self.server))
        self.tell(
            failure(self.next, facts={}), failure(self.ca.issue("elsewhere")), failure(self.next, partner="OTHER")
        )
        self.tell(failure(self.next, cause="certificate.expired"))
        self.forge(failure(self.next, source="client"))
        self.assertEqual(self.proposed(), [])

    def test_both_directions(self) -> None:
        """The same certificate shown both ways is two decisions: that for its own calls comes first."""
        self.call(CertificatePin(sha256=self.old.sha256))
        self.tell(answer(self.old))
        self.tell(refusal(self.new), failure(self.new, 1))
        self.assertEqual(len(self.proposed()), 2)
        self.assertRaises(NotFound, self.accept, "00")
        self.assertFalse(self.accept(self.new.sha256).outgoing)
        self.assertTrue(self.accept().outgoing)


class ProposalCommands(CommandCase):
    """``smartproxy partner proposals`` and ``accept``."""

    def test_commands(self) -> None:
        """What is proposed is listed with both certificates, and accepted by the partner's name, with a comment."""
        from smartproxy.backend.store import Store

        ca = TestCa.root("Odette")
        old, new = ca.issue("acme"), ca.issue("acme")
        self.do("ca", "add", "odette", self.file("ca.pem", ca.credential.certificate_pem))
        pem = self.file("acme.pem", old.certificate_pem)
        self.do("partner", "add", "ACME", "--code", "O0013000001ACME", "--certificate", pem)
        self.assertIn("no certificate is proposed", self.do("partner", "proposals").out)
        store = Store.open(self.location)
        self.addCleanup(store.close)
        told = [acceptance(old), identity(old), refusal(new)]
        self.assertEqual(ClientRequests(store).keep_events("inner", told, NOW).refused, [])
        shown = self.do("partner", "proposals").out
        for text in ("ACME", new.sha256, old.sha256[:16], PEER):
            self.assertIn(text, shown)
        (document,) = self.do("partner", "proposals", "--json").json
        self.assertEqual((document["sha256"], document["old_sha256"]), (new.sha256, old.sha256))
        done = self.do("partner", "accept", "ACME", "--comment", "confirmed by telephone").out
        for text in (new.sha256, old.sha256, "verified by the CA odette"):
            self.assertIn(text, done)
        found = self.do("partner", "show", "ACME", "--json").json["certificates"]
        self.assertEqual([each["sha256"] for each in found], [old.sha256, new.sha256])
        newest = self.do("history", "-n", "1", "--json").json[0]
        self.assertEqual((newest["change"], newest["comment"]), ("partner accept ACME", "confirmed by telephone"))
        self.assertIn("no certificate is proposed for ACME", self.refused("partner", "accept", "ACME"))
        other = ca.issue("acme")
        self.assertEqual(ClientRequests(store).keep_events("inner", [refusal(other, 3)], NOW + 3 * HOUR).refused, [])
        self.assertIn("not proposed for ACME again", self.do("partner", "reject", "ACME").out)
        self.assertIn("no certificate is proposed", self.do("partner", "proposals").out)
        listed = self.do("partner", "proposals", "--all").out
        self.assertIn("REJECTED", listed)
        self.assertIn(other.sha256, listed)
