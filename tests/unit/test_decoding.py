"""What cannot be read is one error, whatever the library makes of it."""

import warnings
from collections.abc import Callable
from ipaddress import ip_address

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend.certificates import short_name
from smartproxy.backend.errors import Unusable
from smartproxy.backend.page.dropped_certificates import facts_in, facts_of
from smartproxy.net.tls.expiries import expiries
from smartproxy.net.tls.names import issuer_text, subject_text
from smartproxy.policy.certificates.decoding import (
    Undecodable,
    certificate_in,
    certificates_in,
    decoding,
    extension,
    extensions,
    first_certificate_in,
    is_issued_by,
    is_list_signed_by,
    is_proved,
    key_octets,
    list_in,
    pass_over_remarks,
    private_key_in,
    public_key,
    request_in,
    signature_hash,
    subject_values,
)
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import TrustedCa
from smartproxy.server.dial.tls import bears
from smartproxy.testing.forging import certificate
from smartproxy.testing.forging import name as named
from smartproxy.testing.pki import TestCa, self_signed
from tests.unit.odd_files import ODD_EXTENSIONS, block, der_of, named_in_bits, of_no_version, of_no_year

CA = TestCa.root("Someone")
LEAF = CA.issue("leaf", sans=["DNS:leaf.example"]).certificate
CURVE, UNKNOWN_CURVE = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f")
SIGNED, SIGNED_ODDLY = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d04037f")


def extended(*found: x509.ExtensionType) -> x509.Certificate:
    """A certificate with these extensions."""
    key = ec.generate_private_key(ec.SECP256R1())
    return certificate(named("leaf"), named("leaf"), key.public_key(), signer=key, extensions=found)


def odd_names() -> x509.Certificate:
    """A certificate with a directory's name in it that is no text."""
    names = x509.SubjectAlternativeName([x509.DNSName("leaf.example"), x509.DirectoryName(named("somewhere"))])
    return certificate_in(named_in_bits(extended(names), "somewhere"))


