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
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from smartproxy.net.process import harden, prctl, take_descriptors
from smartproxy.net.transport.memory import keep_memory
from smartproxy.policy import limits

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_NAME_OCTETS: Final = 15
_NAME: Final = ctypes.create_string_buffer(_NAME_OCTETS + 1)
"""Room for a name: a type of ctypes' own is made with each new length."""
_ARGUMENTS_START: Final = 45
"""Where ``arg_start`` is in ``/proc/self/stat`` (proc(5), field 48) behind the name and the two before it."""


def follow_parent(parent: int) -> None:
    """Be killed when the parent ends, whatever ends it.

    :param parent: the parent's process; if it has ended already, this one ends here.
    """
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def name_process(title: str) -> None:
    """Be called so in ``ps -o comm`` and ``top``; the kernel keeps 15 octets."""
    _NAME.value = title.encode("utf-8", "replace")[:_NAME_OCTETS]
    with contextlib.suppress(OSError):
        prctl(_PR_SET_NAME, ctypes.addressof(_NAME))


def overwrite(secret: str | bytes) -> None:
    """Have nobody read a secret in this process's memory any more, whoever refers to it; it is useless afterwards.

    :param secret: ASCII; made by this process and by nothing that shares it, such as a constant of the program.
    """
    assert not isinstance(secret, str) or secret.isascii()
    # One character alone is shared by all texts.
    if len(secret) > 1:
        ctypes.memset(id(secret) + sys.getsizeof(secret) - len(secret) - 1, ord("*"), len(secret))


@cache
def words_of_start() -> tuple[int, int]:
    """Where the words of the command line are in memory, and how many octets; the same in a process that is forked."""
    fields = Path("/proc/self/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    start, end = int(fields[_ARGUMENTS_START]), int(fields[_ARGUMENTS_START + 1])
    return start, end - start


def title_process(title: str) -> None:
    """Be called so in ``ps`` and in ``/proc/PID/cmdline``: instead of the words of the command line, and no longer.

    The words are in this process's own memory, where the kernel said at its start; what stands there is what is shown.
    """
    start, room = words_of_start()
    if room > 1:
        ctypes.memmove(start, title.encode("utf-8", "replace")[: room - 1].ljust(room, b"\0"), room)


@contextlib.contextmanager
def keeping_title() -> Iterator[None]:
    """Be called afterwards what the process was called before."""
    start, room = words_of_start()
    words = ctypes.string_at(start, room)
    try:
        yield
    finally:
        ctypes.memmove(start, words, room)


def confine() -> None:
    """Give up what a worker does not need."""
    harden()
    take_descriptors()
    keep_memory()
    for limit, most in ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_DATA, limits.WORKER_DATA_OCTETS_MOST)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (most, most))
