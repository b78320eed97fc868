"""The record of a session, compressed: packed by the client, unpacked within bounds by the backend.

Never imported in the DMZ, where nothing is decompressed.
"""

import json
import zlib

from smartproxy.policy.causes import Cause
from smartproxy.policy.schema import read_object
from smartproxy.policy.session_record import OCTETS_MOST, PACKED_MOST, STEPS_LAST, SessionRecord
from smartproxy.policy.strict_json import WHOLE, DocumentRefused, read


def pack(document: dict[str, object]) -> bytes:
    """A record's JSON object, compressed; of one that is too long, the steps in the middle are left out."""
    while True:
        octets = json.dumps(document, separators=(",", ":")).encode()
        packed = zlib.compress(octets, 6)
        steps = document["steps"]
        assert isinstance(steps, list)
        if (len(octets) <= OCTETS_MOST and len(packed) <= PACKED_MOST) or len(steps) <= STEPS_LAST:
            return packed
        kept = (len(steps) - STEPS_LAST) // 2
        left_out = document["left_out"]
        assert isinstance(left_out, int)
        fewer = steps[:kept] + steps[-STEPS_LAST:]
        document = {**document, "steps": fewer, "left_out": left_out + len(steps) - len(fewer)}


def unpack(packed: bytes) -> SessionRecord:
    """The record that was packed.

    :raises DocumentRefused: if it is not one, or longer than one may be.
    """
    try:
        inflating = zlib.decompressobj()
        octets = inflating.decompress(packed, OCTETS_MOST + 1)
    except zlib.error as error:
        raise DocumentRefused(where=WHOLE, cause=Cause.DOCUMENT_JSON, message="not a packed record") from error
    return read_object(SessionRecord, read(octets, octets_most=OCTETS_MOST))
