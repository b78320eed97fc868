"""What a hostile or broken peer, and a protocol with a bug, do to our TLS transport."""

import contextlib
import struct
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from OpenSSL._util import lib
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.transport.records import RECORD_MOST
from smartproxy.net.transport.secured import TlsFactory
from smartproxy.net.transport.sockets import READ_MOST
from smartproxy.net.transport.tls import CHATTER_MOST
from tests.adapters.test_transport_tls import CONTEXTS, HIGH_WATER, Carrier, Contexts, Pair

SIGNATURE_FAILURE: Final = 7
"""``X509_V_ERR_CERT_SIGNATURE_FAILURE``."""
KEY_UPDATE = b"\x18\x00\x00\x01\x01"
"""A key update that asks for one in return (RFC 8446 section 4.6.3)."""


class KeyUpdates:
    """Makes the records of a client that does nothing but update its keys (RFC 8446 sections 5.2 and 7.1).

    :param secret: its first secret for application data, of which no record has been sent.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def _expand(self, label: bytes, length: int) -> bytes:
        info = struct.pack(">HB", length, len(label) + 6) + b"tls13 " + label + b"\x00"
        return HKDFExpand(hashes.SHA384(), length, info).derive(self._secret)

    def record(self) -> bytes:
        """The next record."""
        inner = KEY_UPDATE + b"\x16"
        header = struct.pack(">BHH", 0x17, 0x0303, len(inner) + 16)
        sealed = AESGCM(self._expand(b"key", 32)).encrypt(self._expand(b"iv", 12), inner, header)
        self._secret = self._expand(b"traffic upd", 48)
        return header + sealed


class Told:
    """A push producer, as a session is one."""

    def pauseProducing(self) -> None:
        """Too much waits."""

    def resumeProducing(self) -> None:
        """Nothing waits."""

    def stopProducing(self) -> None:
        """It is gone."""


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """A certificate of a name, signed by a key that need not be that of its issuer."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer)]
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(names[1], names[0], key.public_key(), 7, now - timedelta(1), now + timedelta(1))
    builder = builder.add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
    return builder.sign(signer, hashes.SHA256())


def ready(contexts: Contexts = CONTEXTS[SSL.TLS1_3_VERSION]) -> Pair:
    """A pair of ours after the handshake."""
    pair = Pair(contexts, TlsFactory, TlsFactory)
    pair.pump()
    return pair


