"""What the octets of one field may be, judged octet by octet.

Every grammar answers one question: which is the first octet after which no continuation can be valid any more? A field
that is still arriving and a field that came in one piece are judged by the same call, so the verdict cannot depend on
how a stream was cut. Trusts nothing; copies nothing; knows nothing of commands or states.

Standards: RFC 5024 sections 1.5.2, 5.1.2, 5.3 (formats X, 9, U, T) and 5.4.
"""

import re
import string
from collections.abc import Iterable
from typing import ClassVar, Final, Protocol

import attrs
from typing_extensions import override

Ranges = tuple[tuple[int, int], ...]

DIGITS = string.digits.encode()
#: The set that section 5.3 defines for X(n), without the space.
ALPHANUMERIC = DIGITS + string.ascii_uppercase.encode() + b"/-.&()"
#: Organisations in identification codes (section 5.4).
ORGANISATION = DIGITS + string.ascii_uppercase.encode() + b" -"
#: ISO 646 from space to tilde, without the octet that some systems take for a path separator.
PRINTABLE = bytes(octet for octet in range(0x20, 0x7F) if octet != 0x5C)


class Grammar(Protocol):
    """The set of values that a field may have."""

    @property
    def rule(self) -> str:
        """The dotted name of the rule that a fault breaks."""

    def fault(self, octets: bytes, width: int) -> int | None:
        """Find the octet that makes a field wrong.

        :param octets: the field's first octets, or all of them.
        :param width: the number of octets that the field will have.
        :return: the index of the first octet after which no continuation is valid; ``None`` if there is none.
        """

    def regular(self, width: int) -> str | None:
        """Give a regular expression of whole fields without a fault, as ISO 8859-1 text; it may miss some of them.

        :return: one that takes ``width`` characters, looks at no others, and has no group; ``None`` if it has none.
        """


def first_outside(octets: bytes, alphabet: bytes) -> int | None:
    """Return the index of the first octet that is not in ``alphabet``."""
    rest = octets.lstrip(alphabet)
    return len(octets) - len(rest) if rest else None


def earliest(*faults: int | None) -> int | None:
    """Return the smallest of several indices."""
    return min((fault for fault in faults if fault is not None), default=None)


def first_impossible(digits: Iterable[int], base: int, width: int, ranges: Ranges) -> int | None:
    """Find the digit after which a number of ``width`` digits cannot come to lie in ``ranges`` any more."""
    value = 0
    scale: int = base**width
    for index, digit in enumerate(digits):
        if not 0 <= digit < base:
            return index
        value = value * base + digit
        scale //= base
        low, high = value * scale, (value + 1) * scale - 1
        if not any(max(least, low) <= min(most, high) for least, most in ranges):
            return index
    return None


def _either(values: Iterable[str]) -> str:
    return f"(?:{'|'.join(sorted(map(re.escape, values)))})"


def _padded(alphabet: bytes, width: int) -> str:
    """Characters of an alphabet, and behind them only spaces."""
    inner = rf"(?!.{{0,{width - 2}}}\x20[^\x20])" if width > 1 else ""
    return inner + _of(alphabet + b" ", width)


def _of(alphabet: bytes, width: int) -> str:
    return f"[{re.escape(alphabet.decode('latin-1'))}]{{{width}}}"


def _numbers(least: str, most: str) -> str:
    """Numbers of one width, from one to another."""
    first, last, width = least[:1], most[:1], len(least) - 1
    if least.strip("0") == "" and most.strip("9") == "":
        return f"[0-9]{{{width + 1}}}"
    if first == last:
        return first + _numbers(least[1:], most[1:])
    parts = [first + _numbers(least[1:], "9" * width)]
    if int(last) - int(first) > 1:
        parts.append(f"[{int(first) + 1}-{int(last) - 1}][0-9]{{{width}}}")
    parts.append(last + _numbers("0" * width, most[1:]))
    return f"(?:{'|'.join(parts)})"


@attrs.frozen
class Decimal(Grammar):
    """9(n): digits whose value lies in one of the ranges."""

    rule: ClassVar[str] = "field.number"
    ranges: Ranges

    @override
    def fault(self, octets: bytes, width: int) -> int | None:
        if len(octets) == width and octets.isdigit():
            value = int(octets)
            for least, most in self.ranges:
                if least <= value <= most:
                    return None
        return first_impossible((octet - 0x30 for octet in octets), 10, width, self.ranges)

    @override
    def regular(self, width: int) -> str | None:
        parts = [
            _numbers(f"{least:0{width}d}", f"{most:0{width}d}")
            for least, most in self.ranges
            if least <= most < 10**width
        ]
        return f"(?:{'|'.join(parts)})" if parts else None


