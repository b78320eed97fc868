"""Downloads of revocation lists: which addresses may be called, which redirects are followed, when the next try is due.

Duty: keep downloads from reaching what they must not. The issuer of a certificate writes the address of its list, and
whoever answers there writes the redirect: both could name a machine of the site. An address is therefore called only if
every meaning of it is public, unless the operator allowed its network. Opens no connection and resolves no name; reads
no clock.

RFC 5280 sections 4.2.1.13 and 5.1.2.5 (nextUpdate); RFC 6890 (special addresses); RFC 6052 (addresses of NAT64); RFC
9110 section 15.4 (redirects).
"""

import datetime
import ipaddress
import re
from collections.abc import Iterable
from typing import Final, Self

import attrs

from smartproxy.policy import limits
from smartproxy.policy.addresses import Address, BadHostPort, HostPort, Networks, address_of, see_labels
from smartproxy.policy.values import shifted

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
URL_PATTERN: Final = (
    r"((?i:https?))://(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z](?:[0-9A-Za-z._-]*[0-9A-Za-z])?))"
    r"(?::([0-9]{1,5}))?(/[!\"$-~]*)?"
)
"""The address of a revocation list as an operator approves it: http or https, without a user's name or a fragment."""
_URL: Final = re.compile(URL_PATTERN)
_PORTS: Final = {"http": 80, "https": 443}


class BadListUrl(ValueError):
    """A text that is not the address of a list, or a redirect that is not followed; the message repeats neither."""


@attrs.frozen(kw_only=True)
class ListUrl:
    """The address of a revocation list, in its parts.

    :ivar scheme: ``http`` or ``https``.
    :ivar host: a name or an address, in lower case, without brackets.
    :ivar path: with the query; at least a slash.
    """

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of an address.

        :raises BadListUrl: if it has another form, a user's name or a fragment, or nobody can look its host up.
        """
        match = _URL.fullmatch(text) if len(text) <= limits.CRL_URL_OCTETS else None
        if match is None:
            raise BadListUrl("it is not an address such as http://crl.example/ca.crl")
        scheme = match[1].lower()
        port = _PORTS[scheme] if match[4] is None else int(match[4])
        if not 0 < port < 65_536:
            raise BadListUrl("its port is not between 1 and 65535")
        host = (match[2] or match[3]).lower()
        try:
            see_labels(host)
        except BadHostPort as bad:
            raise BadListUrl("a part of its host's name is empty or has more than 63 characters") from bad
        return cls(scheme=scheme, host=host, port=port, path=match[5] or "/")

    def __str__(self) -> str:
        place = str(HostPort(self.host, self.port))
        if self.port == _PORTS[self.scheme]:
            place = place.rpartition(":")[0]
        return f"{self.scheme}://{place}{self.path}"

    def redirected(self, location: str) -> Self:
        """The address to which an answer refers: on the same host, at the same port or at that of http or https.

        :raises BadListUrl: if it is on another host or at another port, goes from https to http, or is not one.
        """
        if not location:
            raise BadListUrl("it refers to nothing")
        if location.startswith("//"):
            location = f"{self.scheme}:{location}"
        elif "://" not in location.partition("?")[0]:
            folder = self.path.partition("?")[0].rpartition("/")[0]
            path = location if location.startswith("/") else f"{folder}/{location}"
            return type(self).parse(str(attrs.evolve(self, path=path.partition("#")[0])))
        wanted = self.parse(location.partition("#")[0])
        if wanted.host != self.host:
            raise BadListUrl("it refers to another host")
        if wanted.port not in (self.port, _PORTS[wanted.scheme]):
            raise BadListUrl("it refers to another port")
        if (self.scheme, wanted.scheme) == ("https", "http"):
            raise BadListUrl("it refers from https to http")
        return wanted


def may_call(address: str, allowed: Iterable[str]) -> bool:
    """Tell whether a list may be downloaded from an IP address.

    :param allowed: the networks from which lists may be downloaded although they are not public.
    """
    try:
        found = address_of(address)
    except ValueError:
        return False
    if Networks(allowed).hold(address):
        return True
    return all(each.is_global and not each.is_multicast and not each.is_reserved for each in _meanings(found))


def _meanings(address: Address) -> list[Address]:
    """What is called for an address: itself, and the IPv4 addresses that a translator or a tunnel calls for it."""
    found: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return [ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)]
        if address.sixtofour is not None:
            found.append(address.sixtofour)
        if address.teredo is not None:
            found += address.teredo
        if address.is_site_local:
            found.append(ipaddress.IPv6Address("::"))
    return found


def next_look(
    made: datetime.datetime, due: datetime.datetime | None, now: datetime.datetime, chance: float
) -> datetime.datetime:
    """The time at which a list that is in force is looked for again.

    That is some time before its nextUpdate: CAs publish the next list before. It is looked for at least once a day,
    because a CA may publish a list between, and not more often than every quarter of an hour.

    :param made: its thisUpdate.
    :param due: its nextUpdate, if it has one.
    :param chance: a number from 0 to 1, at random.
    """
    seconds = limits.DOWNLOAD_AGAIN_SECONDS_MOST
    if due is not None:
        margin = min(limits.DOWNLOAD_MARGIN_SHARE * (due - made).total_seconds(), limits.DOWNLOAD_MARGIN_SECONDS_MOST)
        seconds = min((due - now).total_seconds() - margin, seconds)
    return _after(max(seconds, limits.DOWNLOAD_AGAIN_SECONDS_LEAST), now, chance)


def next_try(failures: int, now: datetime.datetime, chance: float) -> datetime.datetime:
    """The time of the next try after so many that failed, one after the other; the wait doubles with each.

    :param chance: a number from 0 to 1, at random.
    """
    seconds = limits.DOWNLOAD_RETRY_SECONDS_FIRST * 2.0 ** min(max(failures, 1) - 1, 16)
    return _after(min(seconds, limits.DOWNLOAD_RETRY_SECONDS_MOST), now, chance)


def has_come(at: datetime.datetime | None, now: datetime.datetime, seconds_most: float) -> bool:
    """Tell whether the time that was set for the next try has come.

    One that is further away than any that is set is of a clock that was ahead: it has come, too.

    :param at: the time; ``None`` where none was set.
    :param seconds_most: the longest wait that is set.
    """
    return at is None or not now < at <= shifted(now, datetime.timedelta(seconds=seconds_most))


def _after(seconds: float, now: datetime.datetime, chance: float) -> datetime.datetime:
    return shifted(now, datetime.timedelta(seconds=seconds * (1 - limits.DOWNLOAD_JITTER * chance)))
