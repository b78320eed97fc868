"""What one worker has, and what it may therefore say.

Duty: answer the questions of one worker, which is taken for hostile: it may speak of connections that it was handed, of
sessions that it began, and of addresses that it had connections of. Anything else is a violation, which ends it. Places
and penalties are counted here for all workers together; a worker counts nothing.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from smartproxy.logs.emit import Events
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy import limits
from smartproxy.policy.addresses import network_of, prefix_of
from smartproxy.policy.admission import Denied, Visit
from smartproxy.policy.callbacks import nothing
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault, StopReason, TunnelLost
from smartproxy.policy.outcomes import Participant
from smartproxy.policy.penalties import Deaths, Fault
from smartproxy.policy.turns import Turns
from smartproxy.relay.openings import SessionFacts
from smartproxy.server.accept import Gate
from smartproxy.server.dial.sources import Sources
from smartproxy.server.words import (
    Assign,
    BeginCall,
    Blame,
    DataProved,
    Displaced,
    EndCall,
    Left,
    NoPlace,
    OpenInside,
    Prove,
    SourceGone,
    Spoke,
)
from smartproxy.tunnel.control import Answer, Responder
from smartproxy.tunnel.faults import OpeningFailed, Violation
from smartproxy.tunnel.server_control import ServerControl
from smartproxy.tunnel.vocabulary import SeenCrlUrl, TunnelCommand
from smartproxy.workers.members import CrewMember, tell_lost


@attrs.frozen(kw_only=True)
class WorkerQuestions:
    """What is asked of the daemon for its workers.

    :ivar assign: chooses the client that carries a session; raises an ``OwnFault`` if none can.
    :ivar call: a client wants a partner called, for a session that it carries; raises a ``SessionFault`` if that
        cannot be.
    :ivar carrier: the client that carries a session.
    :ivar seconds: how long an opening may take.
    :ivar over: told of a session that is over, also if it never began.
    :ivar crl_url_seen: see :class:`~smartproxy.server.sessions.PartnerSessions`.
    :ivar stop: has the daemon stop.
    """

    assign: Callable[[str], ServerControl]
    call: Callable[[ServerControl, str], None]
    carrier: Callable[[str], ServerControl | None]
    seconds: Callable[[], int]
    over: Callable[[str], object]
    crl_url_seen: Callable[[str, str], object]
    stop: Callable[[StopReason], object]


class Claims:
    """What one worker has been given, and the answers to its questions.

    :param gate: counts places and faults.
    :param questions: the daemon.
    :param sources: reports missing source addresses.
    :param events: where the end of sessions is told that a worker cannot tell any more.
    :param turns: the connections of all workers whose TLS has not begun.
    :param numbers: those of connections, the same for all workers: none has a number of another one's.
    :param relieved: called whenever the worker has one connection less.
    :param met: told of an address from which a client proved itself to the worker.
    """

    def __init__(
        self,
        member: CrewMember,
        gate: Gate,
        questions: WorkerQuestions,
        sources: Sources,
        events: Events,
        turns: Turns[Visit],
        numbers: Iterator[int],
        relieved: Callable[[], object] = lambda: None,
        met: Callable[[str], object] = nothing,
    ) -> None:
        self._member = member
        self._turns = turns
        self._numbers = numbers
        self._relieved = relieved
        self._met = met
        self._gate = gate
        self._questions = questions
        self._sources = sources
        self._events = events
        self._visits: dict[int, tuple[str, Visit]] = {}
        self._hosts: OrderedDict[str, None] = OrderedDict()
        self._dialled: OrderedDict[str, None] = OrderedDict()
        self._calls: list[str] = []

    def handed(self, host: str, visit: Visit) -> int:
        """The worker is handed a connection; the number by which it speaks of it."""
        number = next(self._numbers)
        self._visits[number] = host, visit
        _remember(self._hosts, host)
        self._member.holds[number] = visit.leave
        visit.displaced = partial(self._displaced, number)
        return number

    def not_handed(self, number: int, *, late: bool) -> None:
        """The worker lives, and did not get a connection that it was handed: the place is free.

        :param late: whether it may get it all the same; then it closes it, and says that it has left.
        """
        found = self._visits.get(number)
        if found is None:
            return
        if late:
            self._member.link.tell(Displaced, visit=number)
        else:
            del self._visits[number]
        visit = found[1]
        self._turns.leave(visit)
        visit.leave()
        self._member.holds.pop(number, None)
        self._relieved()

    def dialled(self, host: str) -> None:
        """The worker is handed a data connection of the tunnel from this address."""
        _remember(self._dialled, prefix_of(host))

    def died(self, deaths: Deaths, now: float) -> None:
        """The worker is gone: tell the end of its sessions; who had workers die before is to blame."""
        there = [(host, visit.partner) for host, visit in self._visits.values()]
        names = {host for host, _ in there} | {_of(partner) for _, partner in there if partner is not None}
        many = deaths.count(names | set(map(_of, self._calls)), now)
        self.ended(now, many)
        for host in {host for host, partner in there if host in many or (partner is not None and _of(partner) in many)}:
            self._gate.fault(host, Fault.DEATHS)

    def ended(self, now: float, many: Collection[str] = ()) -> None:
        """The worker is gone, as it was to: end what it did not.

        :param many: the called partners that are to blame, as :class:`~smartproxy.policy.penalties.Deaths` names them.
        """
        tell_lost(self._events, self._member.sessions.values(), Participant.SERVER, now)
        for session in self._member.sessions:
            self._questions.over(session)
        for _, visit in self._visits.values():
            self._turns.leave(visit)
        for called in self._calls:
            self._gate.end_call(called, Fault.DEATHS if _of(called) in many else None)

    def responders(self) -> Mapping[type[TunnelCommand], Responder]:
        """What answers the worker."""
        return {
            Spoke: self._spoke,
            Left: self._left,
            Prove: self._prove,
            Blame: self._blame,
            Assign: self._assign,
            OpenInside: self._open_inside,
            SeenCrlUrl: self._crl_url_seen,
            BeginCall: self._begin_call,
            EndCall: self._end_call,
            DataProved: self._data_proved,
            SourceGone: self._source_missing,
        }

    # Connections.

    def _displaced(self, number: int) -> None:
        self._member.link.tell(Displaced, visit=number)
        self._turns.leave(self._visits[number][1])
        self._member.holds.pop(number, None)
        self._relieved()

    def _visit(self, number: int) -> Visit | None:
        """A connection of the worker; ``None`` if it was displaced, which the worker could not know."""
        found = self._visits.get(number)
        if found is None:
            raise _violation("a worker speaks of a connection that it does not have")
        return found[1] if number in self._member.holds else None

    def _spoke(self, visit: int) -> None:
        entered = self._visit(visit)
        if entered is not None:
            self._turns.leave(entered)
            entered.speak(entered.displaced)

    def _left(self, visit: int) -> None:
        entered = self._visit(visit)
        host, left = self._visits.pop(visit)
        _remember(self._hosts, host)
        self._turns.leave(left)
        self._member.holds.pop(visit, None)
        if entered is not None:
            entered.leave()
        self._relieved()

    def _prove(self, visit: int, partner: str) -> None:
        entered = self._visit(visit)
        if entered is None:
            # It said so before it knew: a session that has no place ends with the reason.
            cause, most = Cause.QUOTA_DISPLACED, self._gate.admission.limits.connections
            raise NoPlace(Denied(rule=cause, message=cause.meaning, limit="connections", value=most))
        if entered.partner is not None:
            raise _violation("a worker proves a connection twice")
        try:
            entered.prove(partner)
        except Denied as denied:
            raise NoPlace(denied) from denied

    def _blame(self, host: str, fault: Fault) -> None:
        if host in self._hosts or any(host == there for there, _ in self._visits.values()):
            self._gate.fault(host, fault)
        elif len(self._hosts) < limits.WORKER_HOSTS_MOST:
            raise _violation("a worker blames an address that it has nothing to do with")
        # Else a flood may have made it forgotten since its last connection was over.

    def _data_proved(self, host: str) -> None:
        # No violation: a flood may have made it forgotten since the worker was handed the connection.
        if network_of(host) in self._dialled:
            self._met(host)

    # Sessions.

    def _assign(self, session: str) -> Answer:
        self._own(session)
        try:
            control = self._questions.assign(session)
        except OwnFault as fault:
            raise OpeningFailed(fault) from fault
        return {"client": control.client_name, "seconds": self._questions.seconds()}

    def _open_inside(self, session: str, ticket: bytes, **facts: Any) -> Deferred[Answer]:
        self._own(session)
        return Deferred.fromCoroutine(self._ask_inside(session, ticket, SessionFacts(**facts)))

    async def _ask_inside(self, session: str, ticket: bytes, facts: SessionFacts) -> Answer:
        control = self._questions.carrier(session)
        if control is None:
            raise OpeningFailed(TunnelLost(rule=Cause.TUNNEL_LOST, message=Cause.TUNNEL_LOST.meaning))
        try:
            await control.ask_inside(session, ticket, facts, self._questions.seconds())
        except SessionFault as fault:
            raise OpeningFailed(fault) from fault
        return {}

    def _own(self, session: str) -> None:
        if session not in self._member.sessions:
            raise _violation("a worker speaks of a session that it does not have")

    # Calls, and what else workers see.

    def _begin_call(self, partner: str) -> None:
        try:
            self._gate.begin_call(partner)
        except Denied as denied:
            raise NoPlace(denied) from denied
        self._calls.append(partner)

    def _end_call(self, partner: str, fault: Fault | None = None) -> None:
        if partner not in self._calls:
            raise _violation("a worker ends a call that it does not have")
        self._calls.remove(partner)
        self._gate.end_call(partner, fault)

    def _source_missing(self, address: str, partner: str) -> None:
        self._sources.report(address, [partner])

    def _crl_url_seen(self, url: str, ca: str) -> None:
        self._questions.crl_url_seen(url, ca)


def _remember(there: OrderedDict[str, None], host: str) -> None:
    """Remember that the worker had a connection from an address."""
    there[host] = None
    there.move_to_end(host)
    if len(there) > limits.WORKER_HOSTS_MOST:
        there.popitem(last=False)


def _of(partner: str) -> str:
    """A partner among addresses."""
    return f"partner {partner}"


def _violation(detail: str) -> Violation:
    return Violation(Cause.WORKER_VIOLATION, detail)
