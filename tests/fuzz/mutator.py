"""Changes sessions at random, with an eye on what hurts a parser of length-prefixed buffers."""

from random import Random

from smartproxy.oftp2.roles import Role
from tests.conformance.cuts import Chunks, by_turns
from tests.conformance.random_user import Party
from tests.conformance.recordings import names, recorded

INTERESTING = (
    0x00,
    0x01,
    0x0A,
    0x0D,
    0x10,
    0x1F,
    0x20,
    0x2E,
    0x2F,
    0x30,
    0x39,
    0x3F,
    0x40,
    0x5C,
    0x7F,
    0x80,
    0xC0,
    0xFF,
)
COMMAND_OCTETS = b"IXH23DCT45FRENPJAS"


def corpus(rng: Random) -> list[Chunks]:
    """Sessions to begin with: the recordings and simulated ones."""
    return [by_turns(recorded(name)) for name in names()] + [session(rng) for _ in range(60)]


def session(rng: Random) -> Chunks:
    """A correct session of two simulated entities, without a witness, turn by turn."""
    authentication = rng.random() < 0.3
    ends = {role: Party(rng, caller=role is Role.INITIATOR, authentication=authentication) for role in Role}
    for end in ends.values():
        end.connect()
    taken = dict.fromkeys(Role, 0)
    chunks: Chunks = []
    moved = True
    while moved and len(chunks) < 60:
        moved = False
        for role in Role:
            moved = ends[role].act() or moved
            octets = bytes(ends[role].sent[taken[role] :])
            if octets:
                taken[role] += len(octets)
                chunks.append((role, octets))
                ends[role.other].receive(octets)
                moved = True
    return chunks


def mutated(chunks: Chunks, rng: Random) -> Chunks:
    """The session with one to four changes near its front or anywhere."""
    changed = list(chunks)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not changed:
            break
        index = rng.randrange(min(len(changed), rng.choice((4, 12, 1000))))
        sender, octets = changed[index]
        kind = rng.randrange(9)
        if kind == 0:
            changed[index] = sender.other, octets
        elif kind == 1:
            del changed[index]
        elif kind == 2:
            changed.insert(rng.randrange(len(changed) + 1), changed[index])
        elif kind == 3:
            changed[index] = sender, octets + rng.randbytes(rng.choice((1, 4, 5, 64)))
        else:
            changed[index] = sender, _octets_changed(octets, kind, rng)
    return changed


def _octets_changed(octets: bytes, kind: int, rng: Random) -> bytes:
    if not octets:
        return octets
    at = rng.randrange(min(len(octets), rng.choice((5, 70, 1 << 20))))
    if kind == 4:
        return octets[:at] + bytes((octets[at] ^ (1 << rng.randrange(8)),)) + octets[at + 1 :]
    if kind == 5:
        return octets[:at] + bytes((rng.choice(INTERESTING),)) + octets[at + 1 :]
    if kind == 6:
        return octets[:at] + octets[at + rng.choice((1, 2, 4)) :]
    if kind == 7 and len(octets) > 4:
        length = rng.choice((0, 3, 4, 5, 6, 65, 169, 1010, 1011, 16388, 100003, 100004, 0xFFFFFF, len(octets) + 1))
        return octets[:1] + length.to_bytes(3, "big") + octets[4:]
    return octets[:4] + bytes((rng.choice(COMMAND_OCTETS),)) + octets[5:]
