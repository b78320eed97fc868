"""The test kit's certificates are wrong in exactly the way that was asked for, judged by OpenSSL itself."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import crypto
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.testing.pki import (
    Digest,
    KeyKind,
    TestCa,
    TestCredential,
    make_key,
    self_signed,
)

DAY = datetime.timedelta(days=1)


def now() -> datetime.datetime:
    """The time, as certificates carry it."""
    return datetime.datetime.now(datetime.UTC)


def openssl_says(credential: TestCredential, anchor: x509.Certificate) -> str:
    """OpenSSL's word on a chain: ``ok`` or the text of its first error (whose wording its releases vary)."""
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(anchor))
    chain = [crypto.X509.from_cryptography(certificate) for certificate in credential.intermediates]
    context = crypto.X509StoreContext(store, crypto.X509.from_cryptography(credential.certificate), chain=chain)
    try:
        context.verify_certificate()
    except crypto.X509StoreContextError as error:
        return str(error)
    return "ok"


class LeafTests(SynchronousTestCase):
    """Certificates for partners and proxies."""

    def setUp(self) -> None:
        """Make an authority."""
        self.authority = TestCa.root("Test CA")
        self.anchor = self.authority.credential.certificate

    def test_good_chain_through_an_intermediate_is_accepted(self) -> None:
        """A leaf below an intermediate presents the intermediate, and OpenSSL builds the path to the root."""
        leaf = self.authority.intermediate("Issuing CA").issue("Acme")
        self.assertEqual(len(leaf.intermediates), 1)
        self.assertEqual(openssl_says(leaf, self.anchor), "ok")

    def test_root_is_not_presented(self) -> None:
        """A leaf directly below the root presents itself alone."""
        self.assertEqual(self.authority.issue("Acme").intermediates, ())

    def test_every_kind_of_key_is_certified(self) -> None:
        """A certificate can be made for each kind of key, weak ones included, and its signature holds."""
        kinds: dict[KeyKind, tuple[type, int | None]] = {
            KeyKind.EC_P256: (ec.EllipticCurvePublicKey, 256),
            KeyKind.EC_P384: (ec.EllipticCurvePublicKey, 384),
            KeyKind.EC_P192: (ec.EllipticCurvePublicKey, 192),
            KeyKind.RSA_2048: (rsa.RSAPublicKey, 2048),
            KeyKind.RSA_1024: (rsa.RSAPublicKey, 1024),
            KeyKind.ED25519: (ed25519.Ed25519PublicKey, None),
        }
        self.assertEqual(set(kinds), set(KeyKind))
        for kind, (key_type, bits) in kinds.items():
            leaf = self.authority.issue("Acme", key=make_key(kind))
            public = leaf.certificate.public_key()
            self.assertIsInstance(public, key_type)
            self.assertEqual(getattr(public, "key_size", None), bits)
            leaf.certificate.verify_directly_issued_by(self.anchor)

    def test_every_kind_of_key_can_be_an_authority(self) -> None:
        """An authority with an Ed25519 or RSA key signs leaves and lists as one with an EC key does."""
        for kind in (KeyKind.ED25519, KeyKind.RSA_2048):
            authority = TestCa.root("Test CA", key=make_key(kind))
            self.assertEqual(openssl_says(authority.issue("Acme"), authority.credential.certificate), "ok")
            crl = x509.load_pem_x509_crl(authority.crl())
            self.assertTrue(crl.is_signature_valid(authority.credential.certificate.public_key()))  # type: ignore[arg-type] # the union of all public keys

    def test_expired(self) -> None:
        """An expired certificate is wrong in nothing but its date."""
        self.assertIn("certificate has expired", openssl_says(self.authority.issue_expired("Acme"), self.anchor))

    def test_not_yet_valid(self) -> None:
        """A certificate of tomorrow is wrong in nothing but its date."""
        leaf = self.authority.issue_not_yet_valid("Acme")
        self.assertIn("certificate is not yet valid", openssl_says(leaf, self.anchor))
        self.assertGreater(leaf.certificate.not_valid_after_utc, leaf.certificate.not_valid_before_utc)

    def test_for_mail(self) -> None:
        """A certificate for mail carries that purpose alone."""
        leaf = self.authority.issue_for_mail("Acme")
        usage = leaf.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(list(usage), [ExtendedKeyUsageOID.EMAIL_PROTECTION])
        self.assertEqual(openssl_says(leaf, self.anchor), "ok")

    def test_weak_key(self) -> None:
        """A certificate for a weak key is a sound certificate for 1024 bits of RSA."""
        key = self.authority.issue_weak_key("Acme").certificate.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        self.assertEqual(key.key_size, 1024)

    def test_sha1(self) -> None:
        """A certificate signed over SHA-1 says so and its signature holds."""
        for kind in (KeyKind.EC_P256, KeyKind.RSA_2048):
            authority = TestCa.root("Old CA", key=make_key(kind))
            leaf = authority.issue_sha1("Acme")
            assert leaf.certificate.signature_hash_algorithm is not None
            self.assertEqual(leaf.certificate.signature_hash_algorithm.name, Digest.SHA1.value)
            self.assertEqual(openssl_says(leaf, authority.credential.certificate), "ok")

    def test_no_purpose_leaves_the_extension_out(self) -> None:
        """With no purposes there is no extended key usage at all."""
        leaf = self.authority.issue("Acme", purposes=())
        with self.assertRaises(x509.ExtensionNotFound):
            leaf.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)

    def test_names(self) -> None:
        """Serial number, alternative names and the address of the list stand where a verifier looks for them."""
        certificate = self.authority.issue(
            "Acme",
            serial_number="O0013ACME",
            sans=["DNS:oftp.example.com", "URI:oftp://example.com", "EMAIL:edi@example.com"],
            crl_urls=["http://example.com/ca.crl"],
        ).certificate
        (serial,) = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
        self.assertEqual(serial.value, "O0013ACME")
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["oftp.example.com"])
        self.assertEqual(names.get_values_for_type(x509.UniformResourceIdentifier), ["oftp://example.com"])
        self.assertEqual(names.get_values_for_type(x509.RFC822Name), ["edi@example.com"])
        (point,) = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        assert point.full_name is not None
        self.assertEqual([name.value for name in point.full_name], ["http://example.com/ca.crl"])

    def test_unknown_kind_of_name_is_refused(self) -> None:
        """A name of no known kind is an error of the caller."""
        with self.assertRaises(ValueError):
            self.authority.issue("Acme", sans=["oftp.example.com"])

    def test_self_signed(self) -> None:
        """A self-signed certificate is vouched for by itself alone, and is no authority."""
        leaf = self_signed("Acme", serial_number="O0013ACME")
        self.assertEqual(openssl_says(leaf, leaf.certificate), "ok")
        self.assertNotEqual(openssl_says(leaf, self.anchor), "ok")
        constraints = leaf.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        self.assertFalse(constraints.ca)


