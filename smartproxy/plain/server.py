"""The plain server in the DMZ.

Duty: listen for plain clients in the tunnel, have the external port open only while one is connected, pass each
connection to the least loaded client, and dial permitted destinations for clients. Inspects nothing; dials nothing
inside. Trusts its licence's authority, and through it its clients.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import TimeoutError
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure

from smartproxy.logs.severity import Severity
from smartproxy.net.connection import ConnectionLeg, LegFactory
from smartproxy.net.leg import ILeg, address_text
from smartproxy.net.listeners import Listeners
from smartproxy.net.proxying.ways import PORTS
from smartproxy.net.transport.endpoints import Lookup, connect
from smartproxy.net.transport.sockets import dialling
from smartproxy.oftp2.errors import SessionFault
from smartproxy.plain.destinations import NotPermitted, Permit, fault_of
from smartproxy.plain.sessions import Outline, PlainSessions
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ConfigurationRefused, GenerationId
from smartproxy.policy.faults import ClosedByClient, Draining, OwnFault, StationUnreachable
from smartproxy.policy.licence import Licence
from smartproxy.policy.settings import Listener
from smartproxy.relay.openings import CallWish, SessionFacts
from smartproxy.tunnel.dmz import NO_CLIENT, DmzService
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.identity import Identity
from smartproxy.tunnel.kinds import plain
from smartproxy.tunnel.server_control import ServerControl

_LICENCE_ADVICE = (
    "issue it again: smartproxy licence issue {} --until DATE; put it in place, which this server sees within seconds"
)


class _Outer(ConnectionLeg):
    """The leg of a connection from outside; not read before it is coupled with one inside."""

    def __init__(self, service: "PlainServerService") -> None:
        super().__init__(service.clock, service.sessions.seconds)
        self._service = service

    def connectionMade(self) -> None:
        """A connection came from outside."""
        super().connectionMade()
        self.pause()
        self._service.connected(self)


class _OuterFactory(ServerFactory):
    noisy = False

    def __init__(self, service: "PlainServerService") -> None:
        self._service = service

    def buildProtocol(self, address: IAddress | None) -> _Outer | None:
        """A leg, unless there are too many or no client is connected."""
        peer = address_text(address)
        return _Outer(self._service) if self._service.takes(peer) else None


class PlainServerService(DmzService):
    """The plain server.

    :param reactor: listens, dials and tells the time.
    :param internal: where to listen for clients; an empty host means all addresses.
    :param external: where to listen for connections from outside; likewise.
    :param permit: the destinations that clients may reach.
    :param seconds: the idle time after which a session ends.
    :param most: sessions at once.
    :param drain: how many seconds sessions may go on when the daemon is to end.
    :param endpoint: how to dial a host and a port.
    :ivar sessions: the sessions that are not over.
    """

    sessions: PlainSessions

    def __init__(
        self,
        reactor: Any,
        *,
        identity: Identity,
        licence: Licence,
        licence_path: Path,
        internal: HostPort,
        external: HostPort,
        permit: Permit,
        seconds: float,
        most: int = limits.SESSIONS.default,
        drain: int = limits.DRAIN.default,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        endpoint: Callable[[Any, str, int], IStreamClientEndpoint] = HostnameEndpoint,
    ) -> None:
        super().__init__(
            reactor,
            user=self,
            name="plain-server",
            identity=identity,
            licence=licence,
            licence_path=licence_path,
            listen=internal,
            kind=plain(seconds),
            advice=_LICENCE_ADVICE,
            now=now,
        )
        self.events.callers_unknown = True
        self.drain_seconds: int | None = drain
        self._external = Listener(address=external.host, port=external.port)
        self._permit = permit
        self._endpoint = endpoint
        self._most = most
        self.sessions = PlainSessions(reactor, self.events, seconds=seconds, most=self._licensed())
        self.listeners = Listeners(reactor, lambda: _OuterFactory(self), self.events)

    @property
    def missing(self) -> tuple[Listener, ...]:
        """The external port, where it has to be open and could not be opened."""
        wanted = self.running and bool(self.tunnel.controls) and self._external not in self.listeners.open
        return (self._external,) if wanted else ()

    # DmzService

    def licence_renewed(self) -> None:
        """Another licence is in force: its limit holds from the next session on."""
        self.sessions.most = self._licensed()
        super().licence_renewed()

    def _licensed(self) -> int:
        return min(self._most, self.licence.present.limits.get("sessions", self._most))

    def drain_time(self) -> float:
        """Seconds that sessions may go on when the end begins."""
        return (self.drain_seconds or 0) if self.sessions.live else 0

    def closing_time(self) -> float:
        """Seconds that closing may take: sessions are aborted."""
        return 0

    # Connections from outside.

    def takes(self, peer: str) -> bool:
        """Whether a connection from outside can be accepted; an event tells why not."""
        fault = self._fault()
        if fault is not None:
            self.events.emit("connection.refused", peer=peer, cause=fault.rule, message=fault.message)
        return fault is None

    def _fault(self) -> OwnFault | None:
        if not self.tunnel.controls:
            return StationUnreachable(rule=Cause.TUNNEL_NONE, message=NO_CLIENT)
        return self.licence.fault() or self.sessions.room()

    def connected(self, outer: _Outer) -> None:
        """Have a client dial its target, and couple the two connections."""
        outline = Outline(session=secrets.token_hex(8), peer=outer.peer, direction="inbound")
        opening = Deferred.fromCoroutine(self._open_inside(outer, outline))
        opening.addErrback(self._not_opened, outer, outline)

    async def _open_inside(self, outer: _Outer, outline: Outline) -> None:
        control = self.tunnel.least_loaded()
        if control is None:
            raise StationUnreachable(rule=Cause.TUNNEL_NONE, message=NO_CLIENT)
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
        self.events.emit("session.failed", cause=fault.rule, message=fault.message, **attrs.asdict(outline))

    # ServerUser

    def tunnel_up(self, control: ServerControl) -> None:
        """A client is connected: open the external port."""
        self._await_outside()

    def tunnel_down(self, control: ServerControl, why: Closing) -> None:
        """A client is disconnected: close the external port with the last one."""
        self._await_outside()

    def drain(self, control: ServerControl) -> None:
        """A client takes no new sessions."""
        self._await_outside()

    def _await_outside(self) -> None:
        """Have the external port open exactly while a client is connected."""
        able = self.running and bool(self.tunnel.controls)
        self.listeners.have((self._external,) if able else (), NO_CLIENT, Cause.TUNNEL_NONE)

    @property
    def in_force(self) -> GenerationId:
        """None: a plain server is configured by its command line."""
        return GenerationId()

    def configuration_arrived(self, control: ServerControl, generation: GenerationId, octets: bytes) -> None:
        """Refuse: a plain server is configured by its command line.

        :raises ConfigurationRefused: always.
        """
        raise ConfigurationRefused(
            where="document", cause=Cause.DOCUMENT_VALUE, message="a plain server takes no configuration"
        )

    def close_session(self, control: ServerControl, session: str) -> None:
        """End a session."""
        self.sessions.close(session, ClosedByClient(rule=Cause.SESSION_CLOSED, message="closed by the client"))

    def set_level(self, control: ServerControl, level: Severity) -> None:
        """Change what is logged."""
        self.events.set_level(
            level,
            cause=Cause.OPERATOR_COMMAND,
            message="asked by the client",
            client=control.client_name,
        )

    def open_outbound(
        self, control: ServerControl, session: str, partner: str, wish: CallWish
    ) -> Deferred[Callable[[ILeg | None], None]]:
        """Dial a destination for a client, if it is permitted."""
        outline = Outline(session=session, peer=wish.caller or "inside", direction="outbound")
        return Deferred.fromCoroutine(self._dial(control, outline, HostPort(wish.host or "", wish.port or 0)))

    async def _dial(
        self, control: ServerControl, outline: Outline, destination: HostPort
    ) -> Callable[[ILeg | None], None]:
        if destination.port not in PORTS or not self._permit.allows(destination):
            raise self._not_permitted(control, outline, destination)
        if self.draining:
            raise Draining(rule=Cause.DAEMON_STOPPING, message="the server is about to stop")
        fault = self.licence.fault()
        if fault is not None:
            raise fault
        self.sessions.expect(outline.session)
        try:
            dialled = LegFactory(self.clock, self.sessions.seconds)
            lookup = Lookup(dialling(self.clock))
            endpoint = self._endpoint(lookup, destination.host, destination.port)

            def no_answer(result: object, seconds: float) -> NoReturn:
                lookup.late(destination.host, seconds)
                raise TimeoutError

            outer = await connect(endpoint, dialled).addTimeout(limits.CALL_CONNECT_SECONDS, self.clock, no_answer)
        except CancelledError:
            self.sessions.forget(outline.session)
            raise
        except Exception as error:
            self.sessions.forget(outline.session)
            fault = fault_of(error, destination)
            self.events.emit(
                "session.failed",
                cause=fault.rule,
                message=fault.message,
                client=control.client_name,
                **attrs.asdict(outline),
            )
            raise fault from error
        outer.pause()

        def take(inner: ILeg | None) -> None:
            if inner is None:
                self.sessions.forget(outline.session)
                outer.abort()
            else:
                self.sessions.couple(outline, near=outer, tunnel=inner, inward=True)

        return take

    def _not_permitted(self, control: ServerControl, outline: Outline, destination: HostPort) -> StationUnreachable:
        """Tell that a destination may not be dialled; the fault that says so to the client."""
        fault = fault_of(NotPermitted(), destination)
        self.events.emit(
            "connection.refused",
            peer=outline.peer,
            cause=fault.rule,
            message=f"{destination} is not permitted",
            client=control.client_name,
            advice="to permit it, start the server with --permit HOST:PORT",
        )
        return fault
