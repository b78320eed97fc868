"""The server's end of one client's control connection, with the data connections that belong to it.

Duty: answer the client's questions, ask it to open sessions, match tickets with data connections. Everything here ends
with the control connection: questions, tickets, and the sessions on its data connections. Trusts the client to be who
its certificate says, and to be nothing more.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Protocol as Shape

import attrs
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from smartproxy.net.leg import ILeg
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy import limits
from smartproxy.policy.faults import StationUnreachable, TunnelLost
from smartproxy.tunnel.boxes import Plain
from smartproxy.tunnel.chunks import Assembly, Chunk
from smartproxy.tunnel.contexts import VerifiedClient
from smartproxy.tunnel.control import Answer, BoundedAMP, Heartbeat, Responder
from smartproxy.tunnel.data import DataConnection, DataLeg
from smartproxy.tunnel.faults import (
    NotNow,
    OpeningFailed,
    OpenTimeout,
    QuestionExpired,
    QuestionFailed,
    TunnelFault,
    Violation,
)
from smartproxy.tunnel.interfaces import Emit
from smartproxy.tunnel.marks import TICKET_OCTETS
from smartproxy.tunnel.vocabulary import (
    CloseSession,
    Configure,
    Drain,
    Greeting,
    Hello,
    OpenInbound,
    OpenOutbound,
    Phase,
    Ping,
    Report,
    SeenCrlUrl,
    SessionEnded,
    SetLevel,
    Side,
    TunnelCommand,
)


class ServerHolder(Shape):
    """The server's tunnel, as its control connections see it."""

    @property
    def held(self) -> int:
        """The generation that the server holds; 0 for none."""

    async def welcome(self, control: "ServerControl", greeting: Greeting) -> Greeting:
        """Give a client its name; what the server says about itself.

        :raises VersionsIncompatible: when the two cannot work together.
        :raises NameTaken: when a client of this name is here and answers.
        """

    def control_up(self, control: "ServerControl") -> None:
        """The client is ready."""

    def control_down(self, control: "ServerControl", cause: str) -> None:
        """The client is gone, whether it was ready or not."""

    def configure(self, control: "ServerControl", generation: int, octets: bytes) -> None:
        """Take a generation.

        :raises ConfigurationDeclined: when it is not taken.
        """

    def close_session(self, control: "ServerControl", session: str) -> None:
        """End a session."""

    def set_level(self, control: "ServerControl", level: str) -> None:
        """Change what is logged."""

    def drain(self, control: "ServerControl") -> None:
        """The client takes no new sessions."""

    def open_outbound(
        self, control: "ServerControl", session: str, partner: str, facts: Mapping[str, str]
    ) -> Deferred[Callable[[ILeg | None], None]]:
        """Call a partner."""


