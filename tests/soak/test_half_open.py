"""Workers that die while a session is being opened: before the SSID, during the opening, and during a call.

Each death of a young worker is followed by a longer wait until there is another one, so that these take minutes.
"""

import os
import signal

from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory

from smartproxy.ctl.protocol import AskStatus
from smartproxy.oftp2 import commands
from smartproxy.oftp2.errors import EsidReason
from smartproxy.testing.proxied import connect
from tests.process.deaths import DAEMONS, DeathsCase, speaks
from tests.process.lines import Line
from tests.process.sites import Log, reactor, until
from tests.process.test_outbound import OutboundCase


class Silent(ServerFactory):
    """A partner that takes calls and says nothing."""

    noisy = False

    def __init__(self) -> None:
        self.called: DeferredQueue[Line] = DeferredQueue()

    def buildProtocol(self, address: IAddress | None) -> Line:
        """Take a call."""
        return Line(reactor, self.called.put)


class HalfOpen(DeathsCase, OutboundCase):
    """A worker dies while a session is being opened: nobody waits for it, and no place is kept."""

    async def nothing_is_left(self) -> None:
        """Neither daemon counts anything any more, and a session goes through."""
        for daemon in DAEMONS:
            await self.workers(daemon)
            await self.quiet(daemon)
        await until(lambda: not self.ask("server", AskStatus()).connections, "no connection of a partner")
        await (await self.session(self.acme)).file()

    async def busy(self, daemon: str) -> int:
        """The worker that carries what is being opened."""
        found: list[int] = []
        while not found:
            found = [pid for pid, sessions in (await self.workers(daemon)).items() if sessions]
        return found[0]

    async def test_before_the_ssid(self) -> None:
        """The server's worker dies when a partner was greeted, and has said nothing: its connection ends."""
        partner = await self.acme.dial(self.site.port)
        await partner.hear(commands.SSRM)
        log = Log(self.site.server)
        os.kill(await self.busy("server"), signal.SIGKILL)
        await partner.ended
        await log.event("session.ended", outcome="lost", cause="worker.lost", ended_by="server")
        await self.nothing_is_left()

    async def test_during_the_opening(self) -> None:
        """A worker of either daemon dies while the station is silent: partner and station are told, or closed."""
        for daemon in DAEMONS:
            log = Log(self.program(daemon))
            partner = await self.acme.greet(self.site.port)
            station = await self.station.line()
            os.kill(await self.busy(daemon), signal.SIGKILL)
            await station.ended
            if daemon == "client":
                self.assertEqual(await partner.hear_end(), EsidReason.RESOURCES_NOT_AVAILABLE)
            else:
                await partner.ended
            self.assertEqual((await log.event("worker.died"))["sessions"], 1)
            await log.event("session.ended", outcome="lost", cause="worker.lost", ended_by=daemon)
            await self.nothing_is_left()

    async def test_during_a_call(self) -> None:
        """A worker of either daemon dies while a partner that is called is silent: the station does not wait."""
        silent = Silent()
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(silent)
        self.addCleanup(port.stopListening)
        await self.outbound("ACME", "--host", "127.0.0.1", "--port", str(port.getHost().port), "--verify", "pin")
        for daemon in DAEMONS:
            answer = Deferred.fromCoroutine(self.refusal(connect("ACME")))
            answer.addErrback(lambda failure: b"closed")
            called = await silent.called.get()
            connected = port.getHost().port if daemon == "server" else await self.port()
            (victim,) = [pid for pid in await self.workers(daemon) if speaks(pid, connected)]
            os.kill(victim, signal.SIGKILL)
            told = await answer
            await called.ended
            if daemon == "server":
                self.assertTrue(told.startswith(b"HTTP/1.1 50"), told)
            await self.nothing_is_left()
