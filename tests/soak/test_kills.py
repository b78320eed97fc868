"""kill -9 in the middle of writes, many times."""

import os

from tests.process.kills import KillsCase

KILLS = int(os.environ.get("KILLS", "50"))


class ManyKills(KillsCase):
    """Backends and programs that make changes, killed again and again."""

    timeout = 3600

    def test_nothing_lost_nothing_twice(self) -> None:
        """What was promised is there, once, and whole."""
        counted = self.kill_often(KILLS)
        print(f"{counted.kills} kills on {self.database.value}: {counted.told} events, {len(counted.made)} changes")
        self.assertEqual(counted.kills, 2 * KILLS)
