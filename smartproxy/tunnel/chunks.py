"""A configuration on its way through the control connection: numbered chunks under one hash.

Every chunk carries its generation, its number, and the size and SHA-256 of the whole, so that nothing can be mixed up
or grow: size and number are judged with the first chunk, before anything is kept. Pure.
"""

import hashlib
import hmac
from collections.abc import Iterator
from typing import Final

import attrs

from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import GenerationId
from smartproxy.tunnel.faults import ConfigurationDeclined, Violation

DIGEST_OCTETS: Final = 32


@attrs.frozen(kw_only=True)
class Chunk:
    """One piece of a generation.

    :ivar number: counted from 0.
    :ivar size: octets of the whole.
    :ivar digest: SHA-256 of the whole.
    """

    generation: GenerationId
    number: int
    size: int
    digest: bytes
    octets: bytes = attrs.field(repr=False)

    @property
    def count(self) -> int:
        """How many chunks the whole has; an empty whole is one empty chunk."""
        return max(1, -(-self.size // limits.CHUNK_OCTETS))

    @property
    def last(self) -> bool:
        """Whether the whole ends with this chunk."""
        return self.number == self.count - 1


def digests(octets: bytes) -> Iterator[bytes | None]:
    """The SHA-256 of a whole, computed piece by piece: nothing after each piece but the last."""
    found = hashlib.sha256()
    view = memoryview(octets)
    for start in range(0, len(octets), limits.DIGEST_PIECE_OCTETS):
        if start:
            yield None
        found.update(view[start : start + limits.DIGEST_PIECE_OCTETS])
    yield found.digest()


def cut(generation: GenerationId, octets: bytes, digest: bytes | None = None) -> Iterator[Chunk]:
    """The chunks of a generation, in order.

    :param digest: the SHA-256 of the octets, if it is known already.
    """
    if digest is None:
        digest = hashlib.sha256(octets).digest()
    for number, start in enumerate(range(0, max(1, len(octets)), limits.CHUNK_OCTETS)):
        yield Chunk(
            generation=generation,
            number=number,
            size=len(octets),
            digest=digest,
            octets=octets[start : start + limits.CHUNK_OCTETS],
        )


class Assembly:
    """Puts the chunks of generations together, one generation after the other."""

    def __init__(self) -> None:
        self._first: Chunk | None = None
        self._octets = bytearray()
        self._digest = hashlib.sha256()
        self._number = 0

    def add(self, chunk: Chunk) -> bytes | None:
        """Add the next chunk; the whole with the last one, otherwise nothing.

        A chunk numbered 0 begins anew, whatever was begun before.

        :raises Violation: for a chunk that no sender of ours makes: too large, out of order, or of another whole.
        :raises ConfigurationDeclined: when the whole is larger than a configuration may be, or not what its hash says,
            or when nothing was begun (the beginning was answered as old, or declined).
        """
        if chunk.number == 0:
            self.clear()
            if chunk.size > limits.DOCUMENT_WHOLE_OCTETS_MOST:
                raise ConfigurationDeclined(
                    f"generation {chunk.generation} has {chunk.size} octets; "
                    f"a configuration has at most {limits.DOCUMENT_WHOLE_OCTETS_MOST}"
                )
            self._first = chunk
        self._judge(chunk)
        self._octets += chunk.octets
        self._digest.update(chunk.octets)
        self._number += 1
        if not chunk.last:
            return None
        whole, digest = bytes(self._octets), self._digest.digest()
        self.clear()
        if not hmac.compare_digest(digest, chunk.digest):
            raise ConfigurationDeclined(f"generation {chunk.generation} was damaged in transit; send it again")
        return whole

    def clear(self) -> None:
        """Drop the chunks of an incomplete generation."""
        self._first = None
        self._octets = bytearray()
        self._digest = hashlib.sha256()
        self._number = 0

    def _judge(self, chunk: Chunk) -> None:
        first = self._first
        if first is None:
            raise ConfigurationDeclined(f"generation {chunk.generation} arrived without its first chunk; send it again")
        if chunk.number != self._number:
            raise Violation(
                Cause.CHUNK_ORDER, f"chunk {chunk.number} of a generation came where chunk {self._number} was due"
            )
        if (chunk.generation, chunk.size, chunk.digest) != (first.generation, first.size, first.digest):
            raise Violation(Cause.CHUNK_MIXED, f"chunk {chunk.number} belongs to another configuration than chunk 0")
        due = min(limits.CHUNK_OCTETS, chunk.size - len(self._octets))
        if len(chunk.octets) != due:
            raise Violation(Cause.CHUNK_SIZE, f"chunk {chunk.number} has {len(chunk.octets)} octets instead of {due}")
