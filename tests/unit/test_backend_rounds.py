"""Looks into the store that come again, whatever happens to one of them."""

from twisted.internet.task import Clock
from twisted.logger import Logger

from smartproxy.backend.errors import StoreBusy, StoreOutdated, StoreReadOnly, StoreUnavailable, StoreUnreachable
from smartproxy.backend.rounds import StoreRounds
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from tests.adapters.api_site import AtOnce
from tests.unit.sites import SiteCase


class _Looks(StoreRounds):
    """Raises what it is told to, one look after the other."""

    busy_seconds = 3.0
    fault_seconds = 50.0

    def __init__(self, case: "Rounds", *raised: Exception | None) -> None:
        self.clock = Clock()
        self.told: list[dict[str, Value]] = []
        events = Events(Logger(), self.told.append, self.clock, source="backend")
        super().__init__(case.store, AtOnce(), events, self.clock)
        self._raised = list(raised)
        self.away: list[StoreUnavailable] = []
        self.count = 0

    async def look(self) -> float:
        """Raise the next of them; else say seven seconds."""
        self.count += 1
        raised = self._raised.pop(0) if self._raised else None
        if raised is not None:
            raise raised
        return 7.0

    def tell_away(self, fault: StoreUnavailable) -> None:
        """Keep it."""
        self.away.append(fault)


class Rounds(SiteCase):
    """The next look comes after the seconds that fit."""

    def next_comes_after(self, looks: _Looks, seconds: float) -> None:
        """Check that the next look comes then, and not before."""
        before = looks.count
        looks.clock.advance(seconds - 0.1)
        self.assertEqual(looks.count, before)
        looks.clock.advance(0.1)
        self.assertEqual(looks.count, before + 1)

    def test_store_away(self) -> None:
        """A store that is away is no bug, whatever the cause; a busy one is asked again sooner."""
        causes = (
            (StoreBusy(), 3.0),
            (StoreUnreachable(), 3.0),
            (StoreOutdated("the store is of a newer version"), 50.0),
            (StoreReadOnly("it takes no changes"), 50.0),
        )
        looks = _Looks(self, *(cause for cause, _ in causes))
        looks.start()
        self.addCleanup(looks.stop)
        for _, seconds in causes:
            self.next_comes_after(looks, seconds)
        self.assertEqual((looks.told, looks.away), ([], [cause for cause, _ in causes]))
        self.next_comes_after(looks, 7.0)

    def test_bug(self) -> None:
        """A bug is reported with the module of the look, and the next look comes."""
        looks = _Looks(self, KeyError("x"))
        looks.start()
        self.addCleanup(looks.stop)
        self.assertEqual([(each["name"], each["place"]) for each in looks.told], [("internal.error", __name__)])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.next_comes_after(looks, 50.0)
