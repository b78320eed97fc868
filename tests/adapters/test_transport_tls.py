"""TLS in memory: the same scripts through our transport and through Twisted's, which is the oracle."""

import contextlib
import ctypes
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from smartproxy.net.tls import openssl
from smartproxy.net.tls.context import new_context, show_identity
from smartproxy.net.tls.openssl import DirectRecords, drop_bios, make_bios
from smartproxy.net.transport import records, thrift, tls
from smartproxy.net.transport.records import PIECE, PLAIN, PLAIN_FULL, SEALED, PublicRecords
from smartproxy.net.transport.secured import TlsFactory
from smartproxy.net.transport.sockets import READ_MOST
from smartproxy.net.transport.thrift import SMALL, Thrift
from smartproxy.net.transport.tls import CHATTER_MOST

SCRIPTS = 1000
HIGH_WATER = 64 * 1024


def identity() -> tuple[str, str]:
    """A certificate and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "transport")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    certificate = builder.sign(key, hashes.SHA256())
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    return certificate.public_bytes(pem).decode(), key.private_bytes(pem, *form).decode()


CERTIFICATE, KEY = identity()


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class Contexts:
    """Contexts of both sides, for one version of TLS at most."""

    def __init__(self, most: int = SSL.TLS1_3_VERSION) -> None:
        self.server, self.client = new_context(server=True), new_context(server=False)
        show_identity(self.server, CERTIFICATE, KEY, "test")
        for context in (self.server, self.client):
            context.set_max_proto_version(most)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """A server's side."""
        return SSL.Connection(self.server, None)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """A client's side."""
        return SSL.Connection(self.client, None)


CONTEXTS = {version: Contexts(version) for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)}


def connected(contexts: Contexts) -> tuple[SSL.Connection, SSL.Connection]:
    """A client's and a server's side after their handshake."""
    near, far = SSL.Connection(contexts.client, None), SSL.Connection(contexts.server, None)
    near.set_connect_state()
    far.set_accept_state()
    for _ in range(4):
        for each, other in ((near, far), (far, near)):
            with contextlib.suppress(SSL.WantReadError):
                each.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(each.bio_read(100_000))
    return near, far


@implementer(ITCPTransport, IConsumer, IPushProducer)
class Carrier:
    """One end of a TCP connection in memory; nothing calls back but :meth:`pump` and a full queue."""

    def __init__(self) -> None:
        self.far: Carrier = self
        self.protocol: Any = None
        self.queue = bytearray()
        self.reading = True
        self.end: Exception | None = None
        self.gone = False
        self.losing = False
        self.sent = 0
        self.producer: Any = None
        self.paused = False

    def write(self, octets: bytes) -> None:
        """Queue octets."""
        if self.gone or self.end is not None:
            return
        self.queue += octets
        self.sent += len(octets)
        # As Twisted does: at every write, not at the first alone.
        if len(self.queue) > HIGH_WATER and self.producer is not None:
            self.paused = True
            self.producer.pauseProducing()

    def writeSequence(self, pieces: Any) -> None:
        """Queue octets."""
        self.write(b"".join(pieces))

    def loseConnection(self) -> None:
        """Close when everything is sent."""
        self.losing = True
        self.reading = False

    def loseWriteConnection(self) -> None:
        """Not used below TLS."""
        raise NotImplementedError

    def abortConnection(self) -> None:
        """Close now."""
        self.queue.clear()
        if self.end is None:
            self.end = ConnectionAborted()
            self.far.end = self.far.end or ConnectionLost()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Take a producer."""
        assert self.producer is None and streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        """Forget it."""
        self.producer = None
        self.paused = False

    def pauseProducing(self) -> None:
        """Do not read."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Read."""
        self.reading = not self.losing

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()

    def getPeer(self) -> IPv4Address:
        """An address."""
        return IPv4Address("TCP", "192.0.2.7", 7)

    getHost = getPeer

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing in memory."""

    setTcpKeepAlive = setTcpNoDelay

    def getTcpNoDelay(self) -> bool:
        """Nothing in memory."""
        return True

    getTcpKeepAlive = getTcpNoDelay

    def pump(self, most: int) -> bool:
        """Deliver to the far end what it reads; tell ends; whether anything happened."""
        if self.gone:
            return False
        far = self.far
        if self.queue and far.reading and not far.gone and far.end is None:
            octets = bytes(self.queue[:most])
            del self.queue[:most]
            far.protocol.dataReceived(octets)
        elif self.end is not None:
            self._lose(self.end)
        elif self.losing and not self.queue and self.producer is None:
            self._lose(ConnectionDone())
            far.end = far.end or ConnectionDone()
        elif self.queue and (far.losing or far.gone):
            self.queue.clear()
        else:
            return False
        if self.paused and not self.queue and self.producer is not None:
            self.paused = False
            self.producer.resumeProducing()
        return True

    def _lose(self, why: Exception) -> None:
        self.gone = True
        self.protocol.connectionLost(Failure(why))


@implementer(IHandshakeListener)
class Witness(Protocol):
    """Takes down what its transport tells it."""

    def __init__(self) -> None:
        self.octets = bytearray()
        self.deliveries = 0
        self.handshakes = 0
        self.end: str | None = None
        self.greeting = b""
        self.hangs_up = False
        self.source: Source | None = None

    def connectionMade(self) -> None:
        """Speak at once, where the script asks for it."""
        if self.greeting:
            self.line.write(self.greeting)

    def handshakeCompleted(self) -> None:
        """Count it."""
        self.handshakes += 1
        if self.hangs_up:
            self.line.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        assert self.end is None, "octets after the end"
        self.octets += data
        self.deliveries += 1

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep how it ended."""
        assert self.end is None, "two ends"
        self.end = type(reason.value).__name__

    @property
    def line(self) -> Any:
        """The transport."""
        return self.transport


