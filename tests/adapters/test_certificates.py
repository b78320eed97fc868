"""Certificates over real TLS: each way to be wrong has its exact cause in one event, and an alert for the peer.

Every cause is met by a TLS 1.2 and by a TLS 1.3 client, because the two learn of it in different ways: in TLS 1.3 the
client has finished its handshake before the server has judged its certificate.
"""

from collections.abc import Iterable
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.tls.names import issuer_text, subject_text
from smartproxy.net.tls.openssl import error_text
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES, VerifyError
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import CertificatePin, Purpose, RevocationMode, Rule, SanRule, SubjectRule
from smartproxy.testing import forging
from smartproxy.testing.forging import below, monstrous, rsa_signer
from smartproxy.testing.pki import SERVER_AUTH, KeyKind, TestCa, TestCredential, make_key, self_signed
from smartproxy.testing.tls import TlsVersion
from tests.adapters.acme import (
    ALONE,
    BY_SUBJECT,
    DAY,
    HOUR,
    LEAF,
    MIDDLE,
    NOW,
    ODETTE_ID,
    ROOT,
    acme,
    configuration,
    revoked,
    tampered,
)
from tests.adapters.tls_peers import Forged, call
from tests.unit.odd_files import ODD_EXTENSIONS, named_in_bits


