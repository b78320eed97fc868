"""Events on their way to the next daemon: from the server to a client, from a client to the backend.

Duty: keep events in order while the far end is away, send them in batches, and never let a flood of them grow without
bound: the oldest are dropped first, and how many were is reported. Trusts nothing in an event; who receives it judges.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from smartproxy.logs.fields import Value

WAITING_MOST = 10_000
"""Events kept while the far end is away."""
BATCH_MOST = 100
"""Events in one call."""
GATHER_SECONDS = 0.2
"""How long the first event of a batch waits for company."""
RETRY_SECONDS_FIRST = 1.0
RETRY_SECONDS_MOST = 30.0

Document = dict[str, Value]


class Refused(Exception):
    """Raised by a carrier's ``send``: the far end will never take this batch; another try would be no use."""


class Carrier:
    """A bounded queue of events with one sender.

    :param send: hands a batch over; any exception but :class:`Refused` means that it can be tried again.
    :param clock: ``callLater``'s owner.
    :param dropped: told how many events were lost, as soon as the far end takes events again.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Document]], Awaitable[None]],
        clock: IReactorTime,
        dropped: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._hand_over = send
        self._clock = clock
        self._report_dropped = dropped
        self._waiting: deque[Document] = deque()
        self._timer: IDelayedCall | None = None
        self._sending = False
        self._retry_seconds = RETRY_SECONDS_FIRST
        self._flushed: list[Deferred[None]] = []
        self._dropped = 0

    def add(self, event: Document) -> None:
        """Queue one event; it is sent soon, or when the far end is back."""
        if len(self._waiting) >= WAITING_MOST:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(event)
        if self._timer is None and not self._sending:
            self._timer = self._clock.callLater(GATHER_SECONDS, self._send)

    def resume(self) -> None:
        """The far end is back: send what waits without delay."""
        self._retry_seconds = RETRY_SECONDS_FIRST
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
        """Send nothing more."""
        self._cancel()
        self._waiting.clear()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send(self) -> None:
        self._timer = None
        self._sending = True
        Deferred.fromCoroutine(self._send_batch())

    async def _send_batch(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(BATCH_MOST, len(self._waiting)))]
        again: float | None = None
        try:
            await self._hand_over(batch)
        except Refused:
            self._dropped += len(batch)
            again = self._retry_seconds if self._waiting else None
        except Exception:
            # Away for now; what came in meanwhile may have filled the queue, so the bound holds here too.
            room = WAITING_MOST - len(self._waiting)
            self._dropped += max(0, len(batch) - room)
            self._waiting.extendleft(reversed(batch[max(0, len(batch) - room) :]))
            again = self._retry_seconds
            self._retry_seconds = min(self._retry_seconds * 2, RETRY_SECONDS_MOST)
        else:
            self._retry_seconds = RETRY_SECONDS_FIRST
            if self._dropped:
                lost, self._dropped = self._dropped, 0
                self._report_dropped(lost)
            again = 0.0 if self._waiting else None
        self._sending = False
        if again is not None and self._timer is None:
            self._timer = self._clock.callLater(again, self._send)
        if again != 0.0:
            flushed, self._flushed = self._flushed, []
            for done in flushed:
                done.callback(None)
