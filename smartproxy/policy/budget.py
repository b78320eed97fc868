"""Budgets: how much strangers, or another daemon, can make this one do in a second, and what is counted instead.

Duty: say whether there is room for one more, and count what there was no room for by prefix and cause. Memory is
bounded: the smallest counts of a full table become one count without a prefix, and the budget that was asked for
longest ago is forgotten. Reads no clock: every call brings the time in seconds; a clock that is set back gives nothing
and takes nothing.
"""

import heapq
from collections import Counter, OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

import attrs

from smartproxy.policy import limits


@attrs.define
class Budget:
    """So many in a second, and after a quiet time a number at once.

    :ivar rate: how many in a second; may be changed at any time.
    :ivar seconds: for how many seconds' worth what was not used is kept.
    """

    rate: float
    seconds: float = 1.0
    _left: float | None = attrs.field(default=None, init=False)
    _seen: float = attrs.field(default=0.0, init=False)

    def take(self, now: float, cost: float = 1.0) -> bool:
        """Whether there is room for this cost; if there is, it is taken."""
        most = self.rate * self.seconds
        left = most if self._left is None else min(most, self._left + max(0.0, now - self._seen) * self.rate)
        self._seen = now
        # What costs more than the whole is let through by a whole budget, and leaves it in debt.
        room = left >= min(cost, most)
        self._left = left - cost if room else left
        return room


_Whose = TypeVar("_Whose", bound=Hashable)


class Budgets(Generic[_Whose]):
    """A budget for each of many.

    :param seconds: as in :class:`Budget`.
    :param most: so many are kept; who is forgotten has a whole budget again.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._budgets: OrderedDict[_Whose, Budget] = OrderedDict()

    def __len__(self) -> int:
        return len(self._budgets)

    def take(self, whose: _Whose, rate: float, now: float, cost: float = 1.0) -> bool:
        """Whether there is room for this cost in somebody's budget of so many in a second; if so, it is taken."""
        budget = self._budgets.get(whose)
        if budget is None:
            budget = self._budgets[whose] = Budget(rate, self._seconds)
        self._budgets.move_to_end(whose)
        if len(self._budgets) > self._most:
            self._budgets.popitem(last=False)
        budget.rate = rate
        return budget.take(now, cost)


@attrs.frozen(order=True)
class Uncounted:
    """What was not told one by one: an event, its cause, and where it came from; empty where that is not known."""

    event: str
    cause: str
    prefix: str


class Tally:
    """Counts of what was not told."""

    def __init__(self) -> None:
        self._counts: Counter[Uncounted] = Counter()

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, what: Uncounted) -> None:
        """Count one."""
        self._counts[what] += 1
        if len(self._counts) > limits.STRANGERS_COUNTS_MOST:
            self._fold(limits.STRANGERS_COUNTS_MOST // 2)

    def take(self, most: int) -> list[tuple[Uncounted, int]]:
        """The counts, the largest first and at most *most* with a prefix, the rest by event and cause; forget them."""
        self._fold(most)
        taken = self._counts.most_common()
        self._counts.clear()
        return taken

    def _fold(self, most: int) -> None:
        """Keep the largest counts as they are; add the others up without their prefixes."""
        with_prefix = [each for each in self._counts.items() if each[0].prefix]
        kept = {what for what, _ in heapq.nlargest(most, with_prefix, key=lambda each: each[1])}
        for what, count in with_prefix:
            if what not in kept:
                del self._counts[what]
                self._counts[attrs.evolve(what, prefix="")] += count