class RefusedTests(SynchronousTestCase):
    """Every refusal has its cause, and nothing is delivered, sent or opened."""

    def check(
        self,
        credential: TestCredential | None,
        server: ServerConfiguration,
        cause: Cause,
        alert: str,
        *,
        alert_of_tls_1_2: str | None = None,
        about: TestCa | None = None,
        depth: int = 0,
        points: int = 2,
        facts: Iterable[str] = (),
    ) -> None:
        """Call with both versions of TLS; compare the one event, and the alert that the client saw."""
        self.assertEqual(alert, CERTIFICATE_CAUSES[cause].alert)
        for version in TlsVersion:
            expected = alert_of_tls_1_2 if alert_of_tls_1_2 and version is TlsVersion.TLS_1_2 else alert
            made = call(server, credential, version)
            self.assertEqual(made.rig.journal.names(), ["certificate.refused"])
            event: Any = made.rig.journal.the("certificate.refused")
            self.assertEqual((event["cause"], event["depth"]), (cause, depth), event)
            self.assertEqual((event.get("alert"), made.alerts), (expected, [expected]), version)
            self.assertEqual(event["peer"], "192.0.2.7:40001")
            self.assertTrue(event["message"] and event["advice"])
            if credential is not None:
                named = about.credential if about else credential
                self.assertEqual(event["certificate_sha256"], named.sha256)
                self.assertEqual(event["serial"], f"{named.certificate.serial_number:x}")
                self.assertEqual(event["subject"], subject_text(named.certificate))
                self.assertEqual(event["issuer"], issuer_text(named.certificate))
            for name in facts:
                self.assertTrue(event.get(name) or event["facts"][name], name)
            self.assertEqual(made.caller.received, b"")
            self.assertIsNotNone(made.caller.ended)
            rig = made.rig
            self.assertEqual((rig.opened, rig.sessions.live, rig.gate.admission.connections), ([], {}, 0))
            self.assertEqual(made.points, [float(points)] if points else [])
            self.assertEqual(rig.clock.getDelayedCalls(), [])

    def test_no_certificate(self) -> None:
        """A peer that shows no certificate."""
        self.check(
            None,
            configuration(),
            Cause.CERTIFICATE_MISSING,
            "certificate_required",
            alert_of_tls_1_2="handshake_failure",
        )

    def test_unknown_authority(self) -> None:
        """A certificate of an authority that the site does not know, though it says the same of its holder."""
        stranger = TestCa.root("stranger's root").issue("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(stranger, configuration(), Cause.CERTIFICATE_UNKNOWN_CA, "unknown_ca", facts=["openssl"])

    def test_authority_of_the_same_name(self) -> None:
        """A certificate of an authority that has the name of a known one, and not its key."""
        impostor = TestCa.root("partners' root").issue("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(impostor, configuration(), Cause.CERTIFICATE_UNKNOWN_CA, "unknown_ca")

    def test_unpinned_self_signed(self) -> None:
        """A certificate that nobody vouches for, and that is not pinned."""
        self.check(ALONE, configuration(), Cause.CERTIFICATE_UNKNOWN_CA, "unknown_ca", facts=["key_sha256"])

    def test_intermediate_not_sent(self) -> None:
        """A partner who does not send the intermediate certificate."""
        lonely = attrs.evolve(LEAF, intermediates=())
        self.check(lonely, configuration(), Cause.CERTIFICATE_UNKNOWN_CA, "unknown_ca")

    def test_root_sent(self) -> None:
        """An unknown authority does not become known by sending its certificate."""
        stranger = TestCa.root("stranger's root")
        leaf = stranger.issue("oftp.acme.example", serial_number=ODETTE_ID)
        complete = attrs.evolve(leaf, intermediates=(stranger.credential.certificate,))
        self.check(complete, configuration(), Cause.CERTIFICATE_UNKNOWN_CA, "unknown_ca")

    def test_expired(self) -> None:
        """An expired certificate, with its dates."""
        expired = MIDDLE.issue_expired("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(
            expired,
            configuration(),
            Cause.CERTIFICATE_EXPIRED,
            "certificate_expired",
            facts=["not_before", "not_after"],
        )

    def test_expired_intermediate(self) -> None:
        """An expired certificate further up, with its place in the path."""
        old = ROOT.intermediate("old intermediate", valid_until=NOW - HOUR)
        leaf = old.issue("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(leaf, configuration(), Cause.CERTIFICATE_EXPIRED, "certificate_expired", about=old, depth=1)

    def test_not_yet_valid(self) -> None:
        """A certificate whose time has not come."""
        early = MIDDLE.issue_not_yet_valid("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(early, configuration(), Cause.CERTIFICATE_NOT_YET_VALID, "bad_certificate", facts=["not_before"])

    def test_revoked_leaf(self) -> None:
        """A revoked certificate, with the list that says so; it costs more points."""
        server = configuration(mode=RevocationMode.REQUIRE, lists=[revoked(ROOT), revoked(MIDDLE, LEAF)])
        self.check(
            LEAF,
            server,
            Cause.CERTIFICATE_REVOKED,
            "certificate_revoked",
            points=5,
            facts=["list", "this_update", "next_update", "age", "ca"],
        )

    def test_revoked_intermediate(self) -> None:
        """A certificate whose issuer's certificate is revoked."""
        server = configuration(mode=RevocationMode.REQUIRE, lists=[revoked(ROOT, MIDDLE.credential), revoked(MIDDLE)])
        self.check(LEAF, server, Cause.CERTIFICATE_REVOKED, "certificate_revoked", about=MIDDLE, depth=1, points=5)

    def test_list_missing(self) -> None:
        """No revocation list where one is required; the peer is not told that its certificate is bad."""
        server = configuration(mode=RevocationMode.REQUIRE, lists=[revoked(ROOT)])
        self.check(LEAF, server, Cause.CERTIFICATE_REVOCATION_MISSING, "certificate_unknown", facts=["list"], points=0)

    def test_list_missing_further_up(self) -> None:
        """No revocation list of the root, which would have to say something of the intermediate."""
        server = configuration(mode=RevocationMode.REQUIRE, lists=[revoked(MIDDLE)])
        cause = Cause.CERTIFICATE_REVOCATION_MISSING
        self.check(LEAF, server, cause, "certificate_unknown", about=MIDDLE, depth=1, points=0)

    def test_list_stale(self) -> None:
        """A revocation list that should have been replaced."""
        old = revoked(MIDDLE, this_update=NOW - 8 * DAY, next_update=NOW - DAY)
        server = configuration(mode=RevocationMode.REQUIRE, lists=[revoked(ROOT), old])
        self.check(LEAF, server, Cause.CERTIFICATE_REVOCATION_STALE, "certificate_unknown", facts=["age"], points=0)

    def test_list_in_its_grace(self) -> None:
        """With 12 hours of grace a list is good for 12 hours more than it says, for a leaf and an intermediate."""
        for overdue in (ROOT, MIDDLE):
            lists = [
                revoked(each, next_update=NOW - (11 * HOUR if each is overdue else -30 * DAY))
                for each in (ROOT, MIDDLE)
            ]
            server = configuration(mode=RevocationMode.REQUIRE, lists=lists)
            graced = attrs.evolve(server, cas=tuple(attrs.evolve(each, grace_hours=12) for each in server.cas))
            for version in TlsVersion:
                self.assertEqual(call(graced, LEAF, version).caller.received, SSRM_BUFFER)
            over = [attrs.evolve(each, next_update=each.next_update - 2 * HOUR) for each in lists if each.next_update]
            cause, depth = Cause.CERTIFICATE_REVOCATION_STALE, 1 if overdue is ROOT else 0
            about = MIDDLE if depth else None
            for late in (attrs.evolve(graced, revocation=tuple(over)), server):
                self.check(LEAF, late, cause, "certificate_unknown", about=about, depth=depth, points=0)

    def test_weak_key(self) -> None:
        """A key of RSA 1024."""
        weak = MIDDLE.issue_weak_key("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(weak, configuration(), Cause.CERTIFICATE_WEAK_KEY, "bad_certificate", facts=["openssl"])

    def test_weak_pinned_key(self) -> None:
        """A pinned certificate with a key of RSA 1024."""
        weak = self_signed("weak", key=make_key(KeyKind.RSA_1024))
        pinned = configuration(acme(CertificatePin(sha256=weak.sha256)))
        self.check(weak, pinned, Cause.CERTIFICATE_WEAK_KEY, "bad_certificate", facts=["key_type", "key_bits"])

    def test_weak_signature(self) -> None:
        """A signature over SHA-1."""
        weak = MIDDLE.issue_sha1("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(weak, configuration(), Cause.CERTIFICATE_WEAK_SIGNATURE, "bad_certificate")

    def test_wrong_purpose(self) -> None:
        """A certificate for electronic mail, and one for servers only where the entry is strict."""
        mail = MIDDLE.issue_for_mail("oftp.acme.example", serial_number=ODETTE_ID)
        server_only = MIDDLE.issue("oftp.acme.example", serial_number=ODETTE_ID, purposes=(SERVER_AUTH,))
        facts = ["purpose", "extended_key_usage"]
        for credential, purpose in (
            (mail, Purpose.STRICT),
            (mail, Purpose.SERVER_AUTH),
            (server_only, Purpose.STRICT),
        ):
            self.check(
                credential,
                configuration(acme(purpose=purpose)),
                Cause.CERTIFICATE_WRONG_PURPOSE,
                "unsupported_certificate",
                facts=facts,
            )

    def test_bad_signature(self) -> None:
        """A certificate that was changed after it was signed."""
        self.check(tampered(LEAF), configuration(), Cause.CERTIFICATE_BAD_SIGNATURE, "decrypt_error", facts=["openssl"])

    def test_signed_by_a_leaf(self) -> None:
        """A certificate that another partner signed with its own, which may not issue any."""
        other = TestCa(LEAF, is_root=False)
        forged = other.issue("oftp.acme.example", serial_number="O0013000001FOO")
        foo = attrs.evolve(acme(SubjectRule(ca="ca", serial_number="O0013000001FOO")), name="FOO", codes=("X",))
        self.check(
            forged,
            configuration(acme(), foo),
            Cause.CERTIFICATE_NOT_A_CA,
            "certificate_unknown",
            about=other,
            depth=1,
        )

    def test_path_too_long(self) -> None:
        """More intermediate authorities than a path may have."""
        authority = MIDDLE
        for number in range(5):
            authority = authority.intermediate(f"intermediate {number}")
        leaf = authority.issue("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(leaf, configuration(), Cause.CERTIFICATE_PATH_TOO_LONG, "certificate_unknown")

    def test_disabled(self) -> None:
        """A good certificate of a partner who is disabled, by authority and by pin."""
        for rule in (BY_SUBJECT, CertificatePin(sha256=LEAF.sha256)):
            self.check(
                LEAF,
                configuration(acme(rule, enabled=False)),
                Cause.CERTIFICATE_PARTNER_DISABLED,
                "certificate_unknown",
                facts=["partner"],
            )

    def test_issued_by_a_root(self) -> None:
        """A good certificate that a root issued directly, which its authority is not to do."""
        leaf = ROOT.issue("oftp.acme.example", serial_number=ODETTE_ID)
        found = configuration()
        strict = attrs.evolve(found, cas=tuple(attrs.evolve(each, refuse_direct=True) for each in found.cas))
        self.check(leaf, strict, Cause.CERTIFICATE_FROM_ROOT, "certificate_unknown", facts=["ca"])

    def test_nobody(self) -> None:
        """A good certificate that is no partner's, with what a rule could go by."""
        nobody = MIDDLE.issue("oftp.foo.example", serial_number="O0013000001FOO", sans=("DNS:oftp.foo.example",))
        self.check(
            nobody,
            configuration(),
            Cause.CERTIFICATE_NO_PARTNER,
            "certificate_unknown",
            facts=["key_sha256", "subject_serial_number", "sans", "cas"],
        )

    def test_ambiguous(self) -> None:
        """A good certificate that fits the rules of two partners."""
        by_name = SanRule(ca="ca", san="DNS:oftp.acme.example")
        server = configuration(acme(), attrs.evolve(acme(by_name), name="FOO", codes=("FOO",)))
        self.check(LEAF, server, Cause.CERTIFICATE_AMBIGUOUS, "certificate_unknown", facts=["partners"], points=0)


class UnreadableTests(SynchronousTestCase):
    """A certificate that OpenSSL lets pass and we cannot read is the peer's fault, not a bug of ours."""

    def check(self, forged: Forged, cause: Cause, alert: str, rule: Rule = BY_SUBJECT) -> None:
        """Call with both versions of TLS; compare the one event, and the alert that the client saw."""
        self.assertEqual(alert, CERTIFICATE_CAUSES[cause].alert)
        for version in TlsVersion:
            made = call(configuration(acme(rule)), forged, version)
            self.assertEqual(made.rig.journal.names(), ["certificate.refused"])
            self.assertEqual(made.rig.journal.the("certificate.refused")["cause"], cause)
            self.assertEqual((made.alerts, made.caller.received, made.rig.opened), ([alert], b"", []))
            self.assertEqual(made.points, [2.0])

    def test_version(self) -> None:
        """A version of X.509 that does not exist."""
        for credential in (LEAF, ALONE):
            forged = Forged.of(credential, bytes.fromhex("a003020102"), bytes.fromhex("a003020105"))
            self.check(forged, Cause.CERTIFICATE_UNREADABLE, "bad_certificate", CertificatePin(sha256=forged.sha256))

    def test_dates(self) -> None:
        """A date that does not exist."""
        start = ALONE.certificate.not_valid_before_utc.strftime("%y%m%d%H%M%SZ").encode()
        forged = Forged.of(ALONE, start, b"261399000000Z")
        self.check(forged, Cause.CERTIFICATE_UNREADABLE, "bad_certificate", CertificatePin(sha256=forged.sha256))

    def test_purpose(self) -> None:
        """An extended key usage that cannot be read allows nothing, even if the certificate is pinned."""
        client_auth = bytes.fromhex("06082b06010505070302")
        garbled = Forged.of(ALONE, client_auth, b"\x07" + client_auth[1:])
        self.check(garbled, Cause.CERTIFICATE_UNREADABLE, "bad_certificate", CertificatePin(sha256=garbled.sha256))

    def test_others(self) -> None:
        """Extensions that a pin does not need: two that contradict each other hide no purpose."""
        key_identifier, constraints = bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d13")
        twice = Forged.of(ALONE, key_identifier, constraints)
        made = call(configuration(acme(CertificatePin(sha256=twice.sha256))), twice, TlsVersion.TLS_1_3)
        self.assertEqual(made.rig.journal.the("certificate.accepted")["partner"], "ACME")

    def extended(self, *extensions: x509.ExtensionType) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        """A certificate with these extensions, and its key."""
        key, about = ec.generate_private_key(ec.SECP256R1()), forging.name("acme")
        return key, forging.certificate(about, about, key.public_key(), signer=key, extensions=extensions)

    def test_odd_extensions(self) -> None:
        """An extension of any kind with a value that the library does not take: a stranger's, and a partner's."""
        for kind, value, error in ODD_EXTENSIONS:
            key, made = self.extended(x509.UnrecognizedExtension(kind, value))
            odd = Forged(key, made.public_bytes(serialization.Encoding.DER))
            stranger = call(configuration(), odd, TlsVersion.TLS_1_3)
            event = stranger.rig.journal.the("certificate.refused")
            self.assertEqual(event["cause"], Cause.CERTIFICATE_UNKNOWN_CA, error)
            partner = call(configuration(acme(CertificatePin(sha256=odd.sha256))), odd, TlsVersion.TLS_1_3)
            self.assertEqual(partner.rig.journal.the("certificate.accepted")["partner"], "ACME")

    def test_name_in_an_extension(self) -> None:
        """A name in an extension that is no text at all hides neither a purpose nor a pin."""
        names = x509.SubjectAlternativeName([x509.DirectoryName(forging.name("somewhere"))])
        key, made = self.extended(names)
        odd = Forged(key, named_in_bits(made, "somewhere"))
        called = call(configuration(acme(CertificatePin(sha256=odd.sha256))), odd, TlsVersion.TLS_1_3)
        self.assertEqual(called.rig.journal.the("certificate.accepted")["partner"], "ACME")

    def test_intermediate(self) -> None:
        """A certificate further up that cannot be read."""
        forged = Forged.of(MIDDLE.credential, bytes.fromhex("a003020102"), bytes.fromhex("a003020105"))
        leaf = LEAF.certificate.public_bytes(serialization.Encoding.DER)
        made = call(configuration(), Forged(LEAF.key, leaf, (forged.certificate,)), TlsVersion.TLS_1_3)
        event = made.rig.journal.the("certificate.refused")
        self.assertEqual((event["cause"], event["depth"]), ("certificate.unreadable", 1))
        self.assertEqual(made.alerts, ["bad_certificate"])


HUGE = monstrous(3072, 3072)
"""Keys that cost eight milliseconds for each signature."""


class ExpensiveTests(SynchronousTestCase):
    """A stranger cannot make the site compute for long: no chain without an anchor has a signature checked."""

    def refused(self, shown: TestCredential, server: ServerConfiguration) -> Any:
        """The one event of a call, which delivers nothing."""
        made = call(server, shown, TlsVersion.TLS_1_3)
        self.assertEqual((made.caller.received, made.rig.opened), (b"", []))
        names = made.rig.journal.names()
        self.assertEqual(len(names), 1)
        return made.rig.journal.the(names[0])

    def test_without_an_anchor(self) -> None:
        """A path that no anchor ends is refused when that is known, before its forged signatures are found out."""
        for shown in (below(HUGE, signer=rsa_signer(3072)), below(monstrous(2048, 16))):
            event = self.refused(shown, configuration())
            self.assertEqual((event["cause"], event["alert"]), ("certificate.unknown_ca", "unknown_ca"))
            self.assertEqual(event["facts"]["openssl"], "self-signed certificate in certificate chain")

    def test_in_the_name_of_an_anchor(self) -> None:
        """Of a path that ends at an anchor by name only, no key but the anchor's is used."""
        name = ROOT.credential.certificate.subject
        event = self.refused(below(monstrous(2048, 16), length=4, top=name), configuration())
        self.assertEqual((event["cause"], event["alert"]), ("certificate.bad_signature", "decrypt_error"))
        event = self.refused(below(HUGE, length=4, top=name), configuration())
        self.assertEqual((event["cause"], event["alert"]), ("certificate.expensive_key", "bad_certificate"))

    def test_above_a_pinned_certificate(self) -> None:
        """What stands above a pinned certificate is cheap to check, or the peer is refused."""
        weird = dsa.generate_private_key(1024)
        big = ec.generate_private_key(ec.BrainpoolP512R1())
        for shown in (
            below(HUGE, length=1, signer=rsa_signer(3072)),
            below(monstrous(16384, 24), length=1),
            below(weird.public_key, length=1, signer=weird),
            below(big.public_key, length=3, signer=big),
        ):
            event = self.refused(shown, configuration(acme(CertificatePin(sha256=shown.sha256))))
            self.assertEqual((event["cause"], event["alert"]), ("certificate.expensive_key", "bad_certificate"))
            self.assertTrue(event["facts"]["needed"])

    def test_ordinary_chain_above_a_pinned_certificate(self) -> None:
        """A pinned certificate with the chain of its own authorities is accepted, of whatever ordinary keys."""
        big = ec.generate_private_key(ec.BrainpoolP512R1())
        for shown in (below(monstrous(4096, 24)), below(big.public_key, length=1, signer=big)):
            made = call(configuration(acme(CertificatePin(sha256=shown.sha256))), shown, TlsVersion.TLS_1_3)
            self.assertEqual(made.rig.journal.the("certificate.accepted")["partner"], "ACME")

    def test_too_many_octets(self) -> None:
        """A peer that sends more than a handshake needs is cut off before OpenSSL reads the certificates."""
        stranger = self_signed("stranger")
        many = tuple(self_signed(f"other {number}").certificate for number in range(60))
        event = self.refused(attrs.evolve(stranger, intermediates=many), configuration())
        self.assertEqual(event["cause"], "handshake.failed")
        self.assertIn("excessive message size", event["message"])


class NumberTests(SynchronousTestCase):
    """Our constants are OpenSSL's."""

    def test_numbers(self) -> None:
        """Each finding has the number that pyOpenSSL knows by this name, or OpenSSL by these words."""
        words = {
            "NO_ISSUER_PUBLIC_KEY": "issuer certificate doesn't have a public key",
            "EE_KEY_TOO_SMALL": "EE certificate key too weak",
            "CA_KEY_TOO_SMALL": "CA certificate key too weak",
            "CA_MD_TOO_WEAK": "CA signature digest algorithm too weak",
            "UNSUPPORTED_SIGNATURE_ALGORITHM": "Cannot find certificate signature algorithm",
            "SIGNATURE_ALGORITHM_MISMATCH": "subject signature algorithm and issuer public key algorithm mismatch",
            "SIGNATURE_ALGORITHM_INCONSISTENCY": "cert info signature and signature algorithm mismatch",
        }
        self.assertGreater(len(VerifyError), 25)
        for name, code in VerifyError.__members__.items():
            if name in words:
                self.assertEqual(error_text(code), words[name])
            else:
                self.assertEqual(code, getattr(SSL.X509VerificationCodes, f"ERR_{name}"), name)
