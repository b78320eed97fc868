"""Deaths of workers of both daemons, of every kind and at every moment: what they cost, and what is told of them."""

import os
import signal
from typing import Any

import attrs

from smartproxy.ctl.protocol import AskSessions
from smartproxy.oftp2 import commands
from smartproxy.policy.causes import Cause
from tests.process.clock import PATIENCE_SECONDS
from tests.process.deaths import DAEMONS, DeathsCase, Kill, children, is_there, signalled
from tests.process.sites import Log, until

SILENCE_SECONDS = 10.0
"""How long a worker may give no sign of life."""


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
        await self.until_listed("client", set(carried) - set(names))
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
