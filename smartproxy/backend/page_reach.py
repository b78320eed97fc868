"""How the page is reached, as the settings say: through which reverse proxies.

Duty: put ``backend.page`` in force at the start and within a second after each change, whoever made it. Never waits for
the store in the reactor.
"""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from smartproxy.backend import generations
from smartproxy.backend.alerts.intake import backend_settings
from smartproxy.backend.errors import StoreBusy, StoreOutdated
from smartproxy.backend.rounds import LOOK_SECONDS, Rounds
from smartproxy.backend.store import Runner, Store
from smartproxy.logs.emit import Events
from smartproxy.policy.page_access import PageAccess, ReverseProxies


class PageReach:
    """Follows the settings, between :meth:`start` and :meth:`stop`.

    :ivar proxies: the reverse proxies in front of the page.
    """

    def __init__(self, store: Store, runner: Runner, events: Events, clock: IReactorTime) -> None:
        self._store = store
        self._runner = runner
        self._events = events
        self._known = 0
        self._used = PageAccess()
        self.proxies = ReverseProxies(self._used)
        self._rounds = Rounds(clock, self._look)

    def start(self) -> None:
        """Put the settings in force, and look every second whether they are others."""
        self._use(self._read())
        self._rounds.start()

    def stop(self) -> Deferred[None]:
        """Look no more."""
        return self._rounds.stop()

    async def _look(self) -> float:
        try:
            found = await self._runner.run(self._read)
            if self._rounds.running:
                self._use(found)
        except (StoreBusy, StoreOutdated):
            pass  # The hourly look tells it.
        except Exception:
            self._events.failure("smartproxy.backend.page_reach", Failure())
        return LOOK_SECONDS

    def _read(self) -> PageAccess:
        """The settings of the newest generation; those in use if it is the one that is known."""
        with self._store.reading() as session:
            newest = generations.newest_number(session)
            if newest == self._known:
                return self._used
            found = backend_settings(session).page
        self._known = newest
        return found

    def _use(self, wanted: PageAccess) -> None:
        if wanted != self._used:
            self._used = wanted
            self.proxies = ReverseProxies(wanted)
