"""A client whose sessions run in workers, with the server and the backend as they are."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from smartproxy.oftp2.errors import EsidReason
from smartproxy.testing.programs import environment, finish
from smartproxy.testing.proxied import connect, socks
from smartproxy.testing.site import SMARTPROXY
from tests.process.lines import Session
from tests.process.ports import held_port
from tests.process.sites import ACME, Log, SiteCase, reactor
from tests.process.test_outbound import OutboundCase

TWO = ("--drain", "2", "--workers", "2")


def parent_of(pid: int) -> int:
    """A process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class WorkersCase(SiteCase):
    """A client with two workers."""

    client_switches: ClassVar[Sequence[str]] = TWO

    async def ctl(self, *words: str) -> Any:
        """What the client answers an operator."""
        argv = [*SMARTPROXY, "ctl", *words, "--json", "--state-dir", str(self.site.folder / "client")]
        done = await finish(reactor, argv, self.site.folder, environment())
        self.assertEqual(done.status, 0, done.out + done.err)
        return json.loads(done.out)

    async def workers(self) -> list[int]:
        """The processes of the workers, once there are two."""
        found: list[int] = []
        while len(found) != 2:
            found = [each["pid"] for each in (await self.ctl("status"))["workers"]]
        return found

    async def carried(self) -> dict[str, int]:
        """The process of each session that the client has."""
        return {each["session"]: each["pid"] for each in (await self.ctl("sessions"))["sessions"]}

    async def pairs(self, count: int) -> list[Session]:
        """So many sessions, one after the other."""
        return [await self.session(self.acme) for _ in range(count)]


class Inbound(WorkersCase):
    """Sessions that partners begin."""

    async def test_both_carry(self) -> None:
        """Ten sessions run in both workers, which are no other than ps shows; octets arrive; all ends in order."""
        workers = await self.workers()
        sessions = await self.pairs(10)
        carried = await self.carried()
        self.assertEqual(sorted(list(carried.values()).count(each) for each in workers), [5, 5])
        assert self.site.client is not None
        zygotes = {parent_of(each) for each in workers}
        self.assertEqual({parent_of(each) for each in zygotes}, {self.site.client.pid})
        told = {each["pid"]: each["sessions"] for each in (await self.ctl("status"))["workers"]}
        self.assertEqual(told, dict.fromkeys(workers, 5))
        for session in sessions:
            await session.file()
            await session.end()
        await self.ended()
        self.assertEqual(await self.carried(), {})

    async def test_one_dies(self) -> None:
        """Kill -9 of a worker ends its sessions and no other; the server tells their partners; a new one is there."""
        log, server = Log(self.site.client), Log(self.site.server)
        first, second = await self.workers()
        sessions = await self.pairs(4)
        carried = await self.carried()
        os.kill(first, signal.SIGKILL)
        died = await log.event("worker.died", pid=first)
        self.assertEqual((died["level"], died["sessions"], died["cause"]), ("critical", 2, "worker.signal"))
        started = await log.event("worker.started")
        lost = [session for session, pid in carried.items() if pid == first]
        for each in lost:
            self.assertEqual((await server.event("session.ended", session=each))["outcome"], "lost")
        self.assertEqual(sorted(await self.workers()), sorted((second, started["pid"])))
        self.assertEqual(await self.carried(), {id: pid for id, pid in carried.items() if pid == second})
        left = [each for each in sessions if not each.partner.transport.disconnected]
        for session in [*left, *await self.pairs(2)]:
            await session.file()
            await session.end()
        self.assertEqual((await self.ctl("status"))["sessions"], 0)

    async def test_levels_and_kill(self) -> None:
        """One session is traced and ended by its id, whichever worker has it; the others are not."""
        log = Log(self.site.client)
        sessions = await self.pairs(2)
        traced, other = await self.carried()
        await self.ctl("level", "trace", "--session", traced)
        for session in sessions:
            await session.file()
        await log.event("session.command", session=traced, command="EFPA")
        self.assertEqual([each for each in log.events("session.command") if each["session"] == other], [])
        await self.ctl("kill", traced)
        ended = await log.event("session.ended", session=traced)
        self.assertEqual((ended["outcome"], ended["cause"]), ("stopped", "session.killed"))
        self.assertEqual(list(await self.carried()), [other])
        self.assertNotIn(f"session {traced}", (await self.ctl("level"))["levels"])


class Outbound(OutboundCase, WorkersCase):
    """Calls of the station."""

    client_switches: ClassVar[Sequence[str]] = TWO

    async def test_ways(self) -> None:
        """By port, by CONNECT and by SOCKS: a file crosses each way, and the partner's greeting comes to each."""
        acme = await self.answering(self.made.acme, ACME)
        port = held_port()
        await self.outbound(
            "ACME", "--host", "127.0.0.1", "--port", str(acme.port), "--verify", "pin", "--listener", str(port)
        )
        await self.crosses(self.at(port), acme, ACME, 10)
        for number, ask in enumerate((connect("ACME"), socks("127.0.0.1", acme.port)), start=2):
            acme.inbox.contents.clear()
            await self.crosses(await self.through(ask), acme, ACME, number * 10)
        self.assertEqual(await self.carried(), {})
        await self.site.smartproxy("test-partner", "ACME")

    async def test_refused(self) -> None:
        """A partner that is not reached: each way has its own words, and no place is kept."""
        gone, port = held_port(), held_port()
        await self.outbound(
            "ACME", "--host", "127.0.0.1", "--port", str(gone), "--verify", "pin", "--listener", str(port)
        )
        self.assertTrue((await self.refusal(connect("ACME"))).startswith(b"HTTP/1.1 502 "))
        self.assertTrue((await self.refusal(connect("NOBODY"))).startswith(b"HTTP/1.1 403 "))
        outcome = await self.call(self.at(port), ACME)
        assert outcome.ended is not None
        self.assertEqual(outcome.ended.reason, EsidReason.RESOURCES_NOT_AVAILABLE)
        told = await self.client_log.event("session.refused", direction="outbound")
        self.assertEqual((told["partner"], told["cause"]), ("ACME", "call.refused"))
        await self.client_log.event("outbound.refused", partner="ACME", way="http-connect")
        self.assertEqual((await self.ctl("status"))["sessions"], 0)
