"""A look after a program inside, while nobody needs it: whether it would answer is known before somebody does.

Duty: have it called once when nothing is known of it, which is at the start and when its address has changed, and again
some time after each call that failed, whoever made that, until one does not. A program that answers is left alone: it
may log each connection, or count it. Knows neither who is called nor how.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline


class Lookout:
    """The calls that nobody asked for; there are none before :meth:`begin` and after :meth:`stop`.

    :param events: where a bug is told.
    :param call: calls it once, and has what came of it noted; raises nothing.
    :param failing: whether it failed when it was last called.
    """

    def __init__(
        self,
        clock: IReactorTime,
        events: Events,
        *,
        call: Callable[[], Coroutine[Any, Any, None]],
        failing: Callable[[], bool],
    ) -> None:
        self._events = events
        self._call = call
        self._failing = failing
        self._seconds = 0
        self._next = Deadline(clock, self._look)
        self._calling: Deferred[None] | None = None

    def begin(self, seconds: int) -> None:
        """Nothing is known of it: call it now.

        :param seconds: from a call that failed to the next one; 0: never call it.
        """
        self.stop()
        self._seconds = seconds
        if seconds:
            self._begin()

    def failed(self) -> None:
        """A call failed, one of these or any other."""
        if self._seconds:
            self._next.start(self._seconds)

    def stop(self) -> None:
        """Call no more, and give up the call that is on its way."""
        self._seconds = 0
        self._next.stop()
        calling, self._calling = self._calling, None
        if calling is not None:
            calling.cancel()

    def _look(self) -> None:
        if self._failing():
            self._begin()

    def _begin(self) -> None:
        # Whatever comes of the call: the next look is due in time.
        self._next.start(self._seconds)
        if self._calling is None:
            self._calling = calling = Deferred.fromCoroutine(self._call())
            calling.addBoth(self._over, calling)

    def _over(self, result: Failure | None, calling: Deferred[None]) -> None:
        if self._calling is calling:
            self._calling = None
        if isinstance(result, Failure) and result.check(CancelledError) is None:
            self._events.failure("smartproxy.net.lookout", result)
