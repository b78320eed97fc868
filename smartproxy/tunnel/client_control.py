"""The client's end of the control connection.

Duty: bring the server its configuration, open sessions when the server asks, take its events. The server can ask for
nothing else: the direction table has no question for keys, tokens or files. Trusts the server to be the one whose key
was pinned.
"""

from collections.abc import Mapping
from typing import Protocol as Shape

import attrs
from twisted.internet.defer import Deferred, DeferredLock, TimeoutError, maybeDeferred
from twisted.internet.interfaces import IReactorTime

from smartproxy.net.leg import ILeg
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy import limits
from smartproxy.tunnel.boxes import Plain
from smartproxy.tunnel.chunks import Chunk, cut
from smartproxy.tunnel.control import Answer, BoundedAMP, Heartbeat, Responder
from smartproxy.tunnel.data import DataConnection
from smartproxy.tunnel.faults import OpeningFailed
from smartproxy.tunnel.interfaces import Emit, IClientTunnelUser
from smartproxy.tunnel.pool import DataPool
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
    agree,
)


@attrs.frozen
class Configured:
    """What became of a generation.

    :ivar accepted: whether the server took it; otherwise it holds the same or a newer one.
    :ivar held: the generation that the server holds.
    """

    accepted: bool
    held: int


class ControlHolder(Shape):
    """The client's tunnel, as its control connection sees it."""

    def control_down(self, control: "ClientControl", cause: str) -> None:
        """The tunnel is down."""


