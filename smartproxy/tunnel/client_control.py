"""The client's end of the control connection.

Duty: bring the server its configuration, open sessions when the server asks, take its events. The server can ask for
nothing else: the direction table has no question for keys, tokens or files. Trusts the server to be the one whose key
was pinned.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from typing import Protocol as Shape

import attrs
from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from smartproxy.logs.emit import Events
from smartproxy.logs.severity import Severity
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import GenerationId
from smartproxy.policy.faults import PartnerUnreachable, Step
from smartproxy.policy.loads import ToldLoad
from smartproxy.policy.versions import Part, PartsApart, agree
from smartproxy.relay.openings import CallWish, SessionFacts
from smartproxy.tunnel.bond import Bond
from smartproxy.tunnel.boxes import Plain
from smartproxy.tunnel.chunks import Chunk, cut, digests
from smartproxy.tunnel.control import Answer, BoundedAMP, Responder
from smartproxy.tunnel.faults import Closing, OpeningFailed, QuestionExpired, TunnelFault, VersionsIncompatible
from smartproxy.tunnel.lane import Inbound, Lane, NamedWorkers
from smartproxy.tunnel.vocabulary import (
    CloseSession,
    Configure,
    Drain,
    GenerationState,
    Hello,
    Moved,
    OpenInbound,
    OpenOutbound,
    Ping,
    Renewed,
    Report,
    SeenCrlUrl,
    SetLevel,
    Side,
    TunnelCommand,
    TunnelPhase,
    Workers,
)


@attrs.frozen
class Configured:
    """What became of a generation.

    :ivar accepted: whether the server took it; otherwise it holds the same or a newer one.
    :ivar held: the generation that the server holds.
    """

    accepted: bool
    held: GenerationId


class ClientUser(Shape):
    """A daemon inside, as its end of one tunnel sees it.

    It is told exactly once that a tunnel came up, and exactly once that it is down. An exception that a call does not
    document is a bug: it is reported as one and ends nothing else.
    """

    def tunnel_up(self, control: "ClientControl") -> None:
        """The tunnel is up; configure the server if ``control.held`` is not the newest generation."""

    def tunnel_down(self, why: Closing) -> None:
        """The tunnel is down; its sessions' legs are lost. It dials again by itself."""

    def open_inbound(self, control: "ClientControl", inbound: Inbound) -> Deferred[None]:
        """A partner connected: judge what the server asks for, attach a data connection, and call the station.

        Fires when the station is ready; fails with a :class:`smartproxy.oftp2.errors.SessionFault` that says why not.
        Cancelled when the tunnel is down.
        """

    def event(self, control: "ClientControl", fields: Mapping[str, Plain]) -> None:
        """An event of the server, for the backend."""

    def server_moved(self, control: "ClientControl") -> None:
        """A newer process of the server listens at the same address; this one only ends what runs."""

    def crl_url_seen(self, url: str, ca: str) -> None:
        """A verified certificate names the address of a revocation list that is not configured."""


