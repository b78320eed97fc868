"""Certificates read into facts: everything that policy asks for, and no exception for what cannot be read."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.tls.facts import certificate_facts, certificate_of, path_facts
from smartproxy.net.tls.names import point_names
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CertificateRefusal
from smartproxy.testing import pki

CURVE = bytes.fromhex("06082a8648ce3d030107")
SIGNATURE = bytes.fromhex("06082a8648ce3d040302")
PURPOSE = bytes.fromhex("0603551d25")
SAN = bytes.fromhex("0603551d11")


def forged(certificate: x509.Certificate, old: bytes, new: bytes) -> x509.Certificate:
    """A certificate with some of its octets exchanged; no length changes."""
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert old in der and len(old) == len(new)
    return x509.load_der_x509_certificate(der.replace(old, new))


class Read(SynchronousTestCase):
    """What a certificate says."""

    def test_everything(self) -> None:
        """Names, dates, hashes, purposes, the Odette ID, alternative names and revocation lists."""
        authority = pki.TestCa.root("CA")
        credential = authority.issue(
            "ACME",
            serial_number="O0013000001ACME",
            sans=["DNS:a.example", "URI:oftp://a.example", "EMAIL:a@a.example"],
            purposes=[pki.CLIENT_AUTH],
            crl_urls=["http://ca.example/list.crl"],
        )
        facts = certificate_facts(credential.certificate, authority.credential.certificate)
        self.assertIn("CN=ACME", facts.subject)
        self.assertIn("CN=CA", facts.issuer)
        self.assertEqual(facts.serial, credential.certificate.serial_number)
        self.assertEqual(facts.not_before, credential.certificate.not_valid_before_utc)
        self.assertEqual(facts.not_after, credential.certificate.not_valid_after_utc)
        self.assertEqual((facts.sha256, facts.key_sha256), (credential.sha256, credential.key_sha256))
        self.assertEqual(facts.issuer_key_sha256, authority.credential.key_sha256)
        self.assertEqual((facts.key_type, facts.key_bits, facts.signature_hash), ("EC", 256, "sha256"))
        self.assertEqual(facts.extended_key_usage, frozenset({"1.3.6.1.5.5.7.3.2"}))
        self.assertEqual(facts.subject_serial_number, "O0013000001ACME")
        self.assertEqual(facts.sans, ("DNS:a.example", "URI:oftp://a.example", "EMAIL:a@a.example"))
        self.assertEqual(facts.crl_urls, ("http://ca.example/list.crl",))
        self.assertEqual(facts.crl_points, ("URI:http://ca.example/list.crl",))
        self.assertFalse(facts.is_ca)

    def test_names_of_points(self) -> None:
        """A distribution point is called the same in certificates and lists, whatever the case of scheme and host."""
        for written, name in (
            ("http://crl.example/1.crl", "http://crl.example/1.crl"),
            ("HTTP://CRL.Example:80/Part-A.crl?B", "http://crl.example:80/Part-A.crl?B"),
            ("http://CRL.Example", "http://crl.example"),
            ("ldap:///CN=CRL1,O=X?certificateRevocationList", "ldap:///CN=CRL1,O=X?certificateRevocationList"),
            ("http://User@Crl.Example/1", "http://User@Crl.Example/1"),
            ("urn:X", "urn:X"),
        ):
            self.assertEqual(
                point_names([x509.UniformResourceIdentifier(written)], None, "CN=CA"), (f"URI:{name}",), written
            )
        relative = x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, "1")])
        self.assertEqual(point_names(None, relative, "CN=CA"), ("DIR:CN=1,CN=CA",))
        directory = x509.DirectoryName(x509.Name.from_rfc4514_string("CN=1,CN=CA"))
        self.assertEqual(point_names([directory, x509.DNSName("a")], None, ""), ("DIR:CN=1,CN=CA", "DNSName:a"))

    def test_nothing_optional(self) -> None:
        """What is absent is absent, not empty."""
        facts = certificate_facts(pki.TestCa.root("CA").issue("plain", purposes=()).certificate)
        self.assertIsNone(facts.extended_key_usage)
        self.assertIsNone(facts.subject_serial_number)
        self.assertIsNone(facts.issuer_key_sha256)
        self.assertEqual((facts.sans, facts.crl_urls), ((), ()))

    def test_keys(self) -> None:
        """Each kind of key by its name and length."""
        for key, kind, bits in (
            (rsa.generate_private_key(65537, 2048), "RSA", 2048),
            (ec.generate_private_key(ec.SECP384R1()), "EC", 384),
            (ed25519.Ed25519PrivateKey.generate(), "Ed25519", 256),
            (ed448.Ed448PrivateKey.generate(), "Ed448", 456),
            (dsa.generate_private_key(2048), "DSA", 0),
        ):
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "key")])
            signer = ec.generate_private_key(ec.SECP256R1())
            template = pki.self_signed("template").certificate
            certificate = (
                x509.CertificateBuilder(name, name, key.public_key(), 1)
                .not_valid_before(template.not_valid_before_utc)
                .not_valid_after(template.not_valid_after_utc)
                .sign(signer, hashes.SHA256())
            )
            facts = certificate_facts(certificate)
            self.assertEqual((facts.key_type, facts.key_bits), (kind, bits))

    def test_signature_without_a_hash(self) -> None:
        """Ed25519 names none."""
        facts = certificate_facts(pki.self_signed("e", key=pki.make_key(pki.KeyKind.ED25519)).certificate)
        self.assertIsNone(facts.signature_hash)

    def test_two_serial_numbers_name_nobody(self) -> None:
        """A subject with two of them does not choose which one counts."""
        name = x509.Name(
            [x509.NameAttribute(NameOID.SERIAL_NUMBER, "one"), x509.NameAttribute(NameOID.SERIAL_NUMBER, "two")]
        )
        key = ec.generate_private_key(ec.SECP256R1())
        template = pki.self_signed("template").certificate
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), 1)
            .not_valid_before(template.not_valid_before_utc)
            .not_valid_after(template.not_valid_after_utc)
            .sign(key, hashes.SHA256())
        )
        self.assertIsNone(certificate_facts(certificate).subject_serial_number)

    def test_path(self) -> None:
        """Of a path, each certificate's issuer is the next one."""
        authority = pki.TestCa.root("CA")
        leaf = authority.issue("leaf")
        facts = path_facts([leaf.certificate, authority.credential.certificate])
        self.assertEqual([one.issuer_key_sha256 for one in facts], [authority.credential.key_sha256, None])
        self.assertTrue(facts[1].is_ca)


