"""An entity on a transport of the test kit: held back by it, timed, and closed by the rules."""

import datetime
from typing import Any

import attrs
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.testing.entity import Entity
from smartproxy.testing.session import CLOSING_SECONDS, INACTIVITY_SECONDS, Closed, SessionProtocol, closed
from smartproxy.testing.settings import Settings
from smartproxy.testing.store import MemoryStore
from smartproxy.testing.user_monitor import UserMonitor
from smartproxy.testing.virtual_file import FileIdentity, VirtualFile

PARTNER, STATION = "O0099ACME", "O0013STATION"
CONTENT = bytes(5_000_000)


class SessionTests(SynchronousTestCase):
    """A partner on a transport in memory; the station is an entity without one."""

    def setUp(self) -> None:
        """Connect a partner that has a large file to send."""
        self.clock = Clock()
        self.gone: list[Closed] = []
        self.monitor = UserMonitor(MemoryStore())
        identity = FileIdentity.stamped("BIG", PARTNER, STATION, datetime.datetime(2026, 11, 20))
        self.file = VirtualFile(identity=identity, content=CONTENT)
        self.store = MemoryStore()
        self.station = Entity(Role.RESPONDER, Settings(code=STATION, credit=999), UserMonitor(self.store))

    def connect(self, file: VirtualFile) -> None:
        """Connect the partner."""
        self.monitor.queue(STATION, [file])
        entity = Entity(Role.INITIATOR, Settings(code=PARTNER, credit=999), self.monitor)
        self.session = SessionProtocol(entity, self.clock, self.gone.append)
        self.transport: Any = StringTransport()
        self.session.makeConnection(self.transport)

    def exchange(self) -> int:
        """Carry what was said to the other end, once each way; gives how many octets the partner had written."""
        written = self.transport.value()
        self.transport.clear()
        self.station.receive(written)
        while said := self.station.take():
            self.session.dataReceived(said)
        return len(written)

    def test_a_full_transport_holds_the_file(self) -> None:
        """While the transport is full not an octet is written; when it has room again the file goes on to its end."""
        self.connect(self.file)
        self.assertTrue(self.transport.streaming)
        write = self.transport.write

        def write_and_fill(octets: bytes) -> None:
            write(octets)
            if len(octets) > 10_000:
                self.transport.producer.pauseProducing()

        self.transport.write = write_and_fill
        turns = 0
        while self.transport.producer is not None:
            self.assertLess(self.exchange(), 400_000)
            self.exchange()
            turns += 1
            if self.transport.producer is not None:
                self.transport.producer.resumeProducing()
        self.assertGreater(turns, len(CONTENT) // 400_000)
        self.exchange()
        self.assertEqual(list(self.store.contents.values()), [CONTENT])
        self.assertTrue(self.transport.disconnecting)

    def test_silence(self) -> None:
        """A peer that says nothing is told ESID 09; every word of it gives it time again."""
        self.connect(self.file)
        self.clock.advance(INACTIVITY_SECONDS - 1)
        self.session.dataReceived(SSRM_BUFFER)
        self.clock.advance(INACTIVITY_SECONDS - 1)
        self.assertIsNone(self.session.entity.ended)
        self.transport.clear()
        self.clock.advance(1)
        self.assertEqual(self.transport.value()[4:7], b"F%02d" % EsidReason.TIME_OUT)
        self.assertTrue(self.transport.disconnecting)

    def test_a_peer_that_does_not_let_go(self) -> None:
        """After the end of the session the peer has some seconds to close; then the connection is cut."""
        self.connect(self.file)
        self.session.close(EsidReason.UNSPECIFIED_ABORT)
        self.assertTrue(self.transport.disconnecting)
        self.clock.advance(CLOSING_SECONDS - 1)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnected)

    def test_a_peer_that_does_not_read(self) -> None:
        """A peer that takes nothing holds its connection no longer than any other, whoever ends the session."""
        for ends in (
            lambda: self.session.close(EsidReason.UNSPECIFIED_ABORT),
            lambda: self.clock.advance(INACTIVITY_SECONDS),
        ):
            self.connect(self.file)
            self.transport.producer.pauseProducing()
            ends()
            self.clock.advance(CLOSING_SECONDS - 1)
            self.assertFalse(self.transport.disconnected)
            self.clock.advance(1)
            self.assertTrue(self.transport.disconnected)

    def test_a_peer_that_reads_late(self) -> None:
        """From the moment at which the last octet is out, it has its seconds to close."""
        self.connect(self.file)
        self.transport.producer.pauseProducing()
        self.session.close(EsidReason.UNSPECIFIED_ABORT)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(CLOSING_SECONDS - 1)
        self.transport.producer.resumeProducing()
        self.assertTrue(self.transport.disconnecting)
        self.clock.advance(CLOSING_SECONDS - 1)
        self.assertFalse(self.transport.disconnected)

    def test_cut_as_the_file_asks(self) -> None:
        """A file that asks for it has the connection closed in its middle, and what was written before is sent."""
        self.connect(attrs.evolve(self.file, break_at=1_000_000))
        total = sum(self.exchange() for _ in range(6))
        self.assertTrue(1_000_000 < total < 1_500_000, total)
        self.assertTrue(self.transport.disconnecting)

    def test_the_end_is_told_once(self) -> None:
        """How the connection ended is told to who waits; no timer is left."""
        self.connect(self.file)
        self.session.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([end.cause for end in self.gone], ["Connection was closed cleanly."])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        assert self.session.entity.ended is not None
        self.assertIsNone(self.session.entity.ended.reason)


class ClosedTests(SynchronousTestCase):
    """What becomes of OpenSSL's words."""

    def test_alerts(self) -> None:
        """The alert is found behind whatever name of the protocol OpenSSL puts in front."""
        for text, alert in (
            ("tlsv13 alert certificate required", "certificate required"),
            ("ssl/tls alert handshake failure", "handshake failure"),
            ("tlsv1 alert unknown ca", "unknown ca"),
        ):
            end = closed(Failure(SSL.Error([("SSL routines", "", text)])), None)
            self.assertEqual((end.alert, end.cause), (alert, f"TLS alert: {alert}"))

    def test_other_errors(self) -> None:
        """Other errors of OpenSSL, and empty ones, are a cause and no alert."""
        for error, cause in (
            (SSL.Error([("SSL routines", "", "certificate verify failed")]), "certificate verify failed"),
            (SSL.Error(), "connection ended"),
            (SSL.SysCallError(-1, "Unexpected EOF"), "connection ended"),
            (ConnectionDone(), "Connection was closed cleanly."),
        ):
            end = closed(Failure(error), "TLSv1.3")
            self.assertEqual((end.alert, end.cause, end.tls), (None, cause, "TLSv1.3"))
