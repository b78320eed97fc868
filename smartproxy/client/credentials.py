"""The client's key for the tunnel: made in memory, certified by the backend, never written anywhere.

Trusts the backend for the certificate and for the list of Proxy IDs that the client may speak to.
"""

from datetime import UTC, datetime

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

RENEW_AT = 2 / 3
"""The part of a certificate's life after which it is renewed."""


@attrs.frozen(kw_only=True)
class TunnelKey:
    """A fresh ECDSA P-256 key and the request for its certificate.

    :ivar key: PEM (PKCS#8), for memory only.
    :ivar request: PEM of the certificate signing request.
    """

    key: str = attrs.field(repr=False)
    request: str

    @classmethod
    def make(cls) -> "TunnelKey":
        """Make a key; the subject is the backend's to choose, since it knows the client by its token."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "smartproxy-client")])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        return cls(
            key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii"),
            request=request.public_bytes(Encoding.PEM).decode("ascii"),
        )


def renewal_seconds(certificate: str, now: datetime) -> float:
    """Seconds until the first certificate in this PEM is to be renewed; 0 when that time has passed."""
    leaf = x509.load_pem_x509_certificate(certificate.encode("ascii"))
    begins, ends = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    at = begins + (ends - begins) * RENEW_AT
    return max(0.0, (at - now.astimezone(UTC)).total_seconds())
