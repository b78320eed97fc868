"""Chains that prove nothing and are expensive to check: for tests and measurements of what strangers can cost.

The certificates have signatures of the right form and of the wrong key, and keys of any size: their private keys do not
exist. Trusts its caller; opens no connection.
"""

import datetime
import functools
import os
from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from smartproxy.testing.pki import TestCredential, self_signed

FROM = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
TO = FROM + datetime.timedelta(days=100)

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
