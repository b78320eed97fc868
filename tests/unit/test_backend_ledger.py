"""The backend's own events on their way into the store; and the small judges of calls: rates, versions."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from sqlalchemy import text
from sqlalchemy.exc import DatabaseError
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import journal
from smartproxy.backend.errors import StoreBusy, StoreReadOnly, StoreUnavailable
from smartproxy.backend.ledger import BUSY_SECONDS, WAITING_MOST, Ledger
from smartproxy.backend.requests import (
    ADDRESSES_MOST,
    EVENT_EVERY_SECONDS,
    EVENTS_AT_ONCE,
    RefusalRate,
)
from smartproxy.logs.emit import Events
from smartproxy.policy.causes import Cause
from tests.unit.sites import NOW, SiteCase


class Later:
    """Runs work when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Keep it for later."""
        done: Deferred[Any] = Deferred()
        self.waiting.append((lambda: work(*args, **kwargs), done))
        return done

    def work(self) -> None:
        """Do the first of what waits."""
        work, done = self.waiting.pop(0)
        try:
            result = work()
        except Exception:
            done.errback()
        else:
            done.callback(result)


class OwnEvents(SiteCase):
    """In order, in batches, bounded."""

    def setUp(self) -> None:
        """A ledger whose store is as slow as a test likes."""
        super().setUp()
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.later = Later()
        self.ledger = Ledger(self.store, self.later, self.clock)
        self.events = Events(Logger(), self.ledger, self.clock, source="backend")

    def tell(self, count: int) -> None:
        """Have events happen."""
        for number in range(count):
            self.events.emit("backend.call_refused", cause=Cause.API_TOKEN, message=f"{number}", client="inner")

    def messages(self) -> list[object]:
        """The messages of the stored ones, in the order of the store."""
        return [each.fields["message"] for each in self.stored("backend.call_refused")]

    def test_order(self) -> None:
        """Events that happen while others are stored are stored after them, in one transaction."""
        self.tell(1)
        self.tell(3)
        self.later.work()
        self.assertEqual(self.messages(), ["0"])
        self.later.work()
        self.assertEqual(self.messages(), ["0", "0", "1", "2"])
        self.assertEqual(self.later.waiting, [])

    def test_finish(self) -> None:
        """The end waits for what is not stored yet."""
        self.successResultOf(self.ledger.finish())
        self.tell(1)
        done = self.ledger.finish()
        self.assertNoResult(done)
        self.later.work()
        self.successResultOf(done)
        self.assertEqual(self.messages(), ["0"])

    def test_bound(self) -> None:
        """When the store does not keep up, the queue stays bounded, and the loss is told in its place."""
        self.tell(1)
        self.tell(WAITING_MOST + 5)
        self.later.work()
        self.later.work()
        self.assertEqual(len(self.messages()), WAITING_MOST + 1)
        (dropped,) = self.stored("events.dropped")
        self.assertEqual(dropped.fields["count"], 5)
        self.tell(1)
        self.later.work()
        self.assertEqual(len(self.stored("events.dropped")), 1)

    def test_busy_store(self) -> None:
        """What a busy store does not take is stored as soon as it is free, in order; at the end it has one chance."""
        self.tell(1)
        with patch.object(journal, "keep", side_effect=StoreBusy):
            self.later.work()
        self.tell(1)
        self.assertEqual((self.messages(), self.later.waiting), ([], []))
        self.clock.advance(BUSY_SECONDS)
        self.later.work()
        self.later.work()
        self.assertEqual(self.messages(), ["0", "0"])
        self.tell(1)
        done = self.ledger.finish()
        with patch.object(journal, "keep", side_effect=StoreBusy), capturedLogs() as logged:
            self.later.work()
        self.successResultOf(done)
        (lost,) = [each for each in logged if each["log_format"] == "events are not stored: {reason}"]
        self.assertIn("the store is busy", lost["reason"])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_read_only_store(self) -> None:
        """What a store that takes no changes for a while does not take is stored when it takes them again."""
        self.tell(1)
        with patch.object(journal, "keep", side_effect=StoreReadOnly):
            self.later.work()
        self.clock.advance(BUSY_SECONDS)
        self.later.work()
        self.assertEqual(self.messages(), ["0"])

    def test_losses_are_counted(self) -> None:
        """What a failing store lost is told before the next events, as the backend's; a second failure adds to it."""
        for _ in range(2):
            self.tell(1)
            with patch.object(journal, "keep", side_effect=StoreUnavailable("no way")), capturedLogs():
                self.later.work()
        self.tell(1)
        self.later.work()
        *_, dropped, kept = self.stored()
        self.assertEqual((dropped.name, dropped.source, dropped.fields["count"]), ("events.dropped", "backend", 2))
        self.assertEqual(kept.name, "backend.call_refused")
        self.tell(1)
        self.later.work()
        self.assertEqual(len(self.stored("events.dropped")), 1)

    def test_failing_store(self) -> None:
        """A store that fails once loses that batch, loudly, and takes the next one."""
        self.tell(1)
        malformed = DatabaseError("INSERT", {}, Exception("disk image is malformed"))
        with patch.object(journal, "keep", side_effect=malformed):
            self.later.work()
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.tell(2)
        self.later.work()
        self.later.work()
        self.assertEqual(self.messages(), ["0", "1"])

    def test_outdated_store(self) -> None:
        """Events that a store of another version does not take are told of in one line, without a traceback."""
        with self.store.writing() as session:
            session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        self.tell(1)
        with capturedLogs() as seen:
            self.later.work()
        (reason,) = [each["reason"] for each in seen if "reason" in each]
        self.assertIn("restart smartproxy-backend", reason)
        self.assertEqual(self.flushLoggedErrors(), [])


