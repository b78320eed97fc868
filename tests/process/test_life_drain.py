"""Both daemons end by draining: no new sessions, time for those that run, ESID 05 for the rest; twice is now."""

import os
import signal
from typing import ClassVar

from twisted.internet.error import ConnectionRefusedError

from smartproxy.oftp2.errors import EsidReason
from smartproxy.testing.programs import Program
from tests.process.clock import Stopwatch
from tests.process.lines import Session
from tests.process.sites import Log, SiteCase, until

CLOSED_SECONDS = 1.0
NOW_SECONDS = 2.0
SLACK_SECONDS = 2.0
DRAIN_SECONDS = 3
LONG = ("--drain", "60", "--log-level", "debug")
SHORT = ("--drain", str(DRAIN_SECONDS))


class Drains(SiteCase):
    """Each test ends a daemon, and begins by starting anew what the one before ended."""

    server_switches: ClassVar[tuple[str, ...]] = LONG
    client_switches: ClassVar[tuple[str, ...]] = LONG

    async def have(self, server: tuple[str, ...] = LONG, client: tuple[str, ...] = LONG) -> Session:
        """Have both daemons run with these switches, and a session."""
        site = self.site
        for program, switches in ((site.client, client), (site.server, server)):
            assert program is not None
            if program.status is None and switches is not LONG:
                os.kill(program.pid, signal.SIGKILL)
                await program.end()
        assert site.server is not None and site.client is not None
        log = Log(site.server)
        if site.server.status is not None:
            log = Log(await site.start_server(*server), whole=True)
        elif site.client.status is None:
            return await self.session(self.acme)
        if site.client.status is not None:
            await site.start_client(*client)
        await site.listening(log)
        return await self.session(self.acme)

    async def end(self, program: Program | None, number: int = signal.SIGTERM) -> Stopwatch:
        """Send a signal; the time from that moment on."""
        assert program is not None
        begun = Stopwatch(self.site.server, self.site.client)
        os.kill(program.pid, number)
        return begun

    async def closed(self, begun: Stopwatch) -> None:
        """Wait until nobody can connect any more, which has to be soon."""
        while True:
            try:
                line = await self.bolt.dial(self.site.port)
            except ConnectionRefusedError:
                break
            line.hang_up()
            await line.ended
        self.assertLess(begun.seconds(), CLOSED_SECONDS)

    async def test_server_sessions_finish(self) -> None:
        """A session goes on, file by file, to its own end; then the server is gone, with status 0."""
        session = await self.have()
        log = Log(self.site.server)
        begun = await self.end(self.site.server, signal.SIGHUP)
        await log.event("listener.closed")
        await self.closed(begun)
        await session.file()
        await session.file()
        await session.end()
        assert self.site.server is not None
        self.assertEqual(await self.site.server.end(), 0)
        self.assertLess(begun.seconds(), 10)
        self.assertEqual(log.events("signal.received")[0]["message"], "SIGHUP: drain")
        (ended,) = log.events("session.ended")
        self.assertEqual(ended["reason"], EsidReason.NORMAL)
        self.assertEqual(len(log.events("server.stopped")), 1)

    async def test_server_the_rest_is_told(self) -> None:
        """What still runs when the time is over gets ESID 05 on both sides."""
        session = await self.have(server=SHORT)
        begun = await self.end(self.site.server)
        self.assertIs(await session.partner.hear_end(), EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN)
        self.assertIs(await session.station.hear_end(), EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN)
        self.assertGreaterEqual(begun.passed(), DRAIN_SECONDS - 0.5)
        session.station.transport.loseConnection()
        assert self.site.server is not None
        self.assertEqual(await self.site.server.end(), 0)
        self.assertLess(begun.seconds(), DRAIN_SECONDS + SLACK_SECONDS)

    async def test_server_a_second_signal(self) -> None:
        """The second signal ends it within two seconds; partners are told all the same."""
        session = await self.have()
        log = Log(self.site.server)
        await self.end(self.site.server)
        await log.event("server.stopping")
        begun = await self.end(self.site.server, signal.SIGINT)
        self.assertIs(await session.partner.hear_end(), EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN)
        assert self.site.server is not None
        await self.site.server.end()
        self.assertLess(begun.seconds(), NOW_SECONDS)
        self.assertEqual([each["mode"] for each in log.events("signal.received")], ["drain", "now"])

    async def test_client_sessions_finish(self) -> None:
        """The server's port closes at once; a session goes on to its own end; then the client is gone."""
        session = await self.have()
        log = Log(self.site.server)
        begun = await self.end(self.site.client)
        await log.event("listener.closed")
        await self.closed(begun)
        await session.file()
        await session.end()
        assert self.site.client is not None
        self.assertEqual(await self.site.client.end(), 0)
        self.assertLess(begun.seconds(), 10)
        await (await self.have()).file()

    async def test_client_the_rest_is_told(self) -> None:
        """What still runs when the time is over gets ESID 05 on both sides."""
        session = await self.have(client=SHORT)
        begun = await self.end(self.site.client)
        self.assertIs(await session.station.hear_end(), EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN)
        self.assertIs(await session.partner.hear_end(), EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN)
        session.station.transport.loseConnection()
        assert self.site.client is not None
        self.assertEqual(await self.site.client.end(), 0)
        self.assertLess(begun.seconds(), DRAIN_SECONDS + SLACK_SECONDS)

    async def test_client_a_second_signal(self) -> None:
        """The second signal ends it within two seconds."""
        session = await self.have()
        log = Log(self.site.client)
        await self.end(self.site.client)
        await log.event("client.stopping")
        begun = await self.end(self.site.client)
        assert self.site.client is not None
        await self.site.client.end()
        self.assertLess(begun.seconds(), NOW_SECONDS)
        await session.partner.ended
        await until(lambda: bool(session.station.ended.called), "the station's connection is gone")
