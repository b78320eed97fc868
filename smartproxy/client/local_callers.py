"""Callers inside, and the sessions that they begin.

Duty: read what a caller asks for, have the daemon find and reach the partner, and relay between the two, judging every
octet a second time. A call that fails is answered in the caller's protocol: an HTTP status, a SOCKS reply, or, on the
port of a single partner, SSRM and ESID 08 with the cause. Being inside earns a caller no trust.

Standards: RFC 5024 sections 4.2 (start of a session) and 5.3.11 (ESID).
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure

from smartproxy.client.wanted_calls import CallDenied, GrantedCall, WantedCall
from smartproxy.logs.emit import Events
from smartproxy.net.leg import ILeg
from smartproxy.net.proxying.requester import RequesterFactory, RequesterLeg, either_way
from smartproxy.net.proxying.ways import ConnectFailure, Target
from smartproxy.net.sessions import LiveSessions
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.policy.faults import PartnerUnreachable, Step
from smartproxy.relay.openings import Opening, SessionFacts, Way, client_excuse, client_outbound

_FAILURES: Final[Mapping[Cause | Step, ConnectFailure]] = {
    Cause.CALL_NO_ANSWER: ConnectFailure.TIMED_OUT,
    Cause.CALL_REFUSED: ConnectFailure.REFUSED,
    Cause.CALL_NO_ROUTE: ConnectFailure.NO_ROUTE,
    Step.POLICY: ConnectFailure.NOT_ALLOWED,
    Step.NAME: ConnectFailure.NO_NAME,
    Step.TLS: ConnectFailure.NOT_ACCEPTABLE,
    Step.SSRM: ConnectFailure.NOT_ACCEPTABLE,
}


def connect_failure(fault: PartnerUnreachable) -> ConnectFailure:
    """The reply of HTTP CONNECT or SOCKS that fits the failure of a call."""
    return _FAILURES.get(fault.cause) or _FAILURES.get(fault.step, ConnectFailure.NOT_READY)


def fault_of_call(error: SessionFault) -> PartnerUnreachable:
    """The fault of a call, as the station is told of it."""
    if isinstance(error, PartnerUnreachable):
        return error
    known = next((cause for cause in Cause if cause == error.rule), None)
    return PartnerUnreachable.at(Step.CONNECT, error.message, known)


@attrs.define(eq=False)
class _Host:
    """The callers of one listener.

    :ivar partner: the partner that they want; empty where they name it themselves.
    :ivar session: the id of the one session that may come of it, where that is known before.
    """

    callers: "Callers"
    partner: str
    session: str | None = None

    def requested(self, leg: RequesterLeg, target: Target | None) -> None:
        """A caller named its partner, or its port did."""
        self.callers.requested(leg, target, self.partner, self.session)

    def malformed(self, leg: RequesterLeg, cause: str) -> None:
        """A caller's request is malformed."""
        self.callers.tell_malformed(leg, cause, self.session)

    def left(self, leg: RequesterLeg, cause: str) -> None:
        """A caller did not wait for the answer."""
        self.callers.left(leg, self.session)


