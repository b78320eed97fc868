"""The Stream Transmission Buffer: four octets of header that give TCP's stream its Exchange Buffers back.

Judges a header octet by octet, before the length it declares is waited for. Holds nothing.

Standards: RFC 5024 section 8.
"""

from typing import Final

from smartproxy.oftp2.errors import BadLength, StreamHeaderError

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
