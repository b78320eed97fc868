"""TLS contexts for stations and partners of the test kit: permissive on purpose.

A context presents whatever certificate it is given, weak and expired ones included, or none, and checks the far end
only if it is given authorities to check against; host names are never checked. Not for anything but tests.
"""

import enum
from pathlib import Path

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer


class TlsVersion(enum.Enum):
    """The versions that a partner may be held to."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


_VERSIONS = {TlsVersion.TLS_1_2: SSL.TLS1_2_VERSION, TlsVersion.TLS_1_3: SSL.TLS1_3_VERSION}


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class TestContext:
    """One OpenSSL context for either end of a connection.

    :param certificate: a PEM file with the chain to present, leaf first; none is presented without it.
    :param key: the PEM file of its private key.
    :param authorities: PEM files of those that the far end's certificate must come from; unchecked without any.
    :param version: the only TLS version to speak; 1.2 and 1.3 without it.
    """

    def __init__(
        self,
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        authorities: tuple[Path, ...] = (),
        version: TlsVersion | None = None,
    ) -> None:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")  # weak keys and SHA-1 are presented where a test asks for them
        context.set_min_proto_version(_VERSIONS[version] if version else SSL.TLS1_2_VERSION)
        if version:
            context.set_max_proto_version(_VERSIONS[version])
        if certificate is not None:
            context.use_certificate_chain_file(str(certificate))
            context.use_privatekey_file(str(key or certificate))
        for authority in authorities:
            context.load_verify_locations(str(authority))
        if authorities:
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
        self._context = context

    def clientConnectionForTLS(self, _protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Be the TLS client of a connection."""
        connection = SSL.Connection(self._context, None)
        connection.set_connect_state()
        return connection

    def serverConnectionForTLS(self, _protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Be the TLS server of a connection."""
        connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        return connection
