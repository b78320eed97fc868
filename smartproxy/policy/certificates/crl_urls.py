"""Where CAs publish their revocation lists: the addresses in certificates that are reported to the operator.

Duty: select the few. The issuer of a certificate can write any address into it: one of an internal machine, one of
another protocol, or many to fill the log. Therefore only certificates below a configured CA count, only addresses of
the plainest form, and only a few of them a day. Fetches nothing.

RFC 5280 section 4.2.1.13; RFC 3986 section 3.
"""

import datetime
import re
from typing import Final

import attrs

from smartproxy.policy import limits
from smartproxy.policy.certificates.facts import ChainFacts
from smartproxy.policy.partners import TrustedCa

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
