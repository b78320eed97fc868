"""What one revocation list says: its issuer, its dates, which certificates it covers, and which of them it revokes.

Reads a list field by field, and refuses what would make revoked certificates look valid. Whoever sends a list chooses
its octets: what cannot be read is named, in words that are ours, and no name is told without end. cryptography reads
all extensions or none; here each is read by itself, so that an odd one that is of no concern keeps no list from being
used. Who signed a list is asked later (:mod:`smartproxy.backend.revocation`).

RFC 5280 sections 5.1, 5.2 and 5.3.
"""

import functools
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from smartproxy.backend import list_entries
from smartproxy.backend.certificates import issuer_text, read_revocation_lists, shown_name
from smartproxy.backend.errors import Unusable
from smartproxy.net.tls.der import EXTENSIONS_MOST, dotted, value, values
from smartproxy.net.tls.names import point_names
from smartproxy.policy import limits
from smartproxy.policy.certificates.decoding import (
    Undecodable,
    decoding,
    extensions,
    is_list_signed_by,
    list_in,
    signature_hash,
)
from smartproxy.policy.certificates.revocation import Covered, ListScope
from smartproxy.policy.certificates.serials import SerialSet
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import Line

_WEAK: Final[dict[type[hashes.HashAlgorithm], str]] = {hashes.MD5: "MD5", hashes.SHA1: "SHA-1"}
_NUMBER_BITS_MOST: Final = 8 * 20
"""RFC 5280 section 5.2.3: a CRL number has at most 20 octets."""

_DELTA: Final = x509.DeltaCRLIndicator.oid.dotted_string
_POINT: Final = x509.IssuingDistributionPoint.oid.dotted_string
_NUMBER: Final = x509.CRLNumber.oid.dotted_string
_NAMED: Final = {
    _DELTA: "deltaCRLIndicator",
    _POINT: "issuingDistributionPoint",
    _NUMBER: "cRLNumber",
    x509.AuthorityKeyIdentifier.oid.dotted_string: "authorityKeyIdentifier",
    x509.IssuerAlternativeName.oid.dotted_string: "issuerAltName",
    x509.FreshestCRL.oid.dotted_string: "freshestCRL",
}
"""The names of extensions; others are told by their numbers."""

_BOOLEAN, _INTEGER, _BITS, _TIME, _SEQUENCE, _EXTENSIONS = 0x01, 0x02, 0x03, 0x17, 0x30, 0xA0


@attrs.frozen(kw_only=True, eq=False)
class ParsedList:
    """A revocation list as it was read from a file; who signed it is not known yet.

    :ivar signed_by: tells whether the key of a certificate signed it.
    :ivar what: what to call it in an error.
    :ivar issuer: its issuer's name, as the list writes it.
    :ivar serials: the certificates that it revokes.
    """

    signed_by: Callable[[x509.Certificate], bool]
    what: str
    issuer: str
    scope: ListScope
    this_update: datetime
    next_update: datetime | None
    number: int | None
    serials: SerialSet


def parse(octets: bytes, source: str) -> list[ParsedList]:
    """All revocation lists of a file, PEM or DER. A long one takes seconds: nobody should wait for a lock meanwhile.

    :param source: what to call the file in an error.
    :raises Unusable: when a list cannot be read, or is not one for all reasons of its issuer's own certificates.
    """
    try:
        with decoding():
            return [_parsed(crl, der, source) for crl, der in read_revocation_lists(octets, source)]
    except Undecodable as error:
        raise Unusable(f"{source} holds a revocation list that cannot be read") from error


def named(issuer: str, scope: ListScope, source: str) -> str:
    """What to call a list in an error.

    :param source: the file that it is in.
    """
    part = "" if scope.part is None else f" for {shown_name(scope.part)}"
    return f"the revocation list of {shown_name(issuer)}{part} in {source}"


def _parsed(crl: x509.CertificateRevocationList, der: bytes, source: str) -> ParsedList:
    issuer = issuer_text(crl)
    if not issuer:
        raise Unusable(f"a revocation list in {source} does not name its issuer")
    what = named(issuer, ListScope(), source)
    try:
        Line(most=limits.ISSUER_NAME_CHARACTERS_MOST).read(issuer, "issuer")
    except DocumentRefused as refused:
        raise Unusable(
            f"the issuer's name in {what} has more than {limits.ISSUER_NAME_CHARACTERS_MOST} characters, or blanks "
            "around it"
        ) from refused
    _check_signature(crl, what)
    scope, number = _said(crl, issuer, what)
    what = named(issuer, scope, source)
    return ParsedList(
        signed_by=functools.partial(is_list_signed_by, crl),
        what=what,
        issuer=issuer,
        scope=scope,
        this_update=crl.last_update_utc,
        next_update=crl.next_update_utc,
        number=number,
        serials=_serials(der, what),
    )


def _serials(der: bytes, what: str) -> SerialSet:
    try:
        return list_entries.serials(der)
    except list_entries.UnknownDemand as demand:
        raise Unusable(
            f"{what} has an entry with a critical extension that is not understood ({demand}); such lists are not used"
        ) from demand
    except ValueError as error:
        raise Unusable(f"an entry of {what} cannot be read: {error}") from error


