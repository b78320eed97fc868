"""The test kit's station and partner over real sockets: TCP and TLS, large files, refusals, cut cables."""

import hashlib
import random
from collections.abc import Generator
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import TestCase

from smartproxy.oftp2.errors import EsidReason
from smartproxy.testing.events import (
    By,
    EndResponseReceived,
    FileBroken,
    FileReceived,
    FileSent,
    SessionOver,
    SessionStarted,
)
from smartproxy.testing.partner import PartnerCall, TestPartner
from smartproxy.testing.pki import CredentialFiles, TestCa
from smartproxy.testing.session import Closed
from smartproxy.testing.settings import Settings
from smartproxy.testing.station import TestStation
from smartproxy.testing.store import FolderStore, MemoryStore
from smartproxy.testing.tls import TestContext, TlsVersion
from smartproxy.testing.user_monitor import UserMonitor
from smartproxy.testing.virtual_file import FileIdentity, VirtualFile

reactor: Any = installed_reactor
PARTNER, STATION = "O0099ACME", "O0013STATION"
MOMENT = datetime(2026, 11, 20, 14, 37, 4)


def virtual_file(name: str, length: int, originator: str = PARTNER, destination: str = STATION) -> VirtualFile:
    """A file of octets without a pattern."""
    content = random.Random(name).randbytes(length)
    return VirtualFile(identity=FileIdentity.stamped(name, originator, destination, MOMENT), content=content)