class Rates(SynchronousTestCase):
    """How many refused calls of an address are told."""

    def test_some_at_once(self) -> None:
        """A few at once, then one each few seconds, each saying how many were not told."""
        rate = RefusalRate()
        told = [rate.admit("192.0.2.1", 100.0) for _ in range(EVENTS_AT_ONCE + 5)]
        self.assertEqual(told, [0] * EVENTS_AT_ONCE + [None] * 5)
        self.assertEqual(rate.admit("192.0.2.1", 100.0 + EVENT_EVERY_SECONDS), 5)
        self.assertIsNone(rate.admit("192.0.2.1", 100.0 + EVENT_EVERY_SECONDS))

    def test_each_address(self) -> None:
        """One address does not use up another's share."""
        rate = RefusalRate()
        for _ in range(EVENTS_AT_ONCE + 1):
            rate.admit("192.0.2.1", 0.0)
        self.assertEqual(rate.admit("192.0.2.2", 0.0), 0)

    def test_share_comes_back(self) -> None:
        """After a quiet time the share is whole again, and not larger."""
        rate = RefusalRate()
        for _ in range(EVENTS_AT_ONCE):
            rate.admit("192.0.2.1", 0.0)
        told = [rate.admit("192.0.2.1", 99_999.0) for _ in range(EVENTS_AT_ONCE + 1)]
        self.assertEqual(told, [0] * EVENTS_AT_ONCE + [None])

    def test_table_is_bounded(self) -> None:
        """The table forgets the address that was quiet longest."""
        rate = RefusalRate()
        for _ in range(EVENTS_AT_ONCE):
            rate.admit("first", 0.0)
        for number in range(ADDRESSES_MOST - 1):
            rate.admit(str(number), 0.0)
        self.assertIsNone(rate.admit("first", 0.0))
        rate.admit("one more", 0.0)
        self.assertEqual(rate.admit("0", 0.0), 0)
        self.assertEqual(len(rate._budgets), ADDRESSES_MOST)
