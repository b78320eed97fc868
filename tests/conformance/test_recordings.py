"""What foreign implementations said to each other passes unchanged, with the same verdicts however it is cut."""

from random import Random

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.roles import Profile, Role
from tests.conformance.cuts import at_random, by_turns, octet_by_octet
from tests.conformance.recordings import buffers, names, recorded, until_the_end
from tests.conformance.verdicts import verdicts

#: Tolerated departures that each recording holds, by their numbers in the list.
ANOMALIES = {"aa-nerp": {15}, "ga-u-1": {2, 3, 4}, "ga-u-5k-c2": {2, 3, 4}}
#: The recordings that the strict profile refuses, and its reason.
STRICT = {"aa-nerp": 7, "ga-u-1": 6, "ga-u-5k-c2": 6}


class RecordingsTests(SynchronousTestCase):
    """Every recording, in the default profile."""

    def test_there_are_recordings(self) -> None:
        """All 16 are there: an empty folder cannot pass."""
        self.assertEqual(len(names()), 16)

    def test_no_violation_and_unchanged(self) -> None:
        """No violation; each direction passes to the last octet of the session, unchanged."""
        for name in names():
            chunks = recorded(name)
            replay = verdicts(chunks)
            self.assertEqual(replay.told, (), name)
            self.assertEqual(replay.passed, until_the_end(chunks), name)
            self.assertTrue(replay.ended, name)
            whole = sum(len(octets) for _, octets in chunks)
            passed = sum(len(octets) for octets in replay.passed.values())
            self.assertEqual(whole - passed, sum(replay.discarded.values()), name)

    def test_same_verdicts_however_it_is_cut(self) -> None:
        """As recorded, octet by octet, by turns and cut at random: the same octets, observations and end."""
        for name in names():
            chunks = recorded(name)
            expected = verdicts(chunks)
            self.assertEqual(verdicts(octet_by_octet(chunks)), expected, name)
            self.assertEqual(verdicts(by_turns(chunks)), expected, name)
            for seed in range(20):
                self.assertEqual(verdicts(at_random(chunks, Random(seed))), expected, f"{name}, seed {seed}")

    def test_observed_commands(self) -> None:
        """One observation for each buffer of the recording, in order, with its command and its length."""
        from tests.conformance.wire import OCTETS

        for name in names():
            streams = until_the_end(recorded(name))
            observations = verdicts(recorded(name)).observations
            for role in Role:
                expected = [(OCTETS[buffer[4:5]], len(buffer) - 4) for buffer in buffers(streams[role])]
                seen = [(seen.command, seen.length) for seen in observations if seen.sender is role]
                self.assertEqual(seen, expected, f"{name} {role.name}")

    def test_data_is_silent_unless_asked_for(self) -> None:
        """Without ``observe_data`` the observations are the same but for DATA; its departures stand at what follows."""
        for name in names():
            talkative, silent = verdicts(recorded(name)), verdicts(recorded(name), observe_data=False)
            expected = [attrs.evolve(seen, anomalies=()) for seen in talkative.observations if seen.command != "DATA"]
            self.assertEqual([attrs.evolve(seen, anomalies=()) for seen in silent.observations], expected, name)
            self.assertEqual(silent.anomalies, talkative.anomalies, name)

    def test_anomalies(self) -> None:
        """The departures that the recordings are known for, and no others, are counted."""
        for name in names():
            self.assertEqual(verdicts(recorded(name)).anomalies, ANOMALIES.get(name, set()), name)

    def test_strict_profile(self) -> None:
        """Recordings without departures pass the strict profile too; the others are refused with the row's reason."""
        for name in names():
            replay = verdicts(recorded(name), Profile.STRICT)
            if name in STRICT:
                self.assertEqual(replay.told[1], STRICT[name], name)
            else:
                self.assertEqual(replay.told, (), name)
                self.assertEqual(replay.passed, until_the_end(recorded(name)), name)
