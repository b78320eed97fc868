"""Which sessions cost far more than any honest one."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.effort import Effort, Spent


class EffortTests(SynchronousTestCase):
    """One look in each second; what each kind of session costs was measured on a slow core."""

    def ended(self, seconds: float, octets: int, buffers: int = 0, commands: int = 0) -> int | None:
        """After how many looks a session is ended that costs and carries so much in each second; none of 60: never."""
        effort = Effort()
        for look in range(1, 61):
            spent = Spent(
                seconds=seconds * look, octets=octets * look, buffers=buffers * look, commands=commands * look
            )
            if effort.too_costly(spent, 1.0):
                return look
        return None

    def test_honest_sessions(self) -> None:
        """Bulk data in large and in the smallest buffers, and small files one after the other, go on for ever.

        The smallest buffers do so on a core that is three times as slow, too.
        """
        self.assertIsNone(self.ended(1.0, 250_000_000, 4_000))
        self.assertIsNone(self.ended(1.0, 30_000_000, 230_000))
        self.assertIsNone(self.ended(1.0, 10_000_000, 77_000))
        self.assertIsNone(self.ended(1.0, 600_000, 3_000, 2_400))

    def test_attacks(self) -> None:
        """Empty subrecords, records of one octet and key updates are ended after ten seconds."""
        self.assertEqual(self.ended(0.9, 5_600_000, 2_800), 10)
        self.assertEqual(self.ended(0.97, 400_000, 200), 10)
        self.assertEqual(self.ended(0.98, 0), 10)

    def test_what_harms_nobody(self) -> None:
        """A session that takes a fifth of a processor goes on, whatever it carries."""
        self.assertIsNone(self.ended(0.19, 0))
        self.assertEqual(self.ended(0.21, 0), 10)

    def test_a_break(self) -> None:
        """A second in which it costs no more than it may takes back one in which it did, and no more than that."""
        effort, took = Effort(), 0.0
        for look in range(1, 100):
            took += look % 2
            self.assertFalse(effort.too_costly(Spent(seconds=took), 1.0), look)
        effort, took = Effort(), 0.0
        for look in range(1, 13):
            took += 0.0 if look == 10 else 1.0
            self.assertEqual(effort.too_costly(Spent(seconds=took), 1.0), look == 12, look)