@implementer(IPushProducer)
class Source:
    """What a protocol sends from, as another leg is: it keeps whether it may go on."""

    def __init__(self) -> None:
        self.paused = False

    def pauseProducing(self) -> None:
        """Enough waits to be sent."""
        self.paused = True

    def resumeProducing(self) -> None:
        """It is sent."""
        self.paused = False

    def stopProducing(self) -> None:
        """The connection is gone."""


Make = Callable[[Any, bool, Any], Any]


def twisteds(contexts: Any, client: bool, factory: Any) -> Any:
    """Twisted's TLS, which collects no small writes here, as ours does not."""
    return TLSMemoryBIOFactory(contexts, client, factory, Clock())


class Pair:
    """A client and a server through TLS."""

    def __init__(self, contexts: Contexts, make_client: Make, make_server: Make, greeting: bytes = b"") -> None:
        self.witnesses = Witness(), Witness()
        self.witnesses[0].greeting = greeting
        self.carriers = Carrier(), Carrier()
        for carrier, far in (self.carriers, self.carriers[::-1]):
            carrier.far = far
        for side, make in enumerate((make_client, make_server)):
            factory = Factory.forProtocol(lambda side=side: self.witnesses[side])  # type: ignore[misc]  # no types for this
            self.carriers[side].protocol = make(contexts, side == 0, factory).buildProtocol(None)
        for carrier in self.carriers:
            carrier.protocol.makeConnection(carrier)

    def pump(self, most: int = READ_MOST, rounds: int = 10_000) -> None:
        """Move octets until nothing moves."""
        for _ in range(rounds):
            self.flush()
            # Both are asked in every round.
            if not sum([carrier.pump(most) for carrier in self.carriers]):
                return

    def flush(self) -> None:
        """Have Twisted's transport write what it collected."""
        for carrier in self.carriers:
            collected = getattr(carrier.protocol, "_aggregator", None)
            if collected is not None:
                collected.flush()

    def rest(self) -> None:
        """Have ours rest whatever it does; Twisted's has no rest, and is seen to do the same."""
        for carrier in self.carriers:
            if not carrier.gone:
                getattr(carrier.protocol, "rest", int)()

    def seen(self) -> list[tuple[bytes, int, str | None]]:
        """What each protocol saw."""
        return [(bytes(each.octets), each.handshakes, each.end) for each in self.witnesses]

    def held_back(self) -> list[bool | None]:
        """Whether each protocol's source is paused; ``None`` without one, and where the connection is gone."""
        return [None if each.source is None or each.end else each.source.paused for each in self.witnesses]


