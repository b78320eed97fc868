"""A client whose sessions run in workers, with the server and the backend as they are."""

import json
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.defer import Deferred

from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.testing.ports import held_port
from smartproxy.testing.programs import environment, finish
from smartproxy.testing.proxied import Ask, connect, socks
from smartproxy.testing.site import SMARTPROXY
from tests.process.lines import Session
from tests.process.memory import holds
from tests.process.sites import ACME, Log, SiteCase, reactor, until
from tests.process.test_outbound import OutboundCase

TWO = ("--drain", "2", "--workers", "2")


LEVELS = {20: "trace", 21: "debug", 22: "info", 23: "error", 24: "critical"}


def title_of(pid: int) -> str:
    """What ps shows of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0")


def gone(pid: int) -> bool:
    """Whether a process is no more, not even a zombie."""
    return not Path(f"/proc/{pid}").exists()


def ports_of(pid: int) -> set[int]:
    """The own ports of a process's TCP connections."""
    rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    ports = {f"socket:[{row[9]}]": int(row[1].rpartition(":")[2], 16) for row in rows}
    return {ports[found] for each in Path(f"/proc/{pid}/fd").iterdir() if (found := os.readlink(each)) in ports}


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

    async def waiting(self, count: int) -> list[int]:
        """The processes that wait for a session, once they are so many."""
        found: list[int] = []
        while len(found) != count:
            carried = (await self.carried()).values()
            found = [each["pid"] for each in (await self.ctl("status"))["workers"] if each["pid"] not in carried]
        return found

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
        await self.until_listed("client", ())

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
            self.assertEqual((await log.event("session.ended", session=each))["cause"], "worker.lost")
        for each in lost:
            self.assertEqual((await server.event("session.ended", session=each))["outcome"], "lost")
        self.assertEqual(sorted(await self.workers()), sorted((second, started["pid"])))
        await self.until_listed("client", [id for id, pid in carried.items() if pid == second])
        left = [each for each in sessions if not each.partner.transport.disconnected]
        for session in [*left, *await self.pairs(2)]:
            await session.file()
            await session.end()
        await self.until_listed("client", ())

    async def test_no_token(self) -> None:
        """The token is in the supervisor's memory, and in that of no worker, nor of what makes them."""
        assert self.site.client is not None
        token = (self.site.folder / "client" / "token").read_bytes().strip()
        self.assertGreater(len(token), 20)
        (worker, other) = await self.workers()
        if not holds(self.site.client.pid, token):
            self.skipTest("this user may not read the memory of processes")
        for pid in (worker, other, parent_of(worker)):
            self.assertFalse(holds(pid, token), pid)

    async def test_station_is_tried_by_a_worker(self) -> None:
        """What the station says to a test connection is heard by a worker, and not by the supervisor."""
        workers = await self.workers()
        trial = Deferred.fromCoroutine(self.site.smartproxy("test-station"))
        station = await self.station.line()
        assert self.site.client is not None
        port = station.transport.getPeer().port
        self.assertEqual([pid for pid in (self.site.client.pid, *workers) if port in ports_of(pid)], workers[:1])
        station.say(SSRM_BUFFER)
        self.assertTrue((await trial)["good"])
        await station.ended
        self.assertEqual([each["sessions"] for each in (await self.ctl("status"))["workers"]], [0, 0])

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
        await self.until_listed("client", [other])
        self.assertNotIn(f"session {traced}", (await self.ctl("level"))["levels"])


class OneEach(WorkersCase):
    """Every session in a process of its own."""

    client_switches: ClassVar[Sequence[str]] = ("--drain", "2", "--process-per-session", "--workers", "2")

    async def test_processes(self) -> None:
        """A process is named after its session and partner, and ends with it; two others wait for the next ones."""
        log = Log(self.site.client)
        sessions = await self.pairs(3)
        carried = await self.carried()
        self.assertEqual(len(set(carried.values())), 3)
        for session, pid in carried.items():
            self.assertEqual(title_of(pid), f"smartproxy-client: session {session} partner ACME")
        await self.waiting(2)
        for each in sessions:
            await each.file()
            await each.end()
        await self.ended()
        for pid in carried.values():
            await until(partial(gone, pid), f"the end of process {pid}")
        waiting = await self.waiting(2)
        self.assertEqual({title_of(each) for each in waiting}, {"smartproxy-client: ready for a session"})
        self.assertEqual(log.events("worker.died"), [])

    async def test_signals(self) -> None:
        """Signals 20 to 24 to a session's process set the level of its session alone, which ctl shows."""
        log = Log(self.site.client)
        sessions = await self.pairs(2)
        (traced, process), (other, _) = (await self.carried()).items()
        for number, level in LEVELS.items():
            os.kill(process, number)
            told = await log.event("level.changed", mode=level, session=traced)
            message = f"signal {number} to process {process}"
            self.assertEqual((told["cause"], told["message"]), ("operator.signal", message))
            self.assertEqual((await self.ctl("level"))["levels"][f"session {traced}"], level)
        os.kill(process, 20)
        while (await self.ctl("level"))["levels"][f"session {traced}"] != "trace":
            pass
        for session in sessions:
            await session.file()
        await log.event("session.command", session=traced, command="EFPA")
        self.assertEqual([each for each in log.events("session.command") if each["session"] == other], [])
        for session in sessions:
            await session.end()

    async def test_one_dies(self) -> None:
        """Kill -9 of a session's process ends that session alone."""
        log = Log(self.site.client)
        sessions = await self.pairs(3)
        carried = await self.carried()
        lost, process = next(iter(carried.items()))
        os.kill(process, signal.SIGKILL)
        self.assertEqual((await log.event("worker.died", pid=process))["sessions"], 1)
        ended = await log.event("session.ended", session=lost)
        self.assertEqual((ended["outcome"], ended["cause"], ended["partner"]), ("lost", "worker.lost", "ACME"))
        await Log(self.site.server, whole=True).event("session.ended", session=lost, outcome="lost")
        await self.until_listed("client", set(carried) - {lost})
        left = [each for each in sessions if not each.partner.transport.disconnected]
        self.assertEqual(len(left), 2)
        for session in [*left, *await self.pairs(1)]:
            await session.file()
            await session.end()


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
        await self.until_listed("client", ())
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
        await self.until_listed("client", ())


class OutboundOneEach(OutboundCase, WorkersCase):
    """Calls of the station, each in a process of its own."""

    client_switches: ClassVar[Sequence[str]] = OneEach.client_switches

    async def test_calls(self) -> None:
        """By port and by CONNECT a file crosses; who asks for nobody, or for nothing, keeps no process."""
        acme = await self.answering(self.made.acme, ACME)
        port = held_port()
        await self.outbound(
            "ACME", "--host", "127.0.0.1", "--port", str(acme.port), "--verify", "pin", "--listener", str(port)
        )
        await self.crosses(self.at(port), acme, ACME, 10)
        acme.inbox.contents.clear()
        await self.crosses(await self.through(connect("ACME")), acme, ACME, 20)
        self.assertTrue((await self.refusal(connect("NOBODY"))).startswith(b"HTTP/1.1 403 "))
        nothing = Ask(b"\x10\x00\x00\x17IODETTE", lambda octets: None)
        self.assertTrue((await self.refusal(nothing)).startswith(b"HTTP/1.1 400 "))
        self.assertEqual(len(await self.waiting(2)), len((await self.ctl("status"))["workers"]))