class ClientControl(BoundedAMP):
    """One server.

    :ivar proxy_id: the Proxy ID that it proved.
    :ivar version: the version of its program; empty before Hello.
    :ivar since: when it came up, in the clock's seconds; 0 before Hello.
    :ivar held: the generation that it holds, as far as this client knows; 0 for none.
    """

    def __init__(
        self,
        holder: ControlHolder,
        user: IClientTunnelUser,
        proxy_id: str,
        peer: str,
        clock: IReactorTime,
        emit: Emit,
    ) -> None:
        super().__init__(Side.CLIENT, clock, emit)
        self.proxy_id = proxy_id
        self.peer = peer
        self.version = ""
        self.since = 0.0
        self.held = 0
        self.pool: DataPool | None = None
        self._holder = holder
        self._user = user
        self._heartbeat = Heartbeat(clock, self.ping, self._silent)
        self._configuring = DeferredLock()

    def names(self) -> dict[str, object]:
        """Who the peer is, as fields of events."""
        return {}

    async def greet(self, greeting: Greeting, pool: DataPool) -> None:
        """Say Hello; afterwards the tunnel is ready.

        :raises VersionsIncompatible: when the two cannot work together.
        :raises NameTaken: when another client of this name is connected.
        """
        answer = await self.ask(
            Hello,
            seconds=limits.HELLO_SECONDS,
            version=greeting.version,
            oldest=greeting.oldest,
            newest=greeting.newest,
        )
        self.version = answer["version"]
        theirs = Greeting(
            program="smartproxy-server", version=self.version, oldest=answer["oldest"], newest=answer["newest"]
        )
        agree(greeting, theirs)
        self.held = answer["generation"]
        self.since = self._clock.seconds()
        self.asking = self.answering = Phase.READY
        self.pool = pool
        self._heartbeat.start()
        pool.start()

    # For the daemon.

    def configure(self, generation: int, octets: bytes) -> Deferred[Configured]:
        """Bring the server a generation; one at a time.

        Fails with :class:`ConfigurationDeclined` when the server does not take it, or as :meth:`ask` does.
        """
        return self._configuring.run(lambda: Deferred.fromCoroutine(self._configure(generation, octets)))

    def drain(self) -> Deferred[None]:
        """This client is about to stop: the server opens no more sessions. Fires when that is certain."""
        answer = self.ask(Drain)
        if self.lost is None:
            self.asking = Phase.DRAINING
        return answer.addCallback(self._draining)

    def close_session(self, session: str) -> Deferred[None]:
        """Have the server end a session now."""
        return self.ask(CloseSession, session=session).addCallback(lambda _: None)

    def set_level(self, level: str) -> Deferred[None]:
        """Change what the server logs."""
        return self.ask(SetLevel, level=level).addCallback(lambda _: None)

    def open_outbound(
        self, session: str, partner: str, facts: Mapping[str, str], *, seconds: float = limits.OPENING.default
    ) -> Deferred[ILeg]:
        """Have the server call a partner.

        Fires with the leg towards the partner when the partner is ready; fails with :class:`OpeningFailed`, or as
        :meth:`ask` does.
        """
        return Deferred.fromCoroutine(self._open_outbound(session, partner, facts, seconds))

    async def _configure(self, generation: int, octets: bytes) -> Configured:
        chunks = cut(generation, octets)
        # Alone, since it may be all that the server wants to see.
        state = await self._send_chunk(next(chunks))
        ahead: list[Deferred[str]] = []
        try:
            for chunk in chunks:
                if state != "more":
                    break
                ahead.append(self._send_chunk(chunk))
                if len(ahead) == limits.CHUNKS_AHEAD:
                    state = await ahead.pop(0)
            while ahead:
                state = await ahead.pop(0)
        finally:
            for unread in ahead:
                unread.addErrback(lambda failure: "")
        return Configured(state == "accepted", self.held)

    def _send_chunk(self, chunk: Chunk) -> Deferred[str]:
        return self.ask(
            Configure,
            generation=chunk.generation,
            number=chunk.number,
            size=chunk.size,
            digest=chunk.digest,
            chunk=chunk.octets,
        ).addCallback(self._chunk_taken)

    def _chunk_taken(self, answer: Answer) -> str:
        self.held = answer["held"]
        state: str = answer["state"]
        return state

    def _draining(self, _: Answer) -> None:
        self.answering = Phase.DRAINING

    async def _open_outbound(self, session: str, partner: str, facts: Mapping[str, str], seconds: float) -> ILeg:
        answer = await self.ask(
            OpenOutbound, seconds=seconds, session=session, partner=partner, facts=facts, deadline=round(seconds)
        )
        return (await self._take()).attach(answer["ticket"])

    async def _take(self) -> DataConnection:
        """A data connection, while a ticket is good."""
        assert self.pool is not None
        taking = Deferred.fromCoroutine(self.pool.take())
        try:
            return await taking.addTimeout(limits.TICKET_SECONDS / 2, self._clock)
        except TimeoutError as fault:
            raise OpeningFailed("the client could not make a data connection in time") from fault

    # Answering.

    def responders(self) -> Mapping[type[TunnelCommand], Responder]:
        """What answers the server's questions."""
        return {
            OpenInbound: self._answer_open_inbound,
            SessionEnded: self._answer_session_ended,
            Report: self._answer_report,
            SeenCrlUrl: self._answer_seen_crl_url,
            Ping: lambda: None,
        }

    def _answer_open_inbound(
        self, session: str, ticket: bytes, facts: Mapping[str, str], deadline: int
    ) -> Deferred[Answer]:
        return Deferred.fromCoroutine(self._open_inbound(session, ticket, facts, deadline))

    async def _open_inbound(self, session: str, ticket: bytes, facts: Mapping[str, str], deadline: int) -> Answer:
        leg = (await self._take()).attach(ticket)
        try:
            await maybeDeferred(self._user.open_inbound, session, facts, leg).addTimeout(deadline, self._clock)
        except SessionFault as fault:
            leg.finish()
            raise OpeningFailed(fault.message) from fault
        except TimeoutError as fault:
            leg.finish()
            raise OpeningFailed(f"the station was not ready within {deadline} s") from fault
        except Exception:
            leg.finish()
            raise
        return {}

    def _answer_session_ended(self, session: str, summary: Mapping[str, Plain]) -> None:
        self._user.session_ended(session, summary)

    def _answer_report(self, events: list[dict[str, Plain]]) -> None:
        for event in events:
            self._user.event(event)

    def _answer_seen_crl_url(self, url: str, authority: str) -> None:
        self._user.crl_url_seen(url, authority)

    # The connection.

    def tunnel_lost(self, cause: str) -> None:
        """The control connection is over, and everything with it."""
        self._heartbeat.stop()
        if self.pool is not None:
            self.pool.stop(f"the tunnel is down: {cause}")
        self._holder.control_down(self, cause)

    def _silent(self) -> None:
        self.abort(f"{limits.PINGS_MISSED_MOST} pings in a row were not answered")
