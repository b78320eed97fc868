"""Syslog: RFC 5424 messages over UDP, TCP and TLS."""

import io
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogEvent, Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs.carrier import WAITING_MOST
from smartproxy.logs.emit import RECORD_KEY, Events
from smartproxy.logs.fields import Value
from smartproxy.logs.levels import Levels
from smartproxy.logs.log import STOP_SECONDS, Log
from smartproxy.logs.logrc import (
    Appender,
    DailyFiles,
    DatagramSyslog,
    LogLayout,
    OneFile,
    SecureSyslog,
    StandardOutput,
    StreamSyslog,
)
from smartproxy.logs.named_tls import NamedTls, trusted
from smartproxy.logs.observers import AppenderTrouble, words_of
from smartproxy.logs.record import Record
from smartproxy.logs.severity import Severity
from smartproxy.logs.syslog import REFUSED_SECONDS, STANDING_SECONDS, DatagramSender, StreamSender, SyslogObserver, cut
from tests.adapters.tls_peers import is_proven
from tests.unit.odd_files import block, der_of

NOWHERE: Any = None
MOMENT = datetime(2026, 11, 20, 10, 0, 0, 5000, tzinfo=UTC)


def entry(name: str = "tunnel.down", **fields: Value) -> LogEvent:
    """A log entry that holds a record."""
    return {RECORD_KEY: Record(name, MOMENT, "server", 1, fields or {"cause": "silent"})}


class Kept:
    """A sender that keeps everything."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def send(self, message: bytes) -> None:
        """Keep it."""
        self.messages.append(message)

    def start(self, reactor: Any) -> None:
        """Nothing to do."""

    def stop(self) -> Any:
        """Nothing to do."""


class Messages(SynchronousTestCase):
    """An entry as a message."""

    def message(self, event: LogEvent, host: str = "dmz", program: str = "smartproxy-server") -> str:
        """Its text."""
        self.patch(os, "getpid", lambda: 77)
        return SyslogObserver(Kept(), words_of, 16, program, host).message(event).decode()

    def test_record(self) -> None:
        """Priority, version, time, host, program, process, event, no structured data, words."""
        self.assertEqual(
            self.message(entry()),
            "<132>1 2026-11-20T10:00:00.005Z dmz smartproxy-server 77 tunnel.down - tunnel.down cause=silent",
        )

    def test_levels(self) -> None:
        """Ours on those of RFC 5424."""
        names = {"session.command": 7, "session.anomaly": 7, "tunnel.up": 6, "station.unreachable": 3}
        for name, expected in {**names, "internal.error": 2}.items():
            self.assertTrue(self.message(entry(name)).startswith(f"<{128 + expected}>1 "), name)

    def test_foreign_words(self) -> None:
        """Twisted's words have the name ``log``."""
        text = self.message({"log_format": "hello", "log_namespace": "x", "log_time": 0.0})
        self.assertTrue(text.endswith(" 77 log - [x] hello"), text)

    def test_text_beyond_ascii_is_announced(self) -> None:
        """By a byte order mark, as RFC 5424 wants it; what is ASCII has none."""
        self.assertTrue(self.message(entry(cause="Müller")).endswith(" - \ufefftunnel.down cause=Müller"))

    def test_header_is_ascii(self) -> None:
        """A host name that is none, and names that are too long."""
        text = self.message(entry(), host="ü x", program="p" * 99)
        self.assertIn(f" x {'p' * 48} 77 ", text)
        self.assertIn(" - smartproxy-server 77 ", self.message(entry(), host="ü"))

    def test_cut(self) -> None:
        """At 2048 octets, between two characters."""
        self.assertEqual(cut(b"x" * 2048), b"x" * 2048)
        self.assertEqual(cut(b"x" * 2047 + "ü".encode()), b"x" * 2047)


class SendersTestCase(SynchronousTestCase):
    """A reactor and a list of troubles."""

    def setUp(self) -> None:
        """Nothing happened yet."""
        self.reactor = MemoryReactorClock()
        self.told: list[tuple[str, Mapping[str, object]]] = []
        self.trouble = AppenderTrouble("x", "advice", lambda name, fields: self.told.append((name, fields)))

    @property
    def names(self) -> list[str]:
        """What was told."""
        return [name for name, _ in self.told]


