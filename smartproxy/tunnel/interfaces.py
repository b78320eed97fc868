"""What the tunnel and the two daemons say to each other.

The daemons implement :class:`IServerTunnelUser` and :class:`IClientTunnelUser`; the tunnel calls them. They are told of
a tunnel that came up exactly once, and exactly once that it is down. An exception out of any of these calls is a bug,
is reported as one, and ends nothing else.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from zope.interface import Interface

from smartproxy.net.leg import ILeg
from smartproxy.tunnel.boxes import Plain

if TYPE_CHECKING:
    from smartproxy.tunnel.client_control import ClientControl
    from smartproxy.tunnel.server_control import ServerControl


class Emit(Protocol):
    """Says that an event of :mod:`smartproxy.logs.catalogue` happened."""

    def __call__(self, name: str, /, **fields: object) -> None:
        """Say it."""


class IStream(ITCPTransport, IConsumer, IPushProducer):
    """The transport that all of the tunnel's connections need: TLS on TCP."""


class IServerTunnelUser(Interface):
    """The DMZ daemon, as its end of the tunnel sees it."""

    def tunnel_up(control: "ServerControl") -> None:
        """A client is there and takes sessions."""

    def tunnel_down(control: "ServerControl", cause: str) -> None:
        """The client is gone; its sessions' legs are lost."""

    def configuration_arrived(control: "ServerControl", generation: int, octets: bytes) -> None:
        """A newer generation is here, whole: take it, or raise ``policy``'s ``ConfigurationRefused``."""

    def close_session(control: "ServerControl", session: str) -> None:
        """End this session now, if it still runs."""

    def set_level(control: "ServerControl", level: str) -> None:
        """Log at this level from now on."""

    def drain(control: "ServerControl") -> None:
        """The client is about to stop: no new sessions over this tunnel; those that run may end."""

    def open_outbound(
        control: "ServerControl", session: str, partner: str, facts: Mapping[str, str]
    ) -> Deferred[Callable[[ILeg | None], None]]:
        """Call a partner.

        Fires, when the partner is ready, with what is called once with the leg towards the station, or with ``None``
        if there will be none. Fails with a :class:`smartproxy.oftp2.errors.SessionFault` that says why the partner is
        not ready. Cancelled when nobody waits any more.
        """


class IClientTunnelUser(Interface):
    """The inner daemon, as its end of one tunnel sees it."""

    def tunnel_up(control: "ClientControl") -> None:
        """The server is there; it wants to be configured if ``control.held`` is not the newest generation."""

    def tunnel_down(cause: str) -> None:
        """The server is gone; its sessions' legs are lost. The tunnel dials again by itself."""

    def open_inbound(session: str, facts: Mapping[str, str], leg: ILeg) -> Deferred[None]:
        """A partner is there: call the station.

        Fires when the station is ready; fails with a :class:`smartproxy.oftp2.errors.SessionFault` that says why not,
        and the tunnel ends the leg. Cancelled when the server waits no longer.
        """

    def event(fields: Mapping[str, Plain]) -> None:
        """An event of the server, for the backend."""

    def session_ended(session: str, summary: Mapping[str, Plain]) -> None:
        """The server's summary of a session that is over."""

    def crl_url_seen(url: str, authority: str) -> None:
        """A verified certificate names a revocation list that nobody configured."""
