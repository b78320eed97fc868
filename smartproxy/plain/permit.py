"""Which destinations a plain server dials for its clients: nothing that was not named.

Pure. A name is compared as it is written, never resolved, so that an answer of the DNS permits nothing.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network

import attrs

NOT_PERMITTED = "outbound.permit"
"""The rule of a destination that was not named."""


@attrs.frozen
class _Pattern:
    host: str
    port: int | None

    def allows(self, host: str, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        try:
            return ip_address(host) in ip_network(self.host, strict=False)
        except ValueError:
            return fnmatchcase(host.lower(), self.host.lower())


@attrs.frozen
class Permit:
    """The destinations that may be dialled; none is permitted by default."""

    patterns: tuple[_Pattern, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Permit":
        """Read ``host:port`` patterns: a name, ``*.example``, an address or a network; ``*`` for any port.

        :raises ValueError: for anything else, with an example of what is right.
        """
        return cls(tuple(_pattern(text) for text in texts))

    def allows(self, host: str, port: int) -> bool:
        """Whether this destination may be dialled."""
        return any(pattern.allows(host, port) for pattern in self.patterns)


def _pattern(text: str) -> _Pattern:
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not (port == "*" or (port.isdecimal() and 0 < int(port) < 65536)):
        raise ValueError(f"{text!r} is no destination; right is host:port, such as mail.example:25 or *.example:*")
    return _Pattern(host, None if port == "*" else int(port))