class Streams(SendersTestCase):
    """Over TCP."""

    def setUp(self) -> None:
        """A sender that dials a memory reactor."""
        super().setUp()
        from twisted.internet.endpoints import TCP4ClientEndpoint

        self.sender = StreamSender(lambda reactor: TCP4ClientEndpoint(reactor, "192.0.2.1", 601), self.trouble)

    def connect(self) -> StringTransport:
        """The last connection is made."""
        transport = StringTransport()
        protocol = self.reactor.tcpClients[-1][2].buildProtocol(None)
        assert protocol is not None
        protocol.makeConnection(transport)
        self.protocol = protocol
        return transport

    def refuse(self) -> None:
        """The last connection is refused."""
        self.reactor.tcpClients[-1][2].clientConnectionFailed(NOWHERE, Failure(ConnectionRefusedError()))

    def test_octets_are_counted(self) -> None:
        """What was said before the connection follows with it; each message has its length in front."""
        self.sender.send(b"one")
        self.sender.start(self.reactor)
        self.sender.send(b"two two")
        transport = self.connect()
        self.sender.send(b"3")
        self.assertEqual(transport.value(), b"3 one7 two two1 3")
        self.assertEqual(self.told, [])

    def test_nobody_listens(self) -> None:
        """It is told once, dialled again, and told when it is over; nothing is lost."""
        self.sender.start(self.reactor)
        self.refuse()
        self.sender.send(b"one")
        self.reactor.advance(60)
        self.refuse()
        self.assertEqual(self.names, ["appender.failed"])
        self.assertIn("refused", str(self.told[0][1]["message"]))
        self.reactor.advance(60)
        self.assertEqual(self.connect().value(), b"3 one")
        self.reactor.advance(STANDING_SECONDS)
        self.assertEqual(self.told[1], ("appender.recovered", {"appender": "x", "count": 0}))

    def test_end_while_nobody_listens(self) -> None:
        """An end before the first connection is no trouble."""
        self.sender.start(self.reactor)
        self.successResultOf(self.sender.stop())
        self.assertEqual(self.told, [])

    def test_lost_connection(self) -> None:
        """It is dialled again."""
        self.sender.start(self.reactor)
        self.connect()
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.sender.send(b"one")
        self.assertEqual(self.names, ["appender.failed"])
        self.reactor.advance(60)
        self.assertEqual(self.connect().value(), b"3 one")

    def test_receiver_that_closes_at_once(self) -> None:
        """A receiver that accepts each connection and closes it is told once, until one stands."""
        self.sender.start(self.reactor)
        for _ in range(3):
            self.connect()
            self.reactor.advance(STANDING_SECONDS - 1)
            self.protocol.connectionLost(Failure(ConnectionDone()))
            self.reactor.advance(60)
        self.assertEqual(self.names, ["appender.failed"])
        self.connect()
        self.reactor.advance(STANDING_SECONDS)
        self.assertEqual(self.names, ["appender.failed", "appender.recovered"])

    def test_full_connection(self) -> None:
        """Messages wait until it takes more."""
        self.sender.start(self.reactor)
        transport = self.connect()
        assert transport.producer is not None
        transport.producer.pauseProducing()
        self.sender.send(b"one")
        self.assertEqual(transport.value(), b"")
        transport.producer.resumeProducing()
        self.assertEqual(transport.value(), b"3 one")
        transport.producer.stopProducing()
        self.sender.send(b"two")
        self.assertEqual(transport.value(), b"3 one")

    def test_the_oldest_give_way(self) -> None:
        """Messages that nobody takes are bounded; the loss is told with its number when it is over."""
        self.sender.start(self.reactor)
        for number in range(WAITING_MOST + 3):
            self.sender.send(b"%d" % number)
        self.assertEqual(self.names, ["appender.failed"])
        transport = self.connect()
        self.assertTrue(transport.value().startswith(b"1 31 4"))
        self.assertEqual(self.told[1], ("appender.recovered", {"appender": "x", "count": 3}))

    def test_receiver_that_reads_on(self) -> None:
        """Messages that it was too slow for are told with their number when it reads on, and so is the next loss."""
        self.sender.start(self.reactor)
        transport = self.connect()
        assert transport.producer is not None
        transport.producer.pauseProducing()
        for number in range(WAITING_MOST + 3):
            self.sender.send(b"%d" % number)
        transport.producer.resumeProducing()
        self.assertEqual(self.told[1], ("appender.recovered", {"appender": "x", "count": 3}))
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.names, ["appender.failed", "appender.recovered", "appender.failed"])

    def test_end(self) -> None:
        """What waits is handed over, and the connection closed, without a word of trouble."""
        self.sender.start(self.reactor)
        transport = self.connect()
        assert transport.producer is not None
        transport.producer.pauseProducing()
        self.sender.send(b"one")
        ended = self.sender.stop()
        self.assertEqual((transport.value(), transport.disconnecting), (b"3 one", True))
        self.assertIsNone(transport.producer)
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(ended)
        self.assertEqual(self.told, [])
        self.successResultOf(self.sender.stop())


