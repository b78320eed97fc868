"""The server's worker: TLS and OFTP2 with partners, for connections that its supervisor accepted.

Duty: carry sessions as a server that is one process does, with the same code; ask the supervisor what only it knows:
whether there is a place, which client carries a session, and the client's answer. Issues the tickets of its sessions
itself, and judges the clients' certificates on the data connections that are handed to it. Has no licence, no control
connection, no log and no port.
"""

import math
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from smartproxy.net.driver import SessionDriver
from smartproxy.net.leg import ILeg, Why
from smartproxy.net.transport.sockets import adopt
from smartproxy.policy.addresses import HostPort, prefix_of
from smartproxy.policy.admission import Admission
from smartproxy.policy.callbacks import nothing
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ServerConfiguration, parse_server_part
from smartproxy.policy.faults import TunnelLost
from smartproxy.policy.penalties import Fault, Penalties
from smartproxy.relay.ending import Summary
from smartproxy.relay.openings import CallWish, Opening, SessionFacts, Way
from smartproxy.server.accept import Gate
from smartproxy.server.dial.partner_calls import PartnerCalls
from smartproxy.server.dial.sources import Sources
from smartproxy.server.generation import ServerGeneration
from smartproxy.server.sessions import PartnerFactory, PartnerSessions
from smartproxy.server.words import (
    Assign,
    BeginCall,
    Blame,
    BondOver,
    CallPartner,
    ClientCame,
    ClientWent,
    DataCame,
    DataProved,
    Displaced,
    EndCall,
    Forget,
    Left,
    NoPlace,
    OpenInside,
    PartnerCame,
    Prove,
    PutInForce,
    SourceGone,
    Spoke,
)
from smartproxy.tunnel.boxes import Plain
from smartproxy.tunnel.contexts import PeerRefused, ServerContext
from smartproxy.tunnel.control import Answer, Responder
from smartproxy.tunnel.desk import Desk, is_withdrawn, no_control
from smartproxy.tunnel.entrance import Entrance
from smartproxy.tunnel.faults import Closing, OpeningFailed
from smartproxy.tunnel.identity import Identity
from smartproxy.tunnel.kinds import SMART
from smartproxy.tunnel.port import TunnelPort
from smartproxy.tunnel.vocabulary import SeenCrlUrl, TunnelCommand
from smartproxy.workers.link import Link
from smartproxy.workers.worker import Worker


def _denial(failure: Failure) -> object:
    """The refusal that the supervisor told."""
    failure.trap(NoPlace)
    assert isinstance(failure.value, NoPlace)
    raise failure.value.denied


class DistantVisit:
    """A connection that the supervisor admitted, and counts.

    :param number: which one.
    :param left: told that it is over.
    """

    __slots__ = ("_gone", "_link", "_number", "_told_left", "displaced", "known", "prefix")

    def __init__(self, link: Link, number: int, prefix: str, *, known: bool, left: Callable[[int], object]) -> None:
        self.prefix = prefix
        self.known = known
        self.displaced: Callable[[], object] = nothing
        self._link = link
        self._number = number
        self._gone = False
        self._told_left = left

    def speak(self, displaced: Callable[[], object]) -> None:
        """The connection is in the handshake."""
        self.displaced = displaced
        self._link.tell(Spoke, visit=self._number)

    def prove(self, partner: str) -> Deferred[object]:
        """Ask whether the connection may be a session of this partner; fails with ``Denied`` if not."""
        self.displaced = nothing
        return self._link.ask(Prove, visit=self._number, partner=partner).addErrback(_denial)

    def leave(self) -> None:
        """The connection is over; a second call has no effect."""
        if not self._gone:
            self._gone = True
            self.displaced = nothing
            self._told_left(self._number)
            self._link.tell(Left, visit=self._number)


class DistantGate(Gate):
    """Reports what a worker sees of connections; the supervisor counts faults, and decides."""

    def __init__(self, worker: Worker) -> None:
        empty = ServerConfiguration()
        super().__init__(worker.reactor, worker.events, Admission(limits=empty.limits), Penalties(empty.penalties))
        self._link = worker.link

    def adopt(self, server: ServerConfiguration) -> None:
        """Bound the events of strangers, as the supervisor does for all workers together."""
        self._events.limit_strangers(server.limits.strangers_events)

    def fault(self, host: str, fault: Fault) -> None:
        """Tell the supervisor of a fault."""
        self._link.tell(Blame, host=host, fault=fault)


