"""The evidence would notice: a witness table with any one row, guard, effect or turning missing does not survive."""

from collections.abc import Callable, Iterable, Mapping
from unittest import TestResult
from unittest.mock import patch

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2 import states
from smartproxy.oftp2.roles import Profile
from smartproxy.oftp2.states import TABLE, FieldGuard, Guard, Transition
from smartproxy.oftp2.witness import Party, State
from tests.conformance import test_malformed, test_s5_3_03_sfid
from tests.conformance.cells import disagreements, disagreements_after
from tests.conformance.malformed_sessions import guards, negotiations
from tests.conformance.openings import STATES
from tests.conformance.section9 import SimulationFault
from tests.conformance.simulation import simulate

Key = tuple[State, Party, str]
Check = Guard | FieldGuard
#: States in which a file is under way: there the end of the session has something to forget.
WITH_FILE = {State.OPENING, State.SENDING, State.CLOSING}
#: A row's key, what was done to it, and the table that results.
Mutant = tuple[Key, str, Mapping[Key, Transition]]
PLACE = "smartproxy.oftp2.monitor.TABLE"
SESSIONS = 400


def without(key: Key) -> Mapping[Key, Transition]:
    """The table without one row."""
    return {other: step for other, step in TABLE.items() if other != key}


def changed(key: Key, step: Transition) -> Mapping[Key, Transition]:
    """The table with one row replaced."""
    return {**TABLE, key: step}


def fails(case: type[SynchronousTestCase], name: str) -> bool:
    """Whether a test fails now."""
    result = TestResult()
    case(name).run(result)
    return not result.wasSuccessful()


def simulation_fails() -> bool:
    """Whether random sessions notice that something is wrong."""
    profiles = tuple(Profile)
    for number in range(SESSIONS):
        try:
            simulate(f"mutant.{number}", profiles[number % 2], inject=number % 4 == 3)
        except (SimulationFault, AssertionError, AttributeError):
            return True
    return False


def cells_fail(state: State) -> bool:
    """Whether the cells of a state, and what may follow them, notice."""
    names = [name for name in STATES if name.removesuffix("-0") == state.name]
    try:
        found = next(disagreements(names), None) or next(disagreements_after(names), None)
    except AssertionError:
        return True
    return found is not None


def refusals_fail() -> bool:
    """Whether the malformed cases about states, negotiation and restart notice."""
    judge = test_malformed.MalformedTests("check")
    try:
        return any(judge.verdicts(case) for case in (*negotiations(), *guards()))
    except AssertionError:
        return True


def transfers_fail() -> bool:
    """Whether the tests about what is known of a Virtual File notice."""
    case = test_s5_3_03_sfid.TransferTests
    return any(fails(case, name) for name in dir(case) if name.startswith("test_"))


class WitnessMutationTests(SynchronousTestCase):
    """Each mutant of the table is killed."""

    def survivors(self, mutants: Iterable[Mutant], *killers: Callable[[Key], bool]) -> list[str]:
        """Descriptions of the mutants that no killer notices; there must be ten at least to choose from."""
        count, alive = 0, []
        for key, what, table in mutants:
            count += 1
            with patch(PLACE, table):
                if not any(killer(key) for killer in killers):
                    alive.append(f"{key[2]} from {key[1].name} in {key[0].name}: {what}")
        self.assertGreater(count, 10)
        return alive

    def test_the_killers_are_quiet(self) -> None:
        """Without a mutation none of them complains."""
        self.assertFalse(refusals_fail() or transfers_fail() or any(cells_fail(state) for state in State))

    def test_rows_by_simulation(self) -> None:
        """Random sessions alone notice each missing row that is not about ESID."""
        mutants = ((key, "missing", without(key)) for key in TABLE if key[2] != "ESID")
        self.assertEqual(self.survivors(mutants, lambda key: simulation_fails()), [])

    def test_rows_by_cells(self) -> None:
        """The cells alone notice each missing row."""
        mutants = ((key, "missing", without(key)) for key in TABLE)
        self.assertEqual(self.survivors(mutants, lambda key: cells_fail(key[0])), [])

    def test_next_states(self) -> None:
        """A row that leads to another state is noticed."""
        mutants = (
            (key, f"leads to {state.name}", changed(key, attrs.evolve(step, next=state, instead=None)))
            for key, step in TABLE.items()
            for state in (State.IDLE, State.OPENING)
            if state is not step.next and step.next is not State.ENDING
        )
        self.assertEqual(self.survivors(mutants, lambda key: cells_fail(key[0])), [])

    def test_guards(self) -> None:
        """A row that lacks one of its guards is noticed."""
        mutants = (
            (key, f"without {lost.name}", changed(key, attrs.evolve(step, guards=_without(step.guards, lost))))
            for key, step in TABLE.items()
            for lost in step.guards
        )
        killers = (lambda key: cells_fail(key[0]), lambda key: refusals_fail(), lambda key: transfers_fail())
        self.assertEqual(self.survivors(mutants, *killers), [])

    def test_effects(self) -> None:
        """A row that has lost its effect is noticed."""
        mutants = (
            (key, f"without {step.effect.__name__}", changed(key, attrs.evolve(step, effect=states.nothing)))
            for key, step in TABLE.items()
            if step.effect is not states.nothing and (key[2] != "ESID" or key[0] in WITH_FILE)
        )
        killers = (lambda key: transfers_fail(), lambda key: cells_fail(key[0]))
        self.assertEqual(self.survivors(mutants, *killers), [])


def _without(guards: tuple[Check, ...], lost: Check) -> tuple[Check, ...]:
    return tuple(guard for guard in guards if guard is not lost)
