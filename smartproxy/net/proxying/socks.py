"""SOCKS5, as a proxy reads and answers it.

Duty: the greeting and one request, judged octet by octet; every length is bounded by the protocol itself. Takes CONNECT
without authentication and nothing else. Names are passed on as they came: they are resolved where the dialling is done,
not here. Standards: RFC 1928.
"""

import ipaddress
from typing import Final

from smartproxy.net.proxying.ways import PORTS, ConnectFailure, RequestRefused, Target

SOCKS_VERSION: Final = 5
"""The first octet of every requester's greeting and request."""

_NO_AUTHENTICATION: Final = 0
_NO_METHOD: Final = 0xFF
_CONNECT: Final = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4

_SUCCEEDED: Final = 0
_FAILURE: Final = 1
_COMMAND_NOT_SUPPORTED: Final = 7
_ADDRESS_NOT_SUPPORTED: Final = 8

_REPLIES: Final = {
    ConnectFailure.NOT_ALLOWED: 2,
    ConnectFailure.NO_NAME: 4,
    ConnectFailure.NO_ROUTE: 3,
    ConnectFailure.REFUSED: 5,
    ConnectFailure.TIMED_OUT: 6,
    ConnectFailure.NOT_ACCEPTABLE: 1,
    ConnectFailure.NOT_READY: 1,
}


class SocksDialogue:
    """One SOCKS5 requester; see :class:`~smartproxy.net.proxying.ways.Dialogue`."""

    name = "socks5"

    def __init__(self) -> None:
        self.target: Target | None = None
        self.rest = b""
        self._held = b""
        self._greeted = False

    def receive(self, octets: bytes) -> bytes:
        """Take octets; returns the answer to the greeting. The request is answered by ``accepted`` or ``refused``."""
        self._held += octets
        answer = b"" if self._greeted else self._greeting()
        if answer:
            self._greeted = True
        if self._greeted and self._held:
            self._request()
        return answer

    def accepted(self) -> bytes:
        """The reply "succeeded"; it does not tell the address that the far end sees."""
        return _reply(_SUCCEEDED)

    def refused(self, trouble: ConnectFailure, cause: str) -> bytes:
        """The reply code of a failure; SOCKS5 has no field for the cause."""
        return _reply(_REPLIES[trouble])

    def _greeting(self) -> bytes:
        """The method, once the greeting is whole."""
        held = self._held
        if held[:1] != bytes((SOCKS_VERSION,)):
            raise RequestRefused("the request is not SOCKS5", b"")
        if len(held) < 2 or len(held) < 2 + held[1]:
            return b""
        methods, self._held = held[2 : 2 + held[1]], held[2 + held[1] :]
        if _NO_AUTHENTICATION not in methods:
            raise RequestRefused(
                "the program requires authentication, which is not offered", bytes((SOCKS_VERSION, _NO_METHOD))
            )
        return bytes((SOCKS_VERSION, _NO_AUTHENTICATION))

    def _request(self) -> None:
        held = self._held
        if held[0] != SOCKS_VERSION:
            raise RequestRefused("the request is not SOCKS5", _reply(_FAILURE))
        if len(held) > 1 and held[1] != _CONNECT:
            raise RequestRefused("only CONNECT is supported", _reply(_COMMAND_NOT_SUPPORTED))
        if len(held) < 5:
            return
        kind = held[3]
        if kind not in (_IPV4, _NAME, _IPV6):
            raise RequestRefused("the address type is not supported", _reply(_ADDRESS_NOT_SUPPORTED))
        begin, length = (5, held[4]) if kind == _NAME else (4, 4 if kind == _IPV4 else 16)
        end = begin + length + 2
        if len(held) < end:
            return
        host, port = held[begin : end - 2], int.from_bytes(held[end - 2 : end], "big")
        self.target = Target(_host(kind, host), port)
        if port not in PORTS:
            raise RequestRefused("port 0 is not a valid port", _reply(_FAILURE))
        self.rest, self._held = held[end:], b""


def _host(kind: int, octets: bytes) -> str:
    if kind != _NAME:
        return str(ipaddress.ip_address(octets))
    name = octets.decode("ascii", "replace")
    if not name or not name.isascii() or not name.isprintable():
        raise RequestRefused("the host name is not valid", _reply(_FAILURE))
    return name


def _reply(code: int) -> bytes:
    return bytes((SOCKS_VERSION, code, 0, _IPV4)) + bytes(6)
