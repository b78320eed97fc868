"""A server with workers: partners' sessions in processes of their own, whose deaths are private."""

import os
import signal
from pathlib import Path
from typing import Any

from smartproxy.ctl.answers import LevelsInForce, ListedSession
from smartproxy.ctl.protocol import AskLevel, AskSessions, AskStatus, TellKill
from smartproxy.ctl.statuses import ServerStatus
from smartproxy.policy.causes import Cause
from tests.process.clock import Stopwatch
from tests.process.sites import Log, SiteCase, ask, until

DEATHS = 10
SOON_SECONDS = 1.0
"""From a worker's death to the next one that is ready."""


class WorkersCase(SiteCase):
    """Real daemons; the server has two workers."""

    server_switches = ("--drain", "2", "--workers", "2")

    def ask(self, request: Any) -> Any:
        """What the server answers on its control socket."""
        return ask(self.site.folder / "server", "smartproxy-server", request)

    def listed(self) -> dict[str, ListedSession]:
        """The live sessions by their ids."""
        return {each.session: each for each in self.ask(AskSessions()).sessions}

    def workers(self) -> dict[int, int]:
        """The number of sessions of each worker's process."""
        status: ServerStatus = self.ask(AskStatus())
        return {each.pid: each.sessions for each in status.workers}

    @property
    def supervisor(self) -> int:
        """The server's process."""
        assert self.site.server is not None
        return self.site.server.pid


class ServerWorkersTests(WorkersCase):
    """What each worker does, and may do; and what its death does."""

    async def test_sessions_are_shared(self) -> None:
        """Of ten sessions over real TLS each worker has five, as ``ctl`` shows; a file crosses in each of them."""
        sessions = [await self.session(self.acme) for _ in range(10)]
        self.assertEqual(sorted(self.workers().values()), [5, 5])
        self.assertEqual({each.pid for each in self.listed().values()}, set(self.workers()))
        for session in sessions:
            await session.file()

    async def test_what_a_worker_has(self) -> None:
        """A worker has sockets and memory, no file and no port; it cannot gain rights, dump its memory or write."""
        await self.session(self.acme)
        listening = _listening(self.supervisor)
        self.assertGreater(len(listening), 0)
        for pid in self.workers():
            kinds = {os.readlink(each).partition(":")[0] for each in Path(f"/proc/{pid}/fd").iterdir()}
            self.assertEqual(kinds - {"socket", "anon_inode", "/dev/null", "pipe"}, set())
            self.assertEqual(_listening(pid), set())
            self.assertIn("NoNewPrivs:\t1", Path(f"/proc/{pid}/status").read_text("ascii"))
            limits = Path(f"/proc/{pid}/limits").read_text("ascii")
            for name in ("Max core file size", "Max file size"):
                row = next(line for line in limits.splitlines() if line.startswith(name))
                self.assertEqual(row.removeprefix(name).split()[:2], ["0", "0"])

    async def test_an_operator_reaches_every_worker(self) -> None:
        """A level that is set for a session holds in its worker; a session that is killed ends there."""
        log = Log(self.site.server)
        sessions = [await self.session(self.acme) for _ in range(2)]
        names = list(self.listed())
        for name in names:
            levels: LevelsInForce = self.ask(AskLevel(level="trace", session=name))
            self.assertEqual(levels.levels[f"session {name}"], "trace")
        for session in sessions:
            await session.file()
        for name in names:
            await log.event("session.command", session=name, command="SFID")
        self.ask(TellKill(session=names[0]))
        ended = await log.event("session.ended", session=names[0])
        self.assertEqual(ended["cause"], Cause.SESSION_KILLED)
        await self.until_listed("server", names[1:])

    async def test_a_generation_reaches_every_worker(self) -> None:
        """A partner that is disabled loses its sessions in both workers, and gets no new one; then it is back."""
        log = Log(self.site.server)
        sessions = [await self.session(self.acme) for _ in range(2)]
        await self.site.smartproxy("partner", "disable", "ACME")
        self.addCleanup(self.enabled)
        for name in list(self.listed()):
            await log.event("session.withdrawn", session=name)
        for session in sessions:
            await session.partner.ended
        await self.until_listed("server", ())

    async def enabled(self) -> None:
        """Have the partner back for the tests that follow."""
        log = Log(self.site.server)
        await self.site.smartproxy("partner", "enable", "ACME")
        await self.site.in_force(log)

    async def test_a_death_is_private(self) -> None:
        """A killed worker loses its own sessions and no other; one event says how many; the next worker is there."""
        log = Log(self.site.server)
        sessions = [await self.session(self.acme) for _ in range(4)]
        listed = self.listed()
        victim = next(iter(self.workers()))
        lost = {name for name, each in listed.items() if each.pid == victim}
        begun = Stopwatch(self.site.server)
        os.kill(victim, signal.SIGKILL)
        died = await log.event("worker.died")
        await log.event("worker.started")
        seconds = begun.seconds()
        self.assertEqual(
            (died["level"], died["pid"], died["cause"], died["exit_status"], died["sessions"]),
            ("critical", victim, Cause.WORKER_SIGNAL, -signal.SIGKILL, len(lost)),
        )
        self.assertLess(seconds, SOON_SECONDS)
        await until(lambda: len(self.workers()) == 2 and victim not in self.workers(), "a new worker")
        await self.until_listed("server", set(listed) - lost)
        alive = [session for session in sessions if not session.partner.ended.called]
        self.assertEqual(len(alive), len(listed) - len(lost))
        for session in [*alive, await self.session(self.acme), await self.session(self.acme)]:
            await session.file()

    async def test_the_client_is_told(self) -> None:
        """The client ends its side of a lost session as it does when a connection is lost."""
        inside = Log(self.site.client)
        session = await self.session(self.acme)
        (name,) = self.listed()
        (victim,) = [pid for pid, sessions in self.workers().items() if sessions]
        os.kill(victim, signal.SIGKILL)
        ended = await inside.event("session.ended", session=name)
        self.assertEqual((ended["outcome"], ended["side"]), ("lost", "tunnel"))
        await session.station.ended

    async def test_nothing_is_left_of_the_dead(self) -> None:
        """After ten deaths the supervisor has as many descriptors as before, and no child of the zygote is a zombie."""
        log = Log(self.site.server)
        await self.session(self.acme)
        (zygote,) = _children(self.supervisor)
        before = len(os.listdir(f"/proc/{self.supervisor}/fd"))
        for count in range(1, DEATHS + 1):
            victim = next(iter(self.workers()))
            os.kill(victim, signal.SIGKILL)
            await until(lambda: len(log.events("worker.started")) == count, "a new worker")  # noqa: B023  # it is awaited
        self.assertEqual(set(_children(zygote)), set(self.workers()))
        await until(lambda: len(os.listdir(f"/proc/{self.supervisor}/fd")) <= before, "no descriptor is left")


