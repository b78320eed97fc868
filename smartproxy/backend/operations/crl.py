"""Operations on revocation lists: those that are in force, and where they are downloaded from."""

import enum
from datetime import datetime
from typing import TypedDict

import attrs

from smartproxy.backend import cas, downloads, forecasts, revocation, sightings
from smartproxy.backend.change import Change
from smartproxy.backend.downloads import Decided, DownloadStatus
from smartproxy.backend.operations.list_files import ListsGiven
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import AnyText, Nothing
from smartproxy.backend.schema import RevocationRow
from smartproxy.policy import limits
from smartproxy.policy.certificates.revocation import Covered, ListScope
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import NAME, Flag, Instant, Line, Member, Whole

CRL = Family("crl", "crls", key="list")

_COUNT = Whole(limits.EVENT_NUMBER)
_TIME = Optional(Instant())
_TEXTS = ListOf(item=AnyText())
_ADDRESSES = ListOf(item=Line(most=10_000), most=limits.LISTS_PER_CA_MOST)


class ListState(enum.StrEnum):
    """Whether a revocation list is current: a CA that requires one has its certificates refused without."""

    FRESH = "fresh"
    OUT_OF_DATE = "out of date"
    NOT_YET_VALID = "not yet valid"


@attrs.frozen(kw_only=True)
class ListNamed:
    """Which revocation list.

    :ivar list: its number, its issuer's name, the SHA-256 of the issuer's key, or its distribution point.
    """

    list: str = attrs.field(
        metadata=kind(
            Line(most=limits.ISSUER_NAME_CHARACTERS_MOST),
            people=ForPeople(
                help="its number, its issuer's name, the SHA-256 of the issuer's key, or its distribution point"
            ),
        )
    )


@attrs.frozen(kw_only=True)
class OfOneCa:
    """Of which CA.

    :ivar ca: its name; ``None``: all.
    """

    ca: str | None = attrs.field(
        default=None, metadata=kind(Optional(NAME), people=ForPeople(help="only those of this CA"))
    )

    @property
    def spoken(self) -> str:
        """What the history says after the operation's name."""
        return self.ca or ""


@attrs.frozen(kw_only=True)
class Approval:
    """From where a CA's lists are downloaded.

    :ivar addresses: http or https; without any, all that are proposed.
    :ivar by_itself: whether later proposals are approved without asking again.
    """

    ca: str = attrs.field(metadata=kind(NAME))
    addresses: tuple[str, ...] = attrs.field(
        default=(),
        metadata=kind(
            _ADDRESSES, people=ForPeople(help="the addresses, http or https; without any, all that are proposed")
        ),
    )
    by_itself: bool = attrs.field(
        default=False, metadata=kind(Flag(), people=ForPeople(help="also approve later proposals without asking"))
    )

    @property
    def spoken(self) -> str:
        """What the history says after the operation's name."""
        return " ".join([self.ca, *self.addresses, *(["--by-itself"] if self.by_itself else [])])


@attrs.frozen(kw_only=True)
class Rejection:
    """From where no lists of a CA are downloaded.

    :ivar addresses: without any, all that are proposed.
    """

    ca: str = attrs.field(metadata=kind(NAME))
    addresses: tuple[str, ...] = attrs.field(
        default=(),
        metadata=kind(_ADDRESSES, people=ForPeople(help="the addresses; without any, all that are proposed")),
    )

    @property
    def spoken(self) -> str:
        """What the history says after the operation's name."""
        return " ".join([self.ca, *self.addresses])


@attrs.frozen(kw_only=True)
class KnownDownload:
    """How the downloads from an address go.

    :ivar list: the number of the list in force that came from there.
    :ivar result: what came of the last try, in words.
    :ivar fault: why the last try failed.
    :ivar failures: how many tries failed, one after the other.
    :ivar needed: whether the CA's revocation mode uses lists.
    """

    ca: str = attrs.field(metadata=kind(AnyText()))
    url: str = attrs.field(metadata=kind(AnyText()))
    tried: datetime | None = attrs.field(metadata=kind(_TIME))
    succeeded: datetime | None = attrs.field(metadata=kind(_TIME))
    next_try: datetime | None = attrs.field(metadata=kind(_TIME))
    result: str = attrs.field(metadata=kind(AnyText()))
    fault: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    failures: int = attrs.field(metadata=kind(_COUNT))
    list: int | None = attrs.field(metadata=kind(Optional(_COUNT)))
    needed: bool = attrs.field(metadata=kind(Flag()))


