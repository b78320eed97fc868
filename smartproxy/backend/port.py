"""The backend's port: its places, its TLS, and how long a stranger may take.

Duty: close what there is no place for before any TLS work; end connections whose caller takes too long with its TLS,
headers or body; keep no body before the caller is known. TLS 1.2 and 1.3 with forward secrecy and authenticated
ciphers. Trusts nobody before a call with a good token.

Theory of operation. A connection is a stranger's until a call on it shows a good token. There are only so many places.
Where one is missing, the oldest stranger of the most crowded address makes room: a client shows its token in a moment
and is rarely the oldest, and an address that showed one lately is spared. Every wait for a stranger has a deadline that
no octet prolongs: from the connection to the end of the first headers, from the headers to the end of the body, from an
answer to the end of the next headers. A body is read when its token has been looked up; of an unknown caller's body
nothing is kept.
"""

from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from tempfile import TemporaryFile
from typing import Any, ClassVar, Final

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IOpenSSLServerConnectionCreator, IProtocol, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.http import Request as HttpRequest
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from zope.interface import implementer

from smartproxy.backend.authority import HttpsIdentity
from smartproxy.backend.certificates import certificates_to_pem, key_to_pem
from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline
from smartproxy.net.leg import address_text, peer_of
from smartproxy.net.tls.bounded import BoundedConnection
from smartproxy.net.tls.context import choose_protocol, new_context, show_identity
from smartproxy.net.tls.error_words import NOT_TLS, tls_error_words
from smartproxy.net.transport.thrift import THRIFT
from smartproxy.policy import limits
from smartproxy.policy.addresses import prefix_of
from smartproxy.policy.admission import Sparing
from smartproxy.policy.causes import Cause
from smartproxy.policy.crowd import Crowd

_HTTP = b"http/1.1"
IDLE_SECONDS = 30
"""Without an octet of a request; a request that waits for a change is not idle."""
THROWN_AWAY_MOST = 80 * limits.API_BODY_OCTETS_MOST
"""Octets of a known caller's body that is too large: so many are thrown away so that the caller reads the refusal."""

Admits = Callable[[IRequest], Deferred[int]]
"""How many octets the body of a request may have, by its token or cookie, 0 for a stranger's; asked when its headers
are there and its body is not."""
LARGE_AT_ONCE: Final = 2
"""Bodies that are larger than others, which are kept on the disk."""


def _prefix(address: IAddress | None) -> str:
    """The network that a caller counts for; empty if it has no address."""
    peer = peer_of(address)
    return "" if peer is None else prefix_of(peer.host)


