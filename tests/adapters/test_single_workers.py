"""Workers that carry one session each, and signals to workers, as real processes."""

import os
import signal
from collections.abc import Mapping
from typing import Any

from smartproxy.logs.severity import SIGNALS
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.tunnel.boxes import PrintableText
from smartproxy.tunnel.control import Responder
from smartproxy.tunnel.vocabulary import TunnelCommand
from smartproxy.workers.confinement import title_process
from smartproxy.workers.link import Link
from smartproxy.workers.members import CrewMember
from smartproxy.workers.words import directions
from tests.adapters.test_workers import Craft, CrewCase, Misbehave, Serve


class Finish(TunnelCommand):
    """The session of this id is over."""

    arguments = [(b"session", PrintableText(16))]


class Entitle(TunnelCommand):
    """Be called so."""

    arguments = [(b"title", PrintableText(2_000))]


class Recall(TunnelCommand):
    """Say what the supervisor's secret is."""

    response = [(b"secret", PrintableText(64))]


SECRET = "-".join(("not", "for", "workers"))
"""A text that is made when it is needed: constants of a program are shared by all who use them."""


class FinishingLink(Link):
    """The table of these tests."""

    allowed = directions(supervisor=[Serve, Misbehave, Finish, Entitle, Recall])


class FinishingCraft(Craft):
    """What these workers do."""

    def responders(self) -> Mapping[type[TunnelCommand], Responder]:
        """Part of ``Craft``."""
        ours: dict[type[TunnelCommand], Responder] = {Finish: self._worker.session_over, Entitle: title_process}
        ours[Recall] = lambda: {"secret": SECRET}
        return {**super().responders(), **ours}


class FinishingCase(CrewCase):
    """A crew whose sessions can end."""

    kind = ours = FinishingLink
    craft = FinishingCraft


class Levels(FinishingCase):
    """Signals to a worker."""

    async def test_the_sessions_of_a_worker(self) -> None:
        """Each of 20 to 24 sets the level of all sessions that the worker carries, and of none that another does."""
        first, second = await self.both()
        for session, member in (("a1", first), ("a2", first), ("b1", second)):
            await member.link.ask(Misbehave, session=session)
        assert first.pid is not None
        count = 0
        for number, level in SIGNALS.items():
            os.kill(first.pid, number)
            count += 2
            told = await self.event("level.changed", count)
            self.assertEqual((told["mode"], told["cause"]), (level.label, Cause.OPERATOR_SIGNAL))
            self.assertEqual(told["message"], f"signal {number} to process {first.pid}")
            levels = self.events.levels.described()
            found = {name: each for name, each in levels.items() if name.startswith("session ")}
            self.assertEqual(found, {"session a1": level.label, "session a2": level.label})

    async def test_no_session(self) -> None:
        """A signal to a worker without a session changes nothing, and ends nothing."""
        first, _ = await self.both()
        before = self.events.levels.described()
        assert first.pid is not None
        os.kill(first.pid, 24)
        os.kill(first.pid, signal.SIGTERM)
        await first.link.ask(Misbehave, session="a1")
        self.assertEqual(self.events.levels.described(), before)

    async def test_title(self) -> None:
        """Ps shows what a worker is called, as far as there is room."""
        first, _ = await self.both()
        for title in ("smartproxy: session a1", "\u00e4" * 1000):
            await first.link.ask(Entitle, title=title)
            with open(f"/proc/{first.pid}/cmdline", "rb") as file:
                shown = file.read().rstrip(b"\0")
            self.assertTrue(title.encode().startswith(shown) and shown, shown)


class Secrets(FinishingCase):
    """What the supervisor knows when it forks."""

    secrets = (SECRET,)

    async def test_no_worker_has_them(self) -> None:
        """Where a secret was in a worker's memory is nothing to be read; the supervisor has it still."""
        for member in await self.both():
            told = (await member.link.ask(Recall))["secret"]
            self.assertEqual(told, "*" * len(told))
        self.assertEqual(SECRET.split("-"), ["not", "for", "workers"])


class Single(FinishingCase):
    """One session for each worker."""

    single = True

    def ready(self, member: CrewMember) -> None:
        """Part of ``CrewUser``."""
        self._carried({"name": "ready"})

    async def both(self, count: int = 2) -> tuple[CrewMember, ...]:
        """The workers, as soon as so many have been ready; no event tells of each."""
        await self.event("ready", count)
        self.assertEqual([each for each in self.told if each["name"] == "worker.started"], [])
        return self.crew.members

    async def test_one_each(self) -> None:
        """Two wait at all times, none is chosen twice, and one whose session is over ends without an event."""
        await self.both()
        chosen = [await self.crew.choose() for _ in range(3)]
        self.assertEqual(len({member.pid for member in chosen}), 3)
        await self.both(5)
        self.assertEqual([member.taken for member in self.crew.members].count(False), 2)
        await chosen[0].link.ask(Misbehave, session="a1")
        await chosen[0].link.ask(Finish, session="a1")
        while chosen[0].lost is None:
            await self.turn()
        self.assertNotIn(chosen[0], self.crew.members)
        self.assertEqual([each for each in self.told if each["name"] == "worker.died"], [])
        self.assertEqual(len(self.crew.members), 4)

    async def test_a_session_that_begins_is_left_alone(self) -> None:
        """The next process is made a moment after one was taken, and at once as soon as a session waits for one."""
        await self.both()
        self.patch(limits, "FILL_SECONDS", 1_000.0)
        await self.crew.choose()
        await self.turn()
        self.assertEqual(len(self.crew.condition()), 2)
        self.assertEqual(len(self.crew._members), 2)
        await self.crew.choose()
        await self.crew.choose()
        await self.both(5)
        self.patch(limits, "FILL_SECONDS", 0.0)
        await self.crew.choose()
        await self.both(6)
        self.assertEqual([member.taken for member in self.crew.members].count(False), 2)

    async def test_one_that_dies(self) -> None:
        """A worker that dies with its session is told of, and two wait afterwards."""
        await self.both()
        member = await self.crew.choose()
        await member.link.ask(Misbehave, session="a1")
        assert member.pid is not None
        os.kill(member.pid, signal.SIGKILL)
        self.assertEqual((await self.event("worker.died"))["sessions"], 1)
        await self.both(3)
        self.assertEqual([each.taken for each in self.crew.members], [False, False])

    async def turn(self) -> None:
        """Let the reactor have its turn."""
        waited: Any = await self.look()
        self.assertIsInstance(waited, list)