def _check_signature(crl: x509.CertificateRevocationList, what: str) -> None:
    """Refuse a list whose signature proves nothing, whoever made it."""
    try:
        digest = signature_hash(crl)
    except Undecodable as error:
        number = crl.signature_algorithm_oid.dotted_string
        raise Unusable(
            f"{what} is signed in a way that is not known ({number}); ask the CA for a list signed with SHA-256"
        ) from error
    if digest is not None and (weak := _WEAK.get(type(digest))) is not None:
        raise Unusable(
            f"{what} is signed with {weak}, which is not accepted; ask the CA for a list signed with SHA-256"
        )


@attrs.frozen
class _Extension:
    """An extension of a list.

    :ivar value: what it says; ``None`` if it cannot be read.
    """

    number: str
    critical: bool
    value: x509.ExtensionType | None

    @property
    def name(self) -> str:
        """What to call it."""
        return f"{_NAMED[self.number]} ({self.number})" if self.number in _NAMED else self.number


def _said(crl: x509.CertificateRevocationList, issuer: str, what: str) -> tuple[ListScope, int | None]:
    """Which of its issuer's certificates a list covers, and its number.

    :raises Unusable: for a list that would make revoked certificates look valid: a delta list, one that is limited to
        some reasons, one with certificates of other CAs, or one with unknown demands.
    """
    scope = ListScope()
    count: int | None = None
    seen: set[str] = set()
    for each in _extensions(crl, what):
        if each.number in seen:
            raise Unusable(f"{what} has the extension {each.name} twice")
        seen.add(each.number)
        if each.number == _DELTA:
            raise Unusable(f"{what} is a delta list; load the complete one")
        match each.value:
            case None if each.critical or each.number in (_POINT, _NUMBER):
                raise Unusable(f"the extension {each.name} of {what} cannot be read")
            case x509.IssuingDistributionPoint() as point:
                scope = _scope_of(point, issuer, what)
            case x509.CRLNumber() as numbered:
                count = numbered.crl_number
                if count.bit_length() > _NUMBER_BITS_MOST:
                    raise Unusable(f"{what} has a number of more than 20 octets")
            case x509.UnrecognizedExtension() if each.critical:
                raise Unusable(f"{what} has an unknown critical extension ({each.number})")
    return scope, count


def _extensions(crl: x509.CertificateRevocationList, what: str) -> Iterator[_Extension]:
    """The extensions, each read in a list of its own that is nobody's and holds nothing else."""
    algorithm, listed = _taken_apart(crl.tbs_certlist_bytes)
    before = value(_INTEGER, b"\x01") + algorithm + value(_SEQUENCE, b"") + value(_TIME, b"260101000000Z")
    if len(listed) > EXTENSIONS_MOST:
        raise Unusable(f"{what} has more than {EXTENSIONS_MOST} extensions")
    for tag, extension in listed:
        parts = list(values(extension))
        alone = value(_SEQUENCE, before + value(_EXTENSIONS, value(_SEQUENCE, value(tag, extension))))
        yield _Extension(
            number=dotted(parts[0][1]),
            critical=any(tag == _BOOLEAN and content != b"\0" for tag, content in parts),
            value=_value(value(_SEQUENCE, alone + algorithm + value(_BITS, b"\0\0"))),
        )


def _taken_apart(signed: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    """The algorithm of a list's signature, and its extensions."""
    ((_, content),) = values(signed)
    fields = list(values(content))
    algorithm = next(inner for tag, inner in fields if tag == _SEQUENCE)
    listed = [inner for tag, outer in fields if tag == _EXTENSIONS for _, inner in values(outer)]
    return value(_SEQUENCE, algorithm), [each for inner in listed for each in values(inner)]


def _value(alone: bytes) -> x509.ExtensionType | None:
    try:
        (found,) = extensions(list_in(alone))
    except Undecodable:
        return None
    return found.value


def _scope_of(point: x509.IssuingDistributionPoint, issuer: str, what: str) -> ListScope:
    if point.indirect_crl:
        raise Unusable(f"{what} is an indirect list, with certificates of other CAs in it; such lists are not accepted")
    if point.only_some_reasons:
        raise Unusable(f"{what} is limited to some reasons for revocation; load the CA's list for all reasons")
    if point.only_contains_attribute_certs:
        raise Unusable(f"{what} covers attribute certificates only; load the list of the CA's other certificates")
    covered = Covered.ALL
    if point.only_contains_user_certs:
        covered = Covered.USERS
    elif point.only_contains_ca_certs:
        covered = Covered.CAS
    names = point_names(point.full_name, point.relative_name, issuer)
    if len(names) > limits.CRL_POINT_NAMES_MOST or any(len(each) > limits.CRL_POINT_CHARACTERS for each in names):
        raise Unusable(
            f"{what} names its distribution point with more than {limits.CRL_POINT_NAMES_MOST} names, or with one of "
            f"more than {limits.CRL_POINT_CHARACTERS} characters"
        )
    if not names and (point.full_name is not None or point.relative_name is not None):
        raise Unusable(f"{what} is for a distribution point without a name")
    for each in names:
        try:
            Line(most=limits.CRL_POINT_CHARACTERS).read(each, "point")
        except DocumentRefused as refused:
            raise Unusable(f"{what} names its distribution point with blanks around the name") from refused
    return ListScope(points=tuple(sorted(names)), covered=covered)
