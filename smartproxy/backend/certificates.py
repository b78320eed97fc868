"""Certificates, keys and revocation lists as operators have them: PEM or DER, one or several in a file, PKCS#12.

Reads what it is given and says what is wrong with it; judges nothing. Writes PEM only.
"""

import base64
import codecs
import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

import attrs
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
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

from smartproxy.backend.derivations import rounds_asked_for
from smartproxy.backend.errors import Unusable
from smartproxy.net.tls.der import value, values
from smartproxy.net.tls.names import issuer_text as issuer_text
from smartproxy.net.tls.names import subject_text as subject_text
from smartproxy.policy import limits
from smartproxy.policy.certificates.decoding import (
    Undecodable,
    certificate_in,
    decoding,
    is_issued_by,
    key_octets,
    list_in,
    tried,
)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
"""The kinds of key that a server's identity may have."""

_PEM_EDGE = re.compile(rb"-----(BEGIN|END) ([A-Z0-9# ]+)-----")
"""Where a PEM block begins or ends (RFC 7468 section 2)."""
_PEM_HEADER = re.compile(rb"^[A-Za-z0-9-]+:[^\n]*(\n[ \t][^\n]*)*\n", re.MULTILINE)
_PKCS12 = re.compile(rb"\x30(?:[\x00-\x80]|\x81.|\x82..|\x83...|\x84....)\x02\x01\x03", re.DOTALL)
"""How a PKCS#12 file begins: a sequence of any length, which begins with the version 3 (RFC 7292 section 4)."""
_BASE64 = re.compile(rb"MI[A-Za-z0-9+/\s]{64,}={0,2}\s*")
"""A value of DER without PEM's edges: in base64, a sequence of 128 octets and more begins so."""
_CURVES = (
    ec.SECP256R1,
    ec.SECP384R1,
    ec.SECP521R1,
    ec.BrainpoolP256R1,
    ec.BrainpoolP384R1,
    ec.BrainpoolP512R1,
)
"""The curves of keys with which a server can prove itself."""
_KEY_LABEL = "PRIVATE KEY"
_PEM = "-----BEGIN {label}-----TEXT-----END {label}-----\n"
_NAME_SHOWN = 160
_NAMES_SHOWN = 3
_OTHER_LABELS = ("KEY", "PARAMETERS", "REQUEST")
"""What ends the label of a block in which no certificate or list is looked for."""


def read_certificates(octets: bytes, source: str, least: int = 1) -> list[Certificate]:
    """All certificates of a file, in its order: PEM, PKCS#7 or DER, one behind the other.

    Each PEM block is read by its content, whatever its label says: CAs deliver PKCS#7 as ``CERTIFICATE``, too.
    Keys, requests and revocation lists in the file are passed over.

    :param source: what to call the file in an error.
    :param least: how many have to be there: none in a file with a key alone.
    :raises Unusable: when there are fewer, or one of them is damaged.
    """
    octets = as_saved(octets)
    if b"-----BEGIN " not in octets:
        found = _certificates_in(octets)
        if found is None:
            raise Unusable(f"{source} {_not_a_certificate(octets)}")
        return _enough(found, source, least)
    certificates: list[Certificate] = []
    for number, (label, der) in enumerate(_blocks(octets, source), 1):
        if label.endswith(_OTHER_LABELS):
            continue
        found = _certificates_in(der)
        if found is None and _revocation_list_in(der) is None:
            raise Unusable(f"{source} holds no readable certificate in its PEM block {number} ({label})")
        certificates += found or ()
    return _enough(certificates, source, least)


def own_of(octets: bytes, source: str) -> tuple[Certificate, list[Certificate]]:
    """The holder's own certificate of a file, which may hold its chain, too, in any order; and the others.

    :raises Unusable: when there is none, or there are those of several holders.
    """
    found = list(dict.fromkeys(read_certificates(octets, source)))
    issuers = {issuer_text(each) for each in found if issuer_text(each) != subject_text(each)}
    own = [each for each in found if subject_text(each) not in issuers] or found
    if len(own) > 1:
        raise Unusable(f"{source} holds several certificates ({short_names(own)}); give each in a file of its own")
    return own[0], [each for each in found if each is not own[0]]


def as_saved(octets: bytes) -> bytes:
    """A file as a program of certificates saves it: Windows saves PEM in UTF-16, and mails carry bare base64."""
    if octets.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return octets.decode("utf-16", "replace").encode("ascii", "replace")
    if _BASE64.fullmatch(octets) is not None:
        with contextlib.suppress(ValueError):
            return base64.b64decode(b"".join(octets.split()), validate=True)
    return octets


def _not_a_certificate(octets: bytes) -> str:
    """What a file is that holds none."""
    if _PKCS12.match(octets) is not None:
        return (
            "is a PKCS#12 file; take the certificate out of it: openssl pkcs12 -in FILE -clcerts -nokeys -out FILE.pem"
        )
    return "holds no readable certificate (PEM or DER)"


