"""Files cross the real daemons: both ways, every format, restarted, many at once; IPv4 and IPv6, TLS 1.2 and 1.3."""

import hashlib
import random
import socket
from datetime import datetime
from typing import ClassVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint

from smartproxy.oftp2.errors import EsidReason
from smartproxy.testing.events import EndResponseReceived, FileReceived, FileSent, FileStarted
from smartproxy.testing.partner import PartnerCall, TestPartner
from smartproxy.testing.settings import Settings
from smartproxy.testing.site import STATION_CODE
from smartproxy.testing.station import TestStation
from smartproxy.testing.store import MemoryStore
from smartproxy.testing.tls import TestContext, TlsVersion
from smartproxy.testing.user_monitor import UserMonitor
from smartproxy.testing.virtual_file import FileIdentity, Format, VirtualFile, join_records
from tests.process.lines import Caller
from tests.process.sites import Log, SiteCase, reactor

SESSIONS = 8


def content(octets: int, seed: int) -> bytes:
    """Octets that no two files share."""
    return random.Random(seed).randbytes(octets)


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class Crossings(SiteCase):
    """An entity of the test kit on either side of the proxy."""

    listeners: ClassVar[str] = "127.0.0.1:0,[::1]:0"

    async def begin(self) -> None:
        """Let an entity speak for the station."""
        await super().begin()
        self.inbox = MemoryStore()
        self.outbox = UserMonitor(self.inbox)
        self.station.deputy = TestStation(reactor, Settings(code=STATION_CODE), self.outbox)
        self.addCleanup(self.station.deputy.stop)

    def file(self, name: str, octets: bytes, *, outgoing: bool = False, caller: Caller, **more: object) -> VirtualFile:
        """A file from the partner to the station, or from the station to the partner."""
        codes = (STATION_CODE, caller.code) if outgoing else (caller.code, STATION_CODE)
        identity = FileIdentity.stamped(name, *codes, datetime(2026, 11, 20, 12))
        return VirtualFile(identity=identity, content=octets, **more)  # type: ignore[arg-type]  # by name

    def one_of_each(self, caller: Caller, prefix: str, *, outgoing: bool) -> list[VirtualFile]:
        """Files of all formats and of odd lengths."""
        records = [content(length, length) for length in (1, 80, 2047, 300)]
        text = b"Lieferabruf\r\n" * 700

        def file(name: str, octets: bytes, **more: object) -> VirtualFile:
            return self.file(f"{prefix}-{name}", octets, outgoing=outgoing, caller=caller, **more)

        return [
            file("EMPTY", b""),
            file("ONE", b"1"),
            file("U63", content(63, 1)),
            file("U", content(1_000_003, 2)),
            file("T", text, format=Format.TEXT),
            file("F", content(80 * 125, 3), format=Format.FIXED, record_length=80),
            file("V", join_records(records), format=Format.VARIABLE, record_length=2047),
        ]

    async def call(
        self, caller: Caller, files: list[VirtualFile], *, port: int, host: str = "127.0.0.1", compress: bool = False
    ) -> tuple[PartnerCall, MemoryStore]:
        """Let a partner call once; how it went, and what it got."""
        store = MemoryStore()
        monitor = UserMonitor(store)
        monitor.queue(STATION_CODE, files)
        partner = TestPartner(
            reactor,
            HostnameEndpoint(reactor, host, port),
            Settings(code=caller.code, compression=compress),
            monitor,
            context=TestContext(
                certificate=caller.files.certificate,
                key=caller.files.key,
                authorities=(self.site.anchor,),
                version=caller.version,
            ),
        )
        outcome = await partner.call()
        return outcome, store

    def assert_equal_files(self, files: list[VirtualFile], store: MemoryStore) -> None:
        """These files arrived, to the octet."""
        for file in files:
            got = store.contents[file.identity]
            self.assertEqual(hashlib.sha256(got).hexdigest(), hashlib.sha256(file.content).hexdigest(), file.identity)

    async def cross(self, caller: Caller, *, prefix: str, port: int, host: str = "127.0.0.1") -> PartnerCall:
        """Files of every format, both ways in one session, each answered with its EERP."""
        there = self.one_of_each(caller, f"{prefix}-THERE", outgoing=False)
        back = self.one_of_each(caller, f"{prefix}-BACK", outgoing=True)
        self.outbox.queue(caller.code, back)
        outcome, store = await self.call(caller, there, port=port, host=host)
        self.assert_equal_files(there, self.inbox)
        self.assert_equal_files(back, store)
        self.assertEqual(len(outcome.reported(FileSent)), len(there))
        self.assertEqual(len(outcome.reported(FileReceived)), len(back))
        assert outcome.ended is not None
        self.assertIs(outcome.ended.reason, EsidReason.NORMAL)
        self.assertEqual([each.identity for each in outcome.reported(EndResponseReceived)], [f.identity for f in there])
        return outcome

    async def test_tls_1_3(self) -> None:
        """Every format, both ways, over TLS 1.3."""
        outcome = await self.cross(self.acme, prefix="A", port=self.site.port)
        self.assertEqual(outcome.closed.tls, "TLSv1.3")

    async def test_tls_1_2(self) -> None:
        """The same over TLS 1.2, for a partner that is known by its CA."""
        caller = Caller(reactor=reactor, code=self.bolt.code, files=self.bolt.files, version=TlsVersion.TLS_1_2)
        outcome = await self.cross(caller, prefix="B", port=self.site.port)
        self.assertEqual(outcome.closed.tls, "TLSv1.2")

    async def test_ipv6(self) -> None:
        """The same over IPv6; a machine without it serves IPv4 and says what is wrong."""
        assert self.site.server is not None
        if not has_ipv6():
            await self.site.server.wait_for_event("listener.failed")
            return
        opened = await self.site.server.wait(
            lambda record: record.get("name") == "listener.opened" and record["address"] == "::1", "a port of IPv6"
        )
        log = Log(self.site.server)
        await self.cross(self.acme, prefix="C", port=opened["port"], host="::1")
        accepted = await log.event("certificate.accepted")
        self.assertRegex(accepted["peer"], r"\A\[::1\]:\d+\Z")

    async def test_compressed(self) -> None:
        """Compressed buffers are no hindrance."""
        file = self.file("PACKED", b"A" * 200_000 + content(5_000, 4), caller=self.acme)
        await self.call(self.acme, [file], port=self.site.port, compress=True)
        self.assert_equal_files([file], self.inbox)

    async def test_restart(self) -> None:
        """A file that was broken off goes on where it was, and arrives whole."""
        octets = content(3_000_000, 5)
        broken = self.file("BROKEN", octets, caller=self.acme, break_at=2_000_000)
        outcome, _ = await self.call(self.acme, [broken], port=self.site.port)
        assert outcome.ended is not None
        self.assertIsNone(outcome.ended.reason)
        await self.ended()
        again = self.file("BROKEN", octets, caller=self.acme, restart_at=1_000)
        outcome, _ = await self.call(self.acme, [again], port=self.site.port)
        (started,) = outcome.reported(FileStarted)
        self.assertEqual(started.from_position, 1_000)
        self.assert_equal_files([again], self.inbox)

    async def test_eight_at_once(self) -> None:
        """Eight sessions at once keep their files apart."""
        files = [
            self.file(f"AT-ONCE-{number}", content(400_000, number), caller=self.acme) for number in range(SESSIONS)
        ]
        calls = [Deferred.fromCoroutine(self.call(self.acme, [file], port=self.site.port)) for file in files]
        await gatherResults(calls, consumeErrors=True)
        self.assert_equal_files(files, self.inbox)

    async def test_joined_by_id(self) -> None:
        """Both daemons tell the start and the end of a session once each, under the same id."""
        server, client = Log(self.site.server), Log(self.site.client)
        await self.call(self.acme, [], port=self.site.port)
        session = (await server.event("session.ended"))["session"]
        await client.event("session.ended", session=session)
        for log in (server, client):
            for name in ("session.started", "session.ended"):
                # An end of a session of the test before may come late.
                self.assertEqual([each["session"] for each in log.events(name)].count(session), 1)
