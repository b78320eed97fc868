"""The partner's leg: one connection from the internet, from accept to the end of its session.

Duty: end the handshake at its deadline, ask the verifier who the peer is as soon as TLS is complete, and start the
session of a verified partner. Every connection that does not become a session gives exactly one event with its cause.
Trusts nothing of the peer; trusts the transport to carry what :mod:`smartproxy.net.tls.verdict` recorded. Never
delivers an octet before the peer is verified.

Standards: RFC 5246 and RFC 8446 (handshake); RFC 5024 section 2.3.
"""

from collections.abc import Callable
from typing import Protocol

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.logs.emit import Events
from smartproxy.net.connection import ConnectionLeg, end_of
from smartproxy.net.deadline import Deadline
from smartproxy.net.tls.error_words import NO_CERTIFICATE, NOT_TLS, tls_error_words
from smartproxy.net.tls.verdict import VerifiedConnection, verified_partner
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES, OF_THIS_SITE, CertificateRefusal
from smartproxy.policy.identity import VerifiedPartner
from smartproxy.policy.penalties import Fault
from smartproxy.server.accept import Gate
from smartproxy.server.generation import ServerGeneration
from smartproxy.server.proof import ABOUT_OUR_CERTIFICATE, OUR_CERTIFICATE_ADVICE, proof_fields, refusal_fields


def _done(leg: object, what: object) -> None:
    """Stands for what is not asked any more: the connection may live for hours."""


class AdmittedVisit(Protocol):
    """A connection's place in the limits: :class:`~smartproxy.policy.admission.Visit`, or one in another process."""

    prefix: str
    known: bool
    displaced: Callable[[], object]

    def speak(self, displaced: Callable[[], object]) -> None:
        """The connection is in the handshake."""

    def prove(self, partner: str) -> Deferred[object] | None:
        """The peer is this partner, and the connection a session.

        :raises Denied: if there are too many sessions. Where the answer comes later, its deferred fails with it.
        """

    def leave(self) -> None:
        """The connection is over."""


