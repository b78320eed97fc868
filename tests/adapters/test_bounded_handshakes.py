"""Handshakes that are too long are cut off, and what comes right behind a handshake is not."""

import contextlib
from functools import cache
from unittest.mock import Mock

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.client.address import _PinnedCreator
from smartproxy.net.tls.bounded import EXPENSIVE_KEY, HANDSHAKE_OCTETS_MOST, HELLO_OCTETS_MOST, BoundedConnection
from smartproxy.net.tls.context import judge_peers, new_context, show_identity
from smartproxy.net.tls.flight import RECORDS_MOST
from smartproxy.testing.forging import compressed, explicit_curve, of_key
from smartproxy.testing.pki import TestCredential, self_signed

_SPKI = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)


@cache
def credential() -> TestCredential:
    """What both ends show."""
    return self_signed("end")


def context(*, server: bool, newest: int = SSL.TLS1_3_VERSION) -> SSL.Context:
    """A context that asks for a certificate and takes any."""
    made = new_context(server=server)
    made.set_max_proto_version(newest)
    show_identity(made, credential().chain_pem.decode("ascii"), credential().key_pem.decode("ascii"), "test")
    judge_peers(made, lambda *question: True, server=server)
    return made


def pair(server: SSL.Connection, client: SSL.Connection) -> tuple[SSL.Connection, SSL.Connection]:
    """Two ends that have yet to speak."""
    server.set_accept_state()
    client.set_connect_state()
    return server, client


def says(connection: SSL.Connection) -> bytes:
    """What it has to say after a step of its handshake."""
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    with contextlib.suppress(SSL.WantReadError):
        return bytes(connection.bio_read(1 << 20))
    return b""


def shake(server: SSL.Connection, client: SSL.Connection) -> None:
    """Let both talk until neither has anything to say."""
    while octets := says(client):
        server.bio_write(octets)
        if octets := says(server):
            client.bio_write(octets)


def showing(key: bytes, newest: int, *, server: bool, count: int = 1) -> SSL.Context:
    """A context of a peer that shows, beside its own certificate, some with this key."""
    made = context(server=server, newest=newest)
    made.set_cipher_list(b"ALL:@SECLEVEL=0")
    for number in range(count):
        made.add_extra_chain_cert(of_key(key, number))
    return made


