"""Each way in which the octets of one field can leave its range, and the octet after which that is certain."""

from collections.abc import Callable, Iterator

import attrs

from tests.conformance.spans import Span, first_impossible, first_unlike, number

BAD_IN_DATASET = b"\x00\x09\x0a\x0d\x1b\x1f\x7f\x80\xa0\xff"
BAD_IN_STRING = b"\x00\x0a\x1b\x7f\x80\xff" + b"az_#*@"
BAD_IN_PRINTABLE = b"\x00\x09\x0a\x0d\x1b\x1f\x7f\x80\xa0\xff"
BAD_IN_TEXT = b"\x00\x0a\x1b\x1f\x7f"
BAD_IN_RESERVED = b"\x00\x0d\x80\xff" + b"A0."
BAD_DIGITS = b"\x00 /:A\xff"
BAD_LETTERS = b"\x00\x20*0159ACDGHIJKOPQWXZ_abfnrstuvy\x7f\x80\xff"
BAD_CARRIAGE_RETURNS = b"\x00\x09\x0b\x0c\x0e 0DM\x7f\x80\x8a\x8c\x8e\xff"

#: (octets, index of the octet after which they cannot be UTF-8)
BAD_UTF8 = (
    (b"\x80", 0),
    (b"\xbf", 0),
    (b"\xc0", 0),
    (b"\xc1", 0),
    (b"\xf5", 0),
    (b"\xfe", 0),
    (b"\xff", 0),
    (b"\xc3A", 1),
    (b"\xc3\xc3", 1),
    (b"\xe0\x80", 1),
    (b"\xe0\x9f", 1),
    (b"\xed\xa0", 1),
    (b"\xed\xbf", 1),
    (b"\xe2\x82A", 2),
    (b"\xf0\x80", 1),
    (b"\xf0\x8f", 1),
    (b"\xf4\x90", 1),
    (b"\xf0\x9f\x98A", 3),
)


Mutation = Iterator[tuple[str, bytes, int]]


def _each_octet(octets: bytes, bad: bytes) -> Mutation:
    for index in range(len(octets)):
        for octet in bad:
            yield f"octet {index} is {octet:02x}", octets[:index] + bytes((octet,)) + octets[index + 1 :], index


def _nothing(span: Span, octets: bytes) -> Mutation:
    return iter(())


def _is(span: Span, octets: bytes) -> Mutation:
    for index, octet in enumerate(octets):
        for other in (octet ^ 0x20, octet ^ 0x80, 0, octet + 1):
            yield f"octet {index} is {other:02x}", octets[:index] + bytes((other,)) + octets[index + 1 :], index


def _octets(span: Span, octets: bytes) -> Mutation:
    for octet in BAD_CARRIAGE_RETURNS:
        yield f"is {octet:02x}", bytes((octet,)), 0


def _one_of(span: Span, octets: bytes) -> Mutation:
    values = span.fact.argument.split()
    if span.fact.letter == "X":
        for octet in BAD_LETTERS:
            if chr(octet) not in values:
                yield f"is {octet:02x}", bytes((octet,)), 0
        return
    yield from _each_octet(octets, BAD_DIGITS)
    for value in range(10**span.width):
        digits = f"{value:0{span.width}d}"
        wrong = first_unlike(digits, values)
        if wrong is not None:
            yield f"is {digits}", digits.encode(), wrong


def _range(span: Span, octets: bytes) -> Mutation:
    yield from _each_octet(octets, BAD_DIGITS)
    low, high = map(int, span.fact.argument.split())
    for value in {0, 1, 9, 10, 99, 100, 126, low - 1, high + 1, 10**span.width - 1}:
        if 0 <= value < 10**span.width:
            digits = f"{value:0{span.width}d}"
            wrong = first_impossible(digits, [(low, high)])
            if wrong is not None:
                yield f"is {digits}", digits.encode(), wrong


def _number(span: Span, octets: bytes) -> Mutation:
    yield from _each_octet(octets, BAD_DIGITS)


@attrs.frozen
class _Parts:
    """A stamp of several numbers in a row; each is put out of its range."""

    widths: tuple[int, ...]
    ranges: tuple[tuple[int, int], ...]

    def __call__(self, span: Span, octets: bytes) -> Mutation:
        yield from _each_octet(octets, BAD_DIGITS)
        at = 0
        for width, (low, high) in zip(self.widths, self.ranges, strict=True):
            for value in {0, 13, 32, 24, 40, 62, 77, 90, 99}:
                digits = f"{value:0{width}d}"
                if not low <= value <= high and value < 10**width:
                    wrong = first_impossible(digits, [(low, high)])
                    assert wrong is not None
                    yield f"part at {at} is {digits}", octets[:at] + digits.encode() + octets[at + width :], at + wrong
            at += width
        if self.ranges[2] == (1, 31):
            for month, day in ((2, 30), (2, 31), (4, 31), (6, 31), (9, 31), (11, 31)):
                end = len(octets) - 4
                wrong = len(octets) - (2 if (month, day) in ((2, 30), (2, 31)) else 1)
                yield f"is {month}-{day}", octets[:end] + b"%02d%02d" % (month, day), wrong
            for year in (b"2100", b"2026", b"1900")[: 3 if len(octets) == 8 else 0]:
                yield f"is a leap day of {year.decode()}", year + b"0229", len(octets) - 1


