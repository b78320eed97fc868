"""The plain client inside.

Duty: keep a tunnel to the plain server, dial the one target for each connection that the server announces, and carry
local programs' connections to destinations outside. One port for local programs serves HTTP CONNECT and SOCKS5; a
forwarding port has one destination, and says nothing to them. Inspects nothing. Trusts a server only as far as its
pinned key goes; the target never comes from outside, and what may be reached outside is the server's to permit.
Standards: RFC 9110 section 9.3.6 (CONNECT), RFC 1928 (SOCKS5).
"""

import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IListeningPort, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from smartproxy import __version__
from smartproxy.logs.emit import Events
from smartproxy.net.connection import ConnectionLeg, LegFactory
from smartproxy.net.leg import ILeg
from smartproxy.net.listeners import bound, listen_at
from smartproxy.net.lookout import Lookout
from smartproxy.net.proxying.requester import RequesterFactory, RequesterLeg, either_way
from smartproxy.net.proxying.ways import ConnectFailure, Target
from smartproxy.net.transport.endpoints import Lookup, connect
from smartproxy.net.transport.sockets import dialling
from smartproxy.oftp2.errors import SessionFault
from smartproxy.plain.destinations import failure_of
from smartproxy.plain.sessions import Outline, PlainSessions
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.credential import PlainCredential
from smartproxy.policy.faults import StationUnreachable, StopReason, TunnelLost
from smartproxy.relay.openings import CallWish, SessionFacts, Way
from smartproxy.tunnel.boxes import Plain
from smartproxy.tunnel.client import ClientTunnel
from smartproxy.tunnel.client_control import ClientControl
from smartproxy.tunnel.credential import ClientCredential
from smartproxy.tunnel.faults import Closing, TunnelFault
from smartproxy.tunnel.kinds import plain
from smartproxy.tunnel.lane import DataLane, Inbound

TARGET_SECONDS = 10
"""Seconds that the target has to accept a connection."""
REQUEST_SECONDS = 10
"""Seconds that a local program has to name its destination."""


