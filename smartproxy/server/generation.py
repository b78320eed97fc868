"""One generation of the configuration, as the server uses it in both directions of a call.

Duty: build the TLS contexts for partners' connections, once for each generation; running sessions keep theirs. Put a
generation in force as a whole, limited by the licence, or leave the one before in force. Trusts a configuration that
was checked. Standards: RFC 5024 section 2.3; RFC 6066 section 3 (SNI).
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, Protocol, Self

import attrs
from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.logs.emit import Events
from smartproxy.net.tls.context import (
    CertificateUnusable,
    load_anchors,
    new_context,
    show_identity,
    trust,
)
from smartproxy.net.tls.facts import certificate_facts
from smartproxy.net.tls.verdict import VerifiedConnection, Verifier
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ConfigurationRefused, ServerConfiguration, ServerPart
from smartproxy.policy.licence import Licence
from smartproxy.policy.limits import PATH_DEPTH_MOST
from smartproxy.policy.partners import CertificatePin, KeyPin, ServerIdentity
from smartproxy.server.dial.tls import DialledContexts
from smartproxy.tunnel.dmz import NO_CLIENT
from smartproxy.tunnel.licence import LicenceInForce

_PLACE: Final = "smartproxy.server.generation"


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


class GenerationUser(Protocol):
    """Who begins sessions by the generation in force."""

    def adopt(self, generation: ServerGeneration) -> None:
        """Begin sessions by this generation from now on."""

    def forget(self, part: ServerPart | None = None) -> None:
        """Begin no sessions, and drop configuration and keys.

        :param part: a generation without an identity, by which running sessions are judged.
        """


@attrs.frozen
class _Before:
    """What is in force at a moment; all of it may be ``None`` but the licence."""

    generation: ServerGeneration | None
    part: ServerPart | None
    licence: Licence


class GenerationInForce:
    """The generation by which a server serves partners: as a whole, or not at all.

    :param users: who begins sessions by it.
    :param licence: limits it.
    :param listen: opens the ports on which partners can be served by it, and closes the others; told why.
    :param give_up: serves nobody; told why.
    :param now: tells the wall clock's time, aware, in UTC.
    :ivar part: the server's part of the configuration, limited by the licence; ``None`` where there is none.
    """

    def __init__(
        self,
        users: Sequence[GenerationUser],
        licence: LicenceInForce,
        events: Events,
        *,
        listen: Callable[[str], object],
        give_up: Callable[[str], object],
        now: Callable[[], datetime],
    ) -> None:
        self.part: ServerPart | None = None
        self._generation: ServerGeneration | None = None
        self._delivered: ServerPart | None = None
        self._users = users
        self._licence = licence
        self._events = events
        self._listen = listen
        self._give_up = give_up
        self._now = now

    def put(self, part: ServerPart) -> bool:
        """Put a generation in force as a whole: all that can be refused comes before the first change.

        Where a change raises nevertheless, what was before is put back.

        :return: whether its licence replaced another one.
        :raises ConfigurationRefused: if it cannot be put in force.
        """
        built = None
        # A site that is still being set up cannot accept partners without a server certificate.
        if part.server.identities:
            try:
                built = ServerGeneration.build(part, self._now)
            except CertificateUnusable as unusable:
                raise ConfigurationRefused(
                    where=unusable.where, cause=Cause.DOCUMENT_VALUE, message=unusable.cause
                ) from None
        licence = None if part.server.licence is None else self._licence.judge(part.server.licence)
        before = self._present()
        try:
            if licence is not None:
                self._licence.present = licence
            self._adopt(built, part)
            self._listen(NO_CLIENT)
        except Exception:
            self._licence.present = before.licence
            self._put_back(before)
            raise
        return licence is not None

    def licence_renewed(self) -> None:
        """Another licence is in force: its limits hold for the generation in force, too."""
        if self._delivered is not None:
            before = self._present()
            try:
                self._adopt(before.generation, self._delivered)
            except Exception:
                self._events.failure(_PLACE, Failure())
                self._put_back(before)

    def forget(self) -> None:
        """Have none in force."""
        self.part = self._delivered = self._generation = None
        for user in self._users:
            user.forget()

    def _present(self) -> _Before:
        return _Before(self._generation, self._delivered, self._licence.present)

    def _adopt(self, generation: ServerGeneration | None, part: ServerPart) -> None:
        """Use a generation for what begins from now on, limited by the licence."""
        self._delivered, part = part, self._licensed(part)
        if generation is not None:
            generation = attrs.evolve(generation, part=part)
        for user in self._users:
            if generation is None:
                user.forget(part)
            else:
                user.adopt(generation)
        self._generation, self.part = generation, part

    def _put_back(self, before: _Before) -> None:
        """Use the generation before again; serve nobody where even that raises."""
        try:
            if before.part is None:
                self.forget()
            else:
                self._adopt(before.generation, before.part)
            self._listen("the generation before is in force again")
        except Exception:
            self._events.failure(_PLACE, Failure())
            self._give_up("the generation before could not be put back")

    def _licensed(self, part: ServerPart) -> ServerPart:
        """The generation, limited by the licence."""
        most = self._licence.present.limits.get("sessions")
        if most is None or part.server.limits.sessions <= most:
            return part
        limits = attrs.evolve(part.server.limits, sessions=most)
        return attrs.evolve(part, server=attrs.evolve(part.server, limits=limits))
