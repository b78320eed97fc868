"""Waiting for the next generation.

The ``smartproxy`` command changes the store while the daemon runs, and with a database server other nodes do; so the
daemon asks for the newest generation's number, twice a second and only while a client waits.
"""

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

LOOK_SECONDS = 0.5


@attrs.define(eq=False)
class _Waiter:
    known: int
    done: Deferred[bool]
    timeout: IDelayedCall | None = None


class GenerationWatch:
    """Tells those who wait that there is another generation than the one they know.

    :param newest: asks the store for the newest generation's number.
    :param failed: told when that begins not to work; those who wait go on waiting.
    """

    def __init__(
        self, clock: IReactorTime, newest: Callable[[], Deferred[int]], failed: Callable[[Failure], object]
    ) -> None:
        self._clock = clock
        self._newest = newest
        self._failed = failed
        self._waiters: list[_Waiter] = []
        self._failing = False
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def changed(self, known: int, seconds: float) -> Deferred[bool]:
        """Fires with true as soon as the newest generation is not the known one, with false after so many seconds.

        May be cancelled, as when the one who waits has gone away.
        """
        if seconds <= 0:
            return succeed(False)
        waiter = _Waiter(known, Deferred(lambda _: self._end(waiter)))
        waiter.timeout = self._clock.callLater(seconds, self._answer, waiter, False)
        self._waiters.append(waiter)
        if not self._looking.running:
            self._looking.start(LOOK_SECONDS, now=True)
        return waiter.done

    def stop(self) -> None:
        """Answer everybody with false: the daemon ends."""
        for waiter in list(self._waiters):
            self._answer(waiter, False)

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._compare())

    async def _compare(self) -> None:
        try:
            newest = await self._newest()
        except Exception:
            if not self._failing:
                self._failing = True
                self._failed(Failure())
        else:
            self._failing = False
            self._tell(newest)

    def _tell(self, newest: int) -> None:
        for waiter in list(self._waiters):
            if waiter.known != newest:
                self._answer(waiter, True)

    def _answer(self, waiter: _Waiter, changed: bool) -> None:
        self._end(waiter)
        waiter.done.callback(changed)

    def _end(self, waiter: _Waiter) -> None:
        """Forget one who waited; nobody left, nothing is asked any more."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if waiter.timeout is not None and waiter.timeout.active():
            waiter.timeout.cancel()
        if not self._waiters and self._looking.running:
            self._looking.stop()
