"""Section 9, both entities: random sessions pass the witness without a refusal and without a changed octet."""

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.roles import Level, Profile, Role
from tests.conformance.simulation import Outcome, simulate

#: Change it to see other sessions; a failure names the session's own seed.
SEED = 5024
SESSIONS = 10_000
INJECTIONS = 3_000
BOTH_SIDES = [
    "SSID",
    "SFID",
    "SFPA",
    "SFNA",
    "CDT",
    "EFID",
    "EFPA",
    "EFNA",
    "ESID",
    "CD",
    "EERP",
    "NERP",
    "RTR",
    "SECD",
    "AUCH",
    "AURP",
]
#: What a few thousand sessions must have had, each many times.
FEATURES = (
    "SSRM from RESPONDER",
    *(f"{command} from {role.name}" for command in BOTH_SIDES for role in Role),
    *(f"level {level:d}" for level in Level),
    *(f"senders {roles}" for roles in ("I", "R", "IR")),
    *("compression", "restart", "authentication", "no agreement"),
    *("smallest buffers", "small buffers", "large buffers"),
)


class SessionsTests(SynchronousTestCase):
    """Two entities coded from sections 9.8 to 9.12 talk through the monitor."""

    def play(self, first: int, last: int, *, inject: bool = False) -> list[Outcome]:
        """Sessions of these numbers, in the two profiles by turns."""
        profiles = tuple(Profile)
        return [simulate(f"{SEED}.{number}", profiles[number % 2], inject=inject) for number in range(first, last)]

    def check(self, outcomes: list[Outcome]) -> None:
        """The sessions were worth playing: ends of both kinds, and octets."""
        ends = Counter(outcome.ended for outcome in outcomes)
        self.assertGreater(ends["released"], len(outcomes) // 2)
        self.assertGreater(ends["aborted"], len(outcomes) // 50)
        self.assertGreater(sum(outcome.octets for outcome in outcomes), 1000 * len(outcomes))
        self.assertEqual(sum(outcome.anomalies for outcome in outcomes if outcome.ended == "released"), 0)
        features = Counter(feature for outcome in outcomes for feature in outcome.features)
        for feature in FEATURES:
            self.assertGreater(features[feature], 20, feature)

    def test_first_half(self) -> None:
        """5,000 random sessions: no false refusal, both streams identical, no departure counted that is none."""
        self.check(self.play(0, SESSIONS // 2))

    def test_second_half(self) -> None:
        """5,000 more."""
        self.check(self.play(SESSIONS // 2, SESSIONS))

    def test_injected_commands(self) -> None:
        """At a quiet moment either side sends any command: the witness refuses it exactly if the receiver would."""
        outcomes = self.play(0, INJECTIONS, inject=True)
        injected = Counter(outcome.injected for outcome in outcomes if outcome.injected)
        self.assertGreater(sum(injected.values()), INJECTIONS // 4)
        self.assertGreater(len(injected), 80)
