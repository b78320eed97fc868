"""TLS towards partners: what one generation of the configuration offers and asks for.

Duty: build the OpenSSL contexts of a generation, once, from memory; nothing of them is changed after the first
connection (a list added to a live store is not honored by all versions of OpenSSL), and a new generation gets new ones.
Running sessions keep theirs.

Offered: TLS 1.2 with ephemeral keys and AEAD ciphers, TLS 1.3. Never: renegotiation, compression, session tickets, a
session cache. Tickets and cache are both off because either one alone would let a peer resume a session without showing
its certificate again, and so outlive its revocation. (With TLS 1.3 OpenSSL still sends two tickets that name an entry
of the cache which is not there; pyOpenSSL cannot keep it from that. They resume nothing.) Standards: RFC 5246, RFC
8446, RFC 6066 section 3 (SNI); RFC 5024 section 2.3.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from smartproxy.net.tls.facts import certificate_facts
from smartproxy.net.tls.openssl import choose_errors
from smartproxy.net.tls.verdict import Verification, VerifiedConnection, Verifier, note_alert
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.limits import PATH_DEPTH_MOST
from smartproxy.policy.partners import CertificatePin, KeyPin, ServerIdentity

CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2: forward secrecy and authenticated encryption; all suites of TLS 1.3 have both."""

_OPTIONS: Final = SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE
_VERIFY: Final = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT | SSL.VERIFY_CLIENT_ONCE


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


@implementer(IOpenSSLServerConnectionCreator)
class PartnerContexts:
    """The contexts of one generation: one for each identity, alike in all else.

    :param configuration: the generation.
    :param now: tells the wall clock's time, aware, in UTC.
    :raises CertificateUnusable: if there is no identity, or a certificate or key is not what it should be.
    """

    def __init__(self, configuration: ServerConfiguration, now: Callable[[], datetime]) -> None:
        if not configuration.identities:
            raise CertificateUnusable("server.identities", "no server certificate; import one with its key")
        self.configuration = configuration
        self._verifier = Verifier(configuration, now)
        self._anchors = tuple(
            certificate
            for number, authority in enumerate(configuration.authorities)
            for certificate in load_certificates(authority.certificates, f"server.authorities[{number}].certificates")
        )
        self._by_name: dict[str, SSL.Context] = {}
        contexts = [
            self._context(identity, f"server.identities[{number}]")
            for number, identity in enumerate(configuration.identities)
        ]
        self._default = contexts[0]
        self._default.set_tlsext_servername_callback(self._choose)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> VerifiedConnection:
        """Make the TLS side of a connection that was accepted."""
        connection = VerifiedConnection(self._default, None)
        connection.verification = Verification()
        return connection

    def _choose(self, connection: SSL.Connection) -> None:
        """Show the identity whose certificate bears the name that the peer asks for; the first one if none does."""
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        parent = "*." + name.partition(".")[2]
        context = self._by_name.get(name) or self._by_name.get(parent)
        if context is not None:
            connection.set_context(context)

    def _context(self, identity: ServerIdentity, where: str) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(CIPHERS)
        context.set_options(_OPTIONS)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        leaf = show_identity(context, identity, where)
        for name in certificate_facts(leaf).sans:
            kind, _, value = name.partition(":")
            if kind == "DNS":
                self._by_name.setdefault(value.lower(), context)
        self._verify(context)
        return context

    def _verify(self, context: SSL.Context) -> None:
        store = context.get_cert_store()
        assert store is not None
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)  # an anchor may be an intermediate authority
        for anchor in self._anchors:
            store.add_cert(crypto.X509.from_cryptography(anchor))
        for authority in self._acceptable():
            context.add_client_ca(authority)
        context.set_verify_depth(PATH_DEPTH_MOST)
        context.set_verify(_VERIFY, self._verifier.verify)
        choose_errors(context, _VERIFY, self._verifier.error)
        context.set_info_callback(note_alert)

    def _acceptable(self) -> Iterable[x509.Certificate]:
        """The authorities whose certificates are asked for.

        None, which means any, as soon as an enabled partner is pinned: there are TLS programs that show no certificate
        at all if theirs does not come from one of the authorities named.
        """
        pinned = any(
            isinstance(rule, CertificatePin | KeyPin)
            for partner in self.configuration.partners
            if partner.enabled
            for rule in partner.certificates
        )
        return () if pinned else self._anchors


def load_certificates(pem: str, where: str) -> list[x509.Certificate]:
    """The certificates of a PEM text.

    :param where: its place in the configuration.
    :raises CertificateUnusable: if they cannot be read.
    """
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise CertificateUnusable(where, "is not a certificate that can be read") from None


def show_identity(context: SSL.Context, identity: ServerIdentity, where: str) -> x509.Certificate:
    """Give a context the certificate and key that it shows.

    :param where: the identity's place in the configuration.
    :raises CertificateUnusable: if they cannot be used.
    """
    chain = load_certificates(identity.certificate, f"{where}.certificate")
    try:
        key = serialization.load_pem_private_key(identity.key.encode(), None)
        context.use_privatekey(key)  # type: ignore[arg-type]  # a key of another kind raises TypeError
    except (ValueError, TypeError, SSL.Error):
        # What was raised is not chained: it could quote the key.
        raise CertificateUnusable(f"{where}.key", "is not a private key that TLS can use") from None
    try:
        context.use_certificate(chain[0])
        for certificate in chain[1:]:
            context.add_extra_chain_cert(certificate)
        context.check_privatekey()
    except SSL.Error:
        cause = "does not fit its private key, or TLS does not accept it as strong enough"
        raise CertificateUnusable(f"{where}.certificate", cause) from None
    return chain[0]
