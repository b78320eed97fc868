"""OpenSSL contexts: what every TLS connection of ours offers, asks for and never does.

Duty: build a context from memory: versions and ciphers, its own certificate, the anchors, the callback that judges the
peer. Trusts that callback. Never reads a file, and never changes a context after its first connection: a list added to
a live store is not honored by all versions of OpenSSL.

Offered: TLS 1.2 with ephemeral keys and AEAD ciphers, TLS 1.3. Never: renegotiation, compression, session tickets, a
session cache. Tickets and cache are both off because either one alone would let a peer resume a session without showing
its certificate again, and so outlive its revocation. (With TLS 1.3 OpenSSL still sends two tickets that name an entry
of the cache which is not there; pyOpenSSL cannot keep it from that. They resume nothing.) Standards: RFC 5246, RFC
8446, RFC 7301 (ALPN).
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
from cryptography import x509
from OpenSSL import SSL, crypto

from smartproxy.net.tls.bounded import read_flights
from smartproxy.net.tls.names import issuer_text, subject_text
from smartproxy.net.tls.openssl import GetPath, choose_errors
from smartproxy.policy.certificates.decoding import (
    Undecodable,
    certificates_in,
    extension,
    is_issued_by,
    key_octets,
    private_key_in,
)
from smartproxy.policy.limits import PATH_DEPTH_MOST
from smartproxy.policy.partners import TrustedCa

CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2: forward secrecy and authenticated encryption; all suites of TLS 1.3 have both."""

VerifyCallback: TypeAlias = Callable[[SSL.Connection, crypto.X509, int, int, int], bool]
"""Connection, certificate, ``X509_V_ERR_...`` number, depth, and whether OpenSSL accepts it."""

_NEVER: Final = SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION
_ASK: Final = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT | SSL.VERIFY_CLIENT_ONCE
"""How a server asks its peer for a certificate: always, and not again while the connection lasts."""


@attrs.define(auto_exc=True, eq=False, str=False)
class CertificateUnusable(Exception):
    """A certificate of the configuration cannot be used.

    :ivar where: its place in the configuration.
    :ivar cause: what is wrong with it.
    """

    where: str
    cause: str

    def __str__(self) -> str:
        return f"{self.where}: {self.cause}"


