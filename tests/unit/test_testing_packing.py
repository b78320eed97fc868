"""Bulk packing and unpacking say the same as the protocol core does, subrecord by subrecord."""

import datetime
import random

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2 import subrecords
from smartproxy.oftp2.errors import BadSubrecord, CompressionRefused
from smartproxy.testing.packing import buffers, read_chain, unpack
from smartproxy.testing.virtual_file import Content, FileIdentity, Format, VirtualFile, join_records

IDENTITY = FileIdentity.stamped("X", "O0099ACME", "O0013STATION", datetime.datetime(2026, 11, 20))
SIZES = (128, 129, 130, 191, 192, 193, 194, 1000, 65535, 99999)


def unstructured(content: Content) -> VirtualFile:
    """A file without structure."""
    return VirtualFile(identity=IDENTITY, content=content)


def unframed(buffer: bytes) -> bytes:
    """A Stream Transmission Buffer without its header, which has to be right."""
    assert int.from_bytes(buffer[:4]) == 0x10000000 + len(buffer), buffer[:4]
    return buffer[4:]


class PackingTests(SynchronousTestCase):
    """Files become DATA buffers."""

    def test_regular_files_are_what_the_core_makes_of_them(self) -> None:
        """Around every edge of a subrecord and a buffer, the octets are those of the core's packing."""
        rng = random.Random(1)
        for size in SIZES:
            full = (size - 1) // 64 * 63 + max((size - 1) % 64 - 1, 0)
            for length in {0, 1, 62, 63, 64, 126, full - 1, full, full + 1, 2 * full, 2 * full + 63}:
                content = rng.randbytes(length)
                made = [unframed(buffer) for buffer, _ in buffers(unstructured(content), 0, size, False)]
                self.assertEqual(made, list(subrecords.pack(content, size)))

    def test_units_are_counted(self) -> None:
        """Each buffer comes with the number of octets that it carries, whatever the format."""
        content = random.Random(2).randbytes(5000) + bytes(5000)
        for file, compress in (
            (unstructured(content), False),
            (unstructured(content), True),
            (VirtualFile(identity=IDENTITY, format=Format.FIXED, record_length=100, content=content), False),
            (
                VirtualFile(
                    identity=IDENTITY,
                    format=Format.VARIABLE,
                    record_length=5000,
                    content=join_records([content[:5000], b"", content[5000:]]),
                ),
                True,
            ),
        ):
            carried = b""
            for buffer, units in buffers(file, 0, 500, compress):
                octets, _ = read_chain(unframed(buffer))
                self.assertEqual(len(octets), units)
                carried += octets
            self.assertEqual(carried, content)

    def test_begins_where_told(self) -> None:
        """A restarted file begins at the offset, with whole records."""
        content = random.Random(3).randbytes(5000)
        records = [content[:1000], content[1000:3000], content[3000:]]
        for file, offset, rest in (
            (unstructured(content), 2048, content[2048:]),
            (
                VirtualFile(identity=IDENTITY, format=Format.FIXED, record_length=100, content=content),
                300,
                content[300:],
            ),
            (
                VirtualFile(
                    identity=IDENTITY, format=Format.VARIABLE, record_length=2000, content=join_records(records)
                ),
                1002,
                content[1000:],
            ),
        ):
            for compress in (False, True):
                carried = b"".join(
                    read_chain(unframed(buffer))[0] for buffer, _ in buffers(file, offset, 300, compress)
                )
                self.assertEqual(carried, rest)


class UnpackingTests(SynchronousTestCase):
    """DATA buffers become files."""

    def test_regular_and_irregular_chains(self) -> None:
        """Regular chains, chains regular but for their end, and any others are read as the core reads them."""
        rng = random.Random(4)
        for _ in range(300):
            chain = b"".join(b"\x3f" + rng.randbytes(63) for _ in range(rng.randrange(5)))
            for _ in range(rng.randrange(4)):
                count = rng.choice((0, 1, 5, 62, 63))
                if rng.random() < 0.3:
                    chain += bytes([rng.choice((0x40, 0xC0)) | count]) + rng.randbytes(1)
                else:
                    chain += bytes([rng.choice((0, 0x80)) | count]) + rng.randbytes(count)
            if chain:
                self.assertEqual(unpack(b"D" + chain, True), read_chain(b"D" + chain))

    def test_wrong_chains_are_refused(self) -> None:
        """A subrecord that ends behind its buffer, or is compressed without agreement, is an error of the peer."""
        regular = b"D" + (b"\x3f" + bytes(63)) * 3
        for bad in (b"D\x02x", regular + b"\x05abc", regular + b"\x40", regular[:-1]):
            with self.assertRaises(BadSubrecord):
                unpack(bad, True)
        for bad in (b"D\x45x", regular + b"\x45x"):
            with self.assertRaises(CompressionRefused):
                unpack(bad, False)
            self.assertEqual(unpack(bad, True)[0][-5:], b"xxxxx")
