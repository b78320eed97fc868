"""Which destinations a plain server dials for its clients: nothing that was not named.

Pure. A name is compared as it is written, never resolved, so that an answer of the DNS permits nothing; an address is
never taken for a name.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import attrs

_RIGHT = "right is host:port, such as mail.example:25, *.example:443, 192.0.2.0/24:22 or [2001:db8::1]:*"


@attrs.frozen
class _Pattern:
    """One permitted destination.

    :ivar host: a network, a name, ``.example`` for all names below ``example``, or nothing for any host.
    :ivar port: a port, or ``None`` for any.
    """

    host: IPv4Network | IPv6Network | str
    port: int | None

    def allows(self, host: str, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if not self.host:
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return isinstance(self.host, str) and self._named(host.lower().rstrip("."))
        return not isinstance(self.host, str) and address in self.host

    def _named(self, host: str) -> bool:
        assert isinstance(self.host, str)
        return host.endswith(self.host) if self.host.startswith(".") else host == self.host


@attrs.frozen
class Permit:
    """The destinations that may be dialled; none is permitted by default."""

    patterns: tuple[_Pattern, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Permit":
        """Read ``host:port`` patterns: a name, ``*.example``, an address or a network, or ``*``; ``*`` for any port.

        :raises ValueError: for anything else, with an example of what is right.
        """
        return cls(tuple(_pattern(text) for text in texts))

    def allows(self, host: str, port: int) -> bool:
        """Whether this destination may be dialled."""
        return any(pattern.allows(host, port) for pattern in self.patterns)


def _pattern(text: str) -> _Pattern:
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: write an IPv6 address in brackets; {_RIGHT}")
    if not host or not (port == "*" or (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536)):
        raise ValueError(f"{text!r} is no destination; {_RIGHT}")
    return _Pattern(_host(host, text), None if port == "*" else int(port))


def _host(host: str, text: str) -> IPv4Network | IPv6Network | str:
    if host == "*":
        return ""
    try:
        return ip_network(host, strict=False)
    except ValueError:
        pass
    name = (host[1:] if host.startswith("*.") else host).lower().rstrip(".")
    if not name or name.startswith("*") or not set("*?[]/@ ").isdisjoint(name):
        raise ValueError(f"{text!r} is no destination; {_RIGHT}")
    return name
