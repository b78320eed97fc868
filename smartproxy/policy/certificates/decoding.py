"""Certificates, certificate requests, revocation lists and keys, read from octets that anybody may have made.

Duty: be the one place that reads them, and raise one error for all that the library raises. It reads an attribute when
the attribute is asked for, and raises errors of several classes, which have no base in common: an extension, a name or
a key may be damaged in a certificate that was read without an error. Dates and serial numbers are tried at once, so
that everybody may ask a certificate or list that was read here for them. Judges nothing.

RFC 5280 sections 4 and 5; RFC 2986 (requests); RFC 7468 (PEM).
"""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Final, TypeAlias, TypeVar

import attrs
from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

Extended: TypeAlias = x509.Certificate | x509.CertificateRevocationList
"""What has extensions."""
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_Read = TypeVar("_Read", x509.Certificate, x509.CertificateRevocationList)

_RAISED: Final = (
    ValueError,
    TypeError,
    ArithmeticError,
    InternalError,
    LookupError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for octets that it cannot read."""
_SAID_MOST: Final = 160
_REMARKS: Final = (
    "Attribute's length must be",
    "Parsed a serial number which wasn't positive",
    r"PKCS#\d+ .* could not be parsed as DER",
    r"Invalid ASN\.1",
)
"""How the library begins what it warns of in certificates that it reads."""


def pass_over_remarks() -> None:
    """Keep what the library warns of out of every process that reads: it is for programmers, and anybody causes it."""
    for each in _REMARKS:
        warnings.filterwarnings("ignore", each)


pass_over_remarks()


@attrs.define(auto_exc=True, eq=False, str=False)
class Undecodable(ValueError):
    """Octets that are not what they should be; the message quotes none of them.

    :ivar kind: the class of the library's error.
    :ivar said: what the library says, in one line; it may quote the octets: for whoever gave them, and for no log.
    """

    kind: str
    said: str = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"it cannot be read ({self.kind})"


@contextlib.contextmanager
def decoding(*more: type[Exception]) -> Iterator[None]:
    """A place in which the library reads.

    :param more: what else counts as its errors, where nothing of ours runs.
    :raises Undecodable: for whatever it cannot read.
    """
    raised: tuple[type[Exception], ...] = (*_RAISED, *more)
    try:
        yield
    except Undecodable:
        raise
    except raised as error:
        said = (str(error).splitlines() or [""])[0].partition(". See http")[0][:_SAID_MOST]
        raise Undecodable(type(error).__name__, said or type(error).__name__) from error


def certificate_in(der: bytes) -> x509.Certificate:
    """The certificate that some DER is.

    :raises Undecodable: if it is none.
    """
    with decoding():
        return tried(x509.load_der_x509_certificate(der))


def certificates_in(pem: str | bytes) -> list[x509.Certificate]:
    """All certificates of a PEM text.

    :raises Undecodable: if there is none, or one of them cannot be read.
    """
    with decoding():
        return [tried(each) for each in x509.load_pem_x509_certificates(_octets(pem))]


def first_certificate_in(pem: str | bytes) -> x509.Certificate:
    """The first certificate of a PEM text.

    :raises Undecodable: if there is none, or it cannot be read.
    """
    with decoding():
        return tried(x509.load_pem_x509_certificate(_octets(pem)))


def list_in(der: bytes) -> x509.CertificateRevocationList:
    """The revocation list that some DER is.

    :raises Undecodable: if it is none.
    """
    with decoding():
        return tried(x509.load_der_x509_crl(der))


def request_in(pem: str) -> x509.CertificateSigningRequest:
    """The certificate request in a PEM text.

    :raises Undecodable: if there is none, or it cannot be read.
    """
    with decoding():
        return x509.load_pem_x509_csr(_octets(pem))


def private_key_in(pem: str | bytes) -> PrivateKeyTypes:
    """The private key in a PEM text that no password protects.

    :raises Undecodable: if there is none, or it cannot be read.
    """
    with decoding():
        return load_pem_private_key(_octets(pem), None)


def _octets(pem: str | bytes) -> bytes:
    return pem.encode() if isinstance(pem, str) else pem


def tried(read: _Read) -> _Read:
    """What was read, once its numbers and dates have been looked at; to be called in :func:`decoding`."""
    if isinstance(read, x509.Certificate):
        _ = read.serial_number, read.not_valid_before_utc, read.not_valid_after_utc
    else:
        _ = read.last_update_utc, read.next_update_utc
    return read


def public_key(holder: x509.Certificate | x509.CertificateSigningRequest) -> PublicKeyTypes:
    """The key of a certificate or request.

    :raises Undecodable: if it is damaged, or of a kind that is not known.
    """
    with decoding():
        return holder.public_key()


def key_octets(certificate: x509.Certificate) -> bytes:
    """The SubjectPublicKeyInfo of a certificate.

    :raises Undecodable: if its key is damaged, or of a kind that is not known.
    """
    return public_key(certificate).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signature_hash(signed: Extended) -> hashes.HashAlgorithm | None:
    """What a signature hashes with; ``None`` where the signature's algorithm includes it.

    :raises Undecodable: if it is of a kind that is not known.
    """
    with decoding():
        return signed.signature_hash_algorithm


def extensions(holder: Extended) -> list[x509.Extension[x509.ExtensionType]]:
    """All extensions.

    :raises Undecodable: if one of them cannot be read, or is there twice.
    """
    # Each kind of extension has a class of its own, which raises what it likes.
    with decoding(Exception):
        return list(holder.extensions)


def extension(holder: Extended, kind: type[_Extension]) -> _Extension | None:
    """The extension of a kind; ``None`` if there is none.

    :raises Undecodable: if one of the extensions cannot be read, or is there twice.
    """
    return next((each.value for each in extensions(holder) if isinstance(each.value, kind)), None)


def subject_values(certificate: x509.Certificate, attribute: x509.ObjectIdentifier) -> list[str | bytes]:
    """The values of an attribute of a certificate's subject.

    :raises Undecodable: if the subject's name cannot be read as a whole.
    """
    with decoding():
        return [each.value for each in certificate.subject.get_attributes_for_oid(attribute)]


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether a certificate names another one's subject as its issuer and is signed by the other one's key."""
    try:
        with decoding():
            certificate.verify_directly_issued_by(issuer)
    except (Undecodable, InvalidSignature):
        return False
    return True


def is_list_signed_by(found: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Whether a revocation list is signed by a certificate's key."""
    try:
        with decoding():
            # A key of a kind that signs nothing raises TypeError.
            return found.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # it is a key of any kind
    except Undecodable:
        return False


def is_proved(request: x509.CertificateSigningRequest) -> bool:
    """Whether a request is signed by the key in it.

    :raises Undecodable: if the key or the signature is of a kind that is not known.
    """
    with decoding():
        return request.is_signature_valid
