"""What a partner's connection holds that is verified and has not sent its SSID: counted in memory, without a clock."""

import gc
import socket
import tracemalloc
import weakref
from typing import Any, Final

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.transport.sockets import HeldStream
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.admission import Admission
from smartproxy.policy.settings import ServerLimits
from smartproxy.server.held import HeldCaller
from tests.adapters.rig import ServerRig

CONNECTIONS: Final = 40

OCTETS_MOST: Final = 4120
"""Octets of Python's objects that the project's own modules make for each such connection, and keep.

209 of them are the door that it came in by, which the tests' network keeps and a daemon does not. It holds about 4,100:
what Python takes out of its free lists is not counted, and which of them were filled by the tests before moves it by a
few octets. One more number for each connection is 32.
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


class NoReactor:
    """Takes readers and forgets them."""

    def addReader(self, stream: Any) -> None:
        """Nothing is read."""

    removeReader = removeWriter = addReader


class HandedOver(SynchronousTestCase):
    """A supervisor hands thousands of connections to its workers."""

    def test_nothing_stays(self) -> None:
        """What held a connection goes with it at once, and not when somebody looks for garbage."""
        clock, limits = Clock(), ServerLimits()
        gate: Any = None
        taken: list[socket.socket] = []
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        gc.disable()
        self.addCleanup(gc.enable)
        visit = Admission(limits=limits).enter("192.0.2.7")
        caller = HeldCaller(
            clock, 10.0, HostPort("192.0.2.7", 40000), visit, gate, lambda *handed: taken.append(handed[-1])
        )
        port: Any = None
        stream = HeldStream(ours, caller, ("192.0.2.7", 40000), port, 1, NoReactor())
        caller.makeConnection(stream)
        left: list[Any] = [weakref.ref(caller), weakref.ref(stream)]
        self.assertIsNone(stream.doRead())
        self.assertEqual(taken[0].fileno(), ours.fileno())
        taken[0].close()
        # The claims do this.
        visit.displaced = visit.leave
        del caller, stream
        self.assertEqual([each() for each in left], [None, None])
        self.assertEqual(clock.getDelayedCalls(), [])
