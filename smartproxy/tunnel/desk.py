"""Where data connections meet the sessions that they are for: the tickets of one client.

Duty: issue a ticket for each session that is opened, wait for the data connection that shows it, and know which
connection carries which session. Lives in the process that has the sessions; the control connection, which only asks,
may be in another one. Everything here ends when the client's control connection does. Trusts its entrance to have
proved which client a data connection is of, and nothing else of it.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable

import attrs
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from smartproxy.logs.emit import Events
from smartproxy.net.leg import ILeg, Why
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy import limits
from smartproxy.policy.callbacks import nothing
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault, PartnerUnreachable, StationUnreachable, Step
from smartproxy.policy.outcomes import Participant
from smartproxy.relay.ending import not_begun
from smartproxy.relay.events import SharedEnd
from smartproxy.tunnel.contexts import PeerRefused, VerifiedClient
from smartproxy.tunnel.data import DataConnection, DataLeg
from smartproxy.tunnel.entrance import Entrance
from smartproxy.tunnel.faults import Closing, OpeningFailed, Violation
from smartproxy.tunnel.kinds import TunnelKind
from smartproxy.tunnel.marks import TICKET_OCTETS
from smartproxy.tunnel.places import placed
from smartproxy.tunnel.vocabulary import Side


class Desk:
    """The data connections of one client, and the tickets for its sessions.

    :param client_name: the client's, for events.
    :param worker: which worker this is; ``None`` in a server that is one process.
    :ivar office: issues tickets.
    """

    def __init__(
        self,
        client_name: str,
        clock: IReactorTime,
        events: Events,
        worker: int | None = None,
    ) -> None:
        self._client_name = client_name
        self._clock = clock
        self._events = events
        self._worker = worker
        self.office = TicketOffice()
        self._arrivals: dict[str, Deferred[DataLeg]] = {}
        self._connections: set[DataConnection] = set()
        self._sessions: dict[DataConnection, str] = {}

    @property
    def load(self) -> int:
        """The number of sessions that are carried or opened here."""
        return len(self._arrivals) + len(self._sessions)

    @property
    def idle(self) -> int:
        """The number of data connections that carry no session."""
        return len(self._connections) - len(self._sessions)

    def carries(self, session: str) -> bool:
        """Whether a session is carried or opened here."""
        return session in self._arrivals or session in self._sessions.values()

    def stop(self, why: Closing, fault: OwnFault) -> None:
        """The client is gone: end everything.

        :param fault: why what is being opened is not.
        """
        arrivals, self._arrivals = self._arrivals, {}
        for arrival in arrivals.values():
            arrival.errback(fault)
        for connection in list(self._connections):
            connection.abort(Closing(Cause.TUNNEL_LOST, f"the tunnel is down: {why}"))

    # Sessions.

    async def open_inbound(
        self, session: str, seconds: float, ask: Callable[[bytes], Awaitable[object]], why: Why = nothing
    ) -> ILeg:
        """Open a session inside for a verified partner; the leg towards the station when the station is ready.

        :param ask: asks the client, given the ticket; raises a ``SessionFault``.
        :param why: how the session ended, once this is canceled; the client is told it.
        :raises SessionFault: that says why it cannot be opened. Canceling ends what was begun.
        """
        if self.carries(session):
            raise StationUnreachable(rule=Cause.SESSION_OPEN, message=f"session {session} is open already")
        arrival = self._expect(session)
        ticket = self.office.issue(session, self._clock.seconds())
        try:
            await ask(placed(self._worker, ticket))
            # Most often the connection is there by now: a client attaches before it calls the station.
            return await (arrival if arrival.called else arrival.addTimeout(limits.TICKET_SECONDS, self._clock))
        except TimeoutError as fault:
            self._give_up(session, ticket)
            raise not_opened(seconds) from fault
        except BaseException as error:
            # Without an answer in time, there is no wish to cancel: this is the end that the session will have.
            late = isinstance(error, OwnFault) and error.rule == Cause.DEADLINE_OPENING and error
            self._give_up(session, ticket, not_begun(late, Participant.SERVER) if late else why())
            # When the client is gone, it fails, too, and nobody has waited for it yet.
            arrival.addErrback(lambda failure: None)
            raise

    async def open_outbound(
        self, session: str, seconds: float, call: Callable[[], Deferred[Callable[[ILeg | None], None]]]
    ) -> bytes:
        """Call a partner for the station; the ticket for the leg towards it when the partner is ready.

        :param call: calls it; fires with what takes that leg, or ``None`` if there will be none.
        :raises OpeningFailed: that says why the partner is not ready.
        """
        if self.carries(session):
            message = f"session {session} is open already"
            raise OpeningFailed(PartnerUnreachable.at(Step.POLICY, message, Cause.SESSION_OPEN))
        try:
            take = await call().addTimeout(seconds, self._clock)
        except SessionFault as fault:
            raise OpeningFailed(fault) from fault
        except TimeoutError as fault:
            message = f"the partner was not ready within {seconds} s"
            raise OpeningFailed(PartnerUnreachable.at(Step.CONNECT, message, Cause.DEADLINE_OPENING)) from fault
        arrival = self._expect(session).addTimeout(limits.TICKET_SECONDS, self._clock)
        ticket = self.office.issue(session, self._clock.seconds())
        arrival.addErrback(lambda failure: self._give_up(session, ticket)).addCallback(take)
        arrival.addErrback(lambda failure: self._events.failure("smartproxy.tunnel.desk", failure))
        return placed(self._worker, ticket)

    def _expect(self, session: str) -> Deferred[DataLeg]:
        arrival: Deferred[DataLeg] = Deferred()
        self._arrivals[session] = arrival
        return arrival

    def _give_up(self, session: str, ticket: bytes, end: SharedEnd | None = None) -> None:
        """Give up opening this session; its ticket stays valid, so that the session can be ended when it arrives."""
        self._arrivals.pop(session, None)
        self.office.give_up(ticket, end)
        for connection, carried in self._sessions.items():
            if carried == session:
                connection.finish(end)
                return

    # Data connections.

    def admit(self, client: VerifiedClient, entrance: Entrance, kind: TunnelKind) -> DataConnection:
        """Take a data connection of this client.

        :raises PeerRefused: if it has too many that carry nothing.
        """
        idle = self.idle
        if idle >= limits.DATA_IDLE_MOST:
            raise PeerRefused(
                cause=Cause.TUNNEL_TOO_MANY,
                message=f"{idle} idle data connections are too many",
                subject=client.subject,
            )
        connection = kind.connection(self, Side.SERVER, self._clock, self._events, entrance.peer)
        self._connections.add(connection)
        return connection

    def data_attached(self, connection: DataConnection, ticket: bytes) -> None:
        """A client's data connection shows a ticket."""
        issued = self.office.redeem(ticket, self._clock.seconds())
        if issued is None:
            raise Violation(Cause.TICKET_UNKNOWN, "the ticket is not valid: never issued, used before, or expired")
        arrival = self._arrivals.pop(issued.session, None)
        if arrival is None:
            # The opening was given up, which the client could not know when it sent the ticket.
            connection.begin().finish(issued.end)
            return
        self._sessions[connection] = issued.session
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
        session = self._sessions.get(connection)
        violation.tell(self._events, session=session, peer=connection.peer, client=self._client_name)


