"""Carries out the planned change-overs of identities: a generation for each, within seconds of its date.

Servers get it as any other change. Where the backend was down at the date, it is done when one is up again.
"""

from collections.abc import Sequence

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from smartproxy.backend import identities
from smartproxy.backend.change import Channel
from smartproxy.backend.errors import StoreUnavailable
from smartproxy.backend.generations import changing
from smartproxy.backend.rounds import StoreRounds
from smartproxy.logs.clock import now

_EVERY_SECONDS = 5.0


class ChangeOvers(StoreRounds):
    """The look, every few seconds."""

    async def look(self) -> float:
        """Carry out what is due."""
        again = _EVERY_SECONDS
        for name in await self._runner.run(self._due):
            try:
                await self._runner.run(self._carry_out, name)
            except (CancelledError, StoreUnavailable):
                raise
            except Exception:
                # One identity must not keep the others from changing over.
                self._events.failure(__name__, Failure())
                again = self.fault_seconds
        return again

    def _due(self) -> Sequence[str]:
        with self._store.reading() as session:
            return identities.due(session, now(self._clock))

    def _carry_out(self, name: str) -> None:
        what = f"identity change-over {name}"
        with changing(
            self._store, by="smartproxy-backend", what=what, now=now(self._clock), channel=Channel.BACKEND
        ) as change:
            identities.change_over(change, name)
