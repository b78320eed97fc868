"""One download of a revocation list over http or https, from an address that a certificate may have named.

Duty: fetch octets from a host that nobody vouches for, and be neither led nor held nor filled by it. The host's name is
resolved once; what is called are the addresses that were judged, by number, so that a second answer of the DNS changes
nothing. Redirects stay on the host and on those addresses. Everything has one deadline, the head of the answer and its
body have bounds, and an encoded body is refused before it is decoded. Twisted's own agent is used, and not treq around
it, because treq decodes gzip without a bound and keeps cookies.

What the octets are is not judged here: the list's signature says whose it is, on http as on https.
"""

import re
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, Final, NoReturn

import attrs
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from smartproxy._version import __version__
from smartproxy.net.transport.error_words import connection_words
from smartproxy.net.transport.exchange_words import exchange_words
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.downloads import BadListUrl, ListUrl, may_call

_OK, _NOT_MODIFIED = 200, 304
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_TAG: Final = re.compile(rb"[!-~][ -~]{0,198}[!-~]")
"""A validator of an answer that may be sent back."""


@attrs.define(eq=False, auto_exc=True, str=False)
class NotFetched(Exception):
    """A download failed.

    :ivar cause: why, as a stable code.
    :ivar message: why, in a sentence that repeats nothing of the other end's.
    """

    cause: Cause
    message: str

    def __str__(self) -> str:
        return self.message


@attrs.frozen(kw_only=True)
class Wanted:
    """What to download.

    :ivar url: its address.
    :ivar etag: the validators of the answer that is there already.
    :ivar allowed: the networks that may be called although they are not public.
    """

    url: str
    etag: str | None = None
    modified: str | None = None
    allowed: Sequence[str] = ()


@attrs.frozen(kw_only=True)
class Fetched:
    """What came.

    :ivar octets: the body; ``None`` if it is the one that is there already.
    """

    octets: bytes | None = attrs.field(repr=False)
    etag: str | None = None
    modified: str | None = None


class ListFetcher:
    """Downloads, each on a connection of its own.

    :param reactor: the reactor, with TCP, time and name resolution.
    :param tls: which TLS is spoken with a host; by default with certificates that the system trusts.
    """

    def __init__(self, reactor: Any, tls: IPolicyForHTTPS | None = None) -> None:
        self._reactor = reactor
        self._tls = tls or BrowserLikePolicyForHTTPS()

    async def fetch(self, wanted: Wanted) -> Fetched:
        """Download a list.

        :raises NotFetched: with the cause.
        """
        call = Deferred.fromCoroutine(self._follow(wanted))
        return await call.addTimeout(limits.DOWNLOAD_SECONDS, self._reactor, onTimeoutCancel=_too_late)

    async def _follow(self, wanted: Wanted) -> Fetched:
        try:
            url = ListUrl.parse(wanted.url)
        except BadListUrl as bad:
            raise NotFetched(Cause.CRL_ADDRESS, str(bad)) from bad
        # Once for all redirects, which stay on this host: a second look could find an address that nobody judged.
        addresses = await self._addresses(url.host, wanted.allowed)
        for _ in range(limits.DOWNLOAD_REDIRECTS_MOST + 1):
            exchange = _Exchange(self._reactor, self._tls, url, addresses)
            response = await exchange.request(wanted)
            location = response.headers.getRawHeaders(b"location", [b""])[0]
            if response.code not in _REDIRECTS:
                return await exchange.result(response)
            exchange.abort()
            try:
                url = url.redirected(location.decode("ascii", "replace"))
            except BadListUrl as bad:
                raise NotFetched(Cause.CRL_REDIRECT, f"the answer is a redirect that is not followed: {bad}") from bad
        raise NotFetched(
            Cause.CRL_REDIRECT, f"more than {limits.DOWNLOAD_REDIRECTS_MOST} redirects, one after the other"
        )

    async def _addresses(self, host: str, allowed: Sequence[str]) -> list[str]:
        """The addresses of a host that may be called.

        :raises NotFetched: when there is none.
        """
        found = await _resolved(self._reactor.nameResolver, host)
        if not found:
            raise NotFetched(Cause.CRL_NAME, "the name of its host cannot be resolved")
        fit = [each for each in found if may_call(each, allowed)]
        if not fit:
            raise NotFetched(
                Cause.CRL_ADDRESS,
                "its host has a private or local address only; if that is right, allow its network: "
                "smartproxy settings set backend.download_networks NETWORK",
            )
        return fit[: limits.DOWNLOAD_ADDRESSES_MOST]


