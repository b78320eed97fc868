"""The subrecords of a Data Exchange Buffer: the chain's judge, and packing and unpacking for the ends of a session.

The judge follows the headers only; it never looks at, copies or expands what they stand in front of. A chain may
arrive in pieces: :func:`walk` goes on where it stopped. Regular chains are judged by strided comparison, chains of
equal records by the pattern of one record, all others header by header; the verdict is the same.

Standards: RFC 5024 section 7; appendix A shows an example.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from smartproxy.oftp2.errors import BadSubrecord, CompressionRefused

END_OF_RECORD: Final = 0x80
COMPRESSED: Final = 0x40
#: The most octets of the Virtual File that one subrecord represents.
SUBRECORD_LONGEST: Final = 63
COMMAND: Final = b"D"

#: Octets from one header to the next, by header; out of every buffer where a compressed subrecord is forbidden.
_FORBIDDEN: Final = 1 << 40
STEPS: Final = tuple(2 if header & COMPRESSED else 1 + (header & SUBRECORD_LONGEST) for header in range(256))
#: Octets of the Virtual File that a subrecord represents, by header.
COUNTS: Final = tuple(header & SUBRECORD_LONGEST for header in range(256))
STEPS_PLAIN: Final = tuple(_FORBIDDEN if header & COMPRESSED else step for header, step in enumerate(STEPS))
FULL: Final = b"\x3f" * 2048
#: What makes a header matter for the end of a record: the flag, or a count.
MATTERS: Final = END_OF_RECORD | SUBRECORD_LONGEST
#: Eight steps, and one more, are shorter than this.
_STRIDE: Final = 8 * 64 + 64
#: Runs of empty subrecords are passed at once, this many at most.
_LEAP: Final = 4096
#: Shorter chains are not worth learning a record's pattern.
_WORTH: Final = 3072
_RECORD_OCTETS: Final = 4096
_RECORD_HEADERS: Final = 16
_RECORDS: Final = 3

Octets = bytes | bytearray


def walk(octets: Octets, position: int, have: int, end: int, compression: bool) -> tuple[int, int, int]:
    """Follow a chain as far as its headers have arrived.

    :param position: index of the next header; not before ``have`` if it has not arrived.
    :param have: index behind the last octet that has arrived.
    :param end: index behind the last octet of the buffer.
    :param compression: whether compressed subrecords are allowed.
    :return: the next header's index (``end`` behind the last subrecord), the number of octets of the Virtual File that
        the subrecords passed represent, and the last header that had the end-of-record flag or a count (0: none had).
    :raise BadSubrecord: at the first header whose subrecord does not end inside the buffer.
    :raise CompressionRefused: at the first forbidden compressed subrecord.
    """
    units = last = 0
    start = position
    full = min((have - position + 63) >> 6, (end - position) >> 6)
    if full > 0 and octets[position : position + (full << 6) : 64] == FULL[:full]:
        position += full << 6
        units, last = SUBRECORD_LONGEST * full, SUBRECORD_LONGEST
    elif have - position >= _WORTH:
        position, units, last = _walk_records(octets, position, have, compression)
    if position < have:
        found, more, significant = _walk_headers(octets, position, have, compression)
        position, units, last = found, units + more, significant or last
    if position > end:
        raise _blame(octets, start, end, compression)
    return position, units, last


def _walk_records(octets: Octets, position: int, have: int, compression: bool) -> tuple[int, int, int]:
    """Pass a run of records that are all laid out like the first whole one; pass nothing if there is none."""
    limit = min(have, position + _RECORD_OCTETS)
    steps = STEPS if compression else STEPS_PLAIN
    begun, first = _record(octets, position, limit, steps)
    record, behind = _record(octets, first, limit, steps)
    size = behind - first
    count = (have - first) // size if begun and record else 0
    if count < _RECORDS:
        return position, 0, 0
    run = first + count * size
    for at in record:
        if octets[at:run:size] != octets[at : at + 1] * count:
            return position, 0, 0
    units = sum(octets[at] & SUBRECORD_LONGEST for at in begun) + count * sum(
        octets[at] & SUBRECORD_LONGEST for at in record
    )
    return run, units, octets[record[-1]]


def _record(octets: Octets, position: int, limit: int, steps: tuple[int, ...]) -> tuple[list[int], int]:
    """Return where the headers of one record are, and what is behind it; none if it is too long to be learned."""
    found: list[int] = []
    while position < limit and len(found) < _RECORD_HEADERS:
        header = octets[position]
        found.append(position)
        position += steps[header]
        if header & END_OF_RECORD:
            return found, position
    return [], position


def _walk_headers(octets: Octets, start: int, have: int, compression: bool) -> tuple[int, int, int]:
    """Go from header to header to the end."""
    if compression:
        return _walk_compressed(octets, start, have)
    position, headers, last = start, 0, -1
    steps = STEPS_PLAIN
    limit = have - _STRIDE
    try:
        while position < limit:
            before = position
            position += steps[octets[position]]
            position += steps[octets[position]]
            position += steps[octets[position]]
            position += steps[octets[position]]
            position += steps[octets[position]]
            position += steps[octets[position]]
            position += steps[octets[position]]
            position += steps[octets[position]]
            headers += 8
            if position == before + 8:
                empty = octets[position : min(position + _LEAP, limit)]
                zeros = len(empty) - len(empty.lstrip(b"\0"))
                position += zeros
                headers += zeros
    except IndexError:
        return _FORBIDDEN, 0, 0
    while position < have:
        header = octets[position]
        if header & MATTERS:
            last = header
        position += steps[header]
        headers += 1
    if last < 0 and headers > 8:
        last = _last_that_matters(octets, start, have)
    return position, position - start - headers, max(last, 0)


def _walk_compressed(octets: Octets, start: int, have: int) -> tuple[int, int, int]:
    """Go from header to header and add up what each represents."""
    position, units, last = start, 0, -1
    steps, counts = STEPS, COUNTS
    limit = have - _STRIDE
    while position < limit:
        header = octets[position]
        units += counts[header]
        position += steps[header]
        header = octets[position]
        units += counts[header]
        position += steps[header]
        header = octets[position]
        units += counts[header]
        position += steps[header]
        header = octets[position]
        units += counts[header]
        position += steps[header]
    while position < have:
        header = octets[position]
        if header & MATTERS:
            last = header
        units += counts[header]
        position += steps[header]
    if last < 0:
        last = _last_that_matters(octets, start, have)
    return position, units, last


def _last_that_matters(octets: Octets, position: int, have: int) -> int:
    """Return the last header that has the end-of-record flag or a count, or 0."""
    last = 0
    while position < have:
        header = octets[position]
        if header & MATTERS:
            last = header
        position += STEPS[header]
    return last


def _blame(octets: Octets, position: int, end: int, compression: bool) -> BadSubrecord | CompressionRefused:
    """Say which header of a chain that was found wrong is the first that cannot be right."""
    steps = STEPS if compression else STEPS_PLAIN
    while position + steps[octets[position]] <= end:
        position += steps[octets[position]]
    if octets[position] & COMPRESSED and not compression:
        return CompressionRefused(
            rule="compression.not_agreed",
            message="a compressed subrecord although compression was not agreed",
            section="7.2",
            command="DATA",
            offset=position,
        )
    return BadSubrecord(
        rule="subrecord.overrun",
        message="a subrecord that does not end inside its Exchange Buffer",
        section="7.3",
        command="DATA",
        offset=position,
    )


def check(buffer: bytes, compression: bool = True) -> int:
    """Judge one whole Data Exchange Buffer, command octet first.

    :return: the number of octets of the Virtual File that it represents.
    :raise BadSubrecord: if its subrecords do not end where it ends.
    :raise CompressionRefused: if one is compressed and must not be.
    """
    return walk(buffer, 1, len(buffer), len(buffer), compression)[1]


@attrs.frozen
class Subrecord:
    """One subrecord, expanded.

    :ivar octets: what it represents of the Virtual File.
    :ivar ends_record: whether the record ends with it.
    """

    octets: bytes
    ends_record: bool


def split(buffer: bytes) -> Iterator[Subrecord]:
    """Yield the subrecords of a Data Exchange Buffer, command octet first; it has passed :func:`check`."""
    position = 1
    while position < len(buffer):
        header = buffer[position]
        behind = position + STEPS[header]
        octets = buffer[position + 1 : behind]
        if header & COMPRESSED:
            octets *= header & SUBRECORD_LONGEST
        yield Subrecord(octets, bool(header & END_OF_RECORD))
        position = behind


_RUN = re.compile(rb"(.)\1{3,62}", re.DOTALL)


def pack(data: bytes, size: int, *, compress: bool = False, records: Iterable[int] | None = None) -> Iterator[bytes]:
    """Map a Virtual File to Data Exchange Buffers, command octet first.

    :param size: the most octets of a buffer, command octet included.
    :param compress: use compressed subrecords for runs of an octet.
    :param records: the lengths of the records (formats F and V); the whole file is one record without (U and T).
    :raise ValueError: if a buffer cannot hold a subrecord or the records do not add up to the file.
    """
    if size < 3:
        raise ValueError("a Data Exchange Buffer with a subrecord has at least 3 octets")
    buffer = bytearray(COMMAND)
    for piece, compressed, ends in _pieces(data, compress, records):
        position = 0
        while True:
            room = size - len(buffer) - 1
            if room < 1 and (piece or room < 0):
                yield bytes(buffer)
                buffer = bytearray(COMMAND)
                continue
            taken = len(piece) if compressed else min(len(piece) - position, SUBRECORD_LONGEST, room)
            position += taken
            flag = END_OF_RECORD if ends and position == len(piece) else 0
            if compressed:
                buffer += bytes((flag | COMPRESSED | taken, piece[0]))
            else:
                buffer.append(flag | taken)
                buffer += piece[position - taken : position]
            if position == len(piece):
                break
    if len(buffer) > 1:
        yield bytes(buffer)


def _pieces(data: bytes, compress: bool, records: Iterable[int] | None) -> Iterator[tuple[bytes, bool, bool]]:
    """Cut a file into pieces that are one run or none, and say with which of them a record ends."""
    position = 0
    if records is None:
        records = [len(data)] if data else []
    for length in records:
        record = data[position : position + length]
        if len(record) < length:
            raise ValueError("the records are longer than the file")
        position += length
        begin = 0
        if compress:
            for run in _RUN.finditer(record):
                if begin < run.start():
                    yield record[begin : run.start()], False, False
                yield run.group(), True, run.end() == length
                begin = run.end()
        if begin < length or length == 0:
            yield record[begin:], False, True
    if position < len(data):
        raise ValueError("the records are shorter than the file")
