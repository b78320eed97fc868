"""Revocation lists, turned once into serial numbers: looking one up in a parsed list takes time in its length.

A list is accepted only when a certificate of a configured CA signed it and it is not older than the one
that is in force. A CA may publish its list in parts, each for a distribution point, or for CA certificates and others:
parts are kept side by side, and each takes the place of an older one of the same issuer and scope only (RFC 5280
sections 5.2.3 and 5.2.5). What is no list of its issuer's own certificates for all reasons is refused.
"""

import functools
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from shlex import quote

import attrs
from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend import cas, journal, list_entries
from smartproxy.backend.certificates import issuer_text, key_pin, read_revocation_lists, subject_text
from smartproxy.backend.change import Change
from smartproxy.backend.errors import NotFound, Unusable
from smartproxy.backend.schema import RevocationRow
from smartproxy.net.tls.facts import may_sign_lists
from smartproxy.net.tls.names import point_names
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.decoding import Undecodable, decoding, extension, extensions, is_list_signed_by
from smartproxy.policy.certificates.revocation import Covered, ListScope
from smartproxy.policy.certificates.serials import SerialSet


@attrs.frozen(kw_only=True)
class LoadedList:
    """What a revocation list brought.

    :ivar row: its number in the store.
    :ivar ca: the name of the configured CA whose certificate signed it.
    :ivar scope: which of its issuer's certificates it covers.
    :ivar previous: when the list that it replaces was made, if there was one.
    """

    row: int
    ca: str
    issuer: str
    issuer_key_sha256: str
    scope: ListScope
    this_update: datetime
    next_update: datetime | None
    number: int | None
    serials: int
    previous: datetime | None


@attrs.frozen(kw_only=True, eq=False)
class ParsedList:
    """A revocation list as it was read from a file; who signed it is not known yet.

    :ivar signed_by: tells whether the key of a certificate that may sign lists signed it.
    :ivar what: what to call it in an error.
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
        # Dates, names and extensions are decoded only when they are asked for.
        raise Unusable(
            f"{source} holds a date, a name, an entry or an extension that cannot be read: {error.said}"
        ) from error


def load(
    change: Change, lists: Sequence[ParsedList], *, ca: str | None = None, url: str | None = None
) -> list[LoadedList]:
    """Take all of these lists; none of them when one is refused.

    :param ca: the only CA that may have signed them.
    :param url: where they come from.
    :raises Unusable: when the issuer of a list is not configured, or the list is older than the one in force.
    """
    issuers = issuers_of(change.session, ca)
    return [_take(change, each, issuers, ca, url) for each in lists]


def issuers_of(session: Session, ca: str | None = None) -> list[tuple[str, x509.Certificate]]:
    """The certificates of all CAs, or of one, each with the CA's name."""
    rows = [row for row in cas.listed(session) if ca in (None, row.name)]
    return [(row.name, each) for row in rows for each in cas.certificates_of(row)]


def in_force(session: Session, parsed: ParsedList, ca: str) -> RevocationRow | None:
    """The list in force that says what a list of a CA says; ``None`` if it is another one, or there is none.

    :raises Unusable: when no certificate of the CA signed the list.
    """
    _, certificate = _signer(parsed, issuers_of(session, ca), ca)
    row = _row(session, key_pin(certificate), parsed)
    same = row is not None and (row.this_update, row.next_update, row.number, row.count) == (
        parsed.this_update,
        parsed.next_update,
        None if parsed.number is None else f"{parsed.number:x}",
        len(parsed.serials),
    )
    return row if same else None


def listed(session: Session) -> Sequence[RevocationRow]:
    """All lists in force, by their issuers' names and their scopes."""
    rows = session.scalars(select(RevocationRow)).all()
    return sorted(rows, key=lambda row: (row.issuer, row.issuer_key_sha256, row.scope.points, row.scope.covered))


