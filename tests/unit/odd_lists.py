"""Revocation lists octet by octet: with what no library would put into one."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from smartproxy.testing.pki import TestCa
from tests.unit.odder_files import tlv
from tests.unit.sites import NOW

DIGESTS: dict[str, tuple[bytes, hashes.HashAlgorithm]] = {
    "SHA-256": (bytes.fromhex("06082a8648ce3d040302"), hashes.SHA256()),
    "SHA-1": (bytes.fromhex("06072a8648ce3d0401"), hashes.SHA1()),
    "unknown": (bytes.fromhex("06082a8648ce3d040377"), hashes.SHA256()),
}
"""Ways to sign with a key on a curve: how they are told, and the hash."""
POINT, NUMBER, ISSUER_ALT_NAME, AUTHORITY, FRESHEST = 28, 20, 18, 35, 46
"""The last parts of the numbers of extensions."""
X400 = tlv(0xA3, tlv(0x30))
"""A general name that cryptography does not know."""


def extension(number: int, value: bytes, *, critical: bool = False) -> bytes:
    """An extension of RFC 5280."""
    return tlv(0x30, tlv(0x06, bytes((0x55, 0x1D, number))), b"\x01\x01\xff" if critical else b"", tlv(0x04, value))


def uri(text: str) -> bytes:
    """A general name."""
    return tlv(0x86, text.encode("latin-1"))


def point(*names: bytes) -> bytes:
    """The extension issuingDistributionPoint with these names."""
    return extension(POINT, tlv(0x30, tlv(0xA0, tlv(0xA0, *names))), critical=True)


def common_name(*texts: bytes, tag: int = 0x0C) -> bytes:
    """A distinguished name of these parts."""
    return tlv(0x30, *(tlv(0x31, tlv(0x30, b"\x06\x03\x55\x04\x03", tlv(tag, each))) for each in texts))


def crl(
    ca: TestCa,
    *extensions: bytes,
    issuer: bytes | None = None,
    digest: str = "SHA-256",
    made: bytes = NOW.strftime("%y%m%d%H%M%SZ").encode(),
) -> bytes:
    """A list of a CA whose key is on a curve, in DER, signed over whatever is in it.

    :param extensions: each in DER.
    :param issuer: the name in the list; ``None`` for the CA's own.
    :param made: thisUpdate and nextUpdate.
    """
    name = ca.credential.certificate.subject.public_bytes() if issuer is None else issuer
    number, kind = DIGESTS[digest]
    time = tlv(0x18 if len(made) > 13 else 0x17, made)
    listed = tlv(0xA0, tlv(0x30, *extensions)) if extensions else b""
    signed = tlv(0x30, b"\x02\x01\x01", tlv(0x30, number), name, time, time, listed)
    key = ca.credential.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return tlv(0x30, signed, tlv(0x30, number), tlv(0x03, b"\0", key.sign(signed, ec.ECDSA(kind))))