class Callers:
    """All callers of one process.

    :param reactor: runs every deadline.
    :param events: where everything is told.
    :param configuration: tells the configuration in force.
    :param sessions: the live sessions; those that begin here are among them.
    :param call: has a server call a partner; see :class:`~smartproxy.client.house.Questions`.
    :param over: told of each session that does not begin.
    :param attach: makes the leg towards a server, by the server's number and the ticket.
    :param new_id: makes the id of a session.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        events: Events,
        configuration: Callable[[], ClientConfiguration],
        sessions: LiveSessions,
        call: Callable[[str, WantedCall], Deferred[GrantedCall]],
        over: Callable[[str], None],
        attach: Callable[[int, bytes], Coroutine[Any, Any, ILeg]],
        new_id: Callable[[], str],
    ) -> None:
        self._reactor = reactor
        self._events = events
        self._configuration = configuration
        self._sessions = sessions
        self._ask = call
        self._over = over
        self._attach = attach
        self._new_id = new_id
        self._waiting: dict[RequesterLeg, Deferred[None]] = {}
        self._listening: list[RequesterFactory] = []

    def factory(self, partner: str, session: str | None = None) -> RequesterFactory:
        """What takes the callers of a listener.

        :param partner: the partner that they want; empty where they name it themselves.
        :param session: the id of the session, for a single caller; :attr:`over <house.Questions>` is told it then,
            whatever comes of the caller.
        """
        factory = RequesterFactory(
            self._reactor,
            _Host(self, partner, session),
            seconds=limits.CALLER_SECONDS,
            closing=lambda: self._configuration().deadlines.closing,
            dialogue=None if partner else either_way,
        )
        if session is None:
            self._listening.append(factory)
        return factory

    @property
    def pending(self) -> bool:
        """Whether there is a caller that has no session, and may get one."""
        return bool(self._waiting) or any(factory.asking for factory in self._listening)

    def requested(self, leg: RequesterLeg, target: Target | None, name: str, session: str | None) -> None:
        """A caller wants a partner.

        :param target: host and port that it asked for, if any.
        :param name: the partner's, on the port of a single partner.
        :param session: the id of the session, if there is one already.
        """
        calling = Deferred.fromCoroutine(self._call(session or self._new_id(), leg, target, name))
        if not calling.called:
            self._waiting[leg] = calling
        calling.addErrback(self._crashed, leg)

    def left(self, leg: RequesterLeg, session: str | None) -> None:
        """A caller did not wait for the answer: give the call up."""
        waiting = self._waiting.get(leg)
        if waiting is not None:
            waiting.cancel()
        elif session is not None:
            self._over(session)

    def tell_malformed(self, leg: RequesterLeg, message: str, session: str | None) -> None:
        """Report that a caller's request is malformed."""
        self._tell_refusal(leg, Cause.REQUEST_MALFORMED, message, None)
        if session is not None:
            self._over(session)

    async def try_partner(self, session: str, name: str) -> None:
        """Have a partner called up to its greeting, as an operator asked; the server reports the result."""
        try:
            (await self._reach(session, WantedCall(way=Way.TRIAL, name=name)))[1].finish()
        except CallDenied as refused:
            self._events.emit(
                "outbound.refused",
                session=session,
                partner=name,
                way=Way.TRIAL,
                cause=refused.unreached.cause,
                message=refused.unreached.message,
                step=refused.unreached.step.value,
            )
        finally:
            self._over(session)

    async def _call(self, session: str, leg: RequesterLeg, target: Target | None, name: str) -> None:
        wanted = WantedCall(way=Way(leg.way), caller=leg.peer, name=name)
        if target is not None:
            wanted = attrs.evolve(wanted, host=target.host, port=target.port)
        try:
            granted, data = await self._reach(session, wanted)
        except CallDenied as refused:
            self._waiting.pop(leg, None)
            self._refuse(session, leg, refused, target)
            return
        except Exception:
            self._done(session, leg)
            raise
        self._waiting.pop(leg, None)
        leg.accept()
        facts = SessionFacts(peer=leg.peer, partner=granted.partner, profile=granted.profile)
        self._run(session, leg, client_outbound(facts, self._configuration().station.profile), data)

    async def _reach(self, session: str, wanted: WantedCall) -> tuple[GrantedCall, ILeg]:
        """Have a partner called, and attach the leg towards it.

        :raises CallDenied: if that fails.
        """
        granted = await self._ask(session, wanted)
        try:
            return granted, await self._attach(granted.server, granted.ticket)
        except SessionFault as error:
            raise CallDenied(fault_of_call(error), granted.partner, granted.profile) from error

    def _run(self, session: str, leg: RequesterLeg, opening: Opening, data: ILeg) -> None:
        client = self._configuration()
        self._sessions.prepare(
            session,
            opening,
            leg,
            deadlines=client.deadlines,
            command_octets=client.limits.command_octets,
            open_leg=lambda session, facts, why: succeed(data),
        ).begin()

    def _done(self, session: str, leg: RequesterLeg) -> None:
        """A call failed: give its place back."""
        self._waiting.pop(leg, None)
        self._over(session)

    def _refuse(self, session: str, leg: RequesterLeg, refused: CallDenied, target: Target | None) -> None:
        fault, partner = refused.unreached, refused.partner
        self._tell_refusal(
            leg, fault.cause, fault.message, target, session=session, partner=partner, step=fault.step.value
        )
        if leg.way != Way.PORT or partner is None:
            self._done(session, leg)
            leg.refuse(connect_failure(fault), fault.message)
            return
        leg.accept()
        # The second leg is never asked for: the excuse ends with the station's SSID.
        facts = SessionFacts(peer=leg.peer, partner=partner, profile=refused.profile)
        self._run(session, leg, client_excuse(fault, facts, self._configuration().station.profile), leg)

    def _tell_refusal(
        self, leg: RequesterLeg, cause: Cause, message: str, target: Target | None, **fields: object
    ) -> None:
        asked = {} if target is None else {"host": target.host, "port": target.port}
        told = {"peer": leg.peer, "way": leg.way, "cause": cause, "message": message}
        self._events.emit("outbound.refused", **{**told, **asked, **fields})

    def _crashed(self, failure: Failure, leg: RequesterLeg) -> None:
        if failure.check(CancelledError) is None:
            self._events.failure("smartproxy.client.local_callers", failure, peer=leg.peer)
            leg.refuse(ConnectFailure.NOT_READY, "an internal error ended the call")
