"""How much work a file's password protection asks for, before any of it is done.

Duty: find the rounds of key derivation in PKCS#8 and PKCS#12 files. A file names its own rounds, and the library does
whatever it is told, for minutes, with all other threads waiting. Trusts nothing: what cannot be taken apart counts as
asking for nothing, since the library then does not read it either. Never derives a key.

RFC 8018 appendix A (PBES1, PBES2, PBKDF2), RFC 7914 section 7 (scrypt), RFC 7292 section 4 (MacData).
"""

from collections.abc import Iterator
from typing import Final

from smartproxy.net.tls.der import values

_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_SEQUENCE: Final = 0x30
_CONSTRUCTED: Final = 0x20
_SCRYPT_FIGURES: Final = 3
"""The cost, the block size and the parallelization of scrypt; other derivations have one figure before the rest."""
_DEPTH_MOST: Final = 16


def rounds_asked_for(der: bytes) -> int:
    """The most rounds that any key derivation in a file asks for; for scrypt, the product of its three figures."""
    return max(_rounds(der, _DEPTH_MOST), default=0)


def _rounds(der: bytes, depth: int) -> Iterator[int]:
    """The rounds of each derivation; a salt with the rounds behind it begins its parameters, or ends MacData."""
    try:
        found = list(values(der))
    except ValueError:
        return
    shape = [tag for tag, _ in found]
    at = 1 if shape[:1] == [_OCTETS] else 2 if shape[:2] == [_SEQUENCE, _OCTETS] else len(shape)
    figures = []
    for tag, content in found[at:]:
        if tag != _INTEGER:
            break
        figures.append(int.from_bytes(content, "big"))
    if len(figures) >= _SCRYPT_FIGURES:
        yield figures[0] * figures[1] * figures[2]
    elif figures:
        yield figures[0]
    if depth:
        for tag, content in found:
            if tag & _CONSTRUCTED or tag == _OCTETS:
                yield from _rounds(content, depth - 1)
