"""Rogues at either end of the tunnel, against the real daemons: refused, told of, and no session is disturbed."""

import datetime
import itertools
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from sqlalchemy import select
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.amp import AmpBox, BinaryBoxProtocol
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.backend.location import Location
from smartproxy.backend.schema import SiteRow
from smartproxy.backend.store import Store
from smartproxy.policy.versions import NEWEST, OLDEST
from smartproxy.testing.pki import CLIENT_AUTH, TestCa, TestCredential
from smartproxy.tunnel.contexts import ClientContext
from smartproxy.tunnel.credential import ClientCredential
from smartproxy.tunnel.identity import Identity
from smartproxy.tunnel.marks import Attach
from smartproxy.tunnel.vocabulary import CONTROL_PROTOCOL, DATA_PROTOCOL
from tests.process.clock import PATIENCE_SECONDS
from tests.process.sites import Log, SiteCase, reactor, until

DAY = datetime.timedelta(days=1)
NUMBERS = itertools.count(2)
"""Of the addresses that rogues come from: what is told of one is told again only after a minute."""


class Rogue(Protocol):
    """Sends anything, keeps whatever comes.

    :ivar got: the octets that came.
    :ivar ended: fires when the connection is gone.
    """

    def __init__(self) -> None:
        self.got = b""
        self.ended: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Keep them."""
        self.got += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell."""
        self.ended.callback(None)


