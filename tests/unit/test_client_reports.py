"""The client's queue of events for the backend."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.client import reports
from smartproxy.client.backend import Backend, BackendRefused, BackendUnavailable
from smartproxy.client.reports import Reports


class StoringBackend:
    """Takes events, or fails as it is told."""

    def __init__(self) -> None:
        self.stored: list[Any] = []
        self.failure: Exception | None = None
        self.calls = 0

    async def events(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Store a batch, or fail."""
        self.calls += 1
        if self.failure is not None:
            raise self.failure
        self.stored.extend(events)


class EventReports(SynchronousTestCase):
    """Nothing is lost while the backend is away, and nothing grows without bound."""

    def setUp(self) -> None:
        """A queue on a fake clock."""
        self.clock = Clock()
        self.backend = StoringBackend()
        self.reports = Reports(cast(Backend, self.backend), self.clock)

    def test_events_arrive_in_order_and_in_batches(self) -> None:
        """Events that come close together travel in few calls, in their order."""
        for number in range(450):
            self.reports.add({"n": number})
        self.clock.pump([0.3, 0.1, 0.1])
        self.assertEqual([event["n"] for event in self.backend.stored], list(range(450)))
        self.assertEqual(self.backend.calls, 3)

    def test_events_wait_for_the_backend(self) -> None:
        """A failed call loses nothing: the events go out, once, when the backend is back."""
        self.backend.failure = BackendUnavailable("away")
        self.reports.add({"n": 1})
        self.clock.pump([0.3, 1, 2])
        self.reports.add({"n": 2})
        self.backend.failure = None
        self.clock.pump([4, 8])
        self.assertEqual([event["n"] for event in self.backend.stored], [1, 2])

    def test_waiting_events_are_bounded(self) -> None:
        """With the backend away for long the oldest go first, and are counted."""
        self.patch(reports, "WAITING_MOST", 10)
        for number in range(15):
            self.reports.add({"n": number})
        self.clock.pump([0.3, 0.1])
        self.assertEqual([event["n"] for event in self.backend.stored], list(range(5, 15)))
        self.assertEqual(self.reports.dropped, 5)

    def test_refused_batches_are_not_sent_for_ever(self) -> None:
        """A batch that the backend will not store is dropped and counted; the next one goes out."""
        self.backend.failure = BackendRefused(400, "event", "no such event")
        self.reports.add({"n": 1})
        self.clock.advance(0.3)
        self.backend.failure = None
        self.reports.add({"n": 2})
        self.clock.pump([0.3, 1])
        self.assertEqual([event["n"] for event in self.backend.stored], [2])
        self.assertEqual(self.reports.dropped, 1)

    def test_flush_sends_at_once(self) -> None:
        """At the end of the process what waits is sent without delay, and an empty queue is flushed at once."""
        self.reports.add({"n": 1})
        self.successResultOf(self.reports.flush(5))
        self.assertEqual(self.backend.stored, [{"n": 1}])
        self.successResultOf(self.reports.flush(5))

    def test_flush_gives_up(self) -> None:
        """A backend that is away does not hold the end of the process up."""
        self.backend.failure = BackendUnavailable("away")
        self.reports.add({"n": 1})
        self.successResultOf(self.reports.flush(5))
        self.reports.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
