"""Sections 9.8 to 9.12: every cell of (state, sender, command), with either side as the Speaker."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.roles import Role
from tests.conformance.cells import WIRE, cells, disagreements, disagreements_after
from tests.conformance.conversation import Conversation
from tests.conformance.malformed_sessions import allowed_cells, sides
from tests.conformance.openings import INITIATOR, STATES
from tests.conformance.state_tables import REACTIONS
from tests.conformance.wire import COMMANDS, framed


class CellsTests(SynchronousTestCase):
    """The witness against the RFC's tables."""

    def test_every_cell(self) -> None:
        """Allowed commands pass and move the session as the RFC says; all others are refused with reason 02."""
        self.assertEqual(list(disagreements(STATES)), [])

    def test_every_cell_is_there(self) -> None:
        """18 states (with and without credit), two senders, 18 commands with their variants, two Speakers."""
        found = list(cells())
        self.assertEqual(len(found), 20 * (9 * 2 + 9 * 4))
        exercised = {(state, sides(state, speaker, sender), variant) for state, speaker, sender, variant, _ in found}
        self.assertEqual(set(allowed_cells()) - exercised, set(), "rows of the table that no cell exercises")

    def test_what_may_follow(self) -> None:
        """After each allowed command the session takes exactly what the next state's row takes, credit included."""
        self.assertEqual(list(disagreements_after(STATES)), [])

    def test_authentication_decides_the_first_state(self) -> None:
        """9.8 D and G: with authentication agreed the Initiator's SECD follows, without it the Initiator may speak."""
        for state in ("AWAIT_I_SECD", "IDLE"):
            monitor = Conversation(state).monitor
            self.assertEqual((monitor.state.name, monitor.speaker), (state, INITIATOR))

    def test_after_the_end_all_is_dropped(self) -> None:
        """9.10 S: after ESID from either side nothing passes and nothing is punished."""
        for ender in Role:
            for sender in Role:
                conversation = Conversation("IDLE")
                conversation.says(ender, WIRE.esid(99))
                for octets in (b"\x10", b"\xff" * 100, framed(b"R"), b"GET / HTTP/1.1\r\n"):
                    judgement = conversation.judge(sender, octets)
                    self.assertEqual((judgement.error, judgement.octets), (None, b""))
                    self.assertEqual(judgement.discarded, len(octets))

    def test_table_of_facts_is_the_rfcs(self) -> None:
        """Each row of the table of facts has its cell in the tables that the RFC prints, and each cell its row."""
        receivers = {
            ("AWAIT_SSRM", "R"): "I_WF_RM",
            ("AWAIT_I_SSID", "I"): "A_NC_ONLY",
            ("AWAIT_R_SSID", "R"): "I_WF_SSID",
            ("AWAIT_I_SECD", "I"): "WF_SECD",
            ("AWAIT_R_AUCH", "R"): "WF_AUCH",
            ("AWAIT_I_AURP", "I"): "WF_AURP",
            ("AWAIT_R_SECD", "R"): "WF_SECD",
            ("AWAIT_I_AUCH", "I"): "WF_AUCH",
            ("AWAIT_R_AURP", "R"): "WF_AURP",
            ("IDLE", "S"): "IDLELI",
            ("IDLE_TURNED", "S"): "IDLELICD",
            ("AWAIT_RTR", "L"): "WF_RTR",
            ("OPENING", "L"): "OPOP",
            ("SENDING", "S"): "OPI",
            ("SENDING", "L"): "OPO",
            ("SENDING-0", "L"): "OPOWFC",
            ("CLOSING", "L"): "CLOP",
            ("AWAIT_CD", "S"): "WF_CD",
        }
        refused = {("", "C"), ("9.10", "C"), ("9.10", "P"), ("9.11", "B"), ("9.12", "B")}
        refused |= {("9.8", letter) for letter in "XUFL"}
        rows = {(state, side, command.partition("(")[0]) for state, side, command in allowed_cells()}
        for (state, side), receiver in receivers.items():
            for command in set(COMMANDS) - {"ESID"}:
                found = REACTIONS[command, receiver]
                expected = found not in refused
                self.assertEqual((state, side, command) in rows, expected, f"{command} in {receiver} {found}")
