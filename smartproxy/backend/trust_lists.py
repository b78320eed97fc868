"""The trust lists of a site: what they propose, and what they withdraw.

A list is taken if a pinned certificate signed it, if it is newer than the last one, and if its successor is not
overdue. Its CAs are proposed with the addresses at which they publish; nothing is trusted before an operator accepts a
CA. If the list withdraws a CA that is trusted, or does not name it any more, one critical event tells it, and the CA
stays trusted: an operator decides. Never fetches anything: :mod:`.trust_watch` does.

Standards: ETSI TS 119 612.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from shlex import quote
from typing import Any

import attrs
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from smartproxy.backend import cas, journal, settings
from smartproxy.backend.certificates import certificate_pin, read_certificates, subject_text
from smartproxy.backend.change import Change, judged
from smartproxy.backend.errors import AlreadyThere, ChangeRefused, NotFound, Unusable
from smartproxy.backend.fetching import Fetched, Wanted
from smartproxy.backend.named import NamedRows
from smartproxy.backend.schema import CaRow
from smartproxy.backend.trust_tables import ListedCaRow, TrustListRow
from smartproxy.logs.catalogue import look_up
from smartproxy.logs.record import Record
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.downloads import BadListUrl, ListUrl, has_come, next_try
from smartproxy.policy.schema import ListOf, Optional, kind
from smartproxy.policy.trust_lists import TrustListEntry
from smartproxy.policy.values import NAME, SHA256, Flag, Instant, Lines, Whole

GONE = "gone"
"""The status of a CA that its list does not name any more."""
_TEXT = Lines(most=10_000)
_DIGITS_LEAST = 8
_ROWS = NamedRows(
    TrustListRow,
    lambda name, known: NotFound(f"there is no trust list {name!r}; 'smartproxy trust-list list' shows all"),
)
find = _ROWS.find


@attrs.frozen(kw_only=True)
class ListedCa:
    """A CA that a trust list names, or named.

    :ivar trust_list: the list.
    :ivar good: whether the list does not withdraw it.
    :ivar status: the last part of its status; ``gone``: the list does not name it any more.
    :ivar addresses: where it publishes; they become addresses of its revocation lists when it is accepted.
    :ivar trusted: the configured CA that has its certificate.
    :ivar rejected: when an operator decided not to trust it.
    """

    trust_list: str = attrs.field(metadata=kind(NAME))
    sha256: str = attrs.field(metadata=kind(SHA256))
    subject: str = attrs.field(metadata=kind(_TEXT))
    provider: str = attrs.field(metadata=kind(_TEXT))
    service: str = attrs.field(metadata=kind(_TEXT))
    status: str = attrs.field(metadata=kind(_TEXT))
    good: bool = attrs.field(metadata=kind(Flag()))
    addresses: tuple[str, ...] = attrs.field(metadata=kind(ListOf(item=_TEXT)))
    not_after: datetime = attrs.field(metadata=kind(Instant()))
    first_seen: datetime = attrs.field(metadata=kind(Instant()))
    trusted: str | None = attrs.field(metadata=kind(Optional(NAME)))
    rejected: datetime | None = attrs.field(metadata=kind(Optional(Instant())))


@attrs.frozen(kw_only=True)
class KnownTrustList:
    """A trust list, and how it goes.

    :ivar sequence: the number of the list that was taken last; ``None``: none was.
    :ivar next_update: when the next one is due.
    :ivar fault: why the last try failed, if it did.
    """

    name: str = attrs.field(metadata=kind(NAME))
    url: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    hours: int = attrs.field(metadata=kind(Whole(limits.TRUST_LIST_HOURS)))
    signers: tuple[str, ...] = attrs.field(metadata=kind(ListOf(item=_TEXT)))
    sequence: int | None = attrs.field(metadata=kind(Optional(Whole(limits.EVENT_NUMBER))))
    issued: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    next_update: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    taken: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    next_try: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    fault: str | None = attrs.field(metadata=kind(Optional(_TEXT)))


@attrs.frozen(kw_only=True)
class DueTrustList:
    """A trust list whose time has come."""

    name: str
    wanted: Wanted


def add(change: Change, entry: TrustListEntry) -> TrustListRow:
    """Name a trust list.

    :raises AlreadyThere: when there is one of this name.
    :raises ChangeRefused: when its address cannot be one.
    """
    if _ROWS.get(change.session, entry.name) is not None:
        raise AlreadyThere(f"there is a trust list {entry.name!r} already; remove it first")
    read_certificates(entry.signers.encode("ascii"), "the signer")
    if entry.url is not None:
        try:
            ListUrl.parse(entry.url)
        except BadListUrl as bad:
            raise ChangeRefused(f"{entry.url!r} cannot be the address of a trust list: {bad}") from bad
    row = TrustListRow(name=entry.name, entry=judged(entry, f"trust list {entry.name}"), failures=0)
    change.session.add(row)
    return row


def remove(change: Change, name: str) -> None:
    """Remove a trust list; CAs that were accepted stay."""
    change.session.delete(find(change.session, name))
    forget_others(change.session)


def forget_others(session: Session) -> None:
    """Forget what lists named that are not there any more."""
    session.flush()
    session.execute(delete(ListedCaRow).where(ListedCaRow.trust_list.not_in(select(TrustListRow.name))))


def listed(session: Session) -> Iterator[KnownTrustList]:
    """All trust lists by name."""
    for row in _ROWS.listed(session):
        signers = read_certificates(row.entry.signers.encode("ascii"), "the signer")
        yield KnownTrustList(
            name=row.name,
            url=row.entry.url,
            hours=row.entry.hours,
            signers=tuple(f"{subject_text(each)}, {certificate_pin(each)}" for each in signers),
            sequence=row.sequence,
            issued=row.issued,
            next_update=row.next_update,
            taken=row.taken,
            next_try=row.next_try,
            fault=row.fault,
        )


def listed_cas(session: Session, name: str | None = None) -> Iterator[ListedCa]:
    """The CAs of one trust list, or of all."""
    trusted = _trusted(session)
    query = select(ListedCaRow).order_by(ListedCaRow.trust_list, ListedCaRow.service, ListedCaRow.id)
    for row in session.scalars(query if name is None else query.where(ListedCaRow.trust_list == name)):
        yield _known(row, trusted.get(row.sha256))


def take(session: Session, name: str, octets: bytes, now: datetime) -> list[Record]:
    """Take a list that came; the events that tell of it, which are stored.

    :raises TrustListRefused: when it is not signed as it has to be, older than the last one, or overdue.
    """
    # Its libraries are large, and most sites have no trust list.
    from smartproxy.backend.trust_xml import TrustListRefused, is_over, parse

    row = find(session, name)
    found = parse(octets, read_certificates(row.entry.signers.encode("ascii"), "the signer"), now)
    fingerprint = hashlib.sha256(octets).hexdigest()
    if row.sequence is not None and found.sequence <= row.sequence and fingerprint != row.fingerprint:
        raise TrustListRefused(
            Cause.TRUST_LIST_OLD,
            f"its number is {found.sequence}, and the list that was taken before has {row.sequence}; an older list is "
            "never taken for a newer one",
        )
    if is_over(found, now):
        raise TrustListRefused(Cause.TRUST_LIST_OVER, "the next list is overdue; this one is not taken")
    row.sequence, row.fingerprint = found.sequence, fingerprint
    row.issued, row.next_update = found.issued, found.next_update
    row.taken, row.told_over = now, None
    told = [_record("trust_list.taken", now, list=name, count=len(found.services), next_update=found.next_update)]
    known = {each.sha256: each for each in session.scalars(select(ListedCaRow).where(ListedCaRow.trust_list == name))}
    named = set()
    for service in found.services:
        sha256 = certificate_pin(service.certificate)
        if sha256 in named:
            continue
        named.add(sha256)
        entry = known.get(sha256)
        if entry is None:
            entry = ListedCaRow(
                trust_list=name,
                sha256=sha256,
                certificate=service.pem,
                subject=subject_text(service.certificate),
                not_after=service.certificate.not_valid_after_utc,
                first_seen=now,
            )
            session.add(entry)
            known[sha256] = entry
        entry.provider, entry.service = service.provider, service.name
        entry.status, entry.good, entry.addresses = service.status, service.is_good, list(service.addresses)
    for sha256 in known.keys() - named:
        known[sha256].status, known[sha256].good = GONE, False
    session.flush()
    proposed = [each for each in listed_cas(session, name) if is_proposed(each)]
    if fresh := [each for each in proposed if each.first_seen == now]:
        advice = f"see them (smartproxy trust-list proposals {quote(name)}), and accept those that your partners use"
        names = [each.subject for each in fresh[: limits.TRUST_LIST_TOLD_MOST]]
        told.append(_record("trust_list.proposed", now, list=name, count=len(fresh), names=names, advice=advice))
    told += _withdrawn(session, name, now)
    journal.keep(session, told, now)
    return told


def is_proposed(ca: ListedCa) -> bool:
    """Whether nobody has decided about a CA that its list does not withdraw."""
    return ca.good and ca.trusted is None and ca.rejected is None


def accept(change: Change, name: str, which: str, ca: str, **values: Any) -> CaRow:
    """Trust a CA that a list names, as a configured CA of its own, with the addresses at which it publishes.

    :param which: the beginning of its certificate's SHA-256.
    :param ca: what it is to be called.
    :raises ChangeRefused: when its list withdraws it.
    """
    row = _meant(change.session, name, which)
    if not row.good:
        raise ChangeRefused(f"the trust list {name!r} has withdrawn {row.subject} ({row.status}); it is not accepted")
    lists = list(values.pop("lists", ()))
    for each in row.addresses:
        try:
            lists.append(str(ListUrl.parse(each)))
        except BadListUrl:
            continue
    row.rejected = None
    certificates = read_certificates(row.certificate.encode("ascii"), row.subject)
    return cas.add(change, ca, certificates, lists=tuple(dict.fromkeys(lists))[: limits.LISTS_PER_CA_MOST], **values)


def reject(session: Session, name: str, which: str, now: datetime) -> ListedCa:
    """Decide not to trust a CA; it is not proposed again."""
    row = _meant(session, name, which)
    row.rejected = now
    return _known(row, _trusted(session).get(row.sha256))


def due(session: Session, now: datetime) -> list[DueTrustList]:
    """The trust lists that are to be downloaded now."""
    allowed = settings.value_of(session, settings.DOWNLOAD_NETWORKS)
    assert isinstance(allowed, list)
    found = []
    for row in _ROWS.listed(session):
        most = max(row.entry.hours * 3600.0, limits.DOWNLOAD_RETRY_SECONDS_MOST)
        if row.entry.url is not None and has_come(row.next_try, now, most):
            wanted = Wanted(url=row.entry.url, etag=row.etag, modified=row.modified, allowed=allowed)
            found.append(DueTrustList(name=row.name, wanted=wanted))
    return found


def hurry(session: Session, name: str) -> None:
    """Have a list downloaded at the next look.

    :raises Unusable: when it has no address.
    """
    row = find(session, name)
    if row.entry.url is None:
        raise Unusable(
            f"the trust list {name!r} has no address; load a file: smartproxy trust-list load {quote(name)} FILE"
        )
    row.next_try = row.etag = row.modified = None


def succeeded(session: Session, name: str, fetched: Fetched, now: datetime) -> None:
    """Note that a download brought a list, or that the last one is still the newest."""
    row = find(session, name)
    row.failures, row.fault = 0, None
    if fetched.octets is not None:
        row.etag, row.modified = fetched.etag, fetched.modified
    row.next_try = now + timedelta(hours=row.entry.hours)


def failed(session: Session, name: str, cause: Cause, message: str, now: datetime, chance: float) -> list[Record]:
    """Note that a try failed; the events that tell of it, which are stored."""
    row = find(session, name)
    row.failures, row.fault = row.failures + 1, message
    row.next_try = next_try(row.failures, now, chance)
    advice = f"try it yourself, then: smartproxy trust-list load {quote(name)} FILE"
    seconds = (row.next_try - now).total_seconds()
    record = _record("trust_list.failed", now, list=name, cause=cause, message=message, seconds=seconds, advice=advice)
    journal.keep(session, [record], now)
    return [record]


def overdue(session: Session, now: datetime) -> list[Record]:
    """The lists whose successor is overdue, each told once."""
    told = []
    for row in session.scalars(select(TrustListRow).where(TrustListRow.next_update <= now)):
        if row.told_over != row.next_update:
            row.told_over = row.next_update
            advice = "see why no newer list comes (smartproxy trust-list list); what it withdraws is not learnt"
            told.append(_record("trust_list.overdue", now, list=row.name, next_update=row.next_update, advice=advice))
    journal.keep(session, told, now)
    return told


def _withdrawn(session: Session, name: str, now: datetime) -> Iterator[Record]:
    """CAs that are trusted here, and that the list withdraws; each status is told once."""
    trusted = _trusted(session)
    for row in session.scalars(select(ListedCaRow).where(ListedCaRow.trust_list == name).order_by(ListedCaRow.id)):
        ca = trusted.get(row.sha256)
        if row.good or ca is None:
            row.told = None
        elif row.told != row.status:
            row.told = row.status
            advice = (
                f"find out why; certificates of it are still accepted: give the partners other ones, then: smartproxy "
                f"ca remove {quote(ca)}"
            )
            yield _record(
                "trust_list.withdrawn", now, list=name, ca=ca, subject=row.subject, check=row.status, advice=advice
            )


def _trusted(session: Session) -> dict[str, str]:
    """The configured CAs by the SHA-256 of their certificates."""
    return {certificate_pin(each): row.name for row in cas.listed(session) for each in cas.certificates_of(row)}


def _known(row: ListedCaRow, trusted: str | None) -> ListedCa:
    values = {each.name: getattr(row, each.name) for each in attrs.fields(ListedCa) if each.name != "trusted"}
    return ListedCa(**{**values, "addresses": tuple(row.addresses)}, trusted=trusted)


def _meant(session: Session, name: str, which: str) -> ListedCaRow:
    find(session, name)
    wanted = which.lower().replace(":", "")
    rows = session.scalars(select(ListedCaRow).where(ListedCaRow.trust_list == name)).all()
    fits = [each for each in rows if len(wanted) >= _DIGITS_LEAST and each.sha256.startswith(wanted)]
    if len(fits) != 1:
        raise NotFound(
            f"{len(fits)} of the CAs of the trust list {name!r} have a SHA-256 that begins with {which!r}; "
            f"'smartproxy trust-list proposals {quote(name)}' shows them; give {_DIGITS_LEAST} digits or more"
        )
    return fits[0]


def _record(name: str, now: datetime, **fields: object) -> Record:
    return Record(name, now, "backend", None, look_up(name).check(fields))