@attrs.frozen(kw_only=True)
class KnownList:
    """A revocation list that is in force.

    :ivar id: its number in the store.
    :ivar ca: the CA whose certificate signed it; ``None`` where that is not configured any more.
    :ivar part: which certificates it covers, in words; ``None`` for all of its issuer.
    :ivar serials: how many certificates it revokes.
    :ivar number: its CRL number, in hex.
    :ivar octets: how much room it takes.
    """

    id: int = attrs.field(metadata=kind(_COUNT))
    ca: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    issuer: str = attrs.field(metadata=kind(AnyText()))
    issuer_key_sha256: str = attrs.field(metadata=kind(AnyText()))
    points: tuple[str, ...] = attrs.field(metadata=kind(_TEXTS))
    covered: Covered = attrs.field(metadata=kind(Member(Covered)))
    part: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    serials: int = attrs.field(metadata=kind(_COUNT))
    this_update: datetime = attrs.field(metadata=kind(Instant()))
    next_update: datetime | None = attrs.field(metadata=kind(_TIME))
    number: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    loaded: datetime = attrs.field(metadata=kind(Instant()))
    octets: int = attrs.field(metadata=kind(_COUNT))
    state: ListState = attrs.field(metadata=kind(Member(ListState)))


@attrs.frozen(kw_only=True)
class KnownLists:
    """Revocation lists, and how their downloads go."""

    items: tuple[KnownList, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownList))))
    downloads: tuple[KnownDownload, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownDownload))))


@attrs.frozen(kw_only=True)
class TakenList:
    """A list that was loaded.

    :ivar previous: when the list that it replaces was made, if there was one.
    """

    list: KnownList = attrs.field(metadata=kind(ObjectOf(KnownList)))
    previous: datetime | None = attrs.field(metadata=kind(_TIME))


@attrs.frozen(kw_only=True)
class TakenLists:
    """The lists that were loaded."""

    items: tuple[TakenList, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(TakenList))))


@attrs.frozen(kw_only=True)
class ProposedAddress:
    """An address that verified certificates of a CA name.

    :ivar configured: whether the CA is configured; nothing is downloaded otherwise.
    :ivar approved: whether lists are downloaded from there.
    :ivar rejected: when somebody decided that none are.
    """

    ca: str = attrs.field(metadata=kind(AnyText()))
    url: str = attrs.field(metadata=kind(AnyText()))
    first_seen: datetime = attrs.field(metadata=kind(Instant()))
    last_seen: datetime = attrs.field(metadata=kind(Instant()))
    configured: bool = attrs.field(metadata=kind(Flag()))
    approved: bool = attrs.field(metadata=kind(Flag()))
    rejected: datetime | None = attrs.field(metadata=kind(_TIME))


@attrs.frozen(kw_only=True)
class ProposedAddresses:
    """Addresses of revocation lists."""

    items: tuple[ProposedAddress, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(ProposedAddress))))


@attrs.frozen(kw_only=True)
class DecidedAddresses:
    """What was decided.

    :ivar urls: the addresses that it was about.
    :ivar unseen: those of them that no certificate has named.
    :ivar by_itself: whether the backend approves the CA's next proposals by itself.
    """

    ca: str = attrs.field(metadata=kind(NAME))
    urls: tuple[str, ...] = attrs.field(metadata=kind(_TEXTS))
    unseen: tuple[str, ...] = attrs.field(metadata=kind(_TEXTS))
    by_itself: bool = attrs.field(metadata=kind(Flag()))


@attrs.frozen(kw_only=True)
class HurriedAddresses:
    """Addresses from which lists are downloaded at the backend's next look."""

    urls: tuple[str, ...] = attrs.field(metadata=kind(_TEXTS))


@attrs.frozen(kw_only=True)
class ForeseenVerdict:
    """What ``require`` would do with a partner's certificate.

    :ivar mode: how the CA's lists are used today.
    """

    partner: str = attrs.field(metadata=kind(AnyText()))
    ca: str = attrs.field(metadata=kind(AnyText()))
    mode: str = attrs.field(metadata=kind(AnyText()))
    verdict: forecasts.Verdict = attrs.field(metadata=kind(Member(forecasts.Verdict)))
    cause: str = attrs.field(metadata=kind(AnyText()))
    subject: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    sha256: str | None = attrs.field(metadata=kind(Optional(AnyText())))


@attrs.frozen(kw_only=True)
class ForeseenVerdicts:
    """What ``require`` would do, by partner."""

    items: tuple[ForeseenVerdict, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(ForeseenVerdict))))


@attrs.frozen(kw_only=True)
class RemovedList:
    """A list that is not there any more.

    :ivar part: which certificates it covered, in words; ``None`` for all.
    """

    issuer: str = attrs.field(metadata=kind(AnyText()))
    points: tuple[str, ...] = attrs.field(metadata=kind(_TEXTS))
    covered: Covered = attrs.field(metadata=kind(Member(Covered)))
    part: str | None = attrs.field(metadata=kind(Optional(AnyText())))


