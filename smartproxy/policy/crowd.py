"""A bounded number of places for callers that have proved nothing yet, and who makes room where all are taken.

Duty: count who has a place by where it comes from, and name the one that makes room for a newcomer: the oldest of the
network that has most of them. A flood from few addresses so displaces itself; in one from many, an honest caller has
the time in which all places are taken anew. Knows no connection: the calling code closes what it is named.
"""

from collections.abc import Container
from typing import Generic, TypeVar

_Member = TypeVar("_Member")


class Crowd(Generic[_Member]):
    """Those who have a place.

    :param most: so many have one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._prefixes: dict[_Member, str] = {}
        self._members: dict[str, dict[_Member, None]] = {}

    def __len__(self) -> int:
        return len(self._prefixes)

    def of(self, prefix: str) -> int:
        """How many there are of a network."""
        return len(self._members.get(prefix, ()))

    def all(self) -> tuple[_Member, ...]:
        """Everyone, in the order in which they entered."""
        return tuple(self._prefixes)

    def enter(self, member: _Member, prefix: str) -> _Member | None:
        """Give a newcomer a place.

        :param prefix: the network that it counts for.
        :return: who had to leave for it, if somebody had to.
        """
        displaced = self.oldest_of_most() if len(self._prefixes) >= self._most else None
        if displaced is not None:
            self.leave(displaced)
        self._prefixes[member] = prefix
        self._members.setdefault(prefix, {})[member] = None
        return displaced

    def leave(self, member: _Member) -> bool:
        """Take a place back; whether there was one."""
        prefix = self._prefixes.pop(member, None)
        if prefix is None:
            return False
        crowd = self._members[prefix]
        del crowd[member]
        if not crowd:
            del self._members[prefix]
        return True

    def oldest_of(self, prefix: str) -> _Member | None:
        """The one of a network that entered first."""
        return next(iter(self._members.get(prefix, ())), None)

    def oldest_of_most(self, spared: Container[str] = frozenset()) -> _Member | None:
        """The one that entered first, of the network that has most; of equal ones, of the one that came first.

        :param spared: networks that are left out.
        """
        crowds = [crowd for prefix, crowd in self._members.items() if prefix not in spared]
        return next(iter(max(crowds, key=len, default=())), None)
