"""Workers that die, many times (DEATHS=1000), and what is left of them.

A thousand of both whole daemons take a quarter of an hour where nothing else runs: a worker is replaced at once only if
it lived for ten seconds. Those of a crew without a daemon take a minute.
"""

import os
import signal
from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.internet.task import deferLater

from smartproxy.policy import limits
from tests.adapters.test_workers import Craft, CrewCase, Misbehave, reactor
from tests.process.deaths import DeathsCase, children, descriptors, state

DEATHS = int(os.environ.get("DEATHS", "1000"))


class ManyDeaths(DeathsCase):
    """Workers of both daemons, with sessions."""

    timeout = 1800 + 10 * DEATHS
    count = 8
    server_switches: ClassVar[Sequence[str]] = ("--drain", "2", "--workers", "8")
    client_switches: ClassVar[Sequence[str]] = ("--drain", "2", "--workers", "8")

    async def test_nothing_is_left_of_them(self) -> None:
        """Neither zombies nor descriptors are left, no memory grows with deaths, and each death is told."""
        counted = await self.die(DEATHS)
        print(
            f"{counted.deaths} deaths, {counted.starved} of them for want of memory; {counted.told} told; "
            f"{counted.zombies} zombies; descriptors {counted.before.descriptors} -> {counted.after.descriptors}; "
            f"memory {counted.before.memory} -> {counted.after.memory}"
        )
        self.assert_nothing_left(counted)


class Mortal(Craft):
    """A worker that gets no memory when it is asked to begin a session without a name."""

    def _misbehave(self, session: str) -> dict[str, int]:
        if not session:
            raise MemoryError
        return super()._misbehave(session)


class ManyBareDeaths(CrewCase):
    """Workers of a crew, each with a session: killed, aborted, and without memory, in turn."""

    timeout = 600 + DEATHS
    craft = Mortal

    async def test_nothing_is_left_of_them(self) -> None:
        """The same of a supervisor and a zygote."""
        self.patch(limits, "WORKER_LIVED_SECONDS", 0.0)
        await self.both()
        before = self._left()
        for death in range(DEATHS):
            member = await self.crew.choose()
            assert member.pid is not None
            await member.link.ask(Misbehave, session=f"a{death}")
            if death % 3 == 2:
                member.link.ask(Misbehave, session="").addErrback(lambda failure: None)
            else:
                os.kill(member.pid, (signal.SIGKILL, signal.SIGABRT)[death % 3])
            while len(self.deaths) <= death or len(self.crew.members) < 2 or self._untold():
                await deferLater(reactor, 0.001)
        died: list[dict[str, Any]] = [each for each in self.told if each["name"] == "worker.died"]
        self.assertEqual((len(died), sum(each["sessions"] for each in died)), (DEATHS, DEATHS))
        causes = {cause: sum(each["cause"] == cause for each in died) for cause in ("worker.signal", "worker.memory")}
        after = self._left()
        print(f"{DEATHS} deaths: {causes}; descriptors of both, children, zombies {before} -> {after}")
        self.assertEqual(causes["worker.memory"], DEATHS // 3)
        self.assertEqual(after, before)

    def _untold(self) -> bool:
        return bool(self.crew._gone)

    def _left(self) -> tuple[int, ...]:
        workers = children(self.zygote.pid)
        zombies = sum(state(pid) == "Z" for pid in (self.zygote.pid, *workers))
        return descriptors(os.getpid()), descriptors(self.zygote.pid), len(workers), zombies