@implementer(IHandshakeListener)
class PartnerLeg(ConnectionLeg):
    """A connection that a partner, or somebody that claims to be one, opened.

    :param clock: runs the deadlines.
    :param events: where refusals are told.
    :param generation: the configuration in force when the connection was accepted.
    :param visit: the connection's place in the limits.
    :param gate: counts faults against addresses.
    :param begin: starts the session of a verified partner.
    :param address: the peer's address, without its port.
    :param unlisted: told of a certificate that is refused for want of a current revocation list alone.
    :param accepted: when the connection was accepted; the deadline of the handshake counts from then.
    """

    def __init__(
        self,
        clock: IReactorTime,
        events: Events,
        generation: ServerGeneration,
        visit: AdmittedVisit,
        *,
        gate: Gate,
        begin: Callable[["PartnerLeg", VerifiedPartner], None],
        address: str,
        accepted: float,
        unlisted: Callable[["PartnerLeg", CertificateRefusal], None] = lambda leg, refusal: None,
    ) -> None:
        super().__init__(clock, generation.server.deadlines.closing)
        self.generation = generation
        self.visit = visit
        self.address = address
        self._events = events
        self._gate = gate
        self._begin = begin
        self._unlisted = unlisted
        self._accepted = accepted
        self._deadline: Deadline | None = Deadline(clock, self._late)
        self._expired = False
        self._verified = False
        self._told = False

    @property
    def tls(self) -> VerifiedConnection:
        """The TLS side of the connection."""
        handle = self.transport.getHandle()  # type: ignore[attr-defined]  # TLS transports are ISystemHandle
        assert isinstance(handle, VerifiedConnection)
        return handle

    def connectionMade(self) -> None:
        """The peer has sent its hello: TLS begins, and the deadline of the handshake goes on."""
        super().connectionMade()
        passed = self._clock.seconds() - self._accepted
        assert self._deadline is not None
        self._deadline.start(max(0.0, self.generation.server.deadlines.handshake - passed))
        self._events.emit("connection.accepted", peer=self.peer)

    def handshakeCompleted(self) -> None:
        """TLS is complete: find out who the peer is; end the connection at a second handshake."""
        if self._deadline is not None:
            self._deadline.stop()
            self._deadline = None
        if self._verified:
            self._tell("handshake.failed", Cause.HANDSHAKE_RENEGOTIATED, "the peer asked for a second handshake")
            self.abort()
            return
        try:
            partner = verified_partner(self.tls)
            self._verified = True
            self._events.emit("certificate.accepted", peer=self.peer, **proof_fields(partner, self.tls))
            begin, self._begin, self._unlisted = self._begin, _done, _done
            begin(self, partner)
        except CertificateRefusal as refusal:
            self._refuse(refusal)
            self.abort()
        except Exception:
            self._told = True
            self._events.failure("smartproxy.server.partner", Failure(), peer=self.peer)
            self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is closed: report why, unless it was a session."""
        if self._deadline is not None:
            self._deadline.stop()
        try:
            if not self._verified and not self._told:
                self._explain(reason)
        finally:
            self.visit.leave()
            super().connectionLost(reason)

    def fault(self, fault: Fault) -> None:
        """Count a fault against the peer's address."""
        self._gate.fault(self.address, fault)

    def displace(self) -> None:
        """End the connection in its handshake: its place is needed for another one."""
        self._told = True
        self._gate.displaced(self.peer)
        self.abort()

    def _late(self) -> None:
        self._expired = True
        self.abort()

    # Reports.

    def _explain(self, reason: Failure) -> None:
        """Report why the handshake failed."""
        verification = self.tls.verification
        if verification.failure is not None:
            self._told = True
            self._events.failure("smartproxy.net.tls.verdict", verification.failure, peer=self.peer)
        elif verification.refusal is not None:
            self._refuse(verification.refusal)
        elif self._expired:
            seconds = self.generation.server.deadlines.handshake
            self._fail(Cause.HANDSHAKE_TIMEOUT, f"no TLS handshake within {seconds} s", Fault.SILENCE)
        elif (alert := verification.alert_received) not in (None, "close_notify"):
            message = f"the peer ended the TLS handshake with the alert {alert}"
            if alert in ABOUT_OUR_CERTIFICATE:
                self._fail(Cause.HANDSHAKE_DISTRUSTED, message, Fault.DISTRUST, OUR_CERTIFICATE_ADVICE)
            else:
                self._fail(Cause.HANDSHAKE_ALERT, message, Fault.HANDSHAKE)
        elif isinstance(reason.value, SSL.Error):
            self._explain_error(reason.value)
        else:
            message = f"{end_of(reason).message} before TLS was established"
            self._fail(Cause.HANDSHAKE_ENDED, message, Fault.HANDSHAKE)

    def _explain_error(self, error: SSL.Error) -> None:
        words = tls_error_words(error)
        if NO_CERTIFICATE in words:
            self._refuse(CertificateRefusal(cause=Cause.CERTIFICATE_MISSING))
        elif NOT_TLS.intersection(words):
            advice = "The partner has to connect with TLS."
            self._fail(Cause.HANDSHAKE_NOT_TLS, f"what the peer sent is not TLS: {words[0]}", Fault.TLS_GARBAGE, advice)
        else:
            self._fail(Cause.HANDSHAKE_FAILED, f"TLS error: {'; '.join(words)}", Fault.HANDSHAKE)

    def _fail(self, cause: Cause, message: str, fault: Fault, advice: str | None = None) -> None:
        verification = self.tls.verification
        self._tell(
            "handshake.failed",
            cause,
            message,
            alert=verification.alert_received or verification.alert_sent,
            advice=advice,
            duration=self._clock.seconds() - self._accepted,
        )
        self.fault(fault)

    def _refuse(self, refusal: CertificateRefusal) -> None:
        event = "certificate.refused"
        fields = refusal_fields(refusal, self.tls, event)
        self._tell(event, refusal.cause, refusal.message, **fields)
        if refusal.cause in OF_THIS_SITE:
            self._unlisted(self, refusal)
        elif not CERTIFICATE_CAUSES[refusal.cause].explanation.ours:
            self.fault(Fault.REVOKED if refusal.cause is Cause.CERTIFICATE_REVOKED else Fault.CERTIFICATE)

    def _tell(self, event: str, cause: Cause, message: str, **fields: object) -> None:
        """Report the one event of a connection that does not become a session."""
        if not self._told:
            self._told = True
            self._events.emit(event, peer=self.peer, cause=cause, message=message, **fields)
