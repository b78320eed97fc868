"""Events on their way to the backend.

Duty: keep events in order while the backend is away, send them in batches, and never let a flood of them grow without
bound: the oldest are dropped first and the number dropped is itself reported. Trusts nothing in an event; the backend
judges and stores.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from smartproxy.client.backend import Backend, BackendRefused, BackendUnavailable

WAITING_MOST = 10_000
"""Events kept while the backend is away."""
BATCH_MOST = 200
"""Events in one call."""
GATHER_SECONDS = 0.2
"""How long the first event of a batch waits for company."""
RETRY_SECONDS_FIRST = 1.0
RETRY_SECONDS_MOST = 30.0


class Reports:
    """A bounded queue of events with one sender.

    :param clock: ``callLater``'s owner.
    """

    def __init__(self, backend: Backend, clock: IReactorTime) -> None:
        self._backend = backend
        self._clock = clock
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._timer: IDelayedCall | None = None
        self._sending = False
        self._retry_seconds = RETRY_SECONDS_FIRST
        self._flushed: list[Deferred[None]] = []
        self.dropped = 0

    def add(self, event: Mapping[str, Any]) -> None:
        """Queue one event; it is sent soon, or when the backend is back."""
        if len(self._waiting) >= WAITING_MOST:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(event)
        if self._timer is None and not self._sending:
            self._timer = self._clock.callLater(GATHER_SECONDS, self._send)

    def flush(self, seconds: float) -> Deferred[None]:
        """Send what waits now; fires when all is sent, a call failed, or after ``seconds``."""
        done: Deferred[None] = Deferred()
        if not self._waiting and not self._sending:
            done.callback(None)
            return done
        self._flushed.append(done)
        if not self._sending:
            if self._timer is not None:
                self._timer.cancel()
            self._send()
        return done.addTimeout(seconds, self._clock).addErrback(lambda failure: None)

    def stop(self) -> None:
        """Send nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()

    def _send(self) -> None:
        self._timer = None
        self._sending = True
        Deferred.fromCoroutine(self._send_batch())

    async def _send_batch(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(BATCH_MOST, len(self._waiting)))]
        again: float | None = None
        try:
            await self._backend.events(batch)
            self._retry_seconds = RETRY_SECONDS_FIRST
            if self._waiting:
                again = 0.0
        except BackendRefused:
            # A batch that the backend will not store is not sent for ever; the refusal is in the backend's own log.
            self.dropped += len(batch)
            again = self._retry_seconds if self._waiting else None
        except BackendUnavailable:
            self._waiting.extendleft(reversed(batch))
            again = self._retry_seconds
            self._retry_seconds = min(self._retry_seconds * 2, RETRY_SECONDS_MOST)
        self._sending = False
        if again is not None:
            self._timer = self._clock.callLater(again, self._send)
        if again != 0.0:
            flushed, self._flushed = self._flushed, []
            for done in flushed:
                done.callback(None)
