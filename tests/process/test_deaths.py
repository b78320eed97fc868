"""Deaths of workers of both daemons, of every kind and at every moment: what they cost, and what is told of them."""

import os
import signal
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory

from smartproxy.ctl.protocol import AskSessions, AskStatus
from smartproxy.oftp2 import commands
from smartproxy.oftp2.errors import EsidReason
from smartproxy.policy.causes import Cause
from smartproxy.testing.proxied import connect
from tests.process.clock import PATIENCE_SECONDS
from tests.process.deaths import DAEMONS, DeathsCase, Kill, children, is_there, signalled, speaks
from tests.process.lines import Line
from tests.process.sites import Log, reactor, until
from tests.process.test_outbound import OutboundCase

SILENCE_SECONDS = 10.0
"""How long a worker may give no sign of life."""


class Silent(ServerFactory):
    """A partner that takes calls and says nothing."""

    noisy = False

    def __init__(self) -> None:
        self.called: DeferredQueue[Line] = DeferredQueue()

    def buildProtocol(self, address: IAddress | None) -> Line:
        """Take a call."""
        return Line(reactor, self.called.put)


class EndsOfSessions(DeathsCase):
    """What is told of the sessions that a worker took along."""

    async def test_all_is_told(self) -> None:
        """Of the client's dead worker both daemons and the backend tell each session, its files and their outcomes."""
        log, server = Log(self.site.client), Log(self.site.server)
        before = await self.pairs(6)
        carried = self.carried("client")
        victim = next(iter(carried.values()))
        names = [name for name, pid in carried.items() if pid == victim]
        self.assertEqual(len(names), 3)
        quiet, half, whole = names
        await before[quiet].file(b"x" * 1000)
        for name in (half, whole):
            await before[name].file(b"y" * 500)
            await before[name].begin_file(100)
        crossed = before[half].station.data
        for name in (half, whole):
            before[name].partner.say(commands.DATA(buf=bytes((0x3F, *bytes(63)))))
        before[whole].partner.say(commands.EFID(rcnt=0, ucnt=63))
        await before[whole].station.hear(commands.EFID)
        await until(lambda: before[half].station.data > crossed, "DATA at the station")
        os.kill(victim, signal.SIGKILL)
        died = await log.event("worker.died", pid=victim)
        self.assertEqual((died["sessions"], died["cause"]), (3, Cause.WORKER_SIGNAL))
        for name in names:
            ended = await log.event("session.ended", session=name)
            self.assertEqual((ended["outcome"], ended["cause"], ended["ended_by"]), ("lost", "worker.lost", "client"))
            self.assertEqual((ended["direction"], ended["files_in"], ended["code"]), ("inbound", 1, self.acme.code))
            self.assertEqual(ended["unconfirmed"], int(name == whole))
            there = await server.event("session.ended", session=name)
            self.assertEqual((there["outcome"], there["side"]), ("lost", "tunnel"))
        broken = {each["session"]: each for each in log.events("file.ended") if each["outcome"] != "completed"}
        self.assertEqual({name: each["outcome"] for name, each in broken.items()}, {half: "lost", whole: "unconfirmed"})
        self.assertEqual(
            (broken[whole]["octets"], broken[whole]["dataset"], broken[whole]["link"]), (63, "FILE2", "in")
        )
        self.assertEqual(self.ask("client", AskStatus()).sessions, 3)
        await self.undisturbed("client", victim, before, carried)
        # The backend: the list of sessions, the files of each, the transfers, and what runs now.
        listed = await self.until_told("session", "list", "--outcome", "lost", key="sessions", many=3)
        told = {each["session"]: each for each in listed}
        for name, each in told.items():
            self.assertEqual((each["cause"], each["files_in"], each["partner"]), ("worker.lost", 1, "ACME"))
            self.assertEqual(len(each["files"]), 1 + (name != quiet))
            self.assertGreater(each["octets_in"], 1000 if name == quiet else 563)
        for outcome, name in (("unconfirmed", whole), ("lost", half)):
            (transfer,) = await self.until_told("transfers", "--outcome", outcome, key="", many=1)
            self.assertEqual((transfer["session"], transfer["cause"]), (name, "worker.lost"))
        live = (await self.site.smartproxy("session", "live"))["sessions"]
        self.assertEqual({each["session"] for each in live} & set(names), set())


