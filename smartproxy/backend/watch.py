"""Waiting for news: those who know the newest generation, or trial, are told when there is another one.

The store is asked only while somebody waits: twice a second, or, where the database tells of changes, when it does. One
question at a time, however slow it is; a store that does not answer ends nobody's waiting.
"""

from collections.abc import Callable
from functools import partial

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from smartproxy.backend.generations import Tag
from smartproxy.net.deadline import Deadline

CHANGE_LOOK_SECONDS = 0.5
"""How often the store is asked whether there is what somebody waits for."""
CHANGE_LOOK_SECONDS_HEARING = 10.0
"""So long where the database tells of changes: it only makes good for one that was not heard of."""


@attrs.define(eq=False)
class _Waiter:
    known: Tag
    done: Deferred[bool]
    timeout: Deadline | None = None


class GenerationWatch:
    """Tells those who wait that there is another generation, or trial, than the one they know.

    :param newest: asks the store for the newest one's tag.
    :param failed: told when that begins not to work; those who wait go on waiting.
    :ivar hearing: whether :meth:`look_now` is called after each change.
    """

    hearing = False

    def __init__(
        self, clock: IReactorTime, newest: Callable[[], Deferred[Tag]], failed: Callable[[Failure], object]
    ) -> None:
        self._clock = clock
        self._newest = newest
        self._failed = failed
        self._waiters: list[_Waiter] = []
        self._failing = False
        self._asking = False
        self._ask_again = False
        self._next_look = Deadline(clock, self._look)

    def changed(self, known: Tag, seconds: float) -> Deferred[bool]:
        """Fires with true as soon as the newest generation is not the known one, with false after so many seconds.

        May be cancelled, as when the one who waits has gone away.
        """
        if seconds <= 0:
            return succeed(False)
        waiter = _Waiter(known, Deferred(lambda _: self._end(waiter)))
        waiter.timeout = Deadline(self._clock, partial(self._answer, waiter, changed=False))
        waiter.timeout.start(seconds)
        self._waiters.append(waiter)
        if not self._asking and not self._next_look.running:
            self._look()
        return waiter.done

    def stop(self) -> None:
        """Answer everybody with false: the daemon ends."""
        for waiter in list(self._waiters):
            self._answer(waiter, changed=False)

    def look_now(self) -> None:
        """Ask the store without delay: something was changed."""
        if self._asking:
            self._ask_again = True
        elif self._next_look.running:
            self._next_look.stop()
            self._look()

    def _look(self) -> None:
        """Ask the store, and again a while after it has answered: one question at a time, however slow it is."""
        self._asking = True
        Deferred.fromCoroutine(self._compare()).addBoth(self._looked)

    def _looked(self, result: object) -> object:
        self._asking = False
        again, self._ask_again = self._ask_again, False
        if self._waiters:
            seconds = CHANGE_LOOK_SECONDS_HEARING if self.hearing else CHANGE_LOOK_SECONDS
            self._next_look.start(0 if again else seconds)
        return result

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

    def _tell(self, newest: Tag) -> None:
        for waiter in list(self._waiters):
            if waiter.known != newest:
                self._answer(waiter, changed=True)

    def _answer(self, waiter: _Waiter, *, changed: bool) -> None:
        self._end(waiter)
        waiter.done.callback(changed)

    def _end(self, waiter: _Waiter) -> None:
        """Forget a waiter; once nobody waits, the store is not asked any more."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if waiter.timeout is not None:
            waiter.timeout.stop()
        if not self._waiters:
            self._next_look.stop()
