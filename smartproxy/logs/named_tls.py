"""TLS to a host that has to prove its name: the backend, the receivers of logs and of mails.

Twisted's own check lets a certificate pass that names no host at all: what says so is logged there, and forgotten.
"""

from typing import Any

from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.policy.certificates.decoding import certificates_in, decoding


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
