"""HTTP CONNECT, as a proxy reads and answers it.

Duty: one request, judged octet by octet and held to a size; one answer. Takes CONNECT and nothing else; headers are
skipped, whatever they say. Never repeats what a program sent. Standards: RFC 9110 section 9.3.6 (CONNECT), RFC 9112
sections 2.2, 3.2.3 (authority-form) and 4.
"""

import re
from typing import Final

from smartproxy.net.proxying.ways import PORTS, ConnectFailure, RequestRefused, Target

REQUEST_OCTETS_MOST: Final = 8192
"""The limit for the request line and headers together."""

_END: Final = re.compile(rb"\r?\n\r?\n")
_LINE: Final = re.compile(rb"([A-Z]{1,20}) (\S{1,300}) HTTP/1\.[01]")
_AUTHORITY: Final = re.compile(r"(?:\[([0-9A-Fa-f:.%]{2,64})\]|([0-9A-Za-z._~+&-]{1,253}))(?::([0-9]{1,5}))?")
_METHOD: Final = re.compile(rb"[A-Z]{0,20}(?: .*)?", re.DOTALL)

_PHRASES: Final = {
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}

_STATUS: Final = {
    ConnectFailure.NOT_ALLOWED: 403,
    ConnectFailure.NO_NAME: 502,
    ConnectFailure.NO_ROUTE: 502,
    ConnectFailure.REFUSED: 502,
    ConnectFailure.TIMED_OUT: 504,
    ConnectFailure.NOT_ACCEPTABLE: 502,
    ConnectFailure.NOT_READY: 503,
}


class ConnectDialogue:
    """One CONNECT request; see :class:`~smartproxy.net.proxying.ways.Dialogue`."""

    name = "http-connect"

    def __init__(self) -> None:
        self.target: Target | None = None
        self.rest = b""
        self._held = b""

    def receive(self, octets: bytes) -> bytes:
        """Take octets; nothing is answered before the request is whole."""
        self._held += octets
        head = self._held.lstrip(b"\r\n")
        end = _END.search(head)
        if end is None:
            if _METHOD.fullmatch(head) is None:
                raise _refused(400, "the request is not HTTP")
            if len(self._held) > REQUEST_OCTETS_MOST:
                raise _refused(431, f"the request has more than {REQUEST_OCTETS_MOST} octets")
            return b""
        if end.end() > REQUEST_OCTETS_MOST:
            raise _refused(431, f"the request has more than {REQUEST_OCTETS_MOST} octets")
        self.target = _target(head[: end.start()].splitlines()[0])
        self.rest = head[end.end() :]
        self._held = b""
        return b""

    def accepted(self) -> bytes:
        """The answer 200: the octets that follow are carried."""
        return b"HTTP/1.1 200 Connection established\r\n\r\n"

    def refused(self, trouble: ConnectFailure, cause: str) -> bytes:
        """The status code of a failure, with its cause as text."""
        return _answer(_STATUS[trouble], cause)


def _target(line: bytes) -> Target:
    request = _LINE.fullmatch(line)
    if request is None:
        raise _refused(400, "the first line is not an HTTP/1.1 request line")
    if request[1] != b"CONNECT":
        raise _refused(405, "only CONNECT is supported")
    authority = _AUTHORITY.fullmatch(request[2].decode("ascii", "replace"))
    port = None if authority is None or authority[3] is None else int(authority[3])
    if authority is None or (port is not None and port not in PORTS):
        raise _refused(400, "CONNECT must name a host and a port, or a partner")
    return Target(authority[1] or authority[2], port)


def _refused(status: int, cause: str) -> RequestRefused:
    return RequestRefused(cause, _answer(status, cause))


def _answer(status: int, cause: str) -> bytes:
    text = f"{cause}\n".encode()
    allow = "Allow: CONNECT\r\n" if status == 405 else ""
    head = (
        f"HTTP/1.1 {status} {_PHRASES[status]}\r\n{allow}Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + text
