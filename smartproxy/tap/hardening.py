"""What a daemon gives up at its start: core dumps, being traced, and new privileges; and the one thing that it takes.

Before any key material is in memory. Each step that the system does not allow is told, and hinders nothing: a daemon
that runs without one of them is better than none. What it takes are file descriptors, one for each connection, as many
as the system lets it have.
"""

import contextlib
import ctypes
import os
import resource
from collections.abc import Callable, Iterator

PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
ENDLESS = 2**31
"""Stands for no limit."""


def harden() -> dict[str, str]:
    """Give everything up; what could not be, with its cause."""
    return dict(_failures())


def take_descriptors() -> int:
    """Raise the number of files and connections that may be open at once as far as it goes; what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ENDLESS if soft == resource.RLIM_INFINITY else soft


def _failures() -> Iterator[tuple[str, str]]:
    for name, step in _STEPS.items():
        try:
            step()
        except (OSError, ValueError, AttributeError) as error:
            yield name, str(error)


def _no_core_dumps() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_STEPS: dict[str, Callable[[], None]] = {
    "core dumps": _no_core_dumps,
    "tracing": lambda: _prctl(PR_SET_DUMPABLE, 0),
    "new privileges": lambda: _prctl(PR_SET_NO_NEW_PRIVS, 1),
}
