"""An entity on a Twisted transport, TCP or TLS, at either end.

Moves octets between an :class:`~smartproxy.testing.entity.Entity` and its transport, as fast as the transport takes
them and no faster. The entity decides; this module only closes: normally when the session has ended, with a timer in
case the peer does not let go, and in the middle of a file where that file asks for it. A silent peer is told ESID 09.

Standards: RFC 5024 sections 2 (network service), 4.7.2 (timers).
"""

from collections.abc import Callable
from typing import Any

import attrs
from OpenSSL import SSL
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.net.tls.error_words import tls_error_words
from smartproxy.oftp2.errors import EsidReason
from smartproxy.testing.entity import Entity

INACTIVITY_SECONDS = 90.0
"""How long the peer may say nothing."""

CLOSING_SECONDS = 5.0
"""How long the peer may take to close after the end of the session."""


@attrs.frozen(kw_only=True)
class Opened:
    """A connection was accepted.

    :ivar peer: the far end's address.
    """

    peer: str


@attrs.frozen(kw_only=True)
class Closed:
    """How a connection ended.

    :ivar tls: the TLS version, such as ``TLSv1.3``; ``None`` if there was no TLS, or its handshake failed.
    :ivar alert: the TLS alert that the peer ended it with, if it did, such as ``certificate required``.
    :ivar cause: why it ended, in a few words.
    """

    tls: str | None
    alert: str | None
    cause: str


def closed(reason: Failure, tls: str | None) -> Closed:
    """What ``connectionLost`` was told, in words."""
    error = reason.value
    if not isinstance(error, SSL.Error):
        return Closed(tls=tls, alert=None, cause=reason.getErrorMessage())
    # OpenSSL's text of an alert is "tlsv13 alert certificate required", with various names of the protocol in front.
    texts = tls_error_words(error)
    for text in texts:
        _, found, alert = text.partition(" alert ")
        if found:
            return Closed(tls=tls, alert=alert, cause=f"TLS alert: {alert}")
    return Closed(tls=tls, alert=None, cause="; ".join(texts))


@implementer(IPushProducer, IHandshakeListener)
class SessionProtocol(Protocol):
    """One connection that carries one session.

    :param gone: is told how the connection ended.
    :ivar tls: the TLS version, once the handshake is done.
    """

    transport: Any  # at once ITCPTransport, IConsumer and, over TLS, ISSLTransport

    def __init__(self, entity: Entity, clock: IReactorTime, gone: Callable[[Closed], None]) -> None:
        self.entity = entity
        self.tls: str | None = None
        self._clock = clock
        self._gone = gone
        self._full = False
        self._left = False
        self._silence: IDelayedCall | None = None
        self._closing: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Let the entity speak."""
        self.transport.registerProducer(self, True)
        self._silence = self._clock.callLater(INACTIVITY_SECONDS, self.close, EsidReason.TIME_OUT)
        self._pump()

    def handshakeCompleted(self) -> None:
        """Note the TLS version."""
        self.tls = self.transport.getHandle().get_protocol_version_name()

    def dataReceived(self, data: bytes) -> None:
        """Give the octets to the entity and send its answer."""
        self._heard()
        self.entity.receive(data)
        self._pump()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the entity, and whoever waits."""
        for timer in (self._silence, self._closing):
            if timer is not None and timer.active():
                timer.cancel()
        end = closed(reason, self.tls)
        self.entity.lost(end.cause)
        self._gone(end)

    def pauseProducing(self) -> None:
        """The transport has enough for now."""
        self._full = True

    def resumeProducing(self) -> None:
        """The transport takes more."""
        self._full = False
        self._heard()
        self._pump()

    def stopProducing(self) -> None:
        """The transport is gone."""
        self._full = True

    def close(self, reason: EsidReason) -> None:
        """End the session now."""
        self.entity.abort(reason)
        self._pump()

    def _heard(self) -> None:
        if self._silence is not None and self._silence.active():
            self._silence.reset(INACTIVITY_SECONDS)

    def _pump(self) -> None:
        while not self._full and (octets := self.entity.take()):
            self.transport.write(octets)
        if not (self.entity.ended or self.entity.broken):
            return
        if self._closing is None:
            # Full or not: a peer that does not read takes nothing more, and would never let go.
            self._closing = self._clock.callLater(CLOSING_SECONDS, self.transport.abortConnection)
        if self._closing.active() and not self._left and not self._full:
            self._left = True
            self._closing.reset(CLOSING_SECONDS)
            self.transport.unregisterProducer()
            self.transport.loseConnection()
