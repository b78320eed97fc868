"""Events on their way to the next daemon or into the store: from the server to a client, from a client to the backend.

Duty: keep events in order while the far end is away, send them in batches, and never let a flood of them grow without
bound: the oldest are dropped first, and how many were is reported. A batch that the far end answers and does not take
is halved until the one event that is to blame is found and set aside, so that it holds back no other.
Trusts nothing in an event; the receiver judges it.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from smartproxy.logs.fields import Value
from smartproxy.logs.severity import Severity

WAITING_MOST = 10_000
"""Events kept while the far end is away."""
BATCH_MOST = 100
"""Events in one call."""
GATHER_SECONDS = 0.5
"""How long the first event of a batch waits for company; an urgent one and a full batch do not wait."""
RETRY_SECONDS_FIRST = 1.0
RETRY_SECONDS_MOST = 30.0

Document = dict[str, Value]
_URGENT = frozenset(each.label for each in Severity if each >= Severity.ERROR)
_T = TypeVar("_T")


TRIES_MOST = 3
"""Tries of a batch with which the far end fails, before it is halved."""


def is_urgent(event: Document) -> bool:
    """Whether an event is of level ERROR or above."""
    return event.get("level") in _URGENT


class BatchRefused(Exception):
    """Raised by a carrier's ``send``: the far end will never take this batch; another try would be no use."""


class BatchFailed(Exception):
    """Raised by a carrier's ``send``: the far end is there and failed, perhaps because of this batch."""


class Waiting(deque[_T]):
    """A queue of the newest entries, in their order: beyond *most* the oldest is dropped.

    Entries come in by :meth:`put` and :meth:`put_back` alone.

    :ivar dropped: how many were dropped and not yet told by :meth:`lost`.
    """

    def __init__(self, most: int = WAITING_MOST) -> None:
        super().__init__()
        self.dropped = 0
        self._most = most

    def put(self, entry: _T) -> bool:
        """Add the newest entry; whether there was room without dropping the oldest."""
        self.append(entry)
        if len(self) <= self._most:
            return True
        self.popleft()
        self.dropped += 1
        return False

    def take(self, most: int) -> list[_T]:
        """Take the oldest entries, at most *most*."""
        return [self.popleft() for _ in range(min(most, len(self)))]

    def put_back(self, entries: Sequence[_T]) -> None:
        """Put entries that were taken before all others again, as far as there is room; the oldest are dropped."""
        room = self._most - len(self)
        dropped = max(0, len(entries) - room)
        self.dropped += dropped
        self.extendleft(reversed(entries[dropped:]))

    def lost(self) -> int:
        """How many entries were dropped since this was asked last."""
        count, self.dropped = self.dropped, 0
        return count


