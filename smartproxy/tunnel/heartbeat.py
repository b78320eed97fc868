"""Whether the other daemon is still there.

A ping every ten seconds; one that is not answered in time is followed by the next at once, and three in a row mean
silence. That takes 25 seconds at the longest, whatever TCP believes.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from smartproxy.policy import limits


class Heartbeat:
    """Pings until it is stopped.

    :param clock: ``callLater``'s owner.
    :param ping: asks once; its Deferred fires with whether the answer came in time, and never fails.
    :param silent: called once, when the other end is not there.
    """

    def __init__(self, clock: IReactorTime, ping: Callable[[], Deferred[bool]], silent: Callable[[], None]) -> None:
        self._clock = clock
        self._ping = ping
        self._silent = silent
        self._missed = 0
        self._next: IDelayedCall | None = None
        self._running = False

    def start(self) -> None:
        """Ping from now on."""
        self._running = True
        self._wait()

    def stop(self) -> None:
        """Ping no more."""
        self._running = False
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _wait(self) -> None:
        self._next = self._clock.callLater(limits.PING_SECONDS, self._beat)

    def _beat(self) -> None:
        self._next = None
        self._ping().addCallback(self._answered)

    def _answered(self, answered: bool) -> None:
        if not self._running:
            return
        if answered:
            self._missed = 0
            self._wait()
            return
        self._missed += 1
        if self._missed == limits.PINGS_MISSED_MOST:
            self._running = False
            self._silent()
        else:
            self._beat()
