"""The server's side of calls to partners: from the station's wish to a finished session.

Duty: call the partner that a client asks for, if the generation in force allows it, and run the session between him
and the leg through the tunnel. Every call gives one event: he answered, or the step at which it failed. What is dialled
stands in the partner's entry; nothing of it comes with the question. Touches nothing of the partners that call.

Standards: RFC 5024 sections 4.2 (start of a session) and 5.3.2 (the Responder's SSIDCODE).
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure

from smartproxy.logs.emit import Events
from smartproxy.net.driver import SessionDriver
from smartproxy.net.leg import ILeg
from smartproxy.net.sessions import LiveSessions
from smartproxy.net.tls.context import CertificateUnusable
from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.monitor import Ceilings, Monitor
from smartproxy.policy.configuration import ServerPart
from smartproxy.policy.identity import judge_ssid
from smartproxy.policy.outbound import reachable
from smartproxy.policy.partners import Outbound, Partner
from smartproxy.relay.ending import Summary
from smartproxy.relay.openings import server_outbound
from smartproxy.relay.session import Session
from smartproxy.relay.steps import Step, unreachable
from smartproxy.server.dial.call import Answered, Call, CallFailed, failed, has_address
from smartproxy.server.dial.called import CalledContexts, bears
from smartproxy.server.withdrawal import Withdrawals

Take = Callable[[ILeg | None], None]
"""Called once with the leg towards the station, or with ``None`` if there will be none."""

_SOURCE_ADVICE: Final = (
    "give the server this address, or correct it: smartproxy settings set server.source_address ADDRESS, or "
    "smartproxy partner outbound NAME --source ADDRESS"
)


@attrs.frozen
class _Generation:
    part: ServerPart
    contexts: CalledContexts


class PartnerCalls:
    """All calls to partners.

    :param reactor: resolves, connects, and runs every deadline.
    :param events: where everything is told.
    :param sessions: the daemon's live sessions; those that begin here are among them.
    :param withdrawals: ends the sessions of partners who are withdrawn; told of those that begin here.
    :param finished: told of every session that is over.
    :param unused: told of every call that was answered and became no session.
    :param now: tells the wall clock's time for certificates, aware, in UTC.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        events: Events,
        sessions: LiveSessions,
        withdrawals: Withdrawals,
        finished: Callable[[Summary], None] = lambda summary: None,
        unused: Callable[[str], None] = lambda session: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._reactor = reactor
        self._events = events
        self._sessions = sessions
        self._withdrawals = withdrawals
        self._finished = finished
        self._unused = unused
        self._now = now
        self._generation: _Generation | None = None
        self._calling = 0

    def configure(self, part: ServerPart) -> None:
        """Put a generation in force for the calls to come."""
        self._generation = _Generation(part, CalledContexts(part.server, self._now))
        self._look_for_sources(part)

    def forget(self) -> None:
        """Hold no configuration and no key any more; running sessions keep theirs."""
        self._generation = None

    def open(self, session: str, name: str, *, trial: bool = False) -> Deferred[Take]:
        """Call a partner.

        :param session: the session's id, made by the client.
        :param name: the partner's.
        :param trial: whether the call ends with his greeting.
        :return: fires when he has greeted; fails with :class:`~smartproxy.policy.faults.PartnerUnreachable`. Canceling
            gives the call up.
        """
        return Deferred.fromCoroutine(self._open(session, name, trial))

    async def _open(self, session: str, name: str, trial: bool) -> Take:
        begun = self._reactor.seconds()
        outbound: Outbound | None = None
        self._calling += 1
        try:
            generation, partner, outbound = self._allowed(name)
            answered = await self._call(generation, partner, outbound)
        except CallFailed as error:
            self._tell_failure(session, name, outbound, error, self._reactor.seconds() - begun)
            raise error.fault from None
        except CancelledError:
            raise
        except Exception:
            self._events.failure("smartproxy.server.dial.calls", Failure(), session=session, partner=name)
            raise unreachable(Step.CONNECT, "a bug ended the call") from None
        finally:
            self._calling -= 1
        self._tell_answer(session, outbound, answered, self._reactor.seconds() - begun)
        called = outbound

        def take(leg: ILeg | None) -> None:
            if trial:
                self._end(session, answered, leg)
            elif leg is None or not answered.leg.connected:
                self._end(session, answered, leg)
                cause = "nobody inside took the call" if leg is None else "he ended the connection"
                self._tell_failure(session, name, called, failed(Step.SSRM, cause), None)
            else:
                self._begin(session, generation, answered, leg)

        return take

    def _end(self, session: str, answered: Answered, leg: ILeg | None) -> None:
        """End a call without a session."""
        answered.leg.finish()
        if leg is not None:
            leg.finish()
        self._unused(session)

    def _allowed(self, name: str) -> tuple[_Generation, Partner, Outbound]:
        generation = self._generation
        if generation is None:
            raise failed(Step.CONNECT, "the server has no configuration")
        partner = next((each for each in reachable(generation.part.server.partners) if each.name == name), None)
        if partner is None or partner.outbound is None:
            raise failed(Step.POLICY, "his entry does not allow calls")
        most = generation.part.server.limits.sessions
        if len(self._sessions.live) + self._calling > most:
            raise failed(Step.CONNECT, f"the server's limit of {most} sessions is reached")
        return generation, partner, partner.outbound

    async def _call(self, generation: _Generation, partner: Partner, outbound: Outbound) -> Answered:
        server = generation.part.server
        try:
            context = generation.contexts.of(partner, outbound)
        except CertificateUnusable as unusable:
            raise failed(Step.POLICY, str(unusable)) from None
        call = Call(
            self._reactor,
            outbound,
            context=context,
            monitor=Monitor(partner.profile),
            deadlines=server.deadlines,
            source=outbound.source or server.source_address,
        )
        return await call.run()

    # The session.

    def _begin(self, session: str, generation: _Generation, answered: Answered, leg: ILeg) -> None:
        called, verified = answered.leg, answered.partner
        server = generation.part.server

        def judge(ssid: SSID) -> None:
            judge_ssid(verified, ssid, server.partners)

        facts = {
            "partner": verified.partner.name,
            "profile": verified.partner.profile.value,
            "peer": called.peer,
            "tls": called.tls.get_protocol_version_name(),
            "certificate_sha256": verified.certificate.sha256,
        }
        monitor = Monitor(verified.partner.profile, ceilings=Ceilings(command=server.limits.command_octets))
        driver = SessionDriver(
            Session(session, server_outbound(judge, facts), monitor, server.deadlines),
            leg,
            clock=self._reactor,
            events=self._events,
            open_leg=lambda told: succeed(called),
            finished=self._over,
        )
        self._sessions.live[session] = driver
        certificate = called.tls.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        self._withdrawals.began(
            session,
            driver,
            verified,
            called.peer,
            lambda standing, now: standing.withdrawn_called(verified, now, partial(bears, certificate)),
        )
        driver.begin()
        newest = self._generation
        if newest is not None and newest is not generation:
            self._withdrawals.judge_latecomer(session, newest.part.server)

    def _over(self, summary: Summary) -> None:
        self._sessions.live.pop(summary.session, None)
        self._withdrawals.over(summary.session)
        self._finished(summary)

    # What is told.

    def _look_for_sources(self, part: ServerPart) -> None:
        """Tell of addresses that partners are to be called from and that this host does not have."""
        users: dict[str, list[str]] = {}
        for partner in reachable(part.server.partners):
            assert partner.outbound is not None
            source = partner.outbound.source or part.server.source_address
            if source is not None:
                users.setdefault(source, []).append(partner.name)
        for address, names in users.items():
            if not has_address(address):
                self._tell_source(address, names)

    def _tell_source(self, address: str, names: list[str]) -> None:
        self._events.emit(
            "outbound.source_missing",
            address=address,
            cause="this host has no such address; partners that call are served as before",
            names=names,
            advice=_SOURCE_ADVICE,
        )

    def _tell_failure(
        self, session: str, name: str, outbound: Outbound | None, error: CallFailed, duration: float | None
    ) -> None:
        if error.step is Step.SOURCE:
            self._tell_source(str(error.fields["address"]), [name])
        called = {} if outbound is None else {"host": outbound.host, "port": outbound.port}
        self._events.emit(
            "outbound.failed",
            **{
                "session": session,
                "partner": name,
                "cause": error.fault.cause,
                "message": error.fault.message,
                "step": error.step.label,
                "rule": error.fault.rule,
                "duration": duration,
                **called,
                **error.fields,
            },
        )

    def _tell_answer(self, session: str, outbound: Outbound, answered: Answered, duration: float) -> None:
        verified, tls = answered.partner, answered.leg.tls
        certificate = verified.certificate
        self._events.emit(
            "outbound.answered",
            session=session,
            partner=verified.partner.name,
            peer=answered.leg.peer,
            host=outbound.host,
            port=outbound.port,
            by=verified.by,
            authority=verified.ca,
            subject=certificate.subject,
            issuer=certificate.issuer,
            serial=f"{certificate.serial:x}",
            certificate_sha256=certificate.sha256,
            key_sha256=certificate.key_sha256,
            not_after=certificate.not_after,
            tls=tls.get_protocol_version_name(),
            cipher=tls.get_cipher_name(),
            duration=duration,
        )
