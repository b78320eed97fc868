"""What foreign implementations said to each other passes unchanged, with the same verdicts however it is cut."""

from random import Random

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.monitor import Monitor, Observation
from smartproxy.oftp2.roles import Profile, Role
from tests.conformance.recordings import Chunks, at_random, buffers, by_turns, names, octet_by_octet, recorded

#: Tolerated departures that each recording holds, by their numbers in the list.
ANOMALIES = {"aa-nerp": {15}, "ga-u-1": {2, 3, 4}, "ga-u-5k-c2": {2, 3, 4}}
#: The recordings that the strict profile refuses, and its reason.
STRICT = {"aa-nerp": 7, "ga-u-1": 6, "ga-u-5k-c2": 6}


class Replay:
    """A recording put through a monitor."""

    def __init__(self, chunks: Chunks, profile: Profile = Profile.DEFAULT, *, observe_data: bool = True) -> None:
        self.monitor = Monitor(profile, observe_data=observe_data)
        self.passed = dict.fromkeys(Role, b"")
        self.discarded = dict.fromkeys(Role, 0)
        self.observations: list[Observation] = []
        self.error = None
        for sender, octets in chunks:
            judgement = self.monitor.judge(sender, octets)
            self.passed[sender] += judgement.octets
            self.discarded[sender] += judgement.discarded
            self.observations += judgement.observations
            self.error = self.error or judgement.error

    @property
    def anomalies(self) -> set[int]:
        """Numbers of the tolerated departures that were seen."""
        return {anomaly.number for seen in self.observations for anomaly in seen.anomalies}

    @property
    def verdicts(self) -> tuple[object, ...]:
        """All that must not depend on how the stream was cut."""
        return (
            self.passed,
            self.discarded,
            self.observations,
            repr(self.error),
            self.monitor.state,
            self.monitor.speaker,
            self.monitor.agreed,
        )


def until_the_end(chunks: Chunks) -> dict[Role, bytes]:
    """Octets of each direction up to and including the session's ESID, found without the monitor."""
    streams = dict.fromkeys(Role, b"")
    for sender, octets in chunks:
        streams[sender] += octets
        for index, buffer in enumerate(found := buffers(streams[sender])):
            if buffer[4:5] == b"F":
                streams[sender] = b"".join(found[: index + 1])
                return streams
    return streams


class RecordingsTests(SynchronousTestCase):
    """Every recording, in the default profile."""

    def test_there_are_recordings(self) -> None:
        """All 16 are there: an empty folder cannot pass."""
        self.assertEqual(len(names()), 16)

    def test_no_violation_and_unchanged(self) -> None:
        """No violation; each direction passes to the last octet of the session, unchanged."""
        for name in names():
            chunks = recorded(name)
            replay = Replay(chunks)
            self.assertIsNone(replay.error, f"{name}: {replay.error!r}")
            self.assertEqual(replay.passed, until_the_end(chunks), name)
            self.assertTrue(replay.monitor.ended, name)
            whole = sum(len(octets) for _, octets in chunks)
            passed = sum(len(octets) for octets in replay.passed.values())
            self.assertEqual(whole - passed, sum(replay.discarded.values()), name)

    def test_same_verdicts_however_it_is_cut(self) -> None:
        """As recorded, octet by octet, by turns and cut at random: the same octets, observations and end."""
        for name in names():
            chunks = recorded(name)
            expected = Replay(chunks).verdicts
            self.assertEqual(Replay(octet_by_octet(chunks)).verdicts, expected, name)
            self.assertEqual(Replay(by_turns(chunks)).verdicts, expected, name)
            for seed in range(20):
                self.assertEqual(Replay(at_random(chunks, Random(seed))).verdicts, expected, f"{name}, seed {seed}")

    def test_observed_commands(self) -> None:
        """One observation for each buffer of the recording, in order, with its command and its length."""
        from tests.conformance.wire import OCTETS

        for name in names():
            streams = until_the_end(recorded(name))
            observations = Replay(recorded(name)).observations
            for role in Role:
                expected = [(OCTETS[buffer[4:5]], len(buffer) - 4) for buffer in buffers(streams[role])]
                seen = [(seen.command, seen.length) for seen in observations if seen.sender is role]
                self.assertEqual(seen, expected, f"{name} {role.name}")

    def test_data_is_silent_unless_asked_for(self) -> None:
        """Without ``observe_data`` the observations are the same but for DATA; its departures stand at what follows."""
        for name in names():
            talkative, silent = Replay(recorded(name)), Replay(recorded(name), observe_data=False)
            expected = [attrs.evolve(seen, anomalies=()) for seen in talkative.observations if seen.command != "DATA"]
            self.assertEqual([attrs.evolve(seen, anomalies=()) for seen in silent.observations], expected, name)
            self.assertEqual(silent.anomalies, talkative.anomalies, name)

    def test_anomalies(self) -> None:
        """The departures that the recordings are known for, and no others, are counted."""
        for name in names():
            self.assertEqual(Replay(recorded(name)).anomalies, ANOMALIES.get(name, set()), name)

    def test_strict_profile(self) -> None:
        """Recordings without departures pass the strict profile too; the others are refused with the row's reason."""
        for name in names():
            replay = Replay(recorded(name), Profile.STRICT)
            if name in STRICT:
                assert replay.error is not None, name
                self.assertEqual(replay.error.reason, STRICT[name], name)
            else:
                self.assertIsNone(replay.error, f"{name}: {replay.error!r}")
                self.assertEqual(replay.passed, until_the_end(recorded(name)), name)