def read_revocation_lists(octets: bytes, source: str) -> list[tuple[CertificateRevocationList, bytes]]:
    """All revocation lists of a file, each with its DER: PEM, one or several, or DER. Other blocks are passed over.

    :raises Unusable: when there is none, or one of them is damaged.
    """
    octets = as_saved(octets)
    if b"-----BEGIN " not in octets:
        for der in dict.fromkeys((octets, _first(octets))):
            if (alone := _revocation_list_in(der)) is not None:
                return [(alone, der)]
        raise Unusable(f"{source} holds no readable revocation list (PEM or DER)")
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

    :raises Unusable: when one of them is cut, or is not base64, or there are too many.
    """
    return _decoded(_pem(octets, source), source)


def _decoded(written: list[tuple[str, bytes]], source: str) -> list[tuple[str, bytes]]:
    """PEM blocks as they are written, and as :func:`_blocks` returns them."""
    blocks = []
    for number, (label, text) in enumerate(written, 1):
        content = b"".join(_PEM_HEADER.sub(b"", text.replace(b"\r", b"").lstrip(b"\n")).split())
        try:
            blocks.append((label, base64.b64decode(content, validate=True)))
        except ValueError:
            raise Unusable(
                f"{source} holds a PEM block ({label}, number {number}) that is not readable base64"
            ) from None
    return blocks


def _pem(octets: bytes, source: str) -> list[tuple[str, bytes]]:
    """The PEM blocks of a file as they are written: the label of each, and what stands between its two edges.

    Takes time in proportion to the file's length: each edge of a block is looked at once.

    :raises Unusable: when one of them is cut, or there are too many.
    """
    blocks: list[tuple[str, bytes]] = []
    begin: re.Match[bytes] | None = None
    broken = Unusable(f"{source} holds a PEM block that is cut or broken; copy the whole file again")
    begins = 0
    for edge in _PEM_EDGE.finditer(octets):
        if edge[1] == b"BEGIN":
            if begin is not None:
                raise broken
            begin, begins = edge, begins + 1
        elif begin is not None:
            if begin[2] != edge[2]:
                raise broken
            blocks.append((begin[2].decode("ascii"), octets[begin.end() : edge.start()]))
            begin = None
        if begins > limits.PEM_BLOCKS_MOST:
            raise Unusable(f"{source} holds more than {limits.PEM_BLOCKS_MOST} PEM blocks; split it into several files")
    if begin is not None or begins != octets.count(b"-----BEGIN "):
        raise broken
    return blocks


def _enough(certificates: list[Certificate], source: str, least: int) -> list[Certificate]:
    if len(certificates) < least:
        raise Unusable(f"there is no certificate in {source}")
    return certificates


def _certificates_in(der: bytes) -> list[Certificate] | None:
    """The certificates of one certificate or PKCS#7 file in DER; ``None`` if it is neither."""
    if found := [*_in_a_row(der)]:
        return found
    try:
        with decoding():
            return [tried(each) for each in load_der_pkcs7_certificates(der)]
    except Undecodable:
        return None


def _in_a_row(der: bytes) -> Iterator[Certificate]:
    """The certificates that some octets begin with; OpenSSL writes trust settings behind a ``TRUSTED CERTIFICATE``."""
    with contextlib.suppress(ValueError, Undecodable):
        for tag, content in values(der):
            yield certificate_in(value(tag, content))


def _first(der: bytes) -> bytes:
    """The first of several values: editors leave the end of a line behind a list."""
    try:
        tag, content = next(values(der))
    except (ValueError, StopIteration):
        return der
    return value(tag, content)


def _revocation_list_in(der: bytes) -> CertificateRevocationList | None:
    try:
        return list_in(der)
    except Undecodable:
        return None


def is_encrypted(octets: bytes) -> bool:
    """Whether a file in PEM holds a private key that needs a password.

    :raises Unusable: when the file is cut.
    """
    return any(_protected(*block) for block in _pem(as_saved(octets), "the file") if block[0].endswith(_KEY_LABEL))


def _protected(label: str, text: bytes) -> bool:
    """Whether a PEM block of a key needs a password."""
    return label.startswith("ENCRYPTED ") or b"Proc-Type: 4,ENCRYPTED" in text


def read_private_key(octets: bytes, password: bytes | None, source: str) -> PrivateKey:
    """The private key of a file, PEM or DER.

    :raises Unusable: when there is none or more than one, the password is missing or wrong, its protection is not
        supported or takes too long, or it is of a kind that TLS does not use.
    """
    octets = as_saved(octets)
    written = _pem(octets, source)
    blocks = [(label, text) for label, text in written if label.endswith(_KEY_LABEL)]
    if len(blocks) > 1:
        raise Unusable(f"{source} holds more than one private key; give the one key that the certificate is for")
    encrypted = not blocks or _protected(*blocks[0])
    for der in (content for label, content in _decoded(written, source) if label.endswith(_KEY_LABEL)):
        _check_rounds(der, source)
    try:
        if blocks:
            label, text = blocks[0]
            key = load_pem_private_key(_PEM.format(label=label).encode().replace(b"TEXT", text, 1), password)
        else:
            _check_rounds(octets, source)
            key = load_der_private_key(octets, password)
    except TypeError as error:
        needed = "is not encrypted: give no password"
        if not password:
            needed = "is encrypted: give its password" if password is None else "is encrypted: the password is empty"
        raise Unusable(f"the private key in {source} {needed}") from error
    except (UnsupportedAlgorithm, InternalError) as error:
        raise Unusable(
            f"the private key in {source} is encrypted in a way that is not supported; encrypt it again with AES"
            if encrypted
            else f"{source} holds no private key that can be read"
        ) from error
    except ValueError as error:
        how = " with this password" if encrypted else ""
        raise Unusable(f"{source} holds no private key that can be read{how}") from error
    return checked_key(key, source)


