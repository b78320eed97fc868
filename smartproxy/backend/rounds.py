"""Work that looks into the store again and again, one look after the other."""

from collections.abc import Awaitable, Callable
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

LOOK_SECONDS: Final = 1.0
"""So often the store is asked what is to be done."""
AGAIN_SECONDS: Final = 60.0
"""After that long where the store could not be asked."""


class Rounds:
    """The looks, between :meth:`start` and :meth:`stop`.

    :param look: one look, which never fails; it says after how many seconds the next one comes.
    :ivar running: whether they go on.
    """

    def __init__(self, clock: IReactorTime, look: Callable[[], Awaitable[float]]) -> None:
        self._clock = clock
        self._look = look
        self._looking: Deferred[None] | None = None
        self._next: IDelayedCall | None = None
        self._again = False
        self.running = False

    def start(self) -> None:
        """Look now, and again and again."""
        self.running = True
        self.wake()

    def wake(self) -> None:
        """Look now, or at once after the look that is going on."""
        if not self.running:
            return
        if self._looking is not None:
            self._again = True
            return
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._again = False
        looked: Deferred[None] = Deferred()
        self._looking = looked
        Deferred.fromCoroutine(self._once()).addCallback(self._looked, looked)

    def stop(self) -> Deferred[None]:
        """Look no more; fires when the look that is going on has ended."""
        self.running = False
        if self._next is not None and self._next.active():
            self._next.cancel()
        if self._looking is None:
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._looking.addCallback(lambda _: stopped.callback(None))
        return stopped

    async def _once(self) -> float:
        return await self._look()

    def _looked(self, seconds: float, looked: Deferred[None]) -> None:
        self._looking = None
        looked.callback(None)
        if self.running and self._again:
            self.wake()
        elif self.running:
            self._next = self._clock.callLater(seconds, self.wake)