@attrs.frozen
class Digits(Grammar):
    """9(n) without a limit but its width."""

    rule: ClassVar[str] = "field.number"

    @override
    def fault(self, octets: bytes, width: int) -> int | None:
        return first_outside(octets, DIGITS)

    @override
    def regular(self, width: int) -> str | None:
        return _of(DIGITS, width)


@attrs.frozen
class Binary(Grammar):
    """U(n) that holds an unsigned number in network byte order."""

    rule: ClassVar[str] = "field.binary"
    ranges: Ranges

    @override
    def fault(self, octets: bytes, width: int) -> int | None:
        return first_impossible(octets, 256, width, self.ranges)

    @override
    def regular(self, width: int) -> str | None:
        return f".{{{width}}}" if self.ranges == ((0, 256**width - 1),) else None


@attrs.frozen
class Opaque(Grammar):
    """U(n) that only its owner can read."""

    rule: ClassVar[str] = "field.opaque"

    @override
    def fault(self, octets: bytes, width: int) -> int | None:
        return None

    @override
    def regular(self, width: int) -> str | None:
        return f".{{{width}}}"


def _set(values: Iterable[bytes]) -> frozenset[bytes]:
    return frozenset(values)


@attrs.frozen
class Values(Grammar):
    """One of an enumerated set of values, all of the field's width."""

    rule: ClassVar[str] = "field.value"
    allowed: frozenset[bytes] = attrs.field(converter=_set)
    _begun: frozenset[bytes] = attrs.field(init=False, repr=False, eq=False)

    @_begun.default
    def _beginnings(self) -> frozenset[bytes]:
        return frozenset(value[:length] for value in self.allowed for length in range(1, len(value) + 1))

    @override
    def fault(self, octets: bytes, width: int) -> int | None:
        if octets in self.allowed:
            return None
        for index in range(len(octets)):
            if octets[: index + 1] not in self._begun:
                return index
        return None

    @override
    def regular(self, width: int) -> str | None:
        return _either(value.decode("latin-1") for value in self.allowed if len(value) == width)


@attrs.frozen
class Alphanumeric(Grammar):
    """X(n): the RFC's set, left justified, padded with spaces, no space inside; all spaces if that is allowed."""

    rule: ClassVar[str] = "field.alphanumeric"
    required: bool = False

    @override
    def fault(self, octets: bytes, width: int) -> int | None:
        padding = first_outside(octets, ALPHANUMERIC)
        if padding is None or (self.required and padding == 0):
            return padding
        after = first_outside(octets[padding:], b" ")
        return None if after is None else padding + after

    @override
    def regular(self, width: int) -> str | None:
        return (r"(?!\x20)" if self.required else "") + _padded(ALPHANUMERIC, width)


@attrs.frozen
class Printable(Grammar):
    """X(n) of any printable octets of ISO 646, from space to tilde."""

    rule: ClassVar[str] = "field.alphanumeric"

    @override
    def fault(self, octets: bytes, width: int) -> int | None:
        return first_outside(octets, PRINTABLE + b"\\")

    @override
    def regular(self, width: int) -> str | None:
        return _of(PRINTABLE + b"\\", width)


@attrs.frozen
class IdentificationSet(Grammar):
    """X(25) of the RFC's set with spaces anywhere but in front: a code that need not have the form of section 5.4."""

    rule: ClassVar[str] = "field.alphanumeric"

    @override
    def fault(self, octets: bytes, width: int) -> int | None:
        if octets[:1] == b" ":
            return 0
        return first_outside(octets, ALPHANUMERIC + b" ")

    @override
    def regular(self, width: int) -> str | None:
        return r"(?!\x20)" + _of(ALPHANUMERIC + b" ", width)


@attrs.frozen
class IdentificationCode(Grammar):
    """X(25) of the form of section 5.4: identifier, four digits, organisation (spaces inside allowed), subaddress."""

    rule: ClassVar[str] = "field.identification"

    @override
    def fault(self, octets: bytes, width: int) -> int | None:
        position = 0
        for part, size in (
            (first_outside(octets[:1], ALPHANUMERIC), 1),
            (first_outside(octets[1:5], DIGITS), 4),
            (first_outside(octets[5:19], ORGANISATION), 14),
            (Alphanumeric().fault(octets[19:25], 6), 6),
        ):
            if part is not None:
                return position + part
            position += size
        return None

    @override
    def regular(self, width: int) -> str | None:
        return _of(ALPHANUMERIC, 1) + _of(DIGITS, 4) + _of(ORGANISATION, 14) + _padded(ALPHANUMERIC, 6)


