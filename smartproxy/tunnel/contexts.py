"""TLS of the tunnel: version 1.3 only, both ends proved, nothing resumed.

The server shows its identity's certificate and takes a client whose certificate the licence's authority signed itself
(a path of two, valid now, for client authentication); the client shows that certificate and takes a server whose key
hash is one of the Proxy IDs that it was given, whatever else stands in the certificate. Why a peer was refused is kept
exactly, beside the connection: OpenSSL itself only says that verification failed. What a proof is worth stands in its
type: only this module makes a :class:`VerifiedClient` or :class:`VerifiedServer`.

Data connections have a shorter way to the same proof, because each of them would cost 40 KiB of memory for certificates
and keys that prove the same again. The ends of a control connection draw a :class:`~smartproxy.tunnel.bond.Bond` from
its keys, which nobody else can know, and prove by it that a data connection is between the same two (RFC 8446 section
2.2, with a key exchange of its own): each process by the key of the data connections that it takes, so that none can
take those of another. A bond is good as long as its control connection, for data connections alone. Where an end does
not know it, such as another version, both show their certificates.

Standards: RFC 8446 (TLS 1.3), RFC 5280 (paths), RFC 7301 (ALPN).
"""

import hmac
from collections.abc import Collection, Sequence
from copy import copy
from datetime import UTC, datetime
from typing import Final
from weakref import WeakKeyDictionary

import attrs
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.error import ConnectionClosed, ConnectionDone
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.net.tls.bounded import BoundedConnection
from smartproxy.net.tls.context import choose_protocol, judge_peers, new_context
from smartproxy.net.tls.error_words import tls_error_words
from smartproxy.net.tls.names import issuer_text, subject_text
from smartproxy.net.tls.openssl import has_secrets, know_secrets, proved_by_secret, show_secret
from smartproxy.net.transport.error_words import connection_words
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import cause_of
from smartproxy.policy.certificates.decoding import (
    Undecodable,
    certificate_in,
    certificates_in,
    decoding,
    extension,
    first_certificate_in,
    is_issued_by,
    private_key_in,
    public_key,
    subject_values,
)
from smartproxy.tunnel.bond import Bond
from smartproxy.tunnel.credential import ClientCredential, has_key
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.identity import Identity, proxy_id
from smartproxy.tunnel.vocabulary import CONTROL_PROTOCOL, DATA_PROTOCOL

_AUTHORITY_DEPTH = 1


@attrs.frozen(kw_only=True)
class PeerRefused(Exception):
    """The other end of a TLS connection is not admitted.

    :ivar cause: why.
    :ivar message: the same in one sentence; the cause's meaning if not given.
    :ivar advice: what to do about it.
    """

    cause: Cause
    message: str = attrs.field()
    advice: str | None = None
    subject: str | None = None
    issuer: str | None = None
    not_after: datetime | None = None
    proxy_id: str | None = None

    @message.default
    def _meaning(self) -> str:
        return self.cause.meaning

    def __str__(self) -> str:
        return self.message

    def fields(self) -> dict[str, object]:
        """As fields of an event."""
        return attrs.asdict(self)


@attrs.frozen(kw_only=True)
class VerifiedClient:
    """A client that proved its name; made by :class:`ServerContext` only."""

    name: str
    not_before: datetime
    not_after: datetime
    subject: str


@attrs.frozen(kw_only=True)
class VerifiedServer:
    """A server that proved its Proxy ID; made by :class:`ClientContext` only."""

    proxy_id: str


class _Verdicts:
    """Why connections were refused, kept as long as the connections live."""

    def __init__(self) -> None:
        self._refusals: WeakKeyDictionary[SSL.Connection, PeerRefused] = WeakKeyDictionary()

    def refuse(self, connection: SSL.Connection, refusal: PeerRefused) -> bool:
        """Keep the first refusal; returns ``False``, the answer of the callback."""
        self._refusals.setdefault(connection, refusal)
        return False

    def of(self, connection: SSL.Connection) -> PeerRefused | None:
        return self._refusals.get(connection)


