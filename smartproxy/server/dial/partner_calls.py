"""The server's side of calls to partners: from the station's request to a finished session.

Duty: call the partner that a client asks for, if the generation in force allows it, and run the session between the
partner and the leg through the tunnel. Every call gives one event: the partner answered, or the step that failed. The
address comes from the partner's entry, never with the request. Has nothing to do with partners that call.

Standards: RFC 5024 sections 4.2 (start of a session) and 5.3.2 (the Responder's SSIDCODE).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure

from smartproxy.logs.emit import Events
from smartproxy.net.leg import ILeg
from smartproxy.net.sessions import LiveSessions
from smartproxy.net.tls.context import CertificateUnusable
from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.monitor import Monitor
from smartproxy.policy.admission import Denied
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.facts import ChainFacts
from smartproxy.policy.configuration import ServerConfiguration, ServerPart
from smartproxy.policy.faults import PartnerUnreachable, Step
from smartproxy.policy.identity import judge_ssid
from smartproxy.policy.outbound import reachable
from smartproxy.policy.outcomes import Participant
from smartproxy.policy.partners import Outbound, Partner
from smartproxy.policy.penalties import Fault
from smartproxy.relay.ending import Summary, not_begun
from smartproxy.relay.events import SharedEnd
from smartproxy.relay.openings import server_outbound
from smartproxy.server.dial.dialling import Answered, Call, CallFailed, failed
from smartproxy.server.dial.sources import Sources, has_address, source_of
from smartproxy.server.dial.tls import bears
from smartproxy.server.generation import ServerGeneration
from smartproxy.server.proof import proof_fields, verified_facts
from smartproxy.server.withdrawal import Withdrawals

Take = Callable[[ILeg | None], None]
"""Called once with the leg towards the station, or with ``None`` if there will be none."""


class CallAdmission(Protocol):
    """Counts sessions: the :class:`~smartproxy.server.accept.Gate`, or that of another process."""

    def begin_call(self, partner: str) -> Deferred[object] | None:
        """Reserve a place for a session with a partner, until :meth:`end_call`.

        :raises Denied: if there are too many sessions, or the partner is not called for a while. Where the answer
            comes later, its deferred fails with it.
        """

    def end_call(self, partner: str, fault: Fault | None = None) -> None:
        """Release the place.

        :param fault: what the partner did in the session.
        """


class PartnerCalls:
    """All calls to partners.

    :param reactor: resolves, connects, and runs every deadline.
    :param events: where everything is told.
    :param sessions: the daemon's live sessions; those that begin here are among them.
    :param admission: counts sessions, whoever began them.
    :param withdrawals: ends sessions whose partner has lost its access; told of those that begin here.
    :param unused: told of every call that was answered and became no session.
    :param sources: watches the source addresses.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        events: Events,
        sessions: LiveSessions,
        admission: CallAdmission,
        withdrawals: Withdrawals,
        sources: Sources,
        unused: Callable[[str], None] = lambda session: None,
        crl_urls: Callable[[ChainFacts, str, ServerConfiguration], None] = lambda chain, ca, server: None,
    ) -> None:
        self._reactor = reactor
        self._events = events
        self._sessions = sessions
        self._admission = admission
        self._withdrawals = withdrawals
        self._unused = unused
        self._crl_urls = crl_urls
        self._sources = sources
        self._generation: ServerGeneration | None = None

    def adopt(self, generation: ServerGeneration) -> None:
        """Put a generation in force for future calls."""
        self._generation = generation
        self._sources.adopt(generation.server)

    def forget(self, part: ServerPart | None = None) -> None:
        """Drop configuration and keys; running sessions keep theirs, and are judged with those that partners begin."""
        self._generation = None
        self._sources.forget()

    def open(self, session: str, name: str, *, trial: bool = False) -> Deferred[Take]:
        """Call a partner.

        :param session: the session's id, made by the client.
        :param name: the partner's.
        :param trial: whether the call ends with the partner's greeting.
        :return: fires when the partner has greeted; fails with
            :class:`~smartproxy.policy.faults.PartnerUnreachable`. Canceling gives the call up.
        """
        return Deferred.fromCoroutine(self._open(session, name, trial))

    async def _open(self, session: str, name: str, trial: bool) -> Take:
        begun = self._reactor.seconds()
        outbound: Outbound | None = None
        try:
            generation, partner, outbound = self._allowed(name)
            answered = await self._counted(generation, partner, outbound)
        except CallFailed as error:
            self._tell_failure(session, name, outbound, error, self._reactor.seconds() - begun)
            raise error.fault from None
        except CancelledError:
            raise
        except Exception:
            self._events.failure("smartproxy.server.dial.partner_calls", Failure(), session=session, partner=name)
            raise PartnerUnreachable.at(
                Step.CONNECT, "an internal error ended the call", Cause.INTERNAL_ERROR
            ) from None
        self._tell_answer(session, outbound, answered, self._reactor.seconds() - begun)
        called = outbound

        def take(leg: ILeg | None) -> None:
            if trial:
                self._end(session, answered, leg)
            elif leg is None or not answered.leg.connected:
                message, cause = "the local caller was gone", Cause.CALL_UNUSED
                if leg is not None:
                    message, cause = "the partner ended the connection", Cause.CALL_CLOSED
                error = failed(Step.SSRM, message, cause)
                self._end(session, answered, leg, not_begun(error.fault, Participant.SERVER))
                self._tell_failure(session, name, called, error, None)
            else:
                self._begin(session, generation, answered, leg)

        return take

    def _end(self, session: str, answered: Answered, leg: ILeg | None, end: SharedEnd | None = None) -> None:
        """End a call without a session; the client has one, and is told how it ended."""
        self._admission.end_call(answered.partner.partner.name)
        answered.leg.finish()
        if leg is not None:
            leg.finish(end)
        self._unused(session)

    def _allowed(self, name: str) -> tuple[ServerGeneration, Partner, Outbound]:
        generation = self._generation
        if generation is None:
            raise failed(Step.CONNECT, "the server has no configuration", Cause.CONFIGURATION_NONE)
        partner = next((each for each in reachable(generation.server.partners) if each.name == name), None)
        if partner is None or partner.outbound is None:
            raise failed(Step.POLICY, "the partner's entry does not allow calls", Cause.CALL_NOT_ALLOWED)
        return generation, partner, partner.outbound

    async def _counted(self, generation: ServerGeneration, partner: Partner, outbound: Outbound) -> Answered:
        """Call a partner if there is room for another session; its place is given back unless it answers."""
        try:
            beginning = self._admission.begin_call(partner.name)
            if beginning is not None:
                await beginning
        except Denied as denied:
            cause = Cause(denied.rule)
            if cause is Cause.CALL_BANNED:
                raise failed(Step.POLICY, denied.message, cause) from None
            scope = " with this partner" if cause is Cause.QUOTA_PARTNER else ""
            message = f"the server's limit of {denied.value} sessions{scope} is reached"
            raise failed(Step.CONNECT, message, cause) from None
        try:
            answered = await self._call(generation, partner, outbound)
        except BaseException as error:
            self._admission.end_call(partner.name)
            if isinstance(error, CallFailed) and error.unlisted is not None:
                self._crl_urls(error.unlisted, str(error.fields.get("ca")), generation.server)
            raise
        if answered.partner.ca is not None:
            self._crl_urls(answered.partner.chain, answered.partner.ca, generation.server)
        return answered

    async def _call(self, generation: ServerGeneration, partner: Partner, outbound: Outbound) -> Answered:
        server = generation.server
        try:
            context = generation.called.of(partner, outbound)
        except CertificateUnusable as unusable:
            raise failed(Step.POLICY, str(unusable)) from None
        call = Call(
            self._reactor,
            outbound,
            context=context,
            monitor=Monitor(partner.profile),
            deadlines=server.deadlines,
            source=source_of(server, outbound),
        )
        return await call.run()

    # The session.

    def _begin(self, session: str, generation: ServerGeneration, answered: Answered, leg: ILeg) -> None:
        called, verified = answered.leg, answered.partner
        server = generation.server

        def judge(ssid: SSID) -> None:
            judge_ssid(verified, ssid, server.partners)

        driver = self._sessions.prepare(
            session,
            server_outbound(
                judge,
                verified_facts(verified, called.peer, called.tls),
                verified.partner,
                generation.part.station_profile,
            ),
            leg,
            deadlines=server.deadlines,
            command_octets=server.limits.command_octets,
            open_leg=lambda session, facts, why: succeed(called),
            over=lambda leg, summary: self._over(summary, verified.partner.name),
        )
        certificate = called.tls.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        self._withdrawals.began(
            session,
            driver,
            verified,
            called.peer,
            lambda standing, called, now: standing.withdrawn_called(called, now, partial(bears, certificate)),
        )
        driver.begin()
        newest = self._generation
        if newest is not None and newest is not generation:
            self._withdrawals.judge_latecomer(session, newest.server)

    def _over(self, summary: Summary, partner: str) -> None:
        costly = summary.ending.cause == Cause.SESSION_COSTLY
        self._admission.end_call(partner, Fault.EFFORT if costly else None)
        self._withdrawals.over(summary.session)

    # What is told.

    def _tell_failure(
        self, session: str, name: str, outbound: Outbound | None, error: CallFailed, duration: float | None
    ) -> None:
        fault = error.fault
        if fault.step is Step.SOURCE and not has_address(address := str(error.fields["address"])):
            self._sources.report(address, [name])
        called = {} if outbound is None else {"host": outbound.host, "port": outbound.port}
        self._events.emit(
            "outbound.failed",
            **{
                "session": session,
                "partner": name,
                "cause": fault.cause,
                "message": fault.message,
                "step": fault.step.value,
                "duration": duration,
                **called,
                **error.fields,
            },
        )

    def _tell_answer(self, session: str, outbound: Outbound, answered: Answered, duration: float) -> None:
        self._events.emit(
            "outbound.answered",
            session=session,
            peer=answered.leg.peer,
            host=outbound.host,
            port=outbound.port,
            duration=duration,
            **proof_fields(answered.partner, answered.leg.tls),
        )