class Datagrams(SendersTestCase):
    """Over UDP."""

    def start(self, host: str = "192.0.2.1", fault: OSError | None = None) -> Any:
        """A sender that began; its socket.

        :param fault: what the system says of a receiver that there is no way to.
        """
        sent: list[bytes] = []

        class Port:
            fault: OSError | None = None

            def connect(self, *receiver: object) -> None:
                if self.fault is not None:
                    raise self.fault
                self.receiver = receiver

            def write(self, octets: bytes) -> None:
                sent.append(octets)

            def stopListening(self) -> None:
                self.receiver = ()

        port = Port()
        port.fault = fault

        def listen(number: int, protocol: Any, interface: str = "") -> Port:
            self.listened = (number, interface)
            self.protocol = protocol
            protocol.makeConnection(port)
            return port

        reactor: Any = self.reactor
        reactor.listenUDP = listen
        self.sender = DatagramSender(host, 514, self.trouble)
        self.sender.send(b"early")
        self.sender.start(self.reactor)
        self.sent, self.port = sent, port
        return port

    def test_datagrams(self) -> None:
        """A message is one datagram, from any port, in the receiver's family, cut where it is too long."""
        self.start()
        self.sender.send(b"x" * 3000)
        self.assertEqual(self.sent, [b"early", b"x" * 2048])
        self.assertEqual((self.port.receiver, self.listened), (("192.0.2.1", 514), (0, "")))
        self.start("2001:db8::1")
        self.assertEqual(self.listened, (0, "::"))

    def test_nobody_listens(self) -> None:
        """What the system says of it is told once; after a minute without such a word it counts as over."""
        self.start()
        self.protocol.connectionRefused()
        self.protocol.connectionRefused()
        self.sender.send(b"one")
        self.assertEqual(self.names, ["appender.failed"])
        self.reactor.advance(REFUSED_SECONDS + 1)
        self.sender.send(b"two")
        self.assertEqual(self.names, ["appender.failed", "appender.recovered"])

    def test_no_network(self) -> None:
        """An error of the system is told and hurts nobody."""
        self.start()

        def unreachable(octets: bytes) -> None:
            raise OSError(101, "Network is unreachable")

        self.protocol.send = unreachable
        self.sender.send(b"one")
        self.assertEqual(self.told[0][1]["message"], "Network is unreachable")

    def test_no_way_to_the_receiver_yet(self) -> None:
        """A machine that has no network yet starts all the same: it is told once, and messages wait for a way."""
        port = self.start(fault=OSError(101, "Network is unreachable"))
        self.assertEqual((self.names, self.told[0][1]["message"]), (["appender.failed"], "Network is unreachable"))
        self.sender.send(b"one")
        port.fault = None
        self.sender.send(b"two")
        self.assertEqual(self.sent, [])
        self.reactor.advance(REFUSED_SECONDS + 1)
        self.sender.send(b"three")
        self.assertEqual(self.sent, [b"early", b"one", b"two", b"three"])
        self.assertEqual(self.told[1:], [("appender.recovered", {"appender": "x", "count": 0})])

    def test_end(self) -> None:
        """The socket is closed; what is said later waits in vain."""
        port = self.start()
        self.successResultOf(self.sender.stop())
        self.assertEqual(port.receiver, ())
        self.sender.send(b"late")
        self.assertEqual(self.sent, [b"early"])
        self.successResultOf(self.sender.stop())


