"""What must hold for any octets: a function for each part of the protocol core, silent if all is well."""

from collections.abc import Callable
from contextlib import suppress
from random import Random

from OpenSSL import SSL

from smartproxy.net.tls.openssl import DirectRecords
from smartproxy.net.transport.secured import TlsFactory
from smartproxy.oftp2.codec import decode, encode
from smartproxy.oftp2.errors import ProtocolError
from smartproxy.oftp2.roles import Level, Profile, Role
from tests.adapters.test_transport_tls import (
    CONTEXTS,
    FLOW_KINDS,
    KINDS,
    Pair,
    alike,
    connected,
    play,
    script,
    twisteds,
)
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
    steps = script(rng, rng.choice((KINDS, FLOW_KINDS)))
    held: tuple[list[list[bool | None]], ...] = [], []
    expected = play(Pair(contexts, twisteds, twisteds), steps, held[0].append)
    makers = rng.choice(((TlsFactory, twisteds), (twisteds, TlsFactory), (TlsFactory, TlsFactory)))
    if not alike(expected, play(Pair(contexts, *makers), steps, held[1].append), steps) or held[0] != held[1]:
        raise Discrepancy(f"the transports differ: {steps}")


GUARD = 4096
"""Octets before and behind a buffer that nobody may write."""


class Guarded:
    """A buffer of a way to read and write records, with octets around it that tell a write outside of it."""

    def __init__(self, size: int) -> None:
        self._whole = bytearray(b"\xa5") * (size + 2 * GUARD)
        self.view = memoryview(self._whole)[GUARD:-GUARD]

    def judge(self) -> None:
        """Nothing was written outside.

        :raises Discrepancy: if something was.
        """
        guard = b"\xa5" * GUARD
        if self._whole[:GUARD] != guard or self._whole[-GUARD:] != guard:
            raise Discrepancy("octets were written outside of the buffer")


def failing(call: Callable[..., int], rng: Random, share: float) -> Callable[..., int]:
    """A call into OpenSSL that fails now and then, without having been made."""

    def made(*arguments: object) -> int:
        return rng.choice((-1, 0)) if rng.random() < share else call(*arguments)

    return made


def direct_records(chunks: Chunks, rng: Random) -> None:
    """However octets are cut and whichever call fails, all arrive once and in order, and no buffer is overrun."""
    record = 16 * 1024
    piece = rng.choice((record, 2 * record))
    plain, sealed = (Guarded(least + rng.choice((0, 1, 5000, 300_000))) for least in (record, 2 * piece))
    way = DirectRecords(plain.view, sealed.view, record=record, piece=piece)
    share = rng.choice((0.0, 0.0, 0.1, 0.6))
    for name in ("_ssl_read", "_ssl_write", "_bio_read"):
        setattr(way, name, failing(getattr(way, name), rng, share))
    near, far = connected(CONTEXTS[rng.choice(sorted(CONTEXTS))])
    sent, arrived, under_way = bytearray(), bytearray(), bytearray()
    data = b""
    start = 0
    for turn in range(10_000):
        if start == len(data) and turn < 12:
            sources = [
                b"".join(octets for _, octets in chunks),
                rng.randbytes(rng.choice((0, 1, 16_384, 16_385, 300_000))),
            ]
            data, start = rng.choice(sources)[: rng.choice((5, 70_000, 300_000))], 0
            sent += data
        begun = start
        start, filled, wrong = way.encrypt(near, rng.choice((data, bytearray(data), memoryview(data))), start)
        within(begun, start, len(data), wrong)
        within(0, filled, len(sealed.view), None)
        under_way += sealed.view[:filled]
        cut = rng.randrange(1, 400_000)
        octets = memoryview(bytes(under_way[:cut]))
        before = rng.randrange(len(octets) + 1)
        begun = rng.choice((0, 0, 17, len(plain.view) - record, len(plain.view) - record + 1))
        if octets and rng.random() < 0.7:
            del under_way[:cut]
            octets = memoryview(bytes(before) + bytes(octets))
            taken, end, wrong = way.unseal(far, octets, before, begun)
            within(before, taken, len(octets), wrong)
            under_way[:0] = octets[taken:]
        else:
            end, wrong = way.decrypt(far, begun)
        within(begun, end, len(plain.view), wrong)
        arrived += plain.view[begun:end]
        if turn >= 12 and arrived == sent and start == len(data):
            break
    for outside in (-1, len(data) + 1):
        with suppress(ValueError):
            way.encrypt(near, data, outside)
            raise Discrepancy("a position outside of the octets was taken")
    for outside, end in ((-1, 0), (len(data) + 1, 0), (0, -1)):
        with suppress(ValueError):
            way.unseal(far, memoryview(data), outside, end)
            raise Discrepancy("a position outside of the octets was taken, or a negative one")
    with suppress(ValueError):
        way.decrypt(far, -1)
        raise Discrepancy("a negative position was taken")
    if arrived != sent:
        raise Discrepancy(f"{len(arrived)} octets arrived of {len(sent)}, or others")
    plain.judge()
    sealed.judge()


def within(least: int, position: int, most: int, wrong: object) -> None:
    """A position is where it may be, and an error is one of OpenSSL's.

    :raises Discrepancy: if not.
    """
    if not least <= position <= max(least, most):
        raise Discrepancy(f"position {position} is not from {least} to {most}")
    if wrong is not None and not isinstance(wrong, SSL.Error):
        raise Discrepancy(f"an error that is none of OpenSSL's: {type(wrong).__name__}")


TARGETS = {"monitor": two_sided_monitor, "codec": codec, "transport": transport, "records": direct_records}
