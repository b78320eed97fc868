"""What processes use, read from /proc, and the load that makes them use it.

CPU time is what the kernel's clock of each process says, threads and ended children of a tree of processes included as
far as they still run; memory is the resident set.
"""

import json
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


def resident_kib(processes: Iterable[int]) -> int:
    """The resident set of processes."""
    found = 0
    for process in processes:
        with suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    found += int(line.split()[1])
    return found


@attrs.define
class Proxy:
    """Two hops that run.

    :ivar port: where partners connect; ``None`` is the station itself.
    :ivar outer: what the processes of the outer hop descend from.
    :ivar inner: the same of the inner hop.
    """

    name: str
    port: int
    outer: int | None
    inner: int | None
    _outer_tree: list[int] = attrs.field(factory=list)
    _inner_tree: list[int] = attrs.field(factory=list)

    def look(self) -> None:
        """Find the processes; none come and go while one is measured."""
        self._outer_tree = [] if self.outer is None else tree([self.outer])
        self._inner_tree = [] if self.inner is None else tree([self.inner])

    def cpu(self) -> tuple[float, float]:
        """CPU seconds of the outer and the inner hop."""
        return cpu_seconds(self._outer_tree), cpu_seconds(self._inner_tree)

    def resident(self) -> tuple[int, int]:
        """KiB of the outer and the inner hop."""
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
