"""How the client makes one connection of the tunnel, whatever it is for.

Duty: dial, prove both ends by TLS, and hand over the protocol once the server has proved that it has one of the pinned
keys. No other server gets an octet of a protocol. Trusts the context to know the keys.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure
from typing_extensions import override

from smartproxy.net.transport.endpoints import connect
from smartproxy.policy.causes import Cause
from smartproxy.tunnel.contexts import ClientContext, PeerRefused, VerifiedServer
from smartproxy.tunnel.entrance import Doorkeeper, Entrance, secured_client
from smartproxy.tunnel.faults import Closing

STOPPED: Final = Closing(Cause.TUNNEL_STOPPED, "the client is stopping")
_P = TypeVar("_P", bound=IProtocol)


async def dial(
    clock: IReactorTime,
    endpoint: IStreamClientEndpoint,
    context: ClientContext,
    build: Callable[[Entrance, VerifiedServer], _P],
    first: bytes = b"",
) -> _P:
    """Make one connection.

    :param first: what is sent before TLS.
    :param build: makes the protocol for a server that has proved its identity.
    :raises PeerRefused: if it is not the server, or ends the connection before that.
    """
    dialled = _Dial(context, build)
    entrance = Entrance(dialled, clock)
    await connect(endpoint, secured_client(context, lambda: entrance, first))
    try:
        protocol: Any = await dialled.made
    except Exception:
        entrance.drop(PeerRefused(cause=STOPPED.cause, message=STOPPED.message))
        raise
    made: _P = protocol
    return made


class _Dial(Doorkeeper):
    """One connection being made: fires with its protocol when the server has proved its identity."""

    def __init__(self, context: ClientContext, build: Callable[[Entrance, VerifiedServer], IProtocol]) -> None:
        self.made: Deferred[IProtocol] = Deferred()
        self._context = context
        self._build = build

    @override
    def admit(self, entrance: Entrance) -> IProtocol:
        """Check the server's identity once more before the first octet."""
        return self._build(entrance, self._context.verified(entrance.connection))

    @override
    def admitted(self, entrance: Entrance, protocol: IProtocol) -> None:
        self._settle(protocol)

    @override
    def refused(self, entrance: Entrance, refusal: PeerRefused) -> None:
        self._settle(Failure(self._context.refusal(entrance.connection) or refusal))

    @override
    def vanished(self, entrance: Entrance, why: str) -> None:
        message = f"the server closed the connection: {why}"
        self._settle(Failure(PeerRefused(cause=Cause.TUNNEL_CLOSED, message=message)))

    def _settle(self, result: IProtocol | Failure) -> None:
        if not self.made.called:
            self.made.callback(result)
