"""Words to the service manager (systemd's ``sd_notify``).

One datagram a word, to the socket that the environment names; nothing at all where it names none. A manager that is not
there, or a socket that is full, hinders nothing.
"""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall


class Tell(Protocol):
    """Says a word to the service manager."""

    def __call__(self, word: str, /) -> None:
        """Say it."""


def manager(environment: Mapping[str, str]) -> Tell:
    """Whom the environment names."""
    name = environment.get("NOTIFY_SOCKET", "")
    if name[:1] not in ("/", "@"):
        return lambda word: None
    address = "\0" + name[1:] if name.startswith("@") else name

    def tell(word: str) -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(word.encode(), address)

    return tell


def watchdog(environment: Mapping[str, str], clock: IReactorTime, tell: Tell) -> LoopingCall | None:
    """What keeps the manager's watchdog quiet as long as the reactor turns; ``None`` where it asks for nothing."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    whose = environment.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or (whose and whose != str(os.getpid())):
        return None
    loop = LoopingCall(tell, "WATCHDOG=1")
    loop.clock = clock
    loop.start(int(microseconds) / 1_000_000 / 2)
    return loop
