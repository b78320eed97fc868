"""TLS towards partners that are called: what they are shown, and whether they are who they should be.

Duty: build, for each partner and generation, the OpenSSL context of calls to him, once, from memory, and judge his
certificate while the handshake can still be refused with an alert that says why. The host's name is compared by
service_identity. Offered: TLS 1.2 with ephemeral keys and AEAD ciphers, TLS 1.3. Never: renegotiation, compression,
session tickets, a session cache. Trusts what :mod:`smartproxy.net.tls.verdict` trusts. Standards: RFC 6066 section 3
(SNI), RFC 6125 (names); RFC 5024 section 2.3.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from smartproxy.net.tls.context import CIPHERS, CertificateUnusable, load_certificates, show_identity
from smartproxy.net.tls.openssl import choose_errors
from smartproxy.net.tls.verdict import Verification, VerifiedConnection, Verifier, note_alert
from smartproxy.policy.certificates.facts import ChainFacts
from smartproxy.policy.certificates.judge import Match, judge_called
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.limits import PATH_DEPTH_MOST
from smartproxy.policy.partners import Outbound, Partner

_OPTIONS: Final = SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION


def is_address(host: str) -> bool:
    """Whether a host is an address and no name."""
    return isIPAddress(host) or isIPv6Address(host)


class CalledVerifier(Verifier):
    """The verify callback of calls to one partner."""

    def __init__(
        self, configuration: ServerConfiguration, now: Callable[[], datetime], partner: Partner, outbound: Outbound
    ) -> None:
        super().__init__(configuration, now)
        self._partner = partner
        self._outbound = outbound

    def judge(self, chain: ChainFacts, leaf: x509.Certificate) -> Match:
        """The partner that was called."""
        return judge_called(
            chain, self._partner, self._outbound, self._configuration, self._now(), partial(bears, leaf)
        )


def bears(certificate: x509.Certificate, name: str) -> bool:
    """Whether a certificate bears a host's name or address among its alternative names."""
    verify = verify_certificate_ip_address if is_address(name) else verify_certificate_hostname
    try:
        verify(certificate, name)
    except (VerificationError, CertificateError, ValueError):
        return False
    return True


@implementer(IOpenSSLClientConnectionCreator)
class CalledContext:
    """Makes the TLS side of calls to one partner.

    :raises CertificateUnusable: if the certificate that he is to be shown cannot be used.
    """

    def __init__(
        self, configuration: ServerConfiguration, now: Callable[[], datetime], partner: Partner, outbound: Outbound
    ) -> None:
        self._name = outbound.name
        verifier = CalledVerifier(configuration, now, partner, outbound)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(CIPHERS)
        context.set_options(_OPTIONS)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        number = next(
            (n for n, each in enumerate(configuration.identities) if outbound.identity in (None, each.name)), None
        )
        if number is None:
            raise CertificateUnusable("server.identities", "there is no certificate to show")
        show_identity(context, configuration.identities[number], f"server.identities[{number}]")
        store = context.get_cert_store()
        assert store is not None
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)  # an anchor may be an intermediate authority
        for at, authority in enumerate(configuration.authorities):
            for anchor in load_certificates(authority.certificates, f"server.authorities[{at}].certificates"):
                store.add_cert(crypto.X509.from_cryptography(anchor))
        context.set_verify_depth(PATH_DEPTH_MOST)
        context.set_verify(SSL.VERIFY_PEER, verifier.verify)
        choose_errors(context, SSL.VERIFY_PEER, verifier.error)
        context.set_info_callback(note_alert)
        self._context = context

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> VerifiedConnection:
        """Make the TLS side of a call."""
        connection = VerifiedConnection(self._context, None)
        connection.verification = Verification()
        if not is_address(self._name):
            connection.set_tlsext_host_name(self._name.encode("ascii"))
        return connection


class CalledContexts:
    """The contexts of one generation, each made when its partner is called first.

    :param now: tells the wall clock's time, aware, in UTC.
    """

    def __init__(self, configuration: ServerConfiguration, now: Callable[[], datetime]) -> None:
        self._configuration = configuration
        self._now = now
        self._made: dict[str, CalledContext] = {}

    def of(self, partner: Partner, outbound: Outbound) -> CalledContext:
        """The context of calls to a partner.

        :raises CertificateUnusable: if the certificate that he is to be shown cannot be used.
        """
        made = self._made.get(partner.name)
        if made is None:
            made = self._made[partner.name] = CalledContext(self._configuration, self._now, partner, outbound)
        return made