class Unreadable(SynchronousTestCase):
    """OpenSSL lets pass what cryptography cannot read: it allows nothing and names nobody."""

    def setUp(self) -> None:
        """A certificate to be damaged."""
        self.certificate = pki.TestCa.root("CA").issue("ACME", sans=["DNS:a.example"]).certificate

    def test_key(self) -> None:
        """A key on an unknown curve is of no known kind, and matches no pin."""
        facts = certificate_facts(forged(self.certificate, CURVE, CURVE[:-1] + b"\x7f"))
        self.assertEqual((facts.key_type, facts.key_bits, facts.key_sha256), ("unknown", 0, ""))

    def test_signature(self) -> None:
        """A signature of an unknown kind."""
        facts = certificate_facts(forged(self.certificate, SIGNATURE, SIGNATURE[:-1] + b"\x7f"))
        self.assertEqual(facts.signature_hash, "unknown")

    def test_extensions(self) -> None:
        """Extensions of which one comes twice: no purposes at all, and no names."""
        facts = certificate_facts(forged(self.certificate, SAN, PURPOSE))
        self.assertEqual((facts.extended_key_usage, facts.sans, facts.is_ca), (frozenset(), (), False))

    def test_names(self) -> None:
        """A name that is no UTF-8 is shown escaped, and keeps nothing else from being judged."""
        broken = forged(self.certificate, b"\x0c\x04ACME", b"\x0c\x04\xff\xff\xff\xff")
        (facts,) = path_facts([broken])
        self.assertEqual(facts.subject.split(",")[0], r"CN=\xff\xff\xff\xff")
        self.assertEqual(facts.sans, ("DNS:a.example",))

    def test_shown(self) -> None:
        """One that cannot even be taken over from OpenSSL is refused for that, too."""

        class Odd:
            def to_cryptography(self) -> x509.Certificate:
                raise x509.InvalidVersion("9 is not a valid X509 version", 9)

        refusal: CertificateRefusal = self.assertRaises(CertificateRefusal, certificate_of, Odd(), 2)
        self.assertEqual((refusal.cause, refusal.depth), (Cause.CERTIFICATE_UNREADABLE, 2))
        self.assertNotIn("9", str(refusal.detail))