def not_opened(seconds: float) -> StationUnreachable:
    """The fault of a session that was not opened in time."""
    return StationUnreachable(rule=Cause.DEADLINE_OPENING, message=f"not opened within {seconds:g} s")


def no_control(client: VerifiedClient) -> PeerRefused:
    """The refusal of a data connection whose client is not there."""
    return PeerRefused(
        cause=Cause.TUNNEL_NO_CONTROL, message="the client has no control connection", subject=client.subject
    )


def is_withdrawn(client: VerifiedClient) -> PeerRefused:
    """The refusal of a client whose certificate is withdrawn."""
    return PeerRefused(
        cause=Cause.TUNNEL_WITHDRAWN,
        advice="nothing to do if this client should be shut out; else give it a new certificate or credential",
        subject=client.subject,
    )


@attrs.frozen
class Issued:
    """A ticket that was issued.

    :ivar session: which session it is for.
    :ivar until: by when it has to be shown.
    :ivar end: how the session ended, if its opening was given up.
    """

    session: str
    until: float
    end: SharedEnd | None = None


class TicketOffice:
    """Issues and redeems the tickets of one control connection, which name the sessions of its data connections.

    A ticket is 256 random bits, good for one use within seconds. The office keeps only digests: looking one up tells
    nothing about tickets by its timing, since a digest cannot be chosen, and the peer cannot tell a wrong ticket from a
    used or a late one.
    """

    def __init__(self) -> None:
        self._issued: dict[bytes, Issued] = {}

    def __len__(self) -> int:
        """The number of tickets that are issued and not redeemed."""
        return len(self._issued)

    def issue(self, session: str, now: float) -> bytes:
        """A new ticket for *session*."""
        self._forget_late(now)
        ticket = secrets.token_bytes(TICKET_OCTETS)
        self._issued[_digest(ticket)] = Issued(session, now + limits.TICKET_SECONDS)
        return ticket

    def give_up(self, ticket: bytes, end: SharedEnd | None) -> None:
        """Nobody waits for this ticket any more; who shows it is to be told how its session ended."""
        digest = _digest(ticket)
        if digest in self._issued:
            self._issued[digest] = attrs.evolve(self._issued[digest], end=end)

    def redeem(self, ticket: bytes, now: float) -> Issued | None:
        """What *ticket* was issued for, once; nothing for any other."""
        issued = self._issued.pop(_digest(ticket), None)
        if issued is None or now > issued.until:
            return None
        return issued

    def _forget_late(self, now: float) -> None:
        # Issued in the order of their ends, so that the late ones are the first.
        for digest, issued in list(self._issued.items()):
            if now <= issued.until:
                break
            del self._issued[digest]


def _digest(ticket: bytes) -> bytes:
    return hashlib.sha256(ticket).digest()
