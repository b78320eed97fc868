"""Where the backend is, how it proves itself, and the HTTP client that checks it.

Duty: check the address of the backend that the operator gave, and make an HTTP client that speaks to that backend only:
its certificate is checked by the system's store, by a CA file, or by the pin of its key. Plain http goes to loopback
only; user information in a URL is removed from it before anything is logged.
"""

import hmac
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address
from typing import Any, Final

import attrs
from hyperlink import URL, URLParseError
from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from smartproxy.logs.named_tls import NamedTls, trusted
from smartproxy.net.tls.bounded import BoundedConnection
from smartproxy.net.tls.context import judge_peers, new_context
from smartproxy.policy.addresses import BadHostPort, port_of, see_called
from smartproxy.policy.certificates.decoding import Undecodable, decoding, key_octets

KEPT_MOST: Final = 4
"""Connections to the backend that are kept while no call uses them."""
KEPT_SECONDS: Final = 20
"""How long; the backend closes one that is idle for 30 s."""


class BadBackendAddress(ValueError):
    """The URL or pin on the command line cannot be used; the text says why and what is right."""


@attrs.frozen(kw_only=True)
class BackendAddress:
    """Where the backend is and how it proves itself.

    :ivar url: scheme, host and port, without a path at its end.
    :ivar authority: PEM of the certificates that may have signed the backend's, or ``None`` for the system store.
    :ivar pin: SHA-256 of the public key (SubjectPublicKeyInfo) of the backend's certificate in hex, or ``None``.
    """

    url: str
    authority: str | None = attrs.field(default=None)
    pin: str | None = None

    @authority.validator
    def _check_authority(self, attribute: "attrs.Attribute[str | None]", value: str | None) -> None:
        if value is not None:
            try:
                trusted(value)
            except Undecodable:
                raise BadBackendAddress(
                    "the CA file for the backend holds no PEM certificate that can be read"
                ) from None


def checked_url(url: str) -> tuple[str, str | None]:
    """Check a backend URL; return it without user information, and ``user:password`` if there was any.

    :raises BadBackendAddress: unless it is https, or http to a loopback address.
    """
    try:
        parsed = URL.from_text(url)
    except (URLParseError, ValueError, UnicodeError) as error:
        raise BadBackendAddress(
            "the backend's URL cannot be read; it looks like https://backend.example:8443"
        ) from error
    if parsed.scheme not in ("https", "http") or not parsed.host:
        raise BadBackendAddress("the backend's URL must begin with https://, such as https://backend.example:8443")
    if parsed.scheme == "http" and not _is_loopback(parsed.host):
        raise BadBackendAddress("http is allowed to a loopback address only; use https:// for any other backend")
    try:
        see_called(_dialled_host(parsed))
        if parsed.port is not None:
            port_of(str(parsed.port))
    except BadHostPort as bad:
        raise BadBackendAddress(f"the backend's URL: {bad}") from None
    if parsed.query or parsed.fragment:
        raise BadBackendAddress("the backend's URL must not contain ? or #; it looks like https://backend.example:8443")
    userinfo = parsed.userinfo or None
    return parsed.replace(userinfo="").to_text().rstrip("/"), userinfo


def checked_pin(text: str) -> str:
    """Check a SHA-256 in hex, colons allowed; return it plain and in lower case.

    :raises BadBackendAddress: when the text is not a SHA-256.
    """
    plain = text.replace(":", "").lower()
    if len(plain) != 64 or set(plain) - set("0123456789abcdef"):
        raise BadBackendAddress(
            "a pin is the SHA-256 of the public key: 64 hex digits, as `smartproxy authority show` prints"
        )
    return plain


def _dialled_host(url: URL) -> str:
    """The host of a URL as it is dialled: a name of other letters in its ASCII form, if it has one (RFC 5890)."""
    try:
        return str(url.to_uri().host)
    except UnicodeError:
        return str(url.host)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@implementer(IOpenSSLClientConnectionCreator)
class _PinnedCreator:
    """TLS to a backend that is known by the hash of its public key only."""

    def __init__(self, pin: str) -> None:
        self._pin = pin
        self._context = new_context(server=False)
        judge_peers(self._context, self._verify, server=False)

    def _verify(self, connection: SSL.Connection, certificate: crypto.X509, errnum: int, depth: int, ok: int) -> bool:
        if depth > 0:
            return True
        try:
            spki = _public_key_hash(certificate)
        except Undecodable:
            return False
        return hmac.compare_digest(spki.encode("ascii"), self._pin.encode("ascii"))

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make a connection; SNI is not needed where the key is known."""
        return BoundedConnection(self._context)


def _public_key_hash(certificate: crypto.X509) -> str:
    with decoding():
        return sha256(key_octets(certificate.to_cryptography())).hexdigest()


@implementer(IPolicyForHTTPS)
@attrs.frozen
class _BackendPolicy:
    """Which TLS the HTTP agent uses for the backend."""

    address: BackendAddress
    _made: dict[tuple[bytes, int], IOpenSSLClientConnectionCreator] = attrs.field(factory=dict, init=False, eq=False)

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """The creator for the one host that is called; its context serves all connections."""
        made = self._made.get((hostname, port))
        if made is None:
            made = self._made[hostname, port] = self._make(hostname, port)
        return made

    def _make(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        if self.address.pin is not None:
            return _PinnedCreator(self.address.pin)
        trust = trusted(self.address.authority)
        made: IOpenSSLClientConnectionCreator = NamedTls(hostname.decode("ascii").strip("[]"), trust)
        return made


@implementer(IBodyProducer)
class _Body:
    """What a request carries: octets that are there already, written at once."""

    def __init__(self, octets: bytes) -> None:
        self.length = len(octets)
        self._octets = octets

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write everything; there is nothing to wait for."""
        consumer.write(self._octets)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to be held back."""

    def resumeProducing(self) -> None:
        """Nothing is left to be sent."""

    def stopProducing(self) -> None:
        """Nothing is left to be sent."""


class BackendHttp:
    """Calls the backend by https, as treq's client would, without what a client of one API has no use for.

    A client of any site reads each URL anew, keeps cookies, follows redirections and unpacks what was packed, without a
    bound. Doing so costs a third more Python calls for each batch of events.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> Deferred[IResponse]:
        """Send a request; a redirection is a response like any other."""
        found: Deferred[IResponse] = self._agent.request(
            method.encode("ascii"),
            _uri(url),
            Headers({name: [value] for name, value in (headers or {}).items()}),
            None if data is None else _Body(data),
        )
        return found


@lru_cache(maxsize=32)
def _uri(url: str) -> bytes:
    """A URL as it is sent."""
    return URL.from_text(url).to_uri().to_text().encode("ascii")


def backend_http(reactor: Any, address: BackendAddress) -> BackendHttp:
    """An HTTP client that checks the backend as ``address`` says, and keeps its connections for the next calls."""
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = KEPT_MOST
    pool.cachedConnectionTimeout = KEPT_SECONDS
    return BackendHttp(Agent(reactor, contextFactory=_BackendPolicy(address), connectTimeout=10, pool=pool))
