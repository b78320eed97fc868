"""What the daemons in the DMZ have in common: a licence, the tunnel's port, and an orderly end.

Duty: open the tunnel's port, tell that the server runs and when its licence ends, and the order in which it stops: its
ports close at once, sessions may end within the drain time, the rest are ended, then the tunnel. Dials nothing inside,
and knows no session: its subclasses do. Trusts its licence's authority, and through it its clients.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger

from smartproxy.logs.emit import Events
from smartproxy.net.listeners import Listeners, bound, listen_for_clients
from smartproxy.net.transport.sockets import AcceptedStream
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import StopReason
from smartproxy.policy.licence import Licence
from smartproxy.tunnel.identity import Identity
from smartproxy.tunnel.kinds import SMART, TunnelKind
from smartproxy.tunnel.licence import RENEWED_BY_ITSELF, LicenceFileWatch, LicenceInForce, LicenceWatch
from smartproxy.tunnel.server import ServerTunnel
from smartproxy.tunnel.server_control import ServerUser

NO_CLIENT = "no client is connected"
_STOPS = "the server is stopping"
_SUCCEEDED = "a newer process of the server has the port"


class DrainedSessions(Protocol):
    """The sessions of a daemon, as their end needs them."""

    @property
    def live(self) -> Mapping[str, object]:
        """The running sessions, by id."""

    async def drain(self, seconds: float, closing: float) -> None:
        """Wait up to *seconds* for them to end, end the others, and wait up to *closing* for those."""

    def hurry(self) -> None:
        """Wait no longer."""


class DmzService(Service):
    """A daemon in the DMZ.

    :param reactor: listens and tells the time.
    :param user: the subclass, as the tunnel sees it.
    :param name: the daemon's name for its log: ``server`` or ``plain-server``.
    :param identity: the key that is the Proxy ID.
    :param licence: in force at the start.
    :param licence_path: where a renewed licence is written.
    :param listen: where to listen for clients; an empty host means all addresses.
    :param kind: the kind of tunnel.
    :param advice: what to do when the licence is about to end; ``{}`` stands for the Proxy ID.
    :param now: tells the wall clock's time, aware, in UTC.
    :ivar draining: whether the end has begun.
    :ivar succeeded: whether a newer process has the ports.
    :ivar stop_reason: why the end begins; may be changed until then.
    :ivar listeners: the ports towards the outside.
    :ivar sessions: the running sessions.
    :ivar tunnel_stream: what the connections of the tunnel's port are.
    """

    listeners: Listeners
    sessions: DrainedSessions

    def __init__(
        self,
        reactor: Any,
        *,
        user: ServerUser,
        name: str,
        identity: Identity,
        licence: Licence,
        licence_path: Path,
        listen: HostPort,
        kind: TunnelKind = SMART,
        advice: str = RENEWED_BY_ITSELF,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.clock = reactor
        self.draining = False
        self.succeeded = False
        self.stop_reason = StopReason()
        self.events = Events(Logger(namespace=f"smartproxy.{name}"), None, reactor, source=name)
        self.licence = LicenceInForce(licence, licence_path, self.events, now)
        self.licence_watch = LicenceWatch(reactor, self.licence, self.events, now, advice=advice)
        self.tunnel = ServerTunnel(
            reactor,
            identity=identity,
            authority=licence.authority_certificate,
            user=user,
            events=self.events,
            kind=kind,
            withdrawn=lambda client: self.licence.present.withdraws(client.name, client.not_before),
        )
        self._file_watch = LicenceFileWatch(reactor, self.licence, self.licence_renewed)
        self._identity = identity
        self._listen = listen
        self._tunnel_port: IListeningPort | None = None
        self.tunnel_stream: type[AcceptedStream] = AcceptedStream

    # What differs.

    def drain_time(self) -> float:
        """Seconds that sessions may go on when the end begins."""
        raise NotImplementedError

    def closing_time(self) -> float:
        """Seconds that the connections of a session that is ended may take to close."""
        raise NotImplementedError

    def licence_renewed(self) -> None:
        """Another licence is in force: tell its end, and shut out whom it withdraws."""
        self.licence_watch.look()
        self.tunnel.shut_out()

    async def sessions_over(self) -> None:
        """No session is left."""

    def end_is_near(self) -> None:
        """Forget what is held: sessions and tunnel are over."""

    # The life of the daemon.

    @property
    def awaits_clients(self) -> HostPort | None:
        """The address and port of the tunnel's port, while it is open."""
        return None if self._tunnel_port is None or self.draining else bound(self._tunnel_port)

    def startService(self) -> None:
        """Listen for clients; the other ports open when one is connected.

        :raises CannotListenError: if the tunnel's port cannot be opened, which ends the daemon.
        """
        Service.startService(self)
        host, port = self._listen.host, self._listen.port
        self._tunnel_port = listen_for_clients(
            self.clock, self.tunnel.factory, host, port, self.events, self.tunnel_stream
        )
        self.licence.tell_started(self._identity, bound(self._tunnel_port))
        self.licence_watch.look()
        self._file_watch.start()

    def stopService(self) -> Deferred[None]:
        """Close the ports at once, let sessions end within the drain time, end the rest.

        :return: fires when nothing is left.
        """
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.draining = True
        self.licence_watch.stop()
        self._file_watch.stop()
        seconds, closing = self.drain_time(), self.closing_time()
        self.events.emit(
            "server.stopping",
            cause=self.stop_reason.cause,
            message=self.stop_reason.message,
            sessions=len(self.sessions.live),
            seconds=seconds,
        )
        closed = self.listeners.have((), _STOPS, Cause.DAEMON_STOPPING)
        if self._tunnel_port is not None:
            await maybeDeferred(self._tunnel_port.stopListening)
        await closed
        await self.sessions.drain(seconds, closing)
        await self.sessions_over()
        self.events.tell_counted()
        self.events.emit("server.stopped")
        await self.tunnel.flush(closing)
        self.tunnel.stop(_STOPS)
        self.end_is_near()
        # The reactor disconnects everything as soon as this ends: not from within a connection's own call.
        await deferLater(self.clock, 0)

    async def taken_over(self) -> None:
        """Nothing is held back: what comes is taken from the start, and waits for a client."""

    async def announce(self) -> None:
        """Nobody has to know: clients are sent to the newer process once that serves."""

    async def hand_over(self) -> None:
        """Leave the ports, and the clients, to a newer process that listens with the same sockets."""
        self.succeeded = True
        closed = self.listeners.have((), _SUCCEEDED, Cause.DAEMON_SUCCEEDED)
        if self._tunnel_port is not None:
            await maybeDeferred(self._tunnel_port.stopListening)
        await closed
        self.tunnel.moved()

    def hurry(self) -> None:
        """Stop waiting for sessions, and end them."""
        self.sessions.hurry()
