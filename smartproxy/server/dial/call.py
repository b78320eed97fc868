"""A call to a partner: from the dial to his SSRM.

Duty: resolve his name, connect from the address that is wanted, prove by TLS who he is, and await his SSRM; each within
its deadline, and each failure with the step at which it happened. Success is nothing less than his SSRM: with TLS 1.3
the handshake is over here before he has judged our certificate. What is dialled comes from the configuration alone.
Standards: RFC 5024 sections 2.3, 4.2.2 and 5.3.1; RFC 8446 section 4.4.4.
"""

import socket
from collections.abc import Mapping
from typing import Any, Final

import attrs
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectingCancelledError,
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

from smartproxy.net.connection import ConnectionLeg, end_of, tls_error_words
from smartproxy.net.deadline import Deadline
from smartproxy.net.tls.verdict import VerifiedConnection, verified_partner
from smartproxy.oftp2.commands import SSRM
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Role
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CertificateRefusal
from smartproxy.policy.faults import PartnerUnreachable, Step
from smartproxy.policy.identity import VerifiedPartner
from smartproxy.policy.partners import Outbound
from smartproxy.policy.settings import Deadlines
from smartproxy.server.proof import refusal_fields

_NO_ANSWER: Final = "he does not answer"
_CAUSES: Final[dict[type[BaseException], tuple[Cause, str]]] = {
    ConnectionRefusedError: (Cause.CALL_REFUSED, "he refuses the connection"),
    NoRouteError: (Cause.CALL_NO_ROUTE, "there is no route to him"),
    TCPTimedOutError: (Cause.CALL_NO_ANSWER, _NO_ANSWER),
    TimeoutError: (Cause.CALL_NO_ANSWER, _NO_ANSWER),
}


@attrs.define(auto_exc=True, eq=False, str=False)
class CallFailed(Exception):
    """A call that came to nothing.

    :ivar fault: where and why; the station is told.
    :ivar fields: what else the event says of it, by the catalogue's names.
    """

    fault: PartnerUnreachable
    fields: Mapping[str, object] = attrs.field(factory=dict)

    def __str__(self) -> str:
        return str(self.fault)


def failed(step: Step, message: str, cause: Cause | None = None, **fields: object) -> CallFailed:
    """A failure at a step.

    :param message: half a sentence of our own.
    :param cause: why, where more is known than the step.
    """
    return CallFailed(PartnerUnreachable.at(step, message, cause), fields)


def has_address(address: str) -> bool:
    """Whether this host has an address: whether a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


@implementer(IHandshakeListener)
class CalledLeg(ConnectionLeg):
    """The connection to a partner that was called.

    :param monitor: judges his greeting; of no use afterwards.
    :param deadlines: the handshake's and the closing's.
    :ivar ready: fires with his proof when his SSRM is in; fails with :class:`CallFailed`.
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
        handle = self.transport.getHandle()  # type: ignore[union-attr]  # TLS transports are ISystemHandle
        assert isinstance(handle, VerifiedConnection)
        return handle

    @property
    def step(self) -> Step:
        """What is being done."""
        return Step.TLS if self._partner is None else Step.SSRM

    # Protocol

    def connectionMade(self) -> None:
        """The connection is there; the handshake has its time."""
        super().connectionMade()
        self._deadline.start(self._handshake)

    def handshakeCompleted(self) -> None:
        """TLS has finished: he is who he should be, or the call ends. A second handshake is one too many."""
        self._deadline.stop()
        try:
            if self._partner is not None:
                raise failed(Step.TLS, "he renegotiated", Cause.CALL_RENEGOTIATED)
            self._partner = verified_partner(self.tls)
        except CertificateRefusal as refused:
            self._fail(_refused(refused, self.tls))
        except CallFailed as renegotiated:
            self._fail(renegotiated)

    def dataReceived(self, data: bytes) -> None:
        """His greeting, which is judged here and by the session, or octets of the session."""
        super().dataReceived(data)
        if self.ready.called:
            return
        judgement = self._monitor.judge(Role.RESPONDER, data)
        if any(isinstance(each.value, SSRM) for each in judgement.observations):
            assert self._partner is not None
            self.ready.callback(self._partner)
        elif judgement.error is not None:
            error = judgement.error
            self._fail(failed(Step.SSRM, f"his greeting is not one: {error.message}", Cause.CALL_GREETING))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
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
            return failed(
                Step.TLS,
                f"he refused the connection with the TLS alert {alert}",
                Cause.CALL_ALERT,
                alert=alert,
                advice="The partner's log says why; mostly he does not know our certificate.",
            )
        if isinstance(reason.value, SSL.Error):
            return failed(Step.TLS, f"TLS error: {'; '.join(tls_error_words(reason.value))}")
        message = f"he ended the connection before {self.step.label} was done: {end_of(reason).message}"
        return failed(self.step, message, Cause.CALL_CLOSED)