class ServerControl(BoundedAMP):
    """One client.

    :param clock: ``callLater``'s owner; its seconds are those since 1970.
    :ivar client: what its newest certificate says.
    :ivar client_name: the name in its certificate.
    :ivar version: the version of its program; empty before Hello.
    :ivar since: when it came up, in the clock's seconds; 0 before Hello.
    """

    def __init__(self, owner: ServerHolder, client: VerifiedClient, peer: str, clock: IReactorTime, emit: Emit) -> None:
        super().__init__(Side.SERVER, clock, emit)
        self.client_name = client.name
        self.client = client
        self.version = ""
        self.since = 0.0
        self.peer = peer
        self._owner = owner
        self._assembly = Assembly()
        self._office = TicketOffice()
        self._heartbeat = Heartbeat(clock, self.ping, self._silent)
        self._hello: IDelayedCall | None = None
        self._expiry: IDelayedCall | None = None
        self._greeted = False
        self._arrivals: dict[str, Deferred[DataLeg]] = {}
        self._connections: set[DataConnection] = set()
        self._sessions: dict[DataConnection, str] = {}

    @property
    def ready(self) -> bool:
        """Whether it takes new sessions."""
        return self.lost is None and self.asking is Phase.READY

    @property
    def load(self) -> int:
        """How many sessions it carries or is opening."""
        return len(self._arrivals) + len(self._sessions)

    def names(self) -> dict[str, object]:
        """Who the peer is, as fields of events."""
        return {"client": self.client_name}

    # For the daemon.

    def open_inbound(
        self, session: str, facts: Mapping[str, str], *, seconds: float = limits.OPENING.default
    ) -> Deferred[ILeg]:
        """Open a session inside for a verified partner.

        Fires with the leg towards the station when the station is ready. Fails with
        :class:`~smartproxy.policy.faults.StationUnreachable`, :class:`~smartproxy.policy.faults.TunnelLost` or
        :class:`OpenTimeout`. Cancelling it ends what was begun.
        """
        return Deferred.fromCoroutine(self._open_inbound(session, facts, seconds))

    def session_ended(self, session: str, summary: Mapping[str, Plain]) -> None:
        """Tell the client that a session is over; nobody waits for its answer."""
        self.ask(SessionEnded, session=session, summary=summary).addErrback(self._unheard)

    def seen_crl_url(self, url: str, authority: str) -> None:
        """Tell the client of a revocation list that a verified certificate names; nobody waits for its answer."""
        self.ask(SeenCrlUrl, url=url, authority=authority).addErrback(self._unheard)

    def report(self, events: list[bytes]) -> Deferred[Answer]:
        """Send events, each made by :func:`smartproxy.tunnel.boxes.line`; fires when they arrived."""
        return self.ask(Report, events=events)

    def _unheard(self, failure: Failure) -> None:
        failure.trap(TunnelFault, TunnelLost, CancelledError, ValueError)

    async def _open_inbound(self, session: str, facts: Mapping[str, str], seconds: float) -> ILeg:
        if session in self._arrivals or session in self._sessions.values():
            raise StationUnreachable(rule="tunnel.session", message=f"session {session} is open already")
        arrival = self._expect(session)
        ticket = self._office.issue(session, self._clock.seconds())
        try:
            await self.ask(
                OpenInbound, seconds=seconds, session=session, ticket=ticket, facts=facts, deadline=round(seconds)
            )
            return await arrival.addTimeout(limits.TICKET_SECONDS, self._clock)
        except (OpeningFailed, QuestionFailed, NotNow) as fault:
            self._give_up(session)
            raise StationUnreachable(rule="station.unreachable", message=str(fault)) from fault
        except (QuestionExpired, TimeoutError) as fault:
            self._give_up(session)
            raise OpenTimeout(rule="deadline.opening", message=f"not opened within {seconds:g} s") from fault
        except Exception:
            self._give_up(session)
            raise

    def _expect(self, session: str) -> Deferred[DataLeg]:
        arrival: Deferred[DataLeg] = Deferred()
        self._arrivals[session] = arrival
        return arrival

    def _give_up(self, session: str) -> None:
        """Nobody waits for this session any more; its ticket stays good for ending it where it arrives."""
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
            CloseSession: self._answer_close_session,
            SetLevel: self._answer_set_level,
            Drain: self._answer_drain,
            Ping: lambda: None,
        }

    def _answer_hello(self, version: str, oldest: int, newest: int) -> Deferred[Answer]:
        if self._greeted:
            raise Violation("hello.twice", "a second Hello")
        self._greeted = True
        self.version = version
        greeting = Greeting(program="smartproxy-client", version=version, oldest=oldest, newest=newest)
        return Deferred.fromCoroutine(self._welcome(greeting))

    async def _welcome(self, greeting: Greeting) -> Answer:
        ours = await self._owner.welcome(self, greeting)
        return {
            "version": ours.version,
            "oldest": ours.oldest,
            "newest": ours.newest,
            "generation": self._owner.held,
        }

    def answered(self, command: type[TunnelCommand]) -> None:
        """After its Hello was answered, and not before, the client may be asked."""
        if command is Hello:
            self._cancel_hello()
            self.asking = self.answering = Phase.READY
            self.since = self._clock.seconds()
            self._heartbeat.start()
            self._owner.control_up(self)

    def _answer_configure(self, generation: int, number: int, size: int, digest: bytes, chunk: bytes) -> Answer:
        held = self._owner.held
        if generation <= held:
            self._assembly.clear()
            return {"state": "old", "held": held}
        piece = Chunk(generation=generation, number=number, size=size, digest=digest, octets=chunk)
        whole = self._assembly.add(piece)
        if whole is None:
            return {"state": "more", "held": held}
        self._owner.configure(self, generation, whole)
        return {"state": "accepted", "held": generation}

    def _answer_open_outbound(
        self, session: str, partner: str, facts: Mapping[str, str], deadline: int
    ) -> Deferred[Answer]:
        return Deferred.fromCoroutine(self._open_outbound(session, partner, facts, deadline))

    async def _open_outbound(self, session: str, partner: str, facts: Mapping[str, str], deadline: int) -> Answer:
        if session in self._arrivals or session in self._sessions.values():
            raise OpeningFailed(f"session {session} is open already")
        calling = self._owner.open_outbound(self, session, partner, facts)
        try:
            take = await calling.addTimeout(deadline, self._clock)
        except SessionFault as fault:
            raise OpeningFailed(fault.message) from fault
        except TimeoutError as fault:
            raise OpeningFailed(f"the partner was not ready within {deadline} s") from fault
        arrival = self._expect(session).addTimeout(limits.TICKET_SECONDS, self._clock)
        arrival.addErrback(lambda failure: self._give_up(session)).addCallback(take)
        arrival.addErrback(self._bug, OpenOutbound)
        return {"ticket": self._office.issue(session, self._clock.seconds())}

    def _answer_close_session(self, session: str) -> None:
        self._owner.close_session(self, session)

    def _answer_set_level(self, level: str) -> None:
        self._owner.set_level(self, level)

    def _answer_drain(self) -> None:
        self.asking = self.answering = Phase.DRAINING
        self._owner.drain(self)

    # The connections.

    def connectionMade(self) -> None:
        """The client proved who it is; it has to say Hello now."""
        self._hello = self._clock.callLater(limits.HELLO_SECONDS, self._no_hello)
        self._watch_certificate()

    def _watch_certificate(self) -> None:
        """A client that the backend gives no new certificate is not served for longer than the last one holds."""
        self._cancel_expiry()
        left = self.client.not_after.timestamp() - self._clock.seconds()
        self._expiry = self._clock.callLater(max(0.0, left), self._expired)

    def _expired(self) -> None:
        self._expiry = None
        self.close("the client's tunnel certificate expired and was not renewed")

    def _cancel_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def adopt(self, connection: DataConnection, client: VerifiedClient) -> None:
        """A data connection of this client is there; its certificate may be newer than this connection's."""
        self._connections.add(connection)
        if client.not_after > self.client.not_after:
            self.client = client
            self._watch_certificate()

    @property
    def idle(self) -> int:
        """How many of its data connections carry no session."""
        return len(self._connections) - len(self._sessions)

    def tunnel_lost(self, cause: str) -> None:
        """The control connection is over, and everything with it."""
        self._cancel_hello()
        self._cancel_expiry()
        self._heartbeat.stop()
        self._assembly.clear()
        arrivals, self._arrivals = self._arrivals, {}
        for arrival in arrivals.values():
            arrival.errback(TunnelLost(rule="tunnel.lost", message=f"the tunnel is down: {cause}"))
        for connection in list(self._connections):
            connection.abort(f"the tunnel is down: {cause}")
        self._owner.control_down(self, cause)

    def data_attached(self, connection: DataConnection, ticket: bytes) -> None:
        """A client's data connection shows a ticket."""
        session = self._office.redeem(ticket, self._clock.seconds())
        if session is None:
            raise Violation("ticket.unknown", "a ticket that is not good: never issued, used before, or too late")
        arrival = self._arrivals.pop(session, None)
        if arrival is None:
            # Nobody waits any more, which the client could not know when it sent the ticket.
            connection.begin().finish()
            return
        self._sessions[connection] = session
        arrival.callback(connection.begin())

    def data_idle(self, connection: DataConnection) -> None:
        """A session is over, and its connection can carry the next."""
        self._sessions.pop(connection, None)

    def data_gone(self, connection: DataConnection, cause: str) -> None:
        """A data connection is gone."""
        self._connections.discard(connection)
        self._sessions.pop(connection, None)

    def data_violated(self, connection: DataConnection, violation: Violation) -> None:
        """A data connection broke a rule."""
        self._emit(
            "tunnel.violation",
            cause=violation.cause,
            detail=violation.detail,
            session=self._sessions.get(connection),
            peer=connection.peer,
            **self.names(),
        )

    def _silent(self) -> None:
        self.abort(f"{limits.PINGS_MISSED_MOST} pings in a row were not answered")

    def _no_hello(self) -> None:
        self._hello = None
        self.close(f"no Hello within {limits.HELLO_SECONDS:g} s")

    def _cancel_hello(self) -> None:
        if self._hello is not None:
            self._hello.cancel()
            self._hello = None


@attrs.frozen
class _Issued:
    session: str
    until: float


class TicketOffice:
    """Issues and redeems the tickets of one control connection."""

    def __init__(self) -> None:
        self._issued: dict[bytes, _Issued] = {}

    def __len__(self) -> int:
        """How many tickets are out."""
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
