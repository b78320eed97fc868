"""The backend's https: its TLS by real handshakes in memory, bounded bodies, bounded connections."""

import contextlib
import gc
import weakref

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import Request
from zope.interface import implementer

from smartproxy.backend import authority, port
from smartproxy.backend.port import (
    IDLE_SECONDS,
    LARGE_AT_ONCE,
    THROWN_AWAY_MOST,
    ApiSite,
    BoundedRequest,
    Guest,
    HttpsPort,
    Places,
)
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from smartproxy.net.transport.thrift import ENDED_MANY, Thrift
from smartproxy.policy import limits
from tests.adapters.rig import versions_asked
from tests.unit.sites import SiteCase

ADDRESS = IPv4Address("TCP", "192.0.2.1", 40000)


def admits(request: IRequest) -> Deferred[int]:
    """Every caller is known."""
    return succeed(True)


@implementer(ITCPTransport)
class Tcp(StringTransport):
    """A connection in memory that passes for TCP."""

    def getTcpKeepAlive(self) -> bool:
        """Say no."""
        return False

    def getTcpNoDelay(self) -> bool:
        """Say no."""
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Do nothing."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Do nothing."""

    def loseWriteConnection(self) -> None:
        """Do nothing."""


class Tls(SiteCase):
    """Who can speak to the backend."""

    def handshake(self, *, most: int = SSL.TLS1_3_VERSION, ciphers: bytes | None = None) -> tuple[str, str]:
        """What a client and the backend agree on: version and cipher suite."""
        with self.store.reading() as session:
            site = authority.load(session)
        clock = Clock()
        factory = HttpsPort(site.https, Reading(), admits, clock, Events(Logger(), None, clock))
        server, sent = factory.buildProtocol(ADDRESS), Tcp()
        assert server is not None
        server.makeConnection(sent)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_VERSION)
        context.set_max_proto_version(most)
        context.set_cipher_list(ciphers or b"ALL:@SECLEVEL=0")
        context.set_verify(SSL.VERIFY_PEER, lambda connection, certificate, error, depth, ok: bool(ok))
        store = context.get_cert_store()
        assert store is not None
        store.add_cert(_openssl(site.certificate_pem))
        context.set_alpn_protos([b"h2", b"http/1.1"])
        client = SSL.Connection(context, None)
        client.set_connect_state()
        for _ in range(4):
            with contextlib.suppress(SSL.WantReadError):
                client.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                server.dataReceived(client.bio_read(1 << 16))
            if sent.value():
                client.bio_write(sent.value())
            sent.clear()
        server.connectionLost(Failure(ConnectionDone()))
        return str(client.get_protocol_version_name()), str(client.get_cipher_name())

    def test_versions(self) -> None:
        """TLS 1.3 and 1.2, with a certificate that the authority vouches for, and nothing older."""
        self.assertEqual(self.handshake()[0], "TLSv1.3")
        self.assertEqual(self.handshake(most=SSL.TLS1_2_VERSION)[0], "TLSv1.2")
        self.assertRaises(SSL.Error, self.handshake, most=SSL.TLS1_1_VERSION)

    def test_lowest_version(self) -> None:
        """TLS 1.2 is the lowest version by name, whatever OpenSSL's security level says."""
        asked = versions_asked(self)
        self.handshake()
        self.assertEqual(asked, [SSL.TLS1_2_VERSION, SSL.TLS1_VERSION], "the backend's, and the test's own")

    def test_ciphers(self) -> None:
        """In TLS 1.2, forward secrecy and authenticated encryption only."""
        for name in (b"ECDHE-ECDSA-AES128-GCM-SHA256", b"ECDHE-ECDSA-CHACHA20-POLY1305"):
            agreed = self.handshake(most=SSL.TLS1_2_VERSION, ciphers=name)
            self.assertEqual(agreed[1], name.decode())
        for name in (b"ECDHE-ECDSA-AES128-SHA", b"ECDHE-ECDSA-AES256-SHA384", b"aNULL:@SECLEVEL=0"):
            self.assertRaises(SSL.Error, self.handshake, most=SSL.TLS1_2_VERSION, ciphers=name)


def _openssl(pem: str) -> X509:
    return X509.from_cryptography(x509.load_pem_x509_certificate(pem.encode()))