class PlainClientService(Service):
    """The plain client.

    :param reactor: listens, dials and tells the time.
    :param credential: its certificate and key, and the Proxy IDs of its servers.
    :param server: the server.
    :param target: where connections from outside go.
    :param outgoing: the ports for local programs.
    :param seconds: the idle time after which a session ends.
    :param most: sessions at once.
    :param retry: seconds from a call of the target that failed to the next one that no connection asked for; 0: it is
        never called without one, not even at the start.
    :param drain: how many seconds sessions may go on when the daemon is to end.
    :param endpoint: how to dial a host and a port.
    :ivar sessions: the sessions that are not over.
    :ivar lane: the data connections.
    :ivar target_failure: why the target could not be reached when it was last dialled; ``None`` if it was reached.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        credential: PlainCredential,
        server: HostPort,
        target: HostPort,
        outgoing: Sequence["Outgoing"] = (),
        seconds: float,
        most: int = limits.SESSIONS.default,
        retry: int = limits.STATION_RETRY.default,
        drain: int = limits.DRAIN.default,
        endpoint: Callable[[Any, str, int], IStreamClientEndpoint] = HostnameEndpoint,
    ) -> None:
        self.clock = reactor
        self.drain_seconds: int | None = drain
        self.stop_reason = StopReason()
        self.target = target
        self.target_failure: str | None = None
        self.credential = credential
        self._outgoing = outgoing
        self._endpoint = endpoint
        self._ports: list[IListeningPort] = []
        self.events = Events(Logger(namespace="smartproxy.plain-client"), None, reactor, source="plain-client")
        self.events.callers_unknown = True
        self._retry = retry
        self._lookout = Lookout(
            reactor, self.events, call=self._call_target, failing=lambda: self.target_failure is not None
        )
        self.sessions = PlainSessions(reactor, self.events, seconds=seconds, most=most)
        kind, dialled = plain(seconds), endpoint(dialling(reactor), server.host, server.port)
        self.lane = DataLane(reactor, dialled, self.events, most=most, kind=kind)
        self.tunnel = ClientTunnel(
            reactor,
            dialled,
            str(server),
            credential=ClientCredential(certificate=credential.certificate, key=credential.key),
            proxy_ids=credential.proxy_ids,
            user=self,
            events=self.events,
            lane=self.lane,
            kind=kind,
        )

    # The life of the daemon.

    def startService(self) -> None:
        """Dial the server, and listen for local programs.

        :raises CannotListenError: if a port for local programs cannot be opened, which ends the daemon.
        """
        Service.startService(self)
        self._ports = [each.listen(self) for each in self._outgoing]
        self.events.emit("client.started", version=__version__, names=[self.credential.name, self.tunnel.server])
        self.tunnel.startService()
        self._lookout.begin(self._retry)

    def stopService(self) -> Deferred[None]:
        """Take nothing new, let sessions end within the drain time, end the rest."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        seconds = (self.drain_seconds or 0) if self.sessions.live else 0
        self.events.emit(
            "client.stopping",
            cause=self.stop_reason.cause,
            message=self.stop_reason.message,
            sessions=len(self.sessions.live),
            seconds=seconds,
        )
        self._lookout.stop()
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        if self.tunnel.control is not None:
            # The answer is not waited for: what the server opens before it knows is carried, too.
            self.tunnel.control.drain().addErrback(lambda failure: failure.trap(TunnelFault, SessionFault))
        await self.sessions.drain(seconds, 0)
        await self.tunnel.stopService()
        self.events.tell_counted()
        self.events.emit("client.stopped")
        # The reactor disconnects everything as soon as this ends: not from within a connection's own call.
        await deferLater(self.clock, 0)

    @property
    def ports(self) -> list[tuple[HostPort | None, HostPort]]:
        """The open ports for local programs, each with the destination that it leads to."""
        return [(each.destination, bound(at)) for each, at in zip(self._outgoing, self._ports, strict=False)]

    def hurry(self) -> None:
        """Stop waiting for sessions, and end them."""
        self.sessions.hurry()

    # ClientUser

    def tunnel_up(self, control: ClientControl) -> None:
        """The tunnel is up; there is nothing to configure."""

    def tunnel_down(self, why: Closing) -> None:
        """The tunnel is down; its sessions end with their legs, and it dials again."""

    def server_moved(self, control: ClientControl) -> None:
        """Never called: a plain server hands nothing over."""

    def open_inbound(self, control: ClientControl, inbound: Inbound) -> Deferred[None]:
        """A connection came from outside: dial the target. Any may: the one target is this client's own."""
        return Deferred.fromCoroutine(self.lane.carry(inbound, self._open_target))

    def _open_target(self, session: str, facts: SessionFacts, leg: ILeg) -> Deferred[None]:
        outline = Outline(session=session, peer=facts.peer, direction="inbound")
        return Deferred.fromCoroutine(self._open_inbound(outline, leg))

    async def _open_inbound(self, outline: Outline, leg: ILeg) -> None:
        self.sessions.expect(outline.session)
        try:
            target = await self._dial_target(self.sessions.seconds)
        except CancelledError:
            # Nobody waits for it any more: the target may be well.
            self.sessions.forget(outline.session)
            raise
        except Exception as error:
            self.sessions.forget(outline.session)
            self.events.emit(
                "station.unreachable",
                cause=Cause.TARGET_CONNECT,
                message=self.target_failure,
                host=self.target.host,
                port=self.target.port,
                session=outline.session,
            )
            raise StationUnreachable(rule=Cause.TARGET_CONNECT, message="the target is not reachable") from error
        self.sessions.couple(outline, near=target, tunnel=leg, inward=False)

    async def _dial_target(self, closing: float) -> ConnectionLeg:
        """Connect to the target; where that fails, it is noted why.

        :param closing: seconds that closing the connection may take.
        :raises CancelledError: if it is given up.
        """
        try:
            factory = LegFactory(self.clock, closing)
            lookup = Lookup(dialling(self.clock))
            endpoint = self._endpoint(lookup, self.target.host, self.target.port)

            def silent(result: object, seconds: float) -> NoReturn:
                lookup.late(self.target.host, seconds)
                raise TimeoutError(f"it did not accept the connection within {seconds} s")

            connecting = connect(endpoint, factory)
            target: ConnectionLeg = await connecting.addTimeout(TARGET_SECONDS, self.clock, silent)
        except CancelledError:
            raise
        except Exception as error:
            self.target_failure = str(error) or type(error).__name__
            self._lookout.failed()
            raise
        self.target_failure = None
        return target

    async def _call_target(self) -> None:
        """Connect to the target, though no connection wants it, and disconnect."""
        with contextlib.suppress(Exception):
            (await self._dial_target(limits.CLOSING.default)).finish()

    def event(self, control: ClientControl, fields: Mapping[str, Plain]) -> None:
        """Do nothing: there is no backend to carry the server's events to."""

    def crl_url_seen(self, url: str, ca: str) -> None:
        """Never called: a plain server verifies no certificates."""

    # Local programs.

    async def reach(self, destination: HostPort, local: RequesterLeg) -> None:
        """Carry a local program's connection to a destination outside.

        :raises SessionFault: if it is not reached.
        :raises TunnelFault: when the server does not answer.
        """
        control = self.tunnel.control
        if control is None:
            raise TunnelLost(rule=Cause.TUNNEL_NONE, message="the tunnel to the server is down")
        outline = Outline(session=secrets.token_hex(8), peer=local.peer, direction="outbound")
        wish = CallWish(way=Way(local.way), caller=local.peer, host=destination.host, port=destination.port)
        self.sessions.expect(outline.session)
        try:
            leg = await self.lane.attach(await control.call(outline.session, "", wish))
        finally:
            self.sessions.forget(outline.session)
        if local.connected:
            local.accept()
        self.sessions.couple(outline, near=local, tunnel=leg, inward=False)


