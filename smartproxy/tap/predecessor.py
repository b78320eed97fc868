"""The process of a daemon that this one takes over from.

Duty: take what it hands over (listening sockets, the locked PID file), and tell it that this one serves, or why not.
It goes on as if nothing had been until it is told that. Trusts the environment, as whoever starts a daemon is.
"""

import os
from collections.abc import Mapping, MutableMapping, Sequence

import attrs

from smartproxy.net.transport.inherited import INHERITED

VARIABLE = "SMARTPROXY_PREDECESSOR"
SERVING = b"\0"
"""What comes before the number of the new process once that serves; before it there are words of what is wrong."""
WORDS_MOST = 4096


@attrs.frozen
class Handed:
    """Descriptors that one process hands to the next, by their numbers there.

    :ivar told: what is written there is heard by the process that hands over.
    :ivar managed: listening sockets that belong to the service manager.
    :ivar own: all others.
    :ivar pid_file: the locked PID file.
    """

    told: int
    managed: Sequence[int] = ()
    own: Sequence[int] = ()
    pid_file: int | None = None

    def text(self) -> str:
        """For the environment."""
        numbers = ([self.told], self.managed, self.own, [] if self.pid_file is None else [self.pid_file])
        return ";".join(",".join(map(str, each)) for each in numbers)

    @classmethod
    def read(cls, text: str) -> "Handed":
        """What :meth:`text` wrote."""
        (told,), managed, own, pid_file = (tuple(int(n) for n in each.split(",") if n) for each in text.split(";"))
        return cls(told, managed, own, pid_file[0] if pid_file else None)


class Predecessor:
    """The process before this one.

    :ivar pid_file: its locked PID file.
    """

    def __init__(self, handed: Handed) -> None:
        self.pid_file = handed.pid_file
        self._told: int | None = handed.told
        self._process: int | None = None
        for descriptor in (handed.told, handed.pid_file):
            if descriptor is not None:
                os.set_inheritable(descriptor, False)
        INHERITED.keep(handed.managed)
        INHERITED.keep(handed.own, handed_over=True)

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> "Predecessor | None":
        """The one that the environment tells of, once; ``None`` if this process is the first.

        :raises NotListening: if what it hands over is no listening socket.
        """
        text = environment.pop(VARIABLE, None)
        return None if text is None else cls(Handed.read(text))

    def tell(self, words: str) -> None:
        """Say what is wrong."""
        self._write(f"{words}\n".encode("utf-8", "surrogateescape"))

    def serving(self) -> None:
        """Say that this process serves: the other one leaves everything to it."""
        # It is the parent, unless it has ended: then nobody hears this.
        process = os.getppid()
        heard = self._write(SERVING + f"{os.getpid()}\n".encode("ascii"))
        if heard:
            self._process = process
        told, self._told = self._told, None
        if told is not None:
            os.close(told)

    @property
    def lives(self) -> bool:
        """Whether it has heard that this process serves, and has not ended yet."""
        return self._process is not None and os.getppid() == self._process

    def _write(self, octets: bytes) -> bool:
        """Write to it; whether it is there."""
        if self._told is None:
            return False
        try:
            os.write(self._told, octets)
        except OSError:
            return False
        return True


def environment_for(handed: Handed, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the next process: this one's, but for what speaks of this process alone."""
    kept = {name: value for name, value in environment.items() if name != "WATCHDOG_PID"}
    return {**kept, VARIABLE: handed.text()}
