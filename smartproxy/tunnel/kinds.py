"""The kinds of tunnels: the ALPN names of their connections, and how their data connections end a session.

The smart pair's sessions are made of units, so that a session has an end and its connection carries the next one. The
plain pair's are streams of octets without an end mark: a data connection is closed with its session. Two programs of
different kinds find no protocol in common and refuse each other in the handshake.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import attrs
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from smartproxy.logs.emit import Events
from smartproxy.policy.causes import Cause
from smartproxy.relay.events import SharedEnd
from smartproxy.tunnel.data import DataConnection, DataLeg, DataOwner
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.marks import RawSplitter
from smartproxy.tunnel.vocabulary import CONTROL_PROTOCOL, DATA_PROTOCOL, Side

_CLOSED: Final = Closing(Cause.TUNNEL_CLOSED, "closed")


class RawDataConnection(DataConnection):
    """One data connection for one session, which ends when the connection is closed.

    :param closing: seconds from the wish to close to the abort: until then, what was sent is still delivered.
    """

    def __init__(
        self, owner: DataOwner, side: Side, clock: IReactorTime, events: Events, peer: str, *, closing: float
    ) -> None:
        super().__init__(owner, side, clock, events, peer)
        self._closing = closing
        self._raw = RawSplitter()
        self._splitter = self._raw

    def attach(self, ticket: bytes) -> DataLeg:
        """Begin the session at the client's end."""
        leg = super().attach(ticket)
        self._raw.attached = True
        return leg

    def end(self, end: SharedEnd | None = None) -> None:
        """Deliver what was sent, then close; TLS has no half-close, so nothing is read any more."""
        if self.open and self.transport is not None:
            self.ended = _CLOSED
            self._in_order = True
            self.transport.unregisterProducer()
            # A transport that does not read never notices that the other end closed, too.
            self.transport.resumeProducing()
            self.transport.loseConnection()
            self._timer.start(self._closing)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone; when the other end closed it in order, its session is over in order."""
        if reason.check(ConnectionDone) is not None and self.ended is None:
            self.ended = _CLOSED
            self._in_order = True
        super().connectionLost(reason)


@attrs.frozen
class TunnelKind:
    """One kind of tunnel.

    :ivar control: the ALPN name of a control connection.
    :ivar data: the ALPN name of a data connection.
    :ivar connection: makes a data connection.
    :ivar server: the program in the DMZ.
    :ivar client: the program inside.
    """

    control: bytes
    data: bytes
    server: str
    client: str
    connection: Callable[[DataOwner, Side, IReactorTime, Events, str], DataConnection]

    @property
    def protocols(self) -> tuple[bytes, bytes]:
        """The ALPN names of both."""
        return self.control, self.data


SMART: Final = TunnelKind(
    CONTROL_PROTOCOL, DATA_PROTOCOL, "smartproxy-server", "smartproxy-client", connection=DataConnection
)


def plain(closing: float) -> TunnelKind:
    """The plain pair's kind.

    :param closing: seconds that the end of a session may take to be delivered.
    """
    connection = partial(RawDataConnection, closing=closing)
    return TunnelKind(
        b"smartproxy-plain-control/1",
        b"smartproxy-plain-data/1",
        "smartproxy-plain-server",
        "smartproxy-plain-client",
        connection=connection,
    )
