"""The witness table and its guards."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2 import states
from smartproxy.oftp2.commands import BY_NAME, EFID, EFPA
from smartproxy.oftp2.roles import Profile, Role
from smartproxy.oftp2.states import TABLE, FieldGuard, Guard, Transition
from smartproxy.oftp2.witness import BY_PLACE, PHASES, Party, State, Transfer, Witness, agree
from tests.unit.samples import ssid

PLACES = {Party.INITIATOR, Party.RESPONDER}
TURNS = {Party.SPEAKER, Party.LISTENER}


def destinations(step: Transition) -> set[State]:
    """Return the states that a step may lead to."""
    return {step.next} if step.instead is None else {step.next, step.instead[1]}


class TableTests(SynchronousTestCase):
    """The table as a whole; each cell of it is exercised by the conformance tests."""

    def test_parties(self) -> None:
        """Before the SSIDs are exchanged place decides who may send, afterwards the turn."""
        for (state, party, name), step in TABLE.items():
            self.assertIn(party, PLACES if state in BY_PLACE else TURNS, (state, name))
            self.assertIn(name, BY_NAME)
            self.assertTrue(step.rfc, (state, name))

    def test_every_command_has_its_place(self) -> None:
        """All 18 commands occur."""
        self.assertEqual({name for _, _, name in TABLE}, set(BY_NAME))

    def test_every_state_is_reached_and_left(self) -> None:
        """From the first state every other can be reached, and every one but the last can be left."""
        reached, found = {State.AWAIT_SSRM}, {State.AWAIT_SSRM}
        while found:
            found = {
                target
                for (state, _, _), step in TABLE.items()
                if state in found
                for target in destinations(step)
                if target not in reached
            }
            reached |= found
        self.assertEqual(reached, set(State))
        self.assertEqual({state for state, _, _ in TABLE}, set(State) - {State.ENDING})

    def test_the_end_is_always_near(self) -> None:
        """Either side may end the session at any time once the Responder has greeted."""
        for state in set(State) - {State.AWAIT_SSRM, State.ENDING}:
            for party in PLACES if state in BY_PLACE else TURNS:
                self.assertEqual(destinations(TABLE[state, party, "ESID"]), {State.ENDING})

    def test_normal_end(self) -> None:
        """Only the Speaker that was just given the turn ends a session without a departure."""
        free = [key for key, step in TABLE.items() if key[2] == "ESID" and states.not_normal not in step.guards]
        self.assertEqual(free, [(State.IDLE_TURNED, Party.SPEAKER, "ESID")])

    def test_guards_say_what_they_are(self) -> None:
        """Each guard has a name, a place in the RFC and a meaning."""
        used = {check for step in TABLE.values() for check in step.guards}
        declared = {check for check in vars(states).values() if isinstance(check, Guard | FieldGuard)}
        self.assertEqual(used, declared)
        for check in used:
            self.assertIs(getattr(states, check.name), check)
            self.assertTrue(check.predicate and check.meaning)

    def test_phases(self) -> None:
        """Every state belongs to a phase."""
        self.assertEqual(set(PHASES), set(State))


class WitnessTests(SynchronousTestCase):
    """The facts and what changes them."""

    def setUp(self) -> None:
        """Begin with an agreed session in which the Initiator has sent a file."""
        self.witness = Witness(
            profiles=dict.fromkeys(Role, Profile.DEFAULT),
            state=State.SENDING,
            speaker=Role.INITIATOR,
            agreed=agree(ssid(sr="S"), ssid(sr="R")),
            transfer=Transfer(
                sender=Role.INITIATOR,
                dataset_name="X",
                date=20261120,
                time=1,
                destination="O0013",
                originator="O0099",
                format="U",
                unstructured=True,
                offered=0,
            ),
        )

    def counted(self, ucnt: int) -> list[int]:
        """Return the departures that EFID shows."""
        return [anomaly.number for anomaly in states.count(self.witness, EFID(rcnt=0, ucnt=ucnt))]

    def test_party(self) -> None:
        """Who sends is told by place and by turn."""
        self.assertIs(self.witness.party(Role.INITIATOR), Party.SPEAKER)
        self.assertIs(self.witness.party(Role.RESPONDER), Party.LISTENER)
        self.witness.state = State.AWAIT_R_SSID
        self.assertIs(self.witness.party(Role.INITIATOR), Party.INITIATOR)
        self.assertIs(self.witness.party(Role.RESPONDER), Party.RESPONDER)

    def test_direction(self) -> None:
        """Only who may send files passes."""
        self.assertIs(states.direction_agreed.refuses(self.witness), None)
        self.witness.speaker = Role.RESPONDER
        self.assertIsNot(states.direction_agreed.refuses(self.witness), None)

    def test_credit(self) -> None:
        """DATA needs credit, CDT that none is left."""
        for credit in (0, 1, 999):
            self.witness.file.credit = credit
            self.assertEqual(states.credit_left.refuses(self.witness) is None, credit > 0)
            self.assertEqual(states.credit_used_up.refuses(self.witness) is None, credit == 0)

    def test_unit_count(self) -> None:
        """EFIDUCNT counts the whole file, what was skipped by a restart included."""
        self.witness.file.octets = 100
        self.assertEqual(self.counted(100), [])
        self.assertEqual(self.counted(99), [25])
        self.witness.file.restart = 2
        self.assertEqual(self.counted(2148), [])
        self.assertEqual(self.counted(100), [25])

    def test_unit_count_of_records(self) -> None:
        """Behind a restart at a record the size of what was skipped is not known, so nothing is said."""
        self.witness.file.unstructured = False
        self.witness.file.octets = 100
        self.assertEqual(self.counted(99), [25])
        self.witness.file.restart = 2
        self.assertEqual(self.counted(99), [])

    def test_last_record(self) -> None:
        """A last record without its flag is noted; a file without DATA has no record."""
        for ended, numbers in ((None, []), (True, []), (False, [6])):
            self.witness.file.ended = ended
            self.assertEqual(self.counted(0), numbers)

    def test_accepted(self) -> None:
        """A file counts as accepted with EFPA only."""
        transfer = self.witness.file
        list(states.close_file(self.witness, EFPA(cd="N")))
        self.assertFalse(transfer.accepted)
        self.witness.transfer = transfer
        list(states.accept_file(self.witness, EFPA(cd="N")))
        self.assertTrue(transfer.accepted)
        self.assertIs(self.witness.transfer, None)