@implementer(IOpenSSLServerConnectionCreator)
class ServerContext:
    """TLS of the server's end; immutable, apart from the bonds that it knows.

    :param authority: PEM of the authority's certificate, from the licence.
    :param protocols: the kinds of connections that clients may want (ALPN).
    """

    def __init__(
        self,
        identity: Identity,
        authority: str,
        protocols: Collection[bytes] = (CONTROL_PROTOCOL, DATA_PROTOCOL),
    ) -> None:
        self._authority = first_certificate_in(authority)
        self._verdicts = _Verdicts()
        self._bonds: dict[bytes, tuple[bytes, VerifiedClient]] = {}
        self._claims: WeakKeyDictionary[SSL.Connection, bytes] = WeakKeyDictionary()
        context = new_context(server=True, least=SSL.TLS1_3_VERSION)
        judge_peers(context, self._judge, server=True)
        if has_secrets():
            know_secrets(context, self._secret)
        context.use_certificate(identity.certificate)
        context.use_privatekey(identity.key)
        store = context.get_cert_store()
        assert store is not None
        store.add_cert(X509.from_cryptography(self._authority))
        # Nothing between a client and the authority itself.
        context.set_verify_depth(0)
        self._protocols = frozenset(protocols)
        choose_protocol(context, self._select_protocol)
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A connection for one client."""
        return BoundedConnection(self._context)

    def refusal(self, connection: SSL.Connection) -> PeerRefused | None:
        """Why the client was refused, if it was refused for its certificate."""
        return self._verdicts.of(connection)

    def bind(self, bond: bytes, key: bytes, client: VerifiedClient) -> None:
        """Take data connections of a client by the key of its control connection's bond, until :meth:`release`."""
        self._bonds[bond] = (key, client)

    def release(self, bond: bytes) -> None:
        """The control connection is gone, and its bond with it."""
        self._bonds.pop(bond, None)

    def bound(self, connection: SSL.Connection) -> VerifiedClient | None:
        """The client whose bond a connection proved, after the handshake; ``None`` if it proved none that holds."""
        known = self._bonds.get(self._claims.get(connection, b""))
        return None if known is None or not proved_by_secret(connection) else known[1]

    def _secret(self, connection: SSL.Connection, name: bytes) -> bytes | None:
        """The key of a bond that somebody claims to know, and has yet to prove."""
        known = self._bonds.get(name)
        if known is None:
            return None
        self._claims[connection] = name
        return known[0]

    def verified(self, connection: SSL.Connection) -> VerifiedClient:
        """The client's identity, after a handshake in which it showed its certificate.

        :raises PeerRefused: if the handshake proved nothing, which OpenSSL does not let happen.
        """
        path = connection.get_verified_chain(as_cryptography=True) or []
        if self._verdicts.of(connection) is not None or len(path) != _AUTHORITY_DEPTH + 1 or path[1] != self._authority:
            raise self._verdicts.of(connection) or PeerRefused(
                cause=Cause.TUNNEL_UNPROVED, message="the client showed no certificate that could be verified"
            )
        return self._client(path[0])

    def recognized(self, der: bytes, challenge: bytes, proof: bytes) -> VerifiedClient:
        """The client that proves a certificate to be its own on a control connection, by what its handshake agreed on.

        :param der: the certificate.
        :param challenge: what :func:`~smartproxy.tunnel.credential.challenge_of` says of the connection.
        :param proof: what its :class:`~smartproxy.tunnel.credential.ClientCredential` makes of it.
        :raises PeerRefused: if the authority did not issue it, or not for a client, or if the proof is none.
        :raises Undecodable: if it cannot be read.
        """
        leaf = certificate_in(der)
        if not is_issued_by(leaf, self._authority):
            raise _refusal(Cause.CERTIFICATE_UNKNOWN_CA, leaf)
        if not has_key(leaf, challenge, proof):
            raise PeerRefused(
                cause=Cause.TUNNEL_UNPROVED, message="the client does not have the key of the newer certificate"
            )
        return self._client(leaf)

    def told(self, name: str, since: int, until: int, subject: str) -> VerifiedClient:
        """A client that proved its name to the supervisor of this process; the times are seconds since 1970."""
        begins, ends = datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(until, UTC)
        return VerifiedClient(name=name, not_before=begins, not_after=ends, subject=subject)

    def _client(self, leaf: x509.Certificate) -> VerifiedClient:
        name = _client_name(leaf)
        if name is None:
            raise _refusal(Cause.CERTIFICATE_WRONG_PURPOSE, leaf)
        return VerifiedClient(
            name=name,
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            subject=subject_text(leaf),
        )

    def _select_protocol(self, offered: Sequence[bytes]) -> bytes | None:
        """The first kind of connection that is ours; a connection without one is refused after the handshake."""
        return next((each for each in offered if each in self._protocols), None)

    def _judge(self, connection: SSL.Connection, certificate: X509, error: int, depth: int, ok: int) -> bool:
        """OpenSSL's question about each certificate of the path; never raises."""
        try:
            with decoding():
                facts = certificate.to_cryptography()
            if error or not ok:
                return self._verdicts.refuse(connection, _refusal(cause_of(error), facts))
            if depth == 0 and _client_name(facts) is None:
                return self._verdicts.refuse(connection, _refusal(Cause.CERTIFICATE_WRONG_PURPOSE, facts))
            return depth <= _AUTHORITY_DEPTH
        except Exception as error:
            return self._verdicts.refuse(connection, _unreadable(error))