def find(session: Session, number: int) -> RevocationRow:
    """The list of a number.

    :raises NotFound: when there is none.
    """
    row = session.get(RevocationRow, number)
    if row is None:
        raise NotFound(f"there is no revocation list {number}; 'smartproxy crl list' shows all")
    return row


def remove(change: Change, which: str) -> RevocationRow:
    """Forget a list.

    :param which: its number, its issuer's name, the SHA-256 of the issuer's key, or a name of its distribution point.
    :raises NotFound: when there is none, or several fit; the message lists their numbers and keys then.
    """
    rows = [row for row in listed(change.session) if which in _names(row)]
    if not rows:
        raise NotFound(f"there is no revocation list of {which!r}; 'smartproxy crl list' shows all")
    if len(rows) > 1:
        found = "; ".join(f"{row.id} ({row.scope.part or 'whole'}, of the key {row.issuer_key_sha256})" for row in rows)
        raise NotFound(f"{len(rows)} lists fit {which!r}; say which one by its number: {found}")
    change.session.delete(rows[0])
    return rows[0]


def _names(row: RevocationRow) -> set[str]:
    """All that a list can be called by."""
    bare = (point.partition(":")[2] for point in row.scope.points)
    return {str(row.id), row.issuer, row.issuer_key_sha256, *row.scope.points, *bare}


def is_future(this_update: datetime, now: datetime) -> bool:
    """Whether a list was made later than now, but for clocks that differ a little."""
    return this_update - now > timedelta(seconds=limits.CLOCK_TOLERANCE_SECONDS)


def refused(session: Session, path: str, message: str, now: datetime) -> None:
    """Keep that a list was refused: the change that would have told of it is not made."""
    record = journal.record_of("crl.refused", now, 1, cause=Cause.CRL_UNUSABLE, message=message, path=path)
    journal.keep(session, [record], now)


def named(issuer: str, scope: ListScope, source: str) -> str:
    """What to call a list in an error.

    :param source: the file that it is in.
    """
    part = "" if scope.part is None else f" for {scope.part}"
    return f"the revocation list of {issuer}{part} in {source}"


def _parsed(crl: x509.CertificateRevocationList, der: bytes, source: str) -> ParsedList:
    issuer = issuer_text(crl)
    scope = _scope(crl, issuer, named(issuer, ListScope(), source))
    return ParsedList(
        signed_by=functools.partial(_signed, crl),
        what=named(issuer, scope, source),
        issuer=issuer,
        scope=scope,
        this_update=crl.last_update_utc,
        next_update=crl.next_update_utc,
        number=_number(crl),
        serials=list_entries.serials(der),
    )


def _row(session: Session, key: str, parsed: ParsedList) -> RevocationRow | None:
    """The list in force of the same issuer and scope."""
    return session.scalars(
        select(RevocationRow).where(
            RevocationRow.issuer_key_sha256 == key,
            RevocationRow.issuer == parsed.issuer,
            RevocationRow.scope == parsed.scope,
        )
    ).one_or_none()


def _take(
    change: Change,
    parsed: ParsedList,
    issuers: Sequence[tuple[str, x509.Certificate]],
    only: str | None,
    url: str | None,
) -> LoadedList:
    what, issuer, scope = parsed.what, parsed.issuer, parsed.scope
    this_update, next_update, number = parsed.this_update, parsed.next_update, parsed.number
    ca, certificate = _signer(parsed, issuers, only)
    key = key_pin(certificate)
    row = _row(change.session, key, parsed)
    if is_future(this_update, change.now):
        raise Unusable(
            f"{what} is of {this_update:%Y-%m-%d %H:%M} UTC, which is in the "
            "future; check this machine's clock, and load the list when its time has come"
        )
    previous = None if row is None else row.this_update
    if row is not None and is_future(row.this_update, change.now):
        # What was loaded by a wrong clock stands in the way of no list that is valid.
        change.session.delete(row)
        change.session.flush()
        row = previous = None
    if row is None:
        row = RevocationRow(issuer_key_sha256=key, issuer=issuer, scope=scope)
        change.session.add(row)
    else:
        _check_newer(parsed, row)
    row.this_update, row.next_update = this_update, next_update
    row.number = None if number is None else f"{number:x}"
    row.width, row.octets, row.count = parsed.serials.width, parsed.serials.octets, len(parsed.serials)
    row.loaded = change.now
    change.note(
        "crl.loaded",
        issuer=issuer,
        list_part=scope.part,
        count=len(parsed.serials),
        ca=ca,
        this_update=this_update,
        next_update=next_update,
        url=url,
    )
    change.session.flush()
    return LoadedList(
        row=row.id,
        ca=ca,
        issuer=issuer,
        issuer_key_sha256=key,
        scope=scope,
        this_update=this_update,
        next_update=next_update,
        number=number,
        serials=len(parsed.serials),
        previous=previous,
    )


