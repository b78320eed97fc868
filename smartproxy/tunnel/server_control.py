"""The server's end of one client's control connection, with the data connections that belong to it.

Duty: answer the client's questions, ask it to open sessions, issue tickets and match data connections with them. A
fault of an opening keeps its class on the way, whichever daemon raised it. Everything here ends with the control
connection: questions, tickets, and the sessions on its data connections. Trusts the client to be the one that its
certificate names, and nothing more.
"""

import hashlib
import secrets
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any
from typing import Protocol as Shape

import attrs
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline
from smartproxy.net.leg import ILeg
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import GenerationId
from smartproxy.policy.faults import PartnerUnreachable, StationUnreachable, Step, TunnelLost
from smartproxy.policy.versions import Part
from smartproxy.relay.openings import CallWish, SessionFacts
from smartproxy.tunnel.chunks import Assembly, Chunk
from smartproxy.tunnel.contexts import VerifiedClient
from smartproxy.tunnel.control import Answer, BoundedAMP, Responder
from smartproxy.tunnel.data import DataConnection, DataLeg
from smartproxy.tunnel.faults import (
    Closing,
    NotNow,
    OpeningFailed,
    QuestionExpired,
    QuestionFailed,
    TunnelFault,
    Violation,
)
from smartproxy.tunnel.marks import TICKET_OCTETS
from smartproxy.tunnel.vocabulary import (
    CloseSession,
    Configure,
    Drain,
    GenerationState,
    Hello,
    OpenInbound,
    OpenOutbound,
    Ping,
    Report,
    SeenCrlUrl,
    SetLevel,
    Side,
    TunnelCommand,
    TunnelPhase,
)


class ServerUser(Shape):
    """A daemon in the DMZ, as its end of the tunnel sees it.

    It is told exactly once that a client connected, and exactly once that it is gone. An exception that a call does not
    document is a bug: it is reported as one and ends nothing else.
    """

    def tunnel_up(self, control: "ServerControl") -> None:
        """A client is connected and takes sessions."""

    def tunnel_down(self, control: "ServerControl", why: Closing) -> None:
        """The client is disconnected; its sessions' legs are lost."""

    def configuration_arrived(self, control: "ServerControl", generation: GenerationId, octets: bytes) -> None:
        """A newer generation arrived complete: put it in force.

        :raises DocumentRefused: if it cannot be put in force.
        """

    def close_session(self, control: "ServerControl", session: str) -> None:
        """End this session now, if it still runs."""

    def set_level(self, control: "ServerControl", level: str) -> None:
        """Log at this level from now on."""

    def drain(self, control: "ServerControl") -> None:
        """The client is about to stop: open no new sessions over this tunnel; running ones may finish."""

    def open_outbound(
        self, control: "ServerControl", session: str, partner: str, wish: CallWish
    ) -> Deferred[Callable[[ILeg | None], None]]:
        """Call a partner.

        Fires, when the partner is ready, with what is called once with the leg towards the station, or with ``None``
        if there will be none. Fails with a :class:`smartproxy.oftp2.errors.SessionFault` that says why the partner is
        not ready. Cancelled when the client waits no longer.
        """


@attrs.frozen(kw_only=True)
class Registry:
    """What a control connection asks of the server's tunnel, which knows all clients.

    :ivar held: the generation that the server holds.
    :ivar welcome: gives a client its name, by the oldest and newest protocol that it speaks; returns what the server
        says about itself. Raises
        :class:`VersionsIncompatible` when the two cannot work together, and :class:`NameTaken` when a client of this
        name is here and answers.
    :ivar up: told of a client that is ready.
    :ivar down: told of a client that is gone, whether it was ready or not.
    :ivar configure: takes a generation, or raises :class:`ConfigurationDeclined`.
    """

    held: Callable[[], GenerationId]
    welcome: Callable[["ServerControl", int, int], Coroutine[Any, Any, Part]]
    up: Callable[["ServerControl"], None]
    down: Callable[["ServerControl", Closing], None]
    configure: Callable[["ServerControl", GenerationId, bytes], None]