class WholeLogs(SynchronousTestCase):
    """A daemon's log put together."""

    def setUp(self) -> None:
        """Streams in the place of the process's own."""
        self.output, self.errors = io.StringIO(), io.StringIO()
        self.folder = Path(self.mktemp())
        self.reactor = MemoryReactorClock()

    def log(self, *appenders: Appender) -> Logger:
        """A log of these appenders."""
        self.whole = Log("smartproxy-server", self.folder, Levels({"*": Severity.TRACE}))
        self.whole.open(appenders, output=self.output, errors=self.errors)
        return Logger(namespace="x", observer=self.whole)

    def test_every_kind(self) -> None:
        """What is said once is in every appender that takes it, in its layout."""
        log = self.log(
            StandardOutput(),
            DailyFiles(layout=LogLayout.JSON),
            OneFile(path=self.folder / "warnings", layout=LogLayout.TEXT, level=Severity.WARNING),
            OneFile(path=self.folder / "tunnel", layout=LogLayout.TEXT, categories=frozenset({"tunnel"})),
            StreamSyslog(host="192.0.2.1"),
            DatagramSyslog(host="192.0.2.1", layout=LogLayout.JSON),
        )
        log.info("quiet")
        log.error("loud")
        Events(log, None, Clock()).emit("tunnel.down", cause="silent")
        self.assertEqual(self.output.getvalue().count("\n"), 3)
        (daily,) = self.folder.glob("smartproxy-server-*.jsonl")
        self.assertEqual(len(list(map(json.loads, daily.read_text().splitlines()))), 3)
        self.assertEqual((self.folder / "warnings").read_text().count("\n"), 2)
        self.assertIn("tunnel.down cause=silent\n", (self.folder / "tunnel").read_text())
        self.assertEqual((self.folder / "tunnel").read_text().count("\n"), 1)

    def test_names(self) -> None:
        """A syslog is named by its transport, address and port; an IPv6 address stands in brackets."""
        self.log(StreamSyslog(host="192.0.2.1"), DatagramSyslog(host="2001:db8::1"))
        self.assertEqual(self.whole.places, ["syslog tcp 192.0.2.1:601", "syslog udp [2001:db8::1]:514"])

    def test_start_and_end(self) -> None:
        """The network is used between them, and trouble becomes an event and a line on standard error."""
        log = self.log(StandardOutput(), StreamSyslog(host="192.0.2.1"))
        events = Events(log, None, self.reactor, source="server")
        self.assertEqual(self.reactor.tcpClients, [])
        self.whole.start(self.reactor, events)
        self.assertIs(events.levels, self.whole.levels)
        self.reactor.advance(60)
        self.reactor.tcpClients[0][2].clientConnectionFailed(NOWHERE, Failure(ConnectionRefusedError()))
        self.reactor.advance(1)
        self.assertIn("appender.failed", self.output.getvalue())
        self.assertIn("smartproxy-server: log: syslog tcp 192.0.2.1:601: ", self.errors.getvalue())
        ended = self.whole.stop(self.reactor)
        self.reactor.advance(STOP_SECONDS)
        self.successResultOf(ended)

    def test_tls(self) -> None:
        """A TLS syslog is dialled, whatever it is trusted by."""
        from smartproxy.testing.pki import TestCa

        for ca in (None, TestCa.root("ca").certificate_pem.decode()):
            log = self.log(SecureSyslog(host="192.0.2.1", ca=ca))
            reactor = MemoryReactorClock()
            self.whole.start(reactor, Events(log, None, reactor))
            reactor.advance(1)
            self.assertEqual(reactor.tcpClients[0][1], 6514)

    def test_label(self) -> None:
        """A certificate under the older label of RFC 7468 is trusted as under the usual one; another CA is not."""
        from smartproxy.testing.pki import SERVER_AUTH, TestCa

        ca = TestCa.root("ca")
        shown = ca.issue("log.example", sans=["DNS:log.example"], purposes=[SERVER_AUTH])
        for label in ("CERTIFICATE", "X509 CERTIFICATE"):
            pem = block(label, der_of(ca.credential.certificate)).decode()
            self.assertTrue(is_proven(NamedTls("log.example", trusted(pem)), shown), label)
        other = TestCa.root("ca").certificate_pem.decode()
        self.assertFalse(is_proven(NamedTls("log.example", trusted(other)), shown))
        self.assertTrue(is_proven(NamedTls("log.example", trusted(other + pem)), shown))

    def test_output_that_is_gone(self) -> None:
        """A closed standard output is told once on standard error, and hurts nobody."""
        log = self.log(StandardOutput(), OneFile(path=self.folder / "all"))
        self.output.close()
        log.error("one")
        log.error("two")
        self.assertEqual(self.errors.getvalue().count("\n"), 1)
        self.assertEqual((self.folder / "all").read_text().count("\n"), 2)