class BoundedHandshakes(SynchronousTestCase):
    """What a peer may send before it has proved anything."""

    def assertTooLong(self, step: SSL.Error) -> None:
        """OpenSSL's words for it."""
        self.assertIn("excessive message size", str(step))

    def test_what_comes_behind_is_kept(self) -> None:
        """A peer may send its first octets with the end of its handshake, more of them than a handshake may have."""
        message = bytes(range(256)) * (2 * HANDSHAKE_OCTETS_MOST // 256)
        for version in VERSIONS:
            server, client = pair(
                BoundedConnection(context(server=True, newest=version)), SSL.Connection(context(server=False), None)
            )
            server.bio_write(says(client))
            client.bio_write(says(server))
            last = says(client)
            if version == SSL.TLS1_2_VERSION:
                server.bio_write(last)
                client.bio_write(says(server))
                last = says(client)
            client.sendall(message)
            server.bio_write(memoryview(last + bytes(client.bio_read(1 << 20))))
            server.do_handshake()
            got = b""
            with contextlib.suppress(SSL.WantReadError):
                while True:
                    got += server.recv(1 << 16)
            self.assertEqual(got, message)

    def test_octet_by_octet(self) -> None:
        """However a handshake is cut, it is the same one; after it, nothing is counted."""
        server, client = pair(BoundedConnection(context(server=True)), BoundedConnection(context(server=False)))
        for _ in range(3):
            for one, other in ((client, server), (server, client)):
                for octet in says(one):
                    other.bio_write(bytes([octet]))
                    with contextlib.suppress(SSL.WantReadError):
                        other.do_handshake()
        client.sendall(bytes(HANDSHAKE_OCTETS_MOST))
        server.bio_write(bytes(client.bio_read(1 << 20)))
        self.assertEqual(len(server.recv(1 << 14)), 1 << 14)

    def test_hello(self) -> None:
        """A hello beyond the bound is refused before OpenSSL has it whole, in one piece or in many."""
        offers = context(server=False)
        offers.set_alpn_protos([b"a"] * (HELLO_OCTETS_MOST // 2))
        for size in (1 << 20, 1000):
            server, client = pair(BoundedConnection(context(server=True)), SSL.Connection(offers, None))
            octets = says(client)
            self.assertIn(len(octets), range(HELLO_OCTETS_MOST, HANDSHAKE_OCTETS_MOST))
            with self.assertRaises(SSL.Error) as refused:
                for start in range(0, len(octets), size):
                    server.bio_write(octets[start : start + size])
                    self.assertEqual(says(server), b"")
            self.assertTooLong(refused.exception)
            self.assertTooLong(self.assertRaises(SSL.Error, server.do_handshake))

    def test_long_chains(self) -> None:
        """Both ends may show a chain that is longer than a hello may be."""
        contexts = [context(server=server) for server in (True, False)]
        size = len(credential().certificate.public_bytes(Encoding.DER))
        for each in contexts:
            for _ in range(2 * HELLO_OCTETS_MOST // size + 1):
                each.add_extra_chain_cert(credential().certificate)
        server, client = pair(*map(BoundedConnection, contexts))
        shake(server, client)
        for end in (server, client):
            self.assertGreater(len(end.get_peer_cert_chain() or ()) * size, 2 * HELLO_OCTETS_MOST)

    def test_backend_that_shows_too_much(self) -> None:
        """A client refuses a backend, known by its key, whose certificates are too many."""
        shows = context(server=True)
        for _ in range(100):
            shows.add_extra_chain_cert(credential().certificate)
        pinned = _PinnedCreator(credential().key_sha256)
        server, client = pair(
            SSL.Connection(shows, None), pinned.clientConnectionForTLS(TLSMemoryBIOProtocol(None, None))
        )
        self.assertTooLong(self.assertRaises(SSL.Error, shake, server, client))

    def test_expensive_keys(self) -> None:
        """A key that takes long to decode is refused at both ends and in both versions, before OpenSSL decodes it."""
        for newest in VERSIONS:
            for key, count in (
                (explicit_curve(256), 1),
                (compressed(ec.SECP224R1()), 1),
                (compressed(ec.SECP256R1()), 9),
            ):
                server, client = pair(
                    BoundedConnection(context(server=True)),
                    SSL.Connection(showing(key, newest, server=False, count=count), None),
                )
                refused = self.assertRaises(SSL.Error, shake, server, client)
                self.assertIn(EXPENSIVE_KEY, str(refused))
                self.assertIn(EXPENSIVE_KEY, str(self.assertRaises(SSL.Error, server.do_handshake)))
                self.assertEqual(server.get_peer_cert_chain(), None)
                server, client = pair(
                    SSL.Connection(showing(key, newest, server=True, count=count), None),
                    BoundedConnection(context(server=False)),
                )
                self.assertIn(EXPENSIVE_KEY, str(self.assertRaises(SSL.Error, shake, server, client)))
                self.assertEqual(client.get_peer_cert_chain(), None)

    def test_suites(self) -> None:
        """What a peer encrypts is read whichever suite of TLS 1.3 it is encrypted with."""
        for suite in (b"TLS_AES_128_GCM_SHA256", b"TLS_AES_256_GCM_SHA384", b"TLS_CHACHA20_POLY1305_SHA256"):
            shows = showing(explicit_curve(256), SSL.TLS1_3_VERSION, server=False)
            shows.set_tls13_ciphersuites(suite)
            server, client = pair(BoundedConnection(context(server=True)), SSL.Connection(shows, None))
            self.assertIn(EXPENSIVE_KEY, str(self.assertRaises(SSL.Error, shake, server, client)), suite)
            self.assertEqual(server.get_cipher_name(), suite.decode("ascii"))

    def test_ordinary_keys(self) -> None:
        """Some certificates with keys in compressed form, and others on curves with a name, do no harm."""
        for newest in VERSIONS:
            for key in (compressed(ec.SECP384R1()), self_signed("x").certificate.public_key().public_bytes(*_SPKI)):
                server, client = pair(
                    BoundedConnection(context(server=True)),
                    SSL.Connection(showing(key, newest, server=False, count=8), None),
                )
                shake(server, client)
                self.assertEqual(len(server.get_peer_cert_chain() or ()), 8)

    def test_hello_of_ssl_2(self) -> None:
        """A hello of SSL 2 is refused as no TLS, also by an OpenSSL that would go on with it."""
        hello = bytes.fromhex("010303000300000010") + b"\0\xc0\x2f" + bytes(range(16))
        for goes_on in (False, True):
            server = BoundedConnection(context(server=True))
            server.set_accept_state()
            if goes_on:
                self.patch(SSL.Connection, "do_handshake", Mock(side_effect=SSL.WantReadError))
            server.bio_write(bytes((0x80, len(hello))) + hello)
            self.assertIn("wrong version number", str(self.assertRaises(SSL.Error, server.do_handshake)))

    def test_what_is_no_tls(self) -> None:
        """OpenSSL says what it is, as it does for itself."""
        for octets, words in ((b"GET / HTTP/1.1\r\n\r\n", "http request"), (bytes(16), "wrong version number")):
            server = BoundedConnection(context(server=True))
            server.set_accept_state()
            server.bio_write(octets)
            self.assertIn(words, str(self.assertRaises(SSL.Error, server.do_handshake)))

    def test_records_of_one_octet(self) -> None:
        """A hello that is cut into a record for each octet is refused after some of them."""
        server, client = pair(BoundedConnection(context(server=True)), SSL.Connection(context(server=False), None))
        hello = says(client)[5:]
        for octet in hello[:RECORDS_MOST]:
            server.bio_write(bytes.fromhex("1603010001") + bytes((octet,)))
            self.assertEqual(says(server), b"")
        server.bio_write(bytes.fromhex("1603010001") + hello[RECORDS_MOST : RECORDS_MOST + 1])
        self.assertTooLong(self.assertRaises(SSL.Error, server.do_handshake))
