"""What a client shows, and how it proves on a control connection that a newer certificate is its own.

Duty: hold a certificate and its key, and sign with the key what nothing but this control connection agreed on. Trusts
its caller to have judged the certificate.
"""

from typing import Final

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from smartproxy.policy.certificates.decoding import first_certificate_in, private_key_in, public_key

_CHALLENGE_OCTETS: Final = 32
_RENEWAL: Final = b"SmartProxy renewed tunnel certificate "


@attrs.frozen(kw_only=True)
class ClientCredential:
    """What a client shows: PEM, from the backend; the key is kept in memory only."""

    certificate: str
    key: str = attrs.field(repr=False)

    @property
    def der(self) -> bytes:
        """The client's own certificate."""
        return first_certificate_in(self.certificate).public_bytes(Encoding.DER)

    def proof(self, challenge: bytes) -> bytes:
        """Prove on a control connection, by its challenge, that the key of this certificate is ours.

        :raises ValueError: if the key is not of the kind that tunnel certificates have.
        """
        key = private_key_in(self.key)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the key of a tunnel certificate is one of an elliptic curve")
        return key.sign(_RENEWAL + challenge, ec.ECDSA(SHA256()))


def challenge_of(control: SSL.Connection) -> bytes:
    """What a proof on a control connection is made of, so that it is good on no other one (RFC 8446 section 7.5)."""
    return control.export_keying_material(b"EXPORTER-SmartProxy-renewal", _CHALLENGE_OCTETS)


def has_key(leaf: x509.Certificate, challenge: bytes, proof: bytes) -> bool:
    """Whether a proof was made with the key of a certificate, by this challenge.

    :raises Undecodable: if the key cannot be read.
    """
    key = public_key(leaf)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(proof, _RENEWAL + challenge, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
