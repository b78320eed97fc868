"""Tests of :mod:`smartproxy.net.tls.facts`, and of the last look at a finished handshake: no certificate is trusted."""

import ipaddress
from typing import cast
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ed448
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID
from OpenSSL import crypto
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.tls.facts import certificate_facts, certificate_of, path_facts
from smartproxy.net.tls.verdict import Verification, VerifiedConnection, verified_partner
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CertificateRefusal
from smartproxy.policy.certificates.facts import ChainFacts
from smartproxy.policy.certificates.judge import Match
from smartproxy.policy.limits import CERTIFICATES_READ_MOST
from smartproxy.testing.pki import (
    CLIENT_AUTH,
    SERVER_AUTH,
    Digest,
    KeyKind,
    TestCa,
    TestCredential,
    make_key,
    self_signed,
)
from tests.adapters.acme import ALONE, LEAF, MIDDLE, NOW, ROOT, acme

EC_KEY = bytes.fromhex("06072a8648ce3d0201")
ECDSA_SHA256 = bytes.fromhex("06082a8648ce3d040302")


def changed(credential: TestCredential, old: bytes, new: bytes) -> x509.Certificate:
    """A certificate with *new* wherever it had *old*."""
    der = credential.certificate.public_bytes(serialization.Encoding.DER)
    assert old in der
    return x509.load_der_x509_certificate(der.replace(old, new))


def bare(name: x509.Name, key: CertificatePublicKeyTypes | None = None) -> x509.CertificateBuilder:
    """The beginning of a certificate without extensions."""
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW)
        .public_key(key or make_key().public_key())
    )


class FactsTests(SynchronousTestCase):
    """What a certificate says becomes facts."""

    def test_everything(self) -> None:
        """Names, dates, hashes, purposes, alternative names, addresses of revocation lists."""
        credential = MIDDLE.issue(
            "oftp.acme.example",
            serial_number="O0013000001ACME",
            sans=("DNS:oftp.acme.example", "URI:https://acme.example/", "EMAIL:oftp@acme.example"),
            crl_urls=("http://ca.example/1.crl", "ldap://ca.example/2"),
        )
        certificate, issuer = credential.certificate, MIDDLE.credential.certificate
        facts = certificate_facts(certificate, issuer)
        self.assertEqual(facts.subject, "serialNumber=O0013000001ACME,CN=oftp.acme.example,O=SmartProxy test kit,C=DE")
        self.assertEqual(facts.issuer, "CN=partners' intermediate,O=SmartProxy test kit,C=DE")
        self.assertEqual(facts.serial, certificate.serial_number)
        self.assertEqual(
            (facts.not_before, facts.not_after), (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
        )
        self.assertEqual((facts.sha256, facts.key_sha256), (credential.sha256, credential.key_sha256))
        self.assertEqual(facts.issuer_key_sha256, MIDDLE.credential.key_sha256)
        self.assertEqual((facts.key_type, facts.key_bits, facts.signature_hash), ("EC", 256, "sha256"))
        self.assertEqual(facts.extended_key_usage, {purpose.dotted_string for purpose in (CLIENT_AUTH, SERVER_AUTH)})
        self.assertEqual(facts.subject_serial_number, "O0013000001ACME")
        self.assertEqual(facts.sans, ("DNS:oftp.acme.example", "URI:https://acme.example/", "EMAIL:oftp@acme.example"))
        self.assertFalse(facts.is_ca)
        self.assertEqual(facts.crl_urls, ("http://ca.example/1.crl", "ldap://ca.example/2"))

    def test_read_once(self) -> None:
        """A certificate that is shown again is not read again; the one above it counts, and each octet."""
        old, new = MIDDLE.credential.certificate, TestCa.root("partners' intermediate").credential.certificate
        again = x509.load_der_x509_certificate(LEAF.certificate.public_bytes(serialization.Encoding.DER))
        facts = certificate_facts(LEAF.certificate, old)
        self.assertIs(certificate_facts(again, old), facts)
        self.assertNotEqual(certificate_facts(again, new).issuer_key_sha256, facts.issuer_key_sha256)
        other = changed(LEAF, b"oftp.acme.example", b"oftp.evil.example")
        self.assertNotEqual(certificate_facts(other, old).subject, facts.subject)

    def test_kept_within_bounds(self) -> None:
        """Strangers cannot fill the memory with certificates."""
        for number in range(CERTIFICATES_READ_MOST + 20):
            certificate_facts(changed(LEAF, b"oftp.acme.example", b"oftp.%04d.example" % number))
        self.assertEqual(certificate_facts.cache_info().currsize, CERTIFICATES_READ_MOST)

    def test_little(self) -> None:
        """What is not there is empty, or ``None`` where that means something else than empty."""
        facts = certificate_facts(ROOT.credential.certificate)
        self.assertTrue(facts.is_ca)
        self.assertEqual((facts.sans, facts.crl_urls), ((), ()))
        self.assertEqual(
            (facts.extended_key_usage, facts.subject_serial_number, facts.issuer_key_sha256), (None, None, None)
        )

    def test_keys(self) -> None:
        """Each kind of key has its name and length; one that policy does not know has no length that would do."""
        for kind, name, bits in (
            (KeyKind.RSA_2048, "RSA", 2048),
            (KeyKind.RSA_1024, "RSA", 1024),
            (KeyKind.EC_P384, "EC", 384),
            (KeyKind.ED25519, "Ed25519", 256),
        ):
            facts = certificate_facts(self_signed("key", key=make_key(kind)).certificate)
            self.assertEqual((facts.key_type, facts.key_bits), (name, bits))
        for key, digest, name, bits in (
            (ed448.Ed448PrivateKey.generate(), None, "Ed448", 456),
            (dsa.generate_private_key(1024), hashes.SHA256(), "DSA", 0),
        ):
            certificate = bare(x509.Name([]), key.public_key()).sign(key, digest)
            facts = certificate_facts(certificate)
            self.assertEqual((facts.key_type, facts.key_bits), (name, bits))

    def test_signatures(self) -> None:
        """The hash of the signature, where there is one."""
        for kind, digest, name in (
            (KeyKind.EC_P256, Digest.SHA256, "sha256"),
            (KeyKind.RSA_2048, Digest.SHA1, "sha1"),
            (KeyKind.ED25519, Digest.SHA256, None),
        ):
            authority = self_signed("authority", key=make_key(kind))
            issuer = type(ROOT)(authority)
            self.assertEqual(certificate_facts(issuer.issue("x", digest=digest).certificate).signature_hash, name)

    def test_other_alternative_names(self) -> None:
        """Alternative names of other kinds name nobody."""
        names = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("192.0.2.1")), x509.DNSName("a.example")]
        )
        builder = bare(x509.Name([])).add_extension(names, critical=False)
        certificate = builder.sign(make_key(), hashes.SHA256())
        self.assertEqual(certificate_facts(certificate).sans, ("DNS:a.example",))

    def test_two_serial_numbers(self) -> None:
        """Of two serialNumbers in a subject neither says who it is."""
        numbers = [x509.NameAttribute(NameOID.SERIAL_NUMBER, number) for number in ("A", "B")]
        builder = bare(x509.Name(numbers))
        certificate = builder.sign(make_key(), hashes.SHA256())
        self.assertIsNone(certificate_facts(certificate).subject_serial_number)


