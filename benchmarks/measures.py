"""What processes use, read from /proc, and the load that makes them use it.

CPU time is what the kernel's clock of each process says, threads and ended children of a tree of processes included as
far as they still run; memory is the resident set. Where processes come and go while they are measured, the time is what
the kernel counts of each process and of its children that ended, in hundredths of a second, and memory that processes
share counts once.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from smartproxy.testing.pki import CredentialFiles

LOAD_SECONDS: Final = 600.0
"""More than any load takes."""


def tree(roots: Iterable[int]) -> list[int]:
    """The processes and all their descendants."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found, left = [], list(roots)
    while left:
        process = left.pop()
        found.append(process)
        left += children.get(process, [])
    return found


def cpu_seconds(processes: Iterable[int]) -> float:
    """The CPU time of processes so far."""
    spent = 0.0
    for process in processes:
        with suppress(OSError):
            # The number of the CPU clock of another process, as clock_getcpuclockid(3) makes it.
            spent += time.clock_gettime((~process << 3) | 2)
    return spent


def counted_seconds(processes: Iterable[int]) -> float:
    """The CPU time of processes so far, and of their children that ended."""
    ticks = 0
    for process in processes:
        with suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_kib(processes: Iterable[int], kind: str = "Rss") -> int:
    """The resident set of processes; with the kind ``Pss``, what several share counts once."""
    found = 0
    for process in processes:
        with suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith(f"{kind}:"):
                    found += int(line.split()[1])
    return found


@attrs.define
class Proxy:
    """Two hops that run.

    :ivar port: where partners connect; ``None`` is the station itself.
    :ivar outer: what the processes of the outer hop descend from.
    :ivar inner: the same of the inner hop.
    :ivar several: whether a hop is several processes, which may come and go.
    """

    name: str
    port: int
    outer: int | None
    inner: int | None
    several: bool = False
    _outer_tree: list[int] = attrs.field(factory=list)
    _inner_tree: list[int] = attrs.field(factory=list)

    def look(self) -> None:
        """Find the processes; none come and go while one is measured."""
        self._outer_tree = [] if self.outer is None else tree([self.outer])
        self._inner_tree = [] if self.inner is None else tree([self.inner])

    def workers(self) -> list[int]:
        """The processes of the outer hop that carry sessions, where there are such: children of its only child."""
        return self._carriers(self.outer)

    def all_workers(self) -> list[int]:
        """Those of both hops."""
        return self._carriers(self.outer) + self._carriers(self.inner)

    def _carriers(self, hop: int | None) -> list[int]:
        return tree([hop])[2:] if self.several and hop is not None else []

    def cpu(self) -> tuple[float, float]:
        """CPU seconds of the outer and the inner hop."""
        if self.several:
            self.look()
            return counted_seconds(self._outer_tree), counted_seconds(self._inner_tree)
        return cpu_seconds(self._outer_tree), cpu_seconds(self._inner_tree)

    def resident(self) -> tuple[int, int]:
        """KiB of the outer and the inner hop."""
        if self.several:
            self.look()
            return resident_kib(self._outer_tree, "Pss"), resident_kib(self._inner_tree, "Pss")
        return resident_kib(self._outer_tree), resident_kib(self._inner_tree)


class LoadFailed(Exception):
    """The generator had no result, or sessions failed; the message says what it said."""


