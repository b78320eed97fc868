"""A server's partner side and TLS clients to call it, in memory: for tests of handshakes.

Real TLS over :mod:`twisted.test.iosim`: the server is the product's own, from the factory to the session's start; the
client is OpenSSL through pyOpenSSL, permissive, and notes the alerts that it is sent.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from zope.interface import implementer

from smartproxy.logs.emit import Events
from smartproxy.net.gate import Gate
from smartproxy.net.leg import ILeg
from smartproxy.net.listening import PartnerFactory
from smartproxy.net.partners import PartnerSessions
from smartproxy.net.verification import ALERTS
from smartproxy.policy import pem
from smartproxy.policy.admission import Admission
from smartproxy.policy.configuration import ServerConfiguration, ServerIdentity, ServerPart
from smartproxy.policy.penalties import Penalties
from smartproxy.testing.pki import Authority, Credential, PrivateKey
from smartproxy.testing.tls import TlsVersion

VERSIONS = {TlsVersion.TLS_1_2: SSL.TLS1_2_VERSION, TlsVersion.TLS_1_3: SSL.TLS1_3_VERSION}
PEER = IPv4Address("TCP", "192.0.2.7", 40112)

SITE = Authority.root("the site's authority")
OWN = SITE.issue("smartproxy.example", sans=("DNS:smartproxy.example",))
"""What the server shows to partners."""
IDENTITY = ServerIdentity(name="main", certificate=OWN.chain_pem.decode(), key=OWN.key_pem.decode())


@attrs.frozen
class Forged:
    """A certificate that cryptography need not be able to read, with a key and intermediates.

    :ivar octets: its DER octets.
    """

    key: PrivateKey
    octets: bytes
    intermediates: tuple[x509.Certificate | crypto.X509, ...] = ()

    @classmethod
    def of(cls, credential: Credential, old: bytes, new: bytes) -> "Forged":
        """A credential whose certificate has *new* wherever it had *old*."""
        octets = credential.certificate.public_bytes(serialization.Encoding.DER)
        assert old in octets
        return cls(credential.key, octets.replace(old, new), credential.intermediates)

    @property
    def certificate(self) -> crypto.X509:
        """The certificate as OpenSSL takes it."""
        return crypto.load_certificate(crypto.FILETYPE_ASN1, self.octets)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the certificate in hex."""
        return pem.sha256(self.octets)


Shown = Credential | Forged


@implementer(IOpenSSLClientConnectionCreator)
class PeerContext:
    """The TLS side of a client that shows what it is given, and checks nothing.

    :param credential: its certificate, chain and key; none is shown without it.
    :param version: the TLS version that it speaks.
    """

    def __init__(self, credential: Shown | None, version: TlsVersion) -> None:
        self.alerts: list[str] = []
        """The alerts that it was sent, but for the ordinary end of TLS."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
        context.set_min_proto_version(VERSIONS[version])
        context.set_max_proto_version(VERSIONS[version])
        context.set_info_callback(self._note)
        if credential is not None:
            context.use_certificate(credential.certificate)
            for certificate in credential.intermediates:
                context.add_extra_chain_cert(certificate)
            context.use_privatekey(credential.key)
        self._context = context

    def clientConnectionForTLS(self, _protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Be the client of a connection."""
        connection = SSL.Connection(self._context, None)
        connection.set_connect_state()
        return connection

    def _note(self, _connection: SSL.Connection, where: int, value: int) -> None:
        if where & SSL.SSL_CB_ALERT and where & SSL.SSL_CB_READ and value & 0xFF:
            self.alerts.append(ALERTS[value & 0xFF])


class Peer(Protocol):
    """Gathers what it is sent, and how its connection ended."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Gather octets."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note the end."""
        self.lost = reason


@attrs.frozen
class Call:
    """One connection of a client to the server.

    :ivar peer: the client.
    :ivar alerts: the alerts that the client was sent.
    :ivar pump: carries octets between both.
    """

    peer: Peer
    alerts: list[str]
    pump: IOPump


class Site:
    """The partners' side of a server, without a client behind it.

    :param configuration: what the server is told.
    """

    def __init__(
        self,
        configuration: ServerConfiguration,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.clock = Clock()
        self.told: list[dict[str, Any]] = []
        """Every event from INFO upwards, as a document."""
        self.opened: list[str] = []
        """Sessions for which a leg inside was asked for."""
        events = Events(Logger(), self.told.append, self.clock, source="server")
        self.admission = Admission(limits=configuration.limits)
        self.penalties = Penalties(configuration.penalties)
        self.sessions = PartnerSessions(
            clock=self.clock,
            events=events,
            gate=Gate(self.clock, events, self.admission, self.penalties),
            open_inside=self._open,
            now=now,
        )
        self.sessions.configure(
            ServerPart(generation=1, site="site", server=attrs.evolve(configuration, identities=(IDENTITY,)))
        )
        self._factory = PartnerFactory(self.clock, self.sessions)

    def _open(self, session: str, _facts: object) -> Deferred[ILeg]:
        self.opened.append(session)
        return Deferred()

    def call(self, credential: Shown | None, version: TlsVersion) -> Call:
        """Let a client connect, and both talk until neither has anything to say."""
        context, peer = PeerContext(credential, version), Peer()
        client = TLSMemoryBIOFactory(context, True, Factory.forProtocol(lambda: peer), self.clock).buildProtocol(None)
        server = self._factory.buildProtocol(PEER)
        assert client is not None
        assert server is not None
        pump = connect(
            server,
            FakeTransport(server, isServer=True, peerAddress=PEER),
            client,
            FakeTransport(client, isServer=False),
            clock=self.clock,
        )
        pump.flush()
        return Call(peer, context.alerts, pump)

    def names(self) -> list[str]:
        """The names of the events, in order."""
        return [event["name"] for event in self.told]
