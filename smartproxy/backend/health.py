"""Whether the backend can answer calls, as load balancers ask.

Anybody may ask, without a token; so the store is asked once a second at most, however many ask, and a store that does
not answer is not waited for.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

KEPT_SECONDS = 1.0
"""So long an answer of the store counts."""
PATIENCE_SECONDS = 5.0
"""After so long the store counts as one that does not answer."""


class Readiness:
    """Whether the store answers.

    :param ask: asks it something that costs little.
    """

    def __init__(self, clock: IReactorTime, ask: Callable[[], Deferred[object]]) -> None:
        self._clock = clock
        self._ask = ask
        self._is_ready = False
        self._known_until = 0.0
        self._asking = False
        self._waiting: list[Deferred[bool]] = []

    def ready(self) -> Deferred[bool]:
        """Whether calls can be answered."""
        waiting: Deferred[bool] = Deferred()
        if not self._asking and self._clock.seconds() < self._known_until:
            waiting.callback(self._is_ready)
            return waiting
        waiting.addTimeout(PATIENCE_SECONDS, self._clock, onTimeoutCancel=lambda result, seconds: False)
        self._waiting.append(waiting)
        if not self._asking:
            self._asking = True
            self._ask().addCallbacks(lambda _: self._learned(True), self._failed)
        return waiting

    def _failed(self, failure: Failure) -> None:
        self._learned(False)

    def _learned(self, is_ready: bool) -> None:
        self._asking = False
        self._is_ready, self._known_until = is_ready, self._clock.seconds() + KEPT_SECONDS
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(is_ready)
