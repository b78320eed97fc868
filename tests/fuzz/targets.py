"""What must hold for any octets: a function for each part of the protocol core, silent if all is well."""

from contextlib import suppress
from random import Random

from smartproxy.oftp2.codec import decode, encode
from smartproxy.oftp2.errors import ProtocolError
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Level, Profile, Role
from tests.fuzz.mutator import Chunks


class Discrepancy(AssertionError):
    """An input on which the core breaks its promise."""


def verdict(chunks: Chunks, profile: Profile) -> tuple[object, ...]:
    """All that the monitor says on a session, gathered so that the cuts of the stream do not show."""
    monitor = Monitor(profile, observe_data=True)
    passed = {role: bytearray() for role in Role}
    discarded = dict.fromkeys(Role, 0)
    observations: list[object] = []
    error = None
    for sender, octets in chunks:
        judgement = monitor.judge(sender, octets)
        passed[sender] += judgement.octets
        discarded[sender] += judgement.discarded
        observations += judgement.observations
        error = judgement.error
        if error is not None:
            break
    if error is not None and not isinstance(error, ProtocolError):
        raise Discrepancy(f"not of the family: {error!r}")
    told = error and (type(error), error.rule, error.field, error.offset, error.position, error.sender, error.state)
    return passed, discarded, observations, told, monitor.state, monitor.speaker


def two_sided_monitor(chunks: Chunks, rng: Random) -> None:
    """Whole, octet by octet and cut at random, the verdicts are the same, and what passes is what came."""
    profile = rng.choice(tuple(Profile))
    expected = verdict(chunks, profile)
    pieces: Chunks = []
    for sender, octets in chunks:
        start = 0
        while start < len(octets):
            end = start + rng.randint(1, rng.choice((1, 3, 70, 5000)))
            pieces.append((sender, octets[start:end]))
            start = end
    if verdict(pieces, profile) != expected:
        raise Discrepancy("cut at random the verdict is another one")
    if rng.random() < 0.2:
        single = [(sender, octets[index : index + 1]) for sender, octets in chunks for index in range(len(octets))]
        if verdict(single, profile) != expected:
            raise Discrepancy("octet by octet the verdict is another one")
    passed = expected[0]
    assert isinstance(passed, dict)
    for role in Role:
        if not b"".join(octets for sender, octets in chunks if sender is role).startswith(bytes(passed[role])):
            raise Discrepancy("octets were changed")


def codec(chunks: Chunks, rng: Random) -> None:
    """Any buffer decodes to a command that encodes to the same octets, or raises a protocol error."""
    _, octets = rng.choice(chunks) if chunks else (None, b"")
    buffer = octets[4:] if rng.random() < 0.9 else octets
    for level in Level:
        for profile in Profile:
            with suppress(ProtocolError):
                command = decode(buffer, level, profile)
                if command.NAME != "DATA" and encode(command, level) != buffer:
                    raise Discrepancy(f"{command.NAME} does not encode to what it was decoded from")


TARGETS = {"monitor": two_sided_monitor, "codec": codec}
