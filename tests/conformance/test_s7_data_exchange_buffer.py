"""Section 7: the Data Exchange Buffer and its subrecords; appendix A is the RFC's own example."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2 import subrecords
from smartproxy.oftp2.codec import decode
from smartproxy.oftp2.commands import DATA
from smartproxy.oftp2.roles import Level
from tests.conformance.conversation import Conversation
from tests.conformance.facts import DATA as FILES
from tests.conformance.openings import INITIATOR, Terms
from tests.conformance.wire import NOISE


def appendix_a() -> bytes:
    """The Exchange Buffer of appendix A, from the hexadecimal lines of the RFC."""
    lines = (FILES / "rfc5024_appendix_a.hex").read_text().splitlines()
    return bytes.fromhex("".join(line for line in lines if not line.startswith("#")))


def represented(buffer: bytes) -> bytes:
    """What the subrecords stand for, by section 7.2 and nothing else."""
    found, at = b"", 1
    while at < len(buffer):
        count = buffer[at] & 0x3F
        if buffer[at] & 0x40:
            found += buffer[at + 1 : at + 2] * count
            at += 2
        else:
            found += buffer[at + 1 : at + 1 + count]
            at += 1 + count
    return found


class AppendixATests(SynchronousTestCase):
    """The Rime of the Ancient Mariner, as the RFC maps it."""

    def test_it_passes(self) -> None:
        """The buffer passes the monitor unchanged and ends the record."""
        conversation = Conversation("SENDING", terms=Terms(size=821))
        conversation.says(INITIATOR, appendix_a(), conversation.wire.efid(0, len(represented(appendix_a()))))
        self.assertEqual(conversation.anomalies, [])

    def test_it_is_the_poem(self) -> None:
        """Its subrecords stand for the poem, and for nothing else."""
        buffer = decode(appendix_a(), Level.OFTP_2_0)
        assert isinstance(buffer, DATA)
        text = represented(appendix_a())
        self.assertTrue(text.startswith(b"It is an ancient Mariner,\r\nAnd he stoppeth"))
        self.assertTrue(text.endswith(b"Below the light-house top.\r\n"))
        self.assertEqual(appendix_a(), b"D" + buffer.buf)

    def test_our_packing_is_the_rfcs(self) -> None:
        """Packing the poem into a buffer of that size gives the RFC's octets."""
        text = represented(appendix_a())
        self.assertEqual(list(subrecords.pack(text, 2048)), [appendix_a()])


class ChainsTests(SynchronousTestCase):
    """Section 7.3: any chain that ends where its buffer ends is right, and no other."""

    def chain(self, rng: Random, octets: int) -> bytes:
        """A random chain of at most this many octets."""
        parts: list[bytes] = []
        while octets > 0:
            header = rng.randrange(256)
            body = 1 if header & 0x40 else header & 0x3F
            if 1 + body > octets:
                header, body = (octets - 1) & 0x3F, min(octets - 1, 63)
            parts.append(bytes((header,)) + NOISE[:body])
            octets -= 1 + body
        return b"".join(parts)

    def test_random_chains(self) -> None:
        """3,000 chains of every make-up pass; one octet less of the last subrecord makes each of them wrong."""
        rng = Random(7)
        for _ in range(1500):
            chain = self.chain(rng, rng.choice((1, 2, 64, 65, 200, 1023, 5000)))
            Conversation("SENDING", terms=Terms(size=99999)).says(INITIATOR, b"D" + chain)
            Conversation("SENDING", terms=Terms(size=99999)).says(INITIATOR, b"D" + chain + b"\x01A")
            error = Conversation("SENDING", terms=Terms(size=99999)).refuses(INITIATOR, b"D" + chain + b"\x02A")
            self.assertEqual((error.reason, error.offset), (6, 5 + len(chain)))

    def test_compressed_counts(self) -> None:
        """A compressed subrecord is two octets, whatever its count: 0 to 63."""
        for count in range(64):
            for flag in (0x40, 0xC0):
                chain = bytes((flag | count,)) + b"x"
                Conversation("SENDING").says(INITIATOR, b"D" + chain, b"D" + chain * 2)

    def test_nothing_but_the_command_octet(self) -> None:
        """A buffer without any subrecord is a buffer of allowed length."""
        Conversation("SENDING").says(INITIATOR, b"D")