class Kinds(DeathsCase):
    """Whatever ends a worker of either daemon."""

    async def dies(self, daemon: str, kill: Kill, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """One of two workers with sessions is made to die; the event that tells it."""
        log = Log(self.program(daemon))
        before = await self.pairs(4)
        carried = self.carried(daemon)
        victim = next(iter(carried.values()))
        await kill(victim)
        died = await log.event("worker.died", seconds, pid=victim)
        self.assertEqual(died["level"], "critical")
        self.assertGreaterEqual(died["sessions"], list(carried.values()).count(victim))
        await log.event("worker.started")
        await self.undisturbed(daemon, victim, before, carried)
        for session in before.values():
            session.partner.hang_up()
        await self.quiet(daemon)
        return died

    async def both(self, kill: Kill, seconds: float = PATIENCE_SECONDS) -> list[tuple[str, int]]:
        """Why, and with which status, a worker of each daemon ended."""
        died = [await self.dies(daemon, kill, seconds) for daemon in DAEMONS]
        return [(each["cause"], each["exit_status"]) for each in died]

    async def test_abort(self) -> None:
        """An assertion of a library ends the process by SIGABRT."""
        told = await self.both(signalled(signal.SIGABRT))
        self.assertEqual(told, [(Cause.WORKER_SIGNAL, -signal.SIGABRT)] * 2)

    async def test_hang(self) -> None:
        """A worker that hangs is killed and replaced when it gave no sign of life for ten seconds."""
        told = await self.both(signalled(signal.SIGSTOP), SILENCE_SECONDS + PATIENCE_SECONDS)
        self.assertEqual(told, [(Cause.WORKER_HANGS, -signal.SIGKILL)] * 2)


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


class Penalties(DeathsCase):
    """Three workers of the server die within a minute."""

    settings = ("server.penalties.exempt", "192.0.2.0/24", "server.penalties.threshold", "15")

    async def three_die(self, *sources: str) -> dict[str, Any]:
        """Workers die that carry a session of ACME, which comes from each of these addresses; the ban that follows."""
        log = Log(self.site.server)
        for source in sources:
            self.assertEqual(log.events("penalty.banned"), [])
            await self.session(attrs.evolve(self.acme, source=source))
            listed = self.ask("server", AskSessions()).sessions
            (victim,) = [each.pid for each in listed if str(each.peer).startswith(f"{source}:")]
            assert victim is not None
            os.kill(victim, signal.SIGKILL)
            await log.event("worker.died", pid=victim)
        return await log.event("penalty.banned")

    async def test_an_address(self) -> None:
        """The address whose connections they carried is banned, and no other; the partner may come from elsewhere."""
        banned = await self.three_die("127.0.0.20", "127.0.0.20", "127.0.0.20")
        self.assertEqual((banned["network"], banned["cause"]), ("127.0.0.20/32", Cause.PENALTY_DEATHS))
        log = Log(self.site.server)
        refused = await attrs.evolve(self.acme, source="127.0.0.20").dial(self.site.port)
        await refused.ended
        self.assertEqual((await log.event("connection.refused"))["cause"], Cause.PENALTY_BANNED)
        await (await self.session(attrs.evolve(self.bolt, source="127.0.0.21"))).file()

    async def test_a_partner(self) -> None:
        """A partner that comes from another address each time is known by its name: its address is banned, too."""
        banned = await self.three_die("127.0.0.30", "127.0.0.31", "127.0.0.32")
        self.assertEqual((banned["network"], banned["cause"]), ("127.0.0.32/32", Cause.PENALTY_DEATHS))


class ZygoteDies(DeathsCase):
    """The process that makes workers is killed."""

    async def test_the_daemon_ends_in_order(self) -> None:
        """Its sessions are told as lost, it stops with status 1, and the next one carries sessions."""
        for daemon in DAEMONS:
            program = self.program(daemon)
            log = Log(program)
            session = await self.session(self.acme)
            (zygote,) = children(program.pid)
            workers = children(zygote)
            os.kill(zygote, signal.SIGKILL)
            await session.partner.ended
            await session.station.ended
            self.assertEqual(await program.end(), 1)
            (died,) = log.events("worker.died")
            self.assertEqual((died["level"], died["cause"], died["sessions"]), ("critical", Cause.WORKER_ZYGOTE, 1))
            (ended,) = log.events("session.ended")
            self.assertEqual((ended["outcome"], ended["cause"]), ("lost", Cause.WORKER_LOST))
            self.assertEqual(len(log.events(f"{daemon}.stopped")), 1)
            self.assertFalse(any(is_there(pid) for pid in (zygote, *workers)))
            server = Log(self.site.server, whole=daemon == "server")
            if daemon == "server":
                server = Log(await self.site.start_server(*self.server_switches), whole=True)
            else:
                await self.site.start_client(*self.client_switches)
            await self.site.listening(server)
            session = await self.session(self.acme)
            await session.file()
            await session.end()
            for each in DAEMONS:
                await self.quiet(each)


class NothingIsLeft(DeathsCase):
    """A few deaths; ``make soak`` has a thousand."""

    async def test_of_twelve_deaths(self) -> None:
        """No zombie and no descriptor is left, in supervisors and zygotes; each death is told, and each is replaced."""
        counted = await self.die(12)
        self.assertEqual((counted.deaths, counted.starved), (12, 1))
        self.assert_nothing_left(counted)
