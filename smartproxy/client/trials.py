"""Trials: test connections to partners and to the station, when an operator asks for one.

Duty: wait at the backend for trials, and have each carried out where sessions live, without transferring anything; the
result is one event with the trial's session id. A trial of a partner is a call that ends with the partner's SSRM; a
trial of the station is a connection that ends with its SSRM. Another module reports that the backend is unreachable.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from smartproxy.client.backend import Backend, BackendRefused, BackendUnavailable, Trial
from smartproxy.client.upkeep import POLL_SECONDS_LEAST
from smartproxy.logs.emit import Events

RETRY_SECONDS = 30.0
"""The wait after a call that the backend did not answer."""


class Trials:
    """Runs trials as long as the client runs.

    :param reactor: runs every deadline.
    :param try_out: calls a partner or the station; see :meth:`~smartproxy.client.house.House.try_out`.
    :param wished: told what an operator wants of a live session.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        events: Events,
        backend: Backend,
        try_out: Callable[[str, str | None], Coroutine[Any, Any, None]],
        wished: Callable[[Trial], None] = lambda wish: None,
    ) -> None:
        self._reactor = reactor
        self._events = events
        self._backend = backend
        self._try_out = try_out
        self._wished = wished
        self._running: set[Deferred[None]] = set()

    def start(self) -> None:
        """Wait for trials until :meth:`stop`."""
        self._run(Deferred.fromCoroutine(self._follow()))

    def stop(self) -> None:
        """Wait for no further trials, and give up those that run."""
        for running in list(self._running):
            running.cancel()

    def _run(self, running: Deferred[None]) -> None:
        self._running.add(running)

        def over(result: Failure | None) -> None:
            self._running.discard(running)
            if isinstance(result, Failure) and result.check(CancelledError) is None:
                self._events.failure("smartproxy.client.trials", result)

        running.addBoth(over)

    async def _follow(self) -> None:
        known: int | None = None
        while True:
            asked = self._reactor.seconds()
            try:
                known, trials = await self._backend.trials(known)
            except (BackendRefused, BackendUnavailable):
                await deferLater(self._reactor, RETRY_SECONDS)
                continue
            for trial in trials:
                self._run(Deferred.fromCoroutine(self._carry_out(trial)))
            if not trials:
                # Do not flood a backend that answers without waiting.
                await deferLater(self._reactor, max(0.0, POLL_SECONDS_LEAST - (self._reactor.seconds() - asked)))

    async def _carry_out(self, trial: Trial) -> None:
        if trial.wish is not None:
            self._wished(trial)
        else:
            await self._try_out(trial.session, trial.partner)
