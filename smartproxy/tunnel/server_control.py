"""The server's end of one client's control connection, with the data connections that belong to it.

Duty: answer the client's questions, ask it to open sessions, issue tickets and match data connections with them. A
fault of an opening keeps its class on the way, whichever daemon raised it. Everything here ends with the control
connection: questions, tickets, and the sessions on its data connections. Trusts the client to be the one that its
certificate names, and nothing more.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any
from typing import Protocol as Shape

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.logs.severity import Severity
from smartproxy.net.deadline import Deadline
from smartproxy.net.leg import ILeg, Why
from smartproxy.policy import limits
from smartproxy.policy.callbacks import nothing
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import GenerationId
from smartproxy.policy.faults import StationUnreachable, TunnelLost
from smartproxy.policy.loads import ToldLoad
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.versions import Part
from smartproxy.relay.openings import CallWish, SessionFacts
from smartproxy.tunnel.bond import Bond
from smartproxy.tunnel.chunks import Assembly, Chunk
from smartproxy.tunnel.contexts import VerifiedClient
from smartproxy.tunnel.control import Answer, BoundedAMP, Responder
from smartproxy.tunnel.desk import Desk, not_opened
from smartproxy.tunnel.faults import (
    Closing,
    ConfigurationDeclined,
    NotNow,
    OpeningFailed,
    QuestionExpired,
    QuestionFailed,
    TunnelFault,
    Violation,
)
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
    SeenCrlUrl,
    SetLevel,
    Side,
    TunnelCommand,
    TunnelPhase,
    Workers,
)


class ServerUser(Shape):
    """A daemon in the DMZ, as its end of the tunnel sees it.

    It is told exactly once that a client connected, and exactly once that it is gone. An exception that a call does not
    document is a bug: it is reported as one and ends nothing else.
    """

    @property
    def in_force(self) -> GenerationId:
        """The generation that is in force, if there is one."""

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

    def set_level(self, control: "ServerControl", level: Severity) -> None:
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

    :ivar welcome: gives a client its name, by the oldest and newest protocol that it speaks; returns what the server
        says about itself. Raises
        :class:`VersionsIncompatible` when the two cannot work together, and :class:`NameTaken` when a client of this
        name is here and answers.
    :ivar up: told of a client that is ready.
    :ivar down: told of a client that is gone, whether it was ready or not.
    :ivar recognize: the client that a certificate in DER is for, by a challenge and its proof; raises
        :class:`Violation` if it is not one of ours.
    :ivar renewed: told of a client that has a newer certificate by now.
    :ivar shared: whether another process of the client, which is connected, has the same data connections.
    :ivar load: what the server tells of its load.
    :ivar call: calls a partner for a client; the ticket for the leg towards it. Raises :class:`OpeningFailed`.
    """

    welcome: Callable[["ServerControl", int, int], Coroutine[Any, Any, Part]]
    up: Callable[["ServerControl"], None]
    down: Callable[["ServerControl", Closing], None]
    recognize: Callable[[bytes, bytes, bytes], VerifiedClient]
    renewed: Callable[["ServerControl"], None]
    shared: Callable[["ServerControl"], bool]
    load: Callable[[], ToldLoad]
    call: "Call"


Call = Callable[["ServerControl", str, str, int, CallWish], Coroutine[Any, Any, bytes]]
"""Calls a partner: for a client, for a session, its name, within seconds, and how the client wants it."""


