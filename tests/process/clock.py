"""What tests of whole daemons know of time.

A test waits for what happens, and the runner's limit is the only clock that ends it. Where a document promises a
figure, the figure is judged on the time that daemons took: what they waited for a processor that other programs had is
taken off, so that a busy machine refutes no promise and a quiet one is measured exactly.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor

from smartproxy.testing.programs import Program

reactor: Any = installed_reactor

LIMIT_SECONDS = 900
"""The runner's limit for one test: many times what the longest takes on a quiet machine."""
PATIENCE_SECONDS = 720.0
"""How long any one thing is waited for: below the limit, so that the failure says what did not happen."""


def _queued(pid: int) -> float:
    """The seconds that the threads of a process were ready to run and had no processor (proc(5), schedstat).

    One that has ended counts no more; where Linux tells nothing, it is 0.
    """
    seconds = 0.0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, IndexError):
            seconds += int(path.read_text(encoding="ascii").split()[1]) / 1e9
    return seconds


class Stopwatch:
    """Measures from its making on.

    :param programs: the daemons whose promise is judged; the test's own process counts as well.
    """

    def __init__(self, *programs: Program | None) -> None:
        pids = [os.getpid(), *(each.pid for each in programs if each is not None and each.status is None)]
        self._queued = {pid: _queued(pid) for pid in pids}
        self._begun: float = reactor.seconds()

    def watch(self, program: Program | None) -> None:
        """Judge a daemon, too, that was started since."""
        assert program is not None
        self._queued[program.pid] = 0.0

    def passed(self) -> float:
        """The seconds since then, by the clock on the wall: for what may not come too early."""
        passed: float = reactor.seconds() - self._begun
        return passed

    def seconds(self) -> float:
        """The seconds since then, without those in which a process waited for a processor."""
        waited = sum(max(0.0, _queued(pid) - before) for pid, before in self._queued.items())
        return max(0.0, self.passed() - waited)
