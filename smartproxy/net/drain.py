"""The wait for sessions when a daemon stops.

Duty: wait for live sessions to end by themselves, then end the rest with ESID 05, each within a given time.
"""

from collections.abc import Mapping
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from smartproxy.net.deadline import Deadline
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import Draining, OwnFault

GRACE_SECONDS = 1.0
"""Beyond the closing deadline of the legs, which have abort timers of their own."""


class Sessions(Protocol):
    """The live sessions of a daemon."""

    @property
    def live(self) -> Mapping[str, object]:
        """The sessions that are not over, by id."""

    def stop(self, fault: OwnFault) -> None:
        """End all of them."""


class DrainWait:
    """Waits for the last session.

    :param clock: measures the time.
    :param sessions: the sessions; their owner calls :meth:`finished` whenever one is over.
    """

    def __init__(self, clock: IReactorTime, sessions: Sessions) -> None:
        self._clock = clock
        self._sessions = sessions
        self._last: Deferred[bool] | None = None
        self._hurried = False

    async def run(self, seconds: float, closing: float) -> None:
        """Wait up to ``seconds`` for sessions to end, end the others, and wait up to ``closing`` for those."""
        if not await self._ended(0 if self._hurried else seconds):
            self._sessions.stop(Draining(rule=Cause.DAEMON_DRAINING, message="the drain time is over"))
            await self._ended(closing + GRACE_SECONDS)

    def hurry(self) -> None:
        """Wait no longer for sessions to end by themselves; said early, it holds for the wait to come."""
        self._hurried = True
        if self._last is not None:
            last, self._last = self._last, None
            last.callback(False)

    def finished(self) -> None:
        """A session is over."""
        if self._last is not None and not self._sessions.live:
            last, self._last = self._last, None
            last.callback(True)

    async def _ended(self, seconds: float) -> bool:
        """Whether all sessions ended in time."""
        if not self._sessions.live:
            return True
        if not seconds:
            return False
        self._last = Deferred()
        deadline = Deadline(self._clock, self.hurry)
        deadline.start(seconds)
        ended = await self._last
        deadline.stop()
        return ended