class EndTests(WorkersCase):
    """The supervisor ends."""

    async def test_workers_die_with_their_supervisor(self) -> None:
        """A supervisor that is killed leaves neither zygote nor workers."""
        (zygote,) = _children(self.supervisor)
        left = [zygote, *_children(zygote)]
        self.assertEqual(len(left), 3)
        os.kill(self.supervisor, signal.SIGKILL)
        await until(lambda: not any(_is_there(pid) for pid in left), "all are gone")
        await self.site.start_server(*self.server_switches)
        await self.site.listening(Log(self.site.server))

    async def test_a_drain_waits_for_sessions_of_workers(self) -> None:
        """Sessions in workers end with ESID when the drain time is over; all is told; no process is left."""
        server = self.site.server
        assert server is not None
        log = Log(server)
        (zygote,) = _children(self.supervisor)
        session = await self.session(self.acme)
        os.kill(server.pid, signal.SIGTERM)
        reason = await session.partner.hear_end()
        self.assertEqual(int(reason), 5)
        await server.end()
        server.read()
        names = [record.get("name") for record in server.records]
        self.assertLess(names.index("session.ended"), names.index("server.stopped"))
        self.assertEqual(log.events("worker.died"), [])
        self.assertFalse(_is_there(zygote))
        await self.site.start_server(*self.server_switches)
        await self.site.listening(Log(self.site.server))


def _children(pid: int) -> list[int]:
    """The children of a process."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def _is_there(pid: int) -> bool:
    """Whether a process runs: a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _listening(pid: int) -> set[str]:
    """The sockets of a process that listen for TCP, by their inodes."""
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()]
    listening = {row[9] for row in rows if row[3] == "0A"}
    held = {os.readlink(each)[len("socket:[") : -1] for each in Path(f"/proc/{pid}/fd").iterdir()}
    return listening & held
