"""Processes held to a share of a core each, so that others have room on the same cores.

On a machine with few cores, generator, station and daemons take each other's time, and more workers cannot bring more.
Held to a tenth of a core, workers leave room for all others, and what two of them reach together is seen. The kernel's
control groups (version 1) do it: a group of its own for each process, removed afterwards.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

GROUPS: Final = Path("/sys/fs/cgroup/cpu")
PERIOD_MICROSECONDS: Final = 20_000


def possible() -> bool:
    """Whether this machine lets us make control groups."""
    return os.access(GROUPS / "cgroup.procs", os.W_OK) and (GROUPS / "cpu.cfs_period_us").exists()


@contextmanager
def held(processes: Iterable[int], share: float) -> Iterator[None]:
    """Give each process at most a share of one core."""
    made = []
    try:
        for process in processes:
            group = GROUPS / f"smartproxy-bench-{process}"
            group.mkdir()
            made.append(group)
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (group / "cpu.cfs_quota_us").write_text(str(round(PERIOD_MICROSECONDS * share)))
            (group / "cgroup.procs").write_text(str(process))
        yield
    finally:
        for group in made:
            # A process that ended meanwhile has left its group.
            for left in (group / "cgroup.procs").read_text().split():
                with suppress(OSError):
                    (GROUPS / "cgroup.procs").write_text(left)
            group.rmdir()
