"""The plain server in the DMZ.

Duty: await plain clients in the tunnel, have the external port open only while one is there, hand each connection to
the least loaded client, and dial for clients what it was told to permit. Inspects nothing; dials nothing inside.
Trusts its licence's authority, and through it its clients.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, IStreamClientEndpoint
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from smartproxy.logs.emit import Events
from smartproxy.logs.severity import Severity
from smartproxy.net.connection import ConnectionLeg, LegFactory, address_text
from smartproxy.net.leg import ILeg
from smartproxy.net.listeners import Listeners, bound, listen_for_clients
from smartproxy.net.proxying.ways import ConnectFailure, Target
from smartproxy.oftp2.errors import SessionFault
from smartproxy.plain.permit import Permit
from smartproxy.plain.pipe import Outline
from smartproxy.plain.sessions import PlainSessions
from smartproxy.plain.troubles import fault_of, of_error
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ConfigurationRefused
from smartproxy.policy.faults import OwnFault, StationUnreachable
from smartproxy.policy.licence import Licence
from smartproxy.policy.settings import Listener
from smartproxy.relay.openings import CallWish, SessionFacts
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.identity import Identity
from smartproxy.tunnel.kinds import plain
from smartproxy.tunnel.licence import LicenceInForce, LicenceWatch
from smartproxy.tunnel.server import ServerTunnel
from smartproxy.tunnel.server_control import ServerControl

AGAIN_SECONDS = 15.0
"""An external port that could not be opened is tried again after so long."""
_NO_CLIENT = "no client is connected"
_LICENCE_ADVICE = "issue it again: smartproxy licence issue {} --until DATE; put it in place and restart this server"


class _Outer(ConnectionLeg):
    """The leg of somebody outside; not a word of it is read before there is somebody inside."""

    def __init__(self, service: "PlainServerService") -> None:
        super().__init__(service.clock, service.sessions.seconds)
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
        peer = "unknown" if address is None else address_text(address)
        return _Outer(self._service) if self._service.takes(peer) else None


class PlainServerService(Service):
    """The plain server.

    :param reactor: listens, dials and tells the time.
    :param internal: address and port on which clients are awaited; the address is empty for any.
    :param external: where everybody else is awaited; the same.
    :param permit: what clients may have dialled.
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
        identity: Identity,
        licence: Licence,
        licence_path: Path,
        internal: tuple[str, int],
        external: tuple[str, int],
        permit: Permit,
        seconds: float,
        most: int = limits.SESSIONS.default,
        drain: int = limits.DRAIN.default,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        endpoint: Callable[[Any, str, int], IStreamClientEndpoint] = HostnameEndpoint,
    ) -> None:
        self.clock = reactor
        self.drain_seconds = drain
        self._internal = internal
        self._external = Listener(address=external[0], port=external[1])
        self._permit = permit
        self._identity = identity
        self._endpoint = endpoint
        self._tunnel_port: IListeningPort | None = None
        self._again: IDelayedCall | None = None
        self.events = Events(Logger(namespace="smartproxy.plain-server"), None, reactor, source="plain-server")
        self.sessions = PlainSessions(
            reactor, self.events, seconds=seconds, most=min(most, licence.limits.get("sessions", most))
        )
        self.tunnel = ServerTunnel(
            reactor,
            identity=identity,
            authority=licence.authority_certificate,
            user=self,
            events=self.events,
            kind=plain(seconds),
        )
        self.licence = LicenceInForce(licence, licence_path, self.events, now)
        self._licence_watch = LicenceWatch(reactor, self.licence, self.events, now, advice=_LICENCE_ADVICE)
        self.listeners = Listeners(reactor, lambda: _OuterFactory(self), self.events)

    # The life of the daemon.

    def startService(self) -> None:
        """Await clients; nobody else before there is one.

        :raises CannotListenError: when the internal port cannot be opened, which ends the daemon.
        """
        Service.startService(self)
        self._tunnel_port = listen_for_clients(self.clock, self.tunnel.factory, *self._internal, self.events)
        self.licence.tell_started(self._identity, *bound(self._tunnel_port))
        self._licence_watch.look()

    def stopService(self) -> Deferred[None]:
        """Close the listeners at once, let sessions end within the drain time, end the rest."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._licence_watch.stop()
        self._try_no_more()
        seconds = self.drain_seconds if self.sessions.live else 0
        self.events.emit("server.stopping", cause="asked to stop", sessions=len(self.sessions.live), seconds=seconds)
        await self.listeners.have((), "the server stops")
        if self._tunnel_port is not None:
            await maybeDeferred(self._tunnel_port.stopListening)
        await self.sessions.drain(seconds)
        self.tunnel.stop("the server stops")
        self.events.emit("server.stopped")
        # The reactor disconnects everything as soon as this ends: not from within a connection's own call.
        await deferLater(self.clock, 0)

    def hurry(self) -> None:
        """Wait for sessions no longer; end them."""
        self.sessions.hurry()

    # Somebody outside.

    def takes(self, peer: str) -> bool:
        """Whether a connection from outside can be taken; says why not."""
        fault = self._fault()
        if fault is not None:
            self.events.emit("connection.refused", peer=peer, cause=fault.message)
        return fault is None

    def _fault(self) -> OwnFault | None:
        if not self.tunnel.controls:
            return StationUnreachable(rule="tunnel.none", message=_NO_CLIENT)
        return self.licence.fault() or self.sessions.room()

    def connected(self, outer: _Outer) -> None:
        """Somebody connected: have a client dial its target, and couple the two."""
        outline = Outline(session=secrets.token_hex(8), peer=outer.peer, direction="inbound")
        opening = Deferred.fromCoroutine(self._open_inside(outer, outline))
        opening.addErrback(self._not_opened, outer, outline)

    async def _open_inside(self, outer: _Outer, outline: Outline) -> None:
        control = self.tunnel.least_loaded()
        if control is None:
            raise StationUnreachable(rule="tunnel.none", message=_NO_CLIENT)
        self.sessions.expect(outline.session)
        inner = await control.open_inbound(outline.session, SessionFacts(peer=outer.peer))
        self.sessions.couple(outline, near=outer, tunnel=inner, inward=True)

    def _not_opened(self, failure: Failure, outer: _Outer, outline: Outline) -> None:
        """The target is not reachable: the outer connection is closed at once."""
        self.sessions.forget(outline.session)
        outer.abort()
        fault = failure.value
        if not isinstance(fault, SessionFault):
            self.events.failure("smartproxy.plain.server", failure, session=outline.session)
            return
        self.events.emit("session.failed", cause=str(fault), **attrs.asdict(outline))

    # ServerUser

    def tunnel_up(self, control: ServerControl) -> None:
        """A client is there: open the external port."""
        self._await_outside()

    def tunnel_down(self, control: ServerControl, why: Closing) -> None:
        """A client is gone: close the external port with the last one."""
        self._await_outside()

    def drain(self, control: ServerControl) -> None:
        """A client takes no new sessions."""
        self._await_outside()

    def _await_outside(self) -> None:
        """Have the external port open exactly while a client is there."""
        self._try_no_more()
        if not self.running or not self.tunnel.controls:
            self.listeners.have((), _NO_CLIENT)
            return
        if self.listeners.open:
            return
        self.listeners.have((self._external,), _NO_CLIENT)
        if not self.listeners.open:
            self._again = self.clock.callLater(AGAIN_SECONDS, self._await_outside)

    def _try_no_more(self) -> None:
        again, self._again = self._again, None
        if again is not None and again.active():
            again.cancel()

    def configuration_arrived(self, control: ServerControl, generation: int, octets: bytes) -> None:
        """Refuse: a plain server is configured by its command line.

        :raises ConfigurationRefused: always.
        """
        raise ConfigurationRefused(
            where="document", cause=Cause.DOCUMENT_VALUE, message="a plain server takes no configuration"
        )

    def close_session(self, control: ServerControl, session: str) -> None:
        """End a session."""
        self.sessions.close(session, "closed by the client")

    def set_level(self, control: ServerControl, level: str) -> None:
        """Change what is logged.

        :raises ValueError: for a level that does not exist.
        """
        self.events.set_level(
            Severity.named(level),
            cause=Cause.OPERATOR_COMMAND,
            message="asked by the client",
            client=control.client_name,
        )

    def open_outbound(
        self, control: ServerControl, session: str, partner: str, wish: CallWish
    ) -> Deferred[Callable[[ILeg | None], None]]:
        """Dial a destination for a client, if it is permitted."""
        outline = Outline(session=session, peer=wish.caller or "inside", direction="outbound")
        dialling = self._dial(control, outline, Target(wish.host or "", wish.port or 0))
        return Deferred.fromCoroutine(dialling)

    async def _dial(self, control: ServerControl, outline: Outline, target: Target) -> Callable[[ILeg | None], None]:
        host, port = target.host, target.port or 0
        if not 0 < port <= 65_535 or not self._permit.allows(host, port):
            self.events.emit(
                "connection.refused",
                peer=outline.peer,
                cause=f"{target} is not permitted",
                client=control.client_name,
                advice="to permit it, start the server with --permit HOST:PORT",
            )
            raise fault_of(ConnectFailure.NOT_ALLOWED, str(target))
        fault = self.licence.fault()
        if fault is not None:
            raise fault
        self.sessions.expect(outline.session)
        try:
            dialled = LegFactory(self.clock, self.sessions.seconds)
            outer: Any = await self._endpoint(self.clock, host, port).connect(dialled)
        except CancelledError:
            self.sessions.forget(outline.session)
            raise
        except Exception as error:
            self.sessions.forget(outline.session)
            trouble = of_error(error)
            self.events.emit(
                "session.failed",
                cause=f"{target}: {trouble.value}: {error}",
                client=control.client_name,
                **attrs.asdict(outline),
            )
            raise fault_of(trouble, f"{target}: {error}") from error
        outer.pause()

        def take(inner: ILeg | None) -> None:
            if inner is None:
                self.sessions.forget(outline.session)
                outer.abort()
            else:
                self.sessions.couple(outline, near=outer, tunnel=inner, inward=True)

        return take
