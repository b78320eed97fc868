"""Which certificates CAs have revoked, what that will mean for partners, and where the lists are said to be.

Duty: say of one certificate what the revocation set of its issuer says, and how old that set is. The sets are prepared
by the backend from signed revocation lists; nothing is fetched or parsed here. A serial number in a set is revoked
however old the set is; only the absence of one needs a fresh set.

:class:`Outlook` answers from what was seen and what is loaded, without a handshake: which certificates ``require``
would refuse now, and when a certificate that is good now will be refused for the first time. It judges by the same
:func:`status` as a handshake, knows less than one, since only the leaf was kept, and says so where that matters.

:class:`CrlUrls` lets through the few addresses of lists that an operator may want to look at. An address in a
certificate is a wish of whoever issued it: it could point at machines inside, at other protocols, or be there to fill
the log. So only certificates below a configured CA count, only addresses of the plainest form, and only a few of them a
day.

RFC 5280 sections 4.2.1.13, 5 and 6.3; RFC 3986 section 3.
"""

import datetime
import enum
import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from smartproxy.policy import limits
from smartproxy.policy.certificates.facts import ChainFacts
from smartproxy.policy.partners import TrustedCa
from smartproxy.policy.schema import Optional, kind
from smartproxy.policy.values import SHA256, Instant, Serials, shifted


@attrs.frozen(kw_only=True)
class RevocationSet:
    """The serial numbers that one issuer has revoked.

    :ivar issuer_key_sha256: SHA-256 of the issuing CA's SubjectPublicKeyInfo, in hex.
    :ivar this_update: when the CA made the list.
    :ivar next_update: when it promised the next one, if it did.
    :ivar serials: the revoked serial numbers.
    """

    issuer_key_sha256: str = attrs.field(metadata=kind(SHA256, key="issuer"))
    this_update: datetime.datetime = attrs.field(metadata=kind(Instant()))
    next_update: datetime.datetime | None = attrs.field(default=None, metadata=kind(Optional(Instant())))
    serials: frozenset[int] = attrs.field(default=frozenset(), repr=False, metadata=kind(Serials()))

    @property
    def fresh_until(self) -> datetime.datetime:
        """When a newer list has to be there, grace not counted."""
        if self.next_update is not None:
            return self.next_update
        return shifted(self.this_update, datetime.timedelta(days=limits.REVOCATION_UNDATED_FRESH_DAYS))


class RevocationStatus(enum.Enum):
    """What a revocation set says of one certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    MISSING = "missing"
    STALE = "stale"
    FUTURE = "future"


def status(
    revocation: RevocationSet | None, serial: int, now: datetime.datetime, grace: datetime.timedelta
) -> RevocationStatus:
    """What *revocation*, the set of the certificate's issuer if there is one, says of *serial*.

    :param grace: how long after the promised next update the set is still good for an answer.
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