class ServerControl(BoundedAMP):
    """One client.

    :param clock: ``callLater``'s owner; with :func:`~smartproxy.logs.clock.make_steady` in a daemon.
    :ivar client: what its newest certificate says.
    :ivar client_name: the name in its certificate.
    """

    def __init__(
        self,
        registry: Registry,
        user: ServerUser,
        client: VerifiedClient,
        peer: str,
        clock: IReactorTime,
        events: Events,
    ) -> None:
        super().__init__(Side.SERVER, peer, clock, events)
        self.client_name = client.name
        self.client = client
        self._registry = registry
        self._user = user
        self._assembly = Assembly()
        self._office = TicketOffice()
        self._hello = Deadline(clock, self._no_hello)
        self._expiry = Deadline(clock, self._look)
        self._greeted = False
        self._arrivals: dict[str, Deferred[DataLeg]] = {}
        self._connections: set[DataConnection] = set()
        self._sessions: dict[DataConnection, str] = {}

    @property
    def ready(self) -> bool:
        """Whether it takes new sessions."""
        return self.lost is None and self.asking is TunnelPhase.READY

    @property
    def load(self) -> int:
        """The number of sessions that it carries or opens."""
        return len(self._arrivals) + len(self._sessions)

    def names(self) -> dict[str, object]:
        """The client's name, as fields of events."""
        return {"client": self.client_name}

    # For the daemon.

    def open_inbound(
        self, session: str, facts: SessionFacts, *, seconds: float = limits.OPENING.default
    ) -> Deferred[ILeg]:
        """Open a session inside for a verified partner.

        Fires with the leg towards the station when the station is ready. Fails with the
        :class:`~smartproxy.oftp2.errors.SessionFault` that the client raised, with
        :class:`~smartproxy.policy.faults.TunnelLost`, or with :class:`~smartproxy.policy.faults.StationUnreachable`
        where the client says nothing of use in time. Cancelling it ends what was begun.
        """
        return Deferred.fromCoroutine(self._open_inbound(session, facts, seconds))

    def seen_crl_url(self, url: str, ca: str) -> None:
        """Tell the client of a revocation list that a verified certificate names; its answer is ignored."""
        self.ask(SeenCrlUrl, url=url, ca=ca).addErrback(self._unheard)

    def report(self, events: list[bytes]) -> Deferred[Answer]:
        """Send events, each made by :func:`smartproxy.tunnel.boxes.line`; fires when they arrived."""
        return self.ask(Report, events=events)

    def _unheard(self, failure: Failure) -> None:
        failure.trap(TunnelFault, TunnelLost, CancelledError, ValueError)

    async def _open_inbound(self, session: str, facts: SessionFacts, seconds: float) -> ILeg:
        if self._carries(session):
            raise StationUnreachable(rule=Cause.SESSION_OPEN, message=f"session {session} is open already")
        arrival = self._expect(session)
        ticket = self._office.issue(session, self._clock.seconds())
        told = attrs.asdict(facts, recurse=False)
        try:
            await self.ask(
                OpenInbound, seconds=seconds, session=session, ticket=ticket, deadline=round(seconds), **told
            )
            return await (arrival if arrival.called else arrival.addTimeout(limits.TICKET_SECONDS, self._clock))
        except OpeningFailed as failed:
            self._give_up(session)
            raise failed.fault from failed
        except (QuestionFailed, NotNow) as fault:
            self._give_up(session)
            raise StationUnreachable(rule=Cause.TUNNEL_QUESTION, message=str(fault)) from fault
        except (QuestionExpired, TimeoutError) as fault:
            self._give_up(session)
            message = f"not opened within {seconds:g} s"
            raise StationUnreachable(rule=Cause.DEADLINE_OPENING, message=message) from fault
        except Exception:
            self._give_up(session)
            raise

    def _carries(self, session: str) -> bool:
        return session in self._arrivals or session in self._sessions.values()

    def _expect(self, session: str) -> Deferred[DataLeg]:
        arrival: Deferred[DataLeg] = Deferred()
        self._arrivals[session] = arrival
        return arrival

    def _give_up(self, session: str) -> None:
        """Give up opening this session; its ticket stays valid, so that the session can be ended when it arrives."""
        self._arrivals.pop(session, None)
        for connection, carried in self._sessions.items():
            if carried == session:
                connection.finish()
                return

    # Answering.

    def responders(self) -> Mapping[type[TunnelCommand], Responder]:
        """What answers the client's questions."""
        return {
            Hello: self._answer_hello,
            Configure: self._answer_configure,
            OpenOutbound: self._answer_open_outbound,
            CloseSession: partial(self._user.close_session, self),
            SetLevel: partial(self._user.set_level, self),
            Drain: self._answer_drain,
            Ping: lambda: None,
        }

    def _answer_hello(self, version: str, oldest: int, newest: int) -> Deferred[Answer]:
        if self._greeted:
            raise Violation(Cause.HELLO_TWICE, "the client said Hello twice")
        self._greeted = True
        self.version = version
        return Deferred.fromCoroutine(self._welcome(oldest, newest))

    async def _welcome(self, oldest: int, newest: int) -> Answer:
        ours = await self._registry.welcome(self, oldest, newest)
        return {
            "version": ours.version,
            "oldest": ours.oldest,
            "newest": ours.newest,
            "generation": self._registry.held().number,
        }

    def answered(self, command: type[TunnelCommand]) -> None:
        """After its Hello was answered, and not before, the client may be asked."""
        if command is Hello:
            self._hello.stop()
            self.made_ready()
            self._registry.up(self)

    def _answer_configure(
        self, generation: int, store: str | None, number: int, size: int, digest: bytes, chunk: bytes
    ) -> Answer:
        offered = GenerationId(generation, store)
        if not offered.replaces(self._registry.held()):
            self._assembly.clear()
            return self._holding(GenerationState.OLD)
        piece = Chunk(generation=offered, number=number, size=size, digest=digest, octets=chunk)
        whole = self._assembly.add(piece)
        if whole is None:
            return self._holding(GenerationState.MORE)
        self._registry.configure(self, offered, whole)
        return self._holding(GenerationState.ACCEPTED)

    def _holding(self, state: GenerationState) -> Answer:
        held = self._registry.held()
        return {"state": state, "held": held.number, "store": held.store}

    def _answer_open_outbound(self, session: str, partner: str, deadline: int, **wish: Any) -> Deferred[Answer]:
        return Deferred.fromCoroutine(self._open_outbound(session, partner, deadline, CallWish(**wish)))

    async def _open_outbound(self, session: str, partner: str, deadline: int, wish: CallWish) -> Answer:
        if self._carries(session):
            message = f"session {session} is open already"
            raise OpeningFailed(PartnerUnreachable.at(Step.POLICY, message, Cause.SESSION_OPEN))
        calling = maybeDeferred(self._user.open_outbound, self, session, partner, wish)
        try:
            take = await calling.addTimeout(deadline, self._clock)
        except SessionFault as fault:
            raise OpeningFailed(fault) from fault
        except TimeoutError as fault:
            message = f"the partner was not ready within {deadline} s"
            raise OpeningFailed(PartnerUnreachable.at(Step.CONNECT, message, Cause.DEADLINE_OPENING)) from fault
        arrival = self._expect(session).addTimeout(limits.TICKET_SECONDS, self._clock)
        arrival.addErrback(lambda failure: self._give_up(session)).addCallback(take)
        arrival.addErrback(self._bug, OpenOutbound)
        return {"ticket": self._office.issue(session, self._clock.seconds())}

    def _answer_drain(self) -> None:
        self.asking = self.answering = TunnelPhase.DRAINING
        self._user.drain(self)

    # The connections.

    def connectionMade(self) -> None:
        """The client has proved its identity; it has to say Hello next."""
        self._hello.start(limits.HELLO_SECONDS)
        self._watch_certificate()

    def _watch_certificate(self) -> None:
        """End the tunnel when the newest certificate of the client expires: it has not been renewed."""
        left = (self.client.not_after - now(self._clock)).total_seconds()
        self._expiry.start(min(max(0.0, left), limits.CERTIFICATE_LOOK_SECONDS))

    def _look(self) -> None:
        """End the tunnel if the certificate has expired. The time of day may have been put right meanwhile."""
        if now(self._clock) >= self.client.not_after:
            self._expired()
        else:
            self._watch_certificate()

    def _expired(self) -> None:
        message = "the client's tunnel certificate expired and was not renewed"
        self.close(Closing(Cause.CERTIFICATE_EXPIRED, message))

    def adopt(self, connection: DataConnection, client: VerifiedClient) -> None:
        """A data connection of this client is there; its certificate may be newer than this connection's."""
        self._connections.add(connection)
        if client.not_after > self.client.not_after:
            self.client = client
            self._watch_certificate()

    @property
    def idle(self) -> int:
        """The number of its data connections that carry no session."""
        return len(self._connections) - len(self._sessions)

    def tunnel_lost(self, why: Closing) -> None:
        """The control connection is over, and everything with it."""
        self._hello.stop()
        self._expiry.stop()
        self._assembly.clear()
        arrivals, self._arrivals = self._arrivals, {}
        for arrival in arrivals.values():
            arrival.errback(self.gone())
        for connection in list(self._connections):
            connection.abort(Closing(Cause.TUNNEL_LOST, f"the tunnel is down: {why}"))
        self._registry.down(self, why)

    def data_attached(self, connection: DataConnection, ticket: bytes) -> None:
        """A client's data connection shows a ticket."""
        session = self._office.redeem(ticket, self._clock.seconds())
        if session is None:
            raise Violation(Cause.TICKET_UNKNOWN, "the ticket is not valid: never issued, used before, or expired")
        arrival = self._arrivals.pop(session, None)
        if arrival is None:
            # The opening was given up, which the client could not know when it sent the ticket.
            connection.begin().finish()
            return
        self._sessions[connection] = session
        arrival.callback(connection.begin())

    def data_idle(self, connection: DataConnection) -> None:
        """A session is over, and its connection can carry the next."""
        self._sessions.pop(connection, None)

    def data_gone(self, connection: DataConnection) -> None:
        """A data connection is gone."""
        self._connections.discard(connection)
        self._sessions.pop(connection, None)

    def data_violated(self, connection: DataConnection, violation: Violation) -> None:
        """A data connection broke a rule."""
        self._events.emit(
            "tunnel.violation",
            cause=violation.cause,
            message=violation.cause.meaning,
            detail=violation.detail,
            session=self._sessions.get(connection),
            peer=connection.peer,
            **self.names(),
        )

    def _no_hello(self) -> None:
        self.close(Closing(Cause.TUNNEL_HELLO, f"no Hello within {limits.HELLO_SECONDS:g} s"))


