"""The load of a daemon: how it is measured, and how what is told of it is judged."""

import os
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.load import MEASURED_SECONDS, WORKERS_LOOKED_AT_MOST, LoadMeter, cpu_of
from smartproxy.policy import loads
from smartproxy.policy.loads import ServerLoad, ToldLoad
from smartproxy.policy.schema import read_object
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.tunnel.vocabulary import Ping

WORKER = 7_000_001


class Measured(SynchronousTestCase):
    """The meter, with processes of its own."""

    def setUp(self) -> None:
        """One process that has done nothing yet, and no worker."""
        self.clock = Clock()
        self.spent = 0.0
        self.workers: dict[int, float] = {}
        self.proc = Path(self.mktemp())
        self.shows(os.getpid(), 512)
        self.meter = LoadMeter(
            self.clock, lambda: list(self.workers), cpu=lambda: self.spent, others=self.spent_by, proc=self.proc
        )

    def spent_by(self, pid: int) -> float:
        """The processor time of a worker."""
        if self.workers[pid] < 0:
            raise ProcessLookupError
        return self.workers[pid]

    def shows(self, pid: int, pages: int) -> None:
        """Have the kernel show how much a process has in memory."""
        (self.proc / str(pid)).mkdir(parents=True, exist_ok=True)
        (self.proc / str(pid) / "statm").write_text(f"9999 {pages} 3 4", encoding="ascii")

    def test_share(self) -> None:
        """The share of a processor is that of all processes since the last measure; a worker that ended is left out."""
        self.assertIsNone(self.meter.told().cpu)
        self.spent, self.workers[WORKER] = 1.0, 9.0
        self.clock.advance(10)
        self.assertEqual(self.meter.told().cpu, 100)
        self.spent = 2.0
        self.clock.advance(MEASURED_SECONDS - 1)
        self.assertEqual(self.meter.told().cpu, 100)
        self.workers[WORKER] = 10.0
        self.clock.advance(1)
        self.assertEqual(self.meter.told().cpu, 40)
        self.workers[WORKER] = -1
        self.clock.advance(10)
        self.assertEqual(self.meter.told().cpu, 0)

    def test_memory(self) -> None:
        """Memory is that of all processes, and not known where one of them is not shown, or where there are many."""
        mib = os.sysconf("SC_PAGE_SIZE") * 512 // 2**20
        self.assertEqual(self.meter.told().memory, mib)
        self.workers[WORKER] = 0.0
        self.shows(WORKER, 1024)
        self.clock.advance(10)
        self.assertEqual(self.meter.told().memory, os.sysconf("SC_PAGE_SIZE") * 1536 // 2**20)
        self.workers[WORKER + 1] = 0.0
        self.clock.advance(10)
        self.assertIsNone(self.meter.told().memory)
        self.workers = dict.fromkeys(range(WORKER, WORKER + WORKERS_LOOKED_AT_MOST), 0.0)
        for pid in self.workers:
            self.shows(pid, 1)
        self.clock.advance(10)
        self.assertIsNone(self.meter.told().memory)

    def test_sessions(self) -> None:
        """Sessions are told as they are, and never more than anybody takes."""
        told = self.meter.told(3, loads.SESSIONS_MOST + 1)
        self.assertEqual((told.sessions, told.sessions_most), (3, loads.SESSIONS_MOST))

    def test_another_process(self) -> None:
        """The processor time of a process is that which it tells itself; one that is not there is told."""
        self.assertGreater(cpu_of(os.getpid()), 0)
        self.assertRaises(OSError, cpu_of, 2**22 + 1)


class Judged(SynchronousTestCase):
    """What a server tells."""

    def test_pings(self) -> None:
        """Each number may be missing; one that is none, negative or too large is refused."""
        self.assertEqual(ToldLoad(**Ping.parseArguments({}, None)), ToldLoad())
        good = {b"cpu": b"12", b"sessions": b"3"}
        self.assertEqual(ToldLoad(**Ping.parseArguments(good, None)), ToldLoad(cpu=12, sessions=3))
        for name, octets in (
            (b"cpu", b"%d" % (loads.CPU_MOST + 1)),
            (b"memory", b"%d" % (loads.MEMORY_MOST + 1)),
            (b"sessions", b"-1"),
            (b"sessions", b"\xd9\xa1"),
            (b"sessions_most", b""),
            (b"memory", b"1.5"),
        ):
            self.assertRaises(ValueError, Ping.parseArguments, {name: octets}, None)

    def test_documents(self) -> None:
        """The backend judges the same once more."""
        for wrong in (
            {"cpu": loads.CPU_MOST + 1},
            {"memory": -1},
            {"sessions": "3"},
            {"sessions_most": True},
            {"x": 1},
        ):
            self.assertRaises(DocumentRefused, read_object, ToldLoad, wrong)
        self.assertRaises(DocumentRefused, read_object, ServerLoad, {"proxy_id": "<b>", "load": {}})
