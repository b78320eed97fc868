"""The heartbeat of a tunnel."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy import limits
from smartproxy.tunnel.heartbeat import Heartbeat


class HeartbeatTests(SynchronousTestCase):
    """Pings, answers and silence."""

    def setUp(self) -> None:
        """A heartbeat that runs."""
        self.clock = Clock()
        self.pings: list[Deferred[bool]] = []
        self.silences: list[float] = []
        self.heartbeat = Heartbeat(self.clock, self.ping, lambda: self.silences.append(self.clock.seconds()))
        self.heartbeat.start()

    def ping(self) -> Deferred[bool]:
        """A ping whose answer the test gives, or which fails at its deadline."""
        ping: Deferred[bool] = Deferred()
        self.pings.append(ping)
        self.clock.callLater(limits.PING_ANSWER_SECONDS, self.expire, ping)
        return ping

    def expire(self, ping: Deferred[bool]) -> None:
        """The deadline of a ping."""
        if not ping.called:
            ping.callback(False)

    def test_rhythm(self) -> None:
        """While pings are answered at once, there is one every ten seconds."""
        for turn in range(1, 10):
            self.clock.advance(limits.PING_SECONDS)
            self.assertEqual(len(self.pings), turn)
            self.pings[-1].callback(True)

    def test_silence(self) -> None:
        """Three pings in a row without an answer are silence: once, and within half a minute."""
        self.clock.pump([0.5] * 200)
        self.assertEqual(len(self.pings), limits.PINGS_MISSED_MOST)
        self.assertEqual(self.silences, [25.0])

    def test_late_answers_begin_anew(self) -> None:
        """Two missed pings and an answered one are no silence, however often."""
        for _ in range(5):
            self.clock.pump([0.5] * 41)
            self.pings[-1].callback(True)
        self.assertEqual(self.silences, [])

    def test_stopped(self) -> None:
        """After a stop nothing is asked, and an answer that still comes changes nothing."""
        self.clock.advance(limits.PING_SECONDS)
        self.heartbeat.stop()
        self.pings[0].callback(True)
        self.clock.pump([1] * 60)
        self.assertEqual((len(self.pings), self.silences, self.clock.getDelayedCalls()), (1, [], []))

    def test_stopped_between_pings(self) -> None:
        """A stop leaves no timer."""
        self.heartbeat.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
