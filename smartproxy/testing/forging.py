"""Chains that prove nothing and are expensive to check: for tests and measurements of what strangers can cost.

The certificates have signatures of the right form and of the wrong key, and keys of any size and on any curve: their
private keys do not exist. Trusts its caller; opens no connection.
"""

import datetime
import functools
import os
from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from smartproxy.net.tls.der import value, values
from smartproxy.testing.pki import TestCredential, self_signed

FROM = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
TO = FROM + datetime.timedelta(days=100)

EC_PUBLIC_KEY = bytes.fromhex("2a8648ce3d0201")
"""id-ecPublicKey (RFC 5480 section 2.1.1)."""
_PRIME_FIELD = bytes.fromhex("2a8648ce3d0101")
_ED25519 = bytes.fromhex("2b6570")

MakeKey = Callable[[], CertificatePublicKeyTypes]
SigningKey = rsa.RSAPrivateKey | dsa.DSAPrivateKey | ec.EllipticCurvePrivateKey


@functools.cache
def rsa_signer(bits: int) -> rsa.RSAPrivateKey:
    """A key whose signatures have the length of those of another key."""
    return rsa.generate_private_key(65537, bits)


def certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificatePublicKeyTypes,
    *,
    signer: SigningKey | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
) -> x509.Certificate:
    """A certificate whose signature is of the right form and of the wrong key."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(FROM)
        .not_valid_after(TO)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer or rsa_signer(2048), hashes.SHA256())


def name(text: str) -> x509.Name:
    """A distinguished name."""
    return x509.Name.from_rfc4514_string(f"CN={text}")


def monstrous(bits: int, exponent_bits: int) -> MakeKey:
    """RSA keys of a random modulus, with an exponent of so many bits."""

    def make() -> rsa.RSAPublicKey:
        modulus = int.from_bytes(os.urandom(bits // 8)) | (0xFF << (bits - 8)) | 1
        exponent = int.from_bytes(os.urandom(exponent_bits // 8)) | (1 << (exponent_bits - 1)) | 1
        return rsa.RSAPublicNumbers(min(exponent, modulus - 2), modulus).public_key()

    return make


def on(curve: ec.EllipticCurve) -> MakeKey:
    """Keys on a curve."""
    return lambda: ec.generate_private_key(curve).public_key()


def below(
    make: MakeKey,
    *,
    length: int = 5,
    signer: SigningKey | None = None,
    top: x509.Name | None = None,
) -> TestCredential:
    """A leaf below so many authorities with forged signatures.

    :param top: the issuer of the highest one; the authority itself without it.
    """
    names = [name(f"authority {number}") for number in range(length)]
    issuers = [*names[1:], top or names[-1]]
    authority = [x509.BasicConstraints(ca=True, path_length=None)]
    signers = [*[signer] * (length - 1), signer if top is None else ec.generate_private_key(ec.SECP256R1())]
    chain = tuple(
        certificate(subject, issuer, make(), signer=by, extensions=authority)
        for subject, issuer, by in zip(names, issuers, signers, strict=True)
    )
    bearer = self_signed("stranger")
    shown = certificate(name("stranger"), names[0], bearer.key.public_key(), signer=signer)
    return TestCredential(bearer.key, shown, chain)


def explicit_curve(bits: int) -> bytes:
    """A public key on a curve of its own, as a SubjectPublicKeyInfo: its point takes long to decompress.

    Square roots take the longer, the more often two divides the prime less one (the algorithm of Tonelli and Shanks).

    :param bits: of the prime.
    """
    prime = next(each for k in range(1 << 23 | 1, 1 << 24, 2) if _is_proth_prime(each := k * 2 ** (bits - 24) + 1))
    size, first, second = (prime.bit_length() + 7) // 8, prime - 3, 5
    at = next(x for x in range(1, 1000) if pow(x**3 + first * x + second, prime >> 1, prime) == 1)
    point = b"\x02" + at.to_bytes(size, "big")
    number = value(0x02, prime.to_bytes(prime.bit_length() // 8 + 1, "big"))
    parameters = (
        value(0x02, b"\x01"),
        value(0x30, value(0x06, _PRIME_FIELD) + number),
        value(0x30, value(0x04, first.to_bytes(size, "big")) + value(0x04, bytes((second,)))),
        value(0x04, point),
        number,
        value(0x02, b"\x01"),
    )
    return public_key(value(0x30, b"".join(parameters)), point)


def compressed(curve: ec.EllipticCurve) -> bytes:
    """A public key on a curve as a SubjectPublicKeyInfo, its point in compressed form."""
    key = ec.generate_private_key(curve).public_key()
    ((_, fields),) = values(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    (_, algorithm), _ = values(fields)
    _, (tag, named) = values(algorithm)
    return public_key(value(tag, named), key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint))


def public_key(parameters: bytes, point: bytes) -> bytes:
    """A public key on an elliptic curve as a SubjectPublicKeyInfo (RFC 5480 section 2)."""
    return value(0x30, value(0x30, value(0x06, EC_PUBLIC_KEY) + parameters) + value(0x03, b"\0" + point))


def octets_of_key(key: bytes, number: int = 1) -> bytes:
    """The smallest certificate with a key, without names and without a signature.

    :param key: a SubjectPublicKeyInfo.
    :param number: the serial number.
    """
    algorithm = value(0x30, value(0x06, _ED25519))
    validity = value(0x30, value(0x17, b"200101000000Z") + value(0x17, b"400101000000Z"))
    serial, nobody = value(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big")), value(0x30, b"")
    signed = value(0x30, serial + algorithm + nobody + validity + nobody + key)
    return value(0x30, signed + algorithm + value(0x03, b"\0\x01"))


def of_key(key: bytes, number: int = 1) -> x509.Certificate:
    """The same, where its key is in DER."""
    return x509.load_der_x509_certificate(octets_of_key(key, number))


def _is_proth_prime(number: int) -> bool:
    """Whether a number k * 2**n + 1, with k below 2**n, is prime (Proth's theorem)."""
    return any(pow(base, number >> 1, number) == number - 1 for base in (3, 5, 7, 11, 13))