class Storms(SynchronousTestCase):
    """Work and memory that a peer can cause."""

    def updates(self) -> tuple[Pair, KeyUpdates]:
        """A pair, and what makes its client's key updates."""
        contexts = Contexts()
        secrets: list[bytes] = []
        contexts.client.set_keylog_callback(lambda connection, line: secrets.append(line))
        pair = ready(contexts)
        self.assertEqual("TLS_AES_256_GCM_SHA384", pair.witnesses[0].line.getHandle().get_cipher_name())
        (line,) = [each for each in secrets if each.startswith(b"CLIENT_TRAFFIC_SECRET_0")]
        return pair, KeyUpdates(bytes.fromhex(line.split()[-1].decode()))

    def flooded(self, server: Carrier, updates: KeyUpdates) -> int:
        """Have the server end a connection whose peer updates its keys; how much waited at most to be sent."""
        most = 0
        for _ in range(20_000):
            if server.end is not None:
                break
            server.protocol.dataReceived(updates.record())
            most = max(most, len(server.queue))
        self.assertIsNotNone(server.end)
        return most

    def test_key_updates_that_are_read(self) -> None:
        """A peer that updates its keys and reads the answers may do so."""
        pair, updates = self.updates()
        for _ in range(100):
            pair.carriers[1].protocol.dataReceived(updates.record())
        self.assertEqual([None, 0], [pair.witnesses[1].end, pair.witnesses[1].deliveries])
        self.assertGreater(pair.carriers[1].sent, 100 * len(KEY_UPDATE))

    def test_key_updates_without_end(self) -> None:
        """A peer that updates its keys and reads no answer is cut off before its answers fill the memory."""
        pair, updates = self.updates()
        server = pair.carriers[1]
        pair.witnesses[1].line.registerProducer(Told(), True)
        most = self.flooded(server, updates)
        self.assertLess(most, HIGH_WATER + CHATTER_MOST + 1024)
        pair.pump()
        self.assertEqual("Error", pair.witnesses[1].end)

    def test_key_updates_in_a_close(self) -> None:
        """So is one that goes on after we began to close, when no producer learns that the send side is full."""
        pair, updates = self.updates()
        server = pair.carriers[1]
        line = pair.witnesses[1].line
        line.registerProducer(Told(), True)
        line.unregisterProducer()
        line.loseConnection()
        most = self.flooded(server, updates)
        self.assertLess(most, CHATTER_MOST + 1024)

    def test_handshake_message_too_large(self) -> None:
        """A message that says it has 16 MiB is refused at its header, at both ends, with an alert."""
        for side in (0, 1):
            pair = Pair(CONTEXTS[SSL.TLS1_3_VERSION], TlsFactory, TlsFactory)
            carrier = pair.carriers[side]
            carrier.queue.clear()
            kind = b"\x02" if side == 0 else b"\x01"
            carrier.protocol.dataReceived(b"\x16\x03\x03\x40\x00" + kind + b"\xff\xff\xff" + bytes(RECORD_MOST - 4))
            self.assertEqual(b"\x15", bytes(carrier.queue[:1]))
            pair.carriers[1 - side].queue.clear()
            pair.pump()
            self.assertEqual("Error", pair.witnesses[side].end)


class Shared(SynchronousTestCase):
    """What all connections of a process have in common."""

    def test_errors_of_an_accepted_certificate(self) -> None:
        """A certificate that was accepted though its signature is wrong leaves no error to the next connection."""
        contexts = Contexts()
        accepted: list[int] = []
        key, issuer, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        contexts.client.use_certificate(crypto.X509.from_cryptography(certificate("leaf", key, "issuer", other)))
        contexts.client.use_privatekey(crypto.PKey.from_cryptography_key(key))
        store = contexts.server.get_cert_store()
        assert store is not None
        store.add_cert(crypto.X509.from_cryptography(certificate("issuer", issuer, "issuer", issuer)))

        def accept(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, good: int) -> bool:
            accepted.append(error)
            return True

        contexts.server.set_verify(SSL.VERIFY_PEER, accept)
        pair = Pair(contexts, TlsFactory, TlsFactory)
        left: list[int] = []
        self.patch(pair.witnesses[1], "handshakeCompleted", lambda: left.append(lib.ERR_peek_error()))
        pair.pump()
        self.assertIsNone(pair.witnesses[1].end)
        self.assertIn(SIGNATURE_FAILURE, accepted)
        self.assertEqual(left, [0])


