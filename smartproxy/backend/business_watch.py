"""Looks every minute whether a partner is silent or late: what :mod:`smartproxy.backend.business` finds, by itself."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from smartproxy.backend.business import Business, BusinessLook
from smartproxy.backend.errors import StoreBusy, StoreOutdated
from smartproxy.backend.rounds import AGAIN_SECONDS, LOOK_SECONDS, Rounds
from smartproxy.backend.store import Runner, Store
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events


class BusinessWatch:
    """The look, between :meth:`start` and :meth:`stop`.

    What it tells is stored with what is kept of it, in one transaction; the log is told afterwards.
    """

    def __init__(self, store: Store, runner: Runner, events: Events, clock: IReactorTime) -> None:
        self._store = store
        self._runner = runner
        self._events = events
        self._clock = clock
        self._business = Business()
        self._rounds = Rounds(clock, self._look)

    def start(self) -> None:
        """Look now, and every minute."""
        self._rounds.start()

    def stop(self) -> Deferred[None]:
        """Look no more; fires when the look that is going on has ended."""
        return self._rounds.stop()

    async def _look(self) -> float:
        """One look; return after how many seconds the next one comes."""
        try:
            found = await self._runner.run(self._found)
        except (StoreBusy, StoreOutdated):
            # The hourly look tells of a store that is outdated.
            return AGAIN_SECONDS
        except Exception:
            self._events.failure("smartproxy.backend.business_watch", Failure())
            return AGAIN_SECONDS
        self._events.log_stored(found.told)
        return LOOK_SECONDS if found.more else AGAIN_SECONDS

    def _found(self) -> BusinessLook:
        with self._store.reading() as session:
            if not self._business.concerns(session):
                return BusinessLook()
        with self._store.writing() as session:
            return self._business.look(session, now(self._clock))
