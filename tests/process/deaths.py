"""Workers of both daemons that are made to die: how, and what is left of them."""

import os
import resource
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from smartproxy.ctl.protocol import AskSessions, AskStatus
from smartproxy.policy import limits
from smartproxy.testing.programs import Program
from tests.process.clock import PATIENCE_SECONDS
from tests.process.lines import Session
from tests.process.memory import resident
from tests.process.sites import Log, SiteCase, ask, reactor, until

SESSIONS_MOST = 200
"""After so many sessions, a worker has used up what memory it had left."""
DAEMONS = ("server", "client")
STARVED_EVERY = 50
"""One death in so many is for want of memory: it takes sessions to get there."""
DESCRIPTORS_BREATH = 4
MEMORY_BREATH = 4 << 20
MOST_A_DEATH = 2048
"""Octets that a death may leave behind in the supervisor; logs and queues of events breathe."""
Kill = Callable[[int], Awaitable[object]]


def signalled(number: signal.Signals) -> Kill:
    """Send a signal."""

    async def send(victim: int) -> None:
        os.kill(victim, number)

    return send


def is_there(pid: int) -> bool:
    """Whether a process runs: a zombie does not."""
    return state(pid) not in ("", "Z")


def state(pid: int) -> str:
    """The letter of a process's state; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid: int) -> list[int]:
    """The children of a process."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def speaks(pid: int, port: int) -> bool:
    """Whether a process has a connection of which this is either port."""
    rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()]
    connected = {row[9] for row in rows if row[3] == "01" and f"{port:04X}" in (row[1][-4:], row[2][-4:])}
    held = {os.readlink(each)[len("socket:[") : -1] for each in Path(f"/proc/{pid}/fd").iterdir()}
    return bool(connected & held)


@attrs.frozen
class Left:
    """What supervisors and zygotes hold.

    :ivar descriptors: of both supervisors, and of both zygotes.
    :ivar memory: octets of both supervisors.
    """

    descriptors: tuple[int, ...]
    memory: tuple[int, ...]


@attrs.define(kw_only=True)
class Counted:
    """What came of many deaths.

    :ivar starved: how many of them were for want of memory.
    :ivar told: how many the daemons told.
    """

    before: Left
    after: Left
    deaths: int = 0
    starved: int = 0
    told: int = 0
    zombies: int = 0


