"""Where the fields of a buffer lie, and from which octet on no continuation can make a field right.

Computed from the facts alone; the malformed cases take their expected offsets from here.
"""

from collections.abc import Iterable

import attrs

from tests.conformance.facts import Fact, facts

#: Section 5.3: three digits hold 0 to 999; two octets hold 0 to 65535.
MOST = {"9": 999, "U": 65535}


@attrs.frozen
class Span:
    """One field of one buffer: its fact, where it begins and how many octets it has."""

    fact: Fact
    start: int
    width: int

    def of(self, buffer: bytes) -> bytes:
        """The field's octets."""
        return buffer[self.start : self.start + self.width]


def number(octets: bytes, letter: str) -> int:
    """The value of a length field."""
    return int(octets) if letter == "9" else int.from_bytes(octets, "big")


def spans(level: int, command: str, buffer: bytes) -> list[Span]:
    """The fields of a valid buffer, one after the other."""
    found: list[Span] = []
    at, pending = 0, 0
    for fact in facts()[level, command]:
        width = fact.width
        if width is None:
            width = pending if command != "DATA" else len(buffer) - 1
        found.append(Span(fact, at, width))
        if fact.rule == "length":
            pending = number(buffer[at : at + width], fact.letter)
        at += width
    if at != len(buffer):
        raise ValueError(f"{command}: the fields end at {at}, the buffer at {len(buffer)}")
    return found


def first_impossible(digits: str, allowed: Iterable[tuple[int, int]]) -> int | None:
    """The first digit after which no number of this width lies in one of the ranges; ``None`` if the number does."""
    ranges = list(allowed)
    for index in range(len(digits)):
        rest = len(digits) - index - 1
        low = int(digits[: index + 1]) * 10**rest
        high = low + 10**rest - 1
        if not any(low <= last and first <= high for first, last in ranges):
            return index
    return None


def first_impossible_octet(octets: bytes, allowed: Iterable[tuple[int, int]]) -> int | None:
    """The same for a binary number of two octets."""
    ranges = list(allowed)
    for index in range(len(octets)):
        bits = 8 * (len(octets) - index - 1)
        low = int.from_bytes(octets[: index + 1], "big") << bits
        high = low + (1 << bits) - 1
        if not any(low <= last and first <= high for first, last in ranges):
            return index
    return None


def first_unlike(text: str, allowed: Iterable[str]) -> int | None:
    """The first character after which no allowed value goes on like this."""
    values = list(allowed)
    for index in range(len(text)):
        if not any(value.startswith(text[: index + 1]) for value in values):
            return index
    return None


def _tails(level: int, command: str) -> list[tuple[int, int | None]]:
    """For each length field: octets of fixed width behind its variable field, and how far the rest can stretch."""
    tails: list[tuple[int, int | None]] = []
    layout = facts()[level, command]
    for index, fact in enumerate(layout):
        if fact.rule == "length":
            after = layout[index + 2 :]
            least = sum(f.width or 0 for f in after)
            stretch = sum(MOST[f.letter] for f in after if f.rule == "length")
            tails.append((least, stretch))
    return tails


def shortest(level: int, command: str) -> int:
    """Octets of the command when every variable field is empty."""
    return sum(f.width or 0 for f in facts()[level, command])


def longest(level: int, command: str) -> int:
    """Octets of the command when every variable field is full."""
    layout = facts()[level, command]
    return shortest(level, command) + sum(MOST[f.letter] for f in layout if f.rule == "length")


#: Buffers that end early in live traffic: after ORIG (EERP), after the reason text (NERP).
def tolerated_ends(level: int, command: str, text_end: int | None = None) -> set[int]:
    """Lengths below the layout's own that the default profile takes."""
    if level == 5 and command == "EERP":
        return {106}
    if level == 5 and command == "NERP" and text_end is not None:
        return {text_end}
    if command == "CDT":
        return {1}
    return set()


def wrong_length_at(level: int, command: str, content: bytes, declared: int) -> int | None:
    """The octet of the buffer after which it is certain that ``declared`` octets cannot be right; ``None`` if it is.

    ``content`` is valid up to the octet that is found.
    """
    if declared in tolerated_ends(level, command):
        return None
    early = command == "NERP" and level == 5 and 131 <= declared < 135
    if not early and not shortest(level, command) <= declared <= longest(level, command):
        return 0
    tails = iter(_tails(level, command))
    at = 0
    pending = 0
    for fact in facts()[level, command]:
        width = pending if fact.width is None else fact.width
        if fact.rule == "length":
            least, stretch = next(tails)
            after = at + width
            assert stretch is not None
            allowed = [(max(0, declared - after - least - stretch), declared - after - least)]
            if fact.field == "NERPREASL":
                allowed.append((declared - after, declared - after))
            allowed = [(low, high) for low, high in allowed if high >= 0]
            octets = content[at:after]
            if fact.letter == "9":
                wrong = first_impossible(octets.decode(), allowed)
            else:
                wrong = first_impossible_octet(octets, allowed)
            if wrong is not None:
                return at + wrong
            pending = number(octets, fact.letter)
        at += width
        if at == declared and fact.field == "NERPREAST":
            return None
    return None
