"""The server's supervisor: partners' connections go to workers, which carry the sessions.

Duty: accept connections, keep limits and penalties exact whichever worker has a connection, say which client carries a
session, ask the client for its side, and hand descriptors on. Reads no octet of a partner: a connection that was
accepted waits here until there is something to read, and is handed over unread. Takes a worker for hostile: it may
speak of its own connections and sessions alone.
"""

import fcntl
import itertools
import os
import socket
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO, Final

import attrs
from twisted.internet.defer import Deferred, DeferredList, TimeoutError
from twisted.python.failure import Failure

from smartproxy.ctl.statuses import ToldWorker
from smartproxy.logs.emit import Events
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.admission import Visit
from smartproxy.policy.callbacks import nothing
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ServerPart, dump
from smartproxy.policy.faults import OwnFault, PartnerUnreachable, Step, StopReason
from smartproxy.policy.penalties import Deaths
from smartproxy.policy.turns import Turns
from smartproxy.relay.openings import CallWish
from smartproxy.server.accept import Gate
from smartproxy.server.balancers import Balancers
from smartproxy.server.claims import Claims, WorkerQuestions
from smartproxy.server.dial.sources import Sources
from smartproxy.server.generation import ServerGeneration
from smartproxy.server.held import HeldFactory
from smartproxy.server.words import (
    SUBJECT_OCTETS_MOST,
    BondOver,
    CallPartner,
    ClientCame,
    ClientWent,
    DataCame,
    Forget,
    PartnerCame,
    PutInForce,
    ServerLink,
)
from smartproxy.tunnel.boxes import Plain
from smartproxy.tunnel.control import Answer, Responder
from smartproxy.tunnel.faults import Closing, OpeningFailed, QuestionExpired
from smartproxy.tunnel.places import preamble
from smartproxy.tunnel.server import ServerTunnel
from smartproxy.tunnel.server_control import ServerControl
from smartproxy.tunnel.vocabulary import TunnelCommand
from smartproxy.workers.crew import Crew
from smartproxy.workers.link import SILENCE_SECONDS
from smartproxy.workers.members import CrewMember
from smartproxy.workers.sessions import CrewSessions
from smartproxy.workers.spawning import Zygote

_NO_WORKER: Final = "no worker process is ready"


