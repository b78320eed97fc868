"""A configuration in chunks."""

import hashlib

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy import limits
from smartproxy.policy.configuration import GenerationId
from smartproxy.tunnel.chunks import Assembly, Chunk, cut, digests
from smartproxy.tunnel.faults import ConfigurationDeclined, Violation

SIZE = limits.CHUNK_OCTETS


class AssemblyTests(SynchronousTestCase):
    """What is cut comes together again, or not at all."""

    def setUp(self) -> None:
        """Nothing begun."""
        self.assembly = Assembly()

    def refused(self, chunk: Chunk) -> str:
        """The cause of the violation that this chunk is."""
        return str(self.assertRaises(Violation, self.assembly.add, chunk).cause)

    @given(st.integers(min_value=0, max_value=5 * SIZE))
    def test_whole_comes_with_the_last_chunk(self, size: int) -> None:
        """Every size arrives as it was, in chunks that are full but the last."""
        octets = bytes(index % 251 for index in range(size))
        pieces = list(cut(GenerationId(1), octets))
        self.assertEqual({len(chunk.octets) for chunk in pieces[:-1]} - {SIZE}, set())
        assembly = Assembly()
        self.assertEqual([assembly.add(chunk) for chunk in pieces], [None] * (len(pieces) - 1) + [octets])

    def test_one_after_the_other(self) -> None:
        """A second whole can follow the first, and a new beginning forgets what was begun."""
        first, second = cut(GenerationId(1), bytes(SIZE + 1))
        self.assembly.add(first)
        self.assembly.add(first)
        self.assertEqual(self.assembly.add(second), bytes(SIZE + 1))
        self.assertEqual(self.assembly.add(next(cut(GenerationId(2), b"x"))), b"x")

    def test_out_of_order(self) -> None:
        """A chunk that is not the next, or comes twice, is a violation."""
        pieces = list(cut(GenerationId(1), bytes(4 * SIZE)))
        self.assembly.add(pieces[0])
        self.assertEqual(self.refused(pieces[2]), "chunk.order")
        self.assembly.add(pieces[1])
        self.assertEqual(self.refused(pieces[1]), "chunk.order")
        self.assertEqual(self.refused(pieces[3]), "chunk.order")

    def test_without_a_beginning(self) -> None:
        """A chunk of what was never begun, or was declined, is declined: chunks may be on their way by then."""
        _, second = cut(GenerationId(1), bytes(SIZE + 1))
        self.assertRaises(ConfigurationDeclined, self.assembly.add, second)

    def test_of_another_whole(self) -> None:
        """Chunks of two wholes do not mix."""
        first, second = cut(GenerationId(1), bytes(SIZE + 1))
        for change in ({"generation": 2}, {"size": SIZE + 2}, {"digest": bytes(32)}):
            self.assembly.add(first)
            self.assertEqual(self.refused(attrs.evolve(second, **change)), "chunk.mixed")

    def test_other_size(self) -> None:
        """A chunk is as long as its place says, so that nothing grows beyond what was announced."""
        first, second = cut(GenerationId(1), bytes(SIZE + 1))
        self.assertEqual(self.refused(attrs.evolve(first, octets=bytes(SIZE - 1))), "chunk.size")
        self.assertEqual(self.refused(attrs.evolve(first, octets=bytes(SIZE + 1))), "chunk.size")
        self.assembly.add(first)
        self.assertEqual(self.refused(attrs.evolve(second, octets=b"")), "chunk.size")

    def test_damaged(self) -> None:
        """A whole that is not what its hash says is declined, and the next can come."""
        (chunk,) = cut(GenerationId(1), b"abc")
        self.assertRaises(ConfigurationDeclined, self.assembly.add, attrs.evolve(chunk, octets=b"abd"))
        self.assertEqual(self.assembly.add(chunk), b"abc")

    def test_digest_in_pieces(self) -> None:
        """The hash of a whole is that of its octets; others have their turn after each piece but the last."""
        self.patch(limits, "DIGEST_PIECE_OCTETS", 4)
        for size, turns in ((0, 0), (4, 0), (5, 1), (12, 2)):
            octets = bytes(range(size))
            *waits, digest = digests(octets)
            self.assertEqual((waits, digest), ([None] * turns, hashlib.sha256(octets).digest()))
            self.assertEqual(next(cut(GenerationId(1), octets, digest)), next(cut(GenerationId(1), octets)))

    def test_too_large(self) -> None:
        """A whole over the cap is declined with its first chunk, before anything is kept."""
        chunk = attrs.evolve(next(cut(GenerationId(1), bytes(SIZE))), size=limits.DOCUMENT_WHOLE_OCTETS_MOST + 1)
        self.assertRaises(ConfigurationDeclined, self.assembly.add, chunk)
        self.assertEqual(len(self.assembly._octets), 0)
        exact = attrs.evolve(chunk, size=limits.DOCUMENT_WHOLE_OCTETS_MOST)
        self.assertIsNone(self.assembly.add(exact))
