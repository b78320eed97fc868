"""Which versions work together: one rule for all pairs of parts."""

from itertools import permutations

from twisted.trial.unittest import SynchronousTestCase

from smartproxy._version import __version__
from smartproxy.backend.requests import check_caller
from smartproxy.policy.versions import BEFORE, NEWEST, OLDEST, Part, PartsApart, agree

PAIRS = (
    ("smartproxy-client", "smartproxy-server"),
    ("smartproxy-plain-client", "smartproxy-plain-server"),
    ("smartproxy-client", "smartproxy-backend"),
    ("smartproxy", "smartproxy-backend"),
)


def part(program: str, version: str, oldest: int, newest: int) -> Part:
    """What a program says about itself."""
    return Part(program=program, version=version, oldest=oldest, newest=newest)


class Agreement(SynchronousTestCase):
    """Two ranges have a protocol in common, or they have not."""

    def test_newest_in_common(self) -> None:
        """The newest that both speak is used, whoever asks."""
        for one, other, common in (((1, 1), (1, 1), 1), ((1, 3), (2, 5), 3), ((1, 9), (4, 4), 4), ((2, 3), (3, 4), 3)):
            ours, theirs = part("a", "1", *one), part("b", "2", *other)
            self.assertEqual((agree(ours, theirs), agree(theirs, ours)), (common, common))

    def test_this_version_agrees_with_itself(self) -> None:
        """Two parts of the same release work together, and not with those that do not say what they speak."""
        self.assertTrue(BEFORE < OLDEST <= NEWEST)
        ours = Part(program="a", version="1")
        self.assertEqual(agree(ours, ours), NEWEST)

    def test_nothing_in_common(self) -> None:
        """In every pair, whichever is older and whoever asks, the words are the same and name what to update."""
        for pair in PAIRS:
            for old, new in permutations(pair):
                ends = (part(old, "0.1.0", 1, 2), part(new, "0.9.0", 4, 6))
                texts = {str(self.assertRaises(PartsApart, agree, *each)) for each in permutations(ends)}
                self.assertEqual(
                    texts,
                    {
                        f"{old} 0.1.0 (protocol 1 to 2) and {new} 0.9.0 (protocol 4 to 6) cannot work together: "
                        f"update {old} to a version that speaks protocol 4, such as 0.9.0"
                    },
                )

    def test_versions_decide_nothing(self) -> None:
        """Any two versions that speak the same protocol work together."""
        for one, other in permutations(("0.1.0", "0.2.3", "1.0.0", "99.0.0.dev1"), 2):
            self.assertEqual(agree(part("a", one, 3, 3), part("b", other, 3, 3)), 3)


class Told(SynchronousTestCase):
    """What a part says to the backend."""

    def test_as_it_is_told(self) -> None:
        """One number or two; what a part says is what is read, and who says nothing is of before."""
        for oldest, newest, spoken in ((3, 3, "3"), (3, 12, "3-12")):
            here = part("a", "1", oldest, newest)
            self.assertEqual((here.spoken, Part.told("a", "1", spoken)), (spoken, here))
        self.assertEqual(Part.told("a", "1", None), part("a", "1", BEFORE, BEFORE))

    def test_malformed(self) -> None:
        """Anything else is refused without being repeated: it may hold anything."""
        for spoken in ("", "x", "-3", "3-", "3-4-5", "99999", "3 ", "³"):
            self.assertNotIn(spoken or "?", str(self.assertRaises(ValueError, Part.told, "a", "1", spoken)))

    def refused(self, version: str, spoken: str | None) -> PartsApart:
        """The refusal of a client."""
        refused: PartsApart = self.assertRaises(PartsApart, check_caller, "smartproxy-client", version, spoken, "0.3.0")
        return refused

    def test_client_of_this_protocol(self) -> None:
        """Its version does not matter."""
        for version in (__version__, "0.1.0", "0.1.0.dev3", "1.2.0+local", "9.0"):
            check_caller("smartproxy-client", version, f"{NEWEST}")
            check_caller("smartproxy-client", version, f"1-{NEWEST + 5}")

    def test_older_client(self) -> None:
        """Both versions are named, and the client is the one to update; also when it says no protocol."""
        for spoken in (None, "1-2"):
            error = self.refused("0.1.0", spoken)
            self.assertIn("smartproxy-client 0.1.0", error.message)
            self.assertIn("smartproxy-backend 0.3.0", error.message)
            self.assertEqual(
                error.advice, f"update smartproxy-client to a version that speaks protocol {OLDEST}, such as 0.3.0"
            )

    def test_older_backend(self) -> None:
        """It may be the backend."""
        self.assertIn("update smartproxy-backend", self.refused("2.0.0", f"{NEWEST + 1}").advice)

    def test_no_version(self) -> None:
        """What is no version, or no protocol, is refused without being repeated."""
        for text in ("", "1", "x.y", "1.2\r\nevil: 1", "9" * 99 + ".1", "1.2.3" + "-a" * 99):
            self.assertIn("holds no version", self.refused(text, "3").message)
        self.assertIn("holds no protocol", self.refused("1.0.0", "newest").message)