Step = tuple[str, int, int]


KINDS = ["write"] * 8 + ["pump"] * 6 + ["pause", "resume", "small", "lose"] * 2 + ["abort", "cut", "break", "garble"]
FLOW_KINDS = ["write"] * 8 + ["pump"] * 6 + ["pause", "resume", "small"] * 2 + ["produce"] * 3
SIZES = (1, 100, 2048, 16384, 16385, 40000, 99999, 300_000)


def script(source: random.Random, kinds: Sequence[str] = KINDS) -> list[Step]:
    """Random steps: what, which side, how much."""
    return [(source.choice(kinds), source.randrange(2), source.choice(SIZES)) for _ in range(source.randrange(3, 20))]


Seen = list[tuple[bytes, int, str | None]]


def play(pair: Pair, steps: list[Step], looked: Callable[[list[bool | None]], object] = lambda held: None) -> Seen:
    """Do what a script says, and then let everything come to its end.

    :param looked: told which sources are held back whenever nothing moves any more after the handshake.
    """
    for number, (what, side, size) in enumerate(steps):
        carrier, line = pair.carriers[side], pair.witnesses[side].line
        if pair.witnesses[side].end is not None:
            continue
        match what:
            case "write":
                line.write(bytes([number + 1]) * size)
            case "pump":
                pair.pump(READ_MOST)
            case "small":
                # To its end: how far a part of it gets depends on when a transport hands on what it collected.
                pair.pump(max(500, size // 50))
            case "pause":
                line.pauseProducing()
            case "resume":
                line.resumeProducing()
            case "lose":
                pair.flush()
                line.loseConnection()
            case "abort":
                pair.pump()
                if pair.witnesses[side].end is None:
                    line.abortConnection()
            case "cut":
                pair.pump()
                for each in pair.carriers:
                    each.end = each.end or ConnectionLost()
            case "break":
                # While octets are on their way, and whatever is read of them until then.
                pair.flush()
                pair.pump(size, rounds=1 + size % 7)
                pair.flush()
                for each in pair.carriers:
                    each.end = each.end or ConnectionLost()
            case "produce" if pair.witnesses[side].source is None:
                pair.witnesses[side].source = Source()
                line.registerProducer(pair.witnesses[side].source, True)
            case "garble":
                pair.pump()
                shaken = all(witness.handshakes for witness in pair.witnesses)
                if shaken and not carrier.gone and carrier.end is None and not carrier.far.losing:
                    carrier.queue += b"\x17\x03\x03\x00\x20" + bytes(32)
        pair.flush()
        pair.rest()
        if what in ("pump", "small") and all(witness.handshakes for witness in pair.witnesses):
            looked(pair.held_back())
    for witness in pair.witnesses:
        if witness.end is None:
            witness.line.resumeProducing()
    pair.pump()
    looked(pair.held_back())
    for witness in pair.witnesses:
        if witness.end is None:
            if witness.source is not None:
                witness.line.unregisterProducer()
            witness.line.loseConnection()
    pair.pump()
    # ``ITCPTransport`` promises ConnectionAborted to the end that aborts; Twisted's TLS makes ConnectionLost of it.
    return [
        (octets, shakes, "ConnectionLost" if end == "ConnectionAborted" else end) for octets, shakes, end in pair.seen()
    ]


def alike(expected: Seen, found: Seen, steps: list[Step]) -> bool:
    """Whether the protocols saw the same.

    Two things may differ. A peer closed in order, or answered our close, and then it aborted or its connection broke
    before our answer was there. Everything that it sent was delivered, so that ours is done; Twisted's is lost. And
    where the connection broke while octets were on their way, it is how many arrived: the beginning of the same.
    """
    broken = any(what == "break" for what, _, _ in steps)
    for side, (mine, other) in enumerate(zip(expected, found, strict=True)):
        closing = {who for what, who, _ in steps if what == "lose"}
        closed = bool(closing) if broken else 1 - side in closing
        broke = broken or any(what in ("cut", "abort") for what, _, _ in steps)
        fewer, more = sorted((mine[0], other[0]), key=len)
        if fewer != more and not (broken and more.startswith(fewer)):
            return False
        if mine[1:] != other[1:] and not (
            closed and broke and mine[1] == other[1] and (mine[2], other[2]) == ("ConnectionLost", "ConnectionDone")
        ):
            return False
    return True


class Differential(SynchronousTestCase):
    """What protocols see does not depend on which transport carries them."""

    def judge(self, make_client: Make, make_server: Make, seeds: range) -> None:
        """The same scripts through both."""
        ends: set[tuple[str | None, ...]] = set()
        for seed in seeds:
            contexts = CONTEXTS[SSL.TLS1_2_VERSION if seed % 2 else SSL.TLS1_3_VERSION]
            steps = script(random.Random(seed))
            expected = play(Pair(contexts, twisteds, twisteds), steps)
            found = play(Pair(contexts, make_client, make_server), steps)
            self.assertTrue(alike(expected, found, steps), (seed, steps, expected, found))
            ends.add(tuple(end for _, _, end in expected))
        self.assertGreater(len(ends), 4, "the scripts end in too few ways")

    def test_flow(self) -> None:
        """Whatever sends is held back at the same moments, and may go on at the same: where nothing moves any more."""
        moments: list[list[bool | None]] = []
        for seed in range(SCRIPTS // 2):
            contexts = CONTEXTS[SSL.TLS1_2_VERSION if seed % 2 else SSL.TLS1_3_VERSION]
            steps = script(random.Random(seed), FLOW_KINDS)
            played = []
            for make_client, make_server in ((twisteds, twisteds), (TlsFactory, twisteds), (TlsFactory, TlsFactory)):
                held: list[list[bool | None]] = []
                seen = play(Pair(contexts, make_client, make_server), steps, held.append)
                played.append((held, seen))
            self.assertEqual([played[0]] * 3, played, (seed, steps))
            moments += played[0][0]
        self.assertGreater(sum(True in held for held in moments), 20, "too few are held back")
        self.assertGreater(sum(False in held for held in moments), 200, "too few go on")

    def test_client(self) -> None:
        """Our client with Twisted's server."""
        self.judge(TlsFactory, twisteds, range(SCRIPTS // 2))

    def test_server(self) -> None:
        """Our server with Twisted's client."""
        self.judge(twisteds, TlsFactory, range(SCRIPTS // 2, SCRIPTS * 3 // 4))

    def test_both(self) -> None:
        """Ours at both ends."""
        self.judge(TlsFactory, TlsFactory, range(SCRIPTS * 3 // 4, SCRIPTS))

    def test_public_calls(self) -> None:
        """The same through pyOpenSSL's public calls."""
        self.patch(tls, "records", PublicRecords)
        self.judge(TlsFactory, twisteds, range(SCRIPTS, SCRIPTS * 5 // 4))
        self.judge(TlsFactory, TlsFactory, range(SCRIPTS * 5 // 4, SCRIPTS * 3 // 2))


class Transport(SynchronousTestCase):
    """What our transport promises beyond Twisted's."""

    def pair(self, greeting: bytes = b"", most: int = SSL.TLS1_3_VERSION) -> Pair:
        """A pair of ours."""
        return Pair(CONTEXTS[most], TlsFactory, TlsFactory, greeting)

    def test_interfaces(self) -> None:
        """It offers what protocols ask of Twisted's transports."""
        transport = self.pair().carriers[0].protocol
        for interface in (ISSLTransport, IConsumer, IPushProducer):
            self.assertTrue(verifyObject(interface, transport))

    def test_one_delivery(self) -> None:
        """All records of one read are one delivery, and one write is one piece for the carrier."""
        pair = self.pair()
        pair.pump()
        client, server = pair.witnesses
        writes: list[int] = []
        write = pair.carriers[0].write

        def counted(octets: bytes) -> None:
            writes.append(len(octets))
            write(octets)

        self.patch(pair.carriers[0], "write", counted)
        client.line.write(bytes(200_000))
        self.assertEqual(1, len(writes))
        pair.pump()
        self.assertEqual((200_000, 1), (len(server.octets), server.deliveries))

    def test_greeting_goes_with_the_handshake(self) -> None:
        """What a protocol writes when the handshake is over leaves with the end of the handshake, in one piece."""
        pair = self.pair()
        client, server = pair.witnesses
        writes: list[int] = []
        write = pair.carriers[1].write

        def counted(octets: bytes) -> None:
            writes.append(len(octets))
            write(octets)

        self.patch(pair.carriers[1], "write", counted)
        self.patch(server, "handshakeCompleted", lambda: server.line.write(b"greeting"))
        pair.pump()
        self.assertEqual(b"greeting", bytes(client.octets))
        self.assertEqual(2, len(writes), "the server's flight, and the end of the handshake")

    def test_before_the_handshake(self) -> None:
        """What is written before the handshake is over arrives after it, once."""
        pair = self.pair(greeting=b"early")
        self.assertNotIn(b"early", pair.carriers[0].queue)
        pair.pump()
        self.assertEqual([b"early", 1], [bytes(pair.witnesses[1].octets), pair.witnesses[1].handshakes])

    def test_abort_in_the_handshake(self) -> None:
        """A protocol that aborts when the handshake is over gets no octet, and its peer none either."""
        pair = self.pair(greeting=b"early")
        pair.witnesses[1].hangs_up = True
        pair.pump()
        self.assertEqual([b"", b""], [bytes(each.octets) for each in pair.witnesses])
        self.assertEqual("ConnectionAborted", pair.witnesses[1].end)

    def test_truncation(self) -> None:
        """A carrier that closes without close_notify is a loss; with it, it is done."""
        for orderly, end in ((True, "ConnectionDone"), (False, "ConnectionLost")):
            pair = self.pair()
            pair.pump()
            if orderly:
                pair.witnesses[0].line.loseConnection()
            else:
                pair.carriers[0].loseConnection()
            pair.pump()
            self.assertEqual(end, pair.witnesses[1].end)

    def test_peer_that_is_gone_after_its_close(self) -> None:
        """A peer that closed in order and is gone before our answer reaches it has closed in order."""
        pair = self.pair()
        pair.pump()
        pair.witnesses[0].line.loseConnection()
        pair.carriers[0].pump(READ_MOST)
        pair.carriers[1].queue.clear()
        pair.carriers[1].end = ConnectionLost()
        pair.carriers[1].pump(READ_MOST)
        self.assertEqual("ConnectionDone", pair.witnesses[1].end)

    def test_producer(self) -> None:
        """A producer is paused while the carrier is full, and a close waits for its end."""
        pair = self.pair()
        pair.pump()
        told: list[str] = []
        producer = type(
            "Told",
            (),
            {name: (lambda self, name=name: told.append(name)) for name in ("pauseProducing", "resumeProducing")},
        )()
        line = pair.witnesses[0].line
        line.registerProducer(producer, True)
        self.assertRaises(RuntimeError, line.registerProducer, producer, True)
        line.write(bytes(2 * HIGH_WATER))
        self.assertEqual(["pauseProducing"], told)
        line.loseConnection()
        pair.pump()
        self.assertEqual(["pauseProducing", "resumeProducing"], told)
        self.assertIsNone(pair.witnesses[1].end)
        line.write(b"last")
        line.unregisterProducer()
        pair.pump()
        self.assertEqual((b"last", "ConnectionDone"), (bytes(pair.witnesses[1].octets[-4:]), pair.witnesses[1].end))

    def test_pull_producers_are_refused(self) -> None:
        """A pull producer is refused: nothing here is one."""
        pair = self.pair()
        pair.pump()
        self.assertRaises(ValueError, pair.witnesses[0].line.registerProducer, object(), False)

    def test_unread_answers_are_bounded(self) -> None:
        """A peer that makes OpenSSL answer and does not read is cut off at the bound."""
        pair = self.pair()
        pair.pump()
        transport = pair.carriers[1].protocol
        transport.send_side_full(True)

        class Chatty(PublicRecords):
            """OpenSSL has something to say at each call."""

            def take(self, connection: SSL.Connection, filled: int = 0) -> int:
                """A thousand octets of it."""
                return 1000

        transport._records = Chatty()
        for _ in range(CHATTER_MOST // 1000):
            transport._answer()
        self.assertIsNone(pair.carriers[1].end)
        transport._answer()
        self.assertIsInstance(pair.carriers[1].end, ConnectionAborted)
        pair.pump()
        self.assertEqual("Error", pair.witnesses[1].end)

    def test_memory_of_openssl(self) -> None:
        """OpenSSL is given no more than a piece at a time, in either direction."""
        pair = self.pair()
        pair.pump()
        given: list[int] = []

        def counted(call: Callable[[Any], Any], octets: Any) -> Any:
            given.append(len(octets))
            return call(octets)

        handle = pair.carriers[1].protocol.getHandle()
        handle.send, handle.bio_write = partial(counted, handle.send), partial(counted, handle.bio_write)
        pair.carriers[1].protocol._records = PublicRecords()
        pair.witnesses[0].line.write(bytes(200_000))
        pair.pump()
        pair.witnesses[1].line.write(bytes(200_000))
        pair.pump()
        self.assertEqual(PIECE, max(given))
        self.assertGreater(sum(given), 400_000)
        self.assertEqual([200_000] * 2, [len(each.octets) for each in pair.witnesses])

    def test_interrupted_by_its_protocol(self) -> None:
        """A protocol that aborts while octets are delivered to it gets nothing more."""
        pair = self.pair()
        pair.pump()
        server = pair.witnesses[1]

        def received(data: bytes) -> None:
            server.octets.extend(data)
            server.line.abortConnection()

        self.patch(server, "dataReceived", received)
        pair.witnesses[0].line.write(b"a")
        pair.witnesses[0].line.write(b"b")
        pair.carriers[0].pump(30)
        pair.pump()
        self.assertIn(bytes(server.octets), (b"a", b"ab"))
        self.assertEqual("ConnectionAborted", server.end)


class MallInfo(ctypes.Structure):
    """What mallinfo2(3) tells."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    ]


class Memory(SynchronousTestCase):
    """What connections hold that have nothing to do."""

    def setUp(self) -> None:
        """Nothing is remembered of other tests."""
        self.thrift = Thrift()
        self.patch(tls, "THRIFT", self.thrift)
        self.patch(thrift, "THRIFT", self.thrift)

    def used(self, pairs: int) -> list[Pair]:
        """Pairs through which a large file went each way."""
        made = [Pair(CONTEXTS[SSL.TLS1_3_VERSION], TlsFactory, TlsFactory) for _ in range(pairs)]
        for pair in made:
            pair.pump()
            for witness in pair.witnesses:
                witness.line.write(bytes(300_000))
            pair.pump()
        return made

    def test_given_back_when_quiet(self) -> None:
        """A connection that was quiet from one look to the next gives its buffers back, and works as before."""
        (pair,) = self.used(1)
        client = pair.witnesses[0]
        self.assertEqual(0, self.thrift.give_back())
        client.line.write(bytes(SMALL + 1))
        pair.pump()
        self.assertEqual(0, self.thrift.give_back(), "it has moved since the last look")
        client.line.write(bytes(SMALL // 2))
        pair.pump()
        self.assertEqual(2, self.thrift.give_back())
        self.assertEqual(0, self.thrift.give_back())
        for each in pair.witnesses:
            self.assertIsNone(each.line.getHandle()._into_ssl)
        for each in pair.witnesses:
            each.line.write(b"again" * 50_000)
        pair.pump()
        for each in pair.witnesses:
            self.assertEqual(b"again" * 50_000, bytes(each.octets[-250_000:]))
        client.line.loseConnection()
        pair.pump()
        self.assertEqual(["ConnectionDone"] * 2, [each.end for each in pair.witnesses])
        self.assertEqual(set(), self.thrift.grown)

    def test_given_back_to_the_system(self) -> None:
        """What connections gave back, or many that ended, goes back to the system, and only then is that asked for."""
        asked: list[int] = []
        self.patch(thrift, "trim", lambda: asked.append(1))
        (pair,) = self.used(1)
        self.thrift.give_back()
        self.assertEqual(asked, [])
        self.thrift.give_back()
        self.assertEqual(asked, [1])
        for _ in range(thrift.ENDED_MANY - 1):
            self.thrift.forget(pair.witnesses[0].line.getHandle())
        self.thrift.give_back()
        self.assertEqual(asked, [1])
        self.thrift.forget(pair.witnesses[0].line.getHandle())
        self.thrift.give_back()
        self.assertEqual(asked, [1, 1])

    def test_buffers_of_openssl(self) -> None:
        """OpenSSL keeps no buffers for connections that have nothing to read or to write."""
        for server in (False, True):
            mode = new_context(server=server).set_mode(0)
            self.assertEqual(mode & SSL.MODE_RELEASE_BUFFERS, SSL.MODE_RELEASE_BUFFERS)

    def test_octets_under_way_are_kept(self) -> None:
        """A connection that OpenSSL has octets for, in either direction, keeps what it has."""
        (pair,) = self.used(1)
        near, far = (each.line.getHandle() for each in pair.witnesses)
        near.send(b"kept")
        self.assertFalse(drop_bios(near))
        far.bio_write(near.bio_read(1000))
        self.assertFalse(drop_bios(far))
        self.assertEqual(b"kept", far.recv(10))
        self.assertEqual([True, True], [drop_bios(near), drop_bios(far)])
        for each in (near, far):
            make_bios(each)
        near.send(b"again")
        far.bio_write(near.bio_read(1000))
        self.assertEqual(b"again", far.recv(10))

    def test_rest_after_the_handshake(self) -> None:
        """A connection rests as soon as its handshake is over; whatever comes next finds it awake."""
        for ends, seen in (
            ("loseConnection", ["ConnectionDone", "ConnectionDone"]),
            ("abortConnection", ["ConnectionAborted", "ConnectionLost"]),
        ):
            pair = Pair(CONTEXTS[SSL.TLS1_2_VERSION], TlsFactory, TlsFactory)
            pair.pump()
            client, server = pair.witnesses
            for each in pair.witnesses:
                self.assertIsNone(each.line.getHandle()._into_ssl)
            client.line.write(b"hello")
            pair.pump()
            self.assertEqual(b"hello", server.octets)
            for _ in range(2):
                self.thrift.give_back()
            self.assertIsNone(server.line.getHandle()._into_ssl)
            getattr(client.line, ends)()
            pair.pump()
            self.assertEqual(seen, [each.end for each in pair.witnesses])

    def test_truncated_at_rest(self) -> None:
        """A carrier that goes away while its connection rests is a truncation, as at any other time."""
        pair = Pair(CONTEXTS[SSL.TLS1_3_VERSION], TlsFactory, TlsFactory)
        pair.pump()
        for carrier in pair.carriers:
            carrier.end = ConnectionDone()
        pair.pump()
        self.assertEqual(["ConnectionLost"] * 2, [each.end for each in pair.witnesses])

    def test_what_it_is_worth(self) -> None:
        """A pair of quiet connections gives back 40 KiB at least, as the C library counts."""
        library = ctypes.CDLL(None)
        library.mallinfo2.restype = MallInfo
        pairs = self.used(10)
        self.thrift.give_back()
        before = library.mallinfo2().uordblks
        self.assertEqual(20, self.thrift.give_back())
        self.assertGreater((before - library.mallinfo2().uordblks) / len(pairs), 40 * 1024)

    def test_without_private_names(self) -> None:
        """Where pyOpenSSL lacks a name for it, a connection keeps what it has."""
        (pair,) = self.used(1)
        self.patch(openssl, "_private", lambda name: SimpleNamespace())
        self.assertFalse(drop_bios(pair.witnesses[0].line.getHandle()))


class Records(SynchronousTestCase):
    """Both ways to read and write records."""

    def test_this_process_reads_directly(self) -> None:
        """The pyOpenSSL that the tests run with has what the direct way needs, and passes its check."""
        self.assertIsInstance(records.records(), DirectRecords)
        self.assertTrue(records._works(PublicRecords()))

    def test_random_sizes(self) -> None:
        """Whatever the sizes and the cuts, what arrives is what was sent, and no buffer is left."""
        source = random.Random(7)
        for way in (records.records(), PublicRecords()):
            near, far = connected(CONTEXTS[SSL.TLS1_3_VERSION])
            sent, arrived, on_the_way = bytearray(), bytearray(), bytearray()
            for _ in range(60):
                data = source.randbytes(source.choice((0, 1, 5, 16_384, 16_385, 70_000, 300_000)))
                start = 0
                while True:
                    start, filled, error = way.encrypt(near, data, start)
                    self.assertIsNone(error)
                    self.assertLessEqual(filled, len(SEALED))
                    on_the_way += SEALED[:filled]
                    if start == len(data):
                        break
                sent += data
                while on_the_way:
                    size = source.randrange(1, 400_000)
                    octets, taken = memoryview(bytes(on_the_way[:size])), 0
                    del on_the_way[:size]
                    end = source.choice((0, 0, 17, PLAIN_FULL))
                    while True:
                        begun = end
                        taken, end, error = way.unseal(far, octets, taken, end)
                        self.assertIsNone(error)
                        self.assertLessEqual(end, len(PLAIN))
                        arrived += PLAIN[begun:end]
                        if end > PLAIN_FULL:
                            end, error = way.decrypt(far, 0)
                            self.assertIsNone(error)
                            arrived += PLAIN[:end]
                            end = 0
                        elif taken == len(octets):
                            break
            self.assertEqual(bytes(sent), bytes(arrived))

    def test_errors(self) -> None:
        """A record that is none, the end of the octets and close_notify are told as what they are, behind what came."""
        for way in (records.records(), PublicRecords()):
            for spoil, kind in (
                (lambda near, far: far.bio_write(b"\x17\x03\x03\x00\x20" + bytes(32)), SSL.Error),
                (lambda near, far: far.bio_shutdown(), SSL.Error),
                (lambda near, far: (near.shutdown(), far.bio_write(near.bio_read(1000))), SSL.ZeroReturnError),
            ):
                near, far = connected(CONTEXTS[SSL.TLS1_3_VERSION])
                _, filled, _ = way.encrypt(near, b"good", 0)
                far.bio_write(bytes(SEALED[:filled]))
                spoil(near, far)
                end, error = way.decrypt(far, 0)
                self.assertEqual(b"good", bytes(PLAIN[:end]))
                self.assertIsInstance(error, kind)
                assert error is not None
                self.assertIsNone(error.__traceback__, "a frame would hold the buffers")
            _, filled, error = way.encrypt(far, b"x", 0)
            self.assertEqual((None, True), (error, filled > 0), "a peer that closed may still be sent to")

    def test_octets_that_openssl_does_not_keep(self) -> None:
        """What OpenSSL takes in part only is told: without it, the rest of the session would be garbage."""
        way, (_, far) = (
            DirectRecords(bytearray(20_000), bytearray(70_000), record=16_384, piece=16_384),
            connected(CONTEXTS[SSL.TLS1_3_VERSION]),
        )
        for count in (-1, 0, 3):
            self.patch(way, "_bio_write", lambda bio, octets, length, count=count: count)
            self.assertRaises(MemoryError, way.unseal, far, memoryview(b"four"), 0, 0)

    def test_positions_are_bounded(self) -> None:
        """A position outside of a buffer is refused before OpenSSL sees it."""
        way, (near, _) = records.records(), connected(CONTEXTS[SSL.TLS1_3_VERSION])
        self.assertEqual((PLAIN_FULL + 1, None), way.decrypt(near, PLAIN_FULL + 1))
        self.assertRaises(ValueError, way.decrypt, near, -1)
        octets = memoryview(b"four")
        self.assertRaises(ValueError, way.unseal, near, octets, 0, -1)
        self.assertEqual((0, PLAIN_FULL + 1, None), way.unseal(near, octets, 0, PLAIN_FULL + 1))
        for start in (-1, 5):
            self.assertRaises(ValueError, way.encrypt, near, b"four", start)
            self.assertRaises(ValueError, way.unseal, near, octets, start, 0)

    def test_odd_pyopenssl(self) -> None:
        """Where the direct way is missing, raises or mangles octets, the public calls are used, with one warning."""

        def missing() -> bool:
            return False

        def broken(*arguments: Any, **options: Any) -> Any:
            raise AttributeError

        for name, odd in (("has_records", missing), ("DirectRecords", broken), ("_works", lambda way: False)):
            records.records.cache_clear()
            self.addCleanup(records.records.cache_clear)
            patch = self.patch(records, name, odd)
            self.assertIsInstance(records.records(), PublicRecords)
            self.assertIsInstance(records.records(), PublicRecords)
            patch.restore()
            self.assertEqual(1, len(self.flushWarnings()))
