"""Sections 9.8 to 9.12: every cell of (state, sender, command), with either side as the Speaker.

The expected table is ``tests/data/witness.tsv``, taken from the RFC's tables and not from the code.
"""

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.errors import CreditExceeded, UnexpectedCommand
from smartproxy.oftp2.roles import Profile, Role
from tests.conformance.conversation import Conversation
from tests.conformance.malformed_sessions import allowed_cells, sides
from tests.conformance.openings import INITIATOR, STATES
from tests.conformance.state_tables import REACTIONS
from tests.conformance.wire import COMMANDS, Wire, framed

WIRE = Wire(5)
#: The variants in which a command stands in the table of facts.
VARIANTS = {
    "EFPA": {"EFPA(N)": b"4N", "EFPA(Y)": b"4Y"},
    "ESID": {"ESID(99)": WIRE.esid(99), "ESID(00)": WIRE.esid(0)},
}
#: Commands after which the other side is the Speaker.
TURNS = {("IDLE", "CD"), ("AWAIT_CD", "CD")}


def variants(command: str) -> dict[str, bytes]:
    """A command's variants and their octets."""
    return VARIANTS.get(command, {command: WIRE.any(command)})


def cells() -> Iterator[tuple[str, Role, Role, str, bytes]]:
    """(state, Speaker, sender, variant, octets) of every cell."""
    for state in STATES[:-1]:
        for speaker in Role if STATES.index(state) >= 9 else (INITIATOR,):
            for sender in Role:
                for command in COMMANDS:
                    for variant, buffer in variants(command).items():
                        yield state, speaker, sender, variant, buffer


def normal_end(state: str, profile: Profile, side: str) -> bool:
    """Whether ESID 00 passes: 9.12 F alone; by default wherever ESID does once both SSIDs are exchanged."""
    if STATES.index(state) < 3:
        return False
    return profile is Profile.DEFAULT or (state == "IDLE_TURNED" and side == "S")


class CellsTests(SynchronousTestCase):
    """The witness against the RFC's tables."""

    def test_every_cell(self) -> None:
        """Allowed commands pass and move the session as the RFC says; all others are refused with reason 02."""
        allowed = allowed_cells()
        seen: set[tuple[str, str, str]] = set()
        count = 0
        for profile in Profile:
            for state, speaker, sender, variant, buffer in cells():
                count += 1
                side = sides(state, speaker, sender)
                where = f"{variant} from {side} in {state}, Speaker {speaker.name}, {profile.value}"
                conversation = Conversation(state, speaker, profile=profile)
                after = allowed.get((state, side, variant))
                if variant == "ESID(00)" and normal_end(state, profile, side):
                    after = "ENDED"
                if after is None:
                    error = conversation.refuses(sender, buffer)
                    self.assertIsInstance(error, (UnexpectedCommand, CreditExceeded), where)
                    wrong = 6 if variant == "ESID(00)" and (state, side, "ESID(99)") in allowed else 4
                    self.assertEqual((error.reason, error.sender, error.offset), (2, sender, wrong), where)
                    continue
                seen.add((state, side, variant))
                conversation.says(sender, buffer)
                self.expect(conversation, after, self.speaker(state, variant, speaker), where)
        self.assertEqual(set(allowed) - seen, set(), "rows of the table that no cell exercised")
        self.assertEqual(count, 2 * 20 * (9 * 2 + 9 * 4))

    def speaker(self, state: str, variant: str, speaker: Role) -> Role | None:
        """Who is the Speaker after the command."""
        return speaker.other if (state, variant) in TURNS else speaker

    def expect(self, conversation: Conversation, state: str, speaker: Role | None, where: str) -> None:
        """Assert that the session is in this state."""
        monitor = conversation.monitor
        if state == "ENDED":
            self.assertTrue(monitor.ended, where)
            return
        self.assertFalse(monitor.ended, where)
        self.assertEqual(monitor.state.name, state.removesuffix("-0"), where)
        if STATES.index(state) >= 9:
            self.assertEqual(monitor.speaker, speaker, where)

    def test_next_states_behave(self) -> None:
        """After each allowed command the session takes exactly what the next state's row takes, credit included."""
        allowed = allowed_cells()
        for state, speaker, sender, variant, buffer in cells():
            after = allowed.get((state, sides(state, speaker, sender), variant))
            if after is None or after == "ENDED":
                continue
            then = speaker.other if (state, variant) in TURNS else speaker
            for next_sender in Role:
                for command in COMMANDS:
                    for other, octets in variants(command).items():
                        if command == "ESID":
                            continue
                        conversation = Conversation(state, speaker)
                        conversation.says(sender, buffer)
                        expected = (after, sides(after, then, next_sender), other) in allowed
                        error = conversation.judge(next_sender, framed(octets)).error
                        self.assertEqual(error is None, expected, f"{state} {variant} {next_sender} {other}: {error!r}")

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
