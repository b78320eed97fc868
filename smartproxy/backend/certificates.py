"""Certificates, keys and revocation lists as operators have them: PEM or DER, one or several in a file, PKCS#12.

Reads what it is given and says what is wrong with it; judges nothing. Writes PEM only.
"""

import base64
import re
import warnings
from collections.abc import Iterable
from hashlib import sha256

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
    pkcs12,
)
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates
from cryptography.x509 import Certificate, CertificateRevocationList

from smartproxy.backend.errors import Unusable
from smartproxy.net.tls.der import value, values
from smartproxy.net.tls.names import issuer_text as issuer_text
from smartproxy.net.tls.names import subject_text as subject_text

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
"""The kinds of key that a server's identity may have."""

_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9# ]+)-----(.*?)-----END \1-----", re.DOTALL)
_PEM_HEADER = re.compile(rb"^[A-Za-z0-9-]+:[^\n]*(\n[ \t][^\n]*)*\n", re.MULTILINE)
_PKCS12 = re.compile(rb"\x30(?:[\x00-\x80]|\x81.|\x82..|\x83...|\x84....)\x02\x01\x03", re.DOTALL)
"""How a PKCS#12 file begins: a sequence of any length, which begins with the version 3 (RFC 7292 section 4)."""
_NAME_SHOWN = 160
_OTHER_LABELS = ("KEY", "PARAMETERS", "REQUEST")
"""What ends the label of a block in which no certificate or list is looked for."""


def read_certificates(octets: bytes, source: str) -> list[Certificate]:
    """All certificates of a file, in its order: PEM, PKCS#7 or DER.

    Each PEM block is read by its content, whatever its label says: authorities deliver PKCS#7 as ``CERTIFICATE``, too.
    Keys, requests and revocation lists in the file are passed over.

    :param source: what to call the file in an error.
    :raises Unusable: when there is none, or one of them is damaged.
    """
    if b"-----BEGIN " not in octets:
        found = _certificates_in(octets)
        if found is None:
            raise Unusable(f"{source} holds no readable certificate (PEM or DER)")
        return _some(found, source)
    certificates: list[Certificate] = []
    for number, (label, der) in enumerate(_blocks(octets, source), 1):
        if label.endswith(_OTHER_LABELS):
            continue
        found = _certificates_in(der)
        if found is None and _revocation_list_in(der) is None:
            raise Unusable(f"{source} holds no readable certificate in its PEM block {number} ({label})")
        certificates += found or ()
    return _some(certificates, source)


def read_revocation_lists(octets: bytes, source: str) -> list[tuple[CertificateRevocationList, bytes]]:
    """All revocation lists of a file, each with its DER: PEM, one or several, or DER. Other blocks are passed over.

    :raises Unusable: when there is none, or one of them is damaged.
    """
    if b"-----BEGIN " not in octets:
        alone = _revocation_list_in(octets)
        if alone is None:
            raise Unusable(f"{source} holds no readable revocation list (PEM or DER)")
        return [(alone, octets)]
    lists = []
    for number, (label, der) in enumerate(_blocks(octets, source), 1):
        if (found := _revocation_list_in(der)) is not None:
            lists.append((found, der))
        elif label.endswith("CRL"):
            raise Unusable(f"{source} holds no readable revocation list in its PEM block {number} ({label})")
    if not lists:
        raise Unusable(f"there is no revocation list in {source}")
    return lists


def _blocks(octets: bytes, source: str) -> list[tuple[str, bytes]]:
    """The PEM blocks of a file: label and content of each.

    :raises Unusable: when one of them is cut, or is not base64.
    """
    found = list(_PEM_BLOCK.finditer(octets))
    if len(found) != octets.count(b"-----BEGIN "):
        raise Unusable(f"{source} holds a PEM block that is cut or broken; copy the whole file again")
    blocks = []
    for number, block in enumerate(found, 1):
        label = block[1].decode("ascii")
        content = b"".join(_PEM_HEADER.sub(b"", block[2].replace(b"\r", b"").lstrip(b"\n")).split())
        try:
            blocks.append((label, base64.b64decode(content, validate=True)))
        except ValueError:
            raise Unusable(
                f"{source} holds a PEM block ({label}, number {number}) that is not readable base64"
            ) from None
    return blocks


def _some(certificates: list[Certificate], source: str) -> list[Certificate]:
    if not certificates:
        raise Unusable(f"there is no certificate in {source}")
    return certificates


def _certificates_in(der: bytes) -> list[Certificate] | None:
    """The certificates of one certificate or PKCS#7 file in DER; ``None`` if it is neither."""
    with warnings.catch_warnings():
        # The library warns of what is unusual in certificates; here they are read, and judged elsewhere.
        warnings.simplefilter("ignore")
        for octets in dict.fromkeys((der, _first(der))):
            try:
                return [x509.load_der_x509_certificate(octets)]
            except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
                pass
        try:
            return load_der_pkcs7_certificates(der)
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
            return None


def _first(der: bytes) -> bytes:
    """The first of several values: OpenSSL writes its trust settings behind a ``TRUSTED CERTIFICATE``."""
    try:
        tag, content = next(values(der))
    except (ValueError, StopIteration):
        return der
    return value(tag, content)


def _revocation_list_in(der: bytes) -> CertificateRevocationList | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return x509.load_der_x509_crl(der)
    except (ValueError, x509.InvalidVersion):
        return None