class Reading(Resource):
    """A resource that answers with the length of what it was sent."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """Answer."""
        assert request.content is not None
        self.content = request.content
        return str(len(request.content.read())).encode()


class Bodies(SiteCase):
    """No body grows beyond what the API takes."""

    founded = False

    def setUp(self) -> None:
        """A connection to a site."""
        super().setUp()
        self.resource = Reading()
        self.transport = Tcp()
        self.protocol = ApiSite(self.resource, admits, Clock()).buildProtocol(ADDRESS)
        self.protocol.makeConnection(self.transport)

    def test_in_memory(self) -> None:
        """A body is never written to a file, however long it is said to be."""
        self.protocol.dataReceived(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000)
        self.assertTrue(self.transport.value().endswith(b"\r\n\r\n200000"), self.transport.value())
        self.assertEqual(type(self.resource.content).__name__, "BytesIO")

    def test_on_the_disk(self) -> None:
        """The body of who may send a large one is kept in a file, up to its bound; of three at once one is refused."""
        most = 3 * limits.API_BODY_OCTETS_MOST
        site = ApiSite(self.resource, lambda request: succeed(most), Clock())
        begun = []
        for _ in range(LARGE_AT_ONCE + 1):
            protocol, transport = site.buildProtocol(ADDRESS), Tcp()
            protocol.makeConnection(transport)
            length = 2 * limits.API_BODY_OCTETS_MOST
            protocol.dataReceived(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
            begun.append((protocol, transport, bytes(length)))
        for protocol, transport, body in begun[:-1]:
            protocol.dataReceived(body)
            self.assertTrue(transport.value().endswith(str(len(body)).encode()), transport.value())
            self.assertNotEqual(type(self.resource.content).__name__, "BytesIO")
        protocol, transport, body = begun[-1]
        protocol.dataReceived(body)
        self.assertTrue(transport.value().endswith(b"\r\n\r\n0"), "nothing is kept of it, and it is answered")
        self.assertEqual(BoundedRequest.large_now, 0)

    def test_too_large(self) -> None:
        """Of a larger body one octet more than allowed is kept, announced or chunked; the rest is thrown away."""
        most = limits.API_BODY_OCTETS_MOST
        announced = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {most * 3}\r\n\r\n".encode()
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        for sent in (announced + b"x" * (most * 3), chunked + chunk * 3 + b"0\r\n\r\n"):
            self.transport.clear()
            self.protocol.dataReceived(sent)
            self.assertIn(str(most + 1).encode(), self.transport.value())

    def test_endless(self) -> None:
        """A body that does not end is cut off."""
        self.protocol.dataReceived(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        for _ in range(THROWN_AWAY_MOST // 0x100000):
            self.protocol.dataReceived(chunk)
            self.assertFalse(self.transport.disconnecting)
        self.protocol.dataReceived(chunk)
        self.assertTrue(self.transport.disconnecting)

    def test_form(self) -> None:
        """Forms are not parsed: they are another way to fill memory."""
        self.protocol.dataReceived(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: 3\r\n\r\na=b"
        )
        self.assertTrue(self.transport.value().endswith(b"\r\n\r\n3"), self.transport.value())


class Strangers(SiteCase):
    """What a caller without a token can take: places, time and memory."""

    founded = False

    def setUp(self) -> None:
        """A port without its TLS, on a fake clock."""
        super().setUp()
        self.clock = Clock()
        self.told: list[dict[str, Value]] = []
        self.judging: list[Deferred[int]] = []
        events = Events(Logger(), self.told.append, self.clock, source="backend")
        self.resource = Reading()
        self.places = Places(ApiSite(self.resource, self.judge, self.clock), self.clock, events)

    def judge(self, request: IRequest) -> Deferred[int]:
        """Let the test say who is known."""
        judging: Deferred[int] = Deferred()
        self.judging.append(judging)
        return judging

    def enter(self, host: str) -> tuple[Guest, Tcp] | None:
        """One more connection, as TLS hands it over."""
        address = IPv4Address("TCP", host, 40000)
        if not self.places.opens(address):
            return None
        guest, transport = self.places.buildProtocol(address), Tcp()
        assert guest is not None
        guest.makeConnection(transport)
        return guest, transport

    def entered(self, host: str) -> tuple[Guest, Tcp]:
        """One more connection, which finds a place."""
        made = self.enter(host)
        assert made is not None
        return made

    def test_client_gets_in(self) -> None:
        """Strangers on every place do not lock a client out: the oldest of the most crowded address makes room."""
        crowd = [self.entered(f"192.0.2.{number % 9}") for number in range(limits.BACKEND_CONNECTIONS_MOST)]
        client, transport = self.entered("198.51.100.7")
        client.proved()
        self.assertEqual([displaced.disconnected for _, displaced in crowd].count(True), 1)
        self.assertTrue(crowd[0][1].disconnected)
        for number in range(2 * limits.BACKEND_CONNECTIONS_MOST):
            self.entered(f"203.0.{number // 200}.{number % 200}")
        self.assertFalse(transport.disconnected)
        (told,) = self.told
        self.assertEqual((told["name"], told["cause"]), ("connection.refused", "api.crowded"))

    def test_memory_after_a_crowd(self) -> None:
        """Connections that have ended are garbage until no more of them end; then one look frees them all."""
        thrift = Thrift()
        self.patch(port, "THRIFT", thrift)
        gc.disable()
        self.addCleanup(gc.enable)
        ended: list[weakref.ref[Guest]] = []

        def crowd() -> None:
            for number in range(ENDED_MANY):
                guest, _ = self.entered(f"192.0.2.{number}")
                ring = [guest]
                ring.append(ring)  # type: ignore[arg-type]  # a ring on purpose, as TLS and http make one
                guest.ring = ring  # type: ignore[attr-defined]  # as above
                ended.append(weakref.ref(guest))
                guest.connectionLost()

        crowd()
        thrift.give_back()
        self.assertEqual({each() is None for each in ended}, {False})
        thrift.give_back()
        self.assertEqual({each() is None for each in ended}, {True})

    def test_one_address(self) -> None:
        """An address has its share of places, not counting callers that are known; its own oldest makes room."""
        known, transport = self.entered("192.0.2.1")
        known.proved()
        crowd = [self.entered("192.0.2.1") for _ in range(limits.BACKEND_STRANGERS_PER_ADDRESS_MOST + 3)]
        self.assertEqual([displaced.disconnected for _, displaced in crowd].count(True), 3)
        self.assertFalse(transport.disconnected)

    def test_reverse_proxy(self) -> None:
        """A reverse proxy has as many places as there are: many callers come from it."""
        self.places.is_proxy = lambda host: host == "192.0.2.1"
        crowd = [self.entered("192.0.2.1") for _ in range(limits.BACKEND_STRANGERS_PER_ADDRESS_MOST + 3)]
        self.assertFalse(any(transport.disconnected for _, transport in crowd))

    def test_address_of_a_client(self) -> None:
        """A new connection from where a client called lately is not displaced by strangers from elsewhere."""
        known, _ = self.entered("198.51.100.7")
        known.proved()
        _, second = self.entered("198.51.100.7")
        for number in range(2 * limits.BACKEND_CONNECTIONS_MOST):
            self.entered(f"203.0.{number // 200}.{number % 200}")
        self.assertFalse(second.disconnected)

    def test_no_place_at_all(self) -> None:
        """Where known callers have all places one more is closed before TLS; when one of them ends there is room."""
        guests = [self.entered(f"192.0.2.{number % 9}")[0] for number in range(limits.BACKEND_CONNECTIONS_MOST)]
        for guest in guests:
            guest.proved()
        self.assertIsNone(self.enter("198.51.100.7"))
        guests[0].connectionLost(_reason())
        self.assertIsNotNone(self.enter("198.51.100.7"))

    def test_dripping_headers(self) -> None:
        """Octets that come one by one do not prolong the time for headers."""
        guest, transport = self.entered("192.0.2.1")
        for octet in b"GET /api/v1/hello HTTP/1.1":
            self.assertFalse(transport.disconnected)
            guest.dataReceived(bytes([octet]))
            self.clock.advance(limits.BACKEND_HEADERS_SECONDS / 20)
            if transport.disconnected:
                break
        self.assertEqual(self.clock.seconds(), limits.BACKEND_HEADERS_SECONDS)
        (told,) = self.told
        self.assertEqual((told["name"], told["cause"]), ("connection.refused", "api.deadline"))

    def test_dripping_body(self) -> None:
        """Nor the time for a body."""
        guest, transport = self.entered("192.0.2.1")
        guest.dataReceived(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        self.judging[0].callback(True)
        while not transport.disconnected:
            guest.dataReceived(b"x")
            self.clock.advance(1)
        self.assertEqual(self.clock.seconds(), limits.BACKEND_BODY_SECONDS)

    def test_next_call(self) -> None:
        """A connection that was answered has its idle time, and the time for headers, for the next call."""
        guest, transport = self.entered("192.0.2.1")
        guest.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b" 200 ", transport.value())
        while not transport.disconnected:
            guest.dataReceived(b"G")
            self.clock.advance(1)
        self.assertEqual(self.clock.seconds(), IDLE_SECONDS + limits.BACKEND_HEADERS_SECONDS)

    def test_no_timer_left(self) -> None:
        """A connection that ends leaves no timer behind."""
        guest, _ = self.entered("192.0.2.1")
        guest.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        guest.connectionLost(_reason())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_body_waits_for_the_token(self) -> None:
        """While the token is looked up the connection is not read; then a known caller's body is taken whole."""
        guest, transport = self.entered("192.0.2.1")
        guest.dataReceived(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        self.assertEqual(transport.producerState, "paused")
        self.judging[0].callback(True)
        self.assertEqual(transport.producerState, "producing")
        guest.dataReceived(b"67890")
        self.assertTrue(transport.value().endswith(b"\r\n\r\n10"), transport.value())

    def test_body_of_a_stranger(self) -> None:
        """Of a stranger's body nothing is kept, and there is an end to what is thrown away."""
        for judged in (False, ValueError()):
            guest, transport = self.entered("192.0.2.1")
            guest.dataReceived(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + b"x" * 1000)
            judging = self.judging.pop()
            if isinstance(judged, Exception):
                judging.errback(judged)
            else:
                judging.callback(judged)
            guest.dataReceived(b"x" * 199_000)
            self.assertTrue(transport.value().endswith(b"\r\n\r\n0"), transport.value())
        guest.dataReceived(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n")
        self.judging.pop().callback(False)
        guest.dataReceived(b"x" * limits.API_BODY_OCTETS_MOST)
        self.assertFalse(transport.disconnected)
        guest.dataReceived(b"x")
        self.assertTrue(transport.disconnected)

    def test_gone_before_the_token_is_known(self) -> None:
        """A caller that goes away meanwhile hinders nothing."""
        guest, _ = self.entered("192.0.2.1")
        guest.dataReceived(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        guest.connectionLost(_reason())
        self.judging[0].callback(True)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_gone_with_a_large_body(self) -> None:
        """One that goes away with a large body leaves its place to others."""
        guest, _ = self.entered("192.0.2.1")
        guest.dataReceived(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n12345")
        guest.connectionLost(_reason())
        self.judging[0].callback(limits.DOWNLOAD_OCTETS_MOST)
        self.assertEqual(BoundedRequest.large_now, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class BeforeTls(SiteCase):
    """What is told of those that never come to speak http."""

    def test_not_https(self) -> None:
        """A call with http is told in words, once a minute."""
        clock, told = Clock(), list[dict[str, Value]]()
        with self.store.reading() as session:
            site = authority.load(session)
        port = HttpsPort(site.https, Reading(), admits, clock, Events(Logger(), told.append, clock, source="backend"))
        for _ in range(3):
            server, transport = port.buildProtocol(ADDRESS), Tcp()
            assert server is not None
            server.makeConnection(transport)
            server.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
            server.connectionLost(_reason())
        self.assertEqual([each["cause"] for each in told], ["handshake.not_tls"])
        self.assertIn("https", str(told[0]["advice"]))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_hello_that_is_too_long(self) -> None:
        """A stranger's hello is bounded: OpenSSL would read 60 KiB of names of protocols, for 20 ms."""
        clock, told = Clock(), list[dict[str, Value]]()
        with self.store.reading() as session:
            site = authority.load(session)
        port = HttpsPort(site.https, Reading(), admits, clock, Events(Logger(), told.append, clock, source="backend"))
        server, transport = port.buildProtocol(ADDRESS), Tcp()
        assert server is not None
        server.makeConnection(transport)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_alpn_protos([b"a"] * 30_000)
        client = SSL.Connection(context, None)
        client.set_connect_state()
        self.assertRaises(SSL.WantReadError, client.do_handshake)
        server.dataReceived(client.bio_read(1 << 17))
        self.assertTrue(transport.disconnecting)
        server.connectionLost(_reason())
        self.assertEqual([each["cause"] for each in told], ["handshake.failed"])
        self.assertIn("excessive message size", str(told[0]["message"]))

    def test_an_ipv6_network_is_one_caller(self) -> None:
        """Whoever has a /64 has no more places than one IPv4 address."""
        clock = Clock()
        with self.store.reading() as session:
            site = authority.load(session)
        port = HttpsPort(site.https, Reading(), admits, clock, Events(Logger(), None, clock))
        transports = []
        for number in range(limits.BACKEND_STRANGERS_PER_ADDRESS_MOST + 3):
            server, transport = port.buildProtocol(IPv6Address("TCP", f"2001:db8::{number:x}", 40000)), Tcp()
            assert server is not None
            server.makeConnection(transport)
            transports.append(transport)
        self.assertEqual([each.disconnected for each in transports].count(True), 3)

    def test_no_place(self) -> None:
        """Where there is no place nothing is made of a connection, and nothing fails."""
        clock = Clock()
        with self.store.reading() as session:
            site = authority.load(session)
        port = HttpsPort(site.https, Reading(), admits, clock, Events(Logger(), None, clock))
        port.places.opens = lambda address: False  # type: ignore[method-assign]  # all places are taken
        self.assertIsNone(port.buildProtocol(ADDRESS))


def _reason() -> Failure:
    return Failure(ConnectionDone())
