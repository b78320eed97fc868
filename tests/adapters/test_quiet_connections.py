"""What a partner's connection holds that is verified and has not sent its SSID: counted in memory, without a clock."""

import gc
import tracemalloc
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.settings import ServerLimits
from tests.adapters.rig import ServerRig

CONNECTIONS: Final = 40

OCTETS_MOST: Final = 4200
"""Octets of Python's objects that the project's own modules make for each such connection, and keep.

209 of them are the door that it came in by, which the tests' network keeps and a daemon does not.
"""

FILTERS: Final = [
    tracemalloc.Filter(True, "*/smartproxy/*"),
    tracemalloc.Filter(True, "<attrs generated * smartproxy.*>"),
    # The latest events are kept, however many connections there are.
    tracemalloc.Filter(False, "*/smartproxy/logs/*"),
]


class Quiet(SynchronousTestCase):
    """Thousands of them may wait."""

    def test_octets_of_objects(self) -> None:
        """Each holds so many octets of our objects: Twisted's, pyOpenSSL's and the partner's own do not count."""
        rig = ServerRig(limits=ServerLimits(connections_per_address=1000, sessions_per_partner=1000))
        partners = [rig.call() for _ in range(5)]
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        partners += [rig.call() for _ in range(CONNECTIONS)]
        for caller, _ in partners:
            self.assertEqual(caller.received, SSRM_BUFFER)
        # What was told is in a log, and not in memory.
        rig.journal.records.clear()
        gc.collect()
        found = tracemalloc.take_snapshot().filter_traces(FILTERS).statistics("lineno")
        octets = sum(each.size for each in found) / CONNECTIONS
        self.assertEqual(len(rig.sessions.live), len(partners))
        self.assertLess(octets, OCTETS_MOST, "\n".join(map(str, found[:20])))
        self.assertGreater(octets, OCTETS_MOST / 2, "the bound can be lower")
