"""The Stream Transmission Buffer's header."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2 import stream
from smartproxy.oftp2.errors import BadLength, EsidReason, ProtocolError, StreamHeaderError


def refused(octets: bytes, longest: int) -> tuple[type[ProtocolError], str, int | None] | None:
    """Return with which octet a header that comes octet by octet is refused; it must not matter how it comes."""
    found: list[tuple[type[ProtocolError], str, int | None] | None] = []
    for lengths in (range(1, len(octets) + 1), (len(octets),)):
        verdict = None
        for length in lengths:
            try:
                stream.judge_header(octets[:length], longest)
            except ProtocolError as error:
                verdict = type(error), error.rule, error.offset
                break
        found.append(verdict)
    if found[0] != found[1]:
        raise AssertionError(f"{octets!r}: {found}")
    return found[0]


class HeaderTests(SynchronousTestCase):
    """A header is judged before the length that it declares is waited for."""

    def test_every_first_octet(self) -> None:
        """Only version 1 without flags is taken; the first octet decides."""
        for octet in range(256):
            octets = bytes((octet, 0, 0, 5))
            if octet == 0x10:
                expected = None
            elif octet >> 4 == 1:
                expected = StreamHeaderError, "header.flags", 0
            else:
                expected = StreamHeaderError, "header.version", 0
            self.assertEqual(refused(octets, 1010), expected)
        self.assertIs(StreamHeaderError.reason, EsidReason.COMMAND_NOT_RECOGNISED)

    def test_lengths(self) -> None:
        """A length outside 5 to the longest is refused with the octet that leaves no other."""
        self.assertIs(BadLength.reason, EsidReason.EXCHANGE_BUFFER_SIZE_ERROR)
        for octets, longest, offset in (
            (b"\x10\x00\x00\x05", 100003, None),
            (b"\x10\x00\x00\x04", 100003, 3),
            (b"\x10\x00\x00\x00", 100003, 3),
            (b"\x10\x01\x86\xa3", 100003, None),
            (b"\x10\x01\x86\xa4", 100003, 3),
            (b"\x10\x01\x87\x00", 100003, 2),
            (b"\x10\x02\x00\x00", 100003, 1),
            (b"\x10\xff\xff\xff", 100003, 1),
            (b"\x10\x00\x03\xf2", 1010, None),
            (b"\x10\x00\x03\xf3", 1010, 3),
            (b"\x10\x00\x04\x00", 1010, 2),
            (b"\x10\x01\x00\x00", 1010, 1),
        ):
            expected = None if offset is None else (BadLength, "length.header", offset)
            self.assertEqual(refused(octets, longest), expected, octets)


class FrameTests(SynchronousTestCase):
    """Putting a header in front."""

    def test_frame(self) -> None:
        """The length counts the header."""
        self.assertEqual(stream.frame(b"R"), b"\x10\x00\x00\x05R")
        self.assertEqual(stream.frame(b"D" * 99999)[:4], b"\x10\x01\x86\xa3")

    def test_what_no_header_can_carry(self) -> None:
        """Nothing, and what is longer than 24 bit, is refused."""
        self.assertRaises(ValueError, stream.frame, b"")
        self.assertRaises(ValueError, stream.frame, bytes(1 << 24))

    def test_greeting(self) -> None:
        """SSRM is ready to be sent."""
        self.assertEqual(stream.SSRM_BUFFER, b"\x10\x00\x00\x17IODETTE FTP READY \r")
