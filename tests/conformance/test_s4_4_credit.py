"""Section 4.4.1: DATA needs credit, and credit is given only when it is used up."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.errors import CreditExceeded
from tests.conformance.conversation import Conversation
from tests.conformance.openings import INITIATOR, RESPONDER, Terms

DATA = b"D\x01A"


class CreditTests(SynchronousTestCase):
    """Windows from the smallest to the largest."""

    def test_window(self) -> None:
        """For windows of 1, 2, 64 and 999: that many DATA pass, one more is refused; CDT gives as many again."""
        for window in (1, 2, 64, 999):
            conversation = Conversation("SENDING", terms=Terms(window=window))
            for _ in range(2):
                conversation.says(INITIATOR, *[DATA] * window)
                conversation.says(RESPONDER, b"C  ")
            conversation.says(INITIATOR, *[DATA] * window)
            self.assertIsInstance(conversation.refuses(INITIATOR, DATA), CreditExceeded)

    def test_window_is_the_answers(self) -> None:
        """The Responder's smaller window counts, for files in both directions."""
        for speaker in (INITIATOR, RESPONDER):
            conversation = Conversation("SENDING", speaker, terms=Terms(window=9, answer_window=3))
            conversation.says(speaker, DATA, DATA, DATA)
            self.assertIsInstance(conversation.refuses(speaker, DATA), CreditExceeded)

    def test_early_credit(self) -> None:
        """CDT while credit is left is refused with reason 02, at once and after the last but one DATA."""
        for sent in (0, 1, 2):
            conversation = Conversation("SENDING", terms=Terms(window=3))
            conversation.says(INITIATOR, *[DATA] * sent)
            self.assertEqual(conversation.refuses(RESPONDER, b"C  ").reason, 2)

    def test_credit_does_not_add_up(self) -> None:
        """A second CDT for the same window is refused."""
        conversation = Conversation("SENDING-0")
        conversation.says(RESPONDER, b"C  ")
        self.assertEqual(conversation.refuses(RESPONDER, b"C  ").reason, 2)

    def test_each_file_has_its_own_window(self) -> None:
        """SFPA sets the credit anew, whatever the file before has left."""
        conversation = Conversation("SENDING", terms=Terms(window=2))
        wire = conversation.wire
        for _ in range(3):
            conversation.says(INITIATOR, DATA, wire.efid(0, 1))
            conversation.says(RESPONDER, b"4N")
            conversation.says(INITIATOR, wire.sfid(1, "U", 0, 1, 0, ""))
            conversation.says(RESPONDER, wire.sfpa(0))
        conversation.says(INITIATOR, DATA, DATA)
        self.assertEqual(conversation.refuses(INITIATOR, DATA).reason, 2)

    def test_a_run_of_buffers_stops_at_the_credit(self) -> None:
        """Many DATA in one piece: those with credit pass, the next is refused at its command octet."""
        from tests.conformance.wire import framed

        conversation = Conversation("SENDING", terms=Terms(window=5))
        judgement = conversation.judge(INITIATOR, framed(DATA) * 8)
        assert judgement.error is not None
        self.assertEqual(judgement.octets, framed(DATA) * 5)
        self.assertEqual((judgement.error.offset, judgement.error.reason), (4, 2))