class DistantAdmission:
    """The places for calls, which the supervisor counts."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def begin_call(self, partner: str) -> Deferred[object]:
        """Reserve a place; fails with ``Denied`` if there is none."""
        return self._link.ask(BeginCall, partner=partner).addErrback(_denial)

    def end_call(self, partner: str, fault: Fault | None = None) -> None:
        """Release the place, and tell of the partner's fault."""
        self._link.tell(EndCall, partner=partner, fault=fault)


class DistantSources(Sources):
    """The source addresses, which the supervisor watches."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker.reactor, worker.events, nothing)
        self._link = worker.link

    def adopt(self, server: ServerConfiguration) -> None:
        """Nothing: the supervisor looks."""

    def report(self, address: str, names: Any) -> None:
        """A call found that an address is missing."""
        for name in names:
            self._link.tell(SourceGone, address=address, partner=name)


class WorkerSessions(PartnerSessions):
    """The sessions of one worker, which the supervisor is told of."""

    worker: Worker

    def prepare(self, session: str, opening: Opening, initiator: ILeg, **more: Any) -> SessionDriver:
        """Tell that a session begins; the rest is as in one process."""
        self.worker.began(session, opening)
        return super().prepare(session, opening, initiator, **more)


class ServerCraft:
    """What a worker of the server does.

    :param identity: the key with which the tunnel proves the server.
    :param authority: PEM of the authority's certificate, from the licence.
    """

    sessions: WorkerSessions

    def __init__(self, worker: Worker, identity: Identity, authority: str) -> None:
        self._worker = worker
        self._link = worker.link
        self._context = ServerContext(identity, authority, SMART.protocols)
        self._port = TunnelPort(worker.reactor, worker.events, self._context, self._admit)
        self._port.met = lambda host: self._link.tell(DataProved, host=host)
        self._desks: dict[str, Desk] = {}
        self._withdrawn: dict[str, int] = {}
        self._visits: dict[int, DistantVisit] = {}
        # One for all connections.
        self._visit_over: Callable[[int], object] = lambda visit: self._visits.pop(visit, None)
        self.sessions = WorkerSessions(
            clock=worker.reactor,
            events=worker.events,
            gate=DistantGate(worker),
            open_inside=self._open_inside,
            finished=self._finished,
            crl_url_seen=lambda url, ca: self._link.tell(SeenCrlUrl, url=url, ca=ca),
        )
        self.sessions.worker = worker
        self._factory = PartnerFactory(self.sessions)
        self._calls = PartnerCalls(
            reactor=worker.reactor,
            events=worker.events,
            sessions=self.sessions,
            admission=DistantAdmission(self._link),
            withdrawals=self.sessions.withdrawals,
            unused=worker.session_over,
            crl_urls=self.sessions.tell_crl_urls,
            sources=DistantSources(worker),
        )

    # Craft

    def start(self, facts: Mapping[str, Plain]) -> None:
        """Nothing is needed before the configuration."""

    def responders(self) -> Mapping[type[TunnelCommand], Responder]:
        """What answers the supervisor."""
        return {
            PutInForce: self._put_in_force,
            Forget: self._forget,
            PartnerCame: self._partner_came,
            DataCame: self._data_came,
            Displaced: self._displaced,
            ClientCame: self._client_came,
            BondOver: self._context.release,
            ClientWent: self._client_went,
            CallPartner: self._call_partner,
        }

    # The configuration.

    def _put_in_force(self, generation: int) -> None:
        with open(self._link.take_descriptor(), "rb") as document:
            # Read at its place: all workers share one position.
            part = parse_server_part(os.pread(document.fileno(), os.fstat(document.fileno()).st_size, 0))
        if part.server.identities:
            built = ServerGeneration.build(part, lambda: datetime.now(UTC))
            self.sessions.adopt(built)
            self._calls.adopt(built)
        else:
            self.sessions.forget(part)
            self._calls.forget()

    def _forget(self) -> None:
        self.sessions.forget()
        self._calls.forget()

    # Partners' connections.

    def _partner_came(self, visit: int, host: str, port: int, known: int, age: int) -> None:
        connection = self._link.take_socket()
        entered = DistantVisit(self._link, visit, prefix_of(host), known=bool(known), left=self._visit_over)
        self._visits[visit] = entered
        door = self.sessions.take_over(entered, HostPort(host, port), age / 1000, self._factory.secure)
        if door is None:
            connection.close()
        else:
            adopt(self._worker.reactor, connection, host, port, lambda address: door)

    def _displaced(self, visit: int) -> None:
        entered = self._visits.get(visit)
        if entered is not None:
            displaced = entered.displaced
            # The supervisor knows it until it has left, whatever becomes of it here.
            entered.leave()
            displaced()

    # The tunnel.

    def _client_came(
        self,
        client: str,
        since: int,
        until: int,
        subject: bytes,
        withdrawn: int | None,
        bond: bytes | None,
        key: bytes | None,
    ) -> None:
        """A client is connected, or a newer process of one that is: its data connections go on."""
        if withdrawn is None:
            self._withdrawn.pop(client, None)
        else:
            self._withdrawn[client] = withdrawn
        if bond is not None and key is not None:
            self._context.bind(bond, key, self._context.told(client, since, until, subject.decode("utf-8", "replace")))
        if client not in self._desks:
            self._desks[client] = Desk(client, self._worker.reactor, self._worker.events, worker=self._worker.number)

    def _client_went(self, client: str, cause: Cause, message: str) -> None:
        self._withdrawn.pop(client, None)
        desk = self._desks.pop(client, None)
        if desk is not None:
            fault = TunnelLost(rule=Cause.TUNNEL_LOST, message=f"the tunnel is down: {message}")
            desk.stop(Closing(cause, message), fault)

    def _data_came(self, host: str, port: int, known: int) -> None:
        if known:
            self._port.know(host)
        adopt(self._worker.reactor, self._link.take_socket(), host, port, self._port.buildProtocol)

    def _admit(self, entrance: Entrance) -> IProtocol:
        client = self._context.bound(entrance.connection) or self._context.verified(entrance.connection)
        if entrance.connection.get_alpn_proto_negotiated() != SMART.data:
            raise PeerRefused(
                cause=Cause.TUNNEL_PROTOCOL,
                message="the client asks a worker for another connection than one for data",
                subject=client.subject,
            )
        desk = self._desks.get(client.name)
        if desk is None:
            raise no_control(client)
        if client.not_before.timestamp() <= self._withdrawn.get(client.name, -math.inf):
            raise is_withdrawn(client)
        connection: IProtocol = desk.admit(client, entrance, SMART)
        return connection

    def _open_inside(self, session: str, facts: SessionFacts, why: Why) -> Deferred[ILeg]:
        return Deferred.fromCoroutine(self._open(session, facts, why))

    async def _open(self, session: str, facts: SessionFacts, why: Why) -> ILeg:
        try:
            assigned = await self._link.ask(Assign, session=session)
            desk = self._desks.get(assigned["client"])
            if desk is None:
                raise TunnelLost(rule=Cause.TUNNEL_LOST, message=Cause.TUNNEL_LOST.meaning)
            seconds = float(assigned["seconds"])

            def ask(ticket: bytes) -> Awaitable[object]:
                told = attrs.asdict(facts, recurse=False)
                return self._link.ask(OpenInside, seconds=seconds + 1.0, session=session, ticket=ticket, **told)

            return await desk.open_inbound(session, seconds, ask, why)
        except OpeningFailed as failed:
            raise failed.fault from failed

    def _call_partner(self, session: str, client: str, partner: str, deadline: int, **wish: Any) -> Deferred[Answer]:
        return Deferred.fromCoroutine(self._call(session, client, partner, deadline, CallWish(**wish)))

    async def _call(self, session: str, client: str, partner: str, deadline: int, wish: CallWish) -> Answer:
        desk = self._desks.get(client)
        if desk is None:
            raise OpeningFailed(TunnelLost(rule=Cause.TUNNEL_LOST, message=Cause.TUNNEL_LOST.meaning))
        trial = wish.way is Way.TRIAL
        ticket = await desk.open_outbound(session, deadline, lambda: self._calls.open(session, partner, trial=trial))
        return {"ticket": ticket}

    def _finished(self, summary: Summary) -> None:
        self._worker.session_over(summary.session)