def read_private_key(octets: bytes, password: bytes | None, source: str) -> PrivateKey:
    """The private key of a file, PEM or DER.

    :raises Unusable: when there is none, the password is missing or wrong, or it is of a kind that TLS does not use.
    """
    blocks = [block.group() for block in _PEM_BLOCK.finditer(octets) if block.group(1).endswith(b"PRIVATE KEY")]
    try:
        key = load_pem_private_key(blocks[0], password) if blocks else load_der_private_key(octets, password)
    except TypeError as error:
        needed = "is encrypted: give its password" if password is None else "is not encrypted: give no password"
        raise Unusable(f"the private key in {source} {needed}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        how = " with this password" if b"ENCRYPTED" in octets or not blocks else ""
        raise Unusable(f"{source} holds no private key that can be read{how}") from error
    return checked_key(key, source)


def checked_key(key: object, source: str) -> PrivateKey:
    """The key, when TLS can use it.

    :raises Unusable: for kinds of keys that no partner takes, and for RSA below 2048 bits.
    """
    if not isinstance(key, PrivateKey):
        raise Unusable(f"the key in {source} is neither RSA nor an elliptic curve key")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < 2048:
        raise Unusable(f"the RSA key in {source} has {key.key_size} bits; TLS needs 2048 or more")
    return key


@attrs.frozen(kw_only=True)
class KeyAndChain:
    """A private key and the certificates that go with it, the leaf first."""

    key: PrivateKey = attrs.field(repr=False)
    chain: tuple[Certificate, ...]


def read_pkcs12(octets: bytes, password: bytes | None, source: str) -> KeyAndChain:
    """Key and certificates of a PKCS#12 file.

    :raises Unusable: when it is none, cannot be opened, or one of the two is missing.
    """
    if _PKCS12.match(octets) is None:
        raise Unusable(
            f"{source} is neither PEM nor PKCS#12; give one key and its certificates, in PEM, or one PKCS#12 file"
        )
    try:
        key, leaf, others = pkcs12.load_key_and_certificates(octets, password)
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = "is the password right?" if password else "does it need a password? give it with --password-file FILE"
        raise Unusable(f"cannot open the PKCS#12 file {source}; {hint}") from error
    if key is None or leaf is None:
        raise Unusable(f"the PKCS#12 file {source} lacks the {'private key' if key is None else 'certificate'}")
    return fitting(checked_key(key, source), [leaf, *others], source)


def fitting(key: PrivateKey, certificates: Iterable[Certificate], source: str) -> KeyAndChain:
    """Order certificates into the chain of a key: the key's own first, then issuer by issuer.

    A self-signed end of the chain stays, others that do not belong to it are left out.

    :raises Unusable: when none of them is for the key.
    """
    left = list(certificates)
    public = public_key_octets(key)
    leaf = next((each for each in left if _has_key(each, public)), None)
    if leaf is None:
        for each in left:
            public_key_octets(each)
        raise Unusable(f"no certificate in {source} is for this private key; take the certificate made for it")
    chain = [leaf]
    left.remove(leaf)
    while issuer_text(chain[-1]) != subject_text(chain[-1]):
        issuer = next((each for each in left if _issued(each, chain[-1])), None)
        if issuer is None:
            break
        chain.append(issuer)
        left.remove(issuer)
    return KeyAndChain(key=key, chain=tuple(chain))


def _has_key(certificate: Certificate, public: bytes) -> bool:
    """Whether a certificate is for this key; one whose key cannot be read may be an authority's beside it."""
    try:
        return public_key_octets(certificate) == public
    except Unusable:
        return False


def _issued(issuer: Certificate, certificate: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # Whatever keeps it from being verified, it does not go into the chain.
        return False
    return True


def public_key_octets(holder: Certificate | PrivateKey) -> bytes:
    """The SubjectPublicKeyInfo of a certificate or of a private key.

    :raises Unusable: when the certificate's key is of a kind that cannot be read.
    """
    try:
        return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm) as error:
        whose = short_name(holder) if isinstance(holder, Certificate) else "the key"
        raise Unusable(f"the public key of {whose} is damaged, or of a kind that is not known") from error


def short_name(certificate: Certificate) -> str:
    """What a certificate is called in a message: its subject, cut where it is long, or a part of its SHA-256."""
    name = subject_text(certificate) or f"a certificate without a name, SHA-256 {certificate_pin(certificate)[:16]}..."
    return name if len(name) <= _NAME_SHOWN else f"{name[:_NAME_SHOWN]}..."


def certificate_pin(certificate: Certificate) -> str:
    """SHA-256 of the whole certificate, in hex."""
    return sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def key_pin(holder: Certificate | PrivateKey) -> str:
    """SHA-256 of the public key (SubjectPublicKeyInfo), in hex."""
    return sha256(public_key_octets(holder)).hexdigest()


def certificates_to_pem(certificates: Iterable[Certificate]) -> str:
    """Certificates as one PEM text."""
    return "".join(each.public_bytes(Encoding.PEM).decode("ascii") for each in certificates)


def key_to_pem(key: PrivateKey) -> str:
    """A private key as PEM (PKCS#8, not encrypted): for the store, never for a log."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def first_line(error: Exception) -> str:
    """What an exception of the certificate library says, without its address of the library's documents."""
    return (str(error).splitlines() or [type(error).__name__])[0].partition(". See http")[0][:160]
