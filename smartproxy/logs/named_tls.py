"""TLS to a host that has to prove its name: the backend, the receivers of logs and of mails.

Twisted's own check lets a certificate pass that names no host at all: what says so is logged there, and forgotten.
Twisted's own endpoint counts as connected before the handshake has begun.
"""

from typing import Any

import attrs
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.policy.certificates.decoding import certificates_in, decoding

HANDSHAKE_SECONDS = 30.0
"""How long a handshake may take."""


def trusted(pem: str | None) -> Any:
    """Twisted's trust root of the certificates in a PEM text, or of the system's where there is no text.

    Whoever judges such a text before it is used calls this, too: what is accepted is then what is trusted.

    :raises Undecodable: if it holds no certificate, or one that cannot be read, by OpenSSL too.
    """
    if pem is None:
        return platformTrust()
    found = certificates_in(pem)
    with decoding(crypto.Error):
        return trustRootFromCertificates([Certificate(crypto.X509.from_cryptography(each)) for each in found])


@implementer(IOpenSSLClientConnectionCreator)
class NamedTls:
    """Makes TLS connections to a host.

    :param host: its name or address, which the certificate has to have.
    :param trust: Twisted's trust root.
    """

    def __init__(self, host: str, trust: Any) -> None:
        is_address = isIPAddress(host) or isIPv6Address(host)
        self._wanted = IPAddress_ID(host) if is_address else DNS_ID(host)
        self._creator: Any = optionsForClientTLS(host, trustRoot=trust)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Make a connection for a protocol."""
        connection: SSL.Connection = self._creator.clientConnectionForTLS(tlsProtocol)
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verifying(tlsProtocol))
        return connection

    def _verifying(self, protocol: Any) -> Any:
        # The connection keeps the callback, and the protocol keeps the connection: one verdict ends the circle.
        waiting = [protocol]

        def verify(connection: SSL.Connection, certificate: Any, error: int, depth: int, ok: int) -> bool:
            if not ok or depth:
                return bool(ok)
            try:
                verify_service_identity(extract_patterns(certificate), [self._wanted], [])
            except (CertificateError, VerificationError):
                for each in waiting:
                    each.failVerification(Failure())
                return False
            except Exception:
                return False
            finally:
                waiting.clear()
            return True

        return verify


@implementer(IStreamClientEndpoint)
@attrs.frozen
class ProvenEndpoint:
    """Dials a host, and is connected when the TLS handshake is over and the host has proven its name.

    :ivar plain: dials without TLS.
    """

    tls: NamedTls
    plain: IStreamClientEndpoint
    clock: IReactorTime

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """Fires with the protocol, which is made after the handshake; fails when that does."""
        handshake = _Handshake(protocolFactory)
        factory = TLSMemoryBIOFactory(self.tls, True, Factory.forProtocol(lambda: handshake), self.clock)
        return self.plain.connect(factory).addCallback(self._shaken, handshake.done)

    def _shaken(self, _tls: object, done: Deferred[Any]) -> Deferred[Any]:
        return done.addTimeout(HANDSHAKE_SECONDS, self.clock, _late)


def _late(_result: object, seconds: float) -> None:
    raise TimeoutError(f"no TLS handshake within {seconds:g} seconds")


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    """Is inside TLS as long as the handshake lasts.

    :ivar done: fires with the protocol that takes its place.
    """

    def __init__(self, protocols: IProtocolFactory) -> None:
        self._protocols = protocols
        self.done: Deferred[Any] = Deferred(lambda _: self._tls.abortConnection())

    @property
    def _tls(self) -> Any:
        return self.transport

    def handshakeCompleted(self) -> None:
        """Make the protocol that the connection is for."""
        protocol: Any = self._protocols.buildProtocol(self._tls.getPeer())
        self._tls.wrappedProtocol = protocol
        protocol.makeConnection(self._tls)
        self.done.callback(protocol)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The handshake failed."""
        if not self.done.called:
            self.done.errback(reason)
