"""A call to a partner: from the dial to its SSRM.

Duty: resolve the partner's name, connect from the configured source address, prove by TLS who the partner is, and wait
for its SSRM. Each step has its deadline, and a failure names its step. Only SSRM is success: with TLS 1.3 the handshake
is over on this side before the partner has judged our certificate. The address comes from the configuration alone.

Standards: RFC 5024 sections 2.3, 4.2.2 and 5.3.1; RFC 8446 section 4.4.4.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs
from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IReactorTime,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.net.connection import ConnectionLeg, end_of
from smartproxy.net.deadline import Deadline
from smartproxy.net.tls.error_words import tls_error_words
from smartproxy.net.tls.verdict import VerifiedConnection, verified_partner
from smartproxy.net.transport.endpoints import Lookup, connect
from smartproxy.net.transport.secured import TlsEndpoint
from smartproxy.net.transport.sockets import dialling
from smartproxy.oftp2.commands import SSRM
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Role
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES, OF_THIS_SITE, CertificateRefusal
from smartproxy.policy.certificates.facts import ChainFacts
from smartproxy.policy.faults import PartnerUnreachable, Step
from smartproxy.policy.identity import VerifiedPartner
from smartproxy.policy.partners import Outbound
from smartproxy.policy.settings import Deadlines
from smartproxy.server.dial.sources import has_address
from smartproxy.server.proof import ABOUT_OUR_CERTIFICATE, OUR_CERTIFICATE_ADVICE, refusal_fields

_NO_ANSWER: Final = "the partner does not answer"
_CAUSES: Final[dict[type[BaseException], tuple[Cause, str]]] = {
    ConnectionRefusedError: (Cause.CALL_REFUSED, "the partner refuses the connection"),
    NoRouteError: (Cause.CALL_NO_ROUTE, "there is no route to the partner"),
    TCPTimedOutError: (Cause.CALL_NO_ANSWER, _NO_ANSWER),
    TimeoutError: (Cause.CALL_NO_ANSWER, _NO_ANSWER),
}


@attrs.define(auto_exc=True, eq=False, str=False)
class CallFailed(Exception):
    """A call failed.

    :ivar fault: the step and the cause; the station is told.
    :ivar fields: further fields of the event, by the catalogue's names.
    :ivar unlisted: the partner's path, where it is good but for want of a current revocation list.
    """

    fault: PartnerUnreachable
    fields: Mapping[str, object] = attrs.field(factory=dict)
    unlisted: ChainFacts | None = None

    def __str__(self) -> str:
        return str(self.fault)


def failed(step: Step, message: str, cause: Cause | None = None, **fields: object) -> CallFailed:
    """Make the failure of a step.

    :param message: what happened, as a sentence without a full stop.
    :param cause: the code, where more is known than the step.
    """
    return CallFailed(PartnerUnreachable.at(step, message, cause), fields)


@implementer(IHandshakeListener)
class DialledLeg(ConnectionLeg):
    """The connection to a partner that was called.

    :param monitor: judges the partner's greeting; not used afterwards.
    :param deadlines: the handshake's and the closing's.
    :ivar ready: fires with the proof who the partner is when its SSRM is in; fails with :class:`CallFailed`.
    """

    def __init__(self, clock: IReactorTime, monitor: Monitor, deadlines: Deadlines) -> None:
        super().__init__(clock, deadlines.closing)
        self.ready: Deferred[VerifiedPartner] = Deferred(lambda _: self.abort())
        self._monitor = monitor
        self._handshake = deadlines.handshake
        self._deadline = Deadline(clock, self._expire)
        self._partner: VerifiedPartner | None = None

    @property
    def tls(self) -> VerifiedConnection:
        """The TLS side of the connection."""
        handle = self.transport.getHandle()  # type: ignore[attr-defined]  # TLS transports are ISystemHandle
        assert isinstance(handle, VerifiedConnection)
        return handle

    @property
    def step(self) -> Step:
        """The step that the call has reached."""
        return Step.TLS if self._partner is None else Step.SSRM

    # Protocol

    def connectionMade(self) -> None:
        """The connection is there: start the deadline of the handshake."""
        super().connectionMade()
        self._deadline.start(self._handshake)

    def handshakeCompleted(self) -> None:
        """TLS is complete: end the call unless this is the partner that was meant, and at a second handshake."""
        self._deadline.stop()
        try:
            if self._partner is not None:
                raise failed(Step.TLS, "the partner asked for a second handshake", Cause.CALL_RENEGOTIATED)
            self._partner = verified_partner(self.tls)
        except CertificateRefusal as refused:
            self._fail(_refused(refused, self.tls))
        except CallFailed as renegotiated:
            self._fail(renegotiated)

    def dataReceived(self, data: bytes) -> None:
        """Take the greeting, which is judged here and by the session, or octets of the session."""
        super().dataReceived(data)
        if self.ready.called:
            return
        judgement = self._monitor.judge(Role.RESPONDER, data)
        if any(isinstance(each.value, SSRM) for each in judgement.observations):
            assert self._partner is not None
            self.ready.callback(self._partner)
        elif judgement.error is not None:
            error = judgement.error
            self._fail(failed(Step.SSRM, f"what the partner sent is not SSRM: {error.message}", Cause.CALL_GREETING))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail the call if it has not been answered."""
        self._deadline.stop()
        if not self.ready.called:
            self._fail(self._explain(reason))
        super().connectionLost(reason)

    def _expire(self) -> None:
        message = f"no TLS handshake within {self._handshake} s"
        self._fail(failed(Step.TLS, message, Cause.CALL_NO_HANDSHAKE))

    def _fail(self, error: CallFailed | Failure) -> None:
        self.abort()
        if not self.ready.called:
            self.ready.errback(error)

    def _explain(self, reason: Failure) -> CallFailed | Failure:
        verification = self.tls.verification
        if verification.failure is not None:
            return verification.failure
        if verification.refusal is not None:
            return _refused(verification.refusal, self.tls)
        alert = verification.alert_received
        if alert not in (None, "close_notify"):
            cause, advice = Cause.CALL_ALERT, "The partner's log says why."
            if alert in ABOUT_OUR_CERTIFICATE:
                cause, advice = Cause.CALL_DISTRUSTED, OUR_CERTIFICATE_ADVICE
            message = f"the partner refused the connection with the TLS alert {alert}"
            return failed(Step.TLS, message, cause, alert=alert, advice=advice)
        if isinstance(reason.value, SSL.Error):
            return failed(Step.TLS, f"TLS error: {'; '.join(tls_error_words(reason.value))}")
        message = f"the partner ended the connection before {self.step.label} was done: {end_of(reason).message}"
        return failed(self.step, message, Cause.CALL_CLOSED)


