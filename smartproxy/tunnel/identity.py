"""The server's identity: one key in one file, and what others call it.

Duty: make an ECDSA P-256 key at first start, keep it in one file that only its owner can read, and derive from it the
Proxy ID (SHA-256 of the SubjectPublicKeyInfo in hex, then ``px``) and the self-signed certificate that the tunnel
shows. The certificate lives in memory only; a client that pins the Proxy ID checks nothing else in it. Trusts the file
system's owner and modes, and refuses a key that others could have read. Two first starts at once end up with one key.
"""

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from smartproxy.net.files import PRIVATE, NotPlain, drafted, open_plain, settle
from smartproxy.policy import licence
from smartproxy.policy.certificates.decoding import Undecodable, private_key_in

_OTHERS = 0o077
_FILE_OCTETS_MOST = 16 * 1024
_COMMON_NAME_MOST = 64
# Nothing is judged by these dates: the pin is what counts, and clocks in a DMZ may be wrong.
_FOREVER = (datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))


@attrs.frozen(kw_only=True)
class IdentityUnusable(Exception):
    """The identity key cannot be used: the cause, and what to do about it."""

    path: Path
    cause: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}: {self.cause}; {self.advice}"


@attrs.frozen
class Identity:
    """A server's key and all that follows from it.

    :ivar made: whether the key was made just now.
    """

    key: ec.EllipticCurvePrivateKey = attrs.field(repr=False)
    proxy_id: str
    certificate: x509.Certificate = attrs.field(repr=False)
    made: bool = False

    @classmethod
    def of(cls, key: ec.EllipticCurvePrivateKey) -> "Identity":
        """The identity that *key* is."""
        name = proxy_id(key.public_key())
        return cls(key, name, _certificate(key, name))


def proxy_id(key: PublicKeyTypes) -> str:
    """The Proxy ID of a public key: 66 characters."""
    return licence.proxy_id(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def load_or_make(path: Path) -> Identity:
    """The identity in the file at *path*, which is made if it does not exist, with its folder.

    :raises IdentityUnusable: when the file cannot be read or written, holds anything else, or others could read it.
    """
    try:
        try:
            return _load(path)
        except FileNotFoundError:
            made = _make(path)
            return attrs.evolve(_load(path), made=made)
    except OSError as error:
        raise IdentityUnusable(
            path=path,
            cause=f"the identity key cannot be used: {error.strerror or type(error).__name__}",
            advice="the server needs a folder of its own (--state-dir) that it may write to",
        ) from error


def _load(path: Path) -> Identity:
    try:
        opened = open_plain(path)
    except NotPlain as error:
        raise IdentityUnusable(
            path=path,
            cause="the identity key is not a regular file",
            advice="restore the key file; or move this away: the server then makes a new key, has a new Proxy ID, and "
            "needs a new licence",
        ) from error
    with opened as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & _OTHERS:
            raise IdentityUnusable(
                path=path,
                cause=f"other users may read the identity key (mode {stat.S_IMODE(mode):04o})",
                advice="run chmod 600 on it; if others could have read it, delete it and license the new key",
            )
        octets = file.read(_FILE_OCTETS_MOST)
    try:
        key = private_key_in(octets)
    except Undecodable as error:
        raise _foreign(path, "the file holds no unprotected private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _foreign(path, "the key is not ECDSA on P-256")
    return Identity.of(key)


def _foreign(path: Path, cause: str) -> IdentityUnusable:
    return IdentityUnusable(
        path=path,
        cause=cause,
        advice="restore the right file, or delete it: a new key is then made and needs a new licence",
    )


def _make(path: Path) -> bool:
    """Write a new key beside *path* and give it its name; ``False`` if another process was faster."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    octets = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        with drafted(path, octets, PRIVATE) as draft:
            os.link(draft, path)
    except FileExistsError:
        return False
    settle(path.parent)
    return True


def _certificate(key: ec.EllipticCurvePrivateKey, name: str) -> x509.Certificate:
    # A Proxy ID is two characters longer than a common name may be.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_COMMON_NAME_MOST])])
    begins, ends = _FOREVER
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
