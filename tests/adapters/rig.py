"""What the adapters' tests share: a recording log, TLS partners, a server's partner side, configurations."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from smartproxy.logs.catalogue import look_up
from smartproxy.logs.emit import RECORD_KEY, Events
from smartproxy.logs.fields import Value
from smartproxy.logs.severity import Severity
from smartproxy.net.leg import ILeg, ILegReceiver, LegEnd, Why
from smartproxy.policy.admission import Admission
from smartproxy.policy.configuration import ServerConfiguration, ServerPart
from smartproxy.policy.partners import CertificatePin, Partner, Rule, ServerIdentity
from smartproxy.policy.penalties import Penalties
from smartproxy.relay.ending import Summary
from smartproxy.relay.events import SharedEnd
from smartproxy.relay.openings import SessionFacts
from smartproxy.server.accept import Gate
from smartproxy.server.generation import ServerGeneration
from smartproxy.server.sessions import PartnerFactory, PartnerSessions
from smartproxy.testing import pki
from tests.adapters.wires import End, Network


@implementer(ILogObserver)
class Journal:
    """A log that remembers."""

    def __init__(self, clock: Clock) -> None:
        self.records: list[tuple[str, Mapping[str, Value]]] = []
        self.events = Events(Logger(observer=self), None, clock, source="server")

    def __call__(self, event: Any) -> None:
        """Keep a record."""
        record = event[RECORD_KEY]
        self.records.append((record.name, record.fields))

    def names(self, *but: str) -> list[str]:
        """The names of the events so far, without ``but``, commands and accepted connections."""
        quiet = {"session.command", "connection.accepted", *but}
        return [name for name, _ in self.records if name not in quiet]

    def of(self, name: str) -> list[Mapping[str, Value]]:
        """The fields of the events of a name."""
        return [fields for found, fields in self.records if found == name]

    def levels(self) -> set[Severity]:
        """The levels of all events so far."""
        return {look_up(name).level for name, _ in self.records}

    def the(self, name: str) -> Mapping[str, Value]:
        """The fields of the one event of a name."""
        found = self.of(name)
        if len(found) != 1:
            raise AssertionError(f"{len(found)} events {name}, not one, in {self.names()}")
        return found[0]


@implementer(ILeg)
class FakeLeg:
    """A leg that remembers what it was asked for; tests play the far end."""

    worked = 0.0

    def __init__(self) -> None:
        self.receiver: ILegReceiver | None = None
        self.peer = "tunnel"
        self.sent = b""
        self.end: SharedEnd | None = None
        self.calls: list[str] = []

    def send(self, octets: bytes) -> None:
        """Keep the octets."""
        self.sent += octets

    def finish(self, end: SharedEnd | None = None) -> None:
        """Note the call, and what the other daemon is told."""
        self.calls.append("finish")
        self.end = end

    def abort(self) -> None:
        """Note the call."""
        self.calls.append("abort")

    def pause(self) -> None:
        """Note the call."""
        self.calls.append("pause")

    def resume(self) -> None:
        """Note the call."""
        self.calls.append("resume")

    def receive(self, octets: bytes) -> None:
        """The far end sent octets."""
        assert self.receiver is not None
        self.receiver.octets_received(self, octets)

    def lose(self, cause: str = "closed") -> None:
        """The leg is gone."""
        receiver, self.receiver = self.receiver, None
        assert receiver is not None
        receiver.leg_lost(self, LegEnd(cause, in_order=cause == "closed"))


@implementer(IHandshakeListener)
class Caller(Protocol):
    """A partner's end: remembers what it received and how it ended."""

    def __init__(self) -> None:
        self.received = b""
        self.handshakes = 0
        self.ended: str | None = None

    def handshakeCompleted(self) -> None:
        """TLS has finished at this end."""
        self.handshakes += 1

    def dataReceived(self, data: bytes) -> None:
        """Keep the octets."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep the reason; a TLS alert by its name."""
        error = reason.value
        words = error.args[0][-1][-1] if isinstance(error, SSL.Error) and error.args and error.args[0] else ""
        self.ended = words or type(error).__name__


