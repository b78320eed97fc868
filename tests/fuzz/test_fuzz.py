"""The fuzz targets run, and they would notice."""

from random import Random
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.tls.openssl import DirectRecords
from smartproxy.oftp2.judgement import Judgement
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Profile, Role
from tests.conformance.verdicts import verdicts
from tests.fuzz.__main__ import run
from tests.fuzz.mutator import corpus, mutated
from tests.fuzz.targets import TARGETS


class FuzzTests(SynchronousTestCase):
    """A short run on each commit; long ones by hand or at night."""

    def test_short_run(self) -> None:
        """A thousand mutated sessions break no promise of any target."""
        for target in TARGETS:
            self.assertIsNone(run(1000, 5024, target), target)

    def test_mutations_reach_deep(self) -> None:
        """Mutated sessions are refused in many states and by many rules, so that the run is worth its time."""
        rng = Random(1)
        sessions = corpus(rng)
        refused = [verdicts(mutated(rng.choice(sessions), rng), Profile.DEFAULT).told for _ in range(800)]
        self.assertGreater(len({told[2] for told in refused if told}), 8, "rules")
        self.assertGreater(len({told[8] for told in refused if told}), 8, "states")

    def test_a_bug_is_found(self) -> None:
        """A monitor whose verdicts depend on how the stream is cut does not survive a short run."""
        judge = Monitor.judge

        def careless(monitor: Monitor, sender: Role, octets: bytes) -> Judgement:
            return judge(monitor, sender, octets[:2] if len(octets) == 3 else octets)

        with patch.object(Monitor, "judge", careless), patch("traceback.print_exc"):
            self.assertIsNotNone(run(3000, 1, "monitor"))

    def test_a_wrong_bound_is_found(self) -> None:
        """A buffer that OpenSSL may write one octet beyond does not survive a short run."""
        make = DirectRecords.__init__

        def careless(way: DirectRecords, *buffers: memoryview, record: int, piece: int) -> None:
            make(way, *buffers, record=record, piece=piece)
            way._sealed_octets += 1

        with patch.object(DirectRecords, "__init__", careless), patch("traceback.print_exc"):
            self.assertIsNotNone(run(1000, 1, "records"))
