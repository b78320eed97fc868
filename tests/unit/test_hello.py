"""What the first octets of a connection are, however they are cut."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.hello import Spoken, judge_hello

RECORD = b"\x16\x03\x01\x00\x05hello"


class Hellos(SynchronousTestCase):
    """Every kind of caller, from its first octet on."""

    def test_parts_of_a_record(self) -> None:
        """Nothing but a whole first record is TLS; what comes after it does not matter."""
        self.assertEqual(judge_hello(b""), Spoken.NOTHING)
        for length in range(1, len(RECORD)):
            self.assertEqual(judge_hello(RECORD[:length]), Spoken.PART)
        self.assertEqual(judge_hello(RECORD), Spoken.TLS)
        self.assertEqual(judge_hello(RECORD + b"more"), Spoken.TLS)

    def test_records_that_are_none(self) -> None:
        """A record of another version, without content, or longer than a record may be."""
        for octets in (b"\x16\x02", b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x40\x01", b"\x15\x03", b"\x80"):
            self.assertEqual(judge_hello(octets), Spoken.OTHER)

    def test_programs_without_tls(self) -> None:
        """OFTP from its first octet on; HTTP and SSH from the fourth, before that a part."""
        for octets, kind in ((b"\x10", Spoken.OFTP), (b"IODETTE", Spoken.OFTP), (b"GET /", Spoken.HTTP)):
            self.assertEqual(judge_hello(octets), kind)
        self.assertEqual(judge_hello(b"SSH-2.0"), Spoken.SSH)
        for part in (b"I", b"IODE", b"GET", b"P", b"SSH"):
            self.assertEqual(judge_hello(part), Spoken.PART)
        for octets in (b"GETS", b"IODA", b"hello"):
            self.assertEqual(judge_hello(octets), Spoken.OTHER)