@attrs.define(eq=False)
class Outgoing:
    """One port for local programs.

    :ivar listen_at: the address and the port to listen on.
    :ivar destination: where all connections of this port go; ``None`` where programs name it.
    """

    listen_at: HostPort
    destination: HostPort | None = None
    _service: PlainClientService | None = attrs.field(default=None, init=False)

    def listen(self, service: PlainClientService) -> IListeningPort:
        """Open the port.

        :raises CannotListenError: when it cannot be opened.
        """
        self._service = service
        factory = RequesterFactory(
            service.clock,
            self,
            seconds=REQUEST_SECONDS,
            closing=lambda: service.sessions.seconds,
            dialogue=either_way if self.destination is None else None,
        )
        port = listen_at(service.clock, factory, self.listen_at.host, self.listen_at.port)
        host: Any = port.getHost()
        mode = "outgoing" if self.destination is None else f"forward to {self.destination}"
        service.events.emit("listener.opened", address=host.host, port=host.port, mode=mode)
        return port

    @property
    def _client(self) -> PlainClientService:
        assert self._service is not None, "no program asks before the port is open"
        return self._service

    # RequesterHost

    def requested(self, leg: RequesterLeg, target: Target | None) -> None:
        """A program wants a destination."""
        destination = self.destination
        if target is not None and target.port is not None:
            destination = HostPort(target.host, target.port)
        if destination is None:
            self._refuse(leg, ConnectFailure.NOT_ALLOWED, Cause.REQUEST_MALFORMED, "the port is missing")
            return
        reaching = Deferred.fromCoroutine(self._client.reach(destination, leg))
        reaching.addErrback(self._not_reached, leg)

    def malformed(self, leg: RequesterLeg, cause: str) -> None:
        """A program's request is malformed."""
        self._tell(leg, Cause.REQUEST_MALFORMED, cause)

    def left(self, leg: RequesterLeg, cause: str) -> None:
        """A program disconnected before it was coupled; what it sent before still reaches its destination."""

    def _not_reached(self, failure: Failure, leg: RequesterLeg) -> None:
        fault = failure.value
        if isinstance(fault, SessionFault):
            self._refuse(leg, failure_of(fault), fault.rule, fault.message)
        elif isinstance(fault, TunnelFault):
            self._refuse(leg, ConnectFailure.NOT_READY, Cause.TUNNEL_LOST, str(fault))
        else:
            self._client.events.failure("smartproxy.plain.client", failure)
            leg.abort()

    def _refuse(self, leg: RequesterLeg, failure: ConnectFailure, cause: str, message: str) -> None:
        leg.refuse(failure, failure.value)
        self._tell(leg, cause, message)

    def _tell(self, leg: RequesterLeg, cause: str, message: str) -> None:
        self._client.events.emit("connection.refused", peer=leg.peer, cause=cause, message=message)
