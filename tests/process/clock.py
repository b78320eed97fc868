"""What tests of whole daemons know of time.

A test waits for what happens, and the runner's limit is the only clock that ends it. Where a document promises a
figure, the figure is judged on the time that daemons took: what they waited for a processor that other programs had is
taken off, so that a busy machine refutes no promise and a quiet one is measured exactly.
"""

import contextlib
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor

from smartproxy.testing.programs import Program
from tests.process.memory import family

reactor: Any = installed_reactor

LIMIT_SECONDS = 900
"""The runner's limit for one test: many times what the longest takes on a quiet machine."""
LOOK_SECONDS = 0.02
"""How often it is looked how long daemons waited for a processor."""
PATIENCE_SECONDS = 720.0
"""How long any one thing is waited for: below the limit, so that the failure says what did not happen."""


def worked(pid: int) -> float:
    """Seconds that a process had a processor (clock_getcpuclockid(3)): as many, whatever else there is to do."""
    return time.clock_gettime(~pid << 3 | 2)


def queued(pid: int) -> float:
    """Seconds that the threads of a daemon and its workers were ready to run and had no processor (proc(5), schedstat).

    Of our own process, those of the thread that tests run in. Of one that has ended, and where Linux tells nothing, 0.
    """
    seconds = 0.0
    ours = pid == os.getpid()
    for each in [pid] if ours else family(pid):
        for path in Path(f"/proc/{each}/task").glob(f"{each if ours else '*'}/schedstat"):
            with contextlib.suppress(OSError, IndexError):
                seconds += int(path.read_text(encoding="ascii").split()[1]) / 1e9
    return seconds


def _look_on(watch: "weakref.ref[Stopwatch]") -> None:
    pause = threading.Event()
    while (found := watch()) is not None and found.look():
        del found
        pause.wait(LOOK_SECONDS)


class Stopwatch:
    """Measures from its making on.

    What a daemon waited for is looked up again and again, because it is gone when the daemon has ended.

    :param programs: the daemons whose promise is judged; the test's own process counts as well.
    """

    def __init__(self, *programs: Program | None) -> None:
        pids = [os.getpid(), *(each.pid for each in programs if each is not None and each.status is None)]
        self._before = {pid: queued(pid) for pid in pids}
        self._latest = dict(self._before)
        self._begun: float = reactor.seconds()
        threading.Thread(target=_look_on, args=(weakref.ref(self),), daemon=True).start()

    def look(self) -> bool:
        """Note what the processes have waited for until now; whether there is one of them still, beside our own."""
        found = {pid: queued(pid) for pid in list(self._before)}
        for pid, seconds in found.items():
            self._latest[pid] = max(seconds, self._latest.get(pid, 0.0))
        return any(seconds for pid, seconds in found.items() if pid != os.getpid())

    def watch(self, program: Program | None) -> None:
        """Judge a daemon, too, that was started since."""
        assert program is not None
        self._before[program.pid] = 0.0

    def passed(self) -> float:
        """The seconds since then, by the clock on the wall: for what may not come too early."""
        passed: float = reactor.seconds() - self._begun
        return passed

    def seconds(self) -> float:
        """The seconds since then, without those in which a process waited for a processor."""
        self.look()
        waited = sum(self._latest[pid] - before for pid, before in self._before.items())
        return max(0.0, self.passed() - waited)
