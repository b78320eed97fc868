"""Revocation: which certificates are revoked, which partners that affects, and where the lists are published.

Duty: judge one certificate by the revocation sets of its issuer and the age of these sets. The backend makes the sets
from signed revocation lists; nothing is fetched or parsed here. A serial number in a set is revoked, however old the
set is; only a certificate that is not in the set needs a current one.

A CA may publish its list in parts, one for each distribution point. A :class:`ListScope` says which certificates a set
covers; a set says nothing about any other certificate, neither that it is good nor that it is revoked.

:class:`Outlook` judges certificates without a handshake, by the certificates that partners have presented and the lists
that are loaded: which of them ``require`` would refuse now, and when a certificate will first be refused. It uses the
same :func:`status` as a handshake. It knows less than a handshake, because only the leaf was kept, and says so where
that matters.

:class:`CrlUrls` selects the few list addresses that are reported to the operator. The issuer of a certificate can write
any address into it: one of an internal machine, one of another protocol, or many to fill the log. Therefore only
certificates below a configured CA count, only addresses of the plainest form, and only a few of them a day.

RFC 5280 sections 4.2.1.13, 5, 5.2.5 and 6.3.3; RFC 3986 section 3.
"""

import datetime
import enum
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import attrs

from smartproxy.policy import limits
from smartproxy.policy.certificates.facts import ChainFacts
from smartproxy.policy.certificates.serials import SerialSet
from smartproxy.policy.partners import TrustedCa
from smartproxy.policy.schema import ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import SHA256, Instant, Line, Member, Serials, shifted


class Covered(enum.StrEnum):
    """The kinds of certificates that a revocation list covers."""

    ALL = "all"
    USERS = "users"
    CAS = "cas"


@attrs.frozen(kw_only=True)
class ListScope:
    """Which of its issuer's certificates a revocation list covers (issuingDistributionPoint).

    :ivar points: the names of its distribution point, sorted, with ``URI:`` or ``DIR:`` in front; empty: the list
        covers certificates of every distribution point, and those that name none.
    :ivar covered: whether it covers CA certificates, the others, or both.
    """

    points: tuple[str, ...] = attrs.field(
        default=(),
        metadata=kind(ListOf(item=Line(most=limits.CRL_POINT_CHARACTERS), most=limits.CRL_POINT_NAMES_MOST)),
    )
    covered: Covered = attrs.field(default=Covered.ALL, metadata=kind(Member(Covered)))

    def covers(self, points: Collection[str], *, is_authority: bool) -> bool:
        """Tell whether the list covers a certificate.

        :param points: the names of the distribution points in the certificate.
        :param is_authority: whether it is a CA certificate.
        """
        if self.covered is not Covered.ALL and is_authority is not (self.covered is Covered.CAS):
            return False
        return not self.points or any(point in points for point in self.points)

    @property
    def part(self) -> str | None:
        """The scope in words; ``None`` for a list that covers all certificates of its issuer."""
        words = [*self.points]
        if self.covered is not Covered.ALL:
            words.append("CA certificates only" if self.covered is Covered.CAS else "no CA certificates")
        return ", ".join(words) or None


def _as_set(numbers: Iterable[int]) -> SerialSet:
    return SerialSet.of(numbers)