class ServerCrew(CrewSessions):
    """The sessions of a server with workers, as the daemon sees them: all of them, wherever they are.

    :param zygote: makes workers; forked already when :meth:`start` is called.
    :param count: how many there are.
    :param single: whether each session has a process of its own, and ``count`` wait for one.
    :param silence: seconds after which a worker without a sign of life is killed.
    :param withdrawn_until: which certificates of a client are withdrawn; :meth:`licence_renewed` when that has changed.
    :ivar generation: what new connections get.
    """

    def __init__(
        self,
        reactor: Any,
        events: Events,
        gate: Gate,
        tunnel: ServerTunnel,
        questions: WorkerQuestions,
        zygote: Zygote,
        *,
        count: int,
        single: bool = False,
        silence: float = SILENCE_SECONDS,
        withdrawn_until: Callable[[str], datetime | None] = lambda name: None,
    ) -> None:
        self.generation: ServerGeneration | None = None
        self.sources = Sources(reactor, events, questions.stop)
        self._reactor = reactor
        self._events = events
        self._gate = gate
        self._tunnel = tunnel
        self._questions = questions
        self._single = single
        self._withdrawn_until = withdrawn_until
        crew = Crew(
            reactor,
            events,
            zygote,
            count=count,
            kind=ServerLink,
            user=self,
            silence=silence,
            single=single,
            ruined=lambda: questions.stop(StopReason(Cause.WORKER_ZYGOTE, Cause.WORKER_ZYGOTE.meaning, 1)),
        )
        super().__init__(reactor, events, crew)
        self._claims: dict[CrewMember, Claims] = {}
        self._balancers: Balancers | None = None
        self._deaths = Deaths()
        self._turns: Turns[Visit] = Turns()
        self._numbers = itertools.count(1)
        self._part: ServerPart | None = None
        self._document: int | None = None
        tunnel.factory.move = self._data_came
        tunnel.call = self._call_partner

    # For the daemon: the sessions.

    def start(self) -> None:
        """Have the workers made."""
        self._crew.start()

    async def end(self) -> None:
        """End the workers: no session is left."""
        await self._crew.stop()
        self._hold_document(None)

    def adopt(self, generation: ServerGeneration) -> None:
        """Put a generation in force for new connections, in all workers."""
        self.generation = generation
        networks = generation.server.balancers
        self._gate.adopt(generation.server)
        self._balancers = Balancers(self._reactor, self._gate, networks) if networks else None
        self.sources.adopt(generation.server)
        self._put(generation.part)

    def forget(self, part: ServerPart | None = None) -> None:
        """Drop configuration and keys; see :meth:`~smartproxy.server.sessions.PartnerSessions.forget`."""
        self.generation = None
        self.sources.forget()
        if part is not None:
            self._put(part)
            return
        self._part = None
        self._hold_document(None)
        self._crew.teach(Forget)
        for member in self._crew.started:
            member.link.tell(Forget)

    def client_came(self, control: ServerControl) -> None:
        """A client is connected: its data connections are taken."""
        for member in self._crew.started:
            member.link.tell(ClientCame, **self._known(control, member))

    def licence_renewed(self) -> None:
        """Tell the workers which certificates of the clients that are connected are withdrawn now."""
        for control in self._tunnel.controls:
            self.client_came(control)

    def client_went(self, control: ServerControl, why: Closing, *, last: bool) -> None:
        """A control connection is over, and its bond; with the last one of a client, its data connections end."""
        for member in self._crew.started:
            if control.bond is not None:
                member.link.tell(BondOver, bond=control.bond.name)
            if last:
                member.link.tell(ClientWent, client=control.client_name, cause=why.cause, message=why.message)

    def condition(self) -> tuple[ToldWorker, ...]:
        """Each worker for an operator."""
        return self._crew.condition()

    @property
    def able(self) -> bool:
        """Whether a worker takes what comes."""
        return self._crew.able

    @property
    def lacks_workers(self) -> bool:
        """Whether no worker was ready for some seconds."""
        return self._crew.lacking

    # For the daemon: connections.

    def factory(self) -> HeldFactory:
        """What takes partners' connections."""
        return HeldFactory(
            self._reactor,
            self._gate,
            lambda: self.generation,
            lambda: self._balancers,
            self.hand_over,
            lambda prefix: self._turns.is_hasty(prefix, self._reactor.seconds()),
        )

    def hand_over(
        self, caller: HostPort, visit: Visit, accepted: float, until: float, connection: socket.socket
    ) -> None:
        """Hand a partner's connection to the worker with the least to do; if none is ready in time, close it.

        :param accepted: when it was accepted, by the clock.
        :param until: when it is closed if no worker is ready.
        """
        chosen = self._crew.choose()

        def displaced() -> None:
            self._gate.displaced(str(caller))
            chosen.cancel()

        def not_chosen(failure: Failure) -> None:
            visit.leave()
            connection.close()
            if failure.check(TimeoutError) is not None:
                self._no_worker(caller)

        if not chosen.called:
            visit.displaced = displaced
            chosen.addTimeout(max(0.0, until - self._reactor.seconds()), self._reactor)
        chosen.addCallbacks(self._partner_came, not_chosen, (caller, visit, accepted, connection))

    def _partner_came(
        self, member: CrewMember, caller: HostPort, visit: Visit, accepted: float, connection: socket.socket
    ) -> None:
        times = self._turns.came(visit.prefix, self._reactor.seconds())
        self._turns.wait(visit, times, known=visit.known)
        number = self._claims[member].handed(caller.host, visit)
        member.link.hand_over(
            PartnerCame,
            connection,
            visit=number,
            host=caller.host,
            port=caller.port,
            known=int(visit.known),
            age=round((self._reactor.seconds() - accepted) * 1000),
        ).addErrback(self._not_handed, member, number, caller)

    def _not_handed(self, failure: Failure, member: CrewMember, number: int, caller: HostPort) -> None:
        # Questions fail before it is told that the link is over; then what the worker had is given back at once.
        if member.link.lost is None:
            self._claims[member].not_handed(number, late=failure.check(QuestionExpired) is not None)
            self._no_worker(caller)

    def _no_worker(self, caller: HostPort) -> None:
        """Report now and then that connections are closed which no worker takes."""
        self._gate.turn_away("", str(caller), Cause.WORKER_START, _NO_WORKER)

    def _data_came(self, worker: int, connection: socket.socket, address: tuple[Any, ...], known: bool) -> None:
        member = self._crew.numbered(worker)
        if member is None:
            connection.close()
            return
        self._claims[member].dialled(address[0])
        answer = member.link.hand_over(DataCame, connection, host=address[0], port=address[1], known=int(known))
        answer.addErrback(lambda failure: None)

    async def _call_partner(
        self, control: ServerControl, session: str, partner: str, seconds: int, wish: CallWish
    ) -> bytes:
        """Have a worker call a partner for the station; the ticket for the leg towards it."""
        try:
            self._questions.call(control, session)
        except SessionFault as fault:
            raise OpeningFailed(fault) from fault
        try:
            member = await self._crew.choose().addTimeout(seconds, self._reactor)
        except TimeoutError as late:
            self._questions.over(session)
            unreachable = PartnerUnreachable.at(Step.CONNECT, _NO_WORKER, Cause.WORKER_START)
            raise OpeningFailed(unreachable) from late
        except BaseException:
            # The client does not wait any more.
            self._questions.over(session)
            raise
        member.holds[session] = nothing
        try:
            answer = await member.link.ask(
                CallPartner,
                seconds=seconds,
                session=session,
                client=control.client_name,
                partner=partner,
                deadline=seconds,
                **attrs.asdict(wish, recurse=False),
            )
        except OwnFault as fault:
            self._give_up(member, session)
            raise OpeningFailed(fault) from fault
        except Exception:
            self._give_up(member, session)
            raise
        ticket: bytes = answer["ticket"]
        return ticket

    def _give_up(self, member: CrewMember, session: str) -> None:
        """Forget a call that a worker could not make."""
        self.over(member, session)
        self._crew.rest(member)

    # CrewUser

    def facts(self) -> dict[str, Plain]:
        """What a worker is told with its first word: whether it carries one session."""
        return {"single": self._single}

    def responders(self, member: CrewMember) -> Mapping[type[TunnelCommand], Responder]:
        """What answers a worker."""
        relieved = partial(self._crew.rest, member)
        claims = self._claims[member] = Claims(
            member,
            self._gate,
            self._questions,
            self.sources,
            self._events,
            self._turns,
            self._numbers,
            relieved,
            self._tunnel.factory.know,
        )
        return claims.responders()

    def prepare(self, member: CrewMember) -> Deferred[None]:
        """Bring a worker the clients, and the configuration if it was not born with it."""
        brought = [member.link.ask(ClientCame, **self._known(control, member)) for control in self._tunnel.controls]
        if member.lessons < self._crew.lessons:
            brought.append(member.link.ask(Forget) if self._part is None else self._bring(member))
        return DeferredList(brought, fireOnOneErrback=True, consumeErrors=True).addCallback(lambda _: None)

    def ready(self, member: CrewMember) -> None:
        """A worker takes connections: clients dial some for it."""
        self._tell_workers()

    def died(self, member: CrewMember) -> None:
        """Its sessions are over, and it may be to blame on whom it served."""
        claims, now = self._claims.pop(member), self._reactor.seconds()
        if member.leaving:
            claims.ended(now)
        else:
            claims.died(self._deaths, now)
        self._tell_workers()

    def over(self, member: CrewMember, session: str) -> None:
        """A session is over, or a call did not become a session."""
        member.holds.pop(session, None)
        self._questions.over(session)

    def _tell_workers(self) -> None:
        self._tunnel.tell_workers(member.number for member in self._crew.members)

    # The configuration.

    def _put(self, part: ServerPart) -> None:
        """Bring all workers a generation; one that does not take it is ended, and the next one gets it."""
        self._part = part
        document = os.memfd_create("smartproxy-generation", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with open(document, "wb", closefd=False) as file:
            file.write(dump(part))
        # No worker can change what the next one reads.
        fcntl.fcntl(document, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        self._hold_document(document)
        self._crew.teach(PutInForce, self._copy(), generation=part.generation)
        for member in self._crew.started:
            self._bring(member).addErrback(self._not_brought, member)

    def _bring(self, member: CrewMember) -> Deferred[Answer]:
        assert self._part is not None
        return member.link.hand_over(PutInForce, self._copy(), generation=self._part.generation)

    def _copy(self) -> BinaryIO:
        """The document, for a link that closes it."""
        assert self._document is not None
        return open(os.dup(self._document), "rb")

    def _not_brought(self, failure: Failure, member: CrewMember) -> None:
        # Questions fail before it is told that the link is over.
        if member.link.lost is None:
            self._events.failure("smartproxy.server.crew", failure)
            member.link.abort(Closing(Cause.WORKER_START, Cause.WORKER_START.meaning))

    def _hold_document(self, document: int | None) -> None:
        before, self._document = self._document, document
        if before is not None:
            os.close(before)

    def _known(self, control: ServerControl, member: CrewMember) -> dict[str, Any]:
        """What a worker has to know of a client: of its bond, the key of the worker's own data connections alone."""
        client, bond, until = control.client, control.bond, self._withdrawn_until(control.client_name)
        return {
            "client": client.name,
            "since": int(client.not_before.timestamp()),
            "until": int(client.not_after.timestamp()),
            "subject": client.subject.encode()[:SUBJECT_OCTETS_MOST],
            "withdrawn": None if until is None else int(until.timestamp()),
            "bond": None if bond is None else bond.name,
            "key": None if bond is None else bond.key(preamble(member.number)),
        }
