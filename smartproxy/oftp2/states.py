"""The witness table: who may send what in which state, and where it leads. What is not in it is forbidden.

A witness between two entities sees commands only; this is the projection of the RFC's tables of both entities on one
automaton. Each row says which entries of the RFC it comes from, so that the two can be laid side by side. Before the
table stand what its rows name. A :class:`Guard` decides when the command octet is there; a :class:`FieldGuard` narrows
what a field may be, so that it is judged with the field's first octet that cannot be right; each says which predicate
of section 9 it is. An effect says what a complete, valid command changes in the facts of a session.

Standards: RFC 5024 sections 4.2 to 4.6, 1.5.3, 5.3.8, and 9.8 to 9.12 with their predicates and actions.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from smartproxy.oftp2 import grammars
from smartproxy.oftp2.commands import CD, CDT, EFID, EFPA, ESID, ESID_REASONS, SFID, SFPA, SSID, Command
from smartproxy.oftp2.errors import (
    Anomaly,
    BadField,
    CreditExceeded,
    ProtocolError,
    RestartRefused,
    UnexpectedCommand,
    note,
)
from smartproxy.oftp2.fields import Rule
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.witness import BY_PLACE, Party, State, Transfer, Witness, answer_limits
from smartproxy.oftp2.witness import agree as agree_on

# Guards.


@attrs.frozen
class Guard:
    """A condition on the command as such.

    :ivar name: the function's.
    :ivar predicate: where the RFC has it.
    :ivar meaning: one sentence.
    :ivar refuses: returns the error if the condition does not hold.
    """

    name: str
    predicate: str
    meaning: str
    refuses: Callable[[Witness], ProtocolError | None]


@attrs.frozen
class FieldGuard:
    """A condition on fields.

    :ivar limits: returns further rules by attribute.
    """

    name: str
    predicate: str
    meaning: str
    limits: Callable[[Witness], Mapping[str, Rule]]


def _guard(predicate: str) -> Callable[[Callable[[Witness], ProtocolError | None]], Guard]:
    return lambda function: Guard(function.__name__, predicate, str(function.__doc__), function)


def _field_guard(predicate: str) -> Callable[[Callable[[Witness], Mapping[str, Rule]]], FieldGuard]:
    return lambda function: FieldGuard(function.__name__, predicate, str(function.__doc__), function)


@_guard("9.12.3 P6")
def credit_left(witness: Witness) -> ProtocolError | None:
    """The Speaker has credit for one more Data Exchange Buffer."""
    if witness.file.credit > 0:
        return None
    return CreditExceeded(rule="credit.exceeded", message="DATA without credit", section="4.4.1")


@_guard("9.10.2 P, 9.12.3 note 1")
def credit_used_up(witness: Witness) -> ProtocolError | None:
    """The Speaker's credit is zero, so that the Listener may renew it."""
    if witness.file.credit == 0:
        return None
    return CreditExceeded(rule="credit.not_used_up", message="CDT while there is credit left", section="4.4.1")


@_guard("9.12.3 P1")
def direction_agreed(witness: Witness) -> ProtocolError | None:
    """SSIDSR of both ends lets the Speaker send files."""
    if witness.speaker in witness.terms.senders:
        return None
    return UnexpectedCommand(rule="mode.direction", message="a file against the agreed direction", section="5.3.2")


@_field_guard("9.10.3 P1, 9.12.3 P1")
def restart_agreed(witness: Witness) -> Mapping[str, Rule]:
    """A file starts at its beginning unless restart was agreed."""
    if witness.terms.restart:
        return {}
    return {"rest": _at_most(0, RestartRefused, "restart.not_agreed")}


@_field_guard("9.10.3 P2")
def restart_within_offer(witness: Witness) -> Mapping[str, Rule]:
    """The position in SFPA is not behind the one in SFID."""
    return {"acnt": _at_most(witness.file.offered, RestartRefused, "restart.beyond_offer")}


@_field_guard("9.8.3 P2, P8, P10")
def answer_fits_offer(witness: Witness) -> Mapping[str, Rule]:
    """The Responder's SSID can be brought together with the Initiator's."""
    assert witness.offer is not None
    return answer_limits(witness.offer)


@_field_guard("5.3.8")
def no_records(witness: Witness) -> Mapping[str, Rule]:
    """A file of format U or T has no records to count."""
    if witness.file.format in "FV":
        return {}
    return {"rcnt": _at_most(0, BadField, "field.record_count")}


_ABNORMAL: Final = grammars.Values(value for value in ESID_REASONS.allowed if value != b"00")


@_field_guard("9.12.1 ESID, 9.10.2 E")
def not_normal(witness: Witness) -> Mapping[str, Rule]:
    """Only the Speaker that was just given the turn may end the session normally; the default profile lets anyone."""
    tolerated = None if witness.agreed is None else ESID_REASONS
    return {
        "reas": Rule(
            grammar=_ABNORMAL,
            tolerated=tolerated,
            anomaly=4,
            error=UnexpectedCommand,
            name="state.normal_end",
            section="4.6.1",
        )
    }


