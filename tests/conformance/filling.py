"""Data Exchange Buffers filled at random by the rules of section 7.3 of RFC 5024."""

from random import Random

from tests.conformance.wire import NOISE

#: No regular buffer of 99999 octets runs beyond the noise from here.
FROM = 1 << 16


def filled(rng: Random, room: int, *, last: bool, records: bool, compression: bool) -> tuple[bytes, int, int]:
    """One buffer.

    :param room: the most octets behind the command octet.
    :param last: whether the Virtual File ends with it: then its last subrecord has the end-of-record flag.
    :param records: whether records may end inside it.
    :param compression: whether subrecords may be compressed.
    :return: the buffer, the octets of the Virtual File that it represents, and the records that end in it.
    """
    at = rng.randrange(FROM)
    if rng.random() < 0.75:
        parts, units, ends = _regular(at, room)
    else:
        parts, units, ends = _irregular(at, room, records, compression)
    if last and not parts:
        parts, ends = [b"\x80"], ends + 1
    elif last and parts[-1][0] < 0x80:
        parts[-1] = bytes((parts[-1][0] | 0x80,)) + parts[-1][1:]
        ends += 1
    return b"D" + b"".join(parts), units, ends


def _regular(at: int, room: int) -> tuple[list[bytes], int, int]:
    full, rest = divmod(room, 64)
    parts = [b"\x3f" + NOISE[start : start + 63] for start in range(at, at + 63 * full, 63)]
    if rest < 2:
        return parts, 63 * full, 0
    return [*parts, bytes((rest - 1,)) + NOISE[at : at + rest - 1]], 63 * full + rest - 1, 0


def _irregular(at: int, room: int, records: bool, compression: bool) -> tuple[list[bytes], int, int]:
    parts: list[bytes] = []
    units = ends = 0
    while room > 2 and len(parts) < 12:
        kind, count, octet = NOISE[at : at + 3]
        count &= 0x3F
        flag = 0x80 if records and kind & 1 else 0
        if compression and kind & 2:
            parts.append(bytes((flag | 0x40 | count, octet)))
        else:
            count = min(count, room - 1)
            parts.append(bytes((flag | count,)) + NOISE[at : at + count])
        room -= len(parts[-1])
        units += count
        ends += flag >> 7
        at += 3
    return parts, units, ends
