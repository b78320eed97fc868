"""Tests of :mod:`smartproxy.policy.budget`: so many in a second, for each of many."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.budget import Budgets


class BudgetsTests(SynchronousTestCase):
    """A budget for each of many."""

    def taken(self, budgets: Budgets[str], whose: str, rate: float, now: float, times: int = 100) -> int:
        """How many of so many there is room for."""
        return sum(budgets.take(whose, rate, now) for _ in range(times))

    def test_each_has_its_own(self) -> None:
        """What one uses is not missing to another; time gives back at the rate."""
        budgets: Budgets[str] = Budgets(2.0, 10)
        self.assertEqual([self.taken(budgets, whose, 10, 0.0) for whose in "ab"], [20, 20])
        self.assertEqual(self.taken(budgets, "a", 10, 1.0), 10)

    def test_rate_may_change(self) -> None:
        """The rate of the moment counts."""
        budgets: Budgets[str] = Budgets(2.0, 10)
        self.assertEqual(self.taken(budgets, "a", 10, 0.0), 20)
        self.assertEqual(self.taken(budgets, "a", 30, 1.0), 30)
        self.assertEqual(self.taken(budgets, "a", 5, 100.0), 10)

    def test_memory(self) -> None:
        """So many are kept: who asked longest ago is forgotten."""
        budgets: Budgets[str] = Budgets(1.0, 3)
        for whose in "abcad":
            budgets.take(whose, 1, 0.0)
        self.assertEqual(len(budgets), 3)
        self.assertEqual([budgets.take(whose, 1, 0.0) for whose in "acd"], [False, False, False])
        self.assertTrue(budgets.take("b", 1, 0.0))
