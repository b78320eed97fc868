"""Revocation lists, turned once into serial numbers: looking one up in a parsed list takes time in its length.

A list is accepted only when a certificate of a configured CA signed it and it is not older than the one
that is in force. A CA may publish its list in parts, each for a distribution point, or for CA certificates and others:
parts are kept side by side, and each takes the place of an older one of the same issuer and scope only (RFC 5280
sections 5.2.3 and 5.2.5). What is no list of its issuer's own certificates for all reasons is refused.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from shlex import quote

import attrs
from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend import cas, journal
from smartproxy.backend.certificates import key_pin, subject_text
from smartproxy.backend.change import Change
from smartproxy.backend.errors import NotFound, Unusable
from smartproxy.backend.list_contents import ParsedList
from smartproxy.backend.list_contents import parse as parse
from smartproxy.backend.schema import RevocationRow
from smartproxy.net.tls.facts import may_sign_lists
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.revocation import ListScope, compared
from smartproxy.policy.values import minute


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
    row = _row(session, certificate, parsed.scope)
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


def _row(session: Session, issuer: x509.Certificate, scope: ListScope) -> RevocationRow | None:
    """The list in force of the same issuer and scope; what it calls its issuer may be written in another way."""
    name = subject_text(issuer)
    rows = session.scalars(
        select(RevocationRow).where(RevocationRow.issuer_key_sha256 == key_pin(issuer), RevocationRow.scope == scope)
    )
    same = [row for row in rows if compared(row.issuer) == compared(name)]
    return next((row for row in same if row.issuer == name), same[0] if same else None)


def _take(
    change: Change,
    parsed: ParsedList,
    issuers: Sequence[tuple[str, x509.Certificate]],
    only: str | None,
    url: str | None,
) -> LoadedList:
    what, scope = parsed.what, parsed.scope
    this_update, next_update, number = parsed.this_update, parsed.next_update, parsed.number
    ca, certificate = _signer(parsed, issuers, only)
    # The certificate's own words: they are what the certificates that it issued are compared with.
    key, issuer = key_pin(certificate), subject_text(certificate)
    row = _row(change.session, certificate, scope)
    if is_future(this_update, change.now):
        raise Unusable(
            f"{what} is of {minute(this_update)}, which is in the "
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
    row.issuer = issuer
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
            f"{parsed.what} is of {minute(parsed.this_update)} and older than the one in force, of "
            f"{minute(row.this_update)}; load the newest one from the CA"
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
    name = compared(parsed.issuer)
    called = [(ca, each) for ca, each in issuers if compared(subject_text(each)) == name]
    if not called and only is not None:
        raise Unusable(
            f"{parsed.what} is not from the CA {only!r}; if it is from an intermediate CA below it, add that one's "
            f"certificate: 'smartproxy ca change {quote(only)} FILE FILE'"
        )
    if not called:
        raise Unusable(
            f"{parsed.what} is not from a configured CA; add its certificate first: 'smartproxy ca add NAME FILE'"
        )
    signers = [(ca, each) for ca, each in called if parsed.signed_by(each)]
    if not signers:
        raise Unusable(f"{parsed.what} is not signed by the key of its issuer's certificate in the CA {called[0][0]!r}")
    for ca, each in signers:
        if may_sign_lists(each):
            return ca, each
    raise Unusable(
        f"{parsed.what} is signed by its issuer's certificate in the CA {signers[0][0]!r}, whose keyUsage cannot be "
        "read, or does not allow it to sign lists; ask the CA which certificate is for that"
    )
