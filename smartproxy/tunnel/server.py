"""The server's end of the tunnel: one port, several clients, two kinds of connections.

Duty: admit clients with a certificate of the licence's authority, and no others; give every name one control
connection; carry events. A port scan, a peer that is slow or of the wrong protocol, and clients that are refused end
here, counted and timed. Dials nothing. Trusts the licence's authority certificate.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.python.failure import Failure

from smartproxy import __version__
from smartproxy.logs.carrier import BatchFailed, Carrier, Document, is_urgent
from smartproxy.logs.emit import Events
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.decoding import Undecodable
from smartproxy.policy.faults import TunnelLost
from smartproxy.policy.loads import ToldLoad
from smartproxy.policy.versions import Part, PartsApart, agree
from smartproxy.relay.openings import CallWish
from smartproxy.tunnel.bond import Bond
from smartproxy.tunnel.boxes import line
from smartproxy.tunnel.contexts import PeerRefused, ServerContext, VerifiedClient
from smartproxy.tunnel.credential import challenge_of
from smartproxy.tunnel.data import DataConnection
from smartproxy.tunnel.desk import is_withdrawn, no_control
from smartproxy.tunnel.entrance import Entrance
from smartproxy.tunnel.faults import (
    Closing,
    NameTaken,
    QuestionFailed,
    TunnelFault,
    VersionsIncompatible,
    Violation,
)
from smartproxy.tunnel.identity import Identity
from smartproxy.tunnel.kinds import SMART, TunnelKind
from smartproxy.tunnel.port import TunnelPort
from smartproxy.tunnel.server_control import Call, Registry, ServerControl, ServerUser
from smartproxy.tunnel.vocabulary import Report


class ServerTunnel:
    """All clients of one server.

    :param clock: ``callLater``'s owner; with :func:`~smartproxy.logs.clock.make_steady` in a daemon.
    :param identity: the server's key.
    :param authority: PEM of the authority's certificate, from the licence.
    :param user: the daemon.
    :param events: where everything is told.
    :param version: this program's version.
    :param kind: which kind of tunnel it is.
    :param withdrawn: whether a client's certificate is withdrawn; :meth:`shut_out` when that has changed.
    :ivar call: calls a partner for a client; the ticket.
    :ivar load: what clients are told of this server's load.
    :ivar context: TLS with clients.
    :ivar factory: what the tunnel's port listens with.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        identity: Identity,
        authority: str,
        user: ServerUser,
        events: Events,
        version: str = __version__,
        kind: TunnelKind = SMART,
        withdrawn: Callable[[VerifiedClient], bool] = lambda client: False,
    ) -> None:
        self._withdrawn = withdrawn
        self._workers: tuple[int, ...] = ()
        self._kind = kind
        self._proxy_id = identity.proxy_id
        self._clock = clock
        self._user = user
        self._events = events
        self._part = Part(program=kind.server, version=version)
        self.context = ServerContext(identity, authority, kind.protocols)
        self._controls: set[ServerControl] = set()
        self._named: dict[str, ServerControl] = {}
        self._up: set[ServerControl] = set()
        self._reports = Carrier(self._send_reports, clock, self._dropped, urgent=is_urgent)
        self.call: Call = self._call_partner
        self.load: Callable[[], ToldLoad] = ToldLoad
        self._registry = Registry(
            call=lambda *asked: self.call(*asked),
            welcome=self._welcome,
            up=self._control_up,
            down=self._control_down,
            recognize=self._recognize,
            renewed=self._bind,
            shared=self._shared,
            load=lambda: self.load(),
        )
        self.factory = TunnelPort(clock, events, self.context, self._admit)

    # For the daemon.

    @property
    def controls(self) -> tuple[ServerControl, ...]:
        """The clients that take new sessions: of one with several processes, the newest."""
        return tuple(control for control in self._up if control.ready and self.named(control.client_name) is control)

    def least_loaded(self) -> ServerControl | None:
        """The client that the next session goes to, if there is one."""
        return min(self.controls, key=lambda control: control.load, default=None)

    def tell_workers(self, workers: Iterable[int]) -> None:
        """Tell the clients of the server's workers, which data connections are for."""
        self._workers = tuple(workers)
        for control in self._up:
            control.tell_workers(self._workers)

    def named(self, name: str) -> ServerControl | None:
        """The client of a name, if it is connected."""
        return self._named.get(name)

    def report(self, event: Document) -> None:
        """Carry an event to the backend, soon or when a client is there."""
        self._reports.add(event)

    def flush(self, seconds: float) -> Deferred[None]:
        """Carry what waits now; fires when all of it arrived, when it cannot be carried, or after *seconds*."""
        return self._reports.flush(seconds)

    def shut_out(self) -> None:
        """End the tunnels of clients whose certificates are withdrawn."""
        for control in list(self._controls):
            if self._withdrawn(control.client):
                control.close(Closing(Cause.TUNNEL_WITHDRAWN, Cause.TUNNEL_WITHDRAWN.meaning))

    def moved(self) -> None:
        """Send the clients to the process that listens at the tunnel's port from now on."""
        for control in self.controls:
            control.moved()

    def stop(self, message: str) -> None:
        """Admit no more connections, and end all that there are."""
        self._reports.stop()
        self.factory.stop(PeerRefused(cause=Cause.TUNNEL_STOPPED, message=message))
        for control in list(self._controls):
            control.close(Closing(Cause.TUNNEL_STOPPED, message))

    # The entrance.

    def _admit(self, entrance: Entrance) -> IProtocol:
        """The protocol that the client asks for."""
        connection = entrance.connection
        protocol = connection.get_alpn_proto_negotiated()
        bound = self.context.bound(connection) if protocol == self._kind.data else None
        client = bound or self.context.verified(connection)
        if self._withdrawn(client):
            raise is_withdrawn(client)
        if protocol == self._kind.control:
            control = ServerControl(self._registry, self._user, client, entrance.peer, self._clock, self._events)
            control.bond, control.challenge = Bond.of(connection, self._proxy_id), challenge_of(connection)
            self._controls.add(control)
            return control
        if protocol == self._kind.data:
            return self._admit_data(client, entrance)
        raise PeerRefused(
            cause=Cause.TUNNEL_PROTOCOL,
            message="the client asks for neither a control nor a data connection",
            advice=f"connect {self._kind.client} to this port; smartproxy-client and smartproxy-plain-client do not go "
            "with each other's servers",
            subject=client.subject,
        )

    def _admit_data(self, client: VerifiedClient, entrance: Entrance) -> DataConnection:
        control = self._named.get(client.name)
        if control is None:
            raise no_control(client)
        return control.desk.admit(client, entrance, self._kind)

    # For control connections.

    async def _welcome(self, control: ServerControl, oldest: int, newest: int) -> Part:
        """Give a client its name, unless an older connection has it and answers; one that expects it keeps its own."""
        try:
            agree(
                self._part,
                Part(program=self._kind.client, version=control.version, oldest=oldest, newest=newest),
            )
        except PartsApart as apart:
            fault = VersionsIncompatible(str(apart))
            self._refuse(control, Cause.TUNNEL_VERSIONS, fault)
            raise fault from apart
        # Looked up anew after each ping: meanwhile the name may be free, or another connection may have got it.
        while (holder := self._named.get(control.client_name)) is not None and holder.lost is None:
            if holder.yields > self._clock.seconds() and len(self._processes_of(holder)) < limits.CLIENT_PROCESSES_MOST:
                control.succeed(holder)
                break
            if await holder.ping():
                taken = NameTaken(f"a client named {control.client_name} is connected already from {holder.peer}")
                self._refuse(control, Cause.TUNNEL_NAME_TAKEN, taken)
                raise taken
            holder.abort(Closing(Cause.TUNNEL_NEWER, "a newer connection of the same client replaced it"))
        else:
            if control.lost is None:
                self._named[control.client_name] = control
        self._bind(control)
        return self._part

    def _bind(self, control: ServerControl) -> None:
        """Take data connections by a client's bond, as those of its newest certificate."""
        if control.bond is not None and control.lost is None:
            self.context.bind(control.bond.name, control.bond.key(), control.client)

    def _control_up(self, control: ServerControl) -> None:
        """A client is ready."""
        self._up.add(control)
        self._named[control.client_name] = control
        self._events.emit(
            "tunnel.up",
            client=control.client_name,
            peer=control.peer,
            version=self._part.version,
            theirs=control.version,
            subject=control.client.subject,
            not_after=control.client.not_after,
        )
        if self._workers:
            control.tell_workers(self._workers)
        self._call(self._user.tunnel_up, control)
        self._reports.resume()

    def _control_down(self, control: ServerControl, why: Closing) -> None:
        """A client is gone."""
        self._controls.discard(control)
        if control.bond is not None:
            self.context.release(control.bond.name)
        up = control in self._up
        self._up.discard(control)
        if self._named.get(control.client_name) is control:
            del self._named[control.client_name]
            for older in self._processes_of(control):
                self._named[control.client_name] = older
        if up:
            self._events.emit(
                "tunnel.down", client=control.client_name, peer=control.peer, cause=why.cause, message=why.message
            )
            self._call(self._user.tunnel_down, control, why)

    def _processes_of(self, control: ServerControl) -> list[ServerControl]:
        """The connected processes of a client."""
        return [each for each in self._up if each.client_name == control.client_name and each.lost is None]

    def _recognize(self, certificate: bytes, challenge: bytes, proof: bytes) -> VerifiedClient:
        """The client that a certificate is for, judged as one that is shown in a handshake."""
        try:
            client = self.context.recognized(certificate, challenge, proof)
        except (Undecodable, PeerRefused) as error:
            raise Violation(Cause.TUNNEL_UNPROVED, str(error)) from None
        if not self._withdrawn(client):
            return client
        raise Violation(Cause.TUNNEL_WITHDRAWN, Cause.TUNNEL_WITHDRAWN.meaning)

    def _shared(self, control: ServerControl) -> bool:
        return any(each is not control and each.desk is control.desk for each in self._processes_of(control))

    async def _call_partner(
        self, control: ServerControl, session: str, partner: str, seconds: int, wish: CallWish
    ) -> bytes:
        """Have the daemon call a partner, with a data connection of this process."""
        return await control.desk.open_outbound(
            session, seconds, lambda: maybeDeferred(self._user.open_outbound, control, session, partner, wish)
        )

    def _refuse(self, control: ServerControl, cause: Cause, fault: TunnelFault) -> None:
        self._events.emit(
            "tunnel.refused",
            cause=cause,
            client=control.client_name,
            peer=control.peer,
            message=str(fault),
            ours=self._part.version,
            theirs=control.version,
        )

    async def _send_reports(self, batch: Sequence[Document]) -> int:
        """Send as many events as fit in one question through any connected client; how many are done with."""
        piece: list[bytes] = []
        size = taken = too_large = 0
        for event in batch:
            try:
                octets = line(event)
            except (TypeError, ValueError):
                too_large += 1
            else:
                if piece and size + len(octets) >= limits.REPORTS_OCTETS:
                    break
                piece.append(octets)
                size += len(octets) + 1
            taken += 1
        if piece:
            await self._send_piece(piece)
        if too_large:
            self._drop(too_large, Cause.TUNNEL_EVENT_SIZE)
        return taken

    async def _send_piece(self, piece: list[bytes]) -> None:
        control = next((each for each in self._up if each.lost is None), None)
        if control is None:
            raise TunnelLost(rule=Cause.TUNNEL_NONE, message="no client is connected")
        try:
            await control.ask(Report, events=piece)
        except QuestionFailed as failed:
            raise BatchFailed(str(failed)) from failed

    def _dropped(self, count: int) -> None:
        self._drop(count, Cause.TUNNEL_EVENTS_MANY)

    def _drop(self, count: int, cause: Cause) -> None:
        self._events.emit("events.dropped", count=count, cause=cause, message=cause.meaning, daemon="server")

    def _call(self, call: Callable[..., Any], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception:
            self._events.failure("smartproxy.tunnel.server", Failure())
