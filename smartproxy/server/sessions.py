"""The partners' side of the server: from an accepted connection to a finished session.

Duty: keep the generation of the configuration for new connections, admit connections through the gate, start the
session of every verified partner, and know the live ones. A function that it is given opens the leg through the tunnel.
A generation that cannot be used leaves the previous one in force. Never touches a disk.

Standards: RFC 5024 section 4.2 (start of a session).
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

import attrs
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.logs.emit import Events
from smartproxy.net.driver import OpenLeg
from smartproxy.net.handshakes import Handshakes
from smartproxy.net.hello import HelloFirst, Spoken
from smartproxy.net.leg import peer_of
from smartproxy.net.sessions import LiveSessions
from smartproxy.net.transport.secured import connections
from smartproxy.net.transport.tls import TlsTransport
from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.errors import ProtocolError
from smartproxy.oftp2.roles import Role
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.admission import Denied
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CertificateRefusal
from smartproxy.policy.certificates.crl_urls import CrlUrls
from smartproxy.policy.certificates.facts import ChainFacts
from smartproxy.policy.certificates.withdrawal import Standing
from smartproxy.policy.configuration import ServerConfiguration, ServerPart
from smartproxy.policy.faults import Expired, IdentityMismatch, OwnFault, UnknownIdentity
from smartproxy.policy.identity import VerifiedPartner, judge_ssid
from smartproxy.policy.penalties import Fault
from smartproxy.relay.ending import Summary
from smartproxy.relay.openings import SessionFacts, server_inbound
from smartproxy.server.accept import Gate
from smartproxy.server.balancers import Balancers
from smartproxy.server.generation import ServerGeneration
from smartproxy.server.partner import AdmittedVisit, PartnerLeg
from smartproxy.server.proof import verified_facts
from smartproxy.server.withdrawal import Withdrawals


class PartnerSessions(LiveSessions):
    """All sessions that partners opened.

    :param clock: runs every deadline.
    :param events: where everything is told.
    :param gate: lets connections in.
    :param open_inside: opens the leg through the tunnel; canceling has to end a leg that is on its way.
    :param finished: told of every session that is over, also if it never reached the station.
    :param crl_url_seen: told the address of each revocation list that a verified certificate names, with the CA's
        name.
    :param now: tells the wall clock's time for certificates, aware, in UTC.
    :param new_id: makes the id of a session.
    :ivar balancers: those in front of the server, if there are any.
    :ivar withdrawals: judges the running sessions by every new generation, whichever side began them.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        events: Events,
        gate: Gate,
        open_inside: OpenLeg,
        finished: Callable[[Summary], None] = lambda summary: None,
        crl_url_seen: Callable[[str, str], None] = lambda url, ca: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        super().__init__(clock, events, finished)
        self._gate = gate
        self._handshakes = Handshakes(clock)
        self._open_inside = open_inside
        self._crl_url_seen = crl_url_seen
        self._crl_urls = CrlUrls()
        self._now = now
        self._new_id = new_id
        # Bound once, and not for each session.
        self._ended = self._over
        self.generation: ServerGeneration | None = None
        self.withdrawals = Withdrawals(clock, events, now)
        self.balancers: Balancers | None = None

    # The configuration.

    def adopt(self, generation: ServerGeneration) -> None:
        """Put a generation in force for new connections; sessions whose partner it withdraws end."""
        server = generation.server
        self.generation = generation
        self.withdrawals.judge(server)
        self._crl_urls.keep({ca.name for ca in server.cas})
        self._gate.adopt(server)
        self.balancers = Balancers(self._clock, self._gate, server.balancers) if server.balancers else None

    def forget(self, part: ServerPart | None = None) -> None:
        """Drop configuration and keys: connections are refused; running sessions keep theirs.

        :param part: a generation without an identity, by which running sessions are judged.
        """
        self.generation = None
        if part is not None:
            self.withdrawals.judge(part.server)

    # Connections.

    def accept(self, address: IAddress, secure: Callable[[PartnerLeg], IProtocol]) -> HelloFirst | None:
        """Admit a new connection; if it is refused, report why and return ``None``.

        :param secure: puts TLS before the leg, which is made when the peer has sent its hello.
        """
        caller = peer_of(address)
        generation = self.generation
        assert caller is not None
        peer = str(caller)
        if generation is None:
            self._gate.unconfigured(caller.host, peer)
            return None
        visit = self._gate.enter(caller.host, peer, self._handshakes.is_hasty)
        return None if visit is None else self.receive(visit, caller, generation, secure)

    def receive(
        self,
        visit: AdmittedVisit,
        caller: HostPort,
        generation: ServerGeneration,
        secure: Callable[[PartnerLeg], IProtocol],
        age: float = 0.0,
    ) -> HelloFirst:
        """Take a connection that has a place.

        :param age: the seconds since it was accepted.
        """
        peer = str(caller)

        def speaks(door: HelloFirst) -> IProtocol:
            leg = PartnerLeg(
                self._clock,
                self._events,
                generation,
                visit,
                gate=self._gate,
                begin=self.begin,
                address=caller.host,
                accepted=door.accepted,
                unlisted=self._unlisted,
            )
            visit.speak(leg.displace)
            return secure(leg)

        def spoke(door: HelloFirst) -> None:
            self._handshakes.arrived(door, visit.prefix, known=visit.known)

        def ended(door: HelloFirst, spoken: Spoken, reason: Failure | None) -> None:
            visit.leave()
            self._handshakes.leave(door)
            self._gate.unspoken(caller.host, door, spoken, reason)

        def displaced() -> None:
            self._gate.displaced(peer)
            self._handshakes.leave(door)
            door.close()

        seconds = max(0.0, generation.server.deadlines.handshake - age)
        door = HelloFirst(self._clock, seconds, speaks, ended, spoke)
        door.accepted -= age
        visit.displaced = displaced
        return door

    def take_over(
        self, visit: AdmittedVisit, caller: HostPort, age: float, secure: Callable[[PartnerLeg], IProtocol]
    ) -> HelloFirst | None:
        """Take a connection that another process accepted, and admitted; ``None`` closes it."""
        generation, peer = self.generation, str(caller)
        if generation is None:
            self._gate.unconfigured(caller.host, peer)
        else:
            return self.receive(visit, caller, generation, secure, age)
        visit.leave()
        return None

    # Sessions.

    def begin(self, leg: PartnerLeg, partner: VerifiedPartner) -> None:
        """Start the session of a verified partner."""
        facts = verified_facts(partner, leg.peer, leg.tls)
        try:
            proving = leg.visit.prove(partner.partner.name)
        except Denied as denied:
            self._begin(leg, partner, facts, denied)
            return
        if proving is None:
            self._begin(leg, partner, facts, None)
            return
        # What comes meanwhile waits in the leg, the end of the connection, too.
        proved = Deferred.fromCoroutine(self._begin_when_proved(leg, partner, facts, proving))
        proved.addErrback(self._not_begun, leg)

    async def _begin_when_proved(
        self, leg: PartnerLeg, partner: VerifiedPartner, facts: SessionFacts, proving: Deferred[object]
    ) -> None:
        denied: Denied | None = None
        try:
            await proving
        except Denied as denial:
            denied = denial
        self._begin(leg, partner, facts, denied)

    def _not_begun(self, failure: Failure, leg: PartnerLeg) -> None:
        if not failure.check(OwnFault):
            self._events.failure("smartproxy.server.sessions", failure, peer=leg.peer)
        leg.abort()

    def _begin(self, leg: PartnerLeg, partner: VerifiedPartner, facts: SessionFacts, denied: Denied | None) -> None:
        server = leg.generation.server
        session = self._new_id()
        driver = self.prepare(
            session,
            server_inbound(
                _Judge(partner, server, denied), facts, partner.partner, leg.generation.part.station_profile
            ),
            leg,
            deadlines=server.deadlines,
            command_octets=server.limits.command_octets,
            open_leg=self._open_inside,
            over=self._ended,
        )
        # Before it begins, since it may be over within that call, and is forgotten then.
        self.withdrawals.began(session, driver, partner, leg.peer, Standing.withdrawn)
        if partner.ca is not None:
            self.tell_crl_urls(partner.chain, partner.ca, server)
        driver.begin()
        newest = self.generation
        if newest is not None and newest is not leg.generation:
            self.withdrawals.judge_latecomer(session, newest.server)

    def _unlisted(self, leg: PartnerLeg, refusal: CertificateRefusal) -> None:
        """Report where the list is that a certificate was refused for: its path is good up to the CA otherwise."""
        chain = leg.tls.verification.facts
        if chain is not None:
            self.tell_crl_urls(chain, str(refusal.detail.get("ca")), leg.generation.server)

    def tell_crl_urls(self, chain: ChainFacts, name: str, server: ServerConfiguration) -> None:
        """Report where a path that is good up to a CA says that revocation lists are. Nothing fetches them here.

        :param name: the CA's name.
        """
        for ca in server.cas:
            if ca.name == name:
                for url in self._crl_urls.new(chain, ca, self._now()):
                    self._crl_url_seen(url, ca.name)

    def _over(self, leg: PartnerLeg, summary: Summary) -> None:
        self.withdrawals.over(summary.session)
        if summary.ending.cause == Cause.SESSION_COSTLY:
            leg.fault(Fault.EFFORT)
        if summary.ending.by is not Role.INITIATOR:
            return
        match summary.ending.fault:
            case ProtocolError():
                leg.fault(Fault.PROTOCOL)
            case Expired():
                leg.fault(Fault.SILENCE)
            case UnknownIdentity() | IdentityMismatch():
                leg.fault(Fault.IDENTITY)


