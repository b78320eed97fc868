"""Carries out the planned change-overs of identities: a generation for each, within seconds of its date.

Servers get it as any other change. Where the backend was down at the date, it is done when one is up again.
"""

from collections.abc import Sequence

from smartproxy.backend import identities
from smartproxy.backend.change import Channel
from smartproxy.backend.generations import changing
from smartproxy.backend.rounds import StoreRounds
from smartproxy.logs.clock import now

_EVERY_SECONDS = 5.0


class ChangeOvers(StoreRounds):
    """The look, every few seconds."""

    async def look(self) -> float:
        """Carry out what is due."""
        for name in await self._runner.run(self._due):
            await self._runner.run(self._carry_out, name)
        return _EVERY_SECONDS

    def _due(self) -> Sequence[str]:
        with self._store.reading() as session:
            return identities.due(session, now(self._clock))

    def _carry_out(self, name: str) -> None:
        what = f"identity change-over {name}"
        with changing(
            self._store, by="smartproxy-backend", what=what, now=now(self._clock), channel=Channel.BACKEND
        ) as change:
            identities.change_over(change, name)
