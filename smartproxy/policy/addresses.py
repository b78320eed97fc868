"""Addresses: a host with its port as one text, and which addresses count as one peer.

Duty: the one type for ``host:port``, how it is read and written (RFC 3986 section 3.2.2: IPv6 addresses in brackets),
and the prefix that limits and penalties count by: a host has one IPv4 address, but a whole /64 of IPv6. RFC 4291
section 2.5.5.2 (IPv4 addresses in IPv6 form). Trusts no text. Resolves no name.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Self

import attrs

from smartproxy.policy.places import TUNNEL_PORT

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOOPBACK: Final = {ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1")}
_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"(?:::ffff:)?({_OCTET}(?:\.{_OCTET}){{3}})")
"""An IPv4 address as an operating system writes it, also in IPv6 form: it needs no parsing, which a flood would pay."""

_LABEL: Final = "[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
"""A host name (RFC 1123 section 2.1), as everything that dials a name takes it; a dot may end it."""

_MAPPED_BITS: Final = 96
"""The bits before an IPv4 address in IPv6 form."""
_LABEL_MOST: Final = 63


class BadHostPort(ValueError):
    """A text is not a host and a port; the message says what is wrong with it and what would be right."""


@attrs.frozen
class HostPort:
    """A host and a port.

    :ivar host: a name, or an address without brackets; empty where any local address is meant.
    :ivar port: the port's number.
    """

    host: str
    port: int

    def __str__(self) -> str:
        """``host:port``; an IPv6 address stands in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, *, default_port: int | None = None, port_least: int = 1) -> Self:
        """Read ``host:port`` or, where there is a default port, ``host`` alone.

        An IPv6 address with a port stands in brackets; without a port it needs none.

        :param port_least: the smallest port; 0 where any free one may be meant.
        :raises BadHostPort: if the text is neither.
        """
        form, port = ("host:port", TUNNEL_PORT) if default_port is None else ("host[:port]", default_port)
        right = f"right is {form}, such as dmz.example:{port} or [2001:db8::1]:{port}"
        if default_port is not None:
            bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
            if _is_ipv6(bare):
                return cls(str(ipaddress.IPv6Address(bare)), default_port)
            if text.isdigit():
                raise BadHostPort(f"{text!r} is only a port; {right}")
            if ":" not in text:
                text = f"{text}:{default_port}"
        host, colon, digits = text.rpartition(":")
        if not colon:
            raise BadHostPort(f"{text!r} has no port; {right}")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            if not _is_ipv6(host):
                raise BadHostPort(f"{text!r}: only an IPv6 address stands in brackets; {right}")
        elif ":" in host:
            raise BadHostPort(misplaced_colons(text, right))
        if not host:
            raise BadHostPort(f"{text!r} has no host; {right}")
        return cls(host, port_of(digits, least=port_least))


def misplaced_colons(text: str, right: str) -> str:
    """What is wrong with a text whose host, before its last colon, has colons and does not stand in brackets.

    :param right: what would be right.
    """
    if ("[" in text) != ("]" in text):
        return f"{text!r}: a bracket is missing; {right}"
    if "[" not in text:
        return f"{text!r}: write an IPv6 address in brackets; {right}"
    if _is_ipv6(text[1:-1]):
        return f"{text!r} has no port; {right}"
    return f"{text!r}: only an IPv6 address stands in brackets; {right}"


def host_in(text: str) -> str:
    """The host in a text that is ``host:port``; empty if it is none."""
    try:
        return HostPort.parse(text).host
    except BadHostPort:
        return ""


def called_address(text: str, *, default_port: int | None = None) -> HostPort:
    """Read ``host:port``, or ``host`` alone, of what is called.

    :raises BadHostPort: if the text is neither, or nobody can call that.
    """
    found = HostPort.parse(text, default_port=default_port)
    see_called(found.host)
    return found


def port_of(text: str, *, least: int = 1) -> int:
    """The port that *text* writes in decimal digits.

    :param least: the smallest that is one.
    :raises BadHostPort: if it is not one.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or not least <= int(text) <= 65_535:
        raise BadHostPort(f"{text!r} is not a port; right is a number from {least} to 65535")
    return int(text)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def listening_address(text: str) -> HostPort:
    """Read ``port`` or ``ip:port``, such as ``2878``, ``127.0.0.1:2878`` or ``[::1]:2878``; port 0 means any free one.

    :return: with an empty host where any local address is meant: for a port alone, ``:port`` and ``*:port``.
    :raises BadHostPort: when it is neither; a name is not taken, because a listener belongs to an interface.
    """
    alone = text.removeprefix("*").removeprefix(":")
    if ":" not in alone:
        return HostPort("", port_of(alone, least=0))
    found = HostPort.parse(text, port_least=0)
    try:
        address_of(found.host)
    except ValueError:
        raise BadHostPort(f"{found.host!r} is not an IP address; right is [ip:]port, such as 192.0.2.1:2878") from None
    return found


def address_of(text: str) -> Address:
    """The address that *text* writes; a scope is left out, and an IPv4 address in IPv6 form is the IPv4 address.

    :raises ValueError: if it is not one.
    """
    return _parse(text.partition("%")[0])[0]


@lru_cache(maxsize=1024)
def _parse(text: str) -> tuple[Address, str]:
    """An address, and the network that it is counted with; kept, because a caller's is asked for several times."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return address, f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"
        address = address.ipv4_mapped
    return address, f"{address}/32"


