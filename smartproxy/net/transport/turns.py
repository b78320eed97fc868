"""The turns of a daemon's reactor: what it does between connections, without what Twisted does around it.

Duty: :func:`call_directly` has a reactor on epoll call whatever is ready itself, and keep what is to be called later in
a heap of its own. Twisted's log copies a context and calls ten functions around each turn of a connection, so that it
can say whose turn it was, which SmartProxy does not show. Its delayed calls are compared in Python, and are made, put
into a heap and taken out of it again by some ten functions each, where most of a session's deadlines are canceled long
before they are due. A reactor of another kind is left as it is.

A call that is canceled before the reactor looks at it has cost nothing but itself; one that is canceled later stays in
the heap until its time, or until half of the heap is such calls. Trusts a reactor to be used by one thread only.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Final

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

_LOG: Final = Logger()

_WAIT_MOST: Final = 3600.0
"""Seconds that a reactor waits at most."""

_OVER_MOST: Final = 50
"""Calls in the heap that are not to be made any more, from which on they are looked for."""


@implementer(IDelayedCall)
class LaterCall:
    """A call that a reactor makes later.

    :ivar due: when, in the reactor's seconds.
    :ivar over: what is raised to whoever cancels or moves a call that was made or canceled.
    """

    __slots__ = ("_args", "_kw", "_what", "_with", "due", "over")

    def __init__(
        self, others: "LaterCalls", due: float, what: Callable[..., object], args: tuple[Any, ...], kw: dict[str, Any]
    ) -> None:
        self.due = due
        self.over: type[Exception] | None = None
        self._with = others
        self._what: Callable[..., object] | None = what
        self._args, self._kw = args, kw

    def __repr__(self) -> str:
        return f"<call of {self._what!r} at {self.due}>"

    def make(self) -> None:
        """Call."""
        what, args, kw = self._what, self._args, self._kw
        self.over = AlreadyCalled
        self._what, self._args, self._kw = None, (), {}
        assert what is not None
        what(*args, **kw)

    def getTime(self) -> float:
        """When it is due, in the seconds of the clock."""
        return self.due

    def active(self) -> bool:
        """Whether it is neither made nor cancelled."""
        return self.over is None

    def cancel(self) -> None:
        """Make it never.

        :raises AlreadyCalled: if it was made.
        :raises AlreadyCancelled: if it was cancelled.
        """
        if self.over is not None:
            raise self.over
        self.over = AlreadyCancelled
        self._with.over += 1
        self._what, self._args, self._kw = None, (), {}

    def reset(self, seconds: float) -> None:
        """Make it so many seconds from now; raises what :meth:`cancel` raises."""
        self._move(self._with.seconds() + seconds)

    def delay(self, seconds: float) -> None:
        """Make it so many seconds later than it was due; raises what :meth:`cancel` raises."""
        self._move(self.due + seconds)

    def _move(self, due: float) -> None:
        if self.over is not None:
            raise self.over
        sooner = due < self.due
        self.due = due
        if sooner:
            # Its old place is empty; one that moves to later is put there when its old place is reached.
            self._with.over += 1
            self._with.new.append(self)


class LaterCalls:
    """What a reactor is to call later, the first one first; of those that are due together, in the order of asking.

    :param seconds: tells the reactor's seconds.
    :ivar new: those that are not in the heap yet.
    :ivar heap: when, a number that makes the order of two clear, and the call.
    :ivar over: how many entries are of calls that are not to be made from there.
    """

    __slots__ = ("_numbers", "heap", "new", "over", "seconds")

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.new: list[LaterCall] = []
        self.heap: list[tuple[float, int, LaterCall]] = []
        self.over = 0
        self.seconds = seconds
        self._numbers = count()

    def __iter__(self) -> Iterator[LaterCall]:
        return iter({call for call in (*(each[2] for each in self.heap), *self.new) if call.over is None})

    def ask(self, seconds: float, what: Callable[..., object], /, *args: Any, **kw: Any) -> LaterCall:
        """Call in so many seconds: part of ``IReactorTime``."""
        assert seconds >= 0, f"{seconds} is not greater than or equal to 0 seconds"
        call = LaterCall(self, self.seconds() + seconds, what, args, kw)
        self.new.append(call)
        return call

    def run(self) -> float | None:
        """Make the calls that are due; what they ask for has to wait for the next turn.

        :return: the seconds until the next one is due; ``None`` if there is none.
        """
        heap = self.heap
        self._settle()
        now = self.seconds()
        while heap and heap[0][0] <= now:
            due, _, call = heappop(heap)
            if call.over is not None:
                # Not below: one that was left behind by a move may have been no longer counted.
                self.over = max(0, self.over - 1)
            elif call.due > due:
                heappush(heap, (call.due, next(self._numbers), call))
            else:
                try:
                    call.make()
                except Exception:
                    _LOG.failure("in a call that was asked for before")
        self._settle()
        return None if not heap else max(0.0, min(_WAIT_MOST, heap[0][0] - self.seconds()))

    def _settle(self) -> None:
        """Put what is new into the heap, and take out of it what is over."""
        heap, new = self.heap, self.new
        if new:
            self.new = []
            for call in new:
                if call.over is None:
                    heappush(heap, (call.due, next(self._numbers), call))
                else:
                    self.over -= 1
        if self.over > _OVER_MOST and self.over > len(heap) >> 1:
            self.over = 0
            heap[:] = [each for each in heap if each[2].over is None]
            heapify(heap)


def call_directly(reactor: Any) -> None:
    """Have a reactor on epoll call what is ready or due itself; one of another kind is left as it is.

    What it was asked to call before is called by Twisted's own means.
    """
    if type(reactor) is EPollReactor:
        later = LaterCalls(reactor.seconds)
        delayed = reactor.getDelayedCalls

        def calls() -> Sequence[IDelayedCall]:
            return (*delayed(), *later)

        reactor.callLater = later.ask  # type: ignore[method-assign,assignment]  # of this one reactor alone
        reactor.getDelayedCalls = calls  # type: ignore[method-assign]  # as before
        reactor.doIteration = partial(_turn, reactor)  # type: ignore[method-assign]  # as before
        reactor.mainLoop = partial(_run, reactor, later)  # type: ignore[method-assign]  # as before


def _run(reactor: Any, later: LaterCalls) -> None:
    """Wait, and give turns, until the reactor is stopped, as ``ReactorBase.mainLoop`` does.

    Between two turns it looks at calls only where there can be something to do: one is new or due, another thread wants
    one, or the reactor stops.
    """
    heap, seconds = later.heap, later.seconds
    while reactor._started:
        try:
            while reactor._started:
                wait = heap[0][0] - seconds() if heap else None
                before = reactor._pendingTimedCalls or reactor._newTimedCalls
                if before or reactor.threadCallQueue or reactor._justStopped:
                    reactor.runUntilCurrent()
                    wait = 0.0
                if later.new or (wait is not None and not 0.0 < wait < _WAIT_MOST):
                    wait = later.run()
                    if reactor._pendingTimedCalls:
                        own = reactor.timeout()
                        wait = own if wait is None else min(wait, own)
                if reactor._justStopped or not reactor.running:
                    wait = 0.0
                _turn(reactor, wait)
        except Exception:
            _LOG.failure("in the main loop")


def _turn(reactor: Any, timeout: float | None) -> None:
    """Wait until something is ready, and give each connection that is one turn, as ``EPollReactor.doPoll`` does."""
    descriptors = reactor._selectables
    for descriptor, event in reactor._poller.poll(-1 if timeout is None else timeout, len(descriptors)):
        connection = descriptors.get(descriptor)
        if connection is not None:
            try:
                reactor._doReadOrWrite(connection, descriptor, event)
            except Exception:
                # What a connection raises while it is told that it is lost ends no other one.
                _LOG.failure("while a connection was told that it is lost")
