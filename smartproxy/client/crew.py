"""The client's sessions in worker processes, as the supervisor sees them.

Duty: give each session and each caller to the worker with the least to do, bring every worker what it needs (the
configuration, and where servers are and what is shown to them), and take back the places of what a worker took along
when it died. Reads no octet of a session or of a caller. Takes every worker for hostile: what it says about a session
that it does not carry changes nothing.
"""

import contextlib
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, DeferredList, TimeoutError
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from typing_extensions import override

from smartproxy.client.crew_lane import CrewLane
from smartproxy.client.house import Questions
from smartproxy.client.wanted_calls import WantedCall
from smartproxy.client.words import (
    CALL_SECONDS,
    Adopt,
    AskCall,
    ClientLink,
    CountConnections,
    ForgetServer,
    HearStation,
    KeepRecord,
    KnowServer,
    OpenSession,
    StationHeard,
    StationTried,
    TakeCaller,
    TryOut,
)
from smartproxy.ctl.statuses import ToldWorker
from smartproxy.logs.emit import Events
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.policy.faults import OwnFault, StationUnreachable
from smartproxy.policy.outcomes import Participant
from smartproxy.policy.schema import read_object, write_object
from smartproxy.policy.settings import Pool, Station
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.tunnel.boxes import Plain, line
from smartproxy.tunnel.control import Answer, Responder
from smartproxy.tunnel.faults import OpeningFailed, TunnelFault, Violation
from smartproxy.tunnel.lane import Inbound
from smartproxy.tunnel.vocabulary import TunnelCommand
from smartproxy.workers.crew import Crew
from smartproxy.workers.members import CrewMember, CrewUser, tell_lost
from smartproxy.workers.packets import Closeable
from smartproxy.workers.sessions import WORKER_ANSWER_SECONDS, CrewSessions
from smartproxy.workers.spawning import Zygote

_A = TypeVar("_A", bound=attrs.AttrsInstance)
_ANSWER_SECONDS = 5.0
"""Beyond a session's deadline, which the worker keeps itself."""
_LESSONS = (Adopt, KnowServer, ForgetServer)
"""What workers are born with: it needs no connection."""