def is_wildcard(host: str) -> bool:
    """Whether a host is an address that stands for all of a machine: one can listen there, and nobody can call it."""
    try:
        return address_of(host).is_unspecified
    except ValueError:
        return False


def see_called(host: str) -> None:
    """See that a host is one that can be called.

    :raises BadHostPort: saying why not, and what would be right.
    """
    if is_mistyped(host):
        raise BadHostPort(f"{host!r} is neither a host name nor an address: no name ends in a number")
    see_one(host)
    if ":" in host:
        if not _is_ipv6(host):
            raise BadHostPort(
                f"{host!r} is neither a host name nor an IPv6 address; give the host alone, without a port"
            )
    elif _NAME.fullmatch(host) is None:
        raise BadHostPort(
            f"{host!r} is not a host name: each of its parts between dots has 1 to 63 letters, digits and hyphens, "
            "and neither begins nor ends with a hyphen"
        )


def see_labels(host: str) -> None:
    """See that a host is no name that cannot be looked up: a part of it has 1 to 63 characters (RFC 1035, 2.3.4).

    :raises BadHostPort: saying what would be right.
    """
    if ":" not in host and not all(0 < len(each) <= _LABEL_MOST for each in host.removesuffix(".").split(".")):
        raise BadHostPort(f"{host!r} is no host name: each part of one has 1 to {_LABEL_MOST} characters")


def see_one(host: str) -> None:
    """See that a host is not a wildcard, where one machine or one of its addresses is meant.

    :raises BadHostPort: saying what would be right.
    """
    if is_wildcard(host):
        raise BadHostPort(f"{host!r} stands for every address of a machine; name one address, or a host")


def is_mistyped(host: str) -> bool:
    """Whether a host is an address with a slip, such as 192.168.1.300: no name ends in a number (RFC 3696, 2)."""
    last = host.rstrip(".").rpartition(".")[2]
    if ":" in host or not (last.isascii() and last.isdigit()):
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False


def same_host(bound: str, caller: str) -> bool:
    """Whether a caller's address is the one that something is bound to; 127.0.0.1 and ::1 are the same host.

    :param bound: an address that was checked before.
    :param caller: where the call came from.
    """
    try:
        address = address_of(caller)
    except ValueError:
        return False
    expected = address_of(bound)
    return address == expected or {address, expected} == _LOOPBACK


def plain_host(text: str) -> str:
    """An address as it is shown: an IPv4 address in IPv6 form is the IPv4 address, any other text is as it was.

    :raises ValueError: if it is no address.
    """
    if (found := _IPV4.fullmatch(text)) is not None:
        return found[1]
    address = address_of(text)
    return str(address) if address.version == 4 else text


def as_shown(text: str) -> str:
    """An address, with a port or alone, as peers are shown with it; any other text as it was."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return _plain(bare)
    except ValueError:
        pass
    try:
        found = HostPort.parse(text)
        return str(HostPort(_plain(found.host), found.port))
    except ValueError:
        return text


def _plain(host: str) -> str:
    """An address in its shortest form, with its scope.

    :raises ValueError: if it is no address.
    """
    address = address_of(host)
    return str(address) if address.version == 4 else str(ipaddress.IPv6Address(host))


def prefix_of(text: str) -> str:
    """The network, /32 or /64, that the address that *text* writes is counted with.

    :raises ValueError: if it is no address.
    """
    if (found := _IPV4.fullmatch(text)) is not None:
        return f"{found[1]}/32"
    return _parse(text.partition("%")[0])[1]


def network_of(text: str) -> str:
    """What a caller is counted with: the network of its address, or the text itself if it is no address."""
    try:
        return prefix_of(text)
    except ValueError:
        return text


def _network_of(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The network that *text* writes; one of IPv4 in IPv6 form is the IPv4 one, as its addresses are."""
    found = ipaddress.ip_network(text, strict=False)
    if isinstance(found, ipaddress.IPv6Network) and found.prefixlen >= _MAPPED_BITS:
        mapped = found.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, found.prefixlen - _MAPPED_BITS))
    return found


class Networks:
    """Networks that addresses lie in or not.

    :param networks: each as it is configured.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(map(_network_of, networks))

    def hold(self, host: str) -> bool:
        """Whether an address lies in one of them."""
        address: Address = address_of(host)
        return any(address in network for network in self._networks)
