"""Tests of :mod:`smartproxy.policy.turns`: who is next where many wait."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy import limits
from smartproxy.policy.turns import Turns


class TurnsTests(SynchronousTestCase):
    """Who comes seldom goes before who comes often."""

    def setUp(self) -> None:
        """Nobody waits."""
        self.turns: Turns[str] = Turns()

    def wait(self, member: str, prefix: str, now: float = 0.0, *, known: bool = False) -> None:
        """Somebody of an address comes, and waits."""
        self.turns.wait(member, self.turns.came(prefix, now), known=known)

    def order(self) -> list[str]:
        """Who is next, until nobody waits."""
        return list(iter(self.turns.next, None))

    def test_seldom_before_often(self) -> None:
        """Who comes for the first time goes before all that came before; two and three times count as the same."""
        for member in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
            self.wait(member, member[0])
        self.assertEqual(len(self.turns), 7)
        self.assertEqual(self.order(), ["a1", "b1", "c1", "a2", "a3", "b2", "a4"])
        self.assertEqual((len(self.turns), self.turns.next()), (0, None))

    def test_known_before_all(self) -> None:
        """An address that proved an identity lately goes first, unless it comes too often."""
        self.patch(limits, "TURNS_KNOWN", 4)
        self.wait("new", "n")
        for number in range(5):
            self.wait(f"k{number}", "k", known=True)
        self.assertEqual(self.order(), ["k0", "k1", "k2", "new", "k3", "k4"])

    def test_leave(self) -> None:
        """Who has left is not next; one that does not wait may leave, too."""
        self.wait("a", "a")
        self.wait("b", "b")
        for _ in range(2):
            self.turns.leave("a")
        self.assertEqual(self.order(), ["b"])

    def test_minutes(self) -> None:
        """What an address did in the minute before counts half, and nothing of the time before that."""
        for _ in range(8):
            self.turns.came("a", 30.0)
        self.assertEqual((self.turns.times("a"), self.turns.times("b")), (8, 0))
        self.assertEqual(self.turns.came("a", limits.TURNS_SECONDS), 5)
        self.assertEqual(self.turns.came("b", 3 * limits.TURNS_SECONDS), 1)
        self.assertEqual(self.turns.times("a"), 0)

    def test_memory(self) -> None:
        """Beyond the bound, the address that came longest ago is forgotten."""
        self.patch(limits, "TURNS_PREFIXES_MOST", 2)
        for prefix in "abac":
            self.turns.came(prefix, 1.0)
        self.assertEqual([self.turns.times(prefix) for prefix in "abc"], [2, 0, 1])