def _check_newer(parsed: ParsedList, row: RevocationRow) -> None:
    """Refuse a list that is older than the one in force."""
    if row.this_update > parsed.this_update:
        raise Unusable(
            f"{parsed.what} is of {parsed.this_update:%Y-%m-%d %H:%M} UTC and older than the one in force, of "
            f"{row.this_update:%Y-%m-%d %H:%M} UTC; load the newest one from the CA"
        )
    if row.number is not None and parsed.number is not None and parsed.number < int(row.number, 16):
        # Dates have seconds; of two lists made in the same one, the number tells which came first (RFC 5280 5.2.3).
        raise Unusable(
            f"{parsed.what} has number {parsed.number:x} and is older than the one in force, "
            f"number {row.number}; load the newest one from the CA"
        )


def _signer(
    parsed: ParsedList, issuers: Sequence[tuple[str, x509.Certificate]], only: str | None = None
) -> tuple[str, x509.Certificate]:
    """The configured certificate that signed a list.

    :param only: the only CA that these issuers are of.
    :raises Unusable: when there is none.
    """
    named = [(name, each) for name, each in issuers if subject_text(each) == parsed.issuer]
    if not named and only is not None:
        raise Unusable(
            f"{parsed.what} is not from the CA {only!r}; if it is from an intermediate CA below it, add that one's "
            f"certificate: 'smartproxy ca change {quote(only)} FILE FILE'"
        )
    if not named:
        raise Unusable(
            f"{parsed.what} is not from a configured CA; add its certificate first: 'smartproxy ca add NAME FILE'"
        )
    for name, each in named:
        if parsed.signed_by(each):
            return name, each
    raise Unusable(f"{parsed.what} is not signed by the key of its issuer's certificate in the CA {named[0][0]!r}")


def _signed(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> bool:
    """Whether the key of a certificate that may sign lists signed this one."""
    return may_sign_lists(certificate) and is_list_signed_by(crl, certificate)


def _scope(crl: x509.CertificateRevocationList, issuer: str, what: str) -> ListScope:
    """Which of its issuer's certificates a list covers.

    :raises Unusable: for a list that would make revoked certificates look valid: a delta list, one that is limited to
        some reasons, one with certificates of other CAs, or one with unknown demands.
    """
    try:
        found = extensions(crl)
    except Undecodable as error:
        raise Unusable(f"the extensions of {what} cannot be read: {error.said}") from error
    scope = ListScope()
    for each in found:
        if isinstance(each.value, x509.DeltaCRLIndicator):
            raise Unusable(f"{what} is a delta list; load the complete one")
        if isinstance(each.value, x509.IssuingDistributionPoint):
            scope = _scope_of(each.value, issuer, what)
        elif each.critical and isinstance(each.value, x509.UnrecognizedExtension):
            raise Unusable(f"{what} has an unknown critical extension ({each.oid.dotted_string})")
    return scope


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
    return ListScope(points=tuple(sorted(names)), covered=covered)


def _number(crl: x509.CertificateRevocationList) -> int | None:
    number = extension(crl, x509.CRLNumber)
    return None if number is None else number.crl_number