@attrs.frozen
class DatasetName(Grammar):
    r"""X(26) that names a Virtual File and cannot be taken for a path: no ``..``, no leading ``/``, no ``\``.

    :ivar literal: the set of section 5.3 and no space inside, instead of all printable octets.
    """

    literal: bool

    @override
    @property
    def rule(self) -> str:
        return "field.alphanumeric" if self.literal else "field.dataset_name"

    @override
    def fault(self, octets: bytes, width: int) -> int | None:
        if self.literal:
            outside = Alphanumeric(required=True).fault(octets, width)
        else:
            outside = first_outside(octets, PRINTABLE)
        start = first_outside(octets, b" ")
        if start is None:
            path = width - 1 if len(octets) == width else None
        else:
            path = start if octets[start] == 0x2F else None
        dots = octets.find(b"..")
        return earliest(outside, path, None if dots < 0 else dots + 1)

    @override
    def regular(self, width: int) -> str | None:
        no_path = rf"(?!/)(?!\x20)(?!.{{0,{width - 2}}}\.\.)"
        return no_path + (_padded(ALPHANUMERIC, width) if self.literal else _of(PRINTABLE, width))


@attrs.frozen
class Parts(Grammar):
    """Digits side by side, each group with a range of its own."""

    rule: ClassVar[str] = "field.number"
    groups: tuple[tuple[int, int, int], ...]

    @override
    def fault(self, octets: bytes, width: int) -> int | None:
        position = 0
        for size, least, most in self.groups:
            found = Decimal(((least, most),)).fault(octets[position : position + size], size)
            if found is not None:
                return position + found
            position += size
        return None

    @override
    def regular(self, width: int) -> str | None:
        found, position = "", 0
        for size, least, most in self.groups:
            if position < width:
                part = Decimal(((least, most),)).regular(size) if position + size <= width else None
                if part is None:
                    return None
                found += part
            position += size
        return found


_YEAR_AND_MONTH = {year: Parts(((year, 0, 10**year - 1), (2, 1, 12))) for year in (2, 4)}


@attrs.frozen
class Date(Grammar):
    """CCYYMMDD or YYMMDD: a day of the calendar; a year of two digits is a leap year if it can be one."""

    rule: ClassVar[str] = "field.date"

    @override
    def fault(self, octets: bytes, width: int) -> int | None:
        year, month = width - 4, width - 2
        found = _YEAR_AND_MONTH[year].fault(octets[:month], month)
        if found is not None or len(octets) <= month:
            return found
        days = _days(int(octets[:year]), int(octets[year:month]), centuries=year == 4)
        found = Decimal(((1, days),)).fault(octets[month:], 2)
        return None if found is None else month + found

    @override
    def regular(self, width: int) -> str | None:
        """All but the 29th of February, which is judged by itself."""
        return _of(DIGITS, width - 4) + _DAYS


_DAYS = "(?:(?:0[1-9]|1[0-2])(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])(?:29|30)|(?:0[13578]|1[02])31)"


def _days(year: int, month: int, centuries: bool) -> int:
    if month != 2:
        return 30 if month in (4, 6, 9, 11) else 31
    leap = year % 4 == 0 and (not centuries or year % 100 != 0 or year % 400 == 0)
    return 29 if leap else 28


@attrs.frozen
class Time(Grammar):
    """HHMMSS, or HHMMSScccc with a counter.

    :ivar counter_from: the lowest counter.
    """

    rule: ClassVar[str] = "field.time"
    counter_from: int
    _parts: Parts = attrs.field(init=False, repr=False)

    @_parts.default
    def _clock(self) -> Parts:
        return Parts(((2, 0, 23), (2, 0, 59), (2, 0, 59), (4, self.counter_from, 9999)))

    @override
    def fault(self, octets: bytes, width: int) -> int | None:
        return self._parts.fault(octets, width)

    @override
    def regular(self, width: int) -> str | None:
        return self._parts.regular(width)


@attrs.frozen
class Utf8(Grammar):
    """T(n): UTF-8 that ends where the field ends."""

    rule: ClassVar[str] = "field.text"

    @override
    def fault(self, octets: bytes, width: int) -> int | None:
        try:
            octets.decode("utf-8")
        except UnicodeDecodeError as error:
            lead = error.object[error.start]
            if not 0xC2 <= lead <= 0xF4:
                return error.start
            length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            if error.start + length > width:
                return error.start
            return None if error.end == len(octets) else error.end
        return None

    @override
    def regular(self, width: int) -> str | None:
        return f"[\\x00-\\x7f]{{{width}}}"


_TEXT: Final = bytes(octet for octet in range(0x20, 0x100) if octet != 0x7F)


@attrs.frozen
class ForeignText(Grammar):
    """T(n) that is UTF-8, or text of another character set without control characters (C0 and DEL)."""

    rule: ClassVar[str] = "field.text"

    @override
    def fault(self, octets: bytes, width: int) -> int | None:
        """The place of the octet with which the text can be neither of the two any more."""
        control = first_outside(octets, _TEXT)
        if control is None:
            return None
        foreign = Utf8().fault(octets, width)
        return None if foreign is None else max(control, foreign)

    @override
    def regular(self, width: int) -> str | None:
        return _of(_TEXT, width)
