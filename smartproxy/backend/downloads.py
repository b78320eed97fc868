"""Where revocation lists are downloaded from: what is proposed, what an operator decided, and how each download went.

An address becomes a proposal when a certificate whose path verifies up to a CA names it (:mod:`.sightings`). It is
downloaded only once it stands in the CA's entry: an operator puts it there, or the backend does by itself where the
entry says so. Nothing here calls anybody: :mod:`smartproxy.backend.download_watch` does, and brings the results back.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import attrs
from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend import cas, settings, sightings
from smartproxy.backend.change import Change
from smartproxy.backend.errors import ChangeRefused, NotFound
from smartproxy.backend.fetching import Fetched, Wanted
from smartproxy.backend.schema import CaRow, ListDownloadRow, RevocationRow
from smartproxy.policy import limits
from smartproxy.policy.certificates import downloads as policy
from smartproxy.policy.certificates.downloads import BadListUrl, ListUrl
from smartproxy.policy.partners import RevocationMode


@attrs.frozen(kw_only=True)
class Proposal:
    """An address that certificates of a CA name, and that is not downloaded.

    :ivar rejected: when an operator decided that it is not to be.
    """

    ca: str
    url: str
    first_seen: datetime
    last_seen: datetime
    rejected: datetime | None


@attrs.frozen(kw_only=True)
class Decided:
    """What an operator decided.

    :ivar urls: the addresses that it was about.
    :ivar unseen: those of them that no certificate has named.
    :ivar by_itself: whether the backend approves the CA's next proposals by itself.
    """

    ca: str
    urls: Sequence[str]
    unseen: Sequence[str]
    by_itself: bool


@attrs.frozen(kw_only=True)
class DownloadStatus:
    """How the downloads from an address go.

    :ivar list: the number of the revocation list in force that came from there.
    :ivar next_update: its nextUpdate.
    :ivar fresh_until: the time until which it is current.
    :ivar fault: why the last try failed.
    :ivar failures: how many tries failed, one after the other.
    :ivar needed: whether the CA's revocation mode uses lists.
    """

    ca: str
    url: str
    tried: datetime | None
    succeeded: datetime | None
    next_try: datetime | None
    fault: str | None
    failures: int
    list: int | None
    next_update: datetime | None
    fresh_until: datetime | None
    needed: bool

    @property
    def result(self) -> str:
        """What came of the last try, in words."""
        if self.tried is None:
            return "not tried yet"
        return "ok" if self.fault is None else f"failed: {self.fault}"


@attrs.frozen(kw_only=True)
class Due:
    """A download whose time has come."""

    ca: str
    wanted: Wanted


def proposals(session: Session, ca: str | None = None) -> list[Proposal]:
    """The addresses that are named and not downloaded, of one CA or of all that are configured.

    :raises NotFound: when there is no CA of this name.
    """
    found = [cas.find(session, ca)] if ca is not None else cas.listed(session)
    rejected = select(ListDownloadRow).where(ListDownloadRow.rejected.is_not(None))
    decided = {(row.ca, _spelled(row.url)): row.rejected for row in session.scalars(rejected)}
    return [
        Proposal(
            ca=row.name,
            url=seen.url,
            first_seen=seen.first_seen,
            last_seen=seen.last_seen,
            rejected=decided.get((row.name, _spelled(seen.url))),
        )
        for row in found
        for seen in sightings.urls(session, row.name)
        if not _approved(row, seen.url)
    ]


def approve(change: Change, ca: str, urls: Sequence[str] = (), *, by_itself: bool = False) -> Decided:
    """Have lists downloaded from addresses; without any, from all that are proposed and were not rejected.

    :param by_itself: whether the backend is to approve the CA's proposals by itself from now on.
    :raises ChangeRefused: when there is nothing to approve.
    """
    row = cas.find(change.session, ca)
    seen = {_spelled(each.url) for each in sightings.urls(change.session, ca)}
    wanted = [each for each in _once(urls or _open(change.session, ca)) if not _approved(row, each)]
    for url in wanted:
        try:
            ListUrl.parse(url)
        except BadListUrl as bad:
            raise ChangeRefused(
                f"{url!r} cannot be the address of a revocation list: {bad}; nothing is changed"
            ) from bad
    if not wanted and not by_itself:
        raise ChangeRefused(
            f"nothing to approve for the CA {ca!r}: its certificates name no further address; give one, or --by-itself"
        )
    cas.alter(
        change,
        ca,
        lists=(*row.entry.lists, *wanted),
        approve_lists=by_itself or row.entry.approve_lists,
    )
    spelled = set(map(_spelled, wanted))
    for known in change.session.scalars(select(ListDownloadRow).where(ListDownloadRow.ca == ca)):
        if _spelled(known.url) in spelled:
            known.rejected = None
    return Decided(
        ca=ca,
        urls=wanted,
        unseen=[each for each in wanted if _spelled(each) not in seen],
        by_itself=row.entry.approve_lists,
    )


def approve_what_fits(change: Change, ca: str) -> None:
    """Approve as many of a CA's proposals as there is room for, without anybody's doing."""
    room = limits.LISTS_PER_CA_MOST - len(cas.find(change.session, ca).entry.lists)
    approve(change, ca, _open(change.session, ca)[:room])


def _open(session: Session, ca: str) -> list[str]:
    """The addresses that are proposed, and that nobody rejected."""
    return _once(each.url for each in proposals(session, ca) if each.rejected is None)


def reject(change: Change, ca: str, urls: Sequence[str] = ()) -> Decided:
    """Have no lists downloaded from addresses; without any, from none of those that are proposed.

    An address is rejected in whatever way it is written, in the entry or in certificates.

    :raises NotFound: when an address is neither proposed nor approved.
    """
    row = cas.find(change.session, ca)
    wanted = list(dict.fromkeys(urls or (each.url for each in proposals(change.session, ca))))
    unwanted = set(map(_spelled, wanted))
    seen = [each.url for each in sightings.urls(change.session, ca)]
    known = [each for each in dict.fromkeys((*seen, *row.entry.lists)) if _spelled(each) in unwanted]
    if unwanted - set(map(_spelled, known)):
        raise NotFound(f"the CA {ca!r} has no such address; 'smartproxy crl proposals --all' shows all")
    for url in known:
        _row(change.session, ca, url).rejected = change.now
    left = tuple(each for each in row.entry.lists if each not in known)
    if left != row.entry.lists:
        cas.alter(change, ca, lists=left)
    return Decided(ca=ca, urls=wanted, unseen=(), by_itself=row.entry.approve_lists)


def take_rejected(change: Change, rejected: Mapping[tuple[str, str], datetime]) -> None:
    """Put these rejections, by CA and address, in the place of all others."""
    for row in change.session.scalars(select(ListDownloadRow).where(ListDownloadRow.rejected.is_not(None))):
        row.rejected = None
    for (ca, url), when in rejected.items():
        row = _row(change.session, ca, url)
        row.rejected, row.proposed = when, row.proposed or when


def hurry(session: Session, ca: str | None = None) -> list[str]:
    """Have the lists of one CA, or of all, downloaded at the next look; their addresses.

    :raises NotFound: when there is no CA of this name.
    """
    rows = [cas.find(session, ca)] if ca is not None else cas.listed(session)
    found = [(row.name, url) for row in rows for url in row.entry.lists]
    for name, url in found:
        _row(session, name, url).next_try = None
    return [url for _, url in found]


def statuses(session: Session) -> list[DownloadStatus]:
    """How each download goes, of all approved addresses, by CA."""
    rows = {(row.ca, row.url): row for row in session.scalars(select(ListDownloadRow))}
    found = []
    for ca in cas.listed(session):
        for url in ca.entry.lists:
            row = rows.get((ca.name, url)) or ListDownloadRow(ca=ca.name, url=url, failures=0)
            current = _current(session, row)
            found.append(
                DownloadStatus(
                    ca=ca.name,
                    url=url,
                    tried=row.tried,
                    succeeded=row.succeeded,
                    next_try=row.next_try,
                    fault=row.fault,
                    failures=row.failures,
                    list=None if current is None else current.id,
                    next_update=None if current is None else current.next_update,
                    fresh_until=None if current is None else current.fresh_until,
                    needed=ca.entry.revocation is not RevocationMode.OFF,
                )
            )
    return found


def untold(session: Session) -> list[Proposal]:
    """The proposals that were neither told nor rejected yet, of CAs that do not approve by themselves."""
    asking = {row.name for row in cas.listed(session) if not row.entry.approve_lists}
    told = {(row.ca, row.url) for row in session.scalars(select(ListDownloadRow)) if row.proposed is not None}
    waiting = [each for each in proposals(session) if each.ca in asking and each.rejected is None]
    return [each for each in waiting if (each.ca, each.url) not in told]


def told(session: Session, proposals: Sequence[Proposal], now: datetime) -> None:
    """Note that proposals were told."""
    for each in proposals:
        _row(session, each.ca, each.url).proposed = now


def by_themselves(session: Session) -> list[str]:
    """The CAs with proposals that the backend is to approve by itself, and with room for another address."""
    willing = {
        row.name
        for row in cas.listed(session)
        if row.entry.approve_lists and len(row.entry.lists) < limits.LISTS_PER_CA_MOST
    }
    return sorted({each.ca for each in proposals(session) if each.rejected is None} & willing)


def due(session: Session, now: datetime) -> list[Due]:
    """The downloads whose time has come; what was never tried first, then by their time."""
    allowed = settings.value_of(session, settings.DOWNLOAD_NETWORKS)
    assert isinstance(allowed, list)
    rows = {(row.ca, row.url): row for row in session.scalars(select(ListDownloadRow))}
    found: list[tuple[datetime, Due]] = []
    for ca in cas.listed(session):
        for url in ca.entry.lists:
            row = rows.get((ca.name, url))
            at = None if row is None else row.next_try
            if not policy.has_come(at, now, limits.DOWNLOAD_AGAIN_SECONDS_MOST):
                continue
            known = row if row is not None and _current(session, row) is not None else None
            wanted = Wanted(
                url=url,
                etag=None if known is None else known.etag,
                modified=None if known is None else known.modified,
                allowed=allowed,
            )
            found.append((at or now, Due(ca=ca.name, wanted=wanted)))
    return [each for _, each in sorted(found, key=lambda pair: pair[0])]


def same(session: Session, ca: str, url: str) -> RevocationRow | None:
    """The list in force that the last download from an address brought; ``None`` if there is none."""
    return _current(session, _row(session, ca, url))


def succeeded(
    session: Session, due: Due, fetched: Fetched, found: RevocationRow, now: datetime, chance: Callable[[], float]
) -> None:
    """Note that a download brought a list, or that the one in force is still the newest."""
    row = _row(session, due.ca, due.wanted.url)
    row.tried = row.succeeded = now
    row.failures, row.fault = 0, None
    row.list, row.made = found.id, found.this_update
    if fetched.octets is not None:
        row.etag, row.modified = fetched.etag, fetched.modified
    row.next_try = policy.next_look(found.this_update, found.next_update, now, chance())


def failed(session: Session, due: Due, fault: str, now: datetime, chance: Callable[[], float]) -> DownloadStatus:
    """Note that a download failed; how it goes then."""
    row = _row(session, due.ca, due.wanted.url)
    row.tried, row.fault = now, fault
    row.failures += 1
    row.next_try = policy.next_try(row.failures, now, chance())
    session.flush()
    mine = [each for each in statuses(session) if (each.ca, each.url) == (due.ca, due.wanted.url)]
    if not mine:
        raise NotFound(f"the address is not one of the CA {due.ca!r} any more")
    return mine[0]


def _approved(row: CaRow, url: str) -> bool:
    """Whether an address stands in a CA's entry, in whatever way it is written."""
    return _spelled(url) in map(_spelled, row.entry.lists)


def _spelled(url: str) -> str:
    """An address in the form for comparing; as it is, if it is not one."""
    try:
        return str(ListUrl.parse(url))
    except BadListUrl:
        return url


def _once(urls: Iterable[str]) -> list[str]:
    """Addresses without those that differ from an earlier one in how they are written only."""
    found: dict[str, str] = {}
    for url in urls:
        found.setdefault(_spelled(url), url)
    return list(found.values())


def _row(session: Session, ca: str, url: str) -> ListDownloadRow:
    """What is noted of an address; made if there is nothing yet."""
    row = session.scalars(
        select(ListDownloadRow).where(ListDownloadRow.ca == ca, ListDownloadRow.url == url)
    ).one_or_none()
    if row is None:
        row = ListDownloadRow(ca=ca, url=url, failures=0)
        session.add(row)
        session.flush()
    return row


def _current(session: Session, row: ListDownloadRow) -> RevocationRow | None:
    """The list that the last download brought, while it is in force."""
    found = None if row.list is None else session.get(RevocationRow, row.list)
    return found if found is not None and found.this_update == row.made else None
