"""The plain client inside.

Duty: keep a tunnel to the plain server, dial the one target for each connection that the server announces, and carry
what local programs send to destinations outside. Inspects nothing. Trusts a server only as far as its pinned key goes;
the target never comes from outside.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IListeningPort, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy import __version__
from smartproxy.logs.emit import Events
from smartproxy.net.callers import CallerLeg
from smartproxy.net.connection import LegFactory
from smartproxy.net.leg import ILeg
from smartproxy.oftp2.errors import SessionFault, StationUnreachable, TunnelLost
from smartproxy.plain.permit import NOT_PERMITTED
from smartproxy.plain.pipe import Outline, Pipe
from smartproxy.policy import limits
from smartproxy.policy.credential import Credential
from smartproxy.tunnel.arguments import Plain
from smartproxy.tunnel.client import ClientTunnel
from smartproxy.tunnel.client_control import ClientControl
from smartproxy.tunnel.contexts import ClientCredential
from smartproxy.tunnel.errors import OpeningFailed, TunnelFault
from smartproxy.tunnel.interfaces import IClientTunnelUser
from smartproxy.tunnel.kinds import PLAIN

TARGET_SECONDS = 10
"""How long the target may take to take a connection."""


@implementer(IClientTunnelUser)
class PlainClientService(Service):
    """The plain client.

    :param reactor: listens, dials and tells the time.
    :param credential: what it shows, and whom it may speak to.
    :param server: host and port of the server.
    :param target: host and port to which connections from outside go.
    :param listeners: open the ports for local programs; each is called with the service and gives the port.
    :param seconds: how long nothing may move in a session.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        credential: Credential,
        server: tuple[str, int],
        target: tuple[str, int],
        listeners: Sequence[Callable[["PlainClientService"], IListeningPort]] = (),
        seconds: float,
        endpoint: Callable[[Any, str, int], IStreamClientEndpoint] = HostnameEndpoint,
    ) -> None:
        self.clock = reactor
        self.live: dict[str, Pipe] = {}
        """The sessions that are not over, by id."""
        self._target = target
        self._listeners = listeners
        self._seconds = seconds
        self._endpoint = endpoint
        self._ports: list[IListeningPort] = []
        self._name = credential.name
        self.events = Events(Logger(namespace="smartproxy.plain-client"), None, reactor, source="plain-client")
        host, port = server
        self.tunnel = ClientTunnel(
            reactor,
            endpoint(reactor, host, port),
            f"{host}:{port}",
            credential=ClientCredential(certificate=credential.certificate, key=credential.key),
            proxy_ids=credential.proxy_ids,
            user=self,
            emit=self.events.emit,
            most=limits.SESSIONS.default,
            kind=PLAIN,
        )

    # The life of the daemon.

    def startService(self) -> None:
        """Dial the server, and await local programs."""
        Service.startService(self)
        self._ports = [listen(self) for listen in self._listeners]
        self.events.emit("client.started", version=__version__, names=[self._name, self.tunnel.server])
        self.tunnel.startService()

    def stopService(self) -> Deferred[None]:
        """Close everything."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.events.emit("client.stopping", cause="asked to stop", sessions=len(self.live))
        for port in self._ports:
            closed = port.stopListening()
            if closed is not None:
                await closed
        self.hurry()
        await self.tunnel.stopService()
        self.events.emit("client.stopped")
        # The reactor disconnects everything as soon as this ends: not from within a connection's own call.
        await deferLater(self.clock, 0)

    def hurry(self) -> None:
        """End all sessions: a stream has no end that could be waited for."""
        for pipe in list(self.live.values()):
            pipe.stop("the client stops")

    # IClientTunnelUser

    def tunnelUp(self, control: ClientControl) -> None:
        """The server is there, and wants nothing more."""

    def tunnelDown(self, cause: str) -> None:
        """The server is gone; its sessions end with their legs, and the tunnel dials again."""

    def openInbound(self, session: str, facts: Mapping[str, str], leg: ILeg) -> Deferred[None]:
        """Somebody connected outside: dial the target."""
        host, port = self._target
        outline = Outline(session=session, peer=facts.get("peer", "outside"), direction="inbound")
        dialling: Any = self._endpoint(self.clock, host, port).connect(LegFactory(self.clock, limits.CLOSING.default))
        dialling.addTimeout(TARGET_SECONDS, self.clock)
        dialling.addCallbacks(lambda target: self._couple(leg, target, outline), self._unreachable)
        dialled: Deferred[None] = dialling
        return dialled

    def _unreachable(self, failure: Failure) -> Failure:
        host, port = self._target
        cause = failure.getErrorMessage() or failure.value.__class__.__name__
        self.events.emit("station.unreachable", cause=cause, host=host, port=port)
        return Failure(StationUnreachable(rule="target.connect", message="the target is not reachable"))

    def event(self, fields: Mapping[str, Plain]) -> None:
        """The server's events stay with the server: there is no backend to carry them to."""

    def sessionEnded(self, session: str, summary: Mapping[str, Plain]) -> None:
        """The server's word that a session is over; the legs say so, too."""

    def crlUrlSeen(self, url: str, authority: str) -> None:
        """A plain server verifies nobody's certificate."""

    # Local programs.

    def outward(self, host: str, port: int, local: CallerLeg) -> Deferred[None]:
        """Carry a local program's connection to a destination outside.

        :return: fires when it is connected; fails with a :class:`~smartproxy.oftp2.errors.SessionFault`.
        """
        return Deferred.fromCoroutine(self._outward(host, port, local))

    async def _outward(self, host: str, port: int, local: CallerLeg) -> None:
        control = self.tunnel.control
        if control is None:
            raise TunnelLost(rule="tunnel.none", message="the tunnel to the server is down")
        outline = Outline(session=secrets.token_hex(8), peer=local.peer, direction="outbound")
        facts = {"host": host, "port": str(port), "peer": local.peer}
        try:
            leg = await control.openOutbound(outline.session, "", facts)
        except SessionFault:
            raise
        except OpeningFailed as fault:
            # The server's own fault travels as text, with its rule at the end.
            rule = NOT_PERMITTED if str(fault).endswith(f"[{NOT_PERMITTED}]") else "outbound.open"
            raise StationUnreachable(rule=rule, message=str(fault)) from fault
        except TunnelFault as fault:
            raise StationUnreachable(rule="outbound.open", message=str(fault)) from fault
        if not local.connected:
            leg.abort()
            return
        local.accept()
        self._couple(leg, local, outline)
        local.release()

    def _couple(self, leg: ILeg, near: ILeg, outline: Outline) -> None:
        pipe = self.live[outline.session] = Pipe(
            leg,
            near,
            outline,
            clock=self.clock,
            events=self.events,
            seconds=self._seconds,
            over=lambda: self._over(outline),
        )
        pipe.begin()

    def _over(self, outline: Outline) -> None:
        del self.live[outline.session]
