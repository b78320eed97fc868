"""Who is next where many wait for something that costs time: in a flood, who comes seldom goes before who comes often.

Duty: keep who waits in order. Addresses (IPv4 /32, IPv6 /64) that proved an identity lately go first, as long as they
do not come too often; then the others, by how often they came lately, in steps of twice as often; of equal ones, who
came first. So a flood from thousands of addresses has each of them wait behind a caller that comes for the first time.
Memory is bounded: the address that came longest ago is forgotten. Reads no clock: every call brings the time in seconds
of a monotonic clock.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

from smartproxy.policy import limits

_Member = TypeVar("_Member")


class Turns(Generic[_Member]):
    """Those who wait for their turn."""

    def __init__(self) -> None:
        self._ranks: dict[_Member, int] = {}
        self._waiting: dict[int, dict[_Member, None]] = {}
        self._came: OrderedDict[str, int] = OrderedDict()
        self._before: OrderedDict[str, int] = OrderedDict()
        self._since = 0.0

    def __len__(self) -> int:
        return len(self._ranks)

    def times(self, prefix: str) -> int:
        """How often an address came lately: in this minute, and half as often as in the minute before."""
        return self._came.get(prefix, 0) + self._before.get(prefix, 0) // 2

    def came(self, prefix: str, now: float) -> int:
        """Count that an address came; how often it did lately."""
        if now - self._since >= limits.TURNS_SECONDS:
            old = now - self._since >= 2 * limits.TURNS_SECONDS
            self._before = OrderedDict() if old else self._came
            self._came, self._since = OrderedDict(), now
        self._came[prefix] = self._came.get(prefix, 0) + 1
        self._came.move_to_end(prefix)
        if len(self._came) > limits.TURNS_PREFIXES_MOST:
            self._came.popitem(last=False)
        return self.times(prefix)

    def is_hasty(self, prefix: str, now: float) -> bool:
        """Whether an address comes so often that it would only wait while others go first; counts that it came."""
        if len(self) < limits.TURNS_WAITING_MANY or self.times(prefix) < limits.TURNS_HASTY:
            return False
        self.came(prefix, now)
        return True

    def wait(self, member: _Member, times: int, *, known: bool) -> None:
        """Let somebody wait.

        :param times: what :meth:`came` said of its address.
        :param known: whether the address proved an identity lately.
        """
        rank = (times // limits.TURNS_KNOWN if known else times).bit_length()
        self._ranks[member] = rank
        self._waiting.setdefault(rank, {})[member] = None

    def leave(self, member: _Member) -> None:
        """Let somebody go who may be waiting."""
        rank = self._ranks.pop(member, None)
        if rank is not None:
            waiting = self._waiting[rank]
            del waiting[member]
            if not waiting:
                del self._waiting[rank]

    def next(self) -> _Member | None:
        """Who is next; it does not wait any more."""
        if not self._ranks:
            return None
        member = next(iter(self._waiting[min(self._waiting)]))
        self.leave(member)
        return member