@attrs.frozen
class _Issued:
    session: str
    until: float


class TicketOffice:
    """Issues and redeems the tickets of one control connection, which name the sessions of its data connections.

    A ticket is 256 random bits, good for one use within seconds. The office keeps only digests: looking one up tells
    nothing about tickets by its timing, since a digest cannot be chosen, and the peer cannot tell a wrong ticket from a
    used or a late one.
    """

    def __init__(self) -> None:
        self._issued: dict[bytes, _Issued] = {}

    def __len__(self) -> int:
        """The number of tickets that are issued and not redeemed."""
        return len(self._issued)

    def issue(self, session: str, now: float) -> bytes:
        """A new ticket for *session*."""
        self._forget_late(now)
        ticket = secrets.token_bytes(TICKET_OCTETS)
        self._issued[_digest(ticket)] = _Issued(session, now + limits.TICKET_SECONDS)
        return ticket

    def redeem(self, ticket: bytes, now: float) -> str | None:
        """The session that *ticket* was issued for, once; nothing for any other."""
        issued = self._issued.pop(_digest(ticket), None)
        if issued is None or now > issued.until:
            return None
        return issued.session

    def _forget_late(self, now: float) -> None:
        # Issued in the order of their ends, so that the late ones are the first.
        for digest, issued in list(self._issued.items()):
            if now <= issued.until:
                break
            del self._issued[digest]


def _digest(ticket: bytes) -> bytes:
    return hashlib.sha256(ticket).digest()
