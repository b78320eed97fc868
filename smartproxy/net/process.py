"""What a daemon's process asks of the system for itself: fewer rights, more descriptors, garbage looked for seldom.

Duty: before any key material is in memory a process gives up core dumps, tracing and new privileges, and raises the
limit of open files as far as the system allows. A step that the system does not allow is returned, and stops nothing.
"""

import contextlib
import ctypes
import gc
import math
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

from smartproxy.logs.emit import Events
from smartproxy.net.transport.memory import c_library
from smartproxy.policy.limits import DESCRIPTORS_LEAST

COLLECTED_FROM = 10_000
"""Objects that are made before garbage among them is looked for; they take one or two megabytes."""

PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
ENDLESS = 2**31
"""Stands for "no limit"."""


def harden() -> dict[str, str]:
    """Take every hardening step; return those that failed, each with its cause."""
    return dict(_failures())


def take_descriptors() -> int:
    """Raise the limit of open files and connections as far as the system allows; return the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return descriptors()


def descriptors() -> int:
    """The limit of open files and connections."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ENDLESS if soft == resource.RLIM_INFINITY else soft


def tell_few_descriptors(events: Events, allowed: int, most: int) -> None:
    """Emit ``daemon.few_descriptors`` if the system allows fewer open files than the limits need.

    :param most: how many those need.
    """
    if allowed < most:
        events.emit(
            "daemon.few_descriptors",
            value=allowed,
            most=most,
            advice="raise the hard limit of open files (ulimit -Hn, or LimitNOFILE= in the unit)",
        )


class DescriptorWatch:
    """Tells, once for each number, that the configured limits need more open files than the system allows.

    What a daemon needs without a configuration is looked at when it starts.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._most = DESCRIPTORS_LEAST

    def adopt(self, most: int) -> None:
        """Judge what the limits of a generation need."""
        before, self._most = self._most, most
        if most != before and most > DESCRIPTORS_LEAST:
            tell_few_descriptors(self._events, descriptors(), most)


def collect_seldom() -> None:
    """Have Python look for garbage less often, and never among what is there when the daemon has started.

    A session makes some thousand objects and leaves three hundred in cycles, none of them OpenSSL's: with Python's own
    thresholds they are looked for with every second session, together with what lives as long as the process.
    """
    gc.collect()
    gc.freeze()
    set_collector_thresholds()


def set_collector_thresholds() -> None:
    """Have Python look for garbage less often."""
    gc.set_threshold(COLLECTED_FROM, 20, 20)


def cores(root: Path = Path("/")) -> int:
    """Cores that this process may use, 1 at least: those that it may run on, or fewer if its control group has a quota.

    :param root: where ``/proc`` and ``/sys`` are; only groups of version 2 are asked.
    """
    try:
        able = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        able = os.cpu_count() or 1
    with contextlib.suppress(OSError):
        groups = (root / "proc/self/cgroup").read_text("utf-8", "replace").splitlines()
        own = next((line[3:].lstrip("/") for line in groups if line.startswith("0::")), "")
        top = root / "sys/fs/cgroup"
        for group in (top / own, *(top / own).parents):
            with contextlib.suppress(OSError, ValueError):
                quota, period = (group / "cpu.max").read_text("utf-8").split()
                if quota != "max":
                    able = min(able, math.ceil(int(quota) / int(period)))
            if group == top:
                break
    return max(1, able)


def _failures() -> Iterator[tuple[str, str]]:
    for name, step in _STEPS.items():
        try:
            step()
        except (OSError, ValueError, AttributeError) as error:
            yield name, str(error)


def _no_core_dumps() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def prctl(option: int, value: int) -> None:
    """Call ``prctl(2)``.

    :raises OSError: if the kernel does not do it.
    """
    if c_library().prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_STEPS: dict[str, Callable[[], None]] = {
    "core dumps": _no_core_dumps,
    "tracing": lambda: prctl(PR_SET_DUMPABLE, 0),
    "new privileges": lambda: prctl(PR_SET_NO_NEW_PRIVS, 1),
}
