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
    IDelayedCall,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IReactorTime,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.logs.catalogue import EVENTS
from smartproxy.net.connection import ConnectionLeg, end_of, tls_error_words
from smartproxy.net.tls.verdict import VerifiedConnection, verified_partner
from smartproxy.oftp2.commands import SSRM
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Role
from smartproxy.policy import limits
from smartproxy.policy.certificates.causes import CertificateRefusal
from smartproxy.policy.faults import PartnerUnreachable
from smartproxy.policy.identity import VerifiedPartner
from smartproxy.policy.partners import Outbound
from smartproxy.policy.settings import Deadlines
from smartproxy.relay.steps import NO_ANSWER, NO_ROUTE, REFUSES, Step, unreachable

_CAUSES: Final[dict[type[BaseException] | None, str]] = {
    ConnectionRefusedError: REFUSES,
    NoRouteError: NO_ROUTE,
    TCPTimedOutError: NO_ANSWER,
    TimeoutError: NO_ANSWER,
}

_FAILED: Final = EVENTS["outbound.failed"]
"""The event of a failed call: what of a refusal's detail has a field of its own there is told in it."""


@attrs.define(auto_exc=True, eq=False, str=False)
class CallFailed(Exception):
    """A call that came to nothing.

    :ivar step: where.
    :ivar fault: what the station is told.
    :ivar fields: what else the event says of it, by the catalogue's names.
    """

    step: Step
    fault: PartnerUnreachable
    fields: Mapping[str, object] = attrs.field(factory=dict)

    def __str__(self) -> str:
        return str(self.fault)


def failed(step: Step, cause: str, **fields: object) -> CallFailed:
    """A failure at a step.

    :param cause: half a sentence of our own.
    """
    return CallFailed(step, unreachable(step, cause), fields)


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
        self._deadline: IDelayedCall | None = None
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
        self._deadline = self._clock.callLater(self._handshake, self._expire)

    def handshakeCompleted(self) -> None:
        """TLS has finished: he is who he should be, or the call ends. A second handshake is one too many."""
        self._cancel_deadline()
        try:
            if self._partner is not None:
                raise failed(Step.TLS, "he renegotiated")
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
            self._fail(failed(Step.SSRM, f"his greeting is not one: {error.message}", rule=error.rule))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._cancel_deadline()
        if not self.ready.called:
            self._fail(self._explain(reason))
        super().connectionLost(reason)

    def _expire(self) -> None:
        self._deadline = None
        self._fail(failed(Step.TLS, f"no TLS handshake within {self._handshake} s"))

    def _cancel_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()

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
                alert=alert,
                advice="The partner's log says why; mostly he does not know our certificate.",
            )
        if isinstance(reason.value, SSL.Error):
            return failed(Step.TLS, f"TLS error: {'; '.join(tls_error_words(reason.value))}")
        return failed(self.step, f"he ended the connection before {self.step.label} was done: {end_of(reason).message}")


def _refused(refused: CertificateRefusal, connection: VerifiedConnection) -> CallFailed:
    named = {name: value for name, value in refused.detail.items() if name in _FAILED.fields and name != "partner"}
    others = {name: value for name, value in refused.detail.items() if name not in _FAILED.fields}
    fields = {
        "depth": refused.depth,
        "subject": refused.subject or None,
        "issuer": refused.issuer or None,
        "facts": {name: str(value) for name, value in others.items()} or None,
        "alert": connection.verification.alert_sent,
        "tls": connection.get_protocol_version_name(),
        "advice": refused.advice,
        **named,
    }
    fault = PartnerUnreachable(
        rule=Step.TLS.cause, message=f"{Step.TLS.label}: {refused.message}", step=Step.TLS, cause=refused.cause
    )
    return CallFailed(Step.TLS, fault, fields)


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
            raise failed(Step.SOURCE, f"this server does not have the address {self._source}", address=self._source)
        seconds = self._deadlines.opening
        running = Deferred.fromCoroutine(self._run())
        late = False

        def expire() -> None:
            nonlocal late
            late = True
            running.cancel()

        timer = self._reactor.callLater(seconds, expire)
        try:
            return await running
        except (CancelledError, ConnectingCancelledError):
            if not late:
                raise CancelledError from None
            step = Step.CONNECT if self._leg is None else self._leg.step
            raise failed(step, f"{NO_ANSWER} within {seconds} s" if self._leg else NO_ANSWER) from None
        finally:
            if timer.active():
                timer.cancel()

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
            cause = f"he cannot be called from the address {self._source}: {error.osError or 'not bound'}"
            raise failed(Step.SOURCE, cause, address=self._source) from None
        except ConnectError as error:
            raise failed(Step.CONNECT, _CAUSES.get(type(error), "the connection failed")) from None
        connected: CalledLeg = leg
        return connected
