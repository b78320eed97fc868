"""Signs of life: whether the other end of a connection of questions and answers is there.

Duty: ping, and count what is not answered in time; whatever TCP believes, silence is found within a known time. Knows
no connection: it is given how to ping.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from smartproxy.net.deadline import Deadline
from smartproxy.policy import limits


class Heartbeat:
    """Pings until it is stopped.

    :param clock: runs the waits.
    :param ping: asks once; its Deferred fires with whether the answer came in time, and never fails.
    :param silent: called once, when the other end is not there.
    :param seconds: from an answer to the next ping.
    :param most: pings in a row without an answer that mean silence.
    """

    def __init__(
        self,
        clock: IReactorTime,
        ping: Callable[[], Deferred[bool]],
        silent: Callable[[], None],
        seconds: float = limits.PING_SECONDS,
        most: int = limits.PINGS_MISSED_MOST,
    ) -> None:
        self._ping = ping
        self._silent = silent
        self._seconds = seconds
        self._most = most
        self._missed = 0
        self._next = Deadline(clock, self._beat)
        self._running = False

    def start(self) -> None:
        """Ping from now on."""
        self._running = True
        self._next.start(self._seconds)

    def stop(self) -> None:
        """Stop pinging."""
        self._running = False
        self._next.stop()

    def _beat(self) -> None:
        self._ping().addCallback(self._answered)

    def _answered(self, answered: bool) -> None:
        if not self._running:
            return
        if answered:
            self._missed = 0
            self._next.start(self._seconds)
            return
        self._missed += 1
        if self._missed == self._most:
            self._running = False
            self._silent()
        else:
            self._beat()
