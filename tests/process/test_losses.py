"""What breaks in one place stays there: a bug in one session, the backend, the client, the server."""

import os
import signal

from smartproxy.ctl.protocol import AskStatus
from smartproxy.oftp2 import commands
from smartproxy.oftp2.errors import EsidReason
from tests.process.clock import Stopwatch
from tests.process.lines import Session
from tests.process.sites import Log, SiteCase, ask, until

CLOSED_SECONDS = 1.0
TOLD_SECONDS = 2.0
AGAIN_SECONDS = 5.0

BUG = "BUG"
WITH_A_BUG = f"""
import sys
from smartproxy.relay.session import Session
receive = Session.receive
def broken(self, event):
    if b"{BUG}" in getattr(event, "octets", b""):
        raise ZeroDivisionError("planted")
    return receive(self, event)
Session.receive = broken
from twisted.scripts.twistd import run
run()
"""


class Losses(SiteCase):
    """Each test loses something and has all of it again at its end."""

    async def sessions(self) -> list[Session]:
        """One session of each partner."""
        return [await self.session(self.acme), await self.session(self.bolt)]

    async def test_backend(self) -> None:
        """Without the backend sessions go on and new ones begin; what happened meanwhile reaches it when it is back."""
        site = self.site
        assert site.backend is not None
        session = await self.session(self.acme)
        log, server = Log(site.client), Log(site.server)
        os.kill(site.backend.pid, signal.SIGKILL)
        await site.backend.end()
        await log.event("backend.unreachable")
        await session.file()
        meanwhile = await self.session(self.bolt)
        await meanwhile.file()
        started = await server.event("session.started")
        await site.start_backend()
        await log.event("backend.reached")
        await site.smartproxy("settings", "set", "server.deadlines.ssid", "33")
        await server.event("configuration.accepted")
        await session.file()
        ids: set[str] = set()
        while started["session"] not in ids:
            ids = {record["session"] for record in await site.smartproxy("events", "--name", "session.started")}

    async def test_client_restarted_without_the_backend(self) -> None:
        """A client that is killed and started while the backend is down serves partners again, and says with what."""
        site = self.site
        assert site.backend is not None and site.client is not None
        await (await self.session(self.acme)).file()
        for program in (site.backend, site.client):
            os.kill(program.pid, signal.SIGKILL)
            await program.end()
        server = Log(site.server)
        client = Log(await site.start_client(*self.client_switches), whole=True)
        await site.listening(server)
        used = await client.event("copy.used")
        self.assertGreater(used["age"], 0)
        for caller in (self.acme, self.bolt):
            await (await self.session(caller)).file()
        status = site.folder / "client"
        found = ask(status, "smartproxy-client", AskStatus())
        self.assertEqual(found.health, "degraded")
        self.assertEqual({each.verdict for each in found.findings}, {"backend-down", "copy"})
        await site.start_backend()
        await client.event("backend.reached")
        await site.smartproxy("settings", "set", "server.deadlines.ssid", "34")
        await site.in_force(server)
        self.assertEqual(ask(status, "smartproxy-client", AskStatus()).health, "ok")

    async def test_client_killed(self) -> None:
        """The public port closes within a second, partners are told within two; a new client opens it within five."""
        site = self.site
        assert site.client is not None
        sessions = await self.sessions()
        log = Log(site.server)
        killed = Stopwatch(site.server)
        os.kill(site.client.pid, signal.SIGKILL)
        await log.event("listener.closed")
        self.assertLess(killed.seconds(), CLOSED_SECONDS)
        for session in sessions:
            self.assertIn(
                await session.partner.hear_end(),
                {EsidReason.UNSPECIFIED_ABORT, EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN},
            )
            await session.station.ended
        self.assertLess(killed.seconds(), TOLD_SECONDS)
        await log.event("configuration.forgotten")
        await site.client.end()

        log = Log(site.server)
        back = Stopwatch(site.server)
        await site.start_client(*self.client_switches)
        back.watch(site.client)
        await site.listening(log)
        self.assertLess(back.seconds(), AGAIN_SECONDS)
        await (await self.session(self.acme)).file()

    async def test_server_killed(self) -> None:
        """The station is told; the client comes back to the new server by itself, and sessions begin again."""
        site = self.site
        assert site.server is not None
        sessions = await self.sessions()
        client = Log(site.client)
        killed = Stopwatch(site.client)
        os.kill(site.server.pid, signal.SIGKILL)
        for session in sessions:
            self.assertIn(
                await session.station.hear_end(),
                {EsidReason.UNSPECIFIED_ABORT, EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN},
            )
            await session.partner.ended
        await client.event("tunnel.down")
        await site.server.end()

        log = Log(await site.start_server(*self.server_switches), whole=True)
        away = killed.passed()
        back = Stopwatch(site.server, site.client)
        await site.listening(log)
        # The client waits between two tries for about as long as the server has been away.
        self.assertLess(back.seconds(), AGAIN_SECONDS + away)
        await client.event("tunnel.up")
        await (await self.session(self.acme)).file()

    async def test_frozen_client(self) -> None:
        """A client that is stopped, not dead, keeps its sessions when it goes on soon after."""
        site = self.site
        assert site.client is not None
        session = await self.session(self.acme)
        os.kill(site.client.pid, signal.SIGSTOP)
        session.partner.say(session.sfid())
        os.kill(site.client.pid, signal.SIGCONT)
        await session.station.hear(commands.SFID)
        session.station.say(commands.SFPA(acnt=0))
        await session.partner.hear(commands.SFPA)
        await session.end_file(0)


