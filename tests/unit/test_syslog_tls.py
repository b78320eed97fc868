"""Syslog over TLS: no message is handed to a receiver before it has proven its name."""

from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.testing import AccumulatingProtocol, StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from smartproxy.logs.log import endpoint
from smartproxy.logs.logrc import SecureSyslog
from smartproxy.logs.named_tls import HANDSHAKE_SECONDS
from smartproxy.logs.syslog import STANDING_SECONDS, StreamSender
from smartproxy.testing.pki import SERVER_AUTH, TestCa
from smartproxy.testing.tls import TestContext
from tests.unit.test_syslog import SendersTestCase


class SecureStreams(SendersTestCase):
    """A receiver in memory."""

    def setUp(self) -> None:
        """A sender with one message, which dials a memory reactor."""
        super().setUp()
        ca = TestCa.root("ca")
        shown = ca.issue("log.example", sans=["DNS:log.example"], purposes=[SERVER_AUTH])
        folder = Path(self.mktemp())
        folder.mkdir()
        files = shown.write(folder, "log")
        self.context = TestContext(certificate=files.certificate, key=files.key)
        appender = SecureSyslog(host="log.example", ca=ca.certificate_pem.decode())
        self.sender = StreamSender(lambda reactor: endpoint(reactor, appender), self.trouble)
        self.sender.send(b"one")
        self.sender.start(self.reactor)

    def connect(self) -> StringTransport:
        """The next connection is made."""
        self.reactor.advance(1)
        self.transport = StringTransport()
        factory: Any = self.reactor.tcpClients.pop()[2]
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        return self.transport

    def lose(self) -> None:
        """The connection is gone, and the time of the next one has come."""
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.reactor.advance(60)

    def receive(self, context: TestContext) -> AccumulatingProtocol:
        """Have a receiver answer on the connection, until neither end has anything to say.

        :returns: what the receiver has read.
        """
        accumulating: Any = AccumulatingProtocol
        reads: Any = Factory.forProtocol(accumulating)
        reads.protocolConnectionMade = None
        tls: Any = TLSMemoryBIOFactory(context, False, reads, self.reactor).buildProtocol(None)
        there = StringTransport()
        tls.makeConnection(there)
        while self.transport.value() or there.value():
            for end, transport in ((tls, self.transport), (self.protocol, there)):
                octets = transport.value()
                transport.clear()
                if octets:
                    end.dataReceived(octets)
            self.reactor.advance(0)
        read: AccumulatingProtocol = tls.wrappedProtocol
        return read

    def test_handshake(self) -> None:
        """A receiver that has proven its name gets what waits, and what follows."""
        self.connect()
        read = self.receive(self.context)
        self.assertEqual(read.data, b"3 one")
        self.assertEqual(self.told, [])
        ended = self.sender.stop()
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(ended)
        self.assertEqual(self.told, [])

    def test_handshake_fails(self) -> None:
        """A receiver without TLS, or with another's certificate, gets nothing: it is told once, and messages wait."""
        self.connect().clear()
        self.protocol.dataReceived(b"HTTP/1.0 400\r\n\r\n")
        self.assertTrue(self.transport.disconnecting)
        self.lose()
        self.connect()
        other = Path(self.mktemp())
        other.mkdir()
        files = TestCa.root("ca").issue("log.example", sans=["DNS:log.example"]).write(other, "log")
        self.assertEqual(self.receive(TestContext(certificate=files.certificate, key=files.key)).data, b"")
        self.lose()
        self.assertEqual(self.names, ["appender.failed"])
        self.connect()
        self.assertEqual(self.receive(self.context).data, b"3 one")
        self.reactor.advance(STANDING_SECONDS)
        self.assertEqual(self.told[1:], [("appender.recovered", {"appender": "x", "count": 0})])

    def test_silent_receiver(self) -> None:
        """A receiver that does not answer the handshake is given up after a while, and dialled again."""
        self.connect()
        self.reactor.advance(HANDSHAKE_SECONDS)
        self.assertEqual(self.names, ["appender.failed"])
        self.assertIn("no TLS handshake within 30 seconds", str(self.told[0][1]["message"]))
        self.assertTrue(self.transport.disconnected)
        self.lose()
        self.connect()
        self.assertEqual(self.receive(self.context).data, b"3 one")

    def test_end(self) -> None:
        """An end during the handshake closes the connection, and is no trouble."""
        self.connect()
        self.successResultOf(self.sender.stop())
        self.assertTrue(self.transport.disconnected)
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.told, [])