class BoxRogue(BinaryBoxProtocol):
    """Sends anything, keeps AMP boxes.

    :ivar came: the boxes.
    :ivar ended: fires when the connection is gone.
    """

    def __init__(self) -> None:
        self.came: DeferredQueue[AmpBox] = DeferredQueue()
        self.ended: Deferred[None] = Deferred()
        super().__init__(self)

    def startReceivingBoxes(self, sender: object) -> None:
        """Part of the interface."""

    def ampBoxReceived(self, box: AmpBox) -> None:
        """Keep it."""
        self.came.put(box)

    def stopReceivingBoxes(self, reason: Failure) -> None:
        """Tell that it is gone."""
        self.ended.callback(None)


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class Bare:
    """TLS that shows what a test wants and checks nothing."""

    def __init__(self, change: Callable[[SSL.Context], None]) -> None:
        self._context = SSL.Context(SSL.TLS_METHOD)
        change(self._context)

    def clientConnectionForTLS(self, _protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Part of the interface."""
        connection = SSL.Connection(self._context, None)
        connection.set_connect_state()
        return connection

    def serverConnectionForTLS(self, _protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Part of the interface."""
        connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        return connection


class Rogues(SiteCase):
    """Whoever is not a client of the site, a client that lost its mind, and somebody in the server's place."""

    # What a rogue says of data connections goes to the process that has the control connection.
    have_workers = 0
    # Each refusal is looked for by itself; there are more than the ten a second that a log takes by default.
    settings = ("server.limits.strangers_events", "1000")

    async def begin(self) -> None:
        """Have a session that nothing may disturb."""
        await super().begin()
        self.undisturbed = await self.session(self.acme)
        self.log = Log(self.site.server)

    def authority(self) -> TestCa:
        """The site's own authority, as a thief of its key would have it."""
        store = Store.open(Location.of(str(self.site.state), environment={}))
        self.addCleanup(store.close)
        with store.reading() as session:
            site = session.scalars(select(SiteRow)).one()
            certificate, key = site.authority_certificate, site.authority_key
        found = load_pem_private_key(key.encode(), None)
        assert isinstance(found, Ed25519PrivateKey)
        return TestCa(TestCredential(found, x509.load_pem_x509_certificate(certificate.encode())))

    def context(self, shown: TestCredential, protocol: bytes = CONTROL_PROTOCOL) -> ClientContext:
        """A client's TLS with this certificate."""
        credential = ClientCredential(certificate=shown.chain_pem.decode(), key=shown.key_pem.decode())
        return ClientContext(credential, [self.site.proxy_id], protocol)

    async def call(self, context: object | None, protocol: "Rogue | BoxRogue", octets: bytes = b"") -> None:
        """Connect to the tunnel's port, in plain text without a context, and say something."""
        plain = Factory.forProtocol(lambda: protocol)
        plain.noisy = False
        factory: Any = plain if context is None else TLSMemoryBIOFactory(context, True, plain, reactor)  # type: ignore[arg-type]  # one of its kinds
        own = (f"127.0.0.{next(NUMBERS)}", 0)
        await TCP4ClientEndpoint(reactor, "127.0.0.1", self.site.tunnel_port, bindAddress=own).connect(factory)
        assert protocol.transport is not None
        protocol.transport.write(octets)
        self.addCleanup(self.hang_up, protocol)

    async def hang_up(self, rogue: "Rogue | BoxRogue") -> None:
        """Let a rogue be gone."""
        if not rogue.ended.called:
            rogue.transport.abortConnection()  # type: ignore[union-attr]  # TLS or TCP
            await rogue.ended

    async def refused(self, context: object | None, octets: bytes, cause: str) -> dict[str, Any]:
        """A rogue gets nothing and is gone; the event; the session of before goes on."""
        rogue = Rogue()
        await self.call(context, rogue, octets)
        await rogue.ended.addTimeout(PATIENCE_SECONDS, reactor)
        self.assertEqual(rogue.got, b"")
        event = await self.log.event("tunnel.refused", cause=cause)
        await self.undisturbed.file()
        return event

    async def test_plain_text(self) -> None:
        """AMP in plain text is refused before any of it is read."""
        await self.refused(None, AmpBox({b"_command": b"Hello", b"_ask": b"1"}).serialize() * 10, "tunnel.tls")

    async def test_other_authority(self) -> None:
        """A certificate of another authority, even of the same name."""
        name = self.authority().credential.certificate.subject
        (common,) = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        other = TestCa.root(str(common.value)).issue("inner", purposes=[CLIENT_AUTH])
        await self.refused(self.context(other), b"", "certificate.unknown_ca")

    async def test_expired(self) -> None:
        """The right authority, but a certificate of last week; the event has its date."""
        now = datetime.datetime.now(datetime.UTC)
        old = self.authority().issue(
            "inner", purposes=[CLIENT_AUTH], valid_from=now - 9 * DAY, valid_until=now - 2 * DAY
        )
        event = await self.refused(self.context(old), b"", "certificate.expired")
        self.assertEqual(event["not_after"][:10], f"{now - 2 * DAY:%Y-%m-%d}")

    async def test_older_tls(self) -> None:
        """TLS 1.2, whatever the certificate."""
        good = self.authority().issue("inner", purposes=[CLIENT_AUTH])

        def older(context: SSL.Context) -> None:
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
            context.use_certificate(good.certificate)
            assert isinstance(good.key, ec.EllipticCurvePrivateKey)
            context.use_privatekey(good.key)

        await self.refused(Bare(older), b"", "tunnel.tls")

    async def test_start_tls(self) -> None:
        """A client with a good certificate that wants AMP's StartTLS ends its own tunnel, nobody else's."""
        rogue = Rogue()
        good = self.authority().issue("inner-3", purposes=[CLIENT_AUTH])
        await self.call(self.context(good), rogue, AmpBox({b"_command": b"StartTLS", b"_ask": b"1"}).serialize())
        await rogue.ended.addTimeout(PATIENCE_SECONDS, reactor)
        await self.log.event("tunnel.violation", cause="command.unknown")
        await self.undisturbed.file()
        assert self.site.client is not None
        self.assertEqual(Log(self.site.client).events("tunnel.down"), [])

    async def test_replayed_ticket(self) -> None:
        """A ticket that was used opens nothing a second time; whoever tries loses the connection."""
        good = self.authority().issue("inner-2", purposes=[CLIENT_AUTH])
        control = BoxRogue()
        hello = {b"_command": b"Hello", b"_ask": b"1", b"version": b"1", b"oldest": b"%d" % OLDEST}
        await self.call(self.context(good), control, AmpBox({**hello, b"newest": b"%d" % NEWEST}).serialize())
        self.assertIn(b"_answer", await control.came.get().addTimeout(PATIENCE_SECONDS, reactor))
        # It is the least loaded client of the two: the next session is its own.
        partner = await self.bolt.greet(self.site.port)
        while (box := await control.came.get().addTimeout(PATIENCE_SECONDS, reactor)).get(
            b"_command"
        ) != b"OpenInbound":
            pass
        ticket = Attach(box[b"ticket"]).encode()
        first, second = Rogue(), Rogue()
        await self.call(self.context(good, DATA_PROTOCOL), first, ticket)
        await self.call(self.context(good, DATA_PROTOCOL), second, ticket)
        event = await self.log.event("tunnel.violation", cause="ticket.unknown")
        self.assertEqual(event["client"], "inner-2")
        await until(lambda: first.ended.called or second.ended.called, "one of them is closed")
        self.assertFalse(first.ended.called and second.ended.called)
        self.assertEqual((first.got, second.got), (b"", b""))
        partner.hang_up()
        await partner.ended
        await self.hang_up(control)
        await self.log.event("tunnel.down", client="inner-2")
        await self.undisturbed.file()

    async def test_all_that_stays(self) -> None:
        """After all of them the server is up, has reported no bug of its own, and serves."""
        for number in range(20):
            await self.refused(None, b"\x00" * (number + 1) + b"\r\n\r\n" * 20, "tunnel.tls")
        assert self.site.server is not None
        self.site.server.read()
        self.assertIsNone(self.site.server.status)
        names = [record["name"] for record in self.site.server.records]
        self.assertNotIn("internal.error", names)
        await (await self.session(self.bolt)).file()

    async def test_a_fake_server(self) -> None:
        """A server with another key gets no octet from the real client, which says what is wrong; the others go on."""
        rogue = Identity.of(ec.generate_private_key(ec.SECP256R1()))
        arrived: list[Rogue] = []

        def other_key(context: SSL.Context) -> None:
            context.use_certificate(rogue.certificate)
            context.use_privatekey(rogue.key)
            context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
            context.set_alpn_select_callback(lambda _connection, offered: offered[0])

        def build() -> Rogue:
            arrived.append(Rogue())
            return arrived[-1]

        plain = Factory.forProtocol(build)
        plain.noisy = False
        fake = TLSMemoryBIOFactory(Bare(other_key), False, plain, reactor)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(fake)
        self.addCleanup(port.stopListening)
        program = self.site.start_second_client(f"127.0.0.1:{port.getHost().port}")
        refused = await Log(program, whole=True).event("tunnel.refused")
        self.assertEqual((refused["cause"], refused["proxy_id"]), ("tunnel.wrong_server_key", rogue.proxy_id))
        self.assertGreaterEqual(len(arrived), 1)
        for each in arrived:
            await each.ended.addTimeout(PATIENCE_SECONDS, reactor)
            self.assertEqual(each.got, b"")
        await program.stop()
        await self.undisturbed.file()
