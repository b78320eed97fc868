"""TLS towards partners that are called: the certificate that they are shown, and the check of theirs.

Duty: build the OpenSSL context of calls to a partner, once for each generation, from memory, and judge the partner's
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
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from smartproxy.net.tls.context import (
    CertificateUnusable,
    load_anchors,
    new_context,
    show_identity,
    trust,
)
from smartproxy.net.tls.der import extensions_alone
from smartproxy.net.tls.verdict import VerifiedConnection, Verifier
from smartproxy.policy.certificates.decoding import Undecodable, decoding
from smartproxy.policy.certificates.facts import ChainFacts
from smartproxy.policy.certificates.judge import Match, judge_called
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.limits import PATH_DEPTH_MOST
from smartproxy.policy.partners import Outbound, Partner

_NAMES: Final = x509.SubjectAlternativeName.oid.dotted_string


def is_address(host: str) -> bool:
    """Whether a host is an address and no name."""
    return isIPAddress(host) or isIPv6Address(host)


class DialledVerifier(Verifier):
    """The verify callback of calls to one partner."""

    def __init__(
        self, configuration: ServerConfiguration, now: Callable[[], datetime], partner: Partner, outbound: Outbound
    ) -> None:
        super().__init__(configuration, now)
        self._partner = partner
        self._outbound = outbound

    def judge(self, chain: ChainFacts, leaf: x509.Certificate) -> Match:
        """Match the certificate with the partner that was called."""
        return judge_called(
            chain, self._partner, self._outbound, self._configuration, self._now(), partial(bears, leaf)
        )


def bears(certificate: x509.Certificate, name: str) -> bool:
    """Whether a certificate bears a host's name or address among its alternative names."""
    try:
        with decoding():
            # Alone: another extension that cannot be read hides no name. A certificate with two has none.
            (names,) = (alone for number, alone in extensions_alone(certificate) if number == _NAMES)
            verify = verify_certificate_ip_address if is_address(name) else verify_certificate_hostname
            verify(names, name)
    except (VerificationError, CertificateError, Undecodable):
        return False
    return True


@implementer(IOpenSSLClientConnectionCreator)
class DialledContext:
    """Makes the TLS side of calls to one partner.

    :raises CertificateUnusable: if the certificate that the partner is to be shown cannot be used.
    """

    def __init__(
        self, configuration: ServerConfiguration, now: Callable[[], datetime], partner: Partner, outbound: Outbound
    ) -> None:
        self._name = outbound.name
        verifier = DialledVerifier(configuration, now, partner, outbound)
        context = new_context(server=False)
        number = next(
            (n for n, each in enumerate(configuration.identities) if outbound.identity in (None, each.name)), None
        )
        if number is None:
            raise CertificateUnusable("server.identities", "there is no server certificate that can be shown")
        identity = configuration.identities[number]
        show_identity(context, identity.certificate, identity.key, f"server.identities[{number}]")
        trust(context, load_anchors(configuration.cas), depth=PATH_DEPTH_MOST)
        verifier.attach(context, server=False)
        self._context = context

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> VerifiedConnection:
        """Make the TLS side of a call."""
        connection = VerifiedConnection(self._context)
        if not is_address(self._name):
            connection.set_tlsext_host_name(self._name.encode("ascii"))
        return connection


class DialledContexts:
    """The contexts of one generation, each made when its partner is called first.

    :param now: tells the wall clock's time, aware, in UTC.
    """

    def __init__(self, configuration: ServerConfiguration, now: Callable[[], datetime]) -> None:
        self._configuration = configuration
        self._now = now
        self._made: dict[str, DialledContext] = {}

    def of(self, partner: Partner, outbound: Outbound) -> DialledContext:
        """The context of calls to a partner.

        :raises CertificateUnusable: if the certificate that the partner is to be shown cannot be used.
        """
        made = self._made.get(partner.name)
        if made is None:
            made = self._made[partner.name] = DialledContext(self._configuration, self._now, partner, outbound)
        return made