@functools.lru_cache(maxsize=64)
def _at_most(most: int, error: type[ProtocolError], name: str) -> Rule:
    return Rule(grammar=grammars.Decimal(((0, most),)), error=error, name=name)


# Effects.


def nothing(witness: Witness, command: Command) -> Iterable[Anomaly]:
    """Change nothing but the state."""
    return ()


def offer(witness: Witness, command: SSID) -> Iterable[Anomaly]:
    """Take the Initiator's SSID."""
    witness.offer = command
    return ()


def agree(witness: Witness, command: SSID) -> Iterable[Anomaly]:
    """Take the Responder's SSID; the Initiator becomes the Speaker (9.8.3 action 5)."""
    assert witness.offer is not None
    witness.agreed = agree_on(witness.offer, command)
    witness.speaker = Role.INITIATOR
    return ()


def authentication_agreed(witness: Witness, command: SSID) -> bool:
    """Tell whether secure authentication comes next (9.8.3 P9, P11)."""
    return witness.terms.authentication


def turn(witness: Witness, command: CD) -> Iterable[Anomaly]:
    """Exchange Speaker and Listener."""
    assert witness.speaker is not None
    witness.speaker = witness.speaker.other
    return ()


def open_file(witness: Witness, command: SFID) -> Iterable[Anomaly]:
    """Take up a Virtual File (9.12.3 action 3)."""
    assert witness.speaker is not None
    witness.transfer = Transfer(
        sender=witness.speaker,
        dataset_name=command.dsn,
        date=command.date,
        time=command.time,
        destination=command.dest,
        originator=command.orig,
        format=command.fmt,
        unstructured=command.fmt in "UT" or bool(command.sec) or bool(command.comp),
        offered=command.rest,
    )
    return ()


def start_sending(witness: Witness, command: SFPA) -> Iterable[Anomaly]:
    """Give the Speaker its first credit (9.10.3 action 12)."""
    file = witness.file
    file.restart = command.acnt
    file.credit = witness.terms.credit
    return ()


def renew_credit(witness: Witness, command: CDT) -> Iterable[Anomaly]:
    """Give the Speaker its credit again (9.10.3 action 12)."""
    witness.file.credit = witness.terms.credit
    return ()


def count(witness: Witness, command: EFID) -> Iterable[Anomaly]:
    """Compare what was announced as the file's end with what was sent (sections 1.5.3, 5.3.8, 7.2)."""
    transfer = witness.file
    if transfer.ended is False:
        yield note(6, "file.end_of_record", "7.2", "EFID")
    skipped = 1024 * transfer.restart if transfer.unstructured else 0
    known = transfer.unstructured or transfer.restart == 0
    if known and command.ucnt != skipped + transfer.octets:
        yield note(25, "file.unit_count", "5.3.8", "EFID", "EFIDUCNT")


def accept_file(witness: Witness, command: EFPA) -> Iterable[Anomaly]:
    """Take the file for delivered."""
    witness.file.accepted = True
    return close_file(witness, command)


def turn_requested(witness: Witness, command: EFPA) -> bool:
    """Tell whether the Listener asks for the turn (9.11.3 P1)."""
    return command.cd == "Y"


def close_file(witness: Witness, command: Command) -> Iterable[Anomaly]:
    """Be done with the file, whatever became of it."""
    witness.transfer = None
    return ()


def end(witness: Witness, command: ESID) -> Iterable[Anomaly]:
    """Be done with the session."""
    witness.transfer = None
    return ()


# The table.

#: Changes the facts; returns the departures that only the whole command shows.
Effect = Callable[[Witness, Any], Iterable[Anomaly]]


@attrs.frozen(kw_only=True)
class Transition:
    """What becomes of a command that is allowed.

    :ivar next: the state that it leads to.
    :ivar rfc: the entries of RFC 5024 that it stands for.
    :ivar guards: what must hold besides.
    :ivar effect: what it changes.
    :ivar instead: a condition, and the state that it leads to if the condition holds.
    """

    next: State
    rfc: str
    guards: tuple[Guard | FieldGuard, ...] = ()
    effect: Effect = nothing
    instead: tuple[Callable[[Witness, Any], bool], State] | None = None

    def follow(self, witness: Witness, command: Any) -> list[Anomaly]:
        """Apply a complete, valid command to the facts."""
        found = [] if self.effect is nothing else list(self.effect(witness, command))
        if self.instead is not None and self.instead[0](witness, command):
            witness.state = self.instead[1]
        else:
            witness.state = self.next
        return found


_I, _R, _S, _L = Party.INITIATOR, Party.RESPONDER, Party.SPEAKER, Party.LISTENER
_Key = tuple[State, Party, str]