class ListTests(SynchronousTestCase):
    """Revocation lists."""

    def setUp(self) -> None:
        """Make an authority."""
        self.authority = TestCa.root("Test CA")

    def test_fresh_list_names_the_revoked_and_nobody_else(self) -> None:
        """A list revokes the certificates it was given, is signed by its authority and is good now."""
        bad, good = self.authority.issue("Bad"), self.authority.issue("Good")
        crl = x509.load_pem_x509_crl(self.authority.crl([bad]))
        self.assertIsNotNone(crl.get_revoked_certificate_by_serial_number(bad.certificate.serial_number))
        self.assertIsNone(crl.get_revoked_certificate_by_serial_number(good.certificate.serial_number))
        key = self.authority.credential.key.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        self.assertTrue(crl.is_signature_valid(key))
        assert crl.next_update_utc is not None
        self.assertTrue(crl.last_update_utc < now() < crl.next_update_utc)

    def test_stale_list(self) -> None:
        """A list can have been due for renewal long ago."""
        crl = x509.load_pem_x509_crl(
            self.authority.crl(this_update=now() - 9 * DAY, next_update=now() - 2 * DAY),
        )
        assert crl.next_update_utc is not None
        self.assertLess(crl.next_update_utc, now())


class FileTests(SynchronousTestCase):
    """Credentials as files."""

    def setUp(self) -> None:
        """Make a certificate below an intermediate."""
        self.leaf = TestCa.root("Test CA").intermediate("Issuing CA").issue("Acme")

    def test_pem_files(self) -> None:
        """The certificate file holds the chain, leaf first; the key file fits it and is its owner's alone."""
        folder = Path(self.mktemp())
        folder.mkdir()
        files = self.leaf.write(folder, "acme")
        self.assertEqual(
            x509.load_pem_x509_certificates(files.certificate.read_bytes()),
            [self.leaf.certificate, *self.leaf.intermediates],
        )
        key = load_pem_private_key(files.key.read_bytes(), None)
        self.assertEqual(key.public_key(), self.leaf.certificate.public_key())
        self.assertEqual(files.key.stat().st_mode & 0o777, 0o600)

    def test_pkcs12(self) -> None:
        """The PKCS#12 file opens with its password and holds key, certificate and intermediates."""
        store = pkcs12.load_pkcs12(self.leaf.pkcs12("secret"), b"secret")
        assert store.cert is not None and store.key is not None
        self.assertEqual(store.cert.certificate, self.leaf.certificate)
        self.assertEqual([extra.certificate for extra in store.additional_certs], list(self.leaf.intermediates))
        with self.assertRaises(ValueError):
            pkcs12.load_pkcs12(self.leaf.pkcs12("secret"), b"wrong")

    def test_fingerprints(self) -> None:
        """The fingerprints are those that OpenSSL computes."""
        certificate = crypto.X509.from_cryptography(self.leaf.certificate)
        self.assertEqual(self.leaf.sha256, certificate.digest("sha256").decode().replace(":", "").lower())
        other = TestCa.root("Other CA").issue("Acme", key=self.leaf.key)
        self.assertEqual(other.key_sha256, self.leaf.key_sha256)
        self.assertNotEqual(other.sha256, self.leaf.sha256)