class UnreadableTests(SynchronousTestCase):
    """What cannot be read proves nothing."""

    def test_key(self) -> None:
        """A key of an unknown kind is named so, and fits no pin."""
        facts = certificate_facts(changed(ALONE, EC_KEY, EC_KEY[:-1] + b"\x7f"))
        self.assertEqual((facts.key_type, facts.key_bits, facts.key_sha256), ("unknown", 0, ""))

    def test_signature(self) -> None:
        """A signature of an unknown kind is named so."""
        self.assertEqual(
            certificate_facts(changed(ALONE, ECDSA_SHA256, ECDSA_SHA256[:-1] + b"\x7f")).signature_hash, "unknown"
        )

    def test_alternative_names(self) -> None:
        """An extension that cannot be read hides no other: it is named, and gives no names; the purpose stays known."""
        facts = certificate_facts(changed(LEAF, b"\x82\x11oftp.acme", b"\x82\x11oftp.\xffcme"))
        self.assertEqual((facts.sans, facts.crl_urls, facts.unreadable), ((), (), ("subjectAltName",)))
        self.assertEqual(facts.extended_key_usage, {"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"})
        self.assertEqual(certificate_facts(LEAF.certificate).unreadable, ())

    def test_purpose(self) -> None:
        """A purpose that cannot be read allows nothing, and is named; the names beside it stay known."""
        use = bytes.fromhex("06082b06010505070302")
        facts = certificate_facts(changed(LEAF, use, b"\x0c" + use[1:]))
        self.assertEqual((facts.extended_key_usage, facts.unreadable), (frozenset(), ("extendedKeyUsage",)))
        self.assertTrue(facts.sans)

    def test_too_many_extensions(self) -> None:
        """Of more extensions than any certificate has, none counts as missing where they cannot be read together."""
        builder = bare(x509.Name([]))
        for number in range(80):
            odd = x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.2.3.{number}"), b"\x05\x00")
            builder = builder.add_extension(odd, critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example")]), critical=False)
        certificate = builder.sign(make_key(), hashes.SHA256())
        self.assertEqual(certificate_facts(certificate).sans, ("DNS:a.example",))
        broken = certificate_facts(changed(TestCredential(make_key(), certificate), b"a.example", b"\xff.example"))
        self.assertEqual((broken.extended_key_usage, broken.sans), (frozenset(), ()))
        self.assertIn("extendedKeyUsage", broken.unreadable)

    def test_names(self) -> None:
        """A name in any kind of string is shown, escaped where it is no text, and gives no Odette ID then."""
        name = b"\x0c\x11acme, self-signed"
        for tag, octets, shown in (
            (0x30, b"acme, self-signed", "acme\\, self-signed"),
            (0x14, b"M\xfcller Automobil", "M\\xfcller Automobil"),
            (0x0C, b"M\xff\xfe Automobil \x1b[m", "M\\xff\\xfe Automobil \\x1b[m"),
            (0x16, b"M\xe4rz & Apr. 2017", "M\\xe4rz & Apr. 2017"),
        ):
            facts = certificate_facts(changed(ALONE, name, bytes((tag, 17)) + octets.ljust(17)[:17]))
            self.assertIn(f"CN={shown}", facts.subject)
            self.assertEqual(facts.subject, facts.issuer)
            self.assertIsNone(facts.subject_serial_number)

    def test_path(self) -> None:
        """What cannot be read at all is a refusal that says which certificate it is."""
        # Another test may have had the same certificate read: what was read once is kept.
        certificate_facts.cache_clear()
        with patch("smartproxy.net.tls.facts.subject_text", side_effect=ValueError("quoted")):
            refusal = self.assertRaises(CertificateRefusal, path_facts, [LEAF.certificate])
        self.assertEqual((refusal.cause, refusal.depth), (Cause.CERTIFICATE_UNREADABLE, 0))
        self.assertEqual(refusal.detail, {"error": "ValueError"})

    def test_certificate(self) -> None:
        """So is a certificate that cannot be read at all."""
        der = ALONE.certificate.public_bytes(serialization.Encoding.DER)
        odd = crypto.load_certificate(
            crypto.FILETYPE_ASN1, der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020105"))
        )
        refusal = self.assertRaises(CertificateRefusal, certificate_of, odd, 2)
        self.assertEqual((refusal.cause, refusal.depth), (Cause.CERTIFICATE_UNREADABLE, 2))
        self.assertEqual(refusal.detail, {"error": "InvalidVersion"})


class _Finished:
    """A connection whose handshake has finished with a certificate."""

    def __init__(self, verification: Verification, certificate: x509.Certificate | None) -> None:
        self.verification = verification
        self._certificate = certificate

    def get_peer_certificate(self, *, as_cryptography: bool) -> x509.Certificate | None:
        """The certificate of the peer."""
        assert as_cryptography
        return self._certificate


class VerifiedPartnerTests(SynchronousTestCase):
    """A partner is verified only by the certificate that was judged."""

    match = Match(partner=acme(), certificate=certificate_facts(ALONE.certificate), by="certificate", ca=None)
    chain = ChainFacts(presented=(match.certificate,))

    def judged(self) -> Verification:
        """What is known of a handshake whose certificate was judged to be good."""
        return Verification(match=self.match, facts=self.chain)

    def refused(self, verification: Verification, certificate: x509.Certificate | None) -> Cause:
        """Why a finished handshake proves nobody."""
        connection = cast(VerifiedConnection, _Finished(verification, certificate))
        refusal: CertificateRefusal = self.assertRaises(CertificateRefusal, verified_partner, connection)
        return refusal.cause

    def test_good(self) -> None:
        """The judged certificate, and no other, is the partner's."""
        connection = cast(VerifiedConnection, _Finished(self.judged(), ALONE.certificate))
        partner = verified_partner(connection)
        self.assertEqual((partner.partner, partner.certificate), (self.match.partner, self.match.certificate))
        self.assertEqual((partner.by, partner.ca, partner.chain), ("certificate", None, self.chain))

    def test_never_judged(self) -> None:
        """A handshake in which nothing was judged proves nobody, whatever certificate is there."""
        for certificate in (None, ALONE.certificate):
            self.assertIs(self.refused(Verification(), certificate), Cause.CERTIFICATE_MISSING)
        self.assertIs(self.refused(self.judged(), None), Cause.CERTIFICATE_MISSING)

    def test_refused(self) -> None:
        """One that was refused stays so."""
        refusal = CertificateRefusal(cause=Cause.CERTIFICATE_EXPIRED)
        self.assertIs(self.refused(Verification(refusal=refusal), ALONE.certificate), Cause.CERTIFICATE_EXPIRED)

    def test_another_certificate(self) -> None:
        """A certificate that is not the judged one proves nobody."""
        self.assertIs(self.refused(self.judged(), LEAF.certificate), Cause.CERTIFICATE_INVALID_PATH)