class Ends(SynchronousTestCase):
    """Ends at every moment."""

    def test_error_in_the_last_delivery(self) -> None:
        """A protocol that fails on the last octets hears of the end all the same."""
        pair = ready()
        near, far = pair.carriers
        pair.witnesses[0].line.write(b"x" * 400_000)
        sealed = bytes(near.queue)
        near.queue.clear()

        def fail(octets: bytes) -> None:
            raise ZeroDivisionError

        self.patch(pair.witnesses[1], "dataReceived", fail)
        transport = far.protocol
        with contextlib.suppress(ZeroDivisionError):
            transport.dataReceived(sealed)
        with contextlib.suppress(ZeroDivisionError):
            transport.connectionLost(Failure(ConnectionLost()))
        self.assertIsNotNone(pair.witnesses[1].end)

    def test_abort_at_every_point(self) -> None:
        """Wherever in a conversation an end aborts, each protocol hears of it once, and of nothing after that."""
        ends = set()
        for version in CONTEXTS:
            for side in (0, 1):
                for rounds in range(40):
                    pair = Pair(CONTEXTS[version], TlsFactory, TlsFactory, b"greeting")
                    pair.witnesses[1].greeting = b"x" * 3000
                    pair.pump(200, rounds)
                    if pair.witnesses[side].end is None:
                        pair.witnesses[side].line.abortConnection()
                    pair.pump(200)
                    told = [witness.end for witness in pair.witnesses]
                    self.assertNotIn(None, told, (version, side, rounds))
                    ends.add((told[side], bool(pair.witnesses[side].octets)))
        self.assertEqual({("ConnectionAborted", False), ("ConnectionAborted", True)}, ends)

    def test_gone_while_paused(self) -> None:
        """A peer that vanishes while we are paused is lost, once, and what it had sent in whole is not made up."""
        pair = ready()
        client, server = pair.witnesses
        server.line.pauseProducing()
        client.line.write(b"never read")
        for carrier in pair.carriers:
            carrier.end = ConnectionLost()
        pair.pump()
        self.assertEqual([(b"", "ConnectionLost")] * 2, [(bytes(each.octets), each.end) for each in pair.witnesses])
        server.line.resumeProducing()
        server.line.write(b"too late")
        server.line.loseConnection()
        server.line.abortConnection()

    def test_close_with_a_full_send_side(self) -> None:
        """A close waits for all that was written, however little the peer reads, and close_notify comes last."""
        pair = ready()
        client, server = pair.witnesses
        server.line.pauseProducing()
        client.line.write(bytes(2_000_000))
        client.line.loseConnection()
        pair.pump()
        self.assertEqual([None, None], [client.end, server.end])
        client.line.write(b"after the close")
        server.line.resumeProducing()
        pair.pump()
        self.assertEqual([2_000_000, 0], [len(server.octets), sum(server.octets)])
        self.assertEqual(["ConnectionDone"] * 2, [client.end, server.end])


class Pauses(SynchronousTestCase):
    """A protocol that has enough."""

    def test_in_the_middle_of_a_read(self) -> None:
        """After a pause comes no more than the rest of one read; everything comes after it."""
        pair = ready()
        client, server = pair.witnesses
        sizes: list[int] = []

        def received(data: bytes) -> None:
            sizes.append(len(data))
            server.line.pauseProducing()

        self.patch(server, "dataReceived", received)
        client.line.write(bytes(3 * READ_MOST))
        pair.pump(READ_MOST)
        self.assertLessEqual(sum(sizes), READ_MOST)
        for _ in range(10):
            server.line.resumeProducing()
            pair.pump(READ_MOST)
        self.assertEqual(3 * READ_MOST, sum(sizes))


class Bugs(SynchronousTestCase):
    """A protocol that raises: the exception is the carrier's, which ends this connection and no other."""

    def check(self, name: str, pair: Pair) -> None:
        """The server's protocol raises in one of its methods, and then the carrier ends the connection."""
        server, carrier = pair.witnesses[1], pair.carriers[1]

        def broken(*arguments: Any) -> None:
            raise RuntimeError(name)

        self.patch(server, name, broken)
        failure: Failure | None = None
        for _ in range(10):
            try:
                pair.witnesses[0].line.write(b"x")
                pair.pump()
            except RuntimeError:
                failure = Failure()
        assert failure is not None
        if server.end is None:
            carrier.gone = True
            carrier.protocol.connectionLost(failure)
        self.assertIsNotNone(server.end)

    def test_in_a_delivery(self) -> None:
        """In ``dataReceived``."""
        self.check("dataReceived", ready())

    def test_at_the_end_of_the_handshake(self) -> None:
        """In ``handshakeCompleted``."""
        self.check("handshakeCompleted", Pair(CONTEXTS[SSL.TLS1_3_VERSION], TlsFactory, TlsFactory))