def request_octets() -> bytes:
    """A good request."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(named("leaf"))
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)


class Read(SynchronousTestCase):
    """What is read, and what is not."""

    def undecodable(self, kind: str, read: Callable[..., object], *given: object) -> None:
        """Nothing is read; the error tells its class, and quotes nothing."""
        error: Undecodable = self.assertRaises(Undecodable, read, *given)
        self.assertEqual(str(error), f"it cannot be read ({kind})")
        self.assertEqual(error.kind, kind)
        self.assertTrue(error.said)
        self.assertNotIn("\n", error.said)

    def test_certificates(self) -> None:
        """No version, a year 0, and what is no certificate at all, in DER and in PEM."""
        for octets, kind in (
            (of_no_version(LEAF), "InvalidVersion"),
            (of_no_year(LEAF), "ValueError"),
            (b"nothing", "ValueError"),
        ):
            pem = block("CERTIFICATE", octets)
            self.undecodable(kind, certificate_in, octets)
            self.undecodable(kind, certificates_in, pem)
            self.undecodable(kind, first_certificate_in, pem)
        self.undecodable("UnicodeEncodeError", certificates_in, "\udc80")
        self.undecodable("ValueError", certificates_in, "")
        good = block("CERTIFICATE", der_of(LEAF)).decode()
        found = [certificate_in(der_of(LEAF)), *certificates_in(good), first_certificate_in(good)]
        self.assertEqual(found, [LEAF] * 3)

    def test_lists(self) -> None:
        """A list of no version; a good one is read, and is signed by its issuer's key alone."""
        octets = x509.load_pem_x509_crl(CA.crl([])).public_bytes(Encoding.DER)
        self.undecodable("InvalidVersion", list_in, octets.replace(b"\x02\x01\x01", b"\x02\x01\x07", 1))
        found = list_in(octets)
        self.assertTrue(is_list_signed_by(found, CA.credential.certificate))
        self.assertFalse(is_list_signed_by(found, LEAF))
        self.assertFalse(is_list_signed_by(found, certificate_in(der_of(LEAF).replace(CURVE, UNKNOWN_CURVE))))

    def test_requests(self) -> None:
        """A request of no version, and one with a key of an unknown kind; a good one is proved by its key."""
        good = request_octets()
        for octets, kind in (
            (good.replace(b"\x02\x01\x00", b"\x02\x01\x07", 1), "InvalidVersion"),
            (b"x", "ValueError"),
        ):
            text = block("CERTIFICATE REQUEST", octets).decode()
            self.undecodable(kind, request_in, text)
        found = request_in(block("CERTIFICATE REQUEST", good).decode())
        self.assertTrue(is_proved(found))
        odd = request_in(block("CERTIFICATE REQUEST", good.replace(CURVE, UNKNOWN_CURVE)).decode())
        self.undecodable("UnsupportedAlgorithm", public_key, odd)
        self.undecodable("UnsupportedAlgorithm", is_proved, odd)
        forged = request_in(block("CERTIFICATE REQUEST", good[:-1] + bytes((good[-1] ^ 1,))).decode())
        self.assertFalse(is_proved(forged))

    def test_keys(self) -> None:
        """A private key that is none, has a password or is of an unknown kind."""
        pem = CA.credential.key_pem
        self.assertTrue(private_key_in(pem))
        self.undecodable("ValueError", private_key_in, "nothing")

    def test_parts(self) -> None:
        """A key, a signature, a name or an extension that cannot be read, in a certificate that can."""
        odd = certificate_in(der_of(LEAF).replace(CURVE, UNKNOWN_CURVE))
        self.undecodable("UnsupportedAlgorithm", public_key, odd)
        self.undecodable("UnsupportedAlgorithm", key_octets, odd)
        odder = certificate_in(der_of(LEAF).replace(SIGNED, SIGNED_ODDLY))
        self.undecodable("UnsupportedAlgorithm", signature_hash, odder)
        self.undecodable("TypeError", extension, odd_names(), x509.KeyUsage)
        bits = certificate_in(named_in_bits(LEAF, "leaf"))
        self.undecodable("TypeError", subject_values, bits, NameOID.COMMON_NAME)
        self.assertEqual(subject_values(LEAF, NameOID.COMMON_NAME), ["leaf"])
        self.assertIsNone(extension(odd, x509.CRLNumber))
        self.assertIsNotNone(extension(odd, x509.KeyUsage))
        self.assertIn("CN=", subject_text(bits))
        self.assertIn("Someone", issuer_text(bits))

    def test_extensions(self) -> None:
        """An extension of a known kind with a value that its class does not take."""
        for kind, value, error in ODD_EXTENSIONS:
            odd = x509.UnrecognizedExtension(kind, value)
            self.undecodable(error, extensions, certificate_in(der_of(extended(odd))))
        found = CA.credential.certificate

        class Surprise:
            """A certificate whose extensions raise what nobody expects."""

            @property
            def extensions(self) -> x509.Extensions:
                raise RuntimeError("a library's fault")

        self.undecodable("RuntimeError", extensions, Surprise())
        self.assertEqual(extensions(found), list(found.extensions))

    def test_issued(self) -> None:
        """A certificate is issued by whose key signed it, and by nobody whose key or name cannot be read."""
        self.assertTrue(is_issued_by(LEAF, CA.credential.certificate))
        self.assertFalse(is_issued_by(LEAF, TestCa.root("Someone").credential.certificate))
        self.assertFalse(is_issued_by(certificate_in(named_in_bits(LEAF, "leaf")), LEAF))
        self.assertFalse(
            is_issued_by(LEAF, certificate_in(der_of(CA.credential.certificate).replace(CURVE, UNKNOWN_CURVE)))
        )

    def test_remarks(self) -> None:
        """What the library warns of while it reads is shown nowhere."""
        country = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "DE")])
        key = ec.generate_private_key(ec.SECP256R1())
        made = certificate(country, country, key.public_key(), signer=key)
        serial = made.serial_number.to_bytes(made.serial_number.bit_length() // 8 + 1)
        negative = der_of(made).replace(serial, b"\x80" + serial[1:], 1)
        long_country = der_of(LEAF).replace(bytes.fromhex("0603550403"), bytes.fromhex("0603550406"))
        for quiet in (False, True):
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                if quiet:
                    pass_over_remarks()
                certificate_in(negative)
                subject_text(certificate_in(long_country))
            self.assertEqual(bool(seen), not quiet, [str(each.message) for each in seen])

    def test_within(self) -> None:
        """An error of one reading passes through another one as it is, and so does what no library raises."""

        def read() -> None:
            with decoding():
                certificate_in(of_no_version(LEAF))

        self.undecodable("InvalidVersion", read)

        def look_up() -> None:
            with decoding():
                _ = {1: "status_request"}[999]

        self.undecodable("KeyError", look_up)

        def fail() -> None:
            with decoding():
                raise RuntimeError("a fault of ours")

        self.assertRaises(RuntimeError, fail)


class Asked(SynchronousTestCase):
    """Who asks a certificate for a part that cannot be read is answered all the same."""

    def test_bears(self) -> None:
        """A certificate whose names cannot be read bears none; another extension that cannot be read hides none."""
        self.assertTrue(bears(LEAF, "leaf.example"))
        self.assertFalse(bears(LEAF, "other.example"))
        self.assertFalse(bears(odd_names(), "leaf.example"))
        self.assertFalse(bears(extended(), "leaf.example"))
        names = x509.SubjectAlternativeName([x509.DNSName("leaf.example"), x509.IPAddress(ip_address("192.0.2.1"))])
        for kind, value, _ in ODD_EXTENSIONS:
            if kind != names.oid:
                odd = certificate_in(der_of(extended(names, x509.UnrecognizedExtension(kind, value))))
                self.assertTrue(bears(odd, "leaf.example") and bears(odd, "192.0.2.1"))

    def test_shown_on_the_page(self) -> None:
        """A dropped certificate whose key and names cannot be read is shown as far as it can."""
        odd = der_of(certificate_in(named_in_bits(LEAF, "leaf"))).replace(CURVE, UNKNOWN_CURVE)
        shown = facts_of(certificate_in(odd))
        self.assertEqual((shown.key, shown.odette_id), ("unknown", None))
        self.assertIn("Someone", shown.issuer)
        chain = block("CERTIFICATE", odd) + block("CERTIFICATE", der_of(CA.credential.certificate))
        others = short_name(CA.credential.certificate)
        shown = attrs.evolve(shown, others=others, others_count=1)
        for each in (chain, block("CERTIFICATE", der_of(CA.credential.certificate)) + chain):
            self.assertEqual(facts_in(each, "file"), shown)
        two = chain + block("CERTIFICATE", der_of(self_signed("another").certificate))
        self.assertIn("several certificates", str(self.assertRaises(Unusable, facts_in, two, "file")))

    def test_expiries(self) -> None:
        """A CA whose key is of an unknown kind has its end told like any other."""
        odd = block("CERTIFICATE", der_of(CA.credential.certificate).replace(CURVE, UNKNOWN_CURVE)).decode()
        told = list(expiries(ServerConfiguration(cas=(TrustedCa(name="odd", certificates=odd),))))
        self.assertEqual([each.what for each in told], ["a certificate of the CA odd"])
