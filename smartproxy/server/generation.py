"""One generation of the configuration, as the server uses it in both directions of a call.

Duty: build the TLS contexts for partners' connections, once for each generation; running sessions keep theirs. Trusts a
configuration that was checked. Standards: RFC 5024 section 2.3; RFC 6066 section 3 (SNI).
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Self

import attrs
from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from smartproxy.net.tls.context import (
    CertificateUnusable,
    load_anchors,
    new_context,
    show_identity,
    trust,
)
from smartproxy.net.tls.facts import certificate_facts
from smartproxy.net.tls.verdict import VerifiedConnection, Verifier
from smartproxy.policy.configuration import ServerConfiguration, ServerPart
from smartproxy.policy.limits import PATH_DEPTH_MOST
from smartproxy.policy.partners import CertificatePin, KeyPin, ServerIdentity
from smartproxy.server.dial.tls import DialledContexts


@implementer(IOpenSSLServerConnectionCreator)
class PartnerContexts:
    """The TLS contexts of one generation: one for each server certificate, otherwise the same.

    :param configuration: the generation.
    :param now: tells the wall clock's time, aware, in UTC.
    :raises CertificateUnusable: if there is no server certificate, or a certificate or key cannot be used.
    """

    def __init__(self, configuration: ServerConfiguration, now: Callable[[], datetime]) -> None:
        if not configuration.identities:
            raise CertificateUnusable("server.identities", "no server certificate; import one with its key")
        self.configuration = configuration
        self._verifier = Verifier(configuration, now)
        self._anchors = tuple(load_anchors(configuration.cas))
        self._by_name: dict[str, SSL.Context] = {}
        contexts = [
            self._context(identity, f"server.identities[{number}]")
            for number, identity in enumerate(configuration.identities)
        ]
        self._default = contexts[0]
        self._default.set_tlsext_servername_callback(self._choose)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> VerifiedConnection:
        """Make the TLS side of a connection that was accepted."""
        return VerifiedConnection(self._default)

    def _choose(self, connection: SSL.Connection) -> None:
        """Show the identity whose certificate bears the name that the peer asks for; the first one if none does."""
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        parent = "*." + name.partition(".")[2]
        context = self._by_name.get(name) or self._by_name.get(parent)
        if context is not None:
            connection.set_context(context)

    def _context(self, identity: ServerIdentity, where: str) -> SSL.Context:
        context = new_context(server=True)
        leaf = show_identity(context, identity.certificate, identity.key, where)
        for name in certificate_facts(leaf).sans:
            kind, _, value = name.partition(":")
            if kind == "DNS":
                self._by_name.setdefault(value.lower(), context)
        trust(context, self._anchors, depth=PATH_DEPTH_MOST)
        for ca in self._acceptable():
            context.add_client_ca(ca)
        self._verifier.attach(context, server=True)
        return context

    def _acceptable(self) -> Iterable[x509.Certificate]:
        """The CAs that the server names when it asks for a certificate.

        It names none, which means any, as soon as an enabled partner is pinned: some TLS programs show no certificate
        at all if theirs does not come from one of the named CAs.
        """
        pinned = any(
            isinstance(rule, CertificatePin | KeyPin)
            for partner in self.configuration.partners
            if partner.enabled
            for rule in partner.certificates
        )
        return () if pinned else self._anchors


@attrs.frozen
class ServerGeneration:
    """A generation with its TLS contexts; a connection, and a call, keeps the one that was in force at its beginning.

    :ivar part: the server's part of the configuration.
    :ivar contexts: TLS with partners that call.
    :ivar called: TLS with partners that are called.
    """

    part: ServerPart
    contexts: PartnerContexts
    called: DialledContexts

    @classmethod
    def build(cls, part: ServerPart, now: Callable[[], datetime]) -> Self:
        """Make the contexts of a generation; those of calls are made with the first call to each partner.

        :raises CertificateUnusable: if one of its certificates cannot be used.
        """
        return cls(part, PartnerContexts(part.server, now), DialledContexts(part.server, now))

    @property
    def server(self) -> ServerConfiguration:
        """The server's part of the configuration."""
        return self.part.server
