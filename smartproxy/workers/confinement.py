"""What a worker's process may do: less than its supervisor, and nothing without it.

Duty: tie a process to its parent's life, and give up what carrying sessions does not need: core dumps, tracing, new
privileges, files that grow, memory without end. A step that the system does not allow is left out here; the supervisor
takes the same steps for itself and tells which fail (:mod:`smartproxy.net.process`).
"""

import contextlib
import ctypes
import os
import resource
import signal
from typing import Final

from smartproxy.net.process import harden, keep_memory, prctl, take_descriptors
from smartproxy.policy import limits

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_NAME_OCTETS: Final = 15


def follow_parent(parent: int) -> None:
    """Be killed when the parent ends, whatever ends it.

    :param parent: the parent's process; if it has ended already, this one ends here.
    """
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def name_process(title: str) -> None:
    """Be called so in ``ps -o comm`` and ``top``; the kernel keeps 15 octets."""
    name = ctypes.create_string_buffer(title.encode("utf-8", "replace")[:_NAME_OCTETS])
    with contextlib.suppress(OSError):
        prctl(_PR_SET_NAME, ctypes.addressof(name))


def confine() -> None:
    """Give up what a worker does not need."""
    harden()
    take_descriptors()
    keep_memory()
    for limit, most in ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_DATA, limits.WORKER_DATA_OCTETS_MOST)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (most, most))