@attrs.frozen(kw_only=True)
class RevocationSet:
    """The serial numbers that one issuer has revoked, among the certificates that the list covers.

    :ivar issuer_key_sha256: SHA-256 of the issuing CA's SubjectPublicKeyInfo, in hex.
    :ivar issuer_name: the issuing CA's name; ``None``: of any CA with this key.
    :ivar scope: which certificates the list covers.
    :ivar this_update: the time at which the CA made the list (thisUpdate).
    :ivar next_update: the time by which the next list is due (nextUpdate); ``None`` if the list does not say.
    :ivar serials: the revoked serial numbers.
    """

    issuer_key_sha256: str = attrs.field(metadata=kind(SHA256, key="issuer"))
    issuer_name: str | None = attrs.field(
        default=None, metadata=kind(Optional(Line(most=limits.ISSUER_NAME_CHARACTERS_MOST)))
    )
    scope: ListScope = attrs.field(default=ListScope(), metadata=kind(ObjectOf(ListScope)))
    this_update: datetime.datetime = attrs.field(metadata=kind(Instant()))
    next_update: datetime.datetime | None = attrs.field(default=None, metadata=kind(Optional(Instant())))
    serials: SerialSet = attrs.field(default=SerialSet(), converter=_as_set, repr=False, metadata=kind(Serials()))

    @property
    def fresh_until(self) -> datetime.datetime:
        """The time until which the list is current, without the hours of grace."""
        if self.next_update is not None:
            return self.next_update
        return shifted(self.this_update, datetime.timedelta(days=limits.REVOCATION_UNDATED_FRESH_DAYS))


class RevocationStatus(enum.Enum):
    """The result of judging one certificate by the revocation sets of its issuer.

    ``MISSING``: there is no set that covers it. ``STALE``: the set is out of date. ``FUTURE``: its thisUpdate is in the
    future.
    """

    GOOD = "good"
    REVOKED = "revoked"
    MISSING = "missing"
    STALE = "stale"
    FUTURE = "future"


def status(
    revocation: RevocationSet | None, serial: int, now: datetime.datetime, grace: datetime.timedelta
) -> RevocationStatus:
    """Judge the certificate *serial* by *revocation*, the set of its issuer; ``None`` if there is none.

    :param grace: how long the set stays valid after its nextUpdate.
    """
    if revocation is None:
        return RevocationStatus.MISSING
    if serial in revocation.serials:
        return RevocationStatus.REVOKED
    if revocation.this_update - now > datetime.timedelta(seconds=limits.CLOCK_TOLERANCE_SECONDS):
        return RevocationStatus.FUTURE
    if now - revocation.fresh_until > grace:
        return RevocationStatus.STALE
    return RevocationStatus.GOOD


_ORDER: Final = (
    RevocationStatus.REVOKED,
    RevocationStatus.GOOD,
    RevocationStatus.STALE,
    RevocationStatus.FUTURE,
)
"""Which of several lists decides: each of them may revoke, and one that is current is enough."""


@attrs.frozen
class RevocationLists:
    """All loaded revocation sets.

    :ivar of_key: the sets by the SHA-256 of their issuer's key.
    """

    of_key: Mapping[str, tuple[RevocationSet, ...]]

    @classmethod
    def of(cls, lists: Iterable[RevocationSet]) -> "RevocationLists":
        """Sort *lists* by their issuers."""
        found: dict[str, tuple[RevocationSet, ...]] = {}
        for each in lists:
            found[each.issuer_key_sha256] = (*found.get(each.issuer_key_sha256, ()), each)
        return cls(found)

    def of_issuer(self, key_sha256: str, name: str) -> tuple[RevocationSet, ...]:
        """The sets of the CA with this key and name; a CA may publish its list in parts."""
        wanted = _compared(name)
        return tuple(
            each
            for each in self.of_key.get(key_sha256, ())
            if each.issuer_name is None or _compared(each.issuer_name) == wanted
        )


def _compared(name: str) -> str:
    """A name in the form for comparing: RFC 5280 section 7.1 ignores case, and how many spaces there are."""
    return " ".join(name.casefold().split())


def judge_revocation(
    lists: Iterable[RevocationSet],
    serial: int,
    points: Collection[str],
    now: datetime.datetime,
    grace: datetime.timedelta,
    *,
    is_authority: bool = False,
) -> tuple[RevocationStatus, RevocationSet | None]:
    """Judge a certificate by those of its issuer's *lists* that cover it.

    It is revoked if one of them says so, and good if one of them is current.

    :param points: the names of the distribution points in the certificate.
    :param grace: how long a set stays valid after its nextUpdate.
    :param is_authority: whether it is a CA certificate.
    :return: the result, and the set that it comes from; ``None`` if none covers the certificate.
    """
    found = [
        (status(each, serial, now, grace), each)
        for each in lists
        if each.scope.covers(points, is_authority=is_authority)
    ]
    if not found:
        return RevocationStatus.MISSING, None
    newest = sorted(found, key=lambda judged: judged[1].fresh_until, reverse=True)
    return min(newest, key=lambda judged: _ORDER.index(judged[0]))