class Bugs(SiteCase):
    """Daemons in which a bug was planted: each raises when it meets a certain file name."""

    async def begin(self) -> None:
        """Start daemons with a bug in the place of the sound ones."""
        await super().begin()
        site = self.site
        if site.program == WITH_A_BUG:
            return
        site.program = WITH_A_BUG
        for program in (site.client, site.server):
            assert program is not None
            await program.stop()
        server = Log(await site.start_server(*self.server_switches))
        await site.start_client(*self.client_switches)
        await site.listening(server)

    async def test_server(self) -> None:
        """Its session ends with ESID 99 for both, told once without a peer's octets; others go on."""
        other, broken = await self.session(self.bolt), await self.session(self.acme)
        logs = [Log(self.site.server), Log(self.site.client)]
        broken.partner.say(broken.sfid(name=BUG))
        self.assertIs(await broken.partner.hear_end(), EsidReason.UNSPECIFIED_ABORT)
        self.assertIs(await broken.station.hear_end(), EsidReason.UNSPECIFIED_ABORT)
        # A worker tells its events, and the supervisor writes them: the peers may learn of the end first.
        bug = await logs[0].event("internal.error")
        self.assertEqual(len(logs[0].events("internal.error")), 1)
        self.assertEqual((bug["exception"], logs[1].events("internal.error")), ("ZeroDivisionError", []))
        self.assertNotIn(BUG, str(bug))
        await other.file()
        await (await self.session(self.acme)).file()

    async def test_client(self) -> None:
        """The same in the client, where the station's octets come first."""
        other, broken = await self.session(self.bolt), await self.session(self.acme)
        logs = [Log(self.site.server), Log(self.site.client)]
        broken.partner.say(commands.CD())
        await broken.station.hear(commands.CD)
        broken.station.say(broken.sfid(name=BUG))
        self.assertIs(await broken.station.hear_end(), EsidReason.UNSPECIFIED_ABORT)
        self.assertIs(await broken.partner.hear_end(), EsidReason.UNSPECIFIED_ABORT)
        await until(lambda: bool(logs[1].events("internal.error")), "the bug is told")
        self.assertEqual(logs[0].events("internal.error"), [])
        await other.file()