@implementer(IResolutionReceiver)
@attrs.define
class _Resolution:
    """Collects the addresses of a host."""

    done: "Deferred[list[str]]" = attrs.field(factory=Deferred)
    _found: list[str] = attrs.field(factory=list)

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Nothing is to be known of it yet."""

    def addressResolved(self, address: IAddress) -> None:
        """One more."""
        self._found.append(str(getattr(address, "host", "")))

    def resolutionComplete(self) -> None:
        """All are there."""
        if not self.done.called:
            self.done.callback(list(dict.fromkeys(self._found)))


def _resolved(resolver: Any, host: str) -> "Deferred[list[str]]":
    receiver = _Resolution()
    resolver.resolveHostName(receiver, host)
    return receiver.done


class _Meter(ProtocolWrapper):
    """Counts what arrives on a connection, and aborts it when that is too much."""

    exchange: "_Exchange"

    def makeConnection(self, transport: Any) -> None:
        """Let the exchange know its connection."""
        self.exchange = self.factory.exchange
        self.exchange.connection = transport
        super().makeConnection(transport)  # type: ignore[no-untyped-call]  # Twisted's has no types.

    def dataReceived(self, data: bytes) -> None:
        """Pass on what is within the bounds; the head is bounded until its end is seen."""
        exchange = self.exchange
        if exchange.received > exchange.most:
            exchange.overrun()
            return
        exchange.received += len(data)
        super().dataReceived(data)  # type: ignore[no-untyped-call]  # Twisted's has no types.


class _Metered(WrappingFactory):
    protocol = _Meter
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, exchange: "_Exchange") -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]  # Twisted's has no types.
        self.exchange = exchange


@implementer(IStreamClientEndpoint)
@attrs.frozen
class _MeteredEndpoint:
    inner: IStreamClientEndpoint
    exchange: "_Exchange"

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        """Connect, with a meter between transport and protocol."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        meter: Any = await self.inner.connect(_Metered(factory, self.exchange))
        protocol: IProtocol = meter.wrappedProtocol
        return protocol