_WORDS: Final = {
    RevocationStatus.REVOKED: "it is revoked by the list of {}",
    RevocationStatus.MISSING: "there is no revocation list of {}",
    RevocationStatus.STALE: "the revocation list of {} is out of date",
    RevocationStatus.FUTURE: "the revocation list of {} is of a time to come",
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
    """

    ca: str
    subject: str
    issuer: str
    serial: int
    key_sha256: str
    not_after: datetime.datetime


@attrs.frozen
class Outlook:
    """What is configured and loaded.

    :ivar issuers: the certificates of all CAs.
    :ivar lists: the revocation sets, by the SHA-256 of the issuer's key.
    """

    issuers: tuple[Issuer, ...]
    lists: Mapping[str, RevocationSet]

    def refusal(
        self, issuer: str, serial: int, ca: str, now: datetime.datetime, grace: datetime.timedelta
    ) -> str | None:
        """Why ``require`` would refuse a certificate; ``None`` if it would not.

        :param issuer: the name of the certificate's issuer.
        :param ca: the CA of the rule that the partner is known by: the path is judged up to it.
        """
        for _ in range(limits.PATH_DEPTH_MOST):
            signer = self.signer(issuer, ca)
            if signer is None:
                return (
                    f"the certificate of its issuer {issuer} is not in the CA, so that no revocation list of it can be"
                    " loaded"
                )
            found = status(self.lists.get(signer.key_sha256), serial, now, grace)
            if found is not RevocationStatus.GOOD:
                return _WORDS[found].format(signer.subject)
            if signer.ca == ca:
                return None
            issuer, serial = signer.issuer, signer.serial
        return "its path does not come to the CA"

    def unlisted(self, ca: str, now: datetime.datetime, grace: datetime.timedelta) -> tuple[list[str], list[str]]:
        """Of a CA's certificates, those with a list that is current and those without, by their subjects."""
        current: list[str] = []
        others: list[str] = []
        for each in self.issuers:
            if each.ca == ca:
                # No certificate has the serial number -1: what counts is the list.
                good = status(self.lists.get(each.key_sha256), -1, now, grace) is RevocationStatus.GOOD
                (current if good else others).append(each.subject)
        return current, others

    def ends(
        self, issuer: str, not_after: datetime.datetime, ca: str | None, grace: datetime.timedelta | None
    ) -> Iterable[tuple[datetime.datetime, str]]:
        """When a certificate that is good now will be refused, and why: all the moments that are known.

        :param ca: the CA that vouches for it; ``None`` for a pinned one.
        :param grace: how long a list is good after its promised end; ``None`` where lists are not required.
        """
        yield not_after, "the certificate ends"
        signer = None if ca is None else self.signer(issuer, ca)
        if signer is None:
            return
        yield signer.not_after, f"the certificate of its issuer {signer.subject} ends"
        loaded = self.lists.get(signer.key_sha256)
        if grace is not None and loaded is not None:
            yield shifted(loaded.fresh_until, grace), f"the revocation list of {signer.subject} has to be renewed"

    def signer(self, subject: str, ca: str) -> Issuer | None:
        """The certificate of a name: that of the given CA if it has one, else any other's."""
        named = [each for each in self.issuers if each.subject == subject]
        return next((each for each in named if each.ca == ca), named[0] if named else None)


_LABEL: Final = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_FORM: Final = re.compile(
    rf"(?:http|https)://((?:{_LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9]))(?::(?:80|443))?"
    r"(?:/[A-Za-z0-9._~:/?@!$&'()*+,;=%-]*)?",
    re.IGNORECASE,
)
"""http or https, a DNS name of two labels at least that is no address of any kind, the two usual ports, no more."""

_OURS: Final = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa")
"""The ends of names that mean something inside only (RFC 6761, RFC 6762, RFC 8375)."""


def is_plain(url: str) -> bool:
    """Whether an address is of a form that may be reported."""
    if len(url) > limits.CRL_URL_OCTETS:
        return False
    match = _FORM.fullmatch(url)
    return match is not None and not match[1].lower().endswith(_OURS)


def named(chain: ChainFacts, ca: TrustedCa) -> tuple[str, ...]:
    """The addresses in the certificates that a CA vouches for: the first few of each, if they are plain."""
    found = (
        url
        for facts in chain.below(ca) or ()
        for url in facts.crl_urls[: limits.CRL_URLS_PER_CERTIFICATE]
        if is_plain(url)
    )
    return tuple(dict.fromkeys(found))


@attrs.define
class _Day:
    """What was reported of one CA on one day."""

    date: datetime.date
    urls: set[str] = attrs.field(factory=set)


@attrs.define
class CrlUrls:
    """Counts what was reported."""

    _days: dict[str, _Day] = attrs.field(factory=dict, init=False)

    def new(self, chain: ChainFacts, ca: TrustedCa, now: datetime.datetime) -> list[str]:
        """The addresses of a verified chain that are to be reported: none twice a day, and not too many."""
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
        """Forget CAs that are not configured any more."""
        for name in self._days.keys() - cas:
            del self._days[name]
