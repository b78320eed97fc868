"""Events on their way to the next daemon or into the store: from the server to a client, from a client to the backend.

Duty: keep events in order while the far end is away, send them in batches, and never let a flood of them grow without
bound: the oldest are dropped first, and how many were is reported. A batch that the far end answers and does not take
is halved, at once, until the events that are to blame stand alone; they hold back no other. Such an event is set aside
when the far end refuses it for ever. An event that makes the far end fail twice, while it takes others after each time,
is set aside, too: a far end that fails with everything loses no event.
Trusts nothing in an event; the receiver judges it.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from smartproxy.logs.fields import Value
from smartproxy.logs.severity import Severity
from smartproxy.policy.limits import RETRY_SECONDS_FIRST, RETRY_SECONDS_MOST

WAITING_MOST = 10_000
"""Events kept while the far end is away."""
BATCH_MOST = 100
"""Events in one call."""
GATHER_SECONDS = 0.5
"""How long the first event of a batch waits for company; an urgent one and a full batch do not wait."""

Document = dict[str, Value]
_URGENT = frozenset(each.label for each in Severity if each >= Severity.ERROR)
_T = TypeVar("_T")


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
        self._set_aside = set_aside
        self._batch = batch
        self._gather_seconds = gather_seconds
        self._urgent = urgent
        self._waiting: Waiting[_T] = Waiting(most)
        # What the far end failed with once, and has taken others since; it is tried again before all that wait.
        self._again: Waiting[_T] = Waiting(most)
        # Single events that the far end failed with since it last took one; True: for the second time.
        self._doubted: Waiting[tuple[bool, _T]] = Waiting(most)
        self._source = self._waiting
        # Sizes of the next batches from the source, the last one first: the parts of one that was not taken.
        self._parts: list[int] = []
        self._failures = 0
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
        full = len(self._waiting) >= self._batch
        if not self._sending and (self._timer is None or self._hurry or full or self._doubted):
            self._schedule()

    def resume(self) -> None:
        """The far end is back: send what waits without delay."""
        self._retry_seconds = RETRY_SECONDS_FIRST
        self._away = False
        if (self._waiting or self._again or self._doubted) and not self._sending:
            self._cancel()
            self._send()

    def flush(self, seconds: float) -> Deferred[None]:
        """Send what waits now; fires when all is sent, a call failed, or after ``seconds``."""
        done: Deferred[None] = Deferred()
        if not (self._waiting or self._again or self._doubted or self._sending):
            done.callback(None)
            return done
        self._flushed.append(done)
        self.resume()
        return done.addTimeout(seconds, self._clock).addErrback(lambda failure: None)

    def stop(self) -> None:
        """Stop sending."""
        self._cancel()
        for each in (self._waiting, self._again, self._doubted):
            each.clear()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        """Send what waits: at once if a batch is full, narrowed, urgent or a flush was asked for; else soon."""
        full = len(self._waiting) >= self._batch
        at_once = self._hurry or full or bool(self._flushed or self._parts or self._again)
        seconds = 0.0 if at_once else self._gather_seconds
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._send)
        elif self._timer.getTime() > self._clock.seconds() + seconds:
            self._timer.reset(seconds)

    def _send(self) -> None:
        self._timer = None
        self._sending = True
        self._hurry = False
        Deferred.fromCoroutine(self._send_batch())

    def _take(self) -> list[_T]:
        """The next batch: a part of one that was not taken, what is tried again, what waits, or what is in doubt."""
        if not self._source:
            # The oldest may have been dropped meanwhile.
            self._parts.clear()
        if not self._parts:
            if not self._waiting and not self._again:
                doubted = self._doubted.take(len(self._doubted))
                self._waiting.put_back([each for second, each in doubted if not second])
                self._again.put_back([each for second, each in doubted if second])
            self._source = self._again or self._waiting
        return self._source.take(self._parts.pop() if self._parts else self._batch)

    async def _send_batch(self) -> None:
        batch = self._take()
        again: float | None = None
        try:
            taken = await self._hand_over(batch)
        except (BatchRefused, BatchFailed) as failure:
            again = self._narrow(batch, for_ever=isinstance(failure, BatchRefused))
            self._away = again is not None and bool(self._waiting or self._again)
        except Exception:
            # Away for now; what came in meanwhile may have filled the queue, so the bound holds here too.
            self._source.put_back(batch)
            if self._parts:
                self._parts.append(len(batch))
            again = self._pause()
            self._away = True
        else:
            self._away = False
            self._took(batch, len(batch) if taken is None else taken)
        self._sending = False
        if again is not None and self._timer is None:
            self._timer = self._clock.callLater(again, self._send)
        elif (self._waiting or self._again or self._doubted) and self._timer is None:
            self._schedule()
        if again is not None or not (self._waiting or self._again):
            flushed, self._flushed = self._flushed, []
            for done in flushed:
                done.callback(None)

    def _took(self, batch: Sequence[_T], count: int) -> None:
        """The far end took the first events of a batch: so it was not the reason why it failed with others."""
        self._retry_seconds = RETRY_SECONDS_FIRST
        self._failures = 0
        if count < len(batch):
            self._source.put_back(batch[count:])
            if self._parts:
                self._parts.append(len(batch) - count)
            self._hurry = True
        for second, event in self._doubted.take(len(self._doubted)):
            if second:
                self._give_up(event)
            else:
                self._again.put(event)
        if lost := sum(each.lost() for each in (self._waiting, self._again, self._doubted)):
            self._report_dropped(lost)

    def _narrow(self, batch: Sequence[_T], *, for_ever: bool) -> float | None:
        """The far end does not take a batch: send half of it next, or doubt what stays alone; seconds to wait."""
        if len(batch) > 1:
            half = len(batch) // 2
            self._source.put_back(batch)
            self._parts += [len(batch) - half, half]
            return None
        if for_ever:
            self._give_up(batch[0])
            return None
        self._doubted.put((self._source is self._again, batch[0]))
        self._failures += 1
        if self._failures < 2 * self._batch and (self._waiting or self._again):
            return None
        # It fails with everything, fresh or tried again, or there is nothing else: it is given time.
        self._failures = 0
        self._parts.clear()
        return self._pause()

    def _pause(self) -> float:
        """How many seconds to wait; longer each time."""
        seconds = self._retry_seconds
        self._retry_seconds = min(seconds * 2, RETRY_SECONDS_MOST)
        return seconds

    def _give_up(self, event: _T) -> None:
        if self._set_aside is None:
            self._waiting.dropped += 1
        else:
            self._set_aside(event)