def _refused(refusal: CertificateRefusal, tls: VerifiedConnection) -> CallFailed:
    # The partner is told of by the name that was asked for, not by whose certificate it may be.
    fields = {k: v for k, v in refusal_fields(refusal, tls, "outbound.failed").items() if k != "partner"}
    return CallFailed(PartnerUnreachable.at(Step.TLS, refusal.message, refusal.cause), fields)


class _CalledFactory(Factory):
    noisy = False

    def __init__(self, clock: IReactorTime, monitor: Monitor, deadlines: Deadlines) -> None:
        self._clock = clock
        self._monitor = monitor
        self._deadlines = deadlines

    def buildProtocol(self, addr: IAddress | None) -> CalledLeg:
        """Make the leg of a connection that was made."""
        return CalledLeg(self._clock, self._monitor, self._deadlines)


@attrs.frozen
class Answered:
    """A partner who was called and greeted.

    :ivar leg: the connection to him; what he sends waits for its receiver.
    :ivar partner: the proof of who he is.
    """

    leg: CalledLeg
    partner: VerifiedPartner


class Call:
    """One call.

    :param reactor: resolves, connects and runs the deadlines.
    :param outbound: whom to call.
    :param context: TLS with him.
    :param monitor: judges his greeting.
    :param deadlines: ``opening`` for the whole, ``handshake`` for TLS.
    :param source: the address of ours to call from, if not any.
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
        self._leg: CalledLeg | None = None

    async def run(self) -> Answered:
        """Call.

        :raises CallFailed: with the step. Canceling gives the call up.
        """
        if self._source is not None and not has_address(self._source):
            message = f"this server does not have the address {self._source}"
            raise failed(Step.SOURCE, message, Cause.SOURCE_MISSING, address=self._source)
        running = Deferred.fromCoroutine(self._run())
        try:
            return await running.addTimeout(self._deadlines.opening, self._reactor, self._late)
        except ConnectingCancelledError:
            raise CancelledError from None

    def _late(self, result: "Answered | Failure", seconds: float) -> "Answered | Failure":
        """The time of the whole call is over."""
        message = f"{_NO_ANSWER} within {seconds} s" if self._leg else _NO_ANSWER
        raise failed(Step.CONNECT if self._leg is None else self._leg.step, message, Cause.CALL_NO_ANSWER)

    async def _run(self) -> Answered:
        leg = self._leg = await self._connect()
        return Answered(leg, await leg.ready)

    async def _connect(self) -> CalledLeg:
        outbound = self._outbound
        endpoint = HostnameEndpoint(
            self._reactor,
            outbound.host,
            outbound.port,
            min(limits.CALL_CONNECT_SECONDS, self._deadlines.opening),
            None if self._source is None else (self._source, 0),
        )
        factory = _CalledFactory(self._reactor, self._monitor, self._deadlines)
        try:
            leg: Any = await wrapClientTLS(self._context, endpoint, self._reactor).connect(factory)
        except DNSLookupError:
            raise failed(Step.NAME, f"his name {outbound.host} is not known") from None
        except ConnectBindError as error:
            message = f"he cannot be called from the address {self._source}: {error.osError or 'not bound'}"
            raise failed(Step.SOURCE, message, address=self._source) from None
        except ConnectError as error:
            cause, message = _CAUSES.get(type(error), (Cause.CALL_CONNECT, "the connection failed"))
            raise failed(Step.CONNECT, message, cause) from None
        connected: CalledLeg = leg
        return connected
