"""The end of sessions whose partner has lost its access.

Duty: judge the partner of every live session again by each new generation, whichever side began the session. A session
with a partner that would not be accepted or called any more ends at its next idle moment, or in the middle of a file
after a deadline. One event reports it with its cause. The judgement is
:mod:`smartproxy.policy.certificates.withdrawal`'s; this module adds sessions and time.
"""

import contextlib
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache, partial

import attrs
from twisted.internet.interfaces import IReactorTime

from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline
from smartproxy.net.driver import SessionDriver
from smartproxy.net.tls.context import load_anchors
from smartproxy.net.tls.facts import certificate_facts
from smartproxy.policy.certificates.causes import CertificateRefusal
from smartproxy.policy.certificates.decoding import Undecodable
from smartproxy.policy.certificates.facts import CertificateFacts
from smartproxy.policy.certificates.withdrawal import Standing
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.faults import Withdrawn
from smartproxy.policy.identity import VerifiedPartner
from smartproxy.policy.partners import TrustedCa

Judge = Callable[[Standing, VerifiedPartner, datetime], CertificateRefusal | None]
"""Says why a session has to end by the rules of a generation, at a time; ``None`` if it need not."""


@attrs.define
class _Running:
    """A live session: its partner, and the deadline of its end if it has to end."""

    driver: SessionDriver
    partner: VerifiedPartner
    peer: str
    judge: Judge
    ending: Deadline | None = None


@lru_cache(maxsize=2)
def _anchors(cas: tuple[TrustedCa, ...]) -> tuple[CertificateFacts, ...]:
    """The facts of the certificates of all CAs of a generation."""
    found = []
    for each in load_anchors(cas):
        with contextlib.suppress(Undecodable):
            found.append(certificate_facts(each))
    return tuple(found)


class Withdrawals:
    """Ends sessions whose partner has lost its access.

    :param clock: runs the deadlines.
    :param events: where every withdrawal is told.
    :param now: tells the wall clock's time, aware, in UTC.
    """

    def __init__(self, clock: IReactorTime, events: Events, now: Callable[[], datetime]) -> None:
        self._clock = clock
        self._events = events
        self._now = now
        self._running: dict[str, _Running] = {}

    def began(self, session: str, driver: SessionDriver, partner: VerifiedPartner, peer: str, judge: Judge) -> None:
        """A session began.

        :param judge: judges its partner again, by the rules for the side that began it.
        """
        self._running[session] = _Running(driver, partner, peer, judge)

    def over(self, session: str) -> None:
        """A session is over."""
        running = self._running.pop(session, None)
        if running is not None and running.ending is not None:
            running.ending.stop()

    def judge(self, configuration: ServerConfiguration) -> None:
        """Judge all live sessions by a new generation."""
        self._judge(list(self._running), configuration)

    def judge_latecomer(self, session: str, configuration: ServerConfiguration) -> None:
        """Judge a session by the generation in force, which arrived after its connection was accepted."""
        self._judge([session], configuration)

    def _judge(self, sessions: list[str], configuration: ServerConfiguration) -> None:
        if not sessions:
            return
        standing, now = Standing.of(configuration, _anchors(configuration.cas)), self._now()
        for session in sessions:
            running = self._running.get(session)
            if running is None or running.ending is not None:
                continue
            found = running.judge(standing, running.partner, now)
            if found is not None:
                self._withdraw(session, running, found, configuration.deadlines.withdrawal)

    def _withdraw(self, session: str, running: _Running, found: CertificateRefusal, seconds: int) -> None:
        self._events.emit(
            "session.withdrawn",
            session=session,
            partner=running.partner.partner.name,
            peer=running.peer,
            cause=found.cause,
            message=found.message,
            depth=found.depth,
            subject=found.subject,
            issuer=found.issuer,
            certificate_sha256=running.partner.certificate.sha256,
            seconds=seconds,
            advice=found.advice,
        )
        fault = Withdrawn(rule=found.cause, message=f"{found.message}; it was accepted when the session began")
        running.ending = Deadline(self._clock, partial(running.driver.stop, fault))
        # Before the stop: an idle session may be over within that call, and its deadline has to be ended then.
        running.ending.start(seconds)
        running.driver.stop(fault, at_once=False)
