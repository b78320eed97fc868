"""The plain client inside.

Duty: keep a tunnel to the plain server, dial the one target for each connection that the server announces, and carry
what local programs send to destinations outside. Inspects nothing. Trusts a server only as far as its pinned key goes;
the target never comes from outside.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IListeningPort, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger

from smartproxy import __version__
from smartproxy.logs.emit import Events
from smartproxy.net.connection import LegFactory
from smartproxy.net.leg import ILeg
from smartproxy.net.proxying.requester import RequesterLeg
from smartproxy.oftp2.errors import SessionFault
from smartproxy.plain.pipe import Outline
from smartproxy.plain.sessions import PlainSessions
from smartproxy.policy import limits
from smartproxy.policy.credential import PlainCredential
from smartproxy.policy.faults import StationUnreachable, TunnelLost
from smartproxy.relay.openings import CallWish, SessionFacts, Way
from smartproxy.tunnel.boxes import Plain
from smartproxy.tunnel.client import ClientTunnel
from smartproxy.tunnel.client_control import ClientControl
from smartproxy.tunnel.contexts import ClientCredential
from smartproxy.tunnel.faults import Closing, TunnelFault
from smartproxy.tunnel.kinds import plain
from smartproxy.tunnel.vocabulary import FarEnding

TARGET_SECONDS = 10
"""How long the target may take to take a connection."""


class PlainClientService(Service):
    """The plain client.

    :param reactor: listens, dials and tells the time.
    :param credential: what it shows, and whom it may speak to.
    :param server: host and port of the server.
    :param target: host and port to which connections from outside go.
    :param listeners: open the ports for local programs; each is called with the service and gives the port.
    :param seconds: how long nothing may move in a session.
    :param most: sessions at once.
    :param drain: how many seconds sessions may go on when the daemon is to end.
    :param endpoint: how to dial a host and a port.
    :ivar sessions: the sessions that are not over.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        credential: PlainCredential,
        server: tuple[str, int],
        target: tuple[str, int],
        listeners: Sequence[Callable[["PlainClientService"], IListeningPort]] = (),
        seconds: float,
        most: int = limits.SESSIONS.default,
        drain: int = limits.DRAIN.default,
        endpoint: Callable[[Any, str, int], IStreamClientEndpoint] = HostnameEndpoint,
    ) -> None:
        self.clock = reactor
        self.drain_seconds = drain
        self._target = target
        self._listeners = listeners
        self._endpoint = endpoint
        self._ports: list[IListeningPort] = []
        self._name = credential.name
        self.events = Events(Logger(namespace="smartproxy.plain-client"), None, reactor, source="plain-client")
        self.sessions = PlainSessions(reactor, self.events, seconds=seconds, most=most)
        host, port = server
        self.tunnel = ClientTunnel(
            reactor,
            endpoint(reactor, host, port),
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            credential=ClientCredential(certificate=credential.certificate, key=credential.key),
            proxy_ids=credential.proxy_ids,
            user=self,
            events=self.events,
            most=most,
            kind=plain(seconds),
        )

    # The life of the daemon.

    def startService(self) -> None:
        """Dial the server, and await local programs.

        :raises CannotListenError: when a port for local programs cannot be opened, which ends the daemon.
        """
        Service.startService(self)
        self._ports = [listen(self) for listen in self._listeners]
        self.events.emit("client.started", version=__version__, names=[self._name, self.tunnel.server])
        self.tunnel.startService()

    def stopService(self) -> Deferred[None]:
        """Take nothing new, let sessions end within the drain time, end the rest."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        seconds = self.drain_seconds if self.sessions.live else 0
        self.events.emit("client.stopping", cause="asked to stop", sessions=len(self.sessions.live), seconds=seconds)
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        if self.tunnel.control is not None:
            # Nobody waits for the answer: what the server opens before it has heard of it is carried, too.
            self.tunnel.control.drain().addErrback(lambda failure: failure.trap(TunnelFault, SessionFault))
        await self.sessions.drain(seconds)
        await self.tunnel.stopService()
        self.events.emit("client.stopped")
        # The reactor disconnects everything as soon as this ends: not from within a connection's own call.
        await deferLater(self.clock, 0)

    def hurry(self) -> None:
        """Wait for sessions no longer; end them."""
        self.sessions.hurry()

    # ClientUser

    def tunnel_up(self, control: ClientControl) -> None:
        """The server is there, and wants nothing more."""

    def tunnel_down(self, why: Closing) -> None:
        """The server is gone; its sessions end with their legs, and the tunnel dials again."""

    def open_inbound(self, session: str, facts: SessionFacts, leg: ILeg) -> Deferred[None]:
        """Somebody connected outside: dial the target."""
        outline = Outline(session=session, peer=facts.peer, direction="inbound")
        return Deferred.fromCoroutine(self._open_inbound(outline, leg))

    async def _open_inbound(self, outline: Outline, leg: ILeg) -> None:
        self.sessions.expect(outline.session)
        host, port = self._target
        try:
            factory = LegFactory(self.clock, self.sessions.seconds)
            connecting: Any = self._endpoint(self.clock, host, port).connect(factory)
            target = await connecting.addTimeout(TARGET_SECONDS, self.clock)
        except Exception as error:
            self.sessions.forget(outline.session)
            cause = str(error) or type(error).__name__
            self.events.emit("station.unreachable", cause=cause, host=host, port=port, session=outline.session)
            raise StationUnreachable(rule="target.connect", message="the target is not reachable") from error
        self.sessions.couple(outline, near=target, tunnel=leg, inward=False)

    def event(self, fields: Mapping[str, Plain]) -> None:
        """The server's events stay with the server: there is no backend to carry them to."""

    def session_ended(self, session: str, ending: FarEnding) -> None:
        """The server's word that a session is over; the legs say so, too."""

    def crl_url_seen(self, url: str, authority: str) -> None:
        """A plain server verifies nobody's certificate."""

    # Local programs.

    def outward(self, host: str, port: int, local: RequesterLeg) -> Deferred[None]:
        """Carry a local program's connection to a destination outside.

        :return: fires when it is connected; fails with a :class:`~smartproxy.oftp2.errors.SessionFault`.
        """
        return Deferred.fromCoroutine(self._outward(host, port, local))

    async def _outward(self, host: str, port: int, local: RequesterLeg) -> None:
        control = self.tunnel.control
        if control is None:
            raise TunnelLost(rule="tunnel.none", message="the tunnel to the server is down")
        outline = Outline(session=secrets.token_hex(8), peer=local.peer, direction="outbound")
        wish = CallWish(way=Way(local.way), caller=local.peer, host=host, port=port)
        self.sessions.expect(outline.session)
        try:
            leg = await control.open_outbound(outline.session, "", wish)
        finally:
            self.sessions.forget(outline.session)
        if local.connected:
            local.accept()
        self.sessions.couple(outline, near=local, tunnel=leg, inward=False)
