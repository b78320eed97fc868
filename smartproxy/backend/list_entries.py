"""The entries of a revocation list, read from its DER: a list may have a million, and an object for each is too slow.

Reads serial numbers only, and which entries take a revocation back. The list was read by cryptography before, so that
its form is right; what is not as it has to be raises an error all the same.

RFC 5280 sections 5.1.2.6 and 5.3.1; X.690 section 8.
"""

from typing import Final

from smartproxy.net.tls.der import values
from smartproxy.policy.certificates.serials import OCTETS_MOST, SerialSet

_SEQUENCE, _INTEGER = 0x30, 0x02
_TIMES: Final = (0x17, 0x18)
_REASON: Final = bytes.fromhex("0603551d15")
_REMOVED: Final = bytes.fromhex("04030a0108")
"""An extension's value that is the reason removeFromCRL."""


def serials(der: bytes) -> SerialSet:
    """The certificates that a list revokes: all of its entries but those that take a revocation back.

    :param der: a list that cryptography has read.
    :raises ValueError: for a serial number that is negative or longer than RFC 5280 allows.
    """
    return numbers(_entries(der))


def numbers(entries: bytes) -> SerialSet:
    """The serial numbers in the content of revokedCertificates.

    :raises ValueError: as :func:`serials` does, and for what is no entry.
    """
    has_removed = _REMOVED in entries
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
        if not has_removed or not _is_removed(entries[start:stop]):
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


def _is_removed(entry: bytes) -> bool:
    """Whether an entry says that a certificate is valid again (removeFromCRL)."""
    if _REMOVED not in entry:
        return False
    extensions = [content for tag, content in values(entry) if tag == _SEQUENCE]
    return any(
        extension.startswith(_REASON) and extension.endswith(_REMOVED)
        for listed in extensions
        for _, extension in values(listed)
    )
