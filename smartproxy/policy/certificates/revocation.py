"""Revocation: which certificates are revoked, which partners that affects, and where the lists are published.

Duty: judge one certificate by the revocation set of its issuer and the age of that set. The backend makes the sets from
signed revocation lists; nothing is fetched or parsed here. A serial number in a set is revoked, however old the set is;
only a certificate that is not in the set needs a current one.

:class:`Outlook` judges certificates without a handshake, by the certificates that partners have presented and the lists
that are loaded: which of them ``require`` would refuse now, and when a certificate will first be refused. It uses the
same :func:`status` as a handshake. It knows less than a handshake, because only the leaf was kept, and says so where
that matters.

:class:`CrlUrls` selects the few list addresses that are reported to the operator. The issuer of a certificate can write
any address into it: one of an internal machine, one of another protocol, or many to fill the log. Therefore only
certificates below a configured CA count, only addresses of the plainest form, and only a few of them a day.

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
    :ivar this_update: the time at which the CA made the list (thisUpdate).
    :ivar next_update: the time by which the next list is due (nextUpdate); ``None`` if the list does not say.
    :ivar serials: the revoked serial numbers.
    """

    issuer_key_sha256: str = attrs.field(metadata=kind(SHA256, key="issuer"))
    this_update: datetime.datetime = attrs.field(metadata=kind(Instant()))
    next_update: datetime.datetime | None = attrs.field(default=None, metadata=kind(Optional(Instant())))
    serials: frozenset[int] = attrs.field(default=frozenset(), repr=False, metadata=kind(Serials()))

    @property
    def fresh_until(self) -> datetime.datetime:
        """The time until which the list is current, without the hours of grace."""
        if self.next_update is not None:
            return self.next_update
        return shifted(self.this_update, datetime.timedelta(days=limits.REVOCATION_UNDATED_FRESH_DAYS))


class RevocationStatus(enum.Enum):
    """The result of judging one certificate by a revocation set.

    ``MISSING``: there is no set. ``STALE``: the set is out of date. ``FUTURE``: its thisUpdate is in the future.
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
    """

    ca: str
    subject: str
    issuer: str
    serial: int
    key_sha256: str
    not_after: datetime.datetime


@attrs.frozen
class Outlook:
    """The configured CAs and the loaded revocation lists.

    :ivar issuers: the certificates of all CAs.
    :ivar lists: the revocation sets, by the SHA-256 of the issuer's key.
    """

    issuers: tuple[Issuer, ...]
    lists: Mapping[str, RevocationSet]

    def refusal(
        self, issuer: str, serial: int, ca: str, now: datetime.datetime, grace: datetime.timedelta
    ) -> str | None:
        """The reason for which ``require`` would refuse a certificate; ``None`` if it would not.

        :param issuer: the name of the certificate's issuer.
        :param ca: the CA of the partner's certificate rule; the path is judged up to it.
        """
        for _ in range(limits.PATH_DEPTH_MOST):
            signer = self.signer(issuer, ca)
            if signer is None:
                return (
                    f"the certificate of its issuer {issuer} is not in the CA; therefore the issuer's revocation list"
                    " cannot be loaded"
                )
            found = status(self.lists.get(signer.key_sha256), serial, now, grace)
            if found is not RevocationStatus.GOOD:
                return _WORDS[found].format(signer.subject)
            if signer.ca == ca:
                return None
            issuer, serial = signer.issuer, signer.serial
        return "its path does not reach the CA"

    def unlisted(self, ca: str, now: datetime.datetime, grace: datetime.timedelta) -> tuple[list[str], list[str]]:
        """The subjects of a CA's certificates: those with a current revocation list, and the others."""
        current: list[str] = []
        others: list[str] = []
        for each in self.issuers:
            if each.ca == ca:
                # No certificate has the serial number -1: only the list's dates decide.
                good = status(self.lists.get(each.key_sha256), -1, now, grace) is RevocationStatus.GOOD
                (current if good else others).append(each.subject)
        return current, others

    def ends(
        self, issuer: str, not_after: datetime.datetime, ca: str | None, grace: datetime.timedelta | None
    ) -> Iterable[tuple[datetime.datetime, str]]:
        """The known times from which a valid certificate will be refused, each with the reason.

        :param ca: the CA that the certificate comes from; ``None`` for a pinned one.
        :param grace: how long a list stays valid after its nextUpdate; ``None`` where lists are not required.
        """
        yield not_after, "the certificate expires"
        signer = None if ca is None else self.signer(issuer, ca)
        if signer is None:
            return
        yield signer.not_after, f"the certificate of its issuer {signer.subject} expires"
        loaded = self.lists.get(signer.key_sha256)
        if grace is not None and loaded is not None:
            yield shifted(loaded.fresh_until, grace), f"the revocation list of {signer.subject} has to be renewed"

    def signer(self, subject: str, ca: str) -> Issuer | None:
        """The CA certificate with this subject: the one of the given CA if there is one, else another CA's."""
        named = [each for each in self.issuers if each.subject == subject]
        return next((each for each in named if each.ca == ca), named[0] if named else None)


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
