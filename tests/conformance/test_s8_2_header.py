"""Section 8.2: the Stream Transmission Header, judged before the length it declares is waited for."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.stream import SSRM_BUFFER, frame
from tests.conformance.conversation import Conversation
from tests.conformance.openings import INITIATOR, RESPONDER, STATES
from tests.conformance.wire import framed


class HeaderTests(SynchronousTestCase):
    """Length, version and flags."""

    def test_frame(self) -> None:
        """Version 1, no flags, the length of header and buffer in network byte order."""
        for length in (1, 2, 251, 252, 65531, 65532, 99999):
            self.assertEqual(frame(bytes(length)), framed(bytes(length)))
        self.assertEqual(SSRM_BUFFER, framed(b"IODETTE FTP READY \r"))

    def test_nothing_is_held_for_a_length_that_cannot_be(self) -> None:
        """16 MiB are declared and not sent: refused with the first octet of the length, in every state."""
        for state in STATES[:-1]:
            for sender in (INITIATOR, RESPONDER):
                conversation = Conversation(state)
                judgement = conversation.judge(sender, b"\x10\xff")
                assert judgement.error is not None
                self.assertEqual((judgement.error.reason, judgement.error.offset), (7, 1), state)

    def test_smallest(self) -> None:
        """The smallest Stream Transmission Buffer is five octets; four are an error, not an empty command."""
        conversation = Conversation("IDLE")
        conversation.says(INITIATOR, b"R")
        self.assertEqual(conversation.refuses(RESPONDER, b"").reason, 7)

    def test_largest(self) -> None:
        """The largest is 100003 octets: DATA of 99999 where that was agreed."""
        from tests.conformance.openings import Terms

        conversation = Conversation("SENDING", terms=Terms(size=99999))
        conversation.says(INITIATOR, b"D" + b"\x00" * 99998)

    def test_before_ssid(self) -> None:
        """Before both SSIDs are there nothing longer than 1010 octets is waited for, and ESID may be that long."""
        for state in ("AWAIT_I_SSID", "AWAIT_R_SSID"):
            esid = b"F08999" + b"x" * 999 + b"\r"
            self.assertEqual(len(framed(esid)), 1010)
            Conversation(state).says(RESPONDER, esid)
            judgement = Conversation(state).judge(RESPONDER, (0x10000000 | 1011).to_bytes(4, "big"))
            assert judgement.error is not None
            self.assertEqual(judgement.error.reason, 7)

    def test_nothing_before_the_greeting(self) -> None:
        """The Initiator's octets before SSRM are refused: the Responder speaks first (section 4.2.2)."""
        monitor = Monitor()
        judgement = monitor.judge(INITIATOR, framed(b"R"))
        assert judgement.error is not None
        self.assertEqual(judgement.error.reason, 2)
