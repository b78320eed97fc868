"""What a process costs, as Linux counts it."""

import contextlib
import os
from pathlib import Path

from smartproxy.testing.programs import Program

PAGE = os.sysconf("SC_PAGE_SIZE")


def family(pid: int) -> list[int]:
    """A process and all that came of it: a daemon with its workers."""
    found = [pid]
    for each in found:
        for path in Path(f"/proc/{each}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, path.read_text("ascii").split())
    return found


def resident(program: Program | None) -> int:
    """Octets of memory that a process holds (resident set size)."""
    assert program is not None
    return int(Path(f"/proc/{program.pid}/statm").read_text().split()[1]) * PAGE
