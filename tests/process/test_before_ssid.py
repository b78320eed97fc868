"""What a verified connection costs the server that has not sent its SSID: measured in the whole daemon."""

import os
from typing import ClassVar

from twisted.internet.defer import Deferred, gatherResults

from smartproxy.oftp2 import commands
from tests.process.lines import Line
from tests.process.memory import family, private, resident
from tests.process.sites import SiteCase, until

FIRST = 20
CONNECTIONS = 300
AT_ONCE = 10
MOST = 40 << 10
"""Measured 38 KiB on a fresh server: 5 of Python's objects and 34 of OpenSSL's.

Of OpenSSL's are 16 before the handshake (the connection 6, its two record layers 4 each), 5 the peer's certificate, 5
keys and ciphers, and 6 the key of the peer's ML-KEM. OpenSSL keeps all of it as long as the connection, and has no call
that gives it back. How much Python's objects take is counted in ``tests/adapters/test_quiet_connections.py``.
"""
MOST_AGAIN = 56 << 10
"""What each costs when as many come again, counted from before the first of all.

The memory of the first round came back, to the system or to be used again: if it had not, it would be 76 KiB.
"""
MORE_IN_WORKERS = 8 << 10
"""What is not of the connection: a worker's pages that it shared with the others until then, and what its first calls
leave. Once they are quiet, the next 200 take 39 KiB in a worker and 1 in the supervisor."""


class BeforeSsid(SiteCase):
    """Many of them at once."""

    have_workers: ClassVar[int | None] = 0
    more = 0

    settings = ("server.limits.connections_per_address", "1000", "server.limits.sessions_per_partner", "1000")

    async def greeted(self) -> Line:
        """Connect, hear SSRM, and say nothing."""
        line = await self.acme.dial(self.site.port)
        await line.hear(commands.SSRM)
        return line

    async def greet(self, count: int) -> list[Line]:
        """So many of these, some at once."""
        lines: list[Line] = []
        for _ in range(count // AT_ONCE):
            lines += await gatherResults([Deferred.fromCoroutine(self.greeted()) for _ in range(AT_ONCE)])
        return lines

    def held(self) -> int:
        """Octets of memory that the server holds."""
        return resident(self.site.server)

    def descriptors(self) -> int:
        """How many files and connections the server has open."""
        assert self.site.server is not None
        return len(os.listdir(f"/proc/{self.site.server.pid}/fd"))

    async def test_memory(self) -> None:
        """Each costs the server at most 40 KiB, and the memory comes back when they are gone."""
        await (await self.session(self.acme)).file()
        alone = self.descriptors()
        lines = await self.greet(FIRST)
        before = self.held()
        for most in (MOST, MOST_AGAIN):
            lines += await self.greet(CONNECTIONS)
            cost = self.held() - before
            print(f"\n      {CONNECTIONS} before the SSID: {cost / CONNECTIONS / 1024:.1f} KiB each", end=" ")
            for line in lines:
                line.hang_up()
            await until(lambda: self.descriptors() <= alone, "the server has closed all of them")
            lines.clear()
            self.assertLessEqual(cost, CONNECTIONS * (most + self.more))


class BeforeSsidInWorkers(BeforeSsid):
    """Where workers carry them."""

    have_workers = None
    more = MORE_IN_WORKERS

    def held(self) -> int:
        """Octets of memory that its processes do not share."""
        assert self.site.server is not None
        return sum(map(private, family(self.site.server.pid)))

    def descriptors(self) -> int:
        """Of all its processes."""
        assert self.site.server is not None
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in family(self.site.server.pid))
