"""Revocation lists that are larger than anybody wants to issue certificates for."""

import random

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from smartproxy.net.tls.der import value, values
from smartproxy.testing.pki import TestCa


def large_list(ca: TestCa, count: int, octets: int) -> bytes:
    """A list of so many random serial numbers of so many octets each, signed by a CA's key."""
    small = x509.load_pem_x509_crl(ca.crl([ca.issue("revoked")]))
    ((_, whole),) = values(small.public_bytes(Encoding.DER))
    (_, signed), (_, algorithm), _ = values(whole)
    chance = random.Random(1)
    rest = value(0x17, b"261101120000Z") + bytes.fromhex("300c300a0603551d1504030a0101")
    entries = b"".join(
        value(0x30, value(0x02, bytes([0x40 | chance.randrange(64)]) + chance.randbytes(octets - 1)) + rest)
        for _ in range(count)
    )
    fields = list(values(signed))
    # Version, algorithm, issuer, thisUpdate and nextUpdate come before the entries.
    fields[5] = (0x30, entries)
    body = value(0x30, b"".join(value(tag, content) for tag, content in fields))
    key = ca.credential.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = key.sign(body, ec.ECDSA(hashes.SHA256()))
    return value(0x30, body + value(0x30, algorithm) + value(0x03, b"\0" + signature))