class Carrier(Generic[_T]):
    """A bounded queue of events with one sender.

    :param send: hands a batch over; any exception but :class:`BatchRefused` and :class:`BatchFailed` means that
        the far end is away. It may take the first events only, one at least, and say how many: the others are sent
        next, and those that arrived are not sent again when that fails.
    :param clock: ``callLater``'s owner.
    :param dropped: told how many events were lost, as soon as the far end takes events again.
    :param set_aside: told of an event that the far end does not take, alone; without it, such an event counts as lost.
    :param most: events kept while the far end is away.
    :param batch: events in one call.
    :param gather_seconds: how long the first event of a batch waits for company.
    :param urgent: whether an event is to be sent at once, with those that wait.
    """

    def __init__(
        self,
        send: Callable[[Sequence[_T]], Awaitable[int | None]],
        clock: IReactorTime,
        dropped: Callable[[int], None] = lambda count: None,
        *,
        set_aside: Callable[[_T], None] | None = None,
        most: int = WAITING_MOST,
        batch: int = BATCH_MOST,
        gather_seconds: float = GATHER_SECONDS,
        urgent: Callable[[_T], bool] = lambda event: False,
    ) -> None:
        self._hand_over = send
        self._clock = clock
        self._report_dropped = dropped
        self._waiting: Waiting[_T] = Waiting(most)
        self._set_aside = set_aside
        self._batch = self._size = batch
        self._suspects = self._tries = 0
        self._gather_seconds = gather_seconds
        self._urgent = urgent
        self._hurry = self._away = False
        self._timer: IDelayedCall | None = None
        self._sending = False
        self._retry_seconds = RETRY_SECONDS_FIRST
        self._flushed: list[Deferred[None]] = []

    def add(self, event: _T) -> None:
        """Queue one event; it is sent soon, or when the far end is back."""
        self._waiting.put(event)
        if self._away:
            return
        self._hurry = self._hurry or self._urgent(event)
        if not self._sending and (self._timer is None or self._hurry or len(self._waiting) >= self._size):
            self._schedule()

    def resume(self) -> None:
        """The far end is back: send what waits without delay."""
        self._retry_seconds = RETRY_SECONDS_FIRST
        self._away = False
        if self._waiting and not self._sending:
            self._cancel()
            self._send()

    def flush(self, seconds: float) -> Deferred[None]:
        """Send what waits now; fires when all is sent, a call failed, or after ``seconds``."""
        done: Deferred[None] = Deferred()
        if not self._waiting and not self._sending:
            done.callback(None)
            return done
        self._flushed.append(done)
        self.resume()
        return done.addTimeout(seconds, self._clock).addErrback(lambda failure: None)

    def stop(self) -> None:
        """Stop sending."""
        self._cancel()
        self._waiting.clear()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        """Send what waits: at once if a batch is full, an event is urgent or a flush was asked for; else soon."""
        at_once = self._hurry or len(self._waiting) >= self._size or bool(self._flushed)
        if self._timer is None:
            self._timer = self._clock.callLater(0.0 if at_once else self._gather_seconds, self._send)
        elif at_once and self._timer.getTime() > self._clock.seconds():
            self._timer.reset(0.0)

    def _send(self) -> None:
        self._timer = None
        self._sending = True
        self._hurry = False
        Deferred.fromCoroutine(self._send_batch())

    async def _send_batch(self) -> None:
        batch = self._waiting.take(self._size)
        again: float | None = None
        try:
            taken = await self._hand_over(batch)
        except BatchRefused:
            again = self._narrow(batch)
        except BatchFailed:
            self._tries += 1
            if self._tries < TRIES_MOST:
                again = self._put_back(batch)
            else:
                again = self._narrow(batch)
        except Exception:
            # Away for now; what came in meanwhile may have filled the queue, so the bound holds here too.
            again = self._put_back(batch)
        else:
            self._retry_seconds = RETRY_SECONDS_FIRST
            self._tries = 0
            self._suspects -= len(batch) if taken is None else taken
            if self._suspects <= 0:
                self._size = self._batch
            if taken is not None and taken < len(batch):
                self._waiting.put_back(batch[taken:])
                self._hurry = True
            if lost := self._waiting.lost():
                self._report_dropped(lost)
        self._sending = False
        self._away = again is not None
        if again is not None and self._timer is None:
            self._timer = self._clock.callLater(again, self._send)
        elif self._waiting and self._timer is None:
            self._schedule()
        if self._away or not self._waiting:
            flushed, self._flushed = self._flushed, []
            for done in flushed:
                done.callback(None)

    def _put_back(self, batch: Sequence[_T]) -> float:
        """Send a batch again, after these seconds; each time after longer ones."""
        self._waiting.put_back(batch)
        seconds = self._retry_seconds
        self._retry_seconds = min(seconds * 2, RETRY_SECONDS_MOST)
        return seconds

    def _narrow(self, batch: Sequence[_T]) -> float | None:
        """The far end does not take a batch: send half of it next, or set aside what stays alone."""
        self._tries = 0
        self._retry_seconds = RETRY_SECONDS_FIRST
        if len(batch) > 1:
            self._waiting.put_back(batch)
            self._size, self._suspects = len(batch) // 2, len(batch)
            return self._retry_seconds
        self._size, self._suspects = self._batch, 0
        if self._set_aside is None:
            self._waiting.dropped += len(batch)
        else:
            self._set_aside(batch[0])
        return self._retry_seconds if self._waiting else None
