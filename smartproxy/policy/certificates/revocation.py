"""Revocation: which certificates are revoked, by the lists of their issuers.

Duty: judge one certificate by the revocation sets of its issuer and the age of these sets. The backend makes the sets
from signed revocation lists; nothing is fetched or parsed here. A serial number in a set is revoked, however old the
set is; only a certificate that is not in the set needs a current one.

A CA may publish its list in parts, one for each distribution point. A :class:`ListScope` says which certificates a set
covers; a set says nothing about any other certificate, neither that it is good nor that it is revoked.

RFC 5280 sections 4.2.1.13, 5, 5.2.5 and 6.3.3.
"""

import datetime
import enum
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import attrs

from smartproxy.policy import limits
from smartproxy.policy.certificates.serials import SerialSet
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

    def covers(self, points: Collection[str], *, is_ca: bool) -> bool:
        """Tell whether the list covers a certificate.

        :param points: the names of the distribution points in the certificate.
        :param is_ca: whether it is a CA certificate.
        """
        if self.covered is not Covered.ALL and is_ca is not (self.covered is Covered.CAS):
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


def fresh_until(this_update: datetime.datetime, next_update: datetime.datetime | None) -> datetime.datetime:
    """The time until which a list is current: its nextUpdate, or some days after it was made if it has none."""
    if next_update is not None:
        return next_update
    return shifted(this_update, datetime.timedelta(days=limits.REVOCATION_UNDATED_FRESH_DAYS))


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
        return fresh_until(self.this_update, self.next_update)


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
    revocation: RevocationSet, serial: int, now: datetime.datetime, grace: datetime.timedelta
) -> RevocationStatus:
    """Judge the certificate *serial* by *revocation*, a set of its issuer that covers it.

    :param grace: how long the set stays valid after its nextUpdate.
    """
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
        wanted = compared(name)
        return tuple(
            each
            for each in self.of_key.get(key_sha256, ())
            if each.issuer_name is None or compared(each.issuer_name) == wanted
        )


def compared(name: str) -> str:
    """A name in the form for comparing: RFC 5280 section 7.1 ignores case, and how many spaces there are.

    One name may be in Teletex and in UTF-8: an octet that is shown as such counts as the letter of Latin-1.
    """
    if "\\x" in name:
        name = _OCTET.sub(lambda octet: chr(int(octet[1], 16)), name)
    return " ".join(name.casefold().split())


_OCTET: Final = re.compile(r"\\x([0-9a-f]{2})")


def judge_revocation(
    lists: Iterable[RevocationSet],
    serial: int,
    points: Collection[str],
    now: datetime.datetime,
    grace: datetime.timedelta,
    *,
    is_ca: bool = False,
) -> tuple[RevocationStatus, RevocationSet | None]:
    """Judge a certificate by those of its issuer's *lists* that cover it.

    It is revoked if one of them says so, and good if one of them is current.

    :param points: the names of the distribution points in the certificate.
    :param grace: how long a set stays valid after its nextUpdate.
    :param is_ca: whether it is a CA certificate.
    :return: the result, and the set that it comes from; ``None`` if none covers the certificate.
    """
    found = [(status(each, serial, now, grace), each) for each in lists if each.scope.covers(points, is_ca=is_ca)]
    if not found:
        return RevocationStatus.MISSING, None
    newest = sorted(found, key=lambda judged: judged[1].fresh_until, reverse=True)
    return min(newest, key=lambda judged: _ORDER.index(judged[0]))
