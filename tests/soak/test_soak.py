"""Sessions for minutes: memory and file descriptors of both daemons stay where they were (SOAK_SECONDS=60)."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint

from smartproxy.testing.partner import TestPartner
from smartproxy.testing.programs import Program
from smartproxy.testing.settings import Settings
from smartproxy.testing.site import STATION_CODE
from smartproxy.testing.station import TestStation
from smartproxy.testing.store import MemoryStore
from smartproxy.testing.tls import TestContext
from smartproxy.testing.user_monitor import UserMonitor
from smartproxy.testing.virtual_file import FileIdentity, VirtualFile
from tests.process.memory import resident
from tests.process.sites import Log, SiteCase, reactor, until

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
AT_ONCE = 4
WARMING = 40
"""Sessions before the first measurement: imports, caches and pools come to rest."""
MOST_A_SESSION = 2048
"""Octets that a session may leave behind; logs and queues of events breathe."""
BREATH = 2 << 20


def descriptors(program: Program) -> int | None:
    """How many files and sockets a process has open; ``None`` if it hides them from us."""
    try:
        return len(list(Path(f"/proc/{program.pid}/fd").iterdir()))
    except PermissionError:
        return None


class Soak(SiteCase):
    """One session after the other, several at once."""

    # What grows is looked for in one process.
    have_workers = 0
    timeout = int(SECONDS) + 120
    settings: ClassVar[tuple[str, ...]] = ("client.pool.ready", "4")

    async def begin(self) -> None:
        """Let an entity speak for the station."""
        await super().begin()
        self.inbox = MemoryStore()
        self.station.deputy = TestStation(reactor, Settings(code=STATION_CODE), UserMonitor(self.inbox))
        self.addCleanup(self.station.deputy.stop)

    async def one(self, number: int) -> None:
        """A session with a file; every tenth is cut off in the middle."""
        caller = self.acme if number % 2 else self.bolt
        stamp = datetime(2026, 11, 20) + timedelta(seconds=number)
        identity = FileIdentity.stamped(f"SOAK-{number}", caller.code, STATION_CODE, stamp)
        cut = None if number % 10 else 10_000
        monitor = UserMonitor(MemoryStore())
        file = VirtualFile(identity=identity, content=b"x" * (number % 7 * 9_000 + 20_000), break_at=cut)
        monitor.queue(STATION_CODE, [file])
        partner = TestPartner(
            reactor,
            TCP4ClientEndpoint(reactor, "127.0.0.1", self.site.port),
            Settings(code=caller.code),
            monitor,
            context=TestContext(certificate=caller.files.certificate, key=caller.files.key),
        )
        await partner.call()
        self.assertEqual(self.inbox.has(identity), cut is None)
        self.inbox.contents.pop(identity, None)

    async def test_soak(self) -> None:
        """Nothing grows with the number of sessions, nothing is left open, no daemon reports a bug of its own."""
        daemons = {"server": self.site.server, "client": self.site.client}
        logs = [Log(program) for program in daemons.values()]
        done = 0

        async def run(sessions: int) -> None:
            nonlocal done
            for _ in range(sessions // AT_ONCE):
                await gatherResults([Deferred.fromCoroutine(self.one(done + each)) for each in range(AT_ONCE)])
                done += AT_ONCE

        await run(WARMING)
        before = {name: (resident(program), self.open_at_rest(program)) for name, program in daemons.items()}
        begun = reactor.seconds()
        while reactor.seconds() - begun < SECONDS:
            await run(AT_ONCE)
        counted = done - WARMING
        await self.ended()
        print(f"\n      {counted} sessions in {reactor.seconds() - begun:.0f} s", end="")
        for name, program in daemons.items():
            rss, files = before[name]
            grown = resident(program) - rss
            print(f"; {name}: {grown / 1024:+.0f} KiB", end=" ")
            self.assertLess(grown, BREATH + counted * MOST_A_SESSION, name)
            if files is not None:
                most = files + 4

                def at_rest(program: Program | None = program, most: int = most) -> bool:
                    return (self.open_at_rest(program) or 0) <= most

                await until(at_rest, f"the file descriptors of the {name} are closed", 45)
        for log in logs:
            self.assertEqual(log.events("internal.error"), [])
            self.assertEqual(len(log.events("session.started")), len(log.events("session.ended")))

    def open_at_rest(self, program: Program | None) -> int | None:
        """Its file descriptors."""
        assert program is not None
        return descriptors(program)