def _refused(refusal: CertificateRefusal, tls: VerifiedConnection) -> CallFailed:
    # The event names the partner that was to be called, not the one to which the certificate belongs.
    fields = {k: v for k, v in refusal_fields(refusal, tls, "outbound.failed").items() if k != "partner"}
    fields["advice"] = CERTIFICATE_CAUSES[refusal.cause].advice_called
    unlisted = tls.verification.facts if refusal.cause in OF_THIS_SITE else None
    return CallFailed(PartnerUnreachable.at(Step.TLS, refusal.message, refusal.cause), fields, unlisted)


class _DialledFactory(Factory):
    noisy = False

    def __init__(self, clock: IReactorTime, monitor: Monitor, deadlines: Deadlines) -> None:
        self._clock = clock
        self._monitor = monitor
        self._deadlines = deadlines

    def buildProtocol(self, addr: IAddress | None) -> DialledLeg:
        """Make the leg of a connection that was made."""
        return DialledLeg(self._clock, self._monitor, self._deadlines)


@attrs.frozen
class Answered:
    """A partner that was called and has greeted.

    :ivar leg: the connection to the partner; what it sends waits for a receiver.
    :ivar partner: the proof who it is.
    """

    leg: DialledLeg
    partner: VerifiedPartner


class Call:
    """One call.

    :param reactor: resolves, connects and runs the deadlines.
    :param outbound: where the partner is, and how it is called.
    :param context: TLS with the partner.
    :param monitor: judges the partner's greeting.
    :param deadlines: ``opening`` for the whole, ``handshake`` for TLS.
    :param source: the address of this host to call from; ``None`` for any.
    """

    def __init__(
        self,
        reactor: Any,
        outbound: Outbound,
        *,
        context: IOpenSSLClientConnectionCreator,
        monitor: Monitor,
        deadlines: Deadlines,
        source: str | None,
    ) -> None:
        self._reactor = reactor
        self._outbound = outbound
        self._context = context
        self._monitor = monitor
        self._deadlines = deadlines
        self._source = source
        family: type[IAddress] | None = None
        if source is not None:
            # The other family cannot be reached from there.
            family = IPv6Address if ":" in source else IPv4Address
        self._lookup = Lookup(dialling(reactor), family)
        self._leg: DialledLeg | None = None

    async def run(self) -> Answered:
        """Call the partner, and wait for its SSRM. Canceling gives the call up.

        :raises CallFailed: with the step at which the call failed.
        """
        if self._source is not None and not has_address(self._source):
            message = f"this server does not have the address {self._source}"
            raise failed(Step.SOURCE, message, Cause.SOURCE_MISSING, address=self._source)
        running = Deferred.fromCoroutine(self._run())
        return await running.addTimeout(self._deadlines.opening, self._reactor, self._late)

    def _late(self, result: "Answered | Failure", seconds: float) -> "Answered | Failure":
        """The deadline of the whole call has passed."""
        try:
            self._lookup.late(self._outbound.host, seconds)
        except DNSLookupError as error:
            raise failed(Step.NAME, error.args[0]) from None
        message = f"{_NO_ANSWER} within {seconds} s" if self._leg else _NO_ANSWER
        raise failed(Step.CONNECT if self._leg is None else self._leg.step, message, Cause.CALL_NO_ANSWER)

    async def _run(self) -> Answered:
        leg = self._leg = await self._connect()
        return Answered(leg, await leg.ready)

    async def _connect(self) -> DialledLeg:
        outbound, source = self._outbound, self._source
        endpoint = HostnameEndpoint(
            self._lookup,
            outbound.host,
            outbound.port,
            min(limits.CALL_CONNECT_SECONDS, self._deadlines.opening),
            None if source is None else (source, 0),
        )
        factory = _DialledFactory(self._reactor, self._monitor, self._deadlines)
        try:
            leg: DialledLeg = await connect(TlsEndpoint(self._context, endpoint), factory)
        except DNSLookupError:
            message = f"the host name {outbound.host} is not known"
            if source is not None:
                message = f"the host name {outbound.host} is not known, or has no address of the family of {source}"
            raise failed(Step.NAME, message) from None
        except ValueError:
            # The entry is from an older version, which took such names.
            raise failed(Step.NAME, f"{outbound.host} is not a host name") from None
        except ConnectBindError as error:
            message = f"the partner cannot be called from the address {source}: {error.osError or 'not bound'}"
            raise failed(Step.SOURCE, message, address=source) from None
        except ConnectError as error:
            cause, message = _CAUSES.get(type(error), (Cause.CALL_CONNECT, "the connection failed"))
            raise failed(Step.CONNECT, message, cause) from None
        return leg