@implementer(IAgentEndpointFactory)
@attrs.define
class _Exchange:
    """A request and its answer: at the judged addresses, one after the other until one can be connected to.

    :ivar received: octets of the answer so far.
    :ivar most: how many there may be when more arrive.
    :ivar is_overrun: whether there were more.
    """

    _reactor: Any
    _tls: IPolicyForHTTPS
    _url: ListUrl
    _addresses: Sequence[str]
    received: int = 0
    most: int = limits.DOWNLOAD_HEAD_OCTETS_MOST
    connection: Any = None
    is_overrun: bool = False
    _address: str = ""

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """The endpoint of the address whose turn it is; the URI's host is what the other end is told, no more."""
        kind: Callable[..., IStreamClientEndpoint] = TCP6ClientEndpoint if ":" in self._address else TCP4ClientEndpoint
        endpoint = kind(self._reactor, self._address, self._url.port, timeout=limits.DOWNLOAD_CONNECT_SECONDS)
        if self._url.scheme == "https":
            host = self._url.host.encode("ascii")
            endpoint = wrapClientTLS(self._tls.creatorForNetloc(host, self._url.port), endpoint)
        return _MeteredEndpoint(endpoint, self)

    async def request(self, wanted: Wanted) -> IResponse:
        """Ask for the list; the answer's head.

        :raises NotFetched: with the cause.
        """
        headers = Headers({"User-Agent": [f"smartproxy-backend/{__version__}"], "Accept-Encoding": ["identity"]})
        if wanted.etag is not None:
            headers.setRawHeaders("If-None-Match", [wanted.etag])
        if wanted.modified is not None:
            headers.setRawHeaders("If-Modified-Since", [wanted.modified])
        agent = Agent.usingEndpointFactory(self._reactor, self)
        reason: Exception | None = None
        for address in self._addresses:
            self._address = address
            try:
                response: IResponse = await agent.request(b"GET", str(self._url).encode("ascii"), headers)
            except ConnectError as error:
                reason = error
                continue
            except Exception as error:
                raise self._failure(error) from error
            # Of a body in chunks, with what frames them; the body itself is bounded where it is collected.
            self.most = 2 * limits.DOWNLOAD_OCTETS_MOST
            return response
        raise NotFetched(Cause.CRL_CONNECT, f"its host cannot be reached: {connection_words(reason)}") from reason

    async def result(self, response: IResponse) -> Fetched:
        """The answer's body, if it is a whole and plain one.

        :raises NotFetched: with the cause.
        """
        validators = {name: _validator(response.headers, name) for name in ("etag", "last-modified")}
        if response.code == _NOT_MODIFIED:
            self.abort()
            return Fetched(octets=None, etag=validators["etag"], modified=validators["last-modified"])
        if response.code != _OK:
            self.abort()
            raise NotFetched(Cause.CRL_ANSWER, f"the answer has the HTTP status {int(response.code)}")
        encodings = [each.strip().lower() for each in response.headers.getRawHeaders(b"content-encoding", [])]
        if any(each not in (b"", b"identity") for each in encodings):
            self.abort()
            raise NotFetched(Cause.CRL_ANSWER, "the answer is encoded, which was not asked for")
        length = response.length
        if isinstance(length, int) and length > limits.DOWNLOAD_OCTETS_MOST:
            self.abort()
            raise _too_large()
        body = _Body(self)
        response.deliverBody(body)
        try:
            octets = await body.done
        except Exception as error:
            raise self._failure(error) from error
        return Fetched(octets=octets, etag=validators["etag"], modified=validators["last-modified"])

    def overrun(self) -> None:
        """End the exchange: more arrives than may."""
        self.is_overrun = True
        self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        if self.connection is not None:
            self.connection.abortConnection()

    def _failure(self, error: Exception) -> Exception:
        """Why an exchange failed."""
        reasons = [each.value for each in getattr(error, "reasons", None) or ()]
        if self.is_overrun:
            return _too_large()
        if isinstance(error, CancelledError) or any(isinstance(each, CancelledError) for each in reasons):
            return CancelledError()
        if any(isinstance(each, SSL.Error) for each in (error, *reasons)) or _is_wrong_name(error, reasons):
            return NotFetched(Cause.CRL_TLS, "the TLS handshake with its host failed; is its certificate valid?")
        return NotFetched(Cause.CRL_CONNECT, f"its host gave no whole answer: {exchange_words(error)}")


def _is_wrong_name(error: Exception, reasons: Sequence[Exception]) -> bool:
    return any(isinstance(each, CertificateError | VerificationError) for each in (error, *reasons))


def _too_late(result: object, seconds: float) -> NoReturn:
    raise NotFetched(Cause.CRL_TIME, f"it did not arrive within {seconds:.0f} s")


def _too_large() -> NotFetched:
    return NotFetched(
        Cause.CRL_SIZE,
        f"it is larger than {limits.DOWNLOAD_OCTETS_MOST // 2**20} MiB, or the head of the answer is too long",
    )


def _validator(headers: Headers, name: str) -> str | None:
    """A header of the answer that is sent back with the next request; nothing that cannot be a validator."""
    found = headers.getRawHeaders(name.encode("ascii"), [b""])[0]
    return found.decode("ascii") if _TAG.fullmatch(found) else None


class _Body(Protocol):
    """Collects a body, up to its bound."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        self._octets = BytesIO()
        self.done: Deferred[bytes] = Deferred(lambda _: exchange.abort())

    def dataReceived(self, data: bytes) -> None:
        """Keep what is within the bound."""
        if self._octets.tell() + len(data) > limits.DOWNLOAD_OCTETS_MOST:
            self._octets = BytesIO()
            self._exchange.overrun()
            return
        self._octets.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body is whole, or the connection was lost. Without a length, the list's own length says which."""
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss) and not self._exchange.is_overrun:
            self.done.callback(self._octets.getvalue())
        else:
            self.done.errback(reason)