class DeathsCase(SiteCase):
    """Both daemons have two workers."""

    count: ClassVar[int] = 2
    server_switches: ClassVar[Sequence[str]] = ("--drain", "2", "--workers", "2")
    client_switches: ClassVar[Sequence[str]] = ("--drain", "2", "--workers", "2")

    def program(self, daemon: str) -> Program:
        """The supervisor of a daemon."""
        program = self.site.server if daemon == "server" else self.site.client
        assert program is not None
        return program

    def ask(self, daemon: str, request: Any) -> Any:
        """What a daemon answers on its control socket."""
        return ask(self.site.folder / daemon, f"smartproxy-{daemon}", request)

    async def workers(self, daemon: str) -> dict[int, int]:
        """The sessions of each worker's process, once all are there."""
        found: dict[int, int] = {}

        def there() -> bool:
            found.clear()
            found.update({each.pid: each.sessions for each in self.ask(daemon, AskStatus()).workers})
            return len(found) == self.count

        await until(there, f"{self.count} workers of the {daemon}")
        return found

    def carried(self, daemon: str) -> dict[str, int]:
        """The process of each session."""
        return {each.session: each.pid for each in self.ask(daemon, AskSessions()).sessions}

    async def quiet(self, daemon: str) -> None:
        """Wait until a daemon has no session."""
        await until(lambda: not self.ask(daemon, AskStatus()).sessions, f"no session of the {daemon}")

    async def pairs(self, count: int) -> dict[str, Session]:
        """So many sessions by their ids."""
        made: dict[str, Session] = {}
        for _ in range(count):
            session = await self.session(self.acme)
            (new,) = set(self.carried("server")) - set(made)
            made[new] = session
        return made

    async def until_told(self, *words: str, key: str, many: int) -> list[Mapping[str, Any]]:
        """What a command of the backend lists, as soon as it is so many."""
        begun = reactor.seconds()
        while True:
            told = await self.site.smartproxy(*words)
            found: list[Mapping[str, Any]] = told[key] if key else told
            if len(found) == many:
                return found
            self.assertLess(reactor.seconds() - begun, PATIENCE_SECONDS, found)
            await deferLater(reactor, 0.2)

    async def undisturbed(
        self, daemon: str, victim: int, before: Mapping[str, Session], carried: Mapping[str, int]
    ) -> None:
        """The sessions of other workers go on, new ones begin, and there are as many workers as before."""
        alive = {name for name, pid in carried.items() if pid != victim}
        self.assertTrue(alive)
        await self.until_listed(daemon, alive)
        for name, session in before.items():
            if name in alive:
                await session.file()
            else:
                await session.partner.ended
                await session.station.ended
        new = await self.session(self.acme)
        await new.file()
        await new.end()
        self.assertNotIn(victim, await self.workers(daemon))

    async def die(self, deaths: int) -> Counted:
        """Let so many workers die, of each daemon in turn, by ``kill -9``, by SIGABRT, and some for want of memory.

        All workers of a daemon die at once, as soon as they are old enough to be replaced at once.
        """
        before = await self._left()
        counted = Counted(before=before, after=before)
        logs = [Log(self.program(daemon)) for daemon in DAEMONS]
        while counted.deaths < deaths:
            sessions = [await self.session(self.acme) for _ in range(2)]
            for daemon in DAEMONS:
                victims = list(await self.workers(daemon))[: deaths - counted.deaths]
                if victims and counted.starved <= counted.deaths // STARVED_EVERY:
                    await self.starve(victims[0])
                    counted.starved += 1
                for number, pid in enumerate(victims, counted.deaths):
                    if is_there(pid):
                        os.kill(pid, (signal.SIGKILL, signal.SIGABRT)[number % 2])
                counted.deaths += len(victims)
            for session in sessions:
                session.partner.hang_up()
                session.station.hang_up()
            counted.after = await self._left()
        counted.told = sum(len(log.events("worker.died")) for log in logs)
        for daemon in DAEMONS:
            (zygote,) = children(self.program(daemon).pid)
            counted.zombies += sum(state(pid) == "Z" for pid in (zygote, *children(zygote)))
        return counted

    async def _left(self) -> Left:
        """What there is when no session runs, and all workers are old enough."""
        for daemon in DAEMONS:
            await self.quiet(daemon)

            def old(daemon: str = daemon) -> bool:
                ages = [each.seconds for each in self.ask(daemon, AskStatus()).workers]
                return len(ages) == self.count and min(ages) > limits.WORKER_LIVED_SECONDS

            await until(old, f"workers of the {daemon} that lived for a while")
        supervisors = [self.program(daemon).pid for daemon in DAEMONS]
        zygotes = [children(pid)[0] for pid in supervisors]
        return Left(
            descriptors=tuple(descriptors(pid) for pid in (*supervisors, *zygotes)),
            memory=tuple(resident(self.program(daemon)) for daemon in DAEMONS),
        )

    def assert_nothing_left(self, counted: Counted) -> None:
        """See that every death was told, and that neither zombies, descriptors nor memory grow with deaths."""
        self.assertEqual((counted.told, counted.zombies), (counted.deaths, 0), counted)
        for before, after in zip(counted.before.descriptors, counted.after.descriptors, strict=True):
            self.assertLessEqual(after, before + DESCRIPTORS_BREATH, counted)
        for before, after in zip(counted.before.memory, counted.after.memory, strict=True):
            self.assertLess(after, before + MEMORY_BREATH + counted.deaths * MOST_A_DEATH, counted)

    async def starve(self, victim: int) -> None:
        """Let a worker have no more memory than it has, and need some."""
        resource.prlimit(victim, resource.RLIMIT_DATA, (0, 0))
        for _ in range(SESSIONS_MOST):
            if not is_there(victim):
                break
            opening = Deferred.fromCoroutine(self._come_and_go())
            opening.addErrback(lambda failure: None)
            await until(lambda: opening.called or not is_there(victim), "a session, or no worker")  # noqa: B023  # it is awaited
            opening.cancel()
        self.station.forget()

    async def _come_and_go(self) -> None:
        session = await self.session(self.acme)
        await session.file(bytes(200_000))
