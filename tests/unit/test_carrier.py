"""The queue of events for the next daemon."""

from collections.abc import Collection, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs.carrier import (
    GATHER_SECONDS,
    BatchFailed,
    BatchRefused,
    Carrier,
    Document,
    Waiting,
    is_urgent,
)
from smartproxy.policy.limits import RETRY_SECONDS_FIRST


class Storing:
    """Takes events, or fails as it is told."""

    def __init__(self) -> None:
        self.stored: list[Document] = []
        self.failure: Exception | None = None
        self.answer: Deferred[None] | None = None
        self.calls = 0

    async def send(self, events: Sequence[Document]) -> None:
        """Store a batch, or fail, or keep the carrier waiting."""
        self.calls += 1
        if self.answer is not None:
            await self.answer
        if self.failure is not None:
            raise self.failure
        self.stored.extend(events)

    @property
    def numbers(self) -> list[object]:
        """What was stored, by number."""
        return [event["n"] for event in self.stored]


class Entries(SynchronousTestCase):
    """The queue itself."""

    def test_oldest_give_way(self) -> None:
        """The newest entries stay, in their order; how many went is told once, and who puts one in is told."""
        waiting: Waiting[int] = Waiting(3)
        self.assertEqual([waiting.put(number) for number in range(5)], [True, True, True, False, False])
        self.assertEqual((waiting.take(2), len(waiting)), ([2, 3], 1))
        self.assertEqual((waiting.lost(), waiting.lost()), (2, 0))

    def test_what_is_put_back_comes_first(self) -> None:
        """Entries that come back stand before the others, within the bound."""
        waiting: Waiting[int] = Waiting(3)
        waiting.put(7)
        waiting.put_back([1, 2, 3])
        self.assertEqual((waiting.take(9), waiting.lost()), ([2, 3, 7], 1))


