"""Looks every minute whether a partner is silent or late: what :mod:`smartproxy.backend.business` finds, by itself."""

from twisted.internet.interfaces import IReactorTime

from smartproxy.backend.business import Business, BusinessLook
from smartproxy.backend.rounds import AGAIN_SECONDS, LOOK_SECONDS, StoreRounds
from smartproxy.backend.store import Runner, Store
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events


class BusinessWatch(StoreRounds):
    """The look, every minute.

    What it tells is stored with what is kept of it, in one transaction; the log is told afterwards.
    """

    def __init__(self, store: Store, runner: Runner, events: Events, clock: IReactorTime) -> None:
        super().__init__(store, runner, events, clock)
        self._business = Business()

    async def look(self) -> float:
        """Tell who is silent or late."""
        found = await self._runner.run(self._found)
        self._events.log_stored(found.told)
        return LOOK_SECONDS if found.more else AGAIN_SECONDS

    def _found(self) -> BusinessLook:
        with self._store.reading() as session:
            if not self._business.concerns(session):
                return BusinessLook()
        with self._store.writing() as session:
            return self._business.look(session, now(self._clock))
