"""Waits that must not last for ever: one, and those of many sessions.

Duty: call back once when the seconds of a wait are over, unless the wait ended before. The owner starts and stops it as
often as it likes and never asks whether it runs: stopping a stopped deadline does nothing, starting a running one
restarts it. Trusts its clock. Never calls back after ``stop``, and does not run while it calls back.
"""

import heapq
import math
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadline:
    """A timer that one owner starts, stops and starts again.

    :param clock: measures the seconds.
    :param expired: called without arguments when they are over; it may start the deadline again.
    """

    __slots__ = ("_call", "_clock", "_expired")

    def __init__(self, clock: IReactorTime, expired: Callable[[], object]) -> None:
        self._clock = clock
        self._expired = expired
        self._call: IDelayedCall | None = None

    @property
    def running(self) -> bool:
        """Whether it was started, and neither expired nor was stopped."""
        return self._call is not None

    @property
    def left(self) -> float:
        """Seconds until it expires; 0 while it does not run."""
        return 0.0 if self._call is None else max(0.0, self._call.getTime() - self._clock.seconds())

    def start(self, seconds: float) -> None:
        """Expire in ``seconds`` from now, whatever was set before.

        :raises AssertionError: if ``seconds`` is negative.
        """
        if self._call is not None:
            self._call.cancel()
        self._call = self._clock.callLater(seconds, self._expire)

    def stop(self) -> None:
        """Cancel the wait, if one runs."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _expire(self) -> None:
        self._call = None
        self._expired()


class Sleeping(Protocol):
    """What looks at its deadlines when one may have passed."""

    def look(self) -> None:
        """A wait is over."""


class Wait:
    """One of :class:`Alarms`.

    :ivar due: when it is over, by the clock.
    :ivar whose: is told; ``None`` once it was told, or does not wait any more.
    """

    __slots__ = ("due", "whose")

    def __init__(self, due: float, whose: Sleeping) -> None:
        self.due = due
        self.whose: Sleeping | None = whose

    def __lt__(self, other: "Wait") -> bool:
        return self.due < other.due


class Alarms:
    """The waits of all sessions, with one call of the clock: one for each session would take six times the memory.

    :param clock: measures the seconds.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waits: list[Wait] = []
        self._dropped = 0
        self._call: IDelayedCall | None = None
        self._call_due = math.inf

    def set(self, due: float, whose: Sleeping) -> Wait:
        """Have somebody told at a time of the clock, unless :meth:`drop` comes before."""
        wait = Wait(due, whose)
        heapq.heappush(self._waits, wait)
        self._arrange()
        return wait

    def drop(self, wait: Wait) -> None:
        """A wait ends before it is over; nothing happens if it is over."""
        if wait.whose is not None:
            wait.whose = None
            self._dropped += 1
            if self._dropped * 2 > len(self._waits):
                self._waits = [each for each in self._waits if each.whose is not None]
                heapq.heapify(self._waits)
                self._dropped = 0
            self._arrange()

    def _arrange(self) -> None:
        """Be called when the first one is over; a call that comes too early for it is left as it is."""
        first = self._waits[0].due if self._waits else math.inf
        if first >= self._call_due and self._waits:
            return
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._call_due = first
        if self._waits:
            self._call = self._clock.callLater(max(0.0, first - self._clock.seconds()), self._over)

    def _over(self) -> None:
        now = max(self._clock.seconds(), self._call_due)
        self._call, self._call_due = None, math.inf
        try:
            while self._waits and (self._waits[0].whose is None or self._waits[0].due <= now):
                wait = heapq.heappop(self._waits)
                whose, wait.whose = wait.whose, None
                if whose is None:
                    self._dropped -= 1
                else:
                    whose.look()
        finally:
            self._arrange()
