"""What must hold for any octets: a function for each part of the protocol core, silent if all is well."""

from contextlib import suppress
from random import Random

from smartproxy.net.transport.secured import TlsFactory
from smartproxy.oftp2.codec import decode, encode
from smartproxy.oftp2.errors import ProtocolError
from smartproxy.oftp2.roles import Level, Profile, Role
from tests.adapters.test_transport_tls import CONTEXTS, Pair, alike, play, script, twisteds
from tests.conformance.cuts import Chunks, at_random, octet_by_octet
from tests.conformance.verdicts import verdicts


class Discrepancy(AssertionError):
    """An input on which the core breaks its promise."""


def two_sided_monitor(chunks: Chunks, rng: Random) -> None:
    """Whole, octet by octet and cut at random, the verdicts are the same, and what passes is what came."""
    profile = rng.choice(tuple(Profile))
    expected = verdicts(chunks, profile)
    if verdicts(at_random(chunks, rng), profile) != expected:
        raise Discrepancy("cut at random the verdict is another one")
    if rng.random() < 0.2 and verdicts(octet_by_octet(chunks), profile) != expected:
        raise Discrepancy("octet by octet the verdict is another one")
    for role in Role:
        if not b"".join(octets for sender, octets in chunks if sender is role).startswith(expected.passed[role]):
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


def transport(chunks: Chunks, rng: Random) -> None:
    """What protocols see of a random script does not depend on whose TLS transport carries them."""
    contexts = CONTEXTS[rng.choice(sorted(CONTEXTS))]
    steps = script(rng)
    expected = play(Pair(contexts, twisteds, twisteds), steps)
    makers = rng.choice(((TlsFactory, twisteds), (twisteds, TlsFactory), (TlsFactory, TlsFactory)))
    if not alike(expected, play(Pair(contexts, *makers), steps), steps):
        raise Discrepancy(f"the transports differ: {steps}")


TARGETS = {"monitor": two_sided_monitor, "codec": codec, "transport": transport}