@attrs.frozen(kw_only=True)
class Load:
    """The generator.

    :ivar program: the path of ``sessions``.
    :ivar partner: what partners show.
    :ivar station_port: where the station listens.
    """

    program: Path
    partner: CredentialFiles
    station_port: int

    def station(self, **options: Any) -> "subprocess.Popen[bytes]":
        """Start a station; whoever asks for it ends it."""
        station = subprocess.Popen([self.program, "station", "--port", str(self.station_port), *switches(options)])
        for _ in range(200):
            with suppress(OSError):
                listening = Path("/proc/net/tcp").read_text()
                if f":{self.station_port:04X} 00000000:0000 0A" in listening:
                    return station
            time.sleep(0.02)
        station.kill()
        raise LoadFailed("the station does not listen")

    def partners(self, proxy: Proxy, **options: Any) -> list[str]:
        """The command line of partners who call a proxy, or the station itself."""
        argv = [str(self.program), "partners", "--port", str(proxy.port)]
        if proxy.outer is None:
            argv.append("--plain")
        else:
            argv += ["--certificate", str(self.partner.certificate), "--key", str(self.partner.key)]
        return argv + switches(options)

    def run(self, proxy: Proxy, settle: float, **options: Any) -> dict[str, float]:
        """Have partners call; what they measured, with the CPU seconds of both hops.

        :param settle: seconds after the last session that still count, since its events are on their way.
        :raises LoadFailed: if a session fails.
        """
        before = proxy.cpu()
        process = self._start(proxy, options)
        out, err = process.communicate(timeout=LOAD_SECONDS)
        time.sleep(settle)
        return {**self._result(out, err), **_spent(before, proxy.cpu())}

    def run_together(
        self, proxy: Proxy, warm: float, seconds: float, before: Callable[[int], None], **options: Any
    ) -> dict[str, float]:
        """Have partners open their sessions first, and then send all at once.

        Octets and CPU seconds are those of *seconds* in the middle: no session begins or ends in them.

        :param warm: seconds before these, in which all sessions begin their files.
        :param before: called when all sessions are open and before any of them sends.
        :raises LoadFailed: if a session fails.
        """
        process = self._start(proxy, {**options, "together": True, "seconds": warm + seconds + 1})
        assert process.stdin is not None and process.stdout is not None
        looks: list[tuple[int, tuple[float, float]]] = []
        words = process.stdout.readline().split()
        if len(words) == 2 and words[0] == "resting":
            before(int(words[1]))
            for wait in (0, warm, seconds):
                time.sleep(wait)
                process.stdin.write("\n")
                process.stdin.flush()
                if wait:
                    cpu = proxy.cpu()
                    looks.append((int(process.stdout.readline().split()[1]), cpu))
        out, err = process.communicate(timeout=LOAD_SECONDS)
        result = self._result(out, err)
        return {**result, "octets": looks[1][0] - looks[0][0], **_spent(looks[0][1], looks[1][1])}

    def _start(self, proxy: Proxy, options: dict[str, Any]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.partners(proxy, **options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def rest(self, proxy: Proxy, while_resting: Callable[[], None], **options: Any) -> int:
        """Have partners open sessions and rest; do something meanwhile; how many sessions there were."""
        process = self._start(proxy, {**options, "idle": True})
        assert process.stdout is not None
        words = process.stdout.readline().split()
        try:
            if len(words) == 2 and words[0] == "resting":
                while_resting()
        finally:
            out, err = process.communicate(timeout=LOAD_SECONDS)
        return int(self._result(out, err)["resting"])

    def survivors(self, proxy: Proxy, while_resting: Callable[[], None], **options: Any) -> int:
        """Do the same; how many sessions came to their end in order."""
        process = self._start(proxy, {**options, "idle": True})
        assert process.stdout is not None
        resting = int(process.stdout.readline().split()[1])
        try:
            while_resting()
        finally:
            out, _ = process.communicate(timeout=LOAD_SECONDS)
        return resting - int(json.loads(out.splitlines()[-1])["failed"])

    @staticmethod
    def _result(out: str, err: str) -> dict[str, float]:
        try:
            result: dict[str, float] = json.loads(out.splitlines()[-1])
        except (IndexError, ValueError):
            raise LoadFailed(err.strip()[-500:] or "no result") from None
        if result["failed"]:
            raise LoadFailed(f"{result['failed']} sessions failed: {err.strip()[-500:]}")
        return result


def _spent(before: tuple[float, float], after: tuple[float, float]) -> dict[str, float]:
    return {"outer": after[0] - before[0], "inner": after[1] - before[1]}


def switches(options: dict[str, Any]) -> list[str]:
    """The generator's switches."""
    found: list[str] = []
    for name, value in options.items():
        if value is True:
            found.append(f"--{name}")
        elif value is not None and value is not False:
            found += [f"--{name}", str(value)]
    return found
