"""The recorded sessions of foreign implementations in ``tests/data/transcripts``."""

import json

from smartproxy.oftp2.roles import Role
from tests.conformance.cuts import Chunks
from tests.conformance.facts import DATA

TRANSCRIPTS = DATA / "transcripts"
DIRECTIONS = {"i2r": Role.INITIATOR, "r2i": Role.RESPONDER}


def names() -> list[str]:
    """Every recording."""
    return sorted(path.stem for path in TRANSCRIPTS.glob("*.jsonl"))


def recorded(name: str) -> Chunks:
    """The octets as they were read, in time order; the ends of the streams are left out."""
    lines = [json.loads(line) for line in (TRANSCRIPTS / f"{name}.jsonl").read_text().splitlines()]
    return [(DIRECTIONS[line["dir"]], bytes.fromhex(line["hex"])) for line in lines if line["hex"]]


def buffers(stream: bytes) -> list[bytes]:
    """The Stream Transmission Buffers of one direction, header and all; octets left over come last."""
    found = []
    while len(stream) >= 4 and (length := int.from_bytes(stream[1:4], "big")) <= len(stream) and length >= 4:
        found.append(stream[:length])
        stream = stream[length:]
    return [*found, stream] if stream else found


def until_the_end(chunks: Chunks) -> dict[Role, bytes]:
    """Octets of each direction up to and including the session's ESID, found without the monitor."""
    streams = dict.fromkeys(Role, b"")
    for sender, octets in chunks:
        streams[sender] += octets
        for index, buffer in enumerate(found := buffers(streams[sender])):
            if buffer[4:5] == b"F":
                streams[sender] = b"".join(found[: index + 1])
                return streams
    return streams
