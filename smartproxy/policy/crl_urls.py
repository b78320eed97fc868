"""Which addresses of revocation lists are reported, of all that partners' certificates name.

Duty: let through the few that an operator may want to look at. An address in a certificate is a wish of whoever issued
it: it could point at machines inside, at other protocols, or be there to fill the log. So only certificates below a
configured authority count, only addresses of the plainest form, and only a few of them a day. Nothing here or in the
daemons ever fetches one.

RFC 5280 section 4.2.1.13; RFC 3986 section 3.
"""

import datetime
import re
from typing import Final

import attrs

from smartproxy.policy import limits
from smartproxy.policy.authorities import Authority
from smartproxy.policy.certificates.judge import ChainFacts

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


def named(chain: ChainFacts, authority: Authority) -> tuple[str, ...]:
    """The addresses in the certificates that an authority vouches for: the first few of each, if they are plain."""
    found = (
        url
        for facts in chain.below(authority) or ()
        for url in facts.crl_urls[: limits.CRL_URLS_PER_CERTIFICATE]
        if is_plain(url)
    )
    return tuple(dict.fromkeys(found))


@attrs.define
class _Day:
    """What was reported of one authority on one day."""

    date: datetime.date
    urls: set[str] = attrs.field(factory=set)


@attrs.define
class CrlUrls:
    """Counts what was reported."""

    _days: dict[str, _Day] = attrs.field(factory=dict, init=False)

    def new(self, chain: ChainFacts, authority: Authority, now: datetime.datetime) -> list[str]:
        """The addresses of a verified chain that are to be reported: none twice a day, and not too many."""
        day = self._days.get(authority.name)
        if day is None or day.date != now.date():
            day = self._days[authority.name] = _Day(now.date())
        new = []
        for url in named(chain, authority):
            if url not in day.urls and len(day.urls) < limits.CRL_URLS_PER_DAY:
                day.urls.add(url)
                new.append(url)
        return new

    def keep(self, authorities: set[str]) -> None:
        """Forget authorities that are not configured any more."""
        for name in self._days.keys() - authorities:
            del self._days[name]
