"""Ways to cut the streams of a session: what each side sent, in the order in which it was read."""

from random import Random

from smartproxy.oftp2.roles import Role

Chunks = list[tuple[Role, bytes]]


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
    """Each turn cut at random places, in pieces of every size."""
    pieces: Chunks = []
    for sender, octets in by_turns(chunks):
        start = 0
        while start < len(octets):
            end = start + rng.randint(1, rng.choice((1, 3, 7, 60, 3000)))
            pieces.append((sender, octets[start:end]))
            start = end
    return pieces
