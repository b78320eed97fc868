"""The Stream Transmission Buffer: four octets of header that give TCP's stream its Exchange Buffers back.

A header is judged octet by octet, before the length it declares is waited for. :func:`run` is the hot path: complete
Data Exchange Buffers are judged where they arrived, without an object or a copy each. It takes only what is beyond
doubt: it stops in front of the first buffer that is no DATA, is not complete, or is wrong in any way; the monitor
judges that one by the long way, which is the one that says what is wrong. Holds nothing.

Standards: RFC 5024 section 8; sections 4.4.1 and 7.2 (runs).
"""

from typing import Final

from smartproxy.oftp2.errors import BadLength, ProtocolError, StreamHeaderError
from smartproxy.oftp2.subrecords import COMPRESSED, FULL, MATTERS, STEPS, SUBRECORD_LONGEST, walk

HEADER_LENGTH: Final = 4
#: Version 1, no flags.
VERSION_AND_FLAGS: Final = 0x10
#: A header and a command of one octet.
SHORTEST: Final = 5
#: A header and the longest Exchange Buffer that can be agreed.
LONGEST: Final = 100003


def frame(buffer: bytes) -> bytes:
    """Put the Stream Transmission Header in front of an Exchange Buffer.

    :raise ValueError: if it is empty or too long for a header.
    """
    length = HEADER_LENGTH + len(buffer)
    if not SHORTEST <= length < 1 << 24:
        raise ValueError("an Exchange Buffer has at least one octet and fits into a 24 bit length")
    return (VERSION_AND_FLAGS << 24 | length).to_bytes(HEADER_LENGTH, "big") + buffer


def judge_header(octets: bytes | bytearray, longest: int) -> None:
    """Judge a header as far as it has arrived.

    :param octets: one to four octets.
    :param longest: the length of the longest Stream Transmission Buffer that is waited for.
    :raise StreamHeaderError: if version or flags are wrong.
    :raise BadLength: as soon as no continuation can be a length between 5 and ``longest``.
    """
    if len(octets) == HEADER_LENGTH and octets[0] == VERSION_AND_FLAGS:
        if SHORTEST <= int.from_bytes(octets[1:], "big") <= longest:
            return
    elif octets[0] != VERSION_AND_FLAGS:
        if octets[0] >> 4 != VERSION_AND_FLAGS >> 4:
            raise StreamHeaderError(
                rule="header.version",
                message="not version 1 of the Stream Transmission Header",
                section="8.2",
                offset=0,
            )
        raise StreamHeaderError(
            rule="header.flags", message="a Stream Transmission Header with flags", section="8.2", offset=0
        )
    for have in range(2, len(octets) + 1):
        unknown = 8 * (HEADER_LENGTH - have)
        least = int.from_bytes(octets[1:have], "big") << unknown
        if least > longest or least | (1 << unknown) - 1 < SHORTEST:
            raise BadLength(
                rule="length.header",
                message=f"a Stream Transmission Buffer has 5 to {longest} octets here",
                section="8.2",
                offset=have - 1,
            )


#: SSRM, framed: the greeting of every Responder.
SSRM_BUFFER: Final = frame(b"IODETTE FTP READY \r")

_DATA: Final = 0x44
_PAYLOAD: Final = HEADER_LENGTH + 1
#: So many buffers alike are worth judging together.
_RUN: Final = 8
_WORTH: Final = _PAYLOAD + 2


def run(octets: bytes, position: int, credit: int, longest: int, compression: bool) -> tuple[int, int, int, int, int]:
    """Judge Data Exchange Buffers as long as they are complete and valid.

    :param position: index of the first one's Stream Transmission Header.
    :param credit: the most of them that may come.
    :param longest: the length of the longest Stream Transmission Buffer allowed.
    :param compression: whether subrecords may be compressed.
    :return: the index behind the last one, how many they are, how many octets of the Virtual File they represent, a
        header with the end-of-record flag if the last that had the flag or a count has it (0: none had), and how many
        have the greatest length.
    """
    buffers = units = last = greatest = 0
    size = len(octets)
    tried = position
    while buffers < credit and size - position > _PAYLOAD:
        if octets[position] != VERSION_AND_FLAGS or octets[position + HEADER_LENGTH] != _DATA:
            break
        length = octets[position + 1] << 16 | octets[position + 2] << 8 | octets[position + 3]
        end = position + length
        if not _PAYLOAD < length <= longest or end > size:
            break
        if position >= tried and length >= _WORTH and size - position >= _RUN * length and credit - buffers >= _RUN:
            alike, tried = _alike(octets, position, length, min(credit - buffers, (size - position) // length))
            if alike:
                buffers += alike
                units += alike * represented(length)
                last = SUBRECORD_LONGEST
                greatest += alike if length == longest else 0
                position += alike * length
                continue
        chain = position + _PAYLOAD
        full = (length - _PAYLOAD - 1) >> 6
        final = chain + (full << 6)
        header = octets[final]
        if STEPS[header] == end - final and not header & COMPRESSED and octets[chain:final:64] == FULL[:full]:
            units += SUBRECORD_LONGEST * full + (header & SUBRECORD_LONGEST)
            if header & MATTERS:
                last = header
            elif full:
                last = SUBRECORD_LONGEST
        else:
            try:
                _, more, significant = walk(octets, chain, end, end, compression)
            except ProtocolError:
                break
            units += more
            last = significant or last
        if length == longest:
            greatest += 1
        buffers += 1
        position = end
    return position, buffers, units, last, greatest


def represented(length: int) -> int:
    """Return how many octets of the Virtual File a regular buffer represents: full subrecords, then a shorter one."""
    chain = length - _PAYLOAD
    return chain - (chain + SUBRECORD_LONGEST) // (SUBRECORD_LONGEST + 1)


def _alike(octets: bytes, position: int, length: int, most: int) -> tuple[int, int]:
    """Judge a run of regular buffers of one length across: one slice for each header's place, through all of them.

    :param most: how many buffers there may be.
    :return: how many were judged, and the index before which trying again is no use.
    """
    chain = length - _PAYLOAD
    headers = (chain + SUBRECORD_LONGEST) // (SUBRECORD_LONGEST + 1)
    count = most
    for at in range(_PAYLOAD):
        octet = octets[position + at : position + at + 1]
        column = octets[position + at : position + count * length : length]
        count = len(column) - len(column.lstrip(octet))
    stop = position + count * length
    if count < _RUN or headers > _RUN * count:
        return 0, stop
    for at in range(_PAYLOAD, _PAYLOAD + (headers - 1 << 6), 64):
        if octets[position + at : stop : length] != FULL[:count]:
            return 0, stop
    final = chain - (headers - 1 << 6) - 1
    if octets[position + _PAYLOAD + (headers - 1 << 6) : stop : length] != bytes((final,)) * count:
        return 0, stop
    return count, stop
