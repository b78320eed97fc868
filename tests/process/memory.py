"""What a process costs, as Linux counts it."""

import contextlib
import os
import re
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


def private(pid: int) -> int:
    """Octets of memory that a process shares with no other one."""
    found = re.findall(r"^Private_\w+: +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text("ascii"), re.MULTILINE)
    return sum(map(int, found)) * 1024


def holds(pid: int, octets: bytes) -> bool:
    """Whether octets are in the memory of a process that nobody else can write; not if this user may not read it."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights, *_ = line.split()
            if rights.startswith("rw") and "[v" not in line:
                begin, end = (int(each, 16) for each in place.split("-"))
                memory.seek(begin)
                if octets in (memory.read(end - begin) or b""):
                    return True
    return False