class Guest(ProtocolWrapper):
    """One connection.

    :ivar prefix: the network that the caller counts for.
    :ivar peer: its address and port, for logs.
    :ivar known: whether a call on it showed a good token.
    """

    def __init__(self, places: "Places", protocol: IProtocol, address: IAddress | None, clock: IReactorTime) -> None:
        ProtocolWrapper.__init__(self, places, protocol)
        self.prefix = _prefix(address)
        self.peer = address_text(address)
        self.known = False
        self._places = places
        self._deadline = Deadline(clock, self._late)
        self._awaited = ""
        self._gone = False
        self._spoke = False

    def connectionMade(self) -> None:
        """The TCP connection is there; TLS and headers are due."""
        self._await(limits.BACKEND_HEADERS_SECONDS, "TLS and the headers of a call")
        self._places.entered(self)

    def dataReceived(self, data: bytes) -> None:
        """Octets came through TLS."""
        self._spoke = True
        ProtocolWrapper.dataReceived(self, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone: its place is free."""
        self._gone = True
        self._deadline.stop()
        if not self._spoke and isinstance(reason.value, SSL.Error):
            self._places.tls_failed(self, tls_error_words(reason.value))
        self._places.left(self)
        ProtocolWrapper.connectionLost(self, reason)

    def proved(self) -> None:
        """A call on it showed a good token."""
        if not self.known and not self._gone:
            self.known = True
            self._places.proved(self)

    def await_body(self, seconds: float = limits.BACKEND_BODY_SECONDS) -> None:
        """Headers are there; a body is due."""
        self._await(seconds, "the body of a call")

    def answers(self) -> None:
        """A call is whole: its answer is due from us, and may wait for a change."""
        self._deadline.stop()

    def await_next(self) -> None:
        """A call is answered; the next one's headers are due, or the end of the connection."""
        self._await(IDLE_SECONDS + limits.BACKEND_HEADERS_SECONDS, "the headers of the next call")

    def hold(self, held: bool) -> None:
        """Read nothing, or go on reading."""
        transport: Any = self.transport
        if not self._gone:
            (transport.pauseProducing if held else transport.resumeProducing)()

    def displace(self) -> None:
        """End the connection: its place is needed."""
        transport: Any = self.transport
        if not self._gone:
            transport.abortConnection()

    def _await(self, seconds: float, what: str) -> None:
        if not self._gone:
            self._awaited = what
            self._deadline.start(seconds)

    def _late(self) -> None:
        if not self.known:
            self._places.late(self, self._awaited)
        self.displace()


class Places(WrappingFactory[Guest]):
    """The connections of the port, behind TLS.

    :param clock: runs the deadlines.
    :param events: where it is told, in rate, who found no place, was late, or failed in TLS.
    :ivar is_proxy: tells whether a host is a reverse proxy, from which many callers come.
    """

    noisy = False
    is_proxy: Callable[[str], bool] = staticmethod(lambda host: False)

    def __init__(self, site: Site, clock: IReactorTime, events: Events) -> None:
        super().__init__(site)  # type: ignore[no-untyped-call]  # mypy excludes calls of Twisted, but not by super()
        self._clock = clock
        self._events = events
        self._guests: set[Guest] = set()
        self._strangers: Crowd[Guest] = Crowd(limits.BACKEND_CONNECTIONS_MOST)
        self._lately: OrderedDict[str, None] = OrderedDict()
        self._sparing = Sparing()

    # IProtocolFactory allows None, which the class between only forgets to say.
    def buildProtocol(self, addr: IAddress | None) -> Guest | None:  # type: ignore[override]  # as above
        """A connection that :meth:`opens` had a place for."""
        protocol = self.wrappedFactory.buildProtocol(addr)
        return None if protocol is None else Guest(self, protocol, addr, self._clock)

    def opens(self, address: IAddress | None) -> bool:
        """Whether there is a place for one more from this address; a stranger may have to make room."""
        prefix, peer = _prefix(address), peer_of(address)
        oldest = None
        is_proxy = peer is not None and self.is_proxy(peer.host)
        if self._strangers.of(prefix) >= limits.BACKEND_STRANGERS_PER_ADDRESS_MOST and not is_proxy:
            oldest = self._strangers.oldest_of(prefix)
        elif len(self._guests) >= limits.BACKEND_CONNECTIONS_MOST:
            oldest = self._strangers.oldest_of_most(self._lately.keys())
            if oldest is None:
                self._tell("", "connection.refused", address_text(address), Cause.API_CROWDED)
                return False
        if oldest is not None:
            self._displace(oldest)
        return True

    def entered(self, guest: Guest) -> None:
        """A connection took a place."""
        self._guests.add(guest)
        self._strangers.enter(guest, guest.prefix)

    def proved(self, guest: Guest) -> None:
        """A connection's caller is known: it is not displaced, and its address is spared for a while."""
        self._strangers.leave(guest)
        self._lately[guest.prefix] = None
        self._lately.move_to_end(guest.prefix)
        if len(self._lately) > limits.BACKEND_ADDRESSES_SPARED_MOST:
            self._lately.popitem(last=False)

    def left(self, guest: Guest) -> None:
        """A connection gave its place back."""
        self._strangers.leave(guest)
        if guest in self._guests:
            self._guests.discard(guest)
            THRIFT.ended_in_a_ring()

    def late(self, guest: Guest, awaited: str) -> None:
        """A stranger did not complete something in time."""
        self._tell(
            guest.prefix, "connection.refused", guest.peer, Cause.API_DEADLINE, f"{awaited} did not come in time"
        )

    def tls_failed(self, guest: Guest, words: list[str]) -> None:
        """A connection ended in its TLS handshake."""
        if NOT_TLS.intersection(words):
            message, advice = f"what the caller sent is not TLS: {words[0]}", "call it with https"
            self._tell(guest.prefix, "handshake.failed", guest.peer, Cause.HANDSHAKE_NOT_TLS, message, advice=advice)
        else:
            self._tell(guest.prefix, "handshake.failed", guest.peer, Cause.HANDSHAKE_FAILED, f"TLS: {'; '.join(words)}")

    def _displace(self, oldest: Guest) -> None:
        """End the connection of a stranger, and take its place away at once."""
        self._tell("", "connection.refused", oldest.peer, Cause.API_CROWDED)
        self.left(oldest)
        oldest.displace()

    def _tell(
        self, prefix: str, event: str, peer: str, cause: Cause, message: str | None = None, advice: str | None = None
    ) -> None:
        left_out = self._sparing.tell(prefix, cause, self._clock.seconds())
        if left_out is not None:
            words = message or cause.meaning
            self._events.emit(event, peer=peer, cause=cause, message=words, advice=advice, facts=left_out.facts)


def guest_of(request: IRequest) -> Guest | None:
    """The connection that a request came by; nothing in tests without one."""
    guest = getattr(getattr(request, "channel", None), "transport", None)
    return guest if isinstance(guest, Guest) else None


class BoundedRequest(Request):
    """A request whose body stays in memory, never grows beyond what the API takes, and is not kept for a stranger.

    The body of who may load revocation lists may be large: it is kept in a file without a name.

    :ivar body_refused: whether the body was thrown away because its caller was not known, or others are as large.
    """

    body_refused = False
    large_now: ClassVar[int] = 0
    _most = limits.API_BODY_OCTETS_MOST
    _large = False
    _is_strangers = False
    _octets = 0
    _whole = False
    _undecided = False

    def gotLength(self, length: int | None) -> None:
        """The headers are there: find out whose body it is before it is read.

        It is kept in memory, however long it is said to be: a temporary file would leave it on the disk.
        """
        Request.gotLength(self, 0)
        if length == 0:
            return
        guest = guest_of(self)
        if guest is not None:
            guest.await_body()
        self._undecided = True
        site: ApiSite = self.channel.site  # type: ignore[attr-defined]  # a Site sets it on every channel that it builds
        site.admits(self).addErrback(lambda failure: 0).addCallback(self._decide)
        if self._undecided and guest is not None:
            guest.hold(True)

    def handleContentChunk(self, data: bytes) -> None:
        """Store what the API can take, and one octet more, by which it sees that there was more."""
        room = 0 if self.body_refused else max(0, self._most + 1 - self._octets)
        self._octets += len(data)
        if room:
            Request.handleContentChunk(self, data[:room])
        if self._octets > (
            limits.API_BODY_OCTETS_MOST if self._is_strangers else max(THROWN_AWAY_MOST, self._most + 1)
        ):
            transport: Any = self.transport
            transport.abortConnection()

    def process(self) -> None:
        """The request is whole: answer it."""
        self._whole = True
        guest = guest_of(self)
        if guest is not None:
            guest.answers()
        Request.process(self)

    def finish(self) -> None:
        """The answer is written."""
        self._leave()
        guest = guest_of(self)
        if guest is not None:
            # First: the next request may be there already, and is begun by this.
            guest.await_next()
        Request.finish(self)

    def connectionLost(self, reason: Failure) -> None:
        """The caller is gone."""
        self._leave()
        Request.connectionLost(self, reason)

    def _leave(self) -> None:
        """Give the place of a large body back."""
        if self._large:
            self._large = False
            BoundedRequest.large_now -= 1

    def _decide(self, most: int) -> None:
        self._undecided = False
        if self._disconnected:
            return
        guest = guest_of(self)
        if not self._whole and most > limits.API_BODY_OCTETS_MOST and BoundedRequest.large_now < LARGE_AT_ONCE:
            BoundedRequest.large_now += 1
            self._large, self._most = True, most
            self.content = _moved(self.content)
        elif not self._whole and not 0 < most <= limits.API_BODY_OCTETS_MOST:
            self.body_refused, self._is_strangers = True, most == 0
            self.content = BytesIO()
        if not self._whole and most > limits.API_BODY_OCTETS_MOST and guest is not None:
            guest.await_body(limits.BACKEND_LARGE_BODY_SECONDS)
        if guest is not None:
            guest.hold(False)


def _moved(content: Any) -> Any:
    """What has come of a large body, in a file without a name on the disk."""
    file = TemporaryFile()  # noqa: SIM115 - closed when nobody holds it
    file.write(b"" if content is None else content.getvalue())
    return file


class ApiSite(Site):
    """The site; calls that went well are not logged, refused ones are events.

    :ivar admits: whether the body of a request is read.
    """

    def __init__(self, resource: IResource, admits: Admits, reactor: IReactorTime | None = None) -> None:
        Site.__init__(
            self,
            resource,
            requestFactory=BoundedRequest,
            timeout=IDLE_SECONDS,
            parsePOSTFormSubmission=False,
            reactor=reactor,
        )
        self.admits = admits

    def log(self, request: HttpRequest) -> None:
        """Write no access log."""


@implementer(IOpenSSLServerConnectionCreator)
class HttpsTls:
    """The TLS of the backend, with the certificate that its authority issued, or a temporary one."""

    def __init__(self, identity: HttpsIdentity) -> None:
        self.show(identity)

    def show(self, identity: HttpsIdentity) -> None:
        """Show this certificate to connections that begin from now on."""
        context = new_context(server=True)
        certificates = certificates_to_pem([identity.certificate, *identity.chain])
        certificate, key = certificates, key_to_pem(identity.key)
        show_identity(context, certificate, key, "authority.https")
        choose_protocol(context, lambda offered: _HTTP if _HTTP in offered else None)
        self._context = context

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make the TLS side of a connection that was accepted."""
        return BoundedConnection(self._context)


class HttpsPort(TLSMemoryBIOFactory):
    """What listens: it closes a connection that there is no place for before any TLS is made for it.

    :ivar tls: what it shows.
    """

    noisy = False

    def __init__(
        self, identity: HttpsIdentity, resource: IResource, admits: Admits, clock: Any, events: Events
    ) -> None:
        self.places = Places(ApiSite(resource, admits, clock), clock, events)
        self.tls = HttpsTls(identity)
        super().__init__(self.tls, False, self.places, clock)

    # As in Places.
    def buildProtocol(self, addr: IAddress | None) -> TLSMemoryBIOProtocol | None:  # type: ignore[override]  # as there
        """The TLS side of a new connection, if there is a place for it."""
        if not self.places.opens(addr):
            return None
        made: TLSMemoryBIOProtocol = super().buildProtocol(addr)
        return made
