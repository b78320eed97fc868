"""A CA that publishes its revocation list in parts: from the files to the verdict over real TLS."""

from datetime import timedelta

import attrs

from smartproxy.backend import cas, generations, partners, revocation
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ServerConfiguration, parse
from smartproxy.policy.partners import Partner, RevocationMode, SubjectRule
from smartproxy.testing.pki import TestCa, TestCredential
from smartproxy.testing.tls import TlsVersion
from tests.adapters.acme import NOW
from tests.adapters.tls_peers import Call, call
from tests.unit.sites import SiteCase

FIRST, SECOND = "http://crl.example/1.crl", "http://crl.example/2.crl"


class ListParts(SiteCase):
    """Partners below one CA, whose certificates name different distribution points."""

    def setUp(self) -> None:
        """A partner whom the first part revokes, one of the first part, one of the second, and one of neither."""
        super().setUp()
        self.ca = TestCa.root("Shard CA")
        self.shown = {
            name: self.ca.issue(name, serial_number=name, crl_urls=urls)
            for name, urls in (("REVOKED", [FIRST]), ("ONE", [FIRST]), ("TWO", [SECOND]), ("NONE", []))
        }
        with self.change(now=NOW) as change:
            cas.add(change, "shard", [self.ca.credential.certificate])
            change.session.flush()
            for name in self.shown:
                rule = SubjectRule(ca="shard", serial_number=name)
                partners.add(change, Partner(name=name, codes=(f"O0013{name}",), certificates=(rule,)))

    def load(self, *revoked: TestCredential, point: str | None) -> None:
        """Load a list."""
        with self.change(now=NOW) as change:
            made = NOW - timedelta(minutes=1)
            pem = self.ca.crl(revoked, point=point, users_only=point is not None, this_update=made)
            revocation.load(change, revocation.parse(pem, "a file"))

    def call(self, name: str, version: TlsVersion, mode: RevocationMode) -> Call:
        """A partner calls a server that has the configuration in force."""
        with self.store.reading() as session:
            found = generations.newest_document(session)
        assert found is not None
        server: ServerConfiguration = parse(found[1]).server
        (entry,) = server.cas
        return call(attrs.evolve(server, cas=(attrs.evolve(entry, revocation=mode),)), self.shown[name], version)

    def verdict(self, name: str, mode: RevocationMode = RevocationMode.REQUIRE) -> Cause | None:
        """Why a partner is refused; ``None`` if it is let in. Both versions of TLS agree."""
        verdicts = set()
        for version in TlsVersion:
            journal = self.call(name, version, mode).rig.journal
            refused = journal.of("certificate.refused")
            self.assertEqual(len(refused) + len(journal.of("certificate.accepted")), 1)
            verdicts.add(Cause(str(refused[0]["cause"])) if refused else None)
        (found,) = verdicts
        return found

    def test_second_part(self) -> None:
        """A partner that the first part revokes stays out when the second is loaded; the second's partner gets in."""
        self.load(self.shown["REVOKED"], point=FIRST)
        self.assertIs(self.verdict("REVOKED"), Cause.CERTIFICATE_REVOKED)
        self.assertIs(self.verdict("TWO"), Cause.CERTIFICATE_REVOCATION_MISSING)
        self.load(point=SECOND)
        for mode in (RevocationMode.REQUIRE, RevocationMode.PREFER):
            self.assertIs(self.verdict("REVOKED", mode), Cause.CERTIFICATE_REVOKED)
        self.assertIsNone(self.verdict("ONE"))
        self.assertIsNone(self.verdict("TWO"))
        self.assertIs(self.verdict("NONE"), Cause.CERTIFICATE_REVOCATION_MISSING)

    def test_only_the_second(self) -> None:
        """Without the first part its partners are refused for want of a list, revoked or not; the event says which."""
        self.load(point=SECOND)
        self.assertIs(self.verdict("REVOKED"), Cause.CERTIFICATE_REVOCATION_MISSING)
        self.assertIs(self.verdict("ONE"), Cause.CERTIFICATE_REVOCATION_MISSING)
        made = self.call("ONE", TlsVersion.TLS_1_3, RevocationMode.REQUIRE)
        self.assertEqual(made.rig.journal.the("certificate.refused")["list_part"], f"URI:{FIRST}")

    def test_whole_list(self) -> None:
        """A whole list covers everybody, and takes nothing back that a part revokes."""
        self.load(self.shown["REVOKED"], point=FIRST)
        self.load(self.shown["TWO"], point=None)
        self.assertIs(self.verdict("REVOKED"), Cause.CERTIFICATE_REVOKED)
        self.assertIs(self.verdict("TWO"), Cause.CERTIFICATE_REVOKED)
        self.assertIsNone(self.verdict("ONE"))
        self.assertIsNone(self.verdict("NONE"))

    def test_points_are_told(self) -> None:
        """The event of an accepted certificate names its distribution points, which a forecast needs."""
        self.load(point=SECOND)
        made = self.call("TWO", TlsVersion.TLS_1_3, RevocationMode.REQUIRE)
        self.assertEqual(made.rig.journal.the("certificate.accepted")["crl_points"], [f"URI:{SECOND}"])
