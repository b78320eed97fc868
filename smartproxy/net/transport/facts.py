"""What a connection through TLS says of itself, and what can be set on the one below it.

Duty: answer for OpenSSL's side and for the carrier. Changes nothing of TLS.
"""

from typing import Any

from OpenSSL import SSL
from OpenSSL.crypto import X509


class TlsFacts:
    """The facts of a connection through TLS."""

    __slots__ = ("__weakref__", "_carrier", "_disconnecting", "_tls")

    def __init__(self) -> None:
        self._carrier: Any = None
        self._disconnecting = False
        self._tls: Any = None

    @property
    def worked(self) -> float:
        """The seconds that the carrier's turns have taken, where it measures them."""
        return float(getattr(self._carrier, "worked", 0.0))

    def getHandle(self) -> SSL.Connection:
        """OpenSSL's connection."""
        handle: SSL.Connection = self._tls
        return handle

    def getPeerCertificate(self) -> X509 | None:
        """The peer's certificate, if it showed one."""
        certificate: X509 | None = self._tls.get_peer_certificate()
        return certificate

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """What was agreed on by ALPN (RFC 7301)."""
        agreed: bytes = b"" if self._tls is None else self._tls.get_alpn_proto_negotiated()
        return agreed or None

    @property
    def disconnecting(self) -> bool:
        """Whether this end wished to close."""
        return self._disconnecting

    def getPeer(self) -> Any:
        """The address of the far end."""
        return self._carrier.getPeer()

    def getHost(self) -> Any:
        """The address of this end."""
        return self._carrier.getHost()

    def getTcpNoDelay(self) -> bool:
        """Whether the carrier sends small pieces at once."""
        return bool(self._carrier.getTcpNoDelay())

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Have the carrier send small pieces at once, or gather them."""
        self._carrier.setTcpNoDelay(enabled)

    def getTcpKeepAlive(self) -> bool:
        """Whether the carrier finds out by itself that its far end is gone."""
        return bool(self._carrier.getTcpKeepAlive())

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Have the carrier find out by itself that its far end is gone, or not."""
        self._carrier.setTcpKeepAlive(enabled)