@implementer(IOpenSSLClientConnectionCreator)
class CallerTls:
    """TLS as a partner speaks it.

    :param credential: what it presents.
    :param adjust: changes the context before its first use.
    """

    def __init__(
        self, credential: pki.TestCredential | None, adjust: Callable[[SSL.Context], object] = lambda context: None
    ) -> None:
        self.context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.context.set_cipher_list(b"ALL:@SECLEVEL=0")
        if credential is not None:
            self.context.use_certificate(credential.certificate)
            self.context.use_privatekey(credential.key)
            for certificate in credential.intermediates:
                self.context.add_extra_chain_cert(certificate)
        adjust(self.context)
        self.connections: list[SSL.Connection] = []
        self.server_name: bytes | None = None
        self.session: SSL.Session | None = None

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make the TLS side of a connection."""
        connection = SSL.Connection(self.context, None)
        if self.server_name is not None:
            connection.set_tlsext_host_name(self.server_name)
        if self.session is not None:
            connection.set_session(self.session)
        self.connections.append(connection)
        return connection


def tls12(context: SSL.Context) -> None:
    """Speak TLS 1.2 only."""
    context.set_max_proto_version(SSL.TLS1_2_VERSION)


def tls13(context: SSL.Context) -> None:
    """Speak TLS 1.3 only."""
    context.set_min_proto_version(SSL.TLS1_3_VERSION)


def versions_asked(case: SynchronousTestCase) -> list[int]:
    """The lowest versions of TLS that contexts are given while a test runs, in their order."""
    asked: list[int] = []
    set_version = SSL.Context.set_min_proto_version

    def noted(context: SSL.Context, version: int) -> None:
        asked.append(version)
        set_version(context, version)

    case.patch(SSL.Context, "set_min_proto_version", noted)
    return asked


def pin(credential: pki.TestCredential) -> Rule:
    """The rule that names exactly this certificate."""
    return CertificatePin(sha256=credential.sha256)


class ServerRig:
    """The partners' side of a server on a network in memory, with fake legs into the tunnel.

    :ivar partner: the credential that the one configured partner presents.
    :ivar partner_end: the last caller; its socket is ``partner_socket``, the server's ``server_socket``.
    :ivar later: how far the rig's time of day is ahead.
    :ivar opened: session id, facts and deferred of each leg that was asked for.
    """

    CODE = "O0013000001ACME"

    def __init__(self, clock: Clock | None = None, **server: Any) -> None:
        self.clock = clock or Clock()
        self.clock.advance(1_000_000_000)
        self.network = Network(self.clock)
        self.journal = Journal(self.clock)
        self.partner = pki.self_signed("ACME")
        self.identity = pki.self_signed("proxy")
        self.opened: list[tuple[str, SessionFacts, Deferred[ILeg]]] = []
        self.later = timedelta()
        self.partner_end: Caller
        self.partner_socket: End
        self.server_socket: End
        self.finished: list[Summary] = []
        self.canceled: list[tuple[str, SharedEnd | None]] = []
        self.configuration = ServerConfiguration(
            **{
                "identities": (identity_entry(self.identity),),
                "partners": (self.entry(),),
                **server,
            }
        )
        self.gate = Gate(
            self.clock,
            self.journal.events,
            Admission(limits=self.configuration.limits),
            Penalties(self.configuration.penalties),
        )
        self.sessions = PartnerSessions(
            clock=self.clock,
            events=self.journal.events,
            gate=self.gate,
            open_inside=self._open,
            finished=self.finished.append,
        )
        self.sessions.adopt(self.generation(self.configuration))
        self.factory = PartnerFactory(self.sessions)

    def entry(self, **changes: Any) -> Partner:
        """The partner's entry."""
        usual = {"name": "ACME", "codes": (self.CODE,), "certificates": (pin(self.partner),)}
        return Partner(**{**usual, **changes})

    def part(self, configuration: ServerConfiguration, generation: int = 1) -> ServerPart:
        """A generation."""
        return ServerPart(generation=generation, site="Muster GmbH", server=configuration)

    def generation(self, configuration: ServerConfiguration, number: int = 1) -> ServerGeneration:
        """A generation, with its contexts."""
        return ServerGeneration.build(self.part(configuration, number), lambda: datetime.now(UTC) + self.later)

    def _open(self, session: str, facts: SessionFacts, why: Why) -> Deferred[ILeg]:
        opening: Deferred[ILeg] = Deferred(lambda opening: self.canceled.append((session, why())))
        self.opened.append((session, facts, opening))
        return opening

    def call(self, tls: CallerTls | None = None, host: str = "192.0.2.7") -> tuple[Caller, End | None]:
        """A partner connects; ``None`` if it was refused."""
        caller = Caller()
        creator = tls or CallerTls(self.partner)
        self.partner_end = caller
        far = TLSMemoryBIOFactory(creator, True, Factory.forProtocol(lambda: caller), self.clock).buildProtocol(None)
        return caller, self.dial(far, host)

    def dial(self, far: Any, host: str = "192.0.2.7") -> End | None:
        """Somebody connects, with a protocol of their own."""
        near = self.factory.buildProtocol(IPv4Address("TCP", host, 40000))
        if near is None:
            return None
        end, self.server_socket = self.network.connect(far, near, host)
        self.partner_socket = end
        self.network.settle()
        return end

    def inside(self, number: int = -1) -> FakeLeg:
        """The inside answers: the leg is there."""
        leg = FakeLeg()
        self.opened[number][2].callback(leg)
        self.network.settle()
        return leg

    def send(self, caller: Caller, octets: bytes) -> None:
        """The partner sends."""
        assert caller.transport is not None
        caller.transport.write(octets)
        self.network.settle()


def identity_entry(credential: pki.TestCredential, name: str = "main") -> ServerIdentity:
    """A server certificate as the configuration has it."""
    return ServerIdentity(name=name, certificate=credential.chain_pem.decode(), key=credential.key_pem.decode())