class LoopbackTests(TestCase):
    """A station on a port of its own and partners that call it."""

    def setUp(self) -> None:
        """Make an authority with certificates for both ends."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.folder = folder
        authority = TestCa.root("Test CA")
        self.anchor = folder / "ca.crt"
        self.anchor.write_bytes(authority.certificate_pem)
        self.station_files = authority.issue("Station").write(folder, "station")
        self.partner_files = authority.issue("Acme").write(folder, "acme")
        self.stranger_files = TestCa.root("Other CA").issue("Acme").write(folder, "stranger")
        self.store = MemoryStore()
        self.seen: list[tuple[int, object]] = []

    @inlineCallbacks
    def start(self, tls: bool = True, **settings: Any) -> Generator[Deferred[Any], Any, None]:
        """Start the station."""
        self.monitor = UserMonitor(self.store)
        self.station = TestStation(
            reactor,
            Settings(code=STATION, **settings),
            self.monitor,
            observe=lambda number, event: self.seen.append((number, event)),
            context=self.context(self.station_files) if tls else None,
        )
        self.address = yield self.station.listen(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        self.addCleanup(self.station.stop)

    def context(self, files: CredentialFiles | None, version: TlsVersion | None = None) -> TestContext:
        """A context that presents these files and checks the far end."""
        if files is None:
            return TestContext(authorities=(self.anchor,), version=version)
        return TestContext(certificate=files.certificate, key=files.key, authorities=(self.anchor,), version=version)

    def partner(self, monitor: UserMonitor, context: TestContext | None = None, **settings: Any) -> TestPartner:
        """A partner that would call the station."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.address.port)
        return TestPartner(reactor, endpoint, Settings(code=PARTNER, **settings), monitor, context=context)

    @inlineCallbacks
    def test_large_files_cross_both_ways_over_tls(self) -> Generator[Deferred[Any], Any, None]:
        """20 MB go each way in one session in each TLS version, and both ends hold the same octets."""
        yield self.start()
        for version, name in ((TlsVersion.TLS_1_2, "TLSv1.2"), (TlsVersion.TLS_1_3, "TLSv1.3")):
            store = MemoryStore()
            monitor = UserMonitor(store)
            there = virtual_file(f"THERE-{name}", 20_000_000)
            back = virtual_file(f"BACK-{name}", 20_000_000, STATION, PARTNER)
            monitor.queue(STATION, [there])
            self.monitor.queue(PARTNER, [back])
            outcome: PartnerCall = yield self.partner(monitor, self.context(self.partner_files, version)).call()
            self.assertEqual(outcome.closed.tls, name)
            assert outcome.ended is not None
            self.assertEqual(outcome.ended.reason, EsidReason.NORMAL)
            self.assertEqual(self.store.contents[there.identity], there.content)
            self.assertEqual(store.contents[back.identity], back.content)
            self.assertEqual(len(outcome.reported(EndResponseReceived)), 1)
            (sent,) = outcome.reported(FileSent)
            self.assertEqual(sent.sha256, hashlib.sha256(there.content).hexdigest())
        self.assertEqual(self.station.accepted, 2)

    @inlineCallbacks
    def test_plain_tcp_and_folders(self) -> Generator[Deferred[Any], Any, None]:
        """Without TLS files arrive in a folder, under names of their own."""
        self.store = FolderStore(self.folder)  # type: ignore[assignment]  # the other kind of store
        yield self.start(tls=False)
        monitor = UserMonitor(MemoryStore())
        sent = virtual_file("5K", 5120)
        monitor.queue(STATION, [sent])
        outcome: PartnerCall = yield self.partner(monitor).call()
        self.assertIsNone(outcome.closed.tls)
        (received,) = [event for _, event in self.seen if isinstance(event, FileReceived)]
        assert received.path is not None
        self.assertEqual(Path(received.path).read_bytes(), sent.content)
        yield self.station.stop()
        self.assertIsInstance(self.seen[-1][1], Closed)

    @inlineCallbacks
    def test_many_sessions_at_once(self) -> Generator[Deferred[Any], Any, None]:
        """Eight partners at once are served at once."""
        yield self.start(authentication=True)
        calls = []
        for number in range(8):
            monitor = UserMonitor(MemoryStore())
            monitor.queue(STATION, [virtual_file(f"FILE-{number}", 1_000_000)])
            calls.append(self.partner(monitor, self.context(self.partner_files), authentication=True).call())
        outcomes: list[PartnerCall] = yield gatherResults(calls)
        for outcome in outcomes:
            self.assertEqual([event.authentication for event in outcome.reported(SessionStarted)], [True])
            self.assertEqual(len(outcome.reported(FileSent)), 1)
        self.assertEqual(self.station.accepted, 8)
        while self.station.sessions:
            yield _turn()

    @inlineCallbacks
    def test_alerts_are_seen(self) -> Generator[Deferred[Any], Any, None]:
        """A partner whose certificate is refused sees which alert it was, in both TLS versions."""
        yield self.start()
        for files, version, alert in (
            (None, TlsVersion.TLS_1_3, "certificate required"),
            (None, TlsVersion.TLS_1_2, "handshake failure"),
            (self.stranger_files, TlsVersion.TLS_1_3, "unknown ca"),
            (self.stranger_files, TlsVersion.TLS_1_2, "unknown ca"),
        ):
            outcome: PartnerCall = yield self.partner(UserMonitor(MemoryStore()), self.context(files, version)).call()
            self.assertEqual(outcome.closed.alert, alert)
            self.assertEqual(outcome.closed.cause, f"TLS alert: {alert}")
            assert outcome.ended is not None
            self.assertEqual((outcome.ended.by, outcome.ended.reason), (By.PEER, None))
        self.assertEqual([event for _, event in self.seen if isinstance(event, SessionStarted)], [])

    @inlineCallbacks
    def test_cut_in_the_middle_and_restarted(self) -> Generator[Deferred[Any], Any, None]:
        """A partner that breaks off in the middle of a file goes on with it in its next call."""
        yield self.start()
        monitor = UserMonitor(MemoryStore())
        sent = virtual_file("BIG", 3_000_000)
        monitor.queue(STATION, [attrs.evolve(sent, break_at=1_500_000)])
        outcome: PartnerCall = yield self.partner(monitor, self.context(self.partner_files)).call()
        (broken,) = outcome.reported(FileBroken)
        self.assertEqual([event.reason for event in outcome.reported(SessionOver)], [None])
        self.assertEqual(self.store.contents, {})
        monitor.next_file(STATION)
        monitor.queue(STATION, [attrs.evolve(sent, restart_at=broken.position)])
        outcome = yield self.partner(monitor, self.context(self.partner_files)).call()
        (again,) = outcome.reported(FileSent)
        self.assertTrue(1400 < again.from_position <= broken.position)
        self.assertEqual(self.store.contents[sent.identity], sent.content)

    @inlineCallbacks
    def test_station_stops(self) -> Generator[Deferred[Any], Any, None]:
        """A station that is stopped tells its sessions 05; then there is nobody to call."""
        yield self.start(tls=False)
        monitor = UserMonitor(MemoryStore())
        monitor.queue(STATION, [virtual_file("BIG", 50_000_000)])
        call = self.partner(monitor).call()
        while not any(isinstance(event, SessionStarted) for _, event in self.seen):
            yield _turn()
        yield self.station.stop()
        outcome: PartnerCall = yield call
        assert outcome.ended is not None
        self.assertEqual(outcome.ended.reason, EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN)
        yield self.assertFailure(self.partner(monitor).call(), ConnectionRefusedError)


def _turn() -> Deferred[None]:
    """Fires in the next turn of the reactor."""
    turned: Deferred[None] = Deferred()
    reactor.callLater(0, turned.callback, None)
    return turned
