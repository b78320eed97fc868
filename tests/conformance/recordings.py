"""The recorded sessions of foreign implementations in ``tests/data/transcripts``, and ways to cut them."""

import json
from random import Random

from smartproxy.oftp2.roles import Role
from tests.conformance.facts import DATA

TRANSCRIPTS = DATA / "transcripts"
DIRECTIONS = {"i2r": Role.INITIATOR, "r2i": Role.RESPONDER}
Chunks = list[tuple[Role, bytes]]


def names() -> list[str]:
    """Every recording."""
    return sorted(path.stem for path in TRANSCRIPTS.glob("*.jsonl"))


def recorded(name: str) -> Chunks:
    """The octets as they were read, in time order; the ends of the streams are left out."""
    lines = [json.loads(line) for line in (TRANSCRIPTS / f"{name}.jsonl").read_text().splitlines()]
    return [(DIRECTIONS[line["dir"]], bytes.fromhex(line["hex"])) for line in lines if line["hex"]]


def octet_by_octet(chunks: Chunks) -> Chunks:
    """One octet at a time."""
    return [(sender, octets[index : index + 1]) for sender, octets in chunks for index in range(len(octets))]


def by_turns(chunks: Chunks) -> Chunks:
    """All that one side says before the other speaks, in one piece."""
    turns: Chunks = []
    for sender, octets in chunks:
        if turns and turns[-1][0] is sender:
            turns[-1] = sender, turns[-1][1] + octets
        else:
            turns.append((sender, octets))
    return turns


def at_random(chunks: Chunks, rng: Random) -> Chunks:
    """Each turn cut at random places."""
    pieces: Chunks = []
    for sender, octets in by_turns(chunks):
        start = 0
        while start < len(octets):
            end = start + rng.randint(1, rng.choice((2, 7, 60, 3000)))
            pieces.append((sender, octets[start:end]))
            start = end
    return pieces


def buffers(stream: bytes) -> list[bytes]:
    """The Stream Transmission Buffers of one direction, header and all; octets left over come last."""
    found = []
    while len(stream) >= 4 and (length := int.from_bytes(stream[1:4], "big")) <= len(stream) and length >= 4:
        found.append(stream[:length])
        stream = stream[length:]
    return [*found, stream] if stream else found
