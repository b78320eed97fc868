"""A look at what answers at an address inside: an OFTP2 station greets its caller with SSRM (RFC 5024, 5.3.1).

Sends nothing, waits a bounded time, and reads no more than the greeting's octets. It is the backend's own trial, for
the set-up, when no client runs yet; what the client finds later (:mod:`smartproxy.backend.trials`) counts.
"""

import enum
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, ConnectionRefusedError, DNSLookupError, NoRouteError
from twisted.internet.protocol import Factory, Protocol

from smartproxy.oftp2.stream import SSRM_BUFFER

SECONDS = 10
"""For the connection, and again for the greeting."""


class Answer(enum.StrEnum):
    """What was found."""

    SSRM = "ssrm"
    SILENT = "silent"
    CLOSED = "closed"
    OTHER = "other"
    REFUSED = "refused"
    NAME = "name"
    NO_ROUTE = "no_route"
    NO_ANSWER = "no_answer"


_FAILED: dict[type[BaseException], Answer] = {
    ConnectionRefusedError: Answer.REFUSED,
    DNSLookupError: Answer.NAME,
    NoRouteError: Answer.NO_ROUTE,
}


class _Greeting(Protocol):
    """Compares what comes with SSRM."""

    def __init__(self) -> None:
        self.found: Deferred[Answer] = Deferred()
        self._octets = b""

    def dataReceived(self, data: bytes) -> None:
        """Octets came."""
        self._octets += data[: len(SSRM_BUFFER)]
        if self._octets.startswith(SSRM_BUFFER):
            self._tell(Answer.SSRM)
        elif not SSRM_BUFFER.startswith(self._octets):
            self._tell(Answer.OTHER)

    def connectionLost(self, reason: object = None) -> None:
        """It hung up."""
        self._tell(Answer.CLOSED)

    def _tell(self, answer: Answer) -> None:
        if not self.found.called:
            self.found.callback(answer)


async def look(reactor: Any, host: str, port: int) -> Answer:
    """Find out what answers at an address."""
    # Whatever keeps a connection from being made is one of the causes; a name that is none at all is one, too.
    try:
        endpoint = HostnameEndpoint(reactor, host, port, timeout=SECONDS)
        connected: Any = await endpoint.connect(Factory.forProtocol(_Greeting))
    except (ConnectError, DNSLookupError, UnicodeError, ValueError) as error:
        return _FAILED.get(type(error), Answer.NAME if isinstance(error, ValueError) else Answer.NO_ANSWER)
    try:
        found: Answer = await connected.found.addTimeout(SECONDS, reactor, lambda result, seconds: Answer.SILENT)
    finally:
        connected.transport.abortConnection()
    return found
