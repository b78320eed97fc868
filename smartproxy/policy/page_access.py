"""How the admin page is reached: at an address of its own, and through reverse proxies.

Duty: the class of these settings, and who a browser behind reverse proxies is, by X-Forwarded-For, -Proto and -Host, or
by Forwarded (RFC 7239). Believes a header only of a caller in the configured networks, and only the one header that is
configured: a proxy hands others on as the browser sent them. Of what several proxies wrote it takes what the outermost
known one says, and nothing that stood there before. Every range is in :mod:`~smartproxy.policy.limits`.
"""

import enum
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs

from smartproxy.policy import limits
from smartproxy.policy.addresses import Networks, address_of
from smartproxy.policy.schema import ListOf, Optional, kind
from smartproxy.policy.values import FILE, Address, Member, Network, Whole


class ProxyHeader(enum.StrEnum):
    """By which headers reverse proxies say who called them."""

    X_FORWARDED = "x-forwarded"
    FORWARDED = "forwarded"


@attrs.frozen(kw_only=True)
class PageAccess:
    """How the page is reached.

    :ivar address: an address of the backend's where the page is, apart from the API; ``None``: it is at the API's port.
    :ivar port: the port there; 0 for any free one.
    :ivar certificate_file: a file with the certificate that is shown there, and its chain; ``None``: the one that was
        uploaded, or the authority's.
    :ivar key_file: a file with its key; ``None``: the key stands in the same file.
    :ivar proxies: the networks of the reverse proxies in front of it; nobody else's headers are believed.
    :ivar proxy_header: by which headers these say who called them.
    """

    address: str | None = attrs.field(default=None, metadata=kind(Optional(Address())))
    port: int = attrs.field(default=limits.PAGE_PORT.default, metadata=kind(Whole(limits.PAGE_PORT)))
    certificate_file: str | None = attrs.field(default=None, metadata=kind(Optional(FILE)))
    key_file: str | None = attrs.field(default=None, metadata=kind(Optional(FILE)))
    proxies: tuple[str, ...] = attrs.field(
        default=(), metadata=kind(ListOf(item=Network(), most=limits.PAGE_PROXIES_MOST))
    )
    proxy_header: ProxyHeader = attrs.field(default=ProxyHeader.X_FORWARDED, metadata=kind(Member(ProxyHeader)))


@attrs.frozen(kw_only=True)
class Reached:
    """How a browser reached the page.

    :ivar address: the browser's address, as far as it is known.
    :ivar host: the host that it called, with a port if it named one.
    :ivar encrypted: whether it spoke https.
    """

    address: str
    host: str
    encrypted: bool = True


@attrs.frozen
class _Said:
    """What one proxy says of its caller; empty where it says nothing that can be read."""

    address: str = ""
    protocol: str = ""
    host: str = ""


HeaderLines = Callable[[str], Sequence[str]]
"""All lines of a header of the request, as they came."""

_PROXIES_MOST: Final = 10
_LINE_MOST: Final = 1000
"""Characters at the end of a line that are looked at: more than a proxy writes."""
_NODE: Final = re.compile(
    r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([0-9.]{7,15})(?::[0-9]{1,5})?|([0-9A-Fa-f:.]{2,45})"
)
_HOST: Final = re.compile(r"(?:[0-9A-Za-z._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PAIR: Final = r"""[!#$%&'*+.^_`|~0-9A-Za-z-]+=(?:"(?:[^"\\]|\\.)*"|[^",;\s]*)"""
_PAIRS: Final = re.compile(rf"({_PAIR})\s*(?:;\s*|$)")
_ELEMENT: Final = re.compile(rf"(?:^|,)\s*({_PAIR}(?:\s*;\s*{_PAIR})*)[\s,]*$")
"""The last element of a line: what stands before it may be anything, for the browser may have sent it."""


class ReverseProxies:
    """The reverse proxies of the page.

    :param access: says which they are, and by which headers they tell.
    """

    def __init__(self, access: PageAccess) -> None:
        self._networks = Networks(access.proxies)
        self._header = access.proxy_header

    def has(self, address: str) -> bool:
        """Whether an address is one of theirs."""
        try:
            return self._networks.hold(address)
        except ValueError:
            return False

    def reached(self, address: str, host: str, lines: HeaderLines) -> Reached:
        """Who called, and which host.

        :param address: where the connection is from.
        :param host: the host that the request names.
        """
        found = Reached(address=address, host=host)
        said = _forwarded(lines) if self._header is ProxyHeader.FORWARDED else _x_forwarded(lines)
        for each in itertools.islice(said, _PROXIES_MOST):
            if not self.has(found.address):
                break
            found = Reached(
                address=each.address or found.address,
                host=each.host or found.host,
                encrypted=each.protocol == "https" if each.protocol else found.encrypted,
            )
            if not each.address:
                break
        return found


def _x_forwarded(lines: HeaderLines) -> Iterator[_Said]:
    """What the proxies say, the nearest one first; a protocol or a host that one of them alone names is for all."""
    nodes, protocols, hosts = (
        [each.strip() for line in lines(name) for each in line.split(",")][-_PROXIES_MOST:][::-1]
        for name in ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
    )
    for number in range(max(len(nodes), 1)):
        node, protocol, host = (
            each[min(number, len(each) - 1)] if each else "" for each in (nodes[number:][:1], protocols, hosts)
        )
        yield _Said(_address(node), protocol.lower(), _host(host))


def _forwarded(lines: HeaderLines) -> Iterator[_Said]:
    """What the proxies say, the nearest one first."""
    for line in reversed(lines("forwarded")):
        rest = line[-_LINE_MOST:]
        while (element := _ELEMENT.search(rest)) is not None:
            rest = rest[: element.start()]
            pairs = {}
            for pair in _PAIRS.findall(element[1]):
                name, _, value = pair.partition("=")
                pairs[name.lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
            yield _Said(_address(pairs.get("for", "")), pairs.get("proto", "").lower(), _host(pairs.get("host", "")))


def _address(node: str) -> str:
    """The address of a node, without its port; empty if it is not one, such as ``unknown``."""
    found = _NODE.fullmatch(node)
    try:
        return "" if found is None else str(address_of(found[found.lastindex or 0]))
    except ValueError:
        return ""


def _host(text: str) -> str:
    return text if _HOST.fullmatch(text) else ""