def new_context(*, server: bool, least: int = SSL.TLS1_2_VERSION) -> SSL.Context:
    """A context that shows and trusts nothing yet.

    :param server: for accepted connections; otherwise for those that are made.
    :param least: the oldest version to speak, such as ``SSL.TLS1_3_VERSION``; TLS 1.3 is the newest.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD if server else SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(least)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_cipher_list(CIPHERS)
    context.set_options(_NEVER | (SSL.OP_CIPHER_SERVER_PREFERENCE if server else 0))
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


def trust(context: SSL.Context, anchors: Iterable[x509.Certificate], *, depth: int) -> None:
    """Let paths end at these certificates, which need not be self-signed.

    :param depth: how many certificates may stand between the peer's and the anchor.
    """
    store = context.get_cert_store()
    assert store is not None
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)  # an anchor may be an intermediate authority
    for anchor in anchors:
        store.add_cert(crypto.X509.from_cryptography(anchor))
    context.set_verify_depth(depth)


def judge_peers(
    context: SSL.Context,
    verify: VerifyCallback,
    *,
    server: bool,
    error: Callable[[], int] | None = None,
    look: Callable[[GetPath], object] = lambda path: None,
) -> None:
    """Have the peer's certificate judged while the handshake can still be refused.

    :param verify: OpenSSL's question about each certificate of the path; says whether the handshake may go on, and
        never raises.
    :param server: whether the context is for accepted connections: their peers have to show a certificate.
    :param error: the ``X509_V_ERR_...`` number that stands for the refusal just given, which words the alert.
    :param look: told before each question how to get the path; only where *error* is given.
    """
    mode = _ASK if server else SSL.VERIFY_PEER
    context.set_verify(mode, verify)
    read_flights(context, server=server)
    if error is not None:
        choose_errors(context, mode, error, look)


def choose_protocol(context: SSL.Context, choose: Callable[[Sequence[bytes]], bytes | None]) -> None:
    """Let a server choose among the protocols that a peer offers (RFC 7301); without one in common, none is agreed.

    :param choose: given what is offered, best first.
    """

    def select(connection: SSL.Connection, offered: list[bytes]) -> Any:
        chosen = choose(offered)
        return SSL.NO_OVERLAPPING_PROTOCOLS if chosen is None else chosen

    context.set_alpn_select_callback(select)


def load_certificates(pem: str, where: str) -> list[x509.Certificate]:
    """The certificates of a PEM text.

    :param where: its place in the configuration.
    :raises CertificateUnusable: if they cannot be read, by OpenSSL too, which is stricter about texts in names.
    """
    try:
        found = certificates_in(pem)
        for each in found:
            crypto.X509.from_cryptography(each)
    except (Undecodable, crypto.Error):
        raise CertificateUnusable(where, "is not a certificate that can be read") from None
    return found


def load_anchors(cas: Iterable[TrustedCa]) -> Iterator[x509.Certificate]:
    """The certificates of all CAs of a configuration, for :func:`trust`.

    :raises CertificateUnusable: if one of them cannot be read.
    """
    for number, ca in enumerate(cas):
        yield from load_certificates(ca.certificates, f"server.cas[{number}].certificates")


AnchorsAbove: TypeAlias = Mapping[x509.Certificate, tuple[x509.Certificate, ...]]
"""The anchors that stand above an anchor, the nearest first."""


def anchors_above(anchors: Iterable[x509.Certificate]) -> AnchorsAbove:
    """The anchors that issued other anchors.

    OpenSSL ends a path at the first anchor. Where a CA and its issuing CA are both trusted, that is the issuing CA.
    """
    by_name: dict[str, list[x509.Certificate]] = {}
    for anchor in anchors:
        by_name.setdefault(subject_text(anchor), []).append(anchor)
    issuers = {
        anchor: issuer
        for same in by_name.values()
        for anchor in same
        if (issuer := _issuer_among(by_name.get(issuer_text(anchor), ()), anchor)) is not None
    }
    above = {}
    for anchor in issuers:
        path = [anchor]
        while (issuer := issuers.get(path[-1])) is not None and len(path) <= PATH_DEPTH_MOST and issuer not in path:
            path.append(issuer)
        above[anchor] = tuple(path[1:])
    return above


def _issuer_among(candidates: Iterable[x509.Certificate], anchor: x509.Certificate) -> x509.Certificate | None:
    """The one that issued a certificate which is not self-issued; of several with one key, a root, and the newest."""
    found = [each for each in candidates if subject_text(anchor) != issuer_text(anchor) and is_issued_by(anchor, each)]
    return max(
        found, key=lambda each: (subject_text(each) == issuer_text(each), each.not_valid_after_utc), default=None
    )


def path_with_anchors_above(path: Sequence[x509.Certificate], above: AnchorsAbove) -> list[x509.Certificate]:
    """A path that ends at an anchor, with the anchors above that one.

    It ends below an anchor that limits the names or the length of paths so that this one may not lead to it: OpenSSL
    does not judge what stands above its anchor.
    """
    found = list(path)
    for each in above.get(path[-1], ()) if path else ():
        if not may_stand_above(each, len(found)):
            break
        found.append(each)
    return found


def may_stand_above(anchor: x509.Certificate, certificates: int) -> bool:
    """Whether an anchor may end a path at which OpenSSL did not look for it.

    It may not if it limits the names or the length of paths so that this one may not lead to it.

    :param certificates: how many of the path are below it.
    """
    try:
        constraints = extension(anchor, x509.BasicConstraints)
        length = None if constraints is None else constraints.path_length
        return extension(anchor, x509.NameConstraints) is None and (length is None or certificates - 1 <= length)
    except Undecodable:
        return False


Twins: TypeAlias = Mapping[x509.Certificate, tuple[x509.Certificate, ...]]
"""The other anchors with the name and the key of an anchor."""


def twins_of(anchors: Iterable[x509.Certificate]) -> Twins:
    """The anchors that are certificates of one CA with one key, as after a CA renewed its own with other dates."""
    return _beside(anchors, same_key=True)


Namesakes: TypeAlias = Mapping[x509.Certificate, tuple[x509.Certificate, ...]]
"""The other anchors with the name of an anchor, and with other keys."""


def namesakes_of(anchors: Iterable[x509.Certificate]) -> Namesakes:
    """The anchors that OpenSSL may take for each other, as after a CA began anew with another key.

    It goes by the name alone where a certificate does not tell which key signed it.
    """
    return _beside(anchors, same_key=False)


def _beside(
    anchors: Iterable[x509.Certificate], *, same_key: bool
) -> dict[x509.Certificate, tuple[x509.Certificate, ...]]:
    """The other anchors with the name of each, and with its key or with other ones; none of an anchor without any."""
    named: dict[str, dict[x509.Certificate, bytes]] = {}
    for anchor in dict.fromkeys(anchors):
        with contextlib.suppress(Undecodable):
            named.setdefault(subject_text(anchor), {})[anchor] = key_octets(anchor)
    return {
        anchor: others
        for found in named.values()
        for anchor, key in found.items()
        if (others := tuple(each for each, its in found.items() if each is not anchor and (its == key) is same_key))
    }


def check_path(path: Sequence[x509.Certificate], anchor: x509.Certificate) -> tuple[int, int] | None:
    """Have OpenSSL check a path once more, up to an anchor that is the only one.

    It checks no purposes: that is done where the path is shown.

    :param path: the certificates below the anchor, the peer's own first.
    :return: the ``X509_V_ERR_...`` number and the depth of the first finding, if there is one.
    """
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    store.add_cert(crypto.X509.from_cryptography(anchor))
    leaf, *others = (crypto.X509.from_cryptography(each) for each in path)
    try:
        crypto.X509StoreContext(store, leaf, others).verify_certificate()
    except crypto.X509StoreContextError as found:
        code, depth, _ = found.errors
        return code, depth
    return None


def show_identity(context: SSL.Context, certificate: str, key: str, where: str) -> x509.Certificate:
    """Give a context the certificate and key that it shows.

    :param certificate: the chain in PEM, the context's own certificate first.
    :param key: its private key in PEM.
    :param where: their place in the configuration.
    :return: the context's own certificate.
    :raises CertificateUnusable: if they cannot be used.
    """
    chain = load_certificates(certificate, f"{where}.certificate")
    try:
        private = private_key_in(key)
        context.use_privatekey(private)  # type: ignore[arg-type]  # a key of another kind raises TypeError
    except (Undecodable, TypeError, SSL.Error):
        # What was raised is not chained: it could quote the key.
        raise CertificateUnusable(f"{where}.key", "is not a private key that TLS can use") from None
    try:
        context.use_certificate(chain[0])
        for other in chain[1:]:
            context.add_extra_chain_cert(other)
        context.check_privatekey()
    except SSL.Error:
        cause = "does not fit its private key, or TLS does not accept it as strong enough"
        raise CertificateUnusable(f"{where}.certificate", cause) from None
    return chain[0]
