"""The client's tunnel key."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.client.upkeep import TunnelKey, renewal_seconds


class TunnelKeys(SynchronousTestCase):
    """A key in memory and the request for its certificate."""

    def test_request_belongs_to_the_key(self) -> None:
        """The request is signed by the key it travels with, and two keys are never the same."""
        made = TunnelKey.make()
        request = x509.load_pem_x509_csr(made.request.encode())
        key = load_pem_private_key(made.key.encode(), None)
        self.assertTrue(request.is_signature_valid)
        self.assertEqual(request.public_key(), key.public_key())
        self.assertNotEqual(made.key, TunnelKey.make().key)

    def test_key_is_not_in_the_repr(self) -> None:
        """A key that is printed by accident shows nothing."""
        self.assertNotIn("PRIVATE", repr(TunnelKey.make()))

    def test_renewal_at_two_thirds_of_life(self) -> None:
        """A certificate of 9 days is renewed after 6, and at once when that is past."""
        begins = datetime(2026, 1, 1, tzinfo=UTC)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(begins)
            .not_valid_after(begins + timedelta(days=9))
            .sign(key, hashes.SHA256())
        )
        pem = certificate.public_bytes(Encoding.PEM).decode()
        self.assertEqual(renewal_seconds(pem, begins), 6 * 86400)
        self.assertEqual(renewal_seconds(pem, begins + timedelta(days=8)), 0)
