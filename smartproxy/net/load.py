"""How much processor and memory the processes of a daemon take.

Duty: measure this process and its workers, not more often than every few seconds, whoever asks. The processor's time
of a worker is read from its clock (clock_getcpuclockid(3)), which needs no ``/proc``; its memory is not known where
``/proc`` does not show it. What a worker did since the last look before it ended is not counted.
"""

import os
import resource
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from twisted.internet.interfaces import IReactorTime

from smartproxy.policy import loads
from smartproxy.policy.loads import ToldLoad

MEASURED_SECONDS: Final = 5.0
"""A figure is as old as this at most when it is told again."""
WORKERS_LOOKED_AT_MOST: Final = 64
"""Of more workers, the memory is not looked at: each takes a file."""
_PAGE: Final = resource.getpagesize()
_MIB: Final = 2**20


def cpu_of(pid: int) -> float:
    """The seconds of processor time that another process has taken.

    :raises OSError: when it is not there.
    """
    # The number of another process's clock, as the C library makes it: CPUCLOCK_SCHED.
    return time.clock_gettime(~pid << 3 | 2)


class LoadMeter:
    """Measures a daemon.

    :param clock: tells how much time has passed.
    :param workers: its other processes.
    :param cpu: the processor time of this process, in seconds.
    :param others: the processor time of another process; raises ``OSError`` when it is not there.
    :param proc: where the kernel tells of processes.
    """

    def __init__(
        self,
        clock: IReactorTime,
        workers: Callable[[], Iterable[int]] = tuple,
        *,
        cpu: Callable[[], float] = time.process_time,
        others: Callable[[int], float] = cpu_of,
        proc: Path = Path("/proc"),
    ) -> None:
        self._clock = clock
        self._workers = workers
        self._cpu = cpu
        self._others = others
        self._proc = proc
        self._at = clock.seconds()
        self._spent = self._spent_by_now()
        self._told = ToldLoad(memory=self._memory())

    def told(self, sessions: int | None = None, sessions_most: int | None = None) -> ToldLoad:
        """The load, with the sessions that run of those that may."""
        now = self._clock.seconds()
        if now - self._at >= MEASURED_SECONDS:
            self._measure(now)
        return ToldLoad(
            cpu=self._told.cpu,
            memory=self._told.memory,
            sessions=_bounded(sessions, loads.SESSIONS_MOST),
            sessions_most=_bounded(sessions_most, loads.SESSIONS_MOST),
        )

    def _measure(self, now: float) -> None:
        spent = self._spent_by_now()
        seconds = sum(max(0.0, each - self._spent.get(pid, 0.0)) for pid, each in spent.items())
        share = round(100 * seconds / (now - self._at))
        self._spent, self._at = spent, now
        self._told = ToldLoad(cpu=_bounded(share, loads.CPU_MOST), memory=self._memory())

    def _spent_by_now(self) -> dict[int, float]:
        """The processor time of each process; of a worker that is new since the last look, all of it counts."""
        found = {os.getpid(): self._cpu()}
        for pid in self._workers():
            try:
                found[pid] = self._others(pid)
            except OSError:
                continue
        return found

    def _memory(self) -> int | None:
        """MiB of all processes; nothing where one is not shown."""
        pids = [os.getpid(), *self._workers()]
        if len(pids) > WORKERS_LOOKED_AT_MOST:
            return None
        try:
            pages = [int((self._proc / str(pid) / "statm").read_text("ascii").split()[1]) for pid in pids]
        except (OSError, ValueError, IndexError):
            return None
        return _bounded(sum(pages) * _PAGE // _MIB, loads.MEMORY_MOST)


def _bounded(value: int | None, most: int) -> int | None:
    return None if value is None else min(value, most)
