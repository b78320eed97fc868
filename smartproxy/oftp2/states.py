"""The witness table: who may send what in which state, and where it leads. What is not in it is forbidden.

A witness between two entities sees commands only; this is the projection of the RFC's tables of both entities on one
automaton. Each row says which entries of the RFC it comes from, so that the two can be laid side by side.

Standards: RFC 5024 sections 4.2 to 4.6 and 9.8 to 9.12.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from smartproxy.oftp2 import effects, guards
from smartproxy.oftp2.anomalies import Anomaly
from smartproxy.oftp2.guards import Guard, Limit
from smartproxy.oftp2.witness import BY_PLACE, Party, State, Witness

__all__ = ["TABLE", "Party", "State", "Step"]

#: Changes the facts; returns the departures that only the whole command shows.
Effect = Callable[[Witness, Any], Iterable[Anomaly]]


@attrs.frozen(kw_only=True)
class Step:
    """What becomes of a command that is allowed.

    :ivar next: the state that it leads to.
    :ivar rfc: the entries of RFC 5024 that it stands for.
    :ivar guards: what must hold besides.
    :ivar effect: what it changes.
    :ivar instead: a condition, and the state that it leads to if the condition holds.
    """

    next: State
    rfc: str
    guards: tuple[Guard | Limit, ...] = ()
    effect: Effect = effects.nothing
    instead: tuple[Callable[[Witness, Any], bool], State] | None = None

    def follow(self, witness: Witness, command: Any) -> list[Anomaly]:
        """Apply a complete, valid command to the facts."""
        found = list(self.effect(witness, command))
        if self.instead is not None and self.instead[0](witness, command):
            witness.state = self.instead[1]
        else:
            witness.state = self.next
        return found


_I, _R, _S, _L = Party.INITIATOR, Party.RESPONDER, Party.SPEAKER, Party.LISTENER
_Key = tuple[State, Party, str]


def _endings() -> dict[_Key, Step]:
    """Either side may end the session at any time once the Responder has greeted (section 3.4.2)."""
    abnormal = Step(next=State.ENDING, guards=(guards.not_normal,), effect=effects.end, rfc="3.4.2, 9.10 Q, 9.12 D")
    found: dict[_Key, Step] = {
        (state, party, "ESID"): abnormal
        for state in State
        if state not in (State.AWAIT_SSRM, State.ENDING)
        for party in ((_I, _R) if state in BY_PLACE else (_S, _L))
    }
    found[State.IDLE_TURNED, _S, "ESID"] = Step(next=State.ENDING, effect=effects.end, rfc="9.10 E, 9.12 F")
    return found


def _turns() -> dict[_Key, Step]:
    """What the Speaker may do when nothing is under way (9.10 IDLESP and IDLESPCD, 9.12 IDLELI and IDLELICD)."""
    found = {}
    for state in (State.IDLE, State.IDLE_TURNED):
        found[state, _S, "SFID"] = Step(
            next=State.OPENING,
            guards=(guards.direction_agreed, guards.restart_agreed),
            effect=effects.open_file,
            rfc="9.10 B, 9.12 A",
        )
        found[state, _S, "EERP"] = Step(next=State.AWAIT_RTR, rfc="9.10 A, 9.12 E")
        found[state, _S, "NERP"] = Step(next=State.AWAIT_RTR, rfc="9.10 Y, 9.12 L")
    found[State.IDLE, _S, "CD"] = Step(next=State.IDLE_TURNED, effect=effects.turn, rfc="9.10 D, 9.12 C")
    return found


TABLE: Final[Mapping[_Key, Step]] = {
    (State.AWAIT_SSRM, _R, "SSRM"): Step(next=State.AWAIT_I_SSID, rfc="4.2.2, 9.8 B and H"),
    (State.AWAIT_I_SSID, _I, "SSID"): Step(next=State.AWAIT_R_SSID, effect=effects.offer, rfc="9.8 E and H"),
    (State.AWAIT_R_SSID, _R, "SSID"): Step(
        next=State.IDLE,
        guards=(guards.answer_fits_offer,),
        effect=effects.agree,
        instead=(effects.authentication_agreed, State.AWAIT_I_SECD),
        rfc="9.8 D and G",
    ),
    (State.AWAIT_I_SECD, _I, "SECD"): Step(next=State.AWAIT_R_AUCH, rfc="4.2.4, 9.8 D and J"),
    (State.AWAIT_R_AUCH, _R, "AUCH"): Step(next=State.AWAIT_I_AURP, rfc="4.2.4, 9.8 J and I"),
    (State.AWAIT_I_AURP, _I, "AURP"): Step(next=State.AWAIT_R_SECD, rfc="4.2.4, 9.8 I and K"),
    (State.AWAIT_R_SECD, _R, "SECD"): Step(next=State.AWAIT_I_AUCH, rfc="4.2.4, 9.8 K and J"),
    (State.AWAIT_I_AUCH, _I, "AUCH"): Step(next=State.AWAIT_R_AURP, rfc="4.2.4, 9.8 J and I"),
    (State.AWAIT_R_AURP, _R, "AURP"): Step(next=State.IDLE, rfc="4.2.4, 9.8 I and K"),
    **_turns(),
    (State.AWAIT_RTR, _L, "RTR"): Step(next=State.IDLE, rfc="4.3.8, 9.10 N, 9.12 M"),
    (State.OPENING, _L, "SFPA"): Step(
        next=State.SENDING,
        guards=(guards.restart_within_offer,),
        effect=effects.start_sending,
        rfc="9.10 K, 9.12 H",
    ),
    (State.OPENING, _L, "SFNA"): Step(next=State.IDLE, effect=effects.close_file, rfc="9.10 L, 9.12 H"),
    (State.SENDING, _S, "DATA"): Step(next=State.SENDING, guards=(guards.credit_left,), rfc="9.10 M, 9.12 I"),
    (State.SENDING, _L, "CDT"): Step(
        next=State.SENDING, guards=(guards.credit_used_up,), effect=effects.renew_credit, rfc="9.10 O, 9.12 I"
    ),
    (State.SENDING, _S, "EFID"): Step(
        next=State.CLOSING, guards=(guards.no_records,), effect=effects.count, rfc="9.11 A, 9.12 J"
    ),
    (State.CLOSING, _L, "CDT"): Step(
        next=State.CLOSING, guards=(guards.credit_used_up,), effect=effects.renew_credit, rfc="4.4.1, 9.12 I"
    ),
    (State.CLOSING, _L, "EFPA"): Step(
        next=State.IDLE,
        effect=effects.accept_file,
        instead=(effects.turn_requested, State.AWAIT_CD),
        rfc="9.11 C, 9.12 K",
    ),
    (State.CLOSING, _L, "EFNA"): Step(next=State.IDLE, effect=effects.close_file, rfc="9.11 D, 9.12 K"),
    (State.AWAIT_CD, _S, "CD"): Step(next=State.IDLE, effect=effects.turn, rfc="9.10 H, 9.11 C"),
    **_endings(),
}
