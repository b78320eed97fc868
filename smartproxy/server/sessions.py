"""The partners' side of the server: from an accepted connection to a finished session.

Duty: keeps the generation of the configuration in force for new connections, lets connections in through the gate,
starts the session of every verified partner, and knows the live ones. The leg through the tunnel is opened by a
function that it is given. A generation that cannot be used leaves the one before in force. Never touches a disk.

Standards: RFC 5024 section 4.2 (start of a session).
"""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from smartproxy.logs.emit import Events
from smartproxy.net.connection import address_text
from smartproxy.net.driver import SessionDriver
from smartproxy.net.leg import ILeg
from smartproxy.net.sessions import LiveSessions
from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.monitor import Ceilings, Monitor
from smartproxy.oftp2.roles import Role
from smartproxy.policy.admission import Denied
from smartproxy.policy.certificates.revocation import CrlUrls
from smartproxy.policy.configuration import ServerConfiguration, ServerPart
from smartproxy.policy.identity import VerifiedPartner, judge_ssid
from smartproxy.policy.penalties import Fault
from smartproxy.relay.ending import Summary
from smartproxy.relay.openings import server_inbound
from smartproxy.relay.session import Session
from smartproxy.server.accept import Gate
from smartproxy.server.generation import Generation
from smartproxy.server.partner import PartnerLeg
from smartproxy.server.withdrawal import Withdrawals

OpenInside = Callable[[str, Mapping[str, str]], Deferred[ILeg]]
"""Opens the leg through the tunnel for a session, given its id and facts; fails with an ``OwnFault``. Canceling its
deferred has to end a leg that is on its way."""


class PartnerSessions(LiveSessions):
    """All sessions that partners opened.

    :param clock: runs every deadline.
    :param events: where everything is told.
    :param gate: lets connections in.
    :param open_inside: opens the leg through the tunnel.
    :param finished: told of every session that is over, also of those that never got inside.
    :param crl_url_seen: told of the addresses of revocation lists that verified certificates name, each with the
        authority's name.
    :param now: tells the wall clock's time for certificates, aware, in UTC.
    :param new_id: makes the id of a session.
    :ivar withdrawals: judges the running sessions by every new generation, those that the station began among them.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        events: Events,
        gate: Gate,
        open_inside: OpenInside,
        finished: Callable[[Summary], None] = lambda summary: None,
        crl_url_seen: Callable[[str, str], None] = lambda url, authority: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        super().__init__()
        self._clock = clock
        self._events = events
        self._gate = gate
        self._open_inside = open_inside
        self._finished = finished
        self._crl_url_seen = crl_url_seen
        self._crl_urls = CrlUrls()
        self._now = now
        self._new_id = new_id
        self._generation: Generation | None = None
        self.withdrawals = Withdrawals(clock, events, now)

    # The configuration.

    def configure(self, part: ServerPart) -> None:
        """Put a generation in force for the connections to come, and end the sessions of whom it withdraws.

        :raises CertificateUnusable: if it cannot be; the one before stays in force.
        """
        self._generation = Generation.build(part, self._now)
        self.withdrawals.judge(part.server)
        self._crl_urls.keep({authority.name for authority in part.server.cas})
        self._gate.admission.limits = part.server.limits
        self._gate.penalties.settings = part.server.penalties

    def forget(self) -> None:
        """Hold no configuration and no key any more; connections are turned away, running sessions keep theirs."""
        self._generation = None

    @property
    def generation(self) -> Generation | None:
        """What is in force."""
        return self._generation

    # Connections.

    def accept(self, address: IAddress) -> PartnerLeg | None:
        """Make the leg of a connection that is about to be accepted, or tell why it is turned away."""
        peer = address_text(address)
        generation = self._generation
        assert isinstance(address, IPv4Address | IPv6Address)
        if generation is None:
            self._gate.turn_away(address.host, peer, "the server has no configuration")
            return None
        visit = self._gate.enter(address.host, peer)
        if visit is None:
            return None
        return PartnerLeg(self._clock, self._events, generation, visit, self, address.host)

    def fault(self, leg: PartnerLeg, fault: Fault) -> None:
        """Count a fault against the leg's address."""
        self._gate.fault(leg.address, fault)

    # Sessions.

    def begin(self, leg: PartnerLeg, partner: VerifiedPartner) -> None:
        """Start the session of a verified partner."""
        server = leg.generation.part.server
        denied: Denied | None = None
        try:
            leg.visit.prove(partner.partner.name)
        except Denied as denial:
            denied = denial

        def judge(ssid: SSID) -> None:
            judge_ssid(partner, ssid, server.partners)
            if denied is not None:
                raise denied

        session = self._new_id()
        facts = {
            "partner": partner.partner.name,
            "profile": partner.partner.profile.value,
            "peer": leg.peer,
            "tls": leg.tls.get_protocol_version_name(),
            "certificate_sha256": partner.certificate.sha256,
        }
        monitor = Monitor(partner.partner.profile, ceilings=Ceilings(command=server.limits.command_octets))
        driver = SessionDriver(
            Session(session, server_inbound(judge, facts), monitor, server.deadlines),
            leg,
            clock=self._clock,
            events=self._events,
            open_leg=lambda told: self._open_inside(session, told),
            finished=lambda summary: self._over(leg, summary),
        )
        self.live[session] = driver
        self.withdrawals.began(
            session, driver, partner, leg.peer, lambda standing, now: standing.withdrawn(partner, now)
        )
        self._tell_crl_urls(partner, server)
        driver.begin()
        newest = self._generation
        if newest is not None and newest is not leg.generation:
            self.withdrawals.judge_latecomer(session, newest.part.server)

    def _tell_crl_urls(self, partner: VerifiedPartner, server: ServerConfiguration) -> None:
        """Tell where the lists of the authority that vouched for a partner are said to be. Nothing fetches them."""
        for authority in server.cas:
            if authority.name == partner.ca:
                for url in self._crl_urls.new(partner.chain, authority, self._now()):
                    self._crl_url_seen(url, authority.name)

    def _over(self, leg: PartnerLeg, summary: Summary) -> None:
        self.live.pop(summary.session, None)
        self.withdrawals.over(summary.session)
        ending = summary.ending
        if ending.by is Role.INITIATOR:
            fault = {"violated": Fault.PROTOCOL, "expired": Fault.SILENCE}.get(ending.outcome)
            if ending.rule == "identity.code":
                fault = Fault.IDENTITY
            if fault is not None:
                self.fault(leg, fault)
        self._finished(summary)


@implementer(IOpenSSLServerConnectionCreator)
class _OwnGeneration:
    """Gives each connection the TLS contexts of the generation that it was accepted in."""

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        leg = protocol.wrappedProtocol
        assert isinstance(leg, PartnerLeg)
        return leg.generation.contexts.serverConnectionForTLS(protocol)


class PartnerFactory(ServerFactory):
    """Accepts partners' connections.

    :param clock: the reactor; TLS transports collect small writes with it.
    :param sessions: where connections belong to.
    """

    noisy = False

    def __init__(self, clock: IReactorTime, sessions: PartnerSessions) -> None:
        self._sessions = sessions
        self._tls = TLSMemoryBIOFactory(_OwnGeneration(), False, ServerFactory(), clock)

    def buildProtocol(self, address: IAddress | None) -> Protocol | None:
        """Make what a connection is spoken with, or nothing, which closes it at once."""
        assert address is not None
        leg = self._sessions.accept(address)
        return None if leg is None else self._tls.protocol(self._tls, leg)