_WORDS: Final = {
    RevocationStatus.REVOKED: "it is revoked by the list of {}",
    RevocationStatus.MISSING: "there is no revocation list of {}",
    RevocationStatus.STALE: "the revocation list of {} is out of date",
    RevocationStatus.FUTURE: "the revocation list of {} is dated in the future",
}


@attrs.frozen(kw_only=True)
class Issuer:
    """A certificate of a configured CA.

    :ivar ca: the name of the CA's entry.
    :ivar subject: its subject's name, as RFC 4514 writes it.
    :ivar issuer: its issuer's name.
    :ivar serial: its serial number.
    :ivar key_sha256: SHA-256 of its SubjectPublicKeyInfo.
    :ivar not_after: the end of its validity.
    :ivar crl_points: the names of the distribution points in it.
    """

    ca: str
    subject: str
    issuer: str
    serial: int
    key_sha256: str
    not_after: datetime.datetime
    crl_points: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Listed:
    """The subjects of a CA's certificates, by the revocation lists that they issued.

    :ivar current: those with a current list that covers all certificates of partners.
    :ivar in_parts: the others with a current list.
    :ivar without: those without a current list.
    """

    current: tuple[str, ...]
    in_parts: tuple[str, ...]
    without: tuple[str, ...]


@attrs.frozen
class Outlook:
    """The configured CAs and the loaded revocation lists.

    :ivar issuers: the certificates of all CAs.
    :ivar lists: the revocation sets.
    """

    issuers: tuple[Issuer, ...]
    lists: RevocationLists

    def refusal(
        self,
        issuer: str,
        serial: int,
        ca: str,
        now: datetime.datetime,
        grace: datetime.timedelta,
        points: tuple[str, ...] = (),
    ) -> str | None:
        """The reason for which ``require`` would refuse a certificate; ``None`` if it would not.

        :param issuer: the name of the certificate's issuer.
        :param ca: the CA of the partner's certificate rule; the path is judged up to it.
        :param points: the names of the distribution points in the certificate.
        """
        is_authority = False
        for _ in range(limits.PATH_DEPTH_MOST):
            signer = self.signer(issuer, ca)
            if signer is None:
                return (
                    f"the certificate of its issuer {issuer} is not in the CA; therefore the issuer's revocation list"
                    " cannot be loaded"
                )
            lists = self._of(signer)
            found, by = judge_revocation(lists, serial, points, now, grace, is_authority=is_authority)
            if found is not RevocationStatus.GOOD:
                part = (", ".join(points) or "certificates without a distribution point") if lists else None
                return _WORDS[found].format(_list_of(signer, part if by is None else by.scope.part))
            if signer.ca == ca:
                return None
            issuer, serial, points, is_authority = signer.issuer, signer.serial, signer.crl_points, True
        return "its path does not reach the CA"

    def listed(self, ca: str, now: datetime.datetime, grace: datetime.timedelta) -> Listed:
        """Sort the subjects of a CA's certificates by their revocation lists."""
        current: list[str] = []
        in_parts: list[str] = []
        without: list[str] = []
        for each in self.issuers:
            if each.ca == ca:
                # No certificate has the serial number -1: only the list's dates decide.
                good = [
                    loaded.scope
                    for loaded in self._of(each)
                    if loaded.scope.covered is not Covered.CAS
                    and status(loaded, -1, now, grace) is RevocationStatus.GOOD
                ]
                whole = any(not scope.points for scope in good)
                (current if whole else in_parts if good else without).append(each.subject)
        return Listed(current=tuple(current), in_parts=tuple(in_parts), without=tuple(without))

    def ends(
        self,
        issuer: str,
        not_after: datetime.datetime,
        ca: str | None,
        grace: datetime.timedelta | None,
        points: tuple[str, ...] = (),
    ) -> Iterable[tuple[datetime.datetime, str]]:
        """The known times from which a valid certificate will be refused, each with the reason.

        :param ca: the CA that the certificate comes from; ``None`` for a pinned one.
        :param grace: how long a list stays valid after its nextUpdate; ``None`` where lists are not required.
        :param points: the names of the distribution points in the certificate.
        """
        yield not_after, "the certificate expires"
        signer = None if ca is None else self.signer(issuer, ca)
        if signer is None:
            return
        yield signer.not_after, f"the certificate of its issuer {signer.subject} expires"
        loaded = [each for each in self._of(signer) if each.scope.covers(points, is_authority=False)]
        if grace is not None and loaded:
            last = max(loaded, key=lambda each: each.fresh_until)
            words = f"the revocation list of {_list_of(signer, last.scope.part)} has to be renewed"
            yield shifted(last.fresh_until, grace), words

    def _of(self, issuer: Issuer) -> tuple[RevocationSet, ...]:
        return self.lists.of_issuer(issuer.key_sha256, issuer.subject)

    def signer(self, subject: str, ca: str) -> Issuer | None:
        """The CA certificate with this subject: the one of the given CA if there is one, else another CA's."""
        named = [each for each in self.issuers if each.subject == subject]
        return next((each for each in named if each.ca == ca), named[0] if named else None)


