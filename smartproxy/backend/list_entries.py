"""The entries of a revocation list, read from its DER: a list may have a million, and an object for each is too slow.

Reads serial numbers, and refuses a list with an entry that demands what nobody here understands: such a list is not to
be used at all. Every entry revokes: that one is taken back (removeFromCRL) may be said in delta lists only, which are
not used. The list was read by cryptography before, so that its form is right; what is not as it has to be raises an
error all the same.

RFC 5280 sections 5.1.2.6, 5.3 and 5.3.1; X.690 section 8.
"""

from typing import Final

from smartproxy.net.tls.der import dotted, value, values
from smartproxy.policy.certificates.serials import OCTETS_MOST, SerialSet

_SEQUENCE, _INTEGER = 0x30, 0x02
_TIMES: Final = (0x17, 0x18)
_CRITICAL: Final = bytes.fromhex("0101ff")
"""A value that is true, as which an extension says that it is critical."""
_REASON: Final = "2.5.29.21"
_NAMED: Final = {"2.5.29.24": "invalidityDate", "2.5.29.29": "certificateIssuer"}


class UnknownDemand(ValueError):
    """An entry has a critical extension that is not understood; the message names it."""


def serials(der: bytes) -> SerialSet:
    """The certificates that a list revokes.

    :param der: a list that cryptography has read.
    :raises UnknownDemand: for a critical extension of an entry.
    :raises ValueError: for a serial number that is negative or longer than RFC 5280 allows.
    """
    return numbers(_entries(der))


def numbers(entries: bytes) -> SerialSet:
    """The serial numbers in the content of revokedCertificates.

    :raises ValueError: as :func:`serials` does, and for what is no entry.
    """
    # A serial number may hold these octets, too: those of its entry are read then.
    has_critical = _CRITICAL in entries
    found: list[bytes] = []
    at, end = 0, len(entries)
    while at + 1 < end:
        # No call for what is short, which nearly all are: this is done a million times.
        length = entries[at + 1]
        start, stop = (at + 2, at + 2 + length) if length < 0x80 else _content(entries, at)
        if entries[at] != _SEQUENCE or stop > end:
            raise ValueError("an entry is cut, or is no sequence")
        if start + 3 > stop or entries[start] != _INTEGER:
            raise ValueError("an entry has no serial number")
        length = entries[start + 1]
        serial = entries[start + 2 : start + 2 + length]
        if not serial or serial[0] >= 0x80:
            raise ValueError("a serial number is empty or negative")
        if serial[0] == 0:
            serial = serial.lstrip(b"\0") or b"\0"
        if length >= 0x80 or len(serial) > OCTETS_MOST:
            raise ValueError(f"a serial number has more than {OCTETS_MOST} octets")
        if has_critical and entries.find(_CRITICAL, start, stop) >= 0:
            _check_demands(entries[start:stop])
        found.append(serial)
        at = stop
    if at < end:
        raise ValueError("an entry is cut, or is no sequence")
    return SerialSet.of_octets(found)


def _entries(der: bytes) -> bytes:
    """The content of revokedCertificates, the sequence that follows the times; nothing if there is none."""
    ((_, whole),) = values(der)
    _, content = next(values(whole))
    is_after_time = False
    for tag, inner in values(content):
        if is_after_time and tag == _SEQUENCE:
            return inner
        is_after_time = is_after_time or tag in _TIMES
    return b""


def _content(octets: bytes, at: int) -> tuple[int, int]:
    """Where the content of the value at a place begins and ends, whose length has octets of its own."""
    start = at + 2 + (octets[at + 1] & 0x7F)
    return start, start + int.from_bytes(octets[at + 2 : start], "big")


def _check_demands(entry: bytes) -> None:
    """Refuse an entry with a critical extension other than the reason.

    :raises UnknownDemand: if it has one.
    """
    for listed in (content for tag, content in values(entry) if tag == _SEQUENCE):
        for _, extension in values(listed):
            (_, number), *rest = values(extension)
            name = dotted(number)
            if name != _REASON and any(value(tag, content) == _CRITICAL for tag, content in rest):
                raise UnknownDemand(f"{_NAMED[name]}, {name}" if name in _NAMED else name)
