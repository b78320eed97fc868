"""The plain server in the DMZ.

Duty: await plain clients in the tunnel, have the external port open only while one is there, hand each connection to
the least loaded client, and dial for clients what it was told to permit. Inspects nothing; dials nothing inside.
Trusts its licence's authority, and through it its clients.
"""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy import __version__
from smartproxy.logs.emit import Events
from smartproxy.logs.severity import Severity
from smartproxy.net.connection import ConnectionLeg, LegFactory
from smartproxy.net.leg import ILeg
from smartproxy.net.listeners import Listeners, bound, listen_for_clients
from smartproxy.oftp2.errors import SessionFault, StationUnreachable
from smartproxy.plain.permit import NOT_PERMITTED, Permit
from smartproxy.plain.pipe import Outline, Pipe
from smartproxy.policy import limits
from smartproxy.policy.configuration import ConfigurationRefused, Listener
from smartproxy.policy.licence import Licence
from smartproxy.tunnel.identity import Identity
from smartproxy.tunnel.interfaces import IServerTunnelUser
from smartproxy.tunnel.kinds import PLAIN
from smartproxy.tunnel.licence_file import LicenceInForce
from smartproxy.tunnel.server import ServerTunnel
from smartproxy.tunnel.server_control import ServerControl


class _Outer(ConnectionLeg):
    """The leg of somebody outside; not a word of it is read before there is somebody inside."""

    def __init__(self, service: "PlainServerService") -> None:
        super().__init__(service.clock, limits.CLOSING.default)
        self._service = service

    def connectionMade(self) -> None:
        """Somebody connected."""
        super().connectionMade()
        self.pause()
        self._service.connected(self)


class _OuterFactory(ServerFactory):
    noisy = False

    def __init__(self, service: "PlainServerService") -> None:
        self._service = service

    def buildProtocol(self, address: IAddress | None) -> _Outer | None:
        """A leg, unless there are too many, or nobody to hand it to."""
        return _Outer(self._service) if self._service.able() else None


