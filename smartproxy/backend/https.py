"""The backend's https: the site that serves the API, and its TLS.

TLS 1.2 and 1.3 with forward secrecy and authenticated ciphers. Of a body no more is stored than the API takes, idle
connections end, and there are only so many of them.
"""

from twisted.internet.interfaces import IAddress, ITCPTransport
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, PrivateCertificate, TLSVersion
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.http import Request as HttpRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from smartproxy.backend.authority import Authority
from smartproxy.backend.certificates import certificates_to_pem, key_to_pem
from smartproxy.backend.requests import BODY_OCTETS_MOST

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"
IDLE_SECONDS = 30
"""Without an octet of a request; a request that waits for a change is not idle."""
CONNECTIONS_MOST = 512
THROWN_AWAY_MOST = 16 * BODY_OCTETS_MOST
"""Octets of a body that is too large: so many are read and thrown away so that the caller reads the refusal."""


class BoundedRequest(Request):
    """A request whose body stays in memory and never grows beyond what the API takes."""

    _octets = 0

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory, however long it is said to be: a temporary file would leave it on the disk."""
        Request.gotLength(self, 0)

    def handleContentChunk(self, data: bytes) -> None:
        """Store what the API can take, and one octet more, by which it sees that there was more."""
        room = max(0, BODY_OCTETS_MOST + 1 - self._octets)
        self._octets += len(data)
        if room:
            Request.handleContentChunk(self, data[:room])
        if self._octets > THROWN_AWAY_MOST and ITCPTransport.providedBy(self.transport):
            self.transport.abortConnection()


class ApiSite(Site):
    """The site; calls that went well are not logged, refused ones are events."""

    def __init__(self, resource: IResource) -> None:
        Site.__init__(
            self, resource, requestFactory=BoundedRequest, timeout=IDLE_SECONDS, parsePOSTFormSubmission=False
        )

    def log(self, request: HttpRequest) -> None:
        """Write no access log."""


class BoundedFactory(WrappingFactory[ProtocolWrapper]):
    """A factory that lets only so many connections be open; further ones are closed at once."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)  # type: ignore[no-untyped-call]  # mypy excludes calls of Twisted, but not by super()

    # IProtocolFactory allows None, which the class between only forgets to say.
    def buildProtocol(self, addr: IAddress | None) -> ProtocolWrapper | None:  # type: ignore[override]  # as above
        """A protocol for a new connection, if there is room for it."""
        if len(self.protocols) >= CONNECTIONS_MOST:
            return None
        return WrappingFactory.buildProtocol(self, addr)


def https_factory(resource: IResource) -> BoundedFactory:
    """What listens: the site, with a bound on its connections."""
    return BoundedFactory(ApiSite(resource))


def tls_options(authority: Authority) -> CertificateOptions:
    """The TLS of the backend, with the certificate that its authority issued."""
    pem = key_to_pem(authority.https_key) + certificates_to_pem([authority.https_certificate])
    identity = PrivateCertificate.loadPEM(pem.encode("ascii"))
    return CertificateOptions(
        privateKey=identity.privateKey.original,
        certificate=identity.original,
        raiseMinimumTo=TLSVersion.TLSv1_2,
        acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString(CIPHERS),
        acceptableProtocols=[b"http/1.1"],
    )