class CarriedEvents(SynchronousTestCase):
    """Nothing is lost while the far end is away, and nothing grows without bound."""

    def setUp(self) -> None:
        """A queue on a fake clock."""
        self.clock = Clock()
        self.far = Storing()
        self.lost: list[int] = []
        self.carrier = Carrier(self.far.send, self.clock, self.lost.append)

    def test_events_arrive_in_order_and_in_batches(self) -> None:
        """Events that come close together travel in few calls, in their order."""
        for number in range(250):
            self.carrier.add({"n": number})
        self.clock.pump([0.6, 0.6, 0.6])
        self.assertEqual(self.far.numbers, list(range(250)))
        self.assertEqual(self.far.calls, 3)

    def test_events_wait_for_the_far_end(self) -> None:
        """A failed call loses nothing: the events go out, once, when the far end is back."""
        self.far.failure = ConnectionError("away")
        self.carrier.add({"n": 1})
        self.clock.pump([0.6, 1, 2])
        self.carrier.add({"n": 2})
        self.far.failure = None
        self.clock.pump([4, 8])
        self.assertEqual(self.far.numbers, [1, 2])
        self.assertEqual(self.lost, [])

    def test_resume_does_not_wait_for_the_next_try(self) -> None:
        """A far end that says that it is back gets what waits at once."""
        self.far.failure = ConnectionError("away")
        self.carrier.add({"n": 1})
        self.clock.pump([0.6, 1, 2, 4])
        self.far.failure = None
        self.carrier.resume()
        self.assertEqual(self.far.numbers, [1])

    def test_waiting_events_are_bounded(self) -> None:
        """With the far end away for long the oldest go first, and how many went is told once it is back."""
        self.carrier = Carrier(self.far.send, self.clock, self.lost.append, most=10)
        for number in range(15):
            self.carrier.add({"n": number})
        self.clock.pump([0.6, 0.1])
        self.assertEqual(self.far.numbers, list(range(5, 15)))
        self.assertEqual(self.lost, [5])

    def test_bound_holds_for_a_batch_that_comes_back(self) -> None:
        """Events that came in while a call failed do not make the queue larger than its bound."""
        self.carrier = Carrier(self.far.send, self.clock, self.lost.append, most=3)
        self.far.answer = Deferred()
        self.far.failure = ConnectionError("away")
        for number in range(3):
            self.carrier.add({"n": number})
        self.clock.advance(0.6)
        for number in range(3, 5):
            self.carrier.add({"n": number})
        answer, self.far.answer = self.far.answer, None
        answer.callback(None)
        self.far.failure = None
        self.clock.advance(2)
        self.assertEqual(self.far.numbers, [2, 3, 4])
        self.assertEqual(self.lost, [2])

    def test_refused_batches_are_not_sent_for_ever(self) -> None:
        """A batch that the far end will not take is dropped and counted; the next one goes out."""
        self.far.failure = BatchRefused()
        self.carrier.add({"n": 1})
        self.clock.advance(0.6)
        self.far.failure = None
        self.carrier.add({"n": 2})
        self.clock.pump([0.6, 1])
        self.assertEqual(self.far.numbers, [2])
        self.assertEqual(self.lost, [1])

    def picky(self, kind: type[Exception], bad: Collection[object]) -> list[list[object]]:
        """A far end that does not take events of some numbers, whatever comes with it; the batches that it was sent."""
        tried: list[list[object]] = []

        async def send(events: Sequence[Document]) -> None:
            tried.append([event["n"] for event in events])
            if set(tried[-1]) & set(bad):
                raise kind
            self.far.stored.extend(events)

        self.aside: list[object] = []
        self.carrier = Carrier(
            send, self.clock, self.lost.append, set_aside=lambda event: self.aside.append(event["n"])
        )
        return tried

    def test_one_bad_event(self) -> None:
        """One event that the far end does not take, for ever or by a failure, is set aside; others arrive at once."""
        for kind, alone in ((BatchRefused, 1), (BatchFailed, 2)):
            self.far.stored.clear()
            tried = self.picky(kind, {37})
            for number in range(100):
                self.carrier.add({"n": number})
            self.clock.pump([0] * 50)
            self.assertEqual(self.far.numbers, [each for each in range(100) if each != 37])
            self.assertEqual((tried.count([37]), self.lost), (alone, []))
            self.carrier.add({"n": 100})
            self.clock.advance(GATHER_SECONDS)
            self.assertEqual((self.aside, self.far.numbers[-1]), ([37], 100))
            self.clock.pump([1] * 100)
            self.assertEqual(tried.count([37]), alone)

    def test_many_bad_events(self) -> None:
        """Ten bad events to one good one hold the good ones back for a moment only, whatever their number."""
        for kind in (BatchRefused, BatchFailed):
            self.far.stored.clear()
            self.picky(kind, {"bad"})
            for number in range(400):
                events: list[str | int] = [*["bad"] * 10, number]
                for event in events:
                    self.carrier.add({"n": event})
                self.clock.pump([0.05] + [0] * 50)
            self.clock.pump([0.5, *[0] * 500] * 4)
            self.assertEqual(sorted(self.far.numbers), list(range(400)))
            self.assertEqual(self.lost, [])
            self.carrier.add({"n": "last"})
            self.clock.pump([1, 0, 0])
            self.assertEqual(self.aside, ["bad"] * 4000)

    def test_only_bad_events(self) -> None:
        """More bad events than a batch holds, one after the other, end before those behind them are old."""
        self.picky(BatchFailed, {"bad"})
        for _ in range(350):
            self.carrier.add({"n": "bad"})
        self.carrier.add({"n": 1})
        self.clock.pump([1, *[0] * 1000] * 20)
        self.assertEqual((self.far.numbers, self.lost), ([1], []))
        self.carrier.add({"n": 2})
        self.clock.pump([1, *[0] * 1000] * 20)
        self.assertEqual((self.far.numbers, self.aside), ([1, 2], ["bad"] * 350))

    def test_far_end_that_fails(self) -> None:
        """A far end that fails with everything for an hour has nothing set aside, and is not called often."""
        tried = self.picky(BatchFailed, range(2000))
        for number in range(360):
            self.carrier.add({"n": number})
            self.clock.pump([10] + [0] * 250)
        self.assertLess(len(tried), 20_000)
        self.carrier._hand_over = self.far.send
        self.carrier.add({"n": 360})
        self.clock.pump([1, *[0] * 100] * 40)
        self.assertEqual(sorted(self.far.numbers), list(range(361)))
        self.assertEqual((self.aside, self.lost), ([], []))

    def test_far_end_that_is_away(self) -> None:
        """A far end that is away, for however long, has nothing halved or set aside."""
        self.far.failure = ConnectionError("away")
        for number in range(100):
            self.carrier.add({"n": number})
        self.clock.pump([1] * 3600)
        self.far.failure = None
        self.clock.pump([31])
        self.assertEqual(self.far.numbers, list(range(100)))

    def test_a_part_arrives(self) -> None:
        """Of a batch of which a part arrives, the rest is sent at once, in order, and alone after a failure."""
        batches: list[list[object]] = []

        async def send(events: Sequence[Document]) -> int:
            batches.append([event["n"] for event in events])
            if len(batches) == 2:
                raise ConnectionError("away")
            return min(2, len(events))

        self.carrier = Carrier(send, self.clock, self.lost.append)
        for number in range(5):
            self.carrier.add({"n": number})
        self.clock.advance(GATHER_SECONDS)
        self.clock.advance(0)
        self.assertEqual(batches, [[0, 1, 2, 3, 4], [2, 3, 4]])
        self.clock.advance(RETRY_SECONDS_FIRST)
        self.clock.advance(0)
        self.assertEqual(batches[2:], [[2, 3, 4], [4]])
        self.assertEqual((self.clock.getDelayedCalls(), self.lost), ([], []))

    def test_events_gather(self) -> None:
        """Events wait for company, behind a call under way, too; a full batch does not wait."""
        calls: list[int] = []

        async def send(events: Sequence[Document]) -> None:
            calls.append(len(events))

        self.carrier = Carrier(send, self.clock, batch=10)
        for _ in range(3):
            self.carrier.add({"n": 1})
            self.clock.advance(0.1)
        self.assertEqual(calls, [])
        self.clock.advance(0.3)
        self.assertEqual(calls, [3])
        self.carrier.add({"n": 1})
        self.clock.advance(0.4)
        self.assertEqual(calls, [3])
        for _ in range(11):
            self.carrier.add({"n": 1})
        self.clock.advance(0)
        self.assertEqual(calls, [3, 10])
        self.clock.advance(0.5)
        self.assertEqual(calls, [3, 10, 2])

    def test_few_calls_under_load(self) -> None:
        """A call carries at least 50 events on average, at any rate from 150 a second on, however long it takes."""
        for rate in (150, 1000, 10_000):
            for seconds in (0.001, 0.005):
                calls: list[int] = []

                async def send(events: Sequence[Document], calls: list[int] = calls, seconds: float = seconds) -> None:
                    calls.append(len(events))
                    await deferLater(self.clock, seconds)

                carrier: Carrier[Document] = Carrier(send, self.clock)
                for number in range(3 * rate):
                    carrier.add({"n": number})
                    self.clock.advance(1 / rate)
                self.clock.pump([0.5] * 200)
                self.assertEqual(sum(calls), 3 * rate)
                self.assertGreaterEqual(sum(calls) / len(calls), 50, f"{rate} a second, {seconds} s: {calls}")

    def test_urgent_events_do_not_wait(self) -> None:
        """An event of level ERROR is sent at once, and what waits goes with it."""
        self.carrier = Carrier(self.far.send, self.clock, urgent=is_urgent)
        self.carrier.add({"n": 1, "level": "warning"})
        self.clock.advance(0)
        self.assertEqual(self.far.numbers, [])
        self.carrier.add({"n": 2, "level": "error"})
        self.clock.advance(0)
        self.assertEqual(self.far.numbers, [1, 2])

    def test_flush_sends_at_once(self) -> None:
        """At the end of the process what waits is sent without delay, and an empty queue is flushed at once."""
        self.carrier.add({"n": 1})
        self.successResultOf(self.carrier.flush(5))
        self.assertEqual(self.far.numbers, [1])
        self.successResultOf(self.carrier.flush(5))

    def test_flush_waits_for_a_call_under_way(self) -> None:
        """A batch that is being handed over is waited for, but no longer than asked."""
        self.far.answer = Deferred()
        self.carrier.add({"n": 1})
        self.clock.advance(0.6)
        flushed = self.carrier.flush(5)
        self.assertNoResult(flushed)
        self.clock.advance(5)
        self.successResultOf(flushed)

    def test_flush_gives_up(self) -> None:
        """A far end that is away does not hold the end of the process up."""
        self.far.failure = ConnectionError("away")
        self.carrier.add({"n": 1})
        self.successResultOf(self.carrier.flush(5))
        self.carrier.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