@attrs.frozen(eq=False)
class _Judge:
    """Says whether the session of a partner may go on with its SSID; takes less than a function of each session."""

    partner: VerifiedPartner
    server: ServerConfiguration
    denied: Denied | None

    def __call__(self, ssid: SSID) -> None:
        """Judge it."""
        judge_ssid(self.partner, ssid, self.server.partners)
        if self.denied is not None:
            raise self.denied


@implementer(IOpenSSLServerConnectionCreator)
class _OwnGeneration:
    """Gives each connection the TLS contexts of the generation in which it was accepted."""

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        leg = protocol.wrappedProtocol
        assert isinstance(leg, PartnerLeg)
        return leg.generation.contexts.serverConnectionForTLS(protocol)


class PartnerFactory(ServerFactory):
    """Accepts partners' connections.

    :param sessions: admits connections and makes their legs.
    """

    noisy = False

    def __init__(self, sessions: PartnerSessions) -> None:
        self._sessions = sessions
        self._create = connections(_OwnGeneration(), client=False)

    def buildProtocol(self, address: IAddress | None) -> Protocol | None:
        """Make the protocol of a connection; ``None`` closes it at once."""
        assert address is not None
        sessions = self._sessions
        if sessions.balancers is None:
            return sessions.accept(address, self.secure)
        return sessions.balancers.accept(address, lambda caller: sessions.accept(caller, self.secure))

    def secure(self, leg: PartnerLeg) -> TlsTransport:
        """Put TLS before a leg."""
        return TlsTransport(self._create, leg)