class ServerControl(BoundedAMP):
    """One client.

    :param clock: ``callLater``'s owner; with :func:`~smartproxy.logs.clock.make_steady` in a daemon.
    :ivar client: what its newest certificate says.
    :ivar client_name: the name in its certificate.
    :ivar desk: its data connections, where they are of this process; those of its older processes, too.
    :ivar yields: until when it lets a newer process of the client connect beside it.
    :ivar bond: what its data connections may prove themselves by.
    :ivar challenge: what the client proves by that it has the key of a newer certificate.
    :ivar elsewhere: the sessions that workers carry or open through this client.
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
        self.desk = Desk(client.name, clock, events)
        self.bond: Bond | None = None
        self.challenge = b""
        self.elsewhere: set[str] = set()
        self.yields = 0.0
        self._hello = Deadline(clock, self._no_hello)
        self._expiry = Deadline(clock, self._look)
        self._greeted = False

    @property
    def ready(self) -> bool:
        """Whether it takes new sessions."""
        return self.lost is None and self.asking is TunnelPhase.READY

    @property
    def load(self) -> int:
        """The number of sessions that it carries or opens."""
        return self.desk.load + len(self.elsewhere)

    def names(self) -> dict[str, object]:
        """The client's name, as fields of events."""
        return {"client": self.client_name}

    def told_with_ping(self) -> dict[str, object]:
        """The server's load."""
        return attrs.asdict(self._registry.load())

    # For the daemon.

    def open_inbound(
        self, session: str, facts: SessionFacts, *, seconds: float = limits.OPENING.default, why: Why = nothing
    ) -> Deferred[ILeg]:
        """Open a session inside for a verified partner.

        Fires with the leg towards the station when the station is ready. Fails with the
        :class:`~smartproxy.oftp2.errors.SessionFault` that the client raised, with
        :class:`~smartproxy.policy.faults.TunnelLost`, or with :class:`~smartproxy.policy.faults.StationUnreachable`
        where the client says nothing of use in time. Cancelling it ends what was begun, and the client is told
        what *why* says.
        """
        opening = self.desk.open_inbound(
            session, seconds, lambda ticket: self.ask_inside(session, ticket, facts, seconds), why
        )
        return Deferred.fromCoroutine(opening)

    def seen_crl_url(self, url: str, ca: str) -> None:
        """Tell the client of a revocation list that a verified certificate names; its answer is ignored."""
        self.ask(SeenCrlUrl, url=url, ca=ca).addErrback(self._unheard)

    def tell_workers(self, workers: Sequence[int]) -> None:
        """Tell the client which workers data connections are for; its answer is ignored."""
        self.ask(Workers, workers=workers).addErrback(self._unheard)

    def moved(self) -> None:
        """Send the client to the process that listens at the tunnel's port from now on."""
        self.ask(Moved).addErrback(self._unheard)

    def _unheard(self, failure: Failure) -> None:
        failure.trap(TunnelFault, TunnelLost, CancelledError, ValueError)

    async def ask_inside(self, session: str, ticket: bytes, facts: SessionFacts, seconds: float) -> None:
        """Ask the client to open its side of a session.

        :raises SessionFault: that says why it does not.
        """
        told = attrs.asdict(facts, recurse=False)
        try:
            await self.ask(
                OpenInbound, seconds=seconds, session=session, ticket=ticket, deadline=round(seconds), **told
            )
        except OpeningFailed as failed:
            raise failed.fault from failed
        except (QuestionFailed, NotNow) as fault:
            raise StationUnreachable(rule=Cause.TUNNEL_QUESTION, message=str(fault)) from fault
        except QuestionExpired as fault:
            raise not_opened(seconds) from fault

    # Answering.

    def responders(self) -> Mapping[type[TunnelCommand], Responder]:
        """What answers the client's questions."""
        return {
            Hello: self._answer_hello,
            Configure: self._answer_configure,
            OpenOutbound: self._answer_open_outbound,
            CloseSession: partial(self._user.close_session, self),
            SetLevel: partial(self._user.set_level, self),
            Renewed: self._answer_renewed,
            Moved: self._answer_moved,
            Drain: self._answer_drain,
            Ping: lambda **_: None,
        }

    def _answer_moved(self) -> None:
        self.yields = self._clock.seconds() + limits.SUCCESSION_SECONDS

    def succeed(self, older: "ServerControl") -> None:
        """Take over the data connections of an older process of the client, which are the client's, not a process's."""
        self.desk = older.desk

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
            "generation": self._user.in_force.number,
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
        if not offered.replaces(self._user.in_force):
            self._assembly.clear()
            return self._holding(GenerationState.OLD)
        piece = Chunk(generation=offered, number=number, size=size, digest=digest, octets=chunk)
        whole = self._assembly.add(piece)
        if whole is None:
            return self._holding(GenerationState.MORE)
        try:
            self._user.configuration_arrived(self, offered, whole)
        except DocumentRefused as refused:
            raise ConfigurationDeclined(str(refused)) from refused
        return self._holding(GenerationState.ACCEPTED)

    def _holding(self, state: GenerationState) -> Answer:
        held = self._user.in_force
        return {"state": state, "held": held.number, "store": held.store}

    def _answer_open_outbound(self, session: str, partner: str, deadline: int, **wish: Any) -> Deferred[Answer]:
        return Deferred.fromCoroutine(self._open_outbound(session, partner, deadline, CallWish(**wish)))

    async def _open_outbound(self, session: str, partner: str, deadline: int, wish: CallWish) -> Answer:
        ticket = await self._registry.call(self, session, partner, deadline, wish)
        return {"ticket": ticket}

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
        self._expiry.start(min(max(0.0, left), limits.CLOCK_LOOK_SECONDS))

    def _look(self) -> None:
        """End the tunnel if the certificate has expired. The time of day may have been put right meanwhile."""
        if now(self._clock) >= self.client.not_after:
            self._expired()
        else:
            self._watch_certificate()

    def _expired(self) -> None:
        message = "the client's tunnel certificate expired and was not renewed"
        self.close(Closing(Cause.CERTIFICATE_EXPIRED, message))

    def _answer_renewed(self, certificate: bytes, proof: bytes) -> None:
        client = self._registry.recognize(certificate, self.challenge, proof)
        if client.name != self.client_name:
            raise Violation(Cause.TUNNEL_UNPROVED, "the newer certificate is for another client")
        if (client.not_after, client.not_before) > (self.client.not_after, self.client.not_before):
            self.client = client
            self._registry.renewed(self)
            self._watch_certificate()

    def tunnel_lost(self, why: Closing) -> None:
        """The control connection is over, and everything with it."""
        self._hello.stop()
        self._expiry.stop()
        self._assembly.clear()
        if not self._registry.shared(self):
            self.desk.stop(why, self.gone())
        self._registry.down(self, why)

    def _no_hello(self) -> None:
        self.close(Closing(Cause.TUNNEL_HELLO, f"no Hello within {limits.HELLO_SECONDS:g} s"))
