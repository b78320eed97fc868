"""The backend as a service: the store, its threads, the https site, and what is looked after every hour.

Made without touching anything; the store is opened and the port bound when it starts. TLS 1.2 and 1.3 with forward
secrecy and authenticated ciphers. Of a body no more is stored than the API takes, idle connections end, and there are
only so many of them.
"""

import os
from typing import Any

from OpenSSL import SSL
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IOpenSSLServerConnectionCreator, ITCPTransport
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.web.http import Request as HttpRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from zope.interface import implementer

from smartproxy._version import __version__
from smartproxy.backend import authority
from smartproxy.backend.api import Api
from smartproxy.backend.authority import SiteAuthority
from smartproxy.backend.calls import Calls
from smartproxy.backend.certificates import certificates_to_pem, key_to_pem
from smartproxy.backend.ledger import Ledger
from smartproxy.backend.location import Location
from smartproxy.backend.requests import BODY_OCTETS_MOST
from smartproxy.backend.store import Store, StoreThreads
from smartproxy.backend.upkeep import HourlyLook
from smartproxy.logs.emit import Events
from smartproxy.net.listeners import tell_failed
from smartproxy.net.tls.context import choose_protocol, new_context, show_identity
from smartproxy.policy.faults import StopReason


class BackendService(Service):
    """The daemon.

    :param reactor: the reactor, with TLS, time and threads.
    :param location: where the store is.
    :param host: the address to listen on; empty for all.
    :param port: the port; 0 for any free one.
    :ivar stop_reason: why the end begins; may be changed until then.
    """

    def __init__(self, reactor: Any, location: Location, host: str, port: int) -> None:
        self.stop_reason = StopReason()
        self._reactor = reactor
        self._location = location
        self._host = host
        self._port = port
        self._threads = StoreThreads(reactor)
        self._started_at = 0.0
        self._store: Store | None = None
        self._ledger: Ledger | None = None
        self._api: Api | None = None
        self._upkeep: HourlyLook | None = None
        self._listening: IListeningPort | None = None
        self.events = Events(Logger(namespace="smartproxy.backend"), None, reactor, source="backend")

    def startService(self) -> None:
        """Open the store and listen.

        :raises BackendError: when the store cannot be used.
        :raises CannotListenError: when the port cannot be bound.
        """
        Service.startService(self)
        self._started_at = self._reactor.seconds()
        self._store = store = Store.open(self._location)
        with store.reading() as session:
            site = authority.load(session)
        self._api = Api(Calls(store), self._threads, self.events, self._reactor)
        try:
            port = self._reactor.listenSSL(
                self._port, https_factory(self._api.resource()), HttpsTls(site), interface=self._host
            )
        except CannotListenError as error:
            tell_failed(self.events, self._host, self._port, error, option="--listen")
            raise
        self._listening = port
        self._threads.start()
        self._ledger = Ledger(store, self._threads, self._reactor)
        self.events.forward = self._ledger
        self.events.emit(
            "backend.started",
            version=__version__,
            site=site.site,
            address=port.getHost().host,
            port=port.getHost().port,
            path=str(self._location.directory),
            pid=os.getpid(),
        )
        self._upkeep = HourlyLook(store, self._threads, self.events, self._reactor)
        self._upkeep.start()

    def hurry(self) -> None:
        """Answer the calls that wait for a change now; nothing else here takes longer than a moment."""
        if self._api is not None:
            self._api.watch.stop()
            self._api.trial_watch.stop()

    async def _stop(self) -> None:
        if self._listening is not None:
            await maybeDeferred(self._listening.stopListening)
        self.hurry()
        if self._upkeep is not None:
            self._upkeep.stop()
        self.events.emit(
            "backend.stopped",
            cause=self.stop_reason.cause,
            message=self.stop_reason.message,
            duration=self._reactor.seconds() - self._started_at,
        )
        if self._ledger is not None:
            await self._ledger.finish()
            self._threads.stop()
        if self._store is not None:
            self._store.close()

    def stopService(self) -> Deferred[None]:
        """Answer the calls that wait, store the last events, and end."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())


_HTTP = b"http/1.1"
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


@implementer(IOpenSSLServerConnectionCreator)
class HttpsTls:
    """The TLS of the backend, with the certificate that its authority issued."""

    def __init__(self, authority: SiteAuthority) -> None:
        context = new_context(server=True)
        certificate, key = certificates_to_pem([authority.https_certificate]), key_to_pem(authority.https_key)
        show_identity(context, certificate, key, "authority.https")
        choose_protocol(context, lambda offered: _HTTP if _HTTP in offered else None)
        self._context = context

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make the TLS side of a connection that was accepted."""
        return SSL.Connection(self._context, None)