def _string(span: Span, octets: bytes) -> Mutation:
    yield from _each_octet(octets, BAD_IN_STRING)
    for index in range(1, len(octets) - 1):
        yield f"blank before {index}", b"A" * (index - 1) + b" B".ljust(len(octets) - index + 1), index
    yield "is right justified", b"A".rjust(len(octets)), len(octets) - 1


def _code(span: Span, octets: bytes) -> Mutation:
    yield from _each_octet(octets, BAD_IN_STRING)
    yield "begins with a blank", b" " + octets[1:], 0
    yield "is blank", b" " * len(octets), 0


def _reserved(span: Span, octets: bytes) -> Mutation:
    yield from _each_octet(octets, BAD_IN_RESERVED)


def _dataset(span: Span, octets: bytes) -> Mutation:
    yield from _each_octet(octets, BAD_IN_DATASET)
    yield "begins with a slash", b"/" + octets[1:], 0
    yield "is blank", b" " * len(octets), len(octets) - 1
    for index in range(len(octets)):
        yield f"backslash at {index}", octets[:index] + b"\\" + octets[index + 1 :], index
    for index in range(len(octets) - 1):
        yield f"two dots at {index}", octets[:index] + b".." + octets[index + 2 :], index + _dots(octets, index)


def _dots(octets: bytes, index: int) -> int:
    """Which of the two dots put at ``index`` is the second of a pair: the one before may be a dot already."""
    return 0 if index and octets[index - 1 : index] == b"." else 1


def _length(span: Span, octets: bytes) -> Mutation:
    if span.fact.letter == "9":
        yield from ((w.replace("octet", "digit"), o, i) for w, o, i in _each_octet(octets, BAD_DIGITS))
    value = number(octets, span.fact.letter)
    most = 999 if span.fact.letter == "9" else 65535
    for other in {0, value - 1, value + 1, value + 10, value + 256, most}:
        if 0 <= other <= most and other != value:
            field = b"%03d" % other if span.fact.letter == "9" else other.to_bytes(2, "big")
            yield f"length says {other}", field, 0


def _printable(span: Span, octets: bytes) -> Mutation:
    yield from _each_octet(octets, BAD_IN_PRINTABLE)


def _text(span: Span, octets: bytes) -> Mutation:
    """What is not UTF-8 and has a control: certain with the later of the two, whichever comes first."""
    last = span.width - 1
    for control in BAD_IN_TEXT:
        for bad, wrong in BAD_UTF8:
            # the sequence that the first octet begins has room to its end, so that only its own octets are wrong
            lead = bad[0]
            whole = 4 if 0xF0 <= lead <= 0xF4 else 3 if 0xE0 <= lead < 0xF0 else 2 if 0xC2 <= lead < 0xE0 else 1
            room = max(whole, len(bad))
            if room < last:
                before = bytes((control,)) + (bad if room == len(bad) else bad.ljust(room, b"a"))
                yield f"{bad.hex()} behind {control:02x}", before.ljust(span.width, b"a"), 1 + wrong
                behind = bad.ljust(last, b"a") + bytes((control,))
                yield f"{bad.hex()} before {control:02x}", behind, last
        for lead_octet in (b"\xc3", b"\xe2", b"\xf0"):
            text = bytes((control,)).ljust(last, b"a") + lead_octet
            yield f"{lead_octet.hex()} at the end behind {control:02x}", text, last


MUTATIONS: dict[str, Callable[[Span, bytes], Mutation]] = {
    "command": _nothing,
    "any": _nothing,
    "is": _is,
    "octets": _octets,
    "one-of": _one_of,
    "range": _range,
    "number": _number,
    "date8": _Parts((4, 2, 2), ((0, 9999), (1, 12), (1, 31))),
    "date6": _Parts((2, 2, 2), ((0, 99), (1, 12), (1, 31))),
    "time10": _Parts((2, 2, 2, 4), ((0, 23), (0, 59), (0, 59), (0, 9999))),
    "time6": _Parts((2, 2, 2), ((0, 23), (0, 59), (0, 59))),
    "string": _string,
    "code": _code,
    "reserved": _reserved,
    "dataset": _dataset,
    "length": _length,
    "printable": _printable,
    "text": _text,
}
