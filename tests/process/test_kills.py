"""kill -9 in the middle of writes."""

from tests.process.kills import KillsCase


class Kills(KillsCase):
    """A few; ``make soak`` does more of them."""

    def test_nothing_lost_nothing_twice(self) -> None:
        """Five backends and five programs that make changes are killed: what was promised is there, once, and whole."""
        counted = self.kill_often(5)
        self.assertEqual(counted.kills, 10)
        self.assertGreater(counted.told, 0)
        self.assertGreaterEqual(len(counted.made), 5)
