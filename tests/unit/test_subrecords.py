"""Chains of subrecords: judging, packing, unpacking."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2 import subrecords
from smartproxy.oftp2.errors import BadSubrecord, CompressionRefused, EsidReason, ProtocolError
from smartproxy.oftp2.subrecords import COMPRESSED, END_OF_RECORD, check, pack, split, walk
from smartproxy.testing.packing import read_chain

Verdict = tuple[type[ProtocolError] | None, int, int, int]


def plainly(octets: bytes, end: int, compression: bool) -> Verdict:
    """Judge a chain header by header, as section 7 reads: error, where, units, last header that matters."""
    position, units, last = 1, 0, 0
    while position < end:
        header = octets[position]
        if header & COMPRESSED and not compression:
            return CompressionRefused, position, 0, 0
        behind = position + (2 if header & COMPRESSED else 1 + header % 64)
        if behind > end:
            return BadSubrecord, position, 0, 0
        if header & END_OF_RECORD or header % 64:
            last = header
        units += header % 64
        position = behind
    return None, position, units, last


def walked(octets: bytes, compression: bool, cuts: list[int]) -> Verdict:
    """Judge a chain that arrives in pieces."""
    end = len(octets)
    position, units, last = 1, 0, 0
    for have in [*cuts, end]:
        try:
            position, more, significant = walk(octets[:have], position, have, end, compression)
        except ProtocolError as error:
            return type(error), error.offset or 0, 0, 0
        units += more
        last = significant or last
    return None, position, units, last


class WalkTests(SynchronousTestCase):
    """The fast ways of judging a chain say what the plain way says."""

    def check_all_ways(self, octets: bytes, random: Random) -> None:
        """Compare the verdicts on one buffer: plain, whole, cut anywhere."""
        for compression in (True, False):
            expected = plainly(octets, len(octets), compression)
            self.assertEqual(walked(octets, compression, []), expected)
            for pieces in (1, 5):
                cuts = sorted(random.randint(1, len(octets)) for _ in range(pieces))
                self.assertEqual(walked(octets, compression, cuts), expected, cuts)

    def test_random_chains(self) -> None:
        """Chains of all layouts and damaged ones, whole and in pieces."""
        random = Random(5024)
        for _ in range(1500):
            length = random.choice([0, 1, 62, 63, 64, 600, 5000])
            data = bytes(length) if random.random() < 0.5 else random.randbytes(length)
            kind = random.randrange(4)
            records: list[int] | None = None
            if kind == 1:
                size = random.choice([1, 5, 63, 80, 200])
                records = [size] * (len(data) // size) + [len(data) % size]
            elif kind == 2:
                records = []
                while sum(records) < len(data):
                    records.append(min(random.randrange(100), len(data) - sum(records)))
            size = random.choice([3, 64, 65, 129, 2048, 8192])
            for buffer in list(pack(data, size, compress=random.random() < 0.3, records=records))[:3]:
                if random.random() < 0.3:
                    buffer += bytes(random.choice([1, 9, 700, 5000]))
                octets = bytearray(buffer)
                if random.random() < 0.5:
                    octets[random.randrange(1, len(octets))] = random.randrange(256)
                self.check_all_ways(bytes(octets), random)

    def test_octet_by_octet(self) -> None:
        """A fault is found with the header that makes it, before what follows has come."""
        good = b"D\x3f" + bytes(63) + b"\x05abcde"
        for have in range(2, len(good)):
            self.assertEqual(walked(good, True, list(range(1, have))), plainly(good, len(good), True))
        for compression, header, kind in ((True, 0x07, BadSubrecord), (False, 0x41, CompressionRefused)):
            octets = good[:65] + bytes((header,))
            self.assertEqual(walk(octets[:65], 1, 65, 71, compression), (65, 63, 63))
            error = self.assertRaises(kind, walk, octets, 65, 66, 71, compression)
            self.assertEqual(error.offset, 65)

    def test_reasons(self) -> None:
        """A chain that overruns is invalid data, an unagreed compression a protocol violation."""
        error: ProtocolError = self.assertRaises(BadSubrecord, check, b"D\x02a")
        self.assertEqual((error.rule, error.section, error.command), ("subrecord.overrun", "7.3", "DATA"))
        self.assertIs(error.reason, EsidReason.COMMAND_CONTAINED_INVALID_DATA)
        error = self.assertRaises(CompressionRefused, check, b"D\x42a", False)
        self.assertEqual((error.rule, error.section), ("compression.not_agreed", "7.2"))
        self.assertIs(error.reason, EsidReason.PROTOCOL_VIOLATION)

    def test_empty(self) -> None:
        """A buffer without subrecords is valid, and so are empty subrecords and records in any number."""
        self.assertEqual(check(b"D"), 0)
        self.assertEqual(check(b"D" + b"\x00" * 9000), 0)
        self.assertEqual(check(b"D" + b"\x80\x00" * 9000), 0)
        self.assertEqual(check(b"D\x83abc" + b"\x00" * 900), 3)
        self.assertEqual(walk(b"D\x83abc" + bytes(900), 1, 905, 905, False), (905, 3, 0x83))

    def test_compressed(self) -> None:
        """A compressed subrecord takes two octets, whatever it stands for."""
        self.assertEqual(check(b"D\x7fa\xc5b"), 68)
        self.assertRaises(BadSubrecord, check, b"D\x7f")

    def test_forbidden_compression_in_long_chains(self) -> None:
        """The first forbidden subrecord is found behind any number of allowed ones."""
        chain = b"".join(bytes((length,)) + bytes(length) for length in (3, 9, 40, 17) * 90)
        octets = b"D" + chain + b"\x41x" + chain
        error: ProtocolError = self.assertRaises(CompressionRefused, check, octets, False)
        self.assertEqual(error.offset, 1 + len(chain))
        records = b"\x83abc" * 1000
        error = self.assertRaises(CompressionRefused, check, b"D" + records + b"\xc1x" + records, False)
        self.assertEqual(error.offset, 1 + len(records))


class PackTests(SynchronousTestCase):
    """A file goes into buffers and comes out as it was."""

    def test_there_and_back(self) -> None:
        """Content, record ends and sizes are kept in every layout."""
        random = Random(7)
        for _ in range(300):
            data = bytes(random.choice(b"\x00\x00\x00ab") for _ in range(random.choice([0, 1, 63, 64, 700])))
            records: list[int] | None = None
            if random.random() < 0.5:
                records = []
                while sum(records) < len(data):
                    records.append(min(random.randrange(90), len(data) - sum(records)))
            size = random.choice([3, 4, 64, 65, 66, 130, 700])
            buffers = list(pack(data, size, compress=random.random() < 0.5, records=records))
            self.assertLessEqual(max(map(len, buffers), default=0), size)
            parts = [read_chain(buffer) for buffer in buffers]
            self.assertEqual(b"".join(octets for octets, _ in parts), data)
            ends: list[int] = []
            before = 0
            for octets, found in parts:
                ends += [before + end for end in found]
                before += len(octets)
            if records is None:
                expected = [len(data)] if data else []
            else:
                expected = [sum(records[: index + 1]) for index in range(len(records))]
            self.assertEqual(ends, expected)

    def test_regular(self) -> None:
        """Without records and compression a buffer is full subrecords and one shorter one, the last with the flag."""
        self.assertEqual(
            list(pack(bytes(130), 100)),
            [b"D\x3f" + bytes(63) + b"\x22" + bytes(34), b"D\xa1" + bytes(33)],
        )

    def test_empty_file_and_record(self) -> None:
        """An empty file has no DATA, an empty record a header alone."""
        self.assertEqual(list(pack(b"", 128)), [])
        self.assertEqual(list(pack(b"ab", 128, records=[0, 2, 0])), [b"D\x80\x82ab\x80"])

    def test_runs(self) -> None:
        """Runs of an octet are compressed, up to 63 at a time."""
        self.assertEqual(list(pack(b"ab" + b"c" * 70 + b"d", 128, compress=True)), [b"D\x02ab\x7fc\x47c\x81d"])
        self.assertEqual(list(pack(b"c" * 63, 128, compress=True)), [b"D\xffc"])

    def test_a_subrecord_is_not_split(self) -> None:
        """Where no room is left a new buffer begins."""
        self.assertEqual(list(pack(b"a" * 9, 3)), [b"D\x01a"] * 8 + [b"D\x81a"])
        self.assertEqual(list(pack(bytes(range(62)) + b"c" * 9, 65, compress=True))[1:], [b"D\xc9c"])
        self.assertEqual(list(pack(b"ab", 4, records=[2, 0])), [b"D\x82ab", b"D\x80"])

    def test_what_cannot_be_packed(self) -> None:
        """Buffers without room for a subrecord, and records that are not the file's, are refused."""
        self.assertRaises(ValueError, list, pack(b"a", 2))
        self.assertRaises(ValueError, list, pack(b"abc", 128, records=[4]))
        self.assertRaises(ValueError, list, pack(b"abc", 128, records=[2]))

    def test_split(self) -> None:
        """Subrecords come out expanded."""
        found = [(part.octets, part.ends_record) for part in split(b"D\x02ab\xc3x\x00")]
        self.assertEqual(found, [(b"ab", False), (b"xxx", True), (b"", False)])

    def test_unpack_judges(self) -> None:
        """A wrong chain is not unpacked."""
        self.assertRaises(BadSubrecord, read_chain, b"D\x09abc")
        self.assertEqual(subrecords.COMMAND, b"D")