@implementer(IOpenSSLClientConnectionCreator)
class ClientContext:
    """TLS of the client's end, for one kind of connection; immutable.

    :param proxy_ids: the servers that may be spoken to.
    :param protocol: what the connection is for (ALPN).
    :param bonds: whether connections are to prove themselves by bonds, for which :meth:`by` gives contexts.
    """

    def __init__(
        self, credential: ClientCredential, proxy_ids: Collection[str], protocol: bytes, *, bonds: bool = False
    ) -> None:
        self._pins = tuple(each.encode("ascii") for each in proxy_ids)
        self._protocol = protocol
        self._bond: Bond | None = None
        self._key = b""
        self._shown: WeakKeyDictionary[SSL.Connection, tuple[bytes, bytes]] = WeakKeyDictionary()
        self._verdicts = _Verdicts()
        context = new_context(server=False, least=SSL.TLS1_3_VERSION)
        judge_peers(context, self._judge, server=False)
        leaf, *others = certificates_in(credential.certificate)
        context.use_certificate(leaf)
        for other in others:
            context.add_extra_chain_cert(other)
        key = private_key_in(credential.key)
        context.use_privatekey(key)  # type: ignore[arg-type]  # pyOpenSSL refuses kinds of keys that it cannot use
        context.set_alpn_protos([protocol])
        if bonds and has_secrets():
            show_secret(context, self._shown.get)
        self._context = context

    def by(self, bond: Bond, first: bytes = b"") -> "ClientContext":
        """The same for connections by a bond; a server that does not know it, and shows a certificate, is refused.

        :param first: what they say before TLS.
        """
        other = copy(self)
        other._bond, other._key = bond, bond.key(first)
        return other

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A connection to one server."""
        connection = BoundedConnection(self._context)
        if self._bond is not None:
            self._shown[connection] = self._bond.name, self._key
        return connection

    def refusal(self, connection: SSL.Connection) -> PeerRefused | None:
        """Why the server was refused, if it was refused for its key."""
        return self._verdicts.of(connection)

    def verified(self, connection: SSL.Connection) -> VerifiedServer:
        """The server's identity, after the handshake; checks the key once more, before an octet is sent.

        :raises PeerRefused: if its key does not match any of the Proxy IDs, or if it serves another kind of tunnel; if
            it does not know the bond, where it is to.
        """
        if self._bond is not None:
            if not proved_by_secret(connection):
                raise PeerRefused(
                    cause=Cause.TUNNEL_UNPROVED,
                    message="the server could not prove that the data connection belongs to its control connection",
                )
            self._check_protocol(connection)
            return VerifiedServer(proxy_id=self._bond.proxy_id)
        certificate = connection.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            raise PeerRefused(cause=Cause.TUNNEL_UNPROVED, message="the server showed no certificate")
        seen = proxy_id(public_key(certificate))
        if self._verdicts.of(connection) is not None or not self._pinned(seen):
            raise self._verdicts.of(connection) or _wrong_key(seen)
        self._check_protocol(connection)
        return VerifiedServer(proxy_id=seen)

    def _check_protocol(self, connection: SSL.Connection) -> None:
        if connection.get_alpn_proto_negotiated() != self._protocol:
            raise PeerRefused(
                cause=Cause.TUNNEL_PROTOCOL,
                message=f"the server does not offer {self._protocol.decode('ascii')}: it belongs to the other pair of "
                "daemons",
                advice="connect smartproxy-client to smartproxy-server, and smartproxy-plain-client to "
                "smartproxy-plain-server",
            )

    def _judge(self, connection: SSL.Connection, certificate: X509, error: int, depth: int, ok: int) -> bool:
        """OpenSSL's questions about the path; only the server's own key counts."""
        try:
            with decoding():
                shown = certificate.to_cryptography()
            seen = proxy_id(public_key(shown))
            if depth == 0 and self._pinned(seen):
                return True
            return self._verdicts.refuse(connection, _wrong_key(seen))
        except Exception as error:
            return self._verdicts.refuse(connection, _unreadable(error))

    def _pinned(self, seen: str) -> bool:
        octets = seen.encode("ascii")
        # Without all(): every pin is compared, whichever fits.
        return sum(hmac.compare_digest(octets, pin) for pin in self._pins) > 0


def _client_name(leaf: x509.Certificate) -> str | None:
    """The name in a certificate for tunnel clients; ``None`` if it is for anything else."""
    usage = extension(leaf, x509.ExtendedKeyUsage)
    names = subject_values(leaf, NameOID.COMMON_NAME)
    if usage is None or ExtendedKeyUsageOID.CLIENT_AUTH not in usage or len(names) != 1:
        return None
    (name,) = names
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= limits.NAME_CHARACTERS_MOST:
        return None
    return name


def _refusal(cause: Cause, certificate: x509.Certificate) -> PeerRefused:
    return PeerRefused(
        cause=cause,
        advice=_ADVICE.get(cause, "the client needs a tunnel certificate of the authority that signed the licence"),
        subject=subject_text(certificate),
        issuer=issuer_text(certificate),
        not_after=certificate.not_valid_after_utc,
    )


_ADVICE: Final = {
    Cause.CERTIFICATE_EXPIRED: "have the client fetch a new tunnel certificate from the backend, and compare the "
    "clocks of both machines",
    Cause.CERTIFICATE_NOT_YET_VALID: "compare the clocks of client and server",
}


def _wrong_key(seen: str) -> PeerRefused:
    return PeerRefused(
        cause=Cause.TUNNEL_WRONG_SERVER_KEY,
        advice="check the address: another machine answers there, or the server has a new identity key and needs a new "
        "licence",
        proxy_id=seen,
    )


def _unreadable(error: Exception) -> PeerRefused:
    kind = error.kind if isinstance(error, Undecodable) else type(error).__name__
    return PeerRefused(cause=Cause.CERTIFICATE_UNREADABLE, message=f"the peer's certificate cannot be read ({kind})")


def closing_of(reason: Failure) -> Closing:
    """Why a connection that was not closed here is gone."""
    cause = Cause.TUNNEL_CLOSED if reason.check(ConnectionDone) else Cause.TUNNEL_LOST
    if reason.check(ConnectionClosed):
        return Closing(cause, connection_words(reason.value))
    return Closing(cause, f"the connection was lost: {tls_trouble(reason)}")


def tls_trouble(reason: Failure) -> str:
    """Why a connection was lost; for TLS in OpenSSL's words, which include the peer's alert."""
    error = reason.value
    return "; ".join(tls_error_words(error)) if isinstance(error, SSL.Error) else connection_words(error)
