"""The backend's https: its TLS by real handshakes in memory, bounded bodies, bounded connections."""

import contextlib

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request
from zope.interface import implementer

from smartproxy.backend import authority
from smartproxy.backend.requests import BODY_OCTETS_MOST
from smartproxy.backend.service import CONNECTIONS_MOST, THROWN_AWAY_MOST, ApiSite, HttpsTls, https_factory
from tests.unit.sites import SiteCase

ADDRESS = IPv4Address("TCP", "192.0.2.1", 40000)


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
        factory = TLSMemoryBIOFactory(HttpsTls(site), False, https_factory(Reading()))
        server, sent = factory.buildProtocol(ADDRESS), Tcp()
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
        return str(client.get_protocol_version_name()), str(client.get_cipher_name())

    def test_versions(self) -> None:
        """TLS 1.3 and 1.2, with a certificate that the authority vouches for, and nothing older."""
        self.assertEqual(self.handshake()[0], "TLSv1.3")
        self.assertEqual(self.handshake(most=SSL.TLS1_2_VERSION)[0], "TLSv1.2")
        self.assertRaises(SSL.Error, self.handshake, most=SSL.TLS1_1_VERSION)

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
        self.protocol = ApiSite(self.resource).buildProtocol(ADDRESS)
        self.protocol.makeConnection(self.transport)

    def test_in_memory(self) -> None:
        """A body is never written to a file, however long it is said to be."""
        self.protocol.dataReceived(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000)
        self.assertTrue(self.transport.value().endswith(b"\r\n\r\n200000"), self.transport.value())
        self.assertEqual(type(self.resource.content).__name__, "BytesIO")

    def test_too_large(self) -> None:
        """Of a larger body one octet more than allowed is kept, announced or chunked; the rest is thrown away."""
        most = BODY_OCTETS_MOST
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


class Connections(SiteCase):
    """There are only so many connections."""

    founded = False

    def test_bound(self) -> None:
        """One too many is closed at once; when one of them ends there is room again."""
        factory = https_factory(Reading())
        open_ones = []
        for _ in range(CONNECTIONS_MOST):
            protocol = factory.buildProtocol(ADDRESS)
            assert protocol is not None
            protocol.makeConnection(StringTransport())
            open_ones.append(protocol)
        self.assertIsNone(factory.buildProtocol(ADDRESS))
        open_ones[0].connectionLost(_reason())
        self.assertIsNotNone(factory.buildProtocol(ADDRESS))
        for protocol in open_ones[1:]:
            protocol.connectionLost(_reason())


def _reason() -> Failure:
    return Failure(ConnectionDone())