def _list_of(issuer: Issuer, part: str | None) -> str:
    return issuer.subject if part is None else f"{issuer.subject} for {part}"


_LABEL: Final = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_FORM: Final = re.compile(
    rf"(?:http|https)://((?:{_LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9]))(?::(?:80|443))?"
    r"(?:/[A-Za-z0-9._~:/?@!$&'()*+,;=%-]*)?",
    re.IGNORECASE,
)
"""http or https, a DNS name of at least two labels (no IP address), and port 80, 443 or none."""

_OURS: Final = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa")
"""The suffixes of names for internal networks (RFC 6761, RFC 6762, RFC 8375)."""


def is_plain(url: str) -> bool:
    """Tell whether a list's address has a form that may be reported."""
    if len(url) > limits.CRL_URL_OCTETS:
        return False
    match = _FORM.fullmatch(url)
    return match is not None and not match[1].lower().endswith(_OURS)


def named(chain: ChainFacts, ca: TrustedCa) -> tuple[str, ...]:
    """The addresses of revocation lists in the certificates below a CA: the first few of each, if they are plain."""
    found = (
        url
        for facts in chain.below(ca) or ()
        for url in facts.crl_urls[: limits.CRL_URLS_PER_CERTIFICATE]
        if is_plain(url)
    )
    return tuple(dict.fromkeys(found))


@attrs.define
class _Day:
    """The addresses that were reported for one CA on one day."""

    date: datetime.date
    urls: set[str] = attrs.field(factory=set)


@attrs.define
class CrlUrls:
    """The addresses of revocation lists that were reported today."""

    _days: dict[str, _Day] = attrs.field(factory=dict, init=False)

    def new(self, chain: ChainFacts, ca: TrustedCa, now: datetime.datetime) -> list[str]:
        """The addresses in a verified chain that are to be reported now: each once a day, up to a limit for each CA."""
        day = self._days.get(ca.name)
        if day is None or day.date != now.date():
            day = self._days[ca.name] = _Day(now.date())
        new = []
        for url in named(chain, ca):
            if url not in day.urls and len(day.urls) < limits.CRL_URLS_PER_DAY:
                day.urls.add(url)
                new.append(url)
        return new

    def keep(self, cas: set[str]) -> None:
        """Forget all CAs but *cas*."""
        for name in self._days.keys() - cas:
            del self._days[name]
