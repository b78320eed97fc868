"""Tests of :mod:`smartproxy.policy.admission`: what is told of a flood, and what is left out."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy import limits
from smartproxy.policy.admission import Sparing

MINUTE = limits.REFUSED_TOLD_SECONDS


class SparingTests(SynchronousTestCase):
    """The first is told, then one in a minute."""

    def test_once_a_minute(self) -> None:
        """Told at once, left out for a minute, and told with the number that was left out."""
        sparing = Sparing()
        self.assertEqual(sparing.tell("192.0.2.1", "ban", 5.0), 0)
        for _ in range(3):
            self.assertIsNone(sparing.tell("192.0.2.1", "ban", 5.0 + MINUTE - 0.1))
        self.assertEqual(sparing.tell("192.0.2.1", "ban", 5.0 + MINUTE), 3)
        self.assertEqual(sparing.tell("192.0.2.1", "ban", 5.0 + 2 * MINUTE), 0)

    def test_apart(self) -> None:
        """Each address is told for each cause; the addresses of one prefix are one."""
        sparing = Sparing()
        wanted = {("2001:db8::1", "ban"): 0, ("2001:db8::1", "tls"): 0, ("192.0.2.1", "ban"): 0, ("unknown", "ban"): 0}
        self.assertEqual({key: sparing.tell(*key, 0.0) for key in wanted}, wanted)
        self.assertIsNone(sparing.tell("2001:db8::2", "ban", 0.0))
        self.assertIsNone(sparing.tell("unknown", "ban", 0.0))

    def test_crowd(self) -> None:
        """More addresses than are remembered share one turn, so that neither events nor memory are without end."""
        self.patch(limits, "REFUSED_TOLD_MOST", 3)
        sparing = Sparing()
        told = [sparing.tell(f"192.0.2.{number}", "ban", 0.0) for number in range(10)]
        self.assertEqual(told, [0, 0, 0, 0] + [None] * 6)
        self.assertIsNone(sparing.tell("192.0.2.0", "ban", 1.0))
        self.assertEqual(len(sparing), 4)

    def test_room_again(self) -> None:
        """What was told a minute ago makes room; what was told again since then stays."""
        self.patch(limits, "REFUSED_TOLD_MOST", 2)
        sparing = Sparing()
        sparing.tell("192.0.2.1", "ban", 0.0)
        sparing.tell("192.0.2.2", "ban", 30.0)
        self.assertEqual(sparing.tell("192.0.2.3", "ban", MINUTE), 0)
        self.assertIsNone(sparing.tell("192.0.2.2", "ban", MINUTE))
        self.assertIsNone(sparing.tell("192.0.2.3", "ban", MINUTE + 29.0))
        self.assertEqual(sparing.tell("192.0.2.1", "ban", MINUTE + 30.0), 0)

    def test_facts(self) -> None:
        """The event that tells the next refusal says how many were left out; it says nothing where none was."""
        sparing = Sparing()
        first = sparing.tell("192.0.2.1", "ban", 0.0)
        sparing.tell("192.0.2.1", "ban", 1.0)
        second = sparing.tell("192.0.2.1", "ban", MINUTE)
        assert first is not None and second is not None
        self.assertEqual([first.facts, second.facts], [None, {"not_written_before": 1}])