def _endings() -> dict[_Key, Transition]:
    """Either side may end the session at any time once the Responder has greeted (section 3.4.2)."""
    abnormal = Transition(next=State.ENDING, guards=(not_normal,), effect=end, rfc="3.4.2, 9.10 Q, 9.12 D")
    found: dict[_Key, Transition] = {
        (state, party, "ESID"): abnormal
        for state in State
        if state not in (State.AWAIT_SSRM, State.ENDING)
        for party in ((_I, _R) if state in BY_PLACE else (_S, _L))
    }
    found[State.IDLE_TURNED, _S, "ESID"] = Transition(next=State.ENDING, effect=end, rfc="9.10 E, 9.12 F")
    return found


def _turns() -> dict[_Key, Transition]:
    """What the Speaker may do when nothing is under way (9.10 IDLESP and IDLESPCD, 9.12 IDLELI and IDLELICD)."""
    found = {}
    for state in (State.IDLE, State.IDLE_TURNED):
        found[state, _S, "SFID"] = Transition(
            next=State.OPENING,
            guards=(direction_agreed, restart_agreed),
            effect=open_file,
            rfc="9.10 B, 9.12 A",
        )
        found[state, _S, "EERP"] = Transition(next=State.AWAIT_RTR, rfc="9.10 A, 9.12 E")
        found[state, _S, "NERP"] = Transition(next=State.AWAIT_RTR, rfc="9.10 Y, 9.12 L")
    found[State.IDLE, _S, "CD"] = Transition(next=State.IDLE_TURNED, effect=turn, rfc="9.10 D, 9.12 C")
    return found


TABLE: Final[Mapping[_Key, Transition]] = {
    (State.AWAIT_SSRM, _R, "SSRM"): Transition(next=State.AWAIT_I_SSID, rfc="4.2.2, 9.8 B and H"),
    (State.AWAIT_I_SSID, _I, "SSID"): Transition(next=State.AWAIT_R_SSID, effect=offer, rfc="9.8 E and H"),
    (State.AWAIT_R_SSID, _R, "SSID"): Transition(
        next=State.IDLE,
        guards=(answer_fits_offer,),
        effect=agree,
        instead=(authentication_agreed, State.AWAIT_I_SECD),
        rfc="9.8 D and G",
    ),
    (State.AWAIT_I_SECD, _I, "SECD"): Transition(next=State.AWAIT_R_AUCH, rfc="4.2.4, 9.8 D and J"),
    (State.AWAIT_R_AUCH, _R, "AUCH"): Transition(next=State.AWAIT_I_AURP, rfc="4.2.4, 9.8 J and I"),
    (State.AWAIT_I_AURP, _I, "AURP"): Transition(next=State.AWAIT_R_SECD, rfc="4.2.4, 9.8 I and K"),
    (State.AWAIT_R_SECD, _R, "SECD"): Transition(next=State.AWAIT_I_AUCH, rfc="4.2.4, 9.8 K and J"),
    (State.AWAIT_I_AUCH, _I, "AUCH"): Transition(next=State.AWAIT_R_AURP, rfc="4.2.4, 9.8 J and I"),
    (State.AWAIT_R_AURP, _R, "AURP"): Transition(next=State.IDLE, rfc="4.2.4, 9.8 I and K"),
    **_turns(),
    (State.AWAIT_RTR, _L, "RTR"): Transition(next=State.IDLE, rfc="4.3.8, 9.10 N, 9.12 M"),
    (State.OPENING, _L, "SFPA"): Transition(
        next=State.SENDING,
        guards=(restart_within_offer,),
        effect=start_sending,
        rfc="9.10 K, 9.12 H",
    ),
    (State.OPENING, _L, "SFNA"): Transition(next=State.IDLE, effect=close_file, rfc="9.10 L, 9.12 H"),
    (State.SENDING, _S, "DATA"): Transition(next=State.SENDING, guards=(credit_left,), rfc="9.10 M, 9.12 I"),
    (State.SENDING, _L, "CDT"): Transition(
        next=State.SENDING, guards=(credit_used_up,), effect=renew_credit, rfc="9.10 O, 9.12 I"
    ),
    (State.SENDING, _S, "EFID"): Transition(
        next=State.CLOSING, guards=(no_records,), effect=count, rfc="9.11 A, 9.12 J"
    ),
    (State.CLOSING, _L, "CDT"): Transition(
        next=State.CLOSING, guards=(credit_used_up,), effect=renew_credit, rfc="4.4.1, 9.12 I"
    ),
    (State.CLOSING, _L, "EFPA"): Transition(
        next=State.IDLE,
        effect=accept_file,
        instead=(turn_requested, State.AWAIT_CD),
        rfc="9.11 C, 9.12 K",
    ),
    (State.CLOSING, _L, "EFNA"): Transition(next=State.IDLE, effect=close_file, rfc="9.11 D, 9.12 K"),
    (State.AWAIT_CD, _S, "CD"): Transition(next=State.IDLE, effect=turn, rfc="9.10 H, 9.11 C"),
    **_endings(),
}