class CrewHouse(CrewUser):
    """Where a client's sessions live whose processes are workers; see :class:`~smartproxy.client.house.House`.

    :param zygote: makes the processes; forked before :meth:`start`.
    :param count: how many workers there are.
    :param single: whether each session has a process of its own, and ``count`` are ready for the next ones.
    :param ruined: told that there can be no workers any more.
    """

    def __init__(
        self,
        reactor: Any,
        events: Events,
        questions: Questions,
        zygote: Zygote,
        *,
        count: int,
        single: bool = False,
        ruined: Callable[[], object] = lambda: None,
    ) -> None:
        self._count = count
        self._reactor = reactor
        self._events = events
        self._told = 0
        self._choosing = 0
        self._questions = questions
        self._single = single
        self._configuration = ClientConfiguration()
        self._lanes: dict[int, CrewLane] = {}
        self.crew = Crew(reactor, events, zygote, count=count, kind=ClientLink, user=self, single=single, ruined=ruined)
        self.sessions = CrewSessions(reactor, events, self.crew)

    @property
    def workers(self) -> tuple[ToldWorker, ...]:
        """The workers, as the crew knows them."""
        return self.crew.condition()

    @property
    def able(self) -> bool:
        """Whether a worker takes what comes."""
        return self.crew.able

    @property
    def lacks_workers(self) -> bool:
        """Whether no worker was ready for some seconds."""
        return self.crew.lacking

    @property
    def pending(self) -> bool:
        """Whether a worker is chosen for a caller, or has one that is no session yet."""
        live = self.crew.live
        return self._choosing > 0 or any(held not in live for member in self.crew.started for held in member.holds)

    def start(self) -> None:
        """Have the workers made."""
        self.crew.start()

    async def stop(self) -> None:
        """End them."""
        await self.crew.stop()

    def tell(self, command: type[TunnelCommand], **arguments: Any) -> None:
        """Tell all workers."""
        self._told += 1
        for member in self.crew.members:
            member.link.tell(command, **arguments)
        if command in _LESSONS:
            self.crew.teach(command, **arguments)

    def ready_of(self, pool: Pool) -> int:
        """How many data connections a worker keeps ready; one that waits for its only session keeps none."""
        return 0 if self._single else -(-pool.ready // self._count)

    # House

    def lane(self, number: int, host: str, port: int, pool: Pool) -> CrewLane:
        """What the workers are told of a server, which they dial."""
        keeps = not self._single
        lane = CrewLane(number, host, port, pool, tell=self.tell, ready=self.ready_of, keeps=keeps)
        self._lanes[number] = lane
        return lane

    def forget(self, number: int) -> None:
        """Have the workers forget a server."""
        if self._lanes.pop(number, None) is not None:
            self.tell(ForgetServer, server=number)

    def adopt(self, configuration: ClientConfiguration) -> None:
        """Bring the workers this configuration."""
        self._configuration = configuration
        self.tell(Adopt, client=self._adopted())
        for lane in self._lanes.values():
            lane.pool = configuration.pool
            lane.bring_all()

    async def open_inbound(self, server: int, inbound: Inbound) -> None:
        """Have a worker open a session that a server asks for.

        :raises SessionFault: if no worker is ready in time, or the worker cannot open it.
        """
        session = inbound.session
        try:
            member = await self.crew.choose().addTimeout(inbound.seconds, self._reactor)
        except TimeoutError as fault:
            self._questions.over(session)
            raise StationUnreachable(rule=Cause.WORKER_START, message="no worker process is ready") from fault
        except BaseException:
            # The tunnel broke meanwhile.
            self._questions.over(session)
            raise
        self._carry(member, session)
        told = attrs.asdict(inbound.facts, recurse=False)
        try:
            await member.link.ask(
                OpenSession,
                seconds=inbound.seconds + _ANSWER_SECONDS,
                server=server,
                session=session,
                ticket=inbound.ticket,
                deadline=inbound.seconds,
                **told,
            )
        except OpeningFailed as failed:
            raise failed.fault from failed
        except TunnelFault as fault:
            self._give_up(member, session)
            raise StationUnreachable(rule=Cause.TUNNEL_QUESTION, message=str(fault)) from fault

    def factory(self, partner: str) -> IProtocolFactory:
        """What gives a caller's connection to a worker before anything is read of it."""
        return _Accepting(self, partner)

    def take_caller(self, accepted: Closeable, partner: str) -> None:
        """Give a caller's connection to a worker; where there is none in time, it is closed."""
        session = secrets.token_hex(8)

        def give(member: CrewMember) -> Deferred[Answer]:
            self._carry(member, session)
            given = member.link.hand_over(TakeCaller, accepted, partner=partner, session=session)
            return given.addErrback(not_given, member)

        def not_given(failure: Failure, member: CrewMember) -> Failure:
            self._give_up(member, session)
            return failure

        def failed(failure: Failure) -> None:
            accepted.close()
            if failure.check(TimeoutError, OwnFault, TunnelFault) is None:
                self._events.failure("smartproxy.client.crew", failure)

        def settled(_: object) -> None:
            self._choosing -= 1

        self._choosing += 1
        chosen = self.crew.choose().addTimeout(limits.CALLER_SECONDS, self._reactor)
        chosen.addCallback(give).addErrback(failed).addBoth(settled)

    async def try_out(self, session: str, partner: str | None) -> None:
        """Have a worker call a partner or, for ``None``, the station, as soon as one is ready."""
        await self._have_one(TryOut, session, partner=partner)

    async def hear_station(self) -> None:
        """Have a worker call the station up to its greeting, as soon as one is ready."""
        await self._have_one(HearStation, secrets.token_hex(8))

    async def _have_one(self, command: type[TunnelCommand], session: str, **told: Any) -> None:
        """Have one worker do something, until it says that what it does is over."""
        member = await self.crew.choose()
        self._carry(member, session)
        with contextlib.suppress(OwnFault, TunnelFault):
            await member.link.ask(command, seconds=CALL_SECONDS, session=session, **told)

    async def look(self) -> None:
        """Ask the workers for their sessions and the number of their data connections."""
        looking = [self.sessions.look(), *map(self._count_connections, self._lanes.values())]
        await DeferredList([Deferred.fromCoroutine(each) for each in looking], consumeErrors=True)

    async def _count_connections(self, lane: CrewLane) -> None:
        told = {"seconds": WORKER_ANSWER_SECONDS, "server": lane.number}
        asked = [member.link.ask(CountConnections, **told) for member in self.crew.members]
        found = await DeferredList(asked, consumeErrors=True)
        lane.count = sum(answer["count"] for well, answer in found if well)

    # CrewUser

    @override
    def facts(self) -> dict[str, Plain]:
        return {"single": self._single}

    @override
    def responders(self, member: CrewMember) -> Mapping[type[TunnelCommand], Responder]:
        return {
            AskCall: partial(self._call, member),
            StationTried: partial(self._called, self._questions.tried),
            StationHeard: partial(self._called, self._questions.heard),
            KeepRecord: self._keep_record,
        }

    @override
    def prepare(self, member: CrewMember) -> Deferred[None]:
        return Deferred.fromCoroutine(self._prepare(member))

    async def _prepare(self, member: CrewMember) -> None:
        told, brought = -1, set[int]()
        while told != self._told:
            # What is told meanwhile goes to those alone that are ready.
            told = self._told
            knows = member.lessons == self.crew.lessons
            if not knows:
                await member.link.ask(Adopt, client=self._adopted())
            for number in brought - self._lanes.keys():
                await member.link.ask(ForgetServer, server=number)
            brought = set(self._lanes)
            for lane in list(self._lanes.values()):
                await lane.bring(member, knows=knows)

    @override
    def ready(self, member: CrewMember) -> None:
        """Do nothing: the daemon needs no word of a ready worker."""

    @override
    def over(self, member: CrewMember, session: str) -> None:
        """Give back the place, if it has one."""
        let_go = member.holds.pop(session, None)
        if let_go is not None:
            let_go()

    @override
    def died(self, member: CrewMember) -> None:
        """Tell the end of its sessions; their places are given back by now."""
        tell_lost(self._events, member.sessions.values(), Participant.CLIENT, self._reactor.seconds())

    # Sessions.

    def _carry(self, member: CrewMember, session: str) -> None:
        """A worker has what becomes a session, until it says that it is over, or dies."""
        member.holds[session] = partial(self._questions.over, session)

    def _give_up(self, member: CrewMember, session: str) -> None:
        """A worker was not told of what it was to carry."""
        self.over(member, session)
        self.crew.rest(member)

    def _call(self, member: CrewMember, session: str, **wanted: Any) -> Deferred[Answer]:
        if session not in member.holds:
            raise Violation(Cause.SESSION_OPEN, "the session is not this worker's")
        calling = self._questions.call(session, WantedCall(**wanted))
        return calling.addCallback(lambda granted: attrs.asdict(granted))

    def _called(
        self, tell: Callable[[Station, str | None], None], station: list[dict[str, Plain]], message: str | None
    ) -> None:
        tell(_read(Station, station), message)

    def _keep_record(self, packed: bytes, rest: bytes) -> None:
        self._questions.recorded(packed + rest)

    def _adopted(self) -> list[bytes]:
        client: Any = write_object(self._configuration)
        return [line(client)]


def _read(cls: type[_A], objects: list[dict[str, Plain]]) -> _A:
    """The one object that a worker told.

    :raises Violation: if it is not what it has to be.
    """
    try:
        (value,) = objects
        return read_object(cls, value)
    except (ValueError, DocumentRefused) as error:
        raise Violation(Cause.VALUE_MALFORMED, "not the object that was asked for") from error


class _Accepting(Factory):
    """Takes callers' connections, and reads nothing."""

    noisy = False

    def __init__(self, house: CrewHouse, partner: str) -> None:
        self._house = house
        self._partner = partner

    @override
    def buildProtocol(self, addr: IAddress | None) -> "_Passing":
        return _Passing(self._house, self._partner)


class _Passing(Protocol):
    """One connection, which leaves this process as soon as it is there."""

    def __init__(self, house: CrewHouse, partner: str) -> None:
        self._house = house
        self._partner = partner

    def connectionMade(self) -> None:
        """Pass it on."""
        stream: Any = self.transport
        self._house.take_caller(stream.detach(), self._partner)
