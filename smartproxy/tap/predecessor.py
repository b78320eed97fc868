"""The process of a daemon that this one takes over from.

Duty: take what it hands over (listening sockets, the locked PID file), and tell it that this one serves, or why not.
It goes on as if nothing had been until it is told that. While it lives it tells how many sessions go on there, which
count against the limits here. Trusts the environment, as whoever starts a daemon is.
"""

import json
import os
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final

import attrs
from twisted.internet.protocol import connectionDone
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from smartproxy.net.transport.inherited import INHERITED

VARIABLE = "SMARTPROXY_PREDECESSOR"
SERVING = b"\0"
"""What comes before the number of the new process once that serves; before it there are words of what is wrong."""
WORDS_MOST = 4096
COUNTS_OCTETS_MOST: Final = 16 * 1024 * 1024
"""The longest line of :func:`counts_line`: far more than a name for each session that there can be."""


def counts_line(sessions: Mapping[str, int]) -> bytes:
    """How many sessions of each partner go on in the older process, as it tells them: a JSON object in a line."""
    return json.dumps(dict(sessions)).encode("ascii") + b"\n"


@attrs.frozen
class Handed:
    """Descriptors that one process hands to the next, by their numbers there.

    :ivar told: what is written there is heard by the process that hands over.
    :ivar managed: listening sockets that belong to the service manager.
    :ivar own: all others.
    :ivar pid_file: the locked PID file.
    :ivar counts: where the older process tells of its sessions, in lines of :func:`counts_line`.
    """

    told: int
    managed: Sequence[int] = ()
    own: Sequence[int] = ()
    pid_file: int | None = None
    counts: int | None = None

    def text(self) -> str:
        """For the environment."""
        single = ([] if each is None else [each] for each in (self.pid_file, self.counts))
        numbers = ([self.told], self.managed, self.own, *single)
        return ";".join(",".join(map(str, each)) for each in numbers)

    @classmethod
    def read(cls, text: str) -> "Handed":
        """What :meth:`text` wrote."""
        found = [tuple(int(n) for n in each.split(",") if n) for each in text.split(";")]
        (told,), managed, own, pid_file, counts = found
        return cls(told, managed, own, *(each[0] if each else None for each in (pid_file, counts)))


class Predecessor:
    """The process before this one.

    :ivar pid_file: its locked PID file.
    """

    def __init__(self, handed: Handed) -> None:
        self.pid_file = handed.pid_file
        self._told: int | None = handed.told
        self._process: int | None = None
        self._counts = handed.counts
        for descriptor in (handed.told, handed.pid_file, handed.counts):
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

    def follow(self, reactor: Any, take: Callable[[Mapping[str, int]], object]) -> None:
        """Hear how many sessions of each partner go on there, until it has ended: then none do.

        :param take: told each time that they change.
        """
        counts, self._counts = self._counts, None
        if counts is not None:
            # The end to write to is never used.
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            end = _Counts(take)
            StandardIO(end, stdin=counts, stdout=nowhere, reactor=reactor)  # type: ignore[call-arg]  # mypy reads Windows'

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


class _Counts(LineOnlyReceiver):
    """Takes the lines of :func:`counts_line`."""

    delimiter = b"\n"
    MAX_LENGTH = COUNTS_OCTETS_MOST

    def __init__(self, take: Callable[[Mapping[str, int]], object]) -> None:
        self._take = take

    def lineReceived(self, line: bytes) -> None:
        """The sessions there have changed."""
        self._take(json.loads(line))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """That process has ended, and its sessions with it."""
        self._take({})


def environment_for(handed: Handed, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the next process: this one's, but for what speaks of this process alone."""
    kept = {name: value for name, value in environment.items() if name != "WATCHDOG_PID"}
    return {**kept, VARIABLE: handed.text()}