def _check_rounds(der: bytes, source: str) -> None:
    """Refuse a file whose password protection takes too long.

    :raises Unusable: when it does.
    """
    rounds = rounds_asked_for(der)
    if rounds > limits.DERIVATION_ROUNDS_MOST:
        raise Unusable(
            f"the password protection of {source} asks for {rounds} rounds; {limits.DERIVATION_ROUNDS_MOST} are the "
            "most; export the key again with the usual settings"
        )


def checked_key(key: object, source: str) -> PrivateKey:
    """The key, when TLS can use it.

    :raises Unusable: for kinds of keys that no partner takes, for curves that TLS does not use (RFC 8422 section 5.1.1,
        RFC 7027), and for RSA below 2048 bits.
    """
    if not isinstance(key, PrivateKey):
        raise Unusable(f"the key in {source} is neither RSA nor an elliptic curve key")
    if isinstance(key, ec.EllipticCurvePrivateKey) and not isinstance(key.curve, _CURVES):
        raise Unusable(f"TLS does not use the curve of the key in {source}, {key.curve.name}; make one on P-256")
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

    :raises Unusable: when it is not one, cannot be opened, takes too long to be opened, or one of the two is missing.
    """
    if _PKCS12.match(octets) is None:
        raise Unusable(
            f"{source} is neither PEM nor PKCS#12; give one key and its certificates, in PEM, or one PKCS#12 file"
        )
    _check_rounds(octets, source)
    try:
        with decoding():
            key, leaf, others = pkcs12.load_key_and_certificates(octets, password)
            for each in others if leaf is None else [leaf, *others]:
                tried(each)
    except Undecodable as error:
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
        issuer = next((each for each in left if is_issued_by(chain[-1], each)), None)
        if issuer is None:
            break
        chain.append(issuer)
        left.remove(issuer)
    return KeyAndChain(key=key, chain=tuple(chain))


def _has_key(certificate: Certificate, public: bytes) -> bool:
    """Whether a certificate is for this key; one whose key cannot be read may be a CA's beside it."""
    try:
        return public_key_octets(certificate) == public
    except Unusable:
        return False


def public_key_octets(holder: Certificate | PrivateKey) -> bytes:
    """The SubjectPublicKeyInfo of a certificate or of a private key.

    :raises Unusable: when the certificate's key is of a kind that cannot be read.
    """
    try:
        if isinstance(holder, Certificate):
            return key_octets(holder)
        with decoding():
            return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Undecodable as error:
        whose = short_name(holder) if isinstance(holder, Certificate) else "the key"
        raise Unusable(f"the public key of {whose} is damaged, or of a kind that is not known") from error


def short_name(certificate: Certificate) -> str:
    """What a certificate is called in a message: its subject, cut where it is long, or a part of its SHA-256."""
    return shown_name(
        subject_text(certificate) or f"a certificate without a name, SHA-256 {certificate_pin(certificate)[:16]}..."
    )


def short_names(certificates: Sequence[Certificate]) -> str:
    """Of several the first ones."""
    return "; ".join(map(short_name, certificates[:_NAMES_SHOWN])) + (
        " and others" if len(certificates) > _NAMES_SHOWN else ""
    )


def shown_name(name: str) -> str:
    """A name as it stands in a message: cut where it is long."""
    return name if len(name) <= _NAME_SHOWN else f"{name[:_NAME_SHOWN]}..."


def certificate_pin(certificate: Certificate) -> str:
    """SHA-256 of the whole certificate, in hex."""
    return sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def key_pin(holder: Certificate | PrivateKey) -> str:
    """SHA-256 of the public key (SubjectPublicKeyInfo), in hex."""
    return sha256(public_key_octets(holder)).hexdigest()


def known_key_pin(certificate: Certificate) -> str | None:
    """As :func:`key_pin`; ``None`` when the key cannot be read: nothing is signed with it then."""
    try:
        return key_pin(certificate)
    except Unusable:
        return None


def certificates_to_pem(certificates: Iterable[Certificate]) -> str:
    """Certificates as one PEM text."""
    return "".join(each.public_bytes(Encoding.PEM).decode("ascii") for each in certificates)


def key_to_pem(key: PrivateKey) -> str:
    """A private key as PEM (PKCS#8, not encrypted): for the store, never for a log."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
