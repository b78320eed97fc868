"""CAs that have one name and different keys, as after a CA began anew with another key."""

from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.tls.context import namesakes_of
from smartproxy.policy.certificates.revocation import RevocationSet
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import RevocationMode, SubjectRule
from smartproxy.policy.partners import TrustedCa as AuthorityEntry
from smartproxy.testing.pki import TestCa, TestCredential
from smartproxy.testing.tls import TlsVersion
from tests.adapters.acme import DAY, NOW, ODETTE_ID, ROOT, acme, configuration, limited, revoked, tampered, with_issuing
from tests.adapters.tls_peers import call

NEW = TestCa.root("partners' root")
"""Another CA with the name of the first one."""


def plain(issuer: TestCa, credential: TestCredential, *, of: TestCa | None = None) -> TestCredential:
    """A certificate without the extension that tells its issuer's key, as small CAs make them.

    :param of: who signs it in the issuer's place.
    """
    old = credential.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(issuer.credential.certificate.subject)
        .public_key(old.public_key())
        .serial_number(old.serial_number)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
    )
    for extension in old.extensions:
        if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
            builder = builder.add_extension(extension.value, extension.critical)
    return attrs.evolve(credential, certificate=builder.sign((of or issuer).credential.key, hashes.SHA256()))


def leaf(issuer: TestCa, **others: Any) -> TestCredential:
    """ACME's certificate, of this CA and without its key's identifier."""
    return plain(issuer, issuer.issue("oftp.acme.example", serial_number=ODETTE_ID, **others))


def orders(server: ServerConfiguration) -> tuple[ServerConfiguration, ...]:
    """The configuration with its CAs in both orders: OpenSSL takes the first one, or the one that ends last."""
    return server, attrs.evolve(server, cas=server.cas[::-1])


class OneName(SynchronousTestCase):
    """OpenSSL takes one of them by its name alone; the other one vouches as well."""

    def accepted(self, server: ServerConfiguration, shown: TestCredential, ca: str) -> None:
        """Call with each version of TLS and each order of the CAs, and see who vouched."""
        for each in orders(server):
            for version in TlsVersion:
                event = call(each, shown, version).rig.journal.the("certificate.accepted")
                self.assertEqual((event["partner"], event["ca"]), ("ACME", ca))

    def refused(self, server: ServerConfiguration, shown: TestCredential, *causes: str) -> None:
        """Call with each order of the CAs, and see why the certificate was refused: one of these causes."""
        for each in orders(server):
            made = call(each, shown, TlsVersion.TLS_1_3)
            self.assertIn(made.rig.journal.the("certificate.refused")["cause"], causes)
            self.assertEqual(len(made.alerts), 1)

    def both(self, ca: str) -> ServerConfiguration:
        """Both CAs, and a partner by the rule of one of them."""
        return with_issuing(configuration(acme(SubjectRule(ca=ca, serial_number=ODETTE_ID))), NEW)

    def test_leaf_of_either(self) -> None:
        """A certificate of each, without an identifier of its issuer's key, is good by its own CA alone."""
        for issuer, ca, other in ((ROOT, "ca", "other"), (NEW, "other", "ca")):
            self.accepted(self.both(ca), leaf(issuer), ca)
            self.refused(self.both(other), leaf(issuer), "certificate.no_partner")

    def test_one_entry(self) -> None:
        """Both certificates can stand in one entry."""
        pem = (ROOT.certificate_pem + NEW.certificate_pem).decode()
        entry = AuthorityEntry(name="ca", certificates=pem, revocation=RevocationMode.OFF)
        server = attrs.evolve(configuration(), cas=(entry,))
        for issuer in (ROOT, NEW):
            self.accepted(server, leaf(issuer), "ca")

    def test_below_an_intermediate(self) -> None:
        """So is one below an intermediate certificate that the partner shows."""
        for issuer, ca in ((ROOT, "ca"), (NEW, "other")):
            middle = issuer.intermediate("partners' intermediate")
            middle = TestCa(plain(issuer, middle.credential), is_root=False)
            self.accepted(self.both(ca), middle.issue("oftp.acme.example", serial_number=ODETTE_ID), ca)

    def test_forged(self) -> None:
        """What neither has signed is forged, and so is a leaf below an intermediate of either."""
        stranger = TestCa.root("partners' root")
        for server in (self.both("ca"), self.both("other")):
            self.refused(server, leaf(stranger), "certificate.bad_signature")
            self.refused(server, tampered(leaf(NEW)), "certificate.bad_signature")
            middle = NEW.intermediate("partners' intermediate")
            middle = TestCa(plain(NEW, middle.credential), is_root=False)
            forged = plain(middle, middle.issue("oftp.acme.example", serial_number=ODETTE_ID), of=stranger)
            self.refused(server, forged, "certificate.bad_signature")

    def test_all_else_is_judged(self) -> None:
        """Dates, revocation and the length of the path count as below the CA that OpenSSL took."""
        for issuer, ca in ((ROOT, "ca"), (NEW, "other")):
            server = self.both(ca)
            self.refused(server, leaf(issuer, valid_until=NOW - DAY, valid_from=NOW - 2 * DAY), "certificate.expired")
            shown = leaf(issuer)
            entries = tuple(attrs.evolve(each, revocation=RevocationMode.REQUIRE) for each in server.cas)
            lists: list[RevocationSet] = [revoked(ROOT), revoked(NEW)]
            strict = attrs.evolve(server, cas=entries, revocation=tuple(lists))
            self.accepted(strict, shown, ca)
            lists[(ROOT, NEW).index(issuer)] = revoked(issuer, shown)
            self.refused(attrs.evolve(strict, revocation=tuple(lists)), shown, "certificate.revoked")

    def test_limits_of_the_other(self) -> None:
        """What the certificate of the right CA forbids is forbidden: here no intermediate, or no such name."""
        names = x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=[x509.DNSName("acme.example")])
        too_long, wrong_name = "certificate.path_too_long", "certificate.invalid_path"
        for length, constraints, cause in ((0, None, too_long), (None, names, wrong_name)):
            issuer = TestCa.root("partners' root")
            entry = limited(issuer, length, constraints).public_bytes(serialization.Encoding.PEM).decode()
            server = configuration(acme(SubjectRule(ca="other", serial_number=ODETTE_ID)))
            other = AuthorityEntry(name="other", certificates=entry, revocation=RevocationMode.OFF)
            server = attrs.evolve(server, cas=(*server.cas, other))
            middle = TestCa(plain(issuer, issuer.intermediate("middle").credential), is_root=False)
            shown = middle.issue("oftp.acme.example", serial_number=ODETTE_ID, sans=("DNS:oftp.acme.example",))
            self.refused(server, shown, cause)
            if constraints is None:
                self.accepted(server, leaf(issuer), "other")

    def test_namesakes(self) -> None:
        """Namesakes have other keys; another certificate of one key is a twin."""
        again = TestCa.root("partners' root", key=ROOT.credential.key)
        anchors = [each.credential.certificate for each in (ROOT, NEW, again, TestCa.root("another"))]
        found = namesakes_of(anchors)
        self.assertEqual(found[anchors[0]], (anchors[1],))
        self.assertEqual(found[anchors[1]], (anchors[0], anchors[2]))
        self.assertEqual(found[anchors[2]], (anchors[1],))
        self.assertNotIn(anchors[3], found)
