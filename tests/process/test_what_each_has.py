"""What each process of the daemons has, and has not: the table of docs/trust.rst, on real daemons with workers."""

import os
from collections import Counter
from pathlib import Path

from tests.process.deaths import DAEMONS, DeathsCase, children, speaks
from tests.process.memory import holds

CANARY = b"QZ7VXWK-content-of-a-file"
HARMLESS = {"anon_inode", "pidfd", "/dev/null"}
"""What a reactor waits with, a zygote's children, and nothing."""
ACCEPTS = "00010000"
"""A socket that listens, in /proc/net/unix."""


def opened(pid: int) -> Counter[str]:
    """What the descriptors of a process are: ``socket``, ``pipe``, or the path of a file."""
    return Counter(os.readlink(each).partition(":")[0] for each in Path(f"/proc/{pid}/fd").iterdir())


def held(pid: int) -> set[str]:
    """The sockets of a process, by their inodes."""
    return {os.readlink(each)[len("socket:[") : -1] for each in Path(f"/proc/{pid}/fd").iterdir()}


def inets(pid: int) -> dict[str, set[int]]:
    """The local ports of the TCP sockets of a process: of those that listen, and of those that are connected."""
    found: dict[str, set[int]] = {"listening": set(), "connected": set()}
    for name in ("tcp", "tcp6"):
        for row in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *more = row.split()
            if more[5] in held(pid):
                found["listening" if state == "0A" else "connected"].add(int(local.rpartition(":")[2], 16))
    return found


class WhatEachHas(DeathsCase):
    """A server and a client with two workers, and a session with a file."""

    async def begin(self) -> None:
        """Open the session; know the processes."""
        await super().begin()
        self.running = await self.session(self.acme)
        await self.running.file(CANARY * 1000)
        self.zygotes = {daemon: children(self.program(daemon).pid)[0] for daemon in DAEMONS}
        self.crews = {daemon: await self.workers(daemon) for daemon in DAEMONS}

    async def test_no_octet_comes_to_a_supervisor(self) -> None:
        """Neither supervisor has a connection of a session, nor what it carries; the worker that carries it has."""
        for daemon, port in (("server", self.site.port), ("client", self.station.port)):
            (worker,) = [pid for pid, sessions in self.crews[daemon].items() if sessions]
            self.assertTrue(speaks(worker, port), daemon)
            self.assertFalse(speaks(self.program(daemon).pid, port), daemon)
            if holds(self.program(daemon).pid, daemon.encode()):
                self.assertFalse(holds(self.program(daemon).pid, CANARY * 2), daemon)

    async def test_a_zygote_has_nothing(self) -> None:
        """A zygote has one connection, to its supervisor, and its children: no port, no file, nobody's octets."""
        for daemon, zygote in self.zygotes.items():
            self.assertEqual(opened(zygote)["socket"], 1, daemon)
            self.assertEqual(set(opened(zygote)) - {"socket", "pipe"} - HARMLESS, set(), daemon)
            self.assertEqual(inets(zygote), {"listening": set(), "connected": set()}, daemon)
            self.assertFalse(holds(zygote, CANARY), daemon)
            self.assertEqual(set(children(zygote)), set(self.crews[daemon]), daemon)

    async def test_a_worker_has_no_file_and_no_port(self) -> None:
        """A worker of either daemon has connections, and nothing that it could listen on or write into."""
        for daemon in DAEMONS:
            self.assertNotEqual(inets(self.program(daemon).pid)["connected"], set())
            for pid in self.crews[daemon]:
                self.assertEqual(set(opened(pid)) - {"socket", "pipe"} - HARMLESS, set(), daemon)
                self.assertEqual(inets(pid)["listening"], set(), daemon)
                self.assertEqual(self.limit(pid, "Max file size"), "0", daemon)
                self.assertEqual(self.limit(pid, "Max data size"), str(4 * 1024**3), daemon)

    async def test_every_process_gave_up_the_same(self) -> None:
        """No process of a daemon can gain privileges, leave a core dump, or be read by another one of its user."""
        for daemon in DAEMONS:
            for pid in (self.program(daemon).pid, self.zygotes[daemon], *self.crews[daemon]):
                self.assertIn("NoNewPrivs:\t1", Path(f"/proc/{pid}/status").read_text("ascii"), daemon)
                self.assertEqual(self.limit(pid, "Max core file size"), "0", daemon)

    async def test_the_control_socket_is_the_supervisors(self) -> None:
        """Of all processes the supervisor alone listens for operators."""
        for daemon in DAEMONS:
            rows = [row.split() for row in Path("/proc/net/unix").read_text().splitlines()]
            listening = {row[6] for row in rows if row[3] == ACCEPTS}
            self.assertNotEqual(held(self.program(daemon).pid) & listening, set(), daemon)
            for pid in (self.zygotes[daemon], *self.crews[daemon]):
                self.assertEqual(held(pid) & listening, set(), daemon)

    def limit(self, pid: int, name: str) -> str:
        """A limit of a process that it cannot raise again."""
        rows = Path(f"/proc/{pid}/limits").read_text("ascii").splitlines()
        row = next(line for line in rows if line.startswith(name))
        soft, hard = row.removeprefix(name).split()[:2]
        self.assertEqual(soft, hard)
        return hard
