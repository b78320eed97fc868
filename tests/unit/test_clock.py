"""The two times: a reactor's seconds only ever grow, whatever becomes of the time of day."""

from datetime import UTC, datetime, timedelta
from unittest.mock import patch

from twisted.internet import reactor as installed
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs.clock import make_steady, moment, now
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from smartproxy.policy.admission import Sparing
from smartproxy.policy.penalties import Fault, Penalties
from smartproxy.policy.settings import PenaltySettings
from smartproxy.tap.life import daemon_reactor
from tests.source import modules

HOUR = 3600.0


class Hands:
    """Both times, as a test sets them."""

    def __init__(self) -> None:
        self.passed = 500.0
        self.day = datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp()

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.passed += seconds
        self.day += seconds

    def step(self, seconds: float) -> None:
        """Somebody puts the time of day."""
        self.day += seconds


class Steps(SynchronousTestCase):
    """The time of day steps by an hour, in both directions."""

    def setUp(self) -> None:
        """A real reactor that nobody runs, with both times in the test's hands."""
        self.hands = Hands()
        self.reactor = SelectReactor()
        self.addCleanup(self.reactor.removeAll)
        make_steady(self.reactor, lambda: self.hands.passed, lambda: self.hands.day)

    def run_for(self, seconds: float) -> None:
        """Time passes, and the reactor has a turn."""
        self.hands.wait(seconds)
        self.reactor.runUntilCurrent()

    def test_a_call_comes_when_its_seconds_have_passed(self) -> None:
        """``callLater`` counts seconds: an hour back or forth makes a call neither later nor earlier."""
        for step in (-HOUR, HOUR):
            came: list[bool] = []
            self.reactor.callLater(10, came.append, True)
            self.hands.step(step)
            self.run_for(9)
            self.assertEqual(came, [])
            self.assertLessEqual(self.reactor.timeout() or 0.0, 1.0)
            self.run_for(1)
            self.assertEqual(came, [True])

    def test_a_call_that_was_asked_for_before_keeps_its_time(self) -> None:
        """What was scheduled before the reactor was made steady comes when it was to come."""
        reactor, came = SelectReactor(), list[bool]()
        self.addCleanup(reactor.removeAll)
        reactor.seconds = lambda: self.hands.day
        canceled = reactor.callLater(0.5, came.append, False)
        reactor.callLater(10, came.append, True)
        moved = reactor.callLater(1, came.append, True)
        reactor.runUntilCurrent()
        canceled.cancel()
        make_steady(reactor, lambda: self.hands.passed, lambda: self.hands.day)
        make_steady(reactor, lambda: 0.0, lambda: 0.0)
        moved.reset(12)
        self.hands.wait(9)
        reactor.runUntilCurrent()
        self.assertEqual(came, [])
        self.hands.wait(1)
        reactor.runUntilCurrent()
        self.assertEqual(came, [True])
        self.hands.wait(2)
        reactor.runUntilCurrent()
        self.assertEqual(came, [True, True])

    def test_a_ban_lasts_its_seconds(self) -> None:
        """After an hour back, a ban of 60 seconds still ends after 60 seconds, and the points decay."""
        penalties = Penalties(PenaltySettings(ban_seconds=60))
        for _ in range(2):
            penalties.fault("192.0.2.7", Fault.IDENTITY, self.reactor.seconds())
        self.hands.step(-HOUR)
        self.assertEqual(penalties.banned("192.0.2.7", self.reactor.seconds()), 60)
        self.hands.wait(60)
        self.assertEqual(penalties.banned("192.0.2.7", self.reactor.seconds()), 0)

    def test_what_is_told_once_in_a_while_is_told_again_in_time(self) -> None:
        """After an hour back, a refusal is reported again after a minute."""
        sparing = Sparing()
        self.assertEqual(sparing.tell("192.0.2.7", "cause", self.reactor.seconds()), 0)
        self.hands.step(-HOUR)
        self.hands.wait(60)
        self.assertEqual(sparing.tell("192.0.2.7", "cause", self.reactor.seconds()), 0)

    def test_events_have_the_time_of_day(self) -> None:
        """An event after a step has the time that the clock was put to."""
        told: list[dict[str, Value]] = []
        events = Events(Logger(), told.append, self.reactor)
        self.hands.step(-HOUR)
        events.emit("server.stopped")
        self.assertEqual(told[0]["time"], "2026-11-27T11:00:00.000Z")

    def test_since_when_is_counted_back_from_the_time_of_day(self) -> None:
        """What began a minute ago began a minute before the time that the clock was put to."""
        begun = self.reactor.seconds()
        self.hands.wait(60)
        self.hands.step(HOUR)
        self.assertEqual(now(self.reactor) - moment(self.reactor, begun), timedelta(seconds=60))

    def test_a_clock_that_tells_one_time(self) -> None:
        """A clock without a time of day, as tests have it, is asked for its seconds."""
        clock = Clock()
        clock.advance(60)
        self.assertEqual(now(clock), datetime(1970, 1, 1, 0, 1, tzinfo=UTC))
        self.assertEqual(moment(clock, 10.0), datetime(1970, 1, 1, 0, 0, 10, tzinfo=UTC))


class Daemons(SynchronousTestCase):
    """The reactor of every daemon is steady."""

    def test_the_reactor_of_a_daemon(self) -> None:
        """It does not follow the time of day, which it tells beside."""
        reactor = daemon_reactor()
        self.assertIs(reactor, installed)
        before = reactor.seconds()
        with patch.object(reactor, "time_of_day", lambda: before - HOUR):
            self.assertGreaterEqual(reactor.seconds(), before)
            self.assertAlmostEqual(now(reactor).timestamp(), before - HOUR, places=3)

    def test_no_daemon_takes_the_reactor_as_it_is(self) -> None:
        """No module of a command line imports Twisted's reactor, except where it is made steady."""
        found = [
            name
            for name, module in modules().items()
            if name.startswith("smartproxy.tap.") and "from twisted.internet import reactor" in module.text
        ]
        self.assertEqual(found, ["smartproxy.tap.life"])