@implementer(IServerTunnelUser)
class PlainServerService(Service):
    """The plain server.

    :param reactor: listens, dials and tells the time.
    :param internal: address and port on which clients are awaited; the address is empty for any.
    :param external: where everybody else is awaited.
    :param permit: what clients may have dialled.
    :param seconds: how long nothing may move in a session.
    :param most: sessions at once.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        identity: Identity,
        licence: Licence,
        licence_path: Path,
        internal: tuple[str, int],
        external: tuple[str, int],
        permit: Permit,
        seconds: float,
        most: int = limits.SESSIONS.default,
        set_level: Callable[[Severity], None] = lambda severity: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.clock = reactor
        self.live: dict[str, Pipe] = {}
        """The sessions that are not over, by id."""
        self._internal = internal
        self._external = Listener(address=external[0] or "::", port=external[1])
        self._permit = permit
        self._seconds = seconds
        self._most = min(most, licence.limits.get("sessions", most))
        self._set_level = set_level
        self._identity = identity
        self._tunnel_port: IListeningPort | None = None
        self.events = Events(Logger(namespace="smartproxy.plain-server"), None, reactor, source="plain-server")
        self.tunnel = ServerTunnel(
            reactor,
            identity=identity,
            authority=licence.authority_certificate,
            user=self,
            emit=self.events.emit,
            kind=PLAIN,
        )
        self.licence = LicenceInForce(licence, licence_path, self.events, now)
        self.listeners = Listeners(reactor, lambda: _OuterFactory(self), self.events)

    # The life of the daemon.

    def startService(self) -> None:
        """Await clients; nobody else before there is one.

        :raises CannotListenError: when the internal port cannot be opened, which ends the daemon.
        """
        Service.startService(self)
        self._tunnel_port = listen_for_clients(self.clock, self.tunnel.factory, *self._internal, self.events)
        host, port = bound(self._tunnel_port)
        self.events.emit(
            "server.started",
            version=__version__,
            proxy_id=self._identity.proxy_id,
            site=self.licence.present.site,
            address=host,
            port=port,
        )
        self.licence.announce()

    def stopService(self) -> Deferred[None]:
        """Close everything."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.events.emit("server.stopping", cause="asked to stop", sessions=len(self.live))
        await self.listeners.have((), "the server stops")
        if self._tunnel_port is not None:
            closed = self._tunnel_port.stopListening()
            if closed is not None:
                await closed
        self.hurry()
        self.tunnel.stop("the server stops")
        self.events.emit("server.stopped")
        # The reactor disconnects everything as soon as this ends: not from within a connection's own call.
        await deferLater(self.clock, 0)

    def hurry(self) -> None:
        """End all sessions: a stream has no end that could be waited for."""
        for pipe in list(self.live.values()):
            pipe.stop("the server stops")

    # Somebody outside.

    def able(self) -> bool:
        """Whether another connection can be taken; says why not."""
        fault = self.licence.fault()
        if fault is None and self.tunnel.leastLoaded() is None:
            fault = StationUnreachable(rule="tunnel.none", message="no client is connected")
        if fault is None and len(self.live) >= self._most:
            fault = StationUnreachable(rule="quota.sessions", message=f"the limit of {self._most} sessions is reached")
        if fault is not None:
            self.events.emit("connection.refused", peer="outside", cause=fault.message)
        return fault is None

    def connected(self, outer: _Outer) -> None:
        """Somebody connected: have a client dial its target, and couple the two."""
        control = self.tunnel.leastLoaded()
        if control is None:
            outer.abort()
            return
        outline = Outline(session=secrets.token_hex(8), peer=outer.peer, direction="inbound")
        opening = control.openInbound(outline.session, {"peer": outer.peer})
        opening.addCallbacks(
            lambda inner: self._couple(inner, outer, outline), self._closed, errbackArgs=(outer, outline)
        )
        opening.addErrback(lambda failure: self.events.failure("plain.server.connected", failure))

    def _closed(self, failure: Failure, outer: _Outer, outline: Outline) -> None:
        """The target is not reachable: the outer connection is closed at once."""
        outer.abort()
        failure.trap(SessionFault)
        self.events.emit(
            "session.failed", session=outline.session, peer=outline.peer, direction="inbound", cause=str(failure.value)
        )

    def _couple(self, inner: ILeg, outer: ILeg, outline: Outline) -> None:
        pipe = self.live[outline.session] = Pipe(
            outer,
            inner,
            outline,
            clock=self.clock,
            events=self.events,
            seconds=self._seconds,
            over=lambda: self._over(outline),
        )
        pipe.begin()

    def _over(self, outline: Outline) -> None:
        del self.live[outline.session]

    # IServerTunnelUser

    def tunnelUp(self, control: ServerControl) -> None:
        """A client is there: open the external port."""
        self._await_outside()

    def tunnelDown(self, control: ServerControl, cause: str) -> None:
        """A client is gone: close the external port with the last one."""
        self._await_outside()

    def drain(self, control: ServerControl) -> None:
        """A client takes no new sessions."""
        self._await_outside()

    def _await_outside(self) -> None:
        wanted = (self._external,) if self.running and self.tunnel.controls else ()
        self.listeners.have(wanted, "no client is connected")

    def configurationArrived(self, control: ServerControl, generation: int, octets: bytes) -> None:
        """Refuse: a plain server is configured by its command line.

        :raises ConfigurationRefused: always.
        """
        raise ConfigurationRefused(where="document", cause="a plain server takes no configuration")

    def closeSession(self, control: ServerControl, session: str) -> None:
        """End a session."""
        if session in self.live:
            self.live[session].stop("closed by the client")

    def setLevel(self, control: ServerControl, level: str) -> None:
        """Change what is logged.

        :raises ValueError: for a level that does not exist.
        """
        severity = Severity.named(level)
        self._set_level(severity)
        self.events.emit("level.changed", mode=severity.label, client=control.client_name)

    def openOutbound(
        self, control: ServerControl, session: str, partner: str, facts: Mapping[str, str]
    ) -> Deferred[Callable[[ILeg | None], None]]:
        """Dial a destination for a client, if it is permitted."""
        host, port = facts.get("host", ""), facts.get("port", "")
        if not port.isdecimal() or not self._permit.allows(host, int(port)):
            self.events.emit(
                "connection.refused",
                peer=facts.get("peer", "inside"),
                cause=f"{host}:{port} is not permitted",
                client=control.client_name,
                advice="start the server with --permit HOST:PORT",
            )
            return fail(StationUnreachable(rule=NOT_PERMITTED, message="the destination is not permitted"))
        outline = Outline(session=session, peer=facts.get("peer", "inside"), direction="outbound")
        dialling: Any = HostnameEndpoint(self.clock, host.encode("idna"), int(port)).connect(
            LegFactory(self.clock, limits.CLOSING.default)
        )
        dialling.addCallbacks(lambda leg: self._dialled(leg, outline), self._not_dialled)
        dialled: Deferred[Callable[[ILeg | None], None]] = dialling
        return dialled

    def _dialled(self, outer: ConnectionLeg, outline: Outline) -> Callable[[ILeg | None], None]:
        outer.pause()

        def take(inner: ILeg | None) -> None:
            if inner is None:
                outer.abort()
            else:
                self._couple(inner, outer, outline)

        return take

    def _not_dialled(self, failure: Failure) -> Failure:
        message = failure.getErrorMessage() or failure.type.__name__ if failure.type else "unknown"
        return Failure(StationUnreachable(rule="outbound.connect", message=f"the destination: {message}"))