class ClientControl(BoundedAMP):
    """One server.

    :param down: told that the connection is over.
    :ivar proxy_id: the Proxy ID that it proved.
    :ivar bond: what data connections may prove themselves by.
    :ivar challenge: what this client proves by that it has the key of a newer certificate.
    :ivar load: what it told of its load last, if it told anything.
    :ivar held: the generation that it holds, as far as this client knows; of which store, its first answer to
        Configure says.
    """

    def __init__(
        self,
        down: Callable[["ClientControl", Closing], None],
        user: ClientUser,
        proxy_id: str,
        peer: str,
        clock: IReactorTime,
        events: Events,
    ) -> None:
        super().__init__(Side.CLIENT, peer, clock, events)
        self.proxy_id = proxy_id
        self.bond: Bond | None = None
        self.challenge = b""
        self.load: ToldLoad | None = None
        self.held = GenerationId()
        self.lane: Lane | None = None
        self._workers: NamedWorkers | None = None
        self._down_told = down
        self._user = user
        self._configuring = DeferredLock()

    async def greet(self, ours: Part, server: str, lane: Lane) -> None:
        """Say Hello; afterwards the tunnel is ready.

        :param server: the name of the program that serves such a tunnel.
        :param lane: the data connections, which are kept ready from then on.
        :raises VersionsIncompatible: when the two cannot work together.
        :raises NameTaken: when another client of this name is connected.
        """
        answer = await self.ask(
            Hello,
            seconds=limits.HELLO_SECONDS,
            version=ours.version,
            oldest=ours.oldest,
            newest=ours.newest,
        )
        self.version = answer["version"]
        theirs = Part(program=server, version=self.version, oldest=answer["oldest"], newest=answer["newest"])
        try:
            agree(ours, theirs)
        except PartsApart as apart:
            raise VersionsIncompatible(str(apart)) from apart
        self.held = GenerationId(answer["generation"])
        self.lane, self._workers = lane, NamedWorkers(self._clock, lane)
        self.made_ready()
        lane.start()

    # For the daemon.

    def configure(self, generation: GenerationId, octets: bytes) -> Deferred[Configured]:
        """Bring the server a generation; one at a time.

        Fails with :class:`ConfigurationDeclined` when the server does not take it, or as :meth:`ask` does.
        """
        return self._configuring.run(lambda: Deferred.fromCoroutine(self._configure(generation, octets)))

    def drain(self) -> Deferred[None]:
        """This client is about to stop: the server opens no more sessions. Fires when that is certain."""
        answer = self.ask(Drain)
        if self.lost is None:
            self.asking = TunnelPhase.DRAINING
        return answer.addCallback(self._draining)

    def moved(self) -> Deferred[None]:
        """A newer process of this client is about to dial the server, which takes it beside this one."""
        return self.ask(Moved).addCallback(lambda _: None)

    def renewed(self, certificate: bytes, proof: bytes) -> Deferred[None]:
        """This client has another certificate by now, in DER, which holds for this connection, too."""
        return self.ask(Renewed, certificate=certificate, proof=proof).addCallback(lambda _: None)

    def close_session(self, session: str) -> Deferred[None]:
        """Have the server end a session now."""
        return self.ask(CloseSession, session=session).addCallback(lambda _: None)

    def set_level(self, level: Severity) -> Deferred[None]:
        """Change what the server logs."""
        return self.ask(SetLevel, level=level).addCallback(lambda _: None)

    def call(
        self, session: str, partner: str, wish: CallWish, *, seconds: float = limits.OPENING.default
    ) -> Deferred[bytes]:
        """Have the server call a partner.

        Fires with the ticket of the leg towards the partner when the partner is ready. Fails with the
        :class:`~smartproxy.oftp2.errors.SessionFault` that the server raised, with
        :class:`~smartproxy.policy.faults.TunnelLost`, or with :class:`~smartproxy.policy.faults.PartnerUnreachable`
        where the server says nothing of use in time.
        """
        return Deferred.fromCoroutine(self._call(session, partner, wish, seconds))

    async def _configure(self, generation: GenerationId, octets: bytes) -> Configured:
        chunks = cut(generation, octets, await self._digest_of(octets))
        # Alone, since it may be all that the server wants to see.
        state = await self._send_chunk(next(chunks))
        ahead: list[Deferred[GenerationState]] = []
        try:
            for chunk in chunks:
                if state is not GenerationState.MORE:
                    break
                ahead.append(self._send_chunk(chunk))
                if len(ahead) == limits.CHUNKS_AHEAD:
                    state = await ahead.pop(0)
            while ahead:
                state = await ahead.pop(0)
        finally:
            for unread in ahead:
                unread.addErrback(lambda failure: GenerationState.OLD)
        return Configured(state is GenerationState.ACCEPTED, self.held)

    async def _digest_of(self, octets: bytes) -> bytes:
        """The SHA-256 of a generation; the reactor has its turn after each piece of a large one."""
        for digest in digests(octets):
            if digest is not None:
                return digest
            await deferLater(self._clock, 0)
        raise AssertionError("the last of the digests is one")

    def _send_chunk(self, chunk: Chunk) -> Deferred[GenerationState]:
        return self.ask(
            Configure,
            generation=chunk.generation.number,
            store=chunk.generation.store,
            number=chunk.number,
            size=chunk.size,
            digest=chunk.digest,
            chunk=chunk.octets,
        ).addCallback(self._chunk_taken)

    def _chunk_taken(self, answer: Answer) -> GenerationState:
        self.held = GenerationId(answer["held"], answer["store"])
        state: GenerationState = answer["state"]
        return state

    def _draining(self, _: Answer) -> None:
        self.answering = TunnelPhase.DRAINING

    async def _call(self, session: str, partner: str, wish: CallWish, seconds: float) -> bytes:
        told = attrs.asdict(wish, recurse=False)
        try:
            answer = await self.ask(
                OpenOutbound, seconds=seconds, session=session, partner=partner, deadline=round(seconds), **told
            )
        except OpeningFailed as failed:
            raise failed.fault from failed
        except QuestionExpired as fault:
            raise PartnerUnreachable.at(Step.CONNECT, str(fault), Cause.TUNNEL_SILENT) from fault
        except TunnelFault as fault:
            raise PartnerUnreachable.at(Step.CONNECT, str(fault), Cause.TUNNEL_QUESTION) from fault
        ticket: bytes = answer["ticket"]
        return ticket

    # Answering.

    def responders(self) -> Mapping[type[TunnelCommand], Responder]:
        """What answers the server's questions."""
        return {
            OpenInbound: self._answer_open_inbound,
            Report: self._answer_report,
            SeenCrlUrl: self._user.crl_url_seen,
            Moved: lambda: self._user.server_moved(self),
            Workers: self._answer_workers,
            Ping: self._answer_ping,
        }

    def _answer_open_inbound(self, session: str, ticket: bytes, deadline: int, **facts: Any) -> Deferred[Answer]:
        return Deferred.fromCoroutine(self._open_inbound(session, ticket, deadline, SessionFacts(**facts)))

    async def _open_inbound(self, session: str, ticket: bytes, deadline: int, facts: SessionFacts) -> Answer:
        inbound = Inbound(session=session, ticket=ticket, seconds=deadline, facts=facts)
        try:
            await maybeDeferred(self._user.open_inbound, self, inbound)
        except SessionFault as fault:
            raise OpeningFailed(fault) from fault
        return {}

    def _answer_workers(self, workers: Sequence[int]) -> None:
        assert self._workers is not None, "a server asks after Hello"
        self._workers.name(workers)

    def _answer_ping(self, **told: int | None) -> None:
        load = ToldLoad(**told)
        self.load = None if load == ToldLoad() else load

    def _answer_report(self, events: list[dict[str, Plain]]) -> None:
        """Hand over each event; a fault with one is ours: the server would send those again that were handed over."""
        fault: Failure | None = None
        for event in events:
            try:
                self._user.event(self, event)
            except Exception:
                fault = fault or Failure()
        if fault is not None:
            self._bug(fault, Report)

    # The connection.

    def tunnel_lost(self, why: Closing) -> None:
        """The control connection is over, and everything with it."""
        if self._workers is not None:
            self._workers.stop()
        if self.lane is not None:
            self.lane.stop(Closing(Cause.TUNNEL_LOST, f"the tunnel is down: {why}"))
        self._down_told(self, why)
