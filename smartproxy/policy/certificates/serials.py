"""Serial numbers of revoked certificates, up to millions of them: as octets that need no work to be put in force.

Duty: keep a set of serial numbers as one run of octets, each number in the same width, in rising order, so that it is
found by bisection, copied as a whole, and never taken apart. Trusts whoever made the octets for their order, which the
backend makes from a signed list; looking through a million numbers would hold up a daemon.

RFC 5280 section 4.1.2.2: a serial number is positive and has at most 20 octets.
"""

import bisect
import itertools
from collections.abc import Iterable, Iterator, Set
from typing import Final

import attrs

OCTETS_MOST: Final = 20


@attrs.frozen(eq=False, repr=False)
class SerialSet(Set[int]):
    """A set of serial numbers.

    :ivar octets: the numbers in rising order, each in ``width`` octets, the first one being the most significant.
    """

    octets: bytes = b""
    width: int = 1

    @classmethod
    def of(cls, numbers: Iterable[int]) -> "SerialSet":
        """The set of these numbers; itself if it is one already.

        :raises OverflowError: if one of them is negative.
        """
        if isinstance(numbers, SerialSet):
            return numbers
        found = sorted(set(numbers))
        width = max(1, (found[-1].bit_length() + 7) // 8) if found else 1
        return cls(b"".join(each.to_bytes(width, "big") for each in found), width)

    @classmethod
    def of_octets(cls, numbers: list[bytes]) -> "SerialSet":
        """The set of these numbers, each written in as many octets as it has; the list is sorted and padded in place.

        Made for millions of them: the work is done in few calls.
        """
        width = max(map(len, numbers), default=1)
        if any(len(each) != width for each in numbers):
            numbers[:] = [each.rjust(width, b"\0") for each in numbers]
        numbers.sort()
        return cls(b"".join(each for each, _ in itertools.groupby(numbers)), width)

    @property
    def is_ordered(self) -> bool:
        """Whether the octets are what they have to be: whole numbers in rising order, none of them twice."""
        whole = len(self.octets) % self.width == 0
        return whole and all(self[place - 1] < self[place] for place in range(1, len(self)))

    def __getitem__(self, place: int) -> bytes:
        return self.octets[place * self.width : (place + 1) * self.width]

    def __len__(self) -> int:
        return len(self.octets) // self.width

    def __iter__(self) -> Iterator[int]:
        return (int.from_bytes(self[place], "big") for place in range(len(self)))

    def __contains__(self, serial: object) -> bool:
        if not isinstance(serial, int) or serial < 0 or serial.bit_length() > 8 * self.width:
            return False
        wanted = serial.to_bytes(self.width, "big")
        return self[bisect.bisect_left(range(len(self)), wanted, key=self.__getitem__)] == wanted

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SerialSet):
            return (self.width, self.octets) == (other.width, other.octets)
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash((self.width, self.octets))

    def __repr__(self) -> str:
        return f"<{len(self)} serial numbers>"
