"""Section 5.3.3 and its answers: what the monitor knows of a Virtual File, and where it may begin."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.roles import Level, Role
from tests.conformance.conversation import Conversation
from tests.conformance.openings import INITIATOR, RESPONDER, Terms
from tests.conformance.wire import Wire, framed


class TransferTests(SynchronousTestCase):
    """From SFID to the answer of EFID."""

    def test_what_is_known(self) -> None:
        """A transfer carries the file's identification, its sender and format; it is there from SFID to the answer."""
        for speaker in Role:
            for level in Level:
                terms = Terms(level=level, window=5, flags="YY")
                wire = Wire(level)
                conversation = Conversation("IDLE", speaker, terms=terms)
                monitor = conversation.monitor
                self.assertIsNone(monitor.transfer)
                conversation.says(speaker, wire.sfid(7, "V", 80, 1, 9, ""))
                transfer = monitor.transfer
                assert transfer is not None
                self.assertEqual(
                    (transfer.sender, transfer.dataset_name, transfer.destination, transfer.originator),
                    (speaker, "FILE.7", "O0013STATION", "O0099PARTNER"),
                )
                self.assertEqual((transfer.format, transfer.offered), ("V", 9))
                self.assertEqual(str(transfer.date)[-6:], "261120")
                conversation.says(speaker.other, wire.sfpa(4))
                self.assertEqual((transfer.restart, transfer.credit), (4, 5))
                conversation.says(speaker, b"D\x02ab\x81c", b"D\x7fx")
                self.assertEqual((transfer.credit, transfer.octets), (3, 66))
                conversation.says(speaker, wire.efid(5, 66))
                self.assertIs(monitor.transfer, transfer)
                conversation.says(speaker.other, b"4N")
                self.assertIsNone(monitor.transfer)
                self.assertEqual(monitor.counters[speaker].files, 1)
                self.assertEqual(monitor.counters[speaker.other].files, 0)

    def test_refused_files_do_not_count(self) -> None:
        """SFNA and EFNA end the transfer, and no file is counted."""
        for state in ("OPENING", "CLOSING"):
            conversation = Conversation(state)
            wire = conversation.wire
            conversation.says(RESPONDER, wire.sfna(13, "N", "") if state == "OPENING" else wire.efna(11, ""))
            self.assertIsNone(conversation.monitor.transfer)
            self.assertEqual(conversation.monitor.counters[INITIATOR].files, 0)
            conversation.says(INITIATOR, wire.sfid(2, "U", 0, 1, 0, ""))

    def test_the_end_of_the_session_ends_the_transfer(self) -> None:
        """ESID before, in and after the data of a file: no transfer is left and none is counted."""
        for state in ("OPENING", "SENDING", "CLOSING"):
            for sender in Role:
                conversation = Conversation(state)
                conversation.says(sender, conversation.wire.esid(99))
                self.assertIsNone(conversation.monitor.transfer)
                self.assertEqual(conversation.monitor.counters[INITIATOR].files, 0)

    def test_restart_positions(self) -> None:
        """Every count up to the offered position passes in SFPA, no other; without restart only zero (P1, P2)."""
        for level in (2, 4, 5):
            wire = Wire(level)
            for offered in (0, 1, 9, 10, 999999999):
                for count in {0, 1, 9, 10, 11, 999999999}:
                    conversation = Conversation("OPENING", terms=Terms(level=level), restart=offered)
                    if count <= offered:
                        conversation.says(RESPONDER, wire.sfpa(count))
                    else:
                        self.assertEqual(conversation.refuses(RESPONDER, wire.sfpa(count)).reason, 2)

    def test_counts_of_a_restarted_file(self) -> None:
        """5.3.8: "The total count is always used": formats U and T count from the file's start, in blocks of 1024."""
        for form in "UT":
            for count, anomalies in ((2 * 1024 + 3, []), (3, [25])):
                conversation = Conversation("IDLE")
                wire = conversation.wire
                conversation.says(INITIATOR, wire.sfid(1, form, 0, 9, 5, ""))
                conversation.says(RESPONDER, wire.sfpa(2))
                conversation.says(INITIATOR, b"D\x83abc", wire.efid(0, count))
                self.assertEqual(conversation.anomalies, anomalies)

    def test_record_counts(self) -> None:
        """5.3.8: "For SSIDFMT 'U' or 'T', zeros"; formats F and V count records."""
        for form, passes in (("U", False), ("T", False), ("F", True), ("V", True)):
            conversation = Conversation("IDLE")
            wire = conversation.wire
            conversation.says(INITIATOR, wire.sfid(1, form, 80 if form in "FV" else 0, 9, 0, ""))
            conversation.says(RESPONDER, wire.sfpa(0))
            if passes:
                conversation.says(INITIATOR, wire.efid(1, 0))
            else:
                self.assertEqual(conversation.refuses(INITIATOR, wire.efid(1, 0)).reason, 6)

    def test_octets_are_counted_on_both_sides(self) -> None:
        """The counters hold what was let pass: octets with headers, and buffers."""
        conversation = Conversation("IDLE")
        before = {role: (found.octets, found.buffers) for role, found in conversation.monitor.counters.items()}
        wire = conversation.wire
        sfid = wire.sfid(1, "U", 0, 1, 0, "text")
        conversation.says(INITIATOR, sfid)
        conversation.says(RESPONDER, wire.sfpa(0))
        conversation.judge(INITIATOR, framed(b"D") * 2)
        octets, buffers = before[INITIATOR]
        counters = conversation.monitor.counters[INITIATOR]
        self.assertEqual((counters.octets, counters.buffers), (octets + len(framed(sfid)) + 10, buffers + 3))
        octets, buffers = before[RESPONDER]
        counters = conversation.monitor.counters[RESPONDER]
        self.assertEqual((counters.octets, counters.buffers), (octets + 22, buffers + 1))
