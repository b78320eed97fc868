"""What a process costs, as Linux counts it."""

import os
from pathlib import Path

from smartproxy.testing.programs import Program

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(program: Program | None) -> int:
    """Octets of memory that a process holds (resident set size)."""
    assert program is not None
    return int(Path(f"/proc/{program.pid}/statm").read_text().split()[1]) * PAGE
