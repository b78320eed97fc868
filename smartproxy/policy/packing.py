"""The configuration document as octets: JSON, and behind it the serial numbers of long revocation lists.

Duty: keep what is large and needs no reading out of the JSON. A set of serial numbers that is short stands in the
document as text. Of a long one only width and number stand there; its octets follow the JSON after one NUL octet, which
JSON never holds, in the order in which they are named. In a file of text they stand in the document as base64. Both
ends of each way read and write both forms. Trusts nothing about the octets but the order of the numbers within a set.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any, Final

from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.serials import OCTETS_MOST, SerialSet
from smartproxy.policy.strict_json import WHOLE, DocumentRefused, read

_END: Final = b"\0"


def pack(document: object) -> bytes:
    """A document as octets."""
    sets: list[bytes] = []

    def aside(value: object) -> dict[str, int]:
        if not isinstance(value, SerialSet):
            raise TypeError(f"{type(value).__name__} has no form in JSON")
        sets.append(value.octets)
        return {"width": value.width, "count": len(value)}

    head = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=aside)
    return b"".join([head.encode("utf-8"), _END, *sets]) if sets else head.encode("utf-8")


def apart(octets: bytes) -> tuple[bytes, memoryview]:
    """The JSON of a document, and what follows it, which is not copied."""
    end = octets.find(_END)
    return (octets, memoryview(b"")) if end < 0 else (octets[:end], memoryview(octets)[end:])


def as_text(value: object) -> dict[str, object]:
    """A set of serial numbers for a document that is text: the ``default`` of :func:`json.dumps`."""
    if not isinstance(value, SerialSet):
        raise TypeError(f"{type(value).__name__} has no form in JSON")
    return {"width": value.width, "base64": base64.b64encode(value.octets).decode("ascii")}


def unpack(octets: bytes) -> object:
    """The document in these octets, with each set of serial numbers that followed it in its place.

    :raises DocumentRefused: if they hold no document, or less or more than it names.
    """
    text, sets = apart(octets)
    if len(sets) > limits.SERIALS_OCTETS_MOST + 1:
        raise _refused(
            WHOLE,
            Cause.DOCUMENT_SIZE,
            f"{len(sets) - 1} octets of serial numbers; at most {limits.SERIALS_OCTETS_MOST} are allowed",
        )
    return filled(read(text), sets)


def filled(document: object, sets: bytes | memoryview = b"") -> object:
    """A document with the sets of serial numbers in their places.

    :param sets: one NUL octet, and those that are not in the document.
    :raises DocumentRefused: if they are not what the document names.
    """
    at = len(_END)
    for where, entry in _revocation(document):
        match entry:
            case {"serials": {"width": int(width), "count": int(count), **more}} if not more:
                size = _size(width, count, where)
                if at + size > len(sets):
                    raise _refused(where, Cause.DOCUMENT_SIZE, "names more serial numbers than follow the document")
                entry["serials"] = SerialSet(bytes(sets[at : at + size]), width)
                at += size
            case {"serials": {"width": int(width), "base64": str(text), **more}} if not more:
                entry["serials"] = SerialSet(_decoded(text, width, where), width)
    if at < len(sets):
        raise _refused(WHOLE, Cause.DOCUMENT_SIZE, "is followed by octets that it does not name")
    return document


def _revocation(document: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries of ``server.revocation``, each with the place of its serial numbers."""
    match document:
        case {"server": {"revocation": list(entries)}}:
            for number, entry in enumerate(entries):
                if isinstance(entry, dict):
                    yield f"server.revocation[{number}].serials", entry


def _size(width: int, count: int, where: str) -> int:
    """How many octets a set has."""
    if isinstance(width, bool) or isinstance(count, bool) or not 1 <= width <= OCTETS_MOST or count < 0:
        raise _refused(where, Cause.DOCUMENT_VALUE, f"has to name a width of 1 to {OCTETS_MOST} and a count")
    if count > limits.SERIALS_PER_ISSUER_MOST:
        raise _refused(
            where,
            Cause.DOCUMENT_SIZE,
            f"has {count} entries; at most {limits.SERIALS_PER_ISSUER_MOST} are allowed",
        )
    return width * count


def _decoded(text: str, width: int, where: str) -> bytes:
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _refused(where, Cause.DOCUMENT_VALUE, "is not base64") from None
    _size(width, len(octets) // max(width, 1), where)
    found = SerialSet(octets, width)
    if not found.is_ordered:
        raise _refused(where, Cause.DOCUMENT_VALUE, "is not in rising order")
    return octets


def _refused(where: str, cause: Cause, message: str) -> DocumentRefused:
    return DocumentRefused(where=where, cause=cause, message=message)