@CRL.reading("list", "List the revocation lists in force, and how their downloads go.")
def listed(look: Transaction, wanted: Nothing) -> KnownLists:
    """All of them, by issuer."""
    signers = {key: row.name for row, key, _ in cas.signers(look.session)}
    return KnownLists(
        items=tuple(
            _known(row, signers.get(row.issuer_key_sha256), look.now) for row in revocation.listed(look.session)
        ),
        downloads=tuple(map(_download, downloads.statuses(look.session))),
    )


@CRL.changing(
    "load",
    "Load revocation lists, each signed by a configured CA and not older than the one in force; one file of 64 MiB at "
    "most may be the body itself, as application/pkix-crl.",
)
def load(change: Change, wanted: ListsGiven) -> TakenLists:
    """Load all of them, or none."""
    taken = revocation.load(change, wanted.prepared)
    rows = {each.row: revocation.find(change.session, each.row) for each in taken}
    return TakenLists(
        items=tuple(
            TakenList(list=_known(rows[each.row], each.ca, change.now), previous=each.previous) for each in taken
        )
    )


@CRL.changing("remove", "Remove a revocation list.")
def remove(change: Change, wanted: ListNamed) -> RemovedList:
    """Remove the revocation list."""
    row = revocation.remove(change, wanted.list)
    return RemovedList(issuer=row.issuer, **_covers(row.scope))


@CRL.reading("proposals", "List the addresses of lists that verified certificates name, and what was decided of them.")
def proposals(look: Transaction, wanted: OfOneCa) -> ProposedAddresses:
    """The addresses of a CA, or of all."""
    if wanted.ca is not None:
        cas.find(look.session, wanted.ca)
    configured = {each.name for each in cas.listed(look.session)}
    waiting = {(each.ca, each.url): each.rejected for each in downloads.proposals(look.session, wanted.ca)}
    return ProposedAddresses(
        items=tuple(
            ProposedAddress(
                ca=row.ca,
                url=row.url,
                first_seen=row.first_seen,
                last_seen=row.last_seen,
                configured=row.ca in configured,
                approved=row.ca in configured and (row.ca, row.url) not in waiting,
                rejected=waiting.get((row.ca, row.url)),
            )
            for row in sightings.urls(look.session, wanted.ca)
        )
    )


@CRL.changing("approve", "Have a CA's revocation lists downloaded from addresses: all that are proposed, or some.")
def approve(change: Change, wanted: Approval) -> DecidedAddresses:
    """Approve the addresses."""
    return _decided(downloads.approve(change, wanted.ca, wanted.addresses, by_itself=wanted.by_itself))


@CRL.changing("reject", "Have no revocation lists downloaded from addresses: all that are proposed, or some.")
def reject(change: Change, wanted: Rejection) -> DecidedAddresses:
    """Reject them; they are not proposed again."""
    return _decided(downloads.reject(change, wanted.ca, wanted.addresses))


@CRL.acting("fetch", "Have approved revocation lists downloaded now, and not at their next time.")
def fetch(work: Transaction, wanted: OfOneCa) -> HurriedAddresses:
    """Have them downloaded at the backend's next look."""
    return HurriedAddresses(urls=tuple(downloads.hurry(work.session, wanted.ca)))


@CRL.reading("check", "Preview which partners would be refused today if their CA's revocation were 'require'.")
def check(look: Transaction, wanted: Nothing) -> ForeseenVerdicts:
    """What would be, by partner."""
    return ForeseenVerdicts(
        items=tuple(
            ForeseenVerdict(**attrs.asdict(each, recurse=False))
            for each in forecasts.revocation(look.session, look.now)
        )
    )


def _decided(decided: Decided) -> DecidedAddresses:
    return DecidedAddresses(
        ca=decided.ca, urls=tuple(decided.urls), unseen=tuple(decided.unseen), by_itself=decided.by_itself
    )


def _download(status: DownloadStatus) -> KnownDownload:
    return KnownDownload(
        ca=status.ca,
        url=status.url,
        tried=status.tried,
        succeeded=status.succeeded,
        next_try=status.next_try,
        result=status.result,
        fault=status.fault,
        failures=status.failures,
        list=status.list,
        needed=status.needed,
    )


def _known(row: RevocationRow, ca: str | None, now: datetime) -> KnownList:
    state = ListState.FRESH
    if revocation.is_future(row.this_update, now):
        state = ListState.NOT_YET_VALID
    elif row.fresh_until <= now:
        state = ListState.OUT_OF_DATE
    return KnownList(
        id=row.id,
        ca=ca,
        issuer=row.issuer,
        issuer_key_sha256=row.issuer_key_sha256,
        **_covers(row.scope),
        serials=row.count,
        this_update=row.this_update,
        next_update=row.next_update,
        number=row.number,
        loaded=row.loaded,
        octets=row.width * row.count,
        state=state,
    )


class _Covers(TypedDict):
    """Which certificates a list covers."""

    points: tuple[str, ...]
    covered: Covered
    part: str | None


def _covers(scope: ListScope) -> _Covers:
    return {"points": scope.points, "covered": scope.covered, "part": scope.part}
