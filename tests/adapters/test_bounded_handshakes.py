"""Handshakes that are too long are cut off, and what comes right behind a handshake is not."""

import contextlib
from functools import cache

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.client.address import _PinnedCreator
from smartproxy.net.tls.bounded import HANDSHAKE_OCTETS_MOST, HELLO_OCTETS_MOST, BoundedConnection
from smartproxy.net.tls.context import judge_peers, new_context, show_identity
from smartproxy.testing.pki import TestCredential, self_signed

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
