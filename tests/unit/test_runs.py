"""The hot path: runs of complete Data Exchange Buffers."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.stream import frame, run
from smartproxy.oftp2.subrecords import pack
from smartproxy.testing.packing import read_chain

LONGEST = 4 + 2048


def stream(*buffers: bytes) -> bytes:
    """Return buffers as they go over the wire."""
    return b"".join(map(frame, buffers))


class RunTests(SynchronousTestCase):
    """A run takes what is beyond doubt and stops in front of the rest."""

    def taken(self, octets: bytes, credit: int = 999, longest: int = LONGEST, compression: bool = True) -> int:
        """Return how many buffers are taken; they end where the run ends, and are counted right."""
        end, buffers, units, last, greatest = run(octets, 0, credit, longest, compression)
        position, counted, great, significant = 0, 0, 0, 0
        for _ in range(buffers):
            length = int.from_bytes(octets[position + 1 : position + 4], "big")
            counted += len(read_chain(octets[position + 4 : position + length])[0])
            great += length == longest
            chain = position + 5
            while chain < position + length:
                header = octets[chain]
                significant = header if header & 0xBF else significant
                chain += 2 if header & 0x40 else 1 + header % 64
            position += length
        self.assertEqual((end, units, greatest), (position, counted, great))
        self.assertEqual((last & 0x80, last == 0), (significant & 0x80, significant == 0))
        return buffers

    def test_all_of_them(self) -> None:
        """Regular, irregular and compressed buffers of all sizes are taken to the last octet."""
        random = Random(1)
        for size in (3, 10, 64, 69, 70, 128, 129, 700, 2048):
            for compress, records in ((False, None), (True, None), (False, 80)):
                data = random.randbytes(3000) + bytes(1000)
                lengths = None if records is None else [records] * (4000 // records)
                buffers = list(pack(data, size, compress=compress, records=lengths))[:900]
                self.assertEqual(self.taken(stream(*buffers)), len(buffers), (size, compress, records))

    def test_stops_at_credit(self) -> None:
        """Not one buffer more than there is credit for is taken, however they are laid out."""
        for buffers in ([b"D\x01a"] * 50, [b"D\x01a", b"D\x02ab"] * 25):
            for credit in (0, 1, 7, 8, 9, 49, 50, 51):
                self.assertEqual(self.taken(stream(*buffers), credit), min(credit, 50))

    def test_stops_at_another_command(self) -> None:
        """Another command ends the run, in front of a run of equal buffers and behind."""
        many = [b"D\x01a"] * 20
        self.assertEqual(self.taken(stream(*many, b"T\x01a", *many)), 20)
        self.assertEqual(self.taken(stream(b"T\x01a", *many)), 0)

    def test_stops_at_a_wrong_header(self) -> None:
        """A wrong version or length ends the run."""
        many = stream(*[b"D\x01a"] * 20)
        for wrong in (b"\x11\x00\x00\x07D\x01a", b"\x10\x00\x00\x04D\x01a", b"\x10\x00\x08\x05D" + bytes(2048)):
            self.assertEqual(self.taken(many + wrong + many), 20)

    def test_stops_at_a_wrong_chain(self) -> None:
        """A chain that overruns, or is compressed unasked, ends the run."""
        for size in (3, 129, 700):
            good = b"D" + b"".join(b"\x3f" + bytes(63) for _ in range(size // 64)) + bytes(size % 64 - 1)
            for wrong, compression in ((b"\x01", True), (b"\x41x", False)):
                bad = b"D".ljust(size - len(wrong), b"\0") + wrong
                for at in (0, 7, 12, 19):
                    buffers = [good] * at + [bad] + [good] * (19 - at)
                    self.assertEqual({len(buffer) for buffer in buffers}, {size})
                    self.assertEqual(self.taken(stream(*buffers), compression=compression), at, (size, at))

    def test_stops_at_an_unfinished_buffer(self) -> None:
        """The last buffer is left until it is complete."""
        octets = stream(*[b"D\x3f" + bytes(63) + b"\x02ab"] * 12)
        for missing in range(1, 72):
            self.assertEqual(self.taken(octets[:-missing]), 11)
        self.assertEqual(self.taken(octets[:4]), 0)

    def test_empty_buffers_are_left(self) -> None:
        """A DATA without subrecords is not for the hot path."""
        self.assertEqual(self.taken(stream(b"D")), 0)

    def test_greatest(self) -> None:
        """Buffers of the greatest length are counted, alone and in runs."""
        great = b"D" + (b"\x3f" + bytes(63)) * 31 + b"\x3e" + bytes(62)
        self.assertEqual(len(great), LONGEST - 4)
        self.assertEqual(self.taken(stream(*[great] * 20)), 20)
        self.assertEqual(self.taken(stream(great, b"D\x01a", great)), 3)

    def test_ends_of_records(self) -> None:
        """The last header that matters is told, behind empty subrecords too."""
        for buffer, last in (
            (b"D\x82ab", 0x82),
            (b"D\x02ab\x00", 0x02),
            (b"D\x82ab\x00\x00", 0x82),
            (b"D\x3f" + bytes(63) + b"\x00", 0x3F),
            (b"D\x00", 0),
            (b"D\x3f" + bytes(63) + b"\x80", 0x80),
        ):
            self.assertEqual(run(frame(buffer), 0, 1, LONGEST, False)[3], last, buffer)
